// SPDX-License-Identifier: GPL-2.0
/*
 * A QEMU plugin: how often a kernel enters functions, in parts of its run.
 *
 * It counts each entry of a function "visit" between an entry of "begin" and
 * the next one of "end". An entry of "part" ends what was counted for the part
 * before, and starts from zero. At the end there is a line in the file "out" for
 * each part.
 *
 * Arguments begin=<address>, end=<address>, part=<address>, out=<file>, and
 * visit=<address> as often as there are such functions.
 *
 * One CPU at a time.
 */
#include <inttypes.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "plugin.h"

enum role { BEGIN, END, PART, VISIT, NR_ROLES };

static const char *const names[NR_ROLES] = {
	"begin=", "end=", "part=", "visit=",
};

/* A call starts a block: the first address of one is enough to know it */
static struct {
	uint64_t address;
	enum role role;
} functions[16];

static unsigned int nr_functions;
static FILE *out;
static bool counting, in_part;
static uint64_t visits;

static void finish_part(void)
{
	if (in_part && fprintf(out, "%" PRIu64 "\n", visits) < 0) {
		perror("count-visits");
		exit(1);
	}
	visits = 0;
}

static void entered(unsigned int cpu, void *role)
{
	switch ((enum role)(uintptr_t)role) {
	case BEGIN:
		counting = true;
		break;
	case END:
		counting = false;
		break;
	case PART:
		finish_part();
		in_part = true;
		break;
	default:
		visits += counting;
	}
}

static void translated(uint64_t id, struct qemu_plugin_tb *block)
{
	uint64_t address = qemu_plugin_tb_vaddr(block);

	for (unsigned int i = 0; i < nr_functions; i++)
		if (functions[i].address == address)
			qemu_plugin_register_vcpu_tb_exec_cb(block, entered,
				NO_REGISTERS,
				(void *)(uintptr_t)functions[i].role);
}

static void at_exit(uint64_t id, void *data)
{
	finish_part();
	if (fclose(out))
		perror("count-visits");
}

static bool take(const char *argument)
{
	if (!strncmp(argument, "out=", 4)) {
		out = fopen(argument + 4, "w");
		return out;
	}
	for (int role = 0; role < NR_ROLES; role++) {
		size_t length = strlen(names[role]);

		if (strncmp(argument, names[role], length))
			continue;
		if (nr_functions == sizeof(functions) / sizeof(*functions))
			return false;
		functions[nr_functions].address =
			strtoull(argument + length, NULL, 0);
		functions[nr_functions++].role = role;
		return true;
	}
	return false;
}

__attribute__((visibility("default")))
int qemu_plugin_install(uint64_t id, const void *info, int argc, char **argv)
{
	for (int i = 0; i < argc; i++) {
		if (!take(argv[i])) {
			fprintf(stderr, "count-visits: cannot take %s\n",
				argv[i]);
			return -1;
		}
	}
	if (!out) {
		fprintf(stderr, "count-visits: want out=<file>\n");
		return -1;
	}
	qemu_plugin_register_vcpu_tb_trans_cb(id, translated);
	qemu_plugin_register_atexit_cb(id, at_exit, NULL);
	return 0;
}
