/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The classifier in user space: boxes -> decision tree in cells (bpf/spd_cell.h), and its search.
 * Pure and deterministic: the same boxes give the same cells.
 *
 *   policy_compile.c   rules -> boxes of each tree
 *   spd_tree.c         boxes -> cells
 *   spd_search.c       what the hooks will find in them
 *
 * Included by: policy_compile.c, tests, benchmarks. Not thread safe for one struct spd_cells.
 */
#ifndef IPSECBPF_SPD_TREE_H
#define IPSECBPF_SPD_TREE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "abi_user.h"

/*
 * What one entry matches: packets whose addresses (128 bits, two words) and each field of SPD_UPPER
 * lie between lo and hi, ends included. In IPv4 the upper words of the addresses are 0.
 */
struct spd_box {
	struct spd_query lo, hi;
	uint32_t rule;		/* the first match decides: boxes are sorted by this */
	uint32_t protect_id;
	uint8_t action;		/* enum spd_action */
	uint8_t level;		/* enum spd_level */
};

/* A snapshot that grows. Zeroed: empty. spd_cells_fini() frees it. */
struct spd_cells {
	union spd_cell *items;
	size_t count, room;
	size_t limit;		/* 0: SPD_CELLS_MAX; tests have less */
};

void spd_cells_fini(struct spd_cells *cells);

/* `count` zeroed cells behind the others: the index of the first, -ENOMEM or -E2BIG (the limit).
 * Cells may move. */
int64_t spd_cells_add(struct spd_cells *cells, size_t count);

/* What was built. */
struct spd_tree {
	uint32_t root;		/* a reference, see SPD_REF */
	uint32_t entries;	/* in its leaves */
	uint32_t steps;		/* nodes and entries that the longest search reads */
};

/*
 * Builds a tree of `boxes`, sorted by rule, behind what is in `cells` (SPD_FIRST_FREE_CELL cells at
 * least). 0, -ENOMEM, or -E2BIG: more than cells->limit cells or SPD_STEPS_MAX steps would be
 * needed.
 */
int spd_tree_build(const struct spd_box *boxes, size_t count, enum ip_family family,
		   struct spd_cells *cells, struct spd_tree *ret_tree);

/* The first matching entry, or NULL; as the hooks find it. *ret_steps, unless NULL, is how many
 * nodes and entries were read. */
const struct spd_entry *spd_search(const union spd_cell *cells, uint32_t root,
				   enum ip_family family, const struct spd_query *query,
				   uint32_t *ret_steps);

/* Does the packet lie in the box? The definition; slow. */
bool spd_box_matches(const struct spd_box *box, const struct spd_query *query);

#endif /* IPSECBPF_SPD_TREE_H */
