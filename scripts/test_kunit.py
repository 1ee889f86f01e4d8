# SPDX-License-Identifier: GPL-2.0
"""The KUnit suites on the patched kernel, their guards on the stock one, and
how both are read and judged."""

import os
import subprocess
from pathlib import Path

import pytest
from pytest_subtests import SubTests

from scripts import kunit, patchset, tree
from scripts.cases import (FAILED, PASSED, SKIPPED, Case, compare,
                           report_cases)
from scripts.kunit import Guards
from scripts.workbench import LINUX, StepFailed

OUTPUT = """KTAP version 1
1..1
    KTAP version 1
    # Subtest: groups
    # module: group_test
    1..4
    ok 1 plain
    # broken: EXPECTATION FAILED at lib/kunit/group_test.c:7
    not ok 2 broken
    ok 3 absent # SKIP no such device
        KTAP version 1
        # Subtest: each
        1..2
        ok 1 first of two
        not ok 2 second
    # each: pass:1 fail:1 skip:0 total:2
    not ok 4 each
# groups: pass:1 fail:2 skip:1 total:4
not ok 1 groups
"""


@pytest.fixture
def parser() -> None:
    if not (LINUX / "tools/testing/kunit").exists():
        tree.make_tree()


def statuses(cases: list[Case]) -> dict[str, str]:
    return {case.name: case.status for case in cases}


def test_parse(parser: None) -> None:
    cases = kunit.parse(OUTPUT)
    assert statuses(cases) == {
        "groups.plain": PASSED, "groups.broken": FAILED, "groups.absent": SKIPPED,
        "groups.each first of two": PASSED, "groups.each second": FAILED}
    logs = {case.name: case.log for case in cases}
    assert "EXPECTATION FAILED" in logs["groups.broken"]
    assert logs["groups.absent"] == "no such device"


@pytest.mark.parametrize("output", [
    "", "Kernel panic - not syncing\n", "KTAP version 1\n1..1\n",
    OUTPUT[:OUTPUT.index("    ok 3")]],
    ids=["nothing", "panic", "no case", "died in the middle"])
def test_a_dead_kernel_fails(parser: None, output: str) -> None:
    assert FAILED in statuses(kunit.parse(output)).values()


def test_a_splat_fails() -> None:
    """Also one that no case notices."""
    assert kunit.splat_case(OUTPUT).status == PASSED
    splat = "BUG: KASAN: slab-use-after-free in iommu_group_put+0x1/0x2"
    found = kunit.splat_case(OUTPUT + splat + "\n")
    assert (found.status, found.log) == (FAILED, splat)


def test_kvm_is_opt_in(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What kunit.py starts is the QEMU of the lab, with TCG."""
    qemu = tmp_path / "qemu"
    qemu.write_text("#!/bin/sh\nprintf '%s\\n' \"$@\"\n")
    qemu.chmod(0o755)
    monkeypatch.setattr(kunit, "BUILD", tmp_path)
    monkeypatch.setenv("QEMU", str(qemu))
    monkeypatch.delenv("KVM", raising=False)
    done = subprocess.run(
        ["qemu-system-x86_64", "-accel", "kvm", "-accel", "tcg", "-append", "a  b"],
        env=os.environ | kunit.qemu_environment("x86_64"), text=True,
        capture_output=True, check=True, timeout=60)
    assert done.stdout.splitlines() == ["-accel", "tcg", "-accel", "tcg", "-append",
                                        "a  b"]
    monkeypatch.setenv("KVM", "1")
    assert not kunit.qemu_environment("x86_64")
    assert not kunit.qemu_environment("um")


def guards(tmp_path: Path, text: str) -> Guards:
    (tmp_path / "guards").write_text(text)
    return kunit.read_guards(tmp_path / "guards")


def test_read_guards(tmp_path: Path) -> None:
    found = guards(tmp_path, "# a comment\n\ngroups.broken  0002-fix.patch\n"
                   "groups.each second  fix\n-  0003-other.patch  only moves code\n")
    assert found.cases == {"groups.broken": "fix", "groups.each second": "fix"}
    assert found.excused == {"other": "only moves code"}


@pytest.mark.parametrize("line", ["groups.broken", "groups.broken fix", "-  fix"])
def test_guards_that_say_too_little(tmp_path: Path, line: str) -> None:
    with pytest.raises(StepFailed, match="guards:1: neither"):
        guards(tmp_path, line + "\n")


def series(*names: str, tests_only: str = "") -> patchset.Patchset:
    return patchset.Patchset(tuple(
        patchset.Patch(name, "", (), "Tests-only" if name == tests_only else "", "")
        for name in names), Path(), "")


def test_every_fix_has_a_guard() -> None:
    patches = series("0001-test.patch", "0002-fix.patch", "0003-other.patch",
                     tests_only="0001-test.patch")
    complaints = kunit.check_guards(Guards({"a.b": "fix", "a.c": "gone"}, {}), patches)
    assert complaints == [
        "patches/guards names gone, which is no patch of the series",
        "0003-other.patch has no guard: name in patches/guards a case that fails "
        "without it, or say there why none can"]


@pytest.mark.parametrize("status, verdict, why", [
    (FAILED, PASSED, ""), (PASSED, FAILED, "guards nothing"),
    (SKIPPED, FAILED, "guards nothing"), (None, FAILED, "did not run")])
def test_guard_must_fail_on_stock(status: str | None, verdict: str,
                                  why: str) -> None:
    stock = [Case("a.b", status)] if status else []
    found = kunit.judge(stock, Guards({"a.b": "fix"}, {}))
    assert [case.status for case in found] == [verdict]
    assert why in found[0].log


@pytest.mark.parametrize("output, verdict", [
    ("KTAP version 1\n1..1\n    KTAP version 1\n    # Subtest: a\n"
     "Kernel panic - not syncing\n", PASSED),
    ("Checking that ptrace can change system call numbers...\n", FAILED)])
def test_guard_that_ends_the_kernel(parser: None, output: str, verdict: str) -> None:
    """A kernel that did not come to the test is no proof."""
    guards = Guards({"a.b": "fix"}, {})
    assert kunit.judge(kunit.parse_one("a.b", output), guards)[0].status == verdict


def test_guard_without_end() -> None:
    """Whatever hangs is no proof, but where it is said to hang."""
    stock = [Case("a.b", FAILED, f"Command '[]' {kunit.ENDLESS}")]
    assert kunit.judge(stock, Guards({"a.b": "fix"}, {}))[0].status == FAILED
    assert kunit.judge(stock, Guards({"a.b": "fix"}, {}, {"a.b"}))[0].status == PASSED


def test_unlisted_failure_on_stock() -> None:
    found = kunit.judge([Case("a.b", FAILED, "log")], Guards({}, {}))
    assert found[0].status == FAILED and "does not list it" in found[0].log


@pytest.mark.parametrize("stock, series, verdict", [
    (PASSED, PASSED, PASSED), (SKIPPED, SKIPPED, SKIPPED), (FAILED, FAILED, PASSED),
    (FAILED, PASSED, PASSED), (PASSED, FAILED, FAILED), (PASSED, SKIPPED, FAILED),
    (PASSED, None, FAILED), (FAILED, None, FAILED), (None, FAILED, FAILED),
    (SKIPPED, FAILED, FAILED), (None, SKIPPED, SKIPPED), (FAILED, SKIPPED, FAILED)])
def test_compare(stock: str | None, series: str | None, verdict: str) -> None:
    """Nothing may get worse; what fails on both says so."""
    found, = compare(*([Case("a.b", status)] if status else []
                       for status in (stock, series)))
    assert found.status == verdict
    assert ("without the series too" in found.name) == (stock == series == FAILED)


def test_a_broken_run_is_not_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    """Also if both are."""
    monkeypatch.setattr(kunit, "run", lambda *_, **__: [
        Case("a.b", PASSED), Case(kunit.BROKEN, FAILED)])
    assert [case.status for case in kunit.same()] == [FAILED, FAILED, PASSED]


@pytest.mark.long(minutes=6)
def test_um(subtests: SubTests) -> None:
    """Every case passes on the patched kernel."""
    tree.make_tree()
    report_cases(subtests, kunit.run(LINUX, "um"))


@pytest.mark.long(minutes=6)
def test_um_debug(subtests: SubTests) -> None:
    """The same under KASAN, UBSAN, lockdep and DEBUG_OBJECTS."""
    tree.make_tree()
    report_cases(subtests, kunit.run(LINUX, "um", debug=True))


@pytest.mark.long(minutes=7)
def test_prove(subtests: SubTests) -> None:
    """Exactly the guards fail on the stock kernel."""
    tree.make_tree()
    report_cases(subtests, kunit.prove())
