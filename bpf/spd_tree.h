/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The search of a snapshot's tree (spd_cell.h) for the first rule that matches. One step reads a node
 * or an entry. lib/spd_search.c does the same in user space.
 * Called by: spd.h. Reads an inner map of `spd`; writes nothing.
 */
#ifndef IPSECBPF_SPD_TREE_H
#define IPSECBPF_SPD_TREE_H

#include "maps.h"

struct spd_walk {
	void *snapshot;
	struct spd_query query;
	__u32 ref;		/* where to go on */
	__u32 rule;		/* the best so far; SPD_RULE_DEFAULT: none */
	__u32 protect_id;
	__u8 action;
	__u8 family;		/* enum ip_family */
	__u8 broken;		/* a reference led out of the snapshot */
	__u8 pad;
	__u32 waiting[SPD_ASIDE_MAX];	/* what was set aside, the last one first; 0: nothing */
};

static __always_inline union spd_cell *walk_cell(struct spd_walk *walk, __u32 index)
{
	union spd_cell *cell = bpf_map_lookup_elem(walk->snapshot, &index);

	if (!cell)
		walk->broken = 1;
	return cell;
}

static __always_inline bool walk_addresses_match(struct spd_walk *walk,
						 const struct spd_entry *entry, __u32 cell)
{
	union spd_cell *addresses;

	if (walk->family == FAMILY_V4)
		return spd_addresses4_match(entry, &walk->query);
	addresses = walk_cell(walk, cell + 1);
	return addresses && spd_addresses6_match(&addresses->addresses, &walk->query);
}

/* The first of `entries` in a leaf, whose entries are in the order of their rules. The reference to go
 * on with; 0 if this way is at its end. */
static __always_inline __u32 walk_entry(struct spd_walk *walk, __u32 cell, __u32 entries)
{
	union spd_cell *at = walk_cell(walk, cell);

	if (!at || at->entry.rule >= walk->rule)
		return 0;
	if (!spd_upper_matches(&at->entry, walk->query.word[SPD_UPPER]) ||
	    !walk_addresses_match(walk, &at->entry, cell))
		return entries > 1 ? SPD_REF(cell + SPD_ENTRY_CELLS(walk->family), entries - 1) : 0;
	walk->rule = at->entry.rule;
	walk->protect_id = at->entry.protect_id;
	walk->action = at->entry.action;
	return 0;
}

static __always_inline void walk_wait(struct spd_walk *walk, __u32 ref)
{
#pragma clang loop unroll(full)
	for (int i = SPD_ASIDE_MAX - 1; i > 0; i--)
		walk->waiting[i] = walk->waiting[i - 1];
	walk->waiting[0] = ref;
}

static __always_inline __u32 walk_resume(struct spd_walk *walk)
{
	__u32 ref = walk->waiting[0];

#pragma clang loop unroll(full)
	for (int i = 1; i < SPD_ASIDE_MAX; i++)
		walk->waiting[i - 1] = walk->waiting[i];
	walk->waiting[SPD_ASIDE_MAX - 1] = 0;
	return ref;
}

/* The reference to go on with; 0 if this way is at its end. */
static __always_inline __u32 walk_node(struct spd_walk *walk, __u32 index)
{
	union spd_cell *cell = walk_cell(walk, index);
	__u32 child, start, end, word;

	if (!cell || cell->node.min_rule >= walk->rule)
		return 0;
	if (cell->node.aside)
		walk_wait(walk, cell->node.aside);
	word = cell->node.word;
	if (word >= SPD_WORDS) {
		walk->broken = 1;
		return 0;
	}
	child = spd_node_child(&cell->node, walk->query.word[word]);
	/* The mask keeps within the cell, which is all that the verifier of Linux 6.1 needs to see. */
	asm("" : "+r"(child));
	start = child ? cell->node.end[(child - 1) & 15] : 0;
	end = cell->node.end[child & 15];
	if (start == end)
		return 0;
	if (cell->node.inner >> (child & 15) & 1)
		return SPD_REF(cell->node.children + start, 0);
	return SPD_REF(cell->node.children + start, (end - start) / SPD_ENTRY_CELLS(walk->family));
}

static long walk_step(__u64 index, struct spd_walk *walk)
{
	__u32 ref = walk->ref, entries = SPD_REF_ENTRIES(ref);

	ref = entries ? walk_entry(walk, SPD_REF_CELL(ref), entries) :
			walk_node(walk, SPD_REF_CELL(ref));
	if (!ref)
		ref = walk_resume(walk);
	walk->ref = ref;
	return !ref || walk->broken;
}

/* From walk->ref, which the caller sets with snapshot, query, family and rule. 0, or a negative drop
 * reason; the verdict is in *walk. */
static __always_inline int spd_walk(struct spd_walk *walk)
{
	if (!walk->ref)
		return 0;
	bpf_loop(SPD_STEPS_MAX, walk_step, walk, 0);
	return walk->broken || walk->ref ? -DROP_INTERNAL : 0;
}

#endif /* IPSECBPF_SPD_TREE_H */
