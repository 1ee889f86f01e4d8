// SPDX-License-Identifier: GPL-2.0
/*
 * IOMMU groups of PCI topologies that nobody has thought of.
 *
 * A seed makes a topology and the order in which its devices and the IOMMU
 * arrive. Which devices belong together is computed from a description of the
 * topology, as a union of sets, and compared with the groups after each step.
 * The oracle uses nothing of the kernel's code and looks at all devices every
 * time.
 *
 *	iommu_group_kunit.topologies=100000	how many seeds to try, and one in
 *						20 of them cut to four devices,
 *						in every order of arrival
 *	iommu_group_kunit.topology_seed=1234	the first of them
 *
 * A failure prints the seed and the topology.
 *
 * Where a newcomer connects groups that exist, it is to be refused. What comes
 * after that is not compared: a refused device still connects others that
 * arrive later. So does a bridge that no IOMMU is asked for.
 */
#include <kunit/resource.h>
#include <kunit/test.h>
#include <linux/bitmap.h>
#include <linux/iommu.h>
#include <linux/moduleparam.h>
#include <linux/pci.h>
#include <linux/printk.h>
#include <linux/prandom.h>

#include "fake_pci.h"
#include "iommu_mock.h"

#define TEST_VENDOR	0xfffd
#define TEST_DEVICE	0x0004

#define DEFAULT_TOPOLOGIES	1000

static unsigned int topologies = DEFAULT_TOPOLOGIES;
module_param(topologies, uint, 0444);
MODULE_PARM_DESC(topologies, "number of random PCI topologies to try");

#define DEFAULT_SEED		1

static unsigned int topology_seed = DEFAULT_SEED;
module_param(topology_seed, uint, 0444);
MODULE_PARM_DESC(topology_seed, "seed of the first random PCI topology");

#define MAX_NODES	16
#define NONE		(-1)

struct node {
	enum fake_pci_type type;
	u8 bus;
	u8 devfn;
	u8 secondary;
	u8 last;
	bool mfd;		/* of its header */
	bool acs;
	bool ari;
	bool vf;
	bool has_vf;
	int parent;		/* the bridge above */
	int after;		/* function 0, or the physical function of a VF */
	u8 alias[2];
	int nr_aliases;
	char at[sizeof("00:00.0")];

	bool arrived;
	int set;		/* union-find */
	int group;		/* what the oracle expects */
};

struct topology {
	struct kunit *test;
	unsigned int seed;
	struct rnd_state rnd;
	struct node nodes[MAX_NODES];
	int nr;
	int max;
	int last_bus;
	int order[MAX_NODES];
	int cold;		/* so many are there at boot */
	int iommu_at;		/* the IOMMU comes when so many are there */
	bool ignore_bridges;
	int nr_groups;
	int refused;
	bool failed;
};

/* What the fixup tells the PCI core */
static struct topology *current_topology;

static int usual_loglevel;

static struct node *find_node(struct pci_dev *pdev)
{
	struct topology *t = current_topology;
	int i;

	for (i = 0; t && i < t->nr; i++) {
		if (t->nodes[i].bus == pdev->bus->number &&
		    t->nodes[i].devfn == pdev->devfn)
			return &t->nodes[i];
	}
	return NULL;
}

static void add_aliases(struct pci_dev *pdev)
{
	struct node *node = find_node(pdev);
	int i;

	for (i = 0; node && i < node->nr_aliases; i++)
		pci_add_dma_alias(pdev, node->alias[i], 1);
}
DECLARE_PCI_FIXUP_FINAL(TEST_VENDOR, TEST_DEVICE, add_aliases);
DECLARE_PCI_FIXUP_FINAL(TEST_VENDOR, FAKE_VF_DEVICE, add_aliases);

/*
 * Making topologies
 */

static unsigned int below(struct topology *t, unsigned int limit)
{
	return prandom_u32_state(&t->rnd) % limit;
}

static int add_node(struct topology *t, enum fake_pci_type type, int parent,
		    u8 devfn)
{
	/* Where aliases are: on, between and beyond the functions of a bus */
	static const u8 devfns[] = {
		PCI_DEVFN(0, 0), PCI_DEVFN(0, 1), PCI_DEVFN(1, 0),
		PCI_DEVFN(8, 0), PCI_DEVFN(8, 1), PCI_DEVFN(9, 0),
		PCI_DEVFN(31, 7),
	};
	struct node *n = &t->nodes[t->nr];
	int i;

	if (t->nr == t->max)
		return NONE;

	*n = (struct node) { .type = type, .parent = parent, .devfn = devfn,
			     .after = NONE, .group = NONE,
			     .acs = below(t, 2) };
	n->bus = parent == NONE ? 0 : t->nodes[parent].secondary;
	snprintf(n->at, sizeof(n->at), "%02x:%02x.%u", n->bus, PCI_SLOT(devfn),
		 PCI_FUNC(devfn));

	if (type == FAKE_ENDPOINT || type == FAKE_PCI) {
		if (!below(t, 3))
			n->nr_aliases = 1 + below(t, 2);
	} else {
		n->secondary = ++t->last_bus;
		n->last = n->secondary;
		n->ari = below(t, 2);
		for (i = parent; i != NONE; i = t->nodes[i].parent)
			t->nodes[i].last = n->secondary;
	}
	for (i = 0; i < n->nr_aliases; i++)
		n->alias[i] = devfns[below(t, ARRAY_SIZE(devfns))];

	return t->nr++;
}

/* A function of the same device as @first, or of a new one, if that is NONE */
static int add_function(struct topology *t, enum fake_pci_type type, int parent,
			u8 devfn, int first)
{
	int function = add_node(t, type, parent, devfn);

	if (function != NONE && first != NONE) {
		t->nodes[function].after = first;
		t->nodes[first].mfd = true;
	}
	return function;
}

static void add_vf(struct topology *t, int pf)
{
	int vf = add_node(t, FAKE_ENDPOINT, t->nodes[pf].parent,
			  t->nodes[pf].devfn + FAKE_FIRST_VF);

	if (vf != NONE) {
		t->nodes[vf].vf = true;
		t->nodes[vf].after = pf;
		t->nodes[pf].has_vf = true;
	}
}

static void add_slot(struct topology *t, enum fake_pci_type type, int parent,
		     u8 slot)
{
	int nr = 1 + (below(t, 2) ? below(t, 3) : 0), i, first = NONE, function;
	bool ari = parent != NONE && t->nodes[parent].ari && !slot &&
		   type == FAKE_ENDPOINT && below(t, 2);
	u8 devfn = PCI_DEVFN(slot, 0);

	for (i = 0; i < nr; i++, devfn++) {
		/* Functions need not be next to each other, and may be many */
		if (ari && i == 1 && below(t, 2))
			devfn = PCI_DEVFN(1, 0);
		function = add_function(t, type, parent, devfn, first);
		if (function == NONE)
			break;
		t->nodes[function].ari = ari;
		if (!i)
			first = function;
		if (IS_ENABLED(CONFIG_PCI_IOV) && type == FAKE_ENDPOINT &&
		    !ari && !below(t, 3))
			add_vf(t, function);
	}
}

static void add_below_port(struct topology *t, int port, int depth)
{
	int bridge, down, nr, i;

	if (port == NONE)
		return;

	switch (below(t, depth ? 2 : 4)) {
	default:
		add_slot(t, FAKE_ENDPOINT, port, 0);
		break;
	case 1:
		bridge = add_node(t, FAKE_PCIE_TO_PCI, port, 0);
		if (bridge == NONE)
			break;
		add_node(t, FAKE_PCI, bridge, PCI_DEVFN(below(t, 2), 0));
		if (below(t, 2))
			add_slot(t, FAKE_PCI, bridge, 9);
		break;
	case 2:
		bridge = add_node(t, FAKE_UPSTREAM, port, 0);
		if (bridge == NONE)
			break;
		nr = 1 + below(t, 2);
		for (i = 0; i < nr; i++) {
			down = add_node(t, FAKE_DOWNSTREAM, bridge,
					PCI_DEVFN(i, 0));
			add_below_port(t, down, depth + 1);
		}
		/* As the management and NTB functions of some switches */
		if (below(t, 2))
			add_slot(t, FAKE_ENDPOINT, bridge, 8);
		break;
	}
}

static void make_topology(struct topology *t)
{
	int nr = 1 + below(t, 3), i, port;
	bool one_slot = below(t, 2);

	for (i = 0; i < nr; i++)
		add_function(t, FAKE_ROOT_PORT, NONE,
			     one_slot ? PCI_DEVFN(1, i) : PCI_DEVFN(i, 0),
			     one_slot && i ? 0 : NONE);
	nr = below(t, 3);
	/* VFs are in the slots between them */
	for (i = 0; i < nr; i++)
		add_slot(t, FAKE_ENDPOINT, NONE, 8 + 2 * i);
	for (port = 0; port < t->nr; port++)
		if (t->nodes[port].type == FAKE_ROOT_PORT)
			add_below_port(t, port, 0);
}

/* Bus numbers are given out in advance: all of them are known before this */
static bool can_arrive(const struct topology *t, const bool *placed, int i)
{
	const struct node *n = &t->nodes[i];

	return !placed[i] && (n->parent == NONE || placed[n->parent]) &&
	       (n->after == NONE || placed[n->after]);
}

static void make_order(struct topology *t)
{
	bool placed[MAX_NODES] = { };
	int i, pick, first_vf = t->nr;

	for (i = 0; i < t->nr; i++) {
		do {
			pick = below(t, t->nr);
		} while (!can_arrive(t, placed, pick));
		placed[pick] = true;
		t->order[i] = pick;
		if (t->nodes[pick].vf)
			first_vf = min(first_vf, i);
	}
	/* No VF is enabled at boot */
	t->cold = below(t, first_vf + 1);
	t->iommu_at = t->cold + below(t, t->nr - t->cold + 1);
	/* Before the first, or when some are there */
	if (below(t, 2))
		t->iommu_at = NONE;
}

/*
 * The oracle
 */

static bool is_bridge(const struct node *n)
{
	return n->secondary;
}

static bool isolated(const struct node *n)
{
	switch (n->type) {
	case FAKE_ROOT_PORT:
	case FAKE_DOWNSTREAM:
		return n->acs;
	case FAKE_ENDPOINT:
	case FAKE_UPSTREAM:
		return n->acs || n->vf || (!n->mfd && n->after == NONE);
	default:
		return false;
	}
}

static bool path_isolated(const struct topology *t, int i)
{
	for (; i != NONE; i = t->nodes[i].parent)
		if (!isolated(&t->nodes[i]))
			return false;
	return true;
}

static bool uses_rid(const struct node *n, u8 devfn)
{
	int i;

	for (i = 0; i < n->nr_aliases; i++)
		if (n->alias[i] == devfn)
			return true;
	return n->devfn == devfn;
}

static bool belong_together(const struct topology *t, int i, int j)
{
	const struct node *a = &t->nodes[i], *b = &t->nodes[j];
	int devfn;

	if (b->parent == i)
		return !path_isolated(t, i);
	if (a->parent == j)
		return !path_isolated(t, j);
	if (a->parent != b->parent)
		return false;
	/* Neighbours on the bus of a bridge that may itself not be there */
	if (a->parent != NONE && !path_isolated(t, a->parent))
		return true;

	for (devfn = 0; devfn < 256; devfn++)
		if (uses_rid(a, devfn) && uses_rid(b, devfn))
			return true;

	return PCI_SLOT(a->devfn) == PCI_SLOT(b->devfn) &&
	       !isolated(a) && !isolated(b);
}

static int root(struct topology *t, int i)
{
	while (t->nodes[i].set != i)
		i = t->nodes[i].set;
	return i;
}

static void unite(struct topology *t)
{
	int i, j;

	for (i = 0; i < t->nr; i++)
		t->nodes[i].set = i;
	for (i = 0; i < t->nr; i++)
		for (j = 0; j < i; j++)
			if (t->nodes[i].arrived && t->nodes[j].arrived &&
			    belong_together(t, i, j))
				t->nodes[root(t, i)].set = root(t, j);
}

static bool translated(const struct topology *t, const struct node *n)
{
	return !(t->ignore_bridges && is_bridge(n));
}

/* The devices are there, and so is the IOMMU: what becomes of this one? */
static void expect_probe(struct topology *t, int i)
{
	int j, found = NONE;

	for (j = 0; j < t->nr; j++) {
		int group = t->nodes[j].group;

		if (group == NONE || root(t, i) != root(t, j) ||
		    found == group)
			continue;
		if (found != NONE) {
			t->refused = i;
			return;
		}
		found = group;
	}
	if (translated(t, &t->nodes[i]))
		t->nodes[i].group = found == NONE ? t->nr_groups++ : found;
}

/*
 * Comparison with the kernel
 */

static void print_topology(const struct topology *t)
{
	static const char * const types[] = {
		[FAKE_ENDPOINT] = "ENDPOINT", [FAKE_ROOT_PORT] = "ROOT_PORT",
		[FAKE_UPSTREAM] = "UPSTREAM", [FAKE_DOWNSTREAM] = "DOWNSTREAM",
		[FAKE_PCIE_TO_PCI] = "PCIE_TO_PCI", [FAKE_PCI] = "PCI",
	};
	int i, j;

	kunit_err(t->test, "replay with iommu_group_kunit.topologies=1 iommu_group_kunit.topology_seed=%u\n",
		  t->seed);
	kunit_err(t->test, "%d devices at boot, IOMMU after %d devices%s, then one by one:\n",
		  t->cold, t->iommu_at,
		  t->ignore_bridges ? ", ignores bridges" : "");
	for (i = 0; i < t->nr; i++) {
		const struct node *n = &t->nodes[t->order[i]];

		kunit_err(t->test, "%s %s%s%s%s%s bus %02x-%02x group %d\n",
			  n->at, n->vf ? "VF" : types[n->type],
			  n->acs ? " ACS" : "", n->mfd ? " MFD" : "",
			  n->ari ? " ARI" : "", n->has_vf ? " SR-IOV" : "",
			  n->secondary, n->last, n->group);
		for (j = 0; j < n->nr_aliases; j++)
			kunit_err(t->test, "    alias %02x.%u\n",
				  PCI_SLOT(n->alias[j]), PCI_FUNC(n->alias[j]));
	}
}

static void fail(struct topology *t, const char *what, const struct node *a,
		 const struct node *b)
{
	console_loglevel = usual_loglevel;
	if (!t->failed)
		print_topology(t);
	t->failed = true;
	KUNIT_FAIL(t->test, "%s: %s %s", what, a->at, b ? b->at : "");
}

static struct pci_dev *get_dev(const struct node *node)
{
	struct pci_dev *pdev = NULL;

	for_each_pci_dev(pdev)
		if (fake_pci_owns(pdev) && find_node(pdev) == node)
			return pdev;
	return NULL;
}

/* Groups are compared as pointers only: their devices keep them */
static void compare(struct topology *t)
{
	struct iommu_group *groups[MAX_NODES] = { };
	struct pci_dev *pdev = NULL;
	int i, j;

	for_each_pci_dev(pdev) {
		struct node *n;

		if (!fake_pci_owns(pdev))
			continue;
		n = find_node(pdev);
		if (!n)
			continue;
		groups[n - t->nodes] = iommu_group_get(&pdev->dev);
		iommu_group_put(groups[n - t->nodes]);
	}

	for (i = 0; i < t->nr && !t->failed; i++) {
		const struct node *a = &t->nodes[i];
		bool expected = a->group != NONE;

		if (!!groups[i] != expected)
			fail(t, groups[i] ? "has a group" : "has no group", a,
			     NULL);
		for (j = 0; j < i && !t->failed; j++) {
			const struct node *b = &t->nodes[j];

			if (a->group == NONE || b->group == NONE)
				continue;
			if (a->group == b->group && groups[i] != groups[j])
				fail(t, "not in one group", a, b);
			if (a->group != b->group && groups[i] == groups[j])
				fail(t, "in one group", a, b);
		}
	}
}

/* It answers from now on, and is found by the next scan of its bus */
static void plug(struct topology *t, struct fake_pci_host *host, int i)
{
	struct node *n = &t->nodes[i];
	struct fake_pci_desc desc = {
		.at = n->at, .type = n->type, .bus = n->secondary,
		.last_bus = n->last, .mfd = n->mfd,
		.acs = n->acs ? FAKE_ACS_FULL : 0,
		.ari = n->ari, .vfs = n->has_vf,
		.vendor = TEST_VENDOR, .device = TEST_DEVICE,
	};

	fake_pci_add(host, &desc);
	n->arrived = true;
}

/* As pci_enable_sriov(), but that sleeps for a device's sake */
static void add_virtual_function(struct topology *t, const struct node *vf)
{
	struct pci_dev *pf = get_dev(&t->nodes[vf->after]);

	KUNIT_ASSERT_NOT_NULL(t->test, pf);
	pci_lock_rescan_remove();
	KUNIT_EXPECT_EQ(t->test, 0, pci_iov_add_virtfn(pf, 0));
	pci_unlock_rescan_remove();
	pci_dev_put(pf);
}

static void remove_virtual_functions(struct topology *t)
{
	struct pci_dev *pf;
	int i;

	for (i = 0; i < t->nr; i++) {
		if (!t->nodes[i].vf || !t->nodes[i].arrived)
			continue;
		pf = get_dev(&t->nodes[t->nodes[i].after]);
		pci_lock_rescan_remove();
		pci_iov_remove_virtfn(pf, 0);
		pci_unlock_rescan_remove();
		pci_dev_put(pf);
	}
}

static void arrive(struct topology *t, struct fake_pci_host *host, int i)
{
	plug(t, host, i);
	if (t->nodes[i].vf)
		add_virtual_function(t, &t->nodes[i]);
	else
		fake_pci_rescan(host);
}

static void expect_all(struct topology *t)
{
	int i;

	unite(t);
	for (i = 0; i < t->nr; i++)
		if (t->nodes[i].arrived)
			expect_probe(t, i);
}

static void try_topology(struct topology *t, struct mock_iommu *mock)
{
	struct fake_pci_host *host = fake_pci_host(t->test, NULL);
	int i;

	for (i = 0; i < t->nr; i++) {
		t->nodes[i].arrived = false;
		t->nodes[i].group = NONE;
	}
	t->nr_groups = 0;
	t->refused = NONE;
	current_topology = t;
	if (t->iommu_at == NONE)
		mock_iommu_register(mock);
	for (i = 0; i < t->cold; i++)
		plug(t, host, t->order[i]);
	fake_pci_boot(host);

	if (t->iommu_at == NONE)
		expect_all(t);
	for (i = t->cold; i <= t->nr && !t->failed && t->refused == NONE; i++) {
		if (t->iommu_at == i) {
			mock_iommu_register(mock);
			expect_all(t);
		}
		compare(t);
		if (i == t->nr)
			break;

		arrive(t, host, t->order[i]);
		if (t->iommu_at != NONE && t->iommu_at > i)
			continue;
		unite(t);
		expect_probe(t, t->order[i]);
	}
	if (!t->failed && t->refused != NONE)
		compare(t);

	mock_iommu_unregister(mock);
	remove_virtual_functions(t);
	fake_pci_host_remove(host);
}

static bool next_permutation(int *order, int nr)
{
	int i, j;

	for (i = nr - 2; i >= 0 && order[i] > order[i + 1]; i--)
		;
	if (i < 0)
		return false;
	for (j = nr - 1; order[j] < order[i]; j--)
		;
	swap(order[i], order[j]);
	for (i++, j = nr - 1; i < j; i++, j--)
		swap(order[i], order[j]);
	return true;
}

static bool is_possible(const struct topology *t)
{
	bool placed[MAX_NODES] = { };
	int i;

	for (i = 0; i < t->nr; i++) {
		if (!can_arrive(t, placed, t->order[i]))
			return false;
		placed[t->order[i]] = true;
	}
	return true;
}

/* One after the other, and the IOMMU before, after or between them. */
static unsigned int try_every_order(struct topology *t, struct mock_iommu *mock)
{
	unsigned int refusals = 0;
	int i;

	for (i = 0; i < t->nr; i++)
		t->order[i] = i;
	t->cold = 0;
	do {
		if (!is_possible(t))
			continue;
		for (t->iommu_at = NONE; t->iommu_at <= t->nr && !t->failed;
		     t->iommu_at++) {
			try_topology(t, mock);
			refusals += t->refused != NONE;
		}
	} while (!t->failed && next_permutation(t->order, t->nr));

	return refusals;
}

static unsigned int try_one_order(struct topology *t, struct mock_iommu *mock)
{
	make_order(t);
	try_topology(t, mock);
	return t->refused != NONE;
}

/* Up to 24 orders, with six places for the IOMMU in each */
#define SMALL		4
#define SMALL_SHARE	20

/* Also if a topology ends the test */
static void end_topologies(void *data)
{
	pr_flush(1000, true);
	console_loglevel = usual_loglevel;
	current_topology = NULL;
}

static void try_topologies(struct kunit *test, bool every_order,
			   bool ignore_bridges)
{
	unsigned int nr = topologies, i, refusals = 0, devices = 0;
	struct mock_iommu *mock;
	struct topology *t;

	if (every_order)
		nr = DIV_ROUND_UP(nr, SMALL_SHARE);

	mock = mock_iommu(test, MOCK_IOMMU_WALK);
	if (ignore_bridges)
		mock_iommu_ignore_bridges(mock);
	t = kunit_kzalloc(test, sizeof(*t), GFP_KERNEL);
	KUNIT_ASSERT_NOT_NULL(test, t);

	/* Ends the line with the result before, which has to be seen */
	kunit_info(test, "seeds from %u\n", topology_seed);
	/* A thread that prints for a console reads the level only then */
	pr_flush(1000, true);
	/* A device is half a dozen lines */
	usual_loglevel = console_loglevel;
	KUNIT_ASSERT_EQ(test, 0,
			kunit_add_action_or_reset(test, end_topologies, NULL));
	console_loglevel = CONSOLE_LOGLEVEL_SILENT;
	for (i = 0; i < nr && !t->failed; i++) {
		*t = (struct topology) { .test = test,
					 .max = every_order ? SMALL : MAX_NODES,
					 .ignore_bridges = ignore_bridges,
					 .seed = topology_seed + i };
		prandom_seed_state(&t->rnd, t->seed);
		make_topology(t);
		if (every_order)
			refusals += try_every_order(t, mock);
		else
			refusals += try_one_order(t, mock);
		devices += t->nr;
	}
	kunit_release_action(test, end_topologies, NULL);

	kunit_info(test, "%u topologies with %u devices, %u refusals\n",
		   i, devices, refusals);
	/* Some of the usual ones have a device that connects groups */
	if (topologies == DEFAULT_TOPOLOGIES && topology_seed == DEFAULT_SEED)
		KUNIT_EXPECT_GT(test, refusals, 0);
}

static void random_topologies(struct kunit *test)
{
	try_topologies(test, false, false);
}

static void random_untranslated_bridges(struct kunit *test)
{
	try_topologies(test, false, true);
}

static void every_order(struct kunit *test)
{
	try_topologies(test, true, false);
}

static void every_order_untranslated_bridges(struct kunit *test)
{
	try_topologies(test, true, true);
}

static struct kunit_case iommu_group_topology_cases[] = {
	KUNIT_CASE_SLOW(random_topologies),
	KUNIT_CASE_SLOW(random_untranslated_bridges),
	KUNIT_CASE_SLOW(every_order),
	KUNIT_CASE_SLOW(every_order_untranslated_bridges),
	{ }
};

static struct kunit_suite iommu_group_topology_suite = {
	.name = "iommu_group_topology",
	.test_cases = iommu_group_topology_cases,
};

kunit_test_suite(iommu_group_topology_suite);
