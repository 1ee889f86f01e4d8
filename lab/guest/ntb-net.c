// SPDX-License-Identifier: GPL-2.0
/* Ping and TCP between the network interfaces of two NTB endpoints, each in a
 * network namespace of its own, so that every packet takes the windows.
 *
 *	ntb-net BDF-A BDF-B BYTES
 *
 * B's side receives BYTES and returns how many came and their checksum; A's
 * side compares. The throughput goes to stdout.
 */

#include <arpa/inet.h>
#include <dirent.h>
#include <errno.h>
#include <limits.h>
#include <linux/rtnetlink.h>
#include <net/if.h>
#include <netinet/ip_icmp.h>
#include <sched.h>
#include <signal.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "guest.h"

#define ADDRESS_A	"10.9.8.1"
#define ADDRESS_B	"10.9.8.2"
#define PORT		5000
#define SECONDS		20	/* that one step may take */
#define PINGS		20
#define MTU		1500

struct result {
	uint64_t bytes, sum;
};

static void add_to(struct result *r, const uint8_t *data, size_t size)
{
	r->bytes += size;
	for (size_t i = 0; i < size; i++)
		r->sum = (r->sum ^ data[i]) * 0x100000001b3ull;
}

/* The name of the interface below the PCI device @bdf. */
static void find_interface(const char *bdf, char *name)
{
	DIR *dir = opendir("/sys/class/net");
	struct dirent *entry;

	if (!dir)
		die("/sys/class/net: %s", strerror(errno));
	while ((entry = readdir(dir))) {
		char path[PATH_MAX], real[PATH_MAX];

		snprintf(path, sizeof(path), "/sys/class/net/%s",
			 entry->d_name);
		if (entry->d_name[0] == '.' || !realpath(path, real) ||
		    !strstr(real, bdf))
			continue;
		snprintf(name, IFNAMSIZ, "%.15s", entry->d_name);
		closedir(dir);
		return;
	}
	die("%s has no network interface", bdf);
}

static void set_timeouts(int fd)
{
	struct timeval limit = { .tv_sec = SECONDS };

	setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof(limit));
	setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof(limit));
}

/* Moves an interface of this namespace into that of the process @pid. */
static void move_interface(const char *name, uint32_t pid)
{
	struct {
		struct nlmsghdr header;
		struct ifinfomsg info;
		struct rtattr attr;
		uint32_t pid;
	} request = {
		.header = {
			.nlmsg_len = sizeof(request),
			.nlmsg_type = RTM_NEWLINK,
			.nlmsg_flags = NLM_F_REQUEST | NLM_F_ACK,
		},
		.info = { .ifi_index = if_nametoindex(name) },
		.attr = { .rta_len = RTA_LENGTH(sizeof(pid)),
			  .rta_type = IFLA_NET_NS_PID },
		.pid = pid,
	};
	struct {
		struct nlmsghdr header;
		struct nlmsgerr error;
		char rest[256];
	} answer;
	int fd = socket(AF_NETLINK, SOCK_RAW, NETLINK_ROUTE);

	if (fd < 0)
		die("netlink: %s", strerror(errno));
	set_timeouts(fd);
	if (send(fd, &request, sizeof(request), 0) < 0 ||
	    recv(fd, &answer, sizeof(answer), 0) < 0)
		die("moving %s: %s", name, strerror(errno));
	if (answer.error.error)
		die("moving %s: %s", name, strerror(-answer.error.error));
	close(fd);
}

static struct sockaddr_in address(const char *text, uint16_t port)
{
	struct sockaddr_in in = { .sin_family = AF_INET,
				  .sin_port = htons(port) };

	inet_pton(AF_INET, text, &in.sin_addr);
	return in;
}

static void control(int fd, unsigned long what, struct ifreq *request)
{
	if (ioctl(fd, what, request))
		die("%s: ioctl %#lx: %s", request->ifr_name, what,
		    strerror(errno));
}

static void configure(const char *name, const char *text)
{
	int fd = socket(AF_INET, SOCK_DGRAM, 0);
	struct ifreq request = { 0 };
	struct sockaddr_in in;

	strncpy(request.ifr_name, name, IFNAMSIZ - 1);
	request.ifr_mtu = MTU;
	control(fd, SIOCSIFMTU, &request);
	in = address(text, 0);
	memcpy(&request.ifr_addr, &in, sizeof(in));
	control(fd, SIOCSIFADDR, &request);
	in = address("255.255.255.0", 0);
	memcpy(&request.ifr_netmask, &in, sizeof(in));
	control(fd, SIOCSIFNETMASK, &request);
	request.ifr_flags = IFF_UP | IFF_RUNNING;
	control(fd, SIOCSIFFLAGS, &request);
	close(fd);
}

/* B's side: one connection, answered with what came. */
static void serve(int listener)
{
	struct result got = { 0 };
	uint8_t data[16384];
	ssize_t size;
	int fd;

	fd = accept(listener, NULL, NULL);
	if (fd < 0)
		die("accept: %s", strerror(errno));
	set_timeouts(fd);
	while ((size = read(fd, data, sizeof(data))) > 0)
		add_to(&got, data, size);
	if (size < 0)
		die("receiving: %s", strerror(errno));
	if (write(fd, &got, sizeof(got)) != sizeof(got))
		die("answering: %s", strerror(errno));
	close(fd);
}

static uint16_t ip_checksum(const uint16_t *data, size_t words)
{
	uint32_t sum = 0;

	while (words--)
		sum += *data++;
	sum = (sum >> 16) + (sum & 0xffff);
	return ~(sum + (sum >> 16));
}

/* One echo is enough; the first ones may be lost while the link comes up. */
static void ping(void)
{
	int fd = socket(AF_INET, SOCK_RAW, IPPROTO_ICMP);
	struct sockaddr_in to = address(ADDRESS_B, 0);
	struct timeval limit = { .tv_sec = 1 };

	if (fd < 0)
		die("icmp: %s", strerror(errno));
	setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof(limit));
	for (int i = 0; i < PINGS; i++) {
		struct icmphdr echo = { .type = ICMP_ECHO,
					.un.echo.id = getpid() };
		struct {
			struct iphdr ip;
			struct icmphdr icmp;
		} reply;

		echo.un.echo.sequence = i;
		echo.checksum = ip_checksum((uint16_t *)&echo,
					    sizeof(echo) / 2);
		sendto(fd, &echo, sizeof(echo), 0, (void *)&to, sizeof(to));
		while (recv(fd, &reply, sizeof(reply), 0) > 0) {
			if (reply.icmp.type == ICMP_ECHOREPLY &&
			    reply.icmp.un.echo.id == echo.un.echo.id) {
				close(fd);
				return;
			}
		}
	}
	die("no answer to %d pings", PINGS);
}

static void transfer(size_t bytes)
{
	struct sockaddr_in to = address(ADDRESS_B, PORT);
	int fd = socket(AF_INET, SOCK_STREAM, 0);
	struct result sent = { 0 }, got = { 0 };
	struct timespec start, end;
	uint8_t data[16384];
	double seconds;

	set_timeouts(fd);
	if (connect(fd, (void *)&to, sizeof(to)))
		die("connect: %s", strerror(errno));
	clock_gettime(CLOCK_MONOTONIC, &start);
	srandom(bytes);
	while (sent.bytes < bytes) {
		size_t size = bytes - sent.bytes;

		if (size > sizeof(data))
			size = sizeof(data);
		for (size_t i = 0; i < size; i++)
			data[i] = random();
		if (send(fd, data, size, MSG_WAITALL) != (ssize_t)size)
			die("sending: %s", strerror(errno));
		add_to(&sent, data, size);
	}
	shutdown(fd, SHUT_WR);
	if (recv(fd, &got, sizeof(got), MSG_WAITALL) != sizeof(got))
		die("no result from the other side: %s", strerror(errno));
	clock_gettime(CLOCK_MONOTONIC, &end);
	close(fd);
	if (got.bytes != sent.bytes || got.sum != sent.sum)
		die("sent %llu bytes with checksum %llx, received %llu with %llx",
		    (unsigned long long)sent.bytes,
		    (unsigned long long)sent.sum,
		    (unsigned long long)got.bytes,
		    (unsigned long long)got.sum);
	seconds = end.tv_sec - start.tv_sec +
		  (end.tv_nsec - start.tv_nsec) / 1e9;
	printf("%zu bytes in %.2f s, %.0f KiB/s\n", bytes, seconds,
	       bytes / seconds / 1024);
}

static pid_t start_b(const char *name)
{
	int ready[2], moved[2];
	char byte = 0;
	pid_t child;

	if (pipe(ready) || pipe(moved))
		die("pipe: %s", strerror(errno));
	child = fork();
	if (child < 0)
		die("fork: %s", strerror(errno));
	if (!child) {
		struct sockaddr_in at = address(ADDRESS_B, PORT);
		int listener;

		prctl(PR_SET_PDEATHSIG, SIGKILL);
		if (unshare(CLONE_NEWNET))
			die("a network namespace: %s", strerror(errno));
		if (write(ready[1], &byte, 1) != 1 ||
		    read(moved[0], &byte, 1) != 1)
			die("the other side is gone");
		configure(name, ADDRESS_B);
		listener = socket(AF_INET, SOCK_STREAM, 0);
		set_timeouts(listener);
		if (bind(listener, (void *)&at, sizeof(at)) ||
		    listen(listener, 1))
			die("listen: %s", strerror(errno));
		if (write(ready[1], &byte, 1) != 1)
			die("the other side is gone");
		serve(listener);
		/* The interface stays here until the answer has left */
		pause();
	}
	close(ready[1]);
	if (read(ready[0], &byte, 1) != 1)
		die("side B did not start");
	move_interface(name, child);
	if (write(moved[1], &byte, 1) != 1 || read(ready[0], &byte, 1) != 1)
		die("side B did not listen");
	return child;
}

int main(int argc, char **argv)
{
	char a[IFNAMSIZ], b[IFNAMSIZ];
	pid_t child;

	if (argc != 4)
		die("usage: ntb-net BDF-A BDF-B BYTES");
	find_interface(argv[1], a);
	find_interface(argv[2], b);
	child = start_b(b);
	configure(a, ADDRESS_A);
	ping();
	transfer(strtoul(argv[3], NULL, 0));
	kill(child, SIGKILL);
	return 0;
}
