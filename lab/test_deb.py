# SPDX-License-Identifier: GPL-2.0
"""The kernel of make deb boots on the machine with NTBs, and they work there:
those that were present at boot, and one that is plugged in."""

import subprocess
from pathlib import Path

import pytest

from lab.kernel import Packaged
from lab.machines import MACHINES
from lab.ntb import linked, plugged
from lab.vm import VM
from scripts import deb, git
from scripts.workbench import LINUX


@pytest.fixture
def packaged(tmp_path: Path) -> Packaged:
    images = [path for path in deb.DEB.glob("linux-image-*.deb")
              if "-dbg_" not in path.name]
    if not images:
        pytest.skip("no packages in build/deb: make deb builds them")
    if not deb.SERIES.exists() or \
            deb.SERIES.read_text().strip() != git.resolve(LINUX, "series^{tree}"):
        pytest.skip("the packages in build/deb are of another series: make deb")
    subprocess.run(["dpkg-deb", "-x", images[0], tmp_path], check=True, timeout=300)
    return Packaged("series", deb.ARCH, "packaged", LINUX / deb.OUT, tmp_path)


@pytest.mark.long(minutes=1)
@pytest.mark.usefixtures("model")
@pytest.mark.machine("ntb-vtd")
def test_ntb_on_packaged_kernel(packaged: Packaged) -> None:
    with VM(packaged, MACHINES["ntb-vtd"]) as vm:
        assert linked(vm, "ntb-a", "ntb-b")
        with plugged(vm) as hot:
            assert linked(vm, "ntb-a", hot)
        assert not vm.new_splats()
