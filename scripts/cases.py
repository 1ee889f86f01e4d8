# SPDX-License-Identifier: GPL-2.0
"""Results of test cases that ran elsewhere, as in a kernel or in a guest, and
how pytest counts each of them."""

import dataclasses
from typing import Collection, Iterable

import pytest
from pytest_subtests import SubTests

from scripts.workbench import say

PASSED, FAILED, SKIPPED = "passed", "failed", "skipped"


@dataclasses.dataclass(frozen=True)
class Case:
    """The result of one case."""

    name: str
    status: str            # PASSED, FAILED or SKIPPED
    log: str = ""          # what it printed; why it was skipped


def count(statuses: Iterable[str]) -> str:
    """The line that ends a run."""
    all_ = list(statuses)
    return ", ".join(f"{all_.count(status)} {status}"
                     for status in (PASSED, FAILED, SKIPPED))


def show(cases: Collection[Case]) -> None:
    """Print each case, with its log if it failed."""
    for case in cases:
        say(f"{case.status:8}{case.name}"
            + (f" ({case.log})" if case.status == SKIPPED else ""))
        if case.status == FAILED:
            say("".join(f"        {line}\n" for line in case.log.splitlines())
                .rstrip("\n"))
    say(count(case.status for case in cases))


def report_cases(subtests: SubTests, cases: Iterable[Case]) -> None:
    """Make each case a result of its own in pytest's report and count."""
    for case in cases:
        with subtests.test(msg=case.name):
            if case.status == SKIPPED:
                pytest.skip(case.log or "no reason given")
            if case.status != PASSED:
                pytest.fail(case.log or "no output", pytrace=False)
