// SPDX-License-Identifier: GPL-2.0
/*
 * Reads from the hardware random number generator. The kernel keeps few bytes
 * of it, so that a virtio-rng has to bring most of them by DMA.
 *
 *	random-read BYTES SECONDS
 *
 * Is killed by SIGALRM if they do not come in time.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "guest.h"

int main(int argc, char **argv)
{
	char bytes[256];
	long left;
	int fd;

	if (argc != 3)
		die("usage: random-read BYTES SECONDS");
	alarm(atoi(argv[2]));
	fd = open("/dev/hwrng", O_RDONLY | O_CLOEXEC);
	for (left = atol(argv[1]); left > 0;) {
		ssize_t got = read(fd, bytes, sizeof(bytes));

		if (got < 0)
			die("/dev/hwrng: %s", strerror(errno));
		left -= got;
	}
	return 0;
}
