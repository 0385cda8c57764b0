/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The k-d tree of a family's boxes: built once, then asked for the first rule within a range.
 *
 * Included by: rule_space*.c.
 */
#ifndef IPSECBPF_RULE_SPACE_TREE_H
#define IPSECBPF_RULE_SPACE_TREE_H

#include "rule_space.h"

/* The boxes below a node lie between these, in every coordinate. */
struct rule_node {
	uint32_t least[AT_COUNT], greatest[AT_COUNT];
	uint32_t first, count;		/* boxes */
	uint32_t right;			/* second child; the first one follows; 0: a leaf */
};

/* Bounds of every coordinate, both included. */
struct rule_range {
	uint32_t lo[AT_COUNT], hi[AT_COUNT];
};

/* Sorts the boxes into a tree. 0 or -ENOMEM. */
int rule_tree_build(struct rule_space_family *family);

/* The least AT_RULE within the range that is accepted, or RULE_NONE. Spends of space->work. */
size_t rule_tree_first(struct rule_space *space, const struct rule_space_family *family,
		       struct rule_range *range, const struct rule_search *search);

#endif /* IPSECBPF_RULE_SPACE_TREE_H */
