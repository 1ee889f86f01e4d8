/* SPDX-License-Identifier: GPL-2.0 */
/*
 * A virtio-iommu device that exists in memory only, for KUnit.
 */
#ifndef _LIB_KUNIT_FAKE_VIOMMU_H
#define _LIB_KUNIT_FAKE_VIOMMU_H

#include <linux/types.h>

struct device_node;
struct fake_viommu;
struct kunit;
struct virtio_device;

/* Bytes for the properties of an endpoint, with VIRTIO_IOMMU_F_PROBE */
#define FAKE_VIOMMU_PROBE_SIZE		64
/* The lowest domain ID, with VIRTIO_IOMMU_F_DOMAIN_RANGE */
#define FAKE_VIOMMU_FIRST_DOMAIN	5

struct fake_viommu *fake_viommu(struct kunit *test, u64 features);
struct device_node *fake_viommu_host_node(struct fake_viommu *v);
struct virtio_device *fake_viommu_plug(struct fake_viommu *v);
void fake_viommu_unplug(struct fake_viommu *v);

void fake_viommu_granule(struct fake_viommu *v, size_t size);
void fake_viommu_unknown(struct fake_viommu *v, u16 id);
void fake_viommu_properties(struct fake_viommu *v, const void *props,
			    size_t len);
void fake_viommu_status(struct fake_viommu *v, u8 type, unsigned int skip,
			u8 status);
void fake_viommu_length(struct fake_viommu *v, u8 type, unsigned int skip,
			u32 len);
void fake_viommu_silence(struct fake_viommu *v);
void fake_viommu_wake(struct fake_viommu *v);

bool fake_viommu_attached(struct fake_viommu *v, u16 id);
bool fake_viommu_had_event_buffers(struct fake_viommu *v);
const char *fake_viommu_requests(struct fake_viommu *v);

#endif
