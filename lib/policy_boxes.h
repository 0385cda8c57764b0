/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What each tree of a snapshot is built from: rules, multiplied out into boxes. Pure.
 *
 * Included by: policy_compile.c. Ownership: free() the boxes.
 */
#ifndef IPSECBPF_POLICY_BOXES_H
#define IPSECBPF_POLICY_BOXES_H

#include "policy_internal.h"

#define POLICY_BOXES_MAX (1u << 20)	/* of one tree: what a policy file may make of few lines */

/* What compiling needs to know of a rule. */
struct rule_plan {
	struct selector selector;
	uint32_t protect_id;
	bool applies;		/* to this interface */
};

struct rule_plans {
	struct rule_plan *items;	/* in the order of the policy's rules */
	size_t count;
	size_t first;		/* the rule that items[0] is */
};

/* Names one of the SPD_TREES. */
struct tree_name {
	enum spd_way way;
	enum ip_family family;
	enum spd_shows shows;
};

struct box_list {
	struct spd_box *items;
	size_t count;
};

/* Boxes that one rule makes; SIZE_MAX if that does not fit. */
size_t policy_rule_boxes(const struct rule_plan *plan, struct tree_name tree);

/*
 * The boxes of a tree, sorted by rule; of equal ones only the first. 0, -ENOMEM, or -E2BIG: more
 * than POLICY_BOXES_MAX.
 */
int policy_boxes(const struct rule_plans *plans, struct tree_name tree,
		 struct box_list *ret_boxes);

/* An earlier tree (a lower SPD_TREE()) that has the very same boxes, if that shows without making
 * them. */
bool policy_boxes_twin(const struct rule_plans *plans, struct tree_name tree,
		       struct tree_name *ret_twin);

#endif /* IPSECBPF_POLICY_BOXES_H */
