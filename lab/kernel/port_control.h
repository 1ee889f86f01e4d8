/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Ports that fail or are slow, and the link that would make what is below them
 * depend on that. On the kernel's command line:
 *
 *	lab_ports=fail		no port is bound
 *	lab_ports=slow		each takes a while
 *	lab_ports=managed	control: a managed device link from each device to
 *				the port above it
 *
 * Lab only. kbuild is told on its command line to include this file at the top
 * of drivers/pci/pcie/portdrv.c.
 */
#include <linux/delay.h>
#include <linux/init.h>
#include <linux/pci.h>
#include <linux/string.h>

#define LAB_SLOW_MS	2000

static bool lab_ports_fail, lab_ports_slow, lab_ports_managed;

static int __init lab_ports_setup(char *options)
{
	lab_ports_fail = parse_option_str(options, "fail");
	lab_ports_slow = parse_option_str(options, "slow");
	lab_ports_managed = parse_option_str(options, "managed");
	return 1;
}
__setup("lab_ports=", lab_ports_setup);

static void lab_link_to_port(struct pci_dev *pdev)
{
	struct pci_dev *port = pci_upstream_bridge(pdev);

	if (lab_ports_managed && port)
		device_link_add(&pdev->dev, &port->dev, DL_FLAG_AUTOPROBE_CONSUMER);
}
DECLARE_PCI_FIXUP_FINAL(PCI_ANY_ID, PCI_ANY_ID, lab_link_to_port);

static int lab_enable_port(struct pci_dev *pdev)
{
	if (lab_ports_slow)
		msleep(LAB_SLOW_MS);
	return lab_ports_fail ? -EIO : pci_enable_device(pdev);
}

/* The first thing that the driver does to a port, and nothing else there is */
#define pci_enable_device(pdev) lab_enable_port(pdev)
