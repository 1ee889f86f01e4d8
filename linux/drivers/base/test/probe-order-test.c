// SPDX-License-Identifier: GPL-2.0
/*
 * KUnit tests of device links with DL_FLAG_PROBE_ORDER: the consumer is probed
 * after the supplier has been tried, whatever came of that.
 *
 * The consumer is there first, and the order in which the probes ran is
 * recorded.  Kernels boot in one way only, so the tests pretend that drivers are
 * still to come, or not.
 */

#include <linux/array_size.h>
#include <linux/async.h>
#include <linux/cleanup.h>
#include <linux/completion.h>
#include <linux/delay.h>
#include <linux/device.h>
#include <linux/platform_device.h>
#include <linux/slab.h>
#include <linux/string.h>

#include <kunit/platform_device.h>
#include <kunit/test.h>

#include "../base.h"

#define SUPPLIER	"probe-order-supplier"
#define CONSUMER	"probe-order-consumer"
#define BYSTANDER	"probe-order-bystander"

#define NR_PROBES	1024
#define CHAIN		8
#define CONSUMERS	256
/* For what must not happen */
#define A_WHILE_MS	20
/* For what must, and does at once unless it is broken */
#define PATIENCE	msecs_to_jiffies(5000)

struct probe_order {
	/* IDs in the order their drivers' .probe ran to its end */
	int probed[NR_PROBES];
	int count;
	spinlock_t lock;	/* of the two above, and the consumer's below */

	/* What the next probes of the supplier return, then 0 */
	int results[4];
	int tries;

	/* The same for the consumer */
	int consumer_results[4];
	int consumer_tries;

	/* The supplier's probe waits for it, if it is not NULL */
	struct completion *hold;
	struct completion *held;

	/* All probes are deferred, and counted */
	bool defer;
	atomic_t deferred;

	/* If not 0, the consumer's probe adds a link with these flags, then fails */
	u32 own_link;

	/* If not NULL, the consumer's probe asks to come after it */
	struct device *after;
};

/* A driver has no other way to find the test that it works for */
static struct probe_order *order;

/* What the kernel has, for after the test */
static int timeout;

static void record(struct platform_device *pdev)
{
	guard(spinlock)(&order->lock);
	if (order->count < NR_PROBES)
		order->probed[order->count++] = pdev->id;
}

static int supplier_probe(struct platform_device *pdev)
{
	int ret = 0;

	if (order->defer) {
		usleep_range(1000, 2000);
		atomic_inc(&order->deferred);
		return -EPROBE_DEFER;
	}
	if (order->hold) {
		complete(order->held);
		wait_for_completion_timeout(order->hold, PATIENCE);
	}
	if (order->tries < ARRAY_SIZE(order->results))
		ret = order->results[order->tries];
	order->tries++;
	record(pdev);
	return ret;
}

static int consumer_probe(struct platform_device *pdev)
{
	int ret = 0;

	if (order->defer) {
		atomic_inc(&order->deferred);
		return -EPROBE_DEFER;
	}
	if (order->after) {
		ret = device_probe_after(&pdev->dev, order->after);
		if (ret)
			return ret;
	}
	if (order->own_link) {
		if (!device_link_add(&pdev->dev, order->after, order->own_link))
			return -EINVAL;
		ret = -EIO;
	}
	scoped_guard(spinlock, &order->lock) {
		if (order->consumer_tries < ARRAY_SIZE(order->consumer_results) &&
		    order->consumer_results[order->consumer_tries])
			ret = order->consumer_results[order->consumer_tries];
		order->consumer_tries++;
	}
	record(pdev);
	return ret;
}

static struct platform_driver supplier_driver = {
	.probe = supplier_probe,
	.driver.name = SUPPLIER,
};

static struct platform_driver async_supplier_driver = {
	.probe = supplier_probe,
	.driver = {
		.name = SUPPLIER,
		.probe_type = PROBE_PREFER_ASYNCHRONOUS,
	},
};

static struct platform_driver consumer_driver = {
	.probe = consumer_probe,
	.driver.name = CONSUMER,
};

static struct platform_driver async_consumer_driver = {
	.probe = consumer_probe,
	.driver = {
		.name = CONSUMER,
		.probe_type = PROBE_PREFER_ASYNCHRONOUS,
	},
};

static int bystander_probe(struct platform_device *pdev)
{
	return 0;
}

static struct platform_driver bystander_driver = {
	.probe = bystander_probe,
	.driver.name = BYSTANDER,
};

/* As at the end of the initcalls, and of the time for modules */
static void no_more_drivers(void)
{
	driver_initcalls_done = true;
	driver_deferred_probe_timeout = 0;
	driver_deferred_probe_trigger();
}

static void more_drivers_to_come(void)
{
	driver_initcalls_done = false;
}

static int probe_order_init(struct kunit *test)
{
	if (driver_deferred_probe_timeout > 0)
		kunit_skip(test, "the kernel still waits for modules");
	timeout = driver_deferred_probe_timeout;

	order = kunit_kzalloc(test, sizeof(*order), GFP_KERNEL);
	if (!order)
		return -ENOMEM;
	spin_lock_init(&order->lock);
	more_drivers_to_come();
	return 0;
}

static void probe_order_exit(struct kunit *test)
{
	if (!order)
		return;
	no_more_drivers();
	wait_for_device_probe();
	driver_deferred_probe_timeout = timeout;
	order = NULL;
}

static struct platform_device *add(struct kunit *test, const char *name, int id)
{
	struct platform_device *pdev;

	pdev = kunit_platform_device_alloc(test, name, id);
	KUNIT_ASSERT_NOT_NULL(test, pdev);
	KUNIT_ASSERT_EQ(test, 0, kunit_platform_device_add(test, pdev));
	return pdev;
}

static void link(struct kunit *test, struct platform_device *consumer,
		 struct platform_device *supplier)
{
	KUNIT_ASSERT_NOT_NULL(test, device_link_add(&consumer->dev, &supplier->dev,
						    DL_FLAG_PROBE_ORDER));
}

static void driver(struct kunit *test, struct platform_driver *drv)
{
	KUNIT_ASSERT_EQ(test, 0, kunit_platform_driver_register(test, drv));
}

static bool bound(struct platform_device *pdev)
{
	guard(device)(&pdev->dev);
	return device_is_bound(&pdev->dev);
}

/* A supplier with ID 0 and its consumer, which has a driver but waits. */
static struct platform_device *supplier_of(struct kunit *test,
					   struct platform_device **consumer)
{
	struct platform_device *supplier = add(test, SUPPLIER, 0);

	*consumer = add(test, CONSUMER, 1);
	link(test, *consumer, supplier);
	driver(test, &consumer_driver);
	return supplier;
}

static void expect_waiting(struct kunit *test, struct platform_device *consumer,
			   struct platform_device *supplier)
{
	const char *reason;

	msleep(A_WHILE_MS);
	KUNIT_EXPECT_FALSE(test, bound(consumer));
	KUNIT_EXPECT_EQ(test, 0, order->consumer_tries);

	/* Nobody retries it while it waits */
	guard(device)(&consumer->dev);
	reason = consumer->dev.p->deferred_probe_reason ?: "";
	KUNIT_EXPECT_NOT_NULL_MSG(test, strstr(reason, dev_name(&supplier->dev)),
				  "%s", reason);
}

static void expect_order(struct kunit *test, const int *ids, int count)
{
	int i;

	wait_for_device_probe();
	KUNIT_ASSERT_EQ(test, count, order->count);
	for (i = 0; i < count; i++)
		KUNIT_EXPECT_EQ_MSG(test, ids[i], order->probed[i], "probe %d", i);
}

#define EXPECT_ORDER(test, ...)						\
	expect_order(test, (const int []){ __VA_ARGS__ },		\
		     ARRAY_SIZE(((const int []){ __VA_ARGS__ })))

/* The consumer is probed when the supplier is bound, and the link goes. */
static void supplier_binds(struct kunit *test)
{
	struct platform_device *consumer, *supplier = supplier_of(test, &consumer);

	expect_waiting(test, consumer, supplier);
	driver(test, &supplier_driver);

	EXPECT_ORDER(test, 0, 1);
	KUNIT_EXPECT_TRUE(test, bound(supplier));
	KUNIT_EXPECT_TRUE(test, bound(consumer));
	KUNIT_EXPECT_TRUE(test, list_empty(&consumer->dev.links.suppliers));
	KUNIT_EXPECT_TRUE(test, list_empty(&supplier->dev.links.consumers));
}

/*
 * That other devices are bound is no reason to try the consumer again: hundreds may
 * wait while hundreds are bound.
 */
static void others_bind(struct kunit *test)
{
	static const char untried[] = "untried";
	struct platform_device *consumer, *supplier = supplier_of(test, &consumer);
	struct device_private *p = consumer->dev.p;

	expect_waiting(test, consumer, supplier);
	scoped_guard(device, &consumer->dev) {
		/* A try would write another one */
		kfree(p->deferred_probe_reason);
		p->deferred_probe_reason = kstrdup(untried, GFP_KERNEL);
	}

	driver(test, &bystander_driver);
	KUNIT_ASSERT_TRUE(test, bound(add(test, BYSTANDER, 2)));
	wait_for_device_probe();
	scoped_guard(device, &consumer->dev)
		KUNIT_EXPECT_STREQ(test, untried, p->deferred_probe_reason);

	/* But it is when nobody knows whether it has to wait any more */
	driver_deferred_probe_trigger();
	wait_for_device_probe();
	expect_waiting(test, consumer, supplier);

	driver(test, &supplier_driver);
	EXPECT_ORDER(test, 0, 1);
}

static const int errors[] = { -ENODEV, -ENXIO, -EIO, -EINVAL };

static void error_desc(const int *error, char *desc)
{
	snprintf(desc, KUNIT_PARAM_DESC_SIZE, "%pe", ERR_PTR(*error));
}

KUNIT_ARRAY_PARAM(error, errors, error_desc);

/* It is probed just as well if the supplier's driver fails. */
static void supplier_fails(struct kunit *test)
{
	struct platform_device *consumer, *supplier = supplier_of(test, &consumer);

	order->results[0] = *(const int *)test->param_value;
	expect_waiting(test, consumer, supplier);
	driver(test, &supplier_driver);

	EXPECT_ORDER(test, 0, 1);
	KUNIT_EXPECT_FALSE(test, bound(supplier));
	KUNIT_EXPECT_TRUE(test, bound(consumer));
}

/* A managed link, which this one is not, keeps the consumer from working. */
static void managed_supplier_fails(struct kunit *test)
{
	struct platform_device *supplier = add(test, SUPPLIER, 0);
	struct platform_device *consumer = add(test, CONSUMER, 1);

	KUNIT_ASSERT_NOT_NULL(test, device_link_add(&consumer->dev, &supplier->dev,
						    DL_FLAG_AUTOPROBE_CONSUMER));
	driver(test, &consumer_driver);
	order->results[0] = -EIO;
	driver(test, &supplier_driver);
	no_more_drivers();

	EXPECT_ORDER(test, 0);
	KUNIT_EXPECT_FALSE(test, bound(consumer));
}

/* While the supplier defers, so does the consumer. */
static void supplier_defers(struct kunit *test)
{
	struct platform_device *consumer, *supplier = supplier_of(test, &consumer);

	order->results[0] = -EPROBE_DEFER;
	driver(test, &supplier_driver);
	expect_waiting(test, consumer, supplier);
	driver_deferred_probe_trigger();

	EXPECT_ORDER(test, 0, 0, 1);
	KUNIT_EXPECT_TRUE(test, bound(supplier));
	KUNIT_EXPECT_TRUE(test, bound(consumer));
}

static void supplier_defers_and_fails(struct kunit *test)
{
	struct platform_device *consumer, *supplier = supplier_of(test, &consumer);

	order->results[0] = -EPROBE_DEFER;
	order->results[1] = -EIO;
	driver(test, &supplier_driver);
	expect_waiting(test, consumer, supplier);
	driver_deferred_probe_trigger();

	EXPECT_ORDER(test, 0, 0, 1);
	KUNIT_EXPECT_TRUE(test, bound(consumer));
}

/* But not after the initcalls: what the supplier waits for need not come. */
static void supplier_defers_for_ever(struct kunit *test)
{
	struct platform_device *consumer, *supplier = supplier_of(test, &consumer);
	int i;

	for (i = 0; i < ARRAY_SIZE(order->results); i++)
		order->results[i] = -EPROBE_DEFER;
	driver(test, &supplier_driver);
	expect_waiting(test, consumer, supplier);
	no_more_drivers();

	/* That the consumer is bound is a reason to try the supplier again */
	EXPECT_ORDER(test, 0, 0, 1, 0);
	KUNIT_EXPECT_FALSE(test, bound(supplier));
	KUNIT_EXPECT_TRUE(test, bound(consumer));
}

/* Nothing changes if the consumer has reasons of its own to be deferred. */
static void both_defer(struct kunit *test)
{
	struct platform_device *consumer, *supplier = supplier_of(test, &consumer);

	order->results[0] = -EPROBE_DEFER;
	order->consumer_results[0] = -EPROBE_DEFER;
	driver(test, &supplier_driver);
	expect_waiting(test, consumer, supplier);
	driver_deferred_probe_trigger();
	wait_for_device_probe();
	driver_deferred_probe_trigger();

	EXPECT_ORDER(test, 0, 0, 1, 1);
	KUNIT_EXPECT_TRUE(test, bound(supplier));
	KUNIT_EXPECT_TRUE(test, bound(consumer));
}

/* The driver of the supplier goes while the probe is deferred. */
static void deferring_driver_goes(struct kunit *test)
{
	struct platform_device *consumer, *supplier = supplier_of(test, &consumer);

	order->results[0] = -EPROBE_DEFER;
	KUNIT_ASSERT_EQ(test, 0, platform_driver_register(&supplier_driver));
	expect_waiting(test, consumer, supplier);
	platform_driver_unregister(&supplier_driver);
	driver_deferred_probe_trigger();

	EXPECT_ORDER(test, 0, 1);
	KUNIT_EXPECT_TRUE(test, bound(consumer));
}

/* No driver comes: the consumer waits as long as one may. */
static void no_driver(struct kunit *test)
{
	struct platform_device *consumer, *supplier = supplier_of(test, &consumer);

	expect_waiting(test, consumer, supplier);
	no_more_drivers();

	EXPECT_ORDER(test, 1);
	KUNIT_EXPECT_TRUE(test, bound(consumer));
}

/* No driver is expected: no delay. One that comes as a module is no harm. */
static void driver_comes_later(struct kunit *test)
{
	struct platform_device *consumer, *supplier;

	no_more_drivers();
	supplier = supplier_of(test, &consumer);
	KUNIT_EXPECT_TRUE(test, bound(consumer));

	KUNIT_ASSERT_EQ(test, 0, platform_driver_register(&supplier_driver));
	KUNIT_EXPECT_TRUE(test, bound(supplier));
	platform_driver_unregister(&supplier_driver);

	EXPECT_ORDER(test, 1, 0);
	KUNIT_EXPECT_FALSE(test, bound(supplier));
	KUNIT_EXPECT_TRUE(test, bound(consumer));
}

/* The supplier is unregistered while the consumer waits for it. */
static void supplier_removed(struct kunit *test)
{
	struct platform_device *consumer, *supplier = supplier_of(test, &consumer);

	expect_waiting(test, consumer, supplier);
	kunit_platform_device_unregister(test, supplier);

	EXPECT_ORDER(test, 1);
	KUNIT_EXPECT_TRUE(test, bound(consumer));
}

/* The consumer is unregistered while it waits: nothing is left of the link. */
static void consumer_removed(struct kunit *test)
{
	struct platform_device *consumer, *supplier = supplier_of(test, &consumer);

	expect_waiting(test, consumer, supplier);
	kunit_platform_device_unregister(test, consumer);
	KUNIT_EXPECT_TRUE(test, list_empty(&supplier->dev.links.consumers));
	driver(test, &supplier_driver);

	EXPECT_ORDER(test, 0);
}

/* Once tried, the supplier comes and goes without the consumer. */
static void supplier_unbinds(struct kunit *test)
{
	struct platform_device *consumer, *supplier = supplier_of(test, &consumer);

	driver(test, &supplier_driver);
	EXPECT_ORDER(test, 0, 1);

	device_release_driver(&supplier->dev);
	KUNIT_EXPECT_TRUE(test, bound(consumer));

	device_release_driver(&consumer->dev);
	link(test, consumer, supplier);
	KUNIT_EXPECT_EQ(test, 1, device_attach(&consumer->dev));
	KUNIT_EXPECT_TRUE(test, list_empty(&supplier->dev.links.consumers));
	KUNIT_EXPECT_EQ(test, 1, device_attach(&supplier->dev));
	EXPECT_ORDER(test, 0, 1, 1, 0);
}

static void hold_supplier(struct completion *held, struct completion *hold)
{
	init_completion(held);
	init_completion(hold);
	order->held = held;
	order->hold = hold;
}

/*
 * The supplier's driver takes its time, in a thread of its own. That is waited
 * for, whether drivers are still to come or not.
 */
static void async_supplier(struct kunit *test, bool driver_first, int result)
{
	struct platform_device *consumer, *supplier;
	struct completion held, hold;

	no_more_drivers();
	hold_supplier(&held, &hold);
	order->results[0] = result;

	if (driver_first)
		driver(test, &async_supplier_driver);
	supplier = add(test, SUPPLIER, 0);
	if (!driver_first)
		driver(test, &async_supplier_driver);
	consumer = add(test, CONSUMER, 1);
	link(test, consumer, supplier);
	driver(test, &consumer_driver);

	KUNIT_EXPECT_NE(test, 0, wait_for_completion_timeout(&held, PATIENCE));
	expect_waiting(test, consumer, supplier);
	complete_all(&hold);

	EXPECT_ORDER(test, 0, 1);
	KUNIT_EXPECT_EQ(test, !result, bound(supplier));
	KUNIT_EXPECT_TRUE(test, bound(consumer));
}

static void async_supplier_binds(struct kunit *test)
{
	async_supplier(test, false, 0);
}

static void async_supplier_fails(struct kunit *test)
{
	async_supplier(test, false, -EIO);
}

static void async_supplier_is_added(struct kunit *test)
{
	async_supplier(test, true, 0);
}

static void async_supplier_is_added_and_fails(struct kunit *test)
{
	async_supplier(test, true, -EIO);
}

static int not_mine(struct platform_device *pdev)
{
	return -ENODEV;
}

static struct platform_driver other_driver = {
	.probe = not_mine,
	.driver.name = "probe-order-not-mine",
	.id_table = (const struct platform_device_id []){ { SUPPLIER }, { } },
};

/* That another driver does not want it says nothing about the one that is due. */
static void two_drivers(struct kunit *test)
{
	struct platform_device *consumer, *supplier;
	struct completion held, hold;

	no_more_drivers();
	hold_supplier(&held, &hold);
	driver(test, &other_driver);
	driver(test, &async_supplier_driver);
	supplier = add(test, SUPPLIER, 0);
	consumer = add(test, CONSUMER, 1);
	link(test, consumer, supplier);
	driver(test, &consumer_driver);

	KUNIT_EXPECT_NE(test, 0, wait_for_completion_timeout(&held, PATIENCE));
	expect_waiting(test, consumer, supplier);
	complete_all(&hold);

	EXPECT_ORDER(test, 0, 1);
	KUNIT_EXPECT_TRUE(test, bound(supplier));
}

/* Even if it is asked while the other one is scheduled. */
static void two_new_drivers(struct kunit *test)
{
	struct platform_device *supplier = add(test, SUPPLIER, 0);
	struct platform_device *consumer = add(test, CONSUMER, 1);

	no_more_drivers();
	link(test, consumer, supplier);
	driver(test, &async_supplier_driver);
	driver(test, &other_driver);
	driver(test, &consumer_driver);

	EXPECT_ORDER(test, 0, 1);
	KUNIT_EXPECT_TRUE(test, bound(supplier));
}

/* Nor does it if the other one's probe is deferred. */
static void other_driver_defers(struct kunit *test)
{
	struct platform_device *consumer, *supplier = supplier_of(test, &consumer);

	order->results[0] = -EPROBE_DEFER;
	driver(test, &supplier_driver);
	driver(test, &other_driver);
	expect_waiting(test, consumer, supplier);
	driver_deferred_probe_trigger();

	EXPECT_ORDER(test, 0, 0, 1);
}

/* It may not even have begun. */
static void async_supplier_is_scheduled(struct kunit *test)
{
	struct platform_device *supplier = add(test, SUPPLIER, 0);
	struct platform_device *consumer = add(test, CONSUMER, 1);

	no_more_drivers();
	link(test, consumer, supplier);
	driver(test, &async_supplier_driver);
	driver(test, &consumer_driver);

	EXPECT_ORDER(test, 0, 1);
	KUNIT_EXPECT_TRUE(test, bound(consumer));
}

/* Each waits for the one before it, and all of them are probed at once. */
static void chain(struct kunit *test)
{
	struct platform_device *pdevs[CHAIN];
	int i;

	/* The driver meets the last first */
	for (i = CHAIN - 1; i >= 0; i--)
		pdevs[i] = add(test, CONSUMER, i);
	for (i = 1; i < CHAIN; i++)
		link(test, pdevs[i], pdevs[i - 1]);
	driver(test, &async_consumer_driver);

	EXPECT_ORDER(test, 0, 1, 2, 3, 4, 5, 6, 7);
	for (i = 0; i < CHAIN; i++)
		KUNIT_EXPECT_TRUE(test, bound(pdevs[i]));
}

/* Several that never get what they wait for do not keep each other busy. */
static void all_defer(struct kunit *test)
{
	struct platform_device *supplier, *consumer;
	int i;

	no_more_drivers();
	order->defer = true;
	for (i = 0; i < CHAIN; i++) {
		supplier = add(test, SUPPLIER, i);
		consumer = add(test, CONSUMER, CHAIN + i);
		link(test, consumer, supplier);
	}
	driver(test, &async_supplier_driver);
	driver(test, &async_consumer_driver);
	wait_for_device_probe();
	atomic_set(&order->deferred, 0);

	driver_deferred_probe_trigger();
	msleep(10 * A_WHILE_MS);
	/* Once each, and once more where a supplier was tried meanwhile */
	KUNIT_EXPECT_LE(test, atomic_read(&order->deferred), 3 * CHAIN);

	order->defer = false;
	driver_deferred_probe_trigger();
	wait_for_device_probe();
	KUNIT_EXPECT_EQ(test, 2 * CHAIN, order->count);
}

/* One that waits itself is waited for, also after the initcalls. */
static void chain_behind_slow_supplier(struct kunit *test)
{
	struct platform_device *pdevs[CHAIN];
	struct completion held, hold;
	int i;

	no_more_drivers();
	hold_supplier(&held, &hold);
	/* The driver meets them in this order: no other is expected any more */
	pdevs[0] = add(test, SUPPLIER, 0);
	for (i = 1; i < CHAIN; i++) {
		pdevs[i] = add(test, CONSUMER, i);
		link(test, pdevs[i], pdevs[i - 1]);
	}
	driver(test, &async_supplier_driver);
	KUNIT_EXPECT_NE(test, 0, wait_for_completion_timeout(&held, PATIENCE));
	driver(test, &async_consumer_driver);
	msleep(A_WHILE_MS);
	/* Somebody has all of them tried again meanwhile */
	driver_deferred_probe_trigger();
	for (i = 1; i < CHAIN; i++)
		expect_waiting(test, pdevs[i], pdevs[i - 1]);
	complete_all(&hold);

	EXPECT_ORDER(test, 0, 1, 2, 3, 4, 5, 6, 7);
}

/* Each of many is probed once, after their supplier. */
static void many_consumers(struct kunit *test)
{
	struct platform_device *supplier = add(test, SUPPLIER, 0);
	struct platform_device *consumer = NULL;
	int i;

	for (i = 1; i <= CONSUMERS; i++) {
		consumer = add(test, CONSUMER, i);
		link(test, consumer, supplier);
	}
	driver(test, &async_consumer_driver);
	wait_for_device_probe();
	expect_waiting(test, consumer, supplier);
	driver(test, &supplier_driver);

	wait_for_device_probe();
	KUNIT_ASSERT_EQ(test, 1 + CONSUMERS, order->count);
	KUNIT_EXPECT_EQ(test, 0, order->probed[0]);
	KUNIT_EXPECT_EQ(test, CONSUMERS, order->consumer_tries);
	KUNIT_EXPECT_TRUE(test, list_empty(&supplier->dev.links.consumers));
}

/* A consumer of two waits for both. */
static void two_suppliers(struct kunit *test)
{
	struct platform_device *first = add(test, SUPPLIER, 0);
	struct platform_device *second = add(test, "probe-order-other", 2);
	struct platform_device *consumer = add(test, CONSUMER, 1);

	link(test, consumer, first);
	link(test, consumer, second);
	driver(test, &consumer_driver);
	driver(test, &supplier_driver);
	wait_for_device_probe();
	expect_waiting(test, consumer, second);
	no_more_drivers();

	EXPECT_ORDER(test, 0, 1);
}

static void autoprobe(bool on)
{
	struct subsys_private *sp = bus_to_subsys(&platform_bus_type);

	sp->drivers_autoprobe = on;
	subsys_put(sp);
}

/*
 * Bound by hand: the consumer may not before its time; and a probe of the supplier
 * that nobody repeats is a try, even if its driver would rather be deferred.
 */
static void bound_by_hand(struct kunit *test)
{
	struct platform_device *consumer, *supplier = supplier_of(test, &consumer);

	expect_waiting(test, consumer, supplier);
	KUNIT_EXPECT_EQ(test, -EAGAIN,
			device_driver_attach(&consumer_driver.driver, &consumer->dev));

	autoprobe(false);
	driver(test, &supplier_driver);
	autoprobe(true);
	order->results[0] = -EPROBE_DEFER;
	KUNIT_EXPECT_EQ(test, -EAGAIN,
			device_driver_attach(&supplier_driver.driver, &supplier->dev));

	EXPECT_ORDER(test, 0, 1);
	KUNIT_EXPECT_TRUE(test, bound(consumer));
}

/* If the probe was deferred before, it is repeated. */
static void bound_by_hand_while_deferred(struct kunit *test)
{
	struct platform_device *consumer, *supplier = supplier_of(test, &consumer);

	order->results[0] = -EPROBE_DEFER;
	order->results[1] = -EPROBE_DEFER;
	driver(test, &supplier_driver);
	KUNIT_EXPECT_EQ(test, -EAGAIN,
			device_driver_attach(&supplier_driver.driver, &supplier->dev));
	expect_waiting(test, consumer, supplier);
	driver_deferred_probe_trigger();

	EXPECT_ORDER(test, 0, 0, 0, 1);
}

/* That it has waited is forgotten: it comes back with a supplier that it needs. */
static void needs_another(struct kunit *test)
{
	struct platform_device *needed = add(test, BYSTANDER, 2);
	struct platform_device *supplier = add(test, SUPPLIER, 0);
	struct platform_device *consumer = add(test, CONSUMER, 1);

	driver(test, &bystander_driver);
	KUNIT_ASSERT_NOT_NULL(test, device_link_add(&consumer->dev, &needed->dev,
						    DL_FLAG_AUTOPROBE_CONSUMER));
	link(test, consumer, supplier);
	driver(test, &consumer_driver);
	expect_waiting(test, consumer, supplier);

	autoprobe(false);
	driver(test, &supplier_driver);
	KUNIT_EXPECT_EQ(test, 0,
			device_driver_attach(&supplier_driver.driver, &supplier->dev));
	wait_for_device_probe();
	KUNIT_EXPECT_EQ(test, 0,
			device_driver_attach(&consumer_driver.driver, &consumer->dev));
	autoprobe(true);

	device_release_driver(&needed->dev);
	KUNIT_EXPECT_FALSE(test, bound(consumer));
	KUNIT_EXPECT_EQ(test, 1, device_attach(&needed->dev));
	EXPECT_ORDER(test, 0, 1, 1);
	KUNIT_EXPECT_TRUE(test, bound(consumer));
}

/* device_bind_driver() does not wait, and nothing of the link is left. */
static void force_bound(struct kunit *test)
{
	struct platform_device *consumer, *supplier = supplier_of(test, &consumer);

	expect_waiting(test, consumer, supplier);
	scoped_guard(device, &consumer->dev) {
		consumer->dev.driver = &consumer_driver.driver;
		KUNIT_EXPECT_EQ(test, 0, device_bind_driver(&consumer->dev));
	}
	KUNIT_EXPECT_TRUE(test, list_empty(&supplier->dev.links.consumers));
	device_release_driver(&consumer->dev);
}

/* Nobody can be made to wait for himself. */
static void cycles(struct kunit *test)
{
	struct platform_device *a = add(test, CONSUMER, 0);
	struct platform_device *b = add(test, CONSUMER, 1);
	struct platform_device *c = add(test, CONSUMER, 2);
	struct platform_device *child;

	KUNIT_EXPECT_NULL(test, device_link_add(&a->dev, &a->dev,
						DL_FLAG_PROBE_ORDER));
	link(test, b, a);
	link(test, c, b);
	KUNIT_EXPECT_NULL(test, device_link_add(&a->dev, &b->dev,
						DL_FLAG_PROBE_ORDER));
	KUNIT_EXPECT_NULL(test, device_link_add(&a->dev, &c->dev,
						DL_FLAG_PROBE_ORDER));
	KUNIT_EXPECT_NULL(test, device_link_add(&a->dev, &c->dev, 0));
	KUNIT_EXPECT_NULL(test, device_link_add(&a->dev, &c->dev,
						DL_FLAG_STATELESS));

	child = kunit_platform_device_alloc(test, CONSUMER, 3);
	KUNIT_ASSERT_NOT_NULL(test, child);
	child->dev.parent = &c->dev;
	KUNIT_ASSERT_EQ(test, 0, kunit_platform_device_add(test, child));
	KUNIT_EXPECT_NULL(test, device_link_add(&a->dev, &child->dev,
						DL_FLAG_PROBE_ORDER));
	link(test, child, a);
	kunit_platform_device_unregister(test, child);
}

static const u32 other_flags[] = {
	DL_FLAG_STATELESS, DL_FLAG_AUTOREMOVE_CONSUMER, DL_FLAG_PM_RUNTIME,
	DL_FLAG_RPM_ACTIVE, DL_FLAG_AUTOREMOVE_SUPPLIER,
	DL_FLAG_AUTOPROBE_CONSUMER, DL_FLAG_MANAGED, DL_FLAG_SYNC_STATE_ONLY,
	DL_FLAG_INFERRED, DL_FLAG_CYCLE, BIT(11),
};

/* No other flag makes sense beside it, and none is for a bound consumer. */
static void refused(struct kunit *test)
{
	struct platform_device *supplier = add(test, SUPPLIER, 0);
	struct platform_device *consumer = add(test, CONSUMER, 1);
	int i;

	for (i = 0; i < ARRAY_SIZE(other_flags); i++)
		KUNIT_EXPECT_NULL_MSG(test,
				      device_link_add(&consumer->dev, &supplier->dev,
						      DL_FLAG_PROBE_ORDER |
						      other_flags[i]),
				      "flag 0x%x", other_flags[i]);
	KUNIT_EXPECT_TRUE(test, list_empty(&supplier->dev.links.consumers));

	driver(test, &consumer_driver);
	KUNIT_ASSERT_TRUE(test, bound(consumer));
	KUNIT_EXPECT_NULL(test, device_link_add(&consumer->dev, &supplier->dev,
						DL_FLAG_PROBE_ORDER));
	KUNIT_EXPECT_TRUE(test, list_empty(&supplier->dev.links.consumers));
}

/* Together with a managed link, in either order: both are kept. */
static void with_managed(struct kunit *test, bool managed_first)
{
	struct platform_device *supplier = add(test, SUPPLIER, 0);
	struct platform_device *consumer = add(test, CONSUMER, 1);
	struct device_link *dl;

	if (!managed_first)
		link(test, consumer, supplier);
	dl = device_link_add(&consumer->dev, &supplier->dev,
			     DL_FLAG_AUTOPROBE_CONSUMER);
	KUNIT_ASSERT_NOT_NULL(test, dl);
	link(test, consumer, supplier);
	KUNIT_EXPECT_TRUE(test, device_link_test(dl, DL_FLAG_MANAGED));
	KUNIT_EXPECT_TRUE(test, device_link_test(dl, DL_FLAG_PROBE_ORDER));
	KUNIT_EXPECT_TRUE(test,
			  list_is_singular(&supplier->dev.links.consumers));

	driver(test, &consumer_driver);
	order->results[0] = -EIO;
	driver(test, &supplier_driver);
	EXPECT_ORDER(test, 0);
	KUNIT_EXPECT_EQ(test, 1, device_attach(&supplier->dev));
	EXPECT_ORDER(test, 0, 0, 1);
	KUNIT_EXPECT_FALSE(test, device_link_test(dl, DL_FLAG_PROBE_ORDER));
	KUNIT_EXPECT_EQ(test, DL_STATE_ACTIVE, dl->status);

	device_release_driver(&supplier->dev);
	KUNIT_EXPECT_FALSE(test, bound(consumer));
}

static void managed_then_order(struct kunit *test)
{
	with_managed(test, true);
}

static void order_then_managed(struct kunit *test)
{
	with_managed(test, false);
}

/* A stateless link outlives the order, and the order the stateless link. */
static void with_stateless(struct kunit *test)
{
	struct platform_device *consumer, *supplier = supplier_of(test, &consumer);
	struct device_link *dl;

	dl = device_link_add(&consumer->dev, &supplier->dev, DL_FLAG_STATELESS);
	KUNIT_ASSERT_NOT_NULL(test, dl);
	device_link_del(dl);
	expect_waiting(test, consumer, supplier);

	dl = device_link_add(&consumer->dev, &supplier->dev, DL_FLAG_STATELESS);
	KUNIT_ASSERT_NOT_NULL(test, dl);
	driver(test, &supplier_driver);
	EXPECT_ORDER(test, 0, 1);
	KUNIT_EXPECT_TRUE(test,
			  list_is_singular(&supplier->dev.links.consumers));
	KUNIT_EXPECT_FALSE(test, device_link_test(dl, DL_FLAG_PROBE_ORDER));
	device_link_del(dl);
	KUNIT_EXPECT_TRUE(test, list_empty(&supplier->dev.links.consumers));
}

/* Firmware's proxy link keeps to sync_state(), it does not become a managed one. */
static void with_sync_state_only(struct kunit *test)
{
	struct platform_device *consumer, *supplier = supplier_of(test, &consumer);

	KUNIT_ASSERT_NOT_NULL(test, device_link_add(&consumer->dev, &supplier->dev,
						    DL_FLAG_SYNC_STATE_ONLY |
						    DL_FLAG_INFERRED));
	order->results[0] = -EIO;
	driver(test, &supplier_driver);
	EXPECT_ORDER(test, 0, 1);
	KUNIT_EXPECT_TRUE(test, bound(consumer));
	KUNIT_EXPECT_TRUE(test, list_empty(&supplier->dev.links.consumers));
}

/* The order leaves no trace in a link that the consumer's driver adds and drops. */
static void consumers_own_link(struct kunit *test)
{
	struct platform_device *consumer, *supplier = supplier_of(test, &consumer);

	expect_waiting(test, consumer, supplier);
	order->after = &supplier->dev;
	order->own_link = DL_FLAG_AUTOREMOVE_CONSUMER | DL_FLAG_PM_RUNTIME;
	driver(test, &supplier_driver);

	EXPECT_ORDER(test, 0, 1);
	KUNIT_EXPECT_FALSE(test, bound(consumer));
	KUNIT_EXPECT_TRUE(test, list_empty(&supplier->dev.links.consumers));
}

/* As in suspend to disk: nothing is probed, and the order is kept after it. */
static void probing_blocked(struct kunit *test)
{
	struct platform_device *consumer, *supplier = supplier_of(test, &consumer);

	no_more_drivers();
	wait_for_device_probe();
	device_release_driver(&consumer->dev);
	order->count = 0;

	device_block_probing();
	link(test, consumer, supplier);
	driver(test, &supplier_driver);
	KUNIT_EXPECT_EQ(test, -EPROBE_DEFER, device_attach(&consumer->dev));
	KUNIT_EXPECT_EQ(test, 0, order->count);
	device_unblock_probing();

	wait_for_device_probe();
	KUNIT_EXPECT_TRUE(test, bound(supplier));
	KUNIT_EXPECT_TRUE(test, bound(consumer));
	EXPECT_ORDER(test, 0, 1);
}

/* How long modules are waited for, if none of the drivers so far has matched. */
static void time_for_modules(struct kunit *test)
{
	struct platform_device *consumer, *supplier;

	if (!IS_ENABLED(CONFIG_MODULES))
		kunit_skip(test, "there are none");

	driver_initcalls_done = true;
	driver_deferred_probe_timeout = 10;
	supplier = supplier_of(test, &consumer);
	expect_waiting(test, consumer, supplier);

	/* Without end: an order is not worth that */
	driver_deferred_probe_timeout = -1;
	driver_deferred_probe_trigger();

	EXPECT_ORDER(test, 1);
	KUNIT_EXPECT_TRUE(test, bound(consumer));
}

/* A bus that asks adds no link where there is nothing to wait for. */
static void asked_by_probe(struct kunit *test)
{
	struct platform_device *supplier = add(test, SUPPLIER, 0);
	struct platform_device *consumer = add(test, CONSUMER, 1);
	struct completion held, hold;

	order->after = &supplier->dev;

	/* No driver so far, and none is waited for */
	driver(test, &consumer_driver);
	EXPECT_ORDER(test, 1);
	KUNIT_EXPECT_TRUE(test, list_empty(&supplier->dev.links.consumers));

	/* Being tried */
	device_release_driver(&consumer->dev);
	hold_supplier(&held, &hold);
	driver(test, &async_supplier_driver);
	KUNIT_EXPECT_NE(test, 0, wait_for_completion_timeout(&held, PATIENCE));
	KUNIT_EXPECT_EQ(test, 0, device_attach(&consumer->dev));
	KUNIT_EXPECT_TRUE(test,
			  list_is_singular(&supplier->dev.links.consumers));
	KUNIT_EXPECT_NOT_NULL(test,
			      strstr(consumer->dev.p->deferred_probe_reason ?: "",
				     dev_name(&supplier->dev)));
	complete_all(&hold);
	EXPECT_ORDER(test, 1, 0, 1);

	/* Tried */
	device_release_driver(&consumer->dev);
	device_release_driver(&supplier->dev);
	KUNIT_EXPECT_EQ(test, 1, device_attach(&consumer->dev));
	EXPECT_ORDER(test, 1, 0, 1, 1);
	KUNIT_EXPECT_TRUE(test, list_empty(&supplier->dev.links.consumers));
}

/* A deferred supplier that the bus does not try again has been tried. */
static void no_autoprobe(struct kunit *test)
{
	struct platform_device *consumer, *supplier = supplier_of(test, &consumer);

	order->results[0] = -EPROBE_DEFER;
	driver(test, &supplier_driver);
	expect_waiting(test, consumer, supplier);

	autoprobe(false);
	driver_deferred_probe_trigger();
	wait_for_device_probe();
	autoprobe(true);
	KUNIT_EXPECT_EQ(test, 1, device_attach(&consumer->dev));

	EXPECT_ORDER(test, 0, 1);
}

static struct kunit_case probe_order_cases[] = {
	KUNIT_CASE(supplier_binds),
	KUNIT_CASE(others_bind),
	KUNIT_CASE_PARAM(supplier_fails, error_gen_params),
	KUNIT_CASE(managed_supplier_fails),
	KUNIT_CASE(supplier_defers),
	KUNIT_CASE(supplier_defers_and_fails),
	KUNIT_CASE(supplier_defers_for_ever),
	KUNIT_CASE(both_defer),
	KUNIT_CASE(deferring_driver_goes),
	KUNIT_CASE(no_driver),
	KUNIT_CASE(driver_comes_later),
	KUNIT_CASE(supplier_removed),
	KUNIT_CASE(consumer_removed),
	KUNIT_CASE(supplier_unbinds),
	KUNIT_CASE(async_supplier_binds),
	KUNIT_CASE(async_supplier_fails),
	KUNIT_CASE(async_supplier_is_added),
	KUNIT_CASE(async_supplier_is_added_and_fails),
	KUNIT_CASE(async_supplier_is_scheduled),
	KUNIT_CASE(two_drivers),
	KUNIT_CASE(two_new_drivers),
	KUNIT_CASE(other_driver_defers),
	KUNIT_CASE(chain),
	KUNIT_CASE(chain_behind_slow_supplier),
	KUNIT_CASE(all_defer),
	KUNIT_CASE(many_consumers),
	KUNIT_CASE(two_suppliers),
	KUNIT_CASE(bound_by_hand),
	KUNIT_CASE(bound_by_hand_while_deferred),
	KUNIT_CASE(force_bound),
	KUNIT_CASE(needs_another),
	KUNIT_CASE(cycles),
	KUNIT_CASE(refused),
	KUNIT_CASE(managed_then_order),
	KUNIT_CASE(order_then_managed),
	KUNIT_CASE(with_stateless),
	KUNIT_CASE(with_sync_state_only),
	KUNIT_CASE(consumers_own_link),
	KUNIT_CASE(probing_blocked),
	KUNIT_CASE(time_for_modules),
	KUNIT_CASE(asked_by_probe),
	KUNIT_CASE(no_autoprobe),
	{ }
};

static struct kunit_suite probe_order_suite = {
	.name = "probe_order",
	.init = probe_order_init,
	.exit = probe_order_exit,
	.test_cases = probe_order_cases,
};

kunit_test_suite(probe_order_suite);

MODULE_DESCRIPTION("KUnit tests of device links for the order of probes");
MODULE_LICENSE("GPL");
