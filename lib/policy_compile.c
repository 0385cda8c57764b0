// SPDX-License-Identifier: BSD-2-Clause
/*
 * struct policy -> the snapshot that the BPF programs search. Pure: the same policy, interface and
 * ids give the same cells.
 */
#include <errno.h>
#include <fnmatch.h>
#include <stdlib.h>

#include "policy_boxes.h"

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

	for (size_t i = 0; i < policy->rule_count && !err; i++) {
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

/* ---- boxes -> trees ------------------------------------------------------------------------ */

struct compiling {
	const struct policy *policy;
	struct rule_plans plans;
	struct spd_cells cells;
	struct spd_head head;
	struct ipsecbpf_report *report;
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

static void report_too_many(const struct compiling *compiling, struct tree_name tree)
{
	const struct policy *policy = compiling->policy;
	size_t total = 0, most = 0, worst = 0;

	for (size_t i = 0; i < policy->rule_count; i++) {
		size_t count = policy_rule_boxes(&compiling->plans.items[i], tree);

		total = plus(total, count);
		if (count > most) {
			most = count;
			worst = i;
		}
	}
	policy_report_at(policy, compiling->report, REPORT_ERROR, policy->rules[worst].at,
			 "the %s %s rules make %zu entries, and the limit is %u: rule \"%s\" alone "
			 "makes %zu (addresses x protocols x ports and so on)", way_words[tree.way],
			 family_words[tree.family], total, POLICY_BOXES_MAX,
			 policy->rules[worst].name, most);
}

/* No rule is to blame alone. */
static void report_too_large(const struct compiling *compiling, struct tree_name tree,
			     size_t boxes)
{
	report_error(compiling->report, compiling->policy->origin,
		     "write fewer rules that overlap with one another: prefixes instead of ranges, "
		     "and \"interface\" in the rules of others",
		     "the %s %s rules%s, %zu entries of %zu rules, would need more than %zu MiB of "
		     "memory or more than %d steps for a search", way_words[tree.way],
		     family_words[tree.family], shows_words[tree.shows], boxes,
		     compiling->policy->rule_count,
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

static uint32_t *root_of(struct compiling *compiling, struct tree_name name)
{
	uint32_t tree = SPD_TREE(name.way, name.family, name.shows);

	return &compiling->cells.items[SPD_HOST_CELL + SPD_ROOT_CELL(tree)].root[SPD_ROOT_INDEX(tree)];
}

static int compile_tree(struct compiling *compiling, struct tree_name name)
{
	struct spd_head *head = &compiling->head;
	struct box_list boxes = { 0 };
	struct spd_tree tree = { 0 };
	int err = policy_boxes(&compiling->plans, name, &boxes);

	if (err == -E2BIG)
		report_too_many(compiling, name);
	if (err)
		return err;
	note_fields(head, &boxes);
	if (boxes.count)
		err = spd_tree_build(boxes.items, boxes.count, name.family, &compiling->cells,
				     &tree);
	free(boxes.items);
	if (err == -E2BIG)
		report_too_large(compiling, name, boxes.count);
	if (err)
		return err;
	*root_of(compiling, name) = tree.root;
	head->entries += tree.entries;
	if (tree.steps > head->steps)
		head->steps = tree.steps;
	return 0;
}

/* In the order of SPD_TREE(): a twin has been built already. */
static int compile_trees(struct compiling *compiling)
{
	int err = 0;

	for (int i = 0; !err && i < SPD_TREES; i++) {
		struct tree_name twin, name = {
			.way = (enum spd_way)(i / (FAMILY_COUNT * SPD_SHOWS)),
			.family = (enum ip_family)(i / SPD_SHOWS % FAMILY_COUNT),
			.shows = (enum spd_shows)(i % SPD_SHOWS),
		};

		if (policy_boxes_twin(&compiling->plans, name, &twin))
			*root_of(compiling, name) = *root_of(compiling, twin);
		else
			err = compile_tree(compiling, name);
	}
	return err;
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
	compiling->plans.count = policy->rule_count;
	compiling->plans.items = calloc(policy->rule_count + 1, sizeof(*compiling->plans.items));
	compiling->cells.items = calloc(SPD_FIRST_FREE_CELL, sizeof(*compiling->cells.items));
	compiling->cells.count = compiling->cells.room = SPD_FIRST_FREE_CELL;
	return compiling->plans.items && compiling->cells.items ? 0 : -ENOMEM;
}

int policy_compile(const struct policy *policy, const char *ifname, protect_id_fn protect_id,
		   void *context, struct policy_compiled *ret_compiled,
		   struct ipsecbpf_report *report)
{
	struct compiling compiling = { .policy = policy, .report = report };
	int err = begin(&compiling);

	if (!err)
		err = plan_rules(policy, ifname, compiling.plans.items);
	if (!err)
		err = assign_ids(policy, compiling.plans.items, protect_id, context, report);
	if (!err)
		err = compile_trees(&compiling);
	for (size_t i = 0; compiling.plans.items && i < policy->rule_count; i++)
		selector_fini(&compiling.plans.items[i].selector);
	free(compiling.plans.items);
	if (err) {
		spd_cells_fini(&compiling.cells);
		return err == -E2BIG ? -EINVAL : err;
	}
	compiling.head.cells = (uint32_t)compiling.cells.count;
	compiling.cells.items[0].head = compiling.head;
	ret_compiled->cells = compiling.cells;
	return 0;
}

void policy_compiled_fini(struct policy_compiled *compiled)
{
	spd_cells_fini(&compiled->cells);
}
