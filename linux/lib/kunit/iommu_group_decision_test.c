// SPDX-License-Identifier: GPL-2.0
/*
 * Which devices of a PCI bus share an IOMMU group: every bus with three.
 *
 * The decisions of the IOMMU core are applied until no device is found any
 * more, as its search does, and compared with a union of sets.
 */
#include <kunit/test.h>
#include <linux/bitmap.h>
#include <linux/iommu.h>
#include <linux/pci.h>

#include "../../drivers/iommu/iommu-priv.h"

/* Two slots, the first and the last, with two functions each */
static const u8 devfns[] = {
	PCI_DEVFN(0, 0), PCI_DEVFN(0, 1), PCI_DEVFN(31, 6), PCI_DEVFN(31, 7),
};

#define NR_DEVFNS	ARRAY_SIZE(devfns)
#define NR_KINDS	(1 << (NR_DEVFNS + 1))	/* aliases, and isolated or not */
#define NR_DEVS		3

struct dev {
	unsigned int place;
	unsigned int aliases;		/* a bit for each of devfns[] */
	bool isolated;
	DECLARE_BITMAP(mask, IOMMU_PCI_NR_DEVFNS);
};

static void set_kind(struct dev *dev, unsigned int place, unsigned int kind)
{
	int i;

	*dev = (struct dev) { .place = place,
			      .aliases = kind % (1 << NR_DEVFNS),
			      .isolated = kind >> NR_DEVFNS };
	for (i = 0; i < NR_DEVFNS; i++)
		if (dev->aliases & BIT(i))
			__set_bit(devfns[i], dev->mask);
}

/* What the IOMMU core finds, from the first device on: a bit for each */
static unsigned int search(const struct dev *devs)
{
	struct iommu_pci_members members = { };
	unsigned int found = 0, before;
	int i;

	iommu_pci_add_member(&members, devfns[devs[0].place],
			     devs[0].aliases ? devs[0].mask : NULL,
			     devs[0].isolated);
	found = 1;
	do {
		before = found;
		for (i = 1; i < NR_DEVS; i++) {
			const struct dev *d = &devs[i];
			u8 devfn = devfns[d->place];
			const unsigned long *mask = d->aliases ? d->mask : NULL;

			if (found & BIT(i) ||
			    (!iommu_pci_shares_rid(&members, devfn, mask) &&
			     (d->isolated ||
			      !iommu_pci_shares_slot(&members, devfn))))
				continue;
			iommu_pci_add_member(&members, devfn, mask,
					     d->isolated);
			found |= BIT(i);
		}
	} while (found != before);

	return found;
}

static bool belong_together(const struct dev *a, const struct dev *b)
{
	if ((a->aliases | BIT(a->place)) & (b->aliases | BIT(b->place)))
		return true;
	return a->place / 2 == b->place / 2 && !a->isolated && !b->isolated;
}

static unsigned int expected(const struct dev *devs)
{
	unsigned int set[NR_DEVS] = { 0, 1, 2 }, found = 0;
	int i, j, k;

	for (i = 0; i < NR_DEVS; i++) {
		for (j = 0; j < i; j++) {
			unsigned int from = set[i], to = set[j];

			if (!belong_together(&devs[i], &devs[j]))
				continue;
			for (k = 0; k < NR_DEVS; k++)
				if (set[k] == from)
					set[k] = to;
		}
	}
	for (i = 0; i < NR_DEVS; i++)
		if (set[i] == set[0])
			found |= BIT(i);
	return found;
}

static void try_kinds(struct kunit *test, const unsigned int *places)
{
	struct dev devs[NR_DEVS];
	unsigned int a, b, c;

	for (a = 0; a < NR_KINDS; a++) {
		set_kind(&devs[0], places[0], a);
		for (b = 0; b < NR_KINDS; b++) {
			set_kind(&devs[1], places[1], b);
			for (c = 0; c < NR_KINDS; c++) {
				set_kind(&devs[2], places[2], c);
				KUNIT_ASSERT_EQ_MSG(test, expected(devs),
						    search(devs),
						    "places %u %u %u, kinds %x %x %x",
						    places[0], places[1],
						    places[2], a, b, c);
			}
		}
	}
}

/* Any three places in any order: the first device is the one that is added. */
static void every_bus(struct kunit *test)
{
	unsigned int p[NR_DEVS];

	for (p[0] = 0; p[0] < NR_DEVFNS; p[0]++)
		for (p[1] = 0; p[1] < NR_DEVFNS; p[1]++)
			for (p[2] = 0; p[2] < NR_DEVFNS; p[2]++)
				if (p[0] != p[1] && p[0] != p[2] &&
				    p[1] != p[2])
					try_kinds(test, p);
}

static struct kunit_case iommu_group_decision_cases[] = {
	KUNIT_CASE(every_bus),
	{ }
};

static struct kunit_suite iommu_group_decision_suite = {
	.name = "iommu_group_decision",
	.test_cases = iommu_group_decision_cases,
};

kunit_test_suite(iommu_group_decision_suite);
