// SPDX-License-Identifier: BSD-2-Clause
/*
 * Rules that earlier ones leave nothing, though none of them alone. Exact: a rule is a set of boxes
 * (a range in each selector), what the earlier rules match is cut out of them, and whatever is left
 * can be reached. Cutting multiplies boxes, so there is a limit; a warning says that it was reached.
 * As in policy_check.c, later fragments, which show no ports, are not thought of.
 */
#include <stdlib.h>
#include <string.h>

#include "policy_internal.h"
#include "rule_space.h"

enum dimension {
	DIM_LOCAL, DIM_REMOTE, DIM_PROTOCOL, DIM_LOCAL_PORT, DIM_REMOTE_PORT, DIM_TYPE, DIM_CODE,
	DIM_ORIGIN, DIM_VLAN, DIM_DSCP, DIM_COUNT
};

/* Numbers beyond what a field can be stand for packets that do not show it: only "any" has those. */
#define PORT_HIDDEN 65536
#define ICMP_HIDDEN 256
#define ANY_PROTOCOL_MAX 256
#define ANY_VLAN_MAX 4095

#define BOXES_MAX 512
#define BOX_WORK 2	/* what cutting at a box costs, for rule_space_spend() */

struct box {
	struct addr128 lo[DIM_COUNT], hi[DIM_COUNT];
};

struct boxes {
	struct box *items;
	size_t count;
};

struct shadowing {
	const struct linting *linting;
	struct boxes left, cut, next;	/* of the rule; of an earlier rule; for the next step */
	uint32_t *earlier;		/* rules that meet it */
	size_t earlier_count, earlier_room;
	size_t first, last, takers;	/* rules that took something */
	size_t gave_up_at;		/* the first rule of too many boxes; RULE_NONE */
	bool no_memory;
};

static bool add(struct boxes *boxes, const struct box *box)
{
	if (boxes->count == BOXES_MAX)
		return false;
	boxes->items[boxes->count++] = *box;
	return true;
}

static void set(struct box *box, enum dimension dimension, uint64_t lo, uint64_t hi)
{
	box->lo[dimension] = (struct addr128){ 0, lo };
	box->hi[dimension] = (struct addr128){ 0, hi };
}

/* `any`: the greatest number that "any" has. */
static void set_listed(struct box *box, enum dimension dimension, const struct port_list *list,
		       size_t index, uint64_t any)
{
	if (list->count)
		set(box, dimension, list->items[index].lo, list->items[index].hi);
	else
		set(box, dimension, 0, any);
}

static void set_range(struct box *box, enum dimension dimension, const struct address_range *range)
{
	box->lo[dimension] = range->lo;
	box->hi[dimension] = range->hi;
}

static bool add_ports(struct boxes *boxes, const struct selector *selector, struct box *box)
{
	const struct port_list *local = &selector->port[SIDE_LOCAL];
	const struct port_list *remote = &selector->port[SIDE_REMOTE];
	size_t l = 0, r;

	do {
		set_listed(box, DIM_LOCAL_PORT, local, l, PORT_HIDDEN);
		r = 0;
		do {
			set_listed(box, DIM_REMOTE_PORT, remote, r, PORT_HIDDEN);
			if (!add(boxes, box))
				return false;
		} while (++r < remote->count);
	} while (++l < local->count);
	return true;
}

static bool add_protocols(struct boxes *boxes, const struct selector *selector, int family,
			  struct box *box)
{
	if (selector->any_protocol) {
		set(box, DIM_PROTOCOL, 0, ANY_PROTOCOL_MAX);
		return add_ports(boxes, selector, box);
	}
	for (unsigned int proto = 0; proto < 256; proto++) {
		if (!(selector->protocols[family][proto / 64] >> (proto % 64) & 1))
			continue;
		set(box, DIM_PROTOCOL, proto, proto);
		if (!add_ports(boxes, selector, box))
			return false;
	}
	return true;
}

static bool add_addresses(struct boxes *boxes, const struct selector *selector, int family,
			  struct box *box)
{
	const struct address_list *local = &selector->address[SIDE_LOCAL][family];
	const struct address_list *remote = &selector->address[SIDE_REMOTE][family];

	for (size_t l = 0; l < local->count; l++)
		for (size_t r = 0; r < remote->count; r++) {
			set_range(box, DIM_LOCAL, &local->items[l]);
			set_range(box, DIM_REMOTE, &remote->items[r]);
			if (!add_protocols(boxes, selector, family, box))
				return false;
		}
	return true;
}

/* What a rule matches of one direction and family. False: too many boxes. */
static bool make_boxes(struct boxes *boxes, const struct selector *selector,
		       enum spd_direction direction, int family)
{
	const struct rule *rule = selector->rule;
	size_t v = 0, d;
	struct box box;

	boxes->count = 0;
	if (rule->direction != RULE_BOTH && (rule->direction == RULE_IN) != (direction == SPD_IN))
		return true;
	set(&box, DIM_TYPE, 0, ICMP_HIDDEN);
	set(&box, DIM_CODE, 0, ICMP_HIDDEN);
	if (rule->icmp_given) {
		set(&box, DIM_TYPE, rule->icmp_type_lo, rule->icmp_type_hi);
		set(&box, DIM_CODE, rule->icmp_code_lo, rule->icmp_code_hi);
	}
	set(&box, DIM_ORIGIN, rule->origin == ORIGIN_FORWARDED, rule->origin != ORIGIN_LOCAL);
	do {
		set_listed(&box, DIM_VLAN, &selector->vlan, v, ANY_VLAN_MAX);
		d = 0;
		do {
			set_listed(&box, DIM_DSCP, &selector->dscp, d, DSCP_MAX);
			if (!add_addresses(boxes, selector, family, &box))
				return false;
		} while (++d < selector->dscp.count);
	} while (++v < selector->vlan.count);
	return true;
}

static bool meet(const struct box *a, const struct box *b)
{
	for (int d = 0; d < DIM_COUNT; d++)
		if (addr128_compare(a->hi[d], b->lo[d]) < 0 || addr128_compare(b->hi[d], a->lo[d]) < 0)
			return false;
	return true;
}

static struct addr128 step(struct addr128 value, bool up)
{
	if (up && !++value.lo)
		value.hi++;
	else if (!up && !value.lo--)
		value.hi--;
	return value;
}

/* What of `box` lies outside of `cutter`, which it meets: one slice below and above in each
 * dimension, of what the dimensions before have left. */
static bool cut_out(struct boxes *out, struct box box, const struct box *cutter)
{
	struct box slice;

	for (int d = 0; d < DIM_COUNT; d++) {
		if (addr128_compare(box.lo[d], cutter->lo[d]) < 0) {
			slice = box;
			slice.hi[d] = step(cutter->lo[d], false);
			if (!add(out, &slice))
				return false;
			box.lo[d] = cutter->lo[d];
		}
		if (addr128_compare(box.hi[d], cutter->hi[d]) > 0) {
			slice = box;
			slice.lo[d] = step(cutter->hi[d], true);
			if (!add(out, &slice))
				return false;
			box.hi[d] = cutter->hi[d];
		}
	}
	return true;
}

static bool subtract_box(struct shadowing *work, const struct box *cutter, bool *taken)
{
	struct boxes old = work->left;

	if (!rule_space_spend(work->linting->space, BOX_WORK * old.count))
		return false;
	work->next.count = 0;
	for (size_t i = 0; i < old.count; i++) {
		bool hit = meet(&old.items[i], cutter);

		*taken |= hit;
		if (!(hit ? cut_out(&work->next, old.items[i], cutter) :
			    add(&work->next, &old.items[i])))
			return false;
	}
	work->left = work->next;
	work->next = old;
	return true;
}

static bool subtract_rule(struct shadowing *work, size_t earlier, enum spd_direction direction,
			  int family)
{
	bool taken = false;

	if (!make_boxes(&work->cut, &work->linting->selectors[earlier], direction, family))
		return false;
	for (size_t i = 0; i < work->cut.count && work->left.count; i++)
		if (!subtract_box(work, &work->cut.items[i], &taken))
			return false;
	if (taken) {
		work->first = work->takers ? (earlier < work->first ? earlier : work->first) : earlier;
		work->last = work->takers ? (earlier > work->last ? earlier : work->last) : earlier;
		work->takers++;
	}
	return true;
}

static bool give_up(struct shadowing *work, size_t index)
{
	if (work->gave_up_at == RULE_NONE)
		work->gave_up_at = index;
	return false;
}

/* Nothing left of the rule in one direction and family? False as well if that is not known. */
static bool is_shadowed_in(struct shadowing *work, size_t index, enum spd_direction direction,
			   int family)
{
	if (!make_boxes(&work->left, &work->linting->selectors[index], direction, family))
		return give_up(work, index);
	for (size_t i = 0; i < work->earlier_count && work->left.count; i++)
		if (!subtract_rule(work, work->earlier[i], direction, family))
			return give_up(work, index);
	return !work->left.count;
}

/* ---- the earlier rules that can take something ---- */

struct collecting {
	struct shadowing *work;
	size_t index;
};

static bool collect(void *context, size_t earlier)
{
	const struct collecting *collecting = context;
	struct shadowing *work = collecting->work;
	const struct selector *selectors = work->linting->selectors;
	uint32_t *grown;

	if (!selector_covers_interfaces(&selectors[earlier], &selectors[collecting->index]))
		return false;
	if (work->earlier_count == work->earlier_room) {
		work->earlier_room = work->earlier_room ? work->earlier_room * 2 : 64;
		grown = reallocarray(work->earlier, work->earlier_room, sizeof(*grown));
		if (!grown) {
			work->no_memory = true;
			return true;	/* looks no further */
		}
		work->earlier = grown;
	}
	work->earlier[work->earlier_count++] = (uint32_t)earlier;
	return false;
}

static int compare_positions(const void *a, const void *b)
{
	const uint32_t *x = a, *y = b;

	return *x < *y ? -1 : *x > *y;
}

/* In the file's order, each once. */
static void collect_earlier(struct shadowing *work, size_t index)
{
	struct collecting collecting = { work, index };
	size_t kept = 0;

	work->earlier_count = 0;
	rule_space_first(work->linting->space, &(struct rule_search){
		.relation = RULES_MEETING, .below = index, .action_hi = SPD_PROTECT,
		.accept = collect, .context = &collecting,
	}, index);
	if (!work->earlier_count)
		return;
	qsort(work->earlier, work->earlier_count, sizeof(*work->earlier), compare_positions);
	for (size_t i = 1; i < work->earlier_count; i++)
		if (work->earlier[i] != work->earlier[kept])
			work->earlier[++kept] = work->earlier[i];
	work->earlier_count = kept + 1;
}

static void look_at(struct shadowing *work, size_t index)
{
	const struct rule *rules = work->linting->policy->rules;

	collect_earlier(work, index);
	work->takers = 0;
	for (int direction = 0; direction < SPD_DIRECTION_COUNT; direction++)
		for (int family = 0; family < FAMILY_COUNT; family++)
			if (!is_shadowed_in(work, index, direction, family))
				return;
	if (work->takers)
		lint_warn(work->linting, UNREACHABLE, &rules[index], "rule \"%s\" can never match, "
			  "because of the rules from \"%s\" at line %u to \"%s\" at line %u",
			  rules[index].name, rules[work->first].name, rules[work->first].at.line,
			  rules[work->last].name, rules[work->last].at.line);
}

bool policy_lint_shadows(const struct linting *linting, size_t *ret_gave_up_at)
{
	struct shadowing work = { .linting = linting, .gave_up_at = RULE_NONE };
	struct box *room;

	room = calloc(3 * BOXES_MAX, sizeof(*room));
	if (!room)
		return false;
	work.left.items = room;
	work.cut.items = room + BOXES_MAX;
	work.next.items = room + 2 * BOXES_MAX;
	for (size_t i = 1; i < linting->policy->rule_count; i++)
		if (linting->at_corner[i])
			look_at(&work, i);
	free(room);
	free(work.earlier);
	*ret_gave_up_at = work.gave_up_at;
	return !work.no_memory;
}
