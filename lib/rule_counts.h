/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The counters of a generation's rules (map `rule_counts`): made with the generation, carried over
 * from the one before.
 *
 * Row 0 of a new generation holds what the one before had counted, of rules that stayed the same:
 * it is set before the flip, at it and, as hooks may count there until they are done, set again
 * after that. Each CPU's row starts at 0. So nothing is counted twice. Sums do not go backwards,
 * but for one thing: when a trial goes back, what was counted on trial is lost with its generation.
 *
 * Included by: policy_store.c, rule_stats.c. Threading: writers under the attachment's lock.
 */
#ifndef IPSECBPF_RULE_COUNTS_H
#define IPSECBPF_RULE_COUNTS_H

#include "inner_map.h"
#include "pin.h"
#include "policy.h"

/* Counters for a policy, all 0, in no generation yet. 0 or -errno. */
int rule_counts_make(struct inner_map *map, const struct policy *policy);

/* Sets what rules of `to` have carried over from rules of `from` that are the same. 0 or -errno; a
 * generation without counters is no error. */
int rule_counts_carry(const struct pins *pins, uint32_t from, uint32_t to);

/* Octets that the counters of so many rules take. */
size_t rule_counts_memory(size_t rules, size_t apps);

/* Sums of the rows: one per slot, malloc'd, `digest` that of row 0. 0 or -errno. */
int rule_counts_sum(const struct inner_map *map, struct rule_count **ret_sums,
		    uint32_t *ret_slots);

#endif /* IPSECBPF_RULE_COUNTS_H */
