# SPDX-License-Identifier: GPL-2.0
"""How make picture draws what it saw."""

import json

from lab import picture
from lab.groups import State, rid_of


def drawn(programmed: list[str]) -> list[str]:
    """Two ports and two NTBs, of which one has the proxy IDs 04:02.0 and .1."""
    addresses = {name: f"0000:0{number}:00.0"
                 for number, name in enumerate(picture.DEVICES, 1)}
    functions = [{"bdf": bdf, "vendor": "0x11f8", "device": "0x8546", "parent": "",
                  "driver": "", "express_type": 0, "header_type": 0, "group": group}
                 for group, bdf in enumerate(addresses.values())]
    rids = [rid_of(bdf) for bdf in [*addresses.values(), *programmed]]
    state = State(json.dumps({
        "devices": functions, "requesters_known": True,
        "requesters": [{"bus": rid >> 8, "devfn": rid & 255, "domain": 7}
                       for rid in rids]}))
    return picture.draw(state, addresses,
                        {"ntb-hot": [rid_of("0000:04:02.0"), rid_of("0000:04:02.1")]})


def test_translated() -> None:
    lines = drawn(["0000:04:02.0", "0000:04:02.1"])
    at = next(n for n, line in enumerate(lines) if "04:00.0" in line)
    assert lines[at + 1].startswith("| 04:02.0-02.1  proxy IDs of it")
    assert lines[at + 2].startswith("+--")
    assert {len(line) for line in lines} == {picture.WIDTH}


def test_blocked() -> None:
    lines = drawn(["0000:04:02.0"])
    assert lines[-1].split() == "04:02.1 proxy IDs of it: MISSING".split()
    assert sum("proxy" in line for line in lines) == 2


def test_spans() -> None:
    assert picture.spans([0x4ff, 0x410, 0x411]) == ["04:02.0-02.1", "04:1f.7"]


def test_side_by_side() -> None:
    shown = picture.side_by_side([("stock 7.3.4", ["a"]), ("series", ["b", "c"])])
    assert shown.splitlines()[1].split() == ["a", "b"]
    assert shown.splitlines()[2].split() == ["c"]
