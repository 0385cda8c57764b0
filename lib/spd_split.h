/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * By which question a node of the decision tree tells its boxes apart. Pure.
 * Included by: spd_tree.c, spd_split.c.
 */
#ifndef IPSECBPF_SPD_SPLIT_H
#define IPSECBPF_SPD_SPLIT_H

#include "spd_tree.h"

typedef unsigned __int128 u128;

/* The fields of a box as numbers, which is what it is compared by. */
enum spd_dimension {
	DIMENSION_REMOTE,
	DIMENSION_LOCAL,
#define X(id, shift, width) DIMENSION_##id,
	SPD_UPPER_FIELDS(X)
#undef X
	DIMENSION_COUNT
};

#define ADDRESS_DIMENSIONS 2

/* lo and hi of each dimension; of a box, or of the packets that reach a node. */
struct spd_region {
	u128 address_lo[ADDRESS_DIMENSIONS], address_hi[ADDRESS_DIMENSIONS];
	uint16_t upper_lo[DIMENSION_COUNT - ADDRESS_DIMENSIONS];
	uint16_t upper_hi[DIMENSION_COUNT - ADDRESS_DIMENSIONS];
};

static inline u128 region_lo(const struct spd_region *region, unsigned int dimension)
{
	return dimension < ADDRESS_DIMENSIONS ? region->address_lo[dimension] :
						region->upper_lo[dimension - ADDRESS_DIMENSIONS];
}

static inline u128 region_hi(const struct spd_region *region, unsigned int dimension)
{
	return dimension < ADDRESS_DIMENSIONS ? region->address_hi[dimension] :
						region->upper_hi[dimension - ADDRESS_DIMENSIONS];
}

/* Some of the boxes, by their index; in the order of their rules. */
struct spd_list {
	uint32_t *items;
	size_t count;
};

/* What a node asks, and what it costs. */
struct spd_split {
	unsigned int dimension;
	unsigned int shift;		/* of the window of 32 bits that is compared */
	uint32_t threshold[SPD_THRESHOLDS];	/* ascending, within the window */
	unsigned int thresholds;	/* at least 1 */
	bool aside;			/* boxes that span many children are set aside */
	double cost;			/* expected of a search, in ns or so */
};

/* What a leaf of so many entries costs, in the same unit. */
double spd_leaf_cost(size_t entries);

/* What is asked of a split, besides being good. */
struct spd_terms {
	bool may_set_aside;	/* there is room for one more tree to wait */
	double repeated;	/* what it is worth that the average box is under one child less, in ns */
};

/* What repetition costs in a tree of so many boxes: a large one is larger than a processor's caches. */
double spd_repeated_cost(size_t boxes);

/*
 * The best question for the boxes of `list`, all of which overlap `region`. False: none tells any
 * two of them apart.
 */
bool spd_split_choose(const struct spd_region *boxes, const struct spd_list *list,
		      const struct spd_region *region, const struct spd_terms *terms,
		      struct spd_split *ret_split);

/* The children, first to last, that a box has a part in. */
struct spd_span {
	unsigned int first, last;
};
struct spd_span spd_split_span(const struct spd_split *split, const struct spd_region *region,
			       const struct spd_region *box);

/* Is a box with this span set aside? */
bool spd_split_sets_aside(const struct spd_split *split, struct spd_span span);

#endif /* IPSECBPF_SPD_SPLIT_H */
