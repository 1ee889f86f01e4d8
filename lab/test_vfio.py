# SPDX-License-Identifier: GPL-2.0
"""A group that user space owns, through VFIO's groups or iommufd, while a device
comes that belongs to it: no driver gets that device, and the owner's memory stays
where its device finds it. Not tried: that the device leaves meanwhile, which on VT-d
takes the requester IDs with it that both have."""

import os

import pytest

from lab import LabError
from lab.kernel import VFIO
from lab.machines import MACHINES, VTD, Machine
from lab.ntb import linked, use
from lab.vm import VM

# The NTB's proxy IDs are those of edu, which vfio-pci gets
TREE = """
    switchtec-ntb,addr=10,switch=own,partition=0,proxy-base=0x88,proxies=2  ntb
    edu,addr=11                             owned
    pcie-root-port,addr=d                   port-peer
        switchtec-ntb,switch=own,partition=1  peer
"""
MACHINES["vfio"] = Machine("vfio", TREE, platform=VTD, variant=VFIO)

pytestmark = [pytest.mark.usefixtures("model"), pytest.mark.machine("vfio"),
              pytest.mark.skipif(os.environ.get("VFIO") != "1", reason="VFIO=1 runs "
                                 "it, which takes two more kernels")]

MODULES = ("irqbypass", "iommufd", "vfio", "vfio_iommu_type1", "vfio-pci-core",
           "vfio-pci")
BUS = "/sys/bus/pci"
SWITCHTEC = "switchtec"


def bind_to_vfio(vm: VM, name: str) -> None:
    bdf = vm.bdf(name)
    vm.run("write-file", f"{BUS}/devices/{bdf}/driver_override", "vfio-pci")
    vm.run("write-file", f"{BUS}/drivers_probe", bdf)
    if vm.state().functions[bdf].driver != "vfio-pci":
        raise LabError(f"vfio-pci does not bind {name}")


def copies(vm: VM) -> bool:
    """Does the owner's device reach the owner's memory?"""
    return vm.run("vfio-own", "copy").stdout.strip() == "same"


@pytest.mark.parametrize("how", ["group", "iommufd"])
@pytest.mark.defect("an NTB that comes back gets a group of its own, though its "
                    "requester IDs are those of a device that VFIO owns", fixed=True)
def test_device_of_an_owned_group(vm: VM, how: str) -> None:
    use(vm)
    vm.remove("ntb")
    use(vm, *MODULES)
    bind_to_vfio(vm, "owned")
    vm.run("vfio-own", "start", vm.bdf("owned"), how)
    if not copies(vm):
        raise LabError("the owner's device does not reach its memory")

    vm.rescan()
    vm.wait_present("ntb")
    functions = vm.state().functions
    ntb = vm.bdf("ntb")
    assert functions[ntb].group == functions[vm.bdf("owned")].group
    assert not functions[ntb].driver
    refused = vm.run("write-file", f"{BUS}/drivers/{SWITCHTEC}/bind", ntb,
                     check=False)
    assert "busy" in refused.stderr
    assert copies(vm)

    vm.run("vfio-own", "stop")
    vm.run("write-file", f"{BUS}/drivers_probe", ntb)
    assert vm.state().functions[ntb].driver == SWITCHTEC
    assert linked(vm, "ntb", "peer")
