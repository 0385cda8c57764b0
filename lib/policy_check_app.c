// SPDX-License-Identifier: BSD-2-Clause
/* How the parts of applications fit together, with each other and with peers and protections. */
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "name_index.h"
#include "policy_internal.h"

struct app_checking {
	const struct policy *policy;
	struct ipsecbpf_report *report;
	size_t errors;
};

#define app_error(checking, at, ...)							\
	do {										\
		(checking)->errors++;							\
		policy_report_at((checking)->policy, (checking)->report, REPORT_ERROR, at,	\
				 __VA_ARGS__);						\
	} while (0)

bool app_network_is_any(const struct app_network *network)
{
	return !network->remote.count && !network->name_count;
}

bool app_network_has_peer(const struct app_network *network, const struct peer *peer)
{
	if (app_network_is_any(network))
		return peer->addresses.count;
	for (size_t i = 0; i < peer->addresses.count; i++)
		for (size_t k = 0; k < network->remote.count; k++) {
			const struct address_range *range = &network->remote.items[k];
			const struct address_range *one = &peer->addresses.items[i];

			if (range->family == one->family &&
			    addr128_compare(range->lo, one->lo) <= 0 &&
			    addr128_compare(one->hi, range->hi) <= 0)
				return true;
		}
	return false;
}

/* ---- names ---- */

/* The application that a rule's name would be taken to be of: "NAME/...". */
static size_t application_of_name(const struct name_index *names, const char *rule)
{
	char name[NAME_LEN];
	size_t len = strcspn(rule, "/");

	if (!rule[len])
		return NAME_INDEX_NONE;
	snprintf(name, sizeof(name), "%.*s", (int)len, rule);
	return name_index_find(names, name);
}

static bool check_names(struct app_checking *checking)
{
	const struct policy *policy = checking->policy;
	const struct application *all = policy->applications;
	struct name_index names;
	size_t other;
	int err = name_index_init(&names, all, sizeof(*all), policy->application_count);

	for (size_t i = 0; i < policy->application_count && !err; i++) {
		other = all[i].name[0] ? name_index_add(&names, i) : NAME_INDEX_NONE;
		if (other != NAME_INDEX_NONE)
			app_error(checking, all[i].at, "application \"%s\": the application at line "
				  "%u has the same name", all[i].name, all[other].at.line);
	}
	for (size_t i = 0; i < policy->rule_count && !err; i++) {
		other = application_of_name(&names, policy->rules[i].name);
		if (other != NAME_INDEX_NONE)
			app_error(checking, policy->rules[i].at, "rule \"%s\": the rules of "
				  "application \"%s\" (line %u) are named like that: choose another "
				  "name", policy->rules[i].name, all[other].name,
				  all[other].at.line);
	}
	name_index_fini(&names);
	return !err;
}

/* ---- who is who ---- */

struct claim {
	const struct app_match *match;
	const struct application *application;
};

static int compare_texts(const char *a, const char *b)
{
	return strcmp(a ? a : "", b ? b : "");
}

static int compare_matches(const struct app_match *a, const struct app_match *b)
{
	int order = compare_texts(a->cgroup, b->cgroup);

	order = order ? order : compare_texts(a->unit, b->unit);
	order = order ? order : compare_texts(a->exe, b->exe);
	order = order ? order : compare_texts(a->user, b->user);
	return order ? order : compare_texts(a->group, b->group);
}

static int compare_claims(const void *a, const void *b)
{
	const struct claim *x = a, *y = b;
	int order = compare_matches(x->match, y->match);

	if (order)
		return order;
	if (x->application != y->application)
		return x->application < y->application ? -1 : 1;
	return x->match < y->match ? -1 : x->match > y->match;
}

static void report_claims(struct app_checking *checking, const struct claim *first,
			  const struct claim *second)
{
	const char *name = second->application->name;

	if (first->application == second->application)
		app_error(checking, second->match->at, "application \"%s\": match: the same match is "
			  "at line %u", name, first->match->at.line);
	else
		app_error(checking, second->match->at, "application \"%s\": match: application \"%s\" "
			  "at line %u has the same one (line %u): which of them a program is would "
			  "be chance", name, first->application->name, first->application->at.line,
			  first->match->at.line);
}

/* Two applications that claim the same programs. A name and a number may still be the same user. */
static bool check_matches(struct app_checking *checking)
{
	const struct policy *policy = checking->policy;
	struct claim *claims;
	size_t count = 0, first = 0;

	for (size_t i = 0; i < policy->application_count; i++)
		count += policy->applications[i].match_count;
	claims = calloc(count + 1, sizeof(*claims));
	if (!claims)
		return false;
	count = 0;
	for (size_t i = 0; i < policy->application_count; i++) {
		const struct application *one = &policy->applications[i];

		for (size_t k = 0; k < one->match_count && !one->invalid; k++)
			claims[count++] = (struct claim){ &one->matches[k], one };
	}
	qsort(claims, count, sizeof(*claims), compare_claims);
	for (size_t i = 1; i < count; i++) {
		if (compare_matches(claims[first].match, claims[i].match))
			first = i;
		else
			report_claims(checking, &claims[first], &claims[i]);
	}
	free(claims);
	return true;
}

/* ---- protections ---- */

/* What is being looked at, and how messages call it. */
struct app_place {
	const struct application *application;
	const struct app_network *network;
	const struct app_protect *protect;
	char name[NAME_LEN + 80];
	char rule[NAME_LEN];	/* of what it comes to */
};

static bool is_sound(const struct policy *policy, const struct app_protect *protect)
{
	if (!policy->protections[protect->protection].suite_count)
		return false;
	for (size_t i = 0; i < protect->peer_count; i++)
		if (!policy->peers[protect->peers[i]].addresses.count)
			return false;
	return true;
}

/* Applications get no such sockets (bpf/sock_hooks.h). */
static void check_protocols(struct app_checking *checking, const struct app_place *place)
{
	const struct app_protect *protect = place->protect;

	for (size_t i = 0; i < protect->protocol_count; i++)
		if (protect->protocols[i] == IPPROTO_SCTP)
			app_error(checking, protect->at, "%s: sctp: the kernel makes the sockets of "
				  "accepted associations itself, and nobody can tell which application "
				  "they are: protect it by the host's rules", place->name);
}

static void check_ports(struct app_checking *checking, const struct app_place *place)
{
	const struct app_protect *protect = place->protect;
	bool fits = protect->protocol_count;

	if (!protect->local_port.count && !protect->remote_port.count)
		return;
	for (size_t i = 0; i < protect->protocol_count; i++) {
		const struct policy_protocol *protocol = policy_protocol_find(protect->protocols[i]);

		fits = fits && protocol && protocol->ports;
	}
	if (!fits)
		app_error(checking, protect->at, "%s: ports need a protocol that has them, and no "
			  "other: tcp, udp, udplite, sctp or dccp", place->name);
}

/* The SAs of SAs: as of a rule with this peer and protection. */
static void check_bundle(struct app_checking *checking, const struct app_place *place, size_t peer)
{
	struct rule rule = {
		.action = SPD_PROTECT,
		.peer = peer,
		.protection = place->protect->protection,
		.at = place->protect->at,
	};

	memcpy(rule.name, place->rule, sizeof(rule.name));
	checking->errors += policy_check_bundle_of(checking->policy, &rule, checking->report);
}

/* A gateway need not be in the network that it leads to. A peer in transport mode must: it is the
 * network, or part of it. What names stand for is not known yet. */
static void check_peers(struct app_checking *checking, const struct app_place *place)
{
	const struct policy *policy = checking->policy;
	const struct app_protect *protect = place->protect;
	const struct protection *protection = &policy->protections[protect->protection];
	bool tunnel = protection->mode == MODE_TUNNEL;

	if (tunnel && protect->peer_count != 1)
		app_error(checking, protect->at, "%s: protection \"%s\" is in tunnel mode, which leads "
			  "to one gateway: \"peer\" must name exactly one peer, not %zu",
			  place->name, protection->name, protect->peer_count);
	for (size_t i = 0; i < protect->peer_count; i++) {
		const struct peer *peer = &policy->peers[protect->peers[i]];

		if (!tunnel && !place->network->name_count &&
		    !app_network_has_peer(place->network, peer))
			app_error(checking, protect->at, "%s: peer \"%s\" (line %u) has no address in "
				  "the network, and protection \"%s\" is in transport mode: take the "
				  "peer out, or use mode \"tunnel\"", place->name, peer->name,
				  peer->at.line, protection->name);
		check_bundle(checking, place, protect->peers[i]);
	}
	for (size_t i = 0; i < policy->peer_count && !protect->peer_count && !tunnel; i++)
		if (app_network_has_peer(place->network, &policy->peers[i]))
			check_bundle(checking, place, i);
}

static void check_protect(struct app_checking *checking, const struct app_place *place)
{
	const struct app_protect *protect = place->protect;

	check_protocols(checking, place);
	check_ports(checking, place);
	if (protect->demand[SPD_IN] == DEMAND_NONE && protect->demand[SPD_OUT] == DEMAND_NONE)
		app_error(checking, protect->at, "%s: protection \"%s\" is asked for in neither "
			  "direction: say \"in\" or \"out\", or put these hosts into a network of "
			  "class \"trusted\"", place->name,
			  checking->policy->protections[protect->protection].name);
	check_peers(checking, place);
}

static void check_application(struct app_checking *checking, const struct application *application)
{
	struct app_place place = { .application = application };

	for (size_t i = 0; i < application->network_count; i++) {
		place.network = &application->networks[i];
		for (size_t k = 0; k < place.network->protect_count; k++) {
			place.protect = &place.network->protect[k];
			snprintf(place.name, sizeof(place.name),
				 "application \"%s\": networks[%zu]: protect[%zu]",
				 application->name, i, k);
			snprintf(place.rule, sizeof(place.rule), "%.*s/%zu/%zu",
				 POLICY_APP_NAME_MAX, application->name, (i + 1) % 10000,
				 (k + 1) % 10000);
			if (is_sound(checking->policy, place.protect))
				check_protect(checking, &place);
		}
	}
}

size_t policy_check_applications(const struct policy *policy, struct ipsecbpf_report *report)
{
	struct app_checking checking = { .policy = policy, .report = report };

	if (!check_names(&checking) || !check_matches(&checking))
		return SIZE_MAX;
	for (size_t i = 0; i < policy->application_count; i++)
		if (!policy->applications[i].invalid)
			check_application(&checking, &policy->applications[i]);
	return checking.errors;
}
