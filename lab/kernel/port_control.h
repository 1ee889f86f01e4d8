/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Ports that fail or are slow, the link that would make what is below them depend
 * on that, and a driver that takes no time. On the kernel's command line:
 *
 *	lab_ports=fail		no port is bound
 *	lab_ports=slow		each takes a while
 *	lab_ports=managed	control: a managed device link from each device to
 *				the port above it
 *	lab_ports=testdev	QEMU's pci-testdev has a driver
 *
 * Lab only. kbuild is told on its command line to include this file at the top
 * of drivers/pci/pcie/portdrv.c.
 */
#include <linux/delay.h>
#include <linux/device/driver.h>
#include <linux/init.h>
#include <linux/pci.h>
#include <linux/string.h>

#define LAB_SLOW_MS	2000

static bool lab_ports_fail, lab_ports_slow, lab_ports_managed, lab_ports_testdev;

static int __init lab_ports_setup(char *options)
{
	lab_ports_fail = parse_option_str(options, "fail");
	lab_ports_slow = parse_option_str(options, "slow");
	lab_ports_managed = parse_option_str(options, "managed");
	lab_ports_testdev = parse_option_str(options, "testdev");
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

static int lab_testdev_probe(struct pci_dev *pdev, const struct pci_device_id *id)
{
	return 0;
}

static const struct pci_device_id lab_testdev_ids[] = {
	{ PCI_DEVICE(0x1b36, 0x0005) },
	{ }
};

static struct pci_driver lab_testdev_driver = {
	.name = "lab-testdev",
	.id_table = lab_testdev_ids,
	.probe = lab_testdev_probe,
};

static int __init lab_testdev_init(void)
{
	return lab_ports_testdev ? pci_register_driver(&lab_testdev_driver) : 0;
}
/* Where drivers of endpoints are registered, after that of ports */
late_initcall(lab_testdev_init);

/* What is counted until init starts is then all of the probes */
static int __init lab_testdev_wait(void)
{
	if (lab_ports_testdev)
		wait_for_device_probe();
	return 0;
}
late_initcall_sync(lab_testdev_wait);

static int lab_enable_port(struct pci_dev *pdev)
{
	if (lab_ports_slow)
		msleep(LAB_SLOW_MS);
	return lab_ports_fail ? -EIO : pci_enable_device(pdev);
}

/* The first thing that the driver does to a port, and nothing else there is */
#define pci_enable_device(pdev) lab_enable_port(pdev)
