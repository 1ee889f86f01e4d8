/* SPDX-License-Identifier: GPL-2.0 */
/*
 * What the plugins use of QEMU's plugin interface. Debian's QEMU comes without
 * the header. PLUGIN_API is what its qemu-plugin.h calls QEMU_PLUGIN_VERSION.
 */
#ifndef BENCH_PLUGIN_H
#define BENCH_PLUGIN_H

#include <stddef.h>
#include <stdint.h>

struct qemu_plugin_tb;

enum { NO_REGISTERS };

void qemu_plugin_register_vcpu_tb_trans_cb(uint64_t id,
	void (*translated)(uint64_t id, struct qemu_plugin_tb *block));
void qemu_plugin_register_vcpu_tb_exec_cb(struct qemu_plugin_tb *block,
	void (*executed)(unsigned int cpu, void *data), int registers,
	void *data);
void qemu_plugin_register_atexit_cb(uint64_t id,
	void (*at_exit)(uint64_t id, void *data), void *data);
size_t qemu_plugin_tb_n_insns(const struct qemu_plugin_tb *block);
uint64_t qemu_plugin_tb_vaddr(const struct qemu_plugin_tb *block);

__attribute__((visibility("default"))) int qemu_plugin_version = PLUGIN_API;

#endif
