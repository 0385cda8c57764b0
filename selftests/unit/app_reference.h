/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A second opinion on applications: what becomes of a packet, read from struct application itself, not
 * from the rules that it comes to; and random applications, identities and tables of names.
 *
 * Included by: test_policy_apps.c, behind policy_testing.h.
 */
#ifndef APP_REFERENCE_H
#define APP_REFERENCE_H

#include "bpf/spd_app.h"
#include "lib/policy_match.h"
#include "policy_reference.h"

#define RANDOM_PATTERNS 3	/* most of one application */

/* What an SA is looked up by; 0: there is none. */
static inline uint32_t pair_id(void *context, size_t peer, size_t protection)
{
	(void)context;
	return (uint32_t)(1 + peer * 100 + protection);
}

struct verdict {
	uint8_t action, level;
	uint32_t protect_id;
};

/* ---- the reference ---- */

static bool of_other_family(uint8_t proto, enum ip_family family)
{
	return proto == (family == FAMILY_V6 ? 1 : 58);
}

/* Whether the item is about the packet, and whether that is but a guess. */
static bool item_fits(const struct app_protect *item, const struct test_packet *packet, bool *guess)
{
	bool ports = item->local_port.count || item->remote_port.count, fits = !item->protocol_count;

	for (size_t i = 0; i < item->protocol_count; i++)
		fits |= !of_other_family(item->protocols[i], packet->family) &&
			(packet->proto_hidden || item->protocols[i] == packet->proto);
	*guess = (packet->proto_hidden && item->protocol_count) || (packet->later && ports);
	if (!packet->later)
		fits &= port_in_list(&item->local_port, packet->local_port) &&
			port_in_list(&item->remote_port, packet->remote_port);
	return fits;
}

static uint32_t id_of_peer(const struct policy *policy, const struct app_protect *item,
			   const struct test_packet *packet)
{
	if (policy->protections[item->protection].mode == MODE_TUNNEL)
		return pair_id(NULL, item->peers[0], item->protection);
	for (size_t peer = 0; peer < policy->peer_count; peer++) {
		bool named = item->peer_count == 0;

		for (size_t i = 0; i < item->peer_count; i++)
			named |= item->peers[i] == peer;
		if (named && in_list(&policy->peers[peer].addresses, packet->family, packet->remote))
			return pair_id(NULL, peer, item->protection);
	}
	return 0;
}

/* In a protected network. On a guess nothing passes in the clear. */
static struct verdict protected_verdict(const struct policy *policy,
					const struct app_network *network,
					const struct test_packet *packet)
{
	const struct verdict discard = { .action = SPD_DISCARD };

	for (size_t i = 0; i < network->protect_count; i++) {
		const struct app_protect *item = &network->protect[i];
		enum app_demand demand = item->demand[packet->direction];
		bool guess;
		uint32_t id;

		if (!item_fits(item, packet, &guess) || (guess && demand == DEMAND_NONE))
			continue;
		if (demand == DEMAND_NONE)
			return (struct verdict){ .action = SPD_BYPASS };
		id = id_of_peer(policy, item, packet);
		if (demand == DEMAND_REQUEST && !guess)
			return (struct verdict){ SPD_PROTECT, LEVEL_OPTIONAL, id };
		return id ? (struct verdict){ SPD_PROTECT, LEVEL_MANDATORY, id } : discard;
	}
	return discard;
}

static bool in_network(const struct app_network *network, const struct name_table *names,
		       const struct test_packet *packet)
{
	if (network->remote.count && in_list(&network->remote, packet->family, packet->remote))
		return true;
	for (size_t i = 0; i < network->name_count; i++)
		for (size_t k = 0; k < names->count; k++)
			if (!strcmp(network->names[i], names->items[k].name) &&
			    names->items[k].addresses.count &&
			    in_list(&names->items[k].addresses, packet->family, packet->remote))
				return true;
	return !network->remote.count && !network->name_count;
}

static struct verdict host_verdict(const struct policy *policy, const struct test_packet *packet)
{
	for (size_t i = 0; i < policy->rule_count; i++) {
		const struct rule *rule = &policy->rules[i];
		bool ports = rule->local_port.count || rule->remote_port.count || rule->icmp_given;
		bool guess = (packet->later && ports) ||
			     (packet->proto_hidden && rule->protocol_count);

		if (!rule_matches(rule, "eth0", packet))
			continue;
		if (rule->action != SPD_PROTECT)
			return (struct verdict){ .action = (uint8_t)rule->action };
		return (struct verdict){ SPD_PROTECT,
					 (uint8_t)(guess ? LEVEL_MANDATORY : rule->level),
					 pair_id(NULL, rule->peer, rule->protection) };
	}
	return (struct verdict){ .action = (uint8_t)policy->default_action[packet->direction] };
}

/* `app`: 0 is the host. */
static inline struct verdict app_reference(const struct policy *policy,
					   const struct name_table *names, uint32_t app,
					   const struct test_packet *packet)
{
	const struct application *application = app ? &policy->applications[app - 1] : NULL;

	for (size_t i = 0; application && i < application->network_count; i++) {
		const struct app_network *network = &application->networks[i];

		if (!in_network(network, names, packet))
			continue;
		if (network->class == APP_PROTECTED)
			return protected_verdict(policy, network, packet);
		return (struct verdict){ .action = network->class == APP_TRUSTED ? SPD_BYPASS :
										   SPD_DISCARD };
	}
	if (application && application->default_discard)
		return (struct verdict){ .action = SPD_DISCARD };
	return host_verdict(policy, packet);
}

/* ---- random applications ---- */

static void *items_of(size_t count, size_t size)
{
	return calloc(count ? count : 1, size);
}

static struct address_range random_range(void)
{
	static const char *const pool[] = {
		"10.0.0.0/30", "10.0.0.1", "10.0.0.2-10.0.0.5", "10.0.0.4/31", "0.0.0.0/0",
		"fd00::/126", "fd00::1", "fd00::2-fd00::5", "fd00::/16", "10.0.0.3",
	};
	struct address_range range;

	assert_true(address_parse(pool[below(10)], &range, NULL));
	return range;
}

static struct address_list random_list(size_t count)
{
	struct address_list list = { items_of(count, sizeof(*list.items)), count };

	for (size_t i = 0; i < count; i++)
		list.items[i] = random_range();
	return list;
}

static struct port_list random_ports(void)
{
	size_t count = below(3);
	struct port_list list = { items_of(count, sizeof(*list.items)), count };

	for (size_t i = 0; i < count; i++) {
		list.items[i].lo = (uint16_t)below(9);
		list.items[i].hi = (uint16_t)(list.items[i].lo + below(3));
	}
	return list;
}

static void random_upper(struct app_protect *item)
{
	static const uint8_t kinds[][2] = { { 6, 17 }, { 6, 6 }, { 1, 58 }, { 58, 58 }, { 47, 1 } };
	unsigned int kind = below(7);

	if (kind >= 5)
		return;
	item->protocols = items_of(2, 1);
	memcpy(item->protocols, kinds[kind], 2);
	item->protocol_count = 2;
	if (kind < 2) {
		item->local_port = random_ports();
		item->remote_port = random_ports();
	}
}

static void random_protect(struct app_protect *item, const struct policy *policy)
{
	static const enum app_demand demands[] = {
		DEMAND_NONE, DEMAND_REQUEST, DEMAND_REQUIRE, DEMAND_REQUIRE,
	};
	bool tunnel;

	random_upper(item);
	item->protection = below(2) ? policy->protection_count - 1 - below(2) :
				      below((unsigned int)policy->protection_count);
	tunnel = policy->protections[item->protection].mode == MODE_TUNNEL;
	item->peer_count = tunnel ? 1 : below(3);
	item->peers = items_of(item->peer_count, sizeof(*item->peers));
	for (size_t i = 0; i < item->peer_count; i++)
		item->peers[i] = (below(2) + 2 * i) % policy->peer_count;
	item->demand[SPD_IN] = demands[below(4)];
	item->demand[SPD_OUT] = below(2) ? item->demand[SPD_IN] : demands[below(4)];
}

static const char *const random_names[] = { "one.example", "two.example", "three.example" };
#define RANDOM_NAMES 3

static void random_network(struct app_network *network, const struct policy *policy)
{
	network->class = below(3) ? APP_PROTECTED : below(2) ? APP_TRUSTED : APP_UNTRUSTED;
	if (below(5)) {
		network->remote = random_list(below(3));
		network->name_count = below(3) ? 0 : 1 + below(2);
		network->names = items_of(network->name_count, sizeof(*network->names));
		for (size_t i = 0; i < network->name_count; i++)
			network->names[i] = strdup(random_names[below(RANDOM_NAMES)]);
	}
	if (network->class != APP_PROTECTED)
		return;
	network->protect_count = 1 + below(3);
	network->protect = items_of(network->protect_count, sizeof(*network->protect));
	for (size_t i = 0; i < network->protect_count; i++)
		random_protect(&network->protect[i], policy);
}

static inline void random_application(struct application *application, const struct policy *policy)
{
	application->network_count = below(4);
	application->networks = items_of(application->network_count, sizeof(struct app_network));
	for (size_t i = 0; i < application->network_count; i++)
		random_network(&application->networks[i], policy);
	application->default_discard = below(2);
	application->optional_rate = below(1000);
	application->flows_max = below(1000);
}

/* Some are not known; of some no address is. */
static inline struct name_table random_table(void)
{
	struct name_table table = { calloc(RANDOM_NAMES, sizeof(*table.items)), 0 };

	for (int i = RANDOM_NAMES; i-- > 0;)
		if (below(4))
			table.items[table.count++] = (struct name_addresses){
				.name = strdup(random_names[i]),
				.addresses = random_list(below(3)),
			};
	return table;
}

static inline void random_table_fini(struct name_table *table)
{
	for (size_t i = 0; i < table->count; i++) {
		free(table->items[i].name);
		free(table->items[i].addresses.items);
	}
	free(table->items);
}

/* ---- random identities ---- */

/* From so few values that patterns meet identities. `wide`: how many users and programs there are. */
static inline struct app_identity random_identity(unsigned int wide)
{
	struct app_identity who = {
		.exe = below(wide + 1), .uid = below(wide), .gid = below(2),
	};
	uint32_t depth = below(APP_CGROUP_LEVELS + 1);
	uint64_t parent = 0;

	for (uint32_t level = 0; level < depth; level++)
		who.cgroup[level] = parent = parent * 4 + 1 + below(2);
	if (depth && below(2)) {
		who.unit_level = 1 + below(depth);
		who.unit = 0x1000 + below(2);
	}
	return who;
}

static inline struct app_pattern random_pattern(uint32_t app, unsigned int wide)
{
	struct app_pattern pattern = { .who = random_identity(wide), .app = app };
	uint32_t depth = 0;

	while (depth < APP_CGROUP_LEVELS && pattern.who.cgroup[depth])
		depth++;
	pattern.shape = below(SPD_MATCH_SHAPES);
	if (!pattern.who.exe)
		pattern.shape &= ~(uint32_t)SPD_MATCH_EXE;
	if (pattern.who.unit && below(2))
		pattern.unit = true;
	else if (depth && below(3))
		pattern.cgroup_level = 1 + below(depth);
	else if (!pattern.shape)
		pattern.shape = SPD_MATCH_GID;
	return pattern;
}

#endif /* APP_REFERENCE_H */
