# SPDX-License-Identifier: GPL-2.0
"""Instructions of a boot with 64 PCI functions, stock and series.

The clock of the guest counts instructions (-icount), so that a run does not
depend on how fast or how loaded this machine is. QEMU's -accel kvm has no such
clock: KVM= does not matter here.
"""

import os
import struct
import sys
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
LIMIT = 1.005           # series / stock
NOISE = 0.001           # of the runs of one kernel; more would hide a cost

PORTS, FUNCTIONS = 8, 7     # a port counts as one more
# Nobody drives QEMU's test device: the boot is discovery and grouping, with
# little else that would dilute the difference
BOARD = "".join(
    f"pcie-root-port,addr={port + 2:x} port{port}\n" + "".join(
        f"    pci-testdev,addr=0.{function},multifunction=on "
        f"dev{port}-{function}\n" for function in range(FUNCTIONS))
    for port in range(PORTS))

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


def measure(kernel: Kernel, counter: Path) -> int:
    """Instructions of @kernel until init starts."""
    result = counter.parent / f"insns-{kernel.label}"
    result.unlink(missing_ok=True)
    machine = Machine("bench", BOARD, cmdline="quiet", platform=(
        *VTD, *DETERMINISTIC, "-plugin",
        f"{counter},until={init_entry(kernel.arch):#x},out={result}"))
    with VM(kernel, machine) as vm:
        functions = vm.state().functions.values()
        log = vm.log
    if sum(f.group is not None for f in functions) < PORTS * (FUNCTIONS + 1):
        raise LabError(f"{kernel.label}: fewer functions with a group than "
                       f"the machine has; see {log}")
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


def verdict(counts: dict[str, list[int]]) -> tuple[str, bool]:
    for name, values in counts.items():
        if spread(values) > NOISE:
            return (f"{name}: the runs differ by {spread(values):.4%}, more "
                    f"than {NOISE:.4%}: no verdict"), False
    ratio = min(counts["series"]) / min(counts["stock"])
    return (f"series / stock = {ratio:.5f}, limit {LIMIT}"), ratio <= LIMIT


def bench() -> bool:
    if os.environ.pop("KVM", None) == "1":
        say("KVM=1 is ignored: it cannot count instructions")
    make_trees()
    kernels = [build_kernel(name) for name in KERNELS]
    counter = plugin.build("count-insns")
    counts: dict[str, list[int]] = {name: [] for name in KERNELS}
    for number in range(1, RUNS + 1):
        for kernel in kernels:
            say(f"==> boot {kernel.name}, run {number} of {RUNS}")
            counts[kernel.name].append(measure(kernel, counter))
    text, ok = verdict(counts)
    say(f"\ninstructions until init starts, "
        f"{PORTS * (FUNCTIONS + 1)} PCI functions\n" +
        "\n".join(table(counts)) + "\n" + text)
    return ok


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
