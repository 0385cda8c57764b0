// SPDX-License-Identifier: BSD-2-Clause
#include "rule_space_tree.h"

#include <errno.h>
#include <stdlib.h>

#define LEAF_BOXES 16
#define SAMPLES 16
#define DEPTH_MAX 64
#define ACCEPT_WORK 16	/* what asking about a rule costs, in boxes looked at */

/* ---- building ---- */

static void bound(struct rule_node *node, const struct rule_box *boxes)
{
	for (int c = 0; c < AT_COUNT; c++)
		node->least[c] = node->greatest[c] = boxes[0].at[c];
	for (uint32_t i = 1; i < node->count; i++)
		for (int c = 0; c < AT_COUNT; c++) {
			uint32_t value = boxes[i].at[c];

			node->least[c] = value < node->least[c] ? value : node->least[c];
			node->greatest[c] = value > node->greatest[c] ? value : node->greatest[c];
		}
}

/* Some of a node's boxes, and where to part them by one coordinate. */
struct sample {
	const struct rule_box *boxes[SAMPLES];
	uint32_t count;
};

static struct sample sample(const struct rule_box *boxes, uint32_t count)
{
	struct sample some = { .count = count < SAMPLES ? count : SAMPLES };

	for (uint32_t i = 0; i < some.count; i++)
		some.boxes[i] = &boxes[(uint64_t)i * count / some.count];
	return some;
}

/* The value that half of them are below; the next greater one if none is. */
static uint32_t find_middle(const struct sample *some, int c)
{
	uint32_t values[SAMPLES], value, k;

	for (uint32_t i = 0; i < some->count; i++) {
		value = some->boxes[i]->at[c];
		for (k = i; k && values[k - 1] > value; k--)
			values[k] = values[k - 1];
		values[k] = value;
	}
	for (k = some->count / 2; k < some->count && values[k] == values[0]; k++)
		;
	return k < some->count ? values[k] : values[0];
}

/* How many pairs of a box and a half have to do with each other, if the boxes are parted here. */
static uint32_t count_meetings(const struct sample *some, int c, uint32_t middle)
{
	int lo = c & ~1, hi = lo + 1;
	uint32_t least[2] = { UINT32_MAX, UINT32_MAX }, greatest[2] = { 0 }, size[2] = { 0 };
	uint32_t meetings = 0;

	for (uint32_t i = 0; i < some->count; i++) {
		const uint32_t *at = some->boxes[i]->at;
		int half = at[c] >= middle;

		least[half] = at[lo] < least[half] ? at[lo] : least[half];
		greatest[half] = at[hi] > greatest[half] ? at[hi] : greatest[half];
		size[half]++;
	}
	for (uint32_t i = 0; i < some->count; i++)
		for (int half = 0; half < 2; half++)
			if (some->boxes[i]->at[lo] <= greatest[half] &&
			    some->boxes[i]->at[hi] >= least[half])
				meetings += size[half];
	return meetings;
}

/* The coordinate whose halves have the least to do with each other; AT_COUNT if all are equal. */
static int choose(const struct rule_node *node, const struct rule_box *boxes, uint32_t *ret_middle)
{
	struct sample some = sample(boxes, node->count);
	uint32_t fewest = UINT32_MAX, meetings, middle;
	int best = AT_COUNT;

	for (int c = 0; c < AT_RULE; c++) {
		if (node->least[c] == node->greatest[c])
			continue;
		middle = find_middle(&some, c);
		if (middle == node->least[c])
			middle++;	/* all of the sample are equal, not all boxes */
		meetings = count_meetings(&some, c, middle);
		if (meetings < fewest) {
			fewest = meetings;
			best = c;
			*ret_middle = middle;
		}
	}
	return best;
}

static void swap(struct rule_box *a, struct rule_box *b)
{
	struct rule_box kept = *a;

	*a = *b;
	*b = kept;
}

/* Puts the boxes below `middle` first; returns how many there are. */
static uint32_t part(struct rule_box *boxes, uint32_t count, int c, uint32_t middle)
{
	uint32_t below = 0;

	for (uint32_t i = 0; i < count; i++)
		if (boxes[i].at[c] < middle)
			swap(&boxes[i], &boxes[below++]);
	return below;
}

static int add_node(struct rule_space_family *family, uint32_t first, uint32_t count)
{
	struct rule_node *nodes;
	size_t room;

	if (family->node_count == family->node_room) {
		room = family->node_room ? family->node_room * 2 : 64;
		nodes = reallocarray(family->nodes, room, sizeof(*nodes));
		if (!nodes)
			return -ENOMEM;
		family->nodes = nodes;
		family->node_room = room;
	}
	family->nodes[family->node_count] = (struct rule_node){ .first = first, .count = count };
	bound(&family->nodes[family->node_count++], family->boxes + first);
	return 0;
}

/* `depth` bounds the recursion, for halves may be far from equal. */
static int build(struct rule_space_family *family, uint32_t first, uint32_t count, int depth)
{
	size_t index = family->node_count;
	uint32_t middle = 0, below;
	int err, c;

	err = add_node(family, first, count);
	if (err || count <= LEAF_BOXES || depth == DEPTH_MAX)
		return err;
	c = choose(&family->nodes[index], family->boxes + first, &middle);
	if (c == AT_COUNT)
		return 0;
	below = part(family->boxes + first, count, c, middle);
	err = build(family, first, below, depth + 1);
	if (err)
		return err;
	family->nodes[index].right = (uint32_t)family->node_count;
	return build(family, first + below, count - below, depth + 1);
}

int rule_tree_build(struct rule_space_family *family)
{
	return family->count ? build(family, 0, (uint32_t)family->count, 0) : 0;
}

/* ---- searching ---- */

struct walk {
	struct rule_space *space;
	const struct rule_space_family *family;
	struct rule_range *range;
	const struct rule_search *search;
	uint64_t reserve;	/* what is left to other searches */
	bool cut_short;
	size_t best;
};

static bool spend(struct walk *walk, uint64_t work)
{
	rule_space_spend(walk->space, work);
	walk->cut_short |= walk->space->work <= walk->reserve;
	return !walk->cut_short;
}

static bool may_hold(const struct rule_node *node, const struct rule_range *range)
{
	for (int c = 0; c < AT_COUNT; c++)
		if (node->least[c] > range->hi[c] || node->greatest[c] < range->lo[c])
			return false;
	return true;
}

static bool holds(const struct rule_box *box, const struct rule_range *range)
{
	for (int c = 0; c < AT_COUNT; c++)
		if (box->at[c] > range->hi[c] || box->at[c] < range->lo[c])
			return false;
	return true;
}

static void look_at_boxes(struct walk *walk, const struct rule_node *node)
{
	const struct rule_search *search = walk->search;

	if (!spend(walk, node->count))
		return;
	for (uint32_t i = node->first; i < node->first + node->count; i++) {
		uint32_t rule = walk->family->boxes[i].at[AT_RULE];

		if (!holds(&walk->family->boxes[i], walk->range))
			continue;
		if (!spend(walk, ACCEPT_WORK))
			return;
		if (!search->accept(search->context, rule))
			continue;
		/* From now on only what comes before it is of interest. */
		walk->best = rule;
		if (rule == walk->range->lo[AT_RULE])
			walk->range->lo[AT_RULE]++;
		walk->range->hi[AT_RULE] = rule - !!rule;
	}
}

static void look_at(struct walk *walk, uint32_t index)
{
	const struct rule_node *nodes = walk->family->nodes, *node = &nodes[index];
	bool later_first;

	if (!spend(walk, 1) || !may_hold(node, walk->range))
		return;
	if (!node->right) {
		look_at_boxes(walk, node);
		return;
	}
	/* Where the earlier rules are, the first one is likely to be. */
	later_first = nodes[index + 1].least[AT_RULE] > nodes[node->right].least[AT_RULE];
	look_at(walk, later_first ? node->right : index + 1);
	look_at(walk, later_first ? index + 1 : node->right);
}

size_t rule_tree_first(struct rule_space *space, const struct rule_space_family *family,
		       struct rule_range *range, const struct rule_search *search)
{
	struct walk walk = {
		.space = space, .family = family, .range = range, .search = search,
		.reserve = space->work > RULE_SEARCH_WORK ? space->work - RULE_SEARCH_WORK : 0,
		.best = RULE_NONE,
	};

	if (family->node_count)
		look_at(&walk, 0);
	space->cut_short += walk.cut_short;
	return walk.best;
}
