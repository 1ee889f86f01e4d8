# SPDX-License-Identifier: GPL-2.0
"""What the benchmark makes of its numbers."""

from bench.boot import (BOARDS, RUNS, WAITING, Count, Counts, growth, table,
                        verdict)
from lab.machines import Machine

BASE = 300_000_000
LIMIT = 1.005


def counts(stock: list[int], series: list[int], walks: int = 1000) -> Counts:
    return {"stock": [Count(insns, 0) for insns in stock],
            "series": [Count(insns, walks) for insns in series]}


def test_within_the_limit() -> None:
    """A little more is no cost, and less is fine."""
    for series in (BASE, BASE * 1004 // 1000, BASE // 2):
        assert verdict(counts([BASE] * RUNS, [series] * RUNS), LIMIT)[1]


def test_beyond_the_limit() -> None:
    text, ok = verdict(counts([BASE] * RUNS, [BASE * 1006 // 1000] * RUNS), LIMIT)
    assert not ok
    assert "1.00600" in text


def test_noise_gives_no_verdict() -> None:
    """Runs that differ could hide a cost, whatever their ratio is."""
    noisy = [BASE, BASE, BASE * 1002 // 1000]
    for case in (counts(noisy, [BASE] * RUNS), counts([BASE] * RUNS, noisy)):
        text, ok = verdict(case, LIMIT)
        assert not ok
        assert "no verdict" in text


def test_table_shows_every_run() -> None:
    lines = table(counts([BASE, BASE + 1, BASE + 2], [BASE] * RUNS))
    assert "300,000,002" in lines[1]
    assert len({len(line) for line in lines}) == 1


def test_walks_that_grow() -> None:
    """However much all the rest of the boot walks."""
    def found(each: int, squared: float) -> bool:
        return growth([counts([BASE], [BASE], walks=round(
            50_000 + each * n + squared * n * n))
            for n in (board.endpoints for board in WAITING)])[1]

    assert found(1000, 0)
    assert not found(1000, 1)
    assert not found(0, 0)


def test_boards() -> None:
    """QEMU gets as many devices as the count is made for, each at a place."""
    for board in BOARDS:
        devices = list(Machine("", board.tree).devices())
        assert len(devices) == board.functions
        endpoints = [(device["bus"], device["addr"]) for device in devices
                     if device["driver"] == "pci-testdev"]
        assert len(set(endpoints)) == board.endpoints
        for _, place in endpoints:
            slot, _, function = str(place).partition(".")
            assert int(slot, 16) < 32 and int(function or "0") < 8
