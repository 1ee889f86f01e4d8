# SPDX-License-Identifier: GPL-2.0
"""P5: a port that fails, or takes its time, keeps no endpoint from working.

Endpoints come after the port above them, without depending on what comes of it.
What ports do is said on the command line: lab/kernel/port_control.h.
"""

import re
from contextlib import contextmanager
from typing import Iterator

import pytest

from lab.machines import MACHINES, VTD, Machine
from lab.ntb import read, until, write
from lab.virtio import reads_random
from lab.vm import VM

BELOW_PORTS = """
    pcie-root-port,addr=2                   port-nvme
        nvme,serial=lab                     nvme
    pcie-root-port,addr=3                   port-switch
        x3130-upstream                      switch
            xio3130-downstream,addr=0       down
                virtio-rng-pci              rng
"""
PORTS = ("port-nvme", "port-switch", "switch", "down")
DRIVERS = {"nvme": "nvme", "rng": "virtio-pci"}
ASYNC = "driver_async_probe=pcieport"
CMDLINES = {"fail": "lab_ports=fail", "fail-late": f"{ASYNC} lab_ports=slow,fail",
            "managed": "lab_ports=fail,managed", "late": f"{ASYNC} lab_ports=slow",
            "bound": ""}
for name, cmdline in CMDLINES.items():
    MACHINES[f"ports-{name}"] = Machine(f"ports-{name}", BELOW_PORTS, platform=VTD,
                                        cmdline=cmdline)

PORT_DRIVER = "/sys/bus/pci/drivers/pcieport"
DEFERRED = "/sys/kernel/debug/devices_deferred"
# Far more than the three slow ports above the random number generator take
SECONDS = 60


def drivers(vm: VM, *names: str) -> dict[str, str | None]:
    functions = vm.state().functions
    return {name: functions[vm.bdf(name)].driver or None for name in names}


def works(vm: VM) -> bool:
    """The endpoints have their drivers, and do DMA."""
    return (drivers(vm, *DRIVERS) == DRIVERS and reads_random(vm) and
            read(vm, "/sys/class/nvme/nvme0/state").strip() == "live")


def link(vm: VM, supplier: str, consumer: str, attribute: str) -> str:
    """What sysfs says of the device link between two devices, if there is one."""
    return vm.run("ntb-client", "read",
                  f"/sys/class/devlink/pci:{vm.bdf(supplier)}--pci:"
                  f"{vm.bdf(consumer)}/{attribute}", check=False).stdout.strip()


@pytest.mark.parametrize("when", [
    pytest.param("first", marks=pytest.mark.machine("ports-fail")),
    pytest.param("late", marks=pytest.mark.machine("ports-fail-late"))])
def test_ports_fail(vm: VM, when: str) -> None:
    """No port has a driver, and all below them works."""
    assert until(lambda: works(vm), SECONDS)
    assert set(drivers(vm, *PORTS).values()) == {None}
    assert any(re.search("pcieport failed with error -5", line)
               for line in vm.lines())


@pytest.mark.machine("ports-managed")
def test_managed_links_would_not_do(vm: VM) -> None:
    """Control: what is below a port that fails never gets its driver if the link
    to it is a managed one."""
    assert set(drivers(vm, *PORTS, *DRIVERS).values()) == {None}
    assert link(vm, "port-nvme", "nvme", "status") == "dormant"


@contextmanager
def found_again(vm: VM) -> Iterator[None]:
    """Ports below which an endpoint waits; in the end it works as before."""
    assert until(lambda: works(vm), SECONDS)
    rng = vm.bdf("rng")
    vm.remove("port-switch")
    vm.rescan()
    yield
    assert until(lambda: rng in vm.state().functions and works(vm), SECONDS)
    assert set(drivers(vm, *PORTS).values()) == {"pcieport"}


@pytest.mark.defect("devices are probed while the port above is not ready",
                    fixed=True)
@pytest.mark.machine("ports-late")
def test_ports_are_slow(vm: VM) -> None:
    """An endpoint waits for the ports above it, one after the other; debugfs and
    sysfs say so, and nothing is left of the link in the end."""
    with found_again(vm):
        assert drivers(vm, "rng") == {"rng": None}
        waits = read(vm, DEFERRED)
        assert re.search(rf"{vm.bdf('rng')}\s.*{vm.bdf('down')}", waits)
        assert link(vm, "down", "rng", "probe_order") == "waiting"
        assert link(vm, "down", "rng", "status") == "dormant"
    assert not link(vm, "down", "rng", "probe_order")
    assert not read(vm, DEFERRED).strip()


@pytest.mark.machine("ports-late")
def test_removed_while_waiting(vm: VM) -> None:
    """The ports go, with what waits below them, and come back."""
    with found_again(vm):
        vm.remove("port-switch")
        vm.rescan()


@pytest.mark.machine("ports-bound")
def test_ports_unbound_and_bound(vm: VM) -> None:
    """What is below a port does without its driver, as ever."""
    for name in PORTS:
        write(vm, f"{PORT_DRIVER}/unbind", vm.bdf(name))
    assert works(vm)
    write(vm, "/sys/bus/pci/drivers/nvme/unbind", vm.bdf("nvme"))
    write(vm, "/sys/bus/pci/drivers/nvme/bind", vm.bdf("nvme"))
    assert until(lambda: "live" in vm.run(
        "ntb-client", "read", "/sys/class/nvme/nvme0/state", check=False).stdout,
        SECONDS)
    for name in PORTS:
        write(vm, f"{PORT_DRIVER}/bind", vm.bdf(name))
    assert works(vm)
    assert set(drivers(vm, *PORTS).values()) == {"pcieport"}
