/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Looks after the host names of the policy in force: resolves them again when their TTL is over, and
 * puts the policy in force once more where they stand for other addresses.
 *
 * Included by: ctl/app_watch.c. Threading: forks; the caller has one thread.
 */
#ifndef IPSECBPF_NAMES_WATCH_H
#define IPSECBPF_NAMES_WATCH_H

#include <stdbool.h>
#include <stdint.h>

#include "paths.h"
#include "policy.h"
#include "report.h"

#define NAMES_WAIT_MIN_S     5
#define NAMES_WAIT_MAX_S     3600
#define NAMES_WAIT_DEFAULT_S 60	 /* of names that are not from DNS */
#define NAMES_WAIT_RETRY_S   15	 /* after a name's first failure; doubled each time */
#define NAMES_WAIT_FAILED_S  300 /* at most */
#define NAMES_APPLY_S	     30	 /* between two policies that the watch puts in force */
#define NAMES_HOLD_S	     300 /* until what cannot be in force is tried again */

struct names_watch {
	const char *ifname;
	struct name_table known;	/* of the policy's names, by the looks so far */
	uint64_t applied_ns;		/* CLOCK_MONOTONIC, when it last put a policy in force; 0: never */
	bool all;			/* in: all names are due; taken back by the look */
	bool none;			/* out: there is no policy, or it has no names */
	bool detached;			/* out */
	uint32_t wait_s;		/* out: until the next look */
};

/*
 * One look: asks for the names that are due, the one first that was asked for longest ago. What is put
 * in force is a note in the report, per name; what cannot be resolved, or be in force, a warning, and
 * its own: other names do not wait for it. 0, or -errno, explained: to be looked at again after wait_s.
 */
int names_watch_look(struct names_watch *watch, struct ipsecbpf_report *report);
void names_watch_fini(struct names_watch *watch);

/* When a name is to be asked for again, seconds after it was. */
uint32_t names_wait(const struct name_addresses *entry);

/* Where a watch writes what its last looks said, for who wants to know: RUN_ROOT/<dir>.names, as the store
 * (names_file_read()). */
void names_look_path(const struct paths *paths, char out[256]);

#endif /* IPSECBPF_NAMES_WATCH_H */
