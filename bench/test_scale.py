# SPDX-License-Identifier: GPL-2.0
"""What the benchmark makes of its numbers."""

import pytest

from bench.scale import LINE, SIZES, Curve, Point, complaints, read, slope, table


def curve(name: str, groups: str, hot_add: str = "1000") -> Curve:
    """Costs as functions of the number n."""
    return {acs: {n: Point(round(eval(groups, {"n": n})),
                           round(eval(hot_add, {"n": n}))) for n in SIZES[name]}
            for acs in (True, False)}


def curves(series: str = "1000 * n", hot_add: str = "1000") -> dict[str, Curve]:
    """Against a stock kernel that is quadratic."""
    return {"stock": curve("stock", "1000 * n + 30 * n * n", "1000 + n"),
            "series": curve("series", series, hot_add)}


def test_read() -> None:
    line = "    # scale_case: N 64 ACS 0 ns 9 group_ns 7 hot_add_ns 3"
    assert LINE.search(line)
    assert read(line) == {True: {}, False: {64: Point(7, 3)}}


def test_within_the_limits() -> None:
    assert not complaints(curves())


@pytest.mark.parametrize("series, hot_add, text", [
    ("1020 * n + 30 * n * n if n <= 256 else 1000 * n", "1000", "1 functions, groups"),
    ("1000 * n", "1100 + n", "256 functions, hot_add"),
    ("3000 * n", "1000", "4096 functions"),
    ("1000 * n ** 1.2", "1000", "slope")])
def test_beyond_a_limit(series: str, hot_add: str, text: str) -> None:
    assert any(text in complaint for complaint in complaints(curves(series, hot_add)))


def test_slope() -> None:
    assert slope(curve("series", "5 * n ** 2")[True]) == pytest.approx(2)


def test_table_has_a_line_for_each_size() -> None:
    lines = table(curves())
    for number in SIZES["series"]:
        assert sum(line.split()[0] == str(number) for line in lines) == 2
