// SPDX-License-Identifier: GPL-2.0
/* Copies a pattern through a memory window of ntb_tool and compares it, from
 * the receiver's memory and read back through the window. Prints how many
 * microseconds the writing took.
 *
 *	ntb-copy FROM TO SIZE
 *
 * FROM and TO are the debugfs folders that ntb_tool has for the endpoints.
 */

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "guest.h"

#define CHUNK	4096

static void fill(uint32_t *words, size_t size, uint32_t seed)
{
	for (size_t i = 0; i < size / sizeof(*words); i++) {
		seed = seed * 1664525 + 1013904223;
		words[i] = seed;
	}
}

static void set(const char *folder, const char *name, const char *value)
{
	char path[PATH_MAX];

	snprintf(path, sizeof(path), "%s/peer0/%s", folder, name);
	write_file(path, value);
}

static int open_window(const char *folder, const char *name)
{
	char path[PATH_MAX];
	int fd;

	snprintf(path, sizeof(path), "%s/peer0/%s", folder, name);
	fd = open(path, O_RDWR | O_CLOEXEC);
	if (fd < 0)
		die("%s: %s", path, strerror(errno));
	return fd;
}

static long long now_us(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec * 1000000LL + t.tv_nsec / 1000;
}

static void compare(int fd, const char *what, const char *wanted, size_t size)
{
	char got[CHUNK];

	for (size_t done = 0; done < size; done += CHUNK) {
		if (pread(fd, got, CHUNK, done) != CHUNK)
			die("%s: reading at %#zx: %s", what, done,
			    strerror(errno));
		for (size_t i = 0; i < CHUNK; i++)
			if (got[i] != wanted[done + i])
				die("%s: at %#zx is %#x, not %#x", what,
				    done + i, got[i] & 0xff,
				    wanted[done + i] & 0xff);
	}
}

int main(int argc, char **argv)
{
	size_t size = argc == 4 ? strtoul(argv[3], NULL, 0) : 0;
	char trans[32], *pattern;
	long long start, end;
	int out, in;

	if (!size || size % CHUNK)
		die("usage: ntb-copy FROM TO SIZE, a multiple of %d", CHUNK);
	pattern = malloc(size);
	if (!pattern)
		die("no memory for %zu bytes", size);
	fill((uint32_t *)pattern, size, getpid());

	set(argv[2], "mw_trans0", argv[3]);
	snprintf(trans, sizeof(trans), "0:%zu", size);
	set(argv[1], "peer_mw_trans0", trans);
	out = open_window(argv[1], "peer_mw0");
	in = open_window(argv[2], "mw0");

	start = now_us();
	for (size_t done = 0; done < size; done += CHUNK)
		if (pwrite(out, pattern + done, CHUNK, done) != CHUNK)
			die("writing the window at %#zx: %s", done,
			    strerror(errno));
	end = now_us();
	compare(in, "receiver's memory", pattern, size);
	compare(out, "window read back", pattern, size);
	close(out);
	close(in);

	set(argv[1], "peer_mw_trans0", "0:0");
	set(argv[2], "mw_trans0", "0");
	printf("%lld us\n", end - start);
	return 0;
}
