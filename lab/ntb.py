# SPDX-License-Identifier: GPL-2.0
"""Switchtec NTBs in the lab: hosts that reach each other's memory under proxy
IDs. Both hosts are one guest.

What counts is what the model saw: how many requests of the other host arrived
under which proxy ID, and how many the IOMMU refused.
"""

import os
import subprocess
import time
from contextlib import contextmanager
from typing import Any, Callable, Iterator

from lab import LabError
from lab.machines import MACHINES, QEMU_BINARY, Machine
from lab.vm import VM, qemu_binary
from scripts import qemu
from scripts.workbench import StepFailed

NTBS = "/sys/bus/ntb/devices"
TOOL = "/sys/kernel/debug/ntb_tool"
# QEMU's "virt" board has one
HOST_BRIDGE = ("/sys/bus/platform/drivers/pci-host-generic", "4010000000.pcie")
LINK_TIMEOUT = 30.0
BIND_TIMEOUT = 60.0

# What the IOMMUs' drivers say of a request that is refused
FAULT = (r"DMAR: .*(\[DMA |DRHD: handling fault)|"
         r"virtio_iommu .*unknown fault from EP|"
         r"arm-smmu-v3 .*event 0x|AMD-Vi: Event logged")


class NoModel(LabError):
    """This machine's QEMU has no Switchtec NTB."""


@contextmanager
def qemu_with_model() -> Iterator[None]:
    """Boots meanwhile use a QEMU that has the model; NoModel if there is none."""
    debian = dict(QEMU_BINARY)
    own = os.environ.get("QEMU")
    try:
        if not own:
            try:
                qemu.build()
            except (StepFailed, subprocess.SubprocessError, OSError) as error:
                raise NoModel(f"no QEMU with the NTB model: {error}") from None
            QEMU_BINARY.update({arch: str(qemu.program(arch)) for arch in QEMU_BINARY
                                if qemu.program(arch).exists()})
        elif '"switchtec-ntb"' not in qemu_help(own, "-device", "help"):
            raise NoModel(f"QEMU={own} has no device switchtec-ntb")
        yield
    finally:
        QEMU_BINARY.update(debian)


def qemu_help(program: str, *argv: str) -> str:
    return subprocess.run([program, *argv], timeout=60, capture_output=True,
                          text=True, check=False).stdout


def why_not(machine: str) -> str:
    """Why this QEMU cannot run a machine; empty if it can."""
    description = MACHINES[machine]
    program = qemu_binary(description.arch)
    board = option_name(description, "-machine")
    if not any(line.split()[:1] == [board] for line in
               qemu_help(program, "-machine", "help").splitlines()):
        return f"{program} has no machine {board}"
    if description.needs:
        driver, prop = description.needs
        options = qemu_help(program, "-device", f"{driver},help")
        if f"  {prop}=" not in options:
            version = qemu_help(program, "--version").splitlines()[:1]
            return (f"its {driver} has no {prop}, so that it translates no "
                    f"DMA: {', '.join(version)}")
    return ""


def option_name(machine: Machine, option: str) -> str:
    """What a board's QEMU option names, without its properties."""
    return machine.platform[machine.platform.index(option) + 1].split(",")[0]


# Clients of an NTB, in the guest

def read(vm: VM, path: str) -> str:
    return vm.run("ntb-client", "read", path).stdout


def write(vm: VM, path: str, value: str) -> None:
    vm.run("ntb-client", "write", path, value)


def use(vm: VM, *modules: str) -> None:
    """Let these be the clients of all NTBs, and no others."""
    loaded = [line.split()[0] for line in read(vm, "/proc/modules").splitlines()]
    if loaded == list(reversed(modules)):
        return
    for name in loaded:
        vm.run("ntb-client", "unload", name)
    for name in modules:
        vm.run("ntb-client", "load", name)


def tool(vm: VM, name: str) -> str:
    """ntb_tool's folder for an endpoint."""
    return f"{TOOL}/{vm.bdf(name)}"


def until(condition: Callable[[], bool], timeout: float = LINK_TIMEOUT) -> bool:
    """Does @condition become true in time?"""
    deadline = time.monotonic() + timeout
    while not (true := condition()) and time.monotonic() < deadline:
        time.sleep(0.1)
    return true


def linked(vm: VM, *names: str) -> bool:
    """Enable the link at each endpoint; does it come up at all of them?

    Who is refused once does not ask again, so that is the end of waiting.
    """
    refused = [total(vm, name, "refused") for name in names]

    def up() -> bool:
        return all(read(vm, f"{tool(vm, n)}/peer0/link").strip() == "Y"
                   for n in names)

    for name in names:
        probe = ("ntb-client", "read", f"{NTBS}/{vm.bdf(name)}/uevent")
        assert until(lambda: not vm.run(*probe, check=False).returncode,
                     BIND_TIMEOUT), (
            f"ntb_hw_switchtec does not bind {name}")
    use(vm, "ntb_tool")
    for value in "NY":
        for name in names:
            write(vm, f"{tool(vm, name)}/link", value)
    until(lambda: up() or refused != [total(vm, n, "refused") for n in names])
    return up()


def copy(vm: VM, source: str, target: str, size: int) -> float:
    """Copy through a window of @source to @target's memory and compare; the
    bytes a second that were written."""
    said = vm.run("ntb-copy", tool(vm, source), tool(vm, target), size).stdout
    return size * 1e6 / max(1, int(said.splitlines()[-1].split()[0]))


# What the model saw

def seen(vm: VM, name: str) -> dict[str, dict[str, int]]:
    """The other hosts' requests at an endpoint, by proxy ID."""
    found: dict[str, dict[str, int]] = vm.qmp.execute(
        "qom-get", path=f"/machine/peripheral/{name}", property="proxied")
    return found


def total(vm: VM, name: str, what: str) -> int:
    return sum(counts[what] for counts in seen(vm, name).values())


# NTBs that come and go; machines are those with a PAIR. No client is loaded
# meanwhile: a message to the peer overwrites one that it has not read yet, and a
# client's first one follows at once on that which has the peer open its window

@contextmanager
def plugged(vm: VM, **properties: Any) -> Iterator[str]:
    """A second endpoint for the switch of ntb-a, in place of ntb-b."""
    use(vm)
    vm.device_del("ntb-b")
    vm.device_add("switchtec-ntb", "ntb-hot", "port-c", switch="sw0",
                  partition=1, **properties)
    yield "ntb-hot"
    vm.device_del("ntb-hot")
    plug_b(vm)


def rebind_host_bridge(vm: VM) -> None:
    """Let the host bridge go with all that is below it, and come back."""
    use(vm)
    driver, bridge = HOST_BRIDGE
    for file in ("unbind", "bind"):
        write(vm, f"{driver}/{file}", bridge)


def plug_b(vm: VM, wait: bool = True) -> None:
    """Plug in ntb-b as it is at boot."""
    use(vm)
    vm.device_add("switchtec-ntb", "ntb-b", "port-b", wait=wait, switch="sw0",
                  partition=1, **{"proxy-base": 16})
