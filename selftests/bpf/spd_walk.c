// SPDX-License-Identifier: BSD-2-Clause
/*
 * The walk in BPF against the naive reference: every one of the 18 trees of many snapshots has rules
 * of its own, so that an answer from another is seen. Once without and once with flow cache; packets
 * come again, as they were, or with one thing changed; snapshots change, and stay.
 *
 * SEED=n draws others, ROUNDS=n so many times as many. The last line: "N passed, N failed"
 * (snapshots).
 */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "probe.h"

#define SEED_DEFAULT 20261121
#define WORLDS	     420
#define BATCH	     2400	/* packets for one world */
#define SOME_FIELDS_RULES 3000	/* enough for SPD_ASIDE_MAX trees to wait */

/* The policy of one generation, with its rules. */
struct world {
	struct linear_rule *rules[SPD_TREES];	/* WORLD_RULES_MAX each */
	struct linear_set sets[SPD_TREES];
	struct probe_policy policy;
};

struct walk {
	struct probe probe;
	struct world worlds[2];
	struct gen_random random;
	struct probe_packet packets[BATCH];
	uint64_t asked, remembered, by_rule;
};

static int world_init(struct world *world)
{
	for (int tree = 0; tree < SPD_TREES; tree++) {
		world->rules[tree] = calloc(WORLD_RULES_MAX, sizeof(struct linear_rule));
		if (!world->rules[tree])
			return -1;
	}
	return 0;
}

static void world_fini(struct world *world)
{
	for (int tree = 0; tree < SPD_TREES; tree++)
		free(world->rules[tree]);
}

static enum ip_family family_of(int tree)
{
	return (enum ip_family)(tree / SPD_SHOWS % FAMILY_COUNT);
}

static void draw_world(struct walk *walk, struct world *world)
{
	for (int tree = 0; tree < SPD_TREES; tree++) {
		linear_draw(&world->sets[tree], world->rules[tree],
			    gen_percent(&walk->random, 4) ? WORLD_RULES_MAX : WORLD_RULES,
			    family_of(tree), &walk->random);
		world->policy.trees[tree] = &world->sets[tree];
	}
	for (int i = 0; i < SPD_DIRECTION_COUNT; i++)
		world->policy.default_action[i] = gen_percent(&walk->random, 50) ? SPD_BYPASS :
										   SPD_DISCARD;
	world->policy.serial = 0;
	world->policy.spread = (uint32_t)gen_below(&walk->random, SPD_TREES);
	world->policy.before_end = 1 + (uint32_t)gen_below(&walk->random, 200);
}

/* For one of the trees. */
static void draw_packet(struct walk *walk, struct probe_packet *packet)
{
	struct gen_random *random = &walk->random;
	int tree = (int)gen_below(random, SPD_TREES);
	int shows = gen_percent(random, 60) ? SPD_SHOWS_ALL : tree % SPD_SHOWS;

	tree = tree / SPD_SHOWS * SPD_SHOWS + shows;
	*packet = (struct probe_packet){
		.family = family_of(tree),
		.way = (enum spd_way)(tree / SPD_SHOWS / FAMILY_COUNT),
		.fragment = shows != SPD_SHOWS_ALL ? LATER : gen_percent(random, 10),
		.proto_hidden = shows == SPD_SHOWS_ADDRESSES,
		.generation = (uint32_t)gen_below(random, 2),
	};
	packet->packet = linear_draw_packet(
		walk->worlds[packet->generation].policy.trees[tree], random);
}

/* One thing is different: the flow cache must see each. */
static void change_packet(struct gen_random *random, struct probe_packet *packet)
{
	gen_number *at = packet->packet.at;

	switch (gen_below(random, 8)) {
	case 0:
		packet->way = (enum spd_way)gen_below(random, SPD_WAYS);
		break;
	case 1:
		packet->generation = !packet->generation;
		break;
	case 2:
		packet->fragment = (enum probe_fragment)gen_below(random, 3);
		break;
	case 3:
		if (!(at[FIELD_REMOTE] >> 32) && !(at[FIELD_LOCAL] >> 32))
			packet->family = !packet->family;
		break;
	case 4:
		at[FIELD_PROTO] = gen_percent(random, 50) ? 1 : gen_below(random, 256);
		break;
	case 5:
		at[FIELD_VLAN] ^= 1;
		break;
	case 6:
		at[FIELD_DSCP] ^= 1;
		break;
	default:
		at[gen_below(random, 4)] ^= 1;
	}
}

static void draw_packets(struct walk *walk)
{
	for (uint32_t i = 0; i < BATCH; i++) {
		struct probe_packet *packet = &walk->packets[i];

		if (i && gen_percent(&walk->random, 40)) {
			*packet = walk->packets[gen_below(&walk->random, i)];
			if (gen_percent(&walk->random, 60))
				change_packet(&walk->random, packet);
		} else {
			draw_packet(walk, packet);
		}
		probe_put(&walk->probe, i, packet);
	}
}

static bool check_answers(struct walk *walk, uint32_t count)
{
	bool right = true;

	for (uint32_t i = 0; i < count && right; i++) {
		const struct probe_packet *packet = &walk->packets[i];
		const struct probe_answer *answer = &walk->probe.answers[i];

		right = probe_right(&walk->probe, i, &walk->worlds[packet->generation].policy,
				    packet);
		walk->remembered += answer->remembered;
		walk->by_rule += answer->rule != SPD_RULE_DEFAULT;
	}
	walk->asked += count;
	return right;
}

/* One of the two generations is new, the other as it was. */
static bool check_world(struct walk *walk, uint64_t number)
{
	struct world *world = &walk->worlds[number % 2];
	int err;

	draw_world(walk, world);
	err = probe_store(&walk->probe, number % 2, &world->policy);
	if (!err && number) {
		draw_packets(walk);
		err = probe_ask(&walk->probe, BATCH);
	}
	if (err)
		printf("FAIL world %" PRIu64 ": %s\n", number, strerror(-err));
	return !err && (!number || check_answers(walk, BATCH));
}

/* ---- rulegen's sets -------------------------------------------------------------------------- */

/* The same rules for every tree of the family. */
static void use_everywhere(struct world *world, const struct linear_set *sets)
{
	for (int tree = 0; tree < SPD_TREES; tree++)
		world->policy.trees[tree] = &sets[family_of(tree)];
	world->policy.serial = 0;
}

static int generate(struct linear_set *set, struct gen_options options)
{
	struct gen_set generated;
	struct spd_box *boxes;
	int err = gen_set_init(&generated, &options);

	if (err)
		return err;
	err = gen_set_boxes(&generated, &boxes);
	set->rules = calloc(generated.count, sizeof(*set->rules));
	if (!err && set->rules) {
		set->count = generated.count;
		linear_from_boxes(boxes, set->count, set->rules);
		free(boxes);
	}
	gen_set_fini(&generated);
	return err;
}

/* Every tree of both generations from these, then packets. */
static bool check_sets(struct walk *walk, const struct linear_set *sets, uint32_t count)
{
	int err = 0;

	for (uint32_t i = 0; i < 2 && !err; i++) {
		use_everywhere(&walk->worlds[i], sets);
		err = probe_store(&walk->probe, i, &walk->worlds[i].policy);
	}
	if (!err) {
		draw_packets(walk);
		err = probe_ask(&walk->probe, count);
	}
	if (err)
		printf("FAIL %zu rules: %s\n", sets[0].count, strerror(-err));
	return !err && check_answers(walk, count);
}

static bool check_some_fields(struct walk *walk)
{
	struct linear_set sets[FAMILY_COUNT];
	bool right = true;

	for (enum ip_family family = 0; family < FAMILY_COUNT; family++) {
		struct linear_rule *rules = calloc(SOME_FIELDS_RULES, sizeof(*rules));

		right = right && rules;
		if (rules)
			linear_draw_some_fields(&sets[family], rules, SOME_FIELDS_RULES, family,
						&walk->random);
		sets[family].rules = rules;
	}
	right = right && check_sets(walk, sets, BATCH);
	for (int family = 0; family < FAMILY_COUNT; family++)
		free(sets[family].rules);
	return right;
}

static bool check_generated(struct walk *walk, enum gen_kind kind, size_t rules, uint64_t seed)
{
	struct linear_set sets[FAMILY_COUNT] = { 0 };
	bool right = false;
	int err = 0;

	for (enum ip_family family = 0; family < FAMILY_COUNT && !err; family++) {
		sets[family].family = family;
		err = generate(&sets[family], (struct gen_options){
			.kind = kind, .family = family, .rules = rules, .seed = seed,
			.flags = GEN_UNREACHABLE | GEN_VLAN_DSCP,
		});
	}
	if (err)
		printf("FAIL %s: %s\n", gen_kind_words[kind], strerror(-err));
	else
		right = check_sets(walk, sets, rules > 1000 ? 400 : BATCH);
	for (int family = 0; family < FAMILY_COUNT; family++)
		free(sets[family].rules);
	return right;
}

static void check_all_generated(struct walk *walk, uint64_t seed, unsigned int results[2])
{
	static const size_t sizes[] = { 10, 100, 1000, 10000 };

	for (enum gen_kind kind = 0; kind < GEN_KIND_COUNT; kind++)
		for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++)
			results[check_generated(walk, kind, sizes[i], seed)]++;
}

/* ---- both ways ------------------------------------------------------------------------------- */

/* Wrong and right snapshots: results[0], results[1]. */
static void check(struct walk *walk, uint32_t flow_sets, uint64_t seed, uint64_t rounds,
		  unsigned int results[2])
{
	if (probe_open(&walk->probe, flow_sets, true)) {
		results[0]++;
		return;
	}
	walk->random.state = gen_mix(seed);
	walk->asked = walk->remembered = walk->by_rule = 0;
	for (uint64_t i = 0; i < WORLDS * rounds; i++)
		results[check_world(walk, i)]++;
	for (uint64_t i = 0; i < rounds; i++) {
		results[check_some_fields(walk)]++;
		check_all_generated(walk, seed + i, results);
	}
	printf("spd_walk, %u flow sets: %" PRIu64 " packets, %" PRIu64 " by a rule, %" PRIu64
	       " remembered\n", flow_sets, walk->asked, walk->by_rule, walk->remembered);
	/* All kinds must be many, or the comparison says little. */
	if (walk->by_rule < walk->asked / 5 || walk->by_rule > walk->asked / 5 * 4 ||
	    (flow_sets ? walk->remembered < walk->asked / 20 : walk->remembered != 0)) {
		printf("FAIL too few packets of one kind\n");
		results[0]++;
	}
	probe_close(&walk->probe);
}

int main(void)
{
	uint64_t seed = linear_environment("SEED", SEED_DEFAULT);
	uint64_t rounds = linear_environment("ROUNDS", 1);
	struct walk *walk = calloc(1, sizeof(*walk));
	unsigned int results[2] = { 0 };

	printf("spd_walk: SEED=%" PRIu64 " ROUNDS=%" PRIu64 "\n", seed, rounds);
	if (!walk || world_init(&walk->worlds[0]) || world_init(&walk->worlds[1])) {
		fprintf(stderr, "no memory\n");
		return 1;
	}
	check(walk, 0, seed, rounds, results);
	check(walk, 256, seed + 1, rounds, results);
	for (int i = 0; i < 2; i++)
		world_fini(&walk->worlds[i]);
	free(walk);
	printf("%u passed, %u failed\n", results[1], results[0]);
	return results[0] || !results[1];
}
