# SPDX-License-Identifier: GPL-2.0
"""virtio-iommu: which requests it gets, as QEMU's trace events tell.

With boot-bypass=off: DMA of what is not attached is refused. Through VIOT on
q35 but for the machine whose name ends in "-dt". "edu" is the device with a
late alias: the next function's ID.

LAB_CYCLES=500 lets endpoints come and go that many times, a third of them for
each kind and rounded up; 10 if it is not set.
With LAB_VARIANT=debug memory that they leave behind is found.
"""

import os
import time
from contextlib import contextmanager
from typing import Any, Iterator

import pytest

from lab.kernel import DEBUG
from lab.machines import MACHINES, VIRTIO, VIRTIO_DT, Machine
from lab.ntb import read, until, write
from lab.virtio import (DRIVER, FAULT, TRACE, group_of, iommu_device, known,
                        reads_random, requests, said, survives, without_group)
from lab.vm import VM

ENDPOINTS = """
    nvme,addr=2,serial=lab                  nvme
    virtio-rng-pci,addr=3                   rng
"""
# Nothing else does DMA; an NTB's windows need room in its port
PORT = """
    pcie-root-port,addr=2,pref64-reserve=32M    port-hot
"""

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
    "virtio-nvme": ENDPOINTS,
}.items():
    MACHINES[name] = Machine(name, tree, platform=VIRTIO,
                             trace=(*TRACE, "virtio_iommu_translate"))
MACHINES["virtio-dt"] = Machine("virtio-dt", ENDPOINTS, arch="arm64",
                                platform=VIRTIO_DT, trace=TRACE)
# The one that is called "-ntb" runs on the other QEMU. One CPU: of two, QEMU
# without KVM now and then loses an IPI while a device is plugged in
for name in ("virtio-port", "virtio-port-ntb"):
    MACHINES[name] = Machine(name, PORT, platform=VIRTIO, trace=TRACE,
                             cmdline="maxcpus=1")

# A guest that powers off takes less than a second; the host may be loaded
POWEROFF_TIMEOUT = 10.0
KMEMLEAK = "/sys/kernel/debug/kmemleak"
# What is younger than 5 s is passed over, too
KMEMLEAK_AGE, KMEMLEAK_TIMEOUT = 6.0, 300.0
# A leak on purpose: lab/kernel/kmemleak_control.h
LEAK = "/sys/module/pci_sysfs/parameters/lab_leak"
KINDS: dict[str, dict[str, Any]] = {"virtio-net-pci": {},
                                    "nvme": {"serial": "lab"}}
# of each of these kinds, and of NTBs
CYCLES = -(-int(os.environ.get("LAB_CYCLES", "10")) // 3)


def scan(vm: VM) -> None:
    # What has changed since the last scan is passed over, so two
    for _ in range(2):
        vm.run("write-file", KMEMLEAK, "scan", timeout=KMEMLEAK_TIMEOUT)


@contextmanager
def without_leaks(vm: VM) -> Iterator[None]:
    """On a kernel that can tell: nothing is left that nobody refers to."""
    if DEBUG not in vm.kernel.variant:
        yield
        return
    scan(vm)
    write(vm, KMEMLEAK, "clear")
    yield
    time.sleep(KMEMLEAK_AGE)
    scan(vm)
    left = read(vm, KMEMLEAK)
    assert not left, left


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


def come_and_go(vm: VM, kind: str, **properties: Any) -> None:
    """The device knows the same endpoints and mappings as before, each time,
    and the kernel has not lost any memory."""
    before, start, bdf = known(vm), len(vm.traced()), ""
    with without_leaks(vm):
        for _ in range(CYCLES):
            vm.device_add(kind, "hot", "port-hot", **properties)
            bdf = vm.bdf("hot")
            assert until(lambda: bool(known(vm).mapped(bdf)))
            vm.device_del("hot")
            assert known(vm) == before
    assert requests(vm, "attach", bdf, start) == CYCLES
    assert requests(vm, "detach", bdf, start) == CYCLES
    assert not said(vm, FAULT)


@pytest.mark.machine("virtio-port")
def test_leak_is_found(vm: VM) -> None:
    """If there is one, without_leaks() fails."""
    if DEBUG not in vm.kernel.variant:
        pytest.skip("make lab DEBUG=1 runs it, whose kernels have kmemleak")
    with pytest.raises(AssertionError, match="lab_leak"), without_leaks(vm):
        write(vm, LEAK, "1")


@pytest.mark.machine("virtio-port")
@pytest.mark.parametrize("kind", KINDS)
def test_endpoints_come_and_go(vm: VM, kind: str) -> None:
    come_and_go(vm, kind, **KINDS[kind])


@pytest.mark.usefixtures("model")
@pytest.mark.machine("virtio-port-ntb")
def test_ntbs_come_and_go(vm: VM) -> None:
    """An endpoint with DMA aliases, all of which the device knows."""
    come_and_go(vm, "switchtec-ntb", switch="sw0", partition=0)


@pytest.mark.parametrize("firmware", [
    pytest.param("viot", marks=pytest.mark.machine("virtio-nvme")),
    pytest.param("dt", marks=pytest.mark.machine("virtio-dt"))])
@pytest.mark.expected_log("BUG: |Oops|Kernel panic|Unable to handle")   # stock
@pytest.mark.defect("the removal of the driver follows a link that is gone",
                    fixed=True)
def test_driver_unbound_and_bound(vm: VM, firmware: str) -> None:
    """Endpoints lose their drivers with their IOMMU's, and get them back."""
    endpoints = {vm.bdf("nvme"): "nvme", vm.bdf("rng"): "virtio-pci"}
    device = iommu_device(vm)
    start = len(vm.traced())
    assert survives(vm, f"{DRIVER}/unbind", device), "the guest is gone"
    functions = vm.state().functions
    for bdf in endpoints:
        assert requests(vm, "detach", bdf, start) == 1
        assert functions[bdf].group is None and not functions[bdf].driver

    start = len(vm.traced())
    assert survives(vm, f"{DRIVER}/bind", device), "the guest is gone"
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
