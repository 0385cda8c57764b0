// SPDX-License-Identifier: BSD-2-Clause
/* Rules that are right each, and together are probably not what was meant. */
#include "policy_internal.h"

/* The comparisons grow with the square of the number of rules. */
#define PAIRS_MAX 1024

const char *const lint_family_words[] = { [FAMILY_V4] = "IPv4", [FAMILY_V6] = "IPv6" };

/* ---- one family protected, the other in the clear ---- */

/* Does `outer` match, in `family`, all that `inner` does in the other one, but for addresses? */
static bool covers_twin(const struct selector *outer, const struct selector *inner,
			enum ip_family family)
{
	const uint64_t icmp = 1ull << PROTO_ICMP, icmpv6 = 1ull << PROTO_ICMPV6;
	uint64_t wanted;

	if (!selector_matches_family(outer, family) || !selector_covers_upper(outer, inner))
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

/* Is what the rule at `index` protects taken care of in the other family, before rule `limit`?
 * `passing`: what that one lets pass; NULL: all that is left. */
static bool is_stopped(const struct linting *linting, size_t index, size_t limit,
		       const struct selector *passing, enum ip_family family)
{
	const struct selector *selectors = linting->selectors;

	for (size_t i = 0; i < limit; i++)
		if (selectors[i].rule->action != SPD_BYPASS &&
		    covers_twin(&selectors[i], &selectors[index], family) &&
		    (passing ? covers_addresses(&selectors[i], passing, family) :
			       covers_family(&selectors[i], family)))
			return true;
	return false;
}

static bool has_twin(const struct linting *linting, size_t index, enum ip_family family)
{
	const struct rule *rules = linting->policy->rules;

	for (size_t i = 0; i < linting->policy->rule_count; i++)
		if (i != index && rules[i].action == SPD_PROTECT &&
		    rules[i].peer == rules[index].peer &&
		    covers_twin(&linting->selectors[i], &linting->selectors[index], family))
			return true;
	return false;
}

static bool defaults_pass(const struct policy *policy, const struct rule *rule)
{
	return (rule->direction != RULE_OUT && policy->default_action[SPD_IN] == SPD_BYPASS) ||
	       (rule->direction != RULE_IN && policy->default_action[SPD_OUT] == SPD_BYPASS);
}

static void warn_of_gap(const struct linting *linting, size_t index, enum ip_family family)
{
	const struct policy *policy = linting->policy;
	const struct rule *rule = &policy->rules[index];
	const char *protected_word = lint_family_words[!family], *word = lint_family_words[family];

	for (size_t i = 0; i < policy->rule_count; i++) {
		const struct selector *other = &linting->selectors[i];

		if (other->rule->action != SPD_BYPASS ||
		    !covers_twin(other, &linting->selectors[index], family) ||
		    is_stopped(linting, index, i, other, family))
			continue;
		lint_warn(linting, FAMILY_GAP, rule, "rule \"%s\" protects %s, and rule \"%s\" at "
			  "line %u lets the same pass as %s", rule->name, protected_word,
			  other->rule->name, other->rule->at.line, word);
		return;
	}
	if (defaults_pass(policy, rule) &&
	    !is_stopped(linting, index, policy->rule_count, NULL, family))
		lint_warn(linting, FAMILY_GAP, rule, "rule \"%s\" protects %s, and the defaults let "
			  "the same pass as %s", rule->name, protected_word, word);
}

static void warn_of_gaps(const struct linting *linting, size_t index)
{
	const struct selector *selector = &linting->selectors[index];

	if (selector->rule->action != SPD_PROTECT)
		return;
	for (int family = 0; family < FAMILY_COUNT; family++)
		if (!selector_matches_family(selector, family) &&
		    !has_twin(linting, index, family))
			warn_of_gap(linting, index, family);
}

/* ---- wider than its sibling ---- */

/* Is a rule between the two about packets of the first one? That one is an exception from it then. */
static bool parted(const struct linting *linting, size_t first, size_t second)
{
	for (size_t i = first + 1; i < second; i++)
		if (linting->selectors[i].rule->action != SPD_BYPASS &&
		    selector_overlaps(&linting->selectors[i], &linting->selectors[first]))
			return true;
	return false;
}

static void warn_of_wider(const struct linting *linting, size_t index)
{
	const struct selector *wider = &linting->selectors[index];

	if (wider->rule->action != SPD_BYPASS)
		return;
	for (size_t i = 0; i < index; i++) {
		const struct selector *narrow = &linting->selectors[i];

		if (narrow->rule->action != SPD_BYPASS || !selector_covers(wider, narrow) ||
		    parted(linting, i, index))
			continue;
		lint_warn(linting, WIDER_SIBLING, wider->rule, "rule \"%s\" lets pass all that rule "
			  "\"%s\" at line %u does, and more", wider->rule->name,
			  narrow->rule->name, narrow->rule->at.line);
		return;
	}
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

static void warn_of_conflict(const struct linting *linting, size_t index)
{
	const struct selector *first = &linting->selectors[index];

	/* What names no hosts is meant for all of them, those that others protect included. */
	if (first->rule->action != SPD_BYPASS || !first->rule->remote.count)
		return;
	for (size_t i = index + 1; i < linting->policy->rule_count; i++) {
		const struct selector *second = &linting->selectors[i];

		if (second->rule->action == SPD_BYPASS || !selector_overlaps(first, second) ||
		    selector_covers(second, first) || !names_other_hosts(first, second))
			continue;
		lint_warn(linting, CONFLICT, first->rule, "rule \"%s\" lets pass some of what rule "
			  "\"%s\" at line %u would %s", first->rule->name, second->rule->name,
			  second->rule->at.line, policy_action_words[second->rule->action]);
		return;
	}
}

void policy_lint_pairs(const struct linting *linting)
{
	if (linting->policy->rule_count > PAIRS_MAX)
		return;
	for (size_t i = 0; i < linting->policy->rule_count; i++) {
		warn_of_gaps(linting, i);
		warn_of_wider(linting, i);
		warn_of_conflict(linting, i);
	}
}
