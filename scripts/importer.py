# SPDX-License-Identifier: GPL-2.0
"""Turn a kernel source (tarball or folder) into one commit of a git
repository, straight into its object store: no unpacked copy, nothing visible
before all is there, and the same source gives the same commit everywhere.

As a program: python3 -m scripts.importer SOURCE REPOSITORY writes the commit
to the ref REF of the repository.
"""

import contextlib
import os
import re
import stat
import subprocess
import sys
import tarfile
from pathlib import Path
from typing import IO, Iterator

from scripts import git

REF = "refs/workbench/import"
SERIES_OF = (7, 3)         # VERSION and PATCHLEVEL that the series is for

# (path, git mode, content) of a file or link; instead of the content the path
# of an earlier entry that has the same
Entry = tuple[str, str, bytes | str]


class BadSource(Exception):
    """The source cannot be the base; the text says why."""


def kernel_version(makefile: bytes) -> str:
    """The version that a kernel's top Makefile states; refuses others."""
    found = dict(re.findall(
        r"^(VERSION|PATCHLEVEL|SUBLEVEL|EXTRAVERSION) *= *(\S*)",
        makefile.decode(errors="replace"), re.M))
    try:
        number = [int(found[k]) for k in ("VERSION", "PATCHLEVEL", "SUBLEVEL")]
    except (KeyError, ValueError):
        raise BadSource("its top Makefile states no kernel version") from None
    version = ".".join(map(str, number)) + found.get("EXTRAVERSION", "")
    if tuple(number[:2]) != SERIES_OF:
        raise BadSource(f"it is Linux {version}, the series is for "
                        f"{'.'.join(map(str, SERIES_OF))}")
    return version


def mode(executable: int) -> str:
    return "100755" if executable & stat.S_IXUSR else "100644"


@contextlib.contextmanager
def decompressed(path: Path) -> Iterator[IO[bytes]]:
    """The tar stream of @path; xz runs as a process of its own, which halves
    the time on two processors."""
    if path.suffix not in (".xz", ".zst"):
        with path.open("rb") as stream:
            yield stream
        return
    tool = {".xz": "xz", ".zst": "zstd"}[path.suffix]
    with subprocess.Popen([tool, "-dc", str(path)], stdout=subprocess.PIPE) as child:
        assert child.stdout
        try:
            yield child.stdout
        finally:
            # it may have been left in the middle, where it would wait for ever
            child.stdout.close()
            status = child.wait()
        if status:
            raise BadSource(f"{tool} failed with status {status}")


def tar_entries(path: Path) -> Iterator[Entry]:
    """The files below the one top folder of the tarball @path."""
    with decompressed(path) as stream, \
            tarfile.open(fileobj=stream, mode="r|*") as tar:
        for member in tar:
            _, _, name = member.name.removeprefix("./").partition("/")
            if not name or member.isdir():
                continue
            if member.issym():
                yield name, "120000", member.linkname.encode()
            elif member.islnk():
                target = member.linkname.removeprefix("./").partition("/")[2]
                yield name, mode(member.mode), target
            elif member.isfile():
                data = tar.extractfile(member)
                assert data
                yield name, mode(member.mode), data.read()
        # to the end, so that the decompressor sees its checksum
        while stream.read(1 << 20):
            pass


def folder_entries(top: Path) -> Iterator[Entry]:
    """The files below the folder @top, which is only read."""
    for trace in (".config", "include/generated", "include/config"):
        if (top / trace).exists():
            raise BadSource(f"a kernel was built in it ({trace} exists), which "
                            "leaves products among the sources: make mrproper "
                            "there, or name its tarball or git tree")
    for folder, below, names in os.walk(top):
        below[:] = sorted(set(below) - {".git"})
        here = Path(folder)
        for name in sorted([*names, *(d for d in below if (here / d).is_symlink())]):
            path = here / name
            relative = str(path.relative_to(top))
            if path.is_symlink():
                yield relative, "120000", os.readlink(path).encode()
            elif path.is_file() and name != ".git":
                yield relative, mode(path.stat().st_mode), path.read_bytes()


def quoted(path: str) -> bytes:
    return b'"' + path.replace("\\", "\\\\").replace('"', '\\"').encode(
        errors="surrogateescape") + b'"'


def feed(entries: Iterator[Entry], sink: IO[bytes]) -> str:
    """Write @entries as one commit in fast-import's language."""
    version = None
    tree = []
    marks: dict[str, int] = {}
    for path, how, content in entries:
        if isinstance(content, str):
            marks[path] = marks[content]
        else:
            if path == "Makefile":
                version = kernel_version(content)
            if path == ".gitignore":
                # Debian's hides every new file, which must not go unnoticed
                content = re.sub(rb"(?m)^/\*\n", b"", content)
            marks[path] = len(marks) + 1
            sink.write(b"blob\nmark :%d\ndata %d\n" % (marks[path], len(content)))
            sink.write(content)
            sink.write(b"\n")
        tree.append(b"M %s :%d %s\n" % (how.encode(), marks[path], quoted(path)))
    if version is None:
        raise BadSource("it has no top Makefile, so it is no kernel source")
    message = base_message(version).encode()
    who = f"{git.IDENTITY['NAME']} <{git.IDENTITY['EMAIL']}> {git.EPOCH}".encode()
    sink.write(b"reset %s\ncommit %s\nauthor %s\ncommitter %s\ndata %d\n%s\n"
               % (REF.encode(), REF.encode(), who, who, len(message), message))
    sink.writelines(tree)
    sink.write(b"done\n")
    return version


def base_message(version: str) -> str:
    return f"Linux {version}\n"


def import_source(source: Path, repo: Path) -> None:
    entries = folder_entries(source) if source.is_dir() else tar_entries(source)
    with subprocess.Popen(
            ["git", "-C", str(repo), "fast-import", "--done", "--quiet",
             "--force", "--depth=0"],
            stdin=subprocess.PIPE,
            env=git.environment(**{"pack.compression": "1"})) as sink:
        assert sink.stdin
        try:
            feed(entries, sink.stdin)
        except BaseException:
            sink.kill()
            raise
        sink.stdin.close()
        if sink.wait():
            raise BadSource("git fast-import failed")


def import_git(source: Path, commit: str, repo: Path) -> None:
    """The same from @commit of the git repository @source: its tree's objects
    are copied, its history is not."""
    tree = git.git(source, "rev-parse", f"{commit}^{{tree}}")
    version = kernel_version(git.raw(source, "cat-file", "blob",
                                     f"{commit}:Makefile"))
    env = git.environment()
    with subprocess.Popen(["git", "-C", str(source), "pack-objects", "--revs",
                           "--stdout", "--quiet"], env=env,
                          stdin=subprocess.PIPE,
                          stdout=subprocess.PIPE) as pack:
        assert pack.stdin
        pack.stdin.write(tree.encode() + b"\n")
        pack.stdin.close()
        subprocess.run(["git", "-C", str(repo), "index-pack", "--stdin"],
                       env=env, stdin=pack.stdout, check=True)
        if pack.wait():
            raise BadSource("git pack-objects failed")
    new = git.git(repo, "commit-tree", tree, "-F", "-",
                  data=base_message(version).encode())
    git.git(repo, "update-ref", REF, new)


def main() -> None:
    source, repo = Path(sys.argv[1]), Path(sys.argv[2])
    try:
        if len(sys.argv) > 3:
            import_git(source, sys.argv[3], repo)
        else:
            import_source(source, repo)
    except tarfile.TarError as error:
        sys.exit(f"{source}: no tarball, or a damaged one: {error}")
    except (BadSource, KeyError, EOFError, OSError) as error:
        sys.exit(f"{source}: {error}")


if __name__ == "__main__":
    main()
