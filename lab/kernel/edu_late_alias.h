/* SPDX-License-Identifier: GPL-2.0 */
/*
 * A device with a late DMA alias for machines of stock QEMU: the "edu" device
 * also issues requests with the next function's ID, which a final fixup says,
 * as the Switchtec NTB's quirk does for its proxy IDs.
 *
 * Lab only. kbuild is told on its command line to include this file at the
 * top of drivers/pci/pci-sysfs.c: a PCI fixup must be built in, and neither
 * the stock tree nor the series may carry it. Nothing depends on which file
 * of the PCI core it is; that one is always built and its name is unique.
 */
#include <linux/pci.h>

static void lab_edu_late_alias(struct pci_dev *pdev)
{
	pci_add_dma_alias(pdev, pdev->devfn + 1, 1);
}
DECLARE_PCI_FIXUP_FINAL(0x1234, 0x11e8, lab_edu_late_alias);
