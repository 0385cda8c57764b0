/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * "did you mean": the word nearest to a misspelt one.
 *
 * Included by: json_read, policy_json, the CLI.
 * Ownership:   borrows every string. No allocation.
 *
 *	struct suggest near = { .word = given };
 *	for (...)
 *		suggest_offer(&near, candidate);
 *	if (near.best) ...
 */
#ifndef IPSECBPF_SUGGEST_H
#define IPSECBPF_SUGGEST_H

#include <stddef.h>

struct suggest {
	const char *word;
	const char *best;	/* NULL: nothing offered so far is near */
	size_t distance;	/* of best: edits, swapped neighbours count once */
};

/* Keeps `candidate` if it is nearer than the best so far, and near enough to be meant. */
void suggest_offer(struct suggest *suggest, const char *candidate);

#endif /* IPSECBPF_SUGGEST_H */
