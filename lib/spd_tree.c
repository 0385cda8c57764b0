// SPDX-License-Identifier: BSD-2-Clause
#include "spd_tree.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "spd_split.h"

/* Trees deeper than this are given up; each level narrows what reaches the next. */
#define DEPTH_MAX 256

/* Among so few boxes those are looked for that an earlier one leaves nothing of. */
#define SHADOW_MAX 24

struct builder {
	const struct spd_box *boxes;
	struct spd_region *regions;	/* of each box */
	enum ip_family family;
	struct spd_cells *cells;
	uint32_t entries;
	double repeated;		/* see struct spd_terms */
	unsigned int depth;
	bool stuck;			/* a leaf would have more entries than fit: never seen */
};

/* A tree to be built: the boxes (the list is the builder's to shorten) and the packets it is for. */
struct job {
	struct spd_list list;
	struct spd_region region;
	unsigned int may_wait;		/* trees set aside that may still wait */
};

/* ---- cells --------------------------------------------------------------------------------- */

void spd_cells_fini(struct spd_cells *cells)
{
	free(cells->items);
	*cells = (struct spd_cells){ 0 };
}

int64_t spd_cells_add(struct spd_cells *cells, size_t count)
{
	size_t limit = cells->limit ? cells->limit : SPD_CELLS_MAX;
	size_t first = cells->count;

	if (count > limit - first)
		return -E2BIG;
	if (first + count > cells->room) {
		size_t room = (first + count) * 2 < limit ? (first + count) * 2 : limit;
		union spd_cell *items = realloc(cells->items, room * sizeof(*items));

		if (!items)
			return -ENOMEM;
		cells->items = items;
		cells->room = room;
	}
	memset(&cells->items[first], 0, count * sizeof(*cells->items));
	cells->count += count;
	return (int64_t)first;
}

static struct addr128 addr128_of(u128 value)
{
	return (struct addr128){ .hi = (uint64_t)(value >> 64), .lo = (uint64_t)value };
}

static void write_entry(const struct builder *builder, union spd_cell *cell, uint32_t index)
{
	const struct spd_box *box = &builder->boxes[index];
	const struct spd_region *region = &builder->regions[index];
	struct spd_entry *entry = &cell->entry;

	entry->upper_lo = box->lo.word[SPD_UPPER];
	entry->upper_hi = box->hi.word[SPD_UPPER];
	entry->rule = box->rule;
	entry->protect_id = box->protect_id;
	entry->action = box->action;
	entry->level = box->level;
	if (builder->family == FAMILY_V4) {
		entry->remote_lo = (uint32_t)box->lo.word[SPD_REMOTE_LO];
		entry->remote_hi = (uint32_t)box->hi.word[SPD_REMOTE_LO];
		entry->local_lo = (uint32_t)box->lo.word[SPD_LOCAL_LO];
		entry->local_hi = (uint32_t)box->hi.word[SPD_LOCAL_LO];
		return;
	}
	cell[1].addresses = (struct spd_addresses){
		.remote_lo = addr128_of(region->address_lo[DIMENSION_REMOTE]),
		.remote_hi = addr128_of(region->address_hi[DIMENSION_REMOTE]),
		.local_lo = addr128_of(region->address_lo[DIMENSION_LOCAL]),
		.local_hi = addr128_of(region->address_hi[DIMENSION_LOCAL]),
	};
}

static void write_leaf(struct builder *builder, size_t cell, const struct spd_list *list)
{
	for (size_t i = 0; i < list->count; i++) {
		write_entry(builder, &builder->cells->items[cell], list->items[i]);
		cell += SPD_ENTRY_CELLS(builder->family);
	}
	builder->entries += (uint32_t)list->count;
}

/* ---- lists --------------------------------------------------------------------------------- */

static struct spd_region region_of(const struct spd_box *box)
{
	struct spd_region region = { 0 };

	for (int i = 0; i < ADDRESS_DIMENSIONS; i++) {
		region.address_lo[i] = (u128)box->lo.word[2 * i] << 64 | box->lo.word[2 * i + 1];
		region.address_hi[i] = (u128)box->hi.word[2 * i] << 64 | box->hi.word[2 * i + 1];
	}
#define X(id, shift, width)									\
	region.upper_lo[DIMENSION_##id - ADDRESS_DIMENSIONS] =					\
		(uint16_t)(box->lo.word[SPD_UPPER] >> (shift) & ((1u << (width)) - 1));		\
	region.upper_hi[DIMENSION_##id - ADDRESS_DIMENSIONS] =					\
		(uint16_t)(box->hi.word[SPD_UPPER] >> (shift) & ((1u << (width)) - 1));
	SPD_UPPER_FIELDS(X)
#undef X
	return region;
}

static struct spd_region whole_region(enum ip_family family)
{
	struct spd_region region = { 0 };

	for (int i = 0; i < ADDRESS_DIMENSIONS; i++)
		region.address_hi[i] = family == FAMILY_V4 ? UINT32_MAX : ~(u128)0;
#define X(id, shift, width) \
	region.upper_hi[DIMENSION_##id - ADDRESS_DIMENSIONS] = (uint16_t)((1u << (width)) - 1);
	SPD_UPPER_FIELDS(X)
#undef X
	return region;
}

static u128 greater(u128 a, u128 b)
{
	return a > b ? a : b;
}

static u128 lesser(u128 a, u128 b)
{
	return a < b ? a : b;
}

/* Does `outer` hold all of `inner` that lies within `region`? */
static bool covers(const struct spd_region *outer, const struct spd_region *inner,
		   const struct spd_region *region)
{
	for (unsigned int d = 0; d < DIMENSION_COUNT; d++)
		if (region_lo(outer, d) > greater(region_lo(inner, d), region_lo(region, d)) ||
		    region_hi(outer, d) < lesser(region_hi(inner, d), region_hi(region, d)))
			return false;
	return true;
}

/* Of boxes in order, those go that an earlier one hides from every packet of the region. */
static void remove_hidden(const struct builder *builder, struct job *job)
{
	const struct spd_region *regions = builder->regions;
	struct spd_list *list = &job->list;
	size_t kept = 0;

	for (size_t i = 0; i < list->count; i++)
		if (covers(&regions[list->items[i]], &job->region, &job->region))
			list->count = i + 1;
	if (list->count > SHADOW_MAX)
		return;
	for (size_t i = 0; i < list->count; i++) {
		size_t by = 0;

		while (by < kept && !covers(&regions[list->items[by]], &regions[list->items[i]],
					    &job->region))
			by++;
		if (by == kept)
			list->items[kept++] = list->items[i];
	}
	list->count = kept;
}

/* ---- nodes --------------------------------------------------------------------------------- */

/* The jobs that a split makes of one. Their lists are in one allocation, `items`. */
struct parts {
	struct job child[SPD_THRESHOLDS + 1];
	struct job aside;
	unsigned int children;
	uint32_t *items;
};

/* The part of the region that belongs to a child: its address or field lies between thresholds. */
static void narrow(struct spd_region *region, const struct spd_split *split, unsigned int child)
{
	unsigned int dimension = split->dimension;
	u128 lo = region_lo(region, dimension), hi = region_hi(region, dimension);
	u128 above = (lo >> split->shift) & ~(u128)UINT32_MAX;

	if (child < split->thresholds)
		hi = (((above | split->threshold[child]) + 1) << split->shift) - 1;
	if (child)
		lo = ((above | split->threshold[child - 1]) + 1) << split->shift;
	if (dimension < ADDRESS_DIMENSIONS) {
		region->address_lo[dimension] = lo;
		region->address_hi[dimension] = hi;
	} else {
		region->upper_lo[dimension - ADDRESS_DIMENSIONS] = (uint16_t)lo;
		region->upper_hi[dimension - ADDRESS_DIMENSIONS] = (uint16_t)hi;
	}
}

static void deal_out(const struct builder *builder, const struct job *job,
		     const struct spd_split *split, struct parts *parts)
{
	for (size_t i = 0; i < job->list.count; i++) {
		uint32_t index = job->list.items[i];
		struct spd_span span =
			spd_split_span(split, &job->region, &builder->regions[index]);

		if (spd_split_sets_aside(split, span)) {
			parts->aside.list.items[parts->aside.list.count++] = index;
			continue;
		}
		for (unsigned int child = span.first; child <= span.last; child++) {
			struct spd_list *list = &parts->child[child].list;

			list->items[list->count++] = index;
		}
	}
}

/* How many boxes each part gets: lists[children] is what is set aside. */
static void count_parts(const struct builder *builder, const struct job *job,
			const struct spd_split *split, size_t *lists)
{
	for (size_t i = 0; i < job->list.count; i++) {
		struct spd_span span = spd_split_span(split, &job->region,
						      &builder->regions[job->list.items[i]]);

		if (spd_split_sets_aside(split, span))
			lists[split->thresholds + 1]++;
		else
			for (unsigned int child = span.first; child <= span.last; child++)
				lists[child]++;
	}
}

static int divide(const struct builder *builder, const struct job *job,
		  const struct spd_split *split, struct parts *parts)
{
	size_t lists[SPD_THRESHOLDS + 2] = { 0 }, total = 0;
	uint32_t *items;

	parts->children = split->thresholds + 1;
	count_parts(builder, job, split, lists);
	for (unsigned int i = 0; i <= parts->children; i++)
		total += lists[i];
	items = parts->items = malloc(total * sizeof(*items));
	if (!items)
		return -ENOMEM;
	parts->aside = (struct job){ .region = job->region, .may_wait = job->may_wait };
	for (unsigned int i = 0; i < parts->children; i++) {
		parts->child[i] = (struct job){
			.list.items = items,
			.region = job->region,
			.may_wait = job->may_wait - (lists[parts->children] > 0),
		};
		narrow(&parts->child[i].region, split, i);
		items += lists[i];
	}
	parts->aside.list.items = items;
	deal_out(builder, job, split, parts);
	return 0;
}

static int build_node(struct builder *builder, size_t cell, struct job *job,
		      const struct spd_split *split, uint32_t *ret_steps);

/* Entries of a leaf at most: where all children of a node are leaves, together they must not take
 * more cells than spd_node.end can say. */
static size_t leaf_max(enum ip_family family)
{
	size_t fits = UINT8_MAX / (SPD_THRESHOLDS + 1) / SPD_ENTRY_CELLS(family);

	return fits < SPD_LEAF_MAX ? fits : SPD_LEAF_MAX;
}

/* Whether the job is to be a leaf; otherwise *ret_split says what its node asks. */
static bool is_leaf(struct builder *builder, const struct job *job,
		    struct spd_split *ret_split)
{
	struct spd_terms terms = {
		.may_set_aside = job->may_wait > 0,
		.repeated = builder->repeated,
	};
	size_t count = job->list.count;

	if (count <= 1)
		return true;
	if (!spd_split_choose(builder->regions, &job->list, &job->region, &terms, ret_split)) {
		builder->stuck = count > leaf_max(builder->family);
		return true;
	}
	return count <= leaf_max(builder->family) && spd_leaf_cost(count) <= ret_split->cost;
}

/* Builds what may be anywhere: a root, or what is set aside. */
static int build_anywhere(struct builder *builder, struct job *job, uint32_t *ret_root,
			  uint32_t *ret_steps)
{
	struct spd_split split;
	int64_t cell;
	bool leaf;

	remove_hidden(builder, job);
	leaf = is_leaf(builder, job, &split);
	if (builder->stuck)
		return -E2BIG;
	cell = spd_cells_add(builder->cells, leaf ? job->list.count * SPD_ENTRY_CELLS(builder->family) :
						1);
	if (cell < 0)
		return (int)cell;
	if (!leaf) {
		*ret_root = SPD_REF(cell, 0);
		return build_node(builder, (size_t)cell, job, &split, ret_steps);
	}
	write_leaf(builder, (size_t)cell, &job->list);
	*ret_root = job->list.count ? SPD_REF(cell, job->list.count) : 0;
	*ret_steps = (uint32_t)job->list.count;
	return 0;
}

/* Which children are leaves, and where each ends; the cells they take together. */
static unsigned int plan_children(struct builder *builder, struct spd_node *node,
				  struct parts *parts, struct spd_split *splits)
{
	unsigned int end = 0;

	for (unsigned int i = 0; i < parts->children; i++) {
		struct job *child = &parts->child[i];

		remove_hidden(builder, child);
		if (is_leaf(builder, child, &splits[i])) {
			end += (unsigned int)child->list.count * SPD_ENTRY_CELLS(builder->family);
		} else {
			node->inner |= (uint16_t)(1u << i);
			end++;
		}
		node->end[i] = (uint8_t)end;
	}
	return end;
}

/* The children side by side: first their cells, so that they are, then what is in them. */
static int build_children(struct builder *builder, size_t cell, struct parts *parts,
			  uint32_t *ret_steps)
{
	struct spd_split splits[SPD_THRESHOLDS + 1];
	struct spd_node *node = &builder->cells->items[cell].node;
	unsigned int cells = plan_children(builder, node, parts, splits);
	unsigned int inner = node->inner;
	int64_t at = spd_cells_add(builder->cells, cells);
	int err = 0;

	if (at < 0 || builder->stuck)
		return at < 0 ? (int)at : -E2BIG;
	builder->cells->items[cell].node.children = (uint32_t)at;
	*ret_steps = 0;
	for (unsigned int i = 0; i < parts->children && !err; i++) {
		struct job *child = &parts->child[i];
		uint32_t steps = (uint32_t)child->list.count;

		if (inner >> i & 1) {
			err = build_node(builder, (size_t)at++, child, &splits[i], &steps);
		} else {
			write_leaf(builder, (size_t)at, &child->list);
			at += (int64_t)child->list.count * SPD_ENTRY_CELLS(builder->family);
		}
		if (steps > *ret_steps)
			*ret_steps = steps;
	}
	return err;
}

static void write_node(const struct builder *builder, size_t cell, const struct job *job,
		       const struct spd_split *split)
{
	static const uint8_t words[] = { SPD_REMOTE_HI, SPD_LOCAL_HI };
	static const uint8_t shifts[] = {
#define X(id, shift, width) shift,
		SPD_UPPER_FIELDS(X)
#undef X
	};
	static const uint8_t widths[] = {
#define X(id, shift, width) width,
		SPD_UPPER_FIELDS(X)
#undef X
	};
	struct spd_node *node = &builder->cells->items[cell].node;
	unsigned int upper = split->dimension - ADDRESS_DIMENSIONS;

	for (unsigned int i = 0; i < SPD_THRESHOLDS; i++)
		node->threshold[i] = i < split->thresholds ? split->threshold[i] : UINT32_MAX;
	node->min_rule = builder->boxes[job->list.items[0]].rule;
	if (split->dimension < ADDRESS_DIMENSIONS) {
		node->word = (uint8_t)(words[split->dimension] + (split->shift < 64));
		node->shift = split->shift % 64;
		node->width = 32;
	} else {
		node->word = SPD_UPPER;
		node->shift = shifts[upper];
		node->width = widths[upper];
	}
}

static int build_node(struct builder *builder, size_t cell, struct job *job,
		      const struct spd_split *split, uint32_t *ret_steps)
{
	uint32_t steps = 0, aside_steps = 0, aside = 0;
	struct parts parts;
	int err;

	if (builder->depth >= DEPTH_MAX)
		return -E2BIG;
	builder->depth++;
	write_node(builder, cell, job, split);
	err = divide(builder, job, split, &parts);
	if (err)
		return err;
	err = build_children(builder, cell, &parts, &steps);
	if (!err && parts.aside.list.count) {
		err = build_anywhere(builder, &parts.aside, &aside, &aside_steps);
		builder->cells->items[cell].node.aside = aside;
	}
	free(parts.items);
	builder->depth--;
	*ret_steps = 1 + steps + aside_steps;
	return err;
}

/* ---- from outside -------------------------------------------------------------------------- */

static int build(struct builder *builder, size_t count, struct spd_tree *ret_tree)
{
	struct job job = {
		.list.items = malloc((count ? count : 1) * sizeof(*job.list.items)),
		.region = whole_region(builder->family),
		.may_wait = SPD_ASIDE_MAX,
	};
	struct spd_tree tree = { 0 };
	uint32_t *items = job.list.items;
	int err;

	if (!items)
		return -ENOMEM;
	for (size_t i = 0; i < count; i++) {
		builder->regions[i] = region_of(&builder->boxes[i]);
		items[job.list.count++] = (uint32_t)i;
	}
	err = build_anywhere(builder, &job, &tree.root, &tree.steps);
	free(items);
	if (!err && tree.steps > SPD_STEPS_MAX)
		err = -E2BIG;
	if (err)
		return err;
	tree.entries = builder->entries;
	*ret_tree = tree;
	return 0;
}

int spd_tree_build(const struct spd_box *boxes, size_t count, enum ip_family family,
		   struct spd_cells *cells, struct spd_tree *ret_tree)
{
	struct builder builder = {
		.boxes = boxes,
		.family = family,
		.cells = cells,
		.repeated = spd_repeated_cost(count),
	};
	int err;

	builder.regions = calloc(count ? count : 1, sizeof(*builder.regions));
	if (!builder.regions)
		return -ENOMEM;
	err = build(&builder, count, ret_tree);
	free(builder.regions);
	return err;
}
