/* SPDX-License-Identifier: GPL-2.0 */
/*
 * The registers of a Switchtec NTB endpoint, for KUnit.
 */
#ifndef _LIB_KUNIT_SWITCHTEC_REGS_H
#define _LIB_KUNIT_SWITCHTEC_REGS_H

#include <linux/completion.h>
#include <linux/sizes.h>
#include <linux/switchtec.h>

#include "fake_pci.h"

struct kunit;

#define SWITCHTEC_BAR0_SIZE	SZ_4M
/* 16 LUT entries of 64K and a direct window of 1M */
#define SWITCHTEC_BAR2_SIZE	SZ_2M
#define SWITCHTEC_NR_LUTS	16
/* Up to where the alias quirk has business: the doorbells follow */
#define SWITCHTEC_CTRL_END	(SWITCHTEC_GAS_NTB_OFFSET + \
				 SWITCHTEC_NTB_REG_DBMSG_OFFSET)

/**
 * struct switchtec_regs - what is behind BAR 0 and BAR 2
 * @mem: content of BAR 0
 * @size: bytes of @mem
 * @reads: per byte offset below SWITCHTEC_CTRL_END: reads that start there
 * @past_end: reads at or above @end
 * @end: first offset that a reader has no business with
 * @misaligned: accesses that are not naturally aligned
 * @dead: reads as all ones
 * @pull_at: the read of this offset, if not 0, finds @fn pulled out
 * @fn: the function
 * @hold_peer: a read of the peer's window waits for @peer_unmapped, up to
 *	half a second
 * @peer_read: completed when such a read begins
 * @peer_unmapped: completed when the mapping of BAR 2 goes away
 * @read_after_unmap: the mapping went away under a read
 */
struct switchtec_regs {
	u8 *mem;
	size_t size;
	u8 *reads;
	unsigned int past_end;
	unsigned int end;
	unsigned int misaligned;
	bool dead;
	unsigned int pull_at;
	struct fake_pci_fn *fn;

	bool hold_peer;
	struct completion peer_read;
	struct completion peer_unmapped;
	bool read_after_unmap;
};

extern const struct fake_pci_regs_ops switchtec_regs_ops;

struct switchtec_regs *switchtec_regs(struct kunit *test, u8 partition,
				      u64 ep_map);
void switchtec_regs_proxy_ids(struct switchtec_regs *regs, int partition,
			      u16 size, u8 devfn, u8 step);
struct fake_pci_fn *switchtec_regs_plug(struct switchtec_regs *regs,
					struct fake_pci_host *host,
					const struct fake_pci_desc *desc);

static inline struct ntb_info_regs *switchtec_info(struct switchtec_regs *regs)
{
	return (void *)(regs->mem + SWITCHTEC_GAS_NTB_OFFSET);
}

static inline struct ntb_ctrl_regs *switchtec_ctrl(struct switchtec_regs *regs,
						   int partition)
{
	return (struct ntb_ctrl_regs *)(regs->mem + SWITCHTEC_GAS_NTB_OFFSET +
		SWITCHTEC_NTB_REG_CTRL_OFFSET) + partition;
}

static inline struct ntb_dbmsg_regs *
switchtec_dbmsg(struct switchtec_regs *regs, int partition)
{
	return (struct ntb_dbmsg_regs *)(regs->mem + SWITCHTEC_CTRL_END) +
		partition;
}

#endif
