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


def compare(stock: Iterable[Case], series: Iterable[Case]) -> list[Case]:
    """How cases came out with the series, against the stock kernel: a Case
    each, which passed if nothing got worse. One that fails on both says so in
    its name."""
    before = {case.name: case for case in stock}
    after = {case.name: case for case in series}
    verdicts = []
    for name in {**before, **after}:
        old, new = before.get(name), after.get(name)
        if not new:
            verdicts.append(Case(name, FAILED, "did not run with the series"))
        elif new.status == PASSED or new.status == SKIPPED and (
                # one that the series adds may be skipped, too
                not old or old.status == SKIPPED):
            verdicts.append(new)
        elif old and old.status == FAILED == new.status:
            verdicts.append(Case(f"{name} (fails without the series too)", PASSED,
                                 new.log))
        else:
            verdicts.append(Case(name, FAILED, f"{new.status} with the series, "
                                 f"{old.status if old else 'absent'} without it:\n"
                                 f"{new.log}"))
    return verdicts


def report_cases(subtests: SubTests, cases: Iterable[Case]) -> None:
    """Make each case a result of its own in pytest's report and count."""
    for case in cases:
        with subtests.test(msg=case.name):
            if case.status == SKIPPED:
                pytest.skip(case.log or "no reason given")
            if case.status != PASSED:
                pytest.fail(case.log or "no output", pytrace=False)
