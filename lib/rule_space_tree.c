// SPDX-License-Identifier: BSD-2-Clause
#include "rule_space_tree.h"

#include <errno.h>
#include <stdlib.h>

#define LEAF_BOXES 8
#define SAMPLES 32
#define ACCEPT_WORK 4	/* what asking about a rule costs, in boxes looked at */

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

/* How much a coordinate varies among some of the boxes, for its whole width at the root. */
static double spread(const struct rule_box *boxes, uint32_t count, int c, double width)
{
	uint32_t step = count / SAMPLES + 1;
	double sum = 0, squares = 0, samples = 0;

	for (uint32_t i = 0; i < count; i += step) {
		double value = boxes[i].at[c] / width;

		sum += value;
		squares += value * value;
		samples++;
	}
	return squares / samples - sum / samples * (sum / samples);
}

/* The coordinate that parts the boxes best; AT_COUNT if all are equal. */
static int choose(const struct rule_node *root, const struct rule_node *node,
		  const struct rule_box *boxes)
{
	double most = -1, value;
	int best = AT_COUNT;

	for (int c = 0; c < AT_COUNT; c++) {
		if (node->least[c] == node->greatest[c])
			continue;
		value = spread(boxes, node->count, c,
			       (double)root->greatest[c] - root->least[c] + 1);
		if (value > most) {
			most = value;
			best = c;
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

/* Puts the boxes in such an order that none before `middle` is greater in `c` than any from it on. */
static void halve(struct rule_box *boxes, size_t count, size_t middle, int c)
{
	size_t lo = 0, hi = count - 1;

	while (lo < hi) {
		uint32_t pivot = boxes[lo + (hi - lo) / 2].at[c];
		size_t i = lo, k = hi;

		for (;;) {
			while (boxes[i].at[c] < pivot)
				i++;
			while (boxes[k].at[c] > pivot)
				k--;
			if (i >= k)
				break;
			swap(&boxes[i++], &boxes[k--]);
		}
		/* Up to k none is greater than the pivot, behind it none is less. */
		if (middle <= k)
			hi = k;
		else
			lo = k + 1;
	}
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

/* Halves each time: no deeper than the number of boxes has digits. */
static int build(struct rule_space_family *family, uint32_t first, uint32_t count)
{
	size_t index = family->node_count;
	uint32_t half = count / 2;
	int err, c;

	err = add_node(family, first, count);
	if (err || count <= LEAF_BOXES)
		return err;
	c = choose(&family->nodes[0], &family->nodes[index], family->boxes + first);
	if (c == AT_COUNT)
		return 0;
	halve(family->boxes + first, count, half, c);
	err = build(family, first, half);
	if (err)
		return err;
	family->nodes[index].right = (uint32_t)family->node_count;
	return build(family, first + half, count - half);
}

int rule_tree_build(struct rule_space_family *family)
{
	return family->count ? build(family, 0, (uint32_t)family->count) : 0;
}

/* ---- searching ---- */

struct walk {
	struct rule_space *space;
	const struct rule_space_family *family;
	struct rule_range *range;
	const struct rule_search *search;
	size_t best;
};

static bool may_hold(const struct rule_node *node, const struct rule_range *range)
{
	for (int c = 0; c < AT_COUNT; c++)
		if (node->least[c] > range->hi[c] || node->greatest[c] < range->lo[c])
			return false;
	return !range->no_hosts_around || node->greatest[AT_REMOTE_LO] > range->remote_lo ||
	       node->least[AT_REMOTE_HI] < range->remote_hi;
}

static bool holds(const struct rule_box *box, const struct rule_range *range)
{
	for (int c = 0; c < AT_COUNT; c++)
		if (box->at[c] > range->hi[c] || box->at[c] < range->lo[c])
			return false;
	return !range->no_hosts_around || box->at[AT_REMOTE_LO] > range->remote_lo ||
	       box->at[AT_REMOTE_HI] < range->remote_hi;
}

static void look_at_boxes(struct walk *walk, const struct rule_node *node)
{
	const struct rule_search *search = walk->search;

	if (!rule_space_spend(walk->space, node->count))
		return;
	for (uint32_t i = node->first; i < node->first + node->count; i++) {
		uint32_t rule = walk->family->boxes[i].at[AT_RULE];

		if (!holds(&walk->family->boxes[i], walk->range))
			continue;
		if (!rule_space_spend(walk->space, ACCEPT_WORK))
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

	if (!rule_space_spend(walk->space, 1) || !may_hold(node, walk->range))
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
	struct walk walk = { space, family, range, search, RULE_NONE };

	if (family->node_count)
		look_at(&walk, 0);
	return walk.best;
}
