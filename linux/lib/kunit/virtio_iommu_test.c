// SPDX-License-Identifier: GPL-2.0
/*
 * KUnit tests of the virtio-iommu driver, with a device that is not there.
 *
 * Which requests the device gets, in order, and what comes of the answers. The
 * endpoints have an identity domain by default, so that all architectures send
 * the same.
 */
#include <kunit/test.h>
#include <linux/cpumask.h>
#include <linux/delay.h>
#include <linux/iommu.h>
#include <linux/kthread.h>
#include <linux/ktime.h>
#include <linux/pci.h>
#include <linux/sizes.h>
#include <linux/string.h>
#include <linux/virtio.h>

#include <uapi/linux/virtio_iommu.h>

#include "fake_pci.h"
#include "fake_viommu.h"

#define ENDPOINT	"01:00.0"
#define SIBLING		"01:00.1"	/* whose ID is an alias of the other */
#define PORT_ID		0x0008
#define ENDPOINT_ID	0x0100
#define SIBLING_ID	0x0101

#define BYPASS		BIT_ULL(VIRTIO_IOMMU_F_BYPASS_CONFIG)
#define DOMAIN_RANGE	BIT_ULL(VIRTIO_IOMMU_F_DOMAIN_RANGE)
#define PROBE		BIT_ULL(VIRTIO_IOMMU_F_PROBE)

#define TEST_VENDOR	0xfffd
#define TEST_DEVICE	0x0a12

/* Before that the driver gives up on an answer */
#define PATIENCE_MS	15000
/* It does not wait for one that cannot come; the host may be busy */
#define AT_ONCE_MS	2500
/* An answer that takes this long is slow */
#define SLOW_MS		200

static void alias_fixup(struct pci_dev *pdev)
{
	pci_add_dma_alias(pdev, PCI_DEVFN(0, 1), 1);
}
DECLARE_PCI_FIXUP_FINAL(TEST_VENDOR, TEST_DEVICE, alias_fixup);

static const struct fake_pci_desc slot[] = {
	{ "00:01.0", FAKE_ROOT_PORT, .bus = 1, .acs = FAKE_ACS_FULL },
	{ ENDPOINT, FAKE_ENDPOINT, .mfd = true, .acs = FAKE_ACS_FULL,
	  .vendor = TEST_VENDOR, .device = TEST_DEVICE },
	{ }
};

static const struct fake_pci_desc without_alias[] = {
	{ "00:01.0", FAKE_ROOT_PORT, .bus = 1, .acs = FAKE_ACS_FULL },
	{ ENDPOINT, FAKE_ENDPOINT, .acs = FAKE_ACS_FULL },
	{ }
};

static const struct fake_pci_desc sibling = {
	SIBLING, FAKE_ENDPOINT, .acs = FAKE_ACS_FULL
};

struct setup {
	struct kunit *test;
	struct fake_viommu *v;
	struct fake_pci_host *host;
	struct virtio_device *vdev;
	struct pci_dev *pdev;		/* the endpoint */
};

/* Strict, even if it was not */
static void default_to_translated(void *unused)
{
	iommu_set_default_translated(false);
}

static struct setup *setup(struct kunit *test, const struct fake_pci_desc *descs,
			   u64 features)
{
	struct setup *s = kunit_kzalloc(test, sizeof(*s), GFP_KERNEL);

	KUNIT_ASSERT_NOT_NULL(test, s);
	s->test = test;
	if (!iommu_default_passthrough()) {
		iommu_set_default_passthrough(false);
		KUNIT_ASSERT_EQ(test, 0,
				kunit_add_action_or_reset(test,
							  default_to_translated,
							  NULL));
	}
	s->v = fake_viommu(test, features);
	s->host = fake_pci_host(test, fake_viommu_host_node(s->v));
	fake_pci_add_all(s->host, descs);
	return s;
}

/* The endpoint is there before the IOMMU. */
static void start(struct setup *s)
{
	fake_pci_boot(s->host);
	s->vdev = fake_viommu_plug(s->v);
	s->pdev = fake_pci_dev(s->host, ENDPOINT);
	KUNIT_ASSERT_NOT_NULL(s->test, s->vdev->dev.driver);
}

/* The same, with nothing that is wrong */
static struct setup *started(struct kunit *test,
			     const struct fake_pci_desc *descs)
{
	struct setup *s = setup(test, descs, BYPASS);

	start(s);
	KUNIT_ASSERT_TRUE(test, device_iommu_mapped(&s->pdev->dev));
	fake_viommu_requests(s->v);
	return s;
}

static void expect_requests(struct setup *s, const char *expected)
{
	KUNIT_EXPECT_STREQ(s->test, expected, fake_viommu_requests(s->v));
}

/* Whether an endpoint has a group, and the device has it attached */
static void expect_endpoint(struct setup *s, bool there)
{
	KUNIT_EXPECT_EQ(s->test, there, device_iommu_mapped(&s->pdev->dev));
	KUNIT_EXPECT_EQ(s->test, there, fake_viommu_attached(s->v, ENDPOINT_ID));
	/* What becomes of one is nothing to the other */
	KUNIT_EXPECT_TRUE(s->test, fake_viommu_attached(s->v, PORT_ID));
}

/* How often the kernel has said something since a log was begun */
static int said(struct fake_pci_log *log, const char *what)
{
	const char *line;
	int n = 0;

	while ((line = fake_pci_log_next(log)))
		n += !!strstr(line, what);
	return n;
}

#define IOVA		SZ_1M
#define PADDR		SZ_2M
#define READ_WRITE	(IOMMU_READ | IOMMU_WRITE)

static void free_domain(void *domain)
{
	iommu_domain_free(domain);
}

static struct iommu_domain *paging_domain(struct setup *s)
{
	struct iommu_domain *domain = iommu_paging_domain_alloc(&s->pdev->dev);

	KUNIT_ASSERT_NOT_ERR_OR_NULL(s->test, domain);
	KUNIT_ASSERT_EQ(s->test, 0,
			kunit_add_action_or_reset(s->test, free_domain, domain));
	return domain;
}

static int map(struct iommu_domain *domain, unsigned long nr)
{
	return iommu_map(domain, IOVA + nr * SZ_64K, PADDR, PAGE_SIZE,
			 READ_WRITE, GFP_KERNEL);
}

static size_t unmap(struct iommu_domain *domain, unsigned long nr)
{
	return iommu_unmap(domain, IOVA + nr * SZ_64K, PAGE_SIZE);
}

/* --- which IDs --------------------------------------------------------- */

/* The device's own ID and its alias, both ways. */
static void all_ids(struct kunit *test)
{
	struct setup *s = setup(test, slot, BYPASS);

	start(s);
	expect_requests(s, "attach 0008 0 bypass\n"
			   "attach 0100 0 bypass\n"
			   "attach 0101 0 bypass\n");
	expect_endpoint(s, true);

	fake_pci_remove(s->host, ENDPOINT);
	expect_requests(s, "detach 0100 0\n"
			   "detach 0101 0\n");
}

/* Nothing is lost by an alias that the device has never heard of. */
static void unknown_alias(struct kunit *test)
{
	struct setup *s = setup(test, slot, BYPASS);
	struct fake_pci_log *log = fake_pci_log(test, ENDPOINT);
	struct iommu_domain *domain;

	fake_viommu_unknown(s->v, SIBLING_ID);
	start(s);
	expect_requests(s, "attach 0008 0 bypass\n"
			   "attach 0100 0 bypass\n"
			   "attach 0101 0 bypass = 6\n");
	expect_endpoint(s, true);
	KUNIT_EXPECT_EQ(test, 1, said(log, "does not know 1 of 1 DMA aliases"));

	/* It is tried each time, and reported the first time */
	domain = paging_domain(s);
	KUNIT_EXPECT_EQ(test, 0, iommu_attach_device(domain, &s->pdev->dev));
	iommu_detach_device(domain, &s->pdev->dev);
	expect_requests(s, "attach 0100 1\n"
			   "attach 0101 1 = 6\n"
			   "attach 0100 0 bypass\n"
			   "attach 0101 0 bypass = 6\n");
	KUNIT_EXPECT_EQ(test, 0, said(log, "does not know"));

	fake_pci_remove(s->host, ENDPOINT);
	expect_requests(s, "detach 0100 0\n");
}

/* Without its own ID there is no endpoint; the port has its group. */
static void unknown_endpoint(struct kunit *test)
{
	struct setup *s = setup(test, slot, BYPASS);

	fake_viommu_unknown(s->v, ENDPOINT_ID);
	start(s);
	expect_requests(s, "attach 0008 0 bypass\n"
			   "attach 0100 0 bypass = 6\n");
	expect_endpoint(s, false);
}

/* An ID that two endpoints have is attached until the second goes. */
static void shared_id(struct kunit *test)
{
	struct setup *s = setup(test, slot, BYPASS);

	fake_pci_add(s->host, &sibling);
	start(s);
	expect_requests(s, "attach 0008 0 bypass\n"
			   "attach 0100 0 bypass\n"
			   "attach 0101 0 bypass\n");

	fake_pci_remove(s->host, ENDPOINT);
	expect_requests(s, "detach 0100 0\n");
	KUNIT_EXPECT_TRUE(test, fake_viommu_attached(s->v, SIBLING_ID));

	fake_pci_remove(s->host, SIBLING);
	expect_requests(s, "detach 0101 0\n");
}

/* --- domains ------------------------------------------------------------ */

/* The requests of a domain's life, PAGE_SIZE being 4k. */
static void mappings(struct kunit *test)
{
	struct setup *s = started(test, without_alias);
	struct iommu_domain *domain = paging_domain(s);
	struct device *dev = &s->pdev->dev;

	if (PAGE_SIZE != SZ_4K)
		kunit_skip(test, "the requests are those of 4k pages");

	/* The device has no such domain before something is attached to it */
	KUNIT_EXPECT_EQ(test, 0, map(domain, 0));
	expect_requests(s, "");
	KUNIT_EXPECT_EQ(test, 0, iommu_attach_device(domain, dev));
	expect_requests(s, "attach 0100 1\n"
			   "map 1 100000-100fff 200000 3\n");

	KUNIT_EXPECT_EQ(test, 0, map(domain, 1));
	KUNIT_EXPECT_EQ(test, PADDR, iommu_iova_to_phys(domain, IOVA + SZ_64K));
	expect_requests(s, "map 1 110000-110fff 200000 3\n");
	KUNIT_EXPECT_EQ(test, PAGE_SIZE, unmap(domain, 0));
	expect_requests(s, "unmap 1 100000-100fff\n");

	/* Once it is left the device has forgotten it, the driver has not */
	iommu_detach_device(domain, dev);
	expect_requests(s, "attach 0100 0 bypass\n");
	KUNIT_EXPECT_EQ(test, 0, iommu_attach_device(domain, dev));
	expect_requests(s, "attach 0100 1\n"
			   "map 1 110000-110fff 200000 3\n");
	iommu_detach_device(domain, dev);
	fake_viommu_requests(s->v);
	KUNIT_EXPECT_EQ(test, PAGE_SIZE, unmap(domain, 1));
	expect_requests(s, "");
}

/* A device that cannot bypass has identity mappings instead. */
static void identity_by_mappings(struct kunit *test)
{
	struct setup *s = setup(test, without_alias, 0);

	if (BITS_PER_LONG != 64)
		kunit_skip(test, "the driver's addresses have 64 bits here");

	start(s);
	expect_requests(s, "attach 0008 0\n"
			   "map 0 0-ffffffffffffffff 0 3\n"
			   "attach 0100 1\n"
			   "map 1 0-ffffffffffffffff 0 3\n");
	expect_endpoint(s, true);

	fake_pci_remove(s->host, ENDPOINT);
	expect_requests(s, "detach 0100 1\n");
}

/* The ID of the identity domain is one of those that the device allows. */
static void identity_by_id(struct kunit *test)
{
	struct setup *s = setup(test, slot, BYPASS | DOMAIN_RANGE);

	start(s);
	expect_requests(s, "attach 0008 5 bypass\n"
			   "attach 0100 5 bypass\n"
			   "attach 0101 5 bypass\n");

	fake_pci_remove(s->host, ENDPOINT);
	expect_requests(s, "detach 0100 5\n"
			   "detach 0101 5\n");
}

/* No page can be mapped: endpoints bypass the IOMMU, whatever the default is. */
static void large_granule(struct kunit *test)
{
	struct setup *s = setup(test, slot, BYPASS);

	default_to_translated(NULL);
	fake_viommu_granule(s->v, 2 * PAGE_SIZE);
	start(s);
	expect_requests(s, "attach 0008 0 bypass\n"
			   "attach 0100 0 bypass\n"
			   "attach 0101 0 bypass\n");
	expect_endpoint(s, true);
	KUNIT_EXPECT_TRUE(test, IS_ERR(iommu_paging_domain_alloc(&s->pdev->dev)));
}

/* Nor can they bypass it: they are left alone. */
static void large_granule_without_bypass(struct kunit *test)
{
	struct setup *s = setup(test, slot, 0);

	fake_viommu_granule(s->v, 2 * PAGE_SIZE);
	start(s);
	expect_requests(s, "");
	KUNIT_EXPECT_FALSE(test, device_iommu_mapped(&s->pdev->dev));
	KUNIT_EXPECT_EQ(test, 0, iommu_device_use_default_domain(&s->pdev->dev));
}

/* Nobody else adds buffers when the device may already use them. */
static void event_buffers_first(struct kunit *test)
{
	struct setup *s = started(test, without_alias);

	KUNIT_EXPECT_TRUE(test, fake_viommu_had_event_buffers(s->v));
}

/* Unbound with its endpoints there, and bound again. */
static void rebind(struct kunit *test)
{
	struct setup *s = started(test, slot);

	device_release_driver(&s->vdev->dev);
	KUNIT_EXPECT_FALSE(test, device_iommu_mapped(&s->pdev->dev));
	KUNIT_EXPECT_FALSE(test, fake_viommu_attached(s->v, ENDPOINT_ID));
	KUNIT_EXPECT_FALSE(test, fake_viommu_attached(s->v, SIBLING_ID));

	fake_viommu_requests(s->v);
	KUNIT_EXPECT_EQ(test, 1, device_attach(&s->vdev->dev));
	expect_requests(s, "attach 0008 0 bypass\n"
			   "attach 0100 0 bypass\n"
			   "attach 0101 0 bypass\n");
	expect_endpoint(s, true);
}

/* --- answers that are no success ---------------------------------------- */

struct failure {
	const char *name;
	u8 status;
	unsigned int skip;		/* of the ATTACH requests */
	const char *requests;
};

#define NO_SUCH_STATUS	0x55

static const struct failure failures[] = {
	{ "own ID", VIRTIO_IOMMU_S_IOERR, 1,
	  "attach 0008 0 bypass\n"
	  "attach 0100 0 bypass = 1\n" },
	{ "own ID, status unknown", NO_SUCH_STATUS, 1,
	  "attach 0008 0 bypass\n"
	  "attach 0100 0 bypass = 85\n" },
	{ "alias", VIRTIO_IOMMU_S_NOMEM, 2,
	  "attach 0008 0 bypass\n"
	  "attach 0100 0 bypass\n"
	  "attach 0101 0 bypass = 8\n"
	  "detach 0100 0\n" },
};

KUNIT_ARRAY_PARAM_DESC(failure, failures, name);

/* An endpoint that cannot be attached is not, with none of its IDs. */
static void attach_fails(struct kunit *test)
{
	const struct failure *f = test->param_value;
	struct setup *s = setup(test, slot, BYPASS);

	fake_viommu_status(s->v, VIRTIO_IOMMU_T_ATTACH, f->skip, f->status);
	start(s);
	expect_requests(s, f->requests);
	expect_endpoint(s, false);
	KUNIT_EXPECT_FALSE(test, fake_viommu_attached(s->v, SIBLING_ID));
}

/* One that cannot go elsewhere stays where it was. */
static void move_fails(struct kunit *test)
{
	struct setup *s = started(test, slot);
	struct iommu_domain *domain = paging_domain(s);

	fake_viommu_status(s->v, VIRTIO_IOMMU_T_ATTACH, 1, VIRTIO_IOMMU_S_NOMEM);
	KUNIT_EXPECT_EQ(test, -ENOMEM,
			iommu_attach_device(domain, &s->pdev->dev));
	expect_requests(s, "attach 0100 1\n"
			   "attach 0101 1 = 8\n"
			   "detach 0101 0\n"
			   "attach 0100 0 bypass\n"
			   "attach 0101 0 bypass\n");
	expect_endpoint(s, true);
}

/* So does one whose mappings cannot be had there. */
static void replay_fails(struct kunit *test)
{
	struct setup *s = started(test, slot);
	struct iommu_domain *domain = paging_domain(s);

	KUNIT_ASSERT_EQ(test, 0, map(domain, 0));
	fake_viommu_status(s->v, VIRTIO_IOMMU_T_MAP, 0, VIRTIO_IOMMU_S_NOENT);
	KUNIT_EXPECT_NE(test, 0, iommu_attach_device(domain, &s->pdev->dev));
	expect_endpoint(s, true);

	fake_viommu_requests(s->v);
	fake_pci_remove(s->host, ENDPOINT);
	expect_requests(s, "detach 0100 0\n"
			   "detach 0101 0\n");
}

/* Without its properties it may not be used, and nobody waits for them again. */
static void probe_fails(struct kunit *test)
{
	struct setup *s = setup(test, without_alias, BYPASS | PROBE);
	struct fake_pci_log *log = fake_pci_log(test, ENDPOINT);

	fake_viommu_status(s->v, VIRTIO_IOMMU_T_PROBE, 1, VIRTIO_IOMMU_S_DEVERR);
	start(s);
	expect_requests(s, "probe 0008\n"
			   "probe 0100 = 3\n"
			   "attach 0008 0 bypass\n");
	expect_endpoint(s, false);
	KUNIT_EXPECT_EQ(test, 1, said(log, "Not added to an IOMMU group (-5)"));
	KUNIT_EXPECT_EQ(test, -EPROBE_DEFER,
			iommu_device_use_default_domain(&s->pdev->dev));
}

/* The driver cannot keep what goes away, and says so. */
static void detach_fails(struct kunit *test)
{
	struct setup *s = started(test, slot);
	struct fake_pci_log *log = fake_pci_log(test, ENDPOINT);

	fake_viommu_status(s->v, VIRTIO_IOMMU_T_DETACH, 0, VIRTIO_IOMMU_S_IOERR);
	fake_pci_remove(s->host, ENDPOINT);
	expect_requests(s, "detach 0100 0 = 1\n"
			   "detach 0101 0\n");
	KUNIT_EXPECT_EQ(test, 1, said(log, "could not detach endpoint 256"));

	fake_pci_rescan(s->host);
	s->pdev = fake_pci_dev(s->host, ENDPOINT);
	expect_endpoint(s, true);
}

/* Nobody waits for the answer, but it is heard. */
static void mapping_rejected(struct kunit *test)
{
	struct setup *s = started(test, without_alias);
	struct fake_pci_log *log = fake_pci_log(test, dev_name(&s->vdev->dev));
	struct iommu_domain *domain = paging_domain(s);

	KUNIT_ASSERT_EQ(test, 0, iommu_attach_device(domain, &s->pdev->dev));
	fake_viommu_status(s->v, VIRTIO_IOMMU_T_MAP, 0, VIRTIO_IOMMU_S_NOMEM);
	KUNIT_EXPECT_EQ(test, 0, map(domain, 0));
	KUNIT_EXPECT_EQ(test, 1, said(log, "a MAP or UNMAP request (-12)"));

	fake_viommu_status(s->v, VIRTIO_IOMMU_T_UNMAP, 0, VIRTIO_IOMMU_S_RANGE);
	KUNIT_EXPECT_EQ(test, PAGE_SIZE, unmap(domain, 0));
	KUNIT_EXPECT_EQ(test, 1, said(log, "a MAP or UNMAP request (-34)"));

	fake_viommu_length(s->v, VIRTIO_IOMMU_T_MAP, 0, 0);
	KUNIT_EXPECT_EQ(test, 0, map(domain, 0));
	KUNIT_EXPECT_EQ(test, 1, said(log, "a MAP or UNMAP request (-5)"));

	KUNIT_EXPECT_EQ(test, 0, map(domain, 1));
	KUNIT_EXPECT_EQ(test, PAGE_SIZE, unmap(domain, 1));
	KUNIT_EXPECT_EQ(test, 0, said(log, "request"));
	iommu_detach_device(domain, &s->pdev->dev);
}

struct length {
	const char *name;
	u32 len;
};

static const struct length lengths[] = {
	{ "nothing", 0 },
	{ "a part", 1 },
	{ "more than there is", 1000 },
};

KUNIT_ARRAY_PARAM_DESC(length, lengths, name);

/* What the device has not written is not to be relied on. */
static void wrong_length(struct kunit *test)
{
	const struct length *l = test->param_value;
	struct setup *s = setup(test, slot, BYPASS);

	fake_viommu_length(s->v, VIRTIO_IOMMU_T_ATTACH, 1, l->len);
	start(s);
	KUNIT_EXPECT_FALSE(test, device_iommu_mapped(&s->pdev->dev));
	KUNIT_EXPECT_TRUE(test, fake_viommu_attached(s->v, PORT_ID));
}

/* --- properties --------------------------------------------------------- */

struct one_property {
	u16 type;
	u16 length;			/* of what follows type and length */
	u64 start;			/* of a region of memory */
	u64 end;
};

struct properties {
	const char *name;
	int nr_reserved;		/* regions that come of them */
	struct one_property list[3];
};

#define REGION		VIRTIO_IOMMU_PROBE_T_RESV_MEM
#define REGION_LEN	20
#define UNKNOWN_TYPE	0x7ff

static const struct properties fine_properties[] = {
	{ "none" },
	{ "two regions", .nr_reserved = 2,
	  .list = { { REGION, REGION_LEN, 0x10000, 0x1ffff },
		    { REGION, REGION_LEN, 0x30000, 0x3ffff } } },
	{ "unknown type before a region", .nr_reserved = 1,
	  .list = { { UNKNOWN_TYPE, 4 },
		    { REGION, REGION_LEN, 0x10000, 0x1ffff } } },
	{ "no room for another",
	  .list = { { UNKNOWN_TYPE, FAKE_VIOMMU_PROBE_SIZE - 6 },
		    { REGION, REGION_LEN, 0x10000, 0x1ffff } } },
};

KUNIT_ARRAY_PARAM_DESC(fine_properties, fine_properties, name);

static const struct properties bad_properties[] = {
	{ "empty region", .list = { { REGION, 0 } } },
	{ "short region",
	  .list = { { REGION, 8, 0x10000, 0x1ffff } } },
	{ "region that ends before it starts",
	  .list = { { REGION, REGION_LEN, 0x20000, 0x1ffff } } },
	{ "region that ends beyond the buffer",
	  .list = { { UNKNOWN_TYPE, FAKE_VIOMMU_PROBE_SIZE - 12 },
		    { REGION, REGION_LEN, 0x10000, 0x1ffff } } },
	{ "beyond the buffer",
	  .list = { { UNKNOWN_TYPE, U16_MAX } } },
};

/* Writes the properties of which the buffer holds the beginning at least. */
static void set_properties(struct fake_viommu *v, const struct properties *p)
{
	const struct one_property *prop;
	struct virtio_iommu_probe_resv_mem mem;
	u8 bytes[FAKE_VIOMMU_PROBE_SIZE + sizeof(mem)] = { };
	size_t at = 0;

	for (prop = p->list; prop->type && at < FAKE_VIOMMU_PROBE_SIZE; prop++) {
		mem = (struct virtio_iommu_probe_resv_mem) {
			.head.type = cpu_to_le16(prop->type),
			.head.length = cpu_to_le16(prop->length),
			.subtype = VIRTIO_IOMMU_RESV_MEM_T_RESERVED,
			.start = cpu_to_le64(prop->start),
			.end = cpu_to_le64(prop->end),
		};
		memcpy(&bytes[at], &mem, sizeof(mem));
		at += sizeof(mem.head) + prop->length;
	}
	fake_viommu_properties(v, bytes, FAKE_VIOMMU_PROBE_SIZE);
}

KUNIT_ARRAY_PARAM_DESC(bad_properties, bad_properties, name);

/* What a device says of its endpoints. */
static void endpoint_properties(struct kunit *test)
{
	const struct properties *p = test->param_value;
	struct setup *s = setup(test, slot, BYPASS | PROBE);
	struct iommu_resv_region *region;
	LIST_HEAD(regions);
	int n = 0;

	set_properties(s->v, p);
	start(s);
	KUNIT_ASSERT_TRUE(test, device_iommu_mapped(&s->pdev->dev));

	iommu_get_resv_regions(&s->pdev->dev, &regions);
	list_for_each_entry(region, &regions, list)
		n += region->type == IOMMU_RESV_RESERVED;
	iommu_put_resv_regions(&s->pdev->dev, &regions);
	KUNIT_EXPECT_EQ(test, p->nr_reserved, n);
	expect_requests(s, "probe 0008\n"
			   "probe 0100\n"
			   "attach 0008 0 bypass\n"
			   "attach 0100 0 bypass\n"
			   "attach 0101 0 bypass\n");
}

/* What makes no sense is not guessed at: they have no group. */
static void malformed_properties(struct kunit *test)
{
	struct setup *s = setup(test, slot, BYPASS | PROBE);

	set_properties(s->v, test->param_value);
	start(s);
	expect_requests(s, "probe 0008\n"
			   "probe 0100\n");
	KUNIT_EXPECT_FALSE(test, device_iommu_mapped(&s->pdev->dev));
}

/* --- devices that are late, or gone -------------------------------------- */

/* Runs a statement, and returns how many milliseconds it took */
#define DURATION_MS(statement) ({					\
	ktime_t begin_ = ktime_get();					\
	statement;							\
	ktime_ms_delta(ktime_get(), begin_);				\
})

/* The driver waits by udelay(), which is short if this boots on a busy host */
static s64 delayed_second_ms(void)
{
	return 10 * DURATION_MS(mdelay(100));
}

/* The driver gives up on a device, until it is bound to it again. */
static void silent_device(struct kunit *test)
{
	struct setup *s = started(test, slot);
	struct fake_pci_log *log = fake_pci_log(test, dev_name(&s->vdev->dev));
	s64 ms;

	fake_viommu_silence(s->v);
	ms = DURATION_MS(fake_pci_remove(s->host, ENDPOINT));
	KUNIT_EXPECT_GT(test, ms, delayed_second_ms());
	KUNIT_EXPECT_LT(test, ms, PATIENCE_MS);
	KUNIT_EXPECT_EQ(test, 1, said(log, "no answer"));
	expect_requests(s, "");

	/* What has been lost is lost, even if the device comes back */
	fake_viommu_wake(s->v);
	fake_viommu_requests(s->v);
	ms = DURATION_MS(fake_pci_rescan(s->host));
	KUNIT_EXPECT_LT(test, ms, AT_ONCE_MS);
	expect_requests(s, "");
	s->pdev = fake_pci_dev(s->host, ENDPOINT);
	KUNIT_EXPECT_FALSE(test, device_iommu_mapped(&s->pdev->dev));

	device_release_driver(&s->vdev->dev);
	KUNIT_EXPECT_EQ(test, 1, device_attach(&s->vdev->dev));
	expect_requests(s, "attach 0008 0 bypass\n"
			   "attach 0100 0 bypass\n"
			   "attach 0101 0 bypass\n");
	expect_endpoint(s, true);
	KUNIT_EXPECT_EQ(test, 0, said(log, "no answer"));
}

/* Who unmaps when it has been given up, is not told that nothing was mapped. */
static void silent_unmap(struct kunit *test)
{
	struct setup *s = started(test, without_alias);
	struct iommu_domain *domain = paging_domain(s);
	s64 ms;

	KUNIT_ASSERT_EQ(test, 0, iommu_attach_device(domain, &s->pdev->dev));
	KUNIT_EXPECT_EQ(test, 0, map(domain, 0));
	KUNIT_EXPECT_EQ(test, 0, map(domain, 1));

	fake_viommu_silence(s->v);
	ms = DURATION_MS(KUNIT_EXPECT_EQ(test, PAGE_SIZE, unmap(domain, 0)));
	KUNIT_EXPECT_GT(test, ms, delayed_second_ms());
	KUNIT_EXPECT_LT(test, ms, PATIENCE_MS);
	ms = DURATION_MS(KUNIT_EXPECT_EQ(test, PAGE_SIZE, unmap(domain, 1)));
	KUNIT_EXPECT_LT(test, ms, AT_ONCE_MS);
	/* Nor can it be told of another domain, which must not fail */
	kunit_warning_suppress(test) {
		iommu_detach_device(domain, &s->pdev->dev);
		KUNIT_EXPECT_SUPPRESSED_WARNING_COUNT(test, 1);
	}
}

static int wake_later(void *data)
{
	ktime_t begin = ktime_get();

	/* Jiffies may stand still while the other CPU has interrupts off */
	while (ktime_ms_delta(ktime_get(), begin) < SLOW_MS)
		cpu_relax();
	fake_viommu_wake(data);
	while (!kthread_should_stop())
		usleep_range(1000, 2000);
	return 0;
}

/* A device may take its time. */
static void slow_device(struct kunit *test)
{
	struct setup *s = started(test, slot);
	struct iommu_domain *domain = paging_domain(s);
	struct task_struct *task;
	s64 ms;
	int ret;

	if (num_online_cpus() < 2)
		kunit_skip(test, "the only CPU waits for the device");

	task = kthread_create(wake_later, s->v, "kunit-viommu");
	KUNIT_ASSERT_NOT_ERR_OR_NULL(test, task);
	migrate_disable();
	kthread_bind(task, cpumask_any_but(cpu_online_mask, smp_processor_id()));
	fake_viommu_silence(s->v);
	wake_up_process(task);
	ms = DURATION_MS(ret = iommu_attach_device(domain, &s->pdev->dev));
	migrate_enable();
	kthread_stop(task);

	KUNIT_EXPECT_EQ(test, 0, ret);
	KUNIT_EXPECT_GE(test, ms, SLOW_MS / 2);
	expect_endpoint(s, true);
	if (!ret)
		iommu_detach_device(domain, &s->pdev->dev);
}

/* A device that was shut down or pulled out answers nothing any more. */
static void broken_device(struct kunit *test)
{
	struct setup *s = started(test, without_alias);
	struct iommu_domain *domain = paging_domain(s);
	struct iommu_iotlb_gather gather;

	KUNIT_ASSERT_EQ(test, 0, iommu_attach_device(domain, &s->pdev->dev));
	KUNIT_ASSERT_EQ(test, 0, map(domain, 0));

	/* A request is on its way when that happens */
	fake_viommu_silence(s->v);
	iommu_iotlb_gather_init(&gather);
	KUNIT_EXPECT_EQ(test, PAGE_SIZE,
			iommu_unmap_fast(domain, IOVA, PAGE_SIZE, &gather));
	virtio_break_device(s->vdev);
	KUNIT_EXPECT_LT(test,
			DURATION_MS(iommu_iotlb_sync(domain, &gather)),
			AT_ONCE_MS);

	/* The core has no better idea than to complain */
	kunit_warning_suppress(test)
		iommu_detach_device(domain, &s->pdev->dev);
	kunit_release_action(test, free_domain, domain);
	KUNIT_EXPECT_LT(test, DURATION_MS(fake_pci_remove(s->host, ENDPOINT)),
			AT_ONCE_MS);
	fake_viommu_unplug(s->v);

	/* Another takes its place */
	s->vdev = fake_viommu_plug(s->v);
	fake_pci_rescan(s->host);
	s->pdev = fake_pci_dev(s->host, ENDPOINT);
	expect_endpoint(s, true);
}

static struct kunit_case virtio_iommu_cases[] = {
	KUNIT_CASE(all_ids),
	KUNIT_CASE(unknown_alias),
	KUNIT_CASE(unknown_endpoint),
	KUNIT_CASE(shared_id),
	KUNIT_CASE(mappings),
	KUNIT_CASE(identity_by_mappings),
	KUNIT_CASE(identity_by_id),
	KUNIT_CASE(large_granule),
	KUNIT_CASE(large_granule_without_bypass),
	KUNIT_CASE(event_buffers_first),
	KUNIT_CASE(rebind),
	KUNIT_CASE_PARAM(attach_fails, failure_gen_params),
	KUNIT_CASE(move_fails),
	KUNIT_CASE(replay_fails),
	KUNIT_CASE(probe_fails),
	KUNIT_CASE(detach_fails),
	KUNIT_CASE(mapping_rejected),
	KUNIT_CASE_PARAM(wrong_length, length_gen_params),
	KUNIT_CASE_PARAM(endpoint_properties, fine_properties_gen_params),
	KUNIT_CASE_PARAM(malformed_properties, bad_properties_gen_params),
	KUNIT_CASE_SLOW(silent_device),
	KUNIT_CASE_SLOW(silent_unmap),
	KUNIT_CASE(slow_device),
	KUNIT_CASE(broken_device),
	{ }
};

static struct kunit_suite virtio_iommu_suite = {
	.name = "virtio_iommu",
	.test_cases = virtio_iommu_cases,
};

kunit_test_suite(virtio_iommu_suite);

MODULE_DESCRIPTION("KUnit tests of the virtio-iommu driver");
MODULE_LICENSE("GPL");
