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

#include "report.h"

#define NAMES_WAIT_MIN_S     5
#define NAMES_WAIT_MAX_S     3600
#define NAMES_WAIT_DEFAULT_S 60	/* of names that are not from DNS */
#define NAMES_WAIT_RETRY_S   15	/* after a failure, at most */

struct names_watch {
	const char *ifname;
	bool pending;		/* addresses have changed that are not in force yet */
	bool applied;		/* out: the policy was put in force anew by this look */
	bool none;		/* out: there is no policy, or it has no names */
	uint32_t wait_s;	/* out: until the next look */
};

/*
 * One look. What has changed is a note in the report, per name; what cannot be resolved a warning. 0;
 * -ENOENT: not attached; or -errno, explained: to be looked at again after wait_s.
 */
int names_watch_look(struct names_watch *watch, struct ipsecbpf_report *report);

#endif /* IPSECBPF_NAMES_WATCH_H */
