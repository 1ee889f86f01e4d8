# SPDX-License-Identifier: GPL-2.0
"""iommufd's own selftest: its cases come to the same with the series.

It has mock devices on a mock bus, and IOMMUs of its own; those of the machine do
not matter. Not verified here: iommufd on PCI devices.
"""

from pathlib import Path

import pytest
from pytest_subtests import SubTests

from lab import ktap
from lab.kernel import ALONE, build_kernel, make_trees, trees
from lab.machines import Machine
from lab.vm import VM
from scripts.cases import Case, compare, report_cases

# 128 MB in huge pages of 2 MB for the largest case, and some to spare
MACHINE = Machine("iommufd", "", platform=("-machine", "q35"),
                  cmdline="hugepages=80")
TIMEOUT = 900.0         # seconds of a program with all its cases
LIBCAP = Path("/usr/include/sys/capability.h")


def results(name: str, program: str) -> list[Case]:
    """The cases of @program on the kernel @name, and what its log adds."""
    with VM(build_kernel(name, "x86_64", ALONE), MACHINE,
            log_name=program) as vm:
        said = vm.run(program, timeout=TIMEOUT, check=False).stdout
        assert not vm.new_splats(), vm.log
    return ktap.parse(said)


@pytest.mark.long(minutes=3)
@pytest.mark.skipif(not LIBCAP.exists(), reason=f"{LIBCAP} is missing: make deps")
@pytest.mark.parametrize("program", ["iommufd", "iommufd_fail_nth"])
def test_selftest(program: str, subtests: SubTests) -> None:
    make_trees()
    stock, series = (results(name, program) for name in trees())
    report_cases(subtests, compare(stock, series))
