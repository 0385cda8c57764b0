/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Applications of a live attachment: who they are by the policy in force, what they have open and
 * what became of their packets.
 *
 * Included by: the CLI's app, explain and metrics. Part of the public interface.
 * Ownership:   struct app_live is the caller's; app_live_close() after a successful open.
 */
#ifndef IPSECBPF_APP_LIVE_H
#define IPSECBPF_APP_LIVE_H

#include "app_candidates.h"
#include "app_identity.h"
#include "ipsecbpf.h"
#include "pin.h"
#include "rule_counts.h"
#include "socket_names.h"

struct app_live {
	struct pins pins;
	struct policy *policy;
	uint32_t generation;
	const union spd_cell *cells;	/* of that policy; until it is closed */
	void *snapshot;			/* what holds them */
};

/* 0, -ENODATA (no policy is loaded) or -errno, explained. */
int app_live_open(struct app_live *live, const char *ifname, struct ipsecbpf_report *report);
void app_live_close(struct app_live *live);

/*
 * The same for who looks again and again: the policy is read anew only if it is another one. *kept
 * is zeroed at first, and to be freed with app_live_forget() when the attachment is another one.
 */
struct app_live_policy {
	struct policy *policy;		/* NULL: none yet */
	uint32_t serial;
};
int app_live_reopen(struct app_live *live, const char *ifname, struct app_live_policy *kept,
		    struct ipsecbpf_report *report);
void app_live_close_keep(struct app_live *live, struct app_live_policy *kept);
void app_live_forget(struct app_live_policy *kept);

/* Index of an application by its name; SIZE_MAX, with the nearest name in report. */
size_t app_find(const struct policy *policy, const char *name, const char *object,
		struct ipsecbpf_report *report);

/* ---- sockets -------------------------------------------------------------------------------- */

struct app_socket_info {
	pid_t pid;		/* one that has it open */
	char program[64];	/* the last component of its executable; "": unknown */
	uint8_t proto;
	bool listening, connected;
	bool noted;		/* by a hook; otherwise it is what the process is now */
	struct socket_name local, remote;	/* port 0: not bound, not connected */
	uint32_t app;		/* from 1; 0: none */
};

/* Of all processes, or of `pid`. *ret_items is malloc'd. 0, -ESRCH or -errno, explained. */
int app_live_sockets(const struct app_live *live, pid_t pid, struct app_socket_info **ret_items,
		     size_t *ret_count, struct ipsecbpf_report *report);

/* ---- what they do --------------------------------------------------------------------------- */

enum app_traffic_class { TRAFFIC_PROTECTED, TRAFFIC_CLEAR, TRAFFIC_DROPPED, TRAFFIC_CLASSES };
const char *app_traffic_name(unsigned int class);	/* "protected", "clear", "dropped" */

struct app_traffic {
	uint64_t packets, bytes;	/* as its rules have counted them, both directions */
};

struct app_info {
	const char *name;		/* the policy's */
	uint64_t connections;		/* noted */
	uint64_t endpoints;		/* local addresses and ports that it is spoken to at */
	uint32_t sas;			/* installed, of pairs that its rules protect by */
	struct app_traffic traffic[TRAFFIC_CLASSES];
};

/* What rules have counted, by application: items[i] is of application i + 1. `sums`: of each slot
 * (see RULE_COUNT_SLOTS()). */
void app_traffic_sum(const struct policy *policy, const struct rule_count *sums,
		     struct app_info *items);

/* One for each application of the policy, in its order. *ret_items is malloc'd. 0 or -errno,
 * explained. */
int app_live_list(const struct app_live *live, struct app_info **ret_items,
		  struct ipsecbpf_report *report);

#endif /* IPSECBPF_APP_LIVE_H */
