# SPDX-License-Identifier: GPL-2.0
"""make deps on machines that lack something, told by stand-ins for apt-get."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from scripts import deps
from scripts.workbench import ROOT, StepFailed


# Where flex and libelf-dev are missing
WANTED = {"flex": "no-such-program", "libelf-dev": "/no/such/header.h",
          "python3": "module sys", "bash": "sh"}


def test_what_is_missing() -> None:
    assert deps.missing(WANTED) == ["flex", "libelf-dev"]


def test_without_root(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    with pytest.raises(StepFailed, match="(?s)missing: flex libelf-dev\nas root: "
                       "apt-get install --no-install-recommends flex libelf-dev"):
        deps.require(WANTED)


def test_without_apt(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(StepFailed, match="no apt-get; install what Debian calls: "
                       "flex libelf-dev"):
        deps.require({"flex": "flex", "libelf-dev": "/no/such/header.h"})


def test_without_network(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    fake = tmp_path / "apt-get"
    fake.write_text("#!/bin/sh\necho 'Could not resolve host'\nexit 100\n")
    fake.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=os.pathsep)
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    with pytest.raises(StepFailed, match="(?s)Could not resolve.*missing: flex "
                       "libelf-dev\nwith a network: apt-get install"):
        deps.require(WANTED)


def test_nothing_missing_asks_nobody(tmp_path: Path) -> None:
    """With all there, apt-get is not even looked at."""
    fake = tmp_path / "apt-get"
    fake.write_text(f"#!/bin/sh\ntouch {tmp_path}/called\nexit 1\n")
    fake.chmod(0o755)
    done = subprocess.run(
        [sys.executable, "-m", "scripts.deps"], cwd=ROOT, capture_output=True,
        text=True, timeout=60, check=False,
        env=os.environ | {"PATH": f"{tmp_path}:{os.environ['PATH']}"})
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout == ""
    assert not (tmp_path / "called").exists()
