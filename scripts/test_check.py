# SPDX-License-Identifier: GPL-2.0
"""make check as part of make test, and what its patterns take for a warning."""

import pytest
from pytest_subtests import SubTests

from scripts import check, full
from scripts.cases import report_cases
from scripts.conftest import Background


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


@pytest.mark.long(minutes=10)
def test_series(subtests: SubTests, checked: Background) -> None:
    report_cases(subtests, checked.cases())
