# SPDX-License-Identifier: GPL-2.0
"""virtio-iommu that comes before, with or after its endpoints' drivers.

Whatever the order, DMA of each endpoint is translated; or refused, or physical
if that is what the administrator chose by boot-bypass=on, and then something
says so. Here the driver is built in, or a module (lab/kernel/module.config);
test_virtio_iommu.py unbinds and binds it.
"""

import re
from typing import Any

import pytest

from lab.kernel import ACPI, MODULE
from lab.machines import MACHINES, VIRTIO, VIRTIO_ACPI, VIRTIO_DT, Machine
from lab.ntb import read, until
from lab.virtio import (DRIVER, FAULT, TRACE, dma, iommu_device, known,
                        reads_random, requests, said, survives)
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


def bypass(platform: tuple[str, ...]) -> tuple[str, ...]:
    """DMA is physical until the IOMMU's driver comes."""
    return tuple(option.replace("bypass=off", "bypass=on") for option in platform)


# How an endpoint's IOMMU is described to the kernel; of arm64's kernels with the
# driver as a module, one does for both. UEFI firmware does DMA itself, and waits
# for it for ever if it is refused
FIRMWARE = {
    "viot": {"platform": VIRTIO},
    "dt": {"platform": VIRTIO_DT, "arch": "arm64"},
    "acpi": {"platform": bypass(VIRTIO_ACPI), "arch": "arm64", "variant": ACPI},
}


def machine(name: str, tree: str, firmware: str, *, module: bool = False,
            **more: Any) -> None:
    described = {"variant": "", **FIRMWARE[firmware], "trace": TRACE, **more}
    if module:
        described["variant"] = f"{ACPI}-{MODULE}" if "arch" in described else MODULE
    MACHINES[name] = Machine(name, tree, **described)


LATE = []           # firmware and boot-bypass
for which, described in FIRMWARE.items():
    machine(f"order-{which}", ENDPOINTS, which,
            platform=last(described["platform"]))
    # A loaded host may take longer than the 10 s of the default
    machine(f"order-module-{which}", ENDPOINTS, which, module=True,
            cmdline="deferred_probe_timeout=600")
    for platform in {described["platform"], bypass(described["platform"])}:
        state = "on" if platform == bypass(platform) else "off"
        LATE.append((which, state))
        machine(f"order-late-{which}-{state}", RNG, which, module=True,
                platform=platform, cmdline="deferred_probe_timeout=1")


def on_each(name: str) -> pytest.MarkDecorator:
    """Run the case on the machine of each firmware."""
    return pytest.mark.parametrize("firmware", [
        pytest.param(which, marks=pytest.mark.machine(name.format(which)))
        for which in FIRMWARE])


MODULE_NAME, MODULE_FILE = "virtio_iommu", "virtio-iommu"
DEFERRED = "/sys/kernel/debug/devices_deferred"
# What the kernel says of a driver that it binds without the IOMMU
NOT_TRANSLATED = r"IOMMU \S+ has no driver, continuing without it"
# And of one that waits for it
WAITS = r"IOMMU \S+ has no driver yet"
GONE = r"supplier \S+ not ready"
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


def as_booted(vm: VM) -> str:
    """What becomes of DMA while the IOMMU has no driver."""
    platform = vm.machine.platform
    return "physical" if platform == bypass(platform) else "refused"


def assert_refused(vm: VM) -> None:
    """No endpoint has a driver, and the IOMMU is as it was at boot."""
    functions = vm.state().functions
    for name in DRIVERS:
        bdf = vm.bdf(name)
        assert not functions[bdf].driver and functions[bdf].group is None
        assert dma(vm, bdf) == as_booted(vm)


@on_each("order-{}")
def test_built_in(vm: VM, firmware: str) -> None:
    assert_translated(vm)
    assert not said(vm, NOT_TRANSLATED)


@on_each("order-module-{}")
@pytest.mark.defect("nothing says what the drivers wait for", fixed=True)
def test_module_loaded_at_boot(vm: VM, firmware: str) -> None:
    """Drivers wait for the IOMMU, and are listed as waiting."""
    assert_refused(vm)
    for name in DRIVERS:
        assert re.search(rf"{vm.bdf(name)}\t.*{WAITS}", read(vm, DEFERRED))
    load(vm)
    assert_translated(vm)
    assert not said(vm, NOT_TRANSLATED)


@on_each("order-module-{}")
@pytest.mark.expected_log("BUG: |Unable to handle kernel|Oops|Kernel panic") # on stock
@pytest.mark.defect("the removal of the driver follows a link that is gone",
                    fixed=True)
def test_module_unloaded_and_loaded(vm: VM, firmware: str) -> None:
    """Not from below its endpoints. When it is gone, drivers are refused, and
    who binds one by hand is told."""
    load(vm)
    assert TRY_AGAIN in try_unload(vm)
    assert survives(vm, f"{DRIVER}/unbind", iommu_device(vm)), "the guest is gone"
    assert not try_unload(vm)
    assert_refused(vm)
    bind = vm.run("pci-hotplug", "bind", DRIVERS["rng"], vm.bdf("rng"),
                  check=False)
    assert TRY_AGAIN in bind.stderr
    vm.run("ntb-client", "write", "/sys/bus/pci/drivers_probe", vm.bdf("rng"),
           check=False)
    assert re.search(rf"{vm.bdf('rng')}\t.*{GONE}", read(vm, DEFERRED))
    assert_refused(vm)

    start = len(vm.traced())
    load(vm)
    assert_translated(vm, start)


@pytest.mark.parametrize("firmware, state", [
    pytest.param(which, state,
                 marks=pytest.mark.machine(f"order-late-{which}-{state}"))
    for which, state in sorted(LATE)])
@pytest.mark.expected_log(FAULT)                                # on stock
@pytest.mark.defect("an endpoint whose driver was bound before the IOMMU came "
                    "is never translated, and nothing says so", fixed=True)
def test_module_loaded_late(vm: VM, firmware: str, state: str) -> None:
    """After the timeout a driver is bound without the IOMMU, and the kernel
    says so. It stays so until that driver is bound again."""
    rng = vm.bdf("rng")
    assert until(lambda: bool(vm.state().functions[rng].driver))
    assert dma(vm, rng) == as_booted(vm)
    assert reads_random(vm, BRIEFLY) == (state == "on")
    assert len(said(vm, f"{rng}: {NOT_TRANSLATED}")) == 1

    load(vm)
    assert known(vm).domains, "the others are attached"
    assert requests(vm, "attach", rng) == 0
    assert dma(vm, rng) == as_booted(vm)

    for verb in ("unbind", "bind"):
        vm.run("pci-hotplug", verb, DRIVERS["rng"], rng)
    assert requests(vm, "attach", rng) == 1
    assert dma(vm, rng) == "translated"
    assert reads_random(vm)
