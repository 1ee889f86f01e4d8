# SPDX-License-Identifier: GPL-2.0
"""Devices that are there when the IOMMU is found.

Not verified here: that DMA under an alias arrives; stock QEMU has no device
that sends any.
"""

import pytest
from pytest_subtests import SubTests

from lab import ktap
from lab.vm import VM
from scripts.cases import report_cases

# Who shares a group. Root ports have ACS. What has none: the functions of one
# device, a switch's downstream port and what is plugged into it (but two such
# ports are taken for isolated), a bridge and what is behind it.
COLD = {
    frozenset({"port-cold"}), frozenset({"edu-cold"}),
    frozenset({"port-functions"}), frozenset({"fn0-cold", "fn1-cold"}),
    frozenset({"port-switch"}),
    frozenset({"switch"}), frozenset({"down0", "net-switch"}),
    frozenset({"down1", "nvme-switch"}), frozenset({"down2"}),
    frozenset({"port-bridge"}), frozenset({"bridge", "edu-bridge"}),
    frozenset({"port-a"}), frozenset({"port-b"}), frozenset({"port-c"}),
    frozenset({"rng-root"}),
}


@pytest.mark.parametrize("board", [
    pytest.param("vtd", marks=pytest.mark.machine("vtd-acpi")),
    pytest.param("smmuv3", marks=pytest.mark.machine("smmuv3"))])
def test_cold_groups(vm: VM, board: str) -> None:
    """The partition into groups is the one that the topology asks for."""
    assert vm.state().partition(vm.addresses()) == COLD


def test_cold_requesters(vm: VM) -> None:
    """P1: every requester ID of every function is programmed, late aliases
    included."""
    state = vm.state()
    missing = {bdf: ids for bdf in state.functions
               if (ids := state.not_programmed(bdf))}
    assert not missing


def test_late_alias_is_there(vm: VM) -> None:
    """The lab's fixup is in this kernel: without it the cases on late
    aliases would prove nothing."""
    bdf = vm.bdf("edu-cold")
    assert [line for line in vm.lines()
            if bdf in line and "DMA alias" in line]


def test_groups_seen_by_guest(vm: VM, subtests: SubTests) -> None:
    """The same question, asked by a program in the guest."""
    report_cases(subtests,
                 ktap.parse(vm.run("group-test", check=False).stdout))
