# SPDX-License-Identifier: GPL-2.0
"""git, such that neither the user's configuration nor the environment of a
calling git changes what comes out: the same input gives the same hashes."""

import os
import subprocess
from pathlib import Path

from scripts.workbench import BUILD, HELD, StepFailed

EPOCH = "946684800 +0000"   # the date of whatever has none of its own
IDENTITY = {"NAME": "Workbench", "EMAIL": "workbench@localhost", "DATE": EPOCH}
SETTINGS = {
    "core.autocrlf": "false",
    "core.fileMode": "true",
    "core.quotePath": "false",
    "core.hooksPath": os.devnull,
    "safe.directory": "*",
    "commit.gpgSign": "false",
    "diff.algorithm": "myers",
    "diff.renames": "true",
    "format.mboxrd": "false",
    "advice.detachedHead": "false",
    "init.defaultBranch": "series",
}
# what stands for a user's choice of place, not of behaviour, has no say
FOREIGN = ("GIT_DIR", "GIT_WORK_TREE", "GIT_INDEX_FILE", "GIT_PREFIX",
           "GIT_OBJECT_DIRECTORY", "GIT_COMMON_DIR", "GIT_NAMESPACE",
           "GIT_CONFIG_PARAMETERS")


def environment(**more: str) -> dict[str, str]:
    """The whole environment of a git command."""
    env = {k: v for k, v in os.environ.items() if k not in FOREIGN}
    env |= {"GIT_CONFIG_GLOBAL": os.devnull, "GIT_CONFIG_NOSYSTEM": "1",
            "GIT_ATTR_NOSYSTEM": "1", "GIT_EDITOR": "true",
            "GIT_TERMINAL_PROMPT": "0", "LC_ALL": "C.UTF-8", "TZ": "UTC",
            # half a worktree below build/ is not the repo that build/ is in
            "GIT_CEILING_DIRECTORIES": str(BUILD)}
    for role in ("AUTHOR", "COMMITTER"):
        env |= {f"GIT_{role}_{key}": value for key, value in IDENTITY.items()}
    settings = SETTINGS | {k: v for k, v in more.items() if "." in k}
    env["GIT_CONFIG_COUNT"] = str(len(settings))
    for n, (key, value) in enumerate(settings.items()):
        env |= {f"GIT_CONFIG_KEY_{n}": key, f"GIT_CONFIG_VALUE_{n}": value}
    return env | {k: v for k, v in more.items() if "." not in k}


def attempt(repo: Path, *args: str | Path, data: bytes | None = None,
            timeout: float = 600, **more: str) -> subprocess.CompletedProcess:
    """Run git in @repo; the caller looks at the status."""
    try:
        return subprocess.run(["git", "-C", str(repo), *map(str, args)], input=data,
                              stdin=None if data is not None else subprocess.DEVNULL,
                              capture_output=True, env=environment(**more),
                              timeout=timeout, check=False, pass_fds=tuple(HELD))
    except subprocess.TimeoutExpired:
        raise StepFailed(f"git {' '.join(map(str, args))} in {repo}: no end after "
                         f"{timeout:.0f} s") from None


def raw(repo: Path, *args: str | Path, data: bytes | None = None,
        **more: str) -> bytes:
    """The output of a git command that has to succeed."""
    run = attempt(repo, *args, data=data, **more)
    if run.returncode:
        raise StepFailed(f"git {' '.join(map(str, args))} in {repo}: status "
                         f"{run.returncode}: "
                         + run.stderr.decode(errors="replace").strip())
    return run.stdout


def git(repo: Path, *args: str | Path, data: bytes | None = None,
        **more: str) -> str:
    """The same as text, without the last newline."""
    return raw(repo, *args, data=data, **more).decode(
        errors="surrogateescape").rstrip("\n")


def lines(repo: Path, *args: str | Path, **more: str) -> list[str]:
    return git(repo, *args, **more).splitlines()


def resolve(repo: Path, name: str) -> str | None:
    """The object @name stands for in @repo, if there is one."""
    run = attempt(repo, "rev-parse", "--verify", "--quiet", name)
    return run.stdout.decode().strip() or None


def unlock(worktree: Path) -> None:
    """Remove the lock that a killed git has left. The caller sees to it that no
    other git is at work there."""
    Path(git(worktree, "rev-parse", "--path-format=absolute", "--git-path",
             "index.lock")).unlink(missing_ok=True)
