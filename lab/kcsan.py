# SPDX-License-Identifier: GPL-2.0
"""Reads what KCSAN says of data races, and compares two kernels.

KCSAN samples: the kernel has races all over, and a run finds some of them. So
reports fail no case. What counts is a race near a function of a file that the
series changes, which the stock kernel did not show; and that each kernel shows
the race on purpose of kernel/kcsan_control.h.
"""

import re
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Iterable

from lab.kernel import Kernel
from scripts import git

TITLE = r"BUG: KCSAN: "
STAMP = re.compile(r"^\[ *\d+\.\d+\](?:\[ *[TC]\d+\])? ?")
RULE = "=" * 66
FRAME = re.compile(r" ([\w.]+)\+0x[0-9a-f]+/0x[0-9a-f]+")
CONTROL = "lab_race"    # function of kcsan_control.h
NEAR = 4        # frames from the access upwards: helpers, and who calls them


def plain(function: str) -> str:
    """The name in the source, without what the compiler appends."""
    return function.partition(".")[0]


@dataclass(frozen=True)
class Race:
    pair: frozenset[str]    # the functions of the title
    near: frozenset[str]    # and who called them
    report: str

    @property
    def name(self) -> str:
        return " / ".join(sorted(self.pair))


def races(lines: Iterable[str]) -> list[Race]:
    """The reports in a kernel's log."""
    found, block = [], []
    for line in (STAMP.sub("", line) for line in lines):
        if line != RULE:
            block.append(line)
            continue
        if block and re.match(TITLE, block[0]):
            found.append(race(block))
        block = []
    return found


def race(block: list[str]) -> Race:
    where = block[0].rpartition(" in ")[2]
    pair = frozenset(plain(f.partition("+")[0]) for f in where.split(" / "))
    near, depth = set(pair), NEAR
    for line in block:
        if frame := FRAME.match(line):
            depth += 1
            if depth <= NEAR:
                near.add(plain(frame[1]))
        else:
            depth = 0
    return Race(pair, frozenset(near), "\n".join(block))


def changed_functions(series: Kernel) -> set[str]:
    """Functions in the objects of the files that the series changes."""
    files = git.git(series.tree, "diff", "--name-only", "base", "HEAD",
                    "--", "*.c").split()
    objects = [path for file in files
               if (path := series.out / Path(file).with_suffix(".o")).exists()]
    symbols = subprocess.run(["nm", "--defined-only", *objects], text=True,
                             capture_output=True, timeout=60, check=True).stdout
    return {plain(name) for name in re.findall(r"(?m) [tT] (\S+)$", symbols)}
