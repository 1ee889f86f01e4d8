# SPDX-License-Identifier: GPL-2.0
"""make series: the mails apply as mails do; and the real series' round trip."""

import dataclasses
import shutil
import subprocess
import time
from pathlib import Path
from typing import Iterator

import pytest

from scripts import base, git, patchset, tree
from scripts.conftest import AUTHOR, Bench
from scripts.workbench import LINUX, ROOT


@pytest.fixture
def mailed(bench: Bench) -> Bench:
    (bench.patches / "0000-cover-letter.txt").write_text(
        "Groups and aliases\n\nWhat it is about.\n")
    bench.run("series")
    return bench


def upstream(bench: Bench, where: Path) -> Path:
    """A maintainer's repository that stands at the base."""
    git.git(bench.root, "clone", "--quiet", "--branch", "base",
            str(bench.linux), str(where))
    git.git(where, "switch", "--quiet", "-c", "topic")
    return where


def test_git_am_gives_the_same_tree(mailed: Bench, tmp_path: Path) -> None:
    for source in ("series.mbox", "0*-*.patch"):
        where = upstream(mailed, tmp_path / source.replace("*", "x"))
        mails = sorted(path for path in (mailed.root / "build/series").glob(source)
                       if not path.name.startswith("0000-"))
        if source == "series.mbox":
            # the cover letter is no patch; git am is told to leave it out
            git.git(where, "am", "--empty=drop", *mails)
        else:
            git.git(where, "am", *mails)
        assert git.git(where, "rev-parse", "HEAD^{tree}") == mailed.tree_hash()
        assert git.git(where, "log", "--format=%an %s", "base..") == \
            mailed.git("log", "--format=%an %s", "base..series")
        assert "Tests-only" not in git.git(where, "log", "--format=%B", "base..")


def b4(where: Path, home: Path, *arguments: str | Path) -> str:
    """What b4 says in @where, without a network and without our settings."""
    # It finds its own commits by their date
    env = git.environment(HOME=str(home), GIT_COMMITTER_DATE=f"{time.time():.0f} +0000",
                          **{"user.name": "Maintainer", "user.email": "m@example.org"})
    done = subprocess.run(["b4", "--offline-mode", "--no-interactive", *arguments],
                          cwd=where, env=env, capture_output=True, text=True,
                          timeout=120, check=False)
    said = done.stdout + done.stderr
    assert done.returncode == 0, said
    return said


def test_b4_prepares_the_series(mailed: Bench, tmp_path: Path) -> None:
    """For who sends it: as many patches as there are, on the base."""
    where = upstream(mailed, tmp_path / "ours")
    git.git(where, "fetch", "--quiet", str(mailed.linux), "series")
    git.git(where, "switch", "--quiet", "-c", "submit", "FETCH_HEAD")
    b4(where, tmp_path, "prep", "-e", "base")
    said = b4(where, tmp_path, "prep", "--show-info")
    assert f"base-commit: {mailed.git('rev-parse', 'base^{commit}')}" in said
    assert said.count("\ncommit-") == 3


def test_b4_takes_the_mbox(mailed: Bench, tmp_path: Path) -> None:
    """Offline: b4 finds all patches and the base, and git am their tree."""
    where = upstream(mailed, tmp_path / "theirs")
    mbox = mailed.root / "build/series/series.mbox"
    cover = (mailed.root / "build/series/0000-cover-letter.patch").read_text()
    message_id = cover.partition("Message-ID: <")[2].partition(">")[0]
    out = tmp_path / "out"
    out.mkdir()
    said = b4(where, tmp_path, "am", "-m", mbox, "-o", out, message_id)
    taken = list(out.glob("*.mbx"))
    assert len(taken) == 1, said
    assert "Total patches: 3" in said
    git.git(where, "am", str(taken[0]))
    assert git.git(where, "rev-parse", "HEAD^{tree}") == mailed.tree_hash()


def test_cover_letter(mailed: Bench) -> None:
    text = (mailed.root / "build/series/0000-cover-letter.patch").read_text()
    assert "Subject: [PATCH 0/3] Groups and aliases\n" in text
    assert "\n\nWhat it is about.\n\nZoë Author (3):\n" in text
    assert " drivers/pci.c" in text and "create mode 100755 tools/run.sh" in text
    assert text.rstrip().endswith(
        "base-commit: " + mailed.git("rev-parse", "base^{commit}"))


def test_notes_and_new_files_in_a_mail(mailed: Bench) -> None:
    mail = next((mailed.root / "build/series").glob("0001-*")).read_text()
    assert "Subject: [PATCH 1/3] kunit: Add a test\n" in mail
    assert "Tests-only" not in mail and "Adds:" not in mail
    assert "+// test\n" in mail
    assert "diff --git a/lib/kunit/group_test.c b/lib/kunit/group_test.c\n" in mail


def test_base_commit_of_a_git_tree(bench: Bench, kernel: Path) -> None:
    """A maintainer can find the commit that the mails name."""
    (bench.patches / "0000-cover-letter.txt").write_text("S\n\nT.\n")
    git.git(kernel, "init")
    git.git(kernel, "add", "-fA")
    git.git(kernel, "commit", "-m", "theirs", **AUTHOR)
    bench.run("tree")
    bench.run("series")
    text = (bench.root / "build/series/0000-cover-letter.patch").read_text()
    assert text.rstrip().endswith(
        "base-commit: " + git.git(kernel, "rev-parse", "HEAD"))
    assert "git tree named by KERNEL=" in text
    assert str(kernel) not in text


@pytest.mark.parametrize("line", ["Signed-off-by: A <a@example.org>",
                                  "From here on, more."])
def test_refused_in_the_cover_letter(mailed: Bench, line: str) -> None:
    (mailed.patches / "0000-cover-letter.txt").write_text(f"S\n\n{line}\n")
    before = (mailed.root / "build/series/series.mbox").read_bytes()
    assert line.split()[0].rstrip(":") in mailed.fail("series")
    assert (mailed.root / "build/series/series.mbox").read_bytes() == before


def test_no_cover_letter(bench: Bench) -> None:
    assert "0000-cover-letter.txt is missing" in bench.fail("series")


@pytest.fixture
def short_lived(tmp_path: Path) -> Iterator[Path]:
    """A folder that goes with its test: pytest keeps those of three runs, and a
    kernel in each takes much."""
    yield tmp_path
    shutil.rmtree(tmp_path)


def check_out_little(bench: Bench, objects: Path, on: str, paths: set[str]) -> None:
    """Let the trees of @bench hold just @paths of the commit @on, which is in
    @objects: two whole kernel trees take minutes to write and to remove."""
    git.git(bench.root, "init", bench.linux)
    (bench.linux / ".git/objects/info/alternates").write_text(f"{objects}\n")
    git.git(bench.linux, "config", "core.sparseCheckout", "true")
    git.git(bench.linux, "worktree", "add", "--no-checkout", "--detach",
            bench.stock, on)
    for worktree in (bench.linux, bench.stock):
        sparse = Path(git.git(worktree, "rev-parse", "--path-format=absolute",
                              "--git-path", "info/sparse-checkout"))
        sparse.parent.mkdir(exist_ok=True)
        sparse.write_text("".join(f"/{path}\n" for path in sorted(paths)))
    git.git(bench.stock, "read-tree", "-m", "-u", "HEAD")


@pytest.mark.long(minutes=1)
def test_real_round_trip(short_lived: Path) -> None:
    """The repo's own series: a clone gives the same commits, and refresh in it
    the same files. On a newer 7.3.y the hunks may move once; what refresh then
    writes has to be as stable."""
    on = tree.make_tree()
    tip = git.git(LINUX, "rev-parse", tree.marks(LINUX)[0])
    kernel = short_lived / "kernel.git"
    git.git(short_lived, "init", "--bare", kernel)
    objects = LINUX / ".git/objects"
    (kernel / "objects/info/alternates").write_text(f"{objects}\n")
    git.git(kernel, "update-ref", "HEAD", on.commit)

    clone = Bench(short_lived / "clone", kernel)
    for name in ("patches", "linux"):
        shutil.rmtree(clone.root / name)
        shutil.copytree(ROOT / name, clone.root / name)
    check_out_little(clone, objects, on.commit, {".gitattributes"} | {
        path for commit in patchset.commits(LINUX, on.commit, tip)
        for _, path in commit.changes})
    # it has all objects: a minute less than an import
    source = base.named_source(str(kernel))
    base.record(dataclasses.replace(on, key=source.key),
                clone.root / "build" / base.IMPORTED.name)
    made = (ROOT / "patches/series").read_text().splitlines()[0]
    same_base = git.git(LINUX, "rev-parse", f"{on.commit}^{{tree}}") in made
    before = clone.contents()
    clone.run("tree")
    assert clone.git("rev-parse", "series") == tip
    clone.run("refresh", FORCE="1")
    after = clone.contents()
    if same_base:
        assert after == before
    clone.run("refresh", FORCE="1")
    assert clone.contents() == after
    assert base.recorded() == on
