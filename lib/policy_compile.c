// SPDX-License-Identifier: BSD-2-Clause
/*
 * struct policy -> the snapshot that the BPF programs search. Pure: the same policy, interface and
 * ids give the same cells.
 */
#include <errno.h>
#include <fnmatch.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../bpf/spd_app.h"
#include "policy_boxes.h"
#include "policy_match.h"

bool rule_applies_to(const struct rule *rule, const char *ifname)
{
	if (!rule->interface_count)
		return true;
	for (size_t i = 0; i < rule->interface_count; i++)
		if (!fnmatch(rule->interfaces[i], ifname, 0))
			return true;
	return false;
}

static int plan_rules(const struct policy *policy, const char *ifname, struct rule_plan *plans)
{
	int err = 0;

	for (size_t i = 0; i < policy->all_rule_count && !err; i++) {
		plans[i].applies = rule_applies_to(&policy->rules[i], ifname);
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

/* With PEER_NONE the id stays 0: no SA is ever found by that. */
static int assign_ids(const struct policy_compile_input *input, struct rule_plan *plans,
		      struct ipsecbpf_report *report)
{
	const struct policy *policy = input->policy;

	for (size_t i = 0; i < policy->all_rule_count; i++) {
		const struct rule *rule = &policy->rules[i];
		struct policy_pair bundle[BUNDLE_MAX] = { { rule->peer, rule->protection } };
		size_t depth = 1;

		if (!plans[i].applies || rule->action != SPD_PROTECT || rule->peer == PEER_NONE)
			continue;
		while (depth < BUNDLE_MAX &&
		       policy_outer_pair(policy, bundle[depth - 1], &bundle[depth]))
			depth++;
		while (depth--) {
			plans[i].protect_id = input->protect_id(input->context,
								bundle[depth].peer,
								bundle[depth].protection);
			if (!plans[i].protect_id)
				return no_id_left(policy, rule, bundle[depth], report);
		}
	}
	return 0;
}

/* ---- boxes -> trees ------------------------------------------------------------------------ */

struct compiling {
	const struct policy *policy;
	struct rule_plan *plans;	/* of every rule */
	struct spd_cells cells;
	struct spd_head head;
	struct spd_apps apps;
	struct ipsecbpf_report *report;
};

/* Whose trees are built: the host's (0) or an application's, of its rules alone. */
struct owner {
	uint32_t app;
	struct rule_plans plans;
	struct spd_app out;	/* their roots, and how long a search takes at most */
	uint32_t steps;
};

static const char *const way_words[] = {
	[SPD_WAY_IN] = "inbound",
	[SPD_WAY_OUT_LOCAL] = "outbound (local)",
	[SPD_WAY_OUT_FORWARDED] = "outbound (forwarded)",
};
static const char *const family_words[] = { [FAMILY_V4] = "IPv4", [FAMILY_V6] = "IPv6" };
static const char *const shows_words[] = {
	[SPD_SHOWS_ALL] = "",
	[SPD_SHOWS_PROTO] = " for fragments",
	[SPD_SHOWS_ADDRESSES] = " for fragments with extension headers",
};

static size_t plus(size_t a, size_t b)
{
	return __builtin_add_overflow(a, b, &a) ? SIZE_MAX : a;
}

static void report_too_many(const struct compiling *compiling, const struct owner *owner,
			    struct tree_name tree)
{
	const struct rule *worst = owner->plans.items[0].selector.rule;
	size_t total = 0, most = 0;

	for (size_t i = 0; i < owner->plans.count; i++) {
		size_t count = policy_rule_boxes(&owner->plans.items[i], tree);

		total = plus(total, count);
		if (count > most) {
			most = count;
			worst = owner->plans.items[i].selector.rule;
		}
	}
	policy_report_at(compiling->policy, compiling->report, REPORT_ERROR, worst->at,
			 "the %s %s rules%s make %zu entries, and the limit is %u: rule \"%s\" alone "
			 "makes %zu (addresses x protocols x ports and so on)", way_words[tree.way],
			 family_words[tree.family], owner->app ? " of the application" : "", total,
			 POLICY_BOXES_MAX, worst->name, most);
}

/* No rule is to blame alone. */
static void report_too_large(const struct compiling *compiling, const struct owner *owner,
			     struct tree_name tree, size_t boxes)
{
	const struct policy *policy = compiling->policy;
	char whose[NAME_LEN + 32] = "";

	if (owner->app)
		snprintf(whose, sizeof(whose), "application \"%s\": ",
			 policy->applications[owner->app - 1].name);
	report_error(compiling->report, policy->origin,
		     owner->app ? "write fewer networks that overlap with one another: prefixes "
				  "instead of ranges" :
				  "write fewer rules that overlap with one another: prefixes "
				  "instead of ranges, and \"interface\" in the rules of others",
		     "%sthe %s %s rules%s, %zu entries of %zu rules, would need more than %zu MiB of "
		     "memory or more than %d steps for a search", whose, way_words[tree.way],
		     family_words[tree.family], shows_words[tree.shows], boxes, owner->plans.count,
		     (size_t)SPD_CELLS_MAX * sizeof(union spd_cell) >> 20, SPD_STEPS_MAX);
}

/* Fields that some rule restricts: others need not be told apart. */
static void note_fields(struct spd_head *head, const struct box_list *boxes)
{
	for (size_t i = 0; i < boxes->count; i++) {
		uint64_t lo = boxes->items[i].lo.word[SPD_UPPER];
		uint64_t hi = boxes->items[i].hi.word[SPD_UPPER];

#define X(id, shift, width)						\
		if ((lo | ~hi) & SPD_UPPER_FIELD_MASK(id))		\
			head->upper_used |= SPD_UPPER_FIELD_MASK(id);
		SPD_UPPER_FIELDS(X)
#undef X
	}
}

static int compile_tree(struct compiling *compiling, struct owner *owner, struct tree_name name)
{
	struct spd_head *head = &compiling->head;
	struct box_list boxes = { 0 };
	struct spd_tree tree = { 0 };
	int err = policy_boxes(&owner->plans, name, &boxes);

	if (err == -E2BIG)
		report_too_many(compiling, owner, name);
	if (err)
		return err;
	note_fields(head, &boxes);
	if (boxes.count)
		err = spd_tree_build(boxes.items, boxes.count, name.family, &compiling->cells,
				     &tree);
	free(boxes.items);
	if (err == -E2BIG)
		report_too_large(compiling, owner, name, boxes.count);
	if (err)
		return err;
	owner->out.root[SPD_TREE(name.way, name.family, name.shows)] = tree.root;
	head->entries += tree.entries;
	if (tree.steps > owner->steps)
		owner->steps = tree.steps;
	return 0;
}

/* In the order of SPD_TREE(): a twin has been built already. */
static int compile_trees(struct compiling *compiling, struct owner *owner)
{
	int err = 0;

	for (int i = 0; !err && i < SPD_TREES; i++) {
		struct tree_name twin, name = {
			.way = (enum spd_way)(i / (FAMILY_COUNT * SPD_SHOWS)),
			.family = (enum ip_family)(i / SPD_SHOWS % FAMILY_COUNT),
			.shows = (enum spd_shows)(i % SPD_SHOWS),
		};

		if (policy_boxes_twin(&owner->plans, name, &twin))
			owner->out.root[i] =
				owner->out.root[SPD_TREE(twin.way, twin.family, twin.shows)];
		else
			err = compile_tree(compiling, owner, name);
	}
	return err;
}

/* ---- the host and the applications --------------------------------------------------------- */

static int compile_owner(struct compiling *compiling, struct owner *owner)
{
	int err = compile_trees(compiling, owner);

	if (err)
		return err;
	memcpy(&compiling->cells.items[spd_app_cell(&compiling->apps, owner->app)], &owner->out,
	       sizeof(owner->out));
	return 0;
}

static int compile_host(struct compiling *compiling)
{
	const struct policy *policy = compiling->policy;
	struct owner owner = {
		.plans = { .items = compiling->plans, .count = policy->rule_count },
		.out = {
			.rules = (uint32_t)policy->rule_count,
			.optional_rate = APP_OPTIONAL_RATE_DEFAULT,
		},
	};
	int err = compile_owner(compiling, &owner);

	compiling->head.steps = owner.steps;
	return err;
}

/* `first`: of its rules, which are sorted by application. */
static int compile_application(struct compiling *compiling, uint32_t app, size_t first,
			       uint32_t *most_steps)
{
	const struct policy *policy = compiling->policy;
	const struct application *application = &policy->applications[app - 1];
	struct owner owner = {
		.app = app,
		.plans = { .items = &compiling->plans[first], .first = first },
		.out = {
			.first_rule = (uint32_t)first,
			.optional_rate = application->optional_rate,
			.flows_max = application->flows_max,
			.name_digest = app_name_digest(application->name),
		},
	};
	int err;

	while (first + owner.plans.count < policy->all_rule_count &&
	       policy->rules[first + owner.plans.count].application == app)
		owner.plans.count++;
	owner.out.rules = (uint32_t)owner.plans.count;
	err = compile_owner(compiling, &owner);
	if (owner.steps > *most_steps)
		*most_steps = owner.steps;
	return err;
}

/* A packet of an application asks its trees, then the host's. */
static int compile_applications(struct compiling *compiling)
{
	const struct policy *policy = compiling->policy;
	size_t first = policy->rule_count;
	uint32_t steps = 0;
	int err = 0;

	for (uint32_t app = 1; !err && app <= policy->application_count; app++) {
		err = compile_application(compiling, app, first, &steps);
		while (first < policy->all_rule_count && policy->rules[first].application == app)
			first++;
	}
	compiling->head.steps += steps;
	return err;
}

static int compile_matches(struct compiling *compiling, const struct app_patterns *patterns)
{
	static const struct app_patterns nobody;
	const struct app_patterns *who = patterns ? patterns : &nobody;
	int err = app_patterns_build(who, &compiling->cells, &compiling->apps);

	if (err == -E2BIG)
		report_error(compiling->report, compiling->policy->origin,
			     "write fewer matches: a cgroup or a unit holds many programs",
			     "the %zu matches of applications do not fit into a snapshot of %zu MiB",
			     who->count, (size_t)SPD_CELLS_MAX * sizeof(union spd_cell) >> 20);
	return err;
}

/* The cells of applications lie side by side, the first at an even one. */
static int place_applications(struct compiling *compiling)
{
	const struct policy *policy = compiling->policy;
	int64_t first;

	_Static_assert(SPD_FIRST_FREE_CELL % SPD_APP_CELLS == 0, "none lies in two chunks");
	if (!policy->application_count)
		return 0;
	first = spd_cells_add(&compiling->cells, policy->application_count * SPD_APP_CELLS);
	if (first < 0)
		return (int)first;
	compiling->apps.count = (uint32_t)policy->application_count;
	compiling->apps.first = (uint32_t)first;
	return 0;
}

static int begin(struct compiling *compiling)
{
	const struct policy *policy = compiling->policy;

	compiling->head = (struct spd_head){
		.essential = policy->essential,
		.non_ip_action = (uint8_t)policy->non_ip_action,
		.rules = (uint32_t)policy->all_rule_count,
		.apps = (uint32_t)policy->application_count,
	};
	for (int i = 0; i < SPD_DIRECTION_COUNT; i++)
		compiling->head.default_action[i] = (uint8_t)policy->default_action[i];
	compiling->plans = calloc(policy->all_rule_count + 1, sizeof(*compiling->plans));
	compiling->cells.items = calloc(SPD_FIRST_FREE_CELL, sizeof(*compiling->cells.items));
	compiling->cells.count = compiling->cells.room = SPD_FIRST_FREE_CELL;
	return compiling->plans && compiling->cells.items ? place_applications(compiling) : -ENOMEM;
}

static void finish(struct compiling *compiling)
{
	compiling->head.cells = (uint32_t)compiling->cells.count;
	compiling->cells.items[0].head = compiling->head;
	compiling->cells.items[SPD_APPS_CELL].apps = compiling->apps;
}

int policy_compile(const struct policy_compile_input *input, struct policy_compiled *ret_compiled,
		   struct ipsecbpf_report *report)
{
	const struct policy *policy = input->policy;
	struct compiling compiling = { .policy = policy, .report = report };
	int err = begin(&compiling);

	if (!err)
		err = plan_rules(policy, input->ifname, compiling.plans);
	if (!err)
		err = assign_ids(input, compiling.plans, report);
	if (!err)
		err = compile_host(&compiling);
	if (!err)
		err = compile_applications(&compiling);
	if (!err && policy->application_count)
		err = compile_matches(&compiling, input->patterns);
	for (size_t i = 0; compiling.plans && i < policy->all_rule_count; i++)
		selector_fini(&compiling.plans[i].selector);
	free(compiling.plans);
	if (err) {
		spd_cells_fini(&compiling.cells);
		return err == -E2BIG ? -EINVAL : err;
	}
	finish(&compiling);
	ret_compiled->cells = compiling.cells;
	return 0;
}

void policy_compiled_fini(struct policy_compiled *compiled)
{
	spd_cells_fini(&compiled->cells);
}
