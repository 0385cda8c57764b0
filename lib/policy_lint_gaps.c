// SPDX-License-Identifier: BSD-2-Clause
/*
 * One family protected, the other in the clear. What is asked of a rule does not depend on its own
 * addresses, for those of the other family are others: rules that are alike in everything else form a
 * kind, and each kind is looked into once.
 */
#include <stdlib.h>
#include <string.h>

#include "policy_internal.h"
#include "rule_space.h"

const char *const lint_family_words[] = { [FAMILY_V4] = "IPv4", [FAMILY_V6] = "IPv6" };

#define NO_GAP SIZE_MAX
#define GAP_BY_DEFAULTS (SIZE_MAX - 1)
#define SCAN_WORK 8	/* rules of a plain loop that cost as much as a box in the tree */

/* A rule that protects one family only: that of its kind and peer, in the other one. */
struct half {
	uint32_t kind, family, peer, rule;
};

struct lint_gaps {
	const struct linting *linting;
	size_t *answer;		/* of each rule: the rule that lets the same pass, or one of the above */
	uint32_t *kind;		/* of each rule */
	uint32_t *model;	/* of each kind: a rule */
	size_t kind_count;
	bool *covers;		/* of each kind: all that the one in question has, but for addresses */
	uint32_t *first_of_peer, *next_of_peer;	/* rules that protect; rule_count: no more */
};

/* ---- kinds ---- */

static bool is_alike(const struct selector *a, const struct selector *b)
{
	return a->any_protocol == b->any_protocol &&
	       !memcmp(a->protocols, b->protocols, sizeof(a->protocols)) &&
	       selector_covers_upper(a, b) && selector_covers_upper(b, a);
}

static uint64_t mix(uint64_t hash, uint64_t value)
{
	hash = (hash ^ value) * 0x9e3779b97f4a7c15ull;
	return hash ^ hash >> 29;
}

static uint64_t mix_list(uint64_t hash, const struct port_list *list)
{
	hash = mix(hash, list->count);
	for (size_t i = 0; i < list->count; i++)
		hash = mix(hash, (uint64_t)list->items[i].lo << 16 | list->items[i].hi);
	return hash;
}

/* The same of rules that are alike. */
static uint64_t hash_upper(const struct selector *selector)
{
	const struct rule *rule = selector->rule;
	uint64_t hash = mix(rule->direction, rule->origin);

	hash = mix_list(hash, &selector->port[SIDE_LOCAL]);
	hash = mix_list(hash, &selector->port[SIDE_REMOTE]);
	hash = mix_list(hash, &selector->vlan);
	hash = mix_list(hash, &selector->dscp);
	for (int word = 0; word < 4; word++)
		hash = mix(hash, selector->protocols[FAMILY_V4][word] ^
				 selector->protocols[FAMILY_V6][word] << 1);
	if (rule->icmp_given)
		hash = mix(hash, rule->icmp_type_lo | rule->icmp_type_hi << 8 |
				 rule->icmp_code_lo << 16 | (uint64_t)rule->icmp_code_hi << 24);
	return hash;
}

static bool sort_into_kinds(struct lint_gaps *gaps)
{
	size_t count = gaps->linting->policy->rule_count, room = 16, at;
	const struct selector *selectors = gaps->linting->selectors;
	uint32_t *slots;	/* kind + 1 */
	bool memory;

	while (room < 2 * count)
		room *= 2;
	slots = calloc(room, sizeof(*slots));
	memory = slots != NULL;
	for (size_t i = 0; slots && i < count; i++) {
		at = hash_upper(&selectors[i]) & (room - 1);
		while (slots[at] && !is_alike(&selectors[gaps->model[slots[at] - 1]],
					      &selectors[i])) {
			rule_space_spend(gaps->linting->space, 1);
			at = (at + 1) & (room - 1);
		}
		if (!slots[at]) {
			gaps->model[gaps->kind_count++] = (uint32_t)i;
			slots[at] = (uint32_t)gaps->kind_count;
		}
		gaps->kind[i] = slots[at] - 1;
	}
	free(slots);
	return memory;
}

/* ---- what is alike in the other family ---- */

/* Does `outer` match, in `family`, all that `inner` does in the other one, but for addresses? */
static bool covers_twin(const struct selector *outer, const struct selector *inner,
			enum ip_family family)
{
	const uint64_t icmp = 1ull << PROTO_ICMP, icmpv6 = 1ull << PROTO_ICMPV6;
	uint64_t wanted;

	if (!selector_covers_upper(outer, inner))
		return false;
	for (int word = 0; word < 4; word++) {
		wanted = inner->protocols[!family][word];
		/* The protocol that each family has for itself; both, where any is meant. */
		if (word == 0 && !inner->any_protocol && wanted & (icmp | icmpv6))
			wanted = (wanted & ~(icmp | icmpv6)) | (family == FAMILY_V6 ? icmpv6 : icmp);
		if (wanted & ~outer->protocols[family][word])
			return false;
	}
	return true;
}

static void find_covering_kinds(struct lint_gaps *gaps, const struct half *half)
{
	const struct selector *selectors = gaps->linting->selectors;

	rule_space_spend(gaps->linting->space, gaps->kind_count);
	for (size_t i = 0; i < gaps->kind_count; i++)
		gaps->covers[i] = covers_twin(&selectors[gaps->model[i]], &selectors[half->rule],
					      half->family);
}

/* Is this rule about the same packets of the other family? */
static bool is_about(const struct lint_gaps *gaps, size_t rule, enum ip_family family)
{
	return gaps->covers[gaps->kind[rule]] &&
	       selector_matches_family(&gaps->linting->selectors[rule], family);
}

static bool has_twin(const struct lint_gaps *gaps, const struct half *half)
{
	size_t none = gaps->linting->policy->rule_count, looked = 0;
	uint32_t i = gaps->first_of_peer[half->peer];

	for (; i != none && !is_about(gaps, i, half->family); i = gaps->next_of_peer[i])
		looked++;
	rule_space_spend(gaps->linting->space, looked / SCAN_WORK);
	return i != none;
}

/* ---- what lets it pass ---- */

static bool covers_addresses(const struct selector *outer, const struct selector *inner,
			     enum ip_family family)
{
	for (int side = 0; side < SIDE_COUNT; side++)
		if (!address_list_covers(&outer->address[side][family],
					 &inner->address[side][family]))
			return false;
	return true;
}

static bool covers_family(const struct selector *selector, enum ip_family family)
{
	const struct address_range all = address_whole_family(family);

	for (int side = 0; side < SIDE_COUNT; side++) {
		const struct address_list *list = &selector->address[side][family];

		if (list->count != 1 || addr128_compare(list->items[0].lo, all.lo) ||
		    addr128_compare(list->items[0].hi, all.hi))
			return false;
	}
	return true;
}

struct stopping {
	const struct lint_gaps *gaps;
	size_t passing;
	enum ip_family family;
};

static bool stops(void *context, size_t rule)
{
	const struct stopping *stopping = context;
	const struct selector *selectors = stopping->gaps->linting->selectors;

	return is_about(stopping->gaps, rule, stopping->family) &&
	       covers_addresses(&selectors[rule], &selectors[stopping->passing], stopping->family);
}

/* Is what the rule `passing` would let pass taken care of before it? */
static bool is_stopped(const struct lint_gaps *gaps, size_t passing, enum ip_family family)
{
	struct stopping stopping = { gaps, passing, family };

	return rule_space_first(gaps->linting->space, &(struct rule_search){
		.relation = RULES_AROUND_HOSTS, .below = passing, .family = family,
		.action_lo = SPD_DISCARD, .action_hi = SPD_PROTECT,
		.accept = stops, .context = &stopping,
	}, passing) != RULE_NONE;
}

static bool defaults_pass(const struct policy *policy, const struct rule *rule)
{
	return (rule->direction != RULE_OUT && policy->default_action[SPD_IN] == SPD_BYPASS) ||
	       (rule->direction != RULE_IN && policy->default_action[SPD_OUT] == SPD_BYPASS);
}

static bool all_is_stopped(const struct lint_gaps *gaps, enum ip_family family)
{
	const struct rule *rules = gaps->linting->policy->rules;

	for (size_t i = 0; i < gaps->linting->policy->rule_count; i++)
		if (rules[i].action != SPD_BYPASS && is_about(gaps, i, family) &&
		    covers_family(&gaps->linting->selectors[i], family))
			return true;
	return false;
}

static size_t find_gap(const struct lint_gaps *gaps, const struct half *half)
{
	const struct policy *policy = gaps->linting->policy;

	rule_space_spend(gaps->linting->space, 2 * policy->rule_count / SCAN_WORK);
	for (size_t i = 0; i < policy->rule_count; i++)
		if (policy->rules[i].action == SPD_BYPASS && is_about(gaps, i, half->family) &&
		    !is_stopped(gaps, i, half->family))
			return i;
	if (defaults_pass(policy, &policy->rules[half->rule]) &&
	    !all_is_stopped(gaps, half->family))
		return GAP_BY_DEFAULTS;
	return NO_GAP;
}

/* ---- all halves, those that are answered alike next to each other ---- */

static int compare_halves(const void *a, const void *b)
{
	const struct half *x = a, *y = b;

	if (x->kind != y->kind)
		return x->kind < y->kind ? -1 : 1;
	if (x->family != y->family)
		return x->family < y->family ? -1 : 1;
	if (x->peer != y->peer)
		return x->peer < y->peer ? -1 : 1;
	return x->rule < y->rule ? -1 : x->rule > y->rule;
}

static size_t collect_halves(const struct lint_gaps *gaps, struct half *halves)
{
	const struct selector *selectors = gaps->linting->selectors;
	const struct policy *policy = gaps->linting->policy;
	size_t count = 0;

	for (size_t i = 0; i < policy->rule_count; i++) {
		if (policy->rules[i].action != SPD_PROTECT)
			continue;
		gaps->next_of_peer[i] = gaps->first_of_peer[policy->rules[i].peer];
		gaps->first_of_peer[policy->rules[i].peer] = (uint32_t)i;
		for (uint32_t family = 0; family < FAMILY_COUNT; family++)
			if (!selector_matches_family(&selectors[i], family))
				halves[count++] = (struct half){
					gaps->kind[i], family, (uint32_t)policy->rules[i].peer,
					(uint32_t)i,
				};
	}
	qsort(halves, count, sizeof(*halves), compare_halves);
	return count;
}

static void answer(struct lint_gaps *gaps, const struct half *halves, size_t count)
{
	bool twin = false, known = false;
	size_t gap = NO_GAP;

	for (size_t i = 0; i < count && gaps->linting->space->work; i++) {
		const struct half *half = &halves[i];
		bool same = i && half->kind == half[-1].kind && half->family == half[-1].family;

		if (!same) {
			find_covering_kinds(gaps, half);
			known = false;
		}
		if (!same || half->peer != half[-1].peer)
			twin = has_twin(gaps, half);
		if (twin)
			continue;
		if (!known)
			gap = find_gap(gaps, half);
		known = true;
		/* With no work left, rules that stop it may not have been found. */
		if (gaps->linting->space->work)
			gaps->answer[half->rule] = gap;
	}
}

static bool answer_all(struct lint_gaps *gaps)
{
	const struct policy *policy = gaps->linting->policy;
	/* Without a peer's address a rule may match neither family. */
	struct half *halves = calloc(FAMILY_COUNT * policy->rule_count + 1, sizeof(*halves));
	bool done = halves && sort_into_kinds(gaps);

	if (done)
		answer(gaps, halves, collect_halves(gaps, halves));
	free(halves);
	return done;
}

static bool any_half(const struct linting *linting)
{
	for (size_t i = 0; i < linting->policy->rule_count; i++)
		if (linting->policy->rules[i].action == SPD_PROTECT &&
		    !(selector_matches_family(&linting->selectors[i], FAMILY_V4) &&
		      selector_matches_family(&linting->selectors[i], FAMILY_V6)))
			return true;
	return false;
}

struct lint_gaps *lint_gaps_init(const struct linting *linting)
{
	size_t rules = linting->policy->rule_count, peers = linting->policy->peer_count;
	struct lint_gaps *gaps = calloc(1, sizeof(*gaps));
	bool done;

	if (!gaps)
		return NULL;
	gaps->linting = linting;
	gaps->answer = malloc((rules + 1) * sizeof(*gaps->answer));
	gaps->kind = calloc(3 * rules + peers + 1, sizeof(*gaps->kind));
	gaps->covers = calloc(rules + 1, sizeof(*gaps->covers));
	done = gaps->answer && gaps->kind && gaps->covers;
	if (done) {
		gaps->model = gaps->kind + rules;
		gaps->next_of_peer = gaps->model + rules;
		gaps->first_of_peer = gaps->next_of_peer + rules;
		for (size_t i = 0; i < rules; i++)
			gaps->answer[i] = NO_GAP;
		for (size_t i = 0; i < peers; i++)
			gaps->first_of_peer[i] = (uint32_t)rules;
		done = !any_half(linting) || answer_all(gaps);
	}
	if (done)
		return gaps;
	lint_gaps_fini(gaps);
	return NULL;
}

void lint_gaps_fini(struct lint_gaps *gaps)
{
	if (!gaps)
		return;
	free(gaps->answer);
	free(gaps->kind);
	free(gaps->covers);
	free(gaps);
}

void lint_gaps_warn(const struct lint_gaps *gaps, size_t index)
{
	const struct linting *linting = gaps->linting;
	const struct rule *rules = linting->policy->rules, *rule = &rules[index];
	enum ip_family family = selector_matches_family(&linting->selectors[index], FAMILY_V4) ?
				FAMILY_V6 : FAMILY_V4;
	const char *protected_word = lint_family_words[!family], *word = lint_family_words[family];
	size_t gap = gaps->answer[index];

	if (gap == GAP_BY_DEFAULTS)
		lint_warn(linting, FAMILY_GAP, rule, "rule \"%s\" protects %s, and the defaults let "
			  "the same pass as %s", rule->name, protected_word, word);
	else if (gap != NO_GAP)
		lint_warn(linting, FAMILY_GAP, rule, "rule \"%s\" protects %s, and rule \"%s\" at "
			  "line %u lets the same pass as %s", rule->name, protected_word,
			  rules[gap].name, rules[gap].at.line, word);
}
