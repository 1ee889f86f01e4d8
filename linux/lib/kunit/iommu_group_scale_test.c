// SPDX-License-Identifier: GPL-2.0
/*
 * What it costs to form the IOMMU groups of many PCI functions.
 *
 * Times are printed, and not judged: they mean something only where the clock
 * counts instructions, as in QEMU with -icount shift=0. What is tested is that
 * the groups come out right.
 *
 *	iommu_group_kunit.scale=64,256,1024,4096
 *
 * gives the numbers of functions. For each there are two lines, the one for
 * functions that ACS isolates, the other for slots of eight that it does not:
 *
 *	N 4096 ACS 1 ns <1> group_ns <2> new_slot_ns <3> hot_add_ns <4>
 *
 * <1> is the registration of the IOMMU, when all functions but those of the
 * last slot are there, and <2> the part of it that pci_device_group() took. The
 * others come later: <3> is what that took for the first one of the slot, which
 * finds no group there, and <4> for the last one. Numbers are multiples of 8; of
 * less than 16 only the last function comes later, and <3> is 0.
 */
#include <kunit/test.h>
#include <linux/iommu.h>
#include <linux/ktime.h>
#include <linux/moduleparam.h>
#include <linux/pci.h>

#include "fake_pci.h"
#include "iommu_mock.h"

#define MAX_FUNCTIONS	16384

static unsigned int scale[16] = { 64 };
static unsigned int nr_scales = 1;
module_param_array(scale, uint, &nr_scales, 0444);
MODULE_PARM_DESC(scale, "numbers of PCI functions to form IOMMU groups of");

struct scale_param {
	unsigned int functions;
	bool acs;
};

static const void *scale_gen_params(struct kunit *test, const void *prev,
				    char *desc)
{
	static struct scale_param param;
	static unsigned int next;

	if (!prev)
		next = 0;
	if (next == 2 * nr_scales)
		return NULL;

	param.functions = scale[next / 2];
	param.acs = !(next % 2);
	snprintf(desc, KUNIT_PARAM_DESC_SIZE, "%u functions%s",
		 param.functions, param.acs ? " with ACS" : "");
	next++;
	return &param;
}

struct place {
	char at[sizeof("00:00.0")];
};

static struct place place(unsigned int bus, unsigned int devfn)
{
	struct place p;

	snprintf(p.at, sizeof(p.at), "%02x:%02x.%u", (u8)bus,
		 PCI_SLOT(devfn), PCI_FUNC(devfn));
	return p;
}

static void add(struct fake_pci_host *host, unsigned int bus,
		unsigned int devfn, struct fake_pci_desc desc)
{
	struct place p = place(bus, devfn);

	desc.at = p.at;
	fake_pci_add(host, &desc);
}

/* Below one port there is but device 0, so there is a switch in between. */
static unsigned int bus_of(unsigned int function)
{
	return 2 + function / 256 * 2;
}

static void add_function(struct fake_pci_host *host, unsigned int function,
			 u16 acs)
{
	add(host, bus_of(function), function % 256,
	    (struct fake_pci_desc) { .type = FAKE_ENDPOINT, .mfd = true,
				     .acs = acs });
}

static void scale_case(struct kunit *test)
{
	const struct scale_param *param = test->param_value;
	u16 acs = param->acs ? FAKE_ACS_FULL : 0;
	unsigned int nr = param->functions, at_boot, i;
	u64 start, all, grouping, new_slot = 0, hot_add;
	struct iommu_group *last = NULL;
	struct fake_pci_host *host;
	struct pci_dev *pdev = NULL;
	struct mock_iommu *mock;

	KUNIT_ASSERT_GT(test, nr, 0);
	KUNIT_ASSERT_LE(test, nr, MAX_FUNCTIONS);

	at_boot = nr < 16 ? nr - 1 : nr - 8;

	mock = mock_iommu(test, MOCK_IOMMU_WALK);
	host = fake_pci_host(test, NULL);
	for (i = 0; i < nr; i += 256) {
		add(host, 0, PCI_DEVFN(1, 0) + i / 256,
		    (struct fake_pci_desc) {
			.type = FAKE_ROOT_PORT, .mfd = true,
			.acs = FAKE_ACS_FULL, .bus = bus_of(i) - 1,
			.last_bus = bus_of(i),
		    });
		add(host, bus_of(i) - 1, 0,
		    (struct fake_pci_desc) { .type = FAKE_UPSTREAM,
					     .bus = bus_of(i) });
	}
	for (i = 0; i < at_boot; i++)
		add_function(host, i, acs);
	fake_pci_boot(host);

	start = ktime_get_ns();
	mock_iommu_register(mock);
	all = ktime_get_ns() - start;
	grouping = mock_iommu_group_ns(mock);

	for (i = at_boot; i < nr; i++) {
		add_function(host, i, acs);
		fake_pci_rescan(host);
		hot_add = mock_iommu_group_ns(mock);
		if (i == at_boot && i != nr - 1)
			new_slot = hot_add;
	}

	kunit_info(test, "N %u ACS %u ns %llu group_ns %llu new_slot_ns %llu hot_add_ns %llu\n",
		   nr, param->acs, all, grouping, new_slot, hot_add);

	/* In the order in which they were added, bridges between them */
	i = 0;
	for_each_pci_dev(pdev) {
		struct iommu_group *group;

		if (!fake_pci_owns(pdev) || pci_is_bridge(pdev))
			continue;
		group = iommu_group_get(&pdev->dev);
		KUNIT_EXPECT_NOT_NULL_MSG(test, group, "function %u of %u", i, nr);
		/* It stays, with its members */
		iommu_group_put(group);
		KUNIT_EXPECT_EQ_MSG(test, group == last, !param->acs && i % 8,
				    "function %u of %u", i, nr);
		last = group;
		i++;
	}
	KUNIT_EXPECT_EQ(test, nr, i);
}

static struct kunit_case iommu_group_scale_cases[] = {
	KUNIT_CASE_PARAM_ATTR(scale_case, scale_gen_params,
			      {.speed = KUNIT_SPEED_SLOW}),
	{ }
};

static struct kunit_suite iommu_group_scale_suite = {
	.name = "iommu_group_scale",
	.test_cases = iommu_group_scale_cases,
};

kunit_test_suite(iommu_group_scale_suite);
