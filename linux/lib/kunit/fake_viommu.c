// SPDX-License-Identifier: GPL-2.0
/*
 * A virtio-iommu device that exists in memory only, for KUnit.
 *
 * It answers the requests of the real driver as a device does, or wrongly if
 * a test wants to know what comes of that, and writes down each of them. All
 * requester IDs below the host bridge of fake_viommu_host_node() are endpoints
 * that it knows.
 *
 * Not covered: it keeps no mappings, so any that has a domain is fine. Events.
 */
#include <kunit/device.h>
#include <kunit/of.h>
#include <kunit/test.h>
#include <linux/cleanup.h>
#include <linux/io.h>
#include <linux/minmax.h>
#include <linux/of.h>
#include <linux/seq_buf.h>
#include <linux/sizes.h>
#include <linux/slab.h>
#include <linux/spinlock.h>
#include <linux/string.h>
#include <linux/virtio.h>
#include <linux/virtio_config.h>
#include <linux/virtio_ids.h>
#include <linux/virtio_ring.h>
#include <linux/vringh.h>

#include <uapi/linux/virtio_iommu.h>

#include "fake_viommu.h"
#include "iommu_mock.h"

#define QUEUE_SIZE	16
#define REQUEST_QUEUE	0
#define EVENT_QUEUE	1
#define MAX_ENDPOINTS	8
#define MAX_UNKNOWN	4
#define LOG_SIZE	SZ_4K

/* An endpoint that is attached */
struct endpoint {
	bool used;
	u16 id;
	u32 domain;
};

/* An answer that is not what it should be */
struct wrong {
	bool armed;
	u8 type;			/* of the request */
	unsigned int skip;		/* as many of that type before */
	bool is_length;
	u32 value;
};

/*
 * Requests are served with the lock held, whoever does it. Tests look at what
 * comes of them, and change what is to come of them, when the driver waits for
 * none.
 */
struct fake_viommu {
	struct kunit *test;
	struct device *dev;
	struct device_node *host_np;
	struct virtio_device *vdev;
	struct virtio_iommu_config config;
	u64 features;
	u8 status;
	const struct vring *events;
	bool had_event_buffers;

	spinlock_t lock;		/* protects all that follows */
	struct vringh ring;
	bool silent;
	struct wrong wrong;
	struct endpoint endpoints[MAX_ENDPOINTS];
	u16 unknown[MAX_UNKNOWN];
	unsigned int nr_unknown;
	u8 props[FAKE_VIOMMU_PROBE_SIZE];

	struct seq_buf log;
	char log_text[LOG_SIZE];
};

/* A device of the driver core outlives the test if somebody holds it */
struct fake_viommu_vdev {
	struct virtio_device vdev;
	struct fake_viommu *v;
};

static struct fake_viommu *to_fake(struct virtio_device *vdev)
{
	return container_of(vdev, struct fake_viommu_vdev, vdev)->v;
}

/* --- what the device does with a request ------------------------------- */

static bool is_known(struct fake_viommu *v, u32 id)
{
	for (unsigned int i = 0; i < v->nr_unknown; i++)
		if (v->unknown[i] == id)
			return false;
	return true;
}

static struct endpoint *find_endpoint(struct fake_viommu *v, u32 id)
{
	for (unsigned int i = 0; i < MAX_ENDPOINTS; i++)
		if (v->endpoints[i].used && v->endpoints[i].id == id)
			return &v->endpoints[i];
	return NULL;
}

static bool domain_exists(struct fake_viommu *v, u32 domain)
{
	for (unsigned int i = 0; i < MAX_ENDPOINTS; i++)
		if (v->endpoints[i].used && v->endpoints[i].domain == domain)
			return true;
	return false;
}

static u8 attach(struct fake_viommu *v, u32 id, u32 domain)
{
	struct endpoint *ep = find_endpoint(v, id);

	if (!is_known(v, id))
		return VIRTIO_IOMMU_S_NOENT;
	for (unsigned int i = 0; !ep && i < MAX_ENDPOINTS; i++)
		if (!v->endpoints[i].used)
			ep = &v->endpoints[i];
	if (!ep)
		return VIRTIO_IOMMU_S_NOMEM;
	*ep = (struct endpoint){ true, id, domain };
	return VIRTIO_IOMMU_S_OK;
}

static u8 detach(struct fake_viommu *v, u32 id, u32 domain)
{
	struct endpoint *ep = find_endpoint(v, id);

	if (!is_known(v, id))
		return VIRTIO_IOMMU_S_NOENT;
	if (!ep || ep->domain != domain)
		return VIRTIO_IOMMU_S_INVAL;
	ep->used = false;
	return VIRTIO_IOMMU_S_OK;
}

/* The status that a test asks for, once, instead of the device's own */
static bool goes_wrong(struct fake_viommu *v, u8 type, bool is_length)
{
	struct wrong *wrong = &v->wrong;

	if (!wrong->armed || wrong->type != type ||
	    wrong->is_length != is_length)
		return false;
	if (wrong->skip) {
		wrong->skip--;
		return false;
	}
	wrong->armed = false;
	return true;
}

union request {
	struct virtio_iommu_req_head head;
	struct virtio_iommu_req_attach attach;
	struct virtio_iommu_req_detach detach;
	struct virtio_iommu_req_map map;
	struct virtio_iommu_req_unmap unmap;
	struct virtio_iommu_req_probe probe;
};

static void write_down(struct fake_viommu *v, const union request *req)
{
	struct seq_buf *log = &v->log;

	switch (req->head.type) {
	case VIRTIO_IOMMU_T_ATTACH:
		seq_buf_printf(log, "attach %04x %u%s",
			       le32_to_cpu(req->attach.endpoint),
			       le32_to_cpu(req->attach.domain),
			       req->attach.flags ? " bypass" : "");
		break;
	case VIRTIO_IOMMU_T_DETACH:
		seq_buf_printf(log, "detach %04x %u",
			       le32_to_cpu(req->detach.endpoint),
			       le32_to_cpu(req->detach.domain));
		break;
	case VIRTIO_IOMMU_T_MAP:
		seq_buf_printf(log, "map %u %llx-%llx %llx %x",
			       le32_to_cpu(req->map.domain),
			       le64_to_cpu(req->map.virt_start),
			       le64_to_cpu(req->map.virt_end),
			       le64_to_cpu(req->map.phys_start),
			       le32_to_cpu(req->map.flags));
		break;
	case VIRTIO_IOMMU_T_UNMAP:
		seq_buf_printf(log, "unmap %u %llx-%llx",
			       le32_to_cpu(req->unmap.domain),
			       le64_to_cpu(req->unmap.virt_start),
			       le64_to_cpu(req->unmap.virt_end));
		break;
	case VIRTIO_IOMMU_T_PROBE:
		seq_buf_printf(log, "probe %04x",
			       le32_to_cpu(req->probe.endpoint));
		break;
	default:
		seq_buf_printf(log, "request of type %u", req->head.type);
	}
}

static u8 do_request(struct fake_viommu *v, const union request *req,
		     void *props, size_t props_len)
{
	if (goes_wrong(v, req->head.type, false))
		return v->wrong.value;

	switch (req->head.type) {
	case VIRTIO_IOMMU_T_ATTACH:
		return attach(v, le32_to_cpu(req->attach.endpoint),
			      le32_to_cpu(req->attach.domain));
	case VIRTIO_IOMMU_T_DETACH:
		return detach(v, le32_to_cpu(req->detach.endpoint),
			      le32_to_cpu(req->detach.domain));
	case VIRTIO_IOMMU_T_MAP:
		return domain_exists(v, le32_to_cpu(req->map.domain)) ?
			VIRTIO_IOMMU_S_OK : VIRTIO_IOMMU_S_NOENT;
	case VIRTIO_IOMMU_T_UNMAP:
		return domain_exists(v, le32_to_cpu(req->unmap.domain)) ?
			VIRTIO_IOMMU_S_OK : VIRTIO_IOMMU_S_NOENT;
	case VIRTIO_IOMMU_T_PROBE:
		if (!is_known(v, le32_to_cpu(req->probe.endpoint)))
			return VIRTIO_IOMMU_S_NOENT;
		memcpy(props, v->props, min(props_len, sizeof(v->props)));
		return VIRTIO_IOMMU_S_OK;
	default:
		return VIRTIO_IOMMU_S_UNSUPP;
	}
}

/* Returns how many bytes of @out are written */
static u32 answer(struct fake_viommu *v, const union request *req,
		  const struct kvec *out)
{
	void *props = phys_to_virt((unsigned long)out->iov_base);
	size_t props_len = out->iov_len - sizeof(struct virtio_iommu_req_tail);
	struct virtio_iommu_req_tail *tail = props + props_len;

	write_down(v, req);
	tail->status = do_request(v, req, props, props_len);
	seq_buf_printf(&v->log, tail->status ? " = %u\n" : "\n", tail->status);

	return goes_wrong(v, req->head.type, true) ? v->wrong.value :
						     out->iov_len;
}

static void serve(struct fake_viommu *v)
{
	struct kvec in_vec[2] = { }, out_vec[2] = { };
	struct vringh_kiov in, out;
	const union request *req;
	u16 head;
	int ret;

	lockdep_assert_held(&v->lock);
	vringh_kiov_init(&in, in_vec, ARRAY_SIZE(in_vec));
	vringh_kiov_init(&out, out_vec, ARRAY_SIZE(out_vec));

	while ((ret = vringh_getdesc_kern(&v->ring, &in, &out, &head,
					  GFP_ATOMIC)) > 0) {
		if (in.used != 1 || out.used != 1 ||
		    out_vec[0].iov_len < sizeof(struct virtio_iommu_req_tail)) {
			KUNIT_FAIL(v->test, "a request in %u parts, %u for the answer",
				   in.used + out.used, out.used);
			return;
		}
		/* vringh takes addresses for virtual ones */
		req = phys_to_virt((unsigned long)in_vec[0].iov_base);
		ret = vringh_complete_kern(&v->ring, head,
					   answer(v, req, &out_vec[0]));
		if (ret)
			break;
	}
	if (ret)
		KUNIT_FAIL(v->test, "no ring that makes sense: %d", ret);
}

/* --- what the device looks like to virtio ------------------------------- */

static bool notify(struct virtqueue *vq)
{
	struct fake_viommu *v = to_fake(vq->vdev);

	guard(spinlock_irqsave)(&v->lock);
	if (vq->index == REQUEST_QUEUE && !v->silent)
		serve(v);
	return true;
}

static void get_config(struct virtio_device *vdev, unsigned int offset,
		       void *buf, unsigned int len)
{
	memcpy(buf, (u8 *)&to_fake(vdev)->config + offset, len);
}

static u8 get_status(struct virtio_device *vdev)
{
	return to_fake(vdev)->status;
}

static void set_status(struct virtio_device *vdev, u8 status)
{
	struct fake_viommu *v = to_fake(vdev);

	if (status & ~v->status & VIRTIO_CONFIG_S_DRIVER_OK)
		v->had_event_buffers = v->events->avail->idx;
	v->status = status;
}

static void reset(struct virtio_device *vdev)
{
	struct fake_viommu *v = to_fake(vdev);

	guard(spinlock_irqsave)(&v->lock);
	v->status = 0;
	memset(v->endpoints, 0, sizeof(v->endpoints));
}

static u64 get_features(struct virtio_device *vdev)
{
	return to_fake(vdev)->features;
}

static int finalize_features(struct virtio_device *vdev)
{
	vring_transport_features(vdev);
	return 0;
}

static void del_vqs(struct virtio_device *vdev)
{
	struct virtqueue *vq, *next;

	list_for_each_entry_safe(vq, next, &vdev->vqs, list)
		vring_del_virtqueue(vq);
}

static int find_vqs(struct virtio_device *vdev, unsigned int nvqs,
		    struct virtqueue *vqs[], struct virtqueue_info vqs_info[],
		    struct irq_affinity *desc)
{
	struct fake_viommu *v = to_fake(vdev);
	const struct vring *ring;
	int ret;

	for (unsigned int i = 0; i < nvqs; i++) {
		vqs[i] = vring_create_virtqueue(i, QUEUE_SIZE, SMP_CACHE_BYTES,
						vdev, true, false, false, notify,
						vqs_info[i].callback,
						vqs_info[i].name);
		if (!vqs[i]) {
			del_vqs(vdev);
			return -ENOMEM;
		}
	}
	v->events = virtqueue_get_vring(vqs[EVENT_QUEUE]);
	ring = virtqueue_get_vring(vqs[REQUEST_QUEUE]);
	ret = vringh_init_kern(&v->ring, vdev->features, QUEUE_SIZE, true,
			       ring->desc, ring->avail, ring->used);
	if (ret)
		del_vqs(vdev);
	return ret;
}

static const char *bus_name(struct virtio_device *vdev)
{
	return "kunit-viommu";
}

static const struct virtio_config_ops config_ops = {
	.get = get_config,
	.get_status = get_status,
	.set_status = set_status,
	.reset = reset,
	.get_features = get_features,
	.finalize_features = finalize_features,
	.find_vqs = find_vqs,
	.del_vqs = del_vqs,
	.bus_name = bus_name,
};

static void release(struct device *dev)
{
	kfree(container_of(dev_to_virtio(dev), struct fake_viommu_vdev, vdev));
}

static void unplug(void *data)
{
	struct fake_viommu *v = data;

	if (!v->vdev)
		return;
	/* A driver that waits for an answer would have to give up first */
	fake_viommu_wake(v);
	unregister_virtio_device(v->vdev);
	v->vdev = NULL;
}

/**
 * fake_viommu - Create a virtio-iommu device, not plugged in yet
 * @test: the test
 * @features: BIT_ULL(VIRTIO_IOMMU_F_...) that it offers on top of those that
 *	the driver cannot do without
 *
 * Return: The device, which goes away with the test. Failure ends the test.
 */
struct fake_viommu *fake_viommu(struct kunit *test, u64 features)
{
	struct device_node *iommu_np;
	struct fake_viommu *v;

	v = kunit_kzalloc(test, sizeof(*v), GFP_KERNEL);
	KUNIT_ASSERT_NOT_NULL(test, v);
	v->test = test;
	v->features = features | BIT_ULL(VIRTIO_F_VERSION_1) |
		      BIT_ULL(VIRTIO_IOMMU_F_MAP_UNMAP);
	v->config.page_size_mask = cpu_to_le64(PAGE_SIZE);
	v->config.probe_size = cpu_to_le32(FAKE_VIOMMU_PROBE_SIZE);
	v->config.domain_range.start = cpu_to_le32(FAKE_VIOMMU_FIRST_DOMAIN);
	v->config.domain_range.end = cpu_to_le32(U32_MAX);
	spin_lock_init(&v->lock);
	seq_buf_init(&v->log, v->log_text, sizeof(v->log_text));

	mock_iommu_nodes(test, &iommu_np, &v->host_np);
	v->dev = kunit_device_register(test, "fake-viommu");
	KUNIT_ASSERT_NOT_ERR_OR_NULL(test, v->dev);
	device_set_node(v->dev, of_fwnode_handle(iommu_np));

	KUNIT_ASSERT_EQ(test, 0, kunit_add_action_or_reset(test, unplug, v));
	return v;
}

/**
 * fake_viommu_host_node - The host bridge whose devices are the endpoints
 * @v: the device
 *
 * Return: The device tree node to give to fake_pci_host().
 */
struct device_node *fake_viommu_host_node(struct fake_viommu *v)
{
	return v->host_np;
}

/**
 * fake_viommu_plug - Have the driver find the device
 * @v: the device
 *
 * Endpoints that are there already are probed before this returns.
 *
 * Return: The device as virtio knows it, with the driver bound or not.
 */
struct virtio_device *fake_viommu_plug(struct fake_viommu *v)
{
	struct fake_viommu_vdev *new;
	struct kunit *test = v->test;
	int ret;

	KUNIT_ASSERT_NULL(test, v->vdev);
	new = kzalloc_obj(*new);
	KUNIT_ASSERT_NOT_NULL(test, new);
	new->v = v;
	new->vdev.id.device = VIRTIO_ID_IOMMU;
	new->vdev.config = &config_ops;
	new->vdev.dev.parent = v->dev;
	new->vdev.dev.release = release;

	v->vdev = &new->vdev;
	ret = register_virtio_device(v->vdev);
	if (ret) {
		v->vdev = NULL;
		put_device(&new->vdev.dev);
	}
	KUNIT_ASSERT_EQ(test, 0, ret);
	return v->vdev;
}

/**
 * fake_viommu_unplug - Take the device away before the test ends
 * @v: the device, plugged in
 */
void fake_viommu_unplug(struct fake_viommu *v)
{
	unplug(v);
}

/**
 * fake_viommu_granule - Map nothing that is smaller
 * @v: the device, not plugged in yet
 * @size: in bytes, a power of two; else PAGE_SIZE
 */
void fake_viommu_granule(struct fake_viommu *v, size_t size)
{
	v->config.page_size_mask = cpu_to_le64(size);
}

/**
 * fake_viommu_unknown - Do not know an endpoint
 * @v: the device
 * @id: the endpoint's, which is a requester ID
 */
void fake_viommu_unknown(struct fake_viommu *v, u16 id)
{
	KUNIT_ASSERT_LT(v->test, v->nr_unknown, MAX_UNKNOWN);
	v->unknown[v->nr_unknown++] = id;
}

/**
 * fake_viommu_properties - What the answer to a PROBE request says
 * @v: the device, with VIRTIO_IOMMU_F_PROBE
 * @props: the properties of all endpoints
 * @len: their size in bytes; the rest of the answer is zeroes
 */
void fake_viommu_properties(struct fake_viommu *v, const void *props,
			    size_t len)
{
	KUNIT_ASSERT_LE(v->test, len, sizeof(v->props));
	memset(v->props, 0, sizeof(v->props));
	memcpy(v->props, props, len);
}

/**
 * fake_viommu_status - Answer one request with a status, and do not do it
 * @v: the device
 * @type: which request, VIRTIO_IOMMU_T_...
 * @skip: how many of that type are served first
 * @status: VIRTIO_IOMMU_S_..., or one that does not exist
 */
void fake_viommu_status(struct fake_viommu *v, u8 type, unsigned int skip,
			u8 status)
{
	v->wrong = (struct wrong){ true, type, skip, false, status };
}

/**
 * fake_viommu_length - Do one request, and answer with a wrong length
 * @v: the device
 * @type: which request, VIRTIO_IOMMU_T_...
 * @skip: how many of that type are served first
 * @len: how many bytes the device claims to have written
 */
void fake_viommu_length(struct fake_viommu *v, u8 type, unsigned int skip,
			u32 len)
{
	v->wrong = (struct wrong){ true, type, skip, true, len };
}

/**
 * fake_viommu_silence - Answer nothing any more
 * @v: the device
 */
void fake_viommu_silence(struct fake_viommu *v)
{
	guard(spinlock_irqsave)(&v->lock);
	v->silent = true;
}

/**
 * fake_viommu_wake - Do and answer what has come in, and go on
 * @v: the device, silent or not
 *
 * Context: May run while the driver waits for an answer.
 */
void fake_viommu_wake(struct fake_viommu *v)
{
	guard(spinlock_irqsave)(&v->lock);
	/* Without a driver there are no queues */
	if (v->silent && v->status & VIRTIO_CONFIG_S_DRIVER_OK)
		serve(v);
	v->silent = false;
}

/**
 * fake_viommu_attached - Is an endpoint attached to some domain?
 * @v: the device
 * @id: the endpoint's, which is a requester ID
 */
bool fake_viommu_attached(struct fake_viommu *v, u16 id)
{
	return find_endpoint(v, id);
}

/**
 * fake_viommu_had_event_buffers - Could it report events at once?
 * @v: the device
 *
 * Return: Whether there were buffers for them when its driver was ready.
 */
bool fake_viommu_had_event_buffers(struct fake_viommu *v)
{
	return v->had_event_buffers;
}

/**
 * fake_viommu_requests - The requests since the last time this was called
 * @v: the device
 *
 * Return: One line each: what, numbers as in the specification, and the
 * status if it is not VIRTIO_IOMMU_S_OK. Endpoints, addresses and flags are
 * in hex.
 */
const char *fake_viommu_requests(struct fake_viommu *v)
{
	const char *text;

	KUNIT_ASSERT_FALSE(v->test, seq_buf_has_overflowed(&v->log));
	text = kunit_kstrdup(v->test, seq_buf_str(&v->log), GFP_KERNEL);
	KUNIT_ASSERT_NOT_NULL(v->test, text);
	seq_buf_clear(&v->log);
	return text;
}
