// SPDX-License-Identifier: BSD-2-Clause
/*
 * What a policy may do rightly and still be a mistake: parts by themselves. Rules against each
 * other are in policy_lint_pairs.c, rules against all before them in policy_shadow.c.
 */
#include <stdlib.h>
#include <string.h>

#include "policy_internal.h"
#include "rule_space.h"

/* ---- what is not used, or does less than it says ---- */

/* What something names, and so what need not be warned of. */
struct used {
	bool *peers, *protections;
};

/* The pair, and those around it. */
static void mark_used(const struct policy *policy, struct policy_pair pair, const struct used *used)
{
	do {
		used->peers[pair.peer] = true;
		used->protections[pair.protection] = true;
	} while (policy_outer_pair(policy, pair, &pair));
}

/* Peers that are not named may be found in the network, if not now then once its names are known. */
static void mark_used_by(const struct policy *policy, const struct app_network *network,
			 const struct used *used)
{
	for (size_t i = 0; i < network->protect_count; i++) {
		const struct app_protect *protect = &network->protect[i];

		used->protections[protect->protection] = true;
		for (size_t k = 0; k < protect->peer_count; k++)
			mark_used(policy, (struct policy_pair){ protect->peers[k],
								protect->protection }, used);
		for (size_t k = 0; k < policy->peer_count && !protect->peer_count; k++)
			if (network->name_count || app_network_has_peer(network, &policy->peers[k]))
				mark_used(policy, (struct policy_pair){ k, protect->protection },
					  used);
	}
}

static void mark_all_used(const struct policy *policy, const struct used *used)
{
	for (size_t i = 0; i < policy->rule_count; i++) {
		const struct rule *rule = &policy->rules[i];

		if (rule->action == SPD_PROTECT)
			mark_used(policy, (struct policy_pair){ rule->peer, rule->protection },
				  used);
	}
	for (size_t i = 0; i < policy->application_count; i++)
		for (size_t k = 0; k < policy->applications[i].network_count; k++)
			mark_used_by(policy, &policy->applications[i].networks[k], used);
}

static bool warn_of_unused(const struct linting *linting)
{
	const struct policy *policy = linting->policy;
	bool *flags = calloc(policy->peer_count + policy->protection_count + 1, sizeof(*flags));
	const struct used used = { flags, flags + policy->peer_count };

	if (!flags)
		return false;
	mark_all_used(policy, &used);
	for (size_t i = 0; i < policy->protection_count; i++)
		if (!used.protections[i])
			lint_warn_at(linting, UNUSED, policy->protections[i].at,
				     "protection \"%s\" is used by no rule",
				     policy->protections[i].name);
	for (size_t i = 0; i < policy->peer_count; i++)
		if (!used.peers[i])
			lint_warn_at(linting, UNUSED, policy->peers[i].at,
				     "peer \"%s\" is used by no rule", policy->peers[i].name);
	free(flags);
	return true;
}

static void warn_of_half_rule(const struct linting *linting, const struct rule *rule,
			      const struct selector *selector)
{
	/* In transport mode it is the peer that has the addresses: the rule need not use all. */
	bool named = rule->remote.count &&
		     (rule->action != SPD_PROTECT ||
		      linting->policy->protections[rule->protection].mode != MODE_TRANSPORT);

	for (int family = 0; family < FAMILY_COUNT; family++) {
		bool local = rule->local.count && selector->address[SIDE_LOCAL][family].count;
		bool remote = named && selector->address[SIDE_REMOTE][family].count;

		if (selector_matches_family(selector, family) || (!local && !remote))
			continue;
		lint_warn(linting, HALF_RULE, rule, "rule \"%s\" never matches %s, although it "
			  "names %s addresses", rule->name, lint_family_words[family],
			  lint_family_words[family]);
	}
	if (rule->icmp_given && rule->protocol_count > 1)
		lint_warn(linting, ICMP_MIXED, rule, "rule \"%s\" gives one type for both",
			  rule->name);
}

/* ---- what a link needs ---- */

static bool names_family(const struct policy *policy, enum ip_family family)
{
	for (size_t i = 0; i < policy->peer_count; i++)
		for (size_t j = 0; j < policy->peers[i].addresses.count; j++)
			if (policy->peers[i].addresses.items[j].family == family)
				return true;
	return false;
}

/* Whether a rule lets some ICMPv6 pass in the clear: taken for what the link needs. */
static bool a_rule_passes_icmpv6(const struct linting *linting)
{
	const struct policy *policy = linting->policy;

	for (size_t i = 0; i < policy->rule_count; i++)
		if (policy->rules[i].action == SPD_BYPASS &&
		    selector_matches_family(&linting->selectors[i], FAMILY_V6) &&
		    linting->selectors[i].protocols[FAMILY_V6][0] >> PROTO_ICMPV6 & 1)
			return true;
	return false;
}

static void warn_of_deafness(const struct linting *linting)
{
	const struct policy *policy = linting->policy;
	const struct position top = { .line = 1, .column = 1 };
	bool discards = policy->default_action[SPD_IN] == SPD_DISCARD ||
			policy->default_action[SPD_OUT] == SPD_DISCARD;

	if (!(policy->essential & ESSENTIAL(ARP)) && policy->non_ip_action == SPD_DISCARD &&
	    (names_family(policy, FAMILY_V4) || !names_family(policy, FAMILY_V6)))
		lint_warn_at(linting, NO_ARP, top, "ARP is discarded");
	if (!discards || a_rule_passes_icmpv6(linting))
		return;
	if (!(policy->essential & ESSENTIAL(ND)) && names_family(policy, FAMILY_V6))
		lint_warn_at(linting, NO_ND, top, "IPv6 neighbour discovery is discarded");
	if ((policy->essential & ESSENTIAL(ND)) && !(policy->essential & ESSENTIAL(MLD)))
		lint_warn_at(linting, ND_WITHOUT_MLD, top,
			     "\"nd\" passes, \"mld\" is discarded");
}

/* ---- what passes in the clear ---- */

static void warn_of_defaults(const struct linting *linting)
{
	const struct policy *policy = linting->policy;
	const struct position top = { .line = 1, .column = 1 };
	bool in = policy->default_action[SPD_IN] == SPD_BYPASS;
	bool out = policy->default_action[SPD_OUT] == SPD_BYPASS;
	bool non_ip = policy->non_ip_action == SPD_BYPASS;

	if (in || out || non_ip)
		lint_warn_at(linting, DEFAULT_BYPASS, top, "defaults bypass:%s%s%s",
			     in ? " in" : "", out ? " out" : "", non_ip ? " non_ip" : "");
}

#define V4(a, b, c, d) ((uint64_t)(a) << 24 | (b) << 16 | (c) << 8 | (d))

/* RFC 1918, RFC 6598; RFC 4193, and the site-local addresses that RFC 3879 took back. */
static const struct address_range private_ranges[] = {
	{ FAMILY_V4, { 0, V4(10, 0, 0, 0) }, { 0, V4(10, 255, 255, 255) } },
	{ FAMILY_V4, { 0, V4(172, 16, 0, 0) }, { 0, V4(172, 31, 255, 255) } },
	{ FAMILY_V4, { 0, V4(192, 168, 0, 0) }, { 0, V4(192, 168, 255, 255) } },
	{ FAMILY_V4, { 0, V4(100, 64, 0, 0) }, { 0, V4(100, 127, 255, 255) } },
	{ FAMILY_V6, { 0xfcull << 56, 0 }, { (0xfeull << 56) - 1, UINT64_MAX } },
	{ FAMILY_V6, { 0xfecull << 52, 0 }, { (0xffull << 56) - 1, UINT64_MAX } },
};

static const struct address_range group_ranges[] = {
	{ FAMILY_V4, { 0, V4(224, 0, 0, 0) }, { 0, V4(239, 255, 255, 255) } },
	{ FAMILY_V4, { 0, 0xffffffff }, { 0, 0xffffffff } },
	{ FAMILY_V6, { 0xffull << 56, 0 }, { UINT64_MAX, UINT64_MAX } },
};

/* The first of the list that lies wholly within one of the ranges; NULL if none does. */
static const struct address_range *find_within(const struct address_list *list,
					       const struct address_range *ranges, size_t count)
{
	for (size_t i = 0; i < list->count; i++)
		for (size_t k = 0; k < count; k++)
			if (list->items[i].family == ranges[k].family &&
			    addr128_compare(list->items[i].lo, ranges[k].lo) >= 0 &&
			    addr128_compare(list->items[i].hi, ranges[k].hi) <= 0)
				return &list->items[i];
	return NULL;
}

static void warn_of_private(const struct linting *linting, const struct rule *rule)
{
	const struct address_range *range;
	char text[100];

	range = find_within(&rule->remote, private_ranges,
			    sizeof(private_ranges) / sizeof(private_ranges[0]));
	if (rule->action != SPD_BYPASS || !range)
		return;
	address_format(range, text, sizeof(text));
	lint_warn(linting, BYPASS_PRIVATE, rule, "rule \"%s\" lets traffic with %s pass in the clear",
		  rule->name, text);
}

/* Lets in whatever comes from a port, as answers do: state without a memory. */
static bool takes_answers(const struct rule *rule)
{
	return rule->action == SPD_BYPASS && rule->direction != RULE_OUT &&
	       rule->remote_port.count && !rule->local_port.count && !rule->remote.count;
}

/* The first two rules that take answers in each family: any rule but one has one of them to fear. */
struct answering {
	const struct rule *rules[FAMILY_COUNT][2];
};

static struct answering find_answering(const struct linting *linting)
{
	struct answering answering = { 0 };

	for (size_t i = 0; i < linting->policy->rule_count; i++) {
		const struct rule *rule = &linting->policy->rules[i];

		for (int family = 0; family < FAMILY_COUNT && takes_answers(rule); family++) {
			const struct rule **known = answering.rules[family];

			if (!known[1] && selector_matches_family(&linting->selectors[i], family))
				known[known[0] != NULL] = rule;
		}
	}
	return answering;
}

static void warn_of_groups(const struct linting *linting, const struct rule *rule,
			   const struct answering *answering)
{
	const size_t count = sizeof(group_ranges) / sizeof(group_ranges[0]);
	const struct address_range *range;
	const struct rule *other;
	char text[100];

	range = find_within(&rule->remote, group_ranges, count);
	if (!range)
		range = find_within(&rule->local, group_ranges, count);
	if (rule->action != SPD_BYPASS || !range)
		return;
	other = answering->rules[range->family][answering->rules[range->family][0] == rule];
	if (!other)
		return;
	address_format(range, text, sizeof(text));
	lint_warn(linting, BYPASS_MULTICAST, rule, "rule \"%s\" sends to %s in the clear, "
		  "and rule \"%s\" at line %u takes answers from anybody", rule->name,
		  text, other->name, other->at.line);
}

/* What nothing is said of is not right for that reason. */
static void warn_of_not_compared(const struct linting *linting, size_t gave_up_at)
{
	const struct position top = { .line = 1, .column = 1 };
	const struct rule *rules = linting->policy->rules;

	if (linting->space->cut_short)
		lint_warn_at(linting, NOT_COMPARED, top, "the rules are too many, or overlap too "
			     "much, to be compared to the end: %zu comparisons of one with the "
			     "others were cut short", linting->space->cut_short);
	else if (gave_up_at != RULE_NONE)
		lint_warn(linting, NOT_COMPARED, &rules[gave_up_at], "rule \"%s\" and those before "
			  "it have too many parts to be compared to the end",
			  rules[gave_up_at].name);
}

static bool lint_rules(const struct linting *linting)
{
	const struct answering answering = find_answering(linting);
	const struct policy *policy = linting->policy;
	size_t gave_up_at;

	for (size_t i = 0; i < policy->rule_count; i++) {
		warn_of_half_rule(linting, &policy->rules[i], &linting->selectors[i]);
		warn_of_private(linting, &policy->rules[i]);
		warn_of_groups(linting, &policy->rules[i], &answering);
	}
	if (!policy_lint_pairs(linting) || !policy_lint_shadows(linting, &gave_up_at))
		return false;
	warn_of_not_compared(linting, gave_up_at);
	return true;
}

bool policy_lint(const struct linting *linting)
{
	const struct policy *policy = linting->policy;

	/* Of half a policy, half of what follows would be nonsense. */
	if (linting->log->report && linting->log->report->errors)
		return true;
	for (size_t i = 0; i < policy->rule_count; i++)
		if (policy->rules[i].invalid)
			return true;
	warn_of_deafness(linting);
	warn_of_defaults(linting);
	return warn_of_unused(linting) && lint_rules(linting) && policy_lint_applications(linting);
}
