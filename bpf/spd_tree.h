/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The search of a snapshot's tree (spd_cell.h) for the first rule that matches. One step reads a
 * node or an entry. lib/spd_search.c does the same in user space.
 * Called by: spd.h. Reads an inner map of `spd`; writes nothing.
 */
#ifndef IPSECBPF_SPD_TREE_H
#define IPSECBPF_SPD_TREE_H

#include "maps.h"

/* Steps from one call to the next. */
#define WALK_STEPS 4

/* Action and level in one word: the stack is short. */
#define WALK_SAYS(action, level) ((__u32)(action) | (__u32)(level) << 8)
#define WALK_ACTION(says) ((says) & 0xff)
#define WALK_LEVEL(says) ((says) >> 8)

struct spd_walk {
	void *snapshot;
	const struct spd_query *query;
	union spd_cell *chunk;	/* the one that was read last */
	__u32 chunk_index;
	__u32 ref;		/* where to go on */
	__u32 rule;		/* the best so far; SPD_RULE_DEFAULT: none */
	__u32 protect_id;
	__u32 says;		/* WALK_SAYS() */
	__u32 family;		/* enum ip_family */
	__u32 cells;		/* that an entry takes */
	__u32 waiting[SPD_ASIDE_MAX];	/* what was set aside, the last one first; 0: nothing */
	int broken;		/* a reference led out of the snapshot */
	__u32 nothing;		/* 0, but the verifier must not know: it would walk every step once for
				 * each combination of what it has seen of the others */
};

/* The value, of which the verifier then knows nothing: see `nothing`. */
static __always_inline __u32 forget(struct spd_walk *walk, __u32 value)
{
	asm volatile("" : "+r"(walk->nothing));
	return value ^ walk->nothing;
}

/* NULL: the reference leads out of the snapshot. */
static __always_inline union spd_cell *walk_cell(struct spd_walk *walk, __u32 index)
{
	__u32 chunk = index >> SPD_CHUNK_SHIFT;

	if (chunk != walk->chunk_index) {
		union spd_cell *next = bpf_map_lookup_elem(walk->snapshot, &chunk);

		if (!next)
			return NULL;
		walk->chunk = next;
		walk->chunk_index = chunk;
	}
	/* Opaque: clang would move the mask to where the verifier cannot see what it is for. */
	asm("" : "+r"(index));
	return &walk->chunk[index & (SPD_CHUNK_CELLS - 1)];
}

/* Whether the entry is one for the packet; negative: broken. */
static __always_inline int walk_matches(struct spd_walk *walk, const struct spd_entry *entry,
					__u32 cell)
{
	union spd_cell *addresses;

	if (!spd_upper_matches(entry, walk->query->word[SPD_UPPER]))
		return 0;
	if (forget(walk, walk->family) == FAMILY_V4)
		return !spd_addresses4_differ(entry, walk->query);
	addresses = walk_cell(walk, cell + 1);
	return addresses ? !spd_addresses6_differ(&addresses->addresses, walk->query) : -1;
}

/* The first of `entries` in a leaf, whose entries are in the order of their rules. Sets the
 * reference to go on with, 0 if this way is at its end. 0, or negative: broken. */
static __always_inline int walk_entry(struct spd_walk *walk, __u32 cell, __u32 entries)
{
	union spd_cell *at = walk_cell(walk, cell);
	__u32 rule, protect_id, says;
	int matches;

	walk->ref = 0;
	if (!at)
		return -1;
	rule = at->entry.rule;
	protect_id = at->entry.protect_id;
	says = WALK_SAYS(at->entry.action, at->entry.level);
	if (rule >= walk->rule)
		return 0;
	matches = walk_matches(walk, &at->entry, cell);
	if (matches < 0)
		return -1;
	if (matches) {
		walk->rule = rule;
		walk->protect_id = protect_id;
		walk->says = says;
	} else if (entries > 1) {
		walk->ref = SPD_REF(cell + walk->cells, entries - 1);
	}
	return 0;
}

static __always_inline void walk_wait(struct spd_walk *walk, __u32 ref)
{
#pragma clang loop unroll(full)
	for (int i = SPD_ASIDE_MAX - 1; i > 0; i--)
		walk->waiting[i] = walk->waiting[i - 1];
	walk->waiting[0] = ref;
}

static __always_inline void walk_resume(struct spd_walk *walk)
{
	walk->ref = walk->waiting[0];
#pragma clang loop unroll(full)
	for (int i = 1; i < SPD_ASIDE_MAX; i++)
		walk->waiting[i - 1] = walk->waiting[i];
	walk->waiting[SPD_ASIDE_MAX - 1] = walk->nothing;
}

/* As walk_entry(), of a node. */
static __always_inline int walk_node(struct spd_walk *walk, __u32 index)
{
	union spd_cell *cell = walk_cell(walk, index);
	__u32 child, start, end, word;

	walk->ref = 0;
	if (!cell)
		return -1;
	word = cell->node.word;
	if (word >= SPD_WORDS)
		return -1;
	if (cell->node.min_rule >= walk->rule)
		return 0;
	if (cell->node.aside)
		walk_wait(walk, cell->node.aside);
	child = spd_node_child(&cell->node, walk->query->word[word]);
	/* The mask keeps within the cell, which is all that the verifier of Linux 6.1 needs to see. */
	asm("" : "+r"(child));
	start = child ? cell->node.end[(child - 1) & 15] : 0;
	end = cell->node.end[child & 15];
	if (start != end)
		walk->ref = SPD_REF(cell->node.children + start,
				    cell->node.inner >> (child & 15) & 1 ?
					    0 :
					    (end - start) >> walk->family);
	return 0;
}

static __always_inline int walk_step(struct spd_walk *walk)
{
	__u32 cell = SPD_REF_CELL(walk->ref), entries = SPD_REF_ENTRIES(walk->ref);
	int err = entries ? walk_entry(walk, cell, entries) : walk_node(walk, cell);

	if (!walk->ref)
		walk_resume(walk);
	walk->ref = forget(walk, walk->ref);
	return err;
}

/* Several steps, as a call costs more than one. */
static long walk_on(__u64 index, struct spd_walk *walk)
{
#pragma clang loop unroll(disable)
	for (int i = 0; i < WALK_STEPS; i++) {
		walk->broken = walk_step(walk);
		if (walk->broken || !walk->ref)
			return 1;
	}
	return 0;
}

/* From walk->ref; the caller sets all. 0, or a negative drop reason; the verdict is in *walk. */
static __always_inline int spd_walk(struct spd_walk *walk)
{
	if (walk->ref)
		bpf_loop(SPD_STEPS_MAX / WALK_STEPS, walk_on, walk, 0);
	return walk->broken || walk->ref ? -DROP_INTERNAL : 0;
}

#endif /* IPSECBPF_SPD_TREE_H */
