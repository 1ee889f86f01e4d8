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
NOISE = 0.001           # of the runs of one kernel; more would hide a cost


@dataclass(frozen=True)
class Count:
    """Instructions of a boot."""
    insns: int
    walks: int      # those of WALKS


Counts = dict[str, list[Count]]     # of each run, by kernel


@dataclass(frozen=True)
class Board:
    name: str
    ports: int
    below: int              # endpoints below each port
    bridge: bool            # conventional, between port and endpoints
    cmdline: str
    limit: float            # series / stock

    @property
    def endpoints(self) -> int:
        return self.ports * self.below

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


# Where endpoints wait for their ports, by a device link each: ports take a thread
ASYNCHRONOUS = [
    Board(f"{16 * below} endpoints with drivers behind 16 slow asynchronous ports", 16,
          below, True, "lab_ports=testdev,slow driver_async_probe=pcieport", 1.01)
    for below in (4, 16)]
# Nobody drives QEMU's test device, unless told to: the boot is discovery and
# grouping, with little else that would dilute the difference
BOARDS = (
    Board("64 functions", 8, 7, False, "", 1.005),
    # Each has a driver, and so a place in the order of probes
    Board("256 endpoints with drivers behind 16 ports", 16, 16, True,
          "lab_ports=testdev", 1.01),
    *ASYNCHRONOUS)

# What walks the links of a device, or is called for each of them. Of the largest
# board, for an endpoint, it may be so much of the smallest
WALKS = ("device_link_add", "device_links_check_suppliers",
         "device_links_driver_bound", "device_links_supplier_tried",
         "device_links_check_probe_order", "device_links_missing_supplier",
         "driver_deferred_probe_retry", "device_links_no_driver")
WALKS_LIMIT = 1.1

# It leaves PCI to the kernel; SeaBIOS has QEMU rebuild its memory map for each BAR
# that it sizes, of which there are hours in 256 endpoints
FIRMWARE = ("-bios", "qboot.rom")
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


def ranges(kernel: Kernel) -> list[str]:
    """The plugin's arguments for those of WALKS that a kernel has."""
    symbols = sorted((int(address, 16), name) for address, _, name in map(
        str.split, (kernel.out / "System.map").read_text().splitlines()))
    found = [(start, end) for (start, name), (end, _) in zip(symbols, symbols[1:])
             if name in WALKS]
    if kernel.name == "series" and len(found) != len(WALKS):
        raise LabError(f"{kernel.label} has but {len(found)} of the functions "
                       f"{', '.join(WALKS)}")
    return [f"from={start:#x},to={end:#x}" for start, end in found]


def measure(kernel: Kernel, board: Board, counter: Path) -> Count:
    """Instructions of @kernel until init starts."""
    result = counter.parent / f"insns-{kernel.label}"
    result.unlink(missing_ok=True)
    machine = Machine("bench", board.tree, cmdline=f"quiet {board.cmdline}", platform=(
        *VTD, *FIRMWARE, *DETERMINISTIC, "-plugin",
        ",".join([f"{counter},until={init_entry(kernel.arch):#x},out={result}",
                  *ranges(kernel)])))
    with VM(kernel, machine) as vm:
        functions = vm.state().functions.values()
        log = vm.log
    if sum(f.group is not None for f in functions) < board.functions:
        raise LabError(f"{kernel.label}: fewer functions with a group than "
                       f"the machine has; see {log}")
    drivers = sum(f.driver == "lab-testdev" for f in functions)
    if drivers != ("testdev" in board.cmdline) * board.endpoints:
        raise LabError(f"{kernel.label}: {drivers} endpoints have a driver; see {log}")
    if not result.exists():
        raise LabError(f"{kernel.label}: nothing was counted; see {log}")
    return Count(*map(int, result.read_text().split()))


def table(counts: Counts) -> list[str]:
    runs = range(1, len(counts[KERNELS[0]]) + 1)
    lines = [f"{'':8}" + "".join(f"{f'run {n}':>16}" for n in runs) +
             f"{'spread':>12}{'of it, walks of links':>24}"]
    for name, values in counts.items():
        lines.append(f"{name:8}" + "".join(f"{v.insns:16,}" for v in values) +
                     f"{spread(values):12.4%}{walks(values):24,}")
    return lines


def spread(values: list[Count]) -> float:
    insns = [value.insns for value in values]
    return max(insns) / min(insns) - 1


def walks(values: list[Count]) -> int:
    return max(value.walks for value in values)


def growth(small: Board, few: Counts, large: Board, many: Counts) -> tuple[str, bool]:
    """Do walks of links take as much for an endpoint where there are more?"""
    before, after = (walks(counts["series"]) / board.endpoints
                     for board, counts in ((small, few), (large, many)))
    return (f"walks of links on the series, instructions an endpoint: {before:.0f} of "
            f"{small.endpoints}, {after:.0f} of {large.endpoints}, limit "
            f"{WALKS_LIMIT} of it"), 0 < after <= WALKS_LIMIT * before


def verdict(counts: Counts, limit: float) -> tuple[str, bool]:
    for name, values in counts.items():
        if spread(values) > NOISE:
            return (f"{name}: the runs differ by {spread(values):.4%}, more "
                    f"than {NOISE:.4%}: no verdict"), False
    series, stock = (min(value.insns for value in counts[name])
                     for name in ("series", "stock"))
    ratio = series / stock
    return f"series / stock = {ratio:.5f}, limit {limit}", ratio <= limit


def bench() -> bool:
    if os.environ.pop("KVM", None) == "1":
        say("KVM=1 is ignored: it cannot count instructions")
    make_trees()
    kernels = [build_kernel(name) for name in KERNELS]
    counter = plugin.build("count-insns")
    texts, all_ok = [], True
    all_counts: dict[Board, Counts] = {}
    for board in BOARDS:
        counts = all_counts[board] = {name: [] for name in KERNELS}
        for number in range(1, RUNS + 1):
            for kernel in kernels:
                say(f"==> boot {kernel.name}, {board.name}, run {number} of {RUNS}")
                counts[kernel.name].append(measure(kernel, board, counter))
        text, ok = verdict(counts, board.limit)
        texts.append(f"\ninstructions until init starts, {board.name}\n" +
                     "\n".join(table(counts)) + "\n" + text)
        all_ok &= ok
    small, large = ASYNCHRONOUS
    text, ok = growth(small, all_counts[small], large, all_counts[large])
    texts.append(text)
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
