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
	struct rule_space kinds;	/* their models, without addresses */
	struct selector *kind_selectors;
	struct address_range whole[FAMILY_COUNT];
	/* Kinds that have all of the one in question, but for addresses: a list, and a mark of each. */
	uint32_t *covering;
	size_t covering_count;
	bool *covers;
	/* Rules of a family one after the other, in the file's order, ended by NO_RULE: those of a peer
	 * that protect, and those of a kind that bypass. */
	uint32_t *first_of_peer[FAMILY_COUNT], *first_of_kind[FAMILY_COUNT], *next[FAMILY_COUNT];
};

#define NO_RULE UINT32_MAX

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

/* Kinds are rules that name no hosts, so that the index finds those that cover another. */
static bool index_kinds(struct lint_gaps *gaps)
{
	struct selector *selector;

	for (int family = 0; family < FAMILY_COUNT; family++)
		gaps->whole[family] = address_whole_family(family);
	gaps->kind_selectors = calloc(gaps->kind_count, sizeof(*gaps->kind_selectors));
	for (size_t i = 0; i < gaps->kind_count && gaps->kind_selectors; i++) {
		selector = &gaps->kind_selectors[i];
		*selector = gaps->linting->selectors[gaps->model[i]];
		for (int side = 0; side < SIDE_COUNT; side++)
			for (int family = 0; family < FAMILY_COUNT; family++)
				selector->address[side][family] =
					(struct address_list){ &gaps->whole[family], 1 };
	}
	return gaps->kind_selectors &&
	       !rule_space_init(&gaps->kinds, gaps->kind_selectors, gaps->kind_count);
}

struct covering {
	struct lint_gaps *gaps;
	const struct half *half;
};

static bool note_covering(void *context, size_t kind)
{
	const struct covering *covering = context;
	const struct half *half = covering->half;
	struct lint_gaps *gaps = covering->gaps;

	if (covers_twin(&gaps->kind_selectors[kind], &gaps->linting->selectors[half->rule],
			half->family)) {
		gaps->covering[gaps->covering_count++] = (uint32_t)kind;
		gaps->covers[kind] = true;
	}
	return false;	/* all of them are wanted */
}

static void find_covering_kinds(struct lint_gaps *gaps, const struct half *half)
{
	struct covering covering = { gaps, half };

	for (size_t i = 0; i < gaps->covering_count; i++)
		gaps->covers[gaps->covering[i]] = false;
	gaps->covering_count = 0;
	gaps->kinds.work = gaps->linting->space->work;
	rule_space_first(&gaps->kinds, &(struct rule_search){
		.relation = RULES_AROUND_TWIN, .below = gaps->kind_count,
		.action_hi = SPD_PROTECT, .family = half->family,
		.accept = note_covering, .context = &covering,
	}, half->kind);
	gaps->linting->space->work = gaps->kinds.work;
	gaps->linting->space->cut_short += gaps->kinds.cut_short;
	gaps->kinds.cut_short = 0;
}

/* Is this rule about the same packets of the other family? */
static bool is_about(const struct lint_gaps *gaps, size_t rule, enum ip_family family)
{
	return gaps->covers[gaps->kind[rule]] &&
	       selector_matches_family(&gaps->linting->selectors[rule], family);
}

static bool has_twin(const struct lint_gaps *gaps, const struct half *half)
{
	uint32_t rule = gaps->first_of_peer[half->family][half->peer];
	size_t looked = 0;

	for (; rule != NO_RULE && !gaps->covers[gaps->kind[rule]];
	     rule = gaps->next[half->family][rule])
		looked++;
	rule_space_spend(gaps->linting->space, looked / SCAN_WORK);
	return rule != NO_RULE;
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

/* Is what the rule `passing` would let pass taken care of before it? Said to be if that is not known. */
static bool is_stopped(const struct lint_gaps *gaps, size_t passing, enum ip_family family)
{
	struct stopping stopping = { gaps, passing, family };
	struct rule_space *space = gaps->linting->space;
	size_t cut_short = space->cut_short;
	size_t found = rule_space_first(space, &(struct rule_search){
		.relation = RULES_AROUND_HOSTS, .below = passing, .family = family,
		.action_lo = SPD_DISCARD, .action_hi = SPD_PROTECT,
		.accept = stops, .context = &stopping,
	}, passing);

	return found != RULE_NONE || space->cut_short != cut_short;
}

static bool defaults_pass(const struct policy *policy, const struct rule *rule)
{
	return (rule->direction != RULE_OUT && policy->default_action[SPD_IN] == SPD_BYPASS) ||
	       (rule->direction != RULE_IN && policy->default_action[SPD_OUT] == SPD_BYPASS);
}

/* Takes the first of the covering kinds' rules from those that are next of each. */
static size_t take_first(const struct lint_gaps *gaps, uint32_t *next, enum ip_family family)
{
	uint32_t first = NO_RULE;
	size_t kind = 0;

	rule_space_spend(gaps->linting->space, gaps->covering_count / SCAN_WORK + 1);
	for (size_t i = 0; i < gaps->covering_count; i++)
		if (next[i] < first) {
			first = next[i];
			kind = i;
		}
	if (first == NO_RULE)
		return RULE_NONE;
	next[kind] = gaps->next[family][first];
	return first;
}

static bool all_is_stopped(const struct lint_gaps *gaps, enum ip_family family)
{
	const struct rule *rules = gaps->linting->policy->rules;

	rule_space_spend(gaps->linting->space, gaps->linting->policy->rule_count / SCAN_WORK);
	for (size_t i = 0; i < gaps->linting->policy->rule_count; i++)
		if (rules[i].action != SPD_BYPASS && is_about(gaps, i, family) &&
		    covers_family(&gaps->linting->selectors[i], family))
			return true;
	return false;
}

static size_t find_gap(const struct lint_gaps *gaps, const struct half *half, uint32_t *next)
{
	const struct policy *policy = gaps->linting->policy;
	size_t passing;

	for (size_t i = 0; i < gaps->covering_count; i++)
		next[i] = gaps->first_of_kind[half->family][gaps->covering[i]];
	do
		passing = take_first(gaps, next, half->family);
	while (passing != RULE_NONE && is_stopped(gaps, passing, half->family));
	if (passing != RULE_NONE)
		return passing;
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

static void chain_rule(struct lint_gaps *gaps, size_t index, int family)
{
	const struct rule *rule = &gaps->linting->policy->rules[index];
	uint32_t *first = rule->action == SPD_PROTECT ? &gaps->first_of_peer[family][rule->peer] :
							&gaps->first_of_kind[family][gaps->kind[index]];

	gaps->next[family][index] = *first;
	*first = (uint32_t)index;
}

static void chain_rules(struct lint_gaps *gaps)
{
	const struct policy *policy = gaps->linting->policy;

	for (size_t i = policy->rule_count; i-- > 0;)
		for (int family = 0; family < FAMILY_COUNT; family++)
			if (policy->rules[i].action != SPD_DISCARD &&
			    selector_matches_family(&gaps->linting->selectors[i], family))
				chain_rule(gaps, i, family);
}

static size_t collect_halves(const struct lint_gaps *gaps, struct half *halves)
{
	const struct selector *selectors = gaps->linting->selectors;
	const struct policy *policy = gaps->linting->policy;
	size_t count = 0;

	for (size_t i = 0; i < policy->rule_count; i++) {
		if (policy->rules[i].action != SPD_PROTECT)
			continue;
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

static void answer(struct lint_gaps *gaps, const struct half *halves, size_t count,
		   uint32_t *room)
{
	bool twin = false, known = false;
	size_t gap = NO_GAP;

	for (size_t i = 0; i < count; i++) {
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
			gap = find_gap(gaps, half, room);
		known = true;
		gaps->answer[half->rule] = gap;
	}
}

static bool answer_all(struct lint_gaps *gaps)
{
	const struct policy *policy = gaps->linting->policy;
	/* Without a peer's address a rule may match neither family. */
	struct half *halves = calloc(FAMILY_COUNT * policy->rule_count + 1, sizeof(*halves));
	uint32_t *room = calloc(policy->rule_count + 1, sizeof(*room));
	bool done = halves && room && sort_into_kinds(gaps) && index_kinds(gaps);

	if (done) {
		chain_rules(gaps);
		answer(gaps, halves, collect_halves(gaps, halves), room);
	}
	free(halves);
	free(room);
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

static void share_room(struct lint_gaps *gaps, size_t rules, size_t peers)
{
	uint32_t *room = gaps->kind + rules;

	gaps->model = room;
	gaps->covering = room + rules;
	room += 2 * rules;
	for (int family = 0; family < FAMILY_COUNT; family++, room += 2 * rules + peers) {
		gaps->next[family] = room;
		gaps->first_of_kind[family] = room + rules;
		gaps->first_of_peer[family] = room + 2 * rules;
		for (size_t i = 0; i < rules + peers; i++)
			gaps->first_of_kind[family][i] = NO_RULE;	/* and those of peers */
	}
	for (size_t i = 0; i < rules; i++)
		gaps->answer[i] = NO_GAP;
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
	gaps->kind = calloc(7 * rules + 2 * peers + 1, sizeof(*gaps->kind));
	gaps->covers = calloc(rules + 1, sizeof(*gaps->covers));
	done = gaps->answer && gaps->kind && gaps->covers;
	if (done) {
		share_room(gaps, rules, peers);
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
	free(gaps->kind_selectors);
	rule_space_fini(&gaps->kinds);
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
