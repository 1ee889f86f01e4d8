# SPDX-License-Identifier: GPL-2.0
"""make refresh: write the commits of build/linux back to patches/ and linux/.

What is written is applied once more before it replaces anything, and has to
give the same commits: the round trip is exact or it does not happen.
"""

import os
import shutil
from pathlib import Path

from scripts import base, git, patchset, tree
from scripts.patchset import Commit, Patch
from scripts.workbench import (BUILD, LINUX, OVERLAY, PATCHES, StepFailed, die,
                               locked, say)

NEW = BUILD / "refresh"              # what is going to replace the two folders
RUNNING = BUILD / "refresh.running"  # they are being replaced


def check_whole(commits: list[Commit]) -> None:
    """An overlay file is one commit's alone."""
    adder: dict[str, Commit] = {}
    for commit in commits:
        for letter, path in commit.changes:
            if letter == "A":
                mode = git.git(LINUX, "ls-tree", commit.hash, "--", path).split()[0]
                if mode not in ("100644", "100755"):
                    raise StepFailed(f"commit {commit} adds {path} with mode {mode}; "
                                     "linux/ holds plain files only")
                adder[path] = commit
            elif path in adder:
                raise StepFailed(
                    f"{path} is added by commit {adder[path]} and changed by commit "
                    f"{commit}: squash what changes it into the one that adds it "
                    "(git rebase -i base, fixup)")


def write_out(commits: list[Commit], on: str) -> None:
    """Write the series to NEW."""
    shutil.rmtree(NEW, ignore_errors=True)
    names = []
    for number, commit in enumerate(commits, 1):
        name = f"{number:04d}-{commit.slug}.patch"
        names.append(name)
        patch = Patch(name, patchset.mail_head(LINUX, commit, "PATCH",
                                               "--no-encode-email-headers"),
                      commit.adds, commit.notes,
                      patchset.hunks(LINUX, commit, without=commit.adds))
        patchset.write(NEW / "patches" / name, patch.text())
        for path in commit.adds:
            file = NEW / "linux" / path
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_bytes(git.raw(LINUX, "cat-file", "blob",
                                     f"{commit.hash}:{path}"))
            mode = git.git(LINUX, "ls-tree", commit.hash, "--", path).split()[0]
            file.chmod(0o755 if mode == "100755" else 0o644)
    version = git.git(LINUX, "show", "-s", "--format=%s", on)
    tree_hash = git.git(LINUX, "rev-parse", f"{on}^{{tree}}")
    (NEW / "patches").mkdir(parents=True, exist_ok=True)
    (NEW / "patches" / "series").write_text(
        f"# base: {version}, tree {tree_hash}\n" + "".join(f"{n}\n" for n in names))


def check_same(commits: list[Commit], made: list[str]) -> None:
    """The commits made from what was written are the ones it came from."""
    for old, hash_ in zip(commits, made, strict=True):
        new = patchset.commit(LINUX, hash_)
        for what in ("body", "notes", "author", "changes"):
            if getattr(old, what) != getattr(new, what):
                raise StepFailed(f"commit {old}: its {what} does not survive as a "
                                 f"mail:\n{getattr(old, what)}\nbecomes\n"
                                 f"{getattr(new, what)}")
        if git.git(LINUX, "rev-parse", f"{old.hash}^{{tree}}") != git.git(
                LINUX, "rev-parse", f"{hash_}^{{tree}}"):
            raise StepFailed(f"commit {old}: its files do not survive as a mail")


def replace(new: Path, old: Path, kept: set[str]) -> None:
    """Make @old hold what @new holds, but for the files @kept; files that are
    the same already are not touched."""
    wanted = patchset.files_below(new) if new.exists() else []
    for path in wanted:
        source, target = new / path, old / path
        if target.is_file() and target.read_bytes() == source.read_bytes() \
                and os.access(target, os.X_OK) == os.access(source, os.X_OK):
            continue
        target.parent.mkdir(parents=True, exist_ok=True)
        os.replace(source, target)
    for path in set(patchset.files_below(old)) - set(wanted) - kept:
        (old / path).unlink()
        folder = (old / path).parent
        while folder != old and not any(folder.iterdir()):
            folder.rmdir()
            folder = folder.parent


def refresh(force: bool = False) -> None:
    with locked("tree"):
        if not git.resolve(LINUX, "base^{commit}") or not git.resolve(
                LINUX, "refs/heads/series"):
            raise StepFailed("build/linux has no series yet: make tree")
        work = tree.unrefreshed()
        if work not in (None, "commits"):
            raise StepFailed(f"build/linux has {work}: finish that first (git "
                             "commit --amend, git rebase --continue, git switch "
                             "series)")
        if new := git.git(LINUX, "status", "--porcelain"):
            raise StepFailed("build/linux has files that no commit holds; git add "
                             f"and commit them, or remove them:\n{new}")
        if work is None and tree.stamp() and not force and not RUNNING.exists():
            say("patches/ and linux/ have all of build/linux already")
            return
        check_unchanged(force)

        on = git.git(LINUX, "rev-parse", "base^{commit}")
        commits = patchset.commits(LINUX, on, "series")
        check_whole(commits)
        write_out(commits, on)
        series = patchset.load(NEW / "patches", NEW / "linux")
        made = tree.apply(list(series.patches), series.overlay, on)
        check_same(commits, made)

        RUNNING.touch()
        kept = set(patchset.files_below(PATCHES)) if PATCHES.exists() else set()
        kept = {name for name in kept if not patchset.NAME.fullmatch(name)}
        replace(NEW / "patches", PATCHES, kept)
        replace(NEW / "linux", OVERLAY, set())
        shutil.rmtree(NEW)
        git.git(LINUX, "reset", "--soft", ([on] + made)[-1])
        git.git(LINUX, "update-ref", tree.marks(LINUX)[0], ([on] + made)[-1])
        RUNNING.unlink()
        series = patchset.load()
        say(f"patches/ and linux/: {len(series.patches)} patches, "
            f"{sum(len(p.adds) for p in series.patches)} new files")
        # make tree has to look again if the tests do not stand alone
        tree.write_stamp(series, "")
        if recorded := base.recorded():
            tree.switch_stock(tree.stock_tip(series, recorded), force)
        tree.write_stamp(series, on)


def check_unchanged(force: bool) -> None:
    """patches/ and linux/ are as tree or refresh left them."""
    if force or RUNNING.exists() or not PATCHES.exists() \
            or not list(PATCHES.glob("*.patch")):
        return
    if patchset.load().key != tree.stamp().get("patches"):
        raise StepFailed(
            "build/linux was edited, and patches/ or linux/ changed too since it was "
            "made: refresh would overwrite them. Look at `git status` and `git diff` "
            "of this repo; `make refresh FORCE=1` keeps build/linux's side, `make "
            "tree FORCE=1` that of patches/")


def main() -> None:
    try:
        refresh(force=bool(os.environ.get("FORCE")))
    except StepFailed as error:
        die(str(error))


if __name__ == "__main__":
    main()
