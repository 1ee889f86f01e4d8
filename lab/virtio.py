# SPDX-License-Identifier: GPL-2.0
"""virtio-iommu in the lab: which requests the device got, what it knows and
what becomes of DMA, as QEMU's trace events tell."""

import re
from dataclasses import dataclass, field
from typing import Optional

from lab import LabError
from lab.groups import rid_of
from lab.vm import VM

# Of machines that want known() and dma() to tell
TRACE = ("virtio_iommu_attach", "virtio_iommu_detach", "virtio_iommu_map",
         "virtio_iommu_unmap", "virtio_iommu_device_reset*",
         "virtio_iommu_switch_address_space")
REQUESTS = TRACE[:4]
RESET, SWITCH = "virtio_iommu_device_reset", TRACE[5]

DRIVER = "/sys/bus/virtio/drivers/virtio_iommu"
IOMMU = "0000:00:01.0"
FAULT = "fault from EP"         # what the driver reports
RANDOM_BYTES, RANDOM_SECONDS = 8192, 10


@dataclass
class Known:
    """What the device knows."""
    domains: dict[int, int] = field(default_factory=dict)   # of endpoints
    # domain, first and last address
    mappings: set[tuple[int, ...]] = field(default_factory=set)

    def mapped(self, bdf: str) -> set[tuple[int, ...]]:
        """The mappings that an endpoint reaches."""
        return {mapping for mapping in self.mappings
                if mapping[0] == self.domains.get(rid_of(bdf))}


def asked(vm: VM, start: int = 0) -> list[str]:
    """The requests in their order: "attach domain=1 endpoint=2"."""
    return [event.removeprefix("virtio_iommu_") for event in vm.traced(start)
            if event.split()[0] in REQUESTS]


def requests(vm: VM, kind: str, bdf: str, start: int = 0) -> int:
    """How many requests of a kind there were for a requester ID."""
    return sum(bool(re.fullmatch(rf"{kind} .*endpoint={rid_of(bdf)}", request))
               for request in asked(vm, start))


def lasting(found: list[str]) -> list[str]:
    """Requests but for buffers that were mapped for a moment."""
    left: list[str] = []
    for request in found:
        if left and request.split()[:4] == ["un" + left[-1].split()[0],
                                            *left[-1].split()[1:4]]:
            left.pop()
        else:
            left.append(request)
    return left


def known(vm: VM, end: Optional[int] = None) -> Known:
    """What the device knows now, or knew at event @end, on a machine where it
    granted all requests. A domain goes, with its mappings, when its last
    endpoint leaves."""
    now = Known()
    for event in vm.traced()[:end]:
        kind, *fields = event.split()
        if kind.startswith(RESET):
            now = Known()
        if kind not in REQUESTS:
            continue
        values = [int(field.partition("=")[2], 0) for field in fields]
        if kind.endswith("_attach"):
            now.domains[values[1]] = values[0]
        elif kind.endswith("_detach"):
            now.domains.pop(values[1], None)
        elif kind.endswith("_map"):
            now.mappings.add(tuple(values[:3]))
        else:
            now.mappings -= {(domain, first, last)
                             for domain, first, last in now.mappings
                             if domain == values[0] and
                             values[1] <= first and last <= values[2]}
        now.mappings = {mapping for mapping in now.mappings
                        if mapping[0] in now.domains.values()}
    return now


def dma(vm: VM, bdf: str) -> str:
    """What becomes of an endpoint's DMA: "translated", "physical" or
    "refused". Only of endpoints on the root bus."""
    last = [event for event in vm.traced()
            if event.startswith(f"{SWITCH} Device {bdf[5:]} ")][-1]
    if "enabled=0" in last:
        return "physical"
    return "translated" if rid_of(bdf) in known(vm).domains else "refused"


def reads_random(vm: VM, seconds: int = RANDOM_SECONDS) -> bool:
    """Does the virtio-rng of a machine that has one still do DMA?"""
    run = vm.run("random-read", RANDOM_BYTES, seconds, check=False,
                 timeout=seconds + 10)
    return run.returncode == 0


def survives(vm: VM, path: str, value: str) -> bool:
    """Does the guest live on after writing a value to a file?"""
    try:
        vm.run("write-file", path, value)
    except LabError:
        if vm.running():
            raise
        return False
    return True


def iommu_device(vm: VM) -> str:
    """The name of the IOMMU on its bus, where other devices may be before it."""
    return re.findall(r"virtio\d+(?=: page mask)",
                      "".join(said(vm, "virtio_iommu")))[-1]


def without_group(vm: VM) -> list[str]:
    """The devices that lack a group; the IOMMU itself has none."""
    return [f.bdf for f in vm.state().functions.values()
            if f.group is None and f.bdf != IOMMU]


def group_of(vm: VM, name: str) -> Optional[int]:
    return vm.state().functions[vm.bdf(name)].group


def said(vm: VM, pattern: str) -> list[str]:
    """Lines of the guest's log, not those of the host in it."""
    vm.flush_log()
    return [line for line in vm.lines()
            if re.search(pattern, line) and not line.startswith("===")]
