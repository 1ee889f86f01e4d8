# SPDX-License-Identifier: GPL-2.0
"""The series' selftest of IOMMU groups, tools/testing/selftests/iommu/
iommu_groups.c: on trees of files that stand for sysfs, each with one thing
broken, and in guests, through run_kselftest.sh.

It is built from the series, and runs on the stock kernel too.

Not verified: machines with more than one PCI domain in a guest, and
--hotplug of a device that is in use other than as a file tree.
"""

import json
import shutil
import struct
import subprocess
import threading
import time
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Callable, Iterator

import pytest

from lab import LabError, ktap
from lab.conftest import Pool
from lab.groups import rid_of
from lab.guest import BUSYBOX, busybox, extend_initramfs
from lab.kernel import make_trees, trees
from lab.machines import MACHINES
from lab.vm import VM
from scripts.cases import FAILED, PASSED, SKIPPED, Case
from scripts.workbench import kbuild, locked, run_step

OUT = ".kselftest-x86_64"
APPLETS = ("sh", "basename", "cat", "cut", "dirname", "grep", "head", "ln",
           "ls", "mkdir", "rm", "sed", "sort", "tr", "uniq", "wc")
RUNNER = ("run_kselftest.sh", "kselftest/runner.sh", "kselftest/ktap_helpers.sh")

pytestmark = [
    pytest.mark.skipif(not shutil.which("rsync"),
                       reason="rsync is missing, by which kselftest installs")]


@pytest.fixture(scope="module")
def installed() -> Path:
    """What kselftest's "make install" makes of the series, statically linked."""
    make_trees()
    tree = trees()["series"]
    out, where = tree / OUT, tree / OUT / "install"
    with locked(f"lab-{tree.name}{OUT}"):
        out.mkdir(exist_ok=True)
        run_step("install the headers for selftests",
                 kbuild(tree, OUT, "x86_64", "headers"),
                 log="lab-selftest-groups-headers")
        run_step("build and install the selftests of IOMMUs",
                 ["make", "-C", tree / "tools/testing/selftests",
                  "TARGETS=iommu", f"O={out}", "LDFLAGS=-static",
                  "USERCFLAGS=-Werror", f"INSTALL_PATH={where}", "install"],
                 log="lab-selftest-groups")
    return where


@pytest.fixture(scope="module")
def program(installed: Path) -> Path:
    return installed / "iommu" / "iommu_groups"


# Trees of files

CONVENTIONAL = -1
ENDPOINT, ROOT_PORT, UPSTREAM, DOWNSTREAM, PCI_BRIDGE = 0, 4, 5, 6, 7
ACS = 0x1d


@dataclass
class Fake:
    """A function of a tree that stands for sysfs."""
    group: int | None
    parent: str = ""
    kind: int = ENDPOINT
    acs: int | None = None              # bits enabled
    acs_capable: int = ACS
    multifunction: bool = False
    driver: str = "some"
    vendor: int = 0xfffd
    device: int = 0x0001
    aliases: list[str] | None = field(default_factory=list)
    untrusted: bool = False
    listed: bool = True                 # in its group's directory
    physfn: str = ""
    files: dict[str, str] = field(default_factory=dict)

    def config(self, size: int) -> bytes:
        bridge = self.kind in (ROOT_PORT, UPSTREAM, DOWNSTREAM, PCI_BRIDGE)
        data = bytearray(4096)
        struct.pack_into("<HHHH", data, 0, self.vendor, self.device, 0, 0x10)
        data[0x0e] = bridge | self.multifunction << 7
        data[0x34] = 0x40
        # An unknown capability, then the one of PCIe
        data[0x40:0x42] = b"\x09\x50"
        data[0x50] = 0x09 if self.kind == CONVENTIONAL else 0x10
        struct.pack_into("<H", data, 0x52, 2 | max(self.kind, 0) << 4)
        # AER, then ACS
        struct.pack_into("<I", data, 0x100, 0x00010001 | 0x140 << 20)
        if self.acs is not None:
            struct.pack_into("<IHH", data, 0x140, 0x0001000d,
                             self.acs_capable, self.acs)
        return bytes(data[:size])


Machine = dict[str, Fake]


def machine() -> Machine:
    """A machine on which nothing is wrong, with a case for each check."""
    return {
        "0000:00:01.0": Fake(1, kind=ROOT_PORT, acs=ACS, driver="pcieport"),
        # Functions that ACS isolates, and what is behind an isolating path
        "0000:01:00.0": Fake(2, "0000:00:01.0", acs=ACS, multifunction=True),
        # the second without Upstream Forwarding, which is for ports
        "0000:01:00.1": Fake(3, "0000:00:01.0", acs=ACS & ~0x10,
                             acs_capable=ACS & ~0x10, multifunction=True),
        # Functions that nothing isolates, of which the first alone says in its
        # header that there are several; a VF is no matter of the slot's
        "0000:00:02.0": Fake(4, kind=ROOT_PORT, acs=ACS, driver="pcieport"),
        "0000:02:00.0": Fake(5, "0000:00:02.0", multifunction=True,
                             aliases=["0000:02:01.0", "0000:02:02.0"]),
        "0000:02:00.1": Fake(5, "0000:00:02.0"),
        "0000:02:00.2": Fake(6, "0000:00:02.0", physfn="0000:02:00.0"),
        "0000:02:01.0": Fake(5, "0000:00:02.0"),
        "0000:02:03.0": Fake(5, "0000:00:02.0", aliases=["0000:02:02.0"]),
        # A switch without ACS
        "0000:00:03.0": Fake(7, kind=ROOT_PORT, acs=ACS, driver="pcieport"),
        "0000:03:00.0": Fake(8, "0000:00:03.0", UPSTREAM, driver="pcieport"),
        "0000:04:00.0": Fake(9, "0000:03:00.0", DOWNSTREAM, driver="pcieport"),
        "0000:05:00.0": Fake(9, "0000:04:00.0"),
        # A bridge to conventional PCI
        "0000:00:04.0": Fake(10, kind=ROOT_PORT, acs=ACS, driver="pcieport"),
        "0000:06:00.0": Fake(11, "0000:00:04.0", PCI_BRIDGE, driver=""),
        "0000:07:01.0": Fake(11, "0000:06:00.0", CONVENTIONAL),
        "0000:07:02.0": Fake(11, "0000:06:00.0", CONVENTIONAL),
        # A port with ACS that was not turned on, and that has no group
        "0000:00:05.0": Fake(None, kind=ROOT_PORT, acs=ACS & ~1, driver="pcieport"),
        "0000:08:00.0": Fake(12, "0000:00:05.0", multifunction=True),
        "0000:08:00.1": Fake(12, "0000:00:05.0", multifunction=True),
        # Plugged in from outside
        "0000:00:06.0": Fake(13, kind=ROOT_PORT, acs=ACS, driver="pcieport"),
        "0000:09:00.0": Fake(14, "0000:00:06.0", untrusted=True),
    }


def write_function(root: Path, m: Machine, bdf: str, size: int) -> None:
    f = m[bdf]
    above = [bdf]
    while m[above[0]].parent:
        above.insert(0, m[above[0]].parent)
    real = root / "devices" / "pci0000:00" / "/".join(above)
    real.mkdir(parents=True)
    link = root / "bus/pci/devices" / bdf
    link.symlink_to(real)
    texts = {"vendor": f"{f.vendor:#06x}", "device": f"{f.device:#06x}",
             "class": "0x060400" if f.kind >= ROOT_PORT else "0x020000",
             "remove": "", **f.files}
    if f.aliases is not None:
        texts["dma_aliases"] = "".join(f"{a}\n" for a in f.aliases)
    if f.untrusted:
        texts["removable"] = "removable"
    for name, text in texts.items():
        (real / name).parent.mkdir(exist_ok=True, parents=True)
        (real / name).write_text(text + "\n" * bool(text and text[-1:] != "\n"))
    (real / "config").write_bytes(f.config(size))
    if f.driver:
        (real / "driver").symlink_to(root / f"bus/pci/drivers/{f.driver}")
    if f.physfn:
        (real / "physfn").symlink_to(root / "bus/pci/devices" / f.physfn)
    if f.group is not None:
        group = root / f"kernel/iommu_groups/{f.group}"
        (group / "devices").mkdir(parents=True, exist_ok=True)
        (real / "iommu_group").symlink_to(group)
        if f.listed:
            (group / "devices" / bdf).symlink_to(real)


def write_machine(root: Path, m: Machine, types: dict[int, str],
                  size: int = 4096) -> None:
    (root / "bus/pci/devices").mkdir(parents=True)
    (root / "bus/pci/rescan").write_text("")
    for bdf in m:
        write_function(root, m, bdf, size)
    for group in (root / "kernel/iommu_groups").glob("*"):
        (group / "type").write_text(types.get(int(group.name), "DMA") + "\n")


def run(program: Path, root: Path, *options: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([program, "--sysfs", root, *options],
                          capture_output=True, text=True, timeout=120)


def cases(program: Path, root: Path, *options: str) -> list[Case]:
    """The results, after the exit status was found to agree with them."""
    done = run(program, root, *options)
    found = ktap.parse(done.stdout)
    assert done.returncode == any(c.status == FAILED for c in found), done.stdout
    return found


def named(found: list[Case], status: str) -> set[str]:
    return {case.name for case in found if case.status == status}


Mutation = Callable[[Machine, dict[int, str]], None]


def test_nothing_wrong(program: Path, tmp_path: Path) -> None:
    write_machine(tmp_path, machine(), {9: "identity", 14: "DMA"})
    found = cases(program, tmp_path)
    assert not named(found, FAILED)
    # the port that firmware leaves out has no neighbour to compare it with
    assert not named(found, SKIPPED)
    assert named(found, PASSED) >= {
        "slot 0000:02:00", "slot 0000:08:00", "below 0000:04:00.0",
        "below 0000:06:00.0", "below 0000:00:05.0", "aliases of 0000:02:00.0",
        "aliases of 0000:02:03.0", "untrusted 0000:09:00.0",
        "domain of 0000:00:01.0", "0000:05:00.0 has its group"}
    # isolated, so nothing is asked of them
    assert not {"slot 0000:01:00", "below 0000:00:01.0",
                "below 0000:03:00.0"} & {case.name for case in found}


def put(bdf: str, **changes: object) -> Mutation:
    def mutation(m: Machine, _: dict[int, str]) -> None:
        m[bdf] = replace(m[bdf], **changes)     # type: ignore[arg-type]
    return mutation


def set_type(group: int, name: str) -> Mutation:
    def mutation(_: Machine, types: dict[int, str]) -> None:
        types[group] = name
    return mutation


def both(*mutations: Mutation) -> Mutation:
    def mutation(m: Machine, types: dict[int, str]) -> None:
        for each in mutations:
            each(m, types)
    return mutation


BROKEN = {
    "torn slot": (put("0000:02:00.1", group=99), {"slot 0000:02:00"}),
    "ACS off in one function, not in the other": (
        put("0000:01:00.0", acs=ACS & ~4), set()),
    "ACS off in both functions": (
        both(put("0000:01:00.0", acs=0), put("0000:01:00.1", acs=0)),
        {"slot 0000:01:00"}),
    "ACS gone from a port": (put("0000:00:01.0", acs=None), {"below 0000:00:01.0"}),
    "ACS gone above": (put("0000:00:03.0", acs=0),
                       {"below 0000:00:03.0", "below 0000:03:00.0"}),
    "a part of ACS off that the kernel does not use there": (
        put("0000:00:01.0", acs=ACS & ~1, vendor=0x111d, device=0x80b5), set()),
    "the same off where it does": (
        put("0000:00:01.0", acs=ACS & ~1, vendor=0x111d, device=0x80b6),
        {"below 0000:00:01.0"}),
    "endpoint not with its port": (put("0000:05:00.0", group=99),
                                   {"below 0000:04:00.0"}),
    "one device behind the bridge elsewhere": (
        put("0000:07:02.0", group=99), {"below 0000:06:00.0"}),
    "both devices behind the bridge elsewhere": (
        both(put("0000:07:01.0", group=99), put("0000:07:02.0", group=99)),
        {"below 0000:06:00.0"}),
    "bridge of a vendor with quirks": (
        both(put("0000:06:00.0", vendor=0x8086), put("0000:07:01.0", group=99)),
        {"below 0000:06:00.0"}),
    "endpoints torn below a port without a group": (
        put("0000:08:00.1", group=99), {"below 0000:00:05.0", "slot 0000:08:00"}),
    "alias elsewhere": (put("0000:02:01.0", group=99), {"aliases of 0000:02:00.0"}),
    "alias in common elsewhere": (
        put("0000:02:03.0", group=99),
        {"aliases of 0000:02:00.0", "aliases of 0000:02:03.0"}),
    "alias on another bus": (put("0000:05:00.0", aliases=["0000:01:00.0"]),
                             {"aliases of 0000:05:00.0"}),
    "alias twice": (put("0000:05:00.0", aliases=["0000:05:01.0"] * 2),
                    {"aliases of 0000:05:00.0"}),
    "own address as alias": (put("0000:05:00.0", aliases=["0000:05:00.0"]),
                             {"aliases of 0000:05:00.0"}),
    "driver without a group, bridge has one": (
        put("0000:05:00.0", group=None), {"0000:05:00.0 has its group"}),
    "driver without a group, slot has one": (
        put("0000:08:00.1", group=None), {"0000:08:00.1 has its group"}),
    "not listed by its group": (put("0000:05:00.0", listed=False),
                                {"0000:05:00.0 has its group"}),
    "untrusted and not translated": (set_type(14, "identity"),
                                     {"untrusted 0000:09:00.0"}),
    "driver without a default domain": (set_type(12, "unknown"),
                                        {"domain of 0000:08:00.0"}),
    "ports do without a default domain": (set_type(1, "unknown"), set()),
    "VFIO does without a default domain": (
        both(set_type(14, "unknown"), put("0000:09:00.0", driver="mlx5-vfio-pci")),
        set()),
}


@pytest.mark.parametrize("what", BROKEN)
def test_broken(program: Path, tmp_path: Path, what: str) -> None:
    """Each broken tree fails the check that is meant, and no other."""
    mutation, expected = BROKEN[what]
    m, types = machine(), {}
    mutation(m, types)
    write_machine(tmp_path, m, types)
    assert named(cases(program, tmp_path), FAILED) == expected


def test_foreign_member(program: Path, tmp_path: Path) -> None:
    """A group that lists a device of another one, or that is gone."""
    write_machine(tmp_path, machine(), {})
    members = tmp_path / "kernel/iommu_groups/1/devices"
    (members / "0000:05:00.0").symlink_to(members)
    (members / "some-platform-device").symlink_to(members)
    assert named(cases(program, tmp_path), FAILED) == {"domain of 0000:00:01.0"}
    (members / "0000:05:00.0").rename(members / "0000:55:00.0")
    assert named(cases(program, tmp_path), FAILED) == {"domain of 0000:00:01.0"}


def test_maybe_a_quirk(program: Path, tmp_path: Path) -> None:
    """What only a quirk of the kernel can explain is no failure, unless asked
    for; and it does not hide what nothing can explain."""
    m = machine()
    for fn, group in ("0000:02:00.0", 5), ("0000:02:00.1", 99):
        m[fn] = replace(m[fn], vendor=0x8086, group=group)
    write_machine(tmp_path / "a", m, {})
    found = cases(program, tmp_path / "a")
    assert not named(found, FAILED)
    assert named(found, SKIPPED) == {"slot 0000:02:00"}
    assert named(cases(program, tmp_path / "a", "--strict"), FAILED) == {
        "slot 0000:02:00"}

    # One that has no quirk against one that may
    m["0000:02:00.4"] = replace(m["0000:02:00.1"], vendor=0xfffd, group=100)
    write_machine(tmp_path / "b", m, {})
    assert not named(cases(program, tmp_path / "b"), FAILED)
    m["0000:02:00.5"] = replace(m["0000:02:00.4"], group=101)
    write_machine(tmp_path / "c", m, {})
    assert named(cases(program, tmp_path / "c"), FAILED) == {"slot 0000:02:00"}


@pytest.mark.parametrize("size", [64, 256])
def test_not_root(program: Path, tmp_path: Path, size: int) -> None:
    """What ACS decides is skipped, even where it looks right; the rest not.
    With 256 bytes, of which the file says that there are no more, a device
    has no ACS."""
    m = machine()
    m["0000:02:00.1"] = replace(m["0000:02:00.1"], group=99)
    m["0000:02:01.0"] = replace(m["0000:02:01.0"], group=98)
    write_machine(tmp_path, m, {}, size)
    found = cases(program, tmp_path)
    slots = {"slot 0000:02:00", "slot 0000:08:00", "slot 0000:01:00"}
    if size == 64:
        assert named(found, FAILED) == {"aliases of 0000:02:00.0"}
        assert named(found, SKIPPED) >= slots | {"below 0000:04:00.0",
                                                 "below 0000:06:00.0"}
    else:
        assert named(found, FAILED) >= {"slot 0000:01:00", "slot 0000:02:00"}


def test_other_kernel(program: Path, tmp_path: Path) -> None:
    """One that does not show aliases, and one without IOMMU groups."""
    m = {bdf: replace(f, aliases=None) for bdf, f in machine().items()}
    write_machine(tmp_path / "a", m, {})
    found = cases(program, tmp_path / "a")
    assert not named(found, FAILED)
    assert named(found, SKIPPED) == {"aliases"}

    none = {bdf: replace(f, group=None) for bdf, f in m.items()}
    write_machine(tmp_path / "b", none, {})
    done = run(program, tmp_path / "b")
    assert done.returncode == 4 and "1..0 # SKIP no IOMMU groups" in done.stdout


class Rescan(threading.Thread):
    """The kernel's part of --hotplug: removes @bdf, and brings back @after."""

    def __init__(self, root: Path, bdf: str, after: dict[str, Fake]) -> None:
        super().__init__(daemon=True)
        self.root, self.bdf, self.after = root, bdf, after
        self.removed = self.done = False

    def run(self) -> None:
        link = self.root / "bus/pci/devices" / self.bdf
        end = time.monotonic() + 60
        while time.monotonic() < end:
            time.sleep(0.01)
            if not self.removed:
                if (link / "remove").read_text():
                    for path in self.root.glob(
                            f"kernel/iommu_groups/*/devices/{self.bdf}"):
                        path.unlink()
                    shutil.rmtree(link.resolve())
                    link.unlink()
                    self.removed = True
            elif (self.root / "bus/pci/rescan").read_text():
                m = {**machine(), **self.after}
                for bdf in self.after:
                    write_function(self.root, m, bdf, 4096)
                    group = self.root / f"kernel/iommu_groups/{m[bdf].group}"
                    if group.exists() and not (group / "type").exists():
                        (group / "type").write_text("DMA\n")
                self.done = True
                return


@pytest.mark.parametrize("what, changes, after", [
    ("same", {}, ""),
    ("members", {"group": 99}, "was: group of 0000:02:00.0 "),
    ("aliases", {"aliases": ["0000:02:02.1"]}, "type DMA alias 02.1"),
    ("no group", {"group": None}, "and is: no group"),
    ("type", {"group": 14}, "was: group of 0000:02:00.0 ")])
def test_hotplug(program: Path, tmp_path: Path, what: str,
                 changes: dict[str, object], after: str) -> None:
    bdf = "0000:02:03.0"
    write_machine(tmp_path, machine(), {14: "DMA-FQ"})
    kernel = Rescan(tmp_path, bdf, {
        bdf: replace(machine()[bdf], **changes)})   # type: ignore[arg-type]
    kernel.start()
    case = cases(program, tmp_path, "--hotplug", bdf)[0]
    kernel.join()
    assert kernel.done
    assert case.name == f"hotplug of {bdf}"
    assert case.status == (FAILED if after else PASSED), case.log
    assert after in case.log


def test_hotplug_lost(program: Path, tmp_path: Path) -> None:
    bdf = "0000:02:03.0"
    write_machine(tmp_path, machine(), {})
    Rescan(tmp_path, bdf, {}).start()
    case = cases(program, tmp_path, "--hotplug", bdf)[0]
    assert case.status == FAILED and "has not come back" in case.log


IN_USE = {
    "network interface": ({"net/eth9/flags": "0x1003", "net/eth9/subsystem": "net"},
                          "eth9 is up"),
    "block device": ({"block/no-such-disk/subsystem": "block"}, "no-such-disk"),
    "console": ({"boot_vga": "1"}, "console"),
    "virtual functions": ({"sriov_numvfs": "2"}, "virtual functions"),
    "VFIO below it": ({"below/driver": "vfio-pci"}, "driver vfio-pci"),
}


@pytest.mark.parametrize("what", IN_USE)
def test_hotplug_in_use(program: Path, tmp_path: Path, what: str) -> None:
    """It is left alone."""
    files, reason = IN_USE[what]
    bdf = "0000:05:00.0"
    links = {name: to for name, to in files.items()
             if name.endswith(("subsystem", "driver"))}
    m = machine()
    m[bdf] = replace(m[bdf], files={n: t for n, t in files.items() if n not in links})
    write_machine(tmp_path, m, {})
    for name, to in links.items():
        path = tmp_path / "bus/pci/devices" / bdf / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.symlink_to(tmp_path / to)
    case = cases(program, tmp_path, "--hotplug", bdf)[0]
    assert case.status == SKIPPED and reason in case.log
    assert not (tmp_path / "bus/pci/devices" / bdf / "remove").read_text()


def test_hotplug_network_down(program: Path, tmp_path: Path) -> None:
    """An interface that is down does not keep its device."""
    bdf = "0000:02:03.0"
    m = machine()
    m[bdf] = replace(m[bdf], files={"net/eth9/flags": "0x1002"})
    write_machine(tmp_path, m, {})
    real = (tmp_path / "bus/pci/devices" / bdf).resolve()
    (real / "net/eth9/subsystem").symlink_to(tmp_path / "net")
    kernel = Rescan(tmp_path, bdf, {bdf: machine()[bdf]})
    kernel.start()
    assert cases(program, tmp_path, "--hotplug", bdf)[0].status == PASSED
    kernel.join()
    assert kernel.done


def test_pictures(program: Path, tmp_path: Path) -> None:
    m = machine()
    m["0000:02:00.1"] = replace(m["0000:02:00.1"], group=99)
    write_machine(tmp_path, m, {})
    tree = run(program, tmp_path, "--tree").stdout
    lines = {line.split("-", 1)[1][:7]: line for line in tree.splitlines()
             if "-" in line[:12]}
    assert len(lines) == len(m)
    assert "= 02:01.0 = 02:02.0" in lines["02:00.0"]
    assert "group 9 " in lines["04:00.0"] and "no ACS" in lines["04:00.0"]
    assert lines["05:00.0"].index("05") > lines["04:00.0"].index("04")

    document = json.loads(run(program, tmp_path, "--json").stdout)
    groups = {d["bdf"]: d["group"] for d in document["devices"]}
    assert groups == {bdf: f.group for bdf, f in m.items()}
    assert {d["bdf"]: d["parent"] for d in document["devices"]} == {
        bdf: f.parent for bdf, f in m.items()}
    assert [c["name"] for c in document["checks"] if c["result"] == "fail"] == [
        "slot 0000:02:00"]

    dot = run(program, tmp_path, "--dot").stdout
    assert dot.startswith("digraph") and dot.count("{") == dot.count("}")
    assert '"0000:02:00.0" -> "0000:02:01.0" [style=dashed' in dot


# Guests

class Guest(VM):
    """A guest that has kselftest and a shell besides the lab's programs."""

    installed: Path

    def _start(self, initramfs: Path, cmdline: str) -> None:
        super()._start(self.with_selftest(initramfs), cmdline)

    def with_selftest(self, initramfs: Path) -> Path:
        lines = [*busybox(*APPLETS), "dir /kselftest 0755 0 0",
                 "dir /kselftest/kselftest 0755 0 0",
                 "dir /kselftest/iommu 0755 0 0",
                 "file /kselftest/iommu/iommu_groups "
                 f"{self.installed}/iommu/iommu_groups 0755 0 0",
                 "file /kselftest/kselftest-list.txt "
                 f"{self.installed}/kselftest-list.txt 0644 0 0"]
        lines += [f"file /kselftest/{f} {self.installed}/{f} 0755 0 0" for f in RUNNER]
        return extend_initramfs(self.kernel, initramfs, "groups", lines)

    def selftest(self, *options: str) -> list[Case]:
        """The results of iommu_groups, as run_kselftest.sh passes them on."""
        # Without udev nobody makes /dev/stdout, which the runner writes to
        done = self.run("sh", "-c",
                        "ln -sf /proc/self/fd/1 /dev/stdout; "
                        f"KSELFTEST_IOMMU_GROUPS_ARGS='{' '.join(options)}' "
                        "exec sh /kselftest/run_kselftest.sh "
                        "-t iommu:iommu_groups", check=False, timeout=120)
        inner = [line[2:] for line in done.stdout.splitlines()
                 if line.startswith("# ")]
        if "TAP version 13" not in inner:
            raise LabError(f"kselftest did not run: {done.stdout}\n{done.stderr}")
        found = ktap.parse("\n".join(inner[inner.index("TAP version 13"):]))
        failed = bool(named(found, FAILED))
        if (f"{'not ' * failed}ok 1 selftests: iommu: iommu_groups"
                not in done.stdout or bool(done.returncode) != failed):
            raise LabError(f"kselftest's verdict is another: {done.stdout}")
        return found


@pytest.fixture(params=list(trees()))
def vm(request: pytest.FixtureRequest, pool: Pool, installed: Path) -> Iterator[VM]:
    if not BUSYBOX.exists():
        pytest.skip(f"{BUSYBOX} is missing: apt-get install busybox-static")
    kernel = pool.kernel(request.param, "x86_64")
    pool.close()
    Guest.installed = installed
    with Guest(kernel, MACHINES["vtd-acpi"], log_name="groups-selftest") as guest:
        yield guest


def failures(found: list[Case]) -> dict[str, str]:
    return {case.name: case.log for case in found if case.status == FAILED}


def test_cold(vm: Guest) -> None:
    """Nothing is wrong on a machine that has just booted, on either kernel, and
    the pictures show what the lab sees by itself."""
    found = vm.selftest()
    assert not failures(found)
    passed = named(found, PASSED)
    assert {f"slot {vm.bdf('fn0-cold')[:-2]}", f"below {vm.bdf('bridge')}",
            f"below {vm.bdf('down1')}"} <= passed

    alias = f"aliases of {vm.bdf('edu-cold')}"
    if vm.kernel.name == "stock":
        assert "aliases" in named(found, SKIPPED)
    else:
        assert alias in passed

    state = vm.state()
    document = json.loads(vm.run("sh", "-c",
                                 "/kselftest/iommu/iommu_groups --json").stdout)
    assert {d["bdf"]: d["group"] for d in document["devices"]} == {
        bdf: f.group for bdf, f in state.functions.items()}
    if vm.kernel.name == "series":
        assert {d["bdf"]: [rid_of(a) for a in d["aliases"]]
                for d in document["devices"] if d["aliases"]} == {
            vm.bdf(name): [state.functions[vm.bdf(name)].rid + 1]
            for name in ("edu-cold", "edu-bridge")}
    vm.note(vm.run("sh", "-c", "/kselftest/iommu/iommu_groups --tree").stdout)


@pytest.mark.defect("a hot-added device of two functions is torn into two groups",
                    fixed=True)
def test_functions_hot_added(vm: Guest) -> None:
    vm.device_add("virtio-rng-pci", "fn1", "port-a", addr="0.1", wait=False)
    vm.device_add("virtio-rng-pci", "fn0", "port-a", addr="0.0", multifunction=True)
    vm.wait_present("fn1")
    slot = f"slot {vm.bdf('fn0')[:-2]}"
    found = vm.selftest()
    assert slot in {case.name for case in found}
    # On stock it is this one and no other
    if set(failures(found)) - {slot}:
        raise LabError(f"more than the slot failed: {failures(found)}")
    assert not failures(found)


@pytest.mark.defect("the functions of a device below a port that is removed and "
                    "found again come back in two groups", fixed=True)
def test_hotplug_functions(vm: Guest) -> None:
    port = vm.bdf("port-functions")
    slot = f"slot {vm.bdf('fn0-cold')[:-2]}"
    found = vm.selftest("--hotplug", port)
    if set(failures(found)) - {slot, f"hotplug of {port}"}:
        raise LabError(f"more than these failed: {failures(found)}")
    assert not failures(found)
    assert f"hotplug of {port}" in named(found, PASSED)


@pytest.mark.parametrize("name", ["edu-cold", "edu-bridge", "nvme-switch",
                                  "net-switch", "port-switch"])
def test_hotplug_same(vm: Guest, name: str) -> None:
    """What comes back into its group on either kernel. That stock does not
    let the alias of the first pass, it does not show."""
    bdf = vm.bdf(name)
    found = vm.selftest("--hotplug", bdf)
    assert not failures(found)
    assert f"hotplug of {bdf}" in named(found, PASSED)
