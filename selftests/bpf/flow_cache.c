// SPDX-License-Identifier: BSD-2-Clause
/*
 * The flow cache (bpf/flow_cache.h) case by case: what is the same flow and what is not, who gives way
 * to whom, and what a flood can do to flows that are in use. That remembered verdicts equal searched
 * ones over a million packets: spd_walk.c.
 *
 * Nothing here waits for time to pass: where a flow is to be idle, its time stamp is set back.
 * The last line: "N passed, N failed". Before it: how many packets of flows in use were searched for
 * in a flood.
 */
#include <errno.h>
#include <inttypes.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "datapath.h"
#include "lib/build_skeleton.h"
#include "probe.h"

#define expect(condition)								\
	do {										\
		if (!(condition)) {							\
			printf("FAIL %s, line %d: %s\n", __func__, __LINE__, #condition);	\
			return false;							\
		}									\
	} while (0)

/* ---- a small policy -------------------------------------------------------------------------- */

#define RULES 8

/* Rule i has local port i, rules 5 and 6 other fields as well; the last takes all. In `vlan_sets` rule 3 asks
 * for a VLAN and a DSCP. */
struct small {
	struct linear_rule rules[FAMILY_COUNT][RULES];
	struct linear_set sets[FAMILY_COUNT], vlan_sets[FAMILY_COUNT];
	struct linear_rule vlan_rules[FAMILY_COUNT][RULES];
};

static void any_rule(struct linear_rule *rule, enum ip_family family, uint32_t index)
{
	*rule = (struct linear_rule){
		.rule = index,
		.protect_id = index + 100 * (uint32_t)family,
		.action = (uint8_t)(index % SPD_ACTION_COUNT),
	};
	for (int field = 0; field < FIELD_COUNT; field++)
		rule->hi[field] = linear_max(family, (enum linear_field)field);
}

static void make_small(struct small *small)
{
	for (enum ip_family family = 0; family < FAMILY_COUNT; family++) {
		for (uint32_t i = 0; i < RULES; i++) {
			struct linear_rule *rule = &small->rules[family][i];

			any_rule(rule, family, i);
			if (i < RULES - 1)
				rule->lo[FIELD_LOCAL_PORT] = rule->hi[FIELD_LOCAL_PORT] = i;
			if (i == 5)
				rule->lo[FIELD_REMOTE] = rule->hi[FIELD_REMOTE] = 0x0a000099;
			if (i == 6) {
				rule->lo[FIELD_REMOTE_PORT] = 60000;
				rule->lo[FIELD_PROTO] = 99;
			}
			small->vlan_rules[family][i] = *rule;
		}
		small->vlan_rules[family][3].lo[FIELD_VLAN] = 7;
		small->vlan_rules[family][3].hi[FIELD_VLAN] = 7;
		small->vlan_rules[family][3].hi[FIELD_DSCP] = 9;
		small->sets[family] = (struct linear_set){ family, small->rules[family], RULES };
		small->vlan_sets[family] =
			(struct linear_set){ family, small->vlan_rules[family], RULES };
	}
}

/* Ways have different rules, so that one's verdict is not the other's. */
static void make_policy(struct probe_policy *policy, const struct linear_set *sets)
{
	*policy = (struct probe_policy){ .default_action = { SPD_DISCARD, SPD_BYPASS } };
	for (int tree = 0; tree < SPD_TREES; tree++)
		if (tree / SPD_SHOWS / FAMILY_COUNT != SPD_WAY_OUT_FORWARDED)
			policy->trees[tree] = &sets[tree / SPD_SHOWS % FAMILY_COUNT];
}

struct bench {
	struct probe probe;
	struct small small;
	struct probe_policy policy[2];	/* of each generation */
};

static int bench_open(struct bench *bench, uint32_t flow_sets, bool seeded)
{
	int err = probe_open(&bench->probe, flow_sets, seeded);

	make_small(&bench->small);
	for (uint32_t i = 0; i < 2 && !err; i++) {
		make_policy(&bench->policy[i], bench->small.sets);
		err = probe_store(&bench->probe, i, &bench->policy[i]);
	}
	if (err)
		printf("FAIL cannot prepare: %s\n", strerror(-err));
	return err;
}

static struct probe_packet udp(uint16_t remote_port, uint16_t local_port)
{
	return (struct probe_packet){
		.packet.at = {
			[FIELD_REMOTE] = 0x0a000001, [FIELD_LOCAL] = 0x0a000002,
			[FIELD_REMOTE_PORT] = remote_port, [FIELD_LOCAL_PORT] = local_port,
			[FIELD_PROTO] = IPPROTO_UDP,
		},
	};
}

/* Asks one packet, compares with the reference. 1: it was remembered, 0: not; -1: wrong. */
static int ask_one(struct bench *bench, struct probe_packet packet)
{
	probe_put(&bench->probe, 0, &packet);
	if (probe_ask(&bench->probe, 1) ||
	    !probe_right(&bench->probe, 0, &bench->policy[packet.generation], &packet))
		return -1;
	return bench->probe.answers[0].remembered;
}

static struct flow_set *own_sets(const struct probe *probe)
{
	return &probe->flows[(size_t)probe->cpu * probe->flow_sets];
}

static size_t count_noted(const struct probe *probe)
{
	const struct flow_set *sets = own_sets(probe);
	size_t noted = 0;

	for (uint32_t i = 0; i < probe->flow_sets; i++)
		for (int way = 0; way < FLOW_WAYS; way++)
			noted += sets[i].tag[way].serial != 0;
	return noted;
}

/* Do the two flows that are noted have the same hash? */
static bool own_sets_hashes_agree(const struct probe *probe)
{
	const struct flow_set *sets = own_sets(probe);

	for (uint32_t i = 0; i < probe->flow_sets; i++)
		if (sets[i].tag[0].serial)
			return sets[i].tag[1].serial && sets[i].tag[0].hash == sets[i].tag[1].hash;
	return false;
}

/* ---- what a flow is -------------------------------------------------------------------------- */

static bool second_packet_is_remembered(struct bench *bench)
{
	expect(ask_one(bench, udp(1, 2)) == 0);
	expect(ask_one(bench, udp(1, 2)) == 1);
	expect(ask_one(bench, udp(1, 3)) == 0);
	expect(ask_one(bench, udp(2, 2)) == 0);
	expect(count_noted(&bench->probe) == 3);
	return true;
}

static bool ways_and_families_are_apart(struct bench *bench)
{
	struct probe_packet packet = udp(1, 2);

	/* The words of ::a00:1 and 10.0.0.1 are the same: one set for these four. */
	expect(ask_one(bench, packet) == 0);
	packet.family = FAMILY_V6;
	expect(ask_one(bench, packet) == 0);
	packet.way = SPD_WAY_OUT_LOCAL;
	expect(ask_one(bench, packet) == 0);
	packet.way = SPD_WAY_OUT_FORWARDED;
	expect(ask_one(bench, packet) == 0);
	expect(ask_one(bench, packet) == 1);
	packet.way = SPD_WAY_OUT_LOCAL;
	expect(ask_one(bench, packet) == 1);
	packet.way = SPD_WAY_IN;
	expect(ask_one(bench, packet) == 1);
	packet.family = FAMILY_V4;
	expect(ask_one(bench, packet) == 1);
	return true;
}

static bool icmp_is_no_port(struct bench *bench)
{
	struct probe_packet packet = udp(1, 2);

	expect(ask_one(bench, packet) == 0);
	packet.packet.at[FIELD_PROTO] = IPPROTO_ICMP;	/* type 2, code 1 */
	expect(ask_one(bench, packet) == 0);
	packet.packet.at[FIELD_PROTO] = IPPROTO_ICMPV6;
	expect(ask_one(bench, packet) == 0);
	packet.packet.at[FIELD_PROTO] = IPPROTO_ICMP;
	packet.packet.at[FIELD_REMOTE_PORT] = 3;
	expect(ask_one(bench, packet) == 0);
	return true;
}

/* Fields that no rule asks for do not make another flow; one that some rule asks for does. */
static bool tags_count_where_policy_asks(struct bench *bench)
{
	struct probe_packet packet = udp(1, 3);

	expect(ask_one(bench, packet) == 0);
	packet.packet.at[FIELD_VLAN] = 7;
	expect(ask_one(bench, packet) == 1);
	packet.packet.at[FIELD_DSCP] = 46;
	expect(ask_one(bench, packet) == 1);
	make_policy(&bench->policy[0], bench->small.vlan_sets);
	expect(!probe_store(&bench->probe, 0, &bench->policy[0]));
	expect(ask_one(bench, packet) == 0);
	packet.packet.at[FIELD_DSCP] = 9;
	expect(ask_one(bench, packet) == 0);
	packet.packet.at[FIELD_VLAN] = 0;
	expect(ask_one(bench, packet) == 0);
	expect(ask_one(bench, packet) == 1);
	return true;
}

/* Without seeds IPv4 addresses do not change the hash: what is said of one is not said of another. */
static bool equal_hashes_are_no_flow(struct bench *bench)
{
	struct probe_packet packet = udp(1, 5);

	expect(ask_one(bench, packet) == 0);
	packet.packet.at[FIELD_REMOTE] = 0x0a000099;
	expect(ask_one(bench, packet) == 0);
	expect(own_sets_hashes_agree(&bench->probe));
	expect(ask_one(bench, packet) == 1);
	packet.packet.at[FIELD_REMOTE] = 0x0a000001;
	expect(ask_one(bench, packet) == 1);
	return true;
}

/* Empty places are taken first: what the policy before knew is still there when a trial goes back. */
static bool policies_are_apart(struct bench *bench)
{
	struct probe_packet packet = udp(1, 3);
	struct probe_policy trial;

	expect(ask_one(bench, packet) == 0);
	/* On trial: other rules, a new serial. */
	packet.generation = 1;
	make_policy(&bench->policy[1], bench->small.vlan_sets);
	expect(!probe_store(&bench->probe, 1, &bench->policy[1]));
	expect(ask_one(bench, packet) == 0);
	expect(ask_one(bench, packet) == 1);
	trial = bench->policy[1];
	/* It goes back: the old serial, and what was remembered then. */
	packet.generation = 0;
	expect(ask_one(bench, packet) == 1);
	/* The next has the same rules as before the trial, and a serial of its own. */
	packet.generation = 1;
	make_policy(&bench->policy[1], bench->small.sets);
	expect(!probe_store(&bench->probe, 1, &bench->policy[1]));
	expect(bench->policy[1].serial != trial.serial);
	expect(ask_one(bench, packet) == 0);
	return true;
}

static bool fragments_are_never_noted(struct bench *bench)
{
	for (int fragment = FIRST; fragment <= LATER; fragment++)
		for (int hidden = 0; hidden < 2; hidden++)
			for (int way = 0; way < SPD_WAYS; way++) {
				struct probe_packet packet = udp(1, 2);

				packet.fragment = (enum probe_fragment)fragment;
				packet.proto_hidden = hidden;
				packet.family = hidden ? FAMILY_V6 : FAMILY_V4;
				packet.way = (enum spd_way)way;
				expect(ask_one(bench, packet) == 0);
				expect(ask_one(bench, packet) == 0);
			}
	expect(count_noted(&bench->probe) == 0);
	return true;
}

/* ---- who gives way: one set, so that all flows meet ------------------------------------------- */

/* Each is used, then one more comes. */
static bool fill_set(struct bench *bench, unsigned int asked)
{
	for (unsigned int times = 0; times < asked; times++)
		for (uint16_t i = 0; i < FLOW_WAYS; i++)
			expect(ask_one(bench, udp(i, 2)) == (times > 0));
	return true;
}

static bool flows_in_use_stay(struct bench *bench)
{
	expect(fill_set(bench, 2));
	for (int i = 0; i < 10; i++)
		expect(ask_one(bench, udp(99, 3)) == 0);
	for (uint16_t i = 0; i < FLOW_WAYS; i++)
		expect(ask_one(bench, udp(i, 2)) == 1);
	return true;
}

static bool the_idle_give_way(struct bench *bench)
{
	expect(fill_set(bench, 2));
	own_sets(&bench->probe)->tag[2].used -= 2 * PROBE_IDLE;
	expect(ask_one(bench, udp(99, 3)) == 0);
	expect(ask_one(bench, udp(99, 3)) == 1);
	expect(ask_one(bench, udp(2, 2)) == 0);
	for (uint16_t i = 0; i < FLOW_WAYS; i++)
		expect(ask_one(bench, udp(i, 2)) == (i != 2));
	return true;
}

static bool a_packet_ends_idleness(struct bench *bench)
{
	expect(fill_set(bench, 2));
	for (int i = 0; i < FLOW_WAYS; i++)
		own_sets(&bench->probe)->tag[i].used -= 2 * PROBE_IDLE;
	for (uint16_t i = 0; i < FLOW_WAYS; i++)
		expect(ask_one(bench, udp(i, 2)) == 1);
	expect(ask_one(bench, udp(99, 3)) == 0);
	expect(ask_one(bench, udp(99, 3)) == 0);
	return true;
}

static bool those_never_asked_again_give_way(struct bench *bench)
{
	expect(fill_set(bench, 1));
	for (uint16_t i = 1; i < FLOW_WAYS; i++)
		expect(ask_one(bench, udp(i, 2)) == 1);
	expect(ask_one(bench, udp(99, 3)) == 0);
	expect(ask_one(bench, udp(99, 3)) == 1);
	for (uint16_t i = 1; i < FLOW_WAYS; i++)
		expect(ask_one(bench, udp(i, 2)) == 1);
	return true;
}

static bool those_of_other_policies_give_way_first(struct bench *bench)
{
	struct probe_packet packet = udp(99, 3);

	expect(fill_set(bench, 2));
	own_sets(&bench->probe)->tag[0].used -= 2 * PROBE_IDLE;
	own_sets(&bench->probe)->tag[1].serial = 77;
	expect(ask_one(bench, packet) == 0);
	expect(ask_one(bench, packet) == 1);
	expect(own_sets(&bench->probe)->tag[1].serial == bench->policy[0].serial);
	expect(ask_one(bench, udp(0, 2)) == 1);
	return true;
}

/* ---- floods ---------------------------------------------------------------------------------- */

#define ESTABLISHED	2048
#define FLOOD		1000000
#define FLOOD_SETS	2048	/* of FLOW_WAYS places: four for each that is established */
#define NEWCOMERS	1024
#define FLOOD_ROUND	24576	/* tuples between two packets of each established flow */

static struct probe_packet random_tuple(struct gen_random *random)
{
	uint16_t remote_port = (uint16_t)gen_next(random);
	struct probe_packet packet = udp(remote_port, (uint16_t)gen_below(random, 5));

	packet.packet.at[FIELD_REMOTE] = gen_below(random, 1ull << 32);
	return packet;
}

static uint64_t now_ns(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (uint64_t)now.tv_sec * 1000000000 + (uint64_t)now.tv_nsec;
}

struct flood {
	struct probe_packet established[ESTABLISHED];
	bool has_place[ESTABLISHED];
	unsigned int times;		/* each tuple of the flood comes */
	struct gen_random random;
	uint64_t sent, packets, misses, kept, noted;
	uint64_t newcomers;		/* that found a place, of NEWCOMERS in the midst of it */
	uint64_t longest;		/* ns between two packets of an established flow, at most */
	uint64_t last;
};

/* A packet of each established flow. How many were not remembered but had a place; -1: wrong. */
static int send_established(struct bench *bench, struct flood *flood, bool first)
{
	uint64_t now = now_ns();
	int lost = 0;

	for (uint32_t i = 0; i < ESTABLISHED; i++)
		probe_put(&bench->probe, i, &flood->established[i]);
	if (probe_ask(&bench->probe, ESTABLISHED))
		return -1;
	for (uint32_t i = 0; i < ESTABLISHED; i++) {
		bool remembered = bench->probe.answers[i].remembered;

		if (!probe_right(&bench->probe, i, &bench->policy[0], &flood->established[i]))
			return -1;
		if (first)
			flood->has_place[i] = remembered;
		lost += flood->has_place[i] && !remembered;
		flood->packets += !first;
		flood->misses += !first && !remembered;
	}
	if (!first && now_ns() - flood->last > flood->longest)
		flood->longest = now_ns() - flood->last;
	flood->last = now;
	return lost;
}

static bool send_flood(struct bench *bench, struct flood *flood)
{
	uint32_t count = 0;

	while (count + flood->times <= FLOOD_ROUND) {
		struct probe_packet packet = random_tuple(&flood->random);

		for (unsigned int i = 0; i < flood->times; i++)
			probe_put(&bench->probe, count++, &packet);
	}
	expect(!probe_ask(&bench->probe, count));
	/* Every hundredth is compared: spd_walk.c does so with all. */
	for (uint32_t i = 0; i < count; i += 100) {
		const struct probe_answer *answer = &bench->probe.answers[i];
		uint16_t port = be16toh(bench->probe.questions[i].dst_port);

		expect(!answer->err && answer->rule == port);
	}
	flood->sent += count / flood->times;
	return true;
}

/* Flows that begin now: three packets each. */
static bool send_newcomers(struct bench *bench, struct flood *flood)
{
	for (uint32_t i = 0; i < NEWCOMERS; i++) {
		struct probe_packet packet = random_tuple(&flood->random);

		for (uint32_t j = 0; j < 3; j++)
			probe_put(&bench->probe, j * NEWCOMERS + i, &packet);
	}
	expect(!probe_ask(&bench->probe, 3 * NEWCOMERS));
	for (uint32_t i = 0; i < NEWCOMERS; i++)
		flood->newcomers += bench->probe.answers[2 * NEWCOMERS + i].remembered;
	return true;
}

/* 1: nobody lost a place; 0: somebody did; -1: a wrong answer. */
static int run_flood(struct bench *bench, struct flood *flood)
{
	int lost = 0;

	memset(own_sets(&bench->probe), 0, bench->probe.flow_sets * sizeof(struct flow_set));
	for (uint32_t i = 0; i < ESTABLISHED; i++)
		flood->established[i] = random_tuple(&flood->random);
	/* Noted, asked for again, and then: who is there? */
	if (send_established(bench, flood, true) < 0 || send_established(bench, flood, true) < 0 ||
	    send_established(bench, flood, true) < 0)
		return -1;
	for (uint32_t i = 0; i < ESTABLISHED; i++)
		flood->kept += flood->has_place[i];
	while (!lost && flood->sent < FLOOD) {
		if (!send_flood(bench, flood))
			return -1;
		lost = send_established(bench, flood, false);
	}
	flood->noted = count_noted(&bench->probe);
	if (!send_newcomers(bench, flood))
		return -1;
	return lost < 0 ? -1 : !lost;
}

/* A machine that stood still for a second has made idle who was not: then once more. */
static bool nobody_loses_a_place(struct bench *bench, unsigned int times)
{
	struct flood *flood = NULL;
	uint64_t seed = 1;
	int result;

	do {
		free(flood);
		flood = calloc(1, sizeof(*flood));
		expect(flood);
		flood->times = times;
		flood->random.state = seed++;
		result = run_flood(bench, flood);
	} while (!result && flood->longest > 900000000);
	printf("flow_cache: flood of %" PRIu64 " flows, %u packets each; %d flows in use, %" PRIu64
	       " of them noted before it: %" PRIu64 " of their %" PRIu64 " packets (%.2f %%) were "
	       "searched for; %" PRIu64 " of %u places taken; %" PRIu64 " of %d flows that began then "
	       "were noted\n", flood->sent, times, ESTABLISHED,
	       flood->kept, flood->misses, flood->packets,
	       100.0 * (double)flood->misses / (double)flood->packets, flood->noted,
	       bench->probe.flow_sets * FLOW_WAYS, flood->newcomers, NEWCOMERS);
	expect(result == 1);
	/* What had no place for want of one in its set is searched for: few. */
	expect(flood->kept > ESTABLISHED * 95 / 100);
	expect(flood->noted > bench->probe.flow_sets * FLOW_WAYS * 9 / 10);
	free(flood);
	return true;
}

static bool flood_of_single_packets(struct bench *bench)
{
	return nobody_loses_a_place(bench, 1);
}

static bool flood_of_pairs(struct bench *bench)
{
	return nobody_loses_a_place(bench, 2);
}

/* ---- without; and as it is loaded ------------------------------------------------------------ */

static bool without_sets_all_is_searched(struct bench *bench)
{
	struct flow_set untouched = { 0 };

	for (int i = 0; i < 3; i++)
		expect(ask_one(bench, udp(1, 2)) == 0);
	expect(!memcmp(&bench->probe.flows[0], &untouched, sizeof(untouched)));
	return true;
}

static bool read_seeds(uint32_t seeds[FLOW_SEEDS])
{
	const struct datapath_opts opts = { .mark_value = 1, .mark_mask = 1 };
	struct datapath datapath;

	expect(!datapath_open(&datapath, &opts));
	memcpy(seeds, (const void *)(uintptr_t)datapath.loader.object->rodata->flow_seeds,
	       FLOW_SEEDS * sizeof(*seeds));
	datapath_close(&datapath);
	return true;
}

static bool each_load_has_its_own_seeds(void)
{
	uint32_t a[FLOW_SEEDS], b[FLOW_SEEDS];
	int same = 0;

	expect(!datapath_isolate());
	expect(read_seeds(a) && read_seeds(b));
	for (int i = 0; i < FLOW_SEEDS; i++)
		same += a[i] == b[i];
	expect(same < 2);
	return true;
}

static const struct {
	bool (*run)(struct bench *bench);
	uint32_t flow_sets;
	bool unseeded;
} tests[] = {
	{ second_packet_is_remembered, 1024 },
	{ ways_and_families_are_apart, 1024 },
	{ icmp_is_no_port, 1024 },
	{ tags_count_where_policy_asks, 1024 },
	{ equal_hashes_are_no_flow, 1024, .unseeded = true },
	{ policies_are_apart, 1024 },
	{ fragments_are_never_noted, 1024 },
	{ flows_in_use_stay, 1 },
	{ the_idle_give_way, 1 },
	{ a_packet_ends_idleness, 1 },
	{ those_never_asked_again_give_way, 1 },
	{ those_of_other_policies_give_way_first, 1 },
	{ flood_of_single_packets, FLOOD_SETS },
	{ flood_of_pairs, FLOOD_SETS },
	{ without_sets_all_is_searched, 0 },
};

int main(void)
{
	struct bench *bench = calloc(1, sizeof(*bench));
	unsigned int results[2] = { 0 };

	if (!bench)
		return 1;
	for (size_t i = 0; i < sizeof(tests) / sizeof(tests[0]); i++) {
		bool right = !bench_open(bench, tests[i].flow_sets, !tests[i].unseeded) &&
			     tests[i].run(bench);

		results[right]++;
		if (bench->probe.object)
			probe_close(&bench->probe);
	}
	free(bench);
	results[each_load_has_its_own_seeds()]++;
	printf("%u passed, %u failed\n", results[1], results[0]);
	return results[0] || !results[1];
}
