# SPDX-License-Identifier: GPL-2.0
"""The compiled search; without its tools one skip, not one for each search."""

from pathlib import Path
from typing import Iterator

import pytest

from model.run import build, missing_tool
from scripts.workbench import locked


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(config: pytest.Config,
                                  items: list[pytest.Item]) -> None:
    searches = [item for item in items if "contract" in
                getattr(item, "fixturenames", ())]
    problem = missing_tool()
    if not searches or problem is None:
        return
    searches[0].add_marker(pytest.mark.skip(
        reason=f"{problem} ({len(searches)} searches)"))
    config.hook.pytest_deselected(items=searches[1:])
    items[:] = [item for item in items if item not in searches[1:]]


@pytest.fixture(scope="module")
def contract() -> Iterator[Path]:
    with locked("model"):
        yield build()
