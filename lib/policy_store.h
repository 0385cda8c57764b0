/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What a generation consists of in the maps: the snapshot that hooks search, the canonical text, the
 * names of protections and the counters of rules. Fill the spare one, flip (policy_trial.h), free the
 * old one.
 *
 * A hook that has begun under a generation may look it up until it is done. So nothing of a generation
 * is taken away, nor another put in its place, before all hooks that were at work have been waited
 * for since it was in force. Changing a map of maps waits (the kernel calls synchronize_rcu() for
 * it). So the text, which no hook reads, is the first that goes; a generation without text was never
 * in force, or has been waited for. A policy thus waits three times: for what it puts, for the hooks,
 * for what it takes away. With a generation goes what was counted of applications that only it named
 * (app_usage.h).
 *
 * Included by: policy_apply.c, policy_confirm.c, supervisor.c and those who read policy.
 * Threading:   writers under the attachment's lock; readers need none.
 */
#ifndef IPSECBPF_POLICY_STORE_H
#define IPSECBPF_POLICY_STORE_H

#include "pin.h"
#include "policy.h"

/* What holds for the whole policy of a generation. 0, -ENODATA (it has none) or -errno. */
int policy_read_head(const struct pins *pins, uint32_t generation, struct spd_head *ret_head);

/* Fills the generation that is not in force and has been freed. Counters of rules that are in the other
 * one as well go on. 0 or -errno. */
int policy_store(const struct pins *pins, uint32_t spare, const struct policy *policy,
		 const struct policy_compiled *compiled, const char *text);

/* Frees a generation that is not in force, nor will be, or what is left of one. Waits until no hook
 * uses it any more. */
void policy_free_generation(const struct pins *pins, uint32_t generation);

/* The same of one that has given way to the other for good: rules that are in both go on counting.
 * Warns if what they counted last cannot be carried over. */
void policy_retire_generation(const struct pins *pins, uint32_t generation,
			      struct ipsecbpf_report *report);

/* Whether this is the text of the generation. */
bool policy_text_is(const struct pins *pins, uint32_t generation, const char *text);

/* Whether the generation's snapshot is this one, but for its serial and time: addresses that host names
 * stand for are not in the text. */
bool policy_snapshot_is(const struct pins *pins, uint32_t generation,
			const struct policy_compiled *compiled);

/* Canonical text of the policy in force, malloc'd. NULL with ENODATA if none is loaded. */
char *policy_read_text(const struct pins *pins, size_t *ret_len);

/* As ipsecbpf_policy_live(), on open pins: rules have the file and the lines they were written at, if
 * those were kept (policy_source.h), and host names the addresses that this policy was put in force
 * with. NULL with ENODATA if none is loaded. */
struct policy *policy_read_live(const struct pins *pins, struct ipsecbpf_report *report);

/* policy_keep_prepare() of what is in force. 0 or -errno. */
struct policy_keeping;
int policy_keep_live(const struct pins *pins, struct policy_keeping *ret_keeping,
		     struct ipsecbpf_report *report);

#endif /* IPSECBPF_POLICY_STORE_H */
