# SPDX-License-Identifier: GPL-2.0
"""A QEMU without a guest, driven register by register: two NTB endpoints on
the root bus, which a test reads, writes and hears interrupts from as the
firmware and the drivers of a host would.

QEMU's "qtest" protocol is a line for each access and one for its answer.
"""

import json
import re
import socket
import subprocess
import tempfile
from pathlib import Path
from typing import Any, Iterable, Sequence

from scripts.workbench import ROOT

HEADER = ROOT / "qemu/switchtec-regs.h"
TIMEOUT = 60.0          # seconds that QEMU may take for one answer

WIDTHS = {1: "b", 2: "w", 4: "l", 8: "q"}
GAS_SIZE, MSIX_OFFSET, MSIX_ENTRY = 4 << 20, 0x2000, 16
# Where the BARs of endpoint n go, above RAM and below the local APIC: BAR 0
# in the first half of its share, BAR 2 in the second
BARS, BARS_STRIDE = 0xc0000000, 0x10000000
# Interrupts are writes to RAM, where they can be read: one word a vector
MAILBOX, RAM_SIZE = 0x100000, 16 << 20
VECTORS = 4


def registers() -> dict[str, int]:
    """The macros of switchtec-regs.h, without their prefix."""
    return {name: int(value, 0) for name, value in re.findall(
        r"^#define SWITCHTEC_(\w+)\s+(\w+)$", HEADER.read_text(), re.M)}


REG = registers()


def ctrl(partition: int, name: str, index: int = 0) -> int:
    """BAR 0 offset of a register of a partition's control block."""
    strides = {"BAR": 16, "BAR_WIN": 16, "BAR_XLATE": 16, "BAR_EXT": 16,
               "REQ_ID": 4, "LUT": 8}
    return (REG["CTRL_BASE"] + partition * REG["CTRL_SIZE"] +
            REG[f"CTRL_{name}"] + index * strides.get(name, 0))


def dbmsg(partition: int, name: str, index: int = 0) -> int:
    strides = {"OMSG": 8, "IMSG": 8, "VEC_MAP": 1}
    return (REG["DBMSG_BASE"] + partition * REG["DBMSG_SIZE"] +
            REG[f"DBMSG_{name}"] + index * strides.get(name, 0))


class QemuDied(Exception):
    """QEMU ended or stopped answering; the text has its last words."""


class Bench:
    """A running QEMU; use as a context manager."""

    def __init__(self, program: str | Path, endpoints: Sequence[str],
                 options: Sequence[str] = ()) -> None:
        self.errors = tempfile.TemporaryFile()
        qtest, qtest_fd = socket.socketpair()
        qmp, qmp_fd = socket.socketpair()
        argv = [str(program), "-machine", "q35", "-accel", "qtest",
                "-nodefaults", "-display", "none", "-m", str(RAM_SIZE >> 20),
                "-chardev", f"socket,id=qtest,fd={qtest_fd.fileno()}",
                "-qtest", "chardev:qtest", "-qtest-log", "none",
                "-chardev", f"socket,id=qmp,fd={qmp_fd.fileno()}",
                "-mon", "chardev=qmp,mode=control", *options]
        for number, properties in enumerate(endpoints):
            argv += ["-device", f"switchtec-ntb,id=ntb{number},"
                     f"addr={number + 2:x},{properties}"]
        self.process = subprocess.Popen(
            argv, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
            stderr=self.errors, start_new_session=True,
            pass_fds=(qtest_fd.fileno(), qmp_fd.fileno()))
        qtest_fd.close()
        qmp_fd.close()
        for sock in (qtest, qmp):
            sock.settimeout(TIMEOUT)
        self.sockets = (qtest, qmp)
        self.qtest, self.qmp = qtest, qmp.makefile("r")
        self.pending = b""
        try:
            self.qmp.readline()
            self.execute("qmp_capabilities")
            for number in range(len(endpoints)):
                self.power_on(number)
        except BaseException:
            self.close()
            raise

    def __enter__(self) -> "Bench":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()
        for sock in self.sockets:
            sock.close()

    def said(self) -> str:
        """What QEMU wrote to its standard error."""
        self.errors.seek(0)
        return self.errors.read().decode(errors="replace")

    def died(self) -> QemuDied:
        try:
            status = f"ended with status {self.process.wait(5)}"
        except subprocess.TimeoutExpired:
            status = f"gave no answer for {TIMEOUT:.0f} s"
        self.close()
        return QemuDied(f"QEMU {status}: {self.said()[-4000:]}")

    # Protocol

    def send(self, commands: Iterable[str]) -> list[str]:
        """Answers of many commands, sent at once."""
        text = "".join(f"{c}\n" for c in commands)
        wanted = text.count("\n")
        try:
            self.qtest.sendall(text.encode())
            while self.pending.count(b"\n") < wanted:
                data = self.qtest.recv(1 << 16)
                if not data:
                    raise self.died()
                self.pending += data
        except OSError:
            raise self.died() from None
        *answers, rest = self.pending.split(b"\n", wanted)
        self.pending = rest
        return [a.decode() for a in answers]

    def execute(self, command: str, **arguments: Any) -> Any:
        """A QMP command's result."""
        request = json.dumps({"execute": command, "arguments": arguments})
        try:
            self.sockets[1].sendall(request.encode() + b"\n")
            while line := self.qmp.readline():
                answer = json.loads(line)
                if "return" in answer:
                    return answer["return"]
                if "error" in answer:
                    raise RuntimeError(answer["error"]["desc"])
        except OSError:
            pass
        raise self.died()

    def prop(self, endpoint: int, name: str) -> Any:
        return self.execute("qom-get", path=f"/machine/peripheral/ntb{endpoint}",
                            property=name)

    # Memory and configuration space

    def read(self, address: int, size: int) -> int:
        answer, = self.send([f"read{WIDTHS[size]} {address:#x}"])
        return int(answer.split()[1], 0)

    def write(self, address: int, size: int, value: int) -> None:
        self.send([f"write{WIDTHS[size]} {address:#x} {value:#x}"])

    def config_address(self, endpoint: int, register: int) -> str:
        return (f"outl 0xcf8 "
                f"{1 << 31 | (endpoint + 2) << 11 | register & ~3:#x}")

    def config_write(self, endpoint: int, register: int, value: int) -> None:
        self.send([self.config_address(endpoint, register),
                   f"outl 0xcfc {value:#x}"])

    def config_read(self, endpoint: int, register: int) -> int:
        answer = self.send([self.config_address(endpoint, register),
                            "inl 0xcfc"])[1]
        return int(answer.split()[1], 0)

    # Endpoints

    def gas(self, endpoint: int) -> int:
        return BARS + endpoint * BARS_STRIDE

    def window(self, endpoint: int) -> int:
        return self.gas(endpoint) + BARS_STRIDE // 2

    def power_on(self, endpoint: int) -> None:
        """What firmware and kernel do: BARs, memory, bus master, MSI-X."""
        for bar, address in ((0, self.gas(endpoint)), (2, self.window(endpoint))):
            self.config_write(endpoint, 0x10 + 4 * bar, address)
            self.config_write(endpoint, 0x14 + 4 * bar, 0)
        self.config_write(endpoint, 0x04, 0x6)
        self.config_write(endpoint, 0x50, 0x80000000)
        table = self.gas(endpoint) + self.msix_table(endpoint)
        for vector in range(VECTORS):
            entry = table + vector * MSIX_ENTRY
            for offset, value in ((0, self.mailbox(endpoint, vector)), (4, 0),
                                  (8, 1), (12, 0)):
                self.write(entry + offset, 4, value)

    def msix_table(self, endpoint: int) -> int:
        """BAR 0 offset of the MSI-X table, from the capability."""
        return self.config_read(endpoint, 0x54) & ~7

    def mailbox(self, endpoint: int, vector: int) -> int:
        return MAILBOX + (endpoint * VECTORS + vector) * 4

    def interrupts(self, endpoint: int) -> list[int]:
        """Vectors that were raised since the last call."""
        raised = [v for v in range(VECTORS)
                  if self.read(self.mailbox(endpoint, v), 4)]
        for vector in raised:
            self.write(self.mailbox(endpoint, vector), 4, 0)
        return raised

    def get(self, endpoint: int, offset: int, size: int = 4) -> int:
        return self.read(self.gas(endpoint) + offset, size)

    def put(self, endpoint: int, offset: int, value: int, size: int = 4) -> None:
        self.write(self.gas(endpoint) + offset, size, value)
