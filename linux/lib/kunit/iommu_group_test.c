// SPDX-License-Identifier: GPL-2.0
/*
 * KUnit tests of how PCI devices come into their IOMMU groups.
 *
 * The PCI core, the IOMMU core and the device tree code are the real ones.
 * Below them are a host bridge in memory (fake_pci.c) and an IOMMU that
 * records which requester IDs it was told to let pass (iommu_mock.c).
 *
 * Not verified here: default domains other than identity, what a real IOMMU
 * driver makes of an alias, anything that needs a second CPU.
 */
#include <kunit/test.h>
#include <linux/delay.h>
#include <linux/iommu.h>
#include <linux/kthread.h>
#include <linux/pci.h>

#include "fake_pci.h"
#include "iommu_mock.h"

#define RID(bus, dev, fn)	PCI_DEVID(bus, PCI_DEVFN(dev, fn))

struct machine {
	struct mock_iommu *iommu;
	struct fake_pci_host *host;
};

static struct machine machine(struct kunit *test,
			      const struct fake_pci_desc *topology)
{
	const struct mock_iommu_param *param = test->param_value;
	struct machine m;

	m.iommu = mock_iommu(test, param->kind);
	m.host = fake_pci_host(test, mock_iommu_host_node(m.iommu));
	fake_pci_add_all(m.host, topology);
	return m;
}

static void expect_same_group(struct kunit *test, struct machine *m,
			      const char *a, const char *b)
{
	KUNIT_EXPECT_TRUE_MSG(test,
			      mock_iommu_same_group(fake_pci_dev(m->host, a),
						    fake_pci_dev(m->host, b)),
			      "%s and %s are not in one group", a, b);
}

static void expect_other_group(struct kunit *test, struct machine *m,
			       const char *a, const char *b)
{
	KUNIT_EXPECT_FALSE_MSG(test,
			       mock_iommu_same_group(fake_pci_dev(m->host, a),
						     fake_pci_dev(m->host, b)),
			       "%s and %s are in one group", a, b);
}

/* An isolating root port, and two functions that are not isolated */
static const struct fake_pci_desc isolating_port[] = {
	{ "00:01.0", FAKE_ROOT_PORT, .bus = 1, .acs = FAKE_ACS_FULL },
	{ }
};

static const struct fake_pci_desc two_functions[] = {
	{ "01:00.0", FAKE_ENDPOINT, .mfd = true },
	{ "01:00.1", FAKE_ENDPOINT },	/* many devices set MFD in .0 only */
	{ }
};

/* Control: an IOMMU that comes last sees finished functions. */
static void multifunction_cold(struct kunit *test)
{
	struct machine m = machine(test, isolating_port);

	fake_pci_add_all(m.host, two_functions);
	fake_pci_boot(m.host);
	mock_iommu_register(m.iommu);

	expect_same_group(test, &m, "01:00.0", "01:00.1");
	expect_other_group(test, &m, "00:01.0", "01:00.0");
}

/* A hot-added function shares the group of its siblings, as at boot. */
static void multifunction_hot_add(struct kunit *test)
{
	struct machine m = machine(test, isolating_port);

	fake_pci_boot(m.host);
	mock_iommu_register(m.iommu);
	fake_pci_add_all(m.host, two_functions);
	fake_pci_rescan(m.host);

	expect_same_group(test, &m, "01:00.0", "01:00.1");
	expect_other_group(test, &m, "00:01.0", "01:00.0");
}

/* A slot that is removed and rescanned comes back in one group. */
static void multifunction_rescan(struct kunit *test)
{
	struct machine m = machine(test, isolating_port);

	fake_pci_add_all(m.host, two_functions);
	fake_pci_boot(m.host);
	mock_iommu_register(m.iommu);
	fake_pci_remove(m.host, "01:00.1");
	fake_pci_remove(m.host, "01:00.0");
	fake_pci_rescan(m.host);

	expect_same_group(test, &m, "01:00.0", "01:00.1");
}

/* A host bridge that comes after its IOMMU is no different. */
static void multifunction_late_host(struct kunit *test)
{
	struct machine m = machine(test, isolating_port);

	fake_pci_add_all(m.host, two_functions);
	mock_iommu_register(m.iommu);
	fake_pci_boot(m.host);

	expect_same_group(test, &m, "01:00.0", "01:00.1");
}

/* Functions that ACS isolates stay apart, however they appear. */
static void multifunction_isolated(struct kunit *test)
{
	static const struct fake_pci_desc functions[] = {
		{ "01:00.0", FAKE_ENDPOINT, .mfd = true, .acs = FAKE_ACS_FULL },
		{ "01:00.1", FAKE_ENDPOINT, .acs = FAKE_ACS_FULL },
		{ }
	};
	struct machine m = machine(test, isolating_port);

	fake_pci_boot(m.host);
	mock_iommu_register(m.iommu);
	fake_pci_add_all(m.host, functions);
	fake_pci_rescan(m.host);

	expect_other_group(test, &m, "01:00.0", "01:00.1");
	KUNIT_EXPECT_TRUE(test, fake_pci_dev(m.host, "01:00.1")->multifunction);
}

/* A hot-added single function is not taken for a multifunction device. */
static void single_function_hot_add(struct kunit *test)
{
	static const struct fake_pci_desc single[] = {
		{ "01:00.0", FAKE_ENDPOINT },
		{ }
	};
	struct machine m = machine(test, isolating_port);

	fake_pci_boot(m.host);
	mock_iommu_register(m.iommu);
	fake_pci_add_all(m.host, single);
	fake_pci_rescan(m.host);

	KUNIT_EXPECT_FALSE(test, fake_pci_dev(m.host, "01:00.0")->multifunction);
	expect_other_group(test, &m, "00:01.0", "01:00.0");
	KUNIT_EXPECT_TRUE(test, mock_iommu_programmed(m.iommu, RID(1, 0, 0)));
	KUNIT_EXPECT_FALSE(test, mock_iommu_programmed(m.iommu, RID(1, 0, 1)));
}

/*
 * A root port and the switch below it, both with the same ACS flags, and one
 * endpoint at each of two downstream ports.
 */
static struct machine switch_machine(struct kunit *test, u16 acs)
{
	const struct fake_pci_desc topology[] = {
		{ "00:01.0", FAKE_ROOT_PORT, .bus = 1, .last_bus = 4,
		  .acs = acs },
		{ "01:00.0", FAKE_UPSTREAM, .bus = 2, .last_bus = 4 },
		{ "02:00.0", FAKE_DOWNSTREAM, .bus = 3, .acs = acs },
		{ "02:01.0", FAKE_DOWNSTREAM, .bus = 4, .acs = acs },
		{ "03:00.0", FAKE_ENDPOINT },
		{ "04:00.0", FAKE_ENDPOINT },
		{ }
	};

	return machine(test, topology);
}

/* Everything below a root port that does not isolate is one group. */
static void switch_without_acs(struct kunit *test)
{
	struct machine m = switch_machine(test, 0);

	fake_pci_boot(m.host);
	mock_iommu_register(m.iommu);

	expect_same_group(test, &m, "00:01.0", "01:00.0");
	expect_same_group(test, &m, "00:01.0", "03:00.0");
	expect_same_group(test, &m, "03:00.0", "04:00.0");
}

/* With ACS on the whole path the endpoints are apart. */
static void switch_with_acs(struct kunit *test)
{
	struct machine m = switch_machine(test, FAKE_ACS_FULL);

	fake_pci_boot(m.host);
	mock_iommu_register(m.iommu);

	expect_other_group(test, &m, "00:01.0", "03:00.0");
	expect_other_group(test, &m, "03:00.0", "04:00.0");
}

static const struct fake_pci_desc conventional[] = {
	{ "00:01.0", FAKE_ROOT_PORT, .bus = 1, .last_bus = 2,
	  .acs = FAKE_ACS_FULL },
	{ "01:00.0", FAKE_PCIE_TO_PCI, .bus = 2 },
	{ "02:01.0", FAKE_PCI },
	{ "02:02.0", FAKE_PCI },
	{ }
};

/* Conventional devices take the requester ID of the bridge above them. */
static void pcie_to_pci_bridge(struct kunit *test)
{
	struct machine m = machine(test, conventional);

	fake_pci_boot(m.host);
	mock_iommu_register(m.iommu);

	expect_same_group(test, &m, "02:01.0", "02:02.0");
	expect_other_group(test, &m, "00:01.0", "02:01.0");
	/* PCIe to PCI bridges use devfn 0 of their secondary bus */
	KUNIT_EXPECT_TRUE(test, mock_iommu_programmed(m.iommu, RID(2, 0, 0)));
}

/* Endpoints of a switch that does not isolate them, without bridges to tell. */
static void switch_of_unknown_bridges(struct kunit *test)
{
	struct machine m = switch_machine(test, 0);

	mock_iommu_ignore_bridges(m.iommu);
	fake_pci_boot(m.host);
	mock_iommu_register(m.iommu);

	expect_same_group(test, &m, "03:00.0", "04:00.0");
}

/* The same switch with ACS: the endpoints are apart. */
static void switch_of_unknown_bridges_with_acs(struct kunit *test)
{
	struct machine m = switch_machine(test, FAKE_ACS_FULL);

	mock_iommu_ignore_bridges(m.iommu);
	fake_pci_boot(m.host);
	mock_iommu_register(m.iommu);

	KUNIT_EXPECT_TRUE(test, mock_iommu_programmed(m.iommu, RID(3, 0, 0)));
	KUNIT_EXPECT_TRUE(test, mock_iommu_programmed(m.iommu, RID(4, 0, 0)));
	expect_other_group(test, &m, "03:00.0", "04:00.0");
}

/* Conventional devices share a requester ID, whoever else knows it. */
static void pcie_to_pci_bridge_unknown(struct kunit *test)
{
	struct machine m = machine(test, conventional);

	mock_iommu_ignore_bridges(m.iommu);
	fake_pci_boot(m.host);
	mock_iommu_register(m.iommu);

	expect_same_group(test, &m, "02:01.0", "02:02.0");
}

static const struct fake_pci_desc two_ports[] = {
	{ "00:01.0", FAKE_ROOT_PORT, .bus = 1, .acs = FAKE_ACS_FULL },
	{ "00:02.0", FAKE_ROOT_PORT, .bus = 2, .acs = FAKE_ACS_FULL },
	{ "02:00.0", FAKE_ENDPOINT },
	{ }
};

static const struct fake_pci_desc refused[] = {
	{ "01:00.0", FAKE_ENDPOINT },
	{ }
};

/* The IOMMU serves all but one device, which no driver may take. */
static void expect_one_refused(struct kunit *test, struct machine *m)
{
	struct device *dev = &fake_pci_dev(m->host, "01:00.0")->dev;

	KUNIT_EXPECT_FALSE(test, device_iommu_mapped(dev));
	KUNIT_EXPECT_EQ(test, -EPROBE_DEFER,
			iommu_device_use_default_domain(dev));
	KUNIT_EXPECT_TRUE(test, mock_iommu_programmed(m->iommu, RID(0, 1, 0)));
	KUNIT_EXPECT_TRUE(test, mock_iommu_programmed(m->iommu, RID(2, 0, 0)));
}

typedef void fail_fn(struct mock_iommu *iommu, u16 rid);

/* Refused by one IOMMU, which goes, and taken by the next. */
static void refused_late_iommu(struct kunit *test, fail_fn *fail)
{
	struct machine m = machine(test, two_ports);

	fake_pci_add_all(m.host, refused);
	fake_pci_boot(m.host);
	fail(m.iommu, RID(1, 0, 0));
	mock_iommu_register(m.iommu);
	expect_one_refused(test, &m);

	mock_iommu_unregister(m.iommu);
	KUNIT_EXPECT_EQ(test, 0,
			iommu_device_use_default_domain(&fake_pci_dev(m.host, "01:00.0")->dev));
	fail(m.iommu, 0);
	mock_iommu_register(m.iommu);
	KUNIT_EXPECT_TRUE(test, mock_iommu_programmed(m.iommu, RID(1, 0, 0)));
}

/* Refused when it is plugged in, and taken when it is found again. */
static void refused_hot_add(struct kunit *test, fail_fn *fail)
{
	struct machine m = machine(test, two_ports);

	fake_pci_boot(m.host);
	mock_iommu_register(m.iommu);
	fail(m.iommu, RID(1, 0, 0));
	fake_pci_add_all(m.host, refused);
	fake_pci_rescan(m.host);
	expect_one_refused(test, &m);

	fail(m.iommu, 0);
	fake_pci_remove(m.host, "01:00.0");
	fake_pci_rescan(m.host);
	KUNIT_EXPECT_TRUE(test, mock_iommu_programmed(m.iommu, RID(1, 0, 0)));
}

/* The port isolates them from others, nothing from each other. */
static void expect_one_function(struct kunit *test, struct machine *m,
				const char *at, const char *refused_at)
{
	struct pci_dev *pdev = fake_pci_dev(m->host, at);
	struct device *dev = &fake_pci_dev(m->host, refused_at)->dev;

	KUNIT_EXPECT_TRUE(test, device_iommu_mapped(&pdev->dev));
	KUNIT_EXPECT_TRUE(test,
			  mock_iommu_programmed(m->iommu, pci_dev_id(pdev)));
	KUNIT_EXPECT_EQ(test, 0, iommu_device_use_default_domain(&pdev->dev));
	iommu_device_unuse_default_domain(&pdev->dev);
	KUNIT_EXPECT_FALSE(test, device_iommu_mapped(dev));
	KUNIT_EXPECT_EQ(test, -EPROBE_DEFER,
			iommu_device_use_default_domain(dev));
}

/* The first function cannot be attached. */
static void unattached_function_late_iommu(struct kunit *test)
{
	struct machine m = machine(test, isolating_port);

	fake_pci_add_all(m.host, two_functions);
	fake_pci_boot(m.host);
	mock_iommu_fail_attach(m.iommu, RID(1, 0, 0));
	mock_iommu_register(m.iommu);
	expect_one_function(test, &m, "01:00.1", "01:00.0");
}

/* The second function cannot, and both are found at once. */
static void unattached_function_hot_add(struct kunit *test)
{
	struct machine m = machine(test, isolating_port);

	fake_pci_boot(m.host);
	mock_iommu_register(m.iommu);
	mock_iommu_fail_attach(m.iommu, RID(1, 0, 1));
	fake_pci_add_all(m.host, two_functions);
	fake_pci_rescan(m.host);
	expect_one_function(test, &m, "01:00.0", "01:00.1");
}

static void unattached_late_iommu(struct kunit *test)
{
	refused_late_iommu(test, mock_iommu_fail_attach);
}

static void unattached_hot_add(struct kunit *test)
{
	refused_hot_add(test, mock_iommu_fail_attach);
}

/* An error that says something else elsewhere: the log names the device. */
static void unattached_no_device(struct kunit *test)
{
	struct machine m = machine(test, isolating_port);
	struct fake_pci_log *log = fake_pci_log(test, "01:00.1");
	const char *line;
	int said = 0;

	fake_pci_add_all(m.host, two_functions);
	fake_pci_boot(m.host);
	mock_iommu_fail_attach(m.iommu, RID(1, 0, 1));
	mock_iommu_attach_error(m.iommu, -ENODEV);
	mock_iommu_register(m.iommu);
	expect_one_function(test, &m, "01:00.0", "01:00.1");

	while ((line = fake_pci_log_next(log)))
		said += !!strstr(line, "Not added to an IOMMU group");
	KUNIT_EXPECT_EQ(test, 1, said);
}

/*
 * A driver that manages DMA itself is bound while the IOMMU is being
 * registered: its device has joined the group, which has no domain yet and
 * will not get one for all its devices.
 */
#define MANAGED_VENDOR	0xfffd
#define MANAGED_DEVICE	0x0b51

static int managed_probe(struct pci_dev *pdev, const struct pci_device_id *id)
{
	return 0;
}

static const struct pci_device_id managed_ids[] = {
	{ PCI_DEVICE(MANAGED_VENDOR, MANAGED_DEVICE) },
	{ }
};

static struct pci_driver managed_driver = {
	.name = "kunit-group-managed",
	.id_table = managed_ids,
	.probe = managed_probe,
	.driver_managed_dma = true,
};

static const struct fake_pci_desc managed_function[] = {
	{ "00:01.0", FAKE_ROOT_PORT, .bus = 1, .acs = FAKE_ACS_FULL },
	{ "00:02.0", FAKE_ROOT_PORT, .bus = 2, .acs = FAKE_ACS_FULL },
	{ "00:03.0", FAKE_ROOT_PORT, .bus = 3, .acs = FAKE_ACS_FULL },
	{ "01:00.0", FAKE_ENDPOINT, .mfd = true, .vendor = MANAGED_VENDOR,
	  .device = MANAGED_DEVICE },
	{ "01:00.1", FAKE_ENDPOINT, .mfd = true },
	{ "02:00.0", FAKE_ENDPOINT },
	{ "03:00.0", FAKE_ENDPOINT },
	{ }
};

static int register_iommu(void *iommu)
{
	mock_iommu_register(iommu);
	return 0;
}

static int register_driver(void *driver)
{
	return pci_register_driver(driver);
}

static void unregister_driver(void *driver)
{
	pci_unregister_driver(driver);
}

static struct task_struct *begin(struct kunit *test, int (*fn)(void *),
				 void *data)
{
	struct task_struct *task = kthread_run(fn, data, "kunit-iommu-group");

	KUNIT_ASSERT_NOT_ERR_OR_NULL(test, task);
	return get_task_struct(task);
}

/* Long enough for a thread that nothing stops to be through */
#define A_WHILE	100	/* ms */

static void unattached_function_bound(struct kunit *test)
{
	struct machine m = machine(test, managed_function);
	struct task_struct *iommu, *driver;
	int registered;

	fake_pci_boot(m.host);
	mock_iommu_fail_attach(m.iommu, RID(1, 0, 1));

	mock_iommu_hold_probe(m.iommu, fake_pci_dev(m.host, "02:00.0"));
	iommu = begin(test, register_iommu, m.iommu);
	mock_iommu_wait_held(m.iommu);
	driver = begin(test, register_driver, &managed_driver);
	msleep(A_WHILE);
	/* Who waits for a mutex has a turn the second time that it is free */
	mock_iommu_hold_probe(m.iommu, fake_pci_dev(m.host, "03:00.0"));
	mock_iommu_go_on(m.iommu);
	mock_iommu_wait_held(m.iommu);
	msleep(A_WHILE);
	mock_iommu_go_on(m.iommu);
	kthread_stop_put(iommu);
	registered = kthread_stop_put(driver);
	KUNIT_ASSERT_EQ(test, 0, registered);
	KUNIT_ASSERT_EQ(test, 0,
			kunit_add_action_or_reset(test, unregister_driver,
						  &managed_driver));

	KUNIT_EXPECT_PTR_EQ(test, &managed_driver.driver,
			    fake_pci_dev(m.host, "01:00.0")->dev.driver);
	expect_one_function(test, &m, "01:00.0", "01:00.1");
}

static void unprobed_late_iommu(struct kunit *test)
{
	refused_late_iommu(test, mock_iommu_fail_probe);
}

static void unprobed_hot_add(struct kunit *test)
{
	refused_hot_add(test, mock_iommu_fail_probe);
}

/*
 * Three devices that ACS keeps apart. What connects the first two is the third,
 * which has an alias in common with each of them.
 */
#define ALIASES_VENDOR	0xfffd
#define ALIASES_DEVICE	0x0005

static const struct {
	struct fake_pci_desc desc[2];	/* the other one ends the list */
	u8 alias[2];
	u16 rid;
} connected[] = {
	{ { { "00:01.0", FAKE_ENDPOINT, .vendor = ALIASES_VENDOR,
	      .device = ALIASES_DEVICE }, },
	  { PCI_DEVFN(16, 0), PCI_DEVFN(16, 0) }, RID(0, 1, 0) },
	{ { { "00:02.0", FAKE_ENDPOINT, .vendor = ALIASES_VENDOR,
	      .device = ALIASES_DEVICE }, },
	  { PCI_DEVFN(17, 0), PCI_DEVFN(17, 0) }, RID(0, 2, 0) },
	{ { { "00:03.0", FAKE_ENDPOINT, .vendor = ALIASES_VENDOR,
	      .device = ALIASES_DEVICE }, },
	  { PCI_DEVFN(16, 0), PCI_DEVFN(17, 0) }, RID(0, 3, 0) },
};

static void connected_fixup(struct pci_dev *pdev)
{
	int i;

	for (i = 0; i < ARRAY_SIZE(connected); i++) {
		if (pci_dev_id(pdev) == connected[i].rid) {
			pci_add_dma_alias(pdev, connected[i].alias[0], 1);
			pci_add_dma_alias(pdev, connected[i].alias[1], 1);
		}
	}
}
DECLARE_PCI_FIXUP_FINAL(ALIASES_VENDOR, ALIASES_DEVICE, connected_fixup);

static const struct fake_pci_desc no_devices[] = { { } };

static void expect_connected(struct kunit *test, struct machine *m)
{
	expect_same_group(test, m, "00:01.0", "00:02.0");
	expect_same_group(test, m, "00:02.0", "00:03.0");
	KUNIT_EXPECT_TRUE(test, mock_iommu_programmed(m->iommu, RID(0, 3, 0)));
}

/* All are there before a group is formed: whatever the order, it is one. */
static void connected_late_iommu(struct kunit *test)
{
	struct machine m = machine(test, no_devices);
	int i;

	fake_pci_boot(m.host);
	for (i = 0; i < ARRAY_SIZE(connected); i++) {
		fake_pci_add_all(m.host, connected[i].desc);
		fake_pci_rescan(m.host);
	}
	mock_iommu_register(m.iommu);

	expect_connected(test, &m);
}

/* One after the other, @order in decimal digits. */
static struct machine connected_hot_add(struct kunit *test, int order)
{
	struct machine m = machine(test, no_devices);

	fake_pci_boot(m.host);
	mock_iommu_register(m.iommu);
	for (; order; order /= 10) {
		fake_pci_add_all(m.host, connected[order % 10 - 1].desc);
		fake_pci_rescan(m.host);
	}
	return m;
}

static void connector_first(struct kunit *test)
{
	struct machine m = connected_hot_add(test, 213);

	expect_connected(test, &m);
}

static void connector_first_other_order(struct kunit *test)
{
	struct machine m = connected_hot_add(test, 123);

	expect_connected(test, &m);
}

static void connector_second(struct kunit *test)
{
	struct machine m = connected_hot_add(test, 231);

	expect_connected(test, &m);
}

static void connector_second_other_order(struct kunit *test)
{
	struct machine m = connected_hot_add(test, 132);

	expect_connected(test, &m);
}

static int count_lines(struct fake_pci_log *log, const char *what)
{
	const char *line;
	int n = 0;

	while ((line = fake_pci_log_next(log)))
		n += !!strstr(line, what);
	return n;
}

/* It connects two groups: it gets none, no driver, and changes neither. */
static void connector_last(struct kunit *test, int order)
{
	struct fake_pci_log *log = fake_pci_log(test, "00:03.0");
	struct machine m = connected_hot_add(test, order);
	struct device *dev = &fake_pci_dev(m.host, "00:03.0")->dev;

	KUNIT_EXPECT_FALSE(test, device_iommu_mapped(dev));
	expect_other_group(test, &m, "00:01.0", "00:02.0");
	KUNIT_EXPECT_TRUE(test, mock_iommu_programmed(m.iommu, RID(0, 1, 0)));
	KUNIT_EXPECT_TRUE(test, mock_iommu_programmed(m.iommu, RID(0, 2, 0)));
	KUNIT_EXPECT_FALSE(test, mock_iommu_programmed(m.iommu, RID(0, 3, 0)));
	KUNIT_EXPECT_EQ(test, -EPROBE_DEFER,
			iommu_device_use_default_domain(dev));
	KUNIT_EXPECT_EQ(test, 1, count_lines(log, "IOMMU group"));
	/* What it has in common with them is theirs */
	KUNIT_EXPECT_TRUE(test, mock_iommu_programmed(m.iommu, RID(0, 16, 0)));
	KUNIT_EXPECT_TRUE(test, mock_iommu_programmed(m.iommu, RID(0, 17, 0)));

	/* The obstacle goes, and it is found again */
	fake_pci_remove(m.host, "00:03.0");
	fake_pci_remove(m.host, "00:01.0");
	fake_pci_rescan(m.host);
	expect_connected(test, &m);
}

static void connector_last_refused(struct kunit *test)
{
	connector_last(test, 321);
}

static void connector_last_refused_other_order(struct kunit *test)
{
	connector_last(test, 312);
}

/* One of the groups has an owner, as VFIO, and a domain of the owner's. */
static void connector_of_owned_group(struct kunit *test)
{
	struct machine m = connected_hot_add(test, 21);
	struct pci_dev *owned = fake_pci_dev(m.host, "00:01.0");
	struct iommu_domain *domain = iommu_paging_domain_alloc(&owned->dev);
	struct iommu_group *group = iommu_group_get(&owned->dev);
	struct device *dev;

	KUNIT_ASSERT_NOT_ERR_OR_NULL(test, domain);
	KUNIT_ASSERT_EQ(test, 0, iommu_group_claim_dma_owner(group, test));
	KUNIT_EXPECT_EQ(test, 0, iommu_attach_group(domain, group));

	fake_pci_add_all(m.host, connected[2].desc);
	fake_pci_rescan(m.host);
	dev = &fake_pci_dev(m.host, "00:03.0")->dev;
	KUNIT_EXPECT_FALSE(test, device_iommu_mapped(dev));
	KUNIT_EXPECT_EQ(test, -EPROBE_DEFER,
			iommu_device_use_default_domain(dev));
	KUNIT_EXPECT_PTR_EQ(test, domain, iommu_get_domain_for_dev(&owned->dev));
	KUNIT_EXPECT_TRUE(test, iommu_group_dma_owner_claimed(group));
	KUNIT_EXPECT_TRUE(test, mock_iommu_programmed(m.iommu, RID(0, 1, 0)));
	KUNIT_EXPECT_TRUE(test, mock_iommu_programmed(m.iommu, RID(0, 2, 0)));
	KUNIT_EXPECT_TRUE(test, mock_iommu_programmed(m.iommu, RID(0, 16, 0)));
	KUNIT_EXPECT_TRUE(test, mock_iommu_programmed(m.iommu, RID(0, 17, 0)));

	iommu_detach_group(domain, group);
	iommu_group_release_dma_owner(group);
	iommu_domain_free(domain);
	iommu_group_put(group);
}

static struct kunit_case iommu_group_cases[] = {
	KUNIT_CASE_PARAM(multifunction_cold, mock_iommu_gen_params),
	KUNIT_CASE_PARAM(multifunction_hot_add, mock_iommu_gen_params),
	KUNIT_CASE_PARAM(multifunction_rescan, mock_iommu_gen_params),
	KUNIT_CASE_PARAM(multifunction_late_host, mock_iommu_gen_params),
	KUNIT_CASE_PARAM(multifunction_isolated, mock_iommu_gen_params),
	KUNIT_CASE_PARAM(single_function_hot_add, mock_iommu_gen_params),
	KUNIT_CASE_PARAM(switch_without_acs, mock_iommu_gen_params),
	KUNIT_CASE_PARAM(switch_with_acs, mock_iommu_gen_params),
	KUNIT_CASE_PARAM(pcie_to_pci_bridge, mock_iommu_gen_params),
	KUNIT_CASE_PARAM(switch_of_unknown_bridges, mock_iommu_gen_params),
	KUNIT_CASE_PARAM(switch_of_unknown_bridges_with_acs,
			 mock_iommu_gen_params),
	KUNIT_CASE_PARAM(pcie_to_pci_bridge_unknown, mock_iommu_gen_params),
	KUNIT_CASE_PARAM(unattached_late_iommu, mock_iommu_gen_params),
	KUNIT_CASE_PARAM(unattached_hot_add, mock_iommu_gen_params),
	KUNIT_CASE_PARAM(unattached_function_late_iommu, mock_iommu_gen_params),
	KUNIT_CASE_PARAM(unattached_function_hot_add, mock_iommu_gen_params),
	KUNIT_CASE_PARAM(unattached_no_device, mock_iommu_gen_params),
	KUNIT_CASE_PARAM(unattached_function_bound, mock_iommu_gen_params),
	KUNIT_CASE_PARAM(unprobed_late_iommu, mock_iommu_gen_params),
	KUNIT_CASE_PARAM(unprobed_hot_add, mock_iommu_gen_params),
	KUNIT_CASE_PARAM(connected_late_iommu, mock_iommu_gen_params),
	KUNIT_CASE_PARAM(connector_first, mock_iommu_gen_params),
	KUNIT_CASE_PARAM(connector_first_other_order, mock_iommu_gen_params),
	KUNIT_CASE_PARAM(connector_second, mock_iommu_gen_params),
	KUNIT_CASE_PARAM(connector_second_other_order, mock_iommu_gen_params),
	KUNIT_CASE_PARAM(connector_last_refused, mock_iommu_gen_params),
	KUNIT_CASE_PARAM(connector_last_refused_other_order,
			 mock_iommu_gen_params),
	KUNIT_CASE_PARAM(connector_of_owned_group, mock_iommu_gen_params),
	{ }
};

static struct kunit_suite iommu_group_suite = {
	.name = "iommu_group",
	.test_cases = iommu_group_cases,
};

kunit_test_suite(iommu_group_suite);

MODULE_DESCRIPTION("KUnit tests of IOMMU groups of PCI devices");
MODULE_LICENSE("GPL");
