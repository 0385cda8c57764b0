/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Why a process is which application: every match of the policy that it fulfils, and why the others
 * lost to the first of them. Pure.
 *
 * Included by: the CLI's `app identify` and `run`, unit tests.
 */
#ifndef IPSECBPF_APP_CANDIDATES_H
#define IPSECBPF_APP_CANDIDATES_H

#include "policy_match.h"

struct app_candidate {
	size_t app;		/* index into policy->applications */
	size_t match;		/* index into its matches */
	bool decided;		/* the one that counts */
	const char *lost;	/* why not; NULL: it decided */
};

/* All that match, in file order. *ret_items is malloc'd. 0 or -ENOMEM. */
int app_candidates(const struct app_patterns *patterns, const struct app_identity *who,
		   struct app_candidate **ret_items, size_t *ret_count);

/* "cgroup /a/b, user ftp": a match as people write it. */
const char *app_match_text(const struct app_match *match, char *out, size_t out_len);

#endif /* IPSECBPF_APP_CANDIDATES_H */
