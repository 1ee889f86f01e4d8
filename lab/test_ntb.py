# SPDX-License-Identifier: GPL-2.0
"""Switchtec NTBs: hosts that reach each other's memory under proxy IDs.

Both hosts are this guest. What counts is what the model saw: how many requests
of the other host arrived under which proxy ID, and how many the IOMMU refused.
"""

import re
import time
from contextlib import contextmanager
from typing import Iterator

import pytest

from lab import LabError
from lab.groups import rid_of
from lab.machines import MACHINES, SMMUV3, VIRTIO, VTD, Machine
from lab.ntb import (FAULT, copy, linked, plug_b, plugged, read,
                     rebind_host_bridge, seen, tool, total, until, use, write)
from lab.vm import VM
from qemu.bench import dbmsg

PERF_TRIES, PERF_TIMEOUT = 10, 2.0
REBINDS, SETTLE = 10, 0.1            # seconds: less than what the link takes
MIB, PAGE = 1 << 20, 1 << 12
# Neither the driver's table nor the quirk knows this ID
ALIEN = 0x9999

# Everything that an NTB can be at boot; each name-a has its name-b
KINDS = f"""
    pcie-root-port,addr=2                                   port-high-a
        switchtec-ntb,switch=high,partition=0,peer=33       high-a
    pcie-root-port,addr=3                                   port-high-b
        switchtec-ntb,switch=high,partition=33,peer=0       high-b
    pcie-root-port,addr=4                                   port-full-a
        switchtec-ntb,switch=full,partition=0,proxies=512,proxy-base=0  full-a
    pcie-root-port,addr=5                                   port-full-b
        switchtec-ntb,switch=full,partition=1,proxies=512,proxy-base=0  full-b
    pcie-root-port,addr=6                                   port-gen6-a
        switchtec-ntb,switch=gen6,partition=0,model=gen6    gen6-a
    pcie-root-port,addr=7                                   port-gen6-b
        switchtec-ntb,switch=gen6,partition=1,model=gen6    gen6-b
    pcie-root-port,addr=8                                   port-pci100x-a
        switchtec-ntb,switch=pci100x,partition=0,model=pci100x  pci100x-a
    pcie-root-port,addr=9                                   port-switch
        x3130-upstream                                      switch
            xio3130-downstream,addr=0                       down-b
                switchtec-ntb,switch=pci100x,partition=1,model=pci100x pci100x-b
    pcie-root-port,addr=a                                   port-alien-a
        switchtec-ntb,switch=alien,partition=0,model=gen3,x-device-id={ALIEN} alien-a
    pcie-root-port,addr=b                                   port-alien-b
        switchtec-ntb,switch=alien,partition=1,model=gen3,x-device-id={ALIEN} alien-b
    pcie-root-port,addr=c,pref64-reserve=32M                port-dead
"""

# One whose proxy ID is the requester ID of another device
NEAR = """
    switchtec-ntb,addr=10,switch=near,partition=0,proxy-base=0x88,proxies=2  near-a
    virtio-rng-pci,addr=11                                  neighbour
    pcie-root-port,addr=d                                   port-near-b
        switchtec-ntb,switch=near,partition=1               near-b
"""

for kind, tree in (("kinds", KINDS), ("near", NEAR)):
    for machine in (
            Machine(f"ntb-vtd-{kind}", tree, platform=VTD),
            Machine(f"ntb-virtio-{kind}", tree, platform=VIRTIO,
                    trace=("virtio_iommu_attach",)),
            Machine(f"ntb-smmuv3-{kind}", tree, arch="arm64", platform=SMMUV3,
                    cmdline="pci=hpmmioprefsize=32M")):
        MACHINES[machine.name] = machine

pytestmark = pytest.mark.usefixtures("model")
pair = pytest.mark.machine("ntb-vtd")
every_iommu = pytest.mark.parametrize("iommu", [
    pytest.param(name, marks=pytest.mark.machine(f"ntb-{name}"))
    for name in ("vtd", "virtio", "amd", "smmuv3")])
smmuv3 = pytest.mark.machine("ntb-smmuv3")


def on_each(kind: str, **marks: pytest.MarkDecorator) -> pytest.MarkDecorator:
    """Run a case on this kind's machine of each IOMMU; @marks: for some."""
    return pytest.mark.parametrize("iommu", [
        pytest.param(name, marks=[
            pytest.mark.machine(f"ntb-{name}-{kind}"),
            *([marks[name]] if name in marks else [])])
        for name in ("vtd", "virtio", "smmuv3")])


kinds = on_each("kinds")
faults = pytest.mark.expected_log(FAULT)

# How the kernel names the requester of a request that was refused; the driver
# of SMMUv3 has it abort them without a word
FAULT_OF = {"vtd": r"Request device \[{proxy}\]",
            "virtio": "unknown fault from EP {rid} "}

LATE_ALIAS = ("a final fixup adds the proxy IDs after the group is formed; "
              "needs groups formed from finished devices")
HALF_A_MAP = "the quirk takes the upper half of the partition map elsewhere"
NO_GEN6 = "the quirk does not know the Gen6 IDs of the driver's table"


def rebind(vm: VM, driver: str, name: str) -> None:
    """Take a client from an endpoint and give it back."""
    for file in ("unbind", "bind"):
        write(vm, f"/sys/bus/ntb/drivers/{driver}/{file}", vm.bdf(name))
        time.sleep(SETTLE)


@contextmanager
def nothing_refused(vm: VM, *names: str) -> Iterator[None]:
    """Requests arrive at each endpoint meanwhile, and none is refused."""
    before = {n: (total(vm, n, "arrived"), total(vm, n, "refused"))
              for n in names}
    yield
    for name, (arrived, refused) in before.items():
        assert total(vm, name, "refused") == refused, f"{name}: {seen(vm, name)}"
        assert total(vm, name, "arrived") > arrived, name


def not_programmed(vm: VM, name: str, devfns: list[int]) -> list[int]:
    """Those of an endpoint's proxy IDs that its IOMMU is known not to
    translate; only Intel's can be asked."""
    bdf, state = vm.bdf(name), vm.state()
    bus = rid_of(bdf) & 0xff00
    return [d for d in devfns
            if state.programmed(bdf, bus | d) in ("MISSING", "WRONG")]


def check_works(vm: VM, a: str, b: str) -> None:
    """The proxy IDs are programmed, and both hosts reach each other."""
    with nothing_refused(vm, a, b):
        up = linked(vm, a, b)
        assert up, f"no link, {a}: {seen(vm, a)}, {b}: {seen(vm, b)}"


# A pair that was there at boot

@every_iommu
def test_link(vm: VM, iommu: str) -> None:
    """The link comes up by reading the other host's memory."""
    check_works(vm, "ntb-a", "ntb-b")
    assert set(seen(vm, "ntb-a")) == {"01.0"}
    assert set(seen(vm, "ntb-b")) == {"02.0"}
    for name, base in (("ntb-a", 8), ("ntb-b", 16)):
        assert not not_programmed(vm, name, [base + i for i in range(4)])


@pair
def test_doorbells(vm: VM) -> None:
    """10,000 rings, each arrives and interrupts; and one on unmask."""
    assert linked(vm, "ntb-a", "ntb-b")
    for one, other in (("ntb-a", "ntb-b"), ("ntb-b", "ntb-a")):
        rings = vm.run("ntb-bells", tool(vm, one), tool(vm, other), 5000)
        assert rings.stdout == "5001 rings, 5001 interrupts"


@every_iommu
def test_copy_through_window(vm: VM, iommu: str) -> None:
    """1 MiB each way, compared in memory and read back."""
    assert linked(vm, "ntb-a", "ntb-b")
    with nothing_refused(vm, "ntb-a", "ntb-b"):
        copy(vm, "ntb-a", "ntb-b", MIB)
        copy(vm, "ntb-b", "ntb-a", MIB)


@pair
def test_pingpong(vm: VM) -> None:
    """The client whose bells are rung by the other host's interrupt."""
    use(vm, "ntb_pingpong")
    path = f"/sys/kernel/debug/ntb_pingpong/{vm.bdf('ntb-a')}/count"
    assert until(lambda: int(read(vm, path)) > 1)


@pair
def test_perf(vm: VM) -> None:
    """ntb_perf moves 1 MiB through the window."""
    use(vm)
    vm.run("ntb-client", "load", "ntb_perf", "total_order=20",
           "chunk_order=16")
    folder = f"/sys/kernel/debug/ntb_perf/{vm.bdf('ntb-a')}"

    def ready() -> bool:
        return bool(re.search(r"Out buffer xlat\s+0x0*[1-9a-f]",
                              read(vm, f"{folder}/info")))

    # A bell that rings before its receiver's link is up is cleared and
    # forgotten by ntb_perf, and both wait for ever. Ring again: the command
    # is still there.
    for _ in range(PERF_TRIES):
        if until(ready, PERF_TIMEOUT):
            break
        for partition, bell in ((0, 1 << 32), (1, 1)):
            vm.run("ntb-client", "poke", vm.bdf("ntb-" + "ab"[partition]),
                   dbmsg(partition, "ODB"), bell)
    assert ready()
    before = total(vm, "ntb-b", "arrived")
    write(vm, f"{folder}/run", "0")
    result = read(vm, f"{folder}/run")
    copied = re.search(r"copied (\d+) bytes", result)
    assert copied and int(copied[1]) == MIB, result
    # memcpy_toio moves at most 8 bytes at a time
    assert total(vm, "ntb-b", "arrived") - before >= MIB // 8


@every_iommu
def test_network(vm: VM, iommu: str) -> None:
    """Ping and TCP between the hosts' interfaces; the checksum agrees."""
    if vm.kernel.name == "stock":
        pytest.skip("ntb_transport of 7.3 can oops when it is unbound, and wait "
                    "for itself when the link comes up")
    use(vm, "ntb_transport")
    for _ in range(REBINDS):
        rebind(vm, "ntb_transport", "ntb-b")
    vm.run("ntb-client", "load", "ntb_netdev")
    with nothing_refused(vm, "ntb-a", "ntb-b"):
        result = vm.run("ntb-net", vm.bdf("ntb-a"), vm.bdf("ntb-b"), MIB)
    vm.note(result.stdout)


# Every kind of NTB

@kinds
def test_behind_switch(vm: VM, iommu: str) -> None:
    """One side below a PCIe switch; PCI100x IDs."""
    check_works(vm, "pci100x-a", "pci100x-b")
    assert not not_programmed(vm, "pci100x-b", [8, 9, 10, 11])


@kinds
def test_512_entries(vm: VM, iommu: str) -> None:
    """A full table: each devfn twice, the endpoint's own among them."""
    check_works(vm, "full-a", "full-b")
    assert not not_programmed(vm, "full-a", list(range(256)))


@on_each("near", smmuv3=pytest.mark.defect(
    "arm-smmu-v3 gives up on the second device with a stream ID", fixed=False))
@pytest.mark.expected_log("arm-smmu-v3 .*event 0x")
def test_proxy_id_of_a_neighbour(vm: VM, iommu: str) -> None:
    """A proxy ID that is another device's: one group, one domain."""
    check_works(vm, "near-a", "near-b")
    functions = vm.state().functions
    assert (functions[vm.bdf("near-a")].group ==
            functions[vm.bdf("neighbour")].group)


@pytest.mark.machine("ntb-smmuv3-near")
@pytest.mark.defect("arm-smmu-v3 says that it has no business with the second "
                    "device with a stream ID, and a driver binds", fixed=True)
@pytest.mark.expected_log("arm-smmu-v3 .*event 0x")     # of that driver's DMA
def test_second_device_with_a_stream(vm: VM) -> None:
    """It has no group, hence no driver, and nobody can bind one by hand."""
    functions = vm.state().functions
    bdfs = {name: vm.bdf(name) for name in ("near-a", "neighbour")}
    refused, = (bdf for bdf in bdfs.values() if functions[bdf].group is None)
    assert not functions[refused].driver
    driver = {bdfs["near-a"]: "switchtec", bdfs["neighbour"]: "virtio-pci"}[refused]
    bound = vm.run("write-file", f"/sys/bus/pci/drivers/{driver}/bind", refused,
                   check=False)
    assert bound.stderr
    assert not vm.state().functions[refused].driver


@kinds
@pytest.mark.defect(HALF_A_MAP, fixed=True)
@faults
def test_partition_above_31(vm: VM, iommu: str) -> None:
    check_works(vm, "high-a", "high-b")


@kinds
@pytest.mark.defect(NO_GEN6, fixed=True)
@faults
def test_gen6(vm: VM, iommu: str) -> None:
    check_works(vm, "gen6-a", "gen6-b")


@on_each("kinds", smmuv3=pytest.mark.defect(
    "the quirk reads beyond the BAR, which arm64 does not survive", fixed=True))
@pytest.mark.expected_log("Kernel panic")       # on stock; nobody survives one
def test_dead(vm: VM, iommu: str) -> None:
    """A device that answers all ones gets no alias, and stops nobody."""
    try:
        vm.device_add("switchtec-ntb", "dead", "port-dead", switch="dead",
                      dead=True)
    except LabError:
        if vm.running():
            raise
        raise AssertionError("the guest is gone") from None
    bdf, state = vm.bdf("dead"), vm.state()
    bus = rid_of(bdf) & 0xff00
    if iommu == "vtd":
        assert state.domains is not None
        known = set(state.domains)
    elif iommu == "virtio":
        known = {int(line.rpartition("=")[2]) for line in vm.traced()}
    else:
        # its tables cannot be seen
        assert state.functions[bdf].group is not None
        known = {rid_of(bdf)}
    assert {rid for rid in known if rid & 0xff00 == bus} == {rid_of(bdf)}
    assert not [line for line in vm.lines()
                if bdf in line and "DMA alias" in line]
    vm.device_del("dead")


@kinds
@faults
def test_without_aliases(vm: VM, iommu: str) -> None:
    """The control: an ID that no quirk knows is bound by hand. All requests
    are refused, with a fault for the proxy ID, and so there is no link: no
    window and no network either."""
    a, b = "alien-a", "alien-b"
    if not vm.state().functions[vm.bdf(a)].driver:
        write(vm, "/sys/bus/pci/drivers/switchtec/new_id", f"11f8 {ALIEN:04x}")
    assert not linked(vm, a, b)
    # The IOMMU holds one fault at a time; that of one side may be lost
    proxies = [vm.bdf(name)[:-len("00.0")] + "01.0" for name in (a, b)
               if total(vm, name, "refused")]
    assert proxies
    assert iommu not in FAULT_OF or until(lambda: any(
        re.search(FAULT_OF[iommu].format(proxy=re.escape(proxy),
                                         rid=rid_of(proxy)), line)
        for line in vm.lines() for proxy in proxies))

    # Those reads are the first step of all else: without a link the driver
    # offers no window that a copy could go through
    copied = vm.run("ntb-copy", tool(vm, a), tool(vm, b), PAGE, check=False)
    assert "not connected" in copied.stderr, copied
    if (vm.kernel.name, iommu) == ("series", "vtd"):
        # on stock see test_network; and it pings for a while
        use(vm, "ntb_transport", "ntb_netdev")
        sent = vm.run("ntb-net", vm.bdf(a), vm.bdf(b), PAGE, check=False)
        assert "no answer to" in sent.stderr, sent.stderr
    for name in (a, b):
        assert not total(vm, name, "arrived")


# NTBs that come later

@every_iommu
@pytest.mark.defect(LATE_ALIAS, fixed=True)
@faults
def test_hot_added(vm: VM, iommu: str) -> None:
    with plugged(vm) as name:
        check_works(vm, "ntb-a", name)


@every_iommu
@pytest.mark.defect(LATE_ALIAS, fixed=True)
@faults
def test_two_hot_added(vm: VM, iommu: str) -> None:
    """Both at once, each with proxy IDs of its own."""
    use(vm)
    for name in ("ntb-a", "ntb-b"):
        vm.device_del(name)
    vm.device_add("switchtec-ntb", "ntb-a", "port-a", wait=False,
                  switch="sw0", partition=0)
    plug_b(vm, wait=False)
    for name in ("ntb-a", "ntb-b"):
        vm.wait_present(name)
    check_works(vm, "ntb-a", "ntb-b")
    assert set(seen(vm, "ntb-a")) == {"01.0"}
    assert set(seen(vm, "ntb-b")) == {"02.0"}


@every_iommu
@pytest.mark.defect(LATE_ALIAS, fixed=True)
@faults
def test_replaced_with_other_proxy_ids(vm: VM, iommu: str) -> None:
    with plugged(vm, **{"proxy-base": 0x80, "proxies": 16}) as name:
        check_works(vm, "ntb-a", name)
        assert set(seen(vm, name)) == {"10.0"}


@every_iommu
@pytest.mark.defect(LATE_ALIAS, fixed=True)
@faults
def test_removed_and_rescanned(vm: VM, iommu: str) -> None:
    use(vm, "ntb_tool")
    vm.remove("ntb-a")
    use(vm)
    vm.rescan()
    check_works(vm, "ntb-a", "ntb-b")


@smmuv3
@pytest.mark.defect(LATE_ALIAS, fixed=True)
@faults
def test_host_bridge_bound_after_iommu(vm: VM) -> None:
    """The host bridge goes with all that is below it, and comes back while
    the IOMMU is there."""
    rebind_host_bridge(vm)
    check_works(vm, "ntb-a", "ntb-b")
