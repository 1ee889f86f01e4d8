# SPDX-License-Identifier: GPL-2.0
"""selftests/ntb: its parts come to the same with the series.

ntb_test.sh has two NTBs of one host talk to each other. It ends at the first part
that fails, which on 7.3 is that of memory windows: it hands an address on in
hexadecimal, and ntb_tool wants it in decimal. Not verified here: what would come
after that. lab/test_ntb.py has windows, ping-pong and network.
"""

import re
from pathlib import Path

import pytest
from pytest_subtests import SubTests

from lab import LabError
from lab.guest import BUSYBOX, SOURCES, busybox, extend_initramfs
from lab.kernel import build_kernel, make_trees, trees
from lab.machines import MACHINES
from lab.vm import VM
from scripts.cases import FAILED, PASSED, SKIPPED, Case, compare, report_cases

BASH = Path("/bin/bash-static")
SCRIPT = "tools/testing/selftests/ntb/ntb_test.sh"
APPLETS = ("basename", "cat", "cmp", "dd", "dirname", "id", "insmod", "ls", "rm",
           "rmmod", "sed", "sh", "sleep", "wc")
# 1 MB by ntb_perf, of the 4 GB that it copies if not told otherwise
OPTIONS = ("-p", "20")
PART = re.compile(r"(?m)^Running (.*)\n((?:.*\n)*?)  ?(Passed|Unsupported)$")


class Guest(VM):
    """A guest that has the script, and what that calls."""

    def _start(self, initramfs: Path, cmdline: str) -> None:
        super()._start(extend_initramfs(self.kernel, initramfs, "ntb-selftest", [
            *busybox(*APPLETS), f"file /bin/bash {BASH} 0755 0 0",
            f"file /bin/modprobe {SOURCES}/modprobe 0755 0 0",
            f"file /bin/ntb_test.sh {self.kernel.tree}/{SCRIPT} 0755 0 0"]), cmdline)


def results(name: str) -> list[Case]:
    """The parts on the kernel @name, and the script as a whole."""
    with Guest(build_kernel(name, "x86_64"), MACHINES["ntb-vtd"],
               log_name="ntb-selftest") as vm:
        done = vm.run("bash", "/bin/ntb_test.sh", *OPTIONS, vm.bdf("ntb-a"),
                      vm.bdf("ntb-b"), check=False, timeout=300)
        assert not vm.new_splats(), vm.log
    said = f"{done.stdout}\n{done.stderr}"
    cases = [Case(f"{what} ({number})", PASSED if verdict == "Passed" else SKIPPED,
                  text or "not supported")
             for number, (what, text, verdict) in enumerate(PART.findall(done.stdout))]
    if not cases:
        raise LabError(f"no part of ntb_test.sh ran: {said}")
    return [*cases, Case("ntb_test.sh", FAILED if done.returncode else PASSED, said)]


@pytest.mark.long(minutes=2)
@pytest.mark.usefixtures("model")
@pytest.mark.machine("ntb-vtd")
@pytest.mark.skipif(not BASH.exists() or not BUSYBOX.exists(),
                    reason=f"{BASH} or {BUSYBOX} is missing: make deps")
def test_script(subtests: SubTests) -> None:
    make_trees()
    stock, series = (results(name) for name in trees())
    report_cases(subtests, compare(stock, series))
