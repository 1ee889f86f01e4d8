# SPDX-License-Identifier: GPL-2.0
"""The machines that the lab boots.

A machine is drawn as its PCI tree: one line a device, "driver,property=value
name", indented below the bridge it is plugged into. Names are QEMU device
IDs: tests speak of devices by name and ask the running machine for addresses.
"""

from dataclasses import dataclass
from typing import Any, Iterator

from lab import LabError

QEMU_BINARY = {"x86_64": "qemu-system-x86_64", "arm64": "qemu-system-aarch64"}
QEMU_PACKAGE = {"x86_64": "qemu-system-x86", "arm64": "qemu-system-arm"}

# Ports have one slot each; conventional bridges have many.
PORTS = ("pcie-root-port", "xio3130-downstream")


@dataclass(frozen=True)
class Machine:
    name: str
    tree: str
    arch: str = "x86_64"
    platform: tuple[str, ...] = ()      # QEMU options of the board, IOMMU
    cmdline: str = ""                   # for the kernel
    needs: tuple[str, ...] = ()         # a QEMU device and its property
    trace: tuple[str, ...] = ()         # QEMU's trace events to record
    variant: str = ""                   # of its kernel, added to the run's

    def devices(self) -> Iterator[dict[str, Any]]:
        """The tree's devices: driver, id, bus, and their properties."""
        path: list[tuple[int, str]] = []        # indentation, name
        slots = 0
        for number, line in enumerate(self.tree.splitlines(), 1):
            if not line.strip():
                continue
            indent = len(line) - len(line.lstrip())
            try:
                what, name = line.split()
            except ValueError:
                raise LabError(f"machine {self.name}, line {number}: want "
                               f"'driver,property=value name', not "
                               f"'{line.strip()}'") from None
            while path and path[-1][0] >= indent:
                path.pop()
            driver, *options = what.split(",")
            device: dict[str, Any] = {"driver": driver, "id": name,
                      "bus": path[-1][1] if path else "pcie.0",
                      **dict(o.split("=", 1) for o in options)}
            if driver in PORTS:
                slots += 1
                device |= {"chassis": slots, "slot": slots}
            yield with_iommu(device)
            path.append((indent, name))


def with_iommu(device: dict[str, Any]) -> dict[str, Any]:
    """virtio devices bypass the IOMMU unless told to behave like hardware."""
    if (device["driver"].startswith("virtio-") and
            not device["driver"].startswith("virtio-iommu")):
        return device | {"iommu_platform": True, "disable-legacy": "on"}
    return device


def option(device: dict[str, Any]) -> str:
    """A device as the argument of QEMU's -device."""
    driver, *properties = device.items()
    return ",".join([driver[1]] + [
        f"{key}={'on' if value is True else value}"
        for key, value in properties])


VTD = ("-machine", "q35", "-device", "intel-iommu,intremap=on,caching-mode=on")
# Native pciehp in place of QEMU's default, which is hot-plug through ACPI
PCIEHP = ("-global", "ICH9-LPC.acpi-pci-hotplug-with-bridge-support=off")

# Without boot-bypass=off, what is not attached is not translated
VIRTIO = ("-machine", "q35", "-device", "virtio-iommu-pci,addr=1,boot-bypass=off")
# The same from device tree
VIRTIO_DT = ("-machine", "virt,gic-version=3",
             "-device", "virtio-iommu-pci,addr=1,boot-bypass=off")
# And from ACPI, whose tables take firmware to get to the kernel
VIRTIO_ACPI = (*VIRTIO_DT, "-bios", "/usr/share/qemu-efi-aarch64/QEMU_EFI.fd")

# Before QEMU 10.2, AMD's IOMMU does not translate for the guest's own drivers
AMD = ("-machine", "q35", "-device", "amd-iommu,dma-remap=on")

SMMUV3 = ("-machine", "virt,iommu=smmuv3,gic-version=3")

# Every way to be plugged in: below a root port, a switch, a PCIe-to-PCI
# bridge. Root ports have ACS, the switch has none. "edu" is the device whose
# alias comes late.
BOARD = """
    pcie-root-port,addr=2                   port-cold
        edu                                 edu-cold
    pcie-root-port,addr=3                   port-functions
        virtio-rng-pci,addr=0.0,multifunction=on  fn0-cold
        virtio-rng-pci,addr=0.1             fn1-cold
    pcie-root-port,addr=4                   port-switch
        x3130-upstream                      switch
            xio3130-downstream,addr=0       down0
                virtio-net-pci              net-switch
            xio3130-downstream,addr=1       down1
                nvme,serial=lab             nvme-switch
            xio3130-downstream,addr=2       down2
    pcie-root-port,addr=5                   port-bridge
        pcie-pci-bridge                     bridge
            edu,addr=1                      edu-bridge
    pcie-root-port,addr=6                   port-a
    pcie-root-port,addr=7                   port-b
    pcie-root-port,addr=8                   port-c
    virtio-rng-pci,addr=9                   rng-root
"""

# Two Switchtec NTBs of one switch, and a port for one that is plugged in.
# Their windows need room in the ports: on x86 the firmware reserves it
PAIR = """
    pcie-root-port,addr=2,pref64-reserve=32M                port-a
        switchtec-ntb,switch=sw0,partition=0                ntb-a
    pcie-root-port,addr=3,pref64-reserve=32M                port-b
        switchtec-ntb,switch=sw0,partition=1,proxy-base=16  ntb-b
    pcie-root-port,addr=4,pref64-reserve=32M                port-c
"""

MACHINES = {m.name: m for m in (
    Machine("vtd-acpi", BOARD, platform=VTD),
    Machine("vtd-pciehp", BOARD, platform=VTD + PCIEHP),
    Machine("smmuv3", BOARD, arch="arm64", platform=SMMUV3),
    Machine("ntb-vtd", PAIR, platform=VTD),
    Machine("ntb-virtio", PAIR, platform=VIRTIO),
    Machine("ntb-amd", PAIR, platform=AMD, needs=("amd-iommu", "dma-remap")),
    # No firmware here: the kernel reserves the room
    Machine("ntb-smmuv3", PAIR, arch="arm64", platform=SMMUV3,
            cmdline="pci=hpmmioprefsize=32M"),
)}
