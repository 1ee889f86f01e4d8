# SPDX-License-Identifier: GPL-2.0
"""A workbench of its own for each test: a copy of the scripts, and a kernel of
a few small files. And make check, which runs beside all other tests."""

import json
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import Iterator, Optional

import pytest

from scripts import git
from scripts.cases import FAILED, Case
from scripts.workbench import LOGS, ROOT, kill_group, say

# of make same, which names it
collect_ignore = ["test_same.py"]

TIMEOUT = 600            # seconds; a whole tree takes long on a busy disk
AUTHOR = {"GIT_AUTHOR_NAME": "Zoë Author", "GIT_AUTHOR_EMAIL": "zoe@example.org",
          "GIT_AUTHOR_DATE": "1700000000 +0200"}


def body(name: str) -> str:
    """A source file with lines enough for hunks apart from each other."""
    return "".join(f"int {name}_{n};\n" for n in range(60))


def make_kernel(where: Path, version: str = "7.3.4") -> Path:
    """Sources that look like Linux's, as far as the workbench looks."""
    major, minor, patch = version.split(".")
    files = {
        "Makefile": f"VERSION = {major}\nPATCHLEVEL = {minor}\nSUBLEVEL = {patch}\n"
                    "EXTRAVERSION =\n",
        ".gitignore": "*.o\n.*\n!.gitignore\n",
        "drivers/pci.c": body("pci"),
        "drivers/iommu.c": body("iommu"),
        "lib/kunit/Makefile": "obj-y += kunit.o\n",
        "scripts/tool.sh": "#!/bin/sh\n",
    }
    for path, text in files.items():
        (where / path).parent.mkdir(parents=True, exist_ok=True)
        (where / path).write_text(text)
    (where / "scripts/tool.sh").chmod(0o755)
    (where / "link").symlink_to("Makefile")
    return where


class Bench:
    """A repo like this one, with its own build/."""

    def __init__(self, root: Path, kernel: Path | None) -> None:
        self.root = root
        self.kernel = kernel
        self.linux = root / "build/linux"
        self.stock = root / "build/stock"
        self.patches = root / "patches"
        (root / "scripts").mkdir(parents=True)
        for path in (ROOT / "scripts").glob("*.py"):
            if not path.name.startswith(("test_", "conftest")):
                shutil.copy(path, root / "scripts")
        shutil.copy(ROOT / "Makefile", root)
        self.patches.mkdir()
        (root / "linux").mkdir()
        (self.patches / "series").write_text("")

    def start(self, module: str, *arguments: str, **env: str) -> subprocess.Popen:
        kernel = {"KERNEL": str(self.kernel)} if self.kernel else {}
        inherited = {k: v for k, v in os.environ.items()
                     if k not in ("KERNEL", "FORCE") and not k.startswith("GIT_")}
        return subprocess.Popen(
            [sys.executable, "-m", f"scripts.{module}", *arguments], cwd=self.root,
            env=inherited | kernel | env, stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)

    def attempt(self, module: str, *arguments: str, **env: str) -> tuple[int, str]:
        """Run a script; its status and what it said."""
        with self.start(module, *arguments, **env) as child:
            output, _ = child.communicate(timeout=TIMEOUT)
        return child.returncode, output

    def run(self, module: str, *arguments: str, **env: str) -> str:
        status, output = self.attempt(module, *arguments, **env)
        assert status == 0, output
        return output

    def fail(self, module: str, *arguments: str, **env: str) -> str:
        status, output = self.attempt(module, *arguments, **env)
        assert status != 0, output
        assert "Traceback" not in output
        return output

    def commit(self, message: str, amend: bool = False, **files: str) -> None:
        """Commit @files (with __ for / and _dot_ for .) in build/linux."""
        for name, text in files.items():
            path = self.linux / name.replace("__", "/").replace("_dot_", ".")
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
        git.git(self.linux, "add", "-A")
        git.git(self.linux, "commit", "--allow-empty", "-F", "-",
                *(["--amend"] if amend else []), data=message.encode(), **AUTHOR)

    def git(self, *arguments: str) -> str:
        return git.git(self.linux, *arguments)

    def tree_hash(self, name: str = "series") -> str:
        return self.git("rev-parse", f"{name}^{{tree}}")

    def contents(self) -> dict[str, tuple[bytes, int]]:
        """All that the repo keeps of the series."""
        return {str(path.relative_to(self.root)): (path.read_bytes(),
                                                   path.stat().st_mode & 0o100)
                for top in (self.patches, self.root / "linux")
                for path in sorted(top.rglob("*")) if path.is_file()}

    def clone(self, root: Path) -> "Bench":
        """Another repo with the same series and nothing built."""
        other = Bench(root, self.kernel)
        shutil.rmtree(other.patches)
        shutil.copytree(self.patches, other.patches)
        shutil.copytree(self.root / "linux", other.root / "linux",
                        dirs_exist_ok=True)
        return other


@pytest.fixture
def kernel(tmp_path: Path) -> Path:
    return make_kernel(tmp_path / "kernel")


@pytest.fixture
def empty(tmp_path: Path, kernel: Path) -> Bench:
    """A workbench whose series has no patches yet."""
    bench = Bench(tmp_path / "repo", kernel)
    bench.run("tree")
    return bench


@pytest.fixture
def bench(empty: Bench) -> Bench:
    """A workbench with three patches: a test with a new file, a fix, and one
    that only adds files."""
    empty.commit("kunit: Add a test\n\nIt tests.\n---\nTests-only\n",
                 lib__kunit__group_test_dot_c="// test\n",
                 lib__kunit__Makefile="obj-y += kunit.o\nobj-y += group_test.o\n")
    empty.commit("pci: [quirk] Fix a thing that has a subject long enough to be "
                 "folded, ümlaut\n\nIt was broken.\n\nFixes: 0123456789ab (\"x\")\n",
                 drivers__pci_dot_c=body("pci").replace("pci_20;", "pci_20 = 1;"))
    empty.commit("selftests: Add a program\n", tools__run_dot_sh="#!/bin/sh\n",
                 tools___dot_gitignore="run\n")
    (empty.linux / "tools/run.sh").chmod(0o755)
    git.git(empty.linux, "commit", "-a", "--amend", "--no-edit", **AUTHOR)
    empty.run("refresh")
    return empty


class Background:
    """make check, in the time that other tests leave idle: a guest that boots
    keeps one processor busy, most of the time."""

    END = 60               # seconds that it has to stop what it runs

    def __init__(self, results: Path) -> None:
        self.results = results
        LOGS.mkdir(parents=True, exist_ok=True)
        self.log = LOGS / "check.log"
        say(f"make check runs in the background: {self.log}")
        with self.log.open("wb") as out:
            self.child = subprocess.Popen(
                ["nice", "-n", "19", sys.executable, "-m", "scripts.check",
                 "--json", str(results)], cwd=ROOT, stdin=subprocess.DEVNULL,
                stdout=out, stderr=subprocess.STDOUT, start_new_session=True)

    def cases(self) -> list[Case]:
        """Wait for its end, showing what it says from here on."""
        with self.log.open(errors="replace") as log:
            log.seek(0, os.SEEK_END)
            running = True
            while running:
                running = self.child.poll() is None
                sys.stdout.write(log.read())
                sys.stdout.flush()
                time.sleep(1)
        found = ([Case(**case) for case in json.loads(self.results.read_text())]
                 if self.results.exists() else [])
        failed = any(case.status == FAILED for case in found)
        assert found and self.child.returncode == failed, \
            f"make check broke off:\n{self.log.read_text(errors='replace')}"
        return found

    def close(self) -> None:
        self.child.terminate()
        try:
            self.child.wait(self.END)
        except subprocess.TimeoutExpired:
            kill_group(self.child)


@pytest.fixture(scope="session", autouse=True)
def checked(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) \
        -> Iterator[Optional[Background]]:
    """Begun with the first test, if it is asked for at all."""
    if not any(item.nodeid.endswith("test_check.py::test_series")
               for item in request.session.items):
        yield None
        return
    background = Background(tmp_path_factory.mktemp("check") / "results.json")
    yield background
    background.close()
