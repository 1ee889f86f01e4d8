# SPDX-License-Identifier: GPL-2.0
"""Random accesses to the NTB model: python3 -m qemu.fuzz [--seed N] [--count N]

Two endpoints of one switch and one of another; any width, any offset, but
mostly near registers and with values that mean something there, so that
windows open, lead to each other and to devices, and interrupts fire. The seed
is printed; the same seed and count do the same accesses in the same order.
"""

import argparse
import random
import time
from pathlib import Path
from typing import Iterator

from qemu.bench import (GAS_SIZE, MAILBOX, RAM_SIZE, REG, WIDTHS,
                        Bench, QemuDied, ctrl, dbmsg)
from scripts import qemu
from scripts.workbench import StepFailed, die, say

ENDPOINTS = ("switch=sw,partition=0,bar4-size=64K",
             "switch=sw,partition=33,peer=0,proxies=512,luts=512,bar2-size=128M",
             "switch=other,partition=47,peer=32,requester-id=8,luts=512,"
             "bar2-size=128M")
WINDOWS = (2 << 20, 128 << 20, 128 << 20)       # sizes of their BAR 2
# Partition and requester ID of each, and partitions with none
OWN, REQUESTER = (0, 33, 47), (0, 0, 8)
PARTITIONS = (*OWN, 32, 1)
LOCK, CFG = 1, 2
BATCH = 2000
DEFAULT_COUNT = 1_000_000

# (register, how many of it, bytes between them)
CTRL = (("STATUS", 1, 0), ("OP", 1, 0), ("LUT_ENTRIES", 1, 0),
        ("REQ_ID_SIZE", 1, 0), ("BAR", 6, 16), ("BAR_WIN", 6, 16),
        ("BAR_XLATE", 6, 16), ("BAR_EXT", 6, 16), ("REQ_ID", 512, 4),
        ("LUT", 512, 8))
DBMSG = (("ODB", 1, 0), ("ODB_MASK", 1, 0), ("IDB", 1, 0), ("IDB_MASK", 1, 0),
         ("VEC_MAP", 64, 1), ("MSG_MAP", 1, 0), ("OMSG", 4, 8),
         ("IMSG", 4, 8), ("MSIX", 64, 16), ("PBA", 1, 0))
# Configuration registers and what may be written there: memory stays enabled
# and the BARs where they are, or the rest would reach nothing
CONFIG = ((0x04, (0x2, 0x6)), (0x50, (0x80000000, 0xc0000000, 0)))


class Fuzz:
    """The accesses of one seed."""

    def __init__(self, bench: Bench, seed: int) -> None:
        self.bench, self.random = bench, random.Random(seed)
        self.bases = [(bench.gas(e), bench.window(e))
                      for e in range(len(ENDPOINTS))]

    def register(self) -> int:
        rand = self.random
        table = rand.choice((CTRL, CTRL, DBMSG))
        name, count, stride = rand.choice(table)
        place = ctrl if table is CTRL else dbmsg
        return (place(rand.choice(PARTITIONS), name) +
                rand.randrange(count) * stride)

    def offset(self) -> int:
        rand, way = self.random, self.random.random()
        if way < 0.7:
            return self.register() + rand.choice((0, 0, 0, 0, 4, 1, 2, 3, 5, -1))
        if way < 0.8:
            return rand.choice((REG["NTB_BASE"], REG["SYS_INFO_BASE"],
                                REG["PART_CFG_BASE"], REG["PFF_BASE"],
                                REG["MRPC_CMD"])) + rand.randrange(0x1000)
        return rand.randrange(GAS_SIZE - 8)

    def address(self) -> int:
        """Where a window may lead: RAM, other windows, registers, nothing."""
        rand = self.random
        base = rand.choice((0, rand.randrange(RAM_SIZE), MAILBOX,
                            rand.choice(self.bases)[0] + self.offset(),
                            rand.choice(self.bases)[1],
                            rand.getrandbits(64)))
        return base & ~0xfff

    def value(self, size: int) -> int:
        rand, way = self.random, self.random.random()
        if way < 0.3:
            value = self.address() | rand.choice((0, 1)) | \
                rand.choice(PARTITIONS) << rand.choice((0, 1))
        elif way < 0.5:
            value = 1 | 1 << 4 | 1 << 5 | 16 << 8 | rand.choice((0, 15, 511)) << 14
        elif way < 0.7:
            value = rand.randrange(4)
        elif way < 0.8:
            value = (1 << 64) - 1
        else:
            value = rand.getrandbits(64)
        return value & (1 << size * 8) - 1

    def accesses(self) -> Iterator[str]:
        """One access, or the few that belong together."""
        rand = self.random
        number = rand.randrange(len(ENDPOINTS))
        if rand.random() < 0.001:
            register, values = rand.choice(CONFIG)
            yield self.bench.config_address(number, register)
            yield f"outl 0xcfc {rand.choice(values):#x}"
            return
        if rand.random() < 0.006:
            yield from rand.choice((self.open_window, self.message,
                                    self.doorbell))(number)
            return
        gas, window = self.bases[number]
        size = rand.choice(tuple(WIDTHS))
        if rand.random() < 0.8:
            at = gas + self.offset()
        else:
            at = window + rand.choice((0, 0x10000, 0x100000, rand.randrange(
                WINDOWS[number] - 0x20000))) + rand.randrange(0x20000)
        if rand.random() < 0.55:
            yield f"write{WIDTHS[size]} {at:#x} {self.value(size):#x}"
        else:
            yield f"read{WIDTHS[size]} {at:#x}"

    # What drivers do in an order that chance alone would hardly ever hit

    def open_window(self, number: int) -> Iterator[str]:
        rand, (gas, _), own = self.random, self.bases[number], OWN[number]
        peer = rand.choice((*PARTITIONS, rand.randrange(1 << 11)))
        entries = rand.choice((15, 511, (1 << 18) - 1))
        for offset, width, value in (
                (ctrl(own, "OP"), 4, LOCK),
                (ctrl(own, "REQ_ID", rand.randrange(4)), 4,
                 REQUESTER[number] << 16 | 1),
                (ctrl(own, "BAR", 2), 4,
                 1 << 5 | 1 << 4 | 16 << 8 | entries << 14),
                (ctrl(own, "LUT", rand.choice((0, 1, 16))), 8,
                 self.address() | peer << 1 | 1),
                (ctrl(own, "BAR_WIN", 2), 4,
                 rand.choice((16 | 1 << 16, self.value(4)))),
                (ctrl(own, "BAR_XLATE", 2), 8, self.address() | peer),
                (ctrl(own, "OP"), 4, CFG)):
            yield f"write{WIDTHS[width]} {gas + offset:#x} {value:#x}"

    def vectors(self, number: int) -> Iterator[str]:
        """Interrupts of an endpoint go to any vector, mostly to none."""
        at = self.bases[number][0] + dbmsg(OWN[number], "VEC_MAP")
        for offset in range(0, 64, 8):
            yield f"writeq {at + offset:#x} {self.random.getrandbits(64):#x}"

    def message(self, number: int) -> Iterator[str]:
        """From endpoint 0 or 1 to the other, the slot enabled."""
        source, target = (1, 0) if number == 0 else (0, 1)
        slot, index = self.random.randrange(4), self.random.randrange(4)
        yield from self.vectors(target)
        for endpoint, offset, width, value in (
                (target, dbmsg(OWN[target], "MSG_MAP"), 4,
                 (index | OWN[source] << 2) << slot * 8),
                (target, dbmsg(OWN[target], "IMSG", slot), 8, 1 << 32 | 1 << 40),
                (source, dbmsg(OWN[source], "OMSG", index), 4, self.value(4))):
            yield (f"write{WIDTHS[width]} {self.bases[endpoint][0] + offset:#x} "
                   f"{value:#x}")

    def doorbell(self, number: int) -> Iterator[str]:
        source, target = (1, 0) if number == 0 else (0, 1)
        ones = (1 << 64) - 1
        yield from self.vectors(target)
        for endpoint, name, value in (
                (target, "IDB", ones), (target, "IDB_MASK", ones),
                (source, "ODB_MASK", ones),
                (source, "ODB", self.random.getrandbits(64))):
            yield (f"writeq {self.bases[endpoint][0] + dbmsg(OWN[endpoint], name):#x} "
                   f"{value:#x}")

    def run(self, count: int) -> None:
        """@count accesses; QemuDied tells the batch that was the last."""
        for done in range(0, count, BATCH):
            batch = [command for _ in range(min(BATCH, count - done))
                     for command in self.accesses()]
            try:
                wrong = [f"{command}: {answer}" for command, answer in
                         zip(batch, self.bench.send(batch))
                         if not answer.startswith("OK")]
            except QemuDied as error:
                raise QemuDied(f"after {done} accesses: {error}") from None
            if wrong:
                raise QemuDied(f"after {done} accesses: {wrong[0]}")


def fuzz(program: Path, seed: int, count: int) -> str:
    """Do it; the result in words. QemuDied if the model fails."""
    start = time.monotonic()
    with Bench(program, ENDPOINTS) as bench:
        Fuzz(bench, seed).run(count)
        arrived = sum(bench.prop(e, "proxied-arrived") for e in range(3))
        refused = sum(bench.prop(e, "proxied-refused") for e in range(3))
        if "runtime error" in bench.said() or "Sanitizer" in bench.said():
            raise QemuDied(bench.said())
    return (f"fuzz: seed {seed}, {count} accesses in "
            f"{time.monotonic() - start:.0f} s; through windows {arrived} "
            f"arrived, {refused} refused")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seed", type=int, default=random.randrange(1 << 32))
    parser.add_argument("--count", type=int, default=DEFAULT_COUNT)
    args = parser.parse_args()
    say(f"fuzz: seed {args.seed}")
    try:
        qemu.build()
        say(fuzz(qemu.BIN / qemu.SANITIZED, args.seed, args.count))
    except (QemuDied, StepFailed) as error:
        die(f"seed {args.seed}: {error}")


if __name__ == "__main__":
    main()
