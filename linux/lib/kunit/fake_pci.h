/* SPDX-License-Identifier: GPL-2.0 */
/*
 * A PCI host bridge whose devices exist in memory only, for KUnit.
 *
 * A topology is an array that reads like lspci -t, one line per function:
 *
 *	static const struct fake_pci_desc slot[] = {
 *		{ "00:01.0", FAKE_ROOT_PORT, .bus = 1, .acs = FAKE_ACS_FULL },
 *		{ "01:00.0", FAKE_ENDPOINT, .mfd = true },
 *		{ "01:00.1", FAKE_ENDPOINT },
 *		{ }
 *	};
 */
#ifndef _LIB_KUNIT_FAKE_PCI_H
#define _LIB_KUNIT_FAKE_PCI_H

#include <linux/pci.h>

struct kunit;
struct fake_pci_fn;

enum fake_pci_type {
	FAKE_END = 0,
	FAKE_ENDPOINT,
	FAKE_ROOT_PORT,
	FAKE_UPSTREAM,
	FAKE_DOWNSTREAM,
	FAKE_PCIE_TO_PCI,	/* a bridge; what is behind it are FAKE_PCI */
	FAKE_PCI,		/* conventional, without a PCIe capability */
};

/* What the IOMMU core asks for before it calls a path isolated */
#define FAKE_ACS_FULL	(PCI_ACS_SV | PCI_ACS_RR | PCI_ACS_CR | PCI_ACS_UF)

/**
 * struct fake_pci_desc - one function of a topology
 * @at: where it is, "bus:device.function" in hex
 * @type: what it is
 * @bus: bridges: secondary bus
 * @last_bus: bridges: subordinate bus, 0 means the same as @bus
 * @mfd: the multifunction bit of its header
 * @acs: ACS capabilities, which are enabled too; 0 means no ACS capability
 * @vendor: vendor ID, 0 means one that no driver and no quirk knows
 * @device: device ID
 * @class: 24-bit class code, 0 means a fitting one
 * @bar_size: bytes, powers of two; 32-bit memory BARs
 * @msix_vectors: size of the MSI-X table, which is in BAR 0 at @msix_table
 * @msix_table: offset in BAR 0, in bytes; the PBA follows 0x1000 later
 * @vfs: how many virtual functions it has; they are described as endpoints of
 *	their own, from @FAKE_FIRST_VF after it on
 * @ari: ports: forwards requests to any function number of the device below;
 *	others: has an ARI capability, by which functions beyond 7 are found
 * @ats: has an ATS capability
 */
struct fake_pci_desc {
	const char *at;
	enum fake_pci_type type;
	u8 bus;
	u8 last_bus;
	bool mfd;
	u16 acs;
	u16 vendor;
	u16 device;
	u32 class;
	u32 bar_size[PCI_STD_NUM_BARS];
	u16 msix_vectors;
	u32 msix_table;
	u16 vfs;
	bool ari;
	bool ats;
};

/* From a function to its first virtual one; the others follow one by one */
#define FAKE_FIRST_VF	PCI_DEVFN(1, 0)
/* Their device ID, whatever that of the physical function is */
#define FAKE_VF_DEVICE	0x0002

/**
 * struct fake_pci_regs_ops - what is behind the BARs of a function
 * @read: value at @offset of BAR @bar, @size is 1, 2, 4 or 8 bytes
 * @write: the same for a write
 * @unmap: optional, a mapping of BAR @bar goes away
 *
 * Only where memory-mapped I/O can be emulated, see fake_pci_has_mmio_ops().
 * Elsewhere the registers are memory that @image of fake_pci_set_regs() is
 * copied to.
 */
struct fake_pci_regs_ops {
	u64 (*read)(void *priv, int bar, unsigned int offset, int size);
	void (*write)(void *priv, int bar, unsigned int offset, int size,
		      u64 val);
	void (*unmap)(void *priv, int bar);
};

struct fake_pci_host;

static inline bool fake_pci_has_mmio_ops(void)
{
	return IS_ENABLED(CONFIG_INDIRECT_IOMEM);
}

struct fake_pci_host *fake_pci_host(struct kunit *test,
				    struct device_node *np);
void fake_pci_host_remove(struct fake_pci_host *host);
struct fake_pci_fn *fake_pci_add(struct fake_pci_host *host,
				 const struct fake_pci_desc *desc);
void fake_pci_add_all(struct fake_pci_host *host,
		      const struct fake_pci_desc *descs);
void fake_pci_remove(struct fake_pci_host *host, const char *at);
void fake_pci_need_bars(struct kunit *test);
void fake_pci_set_regs(struct fake_pci_fn *fn,
		       const struct fake_pci_regs_ops *ops, void *priv,
		       const void *image, size_t image_size);

void fake_pci_boot(struct fake_pci_host *host);
void fake_pci_rescan(struct fake_pci_host *host);
struct pci_dev *fake_pci_dev(struct fake_pci_host *host, const char *at);
bool fake_pci_owns(struct pci_dev *pdev);
void fake_pci_pull(struct fake_pci_fn *fn);

struct fake_pci_log;
struct fake_pci_log *fake_pci_log(struct kunit *test, const char *at);
const char *fake_pci_log_next(struct fake_pci_log *log);

#endif
