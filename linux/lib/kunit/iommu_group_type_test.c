// SPDX-License-Identifier: GPL-2.0
/*
 * KUnit tests of the type of default domain that an IOMMU group has: it
 * depends on all devices of the group, and not on who came first.
 *
 * Three endpoints below a switch that does not isolate them are in one group,
 * with the switch. The IOMMU (iommu_mock.c) remembers which device was ever
 * attached to an identity domain.
 */
#include <kunit/test.h>
#include <linux/iommu.h>
#include <linux/kernfs.h>
#include <linux/msi.h>
#include <linux/pci.h>
#include <linux/pci-ats.h>
#include <linux/sysfs.h>

#include "fake_pci.h"
#include "iommu_mock.h"

#define TEST_VENDOR		0x1af5
#define TEST_DEVICE		0x0010
#define UNTRUSTED_DEVICE	0x0011

static const struct fake_pci_desc nothing_isolated[] = {
	{ "00:01.0", FAKE_ROOT_PORT, .bus = 1, .last_bus = 5,
	  .acs = FAKE_ACS_FULL },
	{ "01:00.0", FAKE_UPSTREAM, .bus = 2, .last_bus = 5 },
	{ "02:00.0", FAKE_DOWNSTREAM, .bus = 3, .mfd = true },
	{ "02:00.1", FAKE_DOWNSTREAM, .bus = 4 },
	{ "02:00.2", FAKE_DOWNSTREAM, .bus = 5 },
	{ }
};

/* A, B and C */
static const struct fake_pci_desc endpoints[] = {
	{ "03:00.0", FAKE_ENDPOINT, .vendor = TEST_VENDOR, .device = TEST_DEVICE,
	  .ats = true },
	{ "04:00.0", FAKE_ENDPOINT },
	{ "05:00.0", FAKE_ENDPOINT },
};

#define RID_OF(letter)	PCI_DEVID(3 + (letter) - 'A', 0)

struct machine {
	struct kunit *test;
	struct mock_iommu *iommu;
	struct fake_pci_host *host;
};

/* Whatever the configuration says, a test says which type the others want */
static void default_type(bool passthrough)
{
	if (passthrough)
		iommu_set_default_passthrough(false);
	else
		iommu_set_default_translated(false);
}

static void restore_default_type(void *passthrough)
{
	default_type(passthrough);
}

static struct machine machine(struct kunit *test, bool passthrough)
{
	struct machine m = { .test = test };

	if (!IS_ENABLED(CONFIG_IOMMU_DMA))
		kunit_skip(test, "all default domains are identity domains");

	KUNIT_ASSERT_EQ(test, 0,
			kunit_add_action_or_reset(test, restore_default_type,
						  iommu_default_passthrough() ?
						  test : NULL));
	default_type(passthrough);

	m.iommu = mock_iommu(test, MOCK_IOMMU_WALK);
	mock_iommu_any_type(m.iommu);
	m.host = fake_pci_host(test, NULL);
	fake_pci_add_all(m.host, nothing_isolated);
	return m;
}

static void start(struct machine *m)
{
	fake_pci_boot(m->host);
	mock_iommu_register(m->iommu);
}

static void plug(struct machine *m, char letter)
{
	fake_pci_add(m->host, &endpoints[letter - 'A']);
}

static void hot_add(struct machine *m, char letter)
{
	plug(m, letter);
	fake_pci_rescan(m->host);
}

static struct pci_dev *endpoint(struct machine *m, char letter)
{
	return fake_pci_dev(m->host, endpoints[letter - 'A'].at);
}

/* Of the domain that the group is attached to; 0 without a group */
static unsigned int type_of(struct pci_dev *pdev)
{
	struct iommu_domain *domain = iommu_get_domain_for_dev(&pdev->dev);

	return domain ? domain->type : 0;
}

static void expect_refused(struct machine *m, char letter)
{
	struct pci_dev *pdev = endpoint(m, letter);
	int ret;

	KUNIT_EXPECT_FALSE(m->test, device_iommu_mapped(&pdev->dev));
	KUNIT_EXPECT_FALSE(m->test,
			   mock_iommu_programmed(m->iommu, RID_OF(letter)));
	KUNIT_EXPECT_FALSE(m->test,
			   mock_iommu_was_identity(m->iommu, RID_OF(letter)));
	/* As a driver is told that is about to be bound */
	ret = iommu_device_use_default_domain(&pdev->dev);
	KUNIT_EXPECT_EQ(m->test, -EPROBE_DEFER, ret);
	if (!ret)
		iommu_device_unuse_default_domain(&pdev->dev);
	KUNIT_EXPECT_EQ(m->test, 0, mock_iommu_wrong_old(m->iommu));
}

/* Write to the file "type" of the group of @pdev */
static ssize_t write_type(struct machine *m, struct pci_dev *pdev,
			  const char *type)
{
	struct kernfs_node *link, *group, *file;
	struct kobject *kobj;
	ssize_t ret;

	link = sysfs_get_dirent(pdev->dev.kobj.sd, "iommu_group");
	KUNIT_ASSERT_NOT_NULL(m->test, link);
	group = link->symlink.target_kn;
	kobj = group->priv;
	file = sysfs_get_dirent(group, "type");
	sysfs_put(link);
	KUNIT_ASSERT_NOT_NULL(m->test, file);
	ret = kobj->ktype->sysfs_ops->store(kobj, file->priv, type, strlen(type));
	sysfs_put(file);
	return ret;
}

/* --- a device that asks for a type ------------------------------------- */

struct arrival {
	const char *order;		/* of A, B and C */
	bool passthrough;		/* A and C get it, alone */
};

static const struct arrival arrivals[] = {
	{ "ABC", true }, { "ACB", true }, { "BAC", true },
	{ "BCA", true }, { "CAB", true }, { "CBA", true },
	{ "ABC", false }, { "ACB", false }, { "BAC", false },
	{ "BCA", false }, { "CAB", false }, { "CBA", false },
};

static void describe(const struct arrival *arrival, char *desc)
{
	scnprintf(desc, KUNIT_PARAM_DESC_SIZE, "%s, default %s", arrival->order,
		  arrival->passthrough ? "identity" : "DMA");
}

KUNIT_ARRAY_PARAM(arrival, arrivals, describe);

/* B needs what is not the default */
static int needed(const struct arrival *arrival)
{
	return arrival->passthrough ? IOMMU_DOMAIN_DMA : IOMMU_DOMAIN_IDENTITY;
}

static void expect_needed(struct machine *m, const struct arrival *arrival)
{
	char letter;

	for (letter = 'A'; letter <= 'C'; letter++)
		KUNIT_EXPECT_EQ_MSG(m->test, needed(arrival),
				    type_of(endpoint(m, letter)), "%c", letter);
	if (arrival->passthrough)
		KUNIT_EXPECT_FALSE(m->test,
				   mock_iommu_was_identity(m->iommu, RID_OF('B')));
	KUNIT_EXPECT_EQ(m->test, 0, mock_iommu_wrong_old(m->iommu));
}

/* Control: all are there when the IOMMU comes. */
static void at_boot(struct kunit *test)
{
	const struct arrival *arrival = test->param_value;
	struct machine m = machine(test, arrival->passthrough);
	int i;

	mock_iommu_wish(m.iommu, RID_OF('B'), needed(arrival));
	for (i = 0; i < 3; i++)
		plug(&m, arrival->order[i]);
	start(&m);

	expect_needed(&m, arrival);
}

/* The group has a default domain before B comes, and another one after it. */
static void one_by_one(struct kunit *test)
{
	const struct arrival *arrival = test->param_value;
	struct machine m = machine(test, arrival->passthrough);
	int i;

	mock_iommu_wish(m.iommu, RID_OF('B'), needed(arrival));
	start(&m);
	for (i = 0; i < 3; i++)
		hot_add(&m, arrival->order[i]);

	expect_needed(&m, arrival);
}

/* A driver error: identity wins, as it does at boot. */
static void contradiction(struct kunit *test)
{
	struct machine m = machine(test, false);

	mock_iommu_wish(m.iommu, RID_OF('A'), IOMMU_DOMAIN_DMA);
	mock_iommu_wish(m.iommu, RID_OF('B'), IOMMU_DOMAIN_IDENTITY);
	plug(&m, 'A');
	start(&m);
	hot_add(&m, 'B');

	KUNIT_EXPECT_EQ(test, IOMMU_DOMAIN_IDENTITY, type_of(endpoint(&m, 'A')));
	KUNIT_EXPECT_EQ(test, IOMMU_DOMAIN_IDENTITY, type_of(endpoint(&m, 'B')));
	KUNIT_EXPECT_EQ(test, 0, mock_iommu_wrong_old(m.iommu));
}

/* A device that cannot be attached has never been in the group's domain. */
static void never_attached(struct kunit *test)
{
	struct machine m = machine(test, false);

	plug(&m, 'A');
	start(&m);
	mock_iommu_fail_attach(m.iommu, RID_OF('B'));
	hot_add(&m, 'B');

	expect_refused(&m, 'B');
}

/* --- a device that is not trusted --------------------------------------- */

static void untrusted_fixup(struct pci_dev *pdev)
{
	pdev->untrusted = true;
}
DECLARE_PCI_FIXUP_HEADER(TEST_VENDOR, UNTRUSTED_DEVICE, untrusted_fixup);

static void plug_untrusted(struct machine *m, char letter)
{
	struct fake_pci_desc desc = endpoints[letter - 'A'];

	desc.vendor = TEST_VENDOR;
	desc.device = UNTRUSTED_DEVICE;
	fake_pci_add(m->host, &desc);
}

static void hot_add_untrusted(struct machine *m, char letter)
{
	plug_untrusted(m, letter);
	fake_pci_rescan(m->host);
}

static void untrusted_into_identity(struct kunit *test)
{
	struct machine m = machine(test, true);

	plug(&m, 'A');
	start(&m);
	KUNIT_ASSERT_EQ(test, IOMMU_DOMAIN_IDENTITY, type_of(endpoint(&m, 'A')));
	hot_add_untrusted(&m, 'B');

	KUNIT_EXPECT_TRUE(test, endpoint(&m, 'B')->untrusted);
	KUNIT_EXPECT_EQ(test, IOMMU_DOMAIN_DMA, type_of(endpoint(&m, 'A')));
	KUNIT_EXPECT_EQ(test, IOMMU_DOMAIN_DMA, type_of(endpoint(&m, 'B')));
	KUNIT_EXPECT_FALSE(test, mock_iommu_was_identity(m.iommu, RID_OF('B')));
	KUNIT_EXPECT_EQ(test, 0, mock_iommu_wrong_old(m.iommu));
}

/* Where a device needs identity one that is not trusted cannot be. */
static void untrusted_beside_identity(struct kunit *test)
{
	struct machine m = machine(test, false);

	mock_iommu_wish(m.iommu, RID_OF('A'), IOMMU_DOMAIN_IDENTITY);
	plug(&m, 'A');
	start(&m);
	hot_add_untrusted(&m, 'B');

	KUNIT_EXPECT_EQ(test, IOMMU_DOMAIN_IDENTITY, type_of(endpoint(&m, 'A')));
	expect_refused(&m, 'B');
}

/* The same if both are there before: it does not take the IOMMU from others. */
static void untrusted_beside_identity_at_boot(struct kunit *test)
{
	struct machine m = machine(test, false);

	mock_iommu_wish(m.iommu, RID_OF('A'), IOMMU_DOMAIN_IDENTITY);
	plug(&m, 'A');
	plug_untrusted(&m, 'B');
	start(&m);

	KUNIT_EXPECT_EQ(test, IOMMU_DOMAIN_IDENTITY, type_of(endpoint(&m, 'A')));
	expect_refused(&m, 'B');
}

/* --- a group that is in use --------------------------------------------- */

static int bind_probe(struct pci_dev *pdev, const struct pci_device_id *id)
{
	return 0;
}

/* As far as a driver gets that enables MSIs, and the IOMMU core looks */
static int managed_probe(struct pci_dev *pdev, const struct pci_device_id *id)
{
	return msi_setup_device_data(&pdev->dev);
}

static const struct pci_device_id bind_ids[] = {
	{ PCI_DEVICE(TEST_VENDOR, TEST_DEVICE) },
	{ }
};

static struct pci_driver drivers[] = {
	{ .name = "kunit-type", .id_table = bind_ids, .probe = bind_probe },
	{ .name = "kunit-type-managed", .id_table = bind_ids,
	  .probe = managed_probe, .driver_managed_dma = true },
};

static void unbind(void *driver)
{
	pci_unregister_driver(driver);
}

/* Has A bound, as long as the test lasts or until unbind() is released */
static struct pci_driver *bind(struct machine *m, bool managed)
{
	struct pci_driver *driver = &drivers[managed];

	KUNIT_ASSERT_EQ(m->test, 0, pci_register_driver(driver));
	KUNIT_ASSERT_EQ(m->test, 0,
			kunit_add_action_or_reset(m->test, unbind, driver));
	KUNIT_ASSERT_PTR_EQ(m->test, &driver->driver,
			    endpoint(m, 'A')->dev.driver);
	return driver;
}

/* Neither is the type changed below the driver, nor does B do without. */
static void below_a_driver(struct kunit *test)
{
	struct machine m = machine(test, true);
	struct fake_pci_log *log = fake_pci_log(test, "04:00.0");
	struct pci_driver *driver;
	int said = 0, joined = 0;
	const char *line;

	plug(&m, 'A');
	start(&m);
	driver = bind(&m, false);
	mock_iommu_wish(m.iommu, RID_OF('B'), IOMMU_DOMAIN_DMA);
	hot_add(&m, 'B');

	KUNIT_EXPECT_EQ(test, IOMMU_DOMAIN_IDENTITY, type_of(endpoint(&m, 'A')));
	expect_refused(&m, 'B');
	while ((line = fake_pci_log_next(log))) {
		said += !!strstr(line, "added to");
		joined += !!strstr(line, "Adding to");
	}
	KUNIT_EXPECT_EQ(test, 1, said);
	KUNIT_EXPECT_EQ(test, 0, joined);

	/* It is no harm to those that ask for nothing */
	hot_add(&m, 'C');
	KUNIT_EXPECT_EQ(test, IOMMU_DOMAIN_IDENTITY, type_of(endpoint(&m, 'C')));

	/* What the message says helps */
	kunit_release_action(test, unbind, driver);
	fake_pci_remove(m.host, "04:00.0");
	fake_pci_rescan(m.host);
	KUNIT_EXPECT_EQ(test, IOMMU_DOMAIN_DMA, type_of(endpoint(&m, 'A')));
	KUNIT_EXPECT_EQ(test, IOMMU_DOMAIN_DMA, type_of(endpoint(&m, 'B')));
	KUNIT_EXPECT_FALSE(test, mock_iommu_was_identity(m.iommu, RID_OF('B')));
	KUNIT_EXPECT_EQ(test, 0, mock_iommu_wrong_old(m.iommu));
}

/* The same where it is identity that it needs. */
static void identity_below_a_driver(struct kunit *test)
{
	struct machine m = machine(test, false);

	plug(&m, 'A');
	start(&m);
	bind(&m, false);
	mock_iommu_wish(m.iommu, RID_OF('B'), IOMMU_DOMAIN_IDENTITY);
	hot_add(&m, 'B');

	KUNIT_EXPECT_EQ(test, IOMMU_DOMAIN_DMA, type_of(endpoint(&m, 'A')));
	expect_refused(&m, 'B');
}

/* A group of which a device is being reset waits for the end of it. */
static void below_a_reset(struct kunit *test)
{
	struct machine m = machine(test, true);
	struct pci_dev *a;

	plug(&m, 'A');
	start(&m);
	a = endpoint(&m, 'A');
	KUNIT_ASSERT_TRUE(test, pci_ats_supported(a));
	KUNIT_ASSERT_EQ(test, 0, pci_dev_reset_iommu_prepare(a));
	KUNIT_EXPECT_FALSE(test, mock_iommu_programmed(m.iommu, RID_OF('A')));
	mock_iommu_wish(m.iommu, RID_OF('B'), IOMMU_DOMAIN_DMA);
	hot_add(&m, 'B');

	expect_refused(&m, 'B');
	KUNIT_EXPECT_FALSE(test, mock_iommu_programmed(m.iommu, RID_OF('A')));
	pci_dev_reset_iommu_done(a);
	KUNIT_EXPECT_TRUE(test, mock_iommu_programmed(m.iommu, RID_OF('A')));
	KUNIT_EXPECT_EQ(test, IOMMU_DOMAIN_IDENTITY, type_of(a));

	/* No reset is left in the counters, or this would wait for its end */
	fake_pci_remove(m.host, "04:00.0");
	fake_pci_rescan(m.host);
	KUNIT_EXPECT_EQ(test, IOMMU_DOMAIN_DMA, type_of(a));
	KUNIT_EXPECT_EQ(test, IOMMU_DOMAIN_DMA, type_of(endpoint(&m, 'B')));
	KUNIT_EXPECT_EQ(test, 0, mock_iommu_wrong_old(m.iommu));
}

/* A port's driver is no reason to refuse where its MSIs do not mind. */
static void below_a_port_driver(struct kunit *test)
{
	struct machine m = machine(test, true);

	plug(&m, 'A');
	start(&m);
	bind(&m, true);
	mock_iommu_wish(m.iommu, RID_OF('B'), IOMMU_DOMAIN_DMA);
	hot_add(&m, 'B');

	KUNIT_EXPECT_EQ(test, IOMMU_DOMAIN_DMA, type_of(endpoint(&m, 'A')));
	KUNIT_EXPECT_EQ(test, IOMMU_DOMAIN_DMA, type_of(endpoint(&m, 'B')));
}

/* Where they would be lost it is, for a newcomer and for the administrator. */
static void below_translated_msis(struct kunit *test)
{
	struct machine m = machine(test, true);
	struct pci_driver *driver;

	mock_iommu_translate_msis(m.iommu);
	plug(&m, 'A');
	start(&m);
	driver = bind(&m, true);
	mock_iommu_wish(m.iommu, RID_OF('B'), IOMMU_DOMAIN_DMA);
	hot_add(&m, 'B');

	KUNIT_EXPECT_EQ(test, IOMMU_DOMAIN_IDENTITY, type_of(endpoint(&m, 'A')));
	expect_refused(&m, 'B');

	kunit_release_action(test, unbind, driver);
	fake_pci_remove(m.host, "04:00.0");
	fake_pci_rescan(m.host);
	KUNIT_EXPECT_EQ(test, IOMMU_DOMAIN_DMA, type_of(endpoint(&m, 'B')));
}

static void type_file_below_translated_msis(struct kunit *test)
{
	struct machine m = machine(test, true);
	struct pci_driver *driver;

	mock_iommu_translate_msis(m.iommu);
	plug(&m, 'A');
	start(&m);
	driver = bind(&m, true);
	KUNIT_EXPECT_EQ(test, -EPERM, write_type(&m, endpoint(&m, 'A'), "DMA"));
	KUNIT_EXPECT_EQ(test, IOMMU_DOMAIN_IDENTITY, type_of(endpoint(&m, 'A')));

	kunit_release_action(test, unbind, driver);
	KUNIT_EXPECT_EQ(test, 3, write_type(&m, endpoint(&m, 'A'), "DMA"));
	KUNIT_EXPECT_EQ(test, IOMMU_DOMAIN_DMA, type_of(endpoint(&m, 'A')));
}

/* --- a type that the administrator has chosen --------------------------- */

/* It stands for devices that ask for nothing, and not against those that do. */
static void chosen_in_sysfs(struct kunit *test)
{
	struct machine m = machine(test, false);

	plug(&m, 'A');
	start(&m);
	KUNIT_EXPECT_EQ(test, 8, write_type(&m, endpoint(&m, 'A'), "identity"));
	hot_add(&m, 'C');
	KUNIT_EXPECT_EQ(test, IOMMU_DOMAIN_IDENTITY, type_of(endpoint(&m, 'C')));

	mock_iommu_wish(m.iommu, RID_OF('B'), IOMMU_DOMAIN_DMA);
	hot_add(&m, 'B');
	KUNIT_EXPECT_EQ(test, IOMMU_DOMAIN_DMA, type_of(endpoint(&m, 'C')));
	KUNIT_EXPECT_EQ(test, IOMMU_DOMAIN_DMA, type_of(endpoint(&m, 'B')));
	KUNIT_EXPECT_EQ(test, -EINVAL,
			write_type(&m, endpoint(&m, 'A'), "identity"));
	KUNIT_EXPECT_FALSE(test, mock_iommu_was_identity(m.iommu, RID_OF('B')));
	KUNIT_EXPECT_EQ(test, 0, mock_iommu_wrong_old(m.iommu));
}

/* Nor is batched invalidation what a device gets that asks for DMA at boot. */
static void flush_queue(struct kunit *test)
{
	struct machine m = machine(test, false);

	plug(&m, 'A');
	start(&m);
	KUNIT_EXPECT_EQ(test, 6, write_type(&m, endpoint(&m, 'A'), "DMA-FQ"));
	mock_iommu_wish(m.iommu, RID_OF('B'), IOMMU_DOMAIN_DMA);
	hot_add(&m, 'B');

	KUNIT_EXPECT_EQ(test, IOMMU_DOMAIN_DMA, type_of(endpoint(&m, 'A')));
	KUNIT_EXPECT_EQ(test, IOMMU_DOMAIN_DMA, type_of(endpoint(&m, 'B')));
	KUNIT_EXPECT_EQ(test, 0, mock_iommu_wrong_old(m.iommu));
}

/* Chosen for a group with such a device, it is for the next one, too. */
static void flush_queue_for_both(struct kunit *test)
{
	struct machine m = machine(test, false);

	mock_iommu_wish(m.iommu, RID_OF('A'), IOMMU_DOMAIN_DMA);
	mock_iommu_wish(m.iommu, RID_OF('B'), IOMMU_DOMAIN_DMA);
	plug(&m, 'A');
	start(&m);
	KUNIT_EXPECT_EQ(test, 6, write_type(&m, endpoint(&m, 'A'), "DMA-FQ"));
	bind(&m, false);
	hot_add(&m, 'B');

	KUNIT_EXPECT_EQ(test, IOMMU_DOMAIN_DMA_FQ, type_of(endpoint(&m, 'A')));
	KUNIT_EXPECT_EQ(test, IOMMU_DOMAIN_DMA_FQ, type_of(endpoint(&m, 'B')));
}

/* Least of all for a device that may use what is still in a TLB. */
static void untrusted_into_flush_queue(struct kunit *test)
{
	struct machine m = machine(test, false);

	plug(&m, 'A');
	start(&m);
	KUNIT_EXPECT_EQ(test, 6, write_type(&m, endpoint(&m, 'A'), "DMA-FQ"));
	hot_add_untrusted(&m, 'B');

	KUNIT_EXPECT_EQ(test, IOMMU_DOMAIN_DMA, type_of(endpoint(&m, 'A')));
	KUNIT_EXPECT_EQ(test, IOMMU_DOMAIN_DMA, type_of(endpoint(&m, 'B')));
	KUNIT_EXPECT_EQ(test, 0, mock_iommu_wrong_old(m.iommu));
}

/* If that would take memory away from a driver, it stays out. */
static void untrusted_into_flush_queue_in_use(struct kunit *test)
{
	struct machine m = machine(test, false);

	plug(&m, 'A');
	start(&m);
	KUNIT_EXPECT_EQ(test, 6, write_type(&m, endpoint(&m, 'A'), "DMA-FQ"));
	bind(&m, false);
	hot_add_untrusted(&m, 'B');

	KUNIT_EXPECT_EQ(test, IOMMU_DOMAIN_DMA_FQ, type_of(endpoint(&m, 'A')));
	expect_refused(&m, 'B');
}

static struct kunit_case iommu_group_type_cases[] = {
	KUNIT_CASE_PARAM(at_boot, arrival_gen_params),
	KUNIT_CASE_PARAM(one_by_one, arrival_gen_params),
	KUNIT_CASE(contradiction),
	KUNIT_CASE(never_attached),
	KUNIT_CASE(untrusted_into_identity),
	KUNIT_CASE(untrusted_beside_identity),
	KUNIT_CASE(untrusted_beside_identity_at_boot),
	KUNIT_CASE(below_a_driver),
	KUNIT_CASE(identity_below_a_driver),
	KUNIT_CASE(below_a_reset),
	KUNIT_CASE(below_a_port_driver),
	KUNIT_CASE(below_translated_msis),
	KUNIT_CASE(type_file_below_translated_msis),
	KUNIT_CASE(chosen_in_sysfs),
	KUNIT_CASE(flush_queue),
	KUNIT_CASE(flush_queue_for_both),
	KUNIT_CASE(untrusted_into_flush_queue),
	KUNIT_CASE(untrusted_into_flush_queue_in_use),
	{ }
};

static struct kunit_suite iommu_group_type_suite = {
	.name = "iommu_group_type",
	.test_cases = iommu_group_type_cases,
};

kunit_test_suite(iommu_group_type_suite);

MODULE_DESCRIPTION("KUnit tests of the default domain types of IOMMU groups");
MODULE_LICENSE("GPL");
