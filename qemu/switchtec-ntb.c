/*
 * Switchtec PCI Express switch: non-transparent bridge (NTB) endpoint
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * A Switchtec switch is divided into partitions. A host that owns one sees an
 * endpoint whose BAR 0 holds the registers of the whole switch and whose
 * further BARs are windows: what the host reads or writes there becomes a
 * transaction in the host of another partition. There it has a requester ID
 * made of the receiving endpoint's bus number and a devfn (the "proxy ID")
 * that the switch takes from a table. No device exists at that devfn, so an
 * IOMMU lets the transaction in only if the operating system knows the proxy
 * IDs as DMA aliases of the endpoint.
 *
 * Endpoints that name the same switch share its state and may be in one
 * machine:
 *
 *   -device switchtec-ntb,bus=rp0,switch=sw0,partition=0
 *   -device switchtec-ntb,bus=rp1,switch=sw0,partition=1
 *
 * The state belongs to the switch: it stays when an endpoint is unplugged,
 * and a partition is visible to its peer before its own endpoint appears. A
 * switch lives until QEMU ends.
 *
 * Properties:
 *   switch           name of the switch
 *   partition        partition of this endpoint, 0..47
 *   peer             partition whose windows lead here (default: partition
 *                    with its lowest bit inverted)
 *   model            gen3, gen4, gen5, gen6 or pci100x
 *   x-device-id      PCI device ID if it shall differ from the model's
 *   proxy-base,      table of the devfns under which the peer's requests enter
 *   proxies          this endpoint's bus: entry i is (proxy-base + i) mod 256
 *   luts             number of 64 KiB windows at the start of BAR 2
 *   bar2-size        by default twice what the luts need, so that the direct
 *                    window behind them is as large as they are
 *   bar4-size        a further direct window, 0 for none
 *   target-map       whether the NTB information names the peer
 *   requester-id     ID with which this host's CPUs reach the switch
 *   dead             registers and windows read all ones; may be changed
 *
 * and for reading over QMP, about accesses with which other partitions
 * entered this endpoint's bus: proxied-arrived, proxied-refused (by the IOMMU
 * or because nothing is at the address) and proxied, which has both for each
 * devfn.
 *
 * Not modelled: crosslink, DMA and answers of management requests (each
 * completes with an error), error events.
 */

#include "qemu/osdep.h"
#include "qemu/bitops.h"
#include "qemu/host-utils.h"
#include "qemu/log.h"
#include "qemu/module.h"
#include "qemu/queue.h"
#include "qemu/units.h"
#include "qapi/error.h"
#include "qapi/visitor.h"
#include "qom/object.h"
#include "exec/address-spaces.h"
#include "hw/pci/msix.h"
#include "hw/pci/pci_bus.h"
#include "hw/pci/pci_device.h"
#include "hw/pci/pcie.h"
#include "hw/qdev-properties.h"
#include "hw/virtio/virtio-iommu.h"
#include "migration/vmstate.h"
#include "system/system.h"
#include "switchtec-regs.h"

#define TYPE_SWITCHTEC_NTB "switchtec-ntb"
OBJECT_DECLARE_SIMPLE_TYPE(SwitchtecNTBState, SWITCHTEC_NTB)

#define VENDOR_MICROSEMI        0x11f8
#define VENDOR_EFAR             0x1055

#define PCIE_CAP_OFFSET         0x64
#define MSIX_CAP_OFFSET         0x50
#define MSIX_VECTORS            4
/* Linux takes the lowest other vectors for doorbells and messages */
#define VECTOR_EVENT            0

#define GAS_SIZE                (4 * MiB)
#define LUT_SHIFT               16
#define LUT_SIZE                (1 * MiB >> (20 - LUT_SHIFT))
#define WINDOW_SIZE_MAX         (1 * GiB)
/* Low bits of a translation address name the partition that it leads to */
#define XLATE_PARTITION_BITS    12

#define OP_LOCK                 1
#define OP_CFG                  2
#define OP_RESET                3
#define STATUS_NORMAL           1
#define STATUS_LOCKED           2
#define STATUS_LOCKING          3

#define BAR_CTL_VALID           BIT(0)
#define BAR_CTL_DIRECT          BIT(4)
#define BAR_CTL_LUT             BIT(5)
#define REQ_ID_ENABLE           BIT(0)
#define REQ_ID_WRITABLE         (0xffff0000u | REQ_ID_ENABLE)
#define LUT_ENABLE              BIT(0)

#define EVENT_OCCURRED          BIT(0)
#define EVENT_ENABLES           (BIT(1) | BIT(2) | BIT(3))
#define EVENT_EN_IRQ            BIT(3)
#define EVENT_COUNT_SHIFT       5
#define EVENT_COUNT_BITS        8

#define MRPC_STATUS_ERROR       0xff
#define MRPC_UNSUPPORTED        1

#define LINK_GEN4_X4            (((4 << 4) | 4) << 16)

/* Register blocks are kept as the words that the host sees */
#define CTRL_WORDS              (SWITCHTEC_CTRL_SIZE / 4)
typedef uint32_t SwitchtecCtrl[CTRL_WORDS];

typedef struct SwitchtecMessage {
    uint32_t msg;
    uint8_t status;
    uint8_t enable;
    uint8_t src;
} SwitchtecMessage;

typedef struct SwitchtecPartition {
    bool present;               /* NT partition of this switch */
    bool has_proxies;           /* an endpoint said what its peer's table is */
    SwitchtecNTBState *ep;      /* NULL while no endpoint is plugged */
    uint64_t target;            /* bit of the paired partition, or 0 */
    uint32_t luts;
    uint32_t window_bars;       /* bit n: BAR n is a window */
    uint32_t proxies;
    uint8_t proxy_base;

    /*
     * Windows and requester IDs are written to @staged and take effect as a
     * whole. Both hosts configure both partitions, so each waits for the lock.
     */
    SwitchtecCtrl staged;
    SwitchtecCtrl active;
    int lock_holder;            /* partition, or -1 */
    uint64_t lock_waiters;

    uint64_t odb_mask;
    uint64_t idb;
    uint64_t idb_mask;
    uint8_t vec_map[SWITCHTEC_DBMSG_VECS];
    uint32_t msg_map;
    SwitchtecMessage imsg[SWITCHTEC_DBMSG_MSGS];

    uint32_t mrpc_comp;
    uint32_t link_state;
} SwitchtecPartition;

typedef struct SwitchtecSwitch {
    char *name;
    SwitchtecPartition part[SWITCHTEC_PARTITIONS];
    QLIST_ENTRY(SwitchtecSwitch) next;
} SwitchtecSwitch;

static QLIST_HEAD(, SwitchtecSwitch) switchtec_switches =
    QLIST_HEAD_INITIALIZER(switchtec_switches);

typedef struct SwitchtecWindow {
    MemoryRegion mr;
    SwitchtecNTBState *ntb;
    unsigned bar;
} SwitchtecWindow;

struct SwitchtecNTBState {
    PCIDevice parent_obj;

    MemoryRegion gas;
    SwitchtecWindow window[2];
    SwitchtecSwitch *sw;
    Notifier machine_done;
    bool gen3;
    uint16_t device_id;
    uint32_t mrpc_cmd;
    uint32_t mrpc_status;
    uint32_t mrpc_ret;
    uint8_t sys_info[SWITCHTEC_SYS_INFO_SIZE];

    /* By devfn, of requests that came from other partitions */
    uint64_t arrived[PCI_DEVFN_MAX];
    uint64_t refused[PCI_DEVFN_MAX];

    char *switch_name;
    char *model;
    uint32_t partition;
    int32_t peer;
    uint16_t x_device_id;
    uint32_t proxy_base;
    uint32_t proxies;
    uint32_t luts;
    uint64_t bar2_size;
    uint64_t bar4_size;
    uint16_t requester_id;
    bool target_map;
    bool dead;
};

static const struct {
    const char *name;
    uint16_t vendor_id;
    uint16_t device_id;
} switchtec_models[] = {
    { "gen3", VENDOR_MICROSEMI, 0x8531 },
    { "gen4", VENDOR_MICROSEMI, 0x4000 },
    { "gen5", VENDOR_MICROSEMI, 0x5000 },
    { "gen6", VENDOR_MICROSEMI, 0x6048 },
    { "pci100x", VENDOR_EFAR, 0x1001 },
};

static SwitchtecPartition *switchtec_self(SwitchtecNTBState *s)
{
    return &s->sw->part[s->partition];
}

static void switchtec_notify(SwitchtecNTBState *s, unsigned vector)
{
    /* The guest chooses the vector */
    if (vector < MSIX_VECTORS) {
        msix_notify(PCI_DEVICE(s), vector);
    }
}

static uint32_t switchtec_merge(uint32_t old, uint32_t val, uint32_t mask)
{
    return (old & ~mask) | (val & mask);
}

static uint64_t switchtec_merge_half(uint64_t old, bool high, uint32_t val,
                                     uint32_t mask)
{
    unsigned shift = high ? 32 : 0;

    return (old & ~((uint64_t)mask << shift)) |
           ((uint64_t)(val & mask) << shift);
}

static uint64_t switchtec_ep_map(SwitchtecSwitch *sw)
{
    uint64_t map = 0;
    int p;

    for (p = 0; p < SWITCHTEC_PARTITIONS; p++) {
        if (sw->part[p].present) {
            map |= BIT_ULL(p);
        }
    }
    return map;
}

/* Requests that enter another host */

static AddressSpace *switchtec_proxy_as(SwitchtecNTBState *s, uint8_t devfn)
{
    PCIBus *bus = pci_get_bus(PCI_DEVICE(s));
    PCIBus *iommu_bus = bus;

    while (!iommu_bus->iommu_ops && iommu_bus->parent_dev) {
        iommu_bus = pci_get_bus(iommu_bus->parent_dev);
    }
    if (!iommu_bus->iommu_ops || pci_bus_bypass_iommu(bus)) {
        return &address_space_memory;
    }
    return iommu_bus->iommu_ops->get_address_space(bus,
                                                   iommu_bus->iommu_opaque,
                                                   devfn);
}

/* The devfn for a request of this host's CPUs, or -1 if none is enabled */
static int switchtec_find_proxy(SwitchtecNTBState *s)
{
    SwitchtecPartition *part = switchtec_self(s);
    uint32_t *table = &part->active[SWITCHTEC_CTRL_REQ_ID / 4];
    uint32_t i;

    for (i = 0; i < part->proxies; i++) {
        if ((table[i] & REQ_ID_ENABLE) &&
            extract32(table[i], 16, 16) == s->requester_id) {
            return extract32(table[i], 1, 8);
        }
    }
    return -1;
}

static bool switchtec_proxied_rw(SwitchtecNTBState *s, unsigned target,
                                 uint64_t addr, void *buf, unsigned size,
                                 bool is_write)
{
    SwitchtecNTBState *peer;
    MemTxAttrs attrs = { };
    MemTxResult result;
    PCIDevice *pdev;
    int devfn;

    if (target >= SWITCHTEC_PARTITIONS) {
        return false;
    }
    peer = s->sw->part[target].ep;
    devfn = switchtec_find_proxy(s);
    if (!peer || peer->dead || devfn < 0) {
        return false;
    }
    pdev = PCI_DEVICE(peer);
    if (!(pci_get_word(pdev->config + PCI_COMMAND) & PCI_COMMAND_MASTER)) {
        return false;
    }

    attrs.requester_id = PCI_BUILD_BDF(pci_dev_bus_num(pdev), devfn);
    result = address_space_rw(switchtec_proxy_as(peer, devfn), addr, attrs,
                              buf, size, is_write);
    if (result != MEMTX_OK) {
        peer->refused[devfn]++;
        return false;
    }
    peer->arrived[devfn]++;
    return true;
}

/* Windows */

static uint64_t switchtec_low_bits(unsigned bits)
{
    return bits ? MAKE_64BIT_MASK(0, bits) : 0;
}

static bool switchtec_translate(SwitchtecWindow *w, uint64_t offset,
                                unsigned *target, uint64_t *addr)
{
    SwitchtecPartition *part = switchtec_self(w->ntb);
    uint32_t *bar = &part->active[(SWITCHTEC_CTRL_BAR +
                                   w->bar * SWITCHTEC_CTRL_BAR_SIZE) / 4];
    uint32_t *ext = &part->active[(SWITCHTEC_CTRL_BAR_EXT +
                                   w->bar * SWITCHTEC_CTRL_BAR_EXT_SIZE) / 4];
    uint32_t *lut = &part->active[SWITCHTEC_CTRL_LUT / 4];
    uint64_t base, in_page;
    uint32_t ctl = bar[0];

    if (ctl & BAR_CTL_LUT) {
        unsigned shift = extract32(ctl, 8, 6);
        uint64_t entries = extract32(ctl, 14, 18) + 1;

        if (shift != LUT_SHIFT) {
            return false;
        }
        if (offset < entries << shift) {
            uint64_t i = offset >> shift;

            if (i >= part->luts || !(lut[2 * i] & LUT_ENABLE)) {
                return false;
            }
            base = lut[2 * i] | (uint64_t)lut[2 * i + 1] << 32;
            in_page = switchtec_low_bits(shift);
            *target = extract64(base, 1, XLATE_PARTITION_BITS - 1);
            *addr = (base & ~in_page) | (offset & in_page);
            return true;
        }
        offset -= entries << shift;
    }

    if (!(ctl & BAR_CTL_DIRECT) ||
        offset >= ((bar[1] & ~0xfffu) | (uint64_t)ext[0] << 32)) {
        return false;
    }
    base = bar[2] | (uint64_t)bar[3] << 32;
    in_page = switchtec_low_bits(extract32(bar[1], 0, 6));
    *target = extract64(base, 0, XLATE_PARTITION_BITS);
    base &= ~(switchtec_low_bits(XLATE_PARTITION_BITS) | in_page);
    *addr = base | (offset & in_page);
    return true;
}

/*
 * A failed access is all ones or lost, but not an error for the CPU: a real
 * switch completes it as an unsupported request.
 */
static uint64_t switchtec_window_read(void *opaque, hwaddr offset,
                                      unsigned size)
{
    SwitchtecWindow *w = opaque;
    uint8_t buf[8];
    unsigned target;
    uint64_t addr;

    if (w->ntb->dead ||
        !switchtec_translate(w, offset, &target, &addr) ||
        !switchtec_proxied_rw(w->ntb, target, addr, buf, size, false)) {
        return UINT64_MAX;
    }
    return ldn_le_p(buf, size);
}

static void switchtec_window_write(void *opaque, hwaddr offset, uint64_t val,
                                   unsigned size)
{
    SwitchtecWindow *w = opaque;
    uint8_t buf[8];
    unsigned target;
    uint64_t addr;

    if (!w->ntb->dead && switchtec_translate(w, offset, &target, &addr)) {
        stn_le_p(buf, size, val);
        switchtec_proxied_rw(w->ntb, target, addr, buf, size, true);
    }
}

static const MemoryRegionOps switchtec_window_ops = {
    .read = switchtec_window_read,
    .write = switchtec_window_write,
    .endianness = DEVICE_LITTLE_ENDIAN,
    .valid = { .min_access_size = 1, .max_access_size = 8 },
    .impl = { .min_access_size = 1, .max_access_size = 8 },
};

/* NTB control: configuration of a partition's windows and requester IDs */

static uint32_t switchtec_ctrl_writable(SwitchtecPartition *part, hwaddr reg)
{
    if (reg >= SWITCHTEC_CTRL_LUT) {
        return (reg - SWITCHTEC_CTRL_LUT) / 8 < part->luts ? UINT32_MAX : 0;
    }
    if (reg >= SWITCHTEC_CTRL_REQ_ID) {
        return (reg - SWITCHTEC_CTRL_REQ_ID) / 4 < part->proxies ?
               REQ_ID_WRITABLE : 0;
    }
    if (reg >= SWITCHTEC_CTRL_BAR_EXT) {
        reg -= SWITCHTEC_CTRL_BAR_EXT;
        return reg / SWITCHTEC_CTRL_BAR_EXT_SIZE < SWITCHTEC_CTRL_BARS &&
               reg % SWITCHTEC_CTRL_BAR_EXT_SIZE == 0 ? UINT32_MAX : 0;
    }
    if (reg >= SWITCHTEC_CTRL_BAR) {
        return (reg - SWITCHTEC_CTRL_BAR) % SWITCHTEC_CTRL_BAR_SIZE == 0 ?
               ~BAR_CTL_VALID : UINT32_MAX;
    }
    return 0;
}

/* What the switch itself says in a control block; the rest is kept */
static void switchtec_ctrl_describe(SwitchtecPartition *part, uint32_t *ctrl)
{
    uint32_t i;

    ctrl[SWITCHTEC_CTRL_LUT_ENTRIES / 4] = part->luts;
    ctrl[SWITCHTEC_CTRL_REQ_ID_SIZE / 4] = part->proxies;
    for (i = 0; i < SWITCHTEC_CTRL_BARS; i++) {
        uint32_t *ctl = &ctrl[(SWITCHTEC_CTRL_BAR +
                               i * SWITCHTEC_CTRL_BAR_SIZE) / 4];

        *ctl = deposit32(*ctl, 0, 1, extract32(part->window_bars, i, 1));
    }
    for (i = 0; i < SWITCHTEC_CTRL_REQ_IDS; i++) {
        uint32_t *entry = &ctrl[SWITCHTEC_CTRL_REQ_ID / 4 + i];
        uint8_t devfn = part->proxy_base + i;

        *entry = i < part->proxies ? deposit32(*entry, 1, 8, devfn) : 0;
    }
}

static void switchtec_partition_describe(SwitchtecPartition *part)
{
    switchtec_ctrl_describe(part, part->staged);
    switchtec_ctrl_describe(part, part->active);
}

static void switchtec_unlock(SwitchtecPartition *part, int who)
{
    part->lock_waiters &= ~BIT_ULL(who);
    if (part->lock_holder == who) {
        part->lock_holder = -1;
        if (part->lock_waiters) {
            part->lock_holder = ctz64(part->lock_waiters);
            part->lock_waiters &= part->lock_waiters - 1;
        }
    }
}

static void switchtec_partition_op(SwitchtecPartition *part, int who,
                                   uint32_t op)
{
    bool free = part->lock_holder == who || part->lock_holder < 0;

    switch (op) {
    case OP_LOCK:
        if (free) {
            part->lock_holder = who;
        } else {
            part->lock_waiters |= BIT_ULL(who);
        }
        break;
    case OP_CFG:
        if (free) {
            memcpy(part->active, part->staged, sizeof(part->active));
        }
        switchtec_unlock(part, who);
        break;
    case OP_RESET:
        if (free) {
            memcpy(part->staged, part->active, sizeof(part->staged));
        }
        switchtec_unlock(part, who);
        break;
    default:
        qemu_log_mask(LOG_GUEST_ERROR, "switchtec-ntb: partition operation "
                      "0x%" PRIx32 " is unknown\n", op);
    }
}

static uint32_t switchtec_partition_status(SwitchtecPartition *part, int who)
{
    if (part->lock_holder == who) {
        return STATUS_LOCKED;
    }
    return part->lock_waiters & BIT_ULL(who) ? STATUS_LOCKING : STATUS_NORMAL;
}

static uint32_t switchtec_ctrl_read(SwitchtecNTBState *s, hwaddr addr)
{
    SwitchtecPartition *part = &s->sw->part[addr / SWITCHTEC_CTRL_SIZE];
    hwaddr reg = addr % SWITCHTEC_CTRL_SIZE;

    if (!part->present) {
        return 0;
    }
    if (reg == SWITCHTEC_CTRL_STATUS) {
        return switchtec_partition_status(part, s->partition);
    }
    return part->staged[reg / 4];
}

static void switchtec_ctrl_write(SwitchtecNTBState *s, hwaddr addr,
                                 uint32_t val, uint32_t mask)
{
    SwitchtecPartition *part = &s->sw->part[addr / SWITCHTEC_CTRL_SIZE];
    hwaddr reg = addr % SWITCHTEC_CTRL_SIZE;
    uint32_t *word = &part->staged[reg / 4];

    if (!part->present) {
        return;
    }
    if (reg == SWITCHTEC_CTRL_OP) {
        switchtec_partition_op(part, s->partition, val & mask);
        return;
    }
    *word = switchtec_merge(*word, val,
                            mask & switchtec_ctrl_writable(part, reg));
}

/* Doorbells and messages */

/* Interrupts for the doorbells in @bells, one for each vector in use */
static void switchtec_notify_bells(SwitchtecPartition *part, uint64_t bells)
{
    uint32_t vectors = 0;
    unsigned i;

    for (; bells; bells &= bells - 1) {
        uint8_t vector = part->vec_map[ctz64(bells)];

        if (vector < MSIX_VECTORS) {
            vectors |= BIT(vector);
        }
    }
    for (i = 0; part->ep && i < MSIX_VECTORS; i++) {
        if (vectors & BIT(i)) {
            switchtec_notify(part->ep, i);
        }
    }
}

static void switchtec_notify_message(SwitchtecPartition *part, unsigned i)
{
    unsigned first = SWITCHTEC_DBMSG_VECS - SWITCHTEC_DBMSG_MSGS;

    if (part->ep && part->imsg[i].status && part->imsg[i].enable) {
        switchtec_notify(part->ep, part->vec_map[first + i]);
    }
}

static void switchtec_ring(SwitchtecPartition *part, uint64_t bells)
{
    uint64_t pending = part->idb & part->idb_mask;

    part->idb |= bells;
    switchtec_notify_bells(part, part->idb & part->idb_mask & ~pending);
}

static void switchtec_send(SwitchtecNTBState *s, unsigned index, uint32_t msg)
{
    uint8_t from = index | s->partition << 2;
    unsigned p, i;

    for (p = 0; p < SWITCHTEC_PARTITIONS; p++) {
        SwitchtecPartition *part = &s->sw->part[p];

        if (!part->present || p == s->partition) {
            continue;
        }
        for (i = 0; i < SWITCHTEC_DBMSG_MSGS; i++) {
            if (extract32(part->msg_map, i * 8, 8) == from) {
                part->imsg[i].msg = msg;
                part->imsg[i].status = 1;
                part->imsg[i].src = s->partition;
                switchtec_notify_message(part, i);
            }
        }
    }
}

static uint32_t switchtec_dbmsg_read(SwitchtecNTBState *s, hwaddr addr)
{
    SwitchtecPartition *part = switchtec_self(s);
    hwaddr reg = addr % SWITCHTEC_DBMSG_SIZE;
    bool high = reg & 4;

    if (addr / SWITCHTEC_DBMSG_SIZE != s->partition) {
        return 0;
    }
    if (reg >= SWITCHTEC_DBMSG_VEC_MAP &&
        reg < SWITCHTEC_DBMSG_VEC_MAP + SWITCHTEC_DBMSG_VECS) {
        return ldl_le_p(&part->vec_map[reg - SWITCHTEC_DBMSG_VEC_MAP]);
    }
    if (reg >= SWITCHTEC_DBMSG_IMSG &&
        reg < SWITCHTEC_DBMSG_IMSG +
              SWITCHTEC_DBMSG_MSGS * SWITCHTEC_DBMSG_IMSG_SIZE) {
        SwitchtecMessage *m = &part->imsg[(reg - SWITCHTEC_DBMSG_IMSG) /
                                          SWITCHTEC_DBMSG_IMSG_SIZE];

        return high ? m->status | m->enable << 8 | m->src << 16 : m->msg;
    }
    switch (reg & ~4) {
    case SWITCHTEC_DBMSG_ODB_MASK:
        return extract64(part->odb_mask, high ? 32 : 0, 32);
    case SWITCHTEC_DBMSG_IDB:
        return extract64(part->idb, high ? 32 : 0, 32);
    case SWITCHTEC_DBMSG_IDB_MASK:
        return extract64(part->idb_mask, high ? 32 : 0, 32);
    case SWITCHTEC_DBMSG_MSG_MAP:
        return high ? 0 : part->msg_map;
    default:
        return 0;
    }
}

static void switchtec_dbmsg_write(SwitchtecNTBState *s, hwaddr addr,
                                  uint32_t val, uint32_t mask)
{
    SwitchtecPartition *part = switchtec_self(s);
    hwaddr reg = addr % SWITCHTEC_DBMSG_SIZE;
    bool high = reg & 4;
    uint64_t bits = switchtec_merge_half(0, high, val, mask);
    uint64_t pending;

    if (addr / SWITCHTEC_DBMSG_SIZE != s->partition) {
        return;
    }
    if (reg >= SWITCHTEC_DBMSG_VEC_MAP &&
        reg < SWITCHTEC_DBMSG_VEC_MAP + SWITCHTEC_DBMSG_VECS) {
        uint8_t *vecs = &part->vec_map[reg - SWITCHTEC_DBMSG_VEC_MAP];

        stl_le_p(vecs, switchtec_merge(ldl_le_p(vecs), val, mask));
        return;
    }
    if (reg >= SWITCHTEC_DBMSG_OMSG && reg < SWITCHTEC_DBMSG_IMSG) {
        /* A message's word is followed by one for its status */
        if ((reg - SWITCHTEC_DBMSG_OMSG) % 8 == 0) {
            switchtec_send(s, (reg - SWITCHTEC_DBMSG_OMSG) / 8, val & mask);
        }
        return;
    }
    if (reg >= SWITCHTEC_DBMSG_IMSG &&
        reg < SWITCHTEC_DBMSG_IMSG +
              SWITCHTEC_DBMSG_MSGS * SWITCHTEC_DBMSG_IMSG_SIZE) {
        unsigned i = (reg - SWITCHTEC_DBMSG_IMSG) / SWITCHTEC_DBMSG_IMSG_SIZE;
        SwitchtecMessage *m = &part->imsg[i];

        if (high) {
            m->status &= ~(val & mask);
            if (mask & 0xff00) {
                m->enable = extract32(val, 8, 1);
                switchtec_notify_message(part, i);
            }
        }
        return;
    }
    switch (reg & ~4) {
    case SWITCHTEC_DBMSG_ODB:
        switchtec_ring(&s->sw->part[s->peer], bits & part->odb_mask);
        break;
    case SWITCHTEC_DBMSG_ODB_MASK:
        part->odb_mask = switchtec_merge_half(part->odb_mask, high, val, mask);
        break;
    case SWITCHTEC_DBMSG_IDB:
        part->idb &= ~bits;
        break;
    case SWITCHTEC_DBMSG_IDB_MASK:
        pending = part->idb & part->idb_mask;
        part->idb_mask = switchtec_merge_half(part->idb_mask, high, val, mask);
        switchtec_notify_bells(part, part->idb & part->idb_mask & ~pending);
        break;
    case SWITCHTEC_DBMSG_MSG_MAP:
        if (!high) {
            part->msg_map = switchtec_merge(part->msg_map, val, mask);
        }
        break;
    }
}

/* Events */

static uint32_t switchtec_event_write(uint32_t event, uint32_t val,
                                      uint32_t mask)
{
    event = switchtec_merge(event, val, mask & EVENT_ENABLES);
    return event & ~(val & mask & EVENT_OCCURRED);
}

/* Tell the other hosts that the endpoint of @partition came or went */
static void switchtec_link_event(SwitchtecSwitch *sw, unsigned partition)
{
    SwitchtecPartition *part = &sw->part[partition];
    unsigned p;

    part->link_state |= EVENT_OCCURRED;
    part->link_state = deposit32(part->link_state, EVENT_COUNT_SHIFT,
                                 EVENT_COUNT_BITS,
                                 (part->link_state >> EVENT_COUNT_SHIFT) + 1);
    if (!(part->link_state & EVENT_EN_IRQ)) {
        return;
    }
    for (p = 0; p < SWITCHTEC_PARTITIONS; p++) {
        if (p != partition && sw->part[p].ep) {
            switchtec_notify(sw->part[p].ep, VECTOR_EVENT);
        }
    }
}

/* Management requests: accepted and answered with an error */
static void switchtec_mrpc_submit(SwitchtecNTBState *s, uint32_t cmd)
{
    SwitchtecPartition *part = switchtec_self(s);

    s->mrpc_cmd = cmd;
    s->mrpc_status = MRPC_STATUS_ERROR;
    s->mrpc_ret = MRPC_UNSUPPORTED;
    part->mrpc_comp |= EVENT_OCCURRED;
    if (part->mrpc_comp & EVENT_EN_IRQ) {
        switchtec_notify(s, VECTOR_EVENT);
    }
}

/* BAR 0, a word at a time */

static uint32_t switchtec_part_cfg_read(SwitchtecNTBState *s, hwaddr addr)
{
    unsigned partition = addr / SWITCHTEC_PART_CFG_SIZE;
    hwaddr reg = addr % SWITCHTEC_PART_CFG_SIZE;

    if (reg == SWITCHTEC_PART_CFG_VEP_PFF) {
        return partition;
    }
    if (reg == SWITCHTEC_PART_CFG_USP_PFF ||
        (reg >= SWITCHTEC_PART_CFG_DSP_PFF &&
         reg < SWITCHTEC_PART_CFG_DSP_PFF + 4 * SWITCHTEC_PART_CFG_DSP_PFFS)) {
        return UINT32_MAX;
    }
    if (reg == SWITCHTEC_PART_CFG_MRPC_COMP && partition == s->partition) {
        return switchtec_self(s)->mrpc_comp;
    }
    return 0;
}

static uint32_t switchtec_ntb_info_read(SwitchtecNTBState *s, hwaddr reg)
{
    uint64_t map = switchtec_ep_map(s->sw);
    hwaddr info = reg - SWITCHTEC_NTB_PART_INFO;

    switch (reg) {
    case SWITCHTEC_NTB_PARTITION_COUNT:
        return ctpop64(map) |
               s->partition << (8 * SWITCHTEC_NTB_PARTITION_ID);
    case SWITCHTEC_NTB_EP_MAP:
        return extract64(map, 0, 32);
    case SWITCHTEC_NTB_EP_MAP + 4:
        return extract64(map, 32, 32);
    case SWITCHTEC_NTB_REQUESTER_ID:
        return s->requester_id;
    }
    if (reg >= SWITCHTEC_NTB_PART_INFO &&
        info / SWITCHTEC_NTB_PART_INFO_SIZE < SWITCHTEC_PARTITIONS) {
        SwitchtecPartition *part =
            &s->sw->part[info / SWITCHTEC_NTB_PART_INFO_SIZE];

        switch (SWITCHTEC_NTB_PART_INFO + info % SWITCHTEC_NTB_PART_INFO_SIZE) {
        case SWITCHTEC_NTB_TARGET_LOW:
            return extract64(part->target, 0, 32);
        case SWITCHTEC_NTB_TARGET_HIGH:
            return extract64(part->target, 32, 32);
        }
    }
    return 0;
}

static uint32_t switchtec_pff_read(SwitchtecNTBState *s, hwaddr addr)
{
    switch (addr % SWITCHTEC_PFF_SIZE) {
    case SWITCHTEC_PFF_VENDOR:
        return VENDOR_MICROSEMI;
    case SWITCHTEC_PFF_LINK_STATUS:
        return LINK_GEN4_X4;
    case SWITCHTEC_PFF_LINK_STATE:
        return s->sw->part[addr / SWITCHTEC_PFF_SIZE].link_state;
    default:
        return 0;
    }
}

static bool switchtec_in(hwaddr addr, hwaddr base, hwaddr size)
{
    return addr >= base && addr - base < size;
}

static uint32_t switchtec_read_word(SwitchtecNTBState *s, hwaddr addr)
{
    if (switchtec_in(addr, SWITCHTEC_SYS_INFO_BASE, SWITCHTEC_SYS_INFO_SIZE)) {
        return ldl_le_p(&s->sys_info[addr - SWITCHTEC_SYS_INFO_BASE]);
    }
    if (switchtec_in(addr, SWITCHTEC_PART_CFG_BASE,
                     SWITCHTEC_PARTITIONS * SWITCHTEC_PART_CFG_SIZE)) {
        return switchtec_part_cfg_read(s, addr - SWITCHTEC_PART_CFG_BASE);
    }
    if (switchtec_in(addr, SWITCHTEC_CTRL_BASE,
                     SWITCHTEC_PARTITIONS * SWITCHTEC_CTRL_SIZE)) {
        return switchtec_ctrl_read(s, addr - SWITCHTEC_CTRL_BASE);
    }
    if (switchtec_in(addr, SWITCHTEC_NTB_BASE,
                     SWITCHTEC_CTRL_BASE - SWITCHTEC_NTB_BASE)) {
        return switchtec_ntb_info_read(s, addr - SWITCHTEC_NTB_BASE);
    }
    if (switchtec_in(addr, SWITCHTEC_DBMSG_BASE,
                     SWITCHTEC_PARTITIONS * SWITCHTEC_DBMSG_SIZE)) {
        return switchtec_dbmsg_read(s, addr - SWITCHTEC_DBMSG_BASE);
    }
    /* One port a partition: its endpoint's */
    if (switchtec_in(addr, SWITCHTEC_PFF_BASE,
                     SWITCHTEC_PARTITIONS * SWITCHTEC_PFF_SIZE)) {
        return switchtec_pff_read(s, addr - SWITCHTEC_PFF_BASE);
    }
    switch (addr) {
    case SWITCHTEC_MRPC_CMD:
        return s->mrpc_cmd;
    case SWITCHTEC_MRPC_STATUS:
        return s->mrpc_status;
    case SWITCHTEC_MRPC_RET_VALUE:
        return s->mrpc_ret;
    default:
        return 0;
    }
}

static void switchtec_write_word(SwitchtecNTBState *s, hwaddr addr,
                                 uint32_t val, uint32_t mask)
{
    uint32_t *event = NULL;

    if (switchtec_in(addr, SWITCHTEC_CTRL_BASE,
                     SWITCHTEC_PARTITIONS * SWITCHTEC_CTRL_SIZE)) {
        switchtec_ctrl_write(s, addr - SWITCHTEC_CTRL_BASE, val, mask);
    } else if (switchtec_in(addr, SWITCHTEC_DBMSG_BASE,
                            SWITCHTEC_PARTITIONS * SWITCHTEC_DBMSG_SIZE)) {
        switchtec_dbmsg_write(s, addr - SWITCHTEC_DBMSG_BASE, val, mask);
    } else if (addr == SWITCHTEC_MRPC_CMD) {
        switchtec_mrpc_submit(s, val & mask);
    } else if (addr == SWITCHTEC_PART_CFG_BASE +
                       s->partition * SWITCHTEC_PART_CFG_SIZE +
                       SWITCHTEC_PART_CFG_MRPC_COMP) {
        event = &switchtec_self(s)->mrpc_comp;
    } else if (switchtec_in(addr, SWITCHTEC_PFF_BASE,
                            SWITCHTEC_PARTITIONS * SWITCHTEC_PFF_SIZE) &&
               (addr - SWITCHTEC_PFF_BASE) % SWITCHTEC_PFF_SIZE ==
               SWITCHTEC_PFF_LINK_STATE) {
        event = &s->sw->part[(addr - SWITCHTEC_PFF_BASE) /
                             SWITCHTEC_PFF_SIZE].link_state;
    }
    if (event) {
        *event = switchtec_event_write(*event, val, mask);
    }
}

/* How far the word at @word is to be shifted to its place in an access */
static int switchtec_word_shift(hwaddr word, hwaddr addr)
{
    return word < addr ? -8 * (int)(addr - word) : 8 * (int)(word - addr);
}

static uint64_t switchtec_gas_read(void *opaque, hwaddr addr, unsigned size)
{
    SwitchtecNTBState *s = opaque;
    uint64_t val = 0;
    hwaddr word;

    if (s->dead) {
        return UINT64_MAX;
    }
    for (word = addr & ~3ull; word < addr + size; word += 4) {
        uint64_t data = switchtec_read_word(s, word);
        int shift = switchtec_word_shift(word, addr);

        val |= shift < 0 ? data >> -shift : data << shift;
    }
    return val;
}

static void switchtec_gas_write(void *opaque, hwaddr addr, uint64_t val,
                                unsigned size)
{
    SwitchtecNTBState *s = opaque;
    uint64_t mask = MAKE_64BIT_MASK(0, size * 8);
    hwaddr word;

    if (s->dead) {
        return;
    }
    for (word = addr & ~3ull; word < addr + size; word += 4) {
        int shift = switchtec_word_shift(word, addr);

        if (shift < 0) {
            switchtec_write_word(s, word, val << -shift, mask << -shift);
        } else {
            switchtec_write_word(s, word, val >> shift, mask >> shift);
        }
    }
}

static const MemoryRegionOps switchtec_gas_ops = {
    .read = switchtec_gas_read,
    .write = switchtec_gas_write,
    .endianness = DEVICE_LITTLE_ENDIAN,
    .valid = { .min_access_size = 1, .max_access_size = 8 },
    .impl = { .min_access_size = 1, .max_access_size = 8 },
};

/* Device */

/*
 * virtio-iommu knows an endpoint from the moment at which its address space
 * is asked for, and refuses to attach one that it does not know. Nothing else
 * asks for those of the proxy IDs before the first request, which comes too
 * late. Bridges and IOMMU are complete when the machine is. Other IOMMUs do
 * without, and hundreds of address spaces make every change of the memory map
 * slow.
 */
static void switchtec_machine_done(Notifier *notifier, void *data)
{
    SwitchtecNTBState *s = container_of(notifier, SwitchtecNTBState,
                                        machine_done);
    uint32_t i;

    if (!object_resolve_path_type("", TYPE_VIRTIO_IOMMU, NULL)) {
        return;
    }
    memory_region_transaction_begin();
    for (i = 0; i < MIN(s->proxies, PCI_DEVFN_MAX); i++) {
        switchtec_proxy_as(s, s->proxy_base + i);
    }
    memory_region_transaction_commit();
}

static SwitchtecSwitch *switchtec_switch_get(const char *name)
{
    SwitchtecSwitch *sw;
    int p;

    QLIST_FOREACH(sw, &switchtec_switches, next) {
        if (!strcmp(sw->name, name)) {
            return sw;
        }
    }
    sw = g_new0(SwitchtecSwitch, 1);
    sw->name = g_strdup(name);
    for (p = 0; p < SWITCHTEC_PARTITIONS; p++) {
        sw->part[p].lock_holder = -1;
    }
    QLIST_INSERT_HEAD(&switchtec_switches, sw, next);
    return sw;
}

/* A partition of which only the peer's endpoint is known looks like that */
static void switchtec_join(SwitchtecNTBState *s)
{
    SwitchtecPartition *self = switchtec_self(s);
    SwitchtecPartition *peer = &s->sw->part[s->peer];

    self->ep = s;
    self->present = true;
    self->target = s->target_map ? BIT_ULL(s->peer) : 0;
    self->luts = s->luts;
    self->window_bars = BIT(2) | (s->bar4_size ? BIT(4) : 0);
    if (!self->has_proxies) {
        self->proxies = s->proxies;
        self->proxy_base = s->proxy_base;
    }

    /* The table that holds the IDs seen here is that of the requests' source */
    peer->has_proxies = true;
    peer->proxies = s->proxies;
    peer->proxy_base = s->proxy_base;
    if (!peer->present) {
        peer->present = true;
        peer->luts = self->luts;
        peer->window_bars = self->window_bars;
    }
    switchtec_partition_describe(self);
    switchtec_partition_describe(peer);
    switchtec_link_event(s->sw, s->partition);
}

static void switchtec_leave(SwitchtecNTBState *s)
{
    int p;

    switchtec_self(s)->ep = NULL;
    for (p = 0; p < SWITCHTEC_PARTITIONS; p++) {
        switchtec_unlock(&s->sw->part[p], s->partition);
    }
    switchtec_link_event(s->sw, s->partition);
}

static void switchtec_sys_info(SwitchtecNTBState *s)
{
    stl_le_p(&s->sys_info[SWITCHTEC_SYS_DEVICE_ID], s->device_id);
    s->sys_info[s->gen3 ? SWITCHTEC_SYS_GEN3_PARTITION :
                          SWITCHTEC_SYS_GEN4_PARTITION] = s->partition;
    memcpy(&s->sys_info[s->gen3 ? SWITCHTEC_SYS_GEN3_VENDOR :
                                  SWITCHTEC_SYS_GEN4_VENDOR],
           "QEMU    ", 8);
    memcpy(&s->sys_info[s->gen3 ? SWITCHTEC_SYS_GEN3_PRODUCT :
                                  SWITCHTEC_SYS_GEN4_PRODUCT],
           "SWITCHTEC NTB   ", 16);
}

static bool switchtec_check_windows(SwitchtecNTBState *s, Error **errp)
{
    uint64_t lut_area;

    if (s->luts < 1 || s->luts > SWITCHTEC_CTRL_LUTS) {
        error_setg(errp, "luts=%" PRIu32 ": a partition has 1 to %d of them",
                   s->luts, SWITCHTEC_CTRL_LUTS);
        return false;
    }
    lut_area = pow2floor(s->luts) * LUT_SIZE;
    if (!s->bar2_size) {
        s->bar2_size = 2 * lut_area;
    }
    if (!is_power_of_2(s->bar2_size) || s->bar2_size <= lut_area ||
        s->bar2_size > WINDOW_SIZE_MAX) {
        error_setg(errp, "bar2-size=0x%" PRIx64 ": use a power of two above "
                   "0x%" PRIx64 ", which the luts take, and at most 0x%"
                   PRIx64, s->bar2_size, lut_area, (uint64_t)WINDOW_SIZE_MAX);
        return false;
    }
    if (s->bar4_size && (!is_power_of_2(s->bar4_size) ||
                         s->bar4_size < 4 * KiB ||
                         s->bar4_size > WINDOW_SIZE_MAX)) {
        error_setg(errp, "bar4-size=0x%" PRIx64 ": use 0 for none or a power "
                   "of two from 0x%x to 0x%" PRIx64, s->bar4_size,
                   (unsigned)(4 * KiB), (uint64_t)WINDOW_SIZE_MAX);
        return false;
    }
    return true;
}

static bool switchtec_check_partitions(SwitchtecNTBState *s, Error **errp)
{
    SwitchtecSwitch *sw;
    int p;

    if (!s->switch_name || !*s->switch_name) {
        error_setg(errp, "switch=NAME is needed: endpoints with the same name "
                   "are partitions of one switch");
        return false;
    }
    if (s->partition >= SWITCHTEC_PARTITIONS) {
        error_setg(errp, "partition=%" PRIu32 ": a switch has partitions 0 to "
                   "%d", s->partition, SWITCHTEC_PARTITIONS - 1);
        return false;
    }
    if (s->peer == -1) {
        s->peer = s->partition ^ 1;
    }
    if (s->peer < 0 || s->peer >= SWITCHTEC_PARTITIONS ||
        s->peer == s->partition) {
        error_setg(errp, "peer=%" PRId32 ": use another partition than %"
                   PRIu32 ", from 0 to %d", s->peer, s->partition,
                   SWITCHTEC_PARTITIONS - 1);
        return false;
    }
    QLIST_FOREACH(sw, &switchtec_switches, next) {
        if (strcmp(sw->name, s->switch_name)) {
            continue;
        }
        for (p = 0; p < SWITCHTEC_PARTITIONS; p++) {
            SwitchtecNTBState *other = sw->part[p].ep;

            if (other && p == s->partition) {
                error_setg(errp, "partition=%d: switch %s has an endpoint for "
                           "it already, choose another or another switch", p,
                           s->switch_name);
                return false;
            }
            if (other && other->peer == s->peer) {
                error_setg(errp, "peer=%" PRId32 ": it is the peer of "
                           "partition %d already, choose another", s->peer, p);
                return false;
            }
        }
    }
    return true;
}

static bool switchtec_check_ids(SwitchtecNTBState *s, Error **errp)
{
    if (s->proxy_base >= PCI_DEVFN_MAX) {
        error_setg(errp, "proxy-base=0x%" PRIx32 ": a devfn is 0 to 0x%x",
                   s->proxy_base, PCI_DEVFN_MAX - 1);
        return false;
    }
    if (s->proxies > SWITCHTEC_CTRL_REQ_IDS) {
        error_setg(errp, "proxies=%" PRIu32 ": the table has room for %d",
                   s->proxies, SWITCHTEC_CTRL_REQ_IDS);
        return false;
    }
    if (!pci_bus_is_express(pci_get_bus(PCI_DEVICE(s)))) {
        error_setg(errp, "a PCI Express device: plug it into a root port, a "
                   "downstream port or a PCI Express root bus");
        return false;
    }
    return true;
}

static bool switchtec_identify(SwitchtecNTBState *s, Error **errp)
{
    uint8_t *config = PCI_DEVICE(s)->config;
    const char *name = s->model ?: "gen4";
    int i;

    for (i = 0; i < ARRAY_SIZE(switchtec_models); i++) {
        if (!strcmp(name, switchtec_models[i].name)) {
            s->device_id = s->x_device_id ?: switchtec_models[i].device_id;
            s->gen3 = !strcmp(name, "gen3");
            pci_config_set_vendor_id(config, switchtec_models[i].vendor_id);
            pci_config_set_device_id(config, s->device_id);
            return true;
        }
    }
    error_setg(errp, "model=%s: use gen3, gen4, gen5, gen6 or pci100x, and "
               "x-device-id for one device of it", name);
    return false;
}

static void switchtec_add_window(SwitchtecNTBState *s, SwitchtecWindow *w,
                                 unsigned bar, uint64_t size)
{
    g_autofree char *name = g_strdup_printf("switchtec-ntb-window%u", bar);

    w->ntb = s;
    w->bar = bar;
    memory_region_init_io(&w->mr, OBJECT(s), &switchtec_window_ops, w, name,
                          size);
    pci_register_bar(PCI_DEVICE(s), bar,
                     PCI_BASE_ADDRESS_MEM_TYPE_64 |
                     PCI_BASE_ADDRESS_MEM_PREFETCH, &w->mr);
}

static void switchtec_realize(PCIDevice *pdev, Error **errp)
{
    SwitchtecNTBState *s = SWITCHTEC_NTB(pdev);
    hwaddr dbmsg;
    int i;

    if (!switchtec_check_ids(s, errp) ||
        !switchtec_check_partitions(s, errp) ||
        !switchtec_check_windows(s, errp) ||
        !switchtec_identify(s, errp)) {
        return;
    }

    memory_region_init_io(&s->gas, OBJECT(s), &switchtec_gas_ops, s,
                          "switchtec-ntb-gas", GAS_SIZE);
    dbmsg = SWITCHTEC_DBMSG_BASE + s->partition * SWITCHTEC_DBMSG_SIZE;
    if (msix_init(pdev, MSIX_VECTORS,
                  &s->gas, 0, dbmsg + SWITCHTEC_DBMSG_MSIX,
                  &s->gas, 0, dbmsg + SWITCHTEC_DBMSG_PBA,
                  MSIX_CAP_OFFSET, errp) < 0) {
        return;
    }
    for (i = 0; i < MSIX_VECTORS; i++) {
        msix_vector_use(pdev, i);
    }
    if (pcie_endpoint_cap_init(pdev, PCIE_CAP_OFFSET) < 0) {
        msix_uninit(pdev, &s->gas, &s->gas);
        error_setg(errp, "cannot add the PCI Express capability");
        return;
    }
    pci_register_bar(pdev, 0, PCI_BASE_ADDRESS_MEM_TYPE_64 |
                     PCI_BASE_ADDRESS_MEM_PREFETCH, &s->gas);
    switchtec_add_window(s, &s->window[0], 2, s->bar2_size);
    if (s->bar4_size) {
        switchtec_add_window(s, &s->window[1], 4, s->bar4_size);
    }

    switchtec_sys_info(s);
    s->sw = switchtec_switch_get(s->switch_name);
    switchtec_join(s);
    s->machine_done.notify = switchtec_machine_done;
    qemu_add_machine_init_done_notifier(&s->machine_done);
}

static void switchtec_exit(PCIDevice *pdev)
{
    SwitchtecNTBState *s = SWITCHTEC_NTB(pdev);

    qemu_remove_machine_init_done_notifier(&s->machine_done);
    switchtec_leave(s);
    pcie_cap_exit(pdev);
    msix_unuse_all_vectors(pdev);
    msix_uninit(pdev, &s->gas, &s->gas);
}

/* What was configured for this partition goes, what the switch is stays */
static void switchtec_reset(DeviceState *dev)
{
    SwitchtecNTBState *s = SWITCHTEC_NTB(dev);
    SwitchtecPartition *part = switchtec_self(s);
    int p;

    for (p = 0; p < SWITCHTEC_PARTITIONS; p++) {
        switchtec_unlock(&s->sw->part[p], s->partition);
    }
    memset(part->staged, 0, sizeof(part->staged));
    memset(part->active, 0, sizeof(part->active));
    switchtec_partition_describe(part);

    part->odb_mask = 0;
    part->idb = 0;
    part->idb_mask = 0;
    memset(part->vec_map, 0, sizeof(part->vec_map));
    part->msg_map = 0;
    memset(part->imsg, 0, sizeof(part->imsg));
    part->mrpc_comp = 0;
    s->mrpc_cmd = 0;
    s->mrpc_status = 0;
    s->mrpc_ret = 0;
}

static uint64_t switchtec_sum(const uint64_t *counters)
{
    uint64_t sum = 0;
    int devfn;

    for (devfn = 0; devfn < PCI_DEVFN_MAX; devfn++) {
        sum += counters[devfn];
    }
    return sum;
}

static void switchtec_get_arrived(Object *obj, Visitor *v, const char *name,
                                  void *opaque, Error **errp)
{
    uint64_t sum = switchtec_sum(SWITCHTEC_NTB(obj)->arrived);

    visit_type_uint64(v, name, &sum, errp);
}

static void switchtec_get_refused(Object *obj, Visitor *v, const char *name,
                                  void *opaque, Error **errp)
{
    uint64_t sum = switchtec_sum(SWITCHTEC_NTB(obj)->refused);

    visit_type_uint64(v, name, &sum, errp);
}

static void switchtec_get_proxied(Object *obj, Visitor *v, const char *name,
                                  void *opaque, Error **errp)
{
    SwitchtecNTBState *s = SWITCHTEC_NTB(obj);
    int devfn;

    if (!visit_start_struct(v, name, NULL, 0, errp)) {
        return;
    }
    for (devfn = 0; devfn < PCI_DEVFN_MAX; devfn++) {
        g_autofree char *id = g_strdup_printf("%02x.%x", PCI_SLOT(devfn),
                                              PCI_FUNC(devfn));

        if (!s->arrived[devfn] && !s->refused[devfn]) {
            continue;
        }
        if (!visit_start_struct(v, id, NULL, 0, errp)) {
            break;
        }
        visit_type_uint64(v, "arrived", &s->arrived[devfn], errp);
        visit_type_uint64(v, "refused", &s->refused[devfn], errp);
        visit_end_struct(v, NULL);
    }
    visit_end_struct(v, NULL);
}

static bool switchtec_get_dead(Object *obj, Error **errp)
{
    return SWITCHTEC_NTB(obj)->dead;
}

static void switchtec_set_dead(Object *obj, bool value, Error **errp)
{
    SWITCHTEC_NTB(obj)->dead = value;
}

static const Property switchtec_properties[] = {
    DEFINE_PROP_STRING("switch", SwitchtecNTBState, switch_name),
    DEFINE_PROP_UINT32("partition", SwitchtecNTBState, partition, 0),
    DEFINE_PROP_INT32("peer", SwitchtecNTBState, peer, -1),
    DEFINE_PROP_STRING("model", SwitchtecNTBState, model),
    DEFINE_PROP_UINT16("x-device-id", SwitchtecNTBState, x_device_id, 0),
    DEFINE_PROP_UINT32("proxy-base", SwitchtecNTBState, proxy_base,
                       PCI_DEVFN(1, 0)),
    DEFINE_PROP_UINT32("proxies", SwitchtecNTBState, proxies, 4),
    DEFINE_PROP_UINT32("luts", SwitchtecNTBState, luts, 16),
    DEFINE_PROP_SIZE("bar2-size", SwitchtecNTBState, bar2_size, 0),
    DEFINE_PROP_SIZE("bar4-size", SwitchtecNTBState, bar4_size, 0),
    DEFINE_PROP_BOOL("target-map", SwitchtecNTBState, target_map, true),
    DEFINE_PROP_UINT16("requester-id", SwitchtecNTBState, requester_id, 0),
};

/* Hosts are not to be moved while they share memory with each other */
static const VMStateDescription switchtec_vmstate = {
    .name = TYPE_SWITCHTEC_NTB,
    .unmigratable = 1,
};

static void switchtec_class_init(ObjectClass *klass, void *data)
{
    DeviceClass *dc = DEVICE_CLASS(klass);
    PCIDeviceClass *k = PCI_DEVICE_CLASS(klass);

    k->realize = switchtec_realize;
    k->exit = switchtec_exit;
    k->class_id = PCI_CLASS_BRIDGE_OTHER;
    dc->desc = "Switchtec NTB endpoint";
    dc->vmsd = &switchtec_vmstate;
    device_class_set_legacy_reset(dc, switchtec_reset);
    device_class_set_props(dc, switchtec_properties);
    set_bit(DEVICE_CATEGORY_BRIDGE, dc->categories);

    object_class_property_add_bool(klass, "dead", switchtec_get_dead,
                                   switchtec_set_dead);
    object_class_property_add(klass, "proxied-arrived", "uint64",
                              switchtec_get_arrived, NULL, NULL, NULL);
    object_class_property_add(klass, "proxied-refused", "uint64",
                              switchtec_get_refused, NULL, NULL, NULL);
    object_class_property_add(klass, "proxied", "struct",
                              switchtec_get_proxied, NULL, NULL, NULL);
}

static const TypeInfo switchtec_types[] = {
    {
        .name = TYPE_SWITCHTEC_NTB,
        .parent = TYPE_PCI_DEVICE,
        .instance_size = sizeof(SwitchtecNTBState),
        .class_init = switchtec_class_init,
        .interfaces = (InterfaceInfo[]) {
            { INTERFACE_PCIE_DEVICE },
            { }
        },
    },
};

DEFINE_TYPES(switchtec_types)
