// SPDX-License-Identifier: BSD-2-Clause
/* Which SAs a policy cannot do without on one interface. Pure. */
#include <errno.h>
#include <stdlib.h>

#include "policy_internal.h"

static int compare_needs(const void *a, const void *b)
{
	const struct policy_pair *x = &((const struct policy_need *)a)->pair;
	const struct policy_pair *y = &((const struct policy_need *)b)->pair;

	if (x->peer != y->peer)
		return x->peer < y->peer ? -1 : 1;
	return x->protection < y->protection ? -1 : x->protection > y->protection;
}

/* Sorted by pair: one of each, with the directions of all. */
static size_t merge(struct policy_need *needs, size_t count)
{
	size_t kept = 0;

	for (size_t i = 0; i < count; i++) {
		if (!kept || compare_needs(&needs[kept - 1], &needs[i])) {
			needs[kept++] = needs[i];
			continue;
		}
		for (int way = 0; way < SPD_DIRECTION_COUNT; way++)
			needs[kept - 1].needed[way] |= needs[i].needed[way];
	}
	return kept;
}

int policy_needs(const struct policy *policy, const char *ifname, struct policy_need **ret_needs,
		 size_t *ret_count)
{
	/* A rule, and the pairs around its own. */
	struct policy_need *needs = calloc(policy->all_rule_count * BUNDLE_MAX + 1, sizeof(*needs));
	size_t count = 0;

	if (!needs)
		return -ENOMEM;
	for (size_t i = 0; i < policy->all_rule_count; i++) {
		const struct rule *rule = &policy->rules[i];
		struct policy_need need = {
			.pair = { .peer = rule->peer, .protection = rule->protection },
			.needed[SPD_IN] = rule->direction != RULE_OUT,
			.needed[SPD_OUT] = rule->direction != RULE_IN,
		};
		struct policy_pair outer;

		if (rule->action != SPD_PROTECT || rule->level == LEVEL_OPTIONAL ||
		    rule->peer == PEER_NONE || !rule_applies_to(rule, ifname))
			continue;
		needs[count++] = need;
		for (int depth = 1; depth < BUNDLE_MAX &&
				    policy_outer_pair(policy, need.pair, &outer); depth++) {
			need.pair = outer;
			needs[count++] = need;
		}
	}
	qsort(needs, count, sizeof(*needs), compare_needs);
	*ret_count = merge(needs, count);
	*ret_needs = needs;
	return 0;
}
