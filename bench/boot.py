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
    ports_do: str           # lab/kernel/port_control.h
    limit: float            # series / stock
    cmdline: str = ""
    stock_does: str = ""    # the stock kernel, besides

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


# Where endpoints wait for their ports, by a device link each: ports take a thread,
# and a while. The stock kernel orders probes by managed links alone, and those are
# what this is measured against
WAITING = [
    Board(f"{16 * below} endpoints that wait for 16 ports, on stock by managed links",
          16, below, False, "testdev,slow", 1.01, "driver_async_probe=pcieport",
          "managed")
    for below in (2, 4, 8)]
# Nobody drives QEMU's test device, unless told to: the boot is discovery and
# grouping, with little else that would dilute the difference
BOARDS = (
    Board("64 functions", 8, 7, False, "", 1.005),
    Board("256 endpoints with drivers behind 16 ports, none of which waits", 16, 16,
          True, "testdev", 1.01),
    *WAITING)

# What walks the links of a device, or is called for each of them on the series
WALKS = {"device_link_add", "device_links_check_suppliers",
         "device_links_driver_bound", "device_links_supplier_tried",
         "device_links_check_probe_order", "device_links_missing_supplier",
         "driver_deferred_probe_retry", "__device_links_no_driver",
         "device_is_dependent"}
# How much more an endpoint may cost them where there are more endpoints
WALKS_LIMIT = 1.02

# It leaves PCI to the kernel. SeaBIOS sizes each BAR, and QEMU rebuilds its memory
# map each time: hours for 256 endpoints
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
    """The plugin's arguments for those of WALKS that a kernel has, whatever the
    compiler made of them."""
    symbols = sorted((int(address, 16), name) for address, _, name in map(
        str.split, (kernel.out / "System.map").read_text().splitlines()))
    found = [(start, end, name.split(".")[0])
             for (start, name), (end, _) in zip(symbols, symbols[1:])
             if name.split(".")[0] in WALKS]
    missing = WALKS - {name for _, _, name in found}
    if kernel.name == "series" and missing:
        raise LabError(f"{kernel.label} has no function {', '.join(sorted(missing))} "
                       "to count in")
    return [f"from={start:#x},to={end:#x}" for start, end, _ in found]


def measure(kernel: Kernel, board: Board, counter: Path) -> Count:
    """Instructions of @kernel until init starts."""
    result = counter.parent / f"insns-{kernel.label}"
    result.unlink(missing_ok=True)
    ports_do = ",".join(filter(None, (
        board.ports_do, board.stock_does * (kernel.name == "stock"))))
    cmdline = f"quiet lab_ports={ports_do} {board.cmdline}"
    machine = Machine("bench", board.tree, cmdline=cmdline, platform=(
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
    if drivers != ("testdev" in board.ports_do) * board.endpoints:
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


def growth(counts: list[Counts]) -> tuple[str, bool]:
    """Do walks of links take as much for one more endpoint of WAITING where there
    are more? What else walks links in a boot is the same on all of them."""
    few, more, most = (walks(each["series"]) for each in counts)
    sizes = [board.endpoints for board in WAITING]
    first = (more - few) / (sizes[1] - sizes[0])
    last = (most - more) / (sizes[2] - sizes[1])
    return (f"walks of links on the series, instructions for one more endpoint: "
            f"{first:.0f} from {sizes[0]} to {sizes[1]}, {last:.0f} from {sizes[1]} to "
            f"{sizes[2]}, limit {WALKS_LIMIT} of it"), 0 < last <= WALKS_LIMIT * first


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
    text, ok = growth([all_counts[board] for board in WAITING])
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
