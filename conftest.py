# SPDX-License-Identifier: GPL-2.0
"""The report of the whole test run: cheap tests first, each case of a kernel
or a guest counted (see scripts/cases.py), and the count as the last line."""

import signal

import pytest
from pytest_subtests import SubTestReport

from scripts import cases
from scripts.workbench import LOGS

COUNT = LOGS / "count"     # the last line, for .ci/run


class Count:
    """What every test, or every case within it, came to."""

    def __init__(self) -> None:
        self.statuses: dict[str, list[str]] = {}
        self.with_cases: set[str] = set()

    def add(self, report: pytest.TestReport | pytest.CollectReport) -> None:
        found = self.statuses.setdefault(report.nodeid, [])
        if isinstance(report, SubTestReport):
            self.with_cases.add(report.nodeid)
        if report.failed:
            found.append(cases.FAILED)
        elif report.skipped:
            found.append(cases.SKIPPED)
        elif isinstance(report, SubTestReport) or (
                report.when == "call" and report.nodeid not in self.with_cases):
            # a test with cases is their frame, and no case itself
            found.append(cases.PASSED)

    def line(self) -> str:
        return cases.count(status for found in self.statuses.values()
                           for status in found)


TOTAL = Count()


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "long(minutes): how long the test takes; "
                            "the longer, the later it runs")
    # for pytest a test that ends by SystemExit has failed, and the next begins
    signal.signal(signal.SIGTERM, signal.default_int_handler)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    def minutes(item: pytest.Item) -> float:
        marker = item.get_closest_marker("long")
        return marker.kwargs["minutes"] if marker else 0
    items.sort(key=minutes)


def pytest_collectreport(report: pytest.CollectReport) -> None:
    if report.failed:
        TOTAL.add(report)


def pytest_keyboard_interrupt() -> None:
    """What did not run has not passed."""
    TOTAL.statuses["interrupted"] = [cases.FAILED]


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    TOTAL.add(report)


@pytest.hookimpl(tryfirst=True)
def pytest_report_teststatus(report: pytest.TestReport) \
        -> tuple[str, str, str] | None:
    """Show which case a line is about."""
    if not isinstance(report, SubTestReport):
        return None
    return report.outcome, report.outcome[0], (f"{report.outcome.upper()} "
                                               f"{report.context.msg}")


@pytest.hookimpl(trylast=True)
def pytest_unconfigure(config: pytest.Config) -> None:
    if config.option.collectonly or not TOTAL.statuses:
        return
    COUNT.parent.mkdir(parents=True, exist_ok=True)
    COUNT.write_text(TOTAL.line() + "\n")
    print(TOTAL.line(), flush=True)
