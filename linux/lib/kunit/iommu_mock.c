// SPDX-License-Identifier: GPL-2.0
/*
 * An IOMMU that translates nothing and remembers everything, for KUnit.
 *
 * It records which requester IDs are programmed, that is which ones would
 * have a context entry, device table entry or stream table entry. Everything
 * above it is the real IOMMU core, and for MOCK_IOMMU_FWSPEC the real device
 * tree code.
 *
 * Not covered: translation itself, PASIDs, reserved regions but that of MSIs.
 */
#include <kunit/of.h>
#include <kunit/device.h>
#include <kunit/test.h>
#include <linux/bitmap.h>
#include <linux/completion.h>
#include <linux/iommu.h>
#include <linux/of.h>
#include <linux/pci.h>
#include <linux/sched/cputime.h>
#include <linux/slab.h>

#include "fake_pci.h"
#include "iommu_mock.h"

#define NR_RIDS	(U16_MAX + 1)
#define NR_WISHES	4

static const struct mock_iommu_param mock_iommu_params[] = {
	{ "walks aliases", MOCK_IOMMU_WALK },
	{ "fwspec", MOCK_IOMMU_FWSPEC },
};

KUNIT_ARRAY_PARAM_DESC(kind, mock_iommu_params, name);

/**
 * mock_iommu_gen_params - Parameter generator: one run per kind of IOMMU
 * @test: the test
 * @prev: the parameter before, or NULL
 * @desc: where the name of the kind goes
 *
 * Return: A &struct mock_iommu_param, or NULL after the last.
 */
const void *mock_iommu_gen_params(struct kunit *test, const void *prev,
				  char *desc)
{
	return kind_gen_params(test, prev, desc);
}

/*
 * @programmed changes in probe_device() and below attach_dev(), hence under
 * iommu_probe_device_lock or the mutex of a group; bits are set atomically.
 * Tests read it between operations.
 */
struct mock_iommu {
	struct kunit *test;
	struct iommu_device iommu;
	struct iommu_ops ops;
	struct device *dev;
	struct device_node *host_np;
	unsigned long *programmed;
	unsigned long *was_identity;	/* as @programmed */
	struct xarray attached;		/* requester ID: domain */
	atomic_t wrong_old;

	/* Set while nothing else goes on */
	bool ignore_bridges;
	u16 fail_probe;			/* requester ID, 0: none */
	u16 fail_attach;		/* the same */
	int attach_error;
	bool any_type;
	bool translates_msis;
	struct {
		u16 rid;
		int type;
	} wishes[NR_WISHES];
	struct pci_dev *hold_probe;
	struct pci_dev *hold_release;
	struct completion held;
	struct completion go_on;

	u64 group_ns;			/* under iommu_probe_device_lock */
};

static struct mock_iommu *to_mock(struct device *dev)
{
	return container_of(dev->iommu->iommu_dev, struct mock_iommu, iommu);
}

struct rid_change {
	struct mock_iommu *mock;
	bool pass;
};

static int change_rid(struct pci_dev *pdev, u16 rid, void *data)
{
	struct rid_change *change = data;

	assign_bit(rid, change->mock->programmed, change->pass);
	return 0;
}

static int change_rids(struct device *dev, bool pass)
{
	struct iommu_fwspec *fwspec = dev_iommu_fwspec_get(dev);
	struct rid_change change = { to_mock(dev), pass };
	int i;

	if (!fwspec)
		return pci_for_each_dma_alias(to_pci_dev(dev), change_rid,
					      &change);

	for (i = 0; i < fwspec->num_ids; i++)
		change_rid(to_pci_dev(dev), fwspec->ids[i], &change);
	return 0;
}

static bool is_rid_of(u16 rid, struct device *dev)
{
	return rid && rid == pci_dev_id(to_pci_dev(dev));
}

static int mock_attach_dev(struct iommu_domain *domain, struct device *dev,
			   struct iommu_domain *old)
{
	bool blocked = domain->type == IOMMU_DOMAIN_BLOCKED;
	struct mock_iommu *mock = to_mock(dev);
	u16 rid = pci_dev_id(to_pci_dev(dev));

	if (is_rid_of(mock->fail_attach, dev) && !blocked)
		return mock->attach_error ?: -EIO;
	if (xa_load(&mock->attached, rid) != old)
		atomic_inc(&mock->wrong_old);
	if (xa_err(xa_store(&mock->attached, rid, domain, GFP_KERNEL)))
		return -ENOMEM;
	if (domain->type == IOMMU_DOMAIN_IDENTITY)
		set_bit(rid, mock->was_identity);
	return change_rids(dev, !blocked);
}

static const struct iommu_domain_ops mock_static_ops = {
	.attach_dev = mock_attach_dev,
};

static struct iommu_domain mock_identity = {
	.type = IOMMU_DOMAIN_IDENTITY,
	.ops = &mock_static_ops,
};

static struct iommu_domain mock_blocked = {
	.type = IOMMU_DOMAIN_BLOCKED,
	.ops = &mock_static_ops,
};

static void mock_free(struct iommu_domain *domain)
{
	kfree(domain);
}

static const struct iommu_domain_ops mock_paging_ops = {
	.attach_dev = mock_attach_dev,
	.free = mock_free,
};

static struct iommu_domain *mock_alloc_paging(struct device *dev)
{
	struct iommu_domain *domain = kzalloc_obj(*domain);

	if (!domain)
		return ERR_PTR(-ENOMEM);
	domain->ops = &mock_paging_ops;
	domain->pgsize_bitmap = PAGE_SIZE;
	domain->geometry.aperture_end = U32_MAX;
	domain->geometry.force_aperture = true;
	return domain;
}

/* KUnit runs tests one after the other: one is registered at a time */
static struct mock_iommu *registered;

/* A test that fails may never tell us to go on */
#define HOLD_TIMEOUT	(10 * HZ)

static void hold(struct mock_iommu *mock)
{
	complete(&mock->held);
	wait_for_completion_timeout(&mock->go_on, HOLD_TIMEOUT);
}

static struct iommu_device *mock_probe_device(struct device *dev)
{
	/* Whatever else the machine has is not ours to take */
	if (!dev_is_pci(dev) || !fake_pci_owns(to_pci_dev(dev)))
		return ERR_PTR(-ENODEV);
	if (registered->ignore_bridges && pci_is_bridge(to_pci_dev(dev)))
		return ERR_PTR(-ENODEV);

	if (registered->hold_probe == to_pci_dev(dev))
		hold(registered);
	if (is_rid_of(registered->fail_probe, dev))
		return ERR_PTR(-EIO);
	return &registered->iommu;
}

static void mock_release_device(struct device *dev)
{
	struct mock_iommu *mock = to_mock(dev);

	if (mock->hold_release == to_pci_dev(dev))
		hold(mock);
	xa_erase(&mock->attached, pci_dev_id(to_pci_dev(dev)));
	change_rids(dev, false);
}

static int mock_def_domain_type(struct device *dev)
{
	struct mock_iommu *mock = to_mock(dev);
	int i;

	for (i = 0; i < NR_WISHES; i++)
		if (is_rid_of(mock->wishes[i].rid, dev))
			return mock->wishes[i].type;
	return mock->any_type ? 0 : IOMMU_DOMAIN_IDENTITY;
}

static void mock_get_resv_regions(struct device *dev, struct list_head *head)
{
	struct iommu_resv_region *region;

	region = iommu_alloc_resv_region(SZ_128M, SZ_1M,
					 IOMMU_WRITE | IOMMU_NOEXEC | IOMMU_MMIO,
					 to_mock(dev)->translates_msis ?
					 IOMMU_RESV_SW_MSI : IOMMU_RESV_MSI,
					 GFP_KERNEL);
	if (region)
		list_add_tail(&region->list, head);
}

static struct iommu_group *mock_device_group(struct device *dev)
{
	struct mock_iommu *mock = to_mock(dev);
	/* Not the time of other tasks, nor when there is nothing to do */
	u64 start = task_sched_runtime(current);
	struct iommu_group *group = pci_device_group(dev);

	mock->group_ns += task_sched_runtime(current) - start;
	return group;
}

static int mock_of_xlate(struct device *dev, const struct of_phandle_args *args)
{
	return iommu_fwspec_add_ids(dev, (u32 *)args->args, 1);
}

static void put_node(void *data)
{
	of_node_put(data);
}

static struct device_node *find_node(struct kunit *test, const char *path)
{
	struct device_node *np = of_find_node_by_path(path);

	KUNIT_ASSERT_NOT_NULL_MSG(test, np, "no %s in the overlay", path);
	KUNIT_ASSERT_EQ(test, 0, kunit_add_action_or_reset(test, put_node, np));
	return np;
}

/**
 * mock_iommu_nodes - Device tree nodes of a host bridge behind an IOMMU
 * @test: the test
 * @iommu: where the node of the IOMMU goes
 * @host: where that of the host bridge goes, all of whose requester IDs pass
 *	through the IOMMU
 *
 * They go away with the test. Failure ends the test.
 */
void mock_iommu_nodes(struct kunit *test, struct device_node **iommu,
		      struct device_node **host)
{
	KUNIT_ASSERT_EQ(test, 0, of_overlay_apply_kunit(test, kunit_iommu_group));
	*host = find_node(test, "/kunit-pci");
	*iommu = find_node(test, "/kunit-iommu");
}

static void unregister(void *data)
{
	struct mock_iommu *mock = data;

	if (registered != mock)
		return;
	iommu_device_unregister(&mock->iommu);
	iommu_device_sysfs_remove(&mock->iommu);
	xa_destroy(&mock->attached);
	registered = NULL;
}

/**
 * mock_iommu - Create an IOMMU, not registered yet
 * @test: the test
 * @kind: how it learns requester IDs
 *
 * Return: The IOMMU, which goes away with the test. Failure ends the test.
 */
struct mock_iommu *mock_iommu(struct kunit *test, enum mock_iommu_kind kind)
{
	struct device_node *iommu_np = NULL;
	struct mock_iommu *mock;

	mock = kunit_kzalloc(test, sizeof(*mock), GFP_KERNEL);
	KUNIT_ASSERT_NOT_NULL(test, mock);
	mock->test = test;
	mock->programmed = kunit_kcalloc(test, BITS_TO_LONGS(NR_RIDS),
					 sizeof(long), GFP_KERNEL);
	KUNIT_ASSERT_NOT_NULL(test, mock->programmed);
	mock->was_identity = kunit_kcalloc(test, BITS_TO_LONGS(NR_RIDS),
					   sizeof(long), GFP_KERNEL);
	KUNIT_ASSERT_NOT_NULL(test, mock->was_identity);
	xa_init(&mock->attached);
	init_completion(&mock->held);
	init_completion(&mock->go_on);

	mock->ops = (struct iommu_ops) {
		.identity_domain = &mock_identity,
		.blocked_domain = &mock_blocked,
		.release_domain = &mock_blocked,
		.probe_device = mock_probe_device,
		.release_device = mock_release_device,
		.device_group = mock_device_group,
		.def_domain_type = mock_def_domain_type,
		.domain_alloc_paging = mock_alloc_paging,
		.get_resv_regions = mock_get_resv_regions,
	};

	/* Nodes of the overlay must outlive the devices that point to them */
	if (kind == MOCK_IOMMU_FWSPEC) {
		mock->ops.of_xlate = mock_of_xlate;
		mock_iommu_nodes(test, &iommu_np, &mock->host_np);
	}

	mock->dev = kunit_device_register(test, "mock-iommu");
	KUNIT_ASSERT_NOT_ERR_OR_NULL(test, mock->dev);
	if (iommu_np)
		device_set_node(mock->dev, of_fwnode_handle(iommu_np));

	/* Whenever it is registered: after its devices and their drivers go */
	KUNIT_ASSERT_EQ(test, 0,
			kunit_add_action_or_reset(test, unregister, mock));
	return mock;
}

/**
 * mock_iommu_host_node - The host bridge whose devices the IOMMU serves
 * @mock: the IOMMU
 *
 * Return: For MOCK_IOMMU_FWSPEC the device tree node to give to
 * fake_pci_host(), otherwise NULL, as it serves all of them.
 */
struct device_node *mock_iommu_host_node(struct mock_iommu *mock)
{
	return mock->host_np;
}

/**
 * mock_iommu_ignore_bridges - Translate endpoints only
 * @mock: the IOMMU, not registered yet
 *
 * As if an iommu-map left out the requester IDs of all bridges.
 */
void mock_iommu_ignore_bridges(struct mock_iommu *mock)
{
	mock->ignore_bridges = true;
}

/**
 * mock_iommu_fail_probe - Fail in the probe_device() of a device, from now on
 * @mock: the IOMMU
 * @rid: its requester ID, 0 for no device at all
 */
void mock_iommu_fail_probe(struct mock_iommu *mock, u16 rid)
{
	mock->fail_probe = rid;
}

/**
 * mock_iommu_fail_attach - Fail to attach a device, from now on
 * @mock: the IOMMU
 * @rid: its requester ID, 0 for no device at all
 */
void mock_iommu_fail_attach(struct mock_iommu *mock, u16 rid)
{
	mock->fail_attach = rid;
}

/**
 * mock_iommu_attach_error - Say how attaching fails
 * @mock: the IOMMU
 * @error: what mock_iommu_fail_attach() has it fail with, else -EIO
 */
void mock_iommu_attach_error(struct mock_iommu *mock, int error)
{
	mock->attach_error = error;
}

/**
 * mock_iommu_any_type - Leave the type of default domains to the IOMMU core
 * @mock: the IOMMU, not registered yet
 *
 * Otherwise it asks for identity.
 */
void mock_iommu_any_type(struct mock_iommu *mock)
{
	mock->any_type = true;
}

/**
 * mock_iommu_wish - Ask for a type of default domain
 * @mock: the IOMMU
 * @rid: requester ID of the device that needs it, not probed yet
 * @type: IOMMU_DOMAIN_DMA or IOMMU_DOMAIN_IDENTITY
 */
void mock_iommu_wish(struct mock_iommu *mock, u16 rid, int type)
{
	int i;

	for (i = 0; i < NR_WISHES && mock->wishes[i].rid; i++)
		;
	KUNIT_ASSERT_LT(mock->test, i, NR_WISHES);
	mock->wishes[i].rid = rid;
	mock->wishes[i].type = type;
}

/**
 * mock_iommu_translate_msis - MSIs pass through the domain, as on Arm
 * @mock: the IOMMU, not registered yet
 */
void mock_iommu_translate_msis(struct mock_iommu *mock)
{
	mock->translates_msis = true;
}

/**
 * mock_iommu_was_identity - Has a device ever been attached to identity?
 * @mock: the IOMMU
 * @rid: its requester ID
 */
bool mock_iommu_was_identity(struct mock_iommu *mock, u16 rid)
{
	return test_bit(rid, mock->was_identity);
}

/**
 * mock_iommu_wrong_old - How often was attach_dev() told a wrong old domain?
 * @mock: the IOMMU
 *
 * Devices must have one requester ID each.
 */
int mock_iommu_wrong_old(struct mock_iommu *mock)
{
	return atomic_read(&mock->wrong_old);
}

/* Without a fwspec to tell them apart the first IOMMU gets all devices */
static bool real_iommu_in_charge(void)
{
	struct pci_dev *pdev = NULL;

	for_each_pci_dev(pdev) {
		if (!fake_pci_owns(pdev) && device_iommu_mapped(&pdev->dev)) {
			pci_dev_put(pdev);
			return true;
		}
	}
	return false;
}

/**
 * mock_iommu_register - Have the IOMMU core use an IOMMU, until the test ends
 * @mock: the IOMMU
 *
 * Devices that are there already are probed before this returns.
 */
void mock_iommu_register(struct mock_iommu *mock)
{
	struct kunit *test = mock->test;
	int ret;

	KUNIT_ASSERT_NULL(test, registered);
	if (!mock->host_np && real_iommu_in_charge())
		kunit_skip(test, "a real IOMMU is in charge of this machine");

	/* iommu_device_link() needs the class device */
	KUNIT_ASSERT_EQ(test, 0,
			iommu_device_sysfs_add(&mock->iommu, mock->dev, NULL,
					       "kunit-iommu"));
	registered = mock;
	ret = iommu_device_register(&mock->iommu, &mock->ops,
				    mock->host_np ? mock->dev : NULL);
	if (ret) {
		iommu_device_sysfs_remove(&mock->iommu);
		registered = NULL;
	}
	KUNIT_ASSERT_EQ(test, 0, ret);
}

/**
 * mock_iommu_unregister - Take an IOMMU away before the test ends
 * @mock: the IOMMU, registered
 */
void mock_iommu_unregister(struct mock_iommu *mock)
{
	unregister(mock);
}

/**
 * mock_iommu_hold_probe - Stop in the midst of the probe of a device
 * @mock: the IOMMU
 * @pdev: the device
 *
 * The probe waits until mock_iommu_go_on(), or ten seconds.
 */
void mock_iommu_hold_probe(struct mock_iommu *mock, struct pci_dev *pdev)
{
	mock->hold_probe = pdev;
}

/**
 * mock_iommu_hold_release - Stop in the midst of the release of a device
 * @mock: the IOMMU
 * @pdev: the device
 *
 * The release waits until mock_iommu_go_on(), or ten seconds.
 */
void mock_iommu_hold_release(struct mock_iommu *mock, struct pci_dev *pdev)
{
	mock->hold_release = pdev;
}

/**
 * mock_iommu_wait_held - Wait until a probe or a release has stopped
 * @mock: the IOMMU
 */
void mock_iommu_wait_held(struct mock_iommu *mock)
{
	KUNIT_ASSERT_NE(mock->test, 0,
			wait_for_completion_timeout(&mock->held, HOLD_TIMEOUT));
}

/**
 * mock_iommu_go_on - Let go on what has stopped
 * @mock: the IOMMU
 */
void mock_iommu_go_on(struct mock_iommu *mock)
{
	complete(&mock->go_on);
}

/**
 * mock_iommu_programmed - Does the IOMMU let a requester ID pass?
 * @mock: the IOMMU
 * @rid: bus number and devfn
 */
bool mock_iommu_programmed(struct mock_iommu *mock, u16 rid)
{
	return test_bit(rid, mock->programmed);
}

/**
 * mock_iommu_group_ns - The time spent to find groups, and to make new ones
 * @mock: the IOMMU
 *
 * Return: Nanoseconds of CPU time in pci_device_group() since the last call.
 */
u64 mock_iommu_group_ns(struct mock_iommu *mock)
{
	u64 ns = mock->group_ns;

	mock->group_ns = 0;
	return ns;
}

/**
 * mock_iommu_same_group - Are two devices in one IOMMU group?
 * @a: a device
 * @b: another one
 *
 * Return: Whether both are in a group and it is the same.
 */
bool mock_iommu_same_group(struct pci_dev *a, struct pci_dev *b)
{
	struct iommu_group *ga = iommu_group_get(&a->dev);
	struct iommu_group *gb = iommu_group_get(&b->dev);
	bool same = ga && ga == gb;

	iommu_group_put(ga);
	iommu_group_put(gb);
	return same;
}
