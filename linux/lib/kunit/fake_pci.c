// SPDX-License-Identifier: GPL-2.0
/*
 * A PCI host bridge whose devices exist in memory only, for KUnit.
 *
 * Configuration space is a byte array and a mask of writable bits per
 * function. Everything above it is the real PCI core: enumeration, resource
 * assignment, fixups, driver binding.
 *
 * Not covered: configuration space timing and errors, interrupts other than
 * MSI-X where the architecture has a default MSI domain (UML), I/O and
 * prefetchable windows, power management.
 */
#include <linux/acpi.h>
#include <kunit/device.h>
#include <kunit/test.h>
#include <linux/io.h>
#include <linux/kmsg_dump.h>
#include <linux/logic_iomem.h>
#include <linux/module.h>
#include <linux/moduleparam.h>
#include <linux/of.h>
#include <linux/sizes.h>
#include <linux/slab.h>
#include <linux/unaligned.h>
#include <linux/xarray.h>

#include "fake_pci.h"

#define FAKE_CFG_SIZE		512	/* the rest reads as zero */
#define FAKE_CAP_PCIE		0x40
#define FAKE_CAP_EA		0x80
#define FAKE_CAP_MSIX		0x90
#define FAKE_CAP_ACS		0x100
#define FAKE_CAP_SRIOV		0x140
#define FAKE_CAP_ARI		0x180
#define FAKE_CAP_ATS		0x1a0

#define FAKE_WINDOW_SIZE	SZ_32M

struct fake_pci_fn {
	u8 bus;
	u8 devfn;
	bool pulled;
	u8 cfg[FAKE_CFG_SIZE];
	u8 writable[FAKE_CFG_SIZE];
	u32 bar_size[PCI_STD_NUM_BARS];
	const struct fake_pci_regs_ops *regs_ops;
	void *regs_priv;
	const void *image;
	size_t image_size;
	struct fake_pci_mapping {
		struct fake_pci_fn *fn;
		int bar;
	} mapping[PCI_STD_NUM_BARS];	/* what the accessors get */
};

/*
 * @fns, by requester ID, only grows, between scans, from the test's own thread:
 * configuration and MMIO accessors need no lock. It owns its functions.
 */
struct fake_pci_host {
	struct kunit *test;
	struct device *parent;
	struct xarray fns;
	struct pci_bus *bus;
	struct resource busn;
#ifdef CONFIG_X86
	struct pci_sysdata sysdata;
#endif
};

/* One at a time: KUnit runs tests one after the other */
static struct fake_pci_host *current_host;

static struct resource fake_window = {
	.name	= "fake PCI",
	.flags	= IORESOURCE_MEM,
};

/*
 * Config space
 */

static void cfg_put(struct fake_pci_fn *fn, int where, int size, u32 val,
		    u32 writable)
{
	int i;

	for (i = 0; i < size; i++) {
		fn->cfg[where + i] = val >> (8 * i);
		fn->writable[where + i] = writable >> (8 * i);
	}
}

static struct fake_pci_fn *find_fn(struct fake_pci_host *host, u8 bus, u8 devfn)
{
	return xa_load(&host->fns, PCI_DEVID(bus, devfn));
}

static struct fake_pci_fn *reach_fn(struct pci_bus *bus, unsigned int devfn)
{
	struct fake_pci_fn *fn;

	if (!current_host)
		return NULL;
	fn = find_fn(current_host, bus->number, devfn);
	return fn && !READ_ONCE(fn->pulled) ? fn : NULL;
}

static int fake_cfg_read(struct pci_bus *bus, unsigned int devfn, int where,
			 int size, u32 *val)
{
	struct fake_pci_fn *fn = reach_fn(bus, devfn);
	int i;

	if (!fn) {
		PCI_SET_ERROR_RESPONSE(val);
		return PCIBIOS_DEVICE_NOT_FOUND;
	}

	*val = 0;
	for (i = 0; i < size && where + i < FAKE_CFG_SIZE; i++)
		*val |= (u32)fn->cfg[where + i] << (8 * i);
	return PCIBIOS_SUCCESSFUL;
}

#ifndef CONFIG_INDIRECT_IOMEM
static void __iomem *fake_window_map;

/* Registers are plain memory: put them where the BAR has just been set to */
static void place_registers(struct fake_pci_fn *fn)
{
	u32 bar = get_unaligned_le32(&fn->cfg[PCI_BASE_ADDRESS_0]);

	if (!fn->image || bar < fake_window.start ||
	    bar + fn->bar_size[0] - 1 > fake_window.end)
		return;

	memcpy_toio(fake_window_map + (bar - fake_window.start), fn->image,
		    min_t(size_t, fn->image_size, fn->bar_size[0]));
}
#else
static void place_registers(struct fake_pci_fn *fn)
{
}
#endif

static int fake_cfg_write(struct pci_bus *bus, unsigned int devfn, int where,
			  int size, u32 val)
{
	struct fake_pci_fn *fn = reach_fn(bus, devfn);
	int i;

	if (!fn)
		return PCIBIOS_DEVICE_NOT_FOUND;

	for (i = 0; i < size && where + i < FAKE_CFG_SIZE; i++) {
		u8 w = fn->writable[where + i];
		u8 *byte = &fn->cfg[where + i];

		*byte = (*byte & ~w) | ((val >> (8 * i)) & w);
	}

	if (where == PCI_BASE_ADDRESS_0 && val != ~0U)
		place_registers(fn);
	return PCIBIOS_SUCCESSFUL;
}

static struct pci_ops fake_pci_ops = {
	.read = fake_cfg_read,
	.write = fake_cfg_write,
};

/*
 * BARs
 */

#ifdef CONFIG_INDIRECT_IOMEM
static unsigned long fake_mmio_read(void *priv, unsigned int offset, int size)
{
	struct fake_pci_mapping *m = priv;

	if (!m->fn->regs_ops)
		return 0;
	return m->fn->regs_ops->read(m->fn->regs_priv, m->bar, offset, size);
}

static void fake_mmio_write(void *priv, unsigned int offset, int size,
			    unsigned long val)
{
	struct fake_pci_mapping *m = priv;

	if (m->fn->regs_ops)
		m->fn->regs_ops->write(m->fn->regs_priv, m->bar, offset, size,
				       val);
}

static void fake_mmio_unmap(void *priv)
{
	struct fake_pci_mapping *m = priv;

	if (m->fn->regs_ops && m->fn->regs_ops->unmap)
		m->fn->regs_ops->unmap(m->fn->regs_priv, m->bar);
}

static const struct logic_iomem_ops fake_mmio_ops = {
	.read = fake_mmio_read,
	.write = fake_mmio_write,
	.unmap = fake_mmio_unmap,
};

static long fake_mmio_map(unsigned long offset, size_t size,
			  const struct logic_iomem_ops **ops, void **priv)
{
	u64 addr = fake_window.start + offset;
	struct fake_pci_fn *fn;
	unsigned long rid;
	int i;

	if (!current_host)
		return -ENXIO;

	xa_for_each(&current_host->fns, rid, fn) {
		for (i = 0; i < PCI_STD_NUM_BARS; i++) {
			u32 base = get_unaligned_le32(&fn->cfg[PCI_BASE_ADDRESS_0 + 4 * i]);

			if (!fn->bar_size[i] || addr < base ||
			    addr - base >= fn->bar_size[i])
				continue;

			*ops = &fake_mmio_ops;
			*priv = &fn->mapping[i];
			return addr - base;
		}
	}

	return -ENXIO;
}

static const struct logic_iomem_region_ops fake_region_ops = {
	.map = fake_mmio_map,
};

/* The address means nothing */
static int add_window(void)
{
	fake_window.start = 0xd0000000;
	fake_window.end = fake_window.start + FAKE_WINDOW_SIZE - 1;
	return logic_iomem_add_region(&fake_window, &fake_region_ops);
}
#else
static unsigned long mmio;
module_param(mmio, ulong, 0444);
MODULE_PARM_DESC(mmio,
		 "physical address of 32 MB of memory that the kernel does not use (boot with mem= to leave some)");

static int add_window(void)
{
	int ret;

	/* BARs have 32 bits */
	if (!mmio || !IS_ALIGNED(mmio, FAKE_WINDOW_SIZE) ||
	    mmio + FAKE_WINDOW_SIZE > SZ_4G)
		return -ENXIO;

	fake_window.start = mmio;
	fake_window.end = fake_window.start + FAKE_WINDOW_SIZE - 1;
	ret = request_resource(&iomem_resource, &fake_window);
	if (ret)
		return ret;

	fake_window_map = ioremap(mmio, FAKE_WINDOW_SIZE);
	if (!fake_window_map) {
		release_resource(&fake_window);
		return -ENOMEM;
	}
	return 0;
}
#endif

/* Once and for all tests: emulated regions cannot be taken back */
static int prepare_window(void)
{
	static int result = 1;

	if (result > 0)
		result = add_window();
	return result;
}

/**
 * fake_pci_need_bars - Skip a test if BARs cannot be had here
 * @test: the test
 *
 * On UML they always can. Elsewhere they need memory that the kernel was told
 * to leave alone.
 */
void fake_pci_need_bars(struct kunit *test)
{
	if (prepare_window())
		kunit_skip(test,
			   "no memory for BARs: boot with mem= and iommu_group_kunit.mmio=");
}

/**
 * fake_pci_set_regs - Give a function registers in its BARs
 * @fn: the function
 * @ops: accessors, used where fake_pci_has_mmio_ops()
 * @priv: passed to @ops
 * @image: initial content of BAR 0, used elsewhere; must outlive @fn
 * @image_size: size of @image in bytes
 */
void fake_pci_set_regs(struct fake_pci_fn *fn,
		       const struct fake_pci_regs_ops *ops, void *priv,
		       const void *image, size_t image_size)
{
	fn->regs_ops = ops;
	fn->regs_priv = priv;
	fn->image = image;
	fn->image_size = image_size;
}

/*
 * Topology
 */

static void parse_at(struct kunit *test, const char *at, u8 *bus, u8 *devfn)
{
	unsigned int b, d, f;
	int n;

	n = sscanf(at, "%x:%x.%x", &b, &d, &f);
	KUNIT_ASSERT_EQ_MSG(test, n, 3, "\"%s\" is not bus:device.function",
			    at);
	*bus = b;
	*devfn = PCI_DEVFN(d, f);
}

static bool is_bridge(enum fake_pci_type type)
{
	return type != FAKE_ENDPOINT && type != FAKE_PCI;
}

static void init_bridge(struct fake_pci_fn *fn, const struct fake_pci_desc *d)
{
	u8 last = d->last_bus ?: d->bus;

	cfg_put(fn, PCI_PRIMARY_BUS, 4, fn->bus | d->bus << 8 | last << 16,
		0x00ffffff);
	cfg_put(fn, PCI_MEMORY_BASE, 4, 0x0000fff0, 0xfff0fff0);
	cfg_put(fn, PCI_BRIDGE_CONTROL, 2, 0, 0xffff);

	/*
	 * UML assigns all bus numbers anew on each rescan. Fixed ones, by
	 * Enhanced Allocation, keep "01:00.0" what the test calls it.
	 */
	cfg_put(fn, FAKE_CAP_EA, 4, PCI_CAP_ID_EA, 0);
	cfg_put(fn, FAKE_CAP_EA + PCI_EA_FIRST_ENT, 4, d->bus | last << 8, 0);
}

static void init_pcie(struct fake_pci_fn *fn, const struct fake_pci_desc *d)
{
	static const u8 port_type[] = {
		[FAKE_ENDPOINT]		= PCI_EXP_TYPE_ENDPOINT,
		[FAKE_ROOT_PORT]	= PCI_EXP_TYPE_ROOT_PORT,
		[FAKE_UPSTREAM]		= PCI_EXP_TYPE_UPSTREAM,
		[FAKE_DOWNSTREAM]	= PCI_EXP_TYPE_DOWNSTREAM,
		[FAKE_PCIE_TO_PCI]	= PCI_EXP_TYPE_PCI_BRIDGE,
	};

	cfg_put(fn, FAKE_CAP_PCIE, 2, PCI_CAP_ID_EXP, 0);
	cfg_put(fn, FAKE_CAP_PCIE + PCI_EXP_FLAGS, 2,
		2 | port_type[d->type] << 4, 0);
	cfg_put(fn, FAKE_CAP_PCIE + PCI_EXP_DEVCTL, 2, 0, 0xffff);
	if (is_bridge(d->type) && d->ari) {
		cfg_put(fn, FAKE_CAP_PCIE + PCI_EXP_DEVCAP2, 4,
			PCI_EXP_DEVCAP2_ARI, 0);
		cfg_put(fn, FAKE_CAP_PCIE + PCI_EXP_DEVCTL2, 2, 0,
			PCI_EXP_DEVCTL2_ARI);
	}
}

static void init_msix(struct fake_pci_fn *fn, const struct fake_pci_desc *d)
{
	cfg_put(fn, FAKE_CAP_MSIX, 2, PCI_CAP_ID_MSIX, 0);
	cfg_put(fn, FAKE_CAP_MSIX + PCI_MSIX_FLAGS, 2, d->msix_vectors - 1,
		PCI_MSIX_FLAGS_ENABLE | PCI_MSIX_FLAGS_MASKALL);
	cfg_put(fn, FAKE_CAP_MSIX + PCI_MSIX_TABLE, 4, d->msix_table, 0);
	cfg_put(fn, FAKE_CAP_MSIX + PCI_MSIX_PBA, 4, d->msix_table + 0x1000, 0);
}

static void init_sriov(struct fake_pci_fn *fn, const struct fake_pci_desc *d)
{
	cfg_put(fn, FAKE_CAP_SRIOV, 4, PCI_EXT_CAP_ID_SRIOV | 1 << 16, 0);
	cfg_put(fn, FAKE_CAP_SRIOV + PCI_SRIOV_CTRL, 2, 0,
		PCI_SRIOV_CTRL_VFE | PCI_SRIOV_CTRL_MSE);
	cfg_put(fn, FAKE_CAP_SRIOV + PCI_SRIOV_INITIAL_VF, 2, d->vfs, 0);
	cfg_put(fn, FAKE_CAP_SRIOV + PCI_SRIOV_TOTAL_VF, 2, d->vfs, 0);
	cfg_put(fn, FAKE_CAP_SRIOV + PCI_SRIOV_NUM_VF, 2, 0, 0xffff);
	cfg_put(fn, FAKE_CAP_SRIOV + PCI_SRIOV_FUNC_LINK, 1, fn->devfn, 0);
	cfg_put(fn, FAKE_CAP_SRIOV + PCI_SRIOV_VF_OFFSET, 2, FAKE_FIRST_VF, 0);
	cfg_put(fn, FAKE_CAP_SRIOV + PCI_SRIOV_VF_STRIDE, 2, 1, 0);
	cfg_put(fn, FAKE_CAP_SRIOV + PCI_SRIOV_VF_DID, 2, FAKE_VF_DEVICE, 0);
	cfg_put(fn, FAKE_CAP_SRIOV + PCI_SRIOV_SUP_PGSIZE, 4, 0x553, 0);
	cfg_put(fn, FAKE_CAP_SRIOV + PCI_SRIOV_SYS_PGSIZE, 4, 0, ~0);
}

/* Each names the next one, of those that are there by now */
static void link_ari_functions(struct fake_pci_host *host, u8 bus)
{
	struct fake_pci_fn *fn, *last = NULL;
	unsigned long rid;

	xa_for_each_range(&host->fns, rid, fn, PCI_DEVID(bus, 0),
			  PCI_DEVID(bus, 0xff)) {
		if (!fn->cfg[FAKE_CAP_ARI])
			continue;
		if (last)
			cfg_put(last, FAKE_CAP_ARI + PCI_ARI_CAP, 2,
				fn->devfn << 8, 0);
		last = fn;
	}
}

/* The first place names the second, and so on, with or without a capability */
static void link_ext_caps(struct fake_pci_fn *fn)
{
	static const u16 places[] = { FAKE_CAP_ACS, FAKE_CAP_SRIOV, FAKE_CAP_ARI,
				      FAKE_CAP_ATS };
	int i, last = FAKE_CAP_ACS;

	for (i = 1; i < ARRAY_SIZE(places); i++) {
		if (!fn->cfg[places[i]])
			continue;
		cfg_put(fn, last + 2, 2, 1 | places[i] << 4, 0);
		last = places[i];
	}
}

/* Chains the capabilities that were initialised, in order of their place */
static void link_caps(struct fake_pci_fn *fn)
{
	static const u8 places[] = { FAKE_CAP_PCIE, FAKE_CAP_EA, FAKE_CAP_MSIX };
	int i, last = PCI_CAPABILITY_LIST;

	for (i = 0; i < ARRAY_SIZE(places); i++) {
		if (!fn->cfg[places[i]])
			continue;
		fn->cfg[last] = places[i];
		last = places[i] + PCI_CAP_LIST_NEXT;
	}
	if (last != PCI_CAPABILITY_LIST)
		cfg_put(fn, PCI_STATUS, 2, PCI_STATUS_CAP_LIST, 0);
}

/**
 * fake_pci_add - Make a function answer on the bus
 * @host: the host bridge
 * @d: what and where it is
 *
 * The PCI core finds it by the next fake_pci_boot() or fake_pci_rescan().
 *
 * Return: The function, which the host owns. Failure ends the test.
 */
struct fake_pci_fn *fake_pci_add(struct fake_pci_host *host,
				 const struct fake_pci_desc *d)
{
	struct kunit *test = host->test;
	struct fake_pci_fn *fn;
	u8 bus, devfn;
	u32 class;
	int i;

	parse_at(test, d->at, &bus, &devfn);
	KUNIT_ASSERT_NULL_MSG(test, find_fn(host, bus, devfn),
			      "%s is there already", d->at);

	fn = kzalloc_obj(*fn);
	KUNIT_ASSERT_NOT_NULL(test, fn);
	KUNIT_ASSERT_EQ(test, 0,
			xa_insert(&host->fns, PCI_DEVID(bus, devfn), fn,
				  GFP_KERNEL));
	fn->bus = bus;
	fn->devfn = devfn;

	class = d->class;
	if (!class)
		class = is_bridge(d->type) ? PCI_CLASS_BRIDGE_PCI_NORMAL :
					     PCI_CLASS_NOT_DEFINED << 8;
	cfg_put(fn, PCI_VENDOR_ID, 4,
		(d->vendor ?: 0xfffd) | (u32)(d->device ?: 0x0001) << 16, 0);
	cfg_put(fn, PCI_COMMAND, 2, 0,
		PCI_COMMAND_MEMORY | PCI_COMMAND_MASTER | PCI_COMMAND_SERR |
		PCI_COMMAND_INTX_DISABLE);
	cfg_put(fn, PCI_CLASS_REVISION, 4, class << 8, 0);
	cfg_put(fn, PCI_HEADER_TYPE, 1,
		(is_bridge(d->type) ? PCI_HEADER_TYPE_BRIDGE :
				      PCI_HEADER_TYPE_NORMAL) |
		(d->mfd ? PCI_HEADER_TYPE_MFD : 0), 0);

	for (i = 0; i < PCI_STD_NUM_BARS; i++) {
		fn->mapping[i].fn = fn;
		fn->mapping[i].bar = i;
		fn->bar_size[i] = d->bar_size[i];
		if (d->bar_size[i])
			cfg_put(fn, PCI_BASE_ADDRESS_0 + 4 * i, 4, 0,
				~(d->bar_size[i] - 1));
	}

	if (is_bridge(d->type))
		init_bridge(fn, d);
	if (d->type != FAKE_PCI)
		init_pcie(fn, d);
	if (d->msix_vectors)
		init_msix(fn, d);
	if (d->acs) {
		cfg_put(fn, FAKE_CAP_ACS, 4, PCI_EXT_CAP_ID_ACS | 1 << 16, 0);
		cfg_put(fn, FAKE_CAP_ACS + PCI_ACS_CAP, 2, d->acs, 0);
		cfg_put(fn, FAKE_CAP_ACS + PCI_ACS_CTRL, 2, d->acs, d->acs);
	}
	if (d->vfs)
		init_sriov(fn, d);
	if (!is_bridge(d->type) && d->ari)
		cfg_put(fn, FAKE_CAP_ARI, 4, PCI_EXT_CAP_ID_ARI | 1 << 16, 0);
	if (d->ats)
		cfg_put(fn, FAKE_CAP_ATS, 4, PCI_EXT_CAP_ID_ATS | 1 << 16, 0);
	link_caps(fn);
	link_ext_caps(fn);
	link_ari_functions(host, bus);

	return fn;
}

/**
 * fake_pci_add_all - fake_pci_add() for a whole topology
 * @host: the host bridge
 * @descs: the functions, up to one of type FAKE_END
 */
void fake_pci_add_all(struct fake_pci_host *host,
		      const struct fake_pci_desc *descs)
{
	for (; descs->type != FAKE_END; descs++)
		fake_pci_add(host, descs);
}

/**
 * fake_pci_remove - Remove a device from the system, by sysfs as it were
 * @host: the host bridge
 * @at: where the function is
 *
 * The function still answers: fake_pci_rescan() finds it again.
 */
void fake_pci_remove(struct fake_pci_host *host, const char *at)
{
	pci_stop_and_remove_bus_device_locked(fake_pci_dev(host, at));
}

/**
 * fake_pci_pull - Pull a function out of its slot
 * @fn: the function
 *
 * Nothing answers there any more, and nobody was asked before.
 */
void fake_pci_pull(struct fake_pci_fn *fn)
{
	WRITE_ONCE(fn->pulled, true);
}

/**
 * fake_pci_owns - Is a device below a fake host bridge?
 * @pdev: the device
 */
bool fake_pci_owns(struct pci_dev *pdev)
{
	return pdev->bus->ops == &fake_pci_ops;
}

/*
 * Life of the host bridge
 */

static void remove_host(void *data)
{
	struct fake_pci_host *host = data;
	struct fake_pci_fn *fn;
	unsigned long rid;

	if (host->bus) {
		pci_lock_rescan_remove();
		pci_stop_root_bus(host->bus);
		pci_remove_root_bus(host->bus);
		pci_unlock_rescan_remove();
	}

	xa_for_each(&host->fns, rid, fn)
		kfree(fn);
	xa_destroy(&host->fns);
	current_host = NULL;
}

/**
 * fake_pci_host - Create a host bridge that goes away with the test
 * @test: the test
 * @np: device tree node of the host bridge or NULL
 *
 * Return: The host bridge, without devices and not scanned yet. Failure ends
 * the test.
 */
struct fake_pci_host *fake_pci_host(struct kunit *test, struct device_node *np)
{
	struct fake_pci_host *host;

	/* There the sysdata of a host bridge has to be ACPI's */
	if (IS_ENABLED(CONFIG_ARM64) && !acpi_disabled)
		kunit_skip(test, "needs a machine that boots by device tree");

	KUNIT_ASSERT_NULL(test, current_host);

	host = kunit_kzalloc(test, sizeof(*host), GFP_KERNEL);
	KUNIT_ASSERT_NOT_NULL(test, host);
	host->test = test;
	xa_init(&host->fns);

	host->parent = kunit_device_register(test, "fake-pci-host");
	KUNIT_ASSERT_NOT_ERR_OR_NULL(test, host->parent);
	if (np)
		device_set_node(host->parent, of_fwnode_handle(np));

	current_host = host;
	KUNIT_ASSERT_EQ(test, 0,
			kunit_add_action_or_reset(test, remove_host, host));
	return host;
}

/**
 * fake_pci_host_remove - Remove a host bridge before the test ends
 * @host: the host bridge, which is gone then
 */
void fake_pci_host_remove(struct fake_pci_host *host)
{
	struct kunit *test = host->test;

	kunit_release_action(test, remove_host, host);
	kunit_device_unregister(test, host->parent);
	kunit_kfree(test, host);
}

/**
 * fake_pci_boot - Enumerate the host bridge
 * @host: the host bridge
 *
 * By pci_host_probe(), as host bridge drivers do.
 */
void fake_pci_boot(struct fake_pci_host *host)
{
	struct kunit *test = host->test;
	struct pci_host_bridge *bridge;
	int ret;

	bridge = pci_alloc_host_bridge(0);
	KUNIT_ASSERT_NOT_NULL(test, bridge);

	bridge->dev.parent = host->parent;
	bridge->ops = &fake_pci_ops;
#ifdef CONFIG_X86
	/* Far from real ones, and from those of VMD, which start at 0x10000 */
	host->sysdata.domain = 0x7fff0000;
	host->sysdata.node = NUMA_NO_NODE;
	bridge->sysdata = &host->sysdata;
#else
	bridge->sysdata = host;
#endif
	host->busn.flags = IORESOURCE_BUS;
	host->busn.end = 0xff;
	pci_add_resource(&bridge->windows, &host->busn);
	if (!prepare_window())
		pci_add_resource(&bridge->windows, &fake_window);

	ret = pci_host_probe(bridge);
	if (ret)
		pci_free_host_bridge(bridge);
	KUNIT_ASSERT_EQ(test, 0, ret);
	host->bus = bridge->bus;
}

/**
 * fake_pci_rescan - Look for new devices
 * @host: the host bridge
 *
 * As a write to the "rescan" file of the root bus does.
 */
void fake_pci_rescan(struct fake_pci_host *host)
{
	pci_lock_rescan_remove();
	pci_rescan_bus(host->bus);
	pci_unlock_rescan_remove();
}

static void put_dev(void *data)
{
	pci_dev_put(data);
}

/**
 * fake_pci_dev - The PCI core's idea of a function
 * @host: the host bridge, after fake_pci_boot()
 * @at: where the function is
 *
 * Return: The device, which the test holds a reference on until it ends. If
 * there is none, the test ends here.
 */
struct pci_dev *fake_pci_dev(struct fake_pci_host *host, const char *at)
{
	struct kunit *test = host->test;
	struct pci_dev *pdev;
	u8 bus, devfn;

	parse_at(test, at, &bus, &devfn);
	pdev = pci_get_domain_bus_and_slot(pci_domain_nr(host->bus), bus,
					   devfn);
	KUNIT_ASSERT_NOT_NULL_MSG(test, pdev, "no device at %s", at);
	KUNIT_ASSERT_EQ(test, 0,
			kunit_add_action_or_reset(test, put_dev, pdev));
	return pdev;
}

struct fake_pci_log {
	struct kmsg_dump_iter iter;
	const char *at;
	char line[SZ_1K];
};

/**
 * fake_pci_log - Read from here on what the kernel says of a function
 * @test: the test, which is skipped if the kernel says nothing at all
 * @at: where the function is
 *
 * Return: What fake_pci_log_next() needs, until the test ends.
 */
struct fake_pci_log *fake_pci_log(struct kunit *test, const char *at)
{
	struct fake_pci_log *log;

	if (!IS_ENABLED(CONFIG_PRINTK))
		kunit_skip(test, "needs CONFIG_PRINTK");

	log = kunit_kzalloc(test, sizeof(*log), GFP_KERNEL);
	KUNIT_ASSERT_NOT_NULL(test, log);
	log->at = at;
	kmsg_dump_rewind(&log->iter);
	log->iter.cur_seq = log->iter.next_seq;
	return log;
}

/**
 * fake_pci_log_next - The next line of the kernel's log that names the function
 * @log: from fake_pci_log()
 *
 * Return: The line, until the next call, or NULL if there is none.
 */
const char *fake_pci_log_next(struct fake_pci_log *log)
{
	size_t len;

	while (kmsg_dump_get_line(&log->iter, false, log->line,
				  sizeof(log->line) - 1, &len)) {
		log->line[len] = '\0';
		if (strstr(log->line, log->at))
			return log->line;
	}
	return NULL;
}
