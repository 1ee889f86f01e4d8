// SPDX-License-Identifier: GPL-2.0
/*
 * KUnit tests of the quirk that finds the DMA aliases of a Switchtec NTB.
 *
 * The quirk reads the registers of a fake endpoint (switchtec_regs.c) while
 * the PCI core enumerates it; what counts is the alias mask that it leaves.
 *
 * Not verified here: whether real switches fill their tables as assumed.
 */
#include <kunit/test.h>
#include <linux/bitmap.h>
#include <linux/pci.h>
#include <linux/string.h>

#include "fake_pci.h"
#include "iommu_mock.h"
#include "switchtec_regs.h"

#define MAX_NR_DEVFNS	256

static const struct fake_pci_desc port[] = {
	{ "00:01.0", FAKE_ROOT_PORT, .bus = 1, .acs = FAKE_ACS_FULL },
	{ }
};

#define NTB	"01:00.0"

/* The programming interface is one that the quirk accepts, the driver not */
#define NTB_CLASS_OF_NO_DRIVER	(PCI_CLASS_BRIDGE_OTHER << 8 | 0xfe)

static const struct fake_pci_desc ntb = { NTB };

#define CTRL(partition) \
	(SWITCHTEC_GAS_NTB_OFFSET + SWITCHTEC_NTB_REG_CTRL_OFFSET + \
	 (partition) * sizeof(struct ntb_ctrl_regs))

/* What the quirk decides, by table: which partitions, which entries */
struct quirk_case {
	const char *name;
	u8 partition;			/* own */
	u64 ep_map;
	u32 target_part_low;		/* of partition 0 */
	u32 bar_size;
	struct {
		u8 partition;
		u16 size;
		u8 devfn;
		u8 step;
	} tables[3];
	struct {
		bool set;
		u8 partition;
		u16 index;
		u32 value;
	} entry;			/* one entry, as it is read */
	unsigned int pull_at;		/* this read finds the device gone */
	struct {
		u8 devfn;
		u16 nr;
	} aliases[3];			/* expected */
};

static const struct quirk_case quirk_cases[] = {
	{
		.name = "one peer",
		.partition = 0, .ep_map = BIT_ULL(0) | BIT_ULL(1),
		.tables = { { 0, 4, 0x40, 1 }, { 1, 4, 0x10, 1 } },
		.aliases = { { 0x10, 4 } },
	}, {
		.name = "two peers, own table in the middle",
		.partition = 1, .ep_map = GENMASK_ULL(2, 0),
		.tables = { { 0, 4, 0x10, 1 }, { 1, 4, 0x40, 1 }, { 2, 2, 0x80, 1 } },
		.aliases = { { 0x10, 4 }, { 0x80, 2 } },
	}, {
		.name = "no peer",
		.partition = 0, .ep_map = BIT_ULL(0),
		.tables = { { 0, 4, 0x40, 1 } },
	}, {
		.name = "peer in the upper half of the map",
		.partition = 0, .ep_map = BIT_ULL(0) | BIT_ULL(33),
		.tables = { { 33, 4, 0x10, 1 } },
		.aliases = { { 0x10, 4 } },
	}, {
		.name = "last partition as peer",
		.partition = 0, .ep_map = BIT_ULL(0) | BIT_ULL(47),
		.tables = { { 47, 4, 0x10, 1 } },
		.aliases = { { 0x10, 4 } },
	}, {
		.name = "target of partition 0 is no part of the map",
		.partition = 0, .ep_map = BIT_ULL(0) | BIT_ULL(1),
		.target_part_low = BIT(1),
		.tables = { { 1, 4, 0x10, 1 }, { 33, 4, 0x80, 1 } },
		.aliases = { { 0x10, 4 } },
	}, {
		.name = "own partition in the upper half",
		.partition = 40, .ep_map = BIT_ULL(2) | BIT_ULL(40),
		.tables = { { 2, 4, 0x10, 1 }, { 40, 4, 0x40, 1 } },
		.aliases = { { 0x10, 4 } },
	}, {
		.name = "own partition is the last",
		.partition = 47, .ep_map = BIT_ULL(2) | BIT_ULL(47),
		.tables = { { 2, 4, 0x10, 1 } },
		.aliases = { { 0x10, 4 } },
	}, {
		.name = "own partition out of range",
		.partition = 48, .ep_map = BIT_ULL(0) | BIT_ULL(1),
		.tables = { { 0, 4, 0x40, 1 }, { 1, 4, 0x10, 1 } },
	}, {
		.name = "own partition beyond the width of the map",
		.partition = 64, .ep_map = BIT_ULL(0) | BIT_ULL(1),
		.tables = { { 0, 4, 0x40, 1 }, { 1, 4, 0x10, 1 } },
	}, {
		.name = "own partition reads as all ones",
		.partition = 0xff, .ep_map = BIT_ULL(0) | BIT_ULL(1),
		.tables = { { 0, 4, 0x40, 1 }, { 1, 4, 0x10, 1 } },
	}, {
		.name = "map reads as all ones",
		.partition = 0, .ep_map = ~0ULL,
		.tables = { { 1, 4, 0x10, 1 } },
	}, {
		.name = "map names partitions that cannot exist",
		.partition = 0, .ep_map = BIT_ULL(0) | BIT_ULL(1) | BIT_ULL(60),
		.tables = { { 1, 4, 0x10, 1 } },
		.aliases = { { 0x10, 4 } },
	}, {
		.name = "empty table",
		.partition = 0, .ep_map = GENMASK_ULL(2, 0),
		.tables = { { 1, 0, 0, 0 }, { 2, 4, 0x80, 1 } },
		.aliases = { { 0x80, 4 } },
	}, {
		.name = "largest table",
		.partition = 0, .ep_map = BIT_ULL(0) | BIT_ULL(1),
		.tables = { { 1, 512, 0, 1 } },
		.aliases = { { 0, 256 } },
	}, {
		.name = "table too large",
		.partition = 0, .ep_map = GENMASK_ULL(2, 0),
		.tables = { { 1, 513, 0x10, 1 }, { 2, 4, 0x80, 1 } },
		.aliases = { { 0x80, 4 } },
	}, {
		.name = "table size reads as all ones",
		.partition = 0, .ep_map = GENMASK_ULL(2, 0),
		.tables = { { 1, 4, 0x10, 1 }, { 2, 0xffff, 0x80, 1 } },
		.aliases = { { 0x10, 4 } },
	}, {
		.name = "pulled out at a table size",
		.partition = 0, .ep_map = GENMASK_ULL(2, 0),
		.tables = { { 1, 4, 0x10, 1 }, { 2, 4, 0x80, 1 } },
		.pull_at = CTRL(2) + offsetof(struct ntb_ctrl_regs,
					      req_id_table_size),
	}, {
		.name = "entry reads as all ones",
		.partition = 0, .ep_map = BIT_ULL(0) | BIT_ULL(1),
		.tables = { { 1, 4, 0x10, 1 } },
		.entry = { true, 1, 3, ~0U },
		.aliases = { { 0x10, 3 } },
	}, {
		.name = "pulled out at an entry",
		.partition = 0, .ep_map = BIT_ULL(0) | BIT_ULL(1),
		.tables = { { 1, 4, 0x10, 1 } },
		.pull_at = CTRL(1) + offsetof(struct ntb_ctrl_regs,
					      req_id_table[3]),
	}, {
		.name = "entry that a peer has enabled",
		.partition = 0, .ep_map = BIT_ULL(0) | BIT_ULL(1),
		.tables = { { 1, 2, 0x10, 1 } },
		.entry = { true, 1, 1, 0x01000000 | 0x31 << 1 | NTB_CTRL_REQ_ID_EN },
		.aliases = { { 0x10, 1 }, { 0x31, 1 } },
	}, {
		.name = "the same ID in all entries",
		.partition = 0, .ep_map = GENMASK_ULL(2, 0),
		.tables = { { 1, 512, 0x10, 0 }, { 2, 512, 0x10, 0 } },
		.aliases = { { 0x10, 1 } },
	}, {
		.name = "BAR that ends before the last control block",
		.partition = 0, .ep_map = BIT_ULL(0) | BIT_ULL(1),
		.bar_size = SZ_256K,
		.tables = { { 1, 4, 0x10, 1 } },
	}, {
		.name = "smallest BAR",
		.partition = 0, .ep_map = BIT_ULL(0) | BIT_ULL(1),
		.bar_size = SZ_512K,
		.tables = { { 1, 4, 0x10, 1 } },
		.aliases = { { 0x10, 4 } },
	},
};

KUNIT_ARRAY_PARAM_DESC(quirk, quirk_cases, name);

static struct switchtec_regs *regs_of_case(struct kunit *test,
					   const struct quirk_case *c)
{
	struct switchtec_regs *regs;
	int i;

	regs = switchtec_regs(test, c->partition, c->ep_map);
	switchtec_info(regs)->ntp_info[0].target_part_low = c->target_part_low;
	for (i = 0; i < ARRAY_SIZE(c->tables); i++)
		if (c->tables[i].size || c->tables[i].partition)
			switchtec_regs_proxy_ids(regs, c->tables[i].partition,
						 c->tables[i].size,
						 c->tables[i].devfn,
						 c->tables[i].step);
	if (c->entry.set)
		switchtec_ctrl(regs, c->entry.partition)
			->req_id_table[c->entry.index] = c->entry.value;
	return regs;
}

static void expect_aliases(struct kunit *test, struct pci_dev *pdev,
			   const struct quirk_case *c)
{
	DECLARE_BITMAP(expected, MAX_NR_DEVFNS) = { };
	DECLARE_BITMAP(found, MAX_NR_DEVFNS) = { };
	int i;

	for (i = 0; i < ARRAY_SIZE(c->aliases); i++)
		bitmap_set(expected, c->aliases[i].devfn, c->aliases[i].nr);
	if (pdev->dma_alias_mask)
		bitmap_copy(found, pdev->dma_alias_mask, MAX_NR_DEVFNS);

	KUNIT_EXPECT_TRUE_MSG(test, bitmap_equal(expected, found, MAX_NR_DEVFNS),
			      "aliases %*pbl, expected %*pbl", MAX_NR_DEVFNS,
			      found, MAX_NR_DEVFNS, expected);
}

/*
 * The alias mask is right for each set of registers, and the quirk reads no
 * register twice, nothing past the control blocks and nothing past the BAR.
 */
static void quirk_decides(struct kunit *test)
{
	const struct quirk_case *c = test->param_value;
	struct fake_pci_desc desc = ntb;
	struct switchtec_regs *regs;
	struct fake_pci_host *host;
	int offset;

	fake_pci_need_bars(test);
	if (c->pull_at && !fake_pci_has_mmio_ops())
		kunit_skip(test, "no emulated memory-mapped I/O (UML has it)");

	regs = regs_of_case(test, c);
	regs->pull_at = c->pull_at;
	regs->end = min_t(u32, SWITCHTEC_CTRL_END,
			  c->bar_size ?: SWITCHTEC_BAR0_SIZE);
	host = fake_pci_host(test, NULL);
	fake_pci_add_all(host, port);
	desc.bar_size[0] = c->bar_size;
	desc.class = NTB_CLASS_OF_NO_DRIVER;
	switchtec_regs_plug(regs, host, &desc);

	fake_pci_boot(host);
	expect_aliases(test, fake_pci_dev(host, NTB), c);

	if (!fake_pci_has_mmio_ops())
		return;
	KUNIT_EXPECT_EQ(test, 0, regs->past_end);
	KUNIT_EXPECT_EQ(test, 0, regs->misaligned);
	for (offset = 0; offset < SWITCHTEC_CTRL_END; offset++)
		KUNIT_EXPECT_LE_MSG(test, regs->reads[offset], 1,
				    "register %#x was read again", offset);
}

/* However many IDs there are, an administrator sees them in one line. */
static void one_line_in_the_log(struct kunit *test)
{
	struct switchtec_regs *regs;
	struct fake_pci_host *host;
	struct fake_pci_desc desc = ntb;
	struct fake_pci_log *log;
	const char *line;
	int n = 0;

	fake_pci_need_bars(test);

	regs = switchtec_regs(test, 0, GENMASK_ULL(2, 0));
	switchtec_regs_proxy_ids(regs, 1, 64, 0x10, 1);
	switchtec_regs_proxy_ids(regs, 2, 64, 0x40, 2);
	host = fake_pci_host(test, NULL);
	fake_pci_add_all(host, port);
	desc.class = NTB_CLASS_OF_NO_DRIVER;
	switchtec_regs_plug(regs, host, &desc);

	log = fake_pci_log(test, NTB);
	fake_pci_boot(host);

	while ((line = fake_pci_log_next(log))) {
		if (!strstr(line, "alias") && !strstr(line, "Switchtec"))
			continue;
		n++;
		/* 64 each, of which 8 are the same; 0a.0 is of the second */
		KUNIT_EXPECT_NOT_NULL_MSG(test, strstr(line, " 120 "), "%s", line);
		KUNIT_EXPECT_NOT_NULL_MSG(test, strstr(line, " 02.0-0a.0 "),
					  "%s", line);
	}
	KUNIT_EXPECT_EQ(test, 1, n);
}

static const struct id_param {
	u16 vendor;
	u16 device;
} switchtec_ids[] = {
	{ PCI_VENDOR_ID_MICROSEMI, 0x8531 },	/* first of Gen3 */
	{ PCI_VENDOR_ID_MICROSEMI, 0x8576 },
	{ PCI_VENDOR_ID_MICROSEMI, 0x4000 },	/* Gen4 */
	{ PCI_VENDOR_ID_MICROSEMI, 0x4528 },
	{ PCI_VENDOR_ID_MICROSEMI, 0x5000 },	/* Gen5 */
	{ PCI_VENDOR_ID_MICROSEMI, 0x5528 },
	{ PCI_VENDOR_ID_MICROSEMI, 0x6048 },	/* all of Gen6 */
	{ PCI_VENDOR_ID_MICROSEMI, 0x6064 },
	{ PCI_VENDOR_ID_MICROSEMI, 0x6044 },
	{ PCI_VENDOR_ID_MICROSEMI, 0x6060 },
	{ PCI_VENDOR_ID_MICROSEMI, 0x6148 },
	{ PCI_VENDOR_ID_MICROSEMI, 0x6164 },
	{ PCI_VENDOR_ID_MICROSEMI, 0x6144 },
	{ PCI_VENDOR_ID_MICROSEMI, 0x6160 },
	{ PCI_VENDOR_ID_MICROSEMI, 0x6248 },
	{ PCI_VENDOR_ID_MICROSEMI, 0x6264 },
	{ PCI_VENDOR_ID_MICROSEMI, 0x6244 },
	{ PCI_VENDOR_ID_MICROSEMI, 0x6260 },
	{ PCI_VENDOR_ID_MICROSEMI, 0x6348 },
	{ PCI_VENDOR_ID_MICROSEMI, 0x6364 },
	{ PCI_VENDOR_ID_MICROSEMI, 0x6344 },
	{ PCI_VENDOR_ID_MICROSEMI, 0x6360 },
	{ PCI_VENDOR_ID_EFAR, 0x1001 },		/* PCI100x */
	{ PCI_VENDOR_ID_EFAR, 0x1008 },
};

static void id_desc(const struct id_param *id, char *desc)
{
	snprintf(desc, KUNIT_PARAM_DESC_SIZE, "%04x:%04x", id->vendor,
		 id->device);
}

KUNIT_ARRAY_PARAM(id, switchtec_ids, id_desc);

/* Every switch that the management driver knows gets its aliases. */
static void every_generation(struct kunit *test)
{
	const struct id_param *id = test->param_value;
	const struct quirk_case expected = { .aliases = { { 0x10, 4 } } };
	struct fake_pci_desc desc = ntb;
	struct switchtec_regs *regs;
	struct fake_pci_host *host;

	fake_pci_need_bars(test);

	regs = switchtec_regs(test, 0, BIT_ULL(0) | BIT_ULL(1));
	switchtec_regs_proxy_ids(regs, 1, 4, 0x10, 1);
	host = fake_pci_host(test, NULL);
	fake_pci_add_all(host, port);
	desc.vendor = id->vendor;
	desc.device = id->device;
	desc.class = NTB_CLASS_OF_NO_DRIVER;
	switchtec_regs_plug(regs, host, &desc);
	fake_pci_boot(host);

	expect_aliases(test, fake_pci_dev(host, NTB), &expected);
}

/* The management endpoint of the same switch is no NTB: hands off. */
static void management_endpoint(struct kunit *test)
{
	struct fake_pci_desc desc = ntb;
	struct switchtec_regs *regs;
	struct fake_pci_host *host;

	fake_pci_need_bars(test);

	regs = switchtec_regs(test, 0, BIT_ULL(0) | BIT_ULL(1));
	host = fake_pci_host(test, NULL);
	fake_pci_add_all(host, port);
	desc.class = PCI_CLASS_MEMORY_OTHER << 8 | 0xfe;
	switchtec_regs_plug(regs, host, &desc);
	fake_pci_boot(host);

	KUNIT_EXPECT_NULL(test, fake_pci_dev(host, NTB)->dma_alias_mask);
	if (fake_pci_has_mmio_ops())
		KUNIT_EXPECT_EQ(test, 0,
				regs->reads[SWITCHTEC_GAS_NTB_OFFSET + 1]);
}

/* At boot, with an IOMMU that comes last, all proxy IDs are programmed. */
static void programmed_cold(struct kunit *test)
{
	const struct mock_iommu_param *param = test->param_value;
	struct fake_pci_desc desc = ntb;
	struct switchtec_regs *regs;
	struct fake_pci_host *host;
	struct mock_iommu *iommu;
	int devfn;

	fake_pci_need_bars(test);

	regs = switchtec_regs(test, 0, BIT_ULL(0) | BIT_ULL(1));
	switchtec_regs_proxy_ids(regs, 1, 4, 0x10, 1);
	iommu = mock_iommu(test, param->kind);
	host = fake_pci_host(test, mock_iommu_host_node(iommu));
	fake_pci_add_all(host, port);
	desc.class = NTB_CLASS_OF_NO_DRIVER;
	switchtec_regs_plug(regs, host, &desc);
	fake_pci_boot(host);
	mock_iommu_register(iommu);

	for (devfn = 0; devfn < MAX_NR_DEVFNS; devfn++) {
		bool own = devfn == 0 || (devfn >= 0x10 && devfn < 0x14);
		u16 rid = PCI_DEVID(1, devfn);

		KUNIT_EXPECT_EQ_MSG(test, own, mock_iommu_programmed(iommu, rid),
				    "requester ID 01:%02x.%d", PCI_SLOT(devfn),
				    PCI_FUNC(devfn));
	}
}

static struct kunit_case switchtec_alias_cases[] = {
	KUNIT_CASE_PARAM(quirk_decides, quirk_gen_params),
	KUNIT_CASE(one_line_in_the_log),
	KUNIT_CASE_PARAM(every_generation, id_gen_params),
	KUNIT_CASE(management_endpoint),
	KUNIT_CASE_PARAM(programmed_cold, mock_iommu_gen_params),
	{ }
};

static struct kunit_suite switchtec_alias_suite = {
	.name = "switchtec_alias",
	.test_cases = switchtec_alias_cases,
};

kunit_test_suite(switchtec_alias_suite);

MODULE_DESCRIPTION("KUnit tests of the DMA aliases of Switchtec NTBs");
MODULE_LICENSE("GPL");
