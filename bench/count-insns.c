// SPDX-License-Identifier: GPL-2.0
/*
 * A QEMU plugin: how many instructions a kernel executes until init starts, and
 * how many of them in certain functions.
 *
 * Counts what runs in the kernel's half of the address space, on all CPUs, up
 * to the first execution of the code at a given address, that of init's entry.
 * A halted CPU executes nothing.
 *
 * One CPU at a time, hence only with -icount.
 *
 * Arguments "until=<address>", "out=<file>", where the two numbers go, and
 * "from=<address>,to=<address>" for each function, its end excluded.
 */
#include <inttypes.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "plugin.h"

#define MAX_FUNCTIONS	32

static uint64_t executed_insns, insns_inside, until;
static struct {
	uint64_t from, to;
} functions[MAX_FUNCTIONS];
static unsigned int nr_functions;
static const char *out;
static bool done;

static void in_kernel(unsigned int cpu, void *insns)
{
	executed_insns += (uintptr_t)insns;
}

static void inside(unsigned int cpu, void *insns)
{
	insns_inside += (uintptr_t)insns;
}

static void at_end(unsigned int cpu, void *data)
{
	FILE *file;

	if (!executed_insns || done)
		return;
	done = true;
	file = fopen(out, "w");
	if (!file ||
	    fprintf(file, "%" PRIu64 " %" PRIu64 "\n", executed_insns,
		    insns_inside) < 0 ||
	    fclose(file)) {
		perror(out);
		exit(1);
	}
}

static void translated(uint64_t id, struct qemu_plugin_tb *block)
{
	uint64_t address = qemu_plugin_tb_vaddr(block);
	size_t insns = qemu_plugin_tb_n_insns(block);

	if (address >> 63)
		qemu_plugin_register_vcpu_tb_exec_cb(block, in_kernel,
						     NO_REGISTERS,
						     (void *)insns);
	for (unsigned int i = 0; i < nr_functions; i++)
		if (address >= functions[i].from && address < functions[i].to)
			qemu_plugin_register_vcpu_tb_exec_cb(block, inside,
							     NO_REGISTERS,
							     (void *)insns);
	if (address == until)
		qemu_plugin_register_vcpu_tb_exec_cb(block, at_end,
						     NO_REGISTERS, NULL);
}

__attribute__((visibility("default")))
int qemu_plugin_install(uint64_t id, const void *info, int argc, char **argv)
{
	uint64_t from = 0;

	for (int i = 0; i < argc; i++) {
		if (!strncmp(argv[i], "until=", 6))
			until = strtoull(argv[i] + 6, NULL, 0);
		else if (!strncmp(argv[i], "out=", 4))
			out = strdup(argv[i] + 4);
		else if (!strncmp(argv[i], "from=", 5))
			from = strtoull(argv[i] + 5, NULL, 0);
		else if (!strncmp(argv[i], "to=", 3) && from) {
			if (nr_functions == MAX_FUNCTIONS) {
				fprintf(stderr, "count-insns: more than %d functions\n",
					MAX_FUNCTIONS);
				return -1;
			}
			functions[nr_functions].from = from;
			functions[nr_functions++].to =
				strtoull(argv[i] + 3, NULL, 0);
		}
	}
	if (!until || !out) {
		fprintf(stderr,
			"count-insns: want until=<address>,out=<file>\n");
		return -1;
	}
	qemu_plugin_register_vcpu_tb_trans_cb(id, translated);
	return 0;
}
