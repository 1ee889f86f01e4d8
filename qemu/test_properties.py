# SPDX-License-Identifier: GPL-2.0
"""Properties that make no sense are refused, with what to do instead."""

import subprocess
from typing import Sequence

import pytest

CASES = {
    "switch=": "switch=NAME is needed",
    "switch=sw,partition=48": "partitions 0 to 47",
    "switch=sw,partition=4294967295": "partitions 0 to 47",
    "switch=sw,partition=-1": "expects uint32_t",
    "switch=sw,partition=3,peer=3": "use another partition than 3",
    "switch=sw,peer=48": "from 0 to 47",
    "switch=sw,peer=-2": "from 0 to 47",
    "switch=sw,proxy-base=256": "a devfn is 0 to 0xff",
    "switch=sw,proxies=513": "the table has room for 512",
    "switch=sw,luts=0": "1 to 512",
    "switch=sw,luts=513": "1 to 512",
    "switch=sw,bar2-size=1M": "power of two above 0x100000",
    "switch=sw,bar2-size=3M": "power of two above 0x100000",
    "switch=sw,bar2-size=2G": "at most 0x40000000",
    "switch=sw,bar4-size=3M": "power of two",
    "switch=sw,bar4-size=2K": "from 0x1000",
    "switch=sw,model=gen7": "use gen3, gen4, gen5, gen6 or pci100x",
    "switch=sw,x-device-id=65536": "expects uint16_t",
    "switch=sw,dead=maybe": "'on' or 'off'",
    "switch=sw,unknown=1": "not found",
}
EDGES = ("switch=sw,partition=47,peer=0,proxy-base=255,proxies=512,luts=512",
         "switch=sw,proxies=0,luts=1,bar2-size=1G,bar4-size=4K",
         "switch=sw,luts=3,x-device-id=0xffff,model=pci100x,dead=on")


def start(program: str, devices: Sequence[str]) -> subprocess.CompletedProcess[str]:
    """QEMU with @devices; it quits at once if it takes them."""
    argv = [program, "-machine", "q35", "-accel", "qtest", "-nodefaults",
            "-display", "none", "-qmp", "stdio"]
    for device in devices:
        argv += ["-device", device]
    return subprocess.run(argv, input='{"execute":"qmp_capabilities"}'
                          '{"execute":"quit"}', capture_output=True, text=True,
                          timeout=60, check=False)


@pytest.mark.parametrize("properties", CASES)
def test_refused(program: str, properties: str) -> None:
    result = start(program, [f"switchtec-ntb,{properties}"])
    assert result.returncode == 1
    assert CASES[properties] in result.stderr


@pytest.mark.parametrize("properties", EDGES)
def test_accepted(program: str, properties: str) -> None:
    result = start(program, [f"switchtec-ntb,{properties}"])
    assert (result.returncode, result.stderr) == (0, "")


def test_partition_taken(program: str) -> None:
    result = start(program, ["switchtec-ntb,switch=sw,partition=4"] * 2)
    assert result.returncode == 1
    assert "switch sw has an endpoint for it already" in result.stderr


def test_peer_taken(program: str) -> None:
    result = start(program, ["switchtec-ntb,switch=sw,partition=0,peer=1",
                             "switchtec-ntb,switch=sw,partition=2,peer=1"])
    assert result.returncode == 1
    assert "it is the peer of partition 0 already" in result.stderr


def test_conventional_bus(program: str) -> None:
    result = start(program, ["pcie-pci-bridge,id=bridge",
                             "switchtec-ntb,switch=sw,bus=bridge,addr=1"])
    assert result.returncode == 1
    assert "plug it into a root port" in result.stderr
