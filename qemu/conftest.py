# SPDX-License-Identifier: GPL-2.0
"""Which QEMU the model's tests drive: that of make qemu, or QEMU=."""

import os
import subprocess
from pathlib import Path

import pytest

from scripts import qemu


@pytest.fixture(scope="session")
def program() -> str:
    """A QEMU for x86-64 that has the model."""
    if own := os.environ.get("QEMU"):
        helped = subprocess.run([own, "-device", "help"], capture_output=True,
                                text=True, check=True, timeout=60)
        if '"switchtec-ntb"' not in helped.stdout:
            pytest.skip(f"QEMU={own} has no device switchtec-ntb")
        return own
    qemu.build()
    return str(qemu.BIN / qemu.PROGRAMS[0])


@pytest.fixture(scope="session")
def sanitized() -> Path:
    """The same with the model under ASan and UBSan."""
    qemu.build()
    return qemu.BIN / qemu.SANITIZED
