// SPDX-License-Identifier: GPL-2.0
/*
 * Records the kernel's uevents, and when IOMMU groups got their members.
 *
 *	uevents start	listens, in the background
 *	uevents stop	prints what came since then, as it came, one line each:
 *		event <seqnum> <action> <subsystem> <devpath> <group>
 *		log emit <devpath>
 *		log group <bdf> <group>
 * The fields are separated by tabs. <group> of an event is what the link
 * iommu_group of <devpath> named when the event was read, "-" if nothing.
 *
 * That look comes after the event was sent: a link that is made a moment late
 * may be there by then. The lines "log" do not have this gap. They are from the
 * kernel log, in the order in which the kernel wrote them: "emit" as it builds
 * an event of @devpath and "group" when it has made the link of @bdf. Between
 * lines of "event" and of "log" the order means nothing.
 *
 * Needs CONFIG_DYNAMIC_DEBUG for "emit".
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/netlink.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "guest.h"

#define RECORD		"/tmp/uevents"
#define RECORD_DONE	"/tmp/uevents.done"
#define DEBUG_CONTROL	"/sys/kernel/debug/dynamic_debug/control"
/* Any object of ours to send: an event made by hand ends the record */
#define END_SENDER	"/sys/bus/pci/uevent"
#define END_UUID	"5a0c1f5e-7d1b-4e0b-9b6e-2f6b2b0f7c11"
#define KERNEL_EVENTS	1	/* netlink group; udev's own is 2 */
#define QUEUE_BYTES	(16 << 20)
#define STOP_SECONDS	20

static FILE *record;

static const char *value_of(const char *key, const char *env, size_t size)
{
	size_t len = strlen(key);

	for (const char *s = env; s < env + size; s += strlen(s) + 1)
		if (!strncmp(s, key, len) && s[len] == '=')
			return s + len + 1;
	return "";
}

/* Returns false at the event that ends the record. */
static bool take_event(int events)
{
	char env[8192], action[32], devpath[1024];
	const char *group;
	ssize_t size = recv(events, env, sizeof(env) - 1, 0);

	if (size < 0) {
		/* ENOBUFS: some did not fit into the queue */
		fprintf(record, "lost\tevents: %s\n", strerror(errno));
		return errno == ENOBUFS || errno == EINTR;
	}
	env[size] = '\0';
	if (!strcmp(value_of("SYNTH_UUID", env, size), END_UUID))
		return false;
	snprintf(action, sizeof(action), "%s", value_of("ACTION", env, size));
	snprintf(devpath, sizeof(devpath), "%s",
		 value_of("DEVPATH", env, size));
	group = link_name("/sys%s/iommu_group", devpath);
	fprintf(record, "event\t%s\t%s\t%s\t%s\t%s\n",
		value_of("SEQNUM", env, size), action,
		value_of("SUBSYSTEM", env, size), devpath,
		*group ? group : "-");
	return true;
}

/* "...: path = '/devices/...'" or "...: Adding to iommu group 7" */
static void take_line(char *line)
{
	static const char emit[] = ": path = '", group[] = ": Adding to iommu group ";
	char *text, *end;

	text = strstr(line, emit);
	if (text) {
		text += strlen(emit);
		text[strcspn(text, "'\n")] = '\0';
		fprintf(record, "log\temit\t%s\n", text);
		return;
	}
	text = strstr(line, group);
	if (text) {
		*text = '\0';
		text += strlen(group);
		text[strcspn(text, "\n")] = '\0';
		/* "<driver or bus> <device>" */
		end = strrchr(line, ' ');
		fprintf(record, "log\tgroup\t%s\t%s\n", end ? end + 1 : line,
			text);
	}
}

/* All that the log has now. */
static void take_log(int log)
{
	char line[8192];
	ssize_t size;

	while ((size = read(log, line, sizeof(line) - 1)) != 0) {
		if (size < 0 && errno == EAGAIN)
			return;
		if (size < 0) {
			/* EPIPE: overwritten before it was read */
			fprintf(record, "lost\tlog: %s\n", strerror(errno));
			if (errno != EPIPE)
				return;
			continue;
		}
		line[size] = '\0';
		take_line(line);
	}
}

static void listen_to(int events, int log)
{
	struct pollfd fds[] = { { events, POLLIN, 0 }, { log, POLLIN, 0 } };
	bool more = true;

	while (more && poll(fds, 2, -1) > 0) {
		if (fds[0].revents)
			more = take_event(events);
		if (fds[1].revents)
			take_log(log);
	}
	/* The lines about an event are older than the event itself. */
	take_log(log);
	fclose(record);
	rename(RECORD, RECORD_DONE);
}

static int open_events(void)
{
	struct sockaddr_nl address = {
		.nl_family = AF_NETLINK,
		.nl_groups = KERNEL_EVENTS,
	};
	int size = QUEUE_BYTES;
	int fd = socket(AF_NETLINK, SOCK_DGRAM | SOCK_CLOEXEC,
			NETLINK_KOBJECT_UEVENT);

	if (fd < 0 ||
	    setsockopt(fd, SOL_SOCKET, SO_RCVBUFFORCE, &size, sizeof(size)) ||
	    bind(fd, (struct sockaddr *)&address, sizeof(address)))
		die("netlink socket for uevents: %s", strerror(errno));
	return fd;
}

static void start(void)
{
	int events, log, null;
	pid_t child;

	if (!access(RECORD, F_OK))
		die("uevents are recorded already");
	write_file(DEBUG_CONTROL, "func fill_kobj_path +p");
	events = open_events();
	log = open("/dev/kmsg", O_RDONLY | O_NONBLOCK | O_CLOEXEC);
	if (log < 0 || lseek(log, 0, SEEK_END) < 0)
		die("/dev/kmsg: %s", strerror(errno));
	unlink(RECORD_DONE);
	record = fopen(RECORD, "we");
	if (!record)
		die(RECORD ": %s", strerror(errno));
	fflush(stdout);

	child = fork();
	if (child < 0)
		die("fork: %s", strerror(errno));
	if (child)
		return;
	/* The caller waits for the end of what we write, and so do pipes. */
	setsid();
	null = open("/dev/null", O_RDWR);
	for (int fd = 0; fd < 3; fd++)
		dup2(null, fd);
	listen_to(events, log);
	exit(0);
}

static void stop(void)
{
	const struct timespec pause = { .tv_nsec = 20 * 1000 * 1000 };
	char line[2048];
	FILE *done = NULL;

	if (access(RECORD, F_OK))
		die("no uevents are being recorded: 'uevents start' first");
	write_file(END_SENDER, "change " END_UUID);
	for (int i = 0; !done && i < STOP_SECONDS * 50; i++) {
		done = fopen(RECORD_DONE, "re");
		if (!done)
			nanosleep(&pause, NULL);
	}
	if (!done)
		die("the recorder did not end within %d s", STOP_SECONDS);
	write_file(DEBUG_CONTROL, "func fill_kobj_path -p");
	while (fgets(line, sizeof(line), done))
		fputs(line, stdout);
	fclose(done);
	unlink(RECORD_DONE);
}

int main(int argc, char **argv)
{
	const char *verb = argc == 2 ? argv[1] : "";

	if (!strcmp(verb, "start"))
		start();
	else if (!strcmp(verb, "stop"))
		stop();
	else
		die("usage: uevents start|stop");
	return 0;
}
