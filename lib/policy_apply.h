/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Puts a policy in force: compile it, fill the spare generation, flip once, free the old one after the
 * kernel's grace period. Included by: policy_apply.c, attach.c, names_watch.c, oracle.c.
 * Threading: under the attachment's lock.
 */
#ifndef IPSECBPF_POLICY_APPLY_H
#define IPSECBPF_POLICY_APPLY_H

#include "ipsecbpf.h"
#include "pin.h"

/* How a policy is put in force. Zeroed: for good, and not kept on disk. */
struct policy_install_opts {
	bool dry_run;			/* all but the flip */
	bool keep;			/* as the last good one; not for a trial */
	bool keep_if_possible;		/* the same; if not, that is a warning */
	uint32_t trial_seconds;		/* 0: for good */
	bool attaching;			/* no map is pinned yet: the caller sees to the socket hooks */
};

/* As ipsecbpf_policy_apply(), on open pins, the lock being held by the caller (not for a dry run).
 * No trial is running. */
int policy_install(const struct pins *pins, const char *ifname, const struct policy *policy,
		   const struct policy_install_opts *opts,
		   struct ipsecbpf_apply_result *ret_result, struct ipsecbpf_report *report);

/*
 * Puts the policy in force once more, expanded with other addresses. -EAGAIN: another than `identity`
 * (policy_identity()) is in force by now, or one is on trial, or the whole attachment is.
 */
int policy_reapply(const struct pins *pins, const struct policy *policy, uint32_t identity,
		   struct ipsecbpf_apply_result *ret_result, struct ipsecbpf_report *report);

/* Tells the supervisor that the policy in force has host names, or may have: somebody has to watch them.
 * Without a supervisor nobody does: a warning. */
void policy_watch_names(const struct pins *pins, struct ipsecbpf_report *report);

#endif /* IPSECBPF_POLICY_APPLY_H */
