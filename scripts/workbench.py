# SPDX-License-Identifier: GPL-2.0
"""What every script of the workbench shares: where things are, how a long
step is run so that its progress and its failure can be seen, how to stop."""

import contextlib
import fcntl
import os
import shlex
import signal
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor, as_completed, wait
from pathlib import Path
from typing import Callable, Iterator, NoReturn, Optional, Sequence, TypeVar

Result = TypeVar("Result")

ROOT = Path(__file__).resolve().parent.parent
BUILD = ROOT / "build"
LINUX = BUILD / "linux"    # the series, one commit a patch on top of tag "base"
STOCK = BUILD / "stock"    # the base and those patches that only add tests
PATCHES = ROOT / "patches"
OVERLAY = ROOT / "linux"
LOGS = BUILD / "logs"

HEARTBEAT = 15             # seconds between two signs of life of a long step
TAIL = 30                  # lines of a failed step's log that are shown
MERCY = 10                 # seconds from SIGTERM to SIGKILL

# The locks that this program holds. Children inherit them: if the program is
# killed, the next run waits for what it left running.
HELD: list[int] = []
# What run_step() waits for, in whatever thread.
CHILDREN: set[subprocess.Popen] = set()


class StepFailed(Exception):
    """A command failed or ran out of time; the text is for the user."""


def die(message: str) -> NoReturn:
    """End the program with a message that names the remedy."""
    sys.exit(f"error: {message}")


def say(message: str) -> None:
    print(message, flush=True)


def jobs() -> int:
    return len(os.sched_getaffinity(0))


def tail(log: Path, lines: int = TAIL) -> str:
    with contextlib.suppress(FileNotFoundError):
        return "\n".join(log.read_text(errors="replace").splitlines()[-lines:])
    return ""


def kill_group(child: subprocess.Popen) -> None:
    """Stop @child and what it started; make gets the time to remove a target
    that is half written, which it would take for finished in the next run."""
    for number in (signal.SIGTERM, signal.SIGKILL):
        with contextlib.suppress(ProcessLookupError):
            os.killpg(child.pid, number)
        with contextlib.suppress(subprocess.TimeoutExpired):
            child.wait(MERCY)


def keep_nice(child: subprocess.Popen) -> None:
    """Where the kernel shares the CPU among sessions first, a new session has
    forgotten how nice its parent is."""
    if nice := os.nice(0):
        with contextlib.suppress(OSError):
            Path(f"/proc/{child.pid}/autogroup").write_text(str(nice))


def end_on_sigterm() -> None:
    """Let SIGTERM end the program as an exception does, children included."""
    if threading.current_thread() is threading.main_thread() \
            and signal.getsignal(signal.SIGTERM) == signal.SIG_DFL:
        signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))


@contextlib.contextmanager
def asked_to_end_later() -> Iterator[None]:
    """What asks the program to end in here does so when this is over."""
    asked: list[int] = []
    kept = {number: handler for number in (signal.SIGINT, signal.SIGTERM)
            if threading.current_thread() is threading.main_thread()
            and callable(handler := signal.getsignal(number))}
    for number in kept:
        signal.signal(number, lambda number, _: asked.append(number))
    try:
        yield
    finally:
        for number, handler in kept.items():
            signal.signal(number, handler)
        for number in asked:
            signal.raise_signal(number)


def run_step(title: str, argv: Sequence[str | Path], *, cwd: Path = ROOT,
             env: Optional[dict[str, str]] = None, log: Optional[str] = None,
             timeout: float = 3600, ok: Sequence[int] = (0,)) -> Path:
    """Run @argv with its output in build/logs/@log and show that it lives.

    Prints @title at the start, the time so far every HEARTBEAT seconds and
    the whole time at the end. The child is a process group of its own, which
    dies with this program and at @timeout (seconds). Returns the log's path;
    raises StepFailed, with the log's last lines, on an exit status that is
    not in @ok.
    """
    LOGS.mkdir(parents=True, exist_ok=True)
    path = LOGS / f"{log or title.lower().replace(' ', '-').replace('/', '-')}.log"
    start = time.monotonic()
    done = threading.Event()
    end_on_sigterm()

    def beat() -> None:
        while not done.wait(HEARTBEAT):
            say(f"  ... {title}: {time.monotonic() - start:.0f} s")

    say(f"==> {title}")
    with path.open("wb") as out:
        out.write(("$ " + shlex.join(map(str, argv)) + "\n").encode())
        out.flush()
        child: Optional[subprocess.Popen] = None
        try:
            # else nobody would know the child's number, and end it
            with asked_to_end_later():
                child = subprocess.Popen([str(a) for a in argv], cwd=cwd,
                                         stdout=out, stderr=subprocess.STDOUT,
                                         stdin=subprocess.DEVNULL,
                                         env={**os.environ, **(env or {})},
                                         start_new_session=True,
                                         pass_fds=tuple(HELD))
                CHILDREN.add(child)
            threading.Thread(target=beat, daemon=True).start()
            keep_nice(child)
            status = child.wait(timeout)
        except subprocess.TimeoutExpired:
            kill_group(child)
            raise StepFailed(f"{title}: no end after {timeout:.0f} s, stopped; "
                             f"last lines of {path}:\n{tail(path)}") from None
        except BaseException:
            if child:
                kill_group(child)
            raise
        finally:
            done.set()
            CHILDREN.discard(child)
    if status not in ok:
        raise StepFailed(f"{title}: failed with status {status}; "
                         f"last lines of {path}:\n{tail(path)}")
    say(f"    {title}: done in {time.monotonic() - start:.0f} s")
    return path


def in_parallel(work: Sequence[Callable[[], Result]]) -> list[Result]:
    """The results of @work, as many at a time as there are processors. What
    of it runs is stopped when one fails or the program is asked to end."""
    with ThreadPoolExecutor(jobs()) as pool:
        futures = [pool.submit(one) for one in work]
        try:
            for future in as_completed(futures):
                future.result()
        except BaseException:
            for future in futures:
                future.cancel()
            # one that is just about to start is seen the next time
            while wait(futures, timeout=0.1).not_done:
                for child in list(CHILDREN):
                    kill_group(child)
            raise
    return [future.result() for future in futures]


@contextlib.contextmanager
def locked(name: str) -> Iterator[None]:
    """Keep a second run out of build/@name while this one works there."""
    BUILD.mkdir(exist_ok=True)
    with (BUILD / f".{name}.lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            say(f"waiting for another run that holds build/.{name}.lock")
            fcntl.flock(lock, fcntl.LOCK_EX)
        HELD.append(lock.fileno())
        try:
            yield
        finally:
            HELD.remove(lock.fileno())


# Debian's compilers for the architectures that are not x86
CROSS = {"arm64": "aarch64-linux-gnu-", "riscv": "riscv64-linux-gnu-",
         "powerpc": "powerpc64-linux-gnu-", "s390": "s390x-linux-gnu-"}


# For builds whose objects another configuration cannot use: ccache then finds them by
# the files that were read alone, and a miss takes a fifth less, for want of a run of
# the preprocessor
UNSHARED = {"CCACHE_DEPEND": "1"}


def kbuild(tree: Path, out: str, arch: str, *targets: str) -> list[str]:
    """The make command for @targets of @tree in its build folder @out.

    @out is a direct child of @tree whose name starts with a dot: kbuild then
    refers to the sources by relative paths, so that ccache serves the stock
    and the patched tree, and any clone, from one set of objects; git ignores
    it by the kernel's own rule for dot files.

    KVM is ours in the environment, and the folder of KVM's sources in kbuild.
    """
    cross = CROSS.get(arch)
    return ["env", "-u", "KVM", "make", "-C", str(tree), f"O={out}", f"ARCH={arch}", "CC=" + (
            f"ccache {cross or ''}gcc"), *([f"CROSS_COMPILE={cross}"] if cross else []),
            f"-j{jobs()}", *targets]
