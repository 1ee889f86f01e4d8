/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Included into the stock kernel's ntb_hw_switchtec.c on arm64: there its
 * 64-bit read of the partition map, which is aligned to 32 bits only, is an
 * oops at boot, and nothing could be seen of the aliases. KUnit's
 * switchtec_ntb.aligned_accesses is what shows that defect.
 */
#include <linux/io.h>
#include <linux/io-64-nonatomic-lo-hi.h>

#undef ioread64
#define ioread64 ioread64_lo_hi
