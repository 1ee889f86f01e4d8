// SPDX-License-Identifier: GPL-2.0
/* Loads and unloads the clients of an NTB, reads and writes their files, and
 * an endpoint's registers behind their back.
 *
 *	ntb-client load NAME [PARAMETER=VALUE...]
 *	ntb-client unload NAME
 *	ntb-client read FILE
 *	ntb-client write FILE VALUE
 *	ntb-client poke BDF OFFSET VALUE	(64 bits, BAR 0)
 */

#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "guest.h"

static void load(const char *name, char **params)
{
	char path[256], text[1024] = "";
	int fd;

	for (; *params; params++) {
		if (strlen(text) + strlen(*params) + 2 > sizeof(text))
			die("load %s: too many parameters", name);
		strcat(text, *params);
		strcat(text, " ");
	}
	snprintf(path, sizeof(path), "/modules/%s.ko", name);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		die("%s: %s", path, strerror(errno));
	log_line("load %s %s", name, text);
	if (syscall(SYS_finit_module, fd, text, 0))
		die("load %s: %s", name, strerror(errno));
	close(fd);
}

static void unload(const char *name)
{
	log_line("unload %s", name);
	if (syscall(SYS_delete_module, name, O_NONBLOCK))
		die("unload %s: %s", name, strerror(errno));
}

static void print_file(const char *path)
{
	char buf[4096];
	ssize_t len;
	int fd;

	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		die("%s: %s", path, strerror(errno));
	while ((len = read(fd, buf, sizeof(buf))) > 0)
		fwrite(buf, 1, len, stdout);
	if (len < 0)
		die("%s: %s", path, strerror(errno));
	close(fd);
}

static void poke(const char *bdf, unsigned long offset, uint64_t value)
{
	long page = sysconf(_SC_PAGESIZE);
	char path[256];
	uint8_t *map;
	int fd;

	snprintf(path, sizeof(path), PCI_DEVICES "/%s/resource0", bdf);
	fd = open(path, O_RDWR | O_CLOEXEC);
	if (fd < 0)
		die("%s: %s", path, strerror(errno));
	map = mmap(NULL, page, PROT_READ | PROT_WRITE, MAP_SHARED, fd,
		   offset & -page);
	if (map == MAP_FAILED)
		die("mapping %s: %s", path, strerror(errno));
	log_line("%s: write %#llx at %#lx", bdf, (unsigned long long)value,
		 offset);
	*(volatile uint64_t *)(map + offset % page) = value;
	munmap(map, page);
	close(fd);
}

int main(int argc, char **argv)
{
	const char *what = argc > 2 ? argv[1] : "";

	if (!strcmp(what, "load"))
		load(argv[2], argv + 3);
	else if (!strcmp(what, "unload") && argc == 3)
		unload(argv[2]);
	else if (!strcmp(what, "read") && argc == 3)
		print_file(argv[2]);
	else if (!strcmp(what, "write") && argc == 4)
		write_file(argv[2], argv[3]);
	else if (!strcmp(what, "poke") && argc == 5)
		poke(argv[2], strtoul(argv[3], NULL, 0),
		     strtoull(argv[4], NULL, 0));
	else
		die("usage: ntb-client load|unload|read|write|poke ...");
	return 0;
}
