// SPDX-License-Identifier: BSD-2-Clause
/*
 * The classifier's trees against the naive reference, in user space: many small sets of rules in tiny
 * worlds, and rulegen's; every packet's first match, and that what was built is well formed. The
 * walk in BPF: selftests/bpf/spd_walk.c.
 *
 * SEED=n draws other sets, ROUNDS=n so many times as many.
 */
#include <errno.h>
#include <inttypes.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "selftests/spd/linear.h"

#define SEED_DEFAULT	  20261121
#define WORLDS		  6000
#define PACKETS_PER_WORLD 200

static uint64_t seed, rounds;
static unsigned int most_waiting;	/* trees set aside, on the way to a leaf, that were seen */

/* A set, and what was made of it. */
struct built {
	struct linear_set set;
	struct spd_box *boxes;
	struct spd_cells cells;
	struct spd_tree tree;
};

static int build_cells(const struct built *built, struct spd_cells *cells, struct spd_tree *tree)
{
	*cells = (struct spd_cells){ 0 };
	cells->items = calloc(SPD_FIRST_FREE_CELL, sizeof(*cells->items));
	cells->count = cells->room = SPD_FIRST_FREE_CELL;
	assert_non_null(cells->items);
	return spd_tree_build(built->boxes, built->set.count, built->set.family, cells, tree);
}

/* ---- what was built is well formed ---- */

struct inspection {
	const struct built *built;
	uint8_t *seen;		/* of each cell: belongs to a node or an entry already */
	uint32_t entries;
	uint32_t cells;
};

/* A cell that nothing else uses. */
static const union spd_cell *claim(struct inspection *inspection, uint32_t cell)
{
	assert_in_range(cell, SPD_FIRST_FREE_CELL, inspection->built->cells.count - 1);
	assert_false(inspection->seen[cell]);
	inspection->seen[cell] = 1;
	inspection->cells++;
	return &inspection->built->cells.items[cell];
}

/* The entry is one of the boxes, with its verdict. */
static void inspect_entry(const struct inspection *inspection, const struct spd_entry *entry)
{
	const struct spd_box *boxes = inspection->built->boxes;
	size_t lo = 0, hi = inspection->built->set.count;

	while (lo < hi) {
		size_t middle = (lo + hi) / 2;

		if (boxes[middle].rule < entry->rule)
			lo = middle + 1;
		else
			hi = middle;
	}
	for (; lo < inspection->built->set.count && boxes[lo].rule == entry->rule; lo++)
		if (boxes[lo].lo.word[SPD_UPPER] == entry->upper_lo &&
		    boxes[lo].hi.word[SPD_UPPER] == entry->upper_hi &&
		    boxes[lo].protect_id == entry->protect_id && boxes[lo].action == entry->action)
			return;
	fail_msg("an entry of rule %u is none of its boxes", entry->rule);
}

/* The first rule in it; steps that searching all of it takes. */
struct measure {
	uint32_t min_rule, steps;
};

static struct measure inspect_leaf(struct inspection *inspection, uint32_t cell, uint32_t entries)
{
	struct measure measure = { .min_rule = SPD_RULE_DEFAULT, .steps = entries };
	uint32_t last = 0;

	assert_in_range(entries, 0, SPD_LEAF_MAX);
	for (uint32_t i = 0; i < entries; i++) {
		const struct spd_entry *entry = &claim(inspection, cell++)->entry;

		if (inspection->built->set.family == FAMILY_V6)
			claim(inspection, cell++);
		inspect_entry(inspection, entry);
		if (!i)
			measure.min_rule = entry->rule;
		assert_true(entry->rule >= last);
		last = entry->rule;
		inspection->entries++;
	}
	return measure;
}

static void include(struct measure *measure, struct measure part)
{
	if (part.min_rule < measure->min_rule)
		measure->min_rule = part.min_rule;
	if (part.steps > measure->steps)
		measure->steps = part.steps;
}

static struct measure inspect_tree(struct inspection *inspection, uint32_t ref,
				   unsigned int waiting);

static struct measure inspect_child(struct inspection *inspection, const struct spd_node *node,
				    unsigned int child, unsigned int waiting)
{
	uint32_t start = child ? node->end[child - 1] : 0, end = node->end[child];
	uint32_t each = SPD_ENTRY_CELLS(inspection->built->set.family);

	if (node->inner >> child & 1) {
		assert_int_equal(end - start, 1);
		return inspect_tree(inspection, SPD_REF(node->children + start, 0), waiting);
	}
	assert_true(start <= end);
	assert_int_equal((end - start) % each, 0);
	return inspect_leaf(inspection, node->children + start, (end - start) / each);
}

static struct measure inspect_tree(struct inspection *inspection, uint32_t ref,
				   unsigned int waiting)
{
	struct measure measure = { .min_rule = SPD_RULE_DEFAULT }, aside = measure;
	const struct spd_node *node;
	unsigned int children = 1;

	if (SPD_REF_ENTRIES(ref))
		return inspect_leaf(inspection, SPD_REF_CELL(ref), SPD_REF_ENTRIES(ref));
	if (!ref)
		return measure;
	node = &claim(inspection, SPD_REF_CELL(ref))->node;
	assert_true(node->word < SPD_WORDS);
	for (unsigned int i = 0; i < SPD_THRESHOLDS; i++) {
		if (node->threshold[i] == UINT32_MAX)
			break;
		assert_true(!i || node->threshold[i] > node->threshold[i - 1]);
		children++;
	}
	assert_true(children > 1);
	assert_false(node->inner >> children);
	if (node->aside)
		assert_in_range(++waiting, 1, SPD_ASIDE_MAX);
	if (waiting > most_waiting)
		most_waiting = waiting;
	for (unsigned int i = 0; i < children; i++)
		include(&measure, inspect_child(inspection, node, i, waiting));
	if (node->aside)
		aside = inspect_tree(inspection, node->aside, waiting - 1);
	measure.steps += aside.steps + 1;
	aside.steps = 0;
	include(&measure, aside);
	assert_int_equal(node->min_rule, measure.min_rule);
	return measure;
}

static void inspect(const struct built *built)
{
	struct inspection inspection = {
		.built = built,
		.seen = calloc(built->cells.count, 1),
	};
	struct measure measure = inspect_tree(&inspection, built->tree.root, 0);

	assert_int_equal(inspection.cells, built->cells.count - SPD_FIRST_FREE_CELL);
	assert_int_equal(inspection.entries, built->tree.entries);
	assert_int_equal(measure.min_rule, built->boxes[0].rule);
	assert_int_equal(measure.steps, built->tree.steps);
	assert_in_range(measure.steps, 1, SPD_STEPS_MAX);
	free(inspection.seen);
}

/* The same boxes, the same cells. */
static void build_again(const struct built *built)
{
	struct spd_cells cells;
	struct spd_tree tree;

	assert_int_equal(build_cells(built, &cells, &tree), 0);
	assert_int_equal(cells.count, built->cells.count);
	assert_memory_equal(cells.items, built->cells.items, cells.count * sizeof(*cells.items));
	assert_memory_equal(&tree, &built->tree, sizeof(tree));
	spd_cells_fini(&cells);
}

/* ---- what it finds ---- */

static bool same_verdict(const struct spd_entry *found, const struct linear_rule *wanted)
{
	if (!found || !wanted)
		return !found && !wanted;
	return found->rule == wanted->rule && found->protect_id == wanted->protect_id &&
	       found->action == wanted->action;
}

static void check_packet(const struct built *built, const struct linear_packet *packet)
{
	const struct linear_rule *wanted = linear_search(&built->set, packet);
	struct spd_query query = linear_query(packet);
	const struct spd_entry *found;
	uint32_t steps;

	found = spd_search(built->cells.items, built->tree.root, built->set.family, &query, &steps);
	if (!same_verdict(found, wanted)) {
		linear_print_set(&built->set);
		linear_print_packet(packet);
		fail_msg("found rule %d, not %d", found ? (int)found->rule : -1,
			 wanted ? (int)wanted->rule : -1);
	}
	assert_in_range(steps, 0, built->tree.steps);
	assert_true(!wanted || spd_box_matches(&built->boxes[wanted - built->set.rules], &query));
}

static void check_set(struct built *built, size_t packets, struct gen_random *random)
{
	assert_int_equal(build_cells(built, &built->cells, &built->tree), 0);
	inspect(built);
	build_again(built);
	for (size_t i = 0; i < packets; i++) {
		struct linear_packet packet = linear_draw_packet(&built->set, random);

		check_packet(built, &packet);
	}
	spd_cells_fini(&built->cells);
}

static void tiny_worlds(void **state)
{
	(void)state;
	for (uint64_t world = 0; world < WORLDS * rounds; world++) {
		struct gen_random random = { .state = gen_mix(seed) + world };
		struct linear_rule rules[WORLD_RULES_MAX];
		struct spd_box boxes[WORLD_RULES_MAX];
		struct built built = { .boxes = boxes };

		linear_draw(&built.set, rules, world % 20 < 2 ? WORLD_RULES_MAX : WORLD_RULES,
			    world % 2 ? FAMILY_V6 : FAMILY_V4, &random);
		linear_boxes(&built.set, boxes);
		check_set(&built, PACKETS_PER_WORLD, &random);
	}
}

/* ---- sets as they are in the world ---- */

static void check_generated(const struct gen_options *options, size_t packets)
{
	struct gen_random random = { .state = options->seed };
	struct linear_rule *rules = calloc(options->rules, sizeof(*rules));
	struct built built = { .set = { .family = options->family, .rules = rules } };
	struct gen_set generated;

	assert_int_equal(gen_set_init(&generated, options), 0);
	assert_int_equal(gen_set_boxes(&generated, &built.boxes), 0);
	built.set.count = generated.count;
	linear_from_boxes(built.boxes, generated.count, rules);
	check_set(&built, packets, &random);
	free(built.boxes);
	free(rules);
	gen_set_fini(&generated);
}

static void check_generated_round(uint64_t round)
{
	static const size_t sizes[] = { 10, 100, 1000, 10000 };

	for (enum gen_kind kind = 0; kind < GEN_KIND_COUNT; kind++)
		for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
			struct gen_options options = {
				.kind = kind, .rules = sizes[i], .seed = seed + round,
				.flags = GEN_UNREACHABLE | GEN_VLAN_DSCP,
			};

			options.family = (enum ip_family)((kind + i + round) % FAMILY_COUNT);
			check_generated(&options, sizes[i] > 1000 ? 400 : 2000);
		}
}

static void generated_sets(void **state)
{
	(void)state;
	for (uint64_t round = 0; round < rounds; round++)
		check_generated_round(round);
}

/* ---- what chance seldom draws ---- */

#define FULL_RULES ((SPD_THRESHOLDS + 1) * 3 * SPD_LEAF_MAX)

/* `each` rules for each of ten protocols. Of those of one protocol any two meet, and each leaves one
 * value of its own to the others. */
static void draw_full(struct linear_set *set, size_t each)
{
	set->count = (SPD_THRESHOLDS + 1) * each;
	for (size_t i = 0; i < set->count; i++) {
		struct linear_rule *rule = &set->rules[i];

		*rule = (struct linear_rule){ .rule = (uint32_t)i };
		for (int field = 0; field < FIELD_COUNT; field++)
			rule->hi[field] = linear_max(set->family, (enum linear_field)field);
		rule->lo[FIELD_PROTO] = rule->hi[FIELD_PROTO] = i / each;
		rule->lo[FIELD_REMOTE_PORT] = i % each;
		rule->hi[FIELD_REMOTE_PORT] = 60000 + i % each;
	}
}

/* Leaves of all sizes side by side: the fullest nodes there can be. */
static void full_leaves(void **state)
{
	struct linear_rule rules[FULL_RULES];
	struct spd_box boxes[FULL_RULES];
	struct built built = { .boxes = boxes, .set.rules = rules };
	struct gen_random random = { .state = 1 };

	(void)state;
	for (size_t each = 1; each <= 3 * SPD_LEAF_MAX; each++)
		for (enum ip_family family = 0; family < FAMILY_COUNT; family++) {
			built.set.family = family;
			draw_full(&built.set, each);
			linear_boxes(&built.set, boxes);
			check_set(&built, 200, &random);
		}
}

/* Nowhere else do so many trees wait. */
static void some_fields_each(void **state)
{
	enum { RULES = 20000 };	/* as many as would let five wait */
	struct linear_rule *rules = calloc(RULES, sizeof(*rules));
	struct built built = { .boxes = calloc(RULES, sizeof(struct spd_box)) };
	struct gen_random random = { .state = seed };

	(void)state;
	most_waiting = 0;
	for (enum ip_family family = 0; family < FAMILY_COUNT; family++) {
		linear_draw_some_fields(&built.set, rules, RULES, family, &random);
		linear_boxes(&built.set, built.boxes);
		check_set(&built, 2000, &random);
	}
	assert_int_equal(most_waiting, SPD_ASIDE_MAX);
	free(built.boxes);
	free(rules);
}

/* No room, no memory to blame: what does not fit is refused, never cut short. */
static void limits_are_kept(void **state)
{
	struct gen_random random = { .state = 3 };
	struct linear_rule rules[WORLD_RULES_MAX];
	struct spd_box boxes[WORLD_RULES_MAX];
	struct linear_set set;

	(void)state;
	do {
		linear_draw(&set, rules, WORLD_RULES, FAMILY_V6, &random);
	} while (set.count < 40);
	linear_boxes(&set, boxes);
	for (size_t limit = SPD_FIRST_FREE_CELL;; limit++) {
		struct spd_cells cells = { .limit = limit };
		struct spd_tree tree;
		int err;

		cells.items = calloc(SPD_FIRST_FREE_CELL, sizeof(*cells.items));
		cells.count = cells.room = SPD_FIRST_FREE_CELL;
		err = spd_tree_build(boxes, set.count, FAMILY_V6, &cells, &tree);
		assert_in_range(cells.count, SPD_FIRST_FREE_CELL, limit);
		spd_cells_fini(&cells);
		if (!err)
			break;
		assert_int_equal(err, -E2BIG);
		assert_in_range(limit, 0, 100000);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(tiny_worlds),
		cmocka_unit_test(generated_sets),
		cmocka_unit_test(full_leaves),
		cmocka_unit_test(some_fields_each),
		cmocka_unit_test(limits_are_kept),
	};

	seed = linear_environment("SEED", SEED_DEFAULT);
	rounds = linear_environment("ROUNDS", 1);
	printf("test_spd_tree: SEED=%" PRIu64 " ROUNDS=%" PRIu64 "\n", seed, rounds);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
