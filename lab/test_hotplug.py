# SPDX-License-Identifier: GPL-2.0
"""Devices that come and go while the guest runs.

P3, hot equals cold: a device that is plugged in or found again must end in
the group, and with the requester IDs programmed, that it has when the guest
boots with it.
"""

from contextlib import contextmanager
from typing import Any, Iterator

import pytest

from lab.machines import MACHINES, VIRTIO, Machine
from lab.vm import VM

# What the command line says of the default domain, and the type that it names in
# sysfs. Not on VT-d, which knows a hypervisor and does not batch there
TYPES = {"iommu.strict=0": "DMA-FQ", "iommu.strict=1": "DMA",
         "iommu.passthrough=1": "identity"}
for number, cmdline in enumerate(TYPES):
    MACHINES[f"type-{number}"] = Machine(f"type-{number}", """
        pcie-root-port,addr=2               port-cold
            virtio-rng-pci                  rng-cold
        pcie-root-port,addr=3               port-a
    """, platform=VIRTIO, cmdline=cmdline)

HOTPLUGS = [pytest.param("acpi", marks=pytest.mark.machine("vtd-acpi")),
            pytest.param("pciehp", marks=pytest.mark.machine("vtd-pciehp"))]
every_hotplug = pytest.mark.parametrize("hotplug", HOTPLUGS)

LATE_ALIAS = ("a final fixup adds the alias after the group is formed; needs "
              "groups formed from finished devices")


@contextmanager
def plugged(vm: VM, driver: str, name: str, bus: str,
            **properties: Any) -> Iterator[str]:
    """A device for the length of a case; its address in the guest."""
    vm.device_add(driver, name, bus, **properties)
    yield vm.bdf(name)
    vm.device_del(name)


@contextmanager
def plugged_functions(vm: VM, bus: str) -> Iterator[tuple[str, str]]:
    """A device of two functions without ACS; only function 0 says so in its
    header, as hardware does."""
    vm.device_add("virtio-rng-pci", "fn1", bus, addr="0.1", wait=False)
    vm.device_add("virtio-rng-pci", "fn0", bus, addr="0.0",
                  multifunction=True)
    vm.wait_present("fn1")
    yield vm.bdf("fn0"), vm.bdf("fn1")
    vm.device_del("fn0", "fn1")


@every_hotplug
def test_endpoint_hot_added(vm: VM, hotplug: str) -> None:
    """Without aliases: a group of its own, its own ID programmed, a driver."""
    with plugged(vm, "virtio-rng-pci", "rng-hot", "port-a") as bdf:
        state = vm.state()
    assert state.functions[bdf].driver == "virtio-pci"
    assert state.partition({bdf: "rng", vm.bdf("port-a"): "port"}) == {
        frozenset({"rng"}), frozenset({"port"})}
    assert not state.not_programmed(bdf)


def test_endpoint_hot_added_below_switch(vm: VM) -> None:
    """A port without ACS: the newcomer joins the port's group."""
    with plugged(vm, "virtio-rng-pci", "rng-hot", "down2") as bdf:
        state = vm.state()
    assert state.functions[bdf].group == state.functions[vm.bdf("down2")].group
    assert not state.not_programmed(bdf)


def test_conventional_device_hot_added(vm: VM) -> None:
    """Behind a PCIe-to-PCI bridge: the bridge's group, and the bridge's
    alias of the secondary bus is programmed."""
    with plugged(vm, "virtio-rng-pci", "rng-hot", "bridge", addr="2") as bdf:
        state = vm.state()
    assert len(state.aliases(bdf)) == 1
    assert state.functions[bdf].group == state.functions[vm.bdf("bridge")].group
    assert not state.not_programmed(bdf)


@pytest.mark.parametrize("cmdline", [
    pytest.param(cmdline, marks=pytest.mark.machine(f"type-{number}"))
    for number, cmdline in enumerate(TYPES)])
def test_default_type(vm: VM, cmdline: str) -> None:
    """The command line is for devices of any time."""
    vm.remove("rng-cold")
    vm.rescan()
    vm.wait_present("rng-cold")
    with plugged(vm, "virtio-rng-pci", "rng-hot", "port-a") as bdf:
        functions = vm.state().functions
    assert functions[bdf].driver
    assert {functions[b].group_type for b in (
        bdf, vm.bdf("rng-cold"), vm.bdf("port-a"))} == {TYPES[cmdline]}


def test_endpoint_removed_and_rescanned(vm: VM) -> None:
    """The same group members and the same requester IDs as before."""
    name, bdf = "nvme-switch", vm.bdf("nvme-switch")
    before = vm.state()
    vm.remove(name)
    gone = vm.state()
    vm.rescan()
    after = vm.state()
    assert bdf not in gone.functions
    assert gone.programmed(bdf, before.functions[bdf].rid) == "MISSING"
    assert after.functions[bdf] == before.functions[bdf]
    assert not after.not_programmed(bdf)


@pytest.mark.defect("'multifunction' of function 1 and up is set after "
                    "device_add(), so that it is grouped without it",
                    fixed=True)
@every_hotplug
def test_functions_hot_added(vm: VM, hotplug: str) -> None:
    """Functions without ACS share a group, as they do at boot."""
    with plugged_functions(vm, "port-a") as (fn0, fn1):
        state = vm.state()
    assert state.partition({fn0: "fn0", fn1: "fn1"}) == {
        frozenset({"fn0", "fn1"})}


@pytest.mark.defect("'multifunction' of function 1 and up is set after "
                    "device_add(), so that it is grouped without it",
                    fixed=True)
def test_functions_removed_and_rescanned(vm: VM) -> None:
    """The port is removed with what is below it and found again: the
    functions that shared a group at boot share one."""
    fn0, fn1 = vm.bdf("fn0-cold"), vm.bdf("fn1-cold")
    vm.remove("port-functions")
    vm.rescan()
    state = vm.state()
    assert state.partition({fn0: "fn0", fn1: "fn1"}) == {
        frozenset({"fn0", "fn1"})}


@pytest.mark.defect(LATE_ALIAS, fixed=True)
@every_hotplug
def test_late_alias_hot_added(vm: VM, hotplug: str) -> None:
    """P1 for a device whose alias a final fixup adds."""
    with plugged(vm, "edu", "edu-hot", "port-a") as bdf:
        state = vm.state()
    assert not state.not_programmed(bdf)


@pytest.mark.defect(LATE_ALIAS, fixed=True)
def test_late_alias_rescanned(vm: VM) -> None:
    """P1 for the same device when it is removed and found again."""
    bdf = vm.remove("edu-cold")
    vm.rescan()
    assert not vm.state().not_programmed(bdf)
