// SPDX-License-Identifier: GPL-2.0
/*
 * KUnit tests of the order in which PCI ports and the devices below are probed.
 *
 * A device is probed when the port above it has been tried, whatever came of
 * that; and at once where there is nothing to wait for.
 *
 * Not verified here: the driver of PCIe ports. The one of the tests is probed
 * asynchronously, as that one is with driver_async_probe=pcieport.
 */
#include <kunit/test.h>
#include <linux/completion.h>
#include <linux/delay.h>
#include <linux/pci.h>

#include "fake_pci.h"

/* A port that no other driver takes */
#define PORT_DEVICE	0x0101
#define EP_DEVICE	0x0102
#define KUNIT_VENDOR	0x1fff

#define ROOT_PORT	"00:01.0"
#define NR_PROBES	16
#define A_WHILE_MS	20
#define PATIENCE	msecs_to_jiffies(5000)

#define PORT(at, type, bus, ...)					\
	{ at, type, bus, .vendor = KUNIT_VENDOR, .device = PORT_DEVICE,	\
	  ## __VA_ARGS__ }
#define ENDPOINT(at)							\
	{ at, FAKE_ENDPOINT, .vendor = KUNIT_VENDOR, .device = EP_DEVICE }

static const struct fake_pci_desc below_port[] = {
	PORT(ROOT_PORT, FAKE_ROOT_PORT, 1),
	ENDPOINT("01:00.0"),
	{ }
};

static const struct fake_pci_desc below_switch[] = {
	PORT(ROOT_PORT, FAKE_ROOT_PORT, 1, .last_bus = 4),
	PORT("01:00.0", FAKE_UPSTREAM, 2, .last_bus = 4),
	PORT("02:00.0", FAKE_DOWNSTREAM, 3),
	PORT("02:01.0", FAKE_DOWNSTREAM, 4),
	ENDPOINT("03:00.0"),
	ENDPOINT("04:00.0"),
	{ }
};

static struct setup {
	struct fake_pci_host *host;

	/* Devices in the order in which their probe ran to its end */
	u16 probed[NR_PROBES];
	int nr_probed;
	spinlock_t lock;		/* of the two above */

	int result;			/* of the ports' probe */
	bool hold;			/* it waits for @go_on */
	struct completion held, go_on;
} *setup;

static void record(struct pci_dev *pdev)
{
	guard(spinlock)(&setup->lock);
	if (setup->nr_probed < NR_PROBES)
		setup->probed[setup->nr_probed++] = pci_dev_id(pdev);
}

static int port_probe(struct pci_dev *pdev, const struct pci_device_id *id)
{
	if (setup->hold) {
		complete(&setup->held);
		wait_for_completion_timeout(&setup->go_on, PATIENCE);
	}
	record(pdev);
	return setup->result;
}

static int endpoint_probe(struct pci_dev *pdev, const struct pci_device_id *id)
{
	record(pdev);
	return 0;
}

static const struct pci_device_id port_ids[] = {
	{ PCI_DEVICE(KUNIT_VENDOR, PORT_DEVICE) },
	{ }
};

static struct pci_driver port_driver = {
	.name = "kunit-port",
	.id_table = port_ids,
	.probe = port_probe,
	.driver_managed_dma = true,
	.driver.probe_type = PROBE_PREFER_ASYNCHRONOUS,
};

static const struct pci_device_id endpoint_ids[] = {
	{ PCI_DEVICE(KUNIT_VENDOR, EP_DEVICE) },
	{ }
};

static struct pci_driver endpoint_driver = {
	.name = "kunit-below-port",
	.id_table = endpoint_ids,
	.probe = endpoint_probe,
};

static void unregister_driver(void *driver)
{
	complete_all(&setup->go_on);
	pci_unregister_driver(driver);
}

static void driver(struct kunit *test, struct pci_driver *driver)
{
	KUNIT_ASSERT_EQ(test, 0, pci_register_driver(driver));
	KUNIT_ASSERT_EQ(test, 0, kunit_add_action_or_reset(test, unregister_driver,
							   driver));
}

static int port_order_init(struct kunit *test)
{
	setup = kunit_kzalloc(test, sizeof(*setup), GFP_KERNEL);
	if (!setup)
		return -ENOMEM;
	spin_lock_init(&setup->lock);
	init_completion(&setup->held);
	init_completion(&setup->go_on);
	setup->host = fake_pci_host(test, NULL);
	return 0;
}

static bool bound(const char *at)
{
	struct pci_dev *pdev = fake_pci_dev(setup->host, at);

	guard(device)(&pdev->dev);
	return device_is_bound(&pdev->dev);
}

static void expect_order(struct kunit *test, const u16 *ids, int count)
{
	int i;

	wait_for_device_probe();
	KUNIT_ASSERT_EQ(test, count, setup->nr_probed);
	for (i = 0; i < count; i++)
		KUNIT_EXPECT_EQ_MSG(test, ids[i], setup->probed[i], "probe %d", i);
}

#define EXPECT_ORDER(test, ...)						\
	expect_order(test, (const u16 []){ __VA_ARGS__ },		\
		     ARRAY_SIZE(((const u16 []){ __VA_ARGS__ })))
#define ID(bus, dev)	PCI_DEVID(bus, PCI_DEVFN(dev, 0))

/* The port is in the midst of its probe. */
static void hold_port(struct kunit *test, const struct fake_pci_desc *devices)
{
	setup->hold = true;
	driver(test, &port_driver);
	driver(test, &endpoint_driver);
	fake_pci_add_all(setup->host, devices);
	fake_pci_boot(setup->host);

	KUNIT_EXPECT_NE(test, 0, wait_for_completion_timeout(&setup->held, PATIENCE));
	msleep(A_WHILE_MS);
	KUNIT_EXPECT_EQ(test, 0, setup->nr_probed);
}

static void let_go(void)
{
	complete_all(&setup->go_on);
	wait_for_device_probe();
}

static void waits_for_port(struct kunit *test)
{
	hold_port(test, below_port);
	let_go();
	EXPECT_ORDER(test, ID(0, 1), ID(1, 0));
	KUNIT_EXPECT_TRUE(test, bound(ROOT_PORT));
	KUNIT_EXPECT_TRUE(test, bound("01:00.0"));
}

/* It need not be bound. */
static void port_fails(struct kunit *test)
{
	setup->result = -EIO;
	hold_port(test, below_port);
	let_go();
	EXPECT_ORDER(test, ID(0, 1), ID(1, 0));
	KUNIT_EXPECT_FALSE(test, bound(ROOT_PORT));
	KUNIT_EXPECT_TRUE(test, bound("01:00.0"));
}

/* Nor need its own wait end, when the system has booted. */
static void port_defers(struct kunit *test)
{
	setup->result = -EPROBE_DEFER;
	hold_port(test, below_port);
	let_go();
	KUNIT_EXPECT_EQ(test, ID(0, 1), setup->probed[0]);
	KUNIT_EXPECT_FALSE(test, bound(ROOT_PORT));
	KUNIT_EXPECT_TRUE(test, bound("01:00.0"));
}

/* Without a driver for ports nobody waits for one; it may come later, and go. */
static void port_has_no_driver(struct kunit *test)
{
	fake_pci_add_all(setup->host, below_port);
	driver(test, &endpoint_driver);
	fake_pci_boot(setup->host);
	KUNIT_EXPECT_TRUE(test, bound("01:00.0"));

	driver(test, &port_driver);
	EXPECT_ORDER(test, ID(1, 0), ID(0, 1));
	device_release_driver(&fake_pci_dev(setup->host, ROOT_PORT)->dev);
	KUNIT_EXPECT_TRUE(test, bound("01:00.0"));
	device_release_driver(&fake_pci_dev(setup->host, "01:00.0")->dev);
	KUNIT_EXPECT_EQ(test, 1,
			device_attach(&fake_pci_dev(setup->host, "01:00.0")->dev));
}

/* Each waits for the one above, and for no other. */
static void below_each_other(struct kunit *test)
{
	static const u16 path[][4] = {
		{ ID(0, 1), ID(1, 0), ID(2, 0), ID(3, 0) },
		{ ID(0, 1), ID(1, 0), ID(2, 1), ID(4, 0) },
	};
	int i, j, k;

	hold_port(test, below_switch);
	let_go();

	KUNIT_ASSERT_EQ(test, ARRAY_SIZE(below_switch) - 1, setup->nr_probed);
	for (i = 0; i < ARRAY_SIZE(path); i++) {
		for (j = k = 0; j < setup->nr_probed; j++)
			if (k < ARRAY_SIZE(path[i]) &&
			    setup->probed[j] == path[i][k])
				k++;
		KUNIT_EXPECT_EQ_MSG(test, ARRAY_SIZE(path[i]), k, "path %d", i);
	}
}

/* Removed while it waits: it is not probed any more, until it is found again. */
static void removed_while_waiting(struct kunit *test)
{
	hold_port(test, below_port);
	fake_pci_remove(setup->host, "01:00.0");
	let_go();
	EXPECT_ORDER(test, ID(0, 1));

	fake_pci_rescan(setup->host);
	EXPECT_ORDER(test, ID(0, 1), ID(1, 0));
	KUNIT_EXPECT_TRUE(test, bound("01:00.0"));
}

static struct kunit_case port_order_cases[] = {
	KUNIT_CASE(waits_for_port),
	KUNIT_CASE(port_fails),
	KUNIT_CASE(port_defers),
	KUNIT_CASE(port_has_no_driver),
	KUNIT_CASE(below_each_other),
	KUNIT_CASE(removed_while_waiting),
	{ }
};

static struct kunit_suite port_order_suite = {
	.name = "port_order",
	.init = port_order_init,
	.test_cases = port_order_cases,
};

kunit_test_suite(port_order_suite);
