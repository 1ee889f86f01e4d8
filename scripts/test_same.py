# SPDX-License-Identifier: GPL-2.0
"""make same: what the kernel's own suites make of the series. Two more kernels,
so that conftest.py keeps it out of make test."""

import pytest
from pytest_subtests import SubTests

from scripts import kunit, tree
from scripts.cases import report_cases


@pytest.mark.long(minutes=8)
def test_own_suites(subtests: SubTests) -> None:
    """They come to the same with and without it."""
    tree.make_tree()
    report_cases(subtests, kunit.same())
