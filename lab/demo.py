# SPDX-License-Identifier: GPL-2.0
"""The main job: shows what the series changes, on machines that run.

Boots the stock kernel and the series, plugs devices in, lets the kernel
remove some and find them again, and prints for each device its IOMMU group,
the requester IDs it uses, and whether the IOMMU translates them. Then the
same with Switchtec NTBs, behind each IOMMU: how many requests of the other
host arrive, how many the IOMMU refuses, and whether the NTBs find each other.
ARM64=1 adds the IOMMU of arm64, for two more kernels.

Ends with status 0 if everything ran and the series is nowhere worse than
stock. What the series cannot do yet is shown, and is no failure.
"""

import os
import sys
import textwrap
import time
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from typing import Callable, Iterator, Optional, TypeVar

from lab import LabError
from lab.groups import rid_text
from lab.kernel import Kernel, build_kernel, make_trees
from lab.machines import MACHINES, Machine
from lab.ntb import (FAULT, NoModel, copy, linked, plugged, qemu_with_model,
                     rebind_host_bridge, total, why_not)
from lab.vm import VM
from scripts.workbench import StepFailed, die, say

MACHINE = MACHINES["vtd-acpi"]
KERNELS = ("stock", "series")
GOOD = ("yes", "?")     # "?": this IOMMU does not show its tables
NTB_MACHINES = {"VT-d": "ntb-vtd", "virtio": "ntb-virtio", "AMD-Vi": "ntb-amd",
                "SMMUv3": "ntb-smmuv3"}
MIB = 1 << 20
POWEROFF_TIMEOUT = 60.0


@dataclass
class Row:
    """One device at one moment, on one kernel."""
    name: str               # QEMU's
    what: str
    appeared: str
    address: str
    group: Optional[int]
    own: str                # State.programmed() of its own ID
    aliases: dict[str, str]  # requester ID: State.programmed()
    split: bool = False     # its group lacks a function it must share it with

    def faults(self) -> set[str]:
        """What is wrong with it, in words that compare between kernels."""
        states = {self.address: self.own} | self.aliases
        return ({f"{rid} {state}" for rid, state in states.items()
                 if state not in GOOD} |
                ({"split"} if self.split else set()) |
                ({"no group"} if self.group is None else set()))


@dataclass
class NTBRow:
    """An NTB at one moment, on one kernel: what its peer's requests came to."""
    name: str               # the IOMMU's
    appeared: str
    arrived: int
    refused: int
    speed: Optional[float]  # bytes a second through its window; None: no link

    def faults(self) -> set[str]:
        return (({"refused"} if self.refused else set()) |
                ({"no link"} if self.speed is None else set()))


AnyRow = TypeVar("AnyRow", Row, NTBRow)


def look(vm: VM, appeared: str, devices: dict[str, str],
         beside: tuple[str, ...] = ()) -> Iterator[Row]:
    """A row for each of @devices (name, what it is).

    They and those @beside are not isolated from each other (functions of one
    slot, a port without ACS): all must be in one group.
    """
    state = vm.state()
    addresses = {name: address for address, name in vm.addresses().items()}
    groups = {state.functions[addresses[name]].group
              for name in (*devices, *beside)}
    for name, what in devices.items():
        address = addresses[name]
        function = state.functions[address]
        yield Row(name, what, appeared, address[5:], function.group,
                  state.programmed(address, function.rid),
                  {rid_text(alias): state.programmed(address, alias)
                   for alias in state.aliases(address)}, len(groups) > 1)


def exercise(vm: VM) -> Iterator[Row]:
    """Everything that happens to the machine."""
    late = "edu, late alias"
    yield from look(vm, "cold", {"edu-cold": late})
    yield from look(vm, "cold", {"edu-bridge": "edu behind bridge"})
    yield from look(vm, "cold", {"fn0-cold": "rng, function 0",
                                 "fn1-cold": "rng, function 1"})
    yield from look(vm, "cold", {"nvme-switch": "nvme below switch"},
                    beside=("down1",))

    vm.device_add("virtio-rng-pci", "rng-hot", "port-a")
    yield from look(vm, "hot-added", {"rng-hot": "rng"})
    vm.device_add("virtio-rng-pci", "fn1-hot", "port-b", addr="0.1",
                  wait=False)
    vm.device_add("virtio-rng-pci", "fn0-hot", "port-b", addr="0.0",
                  multifunction=True)
    vm.wait_present("fn1-hot")
    yield from look(vm, "hot-added", {"fn0-hot": "rng, function 0",
                                      "fn1-hot": "rng, function 1"})
    vm.device_add("edu", "edu-hot", "port-c")
    yield from look(vm, "hot-added", {"edu-hot": late})

    for name in ("nvme-switch", "edu-cold"):
        vm.remove(name)
        vm.rescan()
    yield from look(vm, "rescanned", {"nvme-switch": "nvme below switch"},
                    beside=("down1",))
    yield from look(vm, "rescanned", {"edu-cold": late})


def talk(vm: VM, iommu: str, appeared: str, name: str, peer: str) -> NTBRow:
    """Let @peer reach the host of @name, and the other way round."""
    before = {what: total(vm, name, what) for what in ("arrived", "refused")}
    speed = copy(vm, peer, name, MIB) if linked(vm, name, peer) else None
    arrived, refused = (total(vm, name, what) - before[what]
                        for what in ("arrived", "refused"))
    return NTBRow(iommu, appeared, arrived, refused, speed)


def exercise_ntb(vm: VM, iommu: str) -> Iterator[NTBRow]:
    """Every way in which an NTB appears."""
    yield talk(vm, iommu, "cold", "ntb-b", "ntb-a")
    with plugged(vm) as name:
        yield talk(vm, iommu, "hot-added", name, "ntb-a")
    with plugged(vm, **{"proxy-base": 0x80}) as name:
        yield talk(vm, iommu, "replaced", name, "ntb-a")
    vm.remove("ntb-b")
    vm.rescan()
    yield talk(vm, iommu, "rescanned", "ntb-b", "ntb-a")
    if vm.machine.arch == "arm64":
        # elsewhere the host bridge is no device that a driver could leave
        rebind_host_bridge(vm)
        yield talk(vm, iommu, "late host", "ntb-b", "ntb-a")


def run(kernel: Kernel, machine: Machine,
        exercise: Callable[[VM], Iterator[AnyRow]],
        expected: tuple[str, ...] = ()) -> list[AnyRow]:
    """What comes of @exercise; @expected: what the kernel may complain of."""
    start = time.monotonic()
    say(f"==> boot {kernel.name} kernel {kernel.release} on "
        f"{machine.name}, plug in, remove, rescan")
    with VM(kernel, machine, log_name=f"demo-{machine.name}") as vm:
        rows = list(exercise(vm))
        if not vm.powers_off(POWEROFF_TIMEOUT):
            stuck = f"{kernel.name} on {machine.name} does not power off"
            if kernel.name != "stock":
                raise LabError(f"{stuck}; see {vm.log}")
            say(f"    {stuck}, as 7.3 does now and then behind virtio-iommu")
        if found := vm.new_splats(expected):
            raise LabError(f"splats in {vm.log}:\n" + "\n".join(found))
    say(f"    done in {time.monotonic() - start:.0f} s, console in {vm.log}")
    return rows


def run_ntb(kernels: dict[str, dict[str, Kernel]]
            ) -> tuple[dict[str, list[NTBRow]], list[str]]:
    """The NTBs' rows, and a sentence for each IOMMU without any. @kernels: by
    architecture, then by name."""
    results: dict[str, list[NTBRow]] = {name: [] for name in KERNELS}
    missing = []
    with ExitStack() as stack:
        try:
            stack.enter_context(qemu_with_model())
        except NoModel as error:
            return results, [str(error)]
        for iommu, machine in NTB_MACHINES.items():
            arch = MACHINES[machine].arch
            if arch not in kernels:
                missing.append(f"{iommu}: make {arch.upper()}=1 runs it, which "
                               f"takes two more kernels")
                continue
            if reason := why_not(machine):
                missing.append(f"{iommu}: {reason}")
                continue
            for name, kernel in kernels[arch].items():
                results[name] += run(kernel, MACHINES[machine],
                                     partial(exercise_ntb, iommu=iommu),
                                     (FAULT,))
    return results, missing


def cells(row: Row, alias: Optional[str], first: bool) -> str:
    """One kernel's part of a line: group, own ID, one alias."""
    group = "none" if row.group is None else str(row.group)
    if row.split:
        group += " SPLIT"
    return (f"| {group if first else '':<10}{row.own if first else '':<8}"
            f"{row.aliases[alias] if alias else '-':<8}")


def table(results: dict[str, list[Row]], titles: dict[str, str]) -> list[str]:
    """The rows of all kernels side by side, at most 100 columns wide."""
    lines = [f"{'':<44}" + "".join(f"| {titles[k]:<26}" for k in KERNELS),
             f"{'device':<8}{'what':<18}{'appeared':<10}{'alias':<8}" +
             f"| {'group':<10}{'own ID':<8}{'alias':<8}" * len(KERNELS)]
    for rows in zip(*(results[k] for k in KERNELS)):
        row = rows[0]
        for number, alias in enumerate(row.aliases or [None]):
            first = number == 0
            left = ((row.address, row.what, row.appeared) if first
                    else ("",) * 3)
            lines.append("{:<8}{:<18}{:<10}".format(*left) +
                         f"{alias or '-':<8}" +
                         "".join(cells(r, alias, first) for r in rows))
    return [line.rstrip() for line in lines]


def ntb_cells(row: NTBRow) -> str:
    """One kernel's part of a line: requests, link, speed."""
    link = ("no     -" if row.speed is None
            else f"yes    {row.speed / MIB:.1f}")
    return f"| {row.arrived:<10}{row.refused:<9}{link:<12}"


def ntb_table(results: dict[str, list[NTBRow]],
              titles: dict[str, str]) -> list[str]:
    """As table(), of what the NTBs did."""
    lines = [f"{'':<31}" + "".join(f"| {titles[k]:<31}" for k in KERNELS),
             f"{'device':<8}{'IOMMU':<8}{'appeared':<15}" +
             f"| {'arrived':<10}{'refused':<9}{'link':<7}{'MiB/s':<5}" *
             len(KERNELS)]
    lines += [f"{'NTB':<8}{rows[0].name:<8}{rows[0].appeared:<15}" +
              "".join(map(ntb_cells, rows))
              for rows in zip(*(results[k] for k in KERNELS))]
    return [line.rstrip() for line in lines]


def verdict(results: dict[str, list[Row]],
            ntbs: dict[str, list[NTBRow]]) -> tuple[list[str], bool]:
    """Three lines, and whether the series is nowhere worse than stock."""
    lines = []
    for kernel in KERNELS:
        rows = results[kernel]
        missing = sum(s not in GOOD for r in rows
                      for s in (r.own, *r.aliases.values()))
        split = {tuple(sorted(r.name for r in rows
                              if r.split and r.appeared == row.appeared))
                 for row in rows if row.split}
        lines.append(f"{kernel + ':':<8}requester IDs not translated: "
                     f"{missing}, groups split: {len(split)}, NTBs without "
                     f"link: {sum(r.speed is None for r in ntbs[kernel])} of "
                     f"{len(ntbs[kernel])}")
    better, worse, open_ = [], [], []
    pairs: list[tuple[Row | NTBRow, Row | NTBRow]] = [
        *zip(results["stock"], results["series"]),
        *zip(ntbs["stock"], ntbs["series"])]
    for before, after in pairs:
        name = (f"{'NTB ' * isinstance(after, NTBRow)}{after.name} "
                f"({after.appeared})")
        if after.faults() - before.faults():
            worse.append(name)
        elif before.faults() - after.faults():
            better.append(name)
        elif after.faults():
            open_.append(name)
    parts = [f"{text} {', '.join(names)}" for text, names in
             (("WORSE", worse), ("fixed", better), ("not yet fixed", open_))
             if names]
    lines.append("series against stock: " + ("; ".join(parts) or "no change"))
    return lines, not worse


def demo() -> bool:
    start = time.monotonic()
    make_trees()
    archs = ["x86_64", *(["arm64"] if os.environ.get("ARM64") == "1" else [])]
    kernels = {arch: {name: build_kernel(name, arch) for name in KERNELS}
               for arch in archs}
    results = {name: run(kernel, MACHINE, exercise)
               for name, kernel in kernels["x86_64"].items()}
    ntbs, missing = run_ntb(kernels)
    release = kernels["x86_64"]["stock"].release
    titles = {"stock": f"stock {release.rstrip('+')}"[:24],
              "series": "with the series"}
    lines, ok = verdict(results, ntbs)
    lines += [f"no NTB rows: {reason}" for reason in missing]
    tables = [table(results, titles)]
    if any(ntbs.values()):
        tables.append(ntb_table(ntbs, titles))
    say("".join("\n" + "\n".join(shown) + "\n" for shown in tables) + "\n" +
        "\n".join(textwrap.fill(line, 100, subsequent_indent="  ",
                                break_on_hyphens=False)
                  for line in lines))
    say(f"total {time.monotonic() - start:.0f} s")
    return ok


def main() -> None:
    """python3 -m lab.demo"""
    try:
        sys.exit(0 if demo() else 1)
    except (LabError, StepFailed, AssertionError) as error:
        die(str(error))
    except KeyboardInterrupt:
        die("interrupted; the next run goes on from here")


if __name__ == "__main__":
    main()
