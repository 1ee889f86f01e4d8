# SPDX-License-Identifier: GPL-2.0
"""Finds in a kernel log what no run may leave there."""

import re
from typing import Iterable

SPLATS = re.compile("|".join((
    r"\bBUG: ", r"\bWARNING: ", r"\bOops\b", r"Kernel panic",
    r"general protection fault", r"Unable to handle kernel",
    r"KASAN: ", r"UBSAN: ", r"kernel BUG at ",
    r"possible (circular|recursive) locking", r"inconsistent lock state",
    r"suspicious RCU usage", r"INFO: task .* blocked for more than",
    r"rcu: INFO: .*detected (expedited )?stall", r"soft lockup",
    r"refcount_t: ", r"list_(add|del) corruption", r"slab-use-after-free",
    r"DMAR: .*(\[DMA |fault|error)",
    r"arm-smmu-v3 .*event 0x", r"viommu.* fault|virtio_iommu.*fault",
    r"AMD-Vi: Event logged",
)))

# Said by every kernel on machines like these, harmless
HARMLESS = re.compile(r"DMAR: \[Firmware Bug\]|Enabled IRQ remapping")


def find(lines: Iterable[str], expected: Iterable[str] = ()) -> list[str]:
    """The lines that are splats and match no pattern of @expected."""
    allowed = [re.compile(pattern) for pattern in expected]
    return [line for line in lines
            if SPLATS.search(line) and not HARMLESS.search(line)
            and not any(pattern.search(line) for pattern in allowed)]
