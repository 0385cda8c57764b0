// SPDX-License-Identifier: BSD-2-Clause
/* The search of bpf/spd_tree.h, in user space: for tests, and for asking without loading anything. */
#include "spd_tree.h"

struct search {
	const union spd_cell *cells;
	const struct spd_query *query;
	enum ip_family family;
	const struct spd_entry *best;
	uint32_t waiting[SPD_ASIDE_MAX];
	unsigned int waits;
	uint32_t steps;
};

static bool beats(const struct search *search, uint32_t rule)
{
	return !search->best || rule < search->best->rule;
}

static bool entry_matches(const struct search *search, const union spd_cell *cell)
{
	return spd_upper_matches(&cell->entry, search->query->word[SPD_UPPER]) &&
	       !(search->family == FAMILY_V4 ?
			 spd_addresses4_differ(&cell->entry, search->query) :
			 spd_addresses6_differ(&cell[1].addresses, search->query));
}

/* Entries are in the order of their rules. */
static void search_leaf(struct search *search, uint32_t cell, uint32_t entries)
{
	for (uint32_t i = 0; i < entries; i++) {
		const union spd_cell *at = &search->cells[cell];

		search->steps++;
		if (!beats(search, at->entry.rule))
			return;
		if (entry_matches(search, at)) {
			search->best = &at->entry;
			return;
		}
		cell += SPD_ENTRY_CELLS(search->family);
	}
}

/* The reference to go on with; 0 if this way is at its end. */
static uint32_t search_node(struct search *search, uint32_t cell)
{
	const struct spd_node *node = &search->cells[cell].node;
	uint32_t child, start, end;

	search->steps++;
	if (!beats(search, node->min_rule))
		return 0;
	if (node->aside)
		search->waiting[search->waits++] = node->aside;
	child = spd_node_child(node, search->query->word[node->word]);
	start = child ? node->end[child - 1] : 0;
	end = node->end[child];
	if (node->inner >> child & 1)
		return SPD_REF(node->children + start, 0);
	search_leaf(search, node->children + start,
		    (end - start) / SPD_ENTRY_CELLS(search->family));
	return 0;
}

const struct spd_entry *spd_search(const union spd_cell *cells, uint32_t root,
				   enum ip_family family, const struct spd_query *query,
				   uint32_t *ret_steps)
{
	struct search search = { .cells = cells, .query = query, .family = family };
	uint32_t ref = root;

	while (ref) {
		if (SPD_REF_ENTRIES(ref)) {
			search_leaf(&search, SPD_REF_CELL(ref), SPD_REF_ENTRIES(ref));
			ref = 0;
		} else {
			ref = search_node(&search, SPD_REF_CELL(ref));
		}
		if (!ref && search.waits)
			ref = search.waiting[--search.waits];
	}
	if (ret_steps)
		*ret_steps = search.steps;
	return search.best;
}

bool spd_box_matches(const struct spd_box *box, const struct spd_query *query)
{
	for (int side = SPD_REMOTE_HI; side < SPD_UPPER; side += 2) {
		uint64_t hi = query->word[side], lo = query->word[side + 1];

		if (hi < box->lo.word[side] ||
		    (hi == box->lo.word[side] && lo < box->lo.word[side + 1]) ||
		    hi > box->hi.word[side] ||
		    (hi == box->hi.word[side] && lo > box->hi.word[side + 1]))
			return false;
	}
#define FIELD(id, from) ((from).word[SPD_UPPER] & SPD_UPPER_FIELD_MASK(id))
#define X(id, shift, width)									\
	if (FIELD(id, *query) < FIELD(id, box->lo) || FIELD(id, *query) > FIELD(id, box->hi))	\
		return false;
	SPD_UPPER_FIELDS(X)
#undef X
#undef FIELD
	return true;
}
