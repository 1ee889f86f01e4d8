# SPDX-License-Identifier: GPL-2.0
"""make check as part of make test, and what its patterns take for a warning."""

import os

import pytest
from pytest_subtests import SubTests

from scripts import check, full, patchset
from scripts.cases import report_cases
from scripts.conftest import Background, Bench


@pytest.mark.parametrize("line, text", [
    ("../drivers/pci/quirks.c:12:3: warning: unused variable 'x' [-Wunused]",
     "warning: unused variable 'x' [-Wunused]"),
    ("drivers/pci/quirks.c:12:3: error: bad thing", "error: bad thing"),
    ("../drivers/pci/quirks.c:5898:25: warning: cast removes address space",
     "warning: cast removes address space")])
def test_warnings_of_compiler_and_sparse(line: str, text: str) -> None:
    assert check.found(check.WARNING, line, {"drivers/pci/quirks.c"}) == {
        ("drivers/pci/quirks.c", text): 1}


def test_warnings_of_other_files() -> None:
    assert not check.found(check.WARNING, "include/x.h:1:2: warning: y", {"a.c"})


def test_kernel_doc_warning() -> None:
    line = "Warning: drivers/pci/pci.c:7 function parameter 'x' not described in 'f'"
    assert check.found(check.KERNEL_DOC, line, {"drivers/pci/pci.c"}) == {
        ("drivers/pci/pci.c", "function parameter 'x' not described in 'f'"): 1}


def test_misspelled_words() -> None:
    assert not check.misspelled("Subject: x\n teh base's line\n-a recieved one\n")
    assert "teh ==> the" in check.misspelled("Subject: x\n+\t/* of teh series */\n")
    assert "recieve ==> receive" in check.misspelled("Subject: recieve it\n")


def test_report_of_coccicheck() -> None:
    line = "drivers/pci/pci.c:2529:27-33: opportunity for str_on_off(enable)"
    assert check.found(full.REPORT, line, {"drivers/pci/pci.c"}) == {
        ("drivers/pci/pci.c", "opportunity for str_on_off(enable)"): 1}


def test_what_a_changed_header_has_compiled(empty: Bench,
                                            monkeypatch: pytest.MonkeyPatch) -> None:
    tree = empty.linux
    empty.commit("pci: Add a header\n\nIt is used.\n", drivers__pci_dot_h="// one\n")
    empty.commit("pci: Change a header\n\nIt is used.\n", drivers__pci_dot_h="// two\n")
    empty.commit("pci: Change a source\n\nIt is used.\n", drivers__pci_dot_c="// a\n")
    empty.git("checkout", "--quiet", "--detach", "series~2")
    files = [tree / "drivers/pci.h", tree / "drivers/pci.c", tree / "drivers/iommu.c"]
    for file in files:
        os.utime(file, (1e9, 1e9))
    empty.git("update-index", "-q", "--refresh")
    walk = object.__new__(check.Walk)
    walk.touched = {"drivers/pci.h", "drivers/pci.c"}
    monkeypatch.setattr(check, "BISECT", tree)
    monkeypatch.setattr(check, "FULL", False)

    def newer() -> list[str]:
        return [file.name for file in files if file.stat().st_mtime > 1e9]

    walk.go_one_on(patchset.commit(tree, "series~"))
    assert files[0].read_text() == "// two\n"
    assert newer() == ["pci.c"]
    walk.go_one_on(patchset.commit(tree, "series"))
    assert newer() == ["pci.c"]
    walk.touch(".h")
    assert newer() == ["pci.h", "pci.c"]


@pytest.mark.long(minutes=10)
def test_series(subtests: SubTests, checked: Background) -> None:
    report_cases(subtests, checked.cases())
