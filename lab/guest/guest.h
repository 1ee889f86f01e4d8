/* SPDX-License-Identifier: GPL-2.0 */
/* What the guest's small programs share. */
#ifndef LAB_GUEST_H
#define LAB_GUEST_H

#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>

#define PCI_DEVICES	"/sys/bus/pci/devices"

/* Ends the program with status 1 and a message on stderr. */
void die(const char *fmt, ...)
	__attribute__((format(printf, 1, 2), noreturn));

/* Adds a line to the kernel log, so that the log tells what was done when. */
void log_line(const char *fmt, ...) __attribute__((format(printf, 1, 2)));

/* Writes @value to the file @path; says so in the kernel log and on stdout. */
void write_file(const char *path, const char *value);

/* First line of a file, "" if there is none. The result is overwritten by
 * the next call.
 */
const char *read_line(const char *fmt, ...)
	__attribute__((format(printf, 1, 2)));

/* Last component of what a symbolic link points at, "" if it is not there. */
const char *link_name(const char *fmt, ...)
	__attribute__((format(printf, 1, 2)));

/* Calls @each with the address of every PCI device, in ascending order. */
void for_each_pci_device(void (*each)(const char *bdf));

/* A little-endian read of @size bytes (at most 4) of config space. */
unsigned int config_read(const char *bdf, unsigned int offset, size_t size);

/* Offset of a capability or extended capability, 0 if absent. */
unsigned int find_capability(const char *bdf, unsigned int id);
unsigned int find_ext_capability(const char *bdf, unsigned int id);

/* The requester IDs that Intel's IOMMU translates. */
struct requester {
	unsigned int bus, slot, function;
	unsigned int domain;
};

/* Calls @each for every requester ID with a context entry. Returns false if
 * this kernel runs no Intel IOMMU, hence nothing is known.
 */
bool for_each_requester(void (*each)(const struct requester *r));

#endif
