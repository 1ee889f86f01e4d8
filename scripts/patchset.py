# SPDX-License-Identifier: GPL-2.0
"""The series as it is kept in the repo: patches/ (hunks, commit messages and
order) and linux/ (whole new files), and the commits that stand for it.

A patch file is a mail: its commit message, a line `---`, notes, the hunks.
Of the notes, `Adds: <path>` names a file of linux/ that the commit adds, and
`Tests-only` says that the patch changes no behaviour. In a commit of
build/linux the notes stand at the end of the message, below a `---` of their
own, where they survive amend and rebase; `Adds:` follows from the commit.
"""

import dataclasses
import hashlib
import os
import re
from pathlib import Path

from scripts import git
from scripts.workbench import BUILD, OVERLAY, PATCHES, StepFailed

SEPARATOR = "\n---\n"
TESTS_ONLY = "Tests-only"
NAME = re.compile(r"(\d{4})-(.+)\.patch")
SLUG_LENGTH = 52           # as git format-patch has it
SIGNED = re.compile(r"(?im)^signed-off-by:")
# what git am would take for the beginning of the patch, and b4 for the next mail
CUTS_MESSAGE = re.compile(r"(?m)^(diff -|Index: |---(?!-)|From )")
# git diff-tree reads the index, of all files, for attributes that it finds in the
# worktree, too
NO_INDEX = {"GIT_INDEX_FILE": str(BUILD / "no-index")}


@dataclasses.dataclass(frozen=True)
class Patch:
    """One patch file, taken apart."""

    name: str              # 0001-subject.patch
    head: str              # mail header and commit message
    adds: tuple[str, ...]  # files of linux/
    notes: str             # the other lines below the ---
    diff: str              # hunks against files that exist, or nothing

    @property
    def slug(self) -> str:
        """The name without its number, which changes with the order."""
        return slug_of(self.name)

    @property
    def tests_only(self) -> bool:
        return TESTS_ONLY in self.notes.splitlines()

    def text(self) -> str:
        above = [self.head, "---", *(f"Adds: {path}" for path in self.adds),
                 *([self.notes] if self.notes else [])]
        return "\n".join(above) + "\n" + ("\n" + self.diff if self.diff else "")


def slug_of(name: str) -> str:
    found = NAME.fullmatch(name)
    return found[2] if found else name


def read(path: Path) -> str:
    return path.read_bytes().decode(errors="surrogateescape")


def write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(text.encode(errors="surrogateescape"))


def parse(path: Path) -> Patch:
    head, found, rest = read(path).partition(SEPARATOR)
    if not found:
        raise StepFailed(f"{path}: no line --- ends its commit message")
    start = re.search(r"(?m)^diff --git ", rest)
    notes, diff = (rest[:start.start()], rest[start.start():]) if start \
        else (rest, "")
    adds = re.findall(r"(?m)^Adds: (.+)$", notes)
    for added in adds:
        if added.startswith("/") or ".." in Path(added).parts:
            raise StepFailed(f"{path}: Adds: {added} leads out of linux/")
    # a diffstat is a mail's, not a note: its lines begin with one space
    kept = [line for line in notes.splitlines()
            if not re.match(r"Adds: | \S", line)]
    return Patch(path.name, head, tuple(adds), "\n".join(kept).strip("\n"), diff)


def files_below(top: Path) -> list[str]:
    """All files below @top, relative, sorted."""
    return sorted(str((Path(folder) / name).relative_to(top))
                  for folder, _, names in os.walk(top) for name in names)


@dataclasses.dataclass(frozen=True)
class Patchset:
    """The whole series as patches/ and linux/ hold it."""

    patches: tuple[Patch, ...]
    overlay: Path
    key: str               # a hash over all of it

    @property
    def tests(self) -> list[Patch]:
        return [patch for patch in self.patches if patch.tests_only]


def load(folder: Path = PATCHES, overlay: Path = OVERLAY) -> Patchset:
    """Read the series and check that its parts fit together."""
    series = folder / "series"
    if not series.exists():
        raise StepFailed(f"{series} is missing")
    names = [line for line in (line.split("#")[0].strip()
                               for line in series.read_text().splitlines()) if line]
    if repeated := sorted({name for name in names if names.count(name) > 1}):
        raise StepFailed(f"{series} names {repeated[0]} twice")
    present = {path.name for path in folder.glob("*.patch")}
    if absent := [name for name in names if name not in present]:
        raise StepFailed(f"{series} names {absent[0]}, which is not in {folder}")
    if extra := sorted(present - set(names)):
        raise StepFailed(f"{folder / extra[0]} is not named in {series}")
    patches = tuple(parse(folder / name) for name in names)

    key = hashlib.sha256()
    adder: dict[str, str] = {}
    for patch in patches:
        if SIGNED.search(patch.head + SEPARATOR + patch.notes):
            raise StepFailed(f"{folder / patch.name} has a Signed-off-by; whoever "
                             "submits the patch gives it (git am --signoff)")
        key.update(f"{patch.name}\n{patch.text()}\0".encode(
            errors="surrogateescape"))
        for path in patch.adds:
            if path in adder:
                raise StepFailed(f"{path} is added by {adder[path]} and by "
                                 f"{patch.name}")
            if not (overlay / path).is_file() or (overlay / path).is_symlink():
                raise StepFailed(f"{patch.name} adds {path}, but "
                                 f"{overlay / path} is no file")
            adder[path] = patch.name
    for path in files_below(overlay):
        if path not in adder:
            raise StepFailed(f"{overlay / path} is named by no patch: add a line "
                             f"'Adds: {path}' below the --- of one")
        key.update(f"{path} {os.access(overlay / path, os.X_OK)}\0".encode())
        key.update((overlay / path).read_bytes() + b"\0")
    return Patchset(patches, overlay, key.hexdigest())


def split_message(message: str) -> tuple[str, str]:
    """The message as upstream sees it, and the notes."""
    body, _, notes = message.partition(SEPARATOR)
    return body.rstrip("\n"), notes.strip("\n")


def join_message(body: str, notes: str) -> str:
    if not notes:
        return body + "\n"
    # git takes all of the first paragraph for the subject
    blank = "" if "\n\n" in body else "\n"
    return body + blank + SEPARATOR + notes + "\n"


@dataclasses.dataclass(frozen=True)
class Commit:
    """A commit of build/linux with what a patch file needs of it."""

    hash: str
    mailed: str            # the same commit without notes in its message
    subject: str
    slug: str
    body: str              # message without notes
    notes: str
    author: str
    changes: tuple[tuple[str, str], ...]   # (letter, path)

    @property
    def adds(self) -> tuple[str, ...]:
        return tuple(sorted(p for letter, p in self.changes if letter == "A"))

    def __str__(self) -> str:
        return f"{self.hash[:12]} (\"{self.subject}\")"


def commit(repo: Path, name: str) -> Commit:
    """The commit @name of @repo; refuses what a mail cannot carry."""
    hash_, tree, parents, *author, message = git.git(
        repo, "show", "-s", "--format=%H%x00%T%x00%P%x00%an%x00%ae%x00%ad%x00%B",
        "--date=raw", name).split("\0")
    body, notes = split_message(message)
    mailed = hash_
    if notes and len(parents.split()) == 1:
        mailed = git.git(repo, "commit-tree", tree, "-p", parents, "-F", "-",
                         data=body.encode(errors="surrogateescape"),
                         **dict(zip(("GIT_AUTHOR_NAME", "GIT_AUTHOR_EMAIL",
                                     "GIT_AUTHOR_DATE"), author)))
    subject, slug = git.git(repo, "show", "-s", "--format=%s%x00%f",
                            mailed).split("\0")
    listed = git.git(repo, "diff-tree", "-r", "-M", "-z", "--no-commit-id",
                     "--name-status", hash_, **NO_INDEX).split("\0")
    changes = []
    while listed and listed[0]:
        letter = listed.pop(0)[0]
        for _ in range(2 if letter in "RC" else 1):
            changes.append((letter, listed.pop(0)))
    found = Commit(hash_, mailed, subject, slug[:SLUG_LENGTH].rstrip("-."), body,
                   notes, "{} <{}> {}".format(*author), tuple(changes))
    if len(parents.split()) != 1:
        raise StepFailed(f"commit {found} is a merge; the series is a line of "
                         "commits: git rebase base")
    if SIGNED.search(message):
        raise StepFailed(f"commit {found} has a Signed-off-by; whoever submits "
                         "the patch gives it (git am --signoff)")
    if cut := CUTS_MESSAGE.search(body) or CUTS_MESSAGE.search(notes):
        raise StepFailed(f"commit {found}: a line of its message begins with "
                         f"'{cut[0]}', where git am or b4 would end the message")
    return found


def commits(repo: Path, base: str, tip: str) -> list[Commit]:
    if git.attempt(repo, "merge-base", "--is-ancestor", base, tip).returncode:
        raise StepFailed(f"{tip} of {repo} does not stand on {base}: "
                         f"git rebase --onto base <old base> {tip}")
    return [commit(repo, name) for name in
            git.lines(repo, "rev-list", "--reverse", f"{base}..{tip}")]


def mail_head(repo: Path, of: Commit, subject_prefix: str = "PATCH",
              *options: str) -> str:
    """Header and message of the mail for a commit, without its notes."""
    mail = git.git(repo, "format-patch", "-1", "--stdout", "--no-signature",
                   "--stat", "--no-numbered", "--zero-commit", "--always",
                   f"--subject-prefix={subject_prefix}", *options, of.mailed)
    return mail.partition(SEPARATOR)[0].rstrip("\n")


def hunks(repo: Path, of: Commit, *options: str,
          without: tuple[str, ...] = ()) -> str:
    """The changes of a commit, but for the files @without."""
    diff = git.git(repo, "diff-tree", "-p", "-r", "-M", "--full-index", "--binary",
                   "--no-commit-id", *options, of.hash, "--", ".",
                   *(f":(exclude,literal){path}" for path in without), **NO_INDEX)
    return diff + "\n" if diff else ""
