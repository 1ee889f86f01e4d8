// SPDX-License-Identifier: GPL-2.0
/*
 * Are the PCI devices of this machine in the IOMMU groups that they should be?
 *
 * Reads sysfs and checks what must hold on any machine, whatever devices it
 * has. Needs root only to see ACS and the types of PCIe ports, which are in
 * the part of config space that others cannot read, and for --hotplug.
 *
 * The checks, by the name of their results:
 *  - "<device> has its group": the links between device and group agree, and
 *    no driver is bound to a device that an IOMMU should be in charge of but
 *    is not;
 *  - "slot <slot>": functions without ACS in one slot share a group;
 *  - "below <bridge>": so does all that is below a bridge, if that or one
 *    above it does not isolate, or takes over requester IDs as PCIe-to-PCI
 *    bridges do;
 *  - "aliases of <device>": so do two devices that use one requester ID;
 *  - "domain of <device>": the group that it leads has a default domain;
 *  - "untrusted <device>": its DMA is translated;
 *  - "hotplug of <device>": it comes back into the same group.
 *
 * Not checked: whether a group is larger than it has to be, what the IOMMU has
 * been programmed to do, and aliases that the kernel has not found out about.
 */
#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <getopt.h>
#include <limits.h>
#include <linux/pci_regs.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "kselftest.h"

/* What the kernel wants of ACS before it calls a function isolated */
#define ISOLATING_ACS	(PCI_ACS_SV | PCI_ACS_RR | PCI_ACS_CR | PCI_ACS_UF)

#define NO_GROUP	(-1)
#define NR_DEVFNS	256
#define HOTPLUG_SECONDS	20

/* Types of PCIe functions besides PCI_EXP_TYPE_* */
#define TYPE_UNSEEN	(-2)
#define CONVENTIONAL	(-1)

enum isolation {
	ISOLATED,
	UNSEEN,		/* root could tell */
	MAYBE,		/* no, but for quirks of the kernel */
	OPEN,
};

struct function {
	char bdf[20];
	unsigned int domain;
	unsigned int bus;
	unsigned int devfn;
	int parent;			/* index of the bridge above, or -1 */
	unsigned int vendor;
	unsigned int device;
	unsigned int class;		/* without the programming interface */
	char driver[64];
	int group;
	char type[16];			/* of the group's default domain, or "" */
	bool vf;
	bool bridge;
	bool untrusted;
	bool multifunction;
	int express_type;
	enum isolation isolation;
	bool alias[NR_DEVFNS];
	int nr_aliases;
	bool bad_alias;
};

static const char *sysfs = "/sys";
static bool strict;

static struct function *functions;
static int nr_functions;

/* What this kernel, or this user, cannot see */
static bool no_groups;
static bool no_aliases;
static bool no_config;

static struct result {
	int code;
	char name[64];
	char why[512];
} *results;
static int nr_results;

static void *grow(void *array, int used, size_t size)
{
	/* At 0, 64, 128, ... */
	if (used % 64)
		return array;
	array = realloc(array, (used + 64) * size);
	if (!array)
		ksft_exit_fail_msg("out of memory\n");
	return array;
}

static __printf(3, 4) void report(int code, const char *name,
				  const char *why, ...)
{
	struct result *r;
	va_list args;

	results = grow(results, nr_results, sizeof(*results));
	r = &results[nr_results++];
	r->code = code;
	snprintf(r->name, sizeof(r->name), "%s", name);
	va_start(args, why);
	vsnprintf(r->why, sizeof(r->why), why, args);
	va_end(args);
}

/*
 * What sysfs has
 */

static __printf(2, 3) const char *sysfs_path(char *path, const char *fmt, ...)
{
	int used = snprintf(path, PATH_MAX, "%s/", sysfs);
	va_list args;

	va_start(args, fmt);
	vsnprintf(path + used, PATH_MAX - used, fmt, args);
	va_end(args);
	return path;
}

/* The first line of a file; false if there is no such file */
static bool read_line(const char *path, char *line, size_t size)
{
	FILE *f = fopen(path, "r");

	*line = '\0';
	if (!f)
		return false;
	if (fgets(line, size, f))
		line[strcspn(line, "\n")] = '\0';
	fclose(f);
	return true;
}

static bool device_line(const char *bdf, const char *name, char *line,
			size_t size)
{
	char path[PATH_MAX];

	return read_line(sysfs_path(path, "bus/pci/devices/%s/%s", bdf, name),
			 line, size);
}

static unsigned int device_number(const char *bdf, const char *name)
{
	char line[64];

	device_line(bdf, name, line, sizeof(line));
	return strtoul(line, NULL, 0);
}

/* The last component of what a link points at; false if there is no link */
static bool link_name(const char *path, char *name, size_t size)
{
	char target[PATH_MAX];
	ssize_t length = readlink(path, target, sizeof(target) - 1);
	char *slash;

	*name = '\0';
	if (length < 0)
		return false;
	target[length] = '\0';
	slash = strrchr(target, '/');
	snprintf(name, size, "%.*s", (int)size - 1,
		 slash ? slash + 1 : target);
	return true;
}

static bool device_link(const char *bdf, const char *name, char *target,
			size_t size)
{
	char path[PATH_MAX];

	return link_name(sysfs_path(path, "bus/pci/devices/%s/%s", bdf, name),
			 target, size);
}

static bool parse_bdf(const char *text, struct function *f)
{
	unsigned int slot, fn;
	int end = 0;

	if (sscanf(text, "%x:%x:%x.%x%n", &f->domain, &f->bus, &slot, &fn,
		   &end) != 4 || text[end] || f->bus > 255 || slot > 31 ||
	    fn > 7)
		return false;
	f->devfn = slot << 3 | fn;
	return true;
}

static int find(const char *bdf)
{
	for (int i = 0; i < nr_functions; i++)
		if (!strcmp(functions[i].bdf, bdf))
			return i;
	return -1;
}

static struct function *at(unsigned int domain, unsigned int bus,
			   unsigned int devfn)
{
	for (int i = 0; i < nr_functions; i++)
		if (functions[i].domain == domain && functions[i].bus == bus &&
		    functions[i].devfn == devfn)
			return &functions[i];
	return NULL;
}

/*
 * ACS and its like
 */

struct config {
	uint8_t bytes[4096];
	size_t read;
	bool complete;		/* all that the device has */
};

static void read_config(const char *bdf, struct config *c)
{
	char path[PATH_MAX];
	struct stat st;
	ssize_t n = 0;
	int fd;

	memset(c, 0, sizeof(*c));
	fd = open(sysfs_path(path, "bus/pci/devices/%s/config", bdf), O_RDONLY);
	if (fd < 0)
		return;
	while (c->read < sizeof(c->bytes) &&
	       (n = read(fd, c->bytes + c->read,
			 sizeof(c->bytes) - c->read)) > 0)
		c->read += n;
	/* Who is not root reads less than what the file claims to have */
	c->complete = !fstat(fd, &st) && c->read >= (size_t)st.st_size;
	close(fd);
}

static unsigned int word(const struct config *c, unsigned int offset)
{
	return c->bytes[offset] | c->bytes[offset + 1] << 8;
}

static unsigned int find_capability(const struct config *c, int id)
{
	unsigned int pos = c->bytes[PCI_CAPABILITY_LIST] & ~3;

	if (!(word(c, PCI_STATUS) & PCI_STATUS_CAP_LIST))
		return 0;
	for (int left = 48; left && pos >= 64 && pos + 4 <= 256; left--) {
		if (c->bytes[pos] == id)
			return pos;
		pos = c->bytes[pos + 1] & ~3;
	}
	return 0;
}

static unsigned int find_ext_capability(const struct config *c, int id)
{
	unsigned int pos = 256;

	for (int left = 480; left && pos >= 256 && pos + 8 <= c->read; left--) {
		uint32_t header = word(c, pos) | (uint32_t)word(c, pos + 2) << 16;

		if (!header || header == UINT32_MAX)
			return 0;
		if (PCI_EXT_CAP_ID(header) == (unsigned int)id)
			return pos;
		pos = PCI_EXT_CAP_NEXT(header);
	}
	return 0;
}

/*
 * Some functions isolate though they have no ACS, or not what reads like it.
 * Only the kernel knows which: pci_dev_acs_enabled[] in drivers/pci/quirks.c.
 * These are the vendors that it names.
 */
static bool has_acs_quirks(unsigned int vendor)
{
	static const unsigned int vendors[] = {
		0x0014,	/* Loongson */
		0x1002,	/* ATI */
		0x1022,	/* AMD */
		0x10df,	/* Emulex */
		0x10e8,	/* APM */
		0x14e4,	/* Broadcom */
		0x177d,	/* Cavium */
		0x17cb,	/* Qualcomm */
		0x1924,	/* Solarflare */
		0x1957,	/* NXP */
		0x19a2,	/* Emulex */
		0x1c36,	/* Annapurna Labs */
		0x1d17,	/* Zhaoxin */
		0x1dbf,	/* HXT */
		0x1def,	/* Ampere */
		0x8086,	/* Intel */
		0x8088,	/* Wangxun */
	};

	for (size_t i = 0; i < ARRAY_SIZE(vendors); i++)
		if (vendors[i] == vendor)
			return !strict;
	return false;
}

/* Like pci_acs_enabled() */
static enum isolation isolation(const struct function *f,
				const struct config *c)
{
	enum isolation open = has_acs_quirks(f->vendor) ? MAYBE : OPEN;
	unsigned int pos, wanted;

	switch (f->express_type) {
	case TYPE_UNSEEN:
		return UNSEEN;
	case PCI_EXP_TYPE_PCI_BRIDGE:
	case PCI_EXP_TYPE_PCIE_BRIDGE:
	case PCI_EXP_TYPE_RC_EC:
	case CONVENTIONAL:
		return open;
	case PCI_EXP_TYPE_ENDPOINT:
	case PCI_EXP_TYPE_UPSTREAM:
	case PCI_EXP_TYPE_LEG_END:
	case PCI_EXP_TYPE_RC_END:
		if (!f->multifunction)
			return ISOLATED;
		break;
	}

	if (!c->complete)
		return UNSEEN;
	pos = find_ext_capability(c, PCI_EXT_CAP_ID_ACS);
	if (!pos)
		return open;
	/* What it is not capable of, it need not be told */
	wanted = ISOLATING_ACS & word(c, pos + PCI_ACS_CAP);
	/* The kernel does not use it on switches of IDT where it is broken */
	if (f->vendor == 0x111d && (f->device == 0x80b5 || f->device == 0x8090))
		wanted &= ~PCI_ACS_SV;
	return (word(c, pos + PCI_ACS_CTRL) & wanted) == wanted ? ISOLATED :
								  open;
}

/* Requester IDs do not get past it */
static bool replaces_ids(const struct function *f)
{
	return f->bridge && (f->express_type == CONVENTIONAL ||
			     f->express_type == PCI_EXP_TYPE_PCI_BRIDGE ||
			     f->express_type == PCI_EXP_TYPE_PCIE_BRIDGE);
}

/* Whether @f and all bridges above it isolate: the worst of them counts */
static enum isolation path_isolation(const struct function *f)
{
	enum isolation worst = ISOLATED;

	for (;;) {
		enum isolation own = f->isolation;

		/* No matter of ACS, so none of its quirks */
		if (own == MAYBE && replaces_ids(f) && f->vendor != 0x14e4)
			own = OPEN;
		if (own > worst)
			worst = own;
		if (f->parent < 0)
			return worst;
		f = &functions[f->parent];
	}
}

/*
 * The look at the machine
 */

static void read_aliases(struct function *f)
{
	char path[PATH_MAX], line[64];
	FILE *file = fopen(sysfs_path(path, "bus/pci/devices/%s/dma_aliases",
				      f->bdf), "r");

	if (!file) {
		no_aliases = true;
		return;
	}
	while (fgets(line, sizeof(line), file)) {
		struct function alias;

		line[strcspn(line, "\n")] = '\0';
		if (!parse_bdf(line, &alias) || alias.domain != f->domain ||
		    alias.bus != f->bus || alias.devfn == f->devfn ||
		    f->alias[alias.devfn]) {
			f->bad_alias = true;
			continue;
		}
		f->alias[alias.devfn] = true;
		f->nr_aliases++;
	}
	fclose(file);
}

static void read_function(struct function *f)
{
	char path[PATH_MAX], line[64];
	struct config config;

	f->vendor = device_number(f->bdf, "vendor");
	f->device = device_number(f->bdf, "device");
	f->class = device_number(f->bdf, "class") >> 8;
	device_link(f->bdf, "driver", f->driver, sizeof(f->driver));
	f->vf = device_link(f->bdf, "physfn", line, sizeof(line));

	/* The kernel distrusts what it calls removable, if ever so fixed */
	device_line(f->bdf, "removable", line, sizeof(line));
	f->untrusted = !strcmp(line, "removable");

	f->group = NO_GROUP;
	if (device_link(f->bdf, "iommu_group", line, sizeof(line))) {
		f->group = atoi(line);
		read_line(sysfs_path(path, "kernel/iommu_groups/%d/type",
				     f->group), f->type, sizeof(f->type));
	}

	read_aliases(f);

	read_config(f->bdf, &config);
	f->multifunction = config.bytes[PCI_HEADER_TYPE] & PCI_HEADER_TYPE_MFD;
	switch (config.bytes[PCI_HEADER_TYPE] & PCI_HEADER_TYPE_MASK) {
	case PCI_HEADER_TYPE_BRIDGE:
	case PCI_HEADER_TYPE_CARDBUS:
		f->bridge = config.read >= 64;
	}
	/* Others than function 0 are found only if there are several */
	if (f->devfn & 7)
		f->multifunction = true;
	if (f->vf)
		f->multifunction = false;

	f->express_type = TYPE_UNSEEN;
	/* One that is gone or asleep reads as ones */
	if (config.read >= 256 && word(&config, PCI_VENDOR_ID) != 0xffff) {
		unsigned int pos = find_capability(&config, PCI_CAP_ID_EXP);

		f->express_type = CONVENTIONAL;
		if (pos)
			f->express_type = (word(&config, pos + PCI_EXP_FLAGS) &
					   PCI_EXP_FLAGS_TYPE) >> 4;
	}
	f->isolation = isolation(f, &config);
	if (f->isolation == UNSEEN)
		no_config = true;
}

/* The bridge that a device is below is the directory that its own is in. */
static void find_parent(struct function *f)
{
	char path[PATH_MAX], real[PATH_MAX];
	char *slash;

	f->parent = -1;
	if (!realpath(sysfs_path(path, "bus/pci/devices/%s", f->bdf), real))
		return;
	slash = strrchr(real, '/');
	if (!slash)
		return;
	*slash = '\0';
	slash = strrchr(real, '/');
	if (slash)
		f->parent = find(slash + 1);
}

static int by_address(const void *a, const void *b)
{
	const struct function *f = a, *g = b;

	if (f->domain != g->domain)
		return f->domain < g->domain ? -1 : 1;
	if (f->bus != g->bus)
		return f->bus < g->bus ? -1 : 1;
	return (int)f->devfn - (int)g->devfn;
}

static void look(void)
{
	char path[PATH_MAX];
	struct dirent *entry;
	DIR *dir;

	nr_functions = 0;
	no_aliases = false;
	no_config = false;
	no_groups = true;

	dir = opendir(sysfs_path(path, "bus/pci/devices"));
	if (!dir)
		ksft_exit_skip("%s: %s\n", path, strerror(errno));
	while ((entry = readdir(dir))) {
		struct function f = { };

		if (!parse_bdf(entry->d_name, &f))
			continue;
		snprintf(f.bdf, sizeof(f.bdf), "%.19s", entry->d_name);
		functions = grow(functions, nr_functions, sizeof(*functions));
		functions[nr_functions++] = f;
	}
	closedir(dir);
	if (!nr_functions)
		ksft_exit_skip("no PCI devices\n");
	qsort(functions, nr_functions, sizeof(*functions), by_address);

	for (int i = 0; i < nr_functions; i++) {
		read_function(&functions[i]);
		find_parent(&functions[i]);
		if (functions[i].group != NO_GROUP)
			no_groups = false;
	}
}

/*
 * Names
 */

/* All members of a group, also those that are no PCI devices; to be freed */
static char *members(int group)
{
	char path[PATH_MAX], *text = NULL;
	struct dirent **entries;
	size_t size;
	FILE *out;
	int n;

	sysfs_path(path, "kernel/iommu_groups/%d/devices", group);
	n = scandir(path, &entries, NULL, alphasort);
	out = open_memstream(&text, &size);
	if (!out)
		ksft_exit_fail_msg("out of memory\n");
	for (int i = 0; i < n; i++) {
		if (entries[i]->d_name[0] != '.')
			fprintf(out, "%s ", entries[i]->d_name);
		free(entries[i]);
	}
	if (n >= 0)
		free(entries);
	fclose(out);
	return text;
}

static const char *group_name(const struct function *f)
{
	static char names[4][16];
	static int next;
	char *name = names[next++ % 4];

	if (f->group == NO_GROUP)
		return "no group";
	snprintf(name, sizeof(names[0]), "group %d", f->group);
	return name;
}

static const char *isolation_name(enum isolation isolation)
{
	static const char * const names[] = {
		[ISOLATED] = "isolated", [UNSEEN] = "unseen",
		[MAYBE] = "maybe", [OPEN] = "open",
	};

	return names[isolation];
}

/*
 * The checks
 */

/* Whether an IOMMU is in charge of @f, judging by who is next to it */
static const struct function *neighbour_with_group(const struct function *f)
{
	if (f->parent >= 0 && functions[f->parent].group != NO_GROUP)
		return &functions[f->parent];
	for (int i = 0; i < nr_functions; i++) {
		const struct function *g = &functions[i];

		if (g->group != NO_GROUP && g->domain == f->domain &&
		    g->bus == f->bus && g->devfn >> 3 == f->devfn >> 3)
			return g;
	}
	return NULL;
}

static void check_membership(const struct function *f)
{
	const struct function *next;
	char path[PATH_MAX], name[64];
	struct stat st;

	snprintf(name, sizeof(name), "%s has its group", f->bdf);
	if (f->group != NO_GROUP) {
		sysfs_path(path, "kernel/iommu_groups/%d/devices/%s", f->group,
			   f->bdf);
		if (lstat(path, &st))
			report(KSFT_FAIL, name, "it links to group %d, which does not list it",
			       f->group);
		else
			report(KSFT_PASS, name, "%s", "");
		return;
	}

	/* The IOMMU itself, on some machines */
	if (f->class == 0x0806)
		return;
	next = neighbour_with_group(f);
	if (!next)
		return;
	if (!*f->driver)
		report(KSFT_SKIP, name, "it has no group, unlike %s, and no driver",
		       next->bdf);
	else if (f->bridge)
		report(KSFT_SKIP, name, "a bridge without a group: maybe firmware leaves it out");
	else
		report(KSFT_FAIL, name, "no group, unlike %s, and driver %s is bound",
		       next->bdf, f->driver);
}

/* One group, seen from its first member */
static void check_domain(const struct function *f)
{
	char name[64], *list, *rest, *member;
	const char *bound = NULL;

	for (int i = 0; i < f - functions; i++)
		if (functions[i].group == f->group)
			return;

	snprintf(name, sizeof(name), "domain of %s", f->bdf);
	list = members(f->group);
	for (rest = list; (member = strsep(&rest, " ")) && *member; ) {
		struct function address;
		int i = find(member);

		if (!parse_bdf(member, &address))
			continue;
		if (i < 0 || functions[i].group != f->group) {
			report(KSFT_FAIL, name, "group %d lists %s, which is in %s",
			       f->group, member,
			       i < 0 ? "no bus" : group_name(&functions[i]));
			free(list);
			return;
		}
		/* These do without, or see to their domains themselves */
		if (*functions[i].driver &&
		    !strstr(functions[i].driver, "vfio") &&
		    strcmp(functions[i].driver, "pci-stub") &&
		    strcmp(functions[i].driver, "pcieport"))
			bound = functions[i].bdf;
	}
	free(list);

	if (!*f->type)
		report(KSFT_SKIP, name, "group %d has no readable type",
		       f->group);
#if !defined(__arm__) && !defined(__powerpc__)
	/*
	 * There, the architecture maps DMA without one, or with one that has
	 * no name
	 */
	else if (bound && !strcmp(f->type, "unknown"))
		report(KSFT_FAIL, name, "group %d has no default domain, and %s has a driver",
		       f->group, bound);
#endif
	else
		report(KSFT_PASS, name, "%s", "");
}

static void check_untrusted(const struct function *f)
{
	char name[64];

	if (!f->untrusted || f->group == NO_GROUP)
		return;
	snprintf(name, sizeof(name), "untrusted %s", f->bdf);
	if (!*f->type)
		report(KSFT_SKIP, name, "group %d has no readable type",
		       f->group);
	else if (!strcmp(f->type, "identity"))
		report(KSFT_FAIL, name, "its DMA is not translated (group %d: identity)",
		       f->group);
	else
		report(KSFT_PASS, name, "%s", "");
}

/* A set of functions that belong together, and what speaks against it */
struct fate {
	const struct function *first[OPEN + 1];
	int nr;
	bool unseen;
	int code;
	char why[256];
};

static void share_fate(struct fate *fate, const struct function *f,
		       enum isolation isolation, const char *reason)
{
	if (f->group == NO_GROUP)
		return;
	fate->nr++;
	if (isolation == UNSEEN) {
		fate->unseen = true;
		return;
	}
	for (int i = MAYBE; i <= OPEN; i++) {
		const struct function *g = fate->first[i];
		/* Two that are certain decide, and nothing else does */
		int code = i == OPEN && isolation == OPEN ? KSFT_FAIL :
							    KSFT_SKIP;

		if (!g || g->group == f->group || fate->code == KSFT_FAIL ||
		    fate->code == code)
			continue;
		fate->code = code;
		snprintf(fate->why, sizeof(fate->why), "%s is in %s and %s in %s, %s%s",
			 g->bdf, group_name(g), f->bdf, group_name(f), reason,
			 code == KSFT_FAIL ? "" : " (but by a quirk of the kernel)");
	}
	if (!fate->first[isolation])
		fate->first[isolation] = f;
}

static void report_fate(const struct fate *fate, const char *name)
{
	if (fate->nr < 2)
		return;
	if (fate->code == KSFT_FAIL || !fate->unseen)
		report(fate->code, name, "%s", fate->why);
	else
		report(KSFT_SKIP, name, "ACS not seen: not root, or no answer");
}

/* @f is the first function of its slot */
static void check_slot(const struct function *f)
{
	struct fate fate = { };
	char name[64];

	if (f > functions && f[-1].domain == f->domain &&
	    f[-1].bus == f->bus && f[-1].devfn >> 3 == f->devfn >> 3)
		return;

	for (const struct function *g = f;
	     g < functions + nr_functions && g->domain == f->domain &&
	     g->bus == f->bus && g->devfn >> 3 == f->devfn >> 3; g++)
		if (g->multifunction && g->isolation != ISOLATED)
			share_fate(&fate, g, g->isolation,
				   "no ACS between them");
	snprintf(name, sizeof(name), "slot %04x:%02x:%02x", f->domain, f->bus,
		 f->devfn >> 3);
	report_fate(&fate, name);
}

static bool is_below(const struct function *f, const struct function *bridge)
{
	while (f->parent >= 0) {
		f = &functions[f->parent];
		if (f == bridge)
			return true;
	}
	return false;
}

static void check_bridge(const struct function *bridge)
{
	enum isolation isolation = path_isolation(bridge);
	struct fate fate = { };
	char name[64];

	if (!bridge->bridge || isolation == ISOLATED)
		return;

	/* The bridge's own group, if it has one: firmware may leave it out */
	share_fate(&fate, bridge, isolation, "");
	for (int i = 0; i < nr_functions; i++)
		if (is_below(&functions[i], bridge))
			share_fate(&fate, &functions[i], isolation,
				   replaces_ids(bridge) ?
				   "one requester ID stands for both" :
				   "nothing isolates them on the way up");
	snprintf(name, sizeof(name), "below %s", bridge->bdf);
	report_fate(&fate, name);
}

static void check_aliases(const struct function *f)
{
	char name[64];

	if (!f->nr_aliases && !f->bad_alias)
		return;
	snprintf(name, sizeof(name), "aliases of %s", f->bdf);
	if (f->bad_alias) {
		report(KSFT_FAIL, name, "dma_aliases names what is no other address on its bus");
		return;
	}
	for (int i = 0; i < nr_functions; i++) {
		const struct function *g = &functions[i];

		if (g == f || g->domain != f->domain || g->bus != f->bus ||
		    f->group == g->group || f->group == NO_GROUP ||
		    g->group == NO_GROUP)
			continue;
		if (f->alias[g->devfn]) {
			report(KSFT_FAIL, name, "%s is one, in %s, not in %s",
			       g->bdf, group_name(g), group_name(f));
			return;
		}
		for (int devfn = 0; devfn < NR_DEVFNS; devfn++) {
			if (!f->alias[devfn] || !g->alias[devfn])
				continue;
			report(KSFT_FAIL, name,
			       "%02x:%02x.%d is of %s too, which is in %s, not in %s",
			       f->bus, devfn >> 3, devfn & 7, g->bdf,
			       group_name(g), group_name(f));
			return;
		}
	}
	report(KSFT_PASS, name, "%s", "");
}

static void check_all(void)
{
	for (int i = 0; i < nr_functions; i++)
		check_membership(&functions[i]);
#if !defined(__powerpc__) && !defined(__s390__)
	/* There, firmware says what can be kept apart, and topology does not */
	for (int i = 0; i < nr_functions; i++)
		check_slot(&functions[i]);
	for (int i = 0; i < nr_functions; i++)
		check_bridge(&functions[i]);
#endif
	for (int i = 0; i < nr_functions; i++)
		check_aliases(&functions[i]);
	for (int i = 0; i < nr_functions; i++)
		if (functions[i].group != NO_GROUP)
			check_domain(&functions[i]);
	for (int i = 0; i < nr_functions; i++)
		check_untrusted(&functions[i]);

	if (no_aliases)
		report(KSFT_SKIP, "aliases",
		       "this kernel does not show DMA aliases (no dma_aliases), its log may");
}

/*
 * --hotplug
 */

static char *in_use;

static __printf(1, 2) int used(const char *fmt, ...)
{
	va_list args;

	va_start(args, fmt);
	if (vasprintf(&in_use, fmt, args) < 0)
		ksft_exit_fail_msg("out of memory\n");
	va_end(args);
	return 1;
}

/* Of each file and directory in sysfs that goes with the device */
static int test_use(const char *path, const struct stat *st, int type,
		    struct FTW *ftw)
{
	char file[PATH_MAX + 16], name[64];
	int fd;

	if (type != FTW_D)
		return 0;
	snprintf(file, sizeof(file), "%s/driver", path);
	if (link_name(file, name, sizeof(name)) && strstr(name, "vfio"))
		return used("%s has driver %s", path + ftw->base, name);
	snprintf(file, sizeof(file), "%s/boot_vga", path);
	if (read_line(file, name, sizeof(name)) && !strcmp(name, "1"))
		return used("%s is the console", path + ftw->base);
	snprintf(file, sizeof(file), "%s/sriov_numvfs", path);
	if (read_line(file, name, sizeof(name)) && atoi(name))
		return used("%s has virtual functions, which would not come back",
			    path + ftw->base);

	snprintf(file, sizeof(file), "%s/subsystem", path);
	if (!link_name(file, name, sizeof(name)))
		return 0;
	if (!strcmp(name, "net")) {
		snprintf(file, sizeof(file), "%s/flags", path);
		read_line(file, name, sizeof(name));
		if (strtoul(name, NULL, 0) & 1)
			return used("network interface %s is up",
				    path + ftw->base);
	}
	if (!strcmp(name, "block")) {
		snprintf(file, sizeof(file), "/dev/%s", path + ftw->base);
		/* Fails if it is mounted, swapped to, or part of another one */
		fd = open(file, O_RDONLY | O_EXCL | O_CLOEXEC);
		if (fd < 0)
			return used("block device %s: %s", path + ftw->base,
				    strerror(errno));
		close(fd);
	}
	return 0;
}

/* Reasons not to take away @f */
static bool must_stay(const struct function *f)
{
	char path[PATH_MAX], real[PATH_MAX];

	switch (f->class) {
	case 0x0600:	/* host bridge */
	case 0x0601:	/* ISA bridge */
	case 0x0806:	/* IOMMU */
		used("it is a part of the board");
		return true;
	}
	if (access(sysfs_path(path, "bus/pci/devices/%s/remove", f->bdf), W_OK)) {
		used("%s: %s", path, strerror(errno));
		return true;
	}
	if (!realpath(sysfs_path(path, "bus/pci/devices/%s", f->bdf), real) ||
	    nftw(real, test_use, 16, FTW_PHYS) < 0) {
		used("%s: %s", path, strerror(errno));
		return true;
	}
	return in_use;
}

static bool write_one(const char *path)
{
	int fd = open(path, O_WRONLY);
	bool done = fd >= 0 && write(fd, "1", 1) == 1;

	if (fd >= 0)
		close(fd);
	return done;
}

/* What is to be the same afterwards, but for the group's number; to be freed */
static char *describe(const struct function *f)
{
	char *list = members(f->group), *text = NULL;
	size_t size;
	FILE *out = open_memstream(&text, &size);

	if (!out)
		ksft_exit_fail_msg("out of memory\n");
	if (f->group == NO_GROUP)
		fprintf(out, "no group");
	else
		fprintf(out, "group of %stype %s", list, f->type);
	for (int i = 0; i < NR_DEVFNS; i++)
		if (f->alias[i])
			fprintf(out, " alias %02x.%d", i >> 3, i & 7);
	fclose(out);
	free(list);
	return text;
}

static bool is_there(const char *bdf)
{
	char path[PATH_MAX];

	return !access(sysfs_path(path, "bus/pci/devices/%s", bdf), F_OK);
}

/*
 * Whether what @before says still holds, of all @nr functions in @old: others
 * had to do with @first, which was taken away, and tell less about it.
 */
static bool is_same(const struct function *old, char **before, int nr,
		    int first, char *why, size_t size)
{
	for (int n = 0; n < nr; n++) {
		int i = (first + n) % nr;
		int now = find(old[i].bdf);
		char *after;
		bool same;

		if (now < 0) {
			snprintf(why, size, "%s has not come back", old[i].bdf);
			return false;
		}
		after = describe(&functions[now]);
		same = !strcmp(before[i], after);
		if (!same)
			snprintf(why, size, "%s was: %s, and is: %s",
				 old[i].bdf, before[i], after);
		free(after);
		if (!same)
			return false;
	}
	return true;
}

static void check_hotplug(const char *bdf)
{
	char path[PATH_MAX], name[64], why[400] = "";
	struct function *old;
	bool same = false;
	int i = find(bdf);
	char **before;
	int nr;

	snprintf(name, sizeof(name), "hotplug of %s", bdf);
	if (i < 0) {
		report(KSFT_FAIL, name, "no such device; want an address like 0000:01:00.0");
		return;
	}
	if (geteuid()) {
		report(KSFT_SKIP, name, "only root can do that");
		return;
	}
	if (must_stay(&functions[i])) {
		report(KSFT_SKIP, name, "left alone, %s", in_use);
		return;
	}

	nr = nr_functions;
	old = malloc(nr * sizeof(*old));
	before = malloc(nr * sizeof(*before));
	if (!old || !before)
		ksft_exit_fail_msg("out of memory\n");
	memcpy(old, functions, nr * sizeof(*old));
	for (int j = 0; j < nr; j++)
		before[j] = describe(&old[j]);

	ksft_print_msg("removing %s (driver %s) with all below it, then rescanning PCI\n",
		       bdf, *old[i].driver ? old[i].driver : "none");
	if (!write_one(sysfs_path(path, "bus/pci/devices/%s/remove", bdf))) {
		report(KSFT_FAIL, name, "%s: %s", path, strerror(errno));
		goto out;
	}
	for (int tries = HOTPLUG_SECONDS * 10; tries && is_there(bdf); tries--)
		usleep(100000);
	if (is_there(bdf)) {
		report(KSFT_FAIL, name, "it does not go");
		goto out;
	}
	if (!write_one(sysfs_path(path, "bus/pci/rescan"))) {
		report(KSFT_FAIL, name, "%s: %s", path, strerror(errno));
		goto out;
	}
	for (int tries = HOTPLUG_SECONDS * 10; tries && !same; tries--) {
		usleep(100000);
		look();
		same = is_same(old, before, nr, i, why, sizeof(why));
		/*
		 * Groups are formed before the write to rescan is done; but
		 * buses may follow whose bridge has a driver to be loaded.
		 */
		if (is_there(bdf) && tries < HOTPLUG_SECONDS * 10 - 20)
			break;
	}
	if (same)
		report(KSFT_PASS, name, "%s", "");
	else
		report(KSFT_FAIL, name, "%s", why);
out:
	for (int j = 0; j < nr; j++)
		free(before[j]);
	free(before);
	free(old);
}

/*
 * Pictures
 */

static const char *express_name(const struct function *f)
{
	switch (f->express_type) {
	case PCI_EXP_TYPE_ROOT_PORT:
		return "root port";
	case PCI_EXP_TYPE_UPSTREAM:
		return "upstream port";
	case PCI_EXP_TYPE_DOWNSTREAM:
		return "downstream port";
	case PCI_EXP_TYPE_PCI_BRIDGE:
		return "PCIe-to-PCI bridge";
	case PCI_EXP_TYPE_PCIE_BRIDGE:
		return "PCI-to-PCIe bridge";
	case CONVENTIONAL:
		return f->bridge ? "PCI bridge" : "PCI device";
	case TYPE_UNSEEN:
		return f->bridge ? "bridge" : "device";
	default:
		return f->vf ? "VF" : "device";
	}
}

static bool is_last(int i)
{
	for (int j = i + 1; j < nr_functions; j++)
		if (functions[j].parent == functions[i].parent &&
		    (functions[i].parent >= 0 ||
		     functions[j].domain == functions[i].domain))
			return false;
	return true;
}

static void draw_below(int parent, unsigned int domain, const char *indent)
{
	for (int i = 0; i < nr_functions; i++) {
		const struct function *f = &functions[i];
		bool last = is_last(i);
		char deeper[256];
		int column;

		if (f->parent != parent || f->domain != domain)
			continue;
		column = printf("%s%s-%02x:%02x.%d %s", indent,
				last ? "\\" : "+", f->bus, f->devfn >> 3,
				f->devfn & 7, express_name(f));
		printf("%*s %04x:%04x  ", column < 44 ? 44 - column : 0, "",
		       f->vendor, f->device);
		if (f->group == NO_GROUP)
			printf("no group");
		else
			printf("group %-3d %-8s", f->group, f->type);
		if (f->isolation != ISOLATED)
			printf(" %s", f->isolation == OPEN ? "no ACS" :
				      f->isolation == MAYBE ? "no ACS (quirk?)" :
				      "ACS?");
		if (*f->driver)
			printf(" [%s]", f->driver);
		if (f->untrusted)
			printf(" untrusted");
		for (int from = 0, end; from < NR_DEVFNS; from = end + 1) {
			for (end = from; end < NR_DEVFNS && f->alias[end]; )
				end++;
			if (end == from)
				continue;
			printf(" = %02x:%02x.%d", f->bus, from >> 3, from & 7);
			if (end - from > 1)
				printf("..%02x.%d", (end - 1) >> 3,
				       (end - 1) & 7);
		}
		printf("\n");
		snprintf(deeper, sizeof(deeper), "%s%s  ", indent,
			 last ? " " : "|");
		/* Below a VMD or the like are buses of another domain */
		for (int j = 0; j < nr_functions; j++) {
			if (functions[j].parent != i)
				continue;
			draw_below(i, functions[j].domain, deeper);
			break;
		}
	}
}

static void draw_tree(void)
{
	for (int i = 0; i < nr_functions; i++) {
		if (functions[i].parent >= 0 ||
		    (i && functions[i - 1].domain == functions[i].domain))
			continue;
		printf("PCI domain %04x\n", functions[i].domain);
		draw_below(-1, functions[i].domain, " ");
	}
	if (no_groups)
		printf("There are no IOMMU groups: no IOMMU, or it is off.\n");
	if (no_aliases)
		printf("This kernel does not show DMA aliases; its log may.\n");
	if (no_config)
		printf("ACS? is for what only root can see, or not even root.\n");
}

static void draw_dot(void)
{
	printf("digraph iommu_groups {\n\trankdir=LR;\n\tnode [shape=box];\n");
	for (int i = 0; i < nr_functions; i++) {
		const struct function *f = &functions[i];

		if (f->group != NO_GROUP)
			printf("\tsubgraph cluster_%d { label=\"group %d %s\"; \"%s\"; }\n",
			       f->group, f->group, f->type, f->bdf);
		printf("\t\"%s\" [label=\"%s\\n%s %04x:%04x\\n%s\"];\n", f->bdf,
		       f->bdf, express_name(f), f->vendor, f->device,
		       f->driver);
		if (f->parent >= 0)
			printf("\t\"%s\" -> \"%s\"%s;\n",
			       functions[f->parent].bdf, f->bdf,
			       path_isolation(&functions[f->parent]) == ISOLATED ?
			       "" : " [color=red]");
		for (int devfn = 0; devfn < NR_DEVFNS; devfn++) {
			if (!f->alias[devfn])
				continue;
			if (!at(f->domain, f->bus, devfn))
				printf("\t\"%04x:%02x:%02x.%d\" [shape=plaintext];\n",
				       f->domain, f->bus, devfn >> 3, devfn & 7);
			printf("\t\"%s\" -> \"%04x:%02x:%02x.%d\" [style=dashed, label=alias];\n",
			       f->bdf, f->domain, f->bus, devfn >> 3,
			       devfn & 7);
		}
	}
	printf("}\n");
}

static void json_string(const char *name, const char *text, const char *end)
{
	printf("\"%s\": \"", name);
	for (; *text; text++) {
		if (*text == '"' || *text == '\\')
			putchar('\\');
		if (isprint((unsigned char)*text))
			putchar(*text);
	}
	printf("\"%s", end);
}

static const char *code_name(int code)
{
	return code == KSFT_PASS ? "pass" : code == KSFT_SKIP ? "skip" : "fail";
}

static void draw_json(void)
{
	printf("{\n\"sees\": { \"groups\": %s, \"dma_aliases\": %s, \"acs\": %s },\n",
	       no_groups ? "false" : "true", no_aliases ? "false" : "true",
	       no_config ? "false" : "true");
	printf("\"devices\": [\n");
	for (int i = 0; i < nr_functions; i++) {
		const struct function *f = &functions[i];
		const char *comma = "";

		printf(" { ");
		json_string("bdf", f->bdf, ", ");
		json_string("parent", f->parent < 0 ? "" :
			    functions[f->parent].bdf, ", ");
		json_string("kind", express_name(f), ", ");
		json_string("driver", f->driver, ", ");
		json_string("type", f->type, ", ");
		json_string("isolation", isolation_name(f->isolation), ", ");
		if (f->group == NO_GROUP)
			printf("\"group\": null, ");
		else
			printf("\"group\": %d, ", f->group);
		printf("\"vendor\": %u, \"device\": %u, \"untrusted\": %s, \"aliases\": [",
		       f->vendor, f->device, f->untrusted ? "true" : "false");
		for (int devfn = 0; devfn < NR_DEVFNS; devfn++) {
			if (!f->alias[devfn])
				continue;
			printf("%s\"%04x:%02x:%02x.%d\"", comma, f->domain,
			       f->bus, devfn >> 3, devfn & 7);
			comma = ", ";
		}
		printf("] }%s\n", i + 1 < nr_functions ? "," : "");
	}
	printf("],\n\"checks\": [\n");
	for (int i = 0; i < nr_results; i++) {
		printf(" { ");
		json_string("name", results[i].name, ", ");
		json_string("result", code_name(results[i].code), ", ");
		json_string("why", results[i].why, " }");
		printf("%s\n", i + 1 < nr_results ? "," : "");
	}
	printf("]\n}\n");
}

static void show_help(FILE *out)
{
	fprintf(out,
		"usage: iommu_groups [--strict] [--hotplug BDF] [--sysfs DIR]\n"
		"       iommu_groups --tree | --dot | --json [--sysfs DIR]\n"
		"\n"
		"Checks the IOMMU groups of the PCI devices of this machine.\n"
		"\n"
		"  --strict       trust ACS alone: no quirk of the kernel isolates\n"
		"  --hotplug BDF  first remove this device (as 0000:01:00.0) and all below\n"
		"                 it, then rescan all PCI buses. It is gone meanwhile. Left\n"
		"                 alone are disks that are open, network interfaces that\n"
		"                 are up, what VFIO has, and the console.\n"
		"  --tree         draw buses, groups and aliases; \"= 01:02.0\" is an alias\n"
		"  --dot          the same for graphviz\n"
		"  --json         the same for programs, with the results of the checks\n"
		"  --sysfs DIR    look there, not in /sys\n");
}

int main(int argc, char **argv)
{
	static const struct option options[] = {
		{ "strict", no_argument, NULL, 's' },
		{ "hotplug", required_argument, NULL, 'p' },
		{ "tree", no_argument, NULL, 't' },
		{ "dot", no_argument, NULL, 'd' },
		{ "json", no_argument, NULL, 'j' },
		{ "sysfs", required_argument, NULL, 'S' },
		{ "help", no_argument, NULL, 'h' },
		{ }
	};
	const char *hotplug = NULL;
	int option, picture = 0;

	while ((option = getopt_long(argc, argv, "", options, NULL)) != -1) {
		switch (option) {
		case 's':
			strict = true;
			break;
		case 'p':
			hotplug = optarg;
			break;
		case 'S':
			sysfs = optarg;
			break;
		case 't':
		case 'd':
		case 'j':
			picture = option;
			break;
		case 'h':
			show_help(stdout);
			return 0;
		default:
			show_help(stderr);
			return KSFT_FAIL;
		}
	}
	if (optind != argc || (picture && hotplug)) {
		show_help(stderr);
		return KSFT_FAIL;
	}

	if (!picture)
		ksft_print_header();
	look();
	if (picture == 't') {
		draw_tree();
		return 0;
	}
	if (picture == 'd') {
		draw_dot();
		return 0;
	}
	if (no_groups && !picture)
		ksft_exit_skip("no IOMMU groups: there is no IOMMU, or it is off\n");
	if (hotplug)
		check_hotplug(hotplug);
	check_all();
	if (picture == 'j') {
		draw_json();
		return 0;
	}

	ksft_set_plan(nr_results);
	for (int i = 0; i < nr_results; i++) {
		const struct result *r = &results[i];

		if (r->code == KSFT_FAIL)
			ksft_print_msg("%s\n", r->why);
		ksft_test_result_code(r->code, r->name,
				      r->code == KSFT_SKIP ? "%s" : NULL,
				      r->why);
	}
	ksft_finished();
}
