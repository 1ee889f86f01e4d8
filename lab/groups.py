# SPDX-License-Identifier: GPL-2.0
"""What a guest says about its IOMMU groups, and what it should say.

A requester ID is a number as in a PCIe packet: bus << 8 | devfn.
"""

import json
from dataclasses import dataclass
from typing import Any, Iterator, Optional

EDU = ("0x1234", "0x11e8")      # has a late alias: kernel/edu_late_alias.h

# PCI Express device/port types (PCI_EXP_TYPE_*), -1: conventional
PORT_TYPES = (4, 5, 6)          # root port, switch upstream, downstream
PCIE_TO_PCI, PCI_TO_PCIE = 7, 8


def rid_of(bdf: str) -> int:
    """The requester ID of "0000:01:02.3"; the domain does not matter here."""
    _, bus, rest = bdf.split(":")
    slot, function = rest.split(".")
    return int(bus, 16) << 8 | int(slot, 16) << 3 | int(function, 16)


def rid_text(rid: int) -> str:
    return f"{rid >> 8:02x}:{rid >> 3 & 0x1f:02x}.{rid & 7}"


@dataclass(frozen=True)
class Function:
    """A PCI function as the guest sees it."""
    bdf: str
    vendor: str
    device: str
    parent: str                 # "" on a root bus
    driver: str                 # "" if none is bound
    express_type: int
    header_type: int
    secondary: Optional[int]    # of bridges
    group: Optional[int]
    group_type: str

    @property
    def rid(self) -> int:
        return rid_of(self.bdf)


class State:
    """One look at the guest: every PCI function, every known requester."""

    def __init__(self, text: str) -> None:
        document: dict[str, Any] = json.loads(text)
        self.functions = {
            d["bdf"]: Function(d["bdf"], d["vendor"], d["device"], d["parent"],
                               d["driver"], d["express_type"],
                               d["header_type"], d.get("secondary"),
                               d.get("group"), d.get("group_type", ""))
            for d in document["devices"]}
        # The IOMMU's domain of each requester ID; None: it cannot be seen
        self.domains: Optional[dict[int, int]] = None
        if document["requesters_known"]:
            self.domains = {r["bus"] << 8 | r["devfn"]: r["domain"]
                            for r in document["requesters"]}

    def __eq__(self, other: object) -> bool:
        return (isinstance(other, State) and vars(self) == vars(other))

    def aliases(self, bdf: str) -> list[int]:
        """The requester IDs, besides its own, under which a function's
        requests arrive at the IOMMU: what hardware and topology say."""
        function = self.functions[bdf]
        found = [function.rid]
        if (function.vendor, function.device) == EDU:
            found.append(function.rid + 1)
        for bridge in self.bridges_above(function):
            if bridge.express_type in PORT_TYPES:
                continue
            if bridge.express_type == PCIE_TO_PCI:
                found.append((bridge.secondary or 0) << 8)
            else:
                found.append(bridge.rid)
        return list(dict.fromkeys(found))[1:]

    def bridges_above(self, function: Function) -> Iterator[Function]:
        while function.parent:
            function = self.functions[function.parent]
            yield function

    def programmed(self, bdf: str, rid: int) -> str:
        """Whether requests of @bdf under @rid are translated as they should:
        "yes", "MISSING", "WRONG" (another domain than the function's own ID)
        or "?"."""
        if self.domains is None:
            return "?"
        if rid not in self.domains:
            return "MISSING"
        own = self.domains.get(self.functions[bdf].rid)
        return "yes" if self.domains[rid] == own else "WRONG"

    def not_programmed(self, bdf: str) -> list[str]:
        """Requester IDs of @bdf that the IOMMU does not translate."""
        own = self.functions[bdf].rid
        return [f"{rid_text(rid)} {status}" for rid in [own, *self.aliases(bdf)]
                if (status := self.programmed(bdf, rid)) != "yes"]

    def partition(self, names: dict[str, str]) -> set[frozenset[str]]:
        """The functions in @names (address to name), by group, as names.

        A function without a group stands in a set with "(no group)".
        """
        groups: dict[Any, set[str]] = {}
        for bdf, name in names.items():
            group = self.functions[bdf].group
            key: Any = group
            if group is None:
                key, name = bdf, name
                groups.setdefault(key, set()).add("(no group)")
            groups.setdefault(key, set()).add(name)
        return {frozenset(members) for members in groups.values()}
