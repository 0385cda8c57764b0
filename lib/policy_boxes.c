// SPDX-License-Identifier: BSD-2-Clause
#include "policy_boxes.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define PROTO_RANGES_MAX 128	/* every other number */

/* The fields of SPD_UPPER in the order in which rules are multiplied out. */
enum upper_field { UPPER_PROTO, UPPER_LOCAL, UPPER_REMOTE, UPPER_VLAN, UPPER_DSCP, UPPER_FIELDS };

static const unsigned int upper_shift[UPPER_FIELDS] = {
	SPD_PROTO_SHIFT, SPD_LOCAL_PORT_SHIFT, SPD_REMOTE_PORT_SHIFT, SPD_VLAN_SHIFT, SPD_DSCP_SHIFT,
};

static const struct port_range anything[UPPER_FIELDS] = {
	[UPPER_PROTO] = { 0, (1u << SPD_PROTO_WIDTH) - 1 },
	[UPPER_LOCAL] = { 0, UINT16_MAX },
	[UPPER_REMOTE] = { 0, UINT16_MAX },
	[UPPER_VLAN] = { 0, (1u << SPD_VLAN_WIDTH) - 1 },
	[UPPER_DSCP] = { 0, (1u << SPD_DSCP_WIDTH) - 1 },
};

/* One rule on its way into one tree. Lists are the rule's, or point into it. */
struct expansion {
	const struct address_list *local, *remote;
	struct port_list upper[UPPER_FIELDS];
	struct port_range proto[PROTO_RANGES_MAX], icmp[2], any[UPPER_FIELDS];
	enum ip_family family;
	struct spd_box box;
	struct spd_box *out;
};

/* ---- which rules a tree is about ----------------------------------------------------------- */

static bool goes_that_way(const struct rule_plan *plan, enum spd_way way)
{
	const struct rule *rule = plan->selector.rule;

	if (!plan->applies)
		return false;
	switch (way) {
	case SPD_WAY_IN:
		return rule->direction != RULE_OUT;
	case SPD_WAY_OUT_LOCAL:
		return rule->direction != RULE_IN && rule->origin != ORIGIN_FORWARDED;
	default:
		return rule->direction != RULE_IN && rule->origin != ORIGIN_LOCAL;
	}
}

/* Does the rule ask for what is hidden in such packets? */
static bool asks_for_hidden(const struct rule *rule, enum spd_shows shows)
{
	if (shows == SPD_SHOWS_ADDRESSES && rule->protocol_count)
		return true;
	return shows != SPD_SHOWS_ALL &&
	       (rule->local_port.count || rule->remote_port.count || rule->icmp_given);
}

static bool can_match(const struct rule_plan *plan, struct tree_name tree)
{
	const struct rule *rule = plan->selector.rule;

	return goes_that_way(plan, tree.way) && selector_matches_family(&plan->selector, tree.family) &&
	       (rule->action != SPD_BYPASS || !asks_for_hidden(rule, tree.shows));
}

/* ---- the parts of a rule ------------------------------------------------------------------- */

/* Neighbours become one range: as all is multiplied out, that is free. */
static void set_protocols(struct expansion *expansion, const uint64_t protocols[4])
{
	struct port_range *ranges = expansion->proto;
	size_t count = 0;

	for (unsigned int word = 0; word < 4; word++)
		for (uint64_t bits = protocols[word]; bits; bits &= bits - 1) {
			uint16_t proto = (uint16_t)(word * 64 + (unsigned int)__builtin_ctzll(bits));

			if (count && ranges[count - 1].hi + 1u == proto)
				ranges[count - 1].hi = proto;
			else
				ranges[count++] = (struct port_range){ proto, proto };
		}
	expansion->upper[UPPER_PROTO] = (struct port_list){ ranges, count };
}

/* 0-255 is any: so it stands in the box, for others to see that it does not matter. */
static struct port_range icmp_range(uint8_t lo, uint8_t hi)
{
	return (struct port_range){ lo, !lo && hi == UINT8_MAX ? UINT16_MAX : hi };
}

static void set_ports(struct expansion *expansion, const struct selector *selector)
{
	const struct rule *rule = selector->rule;

	expansion->upper[UPPER_LOCAL] = selector->port[SIDE_LOCAL];
	expansion->upper[UPPER_REMOTE] = selector->port[SIDE_REMOTE];
	if (!rule->icmp_given)
		return;
	expansion->icmp[0] = icmp_range(rule->icmp_type_lo, rule->icmp_type_hi);
	expansion->icmp[1] = icmp_range(rule->icmp_code_lo, rule->icmp_code_hi);
	expansion->upper[UPPER_LOCAL] = (struct port_list){ &expansion->icmp[0], 1 };
	expansion->upper[UPPER_REMOTE] = (struct port_list){ &expansion->icmp[1], 1 };
}

/* The rule as this tree has it: what such packets hide is not asked for. False: not at all. */
static bool expansion_init(struct expansion *expansion, const struct rule_plan *plan,
			   struct tree_name tree)
{
	const struct selector *selector = &plan->selector;
	bool hidden;

	if (!can_match(plan, tree))
		return false;
	hidden = asks_for_hidden(selector->rule, tree.shows);
	memset(expansion->upper, 0, sizeof(expansion->upper));
	expansion->family = tree.family;
	expansion->local = &selector->address[SIDE_LOCAL][tree.family];
	expansion->remote = &selector->address[SIDE_REMOTE][tree.family];
	if (!selector->any_protocol && !(hidden && tree.shows == SPD_SHOWS_ADDRESSES))
		set_protocols(expansion, selector->protocols[tree.family]);
	if (!hidden)
		set_ports(expansion, selector);
	expansion->upper[UPPER_VLAN] = selector->vlan;
	expansion->upper[UPPER_DSCP] = selector->dscp;
	memcpy(expansion->any, anything, sizeof(anything));
	for (int field = 0; field < UPPER_FIELDS; field++)
		if (!expansion->upper[field].count)
			expansion->upper[field] = (struct port_list){ &expansion->any[field], 1 };
	return true;
}

static size_t times(size_t a, size_t b)
{
	return __builtin_mul_overflow(a, b, &a) ? SIZE_MAX : a;
}

static size_t expansion_count(const struct expansion *expansion)
{
	size_t count = times(expansion->local->count, expansion->remote->count);

	for (int field = 0; field < UPPER_FIELDS; field++)
		count = times(count, expansion->upper[field].count);
	return count;
}

size_t policy_rule_boxes(const struct rule_plan *plan, struct tree_name tree)
{
	struct expansion expansion;

	return expansion_init(&expansion, plan, tree) ? expansion_count(&expansion) : 0;
}

/* ---- multiplying out ----------------------------------------------------------------------- */

/* Recursion: as deep as there are fields. */
static void expand_upper(struct expansion *expansion, unsigned int field)
{
	__u64 *lo = &expansion->box.lo.word[SPD_UPPER], *hi = &expansion->box.hi.word[SPD_UPPER];
	const __u64 others_lo = *lo, others_hi = *hi;
	const struct port_list *list;

	if (field == UPPER_FIELDS) {
		*expansion->out++ = expansion->box;
		return;
	}
	list = &expansion->upper[field];
	for (size_t i = 0; i < list->count; i++) {
		*lo = others_lo | (__u64)list->items[i].lo << upper_shift[field];
		*hi = others_hi | (__u64)list->items[i].hi << upper_shift[field];
		expand_upper(expansion, field + 1);
	}
	*lo = others_lo;
	*hi = others_hi;
}

static void set_side(struct spd_box *box, enum spd_word hi_word, const struct address_range *range)
{
	box->lo.word[hi_word] = range->lo.hi;
	box->lo.word[hi_word + 1] = range->lo.lo;
	box->hi.word[hi_word] = range->hi.hi;
	box->hi.word[hi_word + 1] = range->hi.lo;
}

static void expand(struct expansion *expansion)
{
	for (size_t l = 0; l < expansion->local->count; l++) {
		set_side(&expansion->box, SPD_LOCAL_HI, &expansion->local->items[l]);
		for (size_t r = 0; r < expansion->remote->count; r++) {
			set_side(&expansion->box, SPD_REMOTE_HI, &expansion->remote->items[r]);
			expand_upper(expansion, 0);
		}
	}
}

static uint64_t box_hash(const struct spd_box *box)
{
	uint64_t hash = 0;

	for (int word = 0; word < SPD_WORDS; word++) {
		hash = (hash ^ box->lo.word[word]) * 0x9e3779b97f4a7c15u;
		hash = (hash ^ hash >> 32 ^ box->hi.word[word]) * 0xc2b2ae3d27d4eb4fu;
		hash ^= hash >> 29;
	}
	return hash;
}

/* What an earlier rule matches as well is never reached. Rules of later fragments, which have lost
 * their ports, are often equal. */
static int drop_equal(struct box_list *boxes)
{
	size_t kept = 0, size = 16;
	uint32_t *table;	/* index + 1 of a box that is kept; 0: empty */

	while (size < 2 * boxes->count)
		size *= 2;
	table = calloc(size, sizeof(*table));
	if (!table)
		return -ENOMEM;
	for (size_t i = 0; i < boxes->count; i++) {
		const struct spd_box *box = &boxes->items[i];
		size_t slot = box_hash(box) & (size - 1);

		while (table[slot] &&
		       (memcmp(&boxes->items[table[slot] - 1].lo, &box->lo, sizeof(box->lo)) ||
			memcmp(&boxes->items[table[slot] - 1].hi, &box->hi, sizeof(box->hi))))
			slot = (slot + 1) & (size - 1);
		if (table[slot])
			continue;
		boxes->items[kept++] = *box;
		table[slot] = (uint32_t)kept;
	}
	free(table);
	boxes->count = kept;
	return 0;
}

/*
 * What the rule says of packets in this tree. On a guess nothing passes in the clear: what is
 * optional is not, if the packet hides whether the rule is about it at all.
 */
static struct spd_box box_of(const struct rule_plan *plan, struct tree_name tree)
{
	const struct rule *rule = plan->selector.rule;
	struct spd_box box = {
		.protect_id = plan->protect_id,
		.action = (uint8_t)rule->action,
		.level = LEVEL_MANDATORY,
	};

	if (rule->action != SPD_PROTECT || rule->level != LEVEL_OPTIONAL)
		return box;
	if (!asks_for_hidden(rule, tree.shows))
		box.level = LEVEL_OPTIONAL;
	else if (!plan->protect_id)
		box.action = SPD_DISCARD;
	return box;
}

int policy_boxes(const struct rule_plans *plans, struct tree_name tree, struct box_list *ret_boxes)
{
	struct box_list boxes = { 0 };
	struct expansion expansion;
	int err;

	for (size_t i = 0; i < plans->count; i++) {
		size_t count = policy_rule_boxes(&plans->items[i], tree);

		if (count > POLICY_BOXES_MAX - boxes.count)
			return -E2BIG;
		boxes.count += count;
	}
	boxes.items = malloc((boxes.count ? boxes.count : 1) * sizeof(*boxes.items));
	if (!boxes.items)
		return -ENOMEM;
	expansion.out = boxes.items;
	for (size_t i = 0; i < plans->count; i++) {
		const struct rule_plan *plan = &plans->items[i];

		if (!expansion_init(&expansion, plan, tree))
			continue;
		expansion.box = box_of(plan, tree);
		expansion.box.rule = (uint32_t)(plans->first + i);
		expand(&expansion);
	}
	err = drop_equal(&boxes);
	if (err)
		free(boxes.items);
	else
		*ret_boxes = boxes;
	return err;
}

/* ---- trees that are alike ------------------------------------------------------------------ */

static bool ways_agree(const struct rule_plans *plans, struct tree_name tree, enum spd_way other)
{
	struct tree_name another = { other, tree.family, tree.shows };

	for (size_t i = 0; i < plans->count; i++)
		if (can_match(&plans->items[i], tree) != can_match(&plans->items[i], another))
			return false;
	return true;
}

/* Does no rule ask for what is hidden here, but not in packets that show a step more? IPv4 never
 * hides the protocol. */
static bool shows_agree(const struct rule_plans *plans, struct tree_name tree)
{
	struct tree_name all = { tree.way, tree.family, SPD_SHOWS_ALL };

	if (tree.family == FAMILY_V4 && tree.shows == SPD_SHOWS_ADDRESSES)
		return true;
	for (size_t i = 0; i < plans->count; i++)
		if (can_match(&plans->items[i], all) &&
		    asks_for_hidden(plans->items[i].selector.rule, tree.shows))
			return false;
	return true;
}

bool policy_boxes_twin(const struct rule_plans *plans, struct tree_name tree,
		       struct tree_name *ret_twin)
{
	struct tree_name twin = tree;

	if (tree.shows != SPD_SHOWS_ALL && shows_agree(plans, tree)) {
		twin.shows = tree.shows - 1;
		*ret_twin = twin;
		return true;
	}
	for (int way = 0; way < (int)tree.way; way++)
		if (ways_agree(plans, tree, (enum spd_way)way)) {
			twin.way = (enum spd_way)way;
			*ret_twin = twin;
			return true;
		}
	return false;
}
