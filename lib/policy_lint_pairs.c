// SPDX-License-Identifier: BSD-2-Clause
/* Rules that are right each, and together are probably not what was meant. */
#include <stdlib.h>

#include "policy_internal.h"
#include "rule_space.h"

/* One rule against others; and of each rule, which others were found. */
struct pairing {
	const struct linting *linting;
	size_t index;
	size_t *stop;		/* the next that stops some of its packets; 0: not looked for yet */
	size_t *narrower;	/* the first before it that it makes useless, or RULE_NONE */
	size_t *stricter;	/* the first behind it that it makes useless, or RULE_NONE */
};

/* ---- wider than its sibling ---- */

struct stopping {
	const struct linting *linting;
	size_t first;
};

static bool stops(void *context, size_t other)
{
	const struct stopping *stopping = context;
	const struct selector *selectors = stopping->linting->selectors;

	return selector_overlaps(&selectors[other], &selectors[stopping->first]);
}

/* The next rule that stops some of its packets; where that is not known, the next rule. */
static size_t find_stop(const struct linting *linting, size_t first)
{
	struct stopping stopping = { linting, first };
	size_t cut_short = linting->space->cut_short;
	size_t found = rule_space_first(linting->space, &(struct rule_search){
		.relation = RULES_MEETING, .from = first + 1, .below = linting->policy->rule_count,
		.action_lo = SPD_DISCARD, .action_hi = SPD_PROTECT,
		.accept = stops, .context = &stopping,
	}, first);

	return linting->space->cut_short == cut_short ? found : first + 1;
}

/* Is a rule between the two about packets of the first one? That one is an exception from it then. */
static bool parted(const struct pairing *pairing, size_t first, size_t second)
{
	if (!pairing->stop[first])
		pairing->stop[first] = find_stop(pairing->linting, first);
	return pairing->stop[first] < second;
}

static bool is_narrower_sibling(void *context, size_t other)
{
	const struct pairing *pairing = context;
	const struct selector *selectors = pairing->linting->selectors;

	return selector_covers(&selectors[pairing->index], &selectors[other]) &&
	       !parted(pairing, other, pairing->index);
}

static size_t find_narrower(struct pairing *pairing)
{
	const struct linting *linting = pairing->linting;

	if (linting->policy->rules[pairing->index].action != SPD_BYPASS)
		return RULE_NONE;
	return rule_space_first(linting->space, &(struct rule_search){
		.relation = RULES_WITHIN, .below = pairing->index,
		.accept = is_narrower_sibling, .context = pairing,
	}, pairing->index);
}

static void warn_of_wider(const struct linting *linting, const struct rule *wider,
			  const struct rule *narrow)
{
	lint_warn(linting, WIDER_SIBLING, wider, "rule \"%s\" lets pass all that rule \"%s\" at line "
		  "%u does, and more", wider->name, narrow->name, narrow->at.line);
}

/* ---- the first match is not the stricter one ---- */

/* An exception for hosts that the later rule has among others is meant. */
static bool names_other_hosts(const struct selector *first, const struct selector *second)
{
	for (int family = 0; family < FAMILY_COUNT; family++)
		if (selector_matches_family(first, family) &&
		    selector_matches_family(second, family) &&
		    !address_list_covers(&second->address[SIDE_REMOTE][family],
					 &first->address[SIDE_REMOTE][family]))
			return true;
	return false;
}

static bool conflicts(void *context, size_t other)
{
	const struct pairing *pairing = context;
	const struct selector *first = &pairing->linting->selectors[pairing->index];
	const struct selector *second = &pairing->linting->selectors[other];

	return names_other_hosts(first, second) && selector_overlaps(first, second) &&
	       !selector_covers(second, first);
}

/* With one range of remote addresses, what has them all names no other hosts. */
static bool has_one_range(const struct linting *linting, const struct selector *selector)
{
	size_t count = 0;

	for (int family = 0; family < FAMILY_COUNT; family++)
		if (selector_matches_family(selector, family))
			count += selector->address[SIDE_REMOTE][family].count;
	return count == 1 && !linting->space->hulls;
}

static size_t find_stricter(struct pairing *pairing)
{
	const struct linting *linting = pairing->linting;
	const struct selector *first = &linting->selectors[pairing->index];

	/* What names no hosts is meant for all of them, those that others protect included. */
	if (first->rule->action != SPD_BYPASS || !first->rule->remote.count)
		return RULE_NONE;
	return rule_space_first(linting->space, &(struct rule_search){
		.relation = has_one_range(linting, first) ? RULES_CROSSING : RULES_MEETING,
		.from = pairing->index + 1, .below = linting->policy->rule_count,
		.action_lo = SPD_DISCARD, .action_hi = SPD_PROTECT,
		.accept = conflicts, .context = pairing,
	}, pairing->index);
}

static void warn_of_conflict(const struct linting *linting, const struct rule *first,
			     const struct rule *second)
{
	lint_warn(linting, CONFLICT, first, "rule \"%s\" lets pass some of what rule \"%s\" at line "
		  "%u would %s", first->name, second->name, second->at.line,
		  policy_action_words[second->action]);
}

/* ---- all of them ---- */

static void find_all(struct pairing *pairing)
{
	const struct rule_space *space = pairing->linting->space;

	for (size_t i = 0; i < pairing->linting->policy->rule_count; i++)
		pairing->narrower[i] = pairing->stricter[i] = RULE_NONE;
	for (size_t i = 0; i < space->order_count; i++) {
		pairing->index = space->order[i];
		pairing->narrower[pairing->index] = find_narrower(pairing);
		pairing->stricter[pairing->index] = find_stricter(pairing);
	}
}

bool policy_lint_pairs(const struct linting *linting)
{
	size_t count = linting->policy->rule_count;
	const struct rule *rules = linting->policy->rules;
	struct lint_gaps *gaps = lint_gaps_init(linting);
	size_t *found = calloc(3 * count + 1, sizeof(*found));
	struct pairing pairing = { .linting = linting };
	bool done = gaps && found;

	if (done) {
		pairing.stop = found;
		pairing.narrower = found + count;
		pairing.stricter = found + 2 * count;
		find_all(&pairing);
	}
	for (size_t i = 0; i < count && done; i++) {
		lint_gaps_warn(gaps, i);
		if (pairing.narrower[i] != RULE_NONE)
			warn_of_wider(linting, &rules[i], &rules[pairing.narrower[i]]);
		if (pairing.stricter[i] != RULE_NONE)
			warn_of_conflict(linting, &rules[i], &rules[pairing.stricter[i]]);
	}
	lint_gaps_fini(gaps);
	free(found);
	return done;
}
