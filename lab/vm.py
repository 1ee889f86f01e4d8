# SPDX-License-Identifier: GPL-2.0
"""A kernel booted on a described machine, and what can be done to it.

QEMU= names another QEMU binary; KVM=1 uses the host's CPU instead of TCG.
"""

import os
import re
import shutil
import signal
import socket
import subprocess
import time
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Iterable, Iterator, Optional

from lab import LabError, splats
from lab.groups import State
from lab.guest import build_initramfs
from lab.kernel import Kernel
from lab.machines import (QEMU_BINARY, QEMU_PACKAGE, Machine, option,
                          with_iommu)
from lab.qmp import QMP, Gone, LineReader, Silence
from scripts.workbench import LOGS

# Generous: the host may run a build on the same CPUs
BOOT_TIMEOUT = 120.0
RUN_TIMEOUT = 60.0
HOTPLUG_TIMEOUT = 60.0
LAST_LINES = 20

BUSY = "guest is busy"      # QEMU, of a slot whose power indicator blinks

# RCU takes a guest that the host has kept from running for 21 seconds for one that
# has stalled
PATIENCE = f"rcupdate.rcu_cpu_stall_timeout={RUN_TIMEOUT:.0f}"
# The IO-APIC's timer test counts ticks during a busy loop: on a loaded host
# the guest's CPU does not run, and the kernel panics. 7.3's watchdog of the TSC
# spins with interrupts off until another CPU answers; its time-out reads a clock
# that early in the boot is jiffies, which this CPU may be the one to advance. If
# the other one does not answer, that never ends
CMDLINE = {"x86_64": f"no_timer_check tsc=nowatchdog {PATIENCE}", "arm64": PATIENCE}
CONSOLE = {"x86_64": "ttyS0", "arm64": "ttyAMA0"}
AGENT = {"x86_64": "ttyS1", "arm64": "hvc0"}


# A line of the host's, which may stand in the midst of one of the kernel's
NOTE = rb"\n=== [^\n]*\n"


def finished(said: bytes) -> bytes:
    """The part of a console log up to the end of a line of the kernel's."""
    said = said[:said.rfind(b"\n") + 1]
    broken = re.search(rb"[^\n]+(?:" + NOTE + rb")+\Z", said)
    return said[:broken.start()] if broken else said


def without_notes(said: bytes) -> bytes:
    """What the kernel has said, its lines in one piece."""
    return re.sub(NOTE, b"", said)


def qemu_binary(arch: str) -> str:
    wanted = os.environ.get("QEMU") or QEMU_BINARY[arch]
    found = shutil.which(wanted)
    if not found:
        raise LabError(
            f"QEMU: no program '{wanted}': " +
            ("check what QEMU= names" if os.environ.get("QEMU") else
             f"run 'make deps' or install the package {QEMU_PACKAGE[arch]}"))
    return found


class VM:
    """One running guest. Use as a context manager, or close() it."""

    def __init__(self, kernel: Kernel, machine: Machine, *,
                 cmdline: str = "", log_name: str = "") -> None:
        if kernel.arch != machine.arch:
            raise LabError(f"machine {machine.name} is {machine.arch}, the "
                           f"kernel is {kernel.arch}")
        self.kernel, self.machine = kernel, machine
        self.log = LOGS / f"lab-{log_name or machine.name}-{kernel.label}.log"
        self.log.parent.mkdir(parents=True, exist_ok=True)
        self.log.write_bytes(b"")
        self.trace = self.log.with_suffix(".trace")
        self.scanned = 0            # bytes of the log already judged
        self.closed = False
        self.expected: list[str] = []   # splats that belong to its last case
        self.program = qemu_binary(machine.arch)
        initramfs = build_initramfs(kernel)
        try:
            self._start(initramfs, cmdline)
        except LabError:
            # QEMU's own fault, no verdict on the guest: with two CPUs, one can
            # meet a memory map that the other is about to replace
            if self.qemu.returncode not in (-signal.SIGABRT, -signal.SIGSEGV):
                raise
            self.note("QEMU has crashed; once more")
            self.closed = False
            self._start(initramfs, cmdline)

    def _start(self, initramfs: Path, cmdline: str) -> None:
        """Start QEMU and wait until the guest answers."""
        self.trace.write_bytes(b"")
        self.paused = False
        qmp_host, qmp_guest = socket.socketpair()
        agent_host, agent_guest = socket.socketpair()
        argv = self._command(initramfs, qmp_guest.fileno(),
                             agent_guest.fileno(), cmdline)
        self.note(" ".join(argv))
        with self.log.open("ab") as out:
            self.qemu = subprocess.Popen(
                argv, stdin=subprocess.DEVNULL, stdout=out,
                stderr=subprocess.STDOUT, start_new_session=True,
                pass_fds=(qmp_guest.fileno(), agent_guest.fileno()))
        qmp_guest.close()
        agent_guest.close()
        self.sockets = (qmp_host, agent_host)
        self.agent = LineReader(agent_host, "the guest's agent")
        try:
            with self._explained("start QEMU"):
                self.qmp = QMP(qmp_host, self.note)
            with self._explained("boot"):
                self._answer(time.monotonic() + BOOT_TIMEOUT)
        except BaseException:
            self.close()
            raise

    def _command(self, initramfs: Path, qmp: int, agent: int,
                 cmdline: str) -> list[str]:
        arch = self.machine.arch
        append = (f"console={CONSOLE[arch]} agent={AGENT[arch]} panic=-1 "
                  f"{CMDLINE[arch]} {self.machine.cmdline} {cmdline}").strip()
        cpu = (["-accel", "kvm", "-cpu", "host"] if os.environ.get("KVM") == "1"
               else ["-accel", "tcg", "-cpu", "max"])
        argv = [
            # The kernel ends QEMU if this program is killed
            "setpriv", "--pdeathsig", "KILL", self.program,
            *self.machine.platform, *cpu, "-smp", "2",
            "-m", "1024" if self.kernel.variant else "512",
            "-nodefaults", "-display", "none", "-no-reboot",
            "-kernel", str(self.kernel.image), "-initrd", str(initramfs),
            "-append", append,
            "-chardev", f"file,id=console,path={self.log},append=on",
            "-serial", "chardev:console",
            "-chardev", f"socket,id=agent,fd={agent}",
            "-chardev", f"socket,id=qmp,fd={qmp}",
            "-mon", "chardev=qmp,mode=control"]
        if self.machine.trace:
            argv += ["-D", str(self.trace)]
            for event in self.machine.trace:
                argv += ["-trace", event]
        if arch == "x86_64":
            argv += ["-serial", "chardev:agent"]
        else:
            argv += ["-device", "virtio-serial-device",
                     "-device", "virtconsole,chardev=agent"]
        for device in self.machine.devices():
            argv += ["-device", option(device)]
        return argv

    # What happened

    def note(self, text: str) -> None:
        """Add a line of the host's to the console log."""
        with self.log.open("ab") as out:
            out.write(f"\n=== {text}\n".encode())

    def lines(self, start: int = 0) -> list[str]:
        """The console's lines from byte @start of the log."""
        with self.log.open("rb") as log:
            log.seek(start)
            text = log.read().decode(errors="replace")
        return [line for line in text.splitlines() if line.strip()]

    def traced(self, start: int = 0) -> list[str]:
        """The trace events of QEMU so far, from number @start. What the guest
        waited for is in it."""
        return self.trace.read_text().splitlines()[start:]

    def flush_log(self) -> None:
        """Wait until all that the kernel has said so far is in the log: its
        console is written in the background."""
        size = self.log.stat().st_size
        mark = f"end of log {time.monotonic_ns()}"
        self.run("log-line", mark)
        deadline = time.monotonic() + RUN_TIMEOUT
        while not any(line.endswith("lab: " + mark) for line in self.lines(size)):
            if time.monotonic() > deadline:
                raise LabError(f"{self.machine.name}, {self.kernel.label}: the "
                               f"console stands still; see {self.log}")
            time.sleep(0.02)

    def new_splats(self, expected: Iterable[str] = ()) -> list[str]:
        """Splats since the last call, or since the start of the guest.

        The kernel may still talk: a line that has no end yet is left to the
        next call.
        """
        if self.running():
            self.flush_log()
        with self.log.open("rb") as log:
            log.seek(self.scanned)
            said = log.read()
        if self.running():
            said = finished(said)
        self.scanned += len(said)
        return splats.find(without_notes(said).decode(errors="replace").splitlines(),
                           expected)

    @contextmanager
    def _explained(self, doing: str) -> Iterator[None]:
        """Stop a guest that is silent or gone, and show its last words."""
        try:
            yield
        except (Silence, Gone) as error:
            if isinstance(error, Gone):
                with suppress(subprocess.TimeoutExpired):
                    self.qemu.wait(5)
            status = self.qemu.poll()
            fate = ("the guest was stopped" if status is None else
                    f"QEMU has ended with status {status}")
            self.close()
            lines = self.lines()
            first = splats.find(lines)[:3]
            last = "\n    ".join(first + ["..."] * bool(first) +
                                 lines[-LAST_LINES:])
            raise LabError(f"{self.machine.name}, {self.kernel.label}: could "
                           f"not {doing}: {error}; {fate}\n  last lines of "
                           f"{self.log}:\n    {last}") from None

    # What the guest can do

    def _answer(self, deadline: float) -> tuple[str, str, str]:
        """An agent's answer: stdout, stderr, how it ended."""
        out: dict[str, list[str]] = {"|": [], "!": []}
        while True:
            mark, _, text = self.agent.readline(deadline).partition(" ")
            if mark == "=":
                return "\n".join(out["|"]), "\n".join(out["!"]), text
            out.setdefault(mark, []).append(text)

    def run(self, program: str, *args: object, timeout: float = RUN_TIMEOUT,
            check: bool = True) -> subprocess.CompletedProcess[str]:
        """Run a program of lab/guest in the guest.

        The guest stops it after @timeout; LabError says what it printed.
        With @check, a status other than 0 is a LabError too.
        """
        argv = [program, *map(str, args)]
        request = "\t".join(["run", f"{max(1, round(timeout))}", *argv])
        if "\n" in request or len(request) > 8000:
            raise LabError(f"cannot pass this to the guest: {request!r}")
        self.note("run " + " ".join(argv))
        with self._explained(f"run '{' '.join(argv)}'"):
            try:
                self.agent.sock.sendall(request.encode() + b"\n")
            except OSError as error:
                raise Gone(f"the guest is gone: {error}") from None
            # The guest watches the time; the slack is for the guest's death
            out, err, end = self._answer(time.monotonic() + timeout + 15)
            kind, _, number = end.partition(" ")
            if kind == "timeout":
                raise Silence(f"no end after {timeout:.0f} s\n{out}\n{err}")
        status = int(number) if kind == "exit" else -int(number)
        if check and status:
            raise LabError(f"{self.machine.name}, {self.kernel.label}: "
                           f"'{' '.join(argv)}' ended with status {status}: "
                           f"{err or out}\n  see {self.log}")
        return subprocess.CompletedProcess(argv, status, out, err)

    def state(self) -> State:
        """The guest's devices and IOMMU, once they stand still."""
        deadline = time.monotonic() + HOTPLUG_TIMEOUT
        before = State(self.run("iommu-state").stdout)
        while time.monotonic() < deadline:
            time.sleep(0.2)
            now = State(self.run("iommu-state").stdout)
            if now == before:
                return now
            before = now
        raise LabError(f"{self.machine.name}, {self.kernel.label}: devices "
                       f"still come or go; see {self.log}")

    # What can be done to the machine

    def pause(self) -> None:
        """Let its time stand still until it is resumed: an idle guest takes a
        tenth of a processor, for its ticks. One that does not obey is stopped."""
        self._set_paused(True)

    def resume(self) -> None:
        self._set_paused(False)

    def _set_paused(self, paused: bool) -> None:
        # KVM's guests idle at no cost, and their time does not stand still
        if paused == self.paused or not self.running() or os.environ.get("KVM") == "1":
            return
        try:
            self.qmp.execute("stop" if paused else "cont")
            self.paused = paused
        except LabError as error:
            self.note(str(error))
            self.qemu.kill()
            self.qemu.wait()

    def addresses(self) -> dict[str, str]:
        """PCI address to name, of every device that has one."""
        found: dict[str, str] = {}

        def walk(devices: list[dict[str, Any]]) -> None:
            for d in devices:
                if d["qdev_id"]:
                    found[f"0000:{d['bus']:02x}:{d['slot']:02x}."
                          f"{d['function']}"] = d["qdev_id"]
                walk(d.get("pci_bridge", {}).get("devices", []))

        with self._explained("ask QEMU for its PCI devices"):
            for bus in self.qmp.execute("query-pci"):
                walk(bus["devices"])
        return found

    def bdf(self, name: str) -> str:
        """The PCI address that the guest gave to a device of the machine."""
        for address, found in self.addresses().items():
            if found == name:
                return address
        raise LabError(f"machine {self.machine.name} has no PCI device named "
                       f"{name} now")

    def device_add(self, driver: str, name: str, bus: str, *,
                   wait: bool = True, **properties: Any) -> None:
        """Plug a device in; wait until the guest has it on its bus.

        Functions of one device: the guest looks when function 0 comes, so
        add that last and the others with @wait off.
        """
        device = {"driver": driver, "id": name, "bus": bus, **properties}
        with self._explained(f"plug in {name}"):
            self.qmp.execute("device_add", **with_iommu(device))
        if wait:
            self.wait_present(name)

    def wait_present(self, name: str) -> None:
        self.run("pci-hotplug", "wait-present", self.bdf(name),
                 round(HOTPLUG_TIMEOUT), timeout=HOTPLUG_TIMEOUT + 5)

    def device_del(self, *names: str) -> None:
        """Unplug the functions of one device; wait until all are gone."""
        with self._explained(f"unplug {', '.join(names)}"):
            deadline = time.monotonic() + HOTPLUG_TIMEOUT
            while True:
                try:
                    # One request takes all functions of a slot with it
                    self.qmp.execute("device_del", id=names[0])
                    break
                except LabError as error:
                    # The guest still works on the slot: it has just booted
                    if (BUSY not in str(error) or
                            time.monotonic() > deadline):
                        raise
                    time.sleep(0.2)
            left = set(names)
            while left:
                event = self.qmp.wait_event(
                    ("DEVICE_DELETED", "DEVICE_UNPLUG_GUEST_ERROR"),
                    lambda data: data.get("device") in left, HOTPLUG_TIMEOUT)
                if not event:
                    raise Silence(f"the guest does not release "
                                  f"{', '.join(sorted(left))}")
                if event["event"] != "DEVICE_DELETED":
                    raise LabError(f"the guest refuses to release "
                                   f"{event['data']['device']}")
                left.discard(event["data"]["device"])

    def remove(self, name: str) -> str:
        """Let the guest forget a device through sysfs; where it was."""
        address = self.bdf(name)
        self.run("pci-hotplug", "remove", address)
        return address

    def rescan(self) -> None:
        self.run("pci-hotplug", "rescan")

    # The end

    def powers_off(self, timeout: float) -> bool:
        """Let the guest shut down in order; does it end in time? It is stopped
        if it does not."""
        with suppress(OSError):
            self.agent.sock.sendall(b"poweroff\n")
        try:
            self.qemu.wait(timeout)
            return True
        except subprocess.TimeoutExpired:
            return False
        finally:
            self.close()

    def poweroff(self) -> None:
        """Let the guest shut down in order."""
        if not self.powers_off(HOTPLUG_TIMEOUT):
            raise LabError(f"{self.machine.name}, {self.kernel.label}: the "
                           f"guest does not power off; see {self.log}")

    def close(self) -> None:
        """Stop the guest if it runs."""
        self.closed = True
        if self.running():
            self.qemu.kill()
            self.qemu.wait()
        for sock in self.sockets:
            sock.close()

    def running(self) -> bool:
        return self.qemu.poll() is None

    def __enter__(self) -> "VM":
        return self

    def __exit__(self, *_: Optional[object]) -> None:
        self.close()
