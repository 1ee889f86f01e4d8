// SPDX-License-Identifier: GPL-2.0
/* Writes a value to a file, such as an attribute in sysfs. */
#include "guest.h"

int main(int argc, char **argv)
{
	if (argc != 3)
		die("usage: write-file <path> <value>");
	write_file(argv[1], argv[2]);
	return 0;
}
