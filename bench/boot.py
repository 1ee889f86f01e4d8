# SPDX-License-Identifier: GPL-2.0
"""Instructions of a boot with many PCI functions, stock and series.

The clock of the guest counts instructions (-icount), so that a run does not
depend on how fast or how loaded this machine is. QEMU's -accel kvm has no such
clock: KVM= does not matter here.
"""

import os
import struct
import sys
from dataclasses import dataclass
from pathlib import Path

from bench import plugin
from lab import LabError
from lab.guest import build_programs
from lab.kernel import Kernel, build_kernel, make_trees
from lab.machines import VTD, Machine
from lab.vm import VM
from scripts.workbench import StepFailed, die, locked, say

KERNELS = ("stock", "series")
RUNS = 3
BOOT_TIMEOUT = 900      # seconds; QEMU itself takes long over so many devices
NOISE = 0.001           # of the runs of one kernel; more would hide a cost


@dataclass(frozen=True)
class Board:
    name: str
    ports: int
    below: int              # endpoints below each port
    bridge: bool            # conventional, between port and endpoints
    cmdline: str
    limit: float            # series / stock

    @property
    def functions(self) -> int:
        return self.ports * (1 + self.bridge + self.below)

    @property
    def tree(self) -> str:
        lines = []
        for port in range(self.ports):
            lines.append(f"pcie-root-port,addr={port + 2:x} port{port}")
            if self.bridge:
                lines.append(f"    pcie-pci-bridge bridge{port}")
            lines += [f"        pci-testdev,{place} dev{port}-{number}"
                      for number, place in enumerate(self.places)]
        return "\n".join(lines)

    @property
    def places(self) -> list[str]:
        return [f"addr={number + 1:x}" if self.bridge else
                f"addr=0.{number},multifunction=on"
                for number in range(self.below)]


# Nobody drives QEMU's test device, unless told to: the boot is discovery and
# grouping, with little else that would dilute the difference
BOARDS = (
    Board("64 functions", 8, 7, False, "", 1.005),
    # Each has a driver, and so a place in the order of probes
    Board("256 endpoints with drivers behind 16 ports", 16, 16, True,
          "lab_ports=testdev", 1.01),
    # For which they have to wait here, since ports take a thread each
    Board("the same, ports are asynchronous", 16, 16, True,
          "lab_ports=testdev driver_async_probe=pcieport", 1.01),
)

# No wall clock, no wall time and no real randomness in the guest
DETERMINISTIC = ("-icount", "shift=0,sleep=off", "-seed", "1",
                 "-rtc", "base=2026-01-01,clock=vm")


def init_entry(arch: str) -> int:
    """The address of the first instruction of the guest's init, from the
    header of the ELF file; the program is not position-independent."""
    with locked(f"lab-guest-{arch}"):
        init = next(p for p in build_programs(arch) if p.name == "init")
    kind, _, _, entry = struct.unpack_from("<HHIQ", init.read_bytes(), 16)
    if kind != 2:           # ET_EXEC
        raise LabError(f"{init} can be loaded anywhere, so its first "
                       f"instruction is not known: compile it with -no-pie")
    return entry


def measure(kernel: Kernel, board: Board, counter: Path) -> int:
    """Instructions of @kernel until init starts."""
    result = counter.parent / f"insns-{kernel.label}"
    result.unlink(missing_ok=True)
    machine = Machine("bench", board.tree, cmdline=f"quiet {board.cmdline}", platform=(
        *VTD, *DETERMINISTIC, "-plugin",
        f"{counter},until={init_entry(kernel.arch):#x},out={result}"))
    with VM(kernel, machine, boot_timeout=BOOT_TIMEOUT) as vm:
        functions = vm.state().functions.values()
        log = vm.log
    if sum(f.group is not None for f in functions) < board.functions:
        raise LabError(f"{kernel.label}: fewer functions with a group than "
                       f"the machine has; see {log}")
    drivers = sum(f.driver == "lab-testdev" for f in functions)
    if drivers != ("testdev" in board.cmdline) * board.ports * board.below:
        raise LabError(f"{kernel.label}: {drivers} endpoints have a driver; see {log}")
    if not result.exists():
        raise LabError(f"{kernel.label}: nothing was counted; see {log}")
    return int(result.read_text())


def table(counts: dict[str, list[int]]) -> list[str]:
    runs = range(1, len(counts[KERNELS[0]]) + 1)
    lines = [f"{'':8}" + "".join(f"{f'run {n}':>16}" for n in runs) +
             f"{'spread':>12}"]
    for name, values in counts.items():
        lines.append(f"{name:8}" + "".join(f"{v:16,}" for v in values) +
                     f"{spread(values):12.4%}")
    return lines


def spread(values: list[int]) -> float:
    return max(values) / min(values) - 1


def verdict(counts: dict[str, list[int]], limit: float) -> tuple[str, bool]:
    for name, values in counts.items():
        if spread(values) > NOISE:
            return (f"{name}: the runs differ by {spread(values):.4%}, more "
                    f"than {NOISE:.4%}: no verdict"), False
    ratio = min(counts["series"]) / min(counts["stock"])
    return f"series / stock = {ratio:.5f}, limit {limit}", ratio <= limit


def bench() -> bool:
    if os.environ.pop("KVM", None) == "1":
        say("KVM=1 is ignored: it cannot count instructions")
    make_trees()
    kernels = [build_kernel(name) for name in KERNELS]
    counter = plugin.build("count-insns")
    texts, all_ok = [], True
    for board in BOARDS:
        counts: dict[str, list[int]] = {name: [] for name in KERNELS}
        for number in range(1, RUNS + 1):
            for kernel in kernels:
                say(f"==> boot {kernel.name}, {board.name}, run {number} of {RUNS}")
                counts[kernel.name].append(measure(kernel, board, counter))
        text, ok = verdict(counts, board.limit)
        texts.append(f"\ninstructions until init starts, {board.name}\n" +
                     "\n".join(table(counts)) + "\n" + text)
        all_ok &= ok
    say("\n".join(texts))
    return all_ok


def main() -> None:
    """python3 -m bench.boot"""
    try:
        sys.exit(0 if bench() else 1)
    except (LabError, StepFailed) as error:
        die(str(error))
    except KeyboardInterrupt:
        die("interrupted")


if __name__ == "__main__":
    main()
