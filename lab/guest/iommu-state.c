// SPDX-License-Identifier: GPL-2.0
/*
 * Which IOMMU group is each PCI device in, and which requester IDs has the
 * IOMMU been programmed for? Prints one JSON object.
 *
 * Only Intel's IOMMU shows its tables: elsewhere "requesters_known" is false.
 */
#include <linux/pci_regs.h>
#include <stdlib.h>
#include <string.h>

#include "guest.h"

static const char *separator;

/* The upstream bridge's address; "" for a device on a root bus. */
static const char *parent(const char *bdf)
{
	static char name[16];
	char path[256], *real, *end;

	snprintf(path, sizeof(path), PCI_DEVICES "/%s/..", bdf);
	real = realpath(path, NULL);
	if (!real)
		return "";
	end = strrchr(real, '/');
	snprintf(name, sizeof(name), "%s", strncmp(end, "/pci", 4) ? end + 1 : "");
	free(real);
	return name;
}

/* PCI Express device/port type, -1 for a conventional device. */
static int express_type(const char *bdf)
{
	unsigned int pos = find_capability(bdf, PCI_CAP_ID_EXP);

	if (!pos)
		return -1;
	return (config_read(bdf, pos + PCI_EXP_FLAGS, 2) &
		PCI_EXP_FLAGS_TYPE) >> 4;
}

static void print_string(const char *name, const char *value)
{
	printf(", \"%s\": \"%s\"", name, value);
}

static void print_device(const char *bdf)
{
	unsigned int header = config_read(bdf, PCI_HEADER_TYPE, 1);
	const char *group;

	printf("%s\n  {\"bdf\": \"%s\"", separator, bdf);
	separator = ",";
	print_string("vendor", read_line(PCI_DEVICES "/%s/vendor", bdf));
	print_string("device", read_line(PCI_DEVICES "/%s/device", bdf));
	print_string("class", read_line(PCI_DEVICES "/%s/class", bdf));
	print_string("parent", parent(bdf));
	print_string("driver", link_name(PCI_DEVICES "/%s/driver", bdf));
	printf(", \"express_type\": %d", express_type(bdf));
	printf(", \"header_type\": %u", header);
	if ((header & PCI_HEADER_TYPE_MASK) == PCI_HEADER_TYPE_BRIDGE)
		printf(", \"secondary\": %u",
		       config_read(bdf, PCI_SECONDARY_BUS, 1));
	group = link_name(PCI_DEVICES "/%s/iommu_group", bdf);
	if (*group) {
		printf(", \"group\": %s", group);
		print_string("group_type",
			     read_line("/sys/kernel/iommu_groups/%s/type",
				       group));
	}
	printf("}");
}

static void print_requester(const struct requester *r)
{
	printf("%s\n  {\"bus\": %u, \"devfn\": %u, \"domain\": %u}", separator,
	       r->bus, r->slot << 3 | r->function, r->domain);
	separator = ",";
}

int main(void)
{
	separator = "";
	printf("{\"devices\": [");
	for_each_pci_device(print_device);
	printf("],\n \"requesters\": [");
	separator = "";
	if (for_each_requester(print_requester))
		printf("], \"requesters_known\": true}\n");
	else
		printf("], \"requesters_known\": false}\n");
	return 0;
}
