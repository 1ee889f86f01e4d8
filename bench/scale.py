# SPDX-License-Identifier: GPL-2.0
"""What it costs to form the IOMMU groups of many PCI functions, stock and series.

KUnit's iommu_group_scale adds that many functions, 256 to a bus, in memory. The
clock of the guest counts instructions (-icount), so that a run does not depend
on how fast or how loaded this machine is.
"""

import math
import re
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

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
LINE = re.compile(r"N (\d+) ACS (\d) ns (\d+) group_ns (\d+) hot_add_ns (\d+)")

SMALL, SMALL_LIMIT = 256, 1.005         # series / stock up to so many functions
LARGE, LARGE_LIMIT = 4096, 1 / 60       # and of so many
SLOPE_FROM, SLOPE_LIMIT = 64, 1.1
PLOT = BUILD / "bench/scale.svg"
GNUPLOT = {"gnuplot-nox": "gnuplot"}


@dataclass(frozen=True)
class Point:
    """Instructions for a number of functions."""
    groups: int     # of device_group() for all but one of them
    hot_add: int    # and for that one, which comes later


# by isolation through ACS, then number of functions
Curve = dict[bool, dict[int, Point]]


def read(output: str) -> Curve:
    curve: Curve = {True: {}, False: {}}
    for match in LINE.finditer(output):
        number, acs, _, groups, hot_add = map(int, match.groups())
        curve[bool(acs)][number] = Point(groups, hot_add)
    return curve


def measure(name: str) -> Curve:
    kernel = Kernel(TREES[name], ARCH)
    sizes = SIZES[name]
    with locked(f"kunit-{kernel.where.name}-{kernel.kind}"):
        kernel.build()
        output = kernel.boot(
            f"Form groups of up to {sizes[-1]} functions on {name}",
            f"bench-scale-{name}", "--raw_output=all", SUITE, *ARGUMENTS[ARCH],
            INSTRUCTIONS, "--kernel_args=iommu_group_kunit.scale="
            + ",".join(map(str, sizes)), limit=TIMEOUT)
    curve = read(output)
    failed = [case for case in parse(output) if case.status == FAILED]
    if failed or any(set(points) != set(sizes) for points in curve.values()):
        raise StepFailed(f"{name}: {SUITE} did not measure all sizes:\n"
                         + "\n".join(case.log for case in failed))
    return curve


def slope(points: dict[int, Point], start: int = SLOPE_FROM) -> float:
    """Of the line through the points, both axes logarithmic."""
    pairs = [(math.log(n), math.log(point.groups))
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
            for what in ("groups", "hot_add"):
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
    return found


def table(curves: dict[str, Curve]) -> list[str]:
    lines = [f"{'functions':>9} {'ACS':3} |{'groups: stock':>16}{'series':>14}"
             f"{'stock/series':>14} |{'hot-add: stock':>16}{'series':>12}"]
    for acs, series in curves["series"].items():
        for number, new in series.items():
            old = curves["stock"][acs].get(number)
            lines.append(
                f"{number:9} {'on' if acs else 'off':3} |"
                f"{f'{old.groups:,}' if old else '-':>16}{new.groups:14,}"
                + (f"{old.groups / new.groups:13.2f}x" if old and new.groups
                   else f"{'-':>14}")
                + f" |{f'{old.hot_add:,}' if old else '-':>16}{new.hot_add:12,}")
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
