// SPDX-License-Identifier: GPL-2.0
/*
 * KUnit tests of what wait_for_device_probe() waits for.
 */

#include <linux/atomic.h>
#include <linux/delay.h>
#include <linux/device.h>
#include <linux/platform_device.h>

#include <kunit/platform_device.h>
#include <kunit/test.h>

#define FIRST		"deferred-probe-first"
#define SECOND		"deferred-probe-second"
#define THIRD		"deferred-probe-third"

/* Far longer than it takes wait_for_device_probe() to return too early */
#define SLOW_MS		50

static atomic_t probed;

static int first_probe(struct platform_device *pdev)
{
	msleep(SLOW_MS);
	atomic_inc(&probed);
	return 0;
}

static int second_probe(struct platform_device *pdev)
{
	if (!atomic_read(&probed))
		return -EPROBE_DEFER;
	msleep(SLOW_MS);
	atomic_inc(&probed);
	return 0;
}

static struct platform_driver first_driver = {
	.probe = first_probe,
	.driver = {
		.name = FIRST,
		.probe_type = PROBE_PREFER_ASYNCHRONOUS,
	},
};

static struct platform_driver second_driver = {
	.probe = second_probe,
	.driver.name = SECOND,
};

static struct platform_driver third_driver = {
	.probe = second_probe,
	.driver = {
		.name = THIRD,
		.probe_type = PROBE_PREFER_ASYNCHRONOUS,
	},
};

static void add(struct kunit *test, struct platform_driver *drv)
{
	struct platform_device *pdev;

	KUNIT_ASSERT_EQ(test, 0, kunit_platform_driver_register(test, drv));
	pdev = kunit_platform_device_alloc(test, drv->driver.name,
					   PLATFORM_DEVID_NONE);
	KUNIT_ASSERT_NOT_NULL(test, pdev);
	KUNIT_ASSERT_EQ(test, 0, kunit_platform_device_add(test, pdev));
}

/* The second is deferred until the first, which is slow, is there. */
static void waits_for_deferred_probe(struct kunit *test)
{
	atomic_set(&probed, 0);
	add(test, &second_driver);
	add(test, &first_driver);

	wait_for_device_probe();
	KUNIT_EXPECT_EQ(test, 2, atomic_read(&probed));
}

/* The probe of the third is scheduled by the work that probes the second. */
static void waits_for_deferred_async_probe(struct kunit *test)
{
	atomic_set(&probed, 0);
	add(test, &second_driver);
	add(test, &third_driver);
	add(test, &first_driver);

	wait_for_device_probe();
	KUNIT_EXPECT_EQ(test, 3, atomic_read(&probed));
}

static struct kunit_case deferred_probe_cases[] = {
	KUNIT_CASE(waits_for_deferred_probe),
	KUNIT_CASE(waits_for_deferred_async_probe),
	{ }
};

static struct kunit_suite deferred_probe_suite = {
	.name = "deferred_probe",
	.test_cases = deferred_probe_cases,
};

kunit_test_suite(deferred_probe_suite);

MODULE_DESCRIPTION("KUnit tests of deferred probes");
MODULE_LICENSE("GPL");
