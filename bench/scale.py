# SPDX-License-Identifier: GPL-2.0
"""What it costs to form the IOMMU groups of many PCI functions, stock and series.

KUnit's iommu_group_scale adds that many functions, 256 to a bus, in memory. The
clock of the guest counts instructions (-icount), so that a run does not depend
on how fast or how loaded this machine is. A plugin counts the devices that are
looked at in search of a group.
"""

import math
import re
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from bench import plugin
from lab import LabError
from scripts import deps, tree
from scripts.cases import FAILED
from scripts.kunit import ARGUMENTS, Kernel, parse
from scripts.workbench import (BUILD, LINUX, ROOT, STOCK, StepFailed, die, locked,
                               run_step, say)

ARCH = "x86_64"
SUITE = "iommu_group_scale"
TREES = {"stock": STOCK, "series": LINUX}
# The stock kernel would take an hour for the largest
SIZES = {"stock": (1, 4, 16, 64, 256, 1024, 4096),
         "series": (1, 4, 16, 64, 256, 1024, 4096, 16384)}
TIMEOUT = 3000
INSTRUCTIONS = "--qemu_args=-icount shift=0,sleep=off"
LINE = re.compile(r"N (\d+) ACS (\d) ns (\d+) group_ns (\d+) new_slot_ns (\d+) "
                  r"hot_add_ns (\d+)")
# What is called for each device that a search for a group looks at: on the stock
# kernel by for_each_pci_dev(), on the series as the children of a bridge
VISITORS = ("match_pci_dev_by_id", "pci_bus_search_visit",
            "get_pci_subtree_group_of")
CASE, SEARCH, AFTER_SEARCH = "scale_case", "mock_device_group", \
    "iommu_group_alloc_device"

SMALL, SMALL_LIMIT = 256, 1.005         # series / stock up to so many functions
LARGE, LARGE_LIMIT = 4096, 1 / 60       # and of so many
SLOPE_FROM, SLOPE_LIMIT = 64, 1.1
LAST_SLOT = 8                           # functions that come after the others
# From there on, of what should not grow; names of groups are in a tree that does
FULL_BUS, GROWTH_LIMIT = 256, 1.1
PLOT = BUILD / "bench/scale.svg"
GNUPLOT = {"gnuplot-nox": "gnuplot"}


@dataclass(frozen=True)
class Point:
    """Instructions for a number of functions."""
    groups: int     # of device_group() for all but those of the last slot
    new_slot: int   # for the first one of that, which comes later
    hot_add: int    # and for the last one
    visits: int     # devices looked at meanwhile


# by isolation through ACS, then number of functions
Curve = dict[bool, dict[int, Point]]


def read(output: str, visits: list[int]) -> Curve:
    """From what the kernel printed, and what was counted in each case."""
    curve: Curve = {True: {}, False: {}}
    matches = list(LINE.finditer(output))
    if len(matches) != len(visits):
        raise StepFailed(f"{SUITE}: {len(matches)} cases were measured, the visits "
                         f"of {len(visits)} counted")
    for match, seen in zip(matches, visits):
        number, acs, _, groups, new_slot, hot_add = map(int, match.groups())
        curve[bool(acs)][number] = Point(groups, new_slot, hot_add, seen)
    return curve


def counter(kernel: Kernel, out: Path) -> str:
    """QEMU's option to count the visits in each case."""
    symbols = {}
    for line in (kernel.where / f".kunit-{kernel.kind}/System.map").open():
        address, _, name = line.split()
        symbols[name] = f"0x{address}"
    roles = [("part", CASE), ("begin", SEARCH), ("end", AFTER_SEARCH),
             *(("visit", name) for name in VISITORS if name in symbols)]
    if missing := [name for _, name in roles if name not in symbols]:
        raise StepFailed(f"the {kernel.name} has no function {missing[0]} to count by")
    return ",".join([f"-plugin {plugin.build('count-visits')}", f"out={out}",
                     *(f"{role}={symbols[name]}" for role, name in roles)])


def measure(name: str) -> Curve:
    kernel = Kernel(TREES[name], ARCH)
    sizes = SIZES[name]
    visits = BUILD / f"bench/visits-{name}"
    with locked(f"kunit-{kernel.where.name}-{kernel.kind}"):
        kernel.build()
        output = kernel.boot(
            f"Form groups of up to {sizes[-1]} functions on {name}",
            f"bench-scale-{name}", "--raw_output=all", SUITE, *ARGUMENTS[ARCH],
            INSTRUCTIONS, f"--qemu_args={counter(kernel, visits)}",
            "--kernel_args=nokaslr", "--kernel_args=iommu_group_kunit.scale="
            + ",".join(map(str, sizes)), limit=TIMEOUT)
    failed = [case for case in parse(output) if case.status == FAILED]
    curve = read(output, [int(line) for line in visits.read_text().split()])
    if failed or any(set(points) != set(sizes) for points in curve.values()):
        raise StepFailed(f"{name}: {SUITE} did not measure all sizes:\n"
                         + "\n".join(case.log for case in failed))
    return curve


def slope(points: dict[int, Point], start: int = SLOPE_FROM) -> float:
    """Of the line through the points, both axes logarithmic."""
    pairs = [(math.log(n - LAST_SLOT), math.log(point.groups))
             for n, point in points.items() if n >= start]
    x, y = (sum(values) / len(pairs) for values in zip(*pairs))
    return (sum((a - x) * (b - y) for a, b in pairs)
            / sum((a - x) ** 2 for a, b in pairs))


def complaints(curves: dict[str, Curve]) -> list[str]:
    found = []
    for acs, series in curves["series"].items():
        which, stock = f"ACS {'on' if acs else 'off'}", curves["stock"][acs]
        for number, before in stock.items():
            # with one function there is but the one that comes later
            for what in ("groups", "new_slot", "hot_add"):
                old, new = getattr(before, what), getattr(series[number], what)
                if old and number <= SMALL and new / old > SMALL_LIMIT:
                    found.append(f"{which}, {number} functions, {what}: "
                                 f"{new / old:.3f}, limit {SMALL_LIMIT}")
        ratio = series[LARGE].groups / stock[LARGE].groups
        if ratio > LARGE_LIMIT:
            found.append(f"{which}, {LARGE} functions: {ratio:.4f} of stock, limit "
                         f"{LARGE_LIMIT:.4f}")
        if (found_slope := slope(series)) > SLOPE_LIMIT:
            found.append(f"{which}: slope {found_slope:.2f}, limit {SLOPE_LIMIT}")
        for what, cost in (("new_slot", lambda n: series[n].new_slot),
                           ("hot_add", lambda n: series[n].hot_add),
                           ("visits a function", lambda n: series[n].visits / n)):
            before = cost(FULL_BUS)
            most = max(cost(n) for n in series if n >= FULL_BUS)
            if most > GROWTH_LIMIT * before:
                found.append(f"{which}, {what}: {before:.1f} for {FULL_BUS} functions, "
                             f"up to {most:.1f} for more, limit {GROWTH_LIMIT} of it")
    return found


def count(number: int) -> str:
    return f"{number:,}" if number else "-"


def ratio(old: int, new: int) -> str:
    return f"{old / new:.2f}x" if old and new else "-"


def table(curves: dict[str, Curve]) -> list[str]:
    lines = [f"{'':13} |{'groups':^41} |{'first of a slot':^21} |{'last of it':^21} |"
             f"{'devices visited':^24}",
             f"{'functions':>9} {'ACS':3} |{'stock':>15}{'series':>13}"
             f"{'stock/series':>13} |{'stock':>12}{'series':>9} |{'stock':>12}"
             f"{'series':>9} |{'stock':>12}{'series':>10}"]
    nothing = Point(0, 0, 0, 0)
    for acs, series in curves["series"].items():
        for number, new in series.items():
            old = curves["stock"][acs].get(number, nothing)
            lines.append(
                f"{number:9} {'on' if acs else 'off':3} |"
                f"{count(old.groups):>15}{count(new.groups):>13}"
                f"{ratio(old.groups, new.groups):>13} |"
                f"{count(old.new_slot):>12}{count(new.new_slot):>9} |"
                f"{count(old.hot_add):>12}{count(new.hot_add):>9} |"
                f"{count(old.visits):>12}{count(new.visits):>10}")
        lines.append(f"slope from {SLOPE_FROM}, ACS {'on' if acs else 'off'}: " +
                     ", ".join(f"{name} {slope(curve[acs]):.2f}"
                               for name, curve in curves.items()))
    return lines


def plot(curves: dict[str, Curve]) -> Path:
    """Draw the curves with gnuplot."""
    PLOT.parent.mkdir(parents=True, exist_ok=True)
    data, titles = [], []
    for name, curve in curves.items():
        for acs, points in curve.items():
            titles.append(f"{name}, ACS {'on' if acs else 'off'}")
            data.append("\n".join(f"{n} {point.groups}"
                                  for n, point in points.items() if n > 1))
    commands = [f"set terminal svg size 800,500; set output '{PLOT}'",
                "set logscale xy; set key left top; set grid",
                "set xlabel 'PCI functions, 256 to a bus'",
                "set ylabel 'instructions to form their IOMMU groups'",
                "plot " + ", ".join(f"'-' with linespoints title '{title}'"
                                    for title in titles)]
    script = PLOT.with_suffix(".gnuplot")
    script.write_text("\n".join([*commands, *(f"{block}\ne" for block in data), ""]))
    run_step("Draw the plot", ["gnuplot", script], log="bench-plot")
    return PLOT


def bench() -> bool:
    deps.require(GNUPLOT)
    tree.make_tree()
    curves = {name: measure(name) for name in TREES}
    say("\ninstructions that device_group() takes\n" + "\n".join(table(curves)))
    say(f"drawn in {plot(curves).relative_to(ROOT)}")
    found = complaints(curves)
    for complaint in found:
        say(f"beyond a limit: {complaint}")
    return not found


def main() -> None:
    """python3 -m bench.scale"""
    try:
        sys.exit(0 if bench() else 1)
    except (LabError, StepFailed, subprocess.SubprocessError) as error:
        die(str(error))
    except KeyboardInterrupt:
        die("interrupted")


if __name__ == "__main__":
    main()
