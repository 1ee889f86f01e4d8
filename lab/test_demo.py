# SPDX-License-Identifier: GPL-2.0
"""What the main job concludes from what it saw, and how it prints it."""

from lab.demo import Row, table, verdict

TITLES = {"stock": "stock 7.3.4", "series": "with the series"}


def row(own: str = "yes", alias: str = "yes", split: bool = False) -> Row:
    return Row("edu-hot", "edu, late alias", "hot-added", "0d:00.0", 112, own,
               {"0d:00.1": alias, "0c:00.0": "yes"}, split)


def test_better() -> None:
    lines, ok = verdict({"stock": [row(alias="MISSING"), row(split=True)],
                         "series": [row(), row()]})
    assert ok
    assert lines[0] == ("stock:  requester IDs not translated: 1, groups "
                        "split: 1")
    assert "fixed edu-hot" in lines[2]


def test_not_yet_fixed() -> None:
    lines, ok = verdict({"stock": [row(alias="MISSING")],
                         "series": [row(alias="MISSING")]})
    assert ok and "not yet fixed edu-hot (hot-added)" in lines[2]


def test_worse() -> None:
    lines, ok = verdict({"stock": [row()], "series": [row(alias="WRONG")]})
    assert not ok and "WORSE edu-hot" in lines[2]


def test_other_fault_is_worse() -> None:
    """A repaired fault does not make up for a new one."""
    _, ok = verdict({"stock": [row(split=True)],
                     "series": [row(alias="MISSING")]})
    assert not ok


def test_width() -> None:
    """The widest contents fit a line of 100 columns, one line an alias."""
    rows = [row("MISSING", "MISSING", True)]
    lines = table({"stock": rows, "series": rows}, TITLES)
    assert max(map(len, lines)) <= 100
    assert len(lines) == 4
    assert lines[2].rpartition("|")[2].split() == [
        "112", "SPLIT", "MISSING", "MISSING"]
