/* SPDX-License-Identifier: GPL-2.0 */
/*
 * A data race on purpose, in the "kcsan" kernels of the lab: a run that does
 * not report this one cannot tell whether there are others.
 *
 * Included like edu_late_alias.h, for the same reasons.
 */
#include <linux/delay.h>
#include <linux/err.h>
#include <linux/init.h>
#include <linux/kthread.h>

static unsigned int lab_race_count;

static int lab_race(void *unused)
{
	while (!kthread_should_stop()) {
		lab_race_count++;
		cond_resched();
	}
	return 0;
}

static int __init lab_race_on_purpose(void)
{
	struct task_struct *threads[2];
	int i;

	for (i = 0; i < ARRAY_SIZE(threads); i++)
		threads[i] = kthread_run(lab_race, NULL, "lab_race/%d", i);
	msleep(500);
	for (i = 0; i < ARRAY_SIZE(threads); i++)
		if (!IS_ERR(threads[i]))
			kthread_stop(threads[i]);
	pr_info("lab: raced to %u\n", lab_race_count);
	return 0;
}
late_initcall(lab_race_on_purpose);
