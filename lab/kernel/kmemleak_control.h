/* SPDX-License-Identifier: GPL-2.0 */
/*
 * A leak on purpose, in the "debug" kernels of the lab, as often as something is
 * written to /sys/module/pci_sysfs/parameters/lab_leak: if kmemleak does not
 * find this one, it cannot tell whether there are others.
 *
 * Included like edu_late_alias.h, for the same reasons.
 */
#include <linux/moduleparam.h>
#include <linux/slab.h>

static int lab_leak(const char *value, const struct kernel_param *param)
{
	/*
	 * Not from a slab, whose sheaves keep pointers to what they have given
	 * out until others take their place: references, for kmemleak
	 */
	void *leak = kmalloc(2 * KMALLOC_MAX_CACHE_SIZE, GFP_KERNEL);

	OPTIMIZER_HIDE_VAR(leak);
	return leak ? 0 : -ENOMEM;
}

static const struct kernel_param_ops lab_leak_ops = { .set = lab_leak };
module_param_cb(lab_leak, &lab_leak_ops, NULL, 0200);
