// SPDX-License-Identifier: GPL-2.0
/*
 * Changes the set of PCI devices through sysfs, or waits for a change. Every
 * write is echoed on stdout and in the kernel log.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "guest.h"

static const char usage[] =
	"usage: pci-hotplug remove <bdf>\n"
	"       pci-hotplug rescan\n"
	"       pci-hotplug bind|unbind <driver> <bdf>\n"
	"       pci-hotplug wait-present|wait-absent <bdf> <seconds>";

/*
 * The PCI core makes the file in /proc after the final fixups, as the last
 * thing before drivers are tried; the directory in sysfs comes and goes with
 * the device itself.
 */
static bool is_present(const char *bdf)
{
	unsigned int domain, bus, slot, function;
	char path[64];
	struct stat st;

	if (sscanf(bdf, "%x:%x:%x.%x", &domain, &bus, &slot, &function) != 4)
		die("not a PCI address: %s", bdf);
	snprintf(path, sizeof(path), "/proc/bus/pci/%02x/%02x.%x",
		 bus, slot, function);
	if (!stat(path, &st))
		return true;
	/* Domains other than 0 carry their number in the directory's name. */
	snprintf(path, sizeof(path), "/proc/bus/pci/%04x:%02x/%02x.%x",
		 domain, bus, slot, function);
	return !stat(path, &st);
}

static bool is_absent(const char *bdf)
{
	char path[64];
	struct stat st;

	snprintf(path, sizeof(path), PCI_DEVICES "/%s", bdf);
	return stat(path, &st) && errno == ENOENT;
}

static void wait_for(bool (*condition)(const char *), const char *bdf,
		     const char *what, int seconds)
{
	for (int tries = seconds * 20; tries > 0; tries--) {
		if (condition(bdf))
			return;
		usleep(50000);
	}
	die("%s is not %s after %d s", bdf, what, seconds);
}

int main(int argc, char **argv)
{
	const char *verb = argc > 1 ? argv[1] : "";
	char path[256];

	if (!strcmp(verb, "remove") && argc == 3) {
		snprintf(path, sizeof(path), PCI_DEVICES "/%s/remove", argv[2]);
		write_file(path, "1");
	} else if (!strcmp(verb, "rescan") && argc == 2) {
		write_file("/sys/bus/pci/rescan", "1");
	} else if ((!strcmp(verb, "bind") || !strcmp(verb, "unbind")) &&
		   argc == 4) {
		snprintf(path, sizeof(path), "/sys/bus/pci/drivers/%s/%s",
			 argv[2], verb);
		write_file(path, argv[3]);
	} else if (!strcmp(verb, "wait-present") && argc == 4) {
		wait_for(is_present, argv[2], "present", atoi(argv[3]));
	} else if (!strcmp(verb, "wait-absent") && argc == 4) {
		wait_for(is_absent, argv[2], "absent", atoi(argv[3]));
	} else {
		die("%s", usage);
	}
	return 0;
}
