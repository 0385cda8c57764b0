// SPDX-License-Identifier: BSD-2-Clause
/*
 * struct policy -> what the BPF programs search. Pure: the same policy, interface and ids give the
 * same entries.
 */
#include <errno.h>
#include <fnmatch.h>
#include <stdlib.h>

#include "policy_internal.h"

/* One rule on its way into one table. */
struct expansion {
	const struct selector *selector;
	enum ip_family family;
	struct spd_entry entry;		/* what all entries of the rule have in common */
	struct spd_entry *out;
};

static bool applies_to(const struct rule *rule, const char *ifname)
{
	if (!rule->interface_count)
		return true;
	for (size_t i = 0; i < rule->interface_count; i++)
		if (!fnmatch(rule->interfaces[i], ifname, 0))
			return true;
	return false;
}

static bool applies_in(const struct rule *rule, enum spd_direction direction)
{
	return rule->direction == RULE_BOTH ||
	       (rule->direction == RULE_IN) == (direction == SPD_IN);
}

static size_t at_least_one(size_t count)
{
	return count ? count : 1;
}

/* Entries the selector becomes in one family; its lists are bounded, so this cannot overflow. */
static size_t expansion_count(const struct selector *selector, enum ip_family family)
{
	size_t protocols = 0;

	for (int word = 0; word < 4; word++)
		protocols += (size_t)__builtin_popcountll(selector->protocols[family][word]);
	if (selector->any_protocol)
		protocols = 1;
	return protocols * selector->address[SIDE_LOCAL][family].count *
	       selector->address[SIDE_REMOTE][family].count *
	       at_least_one(selector->port[SIDE_LOCAL].count) *
	       at_least_one(selector->port[SIDE_REMOTE].count);
}

static struct port_range port_at(const struct port_list *list, size_t index)
{
	return list->count ? list->items[index] : (struct port_range){ .lo = 0, .hi = UINT16_MAX };
}

static void expand_ports(struct expansion *expansion)
{
	const struct port_list *local = &expansion->selector->port[SIDE_LOCAL];
	const struct port_list *remote = &expansion->selector->port[SIDE_REMOTE];
	struct spd_entry *entry = &expansion->entry;

	for (size_t l = 0; l < at_least_one(local->count); l++) {
		entry->local_port_lo = port_at(local, l).lo;
		entry->local_port_hi = port_at(local, l).hi;
		for (size_t r = 0; r < at_least_one(remote->count); r++) {
			entry->remote_port_lo = port_at(remote, r).lo;
			entry->remote_port_hi = port_at(remote, r).hi;
			*expansion->out++ = *entry;
		}
	}
}

static void expand_protocols(struct expansion *expansion)
{
	const uint64_t *protocols = expansion->selector->protocols[expansion->family];

	if (expansion->selector->any_protocol) {
		expand_ports(expansion);
		return;
	}
	for (unsigned int proto = 0; proto < 256; proto++) {
		if (!(protocols[proto / 64] >> (proto % 64) & 1))
			continue;
		expansion->entry.proto = (uint8_t)proto;
		expand_ports(expansion);
	}
}

static void expand(struct expansion *expansion)
{
	const struct selector *selector = expansion->selector;
	const struct address_list *local = &selector->address[SIDE_LOCAL][expansion->family];
	const struct address_list *remote = &selector->address[SIDE_REMOTE][expansion->family];

	for (size_t l = 0; l < local->count; l++) {
		expansion->entry.local_lo = local->items[l].lo;
		expansion->entry.local_hi = local->items[l].hi;
		for (size_t r = 0; r < remote->count; r++) {
			expansion->entry.remote_lo = remote->items[r].lo;
			expansion->entry.remote_hi = remote->items[r].hi;
			expand_protocols(expansion);
		}
	}
}

static struct spd_entry common_entry(const struct rule *rule, size_t index, uint32_t protect_id)
{
	struct spd_entry entry = {
		.icmp_type_lo = rule->icmp_type_lo, .icmp_type_hi = rule->icmp_type_hi,
		.icmp_code_lo = rule->icmp_code_lo, .icmp_code_hi = rule->icmp_code_hi,
		.action = (uint8_t)rule->action,
		.rule = (uint32_t)index,
		.protect_id = protect_id,
	};

	if (rule->protocol_count)
		entry.flags |= SPD_F_PROTO;
	if (rule->local_port.count || rule->remote_port.count)
		entry.flags |= SPD_F_PORTS;
	if (rule->icmp_given)
		entry.flags |= SPD_F_ICMP;
	if (rule->origin == ORIGIN_LOCAL)
		entry.flags |= SPD_F_ORIGIN_LOCAL;
	if (rule->origin == ORIGIN_FORWARDED)
		entry.flags |= SPD_F_ORIGIN_FORWARDED;
	return entry;
}

/* What compiling needs of each rule. */
struct rule_plan {
	struct selector selector;
	uint32_t protect_id;
	bool applies;
};

static int plan_rules(const struct policy *policy, const char *ifname, struct rule_plan *plans)
{
	int err = 0;

	for (size_t i = 0; i < policy->rule_count && !err; i++) {
		plans[i].applies = applies_to(&policy->rules[i], ifname);
		if (plans[i].applies)
			err = selector_init(&plans[i].selector, &policy->rules[i]);
	}
	return err;
}

static int no_id_left(const struct policy *policy, const struct rule *rule,
		      struct policy_pair pair, struct ipsecbpf_report *report)
{
	policy_report_at(policy, report, REPORT_ERROR, rule->at,
			 "rule \"%s\": no id is left for protection \"%s\" with peer \"%s\": at "
			 "most %d pairs can be in use", rule->name,
			 policy->protections[pair.protection].name, policy->peers[pair.peer].name,
			 PROTECT_MAX - 1);
	return -EINVAL;
}

static int assign_ids(const struct policy *policy, struct rule_plan *plans,
		      protect_id_fn protect_id, void *context, struct ipsecbpf_report *report)
{
	for (size_t i = 0; i < policy->rule_count; i++) {
		const struct rule *rule = &policy->rules[i];
		struct policy_pair bundle[BUNDLE_MAX] = { { rule->peer, rule->protection } };
		size_t depth = 1;

		if (!plans[i].applies || rule->action != SPD_PROTECT)
			continue;
		while (depth < BUNDLE_MAX &&
		       policy_outer_pair(policy, bundle[depth - 1], &bundle[depth]))
			depth++;
		while (depth--) {
			plans[i].protect_id = protect_id(context, bundle[depth].peer,
							 bundle[depth].protection);
			if (!plans[i].protect_id)
				return no_id_left(policy, rule, bundle[depth], report);
		}
	}
	return 0;
}

static const char *const direction_words[] = { [SPD_IN] = "inbound", [SPD_OUT] = "outbound" };
static const char *const family_words[] = { [FAMILY_V4] = "IPv4", [FAMILY_V6] = "IPv6" };

static void report_too_many(const struct policy *policy, const struct rule_plan *plans,
			    enum spd_direction direction, enum ip_family family,
			    struct ipsecbpf_report *report)
{
	size_t total = 0, most = 0, worst = 0;

	for (size_t i = 0; i < policy->rule_count; i++) {
		size_t count;

		if (!plans[i].applies || !applies_in(&policy->rules[i], direction))
			continue;
		count = expansion_count(&plans[i].selector, family);
		total += count;
		if (count > most) {
			most = count;
			worst = i;
		}
	}
	policy_report_at(policy, report, REPORT_ERROR, policy->rules[worst].at,
			 "the %s %s rules make %zu entries, and the limit is %d: rule \"%s\" alone "
			 "makes %zu (addresses x protocols x ports)", direction_words[direction],
			 family_words[family], total, SPD_MAX_ENTRIES, policy->rules[worst].name,
			 most);
}

static int compile_table(const struct policy *policy, const struct rule_plan *plans,
			 enum spd_direction direction, enum ip_family family,
			 struct policy_compiled *compiled)
{
	struct expansion expansion = { .family = family };
	struct spd_entry *entries;
	size_t count = 0;

	for (size_t i = 0; i < policy->rule_count; i++) {
		if (plans[i].applies && applies_in(&policy->rules[i], direction))
			count += expansion_count(&plans[i].selector, family);
		if (count > SPD_MAX_ENTRIES)
			return -E2BIG;
	}
	entries = calloc(at_least_one(count), sizeof(*entries));
	if (!entries)
		return -ENOMEM;
	compiled->entries[direction][family] = entries;
	compiled->head.entries[direction][family] = (uint32_t)count;
	expansion.out = entries;
	for (size_t i = 0; i < policy->rule_count; i++) {
		if (!plans[i].applies || !applies_in(&policy->rules[i], direction))
			continue;
		expansion.selector = &plans[i].selector;
		expansion.entry = common_entry(&policy->rules[i], i, plans[i].protect_id);
		expand(&expansion);
	}
	return 0;
}

/* All four tables, so that all that are too large are named. */
static int compile_tables(const struct policy *policy, const struct rule_plan *plans,
			  struct policy_compiled *compiled, struct ipsecbpf_report *report)
{
	int err, result = 0;

	for (int direction = 0; direction < SPD_DIRECTION_COUNT; direction++) {
		for (int family = 0; family < FAMILY_COUNT; family++) {
			err = compile_table(policy, plans, direction, family, compiled);
			if (err == -ENOMEM)
				return err;
			if (err != -E2BIG)
				continue;
			report_too_many(policy, plans, direction, family, report);
			result = -EINVAL;
		}
	}
	return result;
}

int policy_compile(const struct policy *policy, const char *ifname, protect_id_fn protect_id,
		   void *context, struct policy_compiled *ret_compiled,
		   struct ipsecbpf_report *report)
{
	struct policy_compiled compiled = { .head = {
		.essential = policy->essential,
		.non_ip_action = (uint8_t)policy->non_ip_action,
	} };
	struct rule_plan *plans;
	int err;

	for (int i = 0; i < SPD_DIRECTION_COUNT; i++)
		compiled.head.default_action[i] = (uint8_t)policy->default_action[i];
	plans = calloc(at_least_one(policy->rule_count), sizeof(*plans));
	if (!plans)
		return -ENOMEM;
	err = plan_rules(policy, ifname, plans);
	if (!err)
		err = assign_ids(policy, plans, protect_id, context, report);
	if (!err)
		err = compile_tables(policy, plans, &compiled, report);
	for (size_t i = 0; i < policy->rule_count; i++)
		selector_fini(&plans[i].selector);
	free(plans);
	if (err)
		policy_compiled_fini(&compiled);
	else
		*ret_compiled = compiled;
	return err;
}

void policy_compiled_fini(struct policy_compiled *compiled)
{
	for (int direction = 0; direction < SPD_DIRECTION_COUNT; direction++)
		for (int family = 0; family < FAMILY_COUNT; family++)
			free(compiled->entries[direction][family]);
	*compiled = (struct policy_compiled){ 0 };
}
