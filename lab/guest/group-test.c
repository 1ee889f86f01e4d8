// SPDX-License-Identifier: GPL-2.0
/*
 * Is every PCI function of this machine safe behind its IOMMU? A KTAP test,
 * one result a function:
 *	- it is in a group;
 *	- a function without ACS that shares its slot with others without ACS
 *	  shares their group;
 *	- where Intel's IOMMU shows its tables, its own requester ID is there.
 *
 * Not verified: aliases, which the function itself cannot tell.
 */
#include <linux/pci_regs.h>
#include <stdlib.h>
#include <string.h>

#include "guest.h"

#define MAX_FUNCTIONS	256
#define ISOLATED	(PCI_ACS_SV | PCI_ACS_RR | PCI_ACS_CR | PCI_ACS_UF)

static char names[MAX_FUNCTIONS][16];
static int count;
static bool translated[65536];
static bool translation_known;

static void add_name(const char *bdf)
{
	if (count == MAX_FUNCTIONS)
		die("more than %d PCI functions", MAX_FUNCTIONS);
	snprintf(names[count++], sizeof(names[0]), "%s", bdf);
}

static void note_requester(const struct requester *r)
{
	translated[(r->bus << 8 | r->slot << 3 | r->function) & 0xffff] = true;
}

/* The group's number, -1 without one. */
static int group_of(const char *bdf)
{
	const char *name = link_name(PCI_DEVICES "/%s/iommu_group", bdf);

	return *name ? atoi(name) : -1;
}

/*
 * Functions of the root complex are left out: which of them are isolated
 * without saying so is known to the kernel's quirks only.
 */
static bool lacks_acs(const char *bdf)
{
	unsigned int pos = find_ext_capability(bdf, PCI_EXT_CAP_ID_ACS);
	unsigned int express = find_capability(bdf, PCI_CAP_ID_EXP);
	unsigned int type;

	if (!express)
		return true;
	type = (config_read(bdf, express + PCI_EXP_FLAGS, 2) &
		PCI_EXP_FLAGS_TYPE) >> 4;
	if (type == PCI_EXP_TYPE_ROOT_PORT || type == PCI_EXP_TYPE_RC_END)
		return false;
	return !pos || (config_read(bdf, pos + PCI_ACS_CTRL, 2) & ISOLATED) !=
		       ISOLATED;
}

static bool same_slot(const char *a, const char *b)
{
	return !strncmp(a, b, strlen("0000:00:00"));
}

/* What is wrong with a function, NULL if nothing is. */
static const char *fault(const char *bdf)
{
	unsigned int domain, bus, slot, function;

	if (group_of(bdf) < 0)
		return "is in no group";
	for (int i = 0; i < count; i++)
		if (same_slot(names[i], bdf) && lacks_acs(names[i]) &&
		    lacks_acs(bdf) && group_of(names[i]) != group_of(bdf))
			return "is not in the group of its slot";
	if (sscanf(bdf, "%x:%x:%x.%x", &domain, &bus, &slot, &function) != 4)
		die("not a PCI address: %s", bdf);
	if (translation_known &&
	    !translated[(bus << 8 | slot << 3 | function) & 0xffff])
		return "has no context entry";
	return NULL;
}

int main(void)
{
	int failed = 0;

	for_each_pci_device(add_name);
	translation_known = for_each_requester(note_requester);
	printf("KTAP version 1\n1..%d\n", count);
	for (int i = 0; i < count; i++) {
		const char *what = fault(names[i]);

		if (what)
			printf("# %s %s\n", names[i], what);
		printf("%sok %d %s\n", what ? "not " : "", i + 1, names[i]);
		failed += !!what;
	}
	return !!failed;
}
