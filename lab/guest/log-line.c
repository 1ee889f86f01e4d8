// SPDX-License-Identifier: GPL-2.0
/* Adds its argument to the kernel log as one line. */
#include "guest.h"

int main(int argc, char **argv)
{
	if (argc != 2)
		die("usage: log-line <text>");
	log_line("%s", argv[1]);
	return 0;
}
