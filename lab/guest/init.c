// SPDX-License-Identifier: GPL-2.0
/*
 * PID 1 of the guest: mounts what the programs need, then serves the harness
 * on the serial port that the kernel's command line names as "agent=".
 *
 * A request is one line of fields that tabs separate:
 *	run <seconds> <program> [argument...]
 *	poweroff
 * The answer to "run" is what the program wrote, line by line, behind "| "
 * (stdout) or "! " (stderr), and last one line "= exit N", "= signal N" or
 * "= timeout".
 *
 * Not served: two programs at a time, and programs that read their stdin.
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/reboot.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <termios.h>
#include <time.h>
#include <unistd.h>

#include "guest.h"

#define MAX_ARGS	64

struct stream {
	const char *mark;
	int fd;
	size_t used;
	char line[1024];
};

static FILE *requests, *answers;

static void mount_all(void)
{
	static const struct {
		const char *type, *where;
	} mounts[] = {
		{ "proc", "/proc" },
		{ "sysfs", "/sys" },
		{ "devtmpfs", "/dev" },
		{ "debugfs", "/sys/kernel/debug" },
		{ "tmpfs", "/tmp" },
	};

	for (size_t i = 0; i < sizeof(mounts) / sizeof(mounts[0]); i++)
		if (mount(mounts[i].type, mounts[i].where, mounts[i].type,
			  0, NULL))
			die("mount %s: %s", mounts[i].where, strerror(errno));
}

static void open_port(void)
{
	const char *name = getenv("agent");
	struct termios raw;
	char path[64];
	int fd;

	if (!name)
		die("no agent=<tty> on the kernel's command line");
	snprintf(path, sizeof(path), "/dev/%s", name);
	fd = open(path, O_RDWR | O_NOCTTY | O_CLOEXEC);
	if (fd < 0)
		die("%s: %s", path, strerror(errno));
	if (tcgetattr(fd, &raw))
		die("%s is no terminal: %s", path, strerror(errno));
	cfmakeraw(&raw);
	cfsetspeed(&raw, B115200);
	tcsetattr(fd, TCSANOW, &raw);
	requests = fdopen(fd, "r");
	answers = fdopen(fcntl(fd, F_DUPFD_CLOEXEC, 0), "w");
	if (!requests || !answers)
		die("%s: %s", path, strerror(errno));
}

static void answer(const char *fmt, ...)
{
	va_list args;

	va_start(args, fmt);
	vfprintf(answers, fmt, args);
	va_end(args);
	fputc('\n', answers);
	fflush(answers);
}

static void emit(struct stream *s)
{
	if (s->used)
		answer("%s %.*s", s->mark, (int)s->used, s->line);
	s->used = 0;
}

/* Returns false at the end of the stream. */
static bool forward(struct stream *s)
{
	char buffer[512];
	ssize_t n = read(s->fd, buffer, sizeof(buffer));

	for (ssize_t i = 0; i < n; i++) {
		if (buffer[i] == '\n' || s->used == sizeof(s->line))
			emit(s);
		if (buffer[i] != '\n')
			s->line[s->used++] = buffer[i];
	}
	if (n > 0)
		return true;
	emit(s);
	close(s->fd);
	s->fd = -1;
	return false;
}

static long now_ms(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

static pid_t spawn(char **argv, int out, int err)
{
	pid_t child = fork();
	char path[256];

	if (child)
		return child;
	setsid();
	dup2(open("/dev/null", O_RDONLY), 0);
	dup2(out, 1);
	dup2(err, 2);
	snprintf(path, sizeof(path), "/bin/%s", argv[0]);
	execv(path, argv);
	fprintf(stderr, "%s: %s\n", path, strerror(errno));
	_exit(127);
}

static void run(long seconds, char **argv)
{
	struct stream streams[2] = { { .mark = "|" }, { .mark = "!" } };
	long end = now_ms() + seconds * 1000;
	int out[2], err[2], status, left = 2;
	bool timeout = false;
	pid_t child;

	if (pipe2(out, O_CLOEXEC) || pipe2(err, O_CLOEXEC))
		die("pipe: %s", strerror(errno));
	child = spawn(argv, out[1], err[1]);
	if (child < 0)
		die("fork: %s", strerror(errno));
	close(out[1]);
	close(err[1]);
	streams[0].fd = out[0];
	streams[1].fd = err[0];

	while (left) {
		struct pollfd fds[2];
		long wait = end - now_ms();

		for (int i = 0; i < 2; i++)
			fds[i] = (struct pollfd){ streams[i].fd, POLLIN, 0 };
		if (wait <= 0 || !poll(fds, 2, wait)) {
			timeout = true;
			break;
		}
		for (int i = 0; i < 2; i++)
			if (fds[i].revents && !forward(&streams[i]))
				left--;
	}
	/* A program that closed its output may still run. */
	while (!timeout && !waitpid(child, &status, WNOHANG)) {
		timeout = now_ms() >= end;
		usleep(10000);
	}
	if (timeout) {
		kill(-child, SIGKILL);
		for (int i = 0; i < 2; i++) {
			emit(&streams[i]);
			if (streams[i].fd >= 0)
				close(streams[i].fd);
		}
		/* Not reaped here: it may be stuck in the kernel for good. */
		answer("= timeout");
	} else if (WIFSIGNALED(status)) {
		answer("= signal %d", WTERMSIG(status));
	} else {
		answer("= exit %d", WEXITSTATUS(status));
	}
	while (waitpid(-1, NULL, WNOHANG) > 0)
		;
}

static void serve(char *line)
{
	char *argv[MAX_ARGS + 1], *field;
	int argc = 0;

	line[strcspn(line, "\n")] = '\0';
	while ((field = strsep(&line, "\t")) && argc < MAX_ARGS)
		argv[argc++] = field;
	argv[argc] = NULL;

	if (!strcmp(argv[0], "poweroff")) {
		sync();
		reboot(RB_POWER_OFF);
	} else if (!strcmp(argv[0], "run") && argc >= 3 && !field) {
		run(atol(argv[1]), argv + 2);
	} else {
		answer("! init: bad request: %s", argv[0]);
		answer("= exit 126");
	}
}

int main(void)
{
	char line[8192];

	mount_all();
	open_port();
	answer("= ready");
	while (fgets(line, sizeof(line), requests))
		serve(line);
	reboot(RB_POWER_OFF);
	return 0;
}
