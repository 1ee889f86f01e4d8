# SPDX-License-Identifier: GPL-2.0
"""How make picture draws what it saw."""

import json

from lab import picture
from lab.groups import State, rid_of


def state(programmed: list[int]) -> State:
    """Two ports and two NTBs; the second has IDs 04:02.0 and 04:02.1."""
    def function(bdf: str, group: int) -> dict[str, object]:
        return {"bdf": bdf, "vendor": "0x11f8", "device": "0x8546", "parent": "",
                "driver": "", "express_type": 0, "header_type": 0, "group": group}

    functions = [function(f"0000:{bus}:00.0", group) for group, bus in
                 enumerate(("01", "02", "03", "04"))]
    return State(json.dumps({
        "devices": functions, "requesters_known": True,
        "requesters": [{"bus": rid >> 8, "devfn": rid & 255, "domain": 7} for rid in
                       (rid_of("0000:04:00.0"), *programmed)]}))


def lines(programmed: list[int]) -> list[str]:
    addresses = {name: f"0000:0{number}:00.0"
                 for number, name in enumerate(picture.DEVICES, 1)}
    return picture.draw(state(programmed), addresses, {"ntb-hot": [0x410, 0x411]})


def test_translated() -> None:
    drawn = lines([0x410, 0x411])
    at = next(n for n, line in enumerate(drawn) if "04:00.0" in line)
    assert drawn[at + 1].startswith("| 04:02.0-02.1 its proxy IDs")
    assert drawn[at + 2].startswith("+--")
    assert {len(line) for line in drawn} == {picture.WIDTH}


def test_blocked() -> None:
    drawn = lines([0x410])
    assert drawn[-1].strip() == "04:02.1     of its proxy IDs: BLOCKED"
    assert sum("proxy" in line for line in drawn) == 2


def test_side_by_side() -> None:
    shown = picture.side_by_side([("stock 7.3.4", ["a"]), ("series", ["b", "c"])])
    assert shown.splitlines()[1].split() == ["a", "b"]
    assert shown.splitlines()[2].split() == ["c"]
