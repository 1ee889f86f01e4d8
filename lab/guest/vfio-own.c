// SPDX-License-Identifier: GPL-2.0
/*
 * Owns QEMU's edu device, and with it its IOMMU group, from user space.
 *
 *	vfio-own start BDF group|iommufd
 *	vfio-own copy
 *	vfio-own stop
 *
 * "start" leaves a process behind that has memory mapped for the device, which
 * must be bound to vfio-pci; "copy" has the device read from that memory and
 * write back, and compares; "stop" ends it.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/pci_regs.h>
#include <linux/vfio.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "guest.h"

#define REQUESTS	"/tmp/vfio-own.requests"
#define ANSWERS		"/tmp/vfio-own.answers"

/* Where the device finds our memory, and how much of it there is */
#define IOVA		0x100000
#define LENGTH		0x2000
#define HALF		(LENGTH / 2)

/* QEMU's docs/specs/edu.rst */
#define EDU_DMA_SOURCE	0x80
#define EDU_DMA_TARGET	0x88
#define EDU_DMA_COUNT	0x90
#define EDU_DMA_COMMAND	0x98
#define EDU_DMA_START	1
#define EDU_DMA_TO_RAM	2
#define EDU_BUFFER	0x40000
#define EDU_BAR_LENGTH	0x100000
#define EDU_TRIES	300

/* What linux/iommufd.h of the host may lack */
struct ioas_alloc {
	uint32_t size, flags, id;
};

struct ioas_map {
	uint32_t size, flags, id, reserved;
	uint64_t memory, length, iova;
};

struct bind_iommufd {
	uint32_t size, flags;
	int32_t iommufd;
	uint32_t device;
};

struct attach_iommufd {
	uint32_t size, flags, id, pasid;
};

#define ATTACH_SIZE	12	/* without the PASID */
#define IOAS_ALLOC	_IO(';', 0x81)
#define IOAS_MAP	_IO(';', 0x85)
#define IOAS_MAP_FLAGS	7	/* at this IOVA, write, read */
#define BIND_IOMMUFD	_IO(';', 118)
#define ATTACH_IOMMUFD	_IO(';', 119)

/* Closed in this order, the device first */
static int device, owner = -1, file;

static int must_open(const char *path, int flags)
{
	int fd = open(path, flags | O_CLOEXEC);

	if (fd < 0)
		die("%s: %s", path, strerror(errno));
	return fd;
}

static int must(const char *what, int result)
{
	if (result < 0)
		die("%s: %s", what, strerror(errno));
	return result;
}

static void own_group(const char *bdf, uint8_t *memory)
{
	struct vfio_iommu_type1_dma_map map = {
		.argsz = sizeof(map),
		.flags = VFIO_DMA_MAP_FLAG_READ | VFIO_DMA_MAP_FLAG_WRITE,
		.vaddr = (uintptr_t)memory, .iova = IOVA, .size = LENGTH,
	};
	char path[64];

	snprintf(path, sizeof(path), "/dev/vfio/%s",
		 link_name(PCI_DEVICES "/%s/iommu_group", bdf));
	owner = must_open(path, O_RDWR);
	file = must_open("/dev/vfio/vfio", O_RDWR);
	must("container", ioctl(owner, VFIO_GROUP_SET_CONTAINER, &file));
	must("type 1", ioctl(file, VFIO_SET_IOMMU, VFIO_TYPE1v2_IOMMU));
	must("map", ioctl(file, VFIO_IOMMU_MAP_DMA, &map));
	device = must("device", ioctl(owner, VFIO_GROUP_GET_DEVICE_FD, bdf));
}

static void own_iommufd(const char *bdf, uint8_t *memory)
{
	struct ioas_alloc ioas = { .size = sizeof(ioas) };
	struct ioas_map map = {
		.size = sizeof(map), .flags = IOAS_MAP_FLAGS,
		.memory = (uintptr_t)memory, .length = LENGTH, .iova = IOVA,
	};
	struct bind_iommufd bind = { .size = sizeof(bind) };
	struct attach_iommufd attach = { .size = ATTACH_SIZE };
	char path[sizeof("/dev/vfio/devices/") + NAME_MAX];
	struct dirent *entry;
	DIR *folder;

	snprintf(path, sizeof(path), PCI_DEVICES "/%s/vfio-dev", bdf);
	folder = opendir(path);
	if (!folder)
		die("%s: %s", path, strerror(errno));
	while ((entry = readdir(folder)) && entry->d_name[0] == '.')
		;
	if (!entry)
		die("%s is empty", path);
	snprintf(path, sizeof(path), "/dev/vfio/devices/%s", entry->d_name);
	closedir(folder);

	file = must_open("/dev/iommu", O_RDWR);
	device = must_open(path, O_RDWR);
	bind.iommufd = file;
	must("bind", ioctl(device, BIND_IOMMUFD, &bind));
	must("IOAS", ioctl(file, IOAS_ALLOC, &ioas));
	map.id = ioas.id;
	must("map", ioctl(file, IOAS_MAP, &map));
	attach.id = ioas.id;
	must("attach", ioctl(device, ATTACH_IOMMUFD, &attach));
}

static uint64_t region(uint32_t index)
{
	struct vfio_region_info info = { .argsz = sizeof(info), .index = index };

	must("region", ioctl(device, VFIO_DEVICE_GET_REGION_INFO, &info));
	return info.offset;
}

static void *registers(void)
{
	uint16_t command = PCI_COMMAND_MEMORY | PCI_COMMAND_MASTER;
	void *bar;

	if (pwrite(device, &command, sizeof(command),
		   region(VFIO_PCI_CONFIG_REGION_INDEX) + PCI_COMMAND) !=
	    sizeof(command))
		die("config space: %s", strerror(errno));
	bar = mmap(NULL, EDU_BAR_LENGTH, PROT_READ | PROT_WRITE, MAP_SHARED, device,
		   region(VFIO_PCI_BAR0_REGION_INDEX));
	if (bar == MAP_FAILED)
		die("BAR 0: %s", strerror(errno));
	return bar;
}

static bool dma(volatile uint8_t *regs, uint64_t from, uint64_t to, int command)
{
	int tries = EDU_TRIES;

	/* What the CPU wrote is for the device to read, and the reverse */
	__sync_synchronize();
	*(volatile uint64_t *)(regs + EDU_DMA_SOURCE) = from;
	*(volatile uint64_t *)(regs + EDU_DMA_TARGET) = to;
	*(volatile uint64_t *)(regs + EDU_DMA_COUNT) = HALF;
	*(volatile uint64_t *)(regs + EDU_DMA_COMMAND) = command | EDU_DMA_START;
	while (*(volatile uint64_t *)(regs + EDU_DMA_COMMAND) & EDU_DMA_START) {
		if (!tries--)
			return false;
		usleep(10000);
	}
	__sync_synchronize();
	return true;
}

static const char *copy(volatile uint8_t *regs, uint8_t *memory)
{
	static uint8_t seed;
	size_t i;

	seed++;
	for (i = 0; i < HALF; i++) {
		memory[i] = i * 7 + seed;
		memory[HALF + i] = 0;
	}
	if (!dma(regs, IOVA, EDU_BUFFER, 0) ||
	    !dma(regs, EDU_BUFFER, IOVA + HALF, EDU_DMA_TO_RAM))
		return "the device does not finish\n";
	return memcmp(memory, memory + HALF, HALF) ? "the copy differs\n" : "same\n";
}

static void release(void *regs)
{
	munmap(regs, EDU_BAR_LENGTH);
	close(device);
	if (owner >= 0)
		close(owner);
	close(file);
}

static void serve(void *regs, uint8_t *memory)
{
	char request = 0;

	while (request != 's') {
		const char *answer = "stopped\n";
		int in, out;

		in = must_open(REQUESTS, O_RDONLY);
		if (read(in, &request, 1) != 1)
			request = 0;
		close(in);
		out = must_open(ANSWERS, O_WRONLY);
		if (request == 'c')
			answer = copy(regs, memory);
		else if (request == 's')
			release(regs);
		if (write(out, answer, strlen(answer)) < 0)
			die("%s: %s", ANSWERS, strerror(errno));
		close(out);
	}
	_exit(0);
}

static void ask(const char *request)
{
	char answer[64];
	ssize_t length;
	int fd;

	alarm(30);
	fd = must_open(REQUESTS, O_WRONLY);
	must(REQUESTS, write(fd, request, 1));
	close(fd);
	fd = must_open(ANSWERS, O_RDONLY);
	while ((length = read(fd, answer, sizeof(answer))) > 0)
		fwrite(answer, 1, length, stdout);
}

static void must_make(const char *fifo)
{
	if (mkfifo(fifo, 0600) && errno != EEXIST)
		die("%s: %s", fifo, strerror(errno));
}

static void start(const char *bdf, const char *how)
{
	int ready[2], null;
	uint8_t *memory;
	void *regs;
	char byte;

	must_make(REQUESTS);
	must_make(ANSWERS);
	must("pipe", pipe(ready));
	if (must("fork", fork())) {
		close(ready[1]);
		if (read(ready[0], &byte, 1) != 1)
			die("%s is not ours", bdf);
		return;
	}
	close(ready[0]);
	memory = mmap(NULL, LENGTH, PROT_READ | PROT_WRITE,
		      MAP_PRIVATE | MAP_ANONYMOUS | MAP_POPULATE, -1, 0);
	if (memory == MAP_FAILED)
		die("memory: %s", strerror(errno));
	if (!strcmp(how, "group"))
		own_group(bdf, memory);
	else if (!strcmp(how, "iommufd"))
		own_iommufd(bdf, memory);
	else
		die("neither group nor iommufd: %s", how);
	regs = registers();
	must("ready", write(ready[1], "r", 1));
	close(ready[1]);
	/* The lab waits for the end of what we print */
	null = must_open("/dev/null", O_WRONLY);
	must("stdout", dup2(null, STDOUT_FILENO));
	must("stderr", dup2(null, STDERR_FILENO));
	serve(regs, memory);
}

int main(int argc, char **argv)
{
	if (argc == 4 && !strcmp(argv[1], "start"))
		start(argv[2], argv[3]);
	else if (argc == 2 && !strcmp(argv[1], "copy"))
		ask("c");
	else if (argc == 2 && !strcmp(argv[1], "stop"))
		ask("s");
	else
		die("usage: vfio-own start BDF group|iommufd | copy | stop");
	return 0;
}
