/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Who may form IOMMU groups when: PCI hot-add, IOMMU registration, driver
 * binding, removal and late aliases, one against the other.
 *
 * Three PCI devices in the order in which a walk of the bus meets them: bridge
 * B, endpoints X and Y below it. X has a second requester ID that only its
 * final fixup reveals.
 *
 * The switches are read from the environment when the verifier starts, so that
 * one build serves all runs; run.py knows their values. Once set they never
 * change, hence "local": the partial order reduction need not mind them.
 */

/* How the kernel is built; README.md says which patch each stands for */
local byte PASSES;	/* fixups, groups, drivers in passes; 0 mainline's order */
local byte REF;		/* a group on a pending list is referenced */
local byte REL;		/* release under iommu_probe_device_lock, not of a device that goes */
local byte UNREG;	/* unregister: off the list and not ready first, then release */
local byte GATE;	/* bind: under the lock, dev->iommu without a group defers */
local byte RETRY;	/* dev->iommu vanished in the unlocked window: start over */
local byte ALIAS;	/* test and set of an alias are one step against "finished" */
local byte TOPO;	/* below a bridge that does not isolate, look at all devices */
local byte KEEP;	/* a device that cannot be attached keeps a dev->iommu, so defers */
local byte REPLAY;	/* binding a driver probes a device that nobody has probed */
local byte REFUSE;	/* as KEEP, for one whose probe_device() failed */
local byte FW;		/* the IOMMU layer's dma_configure() never claims the domain */
local byte STOP;	/* no driver binds once removal has stopped the device */
local byte COMMON;	/* an alias of both devices makes them aliases, too */
local byte HOLD;	/*
			 * unregister: 1 waits for a driver that is being tried, 2 unbinds
			 * too, 3 has the driver core do so by a device link, 4 and
			 * makes no link any more while the IOMMU's driver goes
			 */

/* What happens */
local byte FWSPEC;	/* IDs come from firmware (SMMU, virtio-iommu); 0 like Intel's */
local byte ALIASY;	/* X's alias is Y's ID; 0 it is an ID without a device */
local byte NONISO;	/* B is not isolated by ACS: B, X and Y belong together */
local byte COLD;	/* devices are finished and bindable before the IOMMU comes */
local byte BOOT;	/* final fixups wait for pci_apply_final_quirks() */
local byte EARLY;	/* with BOOT: the driver does not wait for that */
local byte IOMMU;	/* 0 there from the start; 1 registers, 2 unregisters, 3 again */
local byte DRIVERS;	/* devices that the one driver matches: 1 B, 2 X, 4 Y */
local byte NOWAIT;	/* drivers do not wait for an IOMMU that nobody registered yet */
local byte REMOVE;	/* 1 X is removed, 2 only its driver is unbound */
local byte LATE;	/* somebody calls pci_add_dma_alias(Y) at any time */
local byte FAIL;	/* 1 probe_device(Y) fails, 2 attaching Y to a domain fails */
local byte RULES;	/* which rules are asserted, sum of */

#define P1 1	/* bound => every requester ID is programmed */
#define P2 2	/* no alias after finished (mainline: after the device has a group) */
#define P3 4	/* at rest: one group each, right partition, default domain there */
#define P4 8	/* no requester ID in two groups while a driver is bound in one */
#define P5 16	/* no use of a freed group or dev->iommu, nothing left behind */
#define P6 32	/* group->owner_cnt equals the drivers bound in it */
#define RULE(p, cond)	assert(!(RULES & p) || (cond))

c_decl {
	\#include <stdlib.h>

	static unsigned char setting(const char *name)
	{
		const char *value = getenv(name);

		if (!value) {
			fprintf(stderr, "%s is not set\n", name);
			exit(2);
		}
		return atoi(value);
	}
}

#define B 0
#define X 1
#define Y 2
#define N 3
#define NG 8		/* group numbers, from 1, are not used again */

bool klist[N];		/* on the bus's list */
bool allow[N];		/* drivers may bind */
bool added[N];
bool finished[N];
bool gone[N];		/* PCI_DEV_REMOVED */
bool dead[N];		/* kill_device(): no driver gets in any more */
bool removed[N];	/* device_del() is over */
bool refused[N];	/* the IOMMU driver failed */
bool waiting[N];	/* for a deferred probe */
bool exc[N];		/* excused: bound without an IOMMU and not bound since,
			 * or it unregistered later */
byte drv[N];		/* dev->driver: 0 NULL, 1 really_probe() runs, 2 bound */
bool iommu[N];		/* dev->iommu is there */
byte fw[N];		/* IDs in the fwspec, 0 no fwspec */
byte grp[N];		/* dev->iommu_group */
byte listedin[N];	/* times on a group's list of devices */
byte al[N];		/* requester IDs: 1 B, 2 X, 4 Y, 8 nobody's */
byte ctx[N];		/* IDs that are programmed for it */

bool galive[NG], gdef[NG], gpend[NG];	/* allocated, default domain, on a list */
byte gown[NG], ngrp;			/* owner_cnt */

bit probe_lock;		/* iommu_probe_device_lock */
bit rescan_lock;	/* pci_lock_rescan_remove() */
bit dlock[N];		/* device_lock() */
bool listed, ready;	/* the IOMMU */
bool supplier, leaving;	/* its driver is bound, is being unbound */
byte link[N];		/* device link to it: 0 none, 1 there, 2 its driver is being unbound */
bool trying[N];		/* a driver is tried, as the links see it */
bool fixups_wait, quirks_done, driver_there, iommu_settled;
byte actors, done;

#define LOCK(l)		atomic { l == 0 -> l = 1 }
#define UNLOCK(l)	l = 0
#define LATEID		(8 - 4 * ALIASY)
#define IDS(d)		(FWSPEC -> fw[d] : al[d])
#define SAME(a, b)	(grp[a] && grp[a] == grp[b])
#define CLASH(a, b)	(grp[a] && grp[b] && grp[a] != grp[b] && (ctx[a] & ctx[b]) \
			 && (drv[a] == 2 || drv[b] == 2))
#define NOCLASH		(!CLASH(B, X) && !CLASH(B, Y) && !CLASH(X, Y))
/* iommu_device_is_finished() */
#define READY(d)	(!PASSES || (finished[d] && !(REL && gone[d])))
/* pci_devs_are_dma_aliases() */
#define ALIASES(a, b)	((al[a] & (1 << b)) || (al[b] & (1 << a)) || \
			 (COMMON && (al[a] & al[b])))
#define USERS(g)	(grp[B] == g || grp[X] == g || grp[Y] == g)
#define MEMBER(d, g)	(grp[d] == g && listedin[d])
#define MEMBERS(g)	(MEMBER(B, g) || MEMBER(X, g) || MEMBER(Y, g))
#define UNATTACHABLE(d)	(FAIL == 2 && d == Y)

/* iommu_group_put(): the last reference frees. Inside atomic. */
inline PUT_GROUP(g)
{
	if
	:: !MEMBERS(g) -> gdef[g] = 0
	:: else
	fi;
	if
	:: !USERS(g) && !(REF && gpend[g]) -> galive[g] = 0; gown[g] = 0
	:: else
	fi
}

#define ATTACH(d, g)	if \
			:: MEMBER(d, g) && !UNATTACHABLE(d) -> ctx[d] = IDS(d) \
			:: else \
			fi

/*
 * iommu_setup_default_domain(): attaches every member. If one fails, the
 * others are attached and group->default_domain stays set. Inside atomic.
 */
inline SETUP_DOMAIN(g)
{
	gdef[g] = 1;
	ATTACH(B, g); ATTACH(X, g); ATTACH(Y, g);
	if
	:: MEMBER(Y, g) && UNATTACHABLE(Y) -> refused[Y] = 1
	:: else
	fi;
	RULE(P4, NOCLASH)
}

/* pci_device_group(). Inside atomic. */
inline DEVICE_GROUP(d, g)
{
	g = 0;
	if
	:: NONISO && d != B -> g = grp[B]
	:: else
	fi;
	if
	:: !g && NONISO && TOPO -> g = (grp[X] -> grp[X] : grp[Y])
	:: else
	fi;
	if
	:: !g && d == X && ALIASES(X, Y) -> g = grp[Y]
	:: !g && d == Y && ALIASES(X, Y) -> g = grp[X]
	:: else
	fi;
	if
	:: !g -> ngrp++; assert(ngrp < NG); g = ngrp; galive[g] = 1
	:: else
	fi
}

/*
 * of_iommu_configure() and its like, one section under iommu_probe_device_lock.
 * err 1: no such IOMMU, 2: -EPROBE_DEFER. made: it was the first to see the
 * device and has to "replay" the probe; mainline does with OF, not with ACPI.
 */
inline READ_FIRMWARE(d, err, made)
{
	atomic {
		probe_lock == 0 ->
		err = 0; made = 0;
		if
		:: !FWSPEC || fw[d]
		:: else ->
			if
			:: !listed -> err = 1
			:: listed && !iommu[d] && !ready -> err = 2
			:: else -> made = (REPLAY && !iommu[d]); iommu[d] = 1; fw[d] = al[d]
			fi
		fi
	}
}

/* iommu_device_use_default_domain(); err 2 = -EPROBE_DEFER */
inline USE_DEFAULT(d, g, err)
{
	if
	:: GATE ->
		atomic {	/* iommu_probe_device_lock, group->mutex inside */
			probe_lock == 0 ->
			g = grp[d];
			if
			:: !g && iommu[d] -> err = 2
			:: !g && !iommu[d] -> err = 0
			:: g ->
				RULE(P5, galive[g] && listedin[d] == 1);
				if
				:: !gdef[g] -> err = 2
				:: else -> gown[g]++
				fi
			fi
		}
	:: else ->
		g = grp[d];
		if
		:: g -> atomic {	/* group->mutex */
				RULE(P5, galive[g]);
				if
				:: !gdef[g] -> err = 2
				:: else -> gown[g]++
				fi
			}
		:: else
		fi
	fi
}

/* iommu_device_unuse_default_domain(), for a driver that leaves. */
inline UNBIND(d, g)
{
	if
	:: drv[d] == 2 ->
		g = grp[d];
		atomic {	/* group->mutex */
			if
			:: g ->
				RULE(P5, galive[g]);
				if
				:: !exc[d] -> RULE(P6, gown[g] > 0); gown[g]--
				:: else
				fi
			:: else
			fi;
			drv[d] = 0; exc[d] = (exc[d] && !g); g = 0
		}
	:: else
	fi
}

/*
 * The IOMMU driver fails: no group, and no dev->iommu or a new one that keeps
 * drivers away. Inside atomic.
 */
inline GIVE_BACK(d, g, keep, bad)
{
	listedin[d] = 0; grp[d] = 0; iommu[d] = keep; fw[d] = 0; ctx[d] = 0;
	refused[d] = 1; bad = 1;
	PUT_GROUP(g)
}

/*
 * __iommu_probe_device(), under iommu_probe_device_lock. mine: the caller has a
 * list for groups whose default domain is left for later, pend. Out: made, if
 * there was no IOMMU, bad, if its driver failed, err, 2 = -EPROBE_DEFER.
 */
inline PROBE(d, mine, pend, g, go, again, err, made, bad)
{
	LOCK(probe_lock);
	again = 1;
	bad = 0;
	do
	:: !again -> break
	:: again ->
		again = 0;
		go = 0;
		if
		:: grp[d] || !READY(d)
		:: else ->
			iommu[d] = 1;
			go = 1;
			if
			:: !fw[d] && !drv[d] ->
				/* bus->dma_configure() with the lock dropped */
				UNLOCK(probe_lock);
				go = (!FW && drv[d]);	/* pci_dma_configure() looks once */
				READ_FIRMWARE(d, err, made);
				if
				:: go && !err -> USE_DEFAULT(d, g, err)
				:: else
				fi;
				LOCK(probe_lock);
				if
				:: grp[d] -> go = 0
				:: !grp[d] && !iommu[d] -> go = 0; again = (RETRY && READY(d))
				:: !grp[d] && iommu[d] && REL && !READY(d) ->
					go = 0;
					atomic { iommu[d] = 0; fw[d] = 0 }
				:: else -> go = 1
				fi
			:: else
			fi
		fi;
		made = 0; err = 0;
		if
		:: go -> atomic {
				RULE(P5, iommu[d]);
				made = !listed;
				if
				:: !listed || (FWSPEC && !fw[d]) ->
					iommu[d] = 0; fw[d] = 0; go = 0
				:: listed && (!FWSPEC || fw[d]) && FAIL == 1 && d == Y ->
					g = 0; go = 0;
					GIVE_BACK(d, g, REFUSE, bad)
				:: else
				fi
			}
		:: else
		fi;
		if
		:: go ->
			atomic {
				RULE(P5, iommu[d]);
				link[d] = (HOLD > 2 && !link[d] -> 1 + leaving : link[d]);
				if
				:: HOLD == 4 && link[d] == 2 ->
					iommu[d] = 0; fw[d] = 0; go = 0; err = 2
				:: else ->
					DEVICE_GROUP(d, g); grp[d] = g;
					exc[d] = (exc[d] && drv[d])
				fi
			}
		:: else
		fi;
		if
		:: go ->
			atomic {	/* group->mutex */
				RULE(P5, iommu[d] && galive[g]);
				listedin[d]++;
				if
				:: gdef[g] && UNATTACHABLE(d) -> GIVE_BACK(d, g, KEEP, bad)
				:: gdef[g] && !UNATTACHABLE(d) ->
					ctx[d] = IDS(d);
					RULE(P4, NOCLASH)
				:: !gdef[g] && !mine ->
					SETUP_DOMAIN(g);
					if
					:: refused[Y] && grp[Y] == g -> GIVE_BACK(d, g, KEEP, bad)
					:: else
					fi
				:: !gdef[g] && mine && !gpend[g] ->
					gpend[g] = 1; pend = pend | (1 << g)
				:: else
				fi
			}
		:: else
		fi
	od;
	g = 0; go = 0;
	UNLOCK(probe_lock)
}

#define DROP(d, g, bad)	if \
			:: MEMBER(d, g) -> GIVE_BACK(d, g, 1, bad) \
			:: else \
			fi

/* iommu_finish_groups() */
inline FINISH_GROUPS(pend, g, bad)
{
	g = 1;
	do
	:: g < NG && (pend & (1 << g)) ->
		atomic {	/* group->mutex, since KEEP inside iommu_probe_device_lock */
			!KEEP || probe_lock == 0;
			RULE(P5, galive[g] && (REF || MEMBERS(g)));
			gpend[g] = 0;
			if
			:: MEMBERS(g) && !gdef[g] ->
				SETUP_DOMAIN(g);
				if
				:: refused[Y] && grp[Y] == g && KEEP ->
					DROP(B, g, bad); DROP(X, g, bad); DROP(Y, g, bad)
				:: refused[Y] && grp[Y] == g && !KEEP -> bad = 1
				:: else
				fi
			:: else
			fi;
			PUT_GROUP(g);
			g++
		}
	:: g < NG && !(pend & (1 << g)) -> g++
	:: g == NG -> break
	od;
	pend = 0; g = 0
}

/*
 * __iommu_release_device(). ours: by remove_iommu_group(), which looks
 * whether the device is with the IOMMU that leaves.
 */
inline RELEASE(d, g, ours)
{
	if
	:: REL -> LOCK(probe_lock)
	:: else
	fi;
	if
	:: ours && !(iommu[d] && (grp[d] || refused[d]))
	:: else ->
		g = grp[d];
		if
		:: g -> atomic {	/* group->mutex */
				if
				:: MEMBER(d, g) ->
					listedin[d]--; iommu[d] = 0; fw[d] = 0; ctx[d] = 0;
					grp[d] = 0
				:: else
				fi;
				PUT_GROUP(g)
			}
		:: else
		fi;
		atomic {	/* dev_iommu_free() */
			iommu[d] = 0; fw[d] = 0;
			exc[d] = (exc[d] || (ours && drv[d] == 2 && HOLD < 2))
		}
	fi;
	g = 0;
	if
	:: REL -> UNLOCK(probe_lock)
	:: else
	fi
}

/* device_release_driver() */
inline RELEASE_DRIVER(d, g)
{
	LOCK(dlock[d]);
	if
	:: drv[d] == 2 ->
		UNBIND(d, g)
	:: else
	fi;
	UNLOCK(dlock[d])
}

/* driver_probe_device() */
inline BIND(d, g, go, again, err, made, saw, none, bad)
{
	LOCK(dlock[d]);
	atomic {	/* device_links_check_suppliers() */
		if
		:: HOLD > 2 && link[d] && (link[d] == 2 || !supplier) ->
			err = 1; waiting[d] = 1
		:: else -> trying[d] = (HOLD > 2)
		fi
	};
	if
	:: !err && allow[d] && !dead[d] && !drv[d] ->
		drv[d] = 1;
		READ_FIRMWARE(d, err, made);
		/* without such an IOMMU go on untranslated, or wait for it */
		if
		:: err == 1 -> saw = 0; err = 2 - 2 * NOWAIT
		:: err == 0 -> saw = (FWSPEC || ready)
		:: else
		fi;
		if
		:: made -> PROBE(d, 0, none, g, go, again, err, made, bad); saw = !made
		:: else
		fi;
		if
		:: !err -> USE_DEFAULT(d, g, err)
		:: else
		fi;
		/* the driver's probe() */
		atomic {
			if
			:: err -> drv[d] = 0; waiting[d] = (err == 2)
			:: else ->
				drv[d] = 2; waiting[d] = 0;
				exc[d] = (!saw && !g);
				RULE(P1, exc[d] || !listed || (grp[d] && ctx[d] == al[d]));
				RULE(P4, NOCLASH)
			fi;
			made = 0; g = 0; go = 0; again = 0; saw = 0; bad = 0;
			link[d] = (drv[d] == 2 && link[d] -> 1 : link[d])
		}
	:: else
	fi;
	atomic { err = 0; trying[d] = 0; UNLOCK(dlock[d]) }
}

/* The final fixup of X adds an alias */
inline FINAL_FIXUP(d)
{
	if
	:: d == X -> atomic {
			RULE(P2, PASSES || !grp[X]);
			RULE(P2, !finished[X]);
			al[X] = al[X] | LATEID
		}
	:: else
	fi
}

/* Under pci_rescan_remove_lock: scan, then pci_bus_add_devices() */
proctype Add()
{
	byte d, g, pend, none, err;
	bool go, again, made, saw, bad;

	LOCK(rescan_lock);
	do
	:: d < N ->
		klist[d] = 1;			/* device_add() */
		if
		:: !PASSES -> PROBE(d, 0, pend, g, go, again, err, made, bad)
		:: else				/* the notifier passes it over */
		fi;
		d++
	:: d == N -> break
	od;
	d = 0;
	do
	:: d < N && PASSES ->			/* pass 1 */
		if
		:: !fixups_wait -> FINAL_FIXUP(d); finished[d] = 1
		:: else
		fi;
		d++
	:: else -> break
	od;
	d = 0;
	do
	:: d < N && PASSES ->			/* pass 2 */
		PROBE(d, 1, pend, g, go, again, err, made, bad);
		d++
	:: else -> break
	od;
	FINISH_GROUPS(pend, g, bad);
	d = 0;
	do
	:: d < N ->				/* pass 3, or pci_bus_add_device() */
		if
		:: !PASSES && !fixups_wait -> FINAL_FIXUP(d)
		:: else
		fi;
		allow[d] = 1;
		if
		:: driver_there && (DRIVERS & (1 << d)) ->
			BIND(d, g, go, again, err, made, saw, none, bad)
		:: else
		fi;
		added[d] = 1;
		d++
	:: d == N -> break
	od;
	atomic { UNLOCK(rescan_lock); d = 0; made = 0; bad = 0; err = 0; done++ }
}

/* pci_apply_final_quirks() */
proctype Quirks()
{
	byte d, g, pend, err;
	bool go, again, made, bad;

	LOCK(rescan_lock);
	fixups_wait = 0;
	do
	:: d < N ->
		if
		:: klist[d] -> FINAL_FIXUP(d)
		:: else
		fi;
		d++
	:: d == N -> break
	od;
	d = 0;
	do
	:: d < N && PASSES ->
		if
		:: added[d] -> finished[d] = 1
		:: else
		fi;
		d++
	:: else -> break
	od;
	d = 0;
	do
	:: d < N && PASSES ->
		if
		:: klist[d] -> PROBE(d, 1, pend, g, go, again, err, made, bad)
		:: else
		fi;
		d++
	:: else -> break
	od;
	FINISH_GROUPS(pend, g, bad);
	atomic { UNLOCK(rescan_lock); quirks_done = 1; d = 0; made = 0; bad = 0; err = 0; done++ }
}

/* iommu_device_register() */
inline REGISTER(d, pend, g, go, again, err, made, bad, failed)
{
	atomic { leaving = 0; listed = 1 };
	do
	:: d < N && !failed ->
		if
		:: klist[d] ->
			PROBE(d, 1, pend, g, go, again, err, made, bad);
			failed = (bad && !KEEP)
		:: else
		fi;
		d++
	:: else -> break
	od;
	FINISH_GROUPS(pend, g, bad);
	atomic {
		failed = (bad && !KEEP);
		d = 0; made = 0; bad = 0; err = 0;
		ready = (ready || !failed); supplier = !failed
	}
}

/*
 * __device_release_driver() of the IOMMU's driver, before its remove(). A pass
 * over the links that finds nobody in the way is made under their lock.
 */
inline UNBIND_CONSUMERS(d, g, again)
{
	leaving = 1;
	again = 1;
	do
	:: again ->
		atomic {
			again = 0;
			do
			:: d < N && link[d] == 1 && trying[d] ->
				!trying[B] && !trying[X] && !trying[Y];
				d = 0
			:: d < N && link[d] == 1 && !trying[d] ->
				link[d] = 2;
				if
				:: drv[d] == 2 -> again = 1; break
				:: else -> d++
				fi
			:: d < N && link[d] != 1 -> d++
			:: d == N -> break
			od
		};
		if
		:: again ->
			RELEASE_DRIVER(d, g);
			atomic { again = 1; d = 0 }
		:: else
		fi
	:: else -> break
	od;
	d = 0
}

/* iommu_device_unregister() */
inline UNREGISTER(d, g)
{
	if
	:: UNREG -> atomic { probe_lock == 0 -> listed = 0; ready = 0 }
	:: else
	fi;
	do
	:: d < N ->
		if
		:: klist[d] && iommu[d] && (grp[d] || refused[d]) ->
			if
			:: HOLD == 1 || HOLD == 2 ->
				LOCK(dlock[d]);
				if
				:: HOLD == 2 -> UNBIND(d, g)	/* never without a group */
				:: else
				fi;
				RELEASE(d, g, 1);
				UNLOCK(dlock[d])
			:: else -> RELEASE(d, g, 1)
			fi
		:: else
		fi;
		d++
	:: d == N -> break
	od;
	atomic {
		listed = 0; d = 0;
		supplier = 0;
		link[B] = (link[B] > 0); link[X] = (link[X] > 0); link[Y] = (link[Y] > 0)
	}
}

proctype Iommu()
{
	byte d, g, pend, none, err, round;
	bool go, again, made, bad, failed;

	do
	:: round == 0 || (round == 1 && IOMMU == 3 && !failed) ->
		REGISTER(d, pend, g, go, again, err, made, bad, failed);
		round++;
		if
		:: failed -> UNREGISTER(d, g)
		:: !failed && IOMMU > 1 && round == 1 ->
			if
			:: HOLD > 2 -> UNBIND_CONSUMERS(d, g, again)
			:: else
			fi;
			UNREGISTER(d, g)
		:: else
		fi
	:: else -> break
	od;
	atomic { iommu_settled = 1; done++ }
}

/* driver_register(), then the deferred probes once all else is settled */
proctype Driver()
{
	byte d, g, none, err;
	bool go, again, made, saw, bad, round;

	!BOOT || EARLY || quirks_done;	/* most drivers are device_initcalls */
	driver_there = 1;
	do
	:: d < N ->
		if
		:: (DRIVERS & (1 << d)) && klist[d] && (!round || waiting[d]) ->
			BIND(d, g, go, again, err, made, saw, none, bad)
		:: else
		fi;
		d++
	:: d == N && !round ->
		round = 1; d = 0;
		(iommu_settled && done >= actors - 1)
	:: d == N && round -> break
	od;
	atomic { d = 0; done++ }
}

/* pci_stop_and_remove_bus_device_locked(X), or the first half of it only */
proctype Remove()
{
	byte g;

	LOCK(rescan_lock);
	if
	:: added[X] ->
		added[X] = (REMOVE == 2);	/* pci_stop_dev() */
		if
		:: STOP && REMOVE == 1 -> atomic { dlock[X] == 0 -> dead[X] = 1 }
		:: else
		fi;
		RELEASE_DRIVER(X, g);
		if
		:: REMOVE == 1 ->
			gone[X] = 1;		/* pci_destroy_dev() */
			atomic { dlock[X] == 0 -> dead[X] = 1 };	/* device_del() */
			klist[X] = 0;		/* a walk may still hold a reference */
			RELEASE_DRIVER(X, g);
			RELEASE(X, g, 0);	/* BUS_NOTIFY_REMOVED_DEVICE */
			removed[X] = 1
		:: else
		fi
	:: else
	fi;
	atomic { UNLOCK(rescan_lock); done++ }
}

/*
 * Somebody calls pci_add_dma_alias(Y). pci_dma_alias_lock covers its test and
 * set, and where FINISHED is set; as nothing else happens in either section,
 * each is one step.
 */
proctype LateAlias()
{
	if
	:: PASSES && ALIAS -> atomic {
			if
			:: !finished[Y] -> al[Y] = al[Y] | 8
			:: else
			fi
		}
	:: PASSES && !ALIAS ->
		if
		:: !finished[Y] -> atomic { RULE(P2, !finished[Y]); al[Y] = al[Y] | 8 }
		:: else
		fi
	:: else -> atomic { RULE(P2, !grp[Y]); al[Y] = al[Y] | 8 }
	fi;
	done++
}

#define GROUPED(d)	(grp[d] && listedin[d] == 1 && gdef[grp[d]])
#define NONE(d)		(!grp[d] && !listedin[d] && \
			 (!iommu[d] || (refused[d] && !removed[d] && listed)))
#define OWN(d, g)	(grp[d] == g && drv[d] == 2 && !exc[d])
#define OWNERS(g)	((OWN(B, g) -> 1 : 0) + (OWN(X, g) -> 1 : 0) + (OWN(Y, g) -> 1 : 0))

/* When all is quiet. Inside atomic. */
inline AT_REST(d)
{
	do
	:: d < N ->
		if
		:: removed[d] || !klist[d] || !listed -> RULE(P5, NONE(d))
		:: else ->
			RULE(P3, GROUPED(d) || refused[d] || exc[d]);
			RULE(P1, drv[d] != 2 || exc[d] || (grp[d] && ctx[d] == al[d]))
		fi;
		if
		:: grp[d] && !exc[B] && !exc[X] && !exc[Y] ->
			RULE(P6, gown[grp[d]] == OWNERS(grp[d]))
		:: else
		fi;
		d++
	:: d == N -> break
	od;
	if
	:: listed && !removed[X] && !refused[Y] && grp[X] && grp[Y] ->
		RULE(P3, SAME(X, Y) == (ALIASY || NONISO || (al[X] & al[Y]) != 0))
	:: else
	fi;
	if
	:: listed && NONISO && grp[B] && grp[Y] -> RULE(P3, SAME(B, Y))
	:: else
	fi;
	RULE(P4, NOCLASH)
}

init
{
	byte d;

	atomic {
		c_code {
			now.PASSES = setting("PASSES");
			now.REF = setting("REF");
			now.REL = setting("REL");
			now.UNREG = setting("UNREG");
			now.GATE = setting("GATE");
			now.RETRY = setting("RETRY");
			now.ALIAS = setting("ALIAS");
			now.TOPO = setting("TOPO");
			now.KEEP = setting("KEEP");
			now.REPLAY = setting("REPLAY");
			now.REFUSE = setting("REFUSE");
			now.FW = setting("FW");
			now.STOP = setting("STOP");
			now.COMMON = setting("COMMON");
			now.HOLD = setting("HOLD");
			now.FWSPEC = setting("FWSPEC");
			now.ALIASY = setting("ALIASY");
			now.NONISO = setting("NONISO");
			now.COLD = setting("COLD");
			now.BOOT = setting("BOOT");
			now.EARLY = setting("EARLY");
			now.IOMMU = setting("IOMMU");
			now.DRIVERS = setting("DRIVERS");
			now.NOWAIT = setting("NOWAIT");
			now.REMOVE = setting("REMOVE");
			now.LATE = setting("LATE");
			now.FAIL = setting("FAIL");
			now.RULES = setting("RULES");
		};
		al[B] = 1; al[X] = 2; al[Y] = 4;
		fixups_wait = BOOT;
		actors = !COLD + BOOT + (IOMMU > 0) + (DRIVERS > 0) + (REMOVE > 0) + LATE;
		if
		:: !IOMMU -> listed = 1; ready = 1; supplier = 1; iommu_settled = 1
		:: else -> run Iommu()
		fi;
		if
		:: COLD ->
			al[X] = al[X] | LATEID;
			do
			:: d < N -> klist[d] = 1; finished[d] = 1; allow[d] = 1; added[d] = 1; d++
			:: d == N -> break
			od
		:: else -> run Add()
		fi;
		if
		:: BOOT -> run Quirks()
		:: else
		fi;
		if
		:: DRIVERS -> run Driver()
		:: else
		fi;
		if
		:: REMOVE -> run Remove()
		:: else
		fi;
		if
		:: LATE -> run LateAlias()
		:: else
		fi;
		d = 0
	};
	atomic { done == actors -> AT_REST(d) }
}
