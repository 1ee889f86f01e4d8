# SPDX-License-Identifier: GPL-2.0
"""make picture: the IOMMU groups of a machine with two Switchtec NTBs, one of
which was plugged in, as the stock kernel forms them and as the series does.

A box is a group. In it are the requester IDs that the IOMMU translates for it;
below it those that its devices use and for which the IOMMU has no entry
("MISSING": it blocks their DMA), or another group's ("WRONG").
"""

from contextlib import ExitStack
from itertools import zip_longest

from lab import LabError
from lab.groups import State, rid_of, rid_text
from lab.kernel import build_kernel, make_trees
from lab.machines import MACHINES
from lab.ntb import plugged, qemu_with_model
from lab.vm import VM
from scripts.workbench import StepFailed, die

MACHINE = MACHINES["ntb-vtd"]
WIDTH = 44
TITLES = {"stock": "stock {}", "series": "with the series"}
DEVICES = {"port-a": "root port", "ntb-a": "NTB, there at boot",
           "port-c": "root port", "ntb-hot": "NTB, hot-added"}


def proxy_ids(vm: VM, name: str) -> list[int]:
    """The requester IDs of the other host at an endpoint of the model."""
    first, count = (vm.qmp.execute("qom-get", path=f"/machine/peripheral/{name}",
                                   property=prop) for prop in ("proxy-base", "proxies"))
    bus = rid_of(vm.bdf(name)) & 0xff00
    return [bus | (first + n) % 256 for n in range(count)]


def spans(rids: list[int]) -> list[str]:
    """Requester IDs, those in a row as one."""
    found: list[list[int]] = []
    for rid in sorted(rids):
        if found and rid == found[-1][-1] + 1:
            found[-1].append(rid)
        else:
            found.append([rid])
    return [rid_text(row[0]) + (f"-{rid_text(row[-1])[3:]}" if row[1:] else "")
            for row in found]


def box(title: str, lines: list[str]) -> list[str]:
    return ([f"+- {title} {'-' * (WIDTH - len(title) - 5)}+"]
            + [f"| {line:<{WIDTH - 4}} |" for line in lines]
            + [f"+{'-' * (WIDTH - 2)}+"])


def draw(state: State, addresses: dict[str, str],
         aliases: dict[str, list[int]]) -> list[str]:
    """@addresses: of each name in DEVICES. @aliases: by the same names."""
    groups: dict[str, list[str]] = {}
    for name in DEVICES:
        bdf = addresses[name]
        group = state.functions[bdf].group
        title = f"{bdf[5:]}: no group" if group is None else f"IOMMU group {group}"
        groups.setdefault(title, []).append(name)
    picture = []
    for title, names in groups.items():
        inside, outside = [], []
        for name in names:
            bdf = addresses[name]
            uses = [(state.functions[bdf].rid, DEVICES[name])]
            uses += [(rid, "proxy IDs of it") for rid in aliases.get(name, [])]
            for what in dict.fromkeys(text for _, text in uses):
                rids: dict[str, list[int]] = {}
                for rid, text in uses:
                    if text == what:
                        rids.setdefault(state.programmed(bdf, rid), []).append(rid)
                if "?" in rids:
                    raise LabError("this IOMMU does not show what it translates")
                inside += [f"{ids:<13} {what}" for ids in spans(rids.pop("yes", []))]
                outside += [f"  {ids:<13} {what}: {status}"
                            for status, some in rids.items() for ids in spans(some)]
        picture += [*box(title, inside), *outside]
    return picture


def look(kernel: str) -> tuple[str, list[str]]:
    built = build_kernel(kernel)
    with VM(built, MACHINE, log_name="picture") as vm, plugged(vm):
        addresses = {name: vm.bdf(name) for name in DEVICES}
        aliases = {name: proxy_ids(vm, name) for name in ("ntb-a", "ntb-hot")}
        return (TITLES[kernel].format(built.release.rstrip("+")),
                draw(vm.state(), addresses, aliases))


def side_by_side(pictures: list[tuple[str, list[str]]]) -> str:
    columns = [[title, *lines] for title, lines in pictures]
    return "\n".join("  ".join(f"{cell:<{WIDTH}}" for cell in row).rstrip()
                     for row in zip_longest(*columns, fillvalue=""))


def main() -> None:
    try:
        make_trees()
        with ExitStack() as stack:
            stack.enter_context(qemu_with_model())
            print(side_by_side([look(kernel) for kernel in TITLES]))
    except (LabError, StepFailed) as error:
        die(str(error))


if __name__ == "__main__":
    main()
