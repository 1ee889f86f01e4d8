# SPDX-License-Identifier: GPL-2.0
"""What the main job concludes from what it saw, and how it prints it."""

import subprocess
from contextlib import nullcontext
from pathlib import Path

import pytest

from lab import demo, ntb
from lab.demo import NTBRow, Row, ntb_table, table
from lab.kernel import Kernel
from lab.machines import QEMU_BINARY
from scripts import qemu
from scripts.workbench import StepFailed

TITLES = {"stock": "stock 7.3.4", "series": "with the series"}


def row(own: str = "yes", alias: str = "yes", split: bool = False) -> Row:
    return Row("edu-hot", "edu, late alias", "hot-added", "0d:00.0", 112, own,
               {"0d:00.1": alias, "0c:00.0": "yes"}, split)


def ntb_row(refused: int = 0, link: bool = True,
            iommu: str = "VT-d") -> NTBRow:
    return NTBRow(iommu, "hot-added", 131072, refused, 2.5e6 if link else None)


def verdict(results: dict[str, list[Row]],
            ntbs: dict[str, list[NTBRow]] | None = None
            ) -> tuple[list[str], bool]:
    return demo.verdict(results, ntbs or {"stock": [], "series": []})


def test_better() -> None:
    lines, ok = verdict({"stock": [row(alias="MISSING"), row(split=True)],
                         "series": [row(), row()]})
    assert ok
    assert lines[0] == ("stock:  requester IDs not translated: 1, groups "
                        "split: 1, NTBs without link: 0 of 0")
    assert "fixed edu-hot" in lines[2]


def test_not_yet_fixed() -> None:
    lines, ok = verdict({"stock": [row(alias="MISSING")],
                         "series": [row(alias="MISSING")]})
    assert ok and "not yet fixed edu-hot (hot-added)" in lines[2]


def test_worse() -> None:
    lines, ok = verdict({"stock": [row()], "series": [row(alias="WRONG")]})
    assert not ok and "WORSE edu-hot" in lines[2]


def test_other_fault_is_worse() -> None:
    """A repaired fault does not make up for a new one."""
    _, ok = verdict({"stock": [row(split=True)],
                     "series": [row(alias="MISSING")]})
    assert not ok


def test_width() -> None:
    """The widest contents fit a line of 100 columns, one line an alias."""
    rows = [row("MISSING", "MISSING", True)]
    lines = table({"stock": rows, "series": rows}, TITLES)
    assert max(map(len, lines)) <= 100
    assert len(lines) == 4
    assert lines[2].rpartition("|")[2].split() == [
        "112", "SPLIT", "MISSING", "MISSING"]


NOTHING: dict[str, list[Row]] = {"stock": [], "series": []}


def test_ntb_better() -> None:
    lines, ok = verdict(NOTHING, {"stock": [ntb_row(refused=1, link=False)],
                                  "series": [ntb_row()]})
    assert ok
    assert lines[0].endswith("NTBs without link: 1 of 1")
    assert lines[1].endswith("NTBs without link: 0 of 1")
    assert "fixed NTB VT-d (hot-added)" in lines[2]


@pytest.mark.parametrize("worse", [ntb_row(refused=1), ntb_row(link=False)])
def test_ntb_worse(worse: NTBRow) -> None:
    lines, ok = verdict(NOTHING, {"stock": [ntb_row()], "series": [worse]})
    assert not ok and "WORSE NTB VT-d (hot-added)" in lines[2]


def test_ntb_width() -> None:
    """Columns stand below their titles, within 100 columns."""
    lines = ntb_table({"stock": [ntb_row(1, False, "AMD-Vi")],
                       "series": [ntb_row(100000)]}, TITLES)
    assert max(map(len, lines)) <= 100
    assert [line.index("|") for line in lines] == [31] * 3
    _, stock, series = lines[2].split("|")
    assert stock.split() == ["131072", "1", "no", "-"]
    assert series.split() == ["131072", "100000", "yes", "2.4"]
    # the cell of each column starts where its title does
    for line in (lines[2].split("|")[1], lines[2].split("|")[2]):
        title = lines[1].split("|")[1]
        starts = [title.index(w) for w in ("arrived", "refused", "link", "MiB/s")]
        assert [line[s - 1] + line[s] for s in starts] == [
            " " + word[0] for word in line.split()]


def test_no_model(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without the model there is a reason in place of rows, and the system's
    QEMU is used as before."""
    def fail() -> None:
        raise StepFailed("no source package")
    monkeypatch.delenv("QEMU", raising=False)
    monkeypatch.setattr(qemu, "build", fail)
    before = dict(QEMU_BINARY)
    kernels = {"x86_64": {name: Kernel(name, "x86_64", "", Path("none"))
                          for name in ("stock", "series")}}
    rows, reasons = demo.run_ntb(kernels)
    assert rows == {"stock": [], "series": []}
    assert reasons == ["no QEMU with the NTB model: no source package"]
    assert QEMU_BINARY == before


def test_qemu_cannot(monkeypatch: pytest.MonkeyPatch) -> None:
    """What a QEMU lacks, a board or a property, is the reason for a skip."""
    said = {"help": "q35   Standard PC", "amd-iommu,help": "  pt=<bool>",
            "--version": "QEMU 10.0"}

    def run(argv: list[str], **_: object) -> subprocess.CompletedProcess[str]:
        return subprocess.CompletedProcess(argv, 0, said[argv[-1]], "")
    monkeypatch.setattr(subprocess, "run", run)
    monkeypatch.setattr(ntb, "qemu_binary", lambda arch: "qemu")
    assert ntb.why_not("ntb-vtd") == ""
    assert ntb.why_not("ntb-smmuv3") == "qemu has no machine virt"
    assert "no dma-remap" in ntb.why_not("ntb-amd")
    said["amd-iommu,help"] += "\n  dma-remap=<bool>"
    assert ntb.why_not("ntb-amd") == ""


def test_other_architecture(monkeypatch: pytest.MonkeyPatch) -> None:
    """Machines whose kernels are not asked for are named, not run."""
    monkeypatch.setattr(demo, "qemu_with_model", nullcontext)
    monkeypatch.setattr(demo, "NTB_MACHINES", {"SMMUv3": "ntb-smmuv3"})
    rows, reasons = demo.run_ntb({"x86_64": {}})
    assert rows == {"stock": [], "series": []}
    assert reasons == ["SMMUv3: make ARM64=1 runs it, which takes two more "
                       "kernels"]
