# SPDX-License-Identifier: GPL-2.0
"""The kernel on which the series stands: which source it comes from, and its
import into build/linux as one commit.

KERNEL= (a folder, a git tree or a tarball) wins. Without it the base that
build/linux has stays; the first one is Debian's newest linux-source package,
elsewhere kernel.org's newest tarball.
"""

import dataclasses
import hashlib
import json
import os
import re
import shutil
import sys
import urllib.request
from pathlib import Path

from scripts import apt, git
from scripts.importer import REF, SERIES_OF
from scripts.workbench import (BUILD, LINUX, ROOT, StepFailed, run_step,
                               say)

RECORD = BUILD / "base.json"            # the base of build/linux
IMPORTED = BUILD / "imported.json"      # the last one imported; it may be on trial
LINE = ".".join(map(str, SERIES_OF))
PACKAGE = f"linux-source-{LINE}"
SUITE = "trixie-backports"
KERNEL_ORG = f"https://cdn.kernel.org/pub/linux/kernel/v{SERIES_OF[0]}.x/"
REMEDY = f"name a source of Linux {LINE} by KERNEL=<folder, git tree or tarball>"
TREE_SPACE = 4 << 30       # bytes that build/linux and build/stock take
FULL_SPACE = 12 << 30      # bytes that all builds and machines take


@dataclasses.dataclass(frozen=True)
class Base:
    """A base that build/linux holds."""

    key: str               # what tells it from other sources
    origin: str            # the same for people
    commit: str            # in build/linux
    version: str
    upstream: str | None   # its commit in the user's git tree, if it is one

    def __str__(self) -> str:
        return f"Linux {self.version} from {self.origin}"


@dataclasses.dataclass(frozen=True)
class Source:
    """A place to import a base from."""

    key: str
    origin: str
    path: Path
    upstream: str | None = None


def recorded(path: Path = RECORD) -> Base | None:
    """The base that @path tells of, if it is still in build/linux."""
    try:
        base = Base(**json.loads(path.read_text()))
    except (FileNotFoundError, ValueError, TypeError):
        return None
    if not (LINUX / ".git").exists() or not git.resolve(
            LINUX, base.commit + "^{commit}"):
        return None
    return base


def record(base: Base, path: Path = RECORD) -> None:
    partial = path.with_suffix(".partial")
    partial.write_text(json.dumps(dataclasses.asdict(base), indent=1) + "\n")
    partial.rename(path)


def folder_state(top: Path) -> str:
    """A hash that changes when a file below @top is edited."""
    state = hashlib.sha256()
    stack = [str(top)]
    while stack:
        with os.scandir(stack.pop()) as entries:
            for entry in sorted(entries, key=lambda e: e.name):
                if entry.is_dir(follow_symlinks=False):
                    stack.append(entry.path)
                    continue
                info = entry.stat(follow_symlinks=False)
                state.update(f"{entry.path}\0{info.st_size} {info.st_mtime_ns} "
                             f"{info.st_mode}\n".encode(errors="surrogateescape"))
    return state.hexdigest()


def named_source(kernel: str) -> Source:
    """The source that KERNEL=@kernel names."""
    path = Path(kernel).expanduser()
    path = (path if path.is_absolute() else ROOT / path).resolve()
    if not path.exists():
        raise StepFailed(f"KERNEL={kernel}: there is no {path}")
    if path == LINUX.resolve() or LINUX.resolve() in path.parents:
        raise StepFailed(f"KERNEL={kernel} is the tree that is built from the "
                         "base; it cannot be the base too")
    if path.is_dir() and ((path / ".git").exists() or (
            (path / "HEAD").is_file() and (path / "objects").is_dir())):
        head = git.git(path, "rev-parse", "--verify", "HEAD^{commit}")
        if (path / ".git").exists() and git.git(
                path, "status", "--porcelain", "--untracked-files=no"):
            say(f"note: uncommitted changes of {path} are not in the base")
        return Source(f"git {git.git(path, 'rev-parse', 'HEAD^{tree}')} {head}",
                      f"the git tree {path}", path, head)
    if path.is_dir():
        return Source(f"folder {path} {folder_state(path)}",
                      f"the folder {path}", path)
    info = path.stat()
    return Source(f"tarball {path} {info.st_size} {info.st_mtime_ns}",
                  f"the tarball {path}", path)


def debian_source() -> Source:
    """The tarball in Debian's package of the kernel's source."""
    deb = apt.fetch_deb(PACKAGE, SUITE)
    unpacked = BUILD / "source"
    apt.unpack(deb, unpacked)
    tarballs = list(unpacked.glob(f"usr/src/{PACKAGE}.tar.*"))
    if len(tarballs) != 1:
        raise StepFailed(f"{deb} holds no {PACKAGE}.tar.*")
    version = apt.version(deb)
    return Source(f"debian {version}",
                  f"Debian's {PACKAGE} {version} ({SUITE})", tarballs[0])


def fetched(url: str, path: Path) -> None:
    """Fetch @url to @path with a bound on each read."""
    with urllib.request.urlopen(url, timeout=30) as answer, path.open("wb") as out:
        shutil.copyfileobj(answer, out, 1 << 20)


def kernel_org_source(site: str = KERNEL_ORG) -> Source:
    """kernel.org's newest tarball, which has the hash that is listed there."""
    folder = BUILD / "kernel.org"
    folder.mkdir(parents=True, exist_ok=True)
    sums = folder / "sha256sums.asc"
    try:
        fetched(site + sums.name, sums)
        listed = re.findall(rf"^([0-9a-f]{{64}})  (linux-{re.escape(LINE)}"
                            r"(?:\.(\d+))?\.tar\.xz)$", sums.read_text(), re.M)
        if not listed:
            raise StepFailed(f"{site} lists no Linux {LINE}")
        expected, name, _ = max(listed, key=lambda entry: int(entry[2] or 0))
        tarball = folder / name
        if not tarball.exists():
            say(f"==> Fetch {name} from {site}")
            partial = tarball.with_suffix(".partial")
            fetched(site + name, partial)
            with partial.open("rb") as data:
                found = hashlib.file_digest(data, "sha256").hexdigest()
            if found != expected:
                partial.unlink()
                raise StepFailed(f"{site}{name} has sha256 {found}, "
                                 f"{sums.name} says {expected}")
            partial.rename(tarball)
    except OSError as error:
        raise StepFailed(f"{site}: {error}") from None
    return Source(f"kernel.org {expected}", f"kernel.org's {name}", tarball)


def default_source() -> Source:
    """Where the base comes from when nobody names one."""
    tried = []
    for get in ([debian_source] if apt.available() else []) + [kernel_org_source]:
        try:
            return get()
        except StepFailed as error:
            tried.append(str(error))
    raise StepFailed("no kernel source can be had:\n  "
                     + "\n  ".join(tried) + f"\n{REMEDY}")


def check_space() -> None:
    free = shutil.disk_usage(BUILD).free
    if free < TREE_SPACE:
        raise StepFailed(
            f"{BUILD} has {free / (1 << 30):.1f} GB free; the trees take "
            f"{TREE_SPACE >> 30} GB, all builds {FULL_SPACE >> 30} GB: free "
            "some, or make build a link to a folder on a larger disk")
    if free < FULL_SPACE:
        say(f"note: {free / (1 << 30):.1f} GB free in {BUILD}; all builds take "
            f"{FULL_SPACE >> 30} GB")


def ensure() -> Base:
    """The base to use, in build/linux; imported if it is not there yet.
    Whoever puts the series on it records it."""
    kernel = os.environ.get("KERNEL")
    base = recorded()
    if base and not kernel:
        return base
    source = named_source(kernel) if kernel else None
    if base and source and base.key == source.key:
        return base
    BUILD.mkdir(exist_ok=True)
    check_space()
    source = source or default_source()
    imported = recorded(IMPORTED)
    if imported and imported.key == source.key:
        return imported
    base = import_source(source)
    shutil.rmtree(BUILD / "source", ignore_errors=True)
    return base


def import_source(source: Source) -> Base:
    if not (LINUX / ".git").exists():
        LINUX.mkdir(parents=True, exist_ok=True)
        git.git(LINUX, "init")
    what = [source.path, LINUX] + ([source.upstream] if source.upstream else [])
    try:
        run_step(f"Import {source.origin}",
                 [sys.executable, "-m", "scripts.importer", *what],
                 log="import", timeout=1800)
    except StepFailed as error:
        raise StepFailed(f"{source.origin} cannot be the base: {error}\n"
                         f"{REMEDY}") from None
    commit = git.git(LINUX, "rev-parse", REF)
    version = git.git(LINUX, "log", "-1", "--format=%s", commit).split()[-1]
    base = Base(source.key, source.origin, commit, version, source.upstream)
    record(base, IMPORTED)
    return base
