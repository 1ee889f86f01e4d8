// SPDX-License-Identifier: GPL-2.0
/*
 * KUnit tests of when the DMA aliases of a PCI device are known.
 *
 * The device is a Switchtec NTB, whose aliases a final fixup reads from BAR 0.
 * In whichever way it appears, its IOMMU must let all of its requester IDs
 * pass before a driver can bind. A driver that matches the device looks at the
 * IOMMU from its probe, which is the first moment at which DMA may be mapped.
 *
 * Not verified here: real IOMMU drivers, and interleavings other than the ones
 * that are forced.
 */
#include <kunit/test.h>
#include <linux/delay.h>
#include <linux/iommu.h>
#include <linux/kthread.h>
#include <linux/pci.h>

#include "fake_pci.h"
#include "iommu_mock.h"
#include "switchtec_regs.h"

#define MAX_NR_DEVFNS	256
#define NTB		"01:00.0"
#define NEIGHBOUR	"01:00.1"

/* The quirk accepts this programming interface, the NTB driver does not */
#define NTB_CLASS	(PCI_CLASS_BRIDGE_OTHER << 8 | 0xfe)

/* Where the proxy IDs are; those of a replacement are elsewhere */
#define PROXY_IDS	0x10
#define OTHER_IDS	0x40
#define NEIGHBOURS_ID	1
#define NR_PROXY_IDS	4

/* ACS isolates the functions: only an alias can bring them together */
static const struct fake_pci_desc ntb = {
	NTB, .class = NTB_CLASS, .mfd = true, .acs = FAKE_ACS_FULL
};

static const struct fake_pci_desc neighbour = {
	NEIGHBOUR, FAKE_ENDPOINT, .acs = FAKE_ACS_FULL
};

/* With the proxy IDs of the first */
static const struct fake_pci_desc second_ntb = {
	NEIGHBOUR, .class = NTB_CLASS, .acs = FAKE_ACS_FULL
};

#define NR_VFS		2

static const struct fake_pci_desc ntb_with_vfs = {
	NTB, .class = NTB_CLASS, .acs = FAKE_ACS_FULL, .vfs = NR_VFS
};

static const struct fake_pci_desc vfs[] = {
	{ "01:01.0", FAKE_ENDPOINT, .class = NTB_CLASS, .acs = FAKE_ACS_FULL },
	{ "01:01.1", FAKE_ENDPOINT, .class = NTB_CLASS, .acs = FAKE_ACS_FULL },
	{ }
};

struct setup {
	struct kunit *test;
	struct mock_iommu *iommu;
	struct fake_pci_host *host;
	struct switchtec_regs *regs;
	u8 proxy_ids;			/* that the NTB has now */
	u8 nr_vfs;			/* that are enabled */
	struct pci_dev *pdev;		/* that a thread works on */

	/* What the driver saw */
	unsigned int probes;
	unsigned int unprogrammed;	/* requester IDs, in all its probes */
	bool add_alias;			/* it tries to */

	struct pci_dev *rebind;		/* when the driver goes */
};

/* A driver has no other way to find the test that it works for */
static struct setup *current_setup;

static void set_proxy_ids(struct setup *s, u8 first)
{
	switchtec_regs_proxy_ids(s->regs, 1, NR_PROXY_IDS, first, 1);
	s->proxy_ids = first;
}

static bool is_requester_id(struct setup *s, unsigned int devfn)
{
	return !devfn || (devfn >= s->proxy_ids &&
			  devfn < s->proxy_ids + NR_PROXY_IDS) ||
	       (devfn >= FAKE_FIRST_VF && devfn < FAKE_FIRST_VF + s->nr_vfs);
}

#define LATE_ALIAS	PCI_DEVFN(0x1f, 7)

static int observer_probe(struct pci_dev *pdev, const struct pci_device_id *id)
{
	struct setup *s = current_setup;
	unsigned int devfn;

	s->probes++;
	if (pdev->devfn) {
		if (!mock_iommu_programmed(s->iommu, pci_dev_id(pdev)))
			s->unprogrammed++;
		return 0;
	}
	for (devfn = 0; devfn < MAX_NR_DEVFNS; devfn++)
		if (is_requester_id(s, devfn) &&
		    !mock_iommu_programmed(s->iommu, PCI_DEVID(1, devfn)))
			s->unprogrammed++;

	if (s->add_alias)
		pci_add_dma_alias(pdev, LATE_ALIAS, 1);
	return 0;
}

static void observer_remove(struct pci_dev *pdev)
{
	struct setup *s = current_setup;

	if (s->rebind && s->rebind != pdev)
		KUNIT_EXPECT_LE(s->test, device_attach(&s->rebind->dev), 0);
}

static const struct pci_device_id observer_ids[] = {
	{ PCI_VENDOR_ID_MICROSEMI, PCI_ANY_ID, PCI_ANY_ID, PCI_ANY_ID,
	  NTB_CLASS, ~0 },
	{ }
};

static struct pci_driver observer = {
	.name = "kunit-dma-alias",
	.id_table = observer_ids,
	.probe = observer_probe,
	.remove = observer_remove,
};

static void unregister_observer(void *data)
{
	pci_unregister_driver(&observer);
	current_setup = NULL;
}

static const struct fake_pci_desc port[] = {
	{ "00:01.0", FAKE_ROOT_PORT, .bus = 1, .acs = FAKE_ACS_FULL },
	{ }
};

static struct setup *setup(struct kunit *test)
{
	const struct mock_iommu_param *param = test->param_value;
	struct setup *s;

	fake_pci_need_bars(test);

	s = kunit_kzalloc(test, sizeof(*s), GFP_KERNEL);
	KUNIT_ASSERT_NOT_NULL(test, s);
	s->test = test;
	s->regs = switchtec_regs(test, 0, BIT_ULL(0) | BIT_ULL(1));
	set_proxy_ids(s, PROXY_IDS);
	s->iommu = mock_iommu(test, param->kind);
	s->host = fake_pci_host(test, mock_iommu_host_node(s->iommu));
	fake_pci_add_all(s->host, port);

	current_setup = s;
	KUNIT_ASSERT_EQ(test, 0, pci_register_driver(&observer));
	KUNIT_ASSERT_EQ(test, 0,
			kunit_add_action_or_reset(test, unregister_observer, NULL));
	return s;
}

static void plug(struct setup *s)
{
	switchtec_regs_plug(s->regs, s->host, &ntb);
}

/* All requester IDs pass, no other does, and the driver found it so. */
static void expect_programmed(struct setup *s, unsigned int probes)
{
	struct kunit *test = s->test;
	unsigned int devfn;

	for (devfn = 0; devfn < MAX_NR_DEVFNS; devfn++)
		KUNIT_EXPECT_EQ_MSG(test, is_requester_id(s, devfn),
				    mock_iommu_programmed(s->iommu,
							  PCI_DEVID(1, devfn)),
				    "requester ID 01:%02x.%d", PCI_SLOT(devfn),
				    PCI_FUNC(devfn));
	KUNIT_EXPECT_EQ(test, probes, s->probes);
	KUNIT_EXPECT_EQ(test, 0, s->unprogrammed);
}

/* Plugged in while the system runs. */
static void hot_add(struct kunit *test)
{
	struct setup *s = setup(test);

	fake_pci_boot(s->host);
	mock_iommu_register(s->iommu);
	plug(s);
	fake_pci_rescan(s->host);

	expect_programmed(s, 1);
}

/* Removed through sysfs and found again. */
static void remove_and_rescan(struct kunit *test)
{
	struct setup *s = setup(test);

	fake_pci_boot(s->host);
	mock_iommu_register(s->iommu);
	plug(s);
	fake_pci_rescan(s->host);
	fake_pci_remove(s->host, NTB);
	KUNIT_EXPECT_FALSE(test, mock_iommu_programmed(s->iommu, PCI_DEVID(1, 0)));
	s->probes = 0;
	s->unprogrammed = 0;
	fake_pci_rescan(s->host);

	expect_programmed(s, 1);
}

/* Replaced: the proxy IDs of the old one do not outlive it. */
static void replaced(struct kunit *test)
{
	struct setup *s = setup(test);

	fake_pci_boot(s->host);
	mock_iommu_register(s->iommu);
	plug(s);
	fake_pci_rescan(s->host);
	fake_pci_remove(s->host, NTB);
	set_proxy_ids(s, OTHER_IDS);
	s->probes = 0;
	s->unprogrammed = 0;
	fake_pci_rescan(s->host);

	expect_programmed(s, 1);
}

/* A host bridge that probes after its IOMMU. */
static void late_host(struct kunit *test)
{
	struct setup *s = setup(test);

	plug(s);
	mock_iommu_register(s->iommu);
	fake_pci_boot(s->host);

	expect_programmed(s, 1);
}

/* The port goes and comes back with all that is below it. */
static void whole_subtree(struct kunit *test)
{
	struct setup *s = setup(test);

	fake_pci_boot(s->host);
	mock_iommu_register(s->iommu);
	plug(s);
	fake_pci_rescan(s->host);
	fake_pci_remove(s->host, "00:01.0");
	s->probes = 0;
	s->unprogrammed = 0;
	fake_pci_rescan(s->host);

	expect_programmed(s, 1);
}

/* There all along, the IOMMU comes last. */
static void late_iommu(struct kunit *test)
{
	struct setup *s = setup(test);

	plug(s);
	fake_pci_boot(s->host);
	s->pdev = fake_pci_dev(s->host, NTB);
	device_release_driver(&s->pdev->dev);
	s->probes = 0;
	s->unprogrammed = 0;
	mock_iommu_register(s->iommu);
	KUNIT_EXPECT_GE(test, device_attach(&s->pdev->dev), 0);

	expect_programmed(s, 1);
}

/*
 * Bound before its IOMMU came, and passed over by it: the next driver has the
 * IOMMU, which is nothing to warn of.
 */
static void bound_before_iommu(struct kunit *test)
{
	const struct mock_iommu_param *param = test->param_value;
	struct setup *s = setup(test);

	if (param->kind != MOCK_IOMMU_FWSPEC)
		kunit_skip(test, "without a fwspec it is in a group while bound");

	plug(s);
	fake_pci_boot(s->host);
	mock_iommu_register(s->iommu);
	s->pdev = fake_pci_dev(s->host, NTB);
	KUNIT_ASSERT_NOT_NULL(test, s->pdev->dev.driver);
	KUNIT_EXPECT_FALSE(test, device_iommu_mapped(&s->pdev->dev));
	s->probes = 0;
	s->unprogrammed = 0;

	device_release_driver(&s->pdev->dev);
	kunit_warning_suppress(test) {
		KUNIT_EXPECT_GE(test, device_attach(&s->pdev->dev), 0);
		KUNIT_EXPECT_SUPPRESSED_WARNING_COUNT(test, 0);
	}
	expect_programmed(s, 1);
}

/* What is bound without its IOMMU is named in the log, with the IOMMU. */
static void bound_without_iommu(struct kunit *test)
{
	const struct mock_iommu_param *param = test->param_value;
	struct setup *s = setup(test);
	struct fake_pci_log *log;
	const char *line;
	int n = 0;

	if (param->kind != MOCK_IOMMU_FWSPEC)
		kunit_skip(test, "without a fwspec nobody knows that it has one");

	plug(s);
	log = fake_pci_log(test, NTB);
	fake_pci_boot(s->host);
	if (IS_ENABLED(CONFIG_MODULES))
		kunit_skip(test, "drivers are deferred, a module may come");
	KUNIT_ASSERT_NOT_NULL(test, fake_pci_dev(s->host, NTB)->dev.driver);

	while ((line = fake_pci_log_next(log)))
		n += !!strstr(line, "IOMMU kunit-iommu has no driver");
	KUNIT_EXPECT_EQ(test, 1, n);
}

static void disable_vfs(void *data)
{
	struct setup *s = data;

	pci_lock_rescan_remove();
	pci_disable_sriov(s->pdev);
	pci_unlock_rescan_remove();
	s->nr_vfs = 0;
}

/*
 * Virtual functions come one by one, while their physical function is bound,
 * each with a group of its own.
 */
static void virtual_functions(struct kunit *test)
{
	struct setup *s = setup(test);
	int i;

	if (!IS_ENABLED(CONFIG_PCI_IOV))
		kunit_skip(test, "needs CONFIG_PCI_IOV");

	switchtec_regs_plug(s->regs, s->host, &ntb_with_vfs);
	fake_pci_add_all(s->host, vfs);
	mock_iommu_register(s->iommu);
	fake_pci_boot(s->host);
	s->pdev = fake_pci_dev(s->host, NTB);
	expect_programmed(s, 1);

	s->nr_vfs = NR_VFS;
	pci_lock_rescan_remove();
	KUNIT_EXPECT_EQ(test, 0, pci_enable_sriov(s->pdev, NR_VFS));
	pci_unlock_rescan_remove();
	KUNIT_ASSERT_EQ(test, 0,
			kunit_add_action_or_reset(test, disable_vfs, s));
	expect_programmed(s, 1 + NR_VFS);
	for (i = 0; i < NR_VFS; i++)
		KUNIT_EXPECT_FALSE(test,
				   mock_iommu_same_group(s->pdev,
							 fake_pci_dev(s->host,
								      vfs[i].at)));

	kunit_release_action(test, disable_vfs, s);
	expect_programmed(s, 1 + NR_VFS);
}

/*
 * One of its aliases is the requester ID of a neighbour: both are in one
 * group, whichever of them the scan finds first.
 */
static void alias_is_neighbour(struct kunit *test)
{
	struct setup *s = setup(test);

	set_proxy_ids(s, NEIGHBOURS_ID);
	fake_pci_boot(s->host);
	mock_iommu_register(s->iommu);
	plug(s);
	fake_pci_add(s->host, &neighbour);
	fake_pci_rescan(s->host);

	KUNIT_EXPECT_TRUE(test,
			  mock_iommu_same_group(fake_pci_dev(s->host, NTB),
						fake_pci_dev(s->host, NEIGHBOUR)));
	expect_programmed(s, 1);
}

/* Two devices have aliases in common: no IOMMU can tell their DMA apart. */
static void alias_in_common(struct kunit *test)
{
	struct setup *s = setup(test);

	fake_pci_boot(s->host);
	mock_iommu_register(s->iommu);
	plug(s);
	switchtec_regs_plug(s->regs, s->host, &second_ntb);
	fake_pci_rescan(s->host);

	KUNIT_EXPECT_TRUE(test,
			  mock_iommu_same_group(fake_pci_dev(s->host, NTB),
						fake_pci_dev(s->host, NEIGHBOUR)));
	KUNIT_EXPECT_EQ(test, 2, s->probes);
	KUNIT_EXPECT_EQ(test, 0, s->unprogrammed);
}

/*
 * The devices of a bus are stopped one by one and then removed. A driver that
 * is tried in between must not get one: an IOMMU would leave it alone.
 */
static void bind_during_remove(struct kunit *test)
{
	struct setup *s = setup(test);

	plug(s);
	switchtec_regs_plug(s->regs, s->host, &second_ntb);
	fake_pci_boot(s->host);
	KUNIT_EXPECT_EQ(test, 2, s->probes);

	/* The last on the bus is stopped first */
	s->rebind = fake_pci_dev(s->host, NEIGHBOUR);
	fake_pci_remove(s->host, "00:01.0");
	KUNIT_EXPECT_EQ(test, 2, s->probes);
}

/* An alias that a driver adds in its probe is too late: nothing changes. */
static void driver_adds_alias(struct kunit *test)
{
	struct setup *s = setup(test);
	struct pci_dev *pdev;

	s->add_alias = true;
	fake_pci_boot(s->host);
	mock_iommu_register(s->iommu);
	plug(s);
	fake_pci_rescan(s->host);

	pdev = fake_pci_dev(s->host, NTB);
	KUNIT_ASSERT_NOT_NULL(test, pdev->dma_alias_mask);
	KUNIT_EXPECT_FALSE(test, test_bit(LATE_ALIAS, pdev->dma_alias_mask));
	KUNIT_EXPECT_EQ(test, NR_PROXY_IDS,
			bitmap_weight(pdev->dma_alias_mask, MAX_NR_DEVFNS));
	expect_programmed(s, 1);
}

/* Something that happens beside the test */
static struct task_struct *start(struct setup *s, int (*fn)(void *))
{
	struct task_struct *task = kthread_run(fn, s, "kunit-dma-alias");

	KUNIT_ASSERT_NOT_ERR_OR_NULL(s->test, task);
	return get_task_struct(task);
}

static int register_iommu(void *data)
{
	struct setup *s = data;

	mock_iommu_register(s->iommu);
	return 0;
}

static int unregister_iommu(void *data)
{
	struct setup *s = data;

	mock_iommu_unregister(s->iommu);
	return 0;
}

static int attach_driver(void *data)
{
	struct setup *s = data;

	return device_attach(&s->pdev->dev);
}

static int remove_device(void *data)
{
	struct setup *s = data;

	pci_stop_and_remove_bus_device_locked(s->pdev);
	return 0;
}

/* Long enough for a thread that nothing stops to be through */
#define A_WHILE	100	/* ms */

/*
 * A driver that is tried while the IOMMU is about to group its device waits or
 * is deferred. It must not take the device for one without an IOMMU.
 */
static void bind_during_probe(struct kunit *test)
{
	struct setup *s = setup(test);
	struct task_struct *iommu, *driver;

	plug(s);
	fake_pci_boot(s->host);
	s->pdev = fake_pci_dev(s->host, NTB);
	device_release_driver(&s->pdev->dev);
	s->probes = 0;
	s->unprogrammed = 0;

	mock_iommu_hold_probe(s->iommu, s->pdev);
	iommu = start(s, register_iommu);
	mock_iommu_wait_held(s->iommu);
	driver = start(s, attach_driver);
	msleep(A_WHILE);
	KUNIT_EXPECT_EQ(test, 0, s->probes);
	mock_iommu_go_on(s->iommu);
	kthread_stop_put(driver);
	kthread_stop_put(iommu);
	KUNIT_EXPECT_EQ(test, 0, s->unprogrammed);

	/* What was deferred finds all in place */
	KUNIT_EXPECT_GE(test, device_attach(&s->pdev->dev), 0);
	expect_programmed(s, 1);
}

/* A device that is removed in the midst of its probe leaves nothing behind. */
static void remove_during_probe(struct kunit *test)
{
	struct setup *s = setup(test);
	struct task_struct *iommu, *remover;

	plug(s);
	fake_pci_boot(s->host);
	s->pdev = fake_pci_dev(s->host, NTB);
	device_release_driver(&s->pdev->dev);

	mock_iommu_hold_probe(s->iommu, s->pdev);
	iommu = start(s, register_iommu);
	mock_iommu_wait_held(s->iommu);
	remover = start(s, remove_device);
	msleep(A_WHILE);
	mock_iommu_go_on(s->iommu);
	kthread_stop_put(remover);
	kthread_stop_put(iommu);

	KUNIT_EXPECT_FALSE(test, device_iommu_mapped(&s->pdev->dev));
	KUNIT_EXPECT_FALSE(test, mock_iommu_programmed(s->iommu, PCI_DEVID(1, 0)));
}

/* Nor does one that is removed before its group has a default domain. */
static void remove_before_default_domain(struct kunit *test)
{
	struct setup *s = setup(test);
	struct task_struct *iommu, *remover;
	struct iommu_group *group;

	plug(s);
	fake_pci_add(s->host, &neighbour);
	fake_pci_boot(s->host);
	s->pdev = fake_pci_dev(s->host, NTB);
	device_release_driver(&s->pdev->dev);

	/* The walk has passed the NTB and comes to its neighbour */
	mock_iommu_hold_probe(s->iommu, fake_pci_dev(s->host, NEIGHBOUR));
	iommu = start(s, register_iommu);
	mock_iommu_wait_held(s->iommu);
	/* Without this the group may be gone, and a kernel that fails hangs */
	group = iommu_group_get(&s->pdev->dev);
	remover = start(s, remove_device);
	msleep(A_WHILE);
	mock_iommu_go_on(s->iommu);
	kthread_stop_put(remover);
	kthread_stop_put(iommu);
	iommu_group_put(group);

	KUNIT_EXPECT_FALSE(test, device_iommu_mapped(&s->pdev->dev));
	KUNIT_EXPECT_FALSE(test, mock_iommu_programmed(s->iommu, PCI_DEVID(1, 0)));
	KUNIT_EXPECT_TRUE(test, mock_iommu_programmed(s->iommu,
						      PCI_DEVID(1, NEIGHBOURS_ID)));
}

/*
 * A device that was released already, and for which a driver is tried before
 * the IOMMU is gone altogether, is not given to the IOMMU once more.
 */
static void bind_during_unregister(struct kunit *test)
{
	struct setup *s = setup(test);
	struct task_struct *iommu, *driver;

	plug(s);
	fake_pci_add(s->host, &neighbour);
	fake_pci_boot(s->host);
	s->pdev = fake_pci_dev(s->host, NTB);
	device_release_driver(&s->pdev->dev);
	mock_iommu_register(s->iommu);

	mock_iommu_hold_release(s->iommu, fake_pci_dev(s->host, NEIGHBOUR));
	iommu = start(s, unregister_iommu);
	mock_iommu_wait_held(s->iommu);
	driver = start(s, attach_driver);
	msleep(A_WHILE);
	mock_iommu_go_on(s->iommu);
	kthread_stop_put(driver);
	kthread_stop_put(iommu);

	KUNIT_EXPECT_FALSE(test, device_iommu_mapped(&s->pdev->dev));
	KUNIT_EXPECT_FALSE(test, mock_iommu_programmed(s->iommu, PCI_DEVID(1, 0)));
}

static struct kunit_case dma_alias_time_cases[] = {
	KUNIT_CASE_PARAM(hot_add, mock_iommu_gen_params),
	KUNIT_CASE_PARAM(remove_and_rescan, mock_iommu_gen_params),
	KUNIT_CASE_PARAM(replaced, mock_iommu_gen_params),
	KUNIT_CASE_PARAM(late_host, mock_iommu_gen_params),
	KUNIT_CASE_PARAM(whole_subtree, mock_iommu_gen_params),
	KUNIT_CASE_PARAM(late_iommu, mock_iommu_gen_params),
	KUNIT_CASE_PARAM(bound_before_iommu, mock_iommu_gen_params),
	KUNIT_CASE_PARAM(bound_without_iommu, mock_iommu_gen_params),
	KUNIT_CASE_PARAM(virtual_functions, mock_iommu_gen_params),
	KUNIT_CASE_PARAM(alias_is_neighbour, mock_iommu_gen_params),
	KUNIT_CASE_PARAM(alias_in_common, mock_iommu_gen_params),
	KUNIT_CASE_PARAM(bind_during_remove, mock_iommu_gen_params),
	KUNIT_CASE_PARAM(driver_adds_alias, mock_iommu_gen_params),
	KUNIT_CASE_PARAM(bind_during_probe, mock_iommu_gen_params),
	KUNIT_CASE_PARAM(remove_during_probe, mock_iommu_gen_params),
	KUNIT_CASE_PARAM(remove_before_default_domain, mock_iommu_gen_params),
	KUNIT_CASE_PARAM(bind_during_unregister, mock_iommu_gen_params),
	{ }
};

static struct kunit_suite dma_alias_time_suite = {
	.name = "dma_alias_time",
	.test_cases = dma_alias_time_cases,
};

kunit_test_suite(dma_alias_time_suite);

MODULE_DESCRIPTION("KUnit tests of when DMA aliases are known");
MODULE_LICENSE("GPL");
