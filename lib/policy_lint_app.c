// SPDX-License-Identifier: BSD-2-Clause
/* What applications and optional protections may do rightly and still be a mistake. */
#include <stdlib.h>
#include <string.h>

#include "policy_internal.h"
#include "script.h"

#define WORK_MAX (16u << 20)	/* ranges looked at, before one gives up knowing what is covered */

struct app_linting {
	const struct linting *linting;
	const struct application *application;	/* of now */
	bool strict;		/* the host's rules or defaults keep something from passing in the clear */
	size_t work;
};

#define app_warn(app, id, position, ...)						\
	lint_warn_of((app)->linting, id, (app)->application, position, __VA_ARGS__)

static bool host_is_strict(const struct policy *policy)
{
	bool strict = policy->default_action[SPD_IN] != SPD_BYPASS ||
		      policy->default_action[SPD_OUT] != SPD_BYPASS;

	for (size_t i = 0; i < policy->rule_count && !strict; i++)
		strict = policy->rules[i].action != SPD_BYPASS;
	return strict;
}

/* ---- who it is ---- */

static bool lets_clear_text_pass(const struct application *application)
{
	for (size_t i = 0; i < application->network_count; i++) {
		const struct app_network *network = &application->networks[i];

		if (network->class == APP_TRUSTED)
			return true;
		for (size_t k = 0; k < network->protect_count; k++)
			if (network->protect[k].demand[SPD_IN] != DEMAND_REQUIRE ||
			    network->protect[k].demand[SPD_OUT] != DEMAND_REQUIRE)
				return true;
	}
	return false;
}

static void warn_of_executable(const struct app_linting *app)
{
	const struct application *application = app->application;

	if (!app->strict || !lets_clear_text_pass(application))
		return;
	for (size_t i = 0; i < application->match_count; i++) {
		const struct app_match *match = &application->matches[i];

		if (match->exe && !match->cgroup && !match->unit && !match->user && !match->group)
			app_warn(app, EXECUTABLE_ALONE, match->at, "application \"%s\" is whoever runs "
				 "\"%s\", and may pass in the clear what the policy's rules and "
				 "defaults may stop", application->name, match->exe);
	}
}

/* As far as it can be seen on this host, which need not be that of the policy. */
static void warn_of_scripts(const struct app_linting *app)
{
	const struct application *application = app->application;
	char interpreter[NAME_LEN * 4];

	for (size_t i = 0; i < application->match_count; i++) {
		const struct app_match *match = &application->matches[i];

		if (match->exe && script_interpreter(match->exe, interpreter, sizeof(interpreter)))
			app_warn(app, SCRIPT, match->at, "application \"%s\": \"%s\" is a script: "
				 "what runs is its interpreter, \"%s\"", application->name,
				 match->exe, interpreter);
	}
}

/* ---- with whom it speaks ---- */

static void warn_of_names(const struct app_linting *app, const struct app_network *network)
{
	static const char *const does[] = {
		[APP_TRUSTED] = "trusts", [APP_UNTRUSTED] = "shuts out",
		[APP_PROTECTED] = "protects what it says to",
	};

	if (network->name_count)
		app_warn(app, HOST_NAMES, network->at, "application \"%s\" %s \"%s\"%s by name",
			 app->application->name, does[network->class], network->names[0],
			 network->name_count > 1 ? " and others" : "");
}

static bool holds_a_peer(const struct policy *policy, const struct app_network *network)
{
	for (size_t i = 0; i < policy->peer_count; i++)
		if (app_network_has_peer(network, &policy->peers[i]))
			return true;
	return false;
}

static void warn_of_protect(const struct app_linting *app, const struct app_network *network,
			    const struct app_protect *protect)
{
	const struct policy *policy = app->linting->policy;
	const char *protection = policy->protections[protect->protection].name;
	bool in = protect->demand[SPD_IN] == DEMAND_REQUEST;
	bool out = protect->demand[SPD_OUT] == DEMAND_REQUEST;
	bool required = protect->demand[SPD_IN] == DEMAND_REQUIRE ||
			protect->demand[SPD_OUT] == DEMAND_REQUIRE;

	if (in || out)
		app_warn(app, OPTIONAL, protect->at, "application \"%s\": protection \"%s\": clear "
			 "text is %s until a peer has an SA", app->application->name, protection,
			 !out ? "taken" : in ? "sent and taken" : "sent");
	if (required && !protect->peer_count && !network->name_count &&
	    !holds_a_peer(policy, network))
		app_warn(app, NO_PEER_INSIDE, protect->at, "application \"%s\": protection \"%s\" is "
			 "required, and no peer has an address in the network",
			 app->application->name, protection);
}

/* ---- what can never be reached ---- */

/* Of each family the addresses of the networks so far, sorted and merged. */
struct reached {
	struct address_list seen[FAMILY_COUNT];
};

static bool is_whole(const struct reached *reached)
{
	bool whole = true;

	for (int family = 0; family < FAMILY_COUNT; family++) {
		struct address_range all = address_whole_family(family);

		whole = whole && address_list_covers(&reached->seen[family],
						     &(struct address_list){ &all, 1 });
	}
	return whole;
}

/* Adds `wanted` to `seen`; both are of one family. False: no memory. */
static bool merge(struct address_list *seen, const struct address_list *wanted,
		  enum ip_family family)
{
	struct address_list both = { calloc(seen->count + wanted->count + 1, sizeof(*both.items)),
				     seen->count + wanted->count };
	struct address_list merged = { 0 };
	bool memory = both.items;

	if (memory && both.count) {	/* none would be any */
		if (seen->count)
			memcpy(both.items, seen->items, seen->count * sizeof(*both.items));
		if (wanted->count)
			memcpy(both.items + seen->count, wanted->items,
			       wanted->count * sizeof(*both.items));
		memory = !address_list_of_family(&both, family, &merged);
		if (memory) {
			free(seen->items);
			*seen = merged;
		}
	}
	free(both.items);
	return memory;
}

/* Whether the networks before this one hold all of it. Adds it to them. False: no memory. */
static bool reach(struct app_linting *app, struct reached *reached,
		  const struct app_network *network, bool *ret_covered)
{
	bool names_alone = network->name_count && !network->remote.count;
	bool covered = network->name_count ? is_whole(reached) : true, memory = true;

	for (int family = 0; family < FAMILY_COUNT && memory && !names_alone; family++) {
		struct address_list wanted = { 0 };

		memory = !address_list_of_family(&network->remote, family, &wanted);
		covered = covered && memory &&
			  address_list_covers(&reached->seen[family], &wanted);
		app->work += reached->seen[family].count + wanted.count;
		memory = memory && merge(&reached->seen[family], &wanted, family);
		free(wanted.items);
	}
	*ret_covered = covered;
	return memory;
}

static bool covers_ports(const struct port_list *outer, const struct port_list *inner)
{
	static struct port_range every = { 0, UINT16_MAX };
	const struct port_list all = { &every, 1 };

	if (!outer->count)
		return true;
	if (!inner->count)
		inner = &all;
	for (size_t i = 0; i < inner->count; i++) {
		bool within = false;

		for (size_t k = 0; k < outer->count && !within; k++)
			within = outer->items[k].lo <= inner->items[i].lo &&
				 inner->items[i].hi <= outer->items[k].hi;
		if (!within)
			return false;
	}
	return true;
}

static bool covers_protect(const struct app_protect *outer, const struct app_protect *inner)
{
	if (outer->protocol_count && !inner->protocol_count)
		return false;
	for (size_t i = 0; i < inner->protocol_count && outer->protocol_count; i++)
		if (!memchr(outer->protocols, inner->protocols[i], outer->protocol_count))
			return false;
	return covers_ports(&outer->local_port, &inner->local_port) &&
	       covers_ports(&outer->remote_port, &inner->remote_port);
}

static void warn_of_hidden_protect(struct app_linting *app, const struct app_network *network,
				   size_t index)
{
	const struct app_protect *protect = &network->protect[index];

	for (size_t i = 0; i < index && app->work < WORK_MAX; i++) {
		app->work += 1 + protect->local_port.count + protect->remote_port.count;
		if (!covers_protect(&network->protect[i], protect))
			continue;
		app_warn(app, UNREACHABLE, protect->at, "application \"%s\": protection \"%s\" is "
			 "never reached: what it is for, the one at line %u takes first",
			 app->application->name,
			 app->linting->policy->protections[protect->protection].name,
			 network->protect[i].at.line);
		return;
	}
}

/* ---- all of it ---- */

static bool lint_network(struct app_linting *app, struct reached *reached,
			 const struct app_network *network)
{
	bool covered = false;

	if (app->work < WORK_MAX && !reach(app, reached, network, &covered))
		return false;
	if (covered)
		app_warn(app, UNREACHABLE, network->at, "application \"%s\": networks[%zu] is never "
			 "reached", app->application->name,
			 (size_t)(network - app->application->networks));
	warn_of_names(app, network);
	for (size_t i = 0; i < network->protect_count; i++) {
		warn_of_protect(app, network, &network->protect[i]);
		warn_of_hidden_protect(app, network, i);
	}
	return true;
}

static void warn_of_default(const struct app_linting *app, const struct reached *reached)
{
	const struct policy *policy = app->linting->policy;
	bool in = policy->default_action[SPD_IN] == SPD_BYPASS;
	bool out = policy->default_action[SPD_OUT] == SPD_BYPASS;

	if (!app->application->default_discard && (in || out) && !is_whole(reached))
		app_warn(app, APPLICATION_DEFAULT, app->application->at, "application \"%s\" has "
			 "default \"host\"", app->application->name);
}

static bool lint_application(struct app_linting *app)
{
	const struct application *application = app->application;
	struct reached reached = { 0 };
	bool memory = true;

	warn_of_executable(app);
	warn_of_scripts(app);
	for (size_t i = 0; i < application->network_count && memory; i++)
		memory = lint_network(app, &reached, &application->networks[i]);
	if (memory)
		warn_of_default(app, &reached);
	for (int family = 0; family < FAMILY_COUNT; family++)
		free(reached.seen[family].items);
	return memory;
}

bool policy_lint_applications(const struct linting *linting)
{
	const struct position top = { .line = 1, .column = 1 };
	const struct policy *policy = linting->policy;
	struct app_linting app = { .linting = linting, .strict = host_is_strict(policy) };

	for (size_t i = 0; i < policy->rule_count; i++)
		if (policy->rules[i].action == SPD_PROTECT &&
		    policy->rules[i].level == LEVEL_OPTIONAL)
			lint_warn(linting, OPTIONAL, &policy->rules[i], "rule \"%s\": clear text is "
				  "sent and taken until the peer has an SA", policy->rules[i].name);
	for (size_t i = 0; i < policy->application_count; i++) {
		app.application = &policy->applications[i];
		if (!lint_application(&app))
			return false;
	}
	if (app.work >= WORK_MAX)
		lint_warn_at(linting, NOT_COMPARED, top, "the networks of the applications are too "
			     "many to be compared to the end");
	return true;
}
