# SPDX-License-Identifier: GPL-2.0
"""virtio-iommu: which domain an endpoint is in, and what is mapped there.

QEMU always offers VIRTIO_IOMMU_F_BYPASS_CONFIG: KUnit has the identity domain
of a device that does not, which consists of mappings.
"""

from itertools import takewhile

import pytest

from lab.groups import rid_of
from lab.machines import MACHINES, VIRTIO, Machine
from lab.ntb import read
from lab.virtio import (TRACE, asked, dma, group_of, known, lasting,
                        reads_random, requests)
from lab.vm import VM

GROUPS = "/sys/kernel/iommu_groups"
# Where addresses for DMA would be taken from first. A board that has MSIs puts
# their window in place of what QEMU's command line says
RESERVED = (0xff000000, 0xffffffff)
MSI = (0xfee00000, 0xfeefffff)

# Two groups. Nothing drives the one, it does no DMA
TREE = """
    pci-testdev,addr=2                      still
    virtio-rng-pci,addr=3                   rng
"""
RNG = """
    virtio-rng-pci,addr=3                   rng
"""
for machine in (
        # Unmapped at once, not when there is time
        Machine("virtio-groups", TREE, platform=VIRTIO, trace=TRACE,
                cmdline="iommu.strict=1"),
        Machine("virtio-bypass", TREE, trace=TRACE, cmdline="iommu.strict=1",
                platform=(*VIRTIO[:-1], VIRTIO[-1].replace("off", "on"))),
        Machine("virtio-passthrough", TREE, platform=VIRTIO, trace=TRACE,
                cmdline="iommu.passthrough=1"),
        Machine("virtio-granule", RNG, trace=TRACE,
                needs=("virtio-iommu-pci", "granule"),
                platform=(*VIRTIO[:-1], f"{VIRTIO[-1]},granule=64k")),
        Machine("virtio-reserved", RNG, arch="arm64", trace=TRACE,
                needs=("virtio-iommu-pci", "reserved-regions"),
                platform=("-machine", "virt,gic-version=3,its=off", "-device",
                          '{"driver": "virtio-iommu-pci", "addr": "1", '
                          '"boot-bypass": false, "reserved-regions": '
                          f'["{RESERVED[0]:#x}:{RESERVED[1]:#x}:0"]}}'))):
    MACHINES[machine.name] = machine


def bind(vm: VM, verb: str) -> None:
    vm.run("pci-hotplug", verb, "virtio-pci", vm.bdf("rng"))


def set_type(vm: VM, what: str, check: bool = True) -> bool:
    """Write the type of rng's group; is it taken?"""
    run = vm.run("write-file", f"{GROUPS}/{group_of(vm, 'rng')}/type", what,
                 check=check)
    return run.returncode == 0


@pytest.mark.machine("virtio-groups")
def test_requests_in_order(vm: VM) -> None:
    """All that the device is asked for, from the boot to the end of both
    groups; nothing for the one when the other changes."""
    rng, still = vm.bdf("rng"), vm.bdf("still")
    attached = [request for request in
                takewhile(lambda it: it.startswith("attach"), asked(vm))
                if request.endswith((f"={rid_of(still)}", f"={rid_of(rng)}"))]
    assert attached == [f"attach domain=2 endpoint={rid_of(still)}",
                        f"attach domain=3 endpoint={rid_of(rng)}"]
    assert reads_random(vm)

    def unmaps() -> list[str]:
        """What it takes to unmap all that was mapped at @start."""
        return sorted(
            f"unmap domain={domain} virt_start={first:#x} virt_end={end:#x}"
            for domain, first, end in known(vm, start).mapped(rng))

    start = len(vm.traced())
    bind(vm, "unbind")
    assert sorted(lasting(asked(vm, start))) == unmaps() != []

    for what, domain in (("identity", 0), ("DMA", 3)):
        start = len(vm.traced())
        set_type(vm, what)
        assert asked(vm, start) == [f"attach domain={domain} "
                                    f"endpoint={rid_of(rng)}"]

    start = len(vm.traced())
    bind(vm, "bind")
    assert reads_random(vm)
    assert all(request.startswith("map domain=3 ")
               for request in lasting(asked(vm, start)))

    start = len(vm.traced())
    for name in ("rng", "still"):
        vm.remove(name)
    *unmapped, detach_rng, detach_still = lasting(asked(vm, start))
    assert sorted(unmapped) == unmaps()
    assert detach_rng == f"detach domain=3 endpoint={rid_of(rng)}"
    assert detach_still == f"detach domain=2 endpoint={rid_of(still)}"
    assert not known(vm).mappings

    start = len(vm.traced())
    vm.rescan()
    assert reads_random(vm)
    assert asked(vm, start)[:2] == attached


@pytest.mark.parametrize("bypass", [
    pytest.param("off", marks=pytest.mark.machine("virtio-groups")),
    pytest.param("on", marks=pytest.mark.machine("virtio-bypass"))])
def test_group_type(vm: VM, bypass: str) -> None:
    """One request leads to the new domain. Not below a driver."""
    rng, still = vm.bdf("rng"), vm.bdf("still")
    for what, becomes in (("identity", "physical"), ("DMA", "translated"),
                          ("identity", "physical"), ("auto", "translated")):
        start = len(vm.traced())
        assert not set_type(vm, what, check=False)
        bind(vm, "unbind")
        assert set_type(vm, what)
        bind(vm, "bind")
        assert reads_random(vm)
        assert dma(vm, rng) == becomes
        assert bool(known(vm).mapped(rng)) == (becomes == "translated")
        assert requests(vm, "attach", rng, start) == 1
        assert not requests(vm, ".*", still, start)
        assert vm.state().functions[rng].group_type == (
            "identity" if what == "identity" else "DMA")
    assert dma(vm, still) == "translated"


@pytest.mark.machine("virtio-passthrough")
def test_passthrough(vm: VM) -> None:
    """Attached all the same: what is not is refused."""
    names = ("rng", "still")
    for name in names:
        assert dma(vm, vm.bdf(name)) == "physical"
        assert requests(vm, "attach", vm.bdf(name)) == 1
    assert reads_random(vm)

    for name in names:
        bdf = vm.remove(name)
        assert requests(vm, "detach", bdf) == 1
        assert dma(vm, bdf) == "refused"
    vm.rescan()
    assert reads_random(vm)
    assert all(dma(vm, vm.bdf(name)) == "physical" for name in names)
    assert not [request for request in asked(vm) if "map" in request]


def is_left_alone(vm: VM, region: tuple[int, int], kind: str) -> bool:
    """Is the region one of rng's group, and is nothing mapped there?"""
    first, end = region
    assert reads_random(vm)
    maps = [request.split() for request in asked(vm)
            if request.startswith("map")]
    assert maps
    regions = read(vm, f"{GROUPS}/{group_of(vm, 'rng')}/reserved_regions")
    return (f"0x{first:016x} 0x{end:016x} {kind}" in regions.splitlines() and
            not [fields for fields in maps
                 if int(fields[2].partition("=")[2], 0) <= end and
                 int(fields[3].partition("=")[2], 0) >= first])


@pytest.mark.machine("virtio-groups")
def test_msi_region(vm: VM) -> None:
    assert is_left_alone(vm, MSI, "msi")


@pytest.mark.usefixtures("model")
@pytest.mark.machine("virtio-reserved")
def test_reserved_region(vm: VM) -> None:
    assert is_left_alone(vm, RESERVED, "reserved")


@pytest.mark.usefixtures("model")
@pytest.mark.machine("virtio-granule")
@pytest.mark.defect("as no group gets a domain, drivers wait for the IOMMU until "
                    "the timeout", fixed=True)
def test_granule_of_large_pages(vm: VM) -> None:
    """The host's pages are larger than the guest's: endpoints bypass."""
    rng = vm.bdf("rng")
    assert vm.state().functions[rng].group_type == "identity"
    assert requests(vm, "attach", rng) == 1
    assert dma(vm, rng) == "physical"
    assert reads_random(vm)
