# SPDX-License-Identifier: GPL-2.0
"""Reads the results that a guest's test program prints as KTAP, or as TAP 13
as the kernel's selftests do."""

import re
from typing import Optional

from lab import LabError
from scripts.cases import FAILED, PASSED, SKIPPED, Case

RESULT = re.compile(r"(not )?ok (\d+)(?: -)?(?: ([^#]*?))?(?: *# *SKIP *(.*))?$")


def parse(text: str) -> list[Case]:
    """The results in @text. A plan that is not met is an error: a program
    that died half-way must not look like one that passed."""
    lines = [line.strip() for line in text.splitlines()]
    if not lines or lines[0] not in ("KTAP version 1", "TAP version 13"):
        raise LabError(f"not KTAP: {text[:200]!r}")
    planned: Optional[int] = None
    results: list[Case] = []
    details: list[str] = []
    for line in lines[1:]:
        if plan := re.fullmatch(r"1\.\.(\d+)", line):
            planned = int(plan[1])
        elif match := RESULT.match(line):
            if int(match[2]) != len(results) + 1:
                raise LabError(f"KTAP result out of order: {line}")
            status = (SKIPPED if match[4] is not None else
                      FAILED if match[1] else PASSED)
            results.append(Case(match[3] or "", status,
                                match[4] or "\n".join(details)))
            details = []
        else:
            details.append(line)
    if planned != len(results):
        raise LabError(f"KTAP plan of {planned} results, {len(results)} came: "
                       f"{text[-200:]!r}")
    return results
