# SPDX-License-Identifier: GPL-2.0
"""make tree and make refresh on a small kernel. What a real kernel's size does
to them is not seen here; test_series.py has the real series."""

import os
import resource
import signal
import time
from pathlib import Path

import pytest

from scripts import git
from scripts.conftest import Bench, body, make_kernel


def edited(name: str, line: int) -> str:
    return body(name).replace(f"{name}_{line};", f"{name}_{line} = 1;")


def test_refresh_writes_what_the_commits_hold(bench: Bench) -> None:
    names = (bench.patches / "series").read_text().splitlines()
    assert names[0].startswith("# base: Linux 7.3.4, tree ")
    assert [name[:12] for name in names[1:]] == [
        "0001-kunit-A", "0002-pci-qui", "0003-selftes"]
    assert (bench.root / "linux/lib/kunit/group_test.c").read_text() == "// test\n"
    assert os.access(bench.root / "linux/tools/run.sh", os.X_OK)
    first, fix, adds = [(bench.patches / name).read_text() for name in names[1:]]
    assert "\n---\nAdds: lib/kunit/group_test.c\nTests-only\n\ndiff --git" in first
    assert "group_test.c b/" not in first
    assert "\n---\n\ndiff --git a/drivers/pci.c" in fix
    assert adds.endswith("---\nAdds: tools/.gitignore\nAdds: tools/run.sh\n")


def test_round_trip_is_exact(bench: Bench, tmp_path: Path) -> None:
    """A clone makes the same tree, commit for commit, and refresh of it the
    same files."""
    before = bench.contents()
    clone = bench.clone(tmp_path / "clone")
    clone.run("tree")
    assert clone.git("rev-list", "series") == bench.git("rev-list", "series")
    clone.run("refresh", FORCE="1")
    assert clone.contents() == before


@pytest.mark.parametrize("amend", [False, True], ids=["commit", "amend"])
def test_edit_reaches_a_clone(bench: Bench, tmp_path: Path, amend: bool) -> None:
    bench.commit("selftests: Add a program\n\nBetter.\n---\nv2: better\n", amend,
                 drivers__iommu_dot_c=edited("iommu", 7))
    hash_ = bench.tree_hash()
    bench.run("refresh")
    assert bench.tree_hash() == hash_
    clone = bench.clone(tmp_path / "clone")
    clone.run("tree")
    assert clone.tree_hash() == hash_
    assert "v2: better" in clone.git("show", "-s", "--format=%B", "series")


def test_rebase_reorders_and_drops(bench: Bench) -> None:
    """What git rebase does, patches/ follows; nothing stale stays."""
    tips = bench.git("rev-list", "--reverse", "base..series").split()
    bench.git("reset", "--hard", "base")
    for tip in (tips[1], tips[0]):
        bench.git("cherry-pick", tip)
    bench.run("refresh")
    names = (bench.patches / "series").read_text().splitlines()[1:]
    assert [name[:8] for name in names] == ["0001-pci", "0002-kun"]
    assert sorted(path.name for path in bench.patches.glob("*.patch")) == names
    assert not (bench.root / "linux/tools").exists()
    assert bench.git("-C", str(bench.stock), "log", "--format=%s") == \
        "kunit: Add a test\nLinux 7.3.4"


def test_stock_has_the_tests_alone(bench: Bench) -> None:
    assert (bench.stock / "lib/kunit/group_test.c").exists()
    assert (bench.stock / "drivers/pci.c").read_text() == body("pci")
    assert not (bench.stock / "tools").exists()


def test_nothing_to_do_is_quick(bench: Bench) -> None:
    def spent() -> float:
        used = resource.getrusage(resource.RUSAGE_CHILDREN)
        return used.ru_utime + used.ru_stime

    start = spent()
    assert "up to date (3 patches)" in bench.run("tree")
    assert spent() - start < 1


def test_unchanged_files_are_not_touched(bench: Bench) -> None:
    """kbuild goes by the time of a file."""
    old = {name: (bench.linux / name).stat().st_mtime_ns
           for name in ("drivers/pci.c", "drivers/iommu.c", "Makefile")}
    overlay = bench.root / "linux/lib/kunit/group_test.c"
    overlay.write_text("// another test\n")
    bench.run("tree")
    assert (bench.linux / "lib/kunit/group_test.c").read_text() == "// another test\n"
    for name, time_ns in old.items():
        assert (bench.linux / name).stat().st_mtime_ns == time_ns, name


@pytest.mark.parametrize("work", ["edit", "commit", "branch", "rebase"])
def test_work_is_never_lost(bench: Bench, work: str) -> None:
    """A new patches/ does not replace what only build/linux has."""
    if work == "edit":
        (bench.linux / "drivers/iommu.c").write_text(edited("iommu", 3))
    elif work == "commit":
        bench.commit("iommu: Work\n", drivers__iommu_dot_c=edited("iommu", 3))
    elif work == "branch":
        bench.git("switch", "-c", "topic")
        bench.commit("iommu: Work\n", drivers__iommu_dot_c=edited("iommu", 3))
    else:
        with pytest.raises(Exception, match="rebase"):
            bench.git("rebase", "--exec", "false", "base")
        (bench.linux / "drivers/iommu.c").write_text(edited("iommu", 3))
    (bench.root / "linux/lib/kunit/group_test.c").write_text("// changed\n")
    said = bench.fail("tree")
    assert "make refresh" in said and "make tree FORCE=1" in said
    assert (bench.linux / "drivers/iommu.c").read_text() == edited("iommu", 3)
    assert "// test" in (bench.linux / "lib/kunit/group_test.c").read_text()

    said = bench.run("tree", FORCE="1")
    kept = [name for name in bench.git("branch", "--format=%(refname:short)").split()
            if name.startswith("backup-")]
    assert kept and kept[0] in said
    assert any(bench.git("show", f"{name}:drivers/iommu.c") + "\n"
               == edited("iommu", 3) for name in kept)
    assert (bench.linux / "drivers/iommu.c").read_text() == body("iommu")
    assert "up to date" in bench.run("tree")


def test_edits_do_not_stop_a_build(bench: Bench) -> None:
    """As long as patches/ stays, the tree can be edited and tested."""
    (bench.linux / "drivers/iommu.c").write_text(edited("iommu", 3))
    assert "uncommitted edits that patches/ does not have" in bench.run("tree")


def test_patches_edited_meanwhile(bench: Bench) -> None:
    """Both sides changed: refresh does not overwrite either."""
    bench.commit("iommu: Work\n", drivers__iommu_dot_c=edited("iommu", 3))
    (bench.root / "linux/lib/kunit/group_test.c").write_text("// changed\n")
    before = bench.contents()
    assert "refresh would overwrite" in bench.fail("refresh")
    assert bench.contents() == before


@pytest.mark.parametrize("what, message", [
    ("edit", "uncommitted edits"), ("new file", "?? drivers/new.c")])
def test_refresh_takes_commits_only(bench: Bench, what: str, message: str) -> None:
    name = "iommu" if what == "edit" else "new"
    (bench.linux / f"drivers/{name}.c").write_text("int x;\n")
    assert message in bench.fail("refresh")


def test_new_file_belongs_to_one_commit(bench: Bench) -> None:
    bench.commit("kunit: More\n", lib__kunit__group_test_dot_c="// more\n")
    said = bench.fail("refresh")
    assert 'lib/kunit/group_test.c is added by commit' in said
    assert '("kunit: Add a test")' in said and '("kunit: More")' in said


@pytest.mark.parametrize("message, complaint", [
    ("x: Y\n\nText.\n\nSigned-off-by: A <a@example.org>\n", "Signed-off-by"),
    ("x: Y\n\ndiff --git is what I ran\n", "would end the message"),
    ("x: Y\n\nOne.\n---\nTwo.\n---\nThree.\n", "would end the message"),
    ("x: Y\n\nText.\n\nFrom here on, more.\n", "would end the message")])
def test_messages_that_cannot_be_mailed(bench: Bench, message: str,
                                        complaint: str) -> None:
    bench.commit(message, drivers__iommu_dot_c=edited("iommu", 3))
    before = bench.contents()
    assert complaint in bench.fail("refresh")
    assert bench.contents() == before


def test_signature_in_a_patch_is_refused(bench: Bench) -> None:
    path = next(bench.patches.glob("0002-*"))
    path.write_text(path.read_text().replace(
        "\n---\n", "\nSigned-off-by: A <a@example.org>\n---\n", 1))
    said = bench.fail("tree")
    assert path.name in said and "Signed-off-by" in said


@pytest.mark.parametrize("change, message", [
    (lambda b: (b.patches / "0009-x.patch").write_text("x\n---\n"),
     "0009-x.patch is not named in"),
    (lambda b: next(b.patches.glob("0002-*")).unlink(), "series names 0002-"),
    (lambda b: (b.root / "linux/stray.c").write_text("x\n"),
     "stray.c is named by no patch"),
    (lambda b: (b.root / "linux/tools/run.sh").unlink(), "adds tools/run.sh, but"),
    (lambda b: (b.patches / "series").unlink(), "series is missing"),
], ids=["stray patch", "lost patch", "stray file", "lost file", "no series"])
def test_parts_must_fit(bench: Bench, change, message: str) -> None:
    change(bench)
    tip = bench.git("rev-parse", "series")
    assert message in bench.fail("tree")
    assert bench.git("rev-parse", "series") == tip


def newer(tmp_path: Path, pci: str) -> Path:
    """Linux 7.3.5 with another drivers/pci.c."""
    where = make_kernel(tmp_path / "newer", "7.3.5")
    (where / "drivers/pci.c").write_text(pci)
    return where


def test_conflict_names_patch_file_and_hunk(bench: Bench, tmp_path: Path) -> None:
    """And leaves the tree as it was, base and all."""
    bench.commit("pci: Two places\n", drivers__pci_dot_c=edited("pci", 20).replace(
        "pci_40;", "pci_40 = 2;"))
    bench.run("refresh")
    tip, tree = bench.git("rev-parse", "series"), bench.tree_hash()
    kernel = newer(tmp_path, body("pci").replace("pci_40;", "pci_40[9];"))
    said = bench.fail("tree", KERNEL=str(kernel))
    assert "patches/0004-pci-Two-places.patch does not apply" in said
    assert "drivers/pci.c: hunk 1: @@ " in said
    assert bench.git("rev-parse", "series") == tip
    assert not bench.git("status", "--porcelain")
    assert "Linux 7.3.4" in bench.run("tree", KERNEL="")
    assert bench.tree_hash() == tree


def test_offset_is_reported(bench: Bench, tmp_path: Path) -> None:
    kernel = newer(tmp_path, "int first;\nint second;\n" + body("pci"))
    said = bench.run("tree", KERNEL=str(kernel))
    assert "base: Linux 7.3.5" in said
    assert "drivers/pci.c: Hunk #1 succeeded at" in said
    assert "(offset 2 lines)" in said
    assert "pci_20 = 1;" in (bench.linux / "drivers/pci.c").read_text()
    assert "base: Linux 7.3.5" in bench.run("tree", KERNEL="")


def test_file_that_the_base_has_already(bench: Bench, tmp_path: Path) -> None:
    kernel = newer(tmp_path, body("pci"))
    (kernel / "tools").mkdir()
    (kernel / "tools/run.sh").write_text("theirs\n")
    said = bench.fail("tree", KERNEL=str(kernel))
    assert "0003-selftests-Add-a-program.patch adds tools/run.sh, which is there" \
        in said


def test_tests_must_stand_alone(bench: Bench) -> None:
    """A patch marked Tests-only that needs a fix below it is refused."""
    bench.commit("pci: A test\n---\nTests-only\n",
                 drivers__pci_dot_c=edited("pci", 20).replace("pci_20 = 1",
                                                              "pci_20 = 3"))
    said = bench.fail("refresh")
    assert "0004-pci-A-test.patch" in said and "marked Tests-only" in said
    # the work itself is saved all the same
    assert (bench.patches / "0004-pci-A-test.patch").exists()
    assert "marked Tests-only" in bench.fail("tree")
    # and can be put right
    bench.git("reset", "--hard", "HEAD~1")
    bench.run("refresh")
    assert not (bench.patches / "0004-pci-A-test.patch").exists()


def wait_for(path: Path, child) -> None:
    deadline = time.monotonic() + 60
    while not path.exists():
        assert time.monotonic() < deadline and child.poll() is None
        time.sleep(0.002)


def kill(child) -> None:
    child.send_signal(signal.SIGKILL)
    child.communicate()


@pytest.mark.parametrize("moment", ["build/linux/.git", "build/imported.json",
                                    "build/apply", "build/linux/Makefile",
                                    "build/stock"])
def test_killed_run_is_continued(bench: Bench, tmp_path: Path, moment: str) -> None:
    clone = bench.clone(tmp_path / "clone")
    with clone.start("tree") as child:
        wait_for(clone.root / moment, child)
        kill(child)
    clone.run("tree")
    assert clone.git("rev-parse", "series") == bench.git("rev-parse", "series")
    for tree in (clone.linux, clone.stock):
        assert not git.git(tree, "status", "--porcelain")


def test_half_a_checkout_is_finished(bench: Bench) -> None:
    """As a kill in git's own work leaves it: a lock, files old, new, gone."""
    old, new = bench.git("rev-parse", "base"), bench.git("rev-parse", "series")
    bench.git("reset", "--hard", old)
    bench.git("update-ref", "refs/workbench/pending-linux", new)
    (bench.linux / "drivers/pci.c").write_text(edited("pci", 20))
    (bench.linux / "drivers/iommu.c").unlink()
    (bench.linux / ".git/index.lock").touch()
    assert "interrupted" in bench.run("tree")
    assert bench.git("rev-parse", "HEAD") == new
    assert not bench.git("status", "--porcelain")


def test_worktree_without_git_is_no_repo(bench: Bench) -> None:
    """As a kill in make clean leaves it: build/ may be in a repo, too."""
    git.git(bench.root, "init", "--quiet")
    git.git(bench.root, "commit", "--quiet", "--allow-empty", "-m", "ours")
    (bench.stock / ".git").unlink()
    bench.run("tree")
    assert not git.git(bench.stock, "status", "--porcelain")


def test_clean_leaves_the_trees(bench: Bench) -> None:
    (bench.linux / ".kunit-um").mkdir()
    (bench.root / "build/series").mkdir()
    bench.run("clean")
    assert not (bench.linux / ".kunit-um").exists()
    assert not (bench.root / "build/series").exists()
    assert "up to date" in bench.run("tree")


def test_distclean_does_not_lose_work(bench: Bench) -> None:
    bench.commit("iommu: Work\n", drivers__iommu_dot_c=edited("iommu", 3))
    assert "make refresh" in bench.fail("clean", "all")
    assert bench.linux.exists()
    bench.run("refresh")
    bench.run("clean", "all")
    assert not bench.linux.exists()
