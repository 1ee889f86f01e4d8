# SPDX-License-Identifier: GPL-2.0
"""The kernel as built keeps the rules of the contract, but where a table says
that it does not; and the model notices if one of its parts is left out."""

from pathlib import Path

import pytest

from model.run import (BUILT, HOLES, MAINLINE, NEEDED, RULES, SCENARIO, SCENARIOS,
                       VARIANTS, Scenario, Switches, broken, kernel, search, spelled)
from scripts.workbench import StepFailed

# before the tests that build kernels, after the quick ones
pytestmark = pytest.mark.long(minutes=0.1)

each_scenario = pytest.mark.parametrize("scenario", SCENARIOS,
                                        ids=lambda scenario: scenario.name)
with_holes = pytest.mark.parametrize(
    "scenario", [scenario for scenario in SCENARIOS if scenario.holes],
    ids=lambda scenario: scenario.name)


@each_scenario
def test_as_built(contract: Path, scenario: Scenario) -> None:
    """Every rule holds that the table does not except."""
    rules = set(RULES) - set(scenario.holes)
    for variant in VARIANTS:
        result = search(contract, {**scenario.events, **variant}, BUILT, rules)
        print(f"{variant}: {result}")
        assert not result.broken, variant


@with_holes
def test_hole(contract: Path, scenario: Scenario) -> None:
    """What the table excepts is still so. If a rule is kept after all, the
    exception has to go."""
    seen: set[str] = set()
    for variant in VARIANTS:
        seen |= search(contract, {**scenario.events, **variant}, BUILT).broken
    assert seen == set(scenario.holes)


@pytest.mark.parametrize("hold", [1, 2])
@pytest.mark.parametrize("name", ["coldrereg", "coldrmunreg"])
def test_without_links(contract: Path, name: str, hold: int) -> None:
    """The IOMMU core could hold drivers off by itself, too."""
    for variant in VARIANTS:
        result = search(contract, {**SCENARIO[name].events, **variant},
                        kernel(HOLD=hold))
        assert not result.broken, variant


@each_scenario
def test_mainline(contract: Path, scenario: Scenario) -> None:
    """Mainline breaks what it is known to break: the model can fail."""
    result = search(contract, {**scenario.events, **VARIANTS[0]}, MAINLINE)
    print(result)
    assert result.broken == set(scenario.mainline.split())


@pytest.mark.parametrize("change, name, variant, broken_rules", NEEDED,
                         ids=[spelled(needed[0]) for needed in NEEDED])
def test_each_part_is_needed(contract: Path, change: Switches, name: str,
                             variant: Switches, broken_rules: str) -> None:
    """Without this part of the series a rule is broken that holds with it."""
    rules = set(broken_rules.split())
    events = {**SCENARIO[name].events, **variant}
    result = search(contract, events, kernel(**change))
    print(result)
    assert result.broken == rules
    assert not search(contract, events, BUILT, rules).broken


def test_tables() -> None:
    """No part of the kernel is left out, and no hole is without a scenario."""
    assert {part for change, *_ in NEEDED for part in change} == set(BUILT)
    assert set(HOLES) == {hole for scenario in SCENARIOS
                          for hole in scenario.holes.values()}


def test_what_is_no_rule() -> None:
    """A failure of the model itself is not taken for a broken rule."""
    assert list(broken("pan:1: assertion violated ( !((RULES&16))||galive[g])\n"
                       "pan:2: invalid end state (at depth 7)\n")) \
        == ["P5", "deadlock"]
    with pytest.raises(StepFailed, match="not a rule of the model"):
        list(broken("pan:1: assertion violated (ngrp<8) (at depth 3)\n"))
