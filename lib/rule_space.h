/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Finds the few rules that have to do with a rule, among very many: those around it, within it, or
 * meeting it. Each rule is one or more boxes (a range of addresses, ports and so on), each box a point
 * of its bounds, and the points of a family lie in a k-d tree, so that each question is about a range
 * in every coordinate. What a box does not know of a rule (interfaces, gaps in lists of ports) is for
 * the caller to look at: what is found is what may be, and nothing that may be is left out.
 *
 * Included by: policy_check.c, policy_lint_pairs.c, policy_lint_gaps.c, policy_shadow.c.
 * Ownership:   the selectors are borrowed until rule_space_fini().
 * Threading:   one thread: searching counts what it costs.
 */
#ifndef IPSECBPF_RULE_SPACE_H
#define IPSECBPF_RULE_SPACE_H

#include "policy_internal.h"

#define RULE_NONE SIZE_MAX

/*
 * What comparing the rules of a policy may cost, in boxes and nodes looked at (some tenths of a second),
 * and what one search may: enough to look at every rule of a thousand.
 */
#define RULE_SPACE_WORK 24000000u
#define RULE_SEARCH_WORK 20000u

enum rule_coordinate {
	AT_REMOTE_LO, AT_REMOTE_HI, AT_LOCAL_LO, AT_LOCAL_HI, AT_REMOTE_PORT_LO, AT_REMOTE_PORT_HI,
	AT_LOCAL_PORT_LO, AT_LOCAL_PORT_HI, AT_PROTOCOL_LO, AT_PROTOCOL_HI, AT_DIRECTION_LO,
	AT_DIRECTION_HI, AT_TYPE_LO, AT_TYPE_HI, AT_RULE, AT_ACTION, AT_COUNT
};

/* IPv4 addresses as they are, IPv6 addresses by their rank among all bounds. */
struct rule_box {
	uint32_t at[AT_COUNT];
};

struct rule_space_family {
	struct rule_box *boxes;		/* in the order of the tree */
	size_t count, room;
	struct rule_node *nodes;
	size_t node_count, node_room;
	uint32_t *place;		/* of each rule: of its only box, or one of these: */
};

#define PLACE_NONE UINT32_MAX		/* it matches nothing of this family */
#define PLACE_MANY (UINT32_MAX - 1)

struct rule_space {
	const struct selector *selectors;
	size_t rule_count;
	struct addr128 *bounds;		/* of IPv6 ranges, sorted, each once */
	size_t bound_count;
	struct rule_space_family family[FAMILY_COUNT];
	uint32_t *order;		/* rules that match something, neighbours next to each other: */
	size_t order_count;		/* asked in this order, questions find their answers in cache */
	bool hulls;			/* some boxes span gaps of their lists of remote addresses */
	uint64_t work;			/* left; 0: searches find nothing any more */
	size_t cut_short;		/* searches that ended before they had seen everything */
};

/* One selector per rule of the policy, in the file's order. 0 or -ENOMEM; to be finished anyway. */
int rule_space_init(struct rule_space *space, const struct selector *selectors, size_t rule_count);
void rule_space_fini(struct rule_space *space);

/* Takes this much off what is left. False: nothing is. */
bool rule_space_spend(struct rule_space *space, uint64_t work);

enum rule_relation {
	RULES_AROUND,		/* that may cover it */
	RULES_AT_CORNER,	/* that may match a certain packet of those that it matches */
	RULES_WITHIN,		/* that it may cover */
	RULES_MEETING,		/* that may match what it matches */
	RULES_CROSSING,		/* the same, and may not have all its remote addresses */
	RULES_AROUND_HOSTS,	/* whose addresses of `family` may cover its own */
	RULES_AROUND_TWIN,	/* that may cover, in `family`, what it has in the other one but hosts */
};

struct rule_search {
	enum rule_relation relation;
	size_t from, below;		/* only rules of these positions */
	enum spd_action action_lo, action_hi;
	enum ip_family family;		/* with the last two */
	bool (*accept)(void *context, size_t rule);	/* may be asked twice of one rule */
	void *context;
};

/* The first rule, by position, that has this relation to `rule` and is accepted; or RULE_NONE. */
size_t rule_space_first(struct rule_space *space, const struct rule_search *search, size_t rule);

#endif /* IPSECBPF_RULE_SPACE_H */
