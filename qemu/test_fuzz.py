# SPDX-License-Identifier: GPL-2.0
"""A guest that writes nonsense does not hurt QEMU.

QEMU_FUZZ=count sets the number of accesses, QEMU_FUZZ_SEED repeats a run.
"""

import os
import random
from pathlib import Path

from qemu.fuzz import DEFAULT_COUNT, fuzz


def test_fuzz(sanitized: Path) -> None:
    count = int(os.environ.get("QEMU_FUZZ", DEFAULT_COUNT))
    seed = int(os.environ.get("QEMU_FUZZ_SEED", random.randrange(1 << 32)))
    print(f"QEMU_FUZZ_SEED={seed} QEMU_FUZZ={count}")
    print(fuzz(sanitized, seed, count))
