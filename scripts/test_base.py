# SPDX-License-Identifier: GPL-2.0
"""Where the base comes from: KERNEL=, Debian, kernel.org; what is refused."""

import hashlib
import shutil
import subprocess
from pathlib import Path

import pytest

from scripts import apt, base, git
from scripts.conftest import AUTHOR, Bench, make_kernel
from scripts.workbench import StepFailed

FORMATS = {"tar": "", "tar.gz": "-z", "tar.xz": "-J"}


def pack(kernel: Path, ending: str) -> Path:
    tarball = kernel.parent / f"linux.{ending}"
    shutil.copytree(kernel, kernel.parent / "linux-7.3.4", symlinks=True)
    subprocess.run(["tar", "-c", *FORMATS[ending].split(), "-f", tarball, "-C",
                    kernel.parent, "linux-7.3.4"], check=True)
    return tarball


def snapshot(top: Path) -> dict[str, tuple[int, int]]:
    return {str(p): (p.lstat().st_mtime_ns, p.lstat().st_size)
            for p in sorted(top.rglob("*"))}


def test_same_commit_from_everywhere(empty: Bench, tmp_path: Path,
                                     kernel: Path) -> None:
    """A folder, tarballs and a git tree of the same files are the same base."""
    commit = empty.git("rev-parse", "base^{commit}")
    for ending in FORMATS:
        shutil.rmtree(tmp_path / "linux-7.3.4", ignore_errors=True)
        assert "7.3.4 from the tarball" in empty.run(
            "tree", KERNEL=str(pack(kernel, ending)))
        assert empty.git("rev-parse", "base^{commit}") == commit
    git.git(kernel, "init")
    git.git(kernel, "add", "-fA")
    git.git(kernel, "commit", "-m", "theirs", **AUTHOR)
    assert "from the git tree" in empty.run("tree", KERNEL=str(kernel))
    assert empty.git("rev-parse", "base^{commit}") == commit


def test_kernel_is_only_read(bench: Bench, kernel: Path) -> None:
    before = snapshot(kernel)
    bench.run("tree")
    bench.run("series") if (bench.patches / "0000-cover-letter.txt").exists() else None
    assert snapshot(kernel) == before


def test_git_tree_is_taken_as_committed(empty: Bench, kernel: Path) -> None:
    git.git(kernel, "init")
    git.git(kernel, "add", "-fA")
    git.git(kernel, "commit", "-m", "theirs", **AUTHOR)
    (kernel / "drivers/pci.c").write_text("edited\n")
    before = snapshot(kernel / ".git/objects")
    assert "uncommitted changes" in empty.run("tree", KERNEL=str(kernel))
    assert "edited" not in (empty.linux / "drivers/pci.c").read_text()
    assert snapshot(kernel / ".git/objects") == before


def test_base_stays_until_another_is_named(empty: Bench, kernel: Path) -> None:
    assert f"from the folder {kernel}" in empty.run("tree", KERNEL="")
    (kernel / "drivers/pci.c").write_text("int later;\n")
    assert "up to date" in empty.run("tree", KERNEL="")
    empty.run("tree")
    assert (empty.linux / "drivers/pci.c").read_text() == "int later;\n"


@pytest.mark.parametrize("version", ["7.2.9", "6.1.0", "7.4.0"])
def test_other_versions_are_refused(bench: Bench, tmp_path: Path,
                                    version: str) -> None:
    other = make_kernel(tmp_path / "other", version)
    tip = bench.git("rev-parse", "series")
    said = bench.fail("tree", KERNEL=str(other))
    assert f"it is Linux {version}, the series is for 7.3" in said
    assert bench.git("rev-parse", "series") == tip
    assert "up to date" in bench.run("tree", KERNEL="")


def break_makefile(kernel: Path) -> None:
    (kernel / "Makefile").write_text("all:\n")


@pytest.mark.parametrize("spoil, message", [
    (lambda k: (k / "Makefile").unlink(), "no top Makefile"),
    (break_makefile, "states no kernel version"),
    (lambda k: (k / ".config").touch(), "make mrproper"),
    (shutil.rmtree, "there is no"),
], ids=["no Makefile", "no version", "built in", "absent"])
def test_no_kernel_at_all(tmp_path: Path, kernel: Path, spoil, message: str) -> None:
    bench = Bench(tmp_path / "repo", kernel)
    spoil(kernel)
    said = bench.fail("tree")
    assert message in said and "KERNEL=" in said


def test_broken_tarball(tmp_path: Path, kernel: Path) -> None:
    tarball = pack(kernel, "tar.xz")
    tarball.write_bytes(tarball.read_bytes()[:200])
    bench = Bench(tmp_path / "repo", tarball)
    assert "cannot be the base" in bench.fail("tree")
    assert not list(bench.linux.glob("[!.]*"))


@pytest.fixture
def site(tmp_path: Path, kernel: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A stand-in for kernel.org's folder."""
    monkeypatch.setattr(base, "BUILD", tmp_path / "build")
    where = tmp_path / "site"
    where.mkdir()
    sums = []
    for name in ("linux-7.2.9.tar.xz", "linux-7.3.tar.xz", "linux-7.3.4.tar.xz",
                 "linux-7.3.10.tar.xz"):
        (where / name).write_text(f"content of {name}")
        sums.append(hashlib.sha256((where / name).read_bytes()).hexdigest()
                    + f"  {name}\n")
    (where / "sha256sums.asc").write_text("-----BEGIN\n" + "".join(sums))
    return where


def test_kernel_org_newest(site: Path) -> None:
    source = base.kernel_org_source(site.as_uri() + "/")
    assert source.path.name == "linux-7.3.10.tar.xz"
    assert source.path.read_text() == "content of linux-7.3.10.tar.xz"
    shutil.copy(site / "sha256sums.asc", site / "kept")
    (site / source.path.name).unlink()
    assert base.kernel_org_source(site.as_uri() + "/") == source


def test_kernel_org_wrong_hash(site: Path, tmp_path: Path) -> None:
    (site / "linux-7.3.10.tar.xz").write_text("something else")
    with pytest.raises(StepFailed, match="sha256"):
        base.kernel_org_source(site.as_uri() + "/")
    assert not list((tmp_path / "build").rglob("*.tar.xz"))


def test_no_source_at_all(monkeypatch: pytest.MonkeyPatch, site: Path) -> None:
    """The message says what was tried and how to name a source."""
    monkeypatch.setattr(apt, "available", lambda: False)
    monkeypatch.setattr(base, "kernel_org_source", lambda: (_ for _ in ()).throw(
        StepFailed("no network")))
    with pytest.raises(StepFailed, match=r"(?s)no network.*KERNEL=<folder, git tree"):
        base.default_source()


def test_small_disk(monkeypatch: pytest.MonkeyPatch, capsys) -> None:
    def free(gigabytes: int):
        return lambda _: shutil._ntuple_diskusage(100 << 30, 0, gigabytes << 30)
    monkeypatch.setattr(shutil, "disk_usage", free(3))
    with pytest.raises(StepFailed, match="3.0 GB free; the trees take 4 GB"):
        base.check_space()
    monkeypatch.setattr(shutil, "disk_usage", free(6))
    base.check_space()
    assert "all builds take 12 GB" in capsys.readouterr().out


# --- apt --------------------------------------------------------------------

LIST = """# deb http://commented.example/debian bookworm main
deb http://security.example/debian-security bookworm-security main
deb [arch=amd64 signed-by=/x.gpg] http://mirror.example/debian bookworm main contrib
"""
SOURCES = """# a comment
Types: deb
URIs: http://off.example/debian
Suites: bookworm
Components: main
Enabled: no

Types: deb deb-src
URIs: http://security.example/debian-security
Suites: bookworm-security
Components: main

# between
Types: deb
URIs:
 http://mirror.example/debian
Suites: bookworm bookworm-updates
Components: main
Signed-By: /usr/share/keyrings/debian-archive-keyring.gpg
"""


@pytest.mark.parametrize("name, text", [
    ("sources.list", LIST), ("sources.list.d/x.list", LIST),
    ("sources.list.d/debian.sources", SOURCES)])
def test_mirror_of_the_system(tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
                              name: str, text: str) -> None:
    monkeypatch.setattr(apt, "release", lambda: {"VERSION_CODENAME": "bookworm"})
    (tmp_path / "sources.list.d").mkdir()
    (tmp_path / "sources.list.d/other.list").write_text(
        "deb https://packages.example/apt bookworm main\n")
    (tmp_path / name).write_text(text)
    assert apt.mirror(tmp_path) == "http://mirror.example/debian"


def test_no_mirror(tmp_path: Path) -> None:
    with pytest.raises(StepFailed, match="no entry in .* serves Debian"):
        apt.mirror(tmp_path)


def test_newest_version() -> None:
    names = ["x_7.3.4-1~bpo13+1_all.deb", "x_7.3.10-1~bpo13+1_all.deb",
             "x_7.3.9-1_all.deb"]
    assert apt.newest(map(Path, names)) == Path(names[1])
