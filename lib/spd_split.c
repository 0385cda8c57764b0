// SPDX-License-Identifier: BSD-2-Clause
#include "spd_split.h"

#include <math.h>
#include <string.h>

/* Of more boxes than this, a sample says which question is good. */
#define SAMPLE_MAX 1024

/* Rough costs of the steps of a search, in ns: doc/classifier.md has what they were measured to be. */
#define COST_NODE	9.0
#define COST_LEAF	3.0
#define COST_ENTRY	2.5
#define COST_ASIDE	4.0	/* to note and take up again what was set aside */
/* A box that is under one child more: in a small tree, and in one of so many boxes. */
#define COST_REPEATED		20.0
#define COST_REPEATED_MANY	60.0
#define MANY_BOXES		50000

/* This share of the boxes may be set aside in any case; more, if what is left lies under so many
 * children each at most. */
#define ASIDE_MAX	0.7
#define REPEATED_MAX	1.5

double spd_leaf_cost(size_t entries)
{
	return COST_LEAF + COST_ENTRY * (double)entries;
}

/* What a tree of so many boxes may be expected to cost. */
static double tree_cost(double boxes)
{
	double leaf = COST_LEAF + COST_ENTRY * boxes;
	double tree = COST_NODE * log2(boxes / 3) / log2(6) + COST_LEAF + 3 * COST_ENTRY;

	return boxes > 6 && tree < leaf ? tree : leaf;
}

/*
 * The window: 32 bits from the highest one in which packets of the region differ at all. In an
 * address it must not cross the middle, as the query has it in two words.
 */
static unsigned int window_shift(const struct spd_region *region, unsigned int dimension)
{
	u128 differ = region_lo(region, dimension) ^ region_hi(region, dimension);
	uint64_t high = (uint64_t)(differ >> 64), low = (uint64_t)differ;

	if (high) {
		unsigned int top = 127 - (unsigned int)__builtin_clzll(high);

		return top - 31 > 64 ? top - 31 : 64;
	}
	if (low >> 32)
		return 32 - (unsigned int)__builtin_clzll(low);
	return 0;
}

/* Sorted list of values at which the children might end. */
struct candidates {
	uint32_t values[4 * SAMPLE_MAX];
	size_t count;
	size_t spanning;	/* boxes for which this question has only one answer: all of it */
};

/* Fewer values than this are sorted by insertion. */
#define FEW_VALUES 48

static void sort_few(uint32_t *values, size_t count)
{
	for (size_t i = 1; i < count; i++) {
		uint32_t value = values[i];
		size_t at = i;

		for (; at && values[at - 1] > value; at--)
			values[at] = values[at - 1];
		values[at] = value;
	}
}

/* Octet by octet, the lowest first: qsort() took much of the time of a large tree. */
static void sort_values(uint32_t *values, size_t count)
{
	uint32_t other[4 * SAMPLE_MAX], *from = values, *to = other;

	if (count < FEW_VALUES) {
		sort_few(values, count);
		return;
	}
	for (unsigned int shift = 0; shift < 32; shift += 8) {
		size_t ends[257] = { 0 };
		uint32_t *swap = from;

		for (size_t i = 0; i < count; i++)
			ends[(from[i] >> shift & 0xff) + 1]++;
		for (size_t i = 1; i < 256; i++)
			ends[i] += ends[i - 1];
		for (size_t i = 0; i < count; i++)
			to[ends[from[i] >> shift & 0xff]++] = from[i];
		from = to;
		to = swap;
	}
}

/* A child that ends with `last` is wanted. If the window does not show so much, then the values of
 * the window in which it lies become a child of their own. */
static void add_candidate(struct candidates *candidates, u128 last, unsigned int shift, u128 from)
{
	u128 below = ((u128)1 << shift) - 1;
	u128 value = last >> shift;

	if ((last & below) == below) {
		candidates->values[candidates->count++] = (uint32_t)value;
		return;
	}
	candidates->values[candidates->count++] = (uint32_t)value;
	if (value > from >> shift)
		candidates->values[candidates->count++] = (uint32_t)(value - 1);
}

static void collect(const struct spd_region *boxes, const struct spd_list *sample,
		    const struct spd_region *region, const struct spd_split *split,
		    struct candidates *candidates)
{
	unsigned int dimension = split->dimension;
	u128 from = region_lo(region, dimension), to = region_hi(region, dimension);

	candidates->count = 0;
	candidates->spanning = 0;
	for (size_t i = 0; i < sample->count; i++) {
		const struct spd_region *box = &boxes[sample->items[i]];
		u128 lo = region_lo(box, dimension), hi = region_hi(box, dimension);

		if (lo <= from && hi >= to) {
			candidates->spanning++;
			continue;
		}
		if (lo > from)
			add_candidate(candidates, lo - 1, split->shift, from);
		if (hi < to)
			add_candidate(candidates, hi, split->shift, from);
	}
}

/* The last value in the window that a packet of the region can have: no child may end there. */
static uint32_t window_end(const struct spd_region *region, const struct spd_split *split)
{
	return (uint32_t)(region_hi(region, split->dimension) >> split->shift);
}

/* Takes thresholds that leave about as many bounds in each child; false: there are none. */
static bool pick_thresholds(struct candidates *candidates, uint32_t end, struct spd_split *split)
{
	size_t count = 0, distinct = 0;
	uint32_t *values = candidates->values;

	for (size_t i = 0; i < candidates->count; i++)
		if (values[i] != end)
			values[count++] = values[i];
	sort_values(values, count);
	for (size_t i = 0; i < count; i++)
		distinct += !i || values[i] != values[i - 1];
	split->thresholds = 0;
	if (distinct <= SPD_THRESHOLDS) {
		for (size_t i = 0; i < count; i++)
			if (!i || values[i] != values[i - 1])
				split->threshold[split->thresholds++] = values[i];
		return split->thresholds;
	}
	for (size_t i = 1; i <= SPD_THRESHOLDS; i++) {
		uint32_t value = values[i * count / (SPD_THRESHOLDS + 1)];

		if (!split->thresholds || split->threshold[split->thresholds - 1] != value)
			split->threshold[split->thresholds++] = value;
	}
	return true;
}

static unsigned int child_of(const struct spd_split *split, uint32_t value)
{
	unsigned int child = 0;

	for (unsigned int i = 0; i < split->thresholds; i++)
		child += split->threshold[i] < value;
	return child;
}

struct spd_span spd_split_span(const struct spd_split *split, const struct spd_region *region,
			       const struct spd_region *box)
{
	unsigned int dimension = split->dimension;
	u128 from = region_lo(region, dimension), to = region_hi(region, dimension);
	u128 lo = region_lo(box, dimension), hi = region_hi(box, dimension);

	return (struct spd_span){
		.first = lo <= from ? 0 : child_of(split, (uint32_t)(lo >> split->shift)),
		.last = hi >= to ? split->thresholds :
				   child_of(split, (uint32_t)(hi >> split->shift)),
	};
}

bool spd_split_sets_aside(const struct spd_split *split, struct spd_span span)
{
	unsigned int children = split->thresholds + 1, spanned = span.last - span.first + 1;

	return split->aside && (spanned == children || (spanned > 3 && 2 * spanned > children));
}

/* How a split divides a sample. */
struct division {
	double children[SPD_THRESHOLDS + 1];
	double aside;
};

static struct division divide(const struct spd_span *spans, size_t count,
			      const struct spd_split *split)
{
	struct division division = { 0 };

	for (size_t i = 0; i < count; i++) {
		if (spd_split_sets_aside(split, spans[i])) {
			division.aside++;
			continue;
		}
		for (unsigned int child = spans[i].first; child <= spans[i].last; child++)
			division.children[child]++;
	}
	return division;
}

/* What is looked at to choose, and the best so far. */
struct choice {
	const struct spd_region *boxes;
	struct spd_list sample;
	double scale;		/* boxes for each in the sample */
	const struct spd_region *region;
	const struct spd_terms *terms;
	struct spd_split best;
};

/* Packets are taken to go where the boxes are. */
static double division_cost(const struct division *division, const struct choice *choice,
			    unsigned int children)
{
	double cost = COST_NODE, total = 0, scale = choice->scale;
	double sampled = (double)choice->sample.count;

	for (unsigned int i = 0; i < children; i++)
		total += division->children[i];
	for (unsigned int i = 0; i < children; i++)
		cost += division->children[i] / (total > 0 ? total : 1) *
			tree_cost(division->children[i] * scale);
	if (division->aside > 0)
		cost += COST_ASIDE + tree_cost(division->aside * scale);
	return cost + choice->terms->repeated *
			      fmax(0, (total + division->aside) / sampled - 1);
}

/*
 * Is it no progress to set so much aside? All: nothing would be told apart. Most, and what is left
 * is under several children each: all of these rules overlap, the tree set aside is much like this
 * one, and so on, rule by rule. Rules that ask for one field each are another matter: of those most
 * are aside as well, but what is left is parted for good.
 */
static bool hardly_divides(const struct division *division, unsigned int children, double sampled)
{
	double total = 0, left = sampled - division->aside;

	if (division->aside <= ASIDE_MAX * sampled)
		return false;
	for (unsigned int i = 0; i < children; i++)
		total += division->children[i];
	return left <= 0 || total > REPEATED_MAX * left;
}

static void consider(struct choice *choice, const struct spd_span *spans, struct spd_split *split)
{
	struct division division = divide(spans, choice->sample.count, split);

	if (hardly_divides(&division, split->thresholds + 1, (double)choice->sample.count))
		return;
	split->cost = division_cost(&division, choice, split->thresholds + 1);
	if (!choice->best.thresholds || split->cost < choice->best.cost)
		choice->best = *split;
}

static void consider_dimension(struct choice *choice, unsigned int dimension)
{
	const struct spd_region *region = choice->region;
	struct spd_split split = {
		.dimension = dimension,
		.shift = window_shift(region, dimension),
	};
	struct spd_span spans[SAMPLE_MAX];
	struct candidates candidates;

	if (region_lo(region, dimension) == region_hi(region, dimension))
		return;
	collect(choice->boxes, &choice->sample, region, &split, &candidates);
	if (candidates.spanning == choice->sample.count ||
	    !pick_thresholds(&candidates, window_end(region, &split), &split))
		return;
	for (size_t i = 0; i < choice->sample.count; i++)
		spans[i] = spd_split_span(&split, region, &choice->boxes[choice->sample.items[i]]);
	consider(choice, spans, &split);
	split.aside = true;
	if (choice->terms->may_set_aside)
		consider(choice, spans, &split);
}

double spd_repeated_cost(size_t boxes)
{
	double many = boxes < MANY_BOXES ? (double)boxes / MANY_BOXES : 1;

	return COST_REPEATED + (COST_REPEATED_MANY - COST_REPEATED) * many;
}

bool spd_split_choose(const struct spd_region *boxes, const struct spd_list *list,
		      const struct spd_region *region, const struct spd_terms *terms,
		      struct spd_split *ret_split)
{
	size_t step = list->count > SAMPLE_MAX ? list->count / SAMPLE_MAX + 1 : 1;
	uint32_t sampled[SAMPLE_MAX];
	struct choice choice = {
		.boxes = boxes,
		.sample.items = sampled,
		.region = region,
		.terms = terms,
	};

	for (size_t i = 0; i < list->count && choice.sample.count < SAMPLE_MAX; i += step)
		sampled[choice.sample.count++] = list->items[i];
	choice.scale = (double)list->count / (double)choice.sample.count;
	for (unsigned int dimension = 0; dimension < DIMENSION_COUNT; dimension++)
		consider_dimension(&choice, dimension);
	if (!choice.best.thresholds)
		return false;
	*ret_split = choice.best;
	return true;
}
