// SPDX-License-Identifier: BSD-2-Clause
/*
 * Applications -> rules. Pure. Of an application's rules the first match decides, as of others: so
 * the networks stand in their order, in each the protections in theirs, and behind them what closes
 * it.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "policy_internal.h"

struct expanding {
	const struct policy *policy;
	const struct name_addresses **names;	/* sorted by name */
	size_t name_count;
	struct rule *rules;
	size_t count, room;
	/* Where it is. Protections count from 1; 0: the network itself. */
	size_t application, network, protect;
	struct address_list remote;	/* of the network, merged; none: any address */
};

/* ---- rules --------------------------------------------------------------------------------- */

/* A copy of `count` items of `size` octets; NULL of none. False: no memory. */
static bool copy_items(void *ret_items, const void *items, size_t count, size_t size)
{
	void *copy = NULL;

	if (count) {
		copy = malloc(count * size);
		if (!copy)
			return false;
		memcpy(copy, items, count * size);
	}
	memcpy(ret_items, &copy, sizeof(copy));
	return true;
}

static bool copy_addresses(struct address_list *ret_list, const struct address_list *list)
{
	if (!copy_items(&ret_list->items, list->items, list->count, sizeof(*list->items)))
		return false;
	ret_list->count = list->count;
	return true;
}

static bool copy_ports(struct port_list *ret_list, const struct port_list *list)
{
	if (!copy_items(&ret_list->items, list->items, list->count, sizeof(*list->items)))
		return false;
	ret_list->count = list->count;
	return true;
}

static bool copy_upper(struct rule *rule, const struct app_protect *protect)
{
	if (!copy_items(&rule->protocols, protect->protocols, protect->protocol_count, 1))
		return false;
	rule->protocol_count = protect->protocol_count;
	return copy_ports(&rule->local_port, &protect->local_port) &&
	       copy_ports(&rule->remote_port, &protect->remote_port);
}

static void name_rule(const struct expanding *expanding, struct rule *rule)
{
	const struct application *application =
		&expanding->policy->applications[expanding->application - 1];
	char place[48] = "/default";

	if (expanding->network && expanding->protect)
		snprintf(place, sizeof(place), "/%zu/%zu", expanding->network, expanding->protect);
	else if (expanding->network)
		snprintf(place, sizeof(place), "/%zu", expanding->network);
	/* The place is what tells rules apart: a long name gives way. */
	snprintf(rule->name, sizeof(rule->name), "%.*s%s",
		 (int)(sizeof(rule->name) - 1 - strlen(place)), application->name, place);
}

static int grow(struct expanding *expanding)
{
	size_t room = expanding->room ? 2 * expanding->room : 64;
	struct rule *rules;

	if (expanding->policy->rule_count + expanding->count >= POLICY_RULES_MAX)
		return -E2BIG;
	if (expanding->count < expanding->room)
		return 0;
	rules = realloc(expanding->rules, room * sizeof(*rules));
	if (!rules)
		return -ENOMEM;
	expanding->rules = rules;
	expanding->room = room;
	return 0;
}

/* `what`: direction, action and the rest; `protect`: the ports, or NULL: any. */
static int add_rule(struct expanding *expanding, const struct rule *what,
		    const struct address_list *remote, const struct app_protect *protect)
{
	struct rule *rule;
	int err = grow(expanding);

	if (err)
		return err;
	rule = &expanding->rules[expanding->count++];
	*rule = *what;
	rule->application = expanding->application;
	name_rule(expanding, rule);
	if (!copy_addresses(&rule->remote, remote) || (protect && !copy_upper(rule, protect)))
		return -ENOMEM;
	return 0;
}

static int add_simple(struct expanding *expanding, enum spd_action action, struct position at)
{
	struct rule what = { .action = action, .at = at };

	return add_rule(expanding, &what, &expanding->remote, NULL);
}

/* ---- protections --------------------------------------------------------------------------- */

/* What becomes of packets of which so much is asked, if they are with this peer. PEER_NONE: with a
 * host that never has an SA, so that what must be protected is dropped at once. */
static struct rule demanded(enum app_demand demand, const struct app_protect *protect, size_t peer)
{
	struct rule rule = { .at = protect->at };

	if (demand == DEMAND_NONE) {
		rule.action = SPD_BYPASS;
	} else if (demand == DEMAND_REQUIRE && peer == PEER_NONE) {
		rule.action = SPD_DISCARD;
	} else {
		rule.action = SPD_PROTECT;
		rule.level = demand == DEMAND_REQUIRE ? LEVEL_MANDATORY : LEVEL_OPTIONAL;
		rule.peer = peer;
		rule.protection = protect->protection;
	}
	return rule;
}

static int add_demanded(struct expanding *expanding, const struct app_protect *protect, size_t peer,
			const struct address_list *remote)
{
	static const enum rule_direction directions[SPD_DIRECTION_COUNT] = {
		[SPD_IN] = RULE_IN, [SPD_OUT] = RULE_OUT,
	};
	bool same = protect->demand[SPD_IN] == protect->demand[SPD_OUT];
	int err = 0;

	for (int way = 0; !err && way < (same ? 1 : SPD_DIRECTION_COUNT); way++) {
		struct rule what = demanded(protect->demand[way], protect, peer);

		what.direction = same ? RULE_BOTH : directions[way];
		err = add_rule(expanding, &what, remote, protect);
	}
	return err;
}

static struct addr128 greater(struct addr128 a, struct addr128 b)
{
	return addr128_compare(a, b) > 0 ? a : b;
}

static struct addr128 lesser(struct addr128 a, struct addr128 b)
{
	return addr128_compare(a, b) < 0 ? a : b;
}

/* The peer's addresses that lie in the network. */
static int meet(const struct expanding *expanding, const struct peer *peer,
		struct address_list *ret_list)
{
	const struct address_list *network = &expanding->remote, *own = &peer->addresses;
	struct address_list list = { 0 };

	if (!network->count)
		return copy_addresses(ret_list, own) ? 0 : -ENOMEM;
	list.items = calloc(network->count + own->count, sizeof(*list.items));
	if (!list.items)
		return -ENOMEM;
	for (size_t i = 0; i < own->count; i++)
		for (size_t k = 0; k < network->count; k++) {
			struct address_range both = {
				.family = own->items[i].family,
				.lo = greater(own->items[i].lo, network->items[k].lo),
				.hi = lesser(own->items[i].hi, network->items[k].hi),
			};

			if (network->items[k].family == both.family &&
			    addr128_compare(both.lo, both.hi) <= 0)
				list.items[list.count++] = both;
		}
	*ret_list = list;
	return 0;
}

static int add_peer(struct expanding *expanding, const struct app_protect *protect, size_t peer)
{
	struct address_list remote;
	int err = meet(expanding, &expanding->policy->peers[peer], &remote);

	if (err)
		return err;
	if (remote.count)
		err = add_demanded(expanding, protect, peer, &remote);
	free(remote.items);
	return err;
}

/* Transport mode ends at the peers: those of their addresses that are in the network. */
static int add_peers(struct expanding *expanding, const struct app_protect *protect)
{
	size_t count = protect->peer_count ? protect->peer_count : expanding->policy->peer_count;
	int err = 0;

	for (size_t i = 0; !err && i < count; i++)
		err = add_peer(expanding, protect, protect->peer_count ? protect->peers[i] : i);
	return err;
}

/* Whether nothing gets past it. */
static bool takes_all(const struct app_protect *protect)
{
	return !protect->protocol_count && !protect->local_port.count && !protect->remote_port.count;
}

/* What the network's end says as well need not be said before it. */
static bool rest_is_end(const struct app_network *network, const struct app_protect *protect)
{
	return protect->demand[SPD_IN] == DEMAND_REQUIRE &&
	       protect->demand[SPD_OUT] == DEMAND_REQUIRE &&
	       (takes_all(protect) || protect == &network->protect[network->protect_count - 1]);
}

static int add_protect(struct expanding *expanding, const struct app_network *network,
		       const struct app_protect *protect, bool *ret_closed)
{
	const struct protection *protection = &expanding->policy->protections[protect->protection];
	bool tunnel = protection->mode == MODE_TUNNEL, rest = !tunnel && !rest_is_end(network, protect);
	int err;

	if (tunnel)
		err = add_demanded(expanding, protect,
				   protect->peer_count ? protect->peers[0] : PEER_NONE,
				   &expanding->remote);
	else
		err = add_peers(expanding, protect);
	if (!err && rest)
		err = add_demanded(expanding, protect, PEER_NONE, &expanding->remote);
	*ret_closed = takes_all(protect) && (tunnel || rest);
	return err;
}

static int add_protected(struct expanding *expanding, const struct app_network *network)
{
	bool closed = false;
	int err = 0;

	for (size_t i = 0; !err && i < network->protect_count; i++) {
		expanding->protect = i + 1;
		err = add_protect(expanding, network, &network->protect[i], &closed);
		if (takes_all(&network->protect[i]))
			break;
	}
	expanding->protect = 0;
	return err || closed ? err : add_simple(expanding, SPD_DISCARD, network->at);
}

/* ---- networks ------------------------------------------------------------------------------ */

static int compare_names(const void *a, const void *b)
{
	return strcasecmp((*(const struct name_addresses *const *)a)->name,
			  (*(const struct name_addresses *const *)b)->name);
}

static const struct address_list *addresses_of(const struct expanding *expanding, char *name)
{
	static const struct address_list none;
	const struct name_addresses wanted = { .name = name }, *key = &wanted;
	const struct name_addresses **found =
		expanding->name_count ? bsearch(&key, expanding->names, expanding->name_count,
						sizeof(key), compare_names) : NULL;

	return found ? &(*found)->addresses : &none;
}

static void append(struct address_list *list, const struct address_list *more)
{
	if (more->count)
		memcpy(&list->items[list->count], more->items, more->count * sizeof(*more->items));
	list->count += more->count;
}

/* All addresses as they are known, in one list that is not merged. */
static int gather(const struct expanding *expanding, const struct app_network *network,
		  struct address_list *ret_list)
{
	struct address_list list = { 0 };
	size_t count = network->remote.count;

	for (size_t i = 0; i < network->name_count; i++)
		count += addresses_of(expanding, network->names[i])->count;
	list.items = calloc(count + 1, sizeof(*list.items));
	if (!list.items)
		return -ENOMEM;
	append(&list, &network->remote);
	for (size_t i = 0; i < network->name_count; i++)
		append(&list, addresses_of(expanding, network->names[i]));
	*ret_list = list;
	return 0;
}

/* Sorted and merged, by family. */
static int merge(struct address_list *list)
{
	struct address_list families[FAMILY_COUNT] = { 0 };
	int err = 0;

	for (int family = 0; !err && list->count && family < FAMILY_COUNT; family++)
		err = address_list_of_family(list, (enum ip_family)family, &families[family]);
	list->count = 0;
	for (int family = 0; family < FAMILY_COUNT; family++) {
		if (!err)
			append(list, &families[family]);
		free(families[family].items);
	}
	return err;
}

static int add_network(struct expanding *expanding, const struct app_network *network)
{
	bool any = !network->remote.count && !network->name_count;
	int err = gather(expanding, network, &expanding->remote);

	if (!err)
		err = merge(&expanding->remote);
	/* Names of which no address is known: no packet is with them. */
	if (!err && (any || expanding->remote.count)) {
		if (network->class == APP_PROTECTED)
			err = add_protected(expanding, network);
		else
			err = add_simple(expanding, network->class == APP_TRUSTED ? SPD_BYPASS :
										    SPD_DISCARD,
					 network->at);
	}
	free(expanding->remote.items);
	expanding->remote = (struct address_list){ 0 };
	return err;
}

static int add_application(struct expanding *expanding, const struct application *application)
{
	int err = 0;

	for (size_t i = 0; !err && i < application->network_count; i++) {
		expanding->network = i + 1;
		err = add_network(expanding, &application->networks[i]);
	}
	expanding->network = 0;
	if (!err && application->default_discard)
		err = add_simple(expanding, SPD_DISCARD, application->at);
	return err;
}

/* ---- from outside -------------------------------------------------------------------------- */

static int index_names(struct expanding *expanding, const struct name_table *names)
{
	if (!names || !names->count)
		return 0;
	expanding->names = calloc(names->count, sizeof(struct name_addresses *));
	if (!expanding->names)
		return -ENOMEM;
	for (size_t i = 0; i < names->count; i++)
		expanding->names[expanding->name_count++] = &names->items[i];
	qsort(expanding->names, expanding->name_count, sizeof(struct name_addresses *),
	      compare_names);
	return 0;
}

/* The new ones in the place of the old ones, or nothing has changed. */
static int replace(struct policy *policy, struct expanding *expanding)
{
	size_t kept = policy->rule_count, count = expanding->count;
	size_t old = policy->all_rule_count > kept ? policy->all_rule_count : kept;
	struct rule *rules = policy->rules;

	if (count > old - kept) {
		rules = realloc(rules, (kept + count) * sizeof(*rules));
		if (!rules)
			return -ENOMEM;
		policy->rules = rules;
	}
	for (size_t i = kept; i < old; i++)
		policy_rule_fini(&rules[i]);
	if (count)
		memcpy(&rules[kept], expanding->rules, count * sizeof(*rules));
	policy->all_rule_count = kept + count;
	expanding->count = 0;
	return 0;
}

int policy_expand(struct policy *policy, const struct name_table *names)
{
	struct expanding expanding = { .policy = policy };
	int err = index_names(&expanding, names);

	for (size_t i = 0; !err && i < policy->application_count; i++) {
		expanding.application = i + 1;
		err = add_application(&expanding, &policy->applications[i]);
	}
	if (!err)
		err = replace(policy, &expanding);
	for (size_t i = 0; i < expanding.count; i++)
		policy_rule_fini(&expanding.rules[i]);
	free(expanding.rules);
	free(expanding.names);
	return err;
}

static int compare_texts(const void *a, const void *b)
{
	return strcasecmp(*(const char *const *)a, *(const char *const *)b);
}

int policy_names(const struct policy *policy, const char ***ret_names, size_t *ret_count)
{
	const char **names;
	size_t count = 0, kept = 0;

	for (size_t i = 0; i < policy->application_count; i++)
		for (size_t k = 0; k < policy->applications[i].network_count; k++)
			count += policy->applications[i].networks[k].name_count;
	names = calloc(count + 1, sizeof(*names));
	if (!names)
		return -ENOMEM;
	count = 0;
	for (size_t i = 0; i < policy->application_count; i++)
		for (size_t k = 0; k < policy->applications[i].network_count; k++) {
			const struct app_network *network = &policy->applications[i].networks[k];

			for (size_t n = 0; n < network->name_count; n++)
				names[count++] = network->names[n];
		}
	qsort(names, count, sizeof(*names), compare_texts);
	for (size_t i = 0; i < count; i++)
		if (!kept || strcasecmp(names[kept - 1], names[i]))
			names[kept++] = names[i];
	*ret_names = names;
	*ret_count = kept;
	return 0;
}
