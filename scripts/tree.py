# SPDX-License-Identifier: GPL-2.0
"""make tree: build/linux, a git tree with the base as one commit and then one
commit a patch, and build/stock, the base with the tests alone.

Files whose content stays are not touched, so that a build goes on where it
stood. Work in build/linux that patches/ does not have yet is never lost.
"""

import contextlib
import json
import os
import re
import shutil
import tempfile
import time
from pathlib import Path
from typing import Iterator

from scripts import base, git, patchset
from scripts.patchset import Patch, Patchset
from scripts.workbench import (BUILD, LINUX, STOCK, StepFailed, die, locked,
                               run_step, say)

STAMP = BUILD / "tree.json"
WORKSHOP = BUILD / "apply"           # where patches are applied, then gone
APPLIED = "refs/workbench/applied"   # while it is copied


class Conflict(StepFailed):
    """A patch does not apply."""


@contextlib.contextmanager
def workshop(start: str, patches: list[Patch]) -> Iterator[Path]:
    """A worktree of build/linux at a commit that has, of the files of @start, only
    those that @patches touch: git reads and writes the list of all files at each
    step, which takes half a second for a whole kernel's."""
    discard(WORKSHOP)
    touched = {path for patch in patches for path in patch.adds}
    for patch in patches:
        for line in re.findall(r"(?m)^diff --git (.+)$", patch.diff):
            old, _, new = line.partition(" b/")
            touched |= {old.removeprefix("a/"), new}
    with tempfile.TemporaryDirectory() as folder:
        index = {"GIT_INDEX_FILE": f"{folder}/index"}
        git.git(LINUX, "update-index", "-z", "--index-info", **index, data=git.raw(
            LINUX, "--literal-pathspecs", "ls-tree", "-r", "-z", start, "--",
            *sorted(touched)))
        files = git.git(LINUX, "write-tree", **index)
    few = git.git(LINUX, "commit-tree", files, "-F", "-",
                  data=git.raw(LINUX, "show", "-s", "--format=%B", start))
    git.git(LINUX, "worktree", "add", "--detach", WORKSHOP, few)
    try:
        yield WORKSHOP
    finally:
        discard(WORKSHOP)


def transplant(place: Path, start: str) -> list[str]:
    """Put the commits made in @place on @start; returns their hashes."""
    first = git.git(place, "rev-list", "--max-parents=0", "HEAD")
    with tempfile.TemporaryDirectory() as folder:
        table = Path(folder) / "marks"
        git.git(place, "update-ref", APPLIED, "HEAD")
        table.write_text(f":1 {first}\n")
        stream = git.raw(place, "fast-export", "--no-data", "--reencode=no",
                         f"--import-marks={table}", f"{first}..{APPLIED}")
        table.write_text(f":1 {start}\n")
        git.raw(place, "fast-import", "--quiet", "--force", f"--import-marks={table}",
                f"--export-marks={table}", data=stream)
        git.git(place, "update-ref", "-d", APPLIED)
        made = dict(line.split() for line in table.read_text().splitlines())
    return [made[mark] for mark in sorted(made, key=lambda mark: int(mark[1:]))[1:]]


def discard(worktree: Path) -> None:
    """Remove a worktree of ours, also one that is half there."""
    shutil.rmtree(worktree, ignore_errors=True)
    prune()


def prune() -> None:
    """Let git forget worktrees that are gone."""
    git.git(LINUX, "worktree", "prune", "--expire", "now")


def apply(patches: list[Patch], overlay: Path, start: str) -> list[str]:
    """One commit a patch on top of @start; returns their hashes."""
    if not patches:
        return []
    with workshop(start, patches) as place:
        for patch in patches:
            apply_one(patch, overlay, place)
        return transplant(place, start)


def apply_one(patch: Patch, overlay: Path, place: Path) -> None:
    mail = patch.head + (patchset.SEPARATOR + "\n" + patch.diff if patch.diff
                         else "\n")
    if patch.diff:
        tell_offsets(patch, place)
    run = git.attempt(place, "am", "--3way", "--empty=keep", "--keep-cr",
                      "--keep-non-patch", "--no-scissors", "--whitespace=nowarn",
                      "--committer-date-is-author-date",
                      data=mail.encode(errors="surrogateescape"))
    if run.returncode:
        explain(patch, place, (run.stdout + run.stderr).decode(errors="replace"))
    for path in patch.adds:
        if git.resolve(place, f"HEAD:{path}"):
            raise Conflict(f"patches/{patch.name} adds {path}, which is there "
                           "already")
        (place / path).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(overlay / path, place / path)
    if patch.adds:
        git.git(place, "add", "-f", "--", *patch.adds)
    if patch.adds or patch.notes:
        message = patchset.join_message(
            git.git(place, "show", "-s", "--format=%B", "HEAD"), patch.notes)
        git.git(place, "commit", "--amend", "--no-verify", "--allow-empty",
                "--cleanup=verbatim", "--quiet", "-F", "-",
                data=message.encode(errors="surrogateescape"),
                GIT_COMMITTER_DATE=git.git(place, "show", "-s", "--date=raw",
                                           "--format=%ad", "HEAD"))


def tell_offsets(patch: Patch, place: Path) -> None:
    """Say where the base's lines have moved since the patch was made."""
    run = git.attempt(place, "apply", "--check", "--verbose", "--cached", "-",
                      data=patch.diff.encode(errors="surrogateescape"))
    report = run.stderr.decode(errors="replace")
    if run.returncode:
        say(f"note: patches/{patch.name} does not apply as it stands, trying "
            "three-way")
    path = ""
    for line in report.splitlines():
        path = re.sub(r"^Checking patch (.*)\.\.\.$", r"\1", line) \
            if line.startswith("Checking patch") else path
        if moved := re.match(r"Hunk #\d+ succeeded at .*", line):
            say(f"note: patches/{patch.name}: {path}: {moved[0]}")


def explain(patch: Patch, place: Path, report: str) -> None:
    """Raise the Conflict that names file and hunk."""
    unmerged = git.lines(place, "diff", "--name-only", "--diff-filter=U")
    git.attempt(place, "am", "--abort")
    git.git(place, "reset", "--hard", "--quiet")
    run = git.attempt(place, "apply", "--reject", "-",
                      data=patch.diff.encode(errors="surrogateescape"))
    lines = [f"patches/{patch.name} does not apply on {describe(place)}:"]
    headers = dict(hunk_headers(patch.diff))
    path = ""
    for line in run.stderr.decode(errors="replace").splitlines():
        if of := re.match(r"Applying patch (.*) with \d+ reject", line):
            path = of[1]
        elif missing := re.match(r"error: (.*): (No such file.*|does not exist.*|"
                                 r"already exists.*)", line):
            lines.append(f"  {missing[1]}: {missing[2]}")
        elif number := re.match(r"Rejected hunk #(\d+)", line):
            lines.append(f"  {path}: hunk {number[1]}: "
                         + headers.get((path, int(number[1])), ""))
    if len(lines) == 1:
        lines += [f"  {path}: conflict in the three-way merge" for path in unmerged]
    if len(lines) == 1:
        lines += [f"  {line}" for line in report.splitlines()]
    raise Conflict("\n".join(lines))


def hunk_headers(diff: str) -> Iterator[tuple[tuple[str, int], str]]:
    """((file, number), its @@ line) of each hunk."""
    path, number = "", 0
    for line in diff.splitlines():
        if line.startswith("diff --git "):
            path, number = line.partition(" b/")[2], 0
        elif line.startswith("@@ "):
            number += 1
            yield (path, number), line


def describe(place: Path) -> str:
    return git.git(place, "show", "-s", "--format=\"%s\"", "HEAD")


# --- what build/linux has that patches/ has not -----------------------------

def in_progress() -> str | None:
    """A rebase or an am that waits in build/linux for its user."""
    for name, what in (("rebase-merge", "git rebase"), ("rebase-apply", "git am"),
                       ("CHERRY_PICK_HEAD", "git cherry-pick"),
                       ("MERGE_HEAD", "git merge"), ("REVERT_HEAD", "git revert")):
        if (LINUX / ".git" / name).exists():
            return what
    return None


def unrefreshed() -> str | None:
    """What of the work in build/linux patches/ does not have, in words."""
    if not git.resolve(LINUX, "HEAD"):
        return None
    if what := in_progress():
        return f"a {what} in the middle"
    if git.git(LINUX, "rev-parse", "--symbolic-full-name", "HEAD") \
            != "refs/heads/series":
        return "another branch than series checked out"
    if git.resolve(LINUX, "series") not in (
            git.resolve(LINUX, marks(LINUX)[0]), git.resolve(LINUX, "base^{commit}")):
        return "commits"
    if git.git(LINUX, "status", "--porcelain", "--untracked-files=no"):
        return "uncommitted edits"
    return None


def back_up(worktree: Path) -> None:
    """Keep all that @worktree holds, committed or not, on a branch."""
    index = Path(git.git(worktree, "rev-parse", "--path-format=absolute",
                         "--git-path", "index"))
    scratch = index.with_name("backup.index")
    if index.exists():
        shutil.copy(index, scratch)
    with_index = {"GIT_INDEX_FILE": str(scratch)}
    git.git(worktree, "add", "-A", **with_index)
    tree = git.git(worktree, "write-tree", **with_index)
    scratch.unlink()
    keep = git.git(worktree, "commit-tree", tree, "-p", "HEAD", "-m",
                   f"Backup of {worktree.name} before it was overwritten")
    tips = {keep}
    if tip := git.resolve(LINUX, "series"):
        if git.attempt(LINUX, "merge-base", "--is-ancestor", tip, keep).returncode:
            tips.add(tip)
    for tip in sorted(tips):
        name = time.strftime("backup-%Y%m%d-%H%M%S")
        number = 1
        while git.resolve(LINUX, f"refs/heads/{name}"):
            number += 1
            name = f"{name.partition('.')[0]}.{number}"
        git.git(LINUX, "branch", name, tip)
        say(f"{worktree}: what it held is on branch {name} of build/linux")


def recover(worktree: Path) -> None:
    """Finish what a killed run left: a lock of git's, half a checkout."""
    made, pending = marks(worktree)
    tip = git.resolve(LINUX, pending)
    if not tip or not (worktree / ".git").exists():
        return
    say(f"{worktree}: an earlier run was interrupted, continuing")
    git.unlock(worktree)
    if git.resolve(worktree, "HEAD"):
        # a file that is neither the old one nor the new one is the user's
        odd = [set(git.lines(worktree, "diff", "--name-only", "--diff-filter=d",
                             commit)) for commit in ("HEAD", tip)]
        if odd[0] & odd[1]:
            back_up(worktree)
    switch(worktree, tip, force=True)


# --- the trees --------------------------------------------------------------

def marks(worktree: Path) -> tuple[str, str]:
    """Two refs: the tip that @worktree was given; one that a checkout, which
    did not end, was about to give it."""
    return (f"refs/workbench/{worktree.name}",
            f"refs/workbench/pending-{worktree.name}")


def switch(worktree: Path, tip: str, force: bool) -> None:
    """Check @tip out in @worktree, writing only files that differ."""
    made, pending = marks(worktree)
    git.git(LINUX, "update-ref", pending, tip)
    branch = ["-B", "series"] if worktree == LINUX else ["--detach"]
    run_step(f"Check out build/{worktree.name}",
             ["git", "-C", worktree, "checkout", "--quiet",
              *(["--force"] if force else []), *branch, tip],
             env=git.environment(), timeout=600)
    git.git(LINUX, "update-ref", made, tip)
    git.git(LINUX, "update-ref", "-d", pending)


def switch_stock(tip: str, force: bool) -> None:
    """The same for build/stock, which may not be there yet."""
    if not git.resolve(STOCK, "HEAD"):
        discard(STOCK)
        git.git(LINUX, "update-ref", marks(STOCK)[1], tip)
        git.git(LINUX, "worktree", "add", "--no-checkout", "--detach", STOCK, tip)
        force = True
    elif git.git(STOCK, "rev-parse", "HEAD") == tip:
        git.git(LINUX, "update-ref", marks(STOCK)[0], tip)
        return
    elif git.git(STOCK, "status", "--porcelain", "--untracked-files=no"):
        if not force:
            raise StepFailed(f"{STOCK} has edits and must change; it is made from "
                             "patches/ alone: undo them, or make tree FORCE=1")
        back_up(STOCK)
    switch(STOCK, tip, force)


def stamp() -> dict[str, str]:
    try:
        return json.loads(STAMP.read_text())
    except (FileNotFoundError, ValueError):
        return {}


def write_stamp(series: Patchset, base_commit: str) -> None:
    partial = STAMP.with_suffix(".partial")
    partial.write_text(json.dumps({"patches": series.key, "base": base_commit},
                                  indent=1) + "\n")
    partial.rename(STAMP)


def stock_tip(series: Patchset, on: base.Base) -> str:
    """The base with the tests alone."""
    try:
        return [on.commit, *apply(series.tests, series.overlay, on.commit)][-1]
    except Conflict as error:
        raise Conflict(f"{error}\n  it is marked {patchset.TESTS_ONLY}, so it has "
                       "to apply on the base without the other patches") from None


def refuse(what: str) -> None:
    raise StepFailed(
        f"build/linux has {what} that patches/ does not have, and patches/, linux/ "
        "or the base changed since: keep it by `make refresh`, or discard it by "
        "`make tree FORCE=1` (a branch backup-<date> then holds it)")


def make_tree(force: bool = False) -> base.Base:
    """Bring build/linux and build/stock up to date."""
    with locked("tree"):
        series = patchset.load()
        on = base.ensure()
        recover(LINUX)
        recover(STOCK)
        say(f"base: {on}")
        work = unrefreshed()
        if stamp() == {"patches": series.key, "base": on.commit} \
                and git.resolve(LINUX, marks(LINUX)[0]) and (STOCK / ".git").exists() \
                and git.resolve(STOCK, "HEAD") == git.resolve(LINUX, marks(STOCK)[0]) \
                and not (force and work):
            base.record(on)
            say(f"build/linux is up to date ({len(series.patches)} patches)"
                + (f"; it has {work} that patches/ does not have: make refresh"
                   if work else ""))
            return on
        if work and not force:
            refuse(work)
        say(f"==> Apply {len(series.patches)} patches")
        tip = [on.commit, *apply(list(series.patches), series.overlay,
                                 on.commit)][-1]
        stock = stock_tip(series, on)
        if work:
            back_up(LINUX)
            for command in ("rebase", "am", "cherry-pick", "revert"):
                git.attempt(LINUX, command, "--quit")
        switch(LINUX, tip, force)
        git.git(LINUX, "tag", "--force", "base", on.commit)
        for key, value in (("commit.gpgSign", "false"), ("core.autocrlf", "false")):
            git.git(LINUX, "config", key, value)
        base.record(on)
        switch_stock(stock, force)
        write_stamp(series, on.commit)
        say(f"build/linux: {len(series.patches)} patches on Linux {on.version}; "
            f"build/stock: {len(series.tests)} of them, tests only")
        return on


def main() -> None:
    try:
        make_tree(force=bool(os.environ.get("FORCE")))
    except StepFailed as error:
        die(str(error))


if __name__ == "__main__":
    main()
