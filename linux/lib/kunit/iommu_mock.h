/* SPDX-License-Identifier: GPL-2.0 */
/*
 * An IOMMU that translates nothing and remembers everything, for KUnit.
 */
#ifndef _LIB_KUNIT_IOMMU_MOCK_H
#define _LIB_KUNIT_IOMMU_MOCK_H

#include <linux/types.h>

struct device_node;
struct kunit;
struct mock_iommu;
struct pci_dev;

/*
 * How an IOMMU comes to know the requester IDs of a device. The two are what
 * all drivers in the tree boil down to.
 */
enum mock_iommu_kind {
	/* It asks the PCI core at attach, like VT-d and AMD-Vi */
	MOCK_IOMMU_WALK,
	/* Firmware code collects them once, like OF, IORT and VIOT do */
	MOCK_IOMMU_FWSPEC,
};

/* For KUNIT_CASE_PARAM(): each kind in turn is the test's param_value */
struct mock_iommu_param {
	const char *name;
	enum mock_iommu_kind kind;
};

const void *mock_iommu_gen_params(struct kunit *test, const void *prev,
				  char *desc);

void mock_iommu_nodes(struct kunit *test, struct device_node **iommu,
		      struct device_node **host);
struct mock_iommu *mock_iommu(struct kunit *test, enum mock_iommu_kind kind);
struct device_node *mock_iommu_host_node(struct mock_iommu *iommu);
void mock_iommu_ignore_bridges(struct mock_iommu *iommu);
void mock_iommu_fail_probe(struct mock_iommu *iommu, u16 rid);
void mock_iommu_fail_attach(struct mock_iommu *iommu, u16 rid);
void mock_iommu_attach_error(struct mock_iommu *iommu, int error);
void mock_iommu_any_type(struct mock_iommu *iommu);
void mock_iommu_wish(struct mock_iommu *iommu, u16 rid, int type);
void mock_iommu_translate_msis(struct mock_iommu *iommu);
void mock_iommu_register(struct mock_iommu *iommu);
void mock_iommu_unregister(struct mock_iommu *iommu);
void mock_iommu_hold_probe(struct mock_iommu *iommu, struct pci_dev *pdev);
void mock_iommu_hold_release(struct mock_iommu *iommu, struct pci_dev *pdev);
void mock_iommu_wait_held(struct mock_iommu *iommu);
void mock_iommu_go_on(struct mock_iommu *iommu);

bool mock_iommu_programmed(struct mock_iommu *iommu, u16 rid);
bool mock_iommu_was_identity(struct mock_iommu *iommu, u16 rid);
int mock_iommu_wrong_old(struct mock_iommu *iommu);
u64 mock_iommu_group_ns(struct mock_iommu *mock);
bool mock_iommu_same_group(struct pci_dev *a, struct pci_dev *b);

#endif
