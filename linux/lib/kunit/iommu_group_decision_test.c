// SPDX-License-Identifier: GPL-2.0
/*
 * Which PCI devices share an IOMMU group: every bus with three devices, and
 * every small topology in every order of arrival.
 *
 * The decisions of the IOMMU core are applied as its search does, and compared
 * with a union of sets. How the search gets from one device to the next is
 * repeated here, on arrays; iommu_group_topology tries that of the IOMMU core.
 *
 *	iommu_group_kunit.decision_devices=6	how many devices a topology has
 *						at most
 */
#include <kunit/test.h>
#include <linux/bitmap.h>
#include <linux/iommu.h>
#include <linux/moduleparam.h>
#include <linux/pci.h>
#include <linux/sched.h>

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
	unsigned int found = 1, before;
	int i;

	iommu_pci_add_member(&members, devfns[devs[0].place],
			     devs[0].aliases ? devs[0].mask : NULL,
			     devs[0].isolated);
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

/*
 * Topologies. A bus has up to three functions: the first two of a slot, and the
 * first of another, which may as well be a VF or function 8 of a device with
 * ARI. Each of them is an endpoint, with or without an alias, which is one of
 * the others' requester ID or nobody's, or a bridge. ACS isolates it or not. A
 * port without ACS and a bridge to conventional PCI decide nothing differently.
 */
#define MAX_NODES	6
#define NONE		(-1)
#define TWO_GROUPS	(-2)

static unsigned int decision_devices = 4;
module_param(decision_devices, uint, 0444);
MODULE_PARM_DESC(decision_devices,
		 "devices of the largest PCI topology to try, up to 6");

static const u8 places[] = {
	PCI_DEVFN(0, 0), PCI_DEVFN(0, 1), PCI_DEVFN(1, 0), PCI_DEVFN(31, 7),
};

#define NR_PLACES	3	/* the last is for aliases */

struct node {
	int parent;
	int place;
	int alias;
	bool bridge;
	bool acs;
	/* What follows from these */
	bool multifunction;
	bool open;			/* what is below is not isolated */
	unsigned int together;		/* with these nodes, says the oracle */
	DECLARE_BITMAP(mask, IOMMU_PCI_NR_DEVFNS);
};

struct topology {
	struct kunit *test;
	struct node nodes[MAX_NODES];
	int nr;
	int max;
	bool ignore_bridges;		/* the IOMMU does not translate them */
	bool hot;			/* devices arrive, or the IOMMU comes last */
	bool failed;
	unsigned int done;
	int order[MAX_NODES];		/* of these */
	int nr_done;
	int group[MAX_NODES];
	unsigned int topologies;
	u64 decisions;
	u64 refusals;
};

/* The devices of the system, those of each bus in the order of its list */
static int nr_devices(const struct topology *t)
{
	return t->hot ? t->nr_done : t->nr;
}

static int nth_device(const struct topology *t, int i)
{
	return t->hot ? t->order[i] : i;
}

static bool acs_enabled(const struct node *n)
{
	return n->acs || (!n->bridge && !n->multifunction);
}

static const unsigned long *alias_mask(const struct node *n)
{
	return n->alias == NONE ? NULL : n->mask;
}

static int subtree_group(const struct topology *t, int bridge)
{
	int i, group = NONE;

	for (i = 0; i < nr_devices(t) && group == NONE; i++) {
		int child = nth_device(t, i);

		if (t->nodes[child].parent != bridge)
			continue;
		group = t->group[child];
		if (group == NONE && t->nodes[child].bridge)
			group = subtree_group(t, child);
	}
	return group;
}

static void add_node_member(struct iommu_pci_members *members,
			    const struct node *n)
{
	iommu_pci_add_member(members, places[n->place], alias_mask(n),
			     !n->multifunction || acs_enabled(n));
}

static int bus_group(const struct topology *t, int node)
{
	struct iommu_pci_members members = { };
	int i, group = NONE;
	bool found_more;

	add_node_member(&members, &t->nodes[node]);
	do {
		found_more = false;
		for (i = 0; i < nr_devices(t); i++) {
			int other = nth_device(t, i);
			const struct node *n = &t->nodes[other];
			u8 devfn = places[n->place];
			int found;

			if (n->parent != t->nodes[node].parent ||
			    test_bit(devfn, members.devfns) ||
			    (!iommu_pci_shares_rid(&members, devfn,
						   alias_mask(n)) &&
			     (acs_enabled(n) ||
			      !iommu_pci_shares_slot(&members, devfn))))
				continue;

			found = t->group[other];
			if (found == NONE && n->bridge && n->open)
				found = subtree_group(t, other);
			if (found == NONE) {
				add_node_member(&members, n);
				found_more = true;
				continue;
			}
			__set_bit(devfn, members.devfns);
			if (group != NONE && group != found)
				return TWO_GROUPS;
			group = found;
		}
	} while (found_more);

	return group;
}

static int find_group(const struct topology *t, int node)
{
	int bridge, group;

	for (bridge = t->nodes[node].parent;
	     bridge != NONE && t->nodes[bridge].open;
	     bridge = t->nodes[bridge].parent) {
		node = bridge;
		if (t->group[bridge] != NONE)
			return t->group[bridge];
	}
	if (t->nodes[node].bridge && t->nodes[node].open) {
		group = subtree_group(t, node);
		if (group != NONE)
			return group;
	}
	return bus_group(t, node);
}

static bool nodes_belong_together(const struct topology *t, int i, int j)
{
	const struct node *a = &t->nodes[i], *b = &t->nodes[j];

	if (b->parent == i)
		return a->open;
	if (a->parent == j)
		return b->open;
	if (a->parent != b->parent)
		return false;
	if (a->parent != NONE && t->nodes[a->parent].open)
		return true;
	if (a->alias == b->place || b->alias == a->place ||
	    (a->alias != NONE && a->alias == b->alias))
		return true;
	return PCI_SLOT(places[a->place]) == PCI_SLOT(places[b->place]) &&
	       !acs_enabled(a) && !acs_enabled(b);
}

/* The group of those with which @node belongs together, one way or another */
static int expected_group(const struct topology *t, int node)
{
	unsigned int there = t->hot ? t->done : BIT(t->nr) - 1;
	unsigned int set = BIT(node), next = set;
	int i, group = NONE;

	while (next) {
		unsigned int found = t->nodes[__ffs(next)].together & there;

		next &= next - 1;
		next |= found & ~set;
		set |= found;
	}
	for (i = 0; i < t->nr; i++) {
		if (!(set & BIT(i)) || t->group[i] == NONE)
			continue;
		if (group != NONE && group != t->group[i])
			return TWO_GROUPS;
		group = t->group[i];
	}
	return group;
}

static void report(struct topology *t, int node, int expected, int found)
{
	int i;

	t->failed = true;
	for (i = 0; i < t->nr; i++)
		kunit_err(t->test, "device %d: below %d, %02x.%u%s%s, alias %d, group %d\n",
			  i, t->nodes[i].parent,
			  PCI_SLOT(places[t->nodes[i].place]),
			  PCI_FUNC(places[t->nodes[i].place]),
			  t->nodes[i].bridge ? ", bridge" : "",
			  t->nodes[i].acs ? ", ACS" : "",
			  t->nodes[i].alias == NONE ? NONE :
			  places[t->nodes[i].alias], t->group[i]);
	for (i = 0; i < t->nr_done; i++)
		kunit_err(t->test, "then device %d\n", t->order[i]);
	KUNIT_FAIL(t->test, "device %d: expected group %d, found %d%s%s",
		   node, expected, found, t->hot ? ", hot-added" : "",
		   t->ignore_bridges ? ", bridges without a group" : "");
}

/* All that may come next, and after each of them all that may come then */
static void probe_next(struct topology *t)
{
	int i, expected, found;

	for (i = 0; i < t->nr && !t->failed; i++) {
		const struct node *n = &t->nodes[i];

		if (t->done & BIT(i) ||
		    (n->parent != NONE && !(t->done & BIT(n->parent))))
			continue;

		t->order[t->nr_done++] = i;
		t->done |= BIT(i);
		expected = expected_group(t, i);
		if (!t->ignore_bridges || !n->bridge) {
			found = find_group(t, i);
			t->decisions++;
			if (found != expected)
				report(t, i, expected, found);
			t->refusals += found == TWO_GROUPS;
			t->group[i] = found == NONE ? i : found;
		}
		/*
		 * What comes after a refusal is another question. So it is
		 * when a bridge connects two groups that no IOMMU is asked for.
		 */
		if (expected != TWO_GROUPS)
			probe_next(t);
		t->group[i] = NONE;
		t->done &= ~BIT(i);
		t->nr_done--;
	}
}

static void try_topology(struct topology *t)
{
	bool bridges = false;
	int i, j;

	for (i = 0; i < t->nr; i++) {
		struct node *n = &t->nodes[i];

		bridges |= n->bridge;
		/* The next function of the slot is the next node */
		n->multifunction = n->place == 1 ||
				   (n->place == 0 && i + 1 < t->nr &&
				    n[1].parent == n->parent && n[1].place == 1);
		/* Without ACS it is the same */
		if (n->acs && !n->bridge && !n->multifunction)
			return;

		n->open = n->bridge &&
			  (!n->acs || (n->parent != NONE &&
				       t->nodes[n->parent].open));
		bitmap_zero(n->mask, IOMMU_PCI_NR_DEVFNS);
		if (n->alias != NONE)
			__set_bit(places[n->alias], n->mask);
	}
	for (i = 0; i < t->nr; i++) {
		t->nodes[i].together = 0;
		for (j = 0; j < t->nr; j++)
			if (i != j && nodes_belong_together(t, i, j))
				t->nodes[i].together |= BIT(j);
	}

	for (i = 0; i < (bridges ? 4 : 2); i++) {
		t->hot = i & 1;
		t->ignore_bridges = i & 2;
		probe_next(t);
	}
	t->topologies++;
	cond_resched();
}

/* Tries what is there, and all that one device more makes of it, and so on */
static void try_topologies(struct topology *t, int parent, int place)
{
	int kind;

	if (t->nr)
		try_topology(t);
	if (t->nr == t->max)
		return;

	for (; parent < t->nr; parent++, place = 0) {
		if (parent != NONE && !t->nodes[parent].bridge)
			continue;
		for (; place < NR_PLACES; place++) {
			struct node *n = &t->nodes[t->nr];

			/* Function 1 needs function 0 */
			if (place == 1 && (!t->nr || n[-1].place != 0 ||
					   n[-1].parent != parent))
				continue;
			/* A bridge, an endpoint, or one with an alias */
			for (kind = 0; kind < 2 * (2 + ARRAY_SIZE(places)); kind++) {
				int alias = kind / 2 - 2;

				if (alias == place || t->failed)
					continue;
				*n = (struct node) {
					.parent = parent, .place = place,
					.acs = kind & 1, .bridge = kind < 2,
					.alias = alias < 0 ? NONE : alias,
				};
				t->nr++;
				try_topologies(t, parent, place + 1);
				t->nr--;
			}
		}
	}
}

static void every_topology(struct kunit *test)
{
	struct topology *t = kunit_kzalloc(test, sizeof(*t), GFP_KERNEL);

	KUNIT_ASSERT_NOT_NULL(test, t);
	t->test = test;
	t->max = clamp(decision_devices, 1, MAX_NODES);
	memset(t->group, 0xff, sizeof(t->group));

	try_topologies(t, NONE, 0);
	kunit_info(test, "%u topologies of up to %d devices, %llu decisions, %llu refusals\n",
		   t->topologies, t->max, t->decisions, t->refusals);
	/* It takes three devices to connect two groups */
	if (t->max > 2)
		KUNIT_EXPECT_GT(test, t->refusals, 0);
}

static struct kunit_case iommu_group_decision_cases[] = {
	KUNIT_CASE(every_bus),
	KUNIT_CASE_SLOW(every_topology),
	{ }
};

static struct kunit_suite iommu_group_decision_suite = {
	.name = "iommu_group_decision",
	.test_cases = iommu_group_decision_cases,
};

kunit_test_suite(iommu_group_decision_suite);
