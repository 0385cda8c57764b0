// SPDX-License-Identifier: BSD-2-Clause
/*
 * How the parts of a policy fit together: what JSON Schema cannot say. Works on what the parser
 * made, and leaves alone what the parser has complained about already.
 */
#include <stdlib.h>
#include <string.h>

#include "name_index.h"
#include "policy_internal.h"
#include "rule_space.h"

struct checking {
	const struct policy *policy;
	struct ipsecbpf_report *report;
	struct selector *selectors;	/* one per rule */
	struct rule_space space;	/* of them */
	bool *skip;			/* rules with errors: not compared with others */
	bool *at_corner;		/* rules that earlier ones might leave nothing */
	struct risk_log *log;
	size_t errors;
};

#define check_error(checking, at, ...)							\
	do {										\
		(checking)->errors++;							\
		policy_report_at((checking)->policy, (checking)->report, REPORT_ERROR, at,	\
				 __VA_ARGS__);						\
	} while (0)

/* ---- names and addresses that must be unique ---- */

static bool check_rule_names(struct checking *checking)
{
	const struct rule *rules = checking->policy->rules;
	size_t count = checking->policy->rule_count, first;
	struct name_index index;
	int err;

	err = name_index_init(&index, rules, sizeof(*rules), count);
	for (size_t i = 0; i < count && !err; i++) {
		first = rules[i].name[0] ? name_index_add(&index, i) : NAME_INDEX_NONE;
		if (first != NAME_INDEX_NONE)
			check_error(checking, rules[i].at,
				    "rule \"%s\": the rule at line %u has the same name",
				    rules[i].name, rules[first].at.line);
	}
	name_index_fini(&index);
	return !err;
}

struct peer_address {
	struct address_range range;
	const struct peer *peer;
};

static int compare_peer_addresses(const void *a, const void *b)
{
	const struct peer_address *x = a, *y = b;
	int order;

	if (x->range.family != y->range.family)
		return x->range.family < y->range.family ? -1 : 1;
	order = addr128_compare(x->range.lo, y->range.lo);
	return order ? order : x->peer < y->peer ? -1 : x->peer > y->peer;
}

static bool check_peer_addresses(struct checking *checking)
{
	const struct policy *policy = checking->policy;
	struct peer_address *all;
	size_t count = 0;
	char text[100];

	for (size_t i = 0; i < policy->peer_count; i++)
		count += policy->peers[i].addresses.count;
	all = calloc(count + 1, sizeof(*all));
	if (!all)
		return false;
	count = 0;
	for (size_t i = 0; i < policy->peer_count; i++)
		for (size_t j = 0; j < policy->peers[i].addresses.count; j++)
			all[count++] = (struct peer_address){
				policy->peers[i].addresses.items[j], &policy->peers[i],
			};
	qsort(all, count, sizeof(*all), compare_peer_addresses);
	for (size_t i = 1; i < count; i++) {
		if (all[i].range.family != all[i - 1].range.family ||
		    addr128_compare(all[i].range.lo, all[i - 1].range.lo))
			continue;
		address_format(&all[i].range, text, sizeof(text));
		check_error(checking, all[i].peer->at,
			    "peer \"%s\": peer \"%s\" at line %u has the address %s as well",
			    all[i].peer->name, all[i - 1].peer->name, all[i - 1].peer->at.line,
			    text);
	}
	free(all);
	return true;
}

/* ---- protections ---- */

/* Suites of the past are the administrator's explicit choice, and are not chosen in silence. */
static void check_legacy(struct checking *checking, const struct protection *protection)
{
	for (size_t i = 0; i < protection->suite_count; i++) {
		const struct esp_suite *suite = protection->suites[i];

		if (suite->legacy && !protection->allow_legacy)
			check_error(checking, protection->at,
				    "protection \"%s\": suite \"%s\" is weak: it needs "
				    "\"allow_legacy\": true", protection->name,
				    protection_suite_name(protection, suite));
		else if (suite->legacy)
			lint_warn_at(checking, WEAK_SUITE, protection->at,
				     "protection \"%s\": suite \"%s\" is weak",
				     protection->name, protection_suite_name(protection, suite));
	}
}

static void check_protection(struct checking *checking, const struct protection *protection)
{
	bool encryption = protection->type == PROTECTION_ENCRYPTION;

	for (size_t i = 0; i < protection->suite_count; i++)
		if (protection->suites[i]->encrypts != encryption)
			check_error(checking, protection->at,
				    "protection \"%s\": suite \"%s\" %s, but the type is \"%s\"",
				    protection->name, protection->suites[i]->name,
				    encryption ? "does not encrypt" : "encrypts",
				    policy_type_words[protection->type]);
	check_legacy(checking, protection);
}

/* ---- one rule ---- */

static bool all_protocols(const struct rule *rule, bool (*fits)(uint8_t proto))
{
	for (size_t i = 0; i < rule->protocol_count; i++)
		if (!fits(rule->protocols[i]))
			return false;
	return rule->protocol_count;
}

static bool has_ports(uint8_t proto)
{
	const struct policy_protocol *protocol = policy_protocol_find(proto);

	return protocol && protocol->ports;
}

static bool is_icmp(uint8_t proto)
{
	return proto == PROTO_ICMP || proto == PROTO_ICMPV6;
}

static void check_protocol_needs(struct checking *checking, const struct rule *rule)
{
	if ((rule->local_port.count || rule->remote_port.count) && !all_protocols(rule, has_ports))
		check_error(checking, rule->at, "rule \"%s\": ports need a protocol that has them, "
			    "and no other: tcp, udp, udplite, sctp or dccp", rule->name);
	if (rule->icmp_given && !all_protocols(rule, is_icmp))
		check_error(checking, rule->at, "rule \"%s\": icmp_type and icmp_code need "
			    "protocol icmp or icmpv6, and no other", rule->name);
	if (rule->origin != ORIGIN_ANY && rule->direction != RULE_OUT)
		check_error(checking, rule->at, "rule \"%s\": origin \"%s\" is known of outbound "
			    "packets only: it needs direction \"out\", not \"%s\"", rule->name,
			    policy_origin_words[rule->origin - 1],
			    policy_direction_words[rule->direction]);
}

/* Transport mode ends at the other side itself: what lies elsewhere cannot be protected so. */
static bool check_transport_remote(struct checking *checking, const struct rule *rule)
{
	const struct peer *peer = &checking->policy->peers[rule->peer];
	struct address_list allowed, wanted;
	bool fits = true, memory = true;

	for (int family = 0; family < FAMILY_COUNT && memory; family++) {
		allowed = wanted = (struct address_list){ 0 };
		memory = !address_list_of_family(&peer->addresses, family, &allowed) &&
			 !address_list_of_family(&rule->remote, family, &wanted);
		fits = fits && memory && address_list_covers(&allowed, &wanted);
		free(allowed.items);
		free(wanted.items);
	}
	if (memory && !fits)
		check_error(checking, rule->at, "rule \"%s\": remote goes beyond the addresses of "
			    "peer \"%s\" (line %u), and protection \"%s\" is in transport mode: "
			    "name the peer's addresses only, or use mode \"tunnel\"", rule->name,
			    peer->name, peer->at.line,
			    checking->policy->protections[rule->protection].name);
	return memory;
}

static void check_families(struct checking *checking, const struct rule *rule,
			   const struct selector *selector)
{
	const struct address_list (*address)[FAMILY_COUNT] = selector->address;

	if (selector_matches_family(selector, FAMILY_V4) ||
	    selector_matches_family(selector, FAMILY_V6))
		return;
	if ((address[SIDE_LOCAL][FAMILY_V4].count && address[SIDE_REMOTE][FAMILY_V4].count) ||
	    (address[SIDE_LOCAL][FAMILY_V6].count && address[SIDE_REMOTE][FAMILY_V6].count))
		check_error(checking, rule->at, "rule \"%s\" can match nothing: its protocol does "
			    "not exist in its addresses' family (icmp is IPv4, icmpv6 is IPv6)",
			    rule->name);
	else
		check_error(checking, rule->at, "rule \"%s\" can match nothing: local and remote "
			    "have no address family in common", rule->name);
}

static bool refers_to_invalid(const struct policy *policy, const struct rule *rule)
{
	return rule->action == SPD_PROTECT &&
	       (!policy->peers[rule->peer].addresses.count ||
		!policy->protections[rule->protection].suite_count);
}

static bool check_rule(struct checking *checking, size_t index)
{
	const struct policy *policy = checking->policy;
	const struct rule *rule = &policy->rules[index];
	size_t errors = checking->errors;

	checking->skip[index] = rule->invalid || refers_to_invalid(policy, rule);
	if (rule->invalid)
		return true;
	if (selector_init(&checking->selectors[index], rule))
		return false;
	check_protocol_needs(checking, rule);
	if (checking->skip[index])
		return true;
	if (rule->action == SPD_PROTECT &&
	    policy->protections[rule->protection].mode == MODE_TRANSPORT &&
	    !check_transport_remote(checking, rule))
		return false;
	if (rule->action == SPD_PROTECT)
		checking->errors += policy_check_bundle_of(policy, rule, checking->report);
	check_families(checking, rule, &checking->selectors[index]);
	checking->skip[index] = checking->errors != errors;
	return true;
}

/* ---- rules against each other ---- */

/* The rule at `index` against one before it. */
struct reaching {
	const struct checking *checking;
	size_t index;
};

static bool may_hide(void *context, size_t earlier)
{
	const struct reaching *reaching = context;
	const struct selector *selectors = reaching->checking->selectors;

	return !reaching->checking->skip[earlier] &&
	       selector_covers_interfaces(&selectors[earlier], &selectors[reaching->index]);
}

static bool hides(void *context, size_t earlier)
{
	const struct reaching *reaching = context;
	const struct selector *selectors = reaching->checking->selectors;

	return !reaching->checking->skip[earlier] &&
	       selector_covers(&selectors[earlier], &selectors[reaching->index]);
}

/* Of most rules there is a packet that none before matches: that is soon found out. */
static void look_at_corner(struct checking *checking, size_t index)
{
	struct reaching reaching = { checking, index };

	checking->at_corner[index] = rule_space_first(&checking->space, &(struct rule_search){
		.relation = RULES_AT_CORNER, .below = index, .action_hi = SPD_PROTECT,
		.accept = may_hide, .context = &reaching,
	}, index) != RULE_NONE;
}

static void check_reachable(struct checking *checking, size_t index)
{
	const struct rule *rules = checking->policy->rules;
	struct reaching reaching = { checking, index };
	size_t earlier = rule_space_first(&checking->space, &(struct rule_search){
		.relation = RULES_AROUND, .below = index, .action_hi = SPD_PROTECT,
		.accept = hides, .context = &reaching,
	}, index);

	if (earlier != RULE_NONE)
		check_error(checking, rules[index].at, "rule \"%s\" can never match: rule \"%s\" "
			    "at line %u matches all its packets first", rules[index].name,
			    rules[earlier].name, rules[earlier].at.line);
}

static bool check_against_each_other(struct checking *checking)
{
	const struct policy *policy = checking->policy;
	struct rule_space *space = &checking->space;

	if (rule_space_init(space, checking->selectors, policy->rule_count))
		return false;
	for (size_t i = 0; i < space->order_count; i++)
		if (!checking->skip[space->order[i]])
			look_at_corner(checking, space->order[i]);
	for (size_t i = 0; i < policy->rule_count; i++)
		if (checking->at_corner[i])
			check_reachable(checking, i);
	return checking->errors || policy_lint(&(struct linting){
		.policy = policy,
		.selectors = checking->selectors,
		.space = space,
		.at_corner = checking->at_corner,
		.log = checking->log,
	});
}

static bool check_all(struct checking *checking)
{
	const struct policy *policy = checking->policy;
	size_t errors;

	for (size_t i = 0; i < policy->protection_count; i++)
		check_protection(checking, &policy->protections[i]);
	checking->errors += policy_check_bundles(policy, checking->report);
	if (!check_peer_addresses(checking) || !check_rule_names(checking))
		return false;
	for (size_t i = 0; i < policy->rule_count; i++)
		if (!check_rule(checking, i))
			return false;
	errors = policy_check_applications(policy, checking->report);
	if (errors == SIZE_MAX)
		return false;
	checking->errors += errors;
	return check_against_each_other(checking);
}

size_t policy_check(const struct policy *policy, struct ipsecbpf_report *report)
{
	struct risk_log log = { .policy = policy, .report = report };
	struct checking checking = { .policy = policy, .report = report, .log = &log };
	bool memory;

	checking.selectors = calloc(policy->rule_count + 1, sizeof(*checking.selectors));
	checking.skip = calloc(policy->rule_count + 1, 2 * sizeof(*checking.skip));
	checking.at_corner = checking.skip ? checking.skip + policy->rule_count : NULL;
	memory = checking.selectors && checking.skip && check_all(&checking);
	policy_warn_of_rest(&log);
	rule_space_fini(&checking.space);
	for (size_t i = 0; checking.selectors && i < policy->rule_count; i++)
		selector_fini(&checking.selectors[i]);
	free(checking.selectors);
	free(checking.skip);
	return memory ? checking.errors : SIZE_MAX;
}
