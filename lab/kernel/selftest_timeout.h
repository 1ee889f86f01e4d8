/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Included into the kernel's selftests behind their harness, whose 30 seconds
 * for a case are meant for real processors, not for TCG on a loaded machine.
 */
#undef TEST_TIMEOUT_DEFAULT
#define TEST_TIMEOUT_DEFAULT 300
