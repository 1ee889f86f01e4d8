# SPDX-License-Identifier: GPL-2.0
"""What the model does, register by register, without a guest."""

from typing import Iterator

import pytest

from qemu.bench import REG, Bench, ctrl, dbmsg

PAIR = ("switch=sw,partition=0", "switch=sw,partition=1,proxy-base=0x40")
ONES = {1: 0xff, 2: 0xffff, 4: 0xffffffff, 8: 0xffffffffffffffff}
LOCK, CFG, RESET = 1, 2, 3
NORMAL, LOCKED, LOCKING = 1, 2, 3
DIRECT, LUT_WINDOW = 1 << 4, 1 << 5
LUT_SIZE, LUTS = 1 << 16, 16
RAM = 0x200000          # what windows lead to
DOORBELL, MESSAGE = 1, 2
BUS_MASTER_OFF = 0x2


@pytest.fixture
def pair(program: str) -> Iterator[Bench]:
    with Bench(program, PAIR) as bench:
        yield bench


def configure(bench: Bench, by: int, partition: int,
              writes: dict[int, tuple[int, int]]) -> None:
    """Write registers {offset: (value, size)} of a partition and apply."""
    bench.put(by, ctrl(partition, "OP"), LOCK)
    for offset, (value, size) in writes.items():
        bench.put(by, offset, value, size)
    bench.put(by, ctrl(partition, "OP"), CFG)


def open_windows(bench: Bench, host: int, peer: int) -> None:
    """What both drivers do so that endpoint @host reaches RAM of @peer: LUT 0
    at RAM, the direct window 64 KiB above it."""
    configure(bench, host, host, {ctrl(host, "REQ_ID"): (1, 4)})
    configure(bench, peer, host, {
        ctrl(host, "BAR", 2): (LUT_WINDOW | DIRECT | 16 << 8 | (LUTS - 1) << 14,
                               4),
        ctrl(host, "LUT", 0): (1 | peer << 1 | RAM, 8),
        ctrl(host, "BAR_WIN", 2): (16 | LUT_SIZE, 4),
        ctrl(host, "BAR_XLATE", 2): (peer | RAM + LUT_SIZE, 8)})


def direct(bench: Bench, endpoint: int) -> int:
    return bench.window(endpoint) + LUTS * LUT_SIZE


def test_identity(program: str) -> None:
    """IDs of each generation; the partition where its layout has it."""
    models = {"gen3": 0x853111f8, "gen4": 0x400011f8, "gen5": 0x500011f8,
              "gen6": 0x604811f8, "pci100x": 0x10011055,
              "gen4,x-device-id=0x4352": 0x435211f8}
    for model, ids in models.items():
        with Bench(program, [f"switch=sw,partition=5,model={model}"]) as bench:
            assert bench.config_read(0, 0) == ids
            assert bench.config_read(0, 8) >> 8 == 0x068000
            part = REG["SYS_GEN3_PARTITION" if model == "gen3" else
                       "SYS_GEN4_PARTITION"]
            assert bench.get(0, REG["SYS_INFO_BASE"] + part, 1) == 5
            assert bench.get(0, REG["SYS_INFO_BASE"]) == ids >> 16


def test_partitions_are_described(program: str) -> None:
    """Map, target and peer's table, before and after the peer is there."""
    base = REG["NTB_BASE"]
    with Bench(program, ["switch=sw,partition=2,peer=33,proxies=6,"
                         "proxy-base=0xfe"]) as bench:
        assert bench.get(0, base + REG["NTB_PARTITION_COUNT"], 1) == 2
        assert bench.get(0, base + REG["NTB_PARTITION_ID"], 1) == 2
        assert bench.get(0, base + REG["NTB_EP_MAP"], 8) == 1 << 2 | 1 << 33
        info = base + 2 * REG["NTB_PART_INFO_SIZE"]
        assert bench.get(0, info + REG["NTB_TARGET_LOW"]) == 0
        assert bench.get(0, info + REG["NTB_TARGET_HIGH"]) == 1 << 1
        assert bench.get(0, ctrl(33, "REQ_ID_SIZE"), 2) == 6
        table = [bench.get(0, ctrl(33, "REQ_ID", i)) >> 1 & 0xff
                 for i in range(6)]
        assert table == [0xfe, 0xff, 0, 1, 2, 3]
        assert bench.get(0, ctrl(33, "LUT_ENTRIES"), 2) == LUTS
        assert bench.get(0, ctrl(33, "BAR", 2)) == 1
        assert bench.get(0, ctrl(1, "REQ_ID_SIZE"), 2) == 0


def test_target_map_off(program: str) -> None:
    with Bench(program, ["switch=sw,target-map=off"]) as bench:
        assert bench.get(0, REG["NTB_BASE"] + REG["NTB_TARGET_LOW"]) == 0


def test_any_width(pair: Bench) -> None:
    """Bytes, words and 64 bits see one register file, unaligned too."""
    offset = dbmsg(0, "VEC_MAP")
    pair.put(0, offset, 0x0706050403020100, 8)
    pair.put(0, offset + 3, 0xa5, 1)
    assert pair.get(0, offset, 8) == 0x07060504a5020100
    assert pair.get(0, offset + 3, 8) & 0xffffffffff == 0x07060504a5
    assert pair.get(0, offset + 1, 2) == 0x0201
    pair.put(0, offset + 5, 0x1234, 2)
    assert pair.get(0, offset + 4) == 0x07123404


def test_table_keeps_proxies(pair: Bench) -> None:
    """The host writes who asks; the proxy ID is the switch's."""
    entry = ctrl(0, "REQ_ID", 3)
    pair.put(0, entry, 0xffffffff)
    assert pair.get(0, entry) == 0xffff0001 | 0x43 << 1
    pair.put(0, entry, 0)
    assert pair.get(0, entry) == 0x43 << 1
    pair.put(0, ctrl(0, "REQ_ID", 4), 0xffffffff)
    assert pair.get(0, ctrl(0, "REQ_ID", 4)) == 0


def test_lock(pair: Bench) -> None:
    """Each host sees its own part of the lock; the second one waits."""
    status = ctrl(0, "STATUS")
    pair.put(0, ctrl(0, "OP"), LOCK)
    pair.put(1, ctrl(0, "OP"), LOCK)
    assert (pair.get(0, status), pair.get(1, status)) == (LOCKED, LOCKING)
    pair.put(0, ctrl(0, "OP"), CFG)
    assert (pair.get(0, status), pair.get(1, status)) == (NORMAL, LOCKED)
    pair.put(1, ctrl(0, "OP"), CFG)
    assert (pair.get(0, status), pair.get(1, status)) == (NORMAL, NORMAL)


def test_reset_operation_drops_what_is_staged(pair: Bench) -> None:
    lut = ctrl(0, "LUT", 1)
    configure(pair, 1, 0, {lut: (0x1003, 8)})
    pair.put(1, ctrl(0, "OP"), LOCK)
    pair.put(1, lut, 0x5003, 8)
    pair.put(1, ctrl(0, "OP"), RESET)
    assert pair.get(1, lut, 8) == 0x1003
    assert pair.get(1, ctrl(0, "STATUS")) == NORMAL


@pytest.mark.parametrize("size", [1, 2, 4, 8])
def test_windows_lead_to_the_peer(pair: Bench, size: int) -> None:
    open_windows(pair, 0, 1)
    value = 0x1122334455667788 & ONES[size]
    pair.write(pair.window(0) + 0x120, size, value)
    assert pair.read(RAM + 0x120, size) == value
    pair.write(RAM + LUT_SIZE + 0xff8, size, value)
    assert pair.read(direct(pair, 0) + 0xff8, size) == value
    # they arrive at the peer, under the first ID of its table
    assert pair.prop(1, "proxied") == {"08.0": {"arrived": 2, "refused": 0}}
    assert pair.prop(0, "proxied") == {}


def test_table_entry_is_chosen_by_requester(program: str) -> None:
    with Bench(program, [PAIR[0] + ",requester-id=0x18", PAIR[1]]) as bench:
        open_windows(bench, 0, 1)
        assert bench.get(0, REG["NTB_BASE"] + REG["NTB_REQUESTER_ID"],
                         2) == 0x18
        assert bench.read(bench.window(0), 4) == ONES[4]
        configure(bench, 0, 0, {ctrl(0, "REQ_ID", 1): (0x18 << 16 | 1, 4)})
        bench.write(bench.window(0), 4, 0x600df00d)
        assert bench.read(RAM, 4) == 0x600df00d
        assert bench.prop(1, "proxied") == {"08.1": {"arrived": 1, "refused": 0}}


def test_closed_windows_read_ones(pair: Bench) -> None:
    """Before configuration, behind the end, at a LUT or partition that is
    not there, without a requester ID, without the target's bus master."""
    lut, far = pair.window(0), direct(pair, 0)
    assert pair.read(lut, 8) == ONES[8]
    open_windows(pair, 0, 1)
    assert pair.read(lut, 4) == 0
    assert pair.read(lut + LUT_SIZE, 4) == ONES[4]
    assert pair.read(far + LUT_SIZE, 4) == ONES[4]
    configure(pair, 1, 0, {ctrl(0, "LUT", 0): (1 | 7 << 1 | RAM, 8)})
    assert pair.read(lut, 4) == ONES[4]
    open_windows(pair, 0, 1)
    pair.config_write(1, 0x04, BUS_MASTER_OFF)
    assert pair.read(lut, 4) == ONES[4]
    pair.config_write(1, 0x04, BUS_MASTER_OFF | 4)
    assert pair.read(lut, 4) == 0
    configure(pair, 0, 0, {ctrl(0, "REQ_ID"): (0, 4)})
    assert pair.read(lut, 4) == ONES[4]
    assert pair.prop(1, "proxied-arrived") == 2


def test_address_without_memory_is_refused(pair: Bench) -> None:
    open_windows(pair, 0, 1)
    configure(pair, 1, 0, {ctrl(0, "LUT", 0): (1 | 1 << 1 | 0x40000000, 8)})
    assert pair.read(pair.window(0), 4) == ONES[4]
    assert (pair.prop(1, "proxied-arrived"),
            pair.prop(1, "proxied-refused")) == (0, 1)


def test_staged_window_is_not_open(pair: Bench) -> None:
    open_windows(pair, 0, 1)
    pair.put(1, ctrl(0, "OP"), LOCK)
    pair.put(1, ctrl(0, "LUT", 0), 0, 8)
    assert pair.read(pair.window(0), 4) == 0
    pair.put(1, ctrl(0, "OP"), CFG)
    assert pair.read(pair.window(0), 4) == ONES[4]


def set_vectors(bench: Bench, endpoint: int) -> None:
    for bit in range(60):
        bench.put(endpoint, dbmsg(endpoint, "VEC_MAP", bit), DOORBELL, 1)
    for bit in range(60, 64):
        bench.put(endpoint, dbmsg(endpoint, "VEC_MAP", bit), MESSAGE, 1)


def test_doorbells(pair: Bench) -> None:
    """Interrupt when a bell rings that is not masked, and on unmask."""
    set_vectors(pair, 1)
    idb, mask = dbmsg(1, "IDB"), dbmsg(1, "IDB_MASK")
    pair.put(0, dbmsg(0, "ODB_MASK"), 0x0fffffff << 32, 8)
    pair.put(0, dbmsg(0, "ODB"), 1 << 59 | 1 << 32 | 1, 8)
    assert pair.get(1, idb, 8) == 1 << 59 | 1 << 32
    assert pair.interrupts(1) == []
    pair.put(1, mask, 1 << 32, 8)
    assert pair.interrupts(1) == [DOORBELL]
    pair.put(1, idb, 1 << 32, 8)
    assert pair.get(1, idb, 8) == 1 << 59
    assert pair.interrupts(1) == []
    pair.put(0, dbmsg(0, "ODB"), 1 << 32, 8)
    assert pair.interrupts(1) == [DOORBELL]
    assert pair.interrupts(0) == []


def test_vector_that_does_not_exist(pair: Bench) -> None:
    pair.put(1, dbmsg(1, "VEC_MAP", 32), 200, 1)
    pair.put(1, dbmsg(1, "IDB_MASK"), ONES[8], 8)
    pair.put(0, dbmsg(0, "ODB_MASK"), ONES[8], 8)
    pair.put(0, dbmsg(0, "ODB"), 1 << 32, 8)
    assert pair.get(1, dbmsg(1, "IDB"), 8) == 1 << 32
    assert pair.interrupts(1) == []


def test_messages(pair: Bench) -> None:
    """A message arrives in each slot that is mapped to its sender's."""
    set_vectors(pair, 1)
    pair.put(1, dbmsg(1, "MSG_MAP"), 0xff020001)    # 0 and 2 of partition 0
    imsg = [dbmsg(1, "IMSG", i) for i in range(4)]
    pair.put(0, dbmsg(0, "OMSG", 0), 0xcafe)
    assert [pair.get(1, i, 8) for i in imsg] == [
        0, 1 << 32 | 0xcafe, 0, 0]
    assert pair.interrupts(1) == []
    pair.put(1, imsg[1] + 5, 1, 1)                  # enabled while pending
    assert pair.interrupts(1) == [MESSAGE]
    pair.put(1, imsg[1] + 4, 1, 1)                  # acknowledged
    assert pair.get(1, imsg[1], 8) == 1 << 40 | 0xcafe
    pair.put(0, dbmsg(0, "OMSG", 0), 0xf00d)
    assert pair.interrupts(1) == [MESSAGE]
    pair.put(0, dbmsg(0, "OMSG", 3), 0xbad)
    assert pair.interrupts(1) == []


def test_other_partitions_messages_are_hidden(pair: Bench) -> None:
    pair.put(1, dbmsg(1, "IDB_MASK"), 1, 8)
    pair.put(0, dbmsg(1, "IDB_MASK"), 2, 8)
    assert pair.get(0, dbmsg(1, "IDB_MASK"), 8) == 0
    assert pair.get(1, dbmsg(1, "IDB_MASK"), 8) == 1


def test_management_request_completes(pair: Bench) -> None:
    comp = (REG["PART_CFG_BASE"] + REG["PART_CFG_MRPC_COMP"])
    pair.put(0, comp, 1 | 1 << 3)
    pair.put(0, REG["MRPC_CMD"], 0x29)
    assert pair.get(0, REG["MRPC_STATUS"]) == 0xff
    assert pair.get(0, comp) == 1 | 1 << 3
    assert pair.interrupts(0) == [0]
    pair.put(0, comp, 1 | 1 << 3)
    assert pair.get(0, comp) == 1 << 3


def test_dead(pair: Bench) -> None:
    """All ones and deaf; may change while the guest runs."""
    open_windows(pair, 0, 1)
    path = "/machine/peripheral/ntb0"
    pair.execute("qom-set", path=path, property="dead", value=True)
    assert pair.get(0, ctrl(0, "STATUS"), 4) == ONES[4]
    assert pair.get(0, REG["NTB_BASE"] + REG["NTB_EP_MAP"], 8) == ONES[8]
    assert pair.read(pair.window(0), 8) == ONES[8]
    pair.put(0, ctrl(0, "LUT", 3), 1, 8)
    pair.execute("qom-set", path=path, property="dead", value=False)
    assert pair.get(0, ctrl(0, "LUT", 3), 8) == 0
    assert pair.read(pair.window(0), 8) == 0


def test_loop_of_windows_ends(pair: Bench) -> None:
    """A window may lead to the peer's window, which leads back."""
    open_windows(pair, 0, 1)
    open_windows(pair, 1, 0)
    configure(pair, 1, 0, {ctrl(0, "LUT", 0): (1 | 1 << 1 | pair.window(1), 8)})
    configure(pair, 0, 1, {ctrl(1, "LUT", 0): (1 | 0 << 1 | pair.window(0), 8)})
    pair.read(pair.window(0), 8)
    pair.write(pair.window(0), 8, 1)
    assert pair.get(0, ctrl(0, "STATUS")) == NORMAL


def test_system_reset(pair: Bench) -> None:
    """What hosts configured goes, what the switch is stays."""
    open_windows(pair, 0, 1)
    pair.put(0, ctrl(1, "OP"), LOCK)
    pair.execute("system_reset")
    for endpoint in (0, 1):
        pair.power_on(endpoint)
    assert pair.get(0, ctrl(1, "STATUS")) == NORMAL
    assert pair.get(0, ctrl(0, "LUT", 0), 8) == 0
    assert pair.get(0, ctrl(0, "REQ_ID")) == 0x40 << 1
    assert pair.read(pair.window(0), 4) == ONES[4]


def test_three_partitions(program: str) -> None:
    """Bells go to the peer only; a window may lead to any partition."""
    with Bench(program, [*PAIR, "switch=sw,partition=2,peer=3"]) as bench:
        open_windows(bench, 0, 2)
        bench.write(bench.window(0), 4, 0x1234)
        assert bench.prop(2, "proxied-arrived") == 1
        assert bench.prop(1, "proxied-arrived") == 0
        bench.put(0, dbmsg(0, "ODB_MASK"), 1, 8)
        bench.put(0, dbmsg(0, "ODB"), 1, 8)
        assert bench.get(1, dbmsg(1, "IDB"), 8) == 1
        assert bench.get(2, dbmsg(2, "IDB"), 8) == 0


def test_two_switches_know_nothing_of_each_other(program: str) -> None:
    with Bench(program, [PAIR[0], "switch=other,partition=1"]) as bench:
        bench.put(0, dbmsg(0, "ODB_MASK"), 1, 8)
        bench.put(0, dbmsg(0, "ODB"), 1, 8)
        assert bench.get(1, dbmsg(1, "IDB"), 8) == 0


def test_endpoint_plugged_and_unplugged(program: str) -> None:
    """The peer is told; the switch keeps what it knows of the partition, but
    not a lock that nobody can release any more."""
    port = ("-device", "pcie-root-port,id=port0,addr=8,chassis=1", "-global",
            "ICH9-LPC.acpi-pci-hotplug-with-bridge-support=off")
    late = {"driver": "switchtec-ntb", "bus": "port0", "switch": "sw",
            "partition": 1}
    event = REG["PFF_BASE"] + REG["PFF_SIZE"] + REG["PFF_LINK_STATE"]
    with Bench(program, PAIR[:1], port) as bench:
        bench.put(0, event, 1 << 3)
        bench.put(0, ctrl(1, "OP"), LOCK)
        bench.execute("device_add", id="late", luts=8, **late)
        assert bench.get(0, event) >> 5 == 1
        assert bench.interrupts(0) == [0]
        bench.execute("device_del", id="late")
        assert bench.get(0, event) >> 5 == 2
        assert bench.interrupts(0) == [0]
        assert bench.get(0, ctrl(1, "LUT_ENTRIES"), 2) == 8
        assert bench.get(0, ctrl(1, "STATUS")) == LOCKED
        bench.execute("device_add", id="again", **late)
        assert bench.get(0, ctrl(1, "LUT_ENTRIES"), 2) == LUTS
