# SPDX-License-Identifier: GPL-2.0
"""How a long step is bounded, and what stays when the program is killed."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from scripts import workbench
from scripts.workbench import ROOT, StepFailed, in_parallel, run_step

HOLDER = """
import os, signal, subprocess, sys, time
from pathlib import Path
from scripts import workbench
# a shell's background job, which these tests may be, ignores it
signal.signal(signal.SIGINT, signal.default_int_handler)
class Slow(subprocess.Popen):
    # the child may be far before it is known
    def __init__(self, *arguments, **options):
        super().__init__(*arguments, **options)
        time.sleep(float(os.environ.get("SLOW", 0)))
subprocess.Popen = Slow
workbench.BUILD = Path(sys.argv[1])
workbench.LOGS = workbench.BUILD / "logs"
with workbench.locked("test"):
    print("held", flush=True)
    if len(sys.argv) > 2:
        workbench.run_step("Wait", [
            "sh", "-c", f"touch {sys.argv[1]}/up; sleep {sys.argv[2]}"])
"""


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(workbench, "LOGS", tmp_path / "logs")
    return tmp_path


def test_step_that_does_not_end(place: Path) -> None:
    with pytest.raises(StepFailed, match="(?s)no end after 1 s.*so far"):
        run_step("Hang", ["sh", "-c", "echo so far; sleep 60"], timeout=1)


def test_step_that_fails(place: Path) -> None:
    with pytest.raises(StepFailed, match="(?s)failed with status 3.*why"):
        run_step("Fail", ["sh", "-c", "echo why; exit 3"])


def test_steps_in_parallel(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """They run at the same time, and their results keep the order."""
    monkeypatch.setattr(workbench, "jobs", lambda: 2)

    def meet(own: str, other: str) -> str:
        run_step(f"Wait for {other}",
                 ["sh", "-c", f"touch {own}; until [ -e {other} ]; do sleep 0.1; done"],
                 cwd=place, timeout=60)
        return own

    assert in_parallel([lambda: meet("a", "b"), lambda: meet("b", "a")]) == ["a", "b"]


def test_failure_stops_what_runs_beside(place: Path,
                                        monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(workbench, "jobs", lambda: 2)
    start = time.monotonic()
    with pytest.raises(StepFailed, match="Fail: failed with status 3"):
        in_parallel([lambda: run_step("Long", ["sleep", "60"]),
                     lambda: run_step("Fail", ["sh", "-c", "exit 3"])])
    assert time.monotonic() - start < 30


def hold(place: Path, *arguments: str, **env: str) -> subprocess.Popen:
    child = subprocess.Popen([sys.executable, "-c", HOLDER, place, *arguments],
                             cwd=ROOT, stdout=subprocess.PIPE, text=True,
                             env=os.environ | env)
    return child


@pytest.mark.parametrize("number, slow, works, waits", [
    (signal.SIGKILL, 0, 12, True), (signal.SIGTERM, 0, 60, False),
    (signal.SIGTERM, 2, 60, False), (signal.SIGINT, 2, 60, False)])
def test_next_run_waits_for_what_is_left(place: Path, number: int, slow: int,
                                         works: int, waits: bool) -> None:
    """A killed program's child still works in the tree and holds its lock; a
    program that is asked to end takes its child with it, even one that it has
    only just begun."""
    with hold(place, str(works), SLOW=str(slow)) as first:
        assert first.stdout and first.stdout.readline() == "held\n"
        deadline = time.monotonic() + 20
        while not (place / "up").exists():
            assert time.monotonic() < deadline
            time.sleep(0.01)
        start = time.monotonic()
        first.send_signal(number)
        first.wait(20)
    with hold(place) as second:
        said, _ = second.communicate(timeout=90)
    assert "held\n" in said
    assert (time.monotonic() - start > works - 4) == waits


INTERRUPTED = """
from pathlib import Path
from scripts.workbench import run_step
def test_first(): pass
def test_long(): run_step("Wait", ["sh", "-c", "echo $$ >{up}; sleep 60"])
def test_next(): Path("{up}.next").touch()
"""


def test_run_that_is_asked_to_end(place: Path) -> None:
    """No further test begins, no child is left, and the count is no success."""
    up = place / "up"
    (place / "test_it.py").write_text(INTERRUPTED.replace("{up}", str(up)))
    with subprocess.Popen([sys.executable, "-m", "pytest", "-p", "conftest",
                           place / "test_it.py"], cwd=ROOT, text=True,
                          stdout=subprocess.PIPE) as run:
        deadline = time.monotonic() + 60
        while not (up.exists() and up.read_text()):
            assert time.monotonic() < deadline
            time.sleep(0.05)
        run.terminate()
        said, _ = run.communicate(timeout=60)
    assert said.splitlines()[-1] == "1 passed, 1 failed, 0 skipped"
    assert run.returncode
    assert not (place / "up.next").exists()
    # Whoever reaps what has no parent any more may take a while
    with pytest.raises(ProcessLookupError):
        while time.monotonic() < deadline + 60:
            os.kill(int(up.read_text()), 0)
            time.sleep(0.05)
