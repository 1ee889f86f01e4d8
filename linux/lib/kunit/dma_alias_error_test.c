// SPDX-License-Identifier: GPL-2.0
/*
 * KUnit tests of what pci_add_dma_alias() answers, and of what userspace is
 * shown.
 *
 * Aliases are for fixups to add, so a fixup of a device that only this file
 * knows asks the questions, and a driver that comes too late.
 *
 * Not verified here: -ENOMEM.
 */
#include <kunit/test.h>
#include <linux/bitmap.h>
#include <linux/pci.h>
#include <linux/sysfs.h>

#include "fake_pci.h"

#define MAX_NR_DEVFNS	256
#define ENDPOINT	"01:00.0"
#define TEST_VENDOR	0xfffd
#define TEST_DEVICE	0x0a11

static const struct fake_pci_desc topology[] = {
	{ "00:01.0", FAKE_ROOT_PORT, .bus = 1, .acs = FAKE_ACS_FULL },
	{ ENDPOINT, FAKE_ENDPOINT, .vendor = TEST_VENDOR,
	  .device = TEST_DEVICE },
	{ }
};

/* What the fixup was told; KUnit runs tests one after the other */
static struct {
	bool ran;
	int beyond_bus;
	int none;
	int one;
	int again;
	int last;
	int late;
} answers;

static void alias_fixup(struct pci_dev *pdev)
{
	answers.ran = true;
	answers.beyond_bus = pci_add_dma_alias(pdev, MAX_NR_DEVFNS - 1, 2);
	answers.none = pci_add_dma_alias(pdev, 8, 0);
	answers.one = pci_add_dma_alias(pdev, 8, 1);
	answers.again = pci_add_dma_alias(pdev, 8, 1);
	answers.last = pci_add_dma_alias(pdev, MAX_NR_DEVFNS - 2, 2);
}
DECLARE_PCI_FIXUP_FINAL(TEST_VENDOR, TEST_DEVICE, alias_fixup);

static struct pci_dev *boot(struct kunit *test)
{
	struct fake_pci_host *host = fake_pci_host(test, NULL);

	memset(&answers, 0, sizeof(answers));
	fake_pci_add_all(host, topology);
	fake_pci_boot(host);
	return fake_pci_dev(host, ENDPOINT);
}

/* What a fixup may ask for, and what it gets. */
static void from_fixup(struct kunit *test)
{
	DECLARE_BITMAP(expected, MAX_NR_DEVFNS) = { };
	struct pci_dev *pdev = boot(test);

	KUNIT_ASSERT_TRUE(test, answers.ran);
	KUNIT_EXPECT_EQ(test, -EINVAL, answers.beyond_bus);
	KUNIT_EXPECT_EQ(test, -EINVAL, answers.none);
	KUNIT_EXPECT_EQ(test, 0, answers.one);
	KUNIT_EXPECT_EQ(test, 0, answers.again);
	KUNIT_EXPECT_EQ(test, 0, answers.last);

	__set_bit(8, expected);
	bitmap_set(expected, MAX_NR_DEVFNS - 2, 2);
	KUNIT_ASSERT_NOT_NULL(test, pdev->dma_alias_mask);
	KUNIT_EXPECT_TRUE(test, bitmap_equal(expected, pdev->dma_alias_mask,
					     MAX_NR_DEVFNS));
}

/* Once the device is finished there is nothing more to add. */
static void when_finished(struct kunit *test)
{
	struct pci_dev *pdev = boot(test);

	KUNIT_EXPECT_TRUE(test, pci_dev_is_finished(pdev));
	KUNIT_EXPECT_EQ(test, -EBUSY, pci_add_dma_alias(pdev, 9, 1));
	KUNIT_EXPECT_FALSE(test, test_bit(9, pdev->dma_alias_mask));
	KUNIT_EXPECT_EQ(test, -EINVAL, pci_add_dma_alias(pdev, 9, 255));
	/* It is there, so there is nothing to refuse */
	KUNIT_EXPECT_EQ(test, 0, pci_add_dma_alias(pdev, 8, 1));
}

/* What the kernel said since @log began of an alias that it refused */
static void expect_refusal(struct kunit *test, struct fake_pci_log *log,
			   const char *alias)
{
	const char *line;
	int n = 0;

	while ((line = fake_pci_log_next(log))) {
		if (!strstr(line, "alias"))
			continue;
		n++;
		KUNIT_EXPECT_NOT_NULL_MSG(test, strstr(line, alias), "%s", line);
		KUNIT_EXPECT_NOT_NULL_MSG(test, strstr(line, "too late"), "%s",
					  line);
	}
	KUNIT_EXPECT_EQ(test, 1, n);
}

static int late_probe(struct pci_dev *pdev, const struct pci_device_id *id)
{
	answers.late = pci_add_dma_alias(pdev, PCI_DEVFN(2, 1), 1);
	return 0;
}

static const struct pci_device_id late_ids[] = {
	{ PCI_DEVICE(TEST_VENDOR, TEST_DEVICE) },
	{ }
};

static struct pci_driver late_driver = {
	.name = "kunit-late-alias",
	.id_table = late_ids,
	.probe = late_probe,
};

static void unregister_late_driver(void *unused)
{
	pci_unregister_driver(&late_driver);
}

/* A driver's probe is too late: it is told, and so is the administrator. */
static void from_driver(struct kunit *test)
{
	struct pci_dev *pdev = boot(test);
	struct fake_pci_log *log = fake_pci_log(test, ENDPOINT);

	KUNIT_ASSERT_EQ(test, 0, pci_register_driver(&late_driver));
	KUNIT_ASSERT_EQ(test, 0,
			kunit_add_action_or_reset(test, unregister_late_driver,
						  NULL));
	KUNIT_EXPECT_PTR_EQ(test, &late_driver.driver, pdev->dev.driver);
	KUNIT_EXPECT_EQ(test, -EBUSY, answers.late);
	KUNIT_EXPECT_FALSE(test, test_bit(PCI_DEVFN(2, 1),
					  pdev->dma_alias_mask));
	expect_refusal(test, log, " 02.1:");
}

/* An IOMMU driver that learns of one from firmware may still add it. */
static void from_firmware(struct kunit *test)
{
	struct pci_dev *pdev = boot(test);

	KUNIT_EXPECT_EQ(test, 0, pci_add_firmware_dma_alias(pdev, 9));
	KUNIT_EXPECT_TRUE(test, test_bit(9, pdev->dma_alias_mask));
}

/* What userspace reads from the file dma_aliases of @pdev */
static const char *shown(struct kunit *test, struct pci_dev *pdev)
{
	struct kobject *kobj = &pdev->dev.kobj;
	struct kernfs_node *file = sysfs_get_dirent(kobj->sd, "dma_aliases");
	char *page = kunit_kzalloc(test, PAGE_SIZE, GFP_KERNEL);
	ssize_t length;

	KUNIT_ASSERT_NOT_NULL(test, page);
	KUNIT_ASSERT_NOT_NULL(test, file);
	length = kobj->ktype->sysfs_ops->show(kobj, file->priv, page);
	sysfs_put(file);
	KUNIT_EXPECT_EQ(test, length, strlen(page));
	return page;
}

/* One ID a line, in ascending order, and never the device's own. */
static void in_sysfs(struct kunit *test)
{
	struct pci_dev *pdev = boot(test);
	int domain = pci_domain_nr(pdev->bus);
	char expected[64];

	scnprintf(expected, sizeof(expected),
		  "%04x:01:01.0\n%04x:01:1f.6\n%04x:01:1f.7\n",
		  domain, domain, domain);
	KUNIT_EXPECT_STREQ(test, expected, shown(test, pdev));

	KUNIT_EXPECT_EQ(test, 0, pci_add_firmware_dma_alias(pdev, pdev->devfn));
	KUNIT_EXPECT_STREQ(test, expected, shown(test, pdev));

	KUNIT_EXPECT_STREQ(test, "", shown(test, pdev->bus->self));
}

static struct kunit_case dma_alias_error_cases[] = {
	KUNIT_CASE(from_fixup),
	KUNIT_CASE(when_finished),
	KUNIT_CASE(from_driver),
	KUNIT_CASE(from_firmware),
	KUNIT_CASE(in_sysfs),
	{ }
};

static struct kunit_suite dma_alias_error_suite = {
	.name = "dma_alias_error",
	.test_cases = dma_alias_error_cases,
};

kunit_test_suite(dma_alias_error_suite);

MODULE_DESCRIPTION("KUnit tests of the errors of pci_add_dma_alias()");
MODULE_LICENSE("GPL");
