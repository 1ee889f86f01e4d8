// SPDX-License-Identifier: GPL-2.0
/*
 * KUnit tests of the Switchtec NTB driver against a fake endpoint.
 *
 * The drivers switchtec and ntb_hw_switchtec are the real ones and bind as
 * they do on hardware. Needs emulated memory-mapped I/O and a default MSI
 * domain, that is UML.
 *
 * Not verified here: traffic, which needs a peer that answers.
 */
#include <kunit/test.h>
#include <linux/io.h>
#include <linux/irq.h>
#include <linux/irqdesc.h>
#include <linux/ntb.h>
#include <linux/pci.h>

#include "fake_pci.h"
#include "switchtec_regs.h"

#define NTB		"01:00.0"
#define MSG_CHECK_LINK	3

static const struct fake_pci_desc port[] = {
	{ "00:01.0", FAKE_ROOT_PORT, .bus = 1 },
	{ }
};

/* The client sees the NTB device that the driver registers, if it does */
static struct ntb_dev *bound_ntb;

static int client_probe(struct ntb_client *client, struct ntb_dev *ntb)
{
	bound_ntb = ntb;
	return 0;
}

static void client_remove(struct ntb_client *client, struct ntb_dev *ntb)
{
	bound_ntb = NULL;
}

static struct ntb_client client = {
	.ops = {
		.probe = client_probe,
		.remove = client_remove,
	},
};

static int ntb_suite_init(struct kunit_suite *suite)
{
	return fake_pci_has_mmio_ops() ? ntb_register_client(&client) : 0;
}

static void ntb_suite_exit(struct kunit_suite *suite)
{
	if (fake_pci_has_mmio_ops())
		ntb_unregister_client(&client);
}

static int ntb_test_init(struct kunit *test)
{
	if (!fake_pci_has_mmio_ops())
		kunit_skip(test, "no emulated memory-mapped I/O (UML has it)");
	return 0;
}

struct endpoint {
	struct switchtec_regs *regs;
	struct pci_dev *pdev;
};

/* Plug an endpoint whose drivers bind when the host bridge is enumerated */
static struct endpoint endpoint(struct kunit *test, u8 partition, u64 ep_map)
{
	struct fake_pci_desc desc = {
		NTB,
		.bar_size = { [0] = SWITCHTEC_BAR0_SIZE,
			      [2] = SWITCHTEC_BAR2_SIZE },
		.msix_vectors = 4,
	};
	struct fake_pci_host *host;
	struct endpoint ep;

	ep.regs = switchtec_regs(test, partition, ep_map);
	desc.msix_table = SWITCHTEC_CTRL_END +
		partition * sizeof(struct ntb_dbmsg_regs) + 0x2000;
	host = fake_pci_host(test, NULL);
	fake_pci_add_all(host, port);
	switchtec_regs_plug(ep.regs, host, &desc);
	fake_pci_boot(host);
	ep.pdev = fake_pci_dev(host, NTB);
	return ep;
}

static const struct pair_case {
	const char *name;
	u8 self;
	u8 peer;
} pairs[] = {
	{ "0 and 1", 0, 1 },
	{ "1 and 0", 1, 0 },
	{ "31 and 40", 31, 40 },
	{ "33 and 1", 33, 1 },
	{ "33 and 47", 33, 47 },
};

KUNIT_ARRAY_PARAM_DESC(pair, pairs, name);

/*
 * The driver finds its peer wherever the two are in the map. It shares a
 * buffer with it, in the peer's first LUT window and in no other's.
 */
static void finds_peer(struct kunit *test)
{
	const struct pair_case *c = test->param_value;
	struct endpoint ep;
	int p;

	ep = endpoint(test, c->self, BIT_ULL(c->self) | BIT_ULL(c->peer));

	KUNIT_EXPECT_NOT_NULL(test, bound_ntb);
	for (p = 0; p < 48; p++) {
		u64 lut = switchtec_ctrl(ep.regs, p)->lut_entry[0];

		KUNIT_EXPECT_EQ_MSG(test, p == c->peer, lut & NTB_CTRL_LUT_EN,
				    "LUT 0 of partition %d", p);
	}
}

/* No register is read or written across its natural alignment. */
static void aligned_accesses(struct kunit *test)
{
	struct endpoint ep;

	ep = endpoint(test, 0, BIT_ULL(0) | BIT_ULL(1));

	KUNIT_EXPECT_NOT_NULL(test, bound_ntb);
	KUNIT_EXPECT_EQ(test, 0, ep.regs->misaligned);
}

/*
 * A write of the data to the address that peer_db_addr() returns rings the
 * same doorbell as peer_db_set().
 */
static void peer_doorbell_address(struct kunit *test)
{
	const struct pair_case *c = test->param_value;
	struct endpoint ep;
	struct ntb_dbmsg_regs *own;
	resource_size_t size = 0;
	phys_addr_t addr = 0;
	void __iomem *reg;
	u64 data = 0, rung;
	int bit;

	ep = endpoint(test, c->self, BIT_ULL(c->self) | BIT_ULL(c->peer));
	KUNIT_ASSERT_NOT_NULL(test, bound_ntb);
	own = switchtec_dbmsg(ep.regs, c->self);

	for (bit = 0; bit < 28; bit += 9) {
		own->odb = 0;
		ntb_peer_db_set(bound_ntb, BIT_ULL(bit));
		rung = own->odb;
		own->odb = 0;

		KUNIT_ASSERT_EQ(test, 0,
				ntb_peer_db_addr(bound_ntb, &addr, &size, &data,
						 bit));
		KUNIT_ASSERT_EQ(test, size, sizeof(u32));
		KUNIT_ASSERT_GE(test, addr, pci_resource_start(ep.pdev, 0));
		KUNIT_ASSERT_LE(test, addr + size - 1,
				pci_resource_end(ep.pdev, 0));
		KUNIT_EXPECT_EQ(test, upper_32_bits(data), 0);
		reg = ioremap(addr, size);
		KUNIT_ASSERT_NOT_NULL(test, (__force void *)reg);
		iowrite32(data, reg);
		iounmap(reg);
		KUNIT_EXPECT_EQ(test, own->odb, rung);
	}

	KUNIT_EXPECT_EQ(test, -EINVAL,
			ntb_peer_db_addr(bound_ntb, &addr, &size, &data, 28));
	KUNIT_EXPECT_EQ(test, -EINVAL,
			ntb_peer_db_addr(bound_ntb, &addr, &size, &data, -1));
}

/* After unbind the peer has no window into memory that was freed. */
static void unbind_closes_window(struct kunit *test)
{
	struct endpoint ep;

	ep = endpoint(test, 0, BIT_ULL(0) | BIT_ULL(1));
	KUNIT_ASSERT_NOT_NULL(test, bound_ntb);

	device_release_driver(&ep.pdev->dev);

	KUNIT_EXPECT_NULL(test, bound_ntb);
	KUNIT_EXPECT_EQ(test, 0, switchtec_ctrl(ep.regs, 1)->lut_entry[0]);
}

/* Unbind of a device that was pulled out ends, and soon. */
static void unbind_dead_device(struct kunit *test)
{
	struct endpoint ep;
	unsigned long start;

	ep = endpoint(test, 0, BIT_ULL(0) | BIT_ULL(1));
	KUNIT_ASSERT_NOT_NULL(test, bound_ntb);

	fake_pci_pull(ep.regs->fn);
	WRITE_ONCE(ep.regs->dead, true);
	start = jiffies;
	device_release_driver(&ep.pdev->dev);

	KUNIT_EXPECT_NULL(test, bound_ntb);
	KUNIT_EXPECT_TRUE(test, time_before(jiffies, start + 5 * HZ));
}

/*
 * Unbind while the link work reads the peer's memory: the mapping stays
 * until the work is done.
 */
static void unbind_waits_for_link_work(struct kunit *test)
{
	struct ntb_dbmsg_regs *own;
	struct endpoint ep;

	ep = endpoint(test, 0, BIT_ULL(0) | BIT_ULL(1));
	KUNIT_ASSERT_NOT_NULL(test, bound_ntb);
	own = switchtec_dbmsg(ep.regs, 0);

	/* The work looks at the peer only once our side is up */
	ntb_link_enable(bound_ntb, NTB_SPEED_AUTO, NTB_WIDTH_AUTO);

	/* The peer sends "check the link": vector 2 is the driver's choice */
	WRITE_ONCE(ep.regs->hold_peer, true);
	own->imsg[0].msg = MSG_CHECK_LINK;
	own->imsg[0].status = 1;
	KUNIT_ASSERT_EQ(test, 0,
			generic_handle_irq_safe(pci_irq_vector(ep.pdev, 2)));
	KUNIT_ASSERT_NE(test, 0,
			wait_for_completion_timeout(&ep.regs->peer_read, HZ));

	device_release_driver(&ep.pdev->dev);

	KUNIT_EXPECT_FALSE_MSG(test, READ_ONCE(ep.regs->read_after_unmap),
			       "peer's memory unmapped while the link work reads it");
}

static struct kunit_case switchtec_ntb_cases[] = {
	KUNIT_CASE_PARAM(finds_peer, pair_gen_params),
	KUNIT_CASE(aligned_accesses),
	KUNIT_CASE_PARAM(peer_doorbell_address, pair_gen_params),
	KUNIT_CASE(unbind_closes_window),
	KUNIT_CASE(unbind_dead_device),
	KUNIT_CASE(unbind_waits_for_link_work),
	{ }
};

static struct kunit_suite switchtec_ntb_suite = {
	.name = "switchtec_ntb",
	.suite_init = ntb_suite_init,
	.suite_exit = ntb_suite_exit,
	.init = ntb_test_init,
	.test_cases = switchtec_ntb_cases,
};

kunit_test_suite(switchtec_ntb_suite);

MODULE_DESCRIPTION("KUnit tests of the Switchtec NTB driver");
MODULE_LICENSE("GPL");
