/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The comparison of rules with each other as it reads in the documentation: every rule with every other
 * one. What policy_check() says is held against it.
 *
 * Included by: test_policy_scale.c.
 */
#ifndef LINT_REFERENCE_H
#define LINT_REFERENCE_H

#include "lib/policy_internal.h"

struct reference {
	const struct policy *policy;
	const struct selector *selectors;
	FILE *out;		/* one line for each finding */
};

static const char *const reference_words[] = { [FAMILY_V4] = "IPv4", [FAMILY_V6] = "IPv6" };

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
static bool is_stopped(const struct reference *reference, size_t index, size_t limit,
		       const struct selector *passing, enum ip_family family)
{
	const struct selector *selectors = reference->selectors;

	for (size_t i = 0; i < limit; i++)
		if (selectors[i].rule->action != SPD_BYPASS &&
		    covers_twin(&selectors[i], &selectors[index], family) &&
		    (passing ? covers_addresses(&selectors[i], passing, family) :
			       covers_family(&selectors[i], family)))
			return true;
	return false;
}

static bool has_twin(const struct reference *reference, size_t index, enum ip_family family)
{
	const struct rule *rules = reference->policy->rules;

	for (size_t i = 0; i < reference->policy->rule_count; i++)
		if (i != index && rules[i].action == SPD_PROTECT &&
		    rules[i].peer == rules[index].peer &&
		    covers_twin(&reference->selectors[i], &reference->selectors[index], family))
			return true;
	return false;
}

static bool defaults_pass(const struct policy *policy, const struct rule *rule)
{
	return (rule->direction != RULE_OUT && policy->default_action[SPD_IN] == SPD_BYPASS) ||
	       (rule->direction != RULE_IN && policy->default_action[SPD_OUT] == SPD_BYPASS);
}

static void warn_of_gap(const struct reference *reference, size_t index, enum ip_family family)
{
	const struct policy *policy = reference->policy;
	const struct rule *rule = &policy->rules[index];
	const char *protected_word = reference_words[!family], *word = reference_words[family];

	for (size_t i = 0; i < policy->rule_count; i++) {
		const struct selector *other = &reference->selectors[i];

		if (other->rule->action != SPD_BYPASS ||
		    !covers_twin(other, &reference->selectors[index], family) ||
		    is_stopped(reference, index, i, other, family))
			continue;
		fprintf(reference->out, "rule \"%s\" protects %s, and rule \"%s\" at "
			"line %u lets the same pass as %s\n", rule->name, protected_word,
			other->rule->name, other->rule->at.line, word);
		return;
	}
	if (defaults_pass(policy, rule) &&
	    !is_stopped(reference, index, policy->rule_count, NULL, family))
		fprintf(reference->out, "rule \"%s\" protects %s, and the defaults let "
			"the same pass as %s\n", rule->name, protected_word, word);
}

static void warn_of_gaps(const struct reference *reference, size_t index)
{
	const struct selector *selector = &reference->selectors[index];

	if (selector->rule->action != SPD_PROTECT)
		return;
	for (int family = 0; family < FAMILY_COUNT; family++)
		if (!selector_matches_family(selector, family) &&
		    !has_twin(reference, index, family))
			warn_of_gap(reference, index, family);
}

/* ---- wider than its sibling ---- */

/* Is a rule between the two about packets of the first one? That one is an exception from it then. */
static bool parted(const struct reference *reference, size_t first, size_t second)
{
	for (size_t i = first + 1; i < second; i++)
		if (reference->selectors[i].rule->action != SPD_BYPASS &&
		    selector_overlaps(&reference->selectors[i], &reference->selectors[first]))
			return true;
	return false;
}

static void warn_of_wider(const struct reference *reference, size_t index)
{
	const struct selector *wider = &reference->selectors[index];

	if (wider->rule->action != SPD_BYPASS)
		return;
	for (size_t i = 0; i < index; i++) {
		const struct selector *narrow = &reference->selectors[i];

		if (narrow->rule->action != SPD_BYPASS || !selector_covers(wider, narrow) ||
		    parted(reference, i, index))
			continue;
		fprintf(reference->out, "rule \"%s\" lets pass all that rule "
			"\"%s\" at line %u does, and more\n", wider->rule->name,
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

static void warn_of_conflict(const struct reference *reference, size_t index)
{
	const struct selector *first = &reference->selectors[index];

	/* What names no hosts is meant for all of them, those that others protect included. */
	if (first->rule->action != SPD_BYPASS || !first->rule->remote.count)
		return;
	for (size_t i = index + 1; i < reference->policy->rule_count; i++) {
		const struct selector *second = &reference->selectors[i];

		if (second->rule->action == SPD_BYPASS || !selector_overlaps(first, second) ||
		    selector_covers(second, first) || !names_other_hosts(first, second))
			continue;
		fprintf(reference->out, "rule \"%s\" lets pass some of what rule "
			"\"%s\" at line %u would %s\n", first->rule->name, second->rule->name,
			second->rule->at.line, policy_action_words[second->rule->action]);
		return;
	}
}

static inline void reference_lint(const struct reference *reference)
{
	for (size_t i = 0; i < reference->policy->rule_count; i++) {
		warn_of_gaps(reference, i);
		warn_of_wider(reference, i);
		warn_of_conflict(reference, i);
	}
}

static inline void reference_reach(const struct reference *reference)
{
	const struct rule *rules = reference->policy->rules;
	size_t earlier;

	for (size_t i = 1; i < reference->policy->rule_count; i++) {
		earlier = 0;
		while (earlier < i &&
		       !selector_covers(&reference->selectors[earlier], &reference->selectors[i]))
			earlier++;
		if (earlier < i)
			fprintf(reference->out, "rule \"%s\" can never match: rule \"%s\" at line %u "
				"matches all its packets first\n", rules[i].name,
				rules[earlier].name, rules[earlier].at.line);
	}
}

#endif /* LINT_REFERENCE_H */
