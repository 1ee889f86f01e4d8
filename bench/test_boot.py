# SPDX-License-Identifier: GPL-2.0
"""What the benchmark makes of its numbers."""

from bench.boot import RUNS, table, verdict

BASE = 300_000_000


def counts(stock: list[int], series: list[int]) -> dict[str, list[int]]:
    return {"stock": stock, "series": series}


def test_within_the_limit() -> None:
    """A little more is no cost, and less is fine."""
    for series in (BASE, BASE * 1004 // 1000, BASE // 2):
        assert verdict(counts([BASE] * RUNS, [series] * RUNS))[1]


def test_beyond_the_limit() -> None:
    text, ok = verdict(counts([BASE] * RUNS, [BASE * 1006 // 1000] * RUNS))
    assert not ok
    assert "1.00600" in text


def test_noise_gives_no_verdict() -> None:
    """Runs that differ could hide a cost, whatever their ratio is."""
    noisy = [BASE, BASE, BASE * 1002 // 1000]
    for case in (counts(noisy, [BASE] * RUNS), counts([BASE] * RUNS, noisy)):
        text, ok = verdict(case)
        assert not ok
        assert "no verdict" in text


def test_table_shows_every_run() -> None:
    lines = table(counts([BASE, BASE + 1, BASE + 2], [BASE] * RUNS))
    assert "300,000,002" in lines[1]
    assert len({len(line) for line in lines}) == 1
