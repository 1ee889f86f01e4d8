// SPDX-License-Identifier: GPL-2.0
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/pci_regs.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "guest.h"

#define VTD_TABLES	"/sys/kernel/debug/iommu/intel/dmar_translation_struct"

void die(const char *fmt, ...)
{
	va_list args;

	fflush(stdout);
	va_start(args, fmt);
	vfprintf(stderr, fmt, args);
	va_end(args);
	fputc('\n', stderr);
	exit(1);
}

void log_line(const char *fmt, ...)
{
	FILE *kmsg = fopen("/dev/kmsg", "w");
	va_list args;

	if (!kmsg)
		die("/dev/kmsg: %s", strerror(errno));
	/* One record a write(): no flush before the line is whole. */
	fputs("<6>lab: ", kmsg);
	va_start(args, fmt);
	vfprintf(kmsg, fmt, args);
	va_end(args);
	/* Without it the record stays open and does not reach the console. */
	fputc('\n', kmsg);
	fclose(kmsg);
}

void write_file(const char *path, const char *value)
{
	int fd = open(path, O_WRONLY);

	log_line("echo %s > %s", value, path);
	printf("echo %s > %s\n", value, path);
	if (fd < 0)
		die("%s: %s", path, strerror(errno));
	if (write(fd, value, strlen(value)) < 0)
		die("%s: writing %s: %s", path, value, strerror(errno));
	close(fd);
}

static void format_path(char *path, const char *fmt, va_list args)
{
	if (vsnprintf(path, PATH_MAX, fmt, args) >= PATH_MAX)
		die("path too long: %s", path);
}

const char *read_line(const char *fmt, ...)
{
	static char line[512];
	char path[PATH_MAX];
	va_list args;
	FILE *file;

	va_start(args, fmt);
	format_path(path, fmt, args);
	va_end(args);

	line[0] = '\0';
	file = fopen(path, "r");
	if (!file)
		return line;
	if (!fgets(line, sizeof(line), file))
		line[0] = '\0';
	fclose(file);
	line[strcspn(line, "\n")] = '\0';
	return line;
}

const char *link_name(const char *fmt, ...)
{
	static char target[PATH_MAX];
	char path[PATH_MAX], *slash;
	va_list args;
	ssize_t len;

	va_start(args, fmt);
	format_path(path, fmt, args);
	va_end(args);

	len = readlink(path, target, sizeof(target) - 1);
	if (len < 0)
		return "";
	target[len] = '\0';
	slash = strrchr(target, '/');
	return slash ? slash + 1 : target;
}

static int is_visible(const struct dirent *entry)
{
	return entry->d_name[0] != '.';
}

void for_each_pci_device(void (*each)(const char *bdf))
{
	struct dirent **entries;
	int i, n;

	n = scandir(PCI_DEVICES, &entries, is_visible, alphasort);
	if (n < 0)
		die(PCI_DEVICES ": %s", strerror(errno));
	for (i = 0; i < n; i++) {
		each(entries[i]->d_name);
		free(entries[i]);
	}
	free(entries);
}

unsigned int config_read(const char *bdf, unsigned int offset, size_t size)
{
	unsigned char bytes[4] = { 0 };
	char path[PATH_MAX];
	int fd;

	snprintf(path, sizeof(path), PCI_DEVICES "/%s/config", bdf);
	fd = open(path, O_RDONLY);
	if (fd < 0)
		return ~0U;
	/* Conventional devices end at 256 bytes: nothing read stays zero. */
	if (pread(fd, bytes, size, offset) < 0)
		memset(bytes, 0xff, sizeof(bytes));
	close(fd);
	return bytes[0] | bytes[1] << 8 | bytes[2] << 16 |
	       (unsigned int)bytes[3] << 24;
}

unsigned int find_capability(const char *bdf, unsigned int id)
{
	unsigned int hops = 48, pos;

	if (!(config_read(bdf, PCI_STATUS, 2) & PCI_STATUS_CAP_LIST))
		return 0;
	pos = config_read(bdf, PCI_CAPABILITY_LIST, 1) & ~3U;
	while (pos >= PCI_STD_HEADER_SIZEOF && hops--) {
		if (config_read(bdf, pos + PCI_CAP_LIST_ID, 1) == id)
			return pos;
		pos = config_read(bdf, pos + PCI_CAP_LIST_NEXT, 1) & ~3U;
	}
	return 0;
}

unsigned int find_ext_capability(const char *bdf, unsigned int id)
{
	unsigned int hops = 480, pos = PCI_CFG_SPACE_SIZE, header;

	while (pos >= PCI_CFG_SPACE_SIZE && hops--) {
		header = config_read(bdf, pos, 4);
		if (!header || header == ~0U)
			return 0;
		if (PCI_EXT_CAP_ID(header) == id)
			return pos;
		pos = PCI_EXT_CAP_NEXT(header);
	}
	return 0;
}

bool for_each_requester(void (*each)(const struct requester *r))
{
	FILE *file = fopen(VTD_TABLES, "r");
	bool running = false;
	char line[512];

	if (!file)
		return false;
	while (fgets(line, sizeof(line), file)) {
		struct requester r;
		uint64_t high;

		if (!strncmp(line, "IOMMU ", 6))
			running = true;
		/* b:s.f, root entry (high:low), context entry (high:low) */
		if (sscanf(line, "%x:%x.%x %*x:%*x %lx:", &r.bus, &r.slot,
			   &r.function, &high) != 4)
			continue;
		r.domain = high >> 8 & 0xffff;
		each(&r);
	}
	fclose(file);
	return running;
}
