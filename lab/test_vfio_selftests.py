# SPDX-License-Identifier: GPL-2.0
"""VFIO's own selftests: their cases come to the same with the series.

The device is QEMU's igb, which has virtual functions. Not verified here: mappings in
pages of 1 GB, which the guest has not, and vfio_pci_driver_test, which has the device
copy so much that it takes too long without KVM.

The guest has one CPU at work: each of the many resets changes QEMU's memory map, and a
CPU that reads a register meanwhile can meet an entry of its TLB that fits the old one.
QEMU 10.0 then aborts, or asks another device.
"""

import pytest
from pytest_subtests import SubTests

from lab import ktap
from lab.guest import VFIO_SELFTESTS
from lab.kernel import VFIO, build_kernel, make_trees, trees
from lab.machines import MACHINES, VTD, Machine
from lab.ntb import use
from lab.test_vfio import MODULES, bind_to_vfio
from lab.vm import VM
from scripts.cases import Case, compare, report_cases

MACHINES["vfio-selftests"] = Machine("vfio-selftests", """
    pcie-root-port,addr=2                   nic-port
        igb                                 nic
""", platform=VTD, variant=VFIO, cmdline="hugepages=80 maxcpus=1")
TIMEOUT = 300.0         # seconds of a program with all its cases


def results(name: str) -> list[Case]:
    """The cases of all programs on the kernel @name, and what its log adds."""
    cases = []
    with VM(build_kernel(name, "x86_64", VFIO), MACHINES["vfio-selftests"]) as vm:
        use(vm, *MODULES)
        vm.run("write-file", "/sys/module/vfio_pci/parameters/enable_sriov", "Y")
        bind_to_vfio(vm, "nic")
        for program in VFIO_SELFTESTS:
            said = vm.run(program, vm.bdf("nic"), timeout=TIMEOUT, check=False).stdout
            # one says before that which device it has
            said = said[max(said.find("TAP version 13"), 0):]
            cases += [Case(f"{program}.{case.name}", case.status, case.log)
                      for case in ktap.parse(said)]
        assert not vm.new_splats(), vm.log
    return cases


@pytest.mark.long(minutes=3)
@pytest.mark.usefixtures("model")
@pytest.mark.machine("vfio-selftests")
def test_selftests(subtests: SubTests) -> None:
    make_trees()
    stock, series = (results(name) for name in trees())
    report_cases(subtests, compare(stock, series))
