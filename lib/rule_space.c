// SPDX-License-Identifier: BSD-2-Clause
/* Rules as points, and questions about them as ranges. The tree is in rule_space_tree.c. */
#include "rule_space.h"

#include <errno.h>
#include <stdlib.h>

#include "rule_space_tree.h"

#define PORT_HIDDEN 65536	/* as in policy_shadow.c: only "any" has what is not shown */
#define VALUE_HIDDEN 256
#define BOXES_MAX 1000000	/* of all rules; beyond, a list of addresses is one box, gaps and all */

/* ---- IPv6 addresses by rank ---- */

static int compare_bounds(const void *a, const void *b)
{
	const struct addr128 *x = a, *y = b;

	return addr128_compare(*x, *y);
}

/* The least and the greatest address need no rank found: most bounds are those of "any". */
static bool is_extreme(struct addr128 address)
{
	return (!address.hi && !address.lo) || (address.hi == UINT64_MAX && address.lo == UINT64_MAX);
}

static size_t collect_bounds(const struct address_list *list, struct addr128 *out)
{
	size_t count = 0;

	for (size_t i = 0; i < list->count; i++) {
		if (!is_extreme(list->items[i].lo))
			out[count++] = list->items[i].lo;
		if (!is_extreme(list->items[i].hi))
			out[count++] = list->items[i].hi;
	}
	return count;
}

static int rank_bounds(struct rule_space *space)
{
	size_t count = 0, kept = 0;

	for (size_t i = 0; i < space->rule_count; i++)
		for (int side = 0; side < SIDE_COUNT; side++)
			count += 2 * space->selectors[i].address[side][FAMILY_V6].count;
	space->bounds = calloc(count + 1, sizeof(*space->bounds));
	if (!space->bounds)
		return -ENOMEM;
	count = 0;
	for (size_t i = 0; i < space->rule_count; i++)
		for (int side = 0; side < SIDE_COUNT; side++)
			count += collect_bounds(&space->selectors[i].address[side][FAMILY_V6],
						space->bounds + count);
	qsort(space->bounds, count, sizeof(*space->bounds), compare_bounds);
	for (size_t i = 0; i < count; i++)
		if (!i || addr128_compare(space->bounds[i], space->bounds[kept - 1]))
			space->bounds[kept++] = space->bounds[i];
	space->bound_count = kept;
	return 0;
}

static uint32_t rank_of(const struct rule_space *space, int family, struct addr128 address)
{
	size_t lo = 0, hi = space->bound_count;

	if (family == FAMILY_V4)
		return (uint32_t)address.lo;
	if (is_extreme(address))
		return address.hi ? UINT32_MAX : 0;
	while (lo < hi) {
		size_t middle = (lo + hi) / 2;

		if (addr128_compare(space->bounds[middle], address) < 0)
			lo = middle + 1;
		else
			hi = middle;
	}
	return (uint32_t)lo + 1;
}

/* ---- a rule's boxes ---- */

#define WHOLE_LIST SIZE_MAX

static void set(struct rule_box *box, enum rule_coordinate lo, uint32_t first, uint32_t last)
{
	box->at[lo] = first;
	box->at[lo + 1] = last;
}

static void set_addresses(const struct rule_space *space, struct rule_box *box,
			  enum rule_coordinate lo, const struct address_list *list, size_t index)
{
	size_t first = index == WHOLE_LIST ? 0 : index;
	size_t last = index == WHOLE_LIST ? list->count - 1 : index;
	int family = list->items[first].family;

	set(box, lo, rank_of(space, family, list->items[first].lo),
	    rank_of(space, family, list->items[last].hi));
}

static void set_ports(struct rule_box *box, enum rule_coordinate lo, const struct port_list *list)
{
	if (list->count)
		set(box, lo, list->items[0].lo, list->items[list->count - 1].hi);
	else
		set(box, lo, 0, PORT_HIDDEN);
}

static void set_protocols(struct rule_box *box, const struct selector *selector, int family)
{
	const uint64_t *bits = selector->protocols[family];
	uint32_t first = 0, last = 255;

	if (selector->any_protocol) {
		set(box, AT_PROTOCOL_LO, 0, VALUE_HIDDEN);
		return;
	}
	while (!(bits[first / 64] >> (first % 64) & 1))
		first++;
	while (!(bits[last / 64] >> (last % 64) & 1))
		last--;
	set(box, AT_PROTOCOL_LO, first, last);
}

/* All but the addresses. */
static void set_upper(struct rule_box *box, const struct selector *selector, int family)
{
	const struct rule *rule = selector->rule;

	set_ports(box, AT_REMOTE_PORT_LO, &selector->port[SIDE_REMOTE]);
	set_ports(box, AT_LOCAL_PORT_LO, &selector->port[SIDE_LOCAL]);
	set_protocols(box, selector, family);
	set(box, AT_DIRECTION_LO, rule->direction == RULE_OUT, rule->direction != RULE_IN);
	if (rule->icmp_given)
		set(box, AT_TYPE_LO, rule->icmp_type_lo, rule->icmp_type_hi);
	else
		set(box, AT_TYPE_LO, 0, VALUE_HIDDEN);
	box->at[AT_ACTION] = rule->action;
}

/* Of one element of each list of addresses, or of all from the first to the last. */
static struct rule_box box_of(const struct rule_space *space, size_t rule, int family, size_t local,
			      size_t remote)
{
	const struct selector *selector = &space->selectors[rule];
	const struct address_list *locals = &selector->address[SIDE_LOCAL][family];
	const struct address_list *remotes = &selector->address[SIDE_REMOTE][family];
	struct rule_box box;

	set_addresses(space, &box, AT_LOCAL_LO, locals, local);
	set_addresses(space, &box, AT_REMOTE_LO, remotes, remote);
	set_upper(&box, selector, family);
	box.at[AT_RULE] = (uint32_t)rule;
	return box;
}

/* A rule is taken apart by its remote addresses, or if it has one range of them, by the local ones. */
static size_t part_count(const struct rule_space *space, size_t rule, int family)
{
	const struct address_list (*address)[FAMILY_COUNT] = space->selectors[rule].address;
	size_t remotes = address[SIDE_REMOTE][family].count;

	return remotes > 1 ? remotes : address[SIDE_LOCAL][family].count;
}

static struct rule_box part_of(const struct rule_space *space, size_t rule, int family, size_t index)
{
	if (space->selectors[rule].address[SIDE_REMOTE][family].count > 1)
		return box_of(space, rule, family, WHOLE_LIST, index);
	return box_of(space, rule, family, index, 0);
}

static int add_rule(struct rule_space *space, size_t rule, int family)
{
	struct rule_space_family *target = &space->family[family];
	size_t parts = part_count(space, rule, family), room;
	bool hull = target->count + parts > BOXES_MAX;
	struct rule_box *boxes;

	if (target->count + parts > target->room) {
		room = hull ? target->count * 2 + 1 : (target->count + parts) * 2;
		boxes = reallocarray(target->boxes, room, sizeof(*boxes));
		if (!boxes)
			return -ENOMEM;
		target->boxes = boxes;
		target->room = room;
	}
	if (hull) {
		space->hulls = true;
		target->boxes[target->count++] = box_of(space, rule, family, WHOLE_LIST, WHOLE_LIST);
		return 0;
	}
	for (size_t i = 0; i < parts; i++)
		target->boxes[target->count++] = part_of(space, rule, family, i);
	return 0;
}

static bool has_boxes(const struct rule_space *space, size_t rule, int family)
{
	return space->family[family].place[rule] != PLACE_NONE;
}

/* Where the only box of each rule is, and in which order they come. */
static int note_places(struct rule_space *space, int family)
{
	struct rule_space_family *of = &space->family[family];

	of->place = malloc((space->rule_count + 1) * sizeof(*of->place));
	if (!of->place)
		return -ENOMEM;
	for (size_t i = 0; i < space->rule_count; i++)
		of->place[i] = PLACE_NONE;
	for (size_t i = 0; i < of->count; i++) {
		uint32_t rule = of->boxes[i].at[AT_RULE];
		bool first = of->place[rule] == PLACE_NONE;

		/* IPv4 comes first: what has boxes of it stands in the order already. */
		if (first && (family == FAMILY_V4 || !has_boxes(space, rule, FAMILY_V4)))
			space->order[space->order_count++] = rule;
		of->place[rule] = first ? (uint32_t)i : PLACE_MANY;
	}
	return 0;
}

int rule_space_init(struct rule_space *space, const struct selector *selectors, size_t rule_count)
{
	int err;

	*space = (struct rule_space){
		.selectors = selectors, .rule_count = rule_count, .work = RULE_SPACE_WORK,
	};
	space->order = calloc(rule_count + 1, sizeof(*space->order));
	err = space->order ? rank_bounds(space) : -ENOMEM;
	for (int family = 0; family < FAMILY_COUNT && !err; family++) {
		for (size_t i = 0; i < rule_count && !err; i++)
			if (selector_matches_family(&selectors[i], family))
				err = add_rule(space, i, family);
		if (!err)
			err = rule_tree_build(&space->family[family]);
		if (!err)
			err = note_places(space, family);
	}
	return err;
}

void rule_space_fini(struct rule_space *space)
{
	for (int family = 0; family < FAMILY_COUNT; family++) {
		free(space->family[family].boxes);
		free(space->family[family].nodes);
		free(space->family[family].place);
	}
	free(space->bounds);
	free(space->order);
	*space = (struct rule_space){ 0 };
}

bool rule_space_spend(struct rule_space *space, uint64_t work)
{
	space->work -= work < space->work ? work : space->work;
	return space->work;
}

/* ---- questions ---- */

#define ANYTHING { .lo = { 0 }, .hi = { UINT32_MAX, UINT32_MAX, UINT32_MAX, UINT32_MAX, UINT32_MAX, \
	UINT32_MAX, UINT32_MAX, UINT32_MAX, UINT32_MAX, UINT32_MAX, UINT32_MAX, UINT32_MAX, \
	UINT32_MAX, UINT32_MAX, UINT32_MAX, UINT32_MAX } }

/* Coordinates come in pairs, the lower bound first. */
static void ask_around(struct rule_range *range, const struct rule_box *box, size_t from, size_t end)
{
	for (size_t lo = from; lo < end; lo += 2) {
		range->hi[lo] = box->at[lo];
		range->lo[lo + 1] = box->at[lo + 1];
	}
}

/* ICMP has another number in the other family. */
static void ask_around_twin(struct rule_range *range, const struct rule_box *box)
{
	uint32_t first = box->at[AT_PROTOCOL_LO], last = box->at[AT_PROTOCOL_HI];

	ask_around(range, box, AT_REMOTE_PORT_LO, AT_RULE);
	if (first == PROTO_ICMP || first == PROTO_ICMPV6)
		range->hi[AT_PROTOCOL_LO] = UINT32_MAX;
	if (last == PROTO_ICMP || last == PROTO_ICMPV6)
		range->lo[AT_PROTOCOL_HI] = 0;
}

/* Both bounds between both. */
static void ask_within(struct rule_range *range, const struct rule_box *box)
{
	for (size_t c = 0; c < AT_RULE; c++) {
		range->lo[c] = box->at[c & ~1ul];
		range->hi[c] = box->at[c | 1];
	}
}

static void ask_meeting(struct rule_range *range, const struct rule_box *box)
{
	for (size_t lo = 0; lo < AT_RULE; lo += 2) {
		range->hi[lo] = box->at[lo + 1];
		range->lo[lo + 1] = box->at[lo];
	}
}

/* The packet that fewest rules match: with the last port and protocol, "not shown" if that may be. */
static void narrow_to_corner(struct rule_box *box)
{
	for (size_t lo = AT_REMOTE_LO; lo <= AT_LOCAL_LO; lo += 2)
		box->at[lo + 1] = box->at[lo];
	for (size_t lo = AT_REMOTE_PORT_LO; lo < AT_RULE; lo += 2)
		box->at[lo] = box->at[lo + 1];
}

static void ask(struct rule_range *range, enum rule_relation relation, struct rule_box box)
{
	switch (relation) {
	case RULES_AT_CORNER:
		narrow_to_corner(&box);
		ask_around(range, &box, 0, AT_RULE);
		break;
	case RULES_AROUND:
		ask_around(range, &box, 0, AT_RULE);
		break;
	case RULES_AROUND_HOSTS:
		ask_around(range, &box, 0, AT_REMOTE_PORT_LO);
		break;
	case RULES_AROUND_TWIN:
		ask_around_twin(range, &box);
		break;
	case RULES_WITHIN:
		ask_within(range, &box);
		break;
	case RULES_MEETING:
	case RULES_CROSSING:
		ask_meeting(range, &box);
		break;
	}
}

static size_t search_range(struct rule_space *space, const struct rule_search *search, int family,
			   struct rule_range range, size_t below)
{
	if (search->from >= below)
		return RULE_NONE;
	range.lo[AT_RULE] = (uint32_t)search->from;
	range.hi[AT_RULE] = (uint32_t)below - 1;
	range.lo[AT_ACTION] = search->action_lo;
	range.hi[AT_ACTION] = search->action_hi;
	return rule_tree_first(space, &space->family[family], &range, search);
}

/* What meets a range and does not have all of it begins behind its start, or ends before its end. */
static size_t search_crossing(struct rule_space *space, const struct rule_search *search, int family,
			      struct rule_range range, size_t below)
{
	struct rule_range begins = range, ends = range;
	uint32_t first = range.lo[AT_REMOTE_HI], last = range.hi[AT_REMOTE_LO];
	size_t best, found;

	if (first == last)
		return RULE_NONE;
	begins.lo[AT_REMOTE_LO] = first + 1;
	ends.hi[AT_REMOTE_HI] = last - 1;
	best = search_range(space, search, family, begins, below);
	found = search_range(space, search, family, ends, best == RULE_NONE ? below : best);
	return found == RULE_NONE ? best : found;
}

/* The first before `below` that has the relation to a box of one family. */
static size_t search_box(struct rule_space *space, const struct rule_search *search, int family,
			 struct rule_box box, size_t below)
{
	struct rule_range range = ANYTHING;

	ask(&range, search->relation, box);
	if (search->relation == RULES_CROSSING)
		return search_crossing(space, search, family, range, below);
	return search_range(space, search, family, range, below);
}

/* What covers a rule covers each packet of it: one piece of it in one family is enough to ask for. */
static size_t search_piece(struct rule_space *space, const struct rule_search *search, size_t rule)
{
	int own = has_boxes(space, rule, FAMILY_V4) ? FAMILY_V4 : FAMILY_V6, other;
	uint32_t place;

	if (search->relation == RULES_AROUND_HOSTS)
		own = search->family;
	if (search->relation == RULES_AROUND_TWIN)
		own = !search->family;
	other = search->relation == RULES_AROUND_TWIN ? !own : own;
	if (!has_boxes(space, rule, own))
		return RULE_NONE;
	place = space->family[own].place[rule];
	return search_box(space, search, other,
			  place == PLACE_MANY || space->hulls ?
			  box_of(space, rule, own, 0, 0) : space->family[own].boxes[place],
			  search->below);
}

static size_t search_family(struct rule_space *space, const struct rule_search *search, size_t rule,
			    int family, size_t below)
{
	const struct rule_space_family *of = &space->family[family];
	size_t parts, best = RULE_NONE, found;

	if (of->place[rule] != PLACE_MANY && !space->hulls)
		return search_box(space, search, family, of->boxes[of->place[rule]], below);
	if (search->relation == RULES_WITHIN)
		return search_box(space, search, family,
				  box_of(space, rule, family, WHOLE_LIST, WHOLE_LIST), below);
	parts = part_count(space, rule, family);
	for (size_t i = 0; i < parts; i++) {
		found = search_box(space, search, family, part_of(space, rule, family, i), below);
		if (found != RULE_NONE)
			best = below = found;
	}
	return best;
}

size_t rule_space_first(struct rule_space *space, const struct rule_search *search, size_t rule)
{
	size_t best = RULE_NONE, below = search->below, found;

	if (search->relation == RULES_AROUND || search->relation == RULES_AT_CORNER ||
	    search->relation == RULES_AROUND_HOSTS || search->relation == RULES_AROUND_TWIN)
		return search_piece(space, search, rule);
	for (int family = 0; family < FAMILY_COUNT; family++) {
		if (!has_boxes(space, rule, family))
			continue;
		found = search_family(space, search, rule, family, below);
		if (found != RULE_NONE)
			best = below = found;
	}
	return best;
}
