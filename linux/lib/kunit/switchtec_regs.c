// SPDX-License-Identifier: GPL-2.0
/*
 * The registers of a Switchtec NTB endpoint, for KUnit.
 *
 * Memory, with the few registers that answer a write by something else than
 * what was written. It counts who reads what.
 *
 * Not covered: windows into a peer, doorbells that ring, management commands.
 */
#include <kunit/test.h>
#include <linux/jiffies.h>
#include <linux/switchtec.h>
#include <linux/vmalloc.h>

#include "switchtec_regs.h"

static u64 read_peer_window(struct switchtec_regs *regs)
{
	if (READ_ONCE(regs->hold_peer)) {
		complete(&regs->peer_read);
		if (wait_for_completion_timeout(&regs->peer_unmapped, HZ / 2))
			WRITE_ONCE(regs->read_after_unmap, true);
	}
	return 0;
}

static u64 regs_read(void *priv, int bar, unsigned int offset, int size)
{
	struct switchtec_regs *regs = priv;
	u64 val = 0;

	if (regs->pull_at && offset == regs->pull_at) {
		fake_pci_pull(regs->fn);
		WRITE_ONCE(regs->dead, true);
	}
	if (READ_ONCE(regs->dead))
		return ~0ULL;
	if (bar != 0)
		return read_peer_window(regs);

	if (offset % size)
		regs->misaligned++;
	if (offset >= regs->end)
		regs->past_end++;
	if (offset < SWITCHTEC_CTRL_END && regs->reads[offset] < U8_MAX)
		regs->reads[offset]++;

	if (offset + size > regs->size)
		return ~0ULL;
	memcpy(&val, regs->mem + offset, size);
	return val;
}

static void partition_op(struct switchtec_regs *regs, unsigned int partition)
{
	struct ntb_ctrl_regs *ctrl = switchtec_ctrl(regs, partition);

	ctrl->partition_status =
		ctrl->partition_op == NTB_CTRL_PART_OP_LOCK ?
		NTB_CTRL_PART_STATUS_LOCKED : NTB_CTRL_PART_STATUS_NORMAL;
}

static void write_ctrl(struct switchtec_regs *regs, unsigned int offset,
		       int size, u64 val)
{
	const unsigned int base = SWITCHTEC_GAS_NTB_OFFSET +
				  SWITCHTEC_NTB_REG_CTRL_OFFSET;
	unsigned int partition = (offset - base) / sizeof(struct ntb_ctrl_regs);
	unsigned int reg = (offset - base) % sizeof(struct ntb_ctrl_regs);
	const u32 proxy_id = 0xff << 1;
	u32 *entry;

	if (reg >= offsetof(struct ntb_ctrl_regs, req_id_table) &&
	    reg < offsetof(struct ntb_ctrl_regs, reserved3)) {
		/* The hardware owns the proxy ID */
		entry = (u32 *)(regs->mem + round_down(offset, 4));
		*entry = (*entry & proxy_id) | (val & ~proxy_id);
		return;
	}

	memcpy(regs->mem + offset, &val, size);
	if (reg == offsetof(struct ntb_ctrl_regs, partition_op))
		partition_op(regs, partition);
}

static void write_dbmsg(struct switchtec_regs *regs, unsigned int offset,
			int size, u64 val)
{
	unsigned int reg = (offset - SWITCHTEC_CTRL_END) %
			   sizeof(struct ntb_dbmsg_regs);
	const unsigned int imsg = offsetof(struct ntb_dbmsg_regs, imsg);
	int i;

	for (i = 0; i < size; i++, reg++, offset++) {
		u8 byte = val >> (8 * i);

		/* The status of a message is cleared by writing one */
		if (reg >= imsg && reg < imsg + 32 && reg % 8 == 4)
			regs->mem[offset] &= ~byte;
		else
			regs->mem[offset] = byte;
	}
}

static void regs_write(void *priv, int bar, unsigned int offset, int size,
		       u64 val)
{
	struct switchtec_regs *regs = priv;

	if (READ_ONCE(regs->dead) || bar != 0 || offset + size > regs->size)
		return;

	if (offset % size)
		regs->misaligned++;

	if (offset >= SWITCHTEC_CTRL_END && offset < SWITCHTEC_GAS_PFF_CSR_OFFSET)
		write_dbmsg(regs, offset, size, val);
	else if (offset >= SWITCHTEC_GAS_NTB_OFFSET +
			   SWITCHTEC_NTB_REG_CTRL_OFFSET &&
		 offset < SWITCHTEC_CTRL_END)
		write_ctrl(regs, offset, size, val);
	else
		memcpy(regs->mem + offset, &val, size);
}

static void regs_unmap(void *priv, int bar)
{
	struct switchtec_regs *regs = priv;

	if (bar == 2)
		complete(&regs->peer_unmapped);
}

const struct fake_pci_regs_ops switchtec_regs_ops = {
	.read = regs_read,
	.write = regs_write,
	.unmap = regs_unmap,
};

static void free_regs(void *data)
{
	vfree(data);
}

static u8 *alloc_regs(struct kunit *test, size_t size)
{
	u8 *mem = vzalloc(size);

	KUNIT_ASSERT_NOT_NULL(test, mem);
	KUNIT_ASSERT_EQ(test, 0, kunit_add_action_or_reset(test, free_regs, mem));
	return mem;
}

/**
 * switchtec_regs - The registers of an NTB endpoint that drivers can bind to
 * @test: the test
 * @partition: the endpoint's own partition
 * @ep_map: all NT partitions, a bit for each
 *
 * Each partition gets a table of 4 entries, whose proxy IDs are all 0 until
 * switchtec_regs_proxy_ids() says otherwise. Call it before fake_pci_host():
 * the registers must outlive the device.
 *
 * Return: The registers. Failure ends the test.
 */
struct switchtec_regs *switchtec_regs(struct kunit *test, u8 partition,
				      u64 ep_map)
{
	struct switchtec_regs *regs;
	struct sys_info_regs *sys;
	struct ntb_info_regs *info;
	int p;

	regs = kunit_kzalloc(test, sizeof(*regs), GFP_KERNEL);
	KUNIT_ASSERT_NOT_NULL(test, regs);
	regs->size = SWITCHTEC_BAR0_SIZE;
	regs->end = SWITCHTEC_BAR0_SIZE;
	regs->mem = alloc_regs(test, regs->size);
	regs->reads = alloc_regs(test, SWITCHTEC_CTRL_END);
	init_completion(&regs->peer_read);
	init_completion(&regs->peer_unmapped);

	/* Gen3 has it elsewhere than the others: serve both */
	sys = (void *)(regs->mem + SWITCHTEC_GAS_SYS_INFO_OFFSET);
	sys->gen3.partition_id = partition;
	sys->gen4.partition_id = partition;

	info = switchtec_info(regs);
	info->partition_count = hweight64(ep_map);
	info->partition_id = partition;
	info->ep_map = ep_map;

	for (p = 0; p < ARRAY_SIZE(info->ntp_info); p++) {
		struct ntb_ctrl_regs *ctrl = switchtec_ctrl(regs, p);

		ctrl->partition_status = NTB_CTRL_PART_STATUS_NORMAL;
		ctrl->bar_entry[2].ctl = NTB_CTRL_BAR_VALID;
		ctrl->lut_table_entries = SWITCHTEC_NR_LUTS;
		ctrl->req_id_table_size = 4;
	}

	return regs;
}

/**
 * switchtec_regs_proxy_ids - Set the proxy IDs of a partition
 * @regs: the registers
 * @partition: the partition
 * @size: table size that the hardware claims; up to 512 entries are filled
 * @devfn: proxy ID of the first entry
 * @step: distance to the next, modulo 256
 */
void switchtec_regs_proxy_ids(struct switchtec_regs *regs, int partition,
			      u16 size, u8 devfn, u8 step)
{
	struct ntb_ctrl_regs *ctrl = switchtec_ctrl(regs, partition);
	int i;

	ctrl->req_id_table_size = size;
	for (i = 0; i < min_t(int, size, ARRAY_SIZE(ctrl->req_id_table)); i++)
		ctrl->req_id_table[i] = (u8)(devfn + i * step) << 1;
}

/**
 * switchtec_regs_plug - Add an NTB endpoint with these registers
 * @regs: the registers
 * @host: the host bridge
 * @desc: the function; what it leaves out is that of a Gen4 NTB endpoint
 *
 * Return: The function.
 */
struct fake_pci_fn *switchtec_regs_plug(struct switchtec_regs *regs,
					struct fake_pci_host *host,
					const struct fake_pci_desc *desc)
{
	struct fake_pci_desc d = *desc;
	struct fake_pci_fn *fn;

	d.type = FAKE_ENDPOINT;
	d.vendor = d.vendor ?: PCI_VENDOR_ID_MICROSEMI;
	d.device = d.device ?: 0x4000;
	d.class = d.class ?: PCI_CLASS_BRIDGE_OTHER << 8;
	d.bar_size[0] = d.bar_size[0] ?: SWITCHTEC_BAR0_SIZE;

	fn = fake_pci_add(host, &d);
	regs->fn = fn;
	fake_pci_set_regs(fn, &switchtec_regs_ops, regs, regs->mem,
			  SWITCHTEC_CTRL_END);
	return fn;
}
