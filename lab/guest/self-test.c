// SPDX-License-Identifier: GPL-2.0
/* Misbehaves on request, so that the harness can be tested. */
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "guest.h"

static const char usage[] =
	"usage: self-test hang\n"
	"       self-test panic\n"
	"       self-test exit <status>\n"
	"       self-test abort";

int main(int argc, char **argv)
{
	const char *verb = argc > 1 ? argv[1] : "";

	if (!strcmp(verb, "hang")) {
		printf("hanging now\n");
		fflush(stdout);
		for (;;)
			pause();
	} else if (!strcmp(verb, "panic")) {
		write_file("/proc/sysrq-trigger", "c");
	} else if (!strcmp(verb, "exit") && argc == 3) {
		fprintf(stderr, "leaving\n");
		return atoi(argv[2]);
	} else if (!strcmp(verb, "abort")) {
		abort();
	} else {
		die("%s", usage);
	}
	return 0;
}
