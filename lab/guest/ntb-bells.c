// SPDX-License-Identifier: GPL-2.0
/* Rings one doorbell of an NTB many times, through ntb_tool, and checks that
 * each ring arrives, interrupts and can be cleared.
 *
 *	ntb-bells FROM TO COUNT
 *
 * FROM and TO are the debugfs folders that ntb_tool has for the endpoints.
 */

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "guest.h"

#define BELL	"0x1"

/* Looks at a counter before it is given up, and those without a pause */
#define PATIENCE	10000
#define BUSY		100

static int open_file(const char *folder, const char *name, int flags)
{
	char path[PATH_MAX];
	int fd;

	snprintf(path, sizeof(path), "%s/%s", folder, name);
	fd = open(path, flags | O_CLOEXEC);
	if (fd < 0)
		die("%s: %s", path, strerror(errno));
	return fd;
}

static void put(int fd, const char *text)
{
	if (pwrite(fd, text, strlen(text), 0) < 0)
		die("writing '%s': %s", text, strerror(errno));
}

static unsigned long get(int fd)
{
	char text[32] = "";

	if (pread(fd, text, sizeof(text) - 1, 0) < 0)
		die("reading a doorbell: %s", strerror(errno));
	return strtoul(text, NULL, 16);
}

/* The counters, one a CPU, of the doorbell interrupt of the endpoint @bdf. */
static int open_interrupt(const char *bdf)
{
	char path[PATH_MAX];
	struct dirent *entry;
	DIR *dir;

	snprintf(path, sizeof(path), PCI_DEVICES "/%s/msi_irqs", bdf);
	dir = opendir(path);
	if (!dir)
		die("%s: %s", path, strerror(errno));
	while ((entry = readdir(dir))) {
		if (strcmp(read_line("/sys/kernel/irq/%s/actions",
				     entry->d_name), "switchtec_ntb_doorbell"))
			continue;
		snprintf(path, sizeof(path), "/sys/kernel/irq/%s",
			 entry->d_name);
		closedir(dir);
		return open_file(path, "per_cpu_count", O_RDONLY);
	}
	die("%s has no doorbell interrupt", bdf);
}

static unsigned long interrupts(int fd)
{
	unsigned long sum = 0;
	char text[256] = "", *at = text, *end;

	if (pread(fd, text, sizeof(text) - 1, 0) < 0)
		die("reading an interrupt's counter: %s", strerror(errno));
	for (;; at = end + 1) {
		sum += strtoul(at, &end, 10);
		if (*end != ',')
			return sum;
	}
}

/* Interrupts may be handled by another CPU, and merge if they come faster. */
static void wait_for(int irq, unsigned long count, const char *what)
{
	for (int i = 0; i < PATIENCE; i++) {
		if (interrupts(irq) >= count)
			return;
		if (i > BUSY)
			usleep(1000);
	}
	die("%s: no interrupt", what);
}

int main(int argc, char **argv)
{
	unsigned long count = argc == 4 ? strtoul(argv[3], NULL, 0) : 0;
	unsigned long before;
	int ring, bell, mask, irq;

	if (!count)
		die("usage: ntb-bells FROM TO COUNT");
	ring = open_file(argv[1], "peer_db", O_RDWR);
	bell = open_file(argv[2], "db", O_RDWR);
	mask = open_file(argv[2], "db_mask", O_RDWR);
	irq = open_interrupt(strrchr(argv[2], '/') + 1);
	put(bell, "c " BELL);
	put(mask, "c " BELL);

	before = interrupts(irq);
	for (unsigned long i = 1; i <= count; i++) {
		put(ring, "s " BELL);
		if (!(get(bell) & 1))
			die("ring %lu did not arrive", i);
		wait_for(irq, before + i, "ring");
		put(bell, "c " BELL);
		if (get(bell) & 1)
			die("ring %lu cannot be cleared", i);
	}
	put(mask, "s " BELL);
	put(ring, "s " BELL);
	usleep(100000);
	if (interrupts(irq) != before + count)
		die("%lu rings gave %lu interrupts, or a masked bell one",
		    count, interrupts(irq) - before);
	put(mask, "c " BELL);
	wait_for(irq, before + count + 1, "unmasking a bell that rings");
	put(bell, "c " BELL);
	put(mask, "s " BELL);
	printf("%lu rings, %lu interrupts\n", count + 1,
	       interrupts(irq) - before);
	return 0;
}
