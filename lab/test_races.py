# SPDX-License-Identifier: GPL-2.0
"""Data races of the series, of all that KCSAN saw while the other cases ran.

Runs last and only on the kernels that find races: make lab KCSAN=1.
"""

import pytest
from pytest_subtests import SubTests

from lab.conftest import Pool
from lab.kcsan import CONTROL, Race, changed_functions
from scripts.cases import FAILED, PASSED, Case, report_cases
from scripts.workbench import LOGS


@pytest.mark.long(minutes=99)
def test_no_new_races(pool: Pool, subtests: SubTests) -> None:
    """Near functions of files that the series changes, the stock kernel has
    the same."""
    stock, series = ({race.name: race for race in pool.races[name]}
                     for name in ("stock", "series"))
    for name, found in (("stock", stock), ("series", series)):
        assert any(CONTROL in race.pair for race in found.values()), (
            f"KCSAN has not even seen the {name} kernel's race on purpose")
    ours = changed_functions(pool.kernel("series", "x86_64"))

    def case(race: Race) -> Case:
        who = ([name for name, found in (("stock", stock), ("series", series))
                if race.name in found])
        new = "stock" not in who and race.near & ours
        return Case(f"{race.name} ({' and '.join(who)}"
                    f"{', near the series' * bool(race.near & ours)})",
                    FAILED if new else PASSED, race.report)

    everything = {**stock, **series}
    (LOGS / "lab-races").write_text("\n\n".join(
        f"{case(race).name}\n{race.report}" for race in everything.values()))
    report_cases(subtests, map(case, everything.values()))
