# SPDX-License-Identifier: GPL-2.0
"""virtio-iommu: which requests it gets, as QEMU's trace events tell.

Through VIOT on q35, with boot-bypass=off: DMA of what is not attached is
refused. "edu" is the device with a late alias: the next function's ID.
"""

import re
from typing import Optional

import pytest

from lab import LabError
from lab.groups import rid_of
from lab.machines import MACHINES, VIRTIO, Machine
from lab.vm import VM

TRACE = ("virtio_iommu_attach", "virtio_iommu_detach",
         "virtio_iommu_device_reset*", "virtio_iommu_translate",
         "virtio_iommu_report_fault")

for name, tree in {
    # Nothing is at the alias of this edu
    "virtio-alias": """
        pcie-root-port,addr=2                   port-alias
            edu                                 edu
        virtio-rng-pci,addr=3                   rng
    """,
    "virtio-siblings": """
        pcie-root-port,addr=2                   port-siblings
            edu,addr=0.0,multifunction=on       edu
            virtio-rng-pci,addr=0.1             rng
    """,
    "virtio-bridge": """
        pcie-root-port,addr=2                   port-bridge
            pcie-pci-bridge                     bridge
                virtio-rng-pci,addr=1           rng
                edu,addr=2                      edu
    """,
    "virtio-nvme": """
        nvme,addr=2,serial=lab                  nvme
        virtio-rng-pci,addr=3                   rng
        pcie-root-port,addr=4                   port-hot
    """,
}.items():
    MACHINES[name] = Machine(name, tree, platform=VIRTIO, trace=TRACE)

IOMMU = "0000:00:01.0"
FAULT = "fault from EP"         # what the driver reports
DRIVER = "/sys/bus/virtio/drivers/virtio_iommu"
# A guest that powers off takes less than a second; the host may be loaded
POWEROFF_TIMEOUT = 10.0
HOT_PLUG_CYCLES = 10
RANDOM_BYTES, RANDOM_SECONDS = 8192, 10


def requests(vm: VM, kind: str, bdf: str, start: int = 0) -> int:
    """How many requests of a kind QEMU got for a requester ID."""
    return sum(bool(re.search(rf"virtio_iommu_{kind} .*endpoint={rid_of(bdf)}$",
                              line)) for line in vm.traced(start))


def reads_random(vm: VM) -> bool:
    """Does the virtio-rng of a machine that has one still do DMA?"""
    run = vm.run("random-read", RANDOM_BYTES, RANDOM_SECONDS, check=False,
                 timeout=RANDOM_SECONDS + 10)
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


@pytest.mark.machine("virtio-alias")
@pytest.mark.expected_log("WARNING: drivers/iommu/iommu.c")     # on stock
@pytest.mark.defect("an alias that the device does not know leaves the whole "
                    "machine without groups", fixed=True)
def test_alias_unknown(vm: VM) -> None:
    """The device's own ID is attached, the alias skipped and reported once."""
    assert not without_group(vm)
    assert not said(vm, "WARNING: ")
    assert len(said(vm, "does not know 1 of 1 DMA aliases")) == 1
    assert requests(vm, "attach", vm.bdf("edu")) == 1

    bdf = vm.remove("edu")
    assert requests(vm, "detach", bdf) == 1
    assert requests(vm, "detach", bdf[:-1] + "1") == 0
    assert not said(vm, "WARNING: ")


@pytest.mark.machine("virtio-siblings")
@pytest.mark.expected_log(FAULT)                                # on stock
@pytest.mark.defect("releasing a device detaches an ID that its sibling uses",
                    fixed=True)
def test_alias_of_sibling(vm: VM) -> None:
    """Function 0 has function 1's ID as alias, and is removed: function 1
    does DMA as before."""
    sibling = vm.bdf("rng")
    assert group_of(vm, "edu") == group_of(vm, "rng")
    assert reads_random(vm)

    bdf = vm.remove("edu")
    assert requests(vm, "detach", bdf) == 1
    assert reads_random(vm)
    assert not said(vm, FAULT)
    assert requests(vm, "attach", sibling) == 1
    assert requests(vm, "detach", sibling) == 0

    vm.remove("rng")
    assert requests(vm, "detach", sibling) == 1


@pytest.mark.machine("virtio-bridge")
@pytest.mark.expected_log("WARNING: drivers/iommu/iommu.c")     # on stock
@pytest.mark.defect("an endpoint that the device knows by its bridge's ID only "
                    "leaves the whole machine without groups", fixed=True)
def test_behind_bridge(vm: VM) -> None:
    """What is behind a PCIe-to-PCI bridge does DMA with the ID of the bridge's
    bus, until the last of it is gone."""
    rng = vm.bdf("rng")
    shared = rng[:-len("01.0")] + "00.0"
    assert not without_group(vm)
    assert group_of(vm, "edu") == group_of(vm, "rng") == group_of(vm, "bridge")
    assert reads_random(vm)

    vm.remove("edu")
    assert reads_random(vm)
    assert requests(vm, "attach", shared) == 1
    assert requests(vm, "detach", shared) == 0

    vm.remove("rng")
    assert requests(vm, "detach", shared) == 1
    assert not said(vm, f"WARNING: |{FAULT}")


@pytest.mark.machine("virtio-nvme")
def test_endpoints_come_and_go(vm: VM) -> None:
    """The device knows as many endpoints as before."""
    start, bdf = len(vm.traced()), ""
    for cycle in range(HOT_PLUG_CYCLES):
        name = f"hot-{cycle}"
        vm.device_add("virtio-net-pci", name, "port-hot")
        bdf = vm.bdf(name)
        vm.device_del(name)
    assert requests(vm, "attach", bdf, start) == HOT_PLUG_CYCLES
    assert requests(vm, "detach", bdf, start) == HOT_PLUG_CYCLES


@pytest.mark.machine("virtio-nvme")
@pytest.mark.expected_log("BUG: |Oops|Kernel panic")            # on stock
@pytest.mark.defect("the removal of the driver follows a link that is gone",
                    fixed=True)
def test_driver_unbound_and_bound(vm: VM) -> None:
    """Endpoints lose their drivers with their IOMMU's, and get them back."""
    endpoints = {vm.bdf("nvme"): "nvme", vm.bdf("rng"): "virtio-pci"}
    start = len(vm.traced())
    assert survives(vm, f"{DRIVER}/unbind", "virtio0"), "the guest is gone"
    functions = vm.state().functions
    for bdf in endpoints:
        assert requests(vm, "detach", bdf, start) == 1
        assert functions[bdf].group is None and not functions[bdf].driver

    start = len(vm.traced())
    assert survives(vm, f"{DRIVER}/bind", "virtio0"), "the guest is gone"
    functions = vm.state().functions
    for bdf, driver in endpoints.items():
        assert requests(vm, "attach", bdf, start) == 1
        assert functions[bdf].group is not None
        assert functions[bdf].driver == driver
    assert reads_random(vm)
    assert not said(vm, f"BUG: (?!KCSAN)|Oops|WARNING: |{FAULT}")


@pytest.mark.machine("virtio-nvme")
@pytest.mark.defect("the IOMMU is reset while endpoints still do DMA",
                    fixed=True)
def test_endpoints_shut_down_first(vm: VM) -> None:
    """An NVMe controller is told of the shutdown by DMA."""
    start = len(vm.traced())
    assert vm.powers_off(POWEROFF_TIMEOUT), "the guest hangs"
    events = vm.traced(start)
    reset = [number for number, event in enumerate(events)
             if event.startswith("virtio_iommu_device_reset")]
    assert reset, "the IOMMU was not shut down"
    late = [event for event in events[reset[0]:]
            if event.startswith("virtio_iommu_translate")]
    assert not late, f"DMA after the shutdown of the IOMMU: {late[0]}"
