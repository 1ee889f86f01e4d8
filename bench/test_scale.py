# SPDX-License-Identifier: GPL-2.0
"""What the benchmark makes of its numbers."""

import pytest

from bench.scale import LINE, SIZES, Curve, Point, complaints, read, slope, table
from scripts.workbench import StepFailed


def curve(name: str, groups: str, hot_add: str = "1000", new_slot: str = "1000",
          visits: str = "n") -> Curve:
    """Costs as functions of the number n."""
    return {acs: {n: Point(*(round(eval(cost, {"n": n}))
                             for cost in (groups, new_slot, hot_add, visits)))
                  for n in SIZES[name]}
            for acs in (True, False)}


def curves(series: str = "1000 * n", hot_add: str = "1000", new_slot: str = "1000",
           visits: str = "n") -> dict[str, Curve]:
    """Against a stock kernel that is quadratic."""
    return {"stock": curve("stock", "1000 * n + 30 * n * n", "1000 + n", "1000 + n",
                           "n * n"),
            "series": curve("series", series, hot_add, new_slot, visits)}


def test_read() -> None:
    line = ("    # scale_case: N 64 ACS 0 ns 9 group_ns 7 new_slot_ns 5 "
            "hot_add_ns 3")
    assert LINE.search(line)
    assert read(line, [2]) == {True: {}, False: {64: Point(7, 5, 3, 2)}}


def test_read_without_a_count() -> None:
    with pytest.raises(StepFailed, match="0 cases were measured, the visits of 1"):
        read("", [1])


def test_within_the_limits() -> None:
    assert not complaints(curves())


@pytest.mark.parametrize("costs, text", [
    ({"series": "1020 * n + 30 * n * n if n <= 256 else 1000 * n"},
     "1 functions, groups"),
    ({"hot_add": "1300"}, "256 functions, hot_add"),
    ({"new_slot": "1300"}, "256 functions, new_slot"),
    ({"series": "3000 * n"}, "4096 functions"),
    ({"series": "1000 * n ** 1.2"}, "slope"),
    ({"hot_add": "500 + n / 10"}, "hot_add: 526.0 for 256"),
    ({"new_slot": "500 + n / 10"}, "new_slot: 526.0 for 256"),
    ({"visits": "n + n * n / 100"}, "visits a function: 3.6 for 256")])
def test_beyond_a_limit(costs: dict[str, str], text: str) -> None:
    assert any(text in complaint for complaint in complaints(curves(**costs)))


def test_nothing_visited() -> None:
    assert not complaints(curves(visits="0"))
    assert any("visits" in complaint for complaint in complaints(
        curves(visits="n > 1000")))


def test_slope() -> None:
    assert slope(curve("series", "5 * (n - 8) ** 2")[True]) == pytest.approx(2)


def test_table_has_a_line_for_each_size() -> None:
    lines = table(curves())
    for number in SIZES["series"]:
        assert sum(line.split()[:1] == [str(number)] for line in lines) == 2
