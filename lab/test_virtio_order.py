# SPDX-License-Identifier: GPL-2.0
"""virtio-iommu that comes before, with or after its endpoints' drivers.

Whatever the order, DMA of each endpoint is translated; or refused, or physical
if that is what the administrator chose by boot-bypass=on, and then something
says so. Here the driver is built in, or a module (lab/kernel/module.config);
test_virtio_iommu.py unbinds and binds it.

Not here: ACPI on arm64, which takes UEFI firmware in the guest (AAVMF) and
CONFIG_EFI, CONFIG_ACPI and VIOT in its kernel. Device tree is.
"""

import pytest

from lab.kernel import MODULE
from lab.machines import MACHINES, VIRTIO, VIRTIO_DT, Machine
from lab.ntb import read, until
from lab.virtio import (DRIVER, FAULT, TRACE, dma, known, reads_random,
                        requests, said, survives)
from lab.vm import VM

RNG = """
    virtio-rng-pci,addr=2                   rng
"""
ENDPOINTS = RNG + """
    nvme,addr=3,serial=lab                  nvme
"""
DRIVERS = {"rng": "virtio-pci", "nvme": "nvme"}


def last(platform: tuple[str, ...]) -> tuple[str, ...]:
    """The IOMMU behind its endpoints on the bus: they are found before it."""
    return tuple(option.replace("addr=1,", "addr=1e,") for option in platform)


for machine in (
        Machine("order-viot", ENDPOINTS, platform=last(VIRTIO), trace=TRACE),
        Machine("order-dt", ENDPOINTS, arch="arm64", platform=last(VIRTIO_DT),
                trace=TRACE),
        # A loaded host may take longer than the 10 s of the default
        Machine("order-module", ENDPOINTS, platform=VIRTIO, trace=TRACE,
                variant=MODULE, cmdline="deferred_probe_timeout=600"),
        *(Machine(f"order-late-{bypass}", RNG, trace=TRACE, variant=MODULE,
                  platform=(*VIRTIO[:-1], VIRTIO[-1].replace("off", bypass)),
                  cmdline="deferred_probe_timeout=1")
          for bypass in ("off", "on"))):
    MACHINES[machine.name] = machine

MODULE_NAME, MODULE_FILE = "virtio_iommu", "virtio-iommu"
DEFERRED = "/sys/kernel/debug/devices_deferred"
# What the kernel says of a driver that it binds without the IOMMU
NOT_TRANSLATED = r"IOMMU \S+ has no driver, continuing without it"
TRY_AGAIN = "Resource temporarily unavailable"
# Enough to see that nothing comes
BRIEFLY = 2


def load(vm: VM) -> None:
    """Load the driver, unless an earlier case has."""
    if MODULE_NAME not in read(vm, "/proc/modules"):
        vm.run("ntb-client", "load", MODULE_FILE)


def try_unload(vm: VM) -> str:
    """Unload the driver; what there is to say against it."""
    return vm.run("ntb-client", "unload", MODULE_NAME, check=False).stderr


def assert_translated(vm: VM, start: int = 0) -> None:
    """All endpoints have their drivers, and have been attached once."""
    functions = vm.state().functions
    for name, driver in DRIVERS.items():
        bdf = vm.bdf(name)
        assert functions[bdf].driver == driver
        assert functions[bdf].group is not None
        assert requests(vm, "attach", bdf, start) == 1
        assert dma(vm, bdf) == "translated"
    assert reads_random(vm)


def assert_refused(vm: VM) -> None:
    """No endpoint has a driver, and none does DMA."""
    functions = vm.state().functions
    for name in DRIVERS:
        bdf = vm.bdf(name)
        assert not functions[bdf].driver and functions[bdf].group is None
        assert dma(vm, bdf) == "refused"


@pytest.mark.parametrize("firmware", [
    pytest.param(name, marks=pytest.mark.machine(f"order-{name}"))
    for name in ("viot", "dt")])
def test_built_in(vm: VM, firmware: str) -> None:
    assert_translated(vm)
    assert not said(vm, NOT_TRANSLATED)


@pytest.mark.machine("order-module")
def test_module_loaded_at_boot(vm: VM) -> None:
    """Drivers wait for the IOMMU, and are listed as waiting."""
    assert_refused(vm)
    assert all(vm.bdf(name) in read(vm, DEFERRED) for name in DRIVERS)
    load(vm)
    assert_translated(vm)
    assert not said(vm, NOT_TRANSLATED)


@pytest.mark.machine("order-module")
@pytest.mark.expected_log("BUG: |Oops|Kernel panic")            # on stock
@pytest.mark.defect("the removal of the driver follows a link that is gone",
                    fixed=True)
def test_module_unloaded_and_loaded(vm: VM) -> None:
    """Not from below its endpoints. When it is gone, drivers are refused, and
    who binds one by hand is told."""
    load(vm)
    assert TRY_AGAIN in try_unload(vm)
    assert survives(vm, f"{DRIVER}/unbind", "virtio0"), "the guest is gone"
    assert not try_unload(vm)
    assert_refused(vm)
    bind = vm.run("pci-hotplug", "bind", DRIVERS["rng"], vm.bdf("rng"),
                  check=False)
    assert TRY_AGAIN in bind.stderr
    assert_refused(vm)

    start = len(vm.traced())
    load(vm)
    assert_translated(vm, start)


@pytest.mark.parametrize("bypass", [
    pytest.param(state, marks=pytest.mark.machine(f"order-late-{state}"))
    for state in ("off", "on")])
@pytest.mark.expected_log(FAULT)                                # on stock
@pytest.mark.defect("an endpoint whose driver was bound before the IOMMU came "
                    "is never translated, and nothing says so", fixed=True)
def test_module_loaded_late(vm: VM, bypass: str) -> None:
    """After the timeout a driver is bound without the IOMMU, and the kernel
    says so. It stays so until that driver is bound again."""
    rng = vm.bdf("rng")
    as_booted = "physical" if bypass == "on" else "refused"
    assert until(lambda: bool(vm.state().functions[rng].driver))
    assert dma(vm, rng) == as_booted
    assert reads_random(vm, BRIEFLY) == (bypass == "on")
    assert len(said(vm, f"{rng}: {NOT_TRANSLATED}")) == 1

    load(vm)
    assert known(vm).domains, "the others are attached"
    assert requests(vm, "attach", rng) == 0
    assert dma(vm, rng) == as_booted

    for verb in ("unbind", "bind"):
        vm.run("pci-hotplug", verb, DRIVERS["rng"], rng)
    assert requests(vm, "attach", rng) == 1
    assert dma(vm, rng) == "translated"
    assert reads_random(vm)
