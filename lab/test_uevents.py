# SPDX-License-Identifier: GPL-2.0
"""What userspace is told when devices come and go.

Who hears that a device is there may use it at once: its IOMMU group must be in
place when the kernel sends the event, and what is above it must be known. Each
case asks both of a listener, which looks too late to see a short gap, and of
the kernel's own log, whose order has none (see guest/uevents.c).

Not verified here: events before init, which nobody can hear.
"""

from collections import Counter
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Iterator

import pytest

from lab import LabError
from lab.groups import State
from lab.machines import MACHINES, VTD, Machine
from lab.vm import VM

NO_GROUP = "-"
HEADER_TYPE, PCI_BRIDGE = 0x7f, 1   # the other bit says multifunction

# A device with virtual functions, which are added by its driver
VFS = 2
SRIOV = f"""
    pcie-root-port,addr=2                   port-pf
        nvme,serial=pf,subsys=shared,sriov_max_vfs={VFS},max_ioqpairs=8,\
msix_qsize=8,sriov_vq_flexible=4,sriov_vi_flexible=4   pf
"""

# What firmware tables say about requester IDs is looked up device by device
BY_TABLE = """
    pcie-root-port,addr=4                   port-switch
        x3130-upstream                      switch
            xio3130-downstream,addr=0       down0
                virtio-net-pci              net-switch
            xio3130-downstream,addr=1       down1
                nvme,serial=lab             nvme-switch
            xio3130-downstream,addr=2       down2
    pcie-root-port,addr=6                   port-a
"""

MACHINES.update({m.name: m for m in (
    Machine("uevents-sriov", SRIOV,
            platform=VTD + ("-device", "nvme-subsys,id=shared")),
    Machine("uevents-virtio", BY_TABLE,
            platform=("-machine", "q35", "-device", "virtio-iommu-pci,addr=1")),
)})

MACHINE_OF = {"acpi": "vtd-acpi", "pciehp": "vtd-pciehp",
              "virtio": "uevents-virtio"}


def on(*ways: str) -> pytest.MarkDecorator:
    """Run a case for these ways to plug and IOMMUs."""
    return pytest.mark.parametrize("way", [
        pytest.param(way, marks=pytest.mark.machine(MACHINE_OF[way]))
        for way in ways])


@dataclass(frozen=True)
class Event:
    seqnum: int
    action: str
    subsystem: str
    devpath: str
    group: str          # when the listener looked, NO_GROUP if none

    @property
    def device(self) -> str:
        return self.devpath.rpartition("/")[2]


@dataclass
class Record:
    """What guest/uevents.c has recorded."""
    events: list[Event] = field(default_factory=list, repr=False)
    log: list[list[str]] = field(default_factory=list, repr=False)

    def parse(self, text: str) -> None:
        for line in text.splitlines():
            what, *fields = line.split("\t")
            if what == "event":
                self.events.append(Event(int(fields[0]), *fields[1:]))
            elif what == "log":
                self.log.append(fields)
            elif what == "lost":
                raise LabError(f"the listener was too slow: {line}")

    def of(self, device: str, subsystem: str = "pci") -> list[Event]:
        return [e for e in self.events
                if (e.device, e.subsystem) == (device, subsystem)]

    def life(self, device: str, subsystem: str = "pci") -> list[str]:
        """How a device came, changed and went; not its drivers."""
        return [e.action for e in self.of(device, subsystem)
                if e.action in ("add", "change", "remove")]

    def sent_without_group(self, device: str) -> list[str]:
        """ADD events that the kernel began to send before it had made the
        device's link to its group, by the order of its log."""
        events = iter(self.of(device))
        paths = {e.devpath for e in self.of(device)}
        found, grouped = [], False
        for what, *fields in self.log:
            if what == "group" and fields[0] == device:
                grouped = True
            if what == "emit" and fields[0] in paths:
                event = next(events, None)
                if not event:
                    raise LabError(f"{device}: the log has more events than "
                                   f"came, so it cannot say their order")
                if event.action == "add" and not grouped:
                    found.append(f"{device}: event {event.seqnum} was sent "
                                 f"before the link to the group was made")
                if event.action == "remove":
                    grouped = False
        if next(events, None):
            raise LabError(f"{device}: the log has fewer events than came")
        return found

    def out_of_order(self) -> list[str]:
        """Whose ADD event came before that of a PCI device or bus above it;
        other subsystems have their own ways."""
        pending: dict[str, Event] = {}      # whose ADD is yet to come
        found = []
        for event in reversed(self.events):
            if event.action == "remove":
                pending.pop(event.devpath, None)
            if event.action != "add":
                continue
            above = event.devpath
            while above := above.rpartition("/")[0]:
                if above in pending:
                    found.append(f"{event.devpath} (event {event.seqnum}) is "
                                 f"announced before {above} (event "
                                 f"{pending[above].seqnum})")
            if event.subsystem in ("pci", "pci_bus"):
                pending[event.devpath] = event
        return found

    def bound_before_added(self, device: str) -> list[str]:
        actions = [e.action for e in self.of(device)]
        if "bind" in actions and "add" not in actions[:actions.index("bind")]:
            return [f"{device} has a driver before it is announced"]
        return []


@contextmanager
def recorded(vm: VM) -> Iterator[Record]:
    """Events of the time in between; the guest stands still at both ends.

    The listener has looked at all of them when this returns, so that what
    comes later, such as a removal, cannot change what it sees.
    """
    vm.state()
    record = Record()
    vm.run("uevents", "start")
    yield record
    vm.state()
    record.parse(vm.run("uevents", "stop").stdout)


def wrong_arrivals(record: Record, before: State, after: State) -> list[str]:
    """What is wrong with the events of the devices in @after that are not in
    @before; empty if all is well."""
    new = {bdf: f for bdf, f in after.functions.items()
           if bdf not in before.functions}
    if not new:
        raise LabError("nothing has appeared")
    wrong = record.out_of_order()

    buses = {f"0000:{f.secondary:02x}" for f in new.values()
             if f.header_type & HEADER_TYPE == PCI_BRIDGE}
    for subsystem, expected in (("pci", set(new)), ("pci_bus", buses)):
        added = Counter(e.device for e in record.events
                        if (e.action, e.subsystem) == ("add", subsystem))
        wrong += [f"{device} ({subsystem}): {added[device]} ADD events"
                  for device in sorted(expected | set(added))
                  if added[device] != (device in expected)]
    for bdf in new:
        wrong += record.sent_without_group(bdf)
        wrong += record.bound_before_added(bdf)
        wrong += [f"{bdf}: no group when event {event.seqnum} is read"
                  for event in record.of(bdf)
                  if event.action == "add" and event.group == NO_GROUP]
    return wrong


def removed_and_rescanned(vm: VM, name: str) -> tuple[Record, State, State]:
    with recorded(vm) as record:
        vm.remove(name)
        gone = vm.state()
        vm.rescan()
        after = vm.state()
    return record, gone, after


@on("acpi", "pciehp", "virtio")
def test_endpoint_hot_added(vm: VM, way: str) -> None:
    before = vm.state()
    with recorded(vm) as record:
        vm.device_add("virtio-rng-pci", "rng-hot", "port-a")
        after = vm.state()
    bdf = vm.bdf("rng-hot")
    with recorded(vm) as removal:
        vm.device_del("rng-hot")
    assert not wrong_arrivals(record, before, after)
    assert record.life(bdf) == ["add"]
    assert removal.life(bdf) == ["remove"]


@on("acpi", "pciehp")
def test_functions_hot_added(vm: VM, way: str) -> None:
    """One event each, also for the one that the bus learns of last."""
    before = vm.state()
    with recorded(vm) as record:
        vm.device_add("virtio-rng-pci", "fn1", "port-b", addr="0.1", wait=False)
        vm.device_add("virtio-rng-pci", "fn0", "port-b", addr="0.0",
                      multifunction=True)
        vm.wait_present("fn1")
        after = vm.state()
    functions = [vm.bdf("fn0"), vm.bdf("fn1")]
    with recorded(vm) as removal:
        vm.device_del("fn0", "fn1")
    assert not wrong_arrivals(record, before, after)
    assert [record.life(bdf) for bdf in functions] == [["add"]] * 2
    assert [removal.life(bdf) for bdf in functions] == [["remove"]] * 2


def test_endpoint_rescanned(vm: VM) -> None:
    record, gone, after = removed_and_rescanned(vm, "edu-cold")
    assert not wrong_arrivals(record, gone, after)
    assert record.life(vm.bdf("edu-cold")) == ["remove", "add"]


@on("acpi", "pciehp", "virtio")
def test_switch_rescanned(vm: VM, way: str) -> None:
    """A subtree that is found at once: bridges and their buses before what is
    below them. QEMU cannot plug in a switch with something below it."""
    record, gone, after = removed_and_rescanned(vm, "port-switch")
    found = set(after.functions) - set(gone.functions)
    assert {vm.bdf(name) for name in
            ("port-switch", "switch", "down0", "down1", "down2",
             "net-switch", "nvme-switch")} == found
    assert not wrong_arrivals(record, gone, after)
    assert {bdf: record.life(bdf) for bdf in found} == {
        bdf: ["remove", "add"] for bdf in found}


def test_conventional_bridge_rescanned(vm: VM) -> None:
    """Devices that share a group with the bridge above them."""
    record, gone, after = removed_and_rescanned(vm, "port-bridge")
    assert not wrong_arrivals(record, gone, after)


@pytest.mark.machine("uevents-sriov")
def test_virtual_functions(vm: VM) -> None:
    """ADD, then the CHANGE that says that the links between a VF and its PF
    are there; the PF's own CHANGE is the last."""
    pf = vm.bdf("pf")
    sysfs = f"/sys/bus/pci/devices/{pf}"
    vm.run("write-file", f"{sysfs}/sriov_drivers_autoprobe", 0)
    before = vm.state()
    with recorded(vm) as record:
        vm.run("write-file", f"{sysfs}/sriov_numvfs", VFS)
        after = vm.state()
    with recorded(vm) as removal:
        vm.run("write-file", f"{sysfs}/sriov_numvfs", 0)
    vfs = set(after.functions) - set(before.functions)
    assert len(vfs) == VFS
    assert not wrong_arrivals(record, before, after)
    assert [record.life(vf) for vf in vfs] == [["add", "change"]] * VFS
    assert [removal.life(vf) for vf in vfs] == [["remove"]] * VFS
    told = [e for e in record.events
            if e.device in {pf, *vfs} and e.action in ("add", "change")]
    assert [e.device for e in told].index(pf) == len(told) - 1


def test_events_on_request(vm: VM) -> None:
    """Who comes later asks for the events again, as udev does for what was
    found at boot: none is held back, and each device has its group."""
    state = vm.state()
    with recorded(vm) as record:
        for bdf in state.functions:
            vm.run("write-file", f"/sys/bus/pci/devices/{bdf}/uevent", "add")
    groups = {bdf: [e.group for e in record.of(bdf)]
              for bdf in state.functions}
    assert groups == {bdf: [str(function.group)]
                      for bdf, function in state.functions.items()}
