# SPDX-License-Identifier: GPL-2.0
"""The harness itself: bad machines, guests that hang or die, and splats are
noticed, bounded in time and explained."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any, Iterator, Optional

import pytest

import lab.vm
from lab import LabError, kcsan, ktap, splats
from lab.conftest import Pool, judge_defect
from lab.groups import State
from lab.kernel import Kernel, move_tools
from lab.machines import Machine
from lab.ntb import read
from lab.vm import VM, finished, qemu_binary, without_notes
from scripts.cases import FAILED, PASSED, SKIPPED, Case

BARE = Machine("bare", "", platform=("-machine", "q35"))


@pytest.fixture(scope="module")
def kernel(pool: Pool) -> Kernel:
    return pool.kernel("stock", "x86_64")


@pytest.fixture
def guest(kernel: Kernel) -> Iterator[VM]:
    with VM(kernel, BARE, log_name="selftest") as vm:
        yield vm


def test_program_that_hangs(guest: VM) -> None:
    """Stopped in time, with what it had said."""
    start = time.monotonic()
    with pytest.raises(LabError, match=r"no end after 2 s\nhanging now"):
        guest.run("self-test", "hang", timeout=2)
    assert time.monotonic() - start < 20
    assert not guest.running()


@pytest.mark.parametrize("said, whole", [
    (b"a\r\nb\r\n", b"a\r\nb\r\n"),
    (b"a\r\nunfin", b"a\r\n"),
    (b"a\r\nunfin\n=== run x\n", b"a\r\n"),
    (b"a\r\nunfin\n=== run x\n\n=== run y\n", b"a\r\n"),
    (b"a\r\nunfin\n=== run x\nished\r\n", b"a\r\nunfinished\r\n"),
    (b"a\r\n\n=== run x\n\n=== run y\nb\r\n", b"a\r\nb\r\n"),
    (b"a\r\n\n=== run x\n", b"a\r\n"),
    (b"unfin", b"")])
def test_line_with_a_note_in_its_midst(said: bytes, whole: bytes) -> None:
    """A line that the kernel has not finished is left for later, even if the host
    has written to the log meanwhile, and then is read as one."""
    start, rest = finished(said), said[len(finished(said)):]
    assert without_notes(start) == whole
    assert without_notes(start) + without_notes(rest) == without_notes(said)


@pytest.mark.skipif(os.environ.get("KVM") == "1", reason="KVM's time goes on")
def test_time_of_a_paused_guest(guest: VM) -> None:
    """None passes, so that it has no timeout to tell of."""
    def uptime() -> float:
        return float(read(guest, "/proc/uptime").split()[0])

    start, before = time.monotonic(), uptime()
    guest.pause()
    guest.pause()
    time.sleep(5)
    guest.resume()
    # it may be behind, not ahead
    assert 0 < uptime() - before < time.monotonic() - start - 4


def test_build_folder_that_moves(tmp_path: Path) -> None:
    """What make takes for done in the one is so in its copy."""
    old, new = tmp_path / ".lab-x86_64", tmp_path / ".lab-x86_64-module"
    note = new / "tools/objtool/arch/.check.o.cmd"
    note.parent.mkdir(parents=True)
    note.write_text(f"cmd_{old}/check.o := gcc {tmp_path}/check.c {old}-other/x.h\n")
    os.utime(note, (1e9, 1e9))
    move_tools(new, old, new)
    assert note.read_text() == (f"cmd_{new}/check.o := gcc {tmp_path}/check.c "
                                f"{old}-other/x.h\n")
    assert note.stat().st_mtime == 1e9


def test_guest_that_panics(guest: VM) -> None:
    """The error carries the guest's last lines, the scan finds the panic."""
    with pytest.raises(LabError, match=r"(?s)QEMU has ended.*Kernel panic"):
        guest.run("self-test", "panic")
    assert any("Kernel panic" in line for line in guest.new_splats())


def test_kernel_that_never_answers(kernel: Kernel,
                                   monkeypatch: pytest.MonkeyPatch) -> None:
    """A boot has an end, and its error the kernel's last lines."""
    monkeypatch.setattr(lab.vm, "BOOT_TIMEOUT", 10.0)
    with pytest.raises(LabError, match=r"(?s)could not boot.*the guest was "
                                       r"stopped.*hanging now"):
        VM(kernel, BARE, cmdline="rdinit=/bin/self-test -- hang",
           log_name="selftest")


def test_program_status(guest: VM) -> None:
    """Status, signal and stderr come back; a missing program is an error."""
    with pytest.raises(LabError, match="status 3: leaving"):
        guest.run("self-test", "exit", 3)
    assert guest.run("self-test", "exit", 3, check=False).returncode == 3
    assert guest.run("self-test", "abort",
                     check=False).returncode == -signal.SIGABRT
    with pytest.raises(LabError, match="No such file"):
        guest.run("no-such-program")
    guest.poweroff()
    assert not guest.running()


def test_splat_is_found(guest: VM) -> None:
    """One line of the kernel log is enough, and it is reported once."""
    assert not guest.new_splats()
    guest.run("log-line", "WARNING: CPU: 0 PID: 1 at here.c:1")
    assert len(guest.new_splats()) == 1
    assert not guest.new_splats()
    guest.run("log-line", "DMAR: [DMA Read] Request device [01:00.1]")
    assert not guest.new_splats(expected=[r"DMA Read\] Request device"])


def test_refused_device(guest: VM) -> None:
    """QEMU's reason is passed on and the guest goes on."""
    with pytest.raises(LabError, match="no-such-device"):
        guest.device_add("no-such-device", "x", "pcie.0")
    with pytest.raises(LabError, match="no PCI device named x"):
        guest.bdf("x")
    assert guest.running()


@pytest.mark.parametrize("after, complaint", [
    ("", ""), ("BUG: too late", "BUG: too late"), ("end", "it ended:")])
def test_guest_after_its_last_case(guest: VM, after: str, complaint: str) -> None:
    """What no case can see any more fails the run."""
    assert not guest.new_splats()
    if after == "end":
        guest.qemu.kill()
        guest.qemu.wait()
    elif after:
        guest.run("log-line", after)
    guest.pause()
    pool = Pool()
    pool.dismiss(guest)
    assert not guest.running()
    assert len(pool.complaints) == bool(complaint)
    assert complaint in "".join(pool.complaints)


def test_missing_qemu(kernel: Kernel, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("QEMU", "no-such-qemu")
    with pytest.raises(LabError, match="'no-such-qemu'.*QEMU="):
        VM(kernel, BARE)
    monkeypatch.delenv("QEMU")
    monkeypatch.setenv("PATH", "")
    with pytest.raises(LabError, match="qemu-system-x86.*make deps|make deps"):
        qemu_binary("x86_64")


def test_qemu_that_fails(kernel: Kernel, tmp_path: Path,
                         monkeypatch: pytest.MonkeyPatch) -> None:
    """What QEMU said is in the error."""
    fake = tmp_path / "qemu"
    fake.write_text("#!/bin/sh\necho out of luck; exit 7\n")
    fake.chmod(0o755)
    monkeypatch.setenv("QEMU", str(fake))
    with pytest.raises(LabError, match="(?s)status 7.*out of luck"):
        VM(kernel, BARE, log_name="selftest")


def test_no_qemu_left_behind(kernel: Kernel) -> None:
    """A harness that is killed takes its QEMU along."""
    harness = subprocess.Popen(
        [sys.executable, "-c",
         "import sys, time\n"
         "from pathlib import Path\n"
         "from lab.kernel import Kernel\n"
         "from lab.test_harness import BARE\n"
         "from lab.vm import VM\n"
         "name, arch, variant, out = sys.argv[1:]\n"
         "vm = VM(Kernel(name, arch, variant, Path(out)), BARE,"
         " log_name='selftest')\n"
         "print(vm.qemu.pid, flush=True)\n"
         "time.sleep(600)\n",
         kernel.name, kernel.arch, kernel.variant, str(kernel.out)],
        stdout=subprocess.PIPE, text=True)
    assert harness.stdout
    qemu = int(harness.stdout.readline())
    assert Path(f"/proc/{qemu}").exists()
    harness.kill()
    harness.wait()
    for _ in range(100):
        if ended(qemu):
            return
        time.sleep(0.05)
    os.kill(qemu, signal.SIGKILL)
    pytest.fail("QEMU survived its harness")


def ended(pid: int) -> bool:
    """No such process, or nothing of it but its status."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except FileNotFoundError:
        return True
    return stat.rpartition(")")[2].split()[0] == "Z"


@pytest.mark.parametrize("tree, message", [
    ("edu", "line 1: want 'driver,property=value name'"),
    ("edu e\n  edu f g", "line 2"),
])
def test_machine_that_cannot_be_read(tree: str, message: str) -> None:
    with pytest.raises(LabError, match=message):
        list(Machine("broken", tree).devices())


def test_machine_tree() -> None:
    """Indentation is what is plugged into what."""
    tree = "a one\n  b,x=1,y=2 two\n    c three\n  d four\ne five\n"
    devices = list(Machine("m", tree).devices())
    assert [(d["id"], d["bus"]) for d in devices] == [
        ("one", "pcie.0"), ("two", "one"), ("three", "two"), ("four", "one"),
        ("five", "pcie.0")]
    assert devices[1]["x"] == "1" and devices[1]["y"] == "2"


@pytest.mark.parametrize("line, is_splat", [
    ("[    1.0] BUG: kernel NULL pointer dereference", True),
    ("[    1.0] WARNING: drivers/pci/probe.c:1 at f+0x1/0x2, CPU#0", True),
    ("[    1.0] WARNING: possible circular locking dependency", True),
    ("[    1.0] BUG: KASAN: slab-use-after-free in f", True),
    ("[    1.0] UBSAN: shift-out-of-bounds in f.c:1:2", True),
    ("[    1.0] Oops: 0000 [#1] SMP", True),
    ("[    1.0] DMAR: [DMA Write NO_PASID] Request device [01:00.1]", True),
    ("[    1.0] DMAR: Intel(R) Virtualization Technology for Directed I/O",
     False),
    ("[    1.0] pci 0000:01:00.0: Enabling fixed DMA alias to 00.1", False),
    ("[    1.0] spectre_v2: debug aid", False),
])
def test_splat_patterns(line: str, is_splat: bool) -> None:
    assert bool(splats.find([line])) == is_splat


def test_races_in_a_log() -> None:
    """Two functions and who called them; a report without an end, as the rest
    of the log, is passed over."""
    rule = "=" * 66
    report = (f"{rule}\nBUG: KCSAN: data-race in add_one.isra.0 / next_bit\n\n"
              "write to 0xffff of 4 bytes by task 1 on cpu 0:\n"
              " add_one.isra.0+0x1/0x2\n a+0x1/0x2\n b+0x1/0x2\n c+0x1/0x2\n"
              " far+0x1/0x2\n\nread to 0xffff of 4 bytes by task 2 on cpu 1:\n"
              f" next_bit+0x1/0x2\n group+0x1/0x2\n\n{rule}\nafterwards\n")
    log = [f"[    1.000001] {line}" for line in report.splitlines()]
    (race,) = kcsan.races(log + log[:3])
    assert race.name == "add_one / next_bit"
    assert race.near == {"add_one", "a", "b", "c", "next_bit", "group"}
    assert splats.find(log) and not splats.find(log, [kcsan.TITLE])


def device(bdf: str, parent: str = "", **facts: Any) -> dict[str, Any]:
    return {"bdf": bdf, "vendor": "0x1b36", "device": "0x0001",
            "parent": parent, "driver": "", "express_type": 0,
            "header_type": 0, **facts}


def test_expected_aliases() -> None:
    """Of topology: ports alias nothing, a PCIe-to-PCI bridge hides what is
    below it behind its secondary bus, a conventional bridge behind itself.
    Of the device: edu's next function."""
    document = {
        "devices": [
            device("0000:00:01.0", express_type=4, secondary=1),
            device("0000:01:00.0", "0000:00:01.0", express_type=7, secondary=2),
            device("0000:02:03.0", "0000:01:00.0", express_type=-1, secondary=3),
            device("0000:03:04.0", "0000:02:03.0", express_type=-1,
                   vendor="0x1234", device="0x11e8", group=5),
        ],
        "requesters": [{"bus": 3, "devfn": 0x20, "domain": 7},
                       {"bus": 3, "devfn": 0x21, "domain": 7},
                       {"bus": 2, "devfn": 0x18, "domain": 8}],
        "requesters_known": True}
    state = State(json.dumps(document))
    assert not state.aliases("0000:01:00.0")
    assert state.aliases("0000:03:04.0") == [0x321, 0x218, 0x200]
    assert state.not_programmed("0000:03:04.0") == ["02:03.0 WRONG",
                                                    "02:00.0 MISSING"]
    assert state.partition({"0000:03:04.0": "edu", "0000:01:00.0": "bridge"}) \
        == {frozenset({"edu"}), frozenset({"bridge", "(no group)"})}


def test_ktap() -> None:
    """Results with their details; skips are no passes."""
    good, bad, skipped = ktap.parse(
        "KTAP version 1\n1..3\nok 1 first\n# b lacks x\n"
        "not ok 2 - second\nok 3 third # SKIP no IOMMU\n")
    assert good == Case("first", PASSED)
    assert bad == Case("second", FAILED, "# b lacks x")
    assert skipped == Case("third", SKIPPED, "no IOMMU")


def test_tap_of_selftests() -> None:
    """What the kernel's own selftests print, in another frame."""
    good, skipped = ktap.parse(
        "TAP version 13\n1..2\n# Starting 2 tests from 1 test cases.\n"
        "#  RUN           f.v.t ...\n#            OK  f.v.t\nok 1 f.v.t\n"
        "ok 2 f.v.u # SKIP no memory\n# PASSED: 2 / 2 tests passed.\n"
        "# Totals: pass:1 fail:0 xfail:0 xpass:0 skip:1 error:0\n")
    assert (good.name, good.status) == ("f.v.t", PASSED)
    assert skipped == Case("f.v.u", SKIPPED, "no memory")


@pytest.mark.parametrize("text", [
    "", "ok 1 x\n", "KTAP version 1\n1..2\nok 1 x\n",
    "KTAP version 1\nok 1 x\n", "KTAP version 1\n1..1\nok 2 x\n",
])
def test_ktap_that_breaks_off(text: str) -> None:
    with pytest.raises(LabError):
        ktap.parse(text)


@pytest.mark.parametrize("kernel_name, error, fixed, verdict", [
    ("stock", AssertionError(), True, None),
    ("stock", None, True, AssertionError),
    ("stock", LabError(), True, LabError),
    ("series", None, True, None),
    ("series", AssertionError(), True, AssertionError),
    ("series", AssertionError(), False, pytest.xfail.Exception),
    ("series", None, False, AssertionError),
    ("series", LabError(), False, LabError),
])
def test_defect_verdicts(kernel_name: str, error: Optional[BaseException],
                         fixed: bool,
                         verdict: Optional[type[BaseException]]) -> None:
    """None: the case has passed."""
    ended: Optional[type[BaseException]] = None
    try:
        judge_defect(error, kernel_name, "what", fixed)
    except BaseException as raised:
        ended = type(raised)
    assert ended is verdict
