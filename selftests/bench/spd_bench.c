// SPDX-License-Identifier: BSD-2-Clause
/*
 * What a verdict costs with rule sets of one kind and family but of different sizes, all of them in
 * force at the same time, each in an instance of the BPF programs that is attached to nothing.
 *
 *   spd_bench 4|6 KIND ROUNDS SEED SIZE...
 *
 * Prints one JSON object with the figures of all rounds; selftests/bench/bench_spd makes medians of
 * them. Arms and sizes take turns: in order, then in reverse.
 */
#include <bpf/bpf.h>
#include <errno.h>
#include <jansson.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lib/stats.h"
#include "spd_skeleton.h"
#include "spd_subject.h"

#define SIZES_MAX 8
#define ROUNDS_MAX 101
#define HIT_REPEAT (400 * HIT_FRAMES)
#define BARE_REPEAT 20000
#define LINEAR_STEPS 4000000	/* rules to look at in a round, about */
#define FRAME_LEN (ETH_HLEN + BENCH_OCTETS)
#define ETH_HLEN 14

/* X(enumerator, JSON key, program) */
#define ARMS(X)						\
	X(BARE, "bare", bare)				\
	X(EMPTY, "empty", empty)			\
	X(HIT, "hit", egress_verdict)			\
	X(EMPTY_MISS, "empty_miss", empty)		\
	X(MISS, "miss", egress_verdict)			\
	X(TREE, "tree", tree)				\
	X(TREE_WARM, "tree_warm", tree)			\
	X(LINEAR, "linear", linear)

enum arm {
#define X(id, key, program) ARM_##id,
	ARMS(X)
#undef X
	ARM_COUNT
};

static const char *const arm_keys[ARM_COUNT] = {
#define X(id, key, program) key,
	ARMS(X)
#undef X
};

struct size {
	struct subject subject;
	double ns[ARM_COUNT][ROUNDS_MAX];
	uint32_t misremembered;	/* flows found in the miss arm, or not found in the hit arm */
	uint32_t verified;	/* packets of which tree and list say the same */
};

struct bench {
	enum ip_family family;
	enum gen_kind kind;
	unsigned int rounds, size_count;
	uint64_t seed;
	int cpu;
	struct size *sizes;
};

static int program_of(const struct subject *subject, enum arm arm)
{
	const struct bpf_program *programs[ARM_COUNT] = {
#define X(id, key, program) [ARM_##id] = subject->object->progs.program,
		ARMS(X)
#undef X
	};

	return bpf_program__fd(programs[arm]);
}

/* Takes `repeat` packets of those from `first` to `end`. ns per packet, or negative: -errno. */
static double test_run(const struct bench *bench, struct subject *subject, enum arm arm,
		       struct bench_run run, uint32_t repeat)
{
	static const uint8_t ethertypes[FAMILY_COUNT][2] = { { 0x08, 0x00 }, { 0x86, 0xdd } };
	uint8_t frame[FRAME_LEN] = { 0x02, 0, 0, 0, 0, 2, 0x02, 0, 0, 0, 0, 1 };
	struct bench_run *area = &subject->object->bss->run;
	LIBBPF_OPTS(bpf_test_run_opts, opts, .data_in = frame, .data_size_in = sizeof(frame),
		    .repeat = (int)repeat);

	memcpy(frame + ETH_HLEN - 2, ethertypes[bench->family], 2);
	run.at = run.first;
	run.rules = (uint32_t)subject->set.count;
	*area = run;
	if (bpf_prog_test_run_opts(program_of(subject, arm), &opts))
		return -errno;
	if (area->failed)
		return -EIO;
	return opts.duration;
}

/* ---- the flow cache, as it must be for a figure to be what it says --------------------------- */

static void forget_flows(const struct bench *bench, const struct subject *subject)
{
	memset(subject_flows(subject, bench->cpu), 0, subject->sets * sizeof(struct flow_set));
}

/* How many flows were asked for again since they were noted. */
static uint32_t flows_hit(const struct bench *bench, const struct subject *subject)
{
	const struct flow_set *sets = subject_flows(subject, bench->cpu);
	uint32_t hit = 0;

	for (uint32_t i = 0; i < subject->sets; i++)
		for (int way = 0; way < FLOW_WAYS; way++)
			hit += sets[i].tag[way].serial && sets[i].tag[way].again;
	return hit;
}

static uint32_t linear_repeat(const struct subject *subject)
{
	size_t repeat = LINEAR_STEPS / subject->set.count;

	return (uint32_t)(repeat < 64 ? 64 : repeat > 4096 ? 4096 : repeat);
}

/* One figure. */
static double run_arm(const struct bench *bench, struct size *size, enum arm arm)
{
	const struct bench_run few = { .end = HIT_FRAMES };
	const struct bench_run many = { .first = HIT_FRAMES, .end = size->subject.frames };
	struct subject *subject = &size->subject;
	uint32_t wrong = 0;
	double ns;

	switch (arm) {
	case ARM_BARE:
		return test_run(bench, subject, arm, few, BARE_REPEAT);
	case ARM_EMPTY:
	case ARM_TREE_WARM:
		return test_run(bench, subject, arm, few, HIT_REPEAT);
	case ARM_TREE:
		return test_run(bench, subject, arm, many, many.end - many.first);
	case ARM_HIT:
		forget_flows(bench, subject);
		ns = test_run(bench, subject, arm, few, HIT_FRAMES);
		if (ns >= 0)
			ns = test_run(bench, subject, arm, few, HIT_REPEAT);
		wrong = HIT_FRAMES - flows_hit(bench, subject);
		break;
	case ARM_LINEAR:
		return test_run(bench, subject, arm, many, linear_repeat(subject));
	default:
		forget_flows(bench, subject);
		ns = test_run(bench, subject, arm, many, many.end - many.first);
		wrong = flows_hit(bench, subject);
	}
	if (wrong > size->misremembered)
		size->misremembered = wrong;
	return ns;
}

static uint64_t drops_of(const struct size *size)
{
	struct ipsecbpf_stats stats = { 0 };
	uint64_t sum = 0;

	if (stats_read(&size->subject.datapath.pins, &stats))
		return UINT64_MAX;
	for (int reason = 0; reason < DROP_SLOTS; reason++)
		sum += stats.drops[reason];
	return sum;
}

/* Do tree and list find the same rules, and the flow cache what the tree found? */
static int verify(const struct bench *bench, struct size *size)
{
	static const enum arm asked[] = { ARM_MISS, ARM_HIT, ARM_TREE, ARM_LINEAR };
	struct subject *subject = &size->subject;
	struct bench_run run = { .first = HIT_FRAMES, .end = subject->frames };
	uint32_t packets = linear_repeat(subject);
	uint64_t digest[4];

	if (packets > run.end - run.first)
		packets = run.end - run.first;
	forget_flows(bench, subject);
	for (int i = 0; i < 4; i++) {
		double ns = test_run(bench, subject, asked[i], run, packets);

		if (ns < 0)
			return (int)ns;
		digest[i] = subject->object->bss->run.digest;
	}
	if (drops_of(size)) {
		fprintf(stderr, "%zu rules: packets were dropped\n", subject->set.count);
		return -EBADMSG;
	}
	if (digest[0] != digest[1] || digest[0] != digest[2] || digest[0] != digest[3]) {
		fprintf(stderr, "%zu rules: the tree finds other rules than the list\n",
			subject->set.count);
		return -EBADMSG;
	}
	size->verified = packets;
	return 0;
}

static int measure(struct bench *bench)
{
	unsigned int turns = bench->size_count * ARM_COUNT;

	for (unsigned int round = 0; round < bench->rounds; round++)
		for (unsigned int i = 0; i < turns; i++) {
			unsigned int turn = round & 1 ? turns - 1 - i : i;
			struct size *size = &bench->sizes[turn / ARM_COUNT];
			enum arm arm = (enum arm)(turn % ARM_COUNT);
			double ns = run_arm(bench, size, arm);

			if (ns < 0) {
				fprintf(stderr, "test run %s: %s\n", arm_keys[arm],
					strerror((int)-ns));
				return (int)ns;
			}
			size->ns[arm][round] = ns;
		}
	return 0;
}

/* ---- output ---------------------------------------------------------------------------------- */

static json_t *load_json(const struct load_cost *load)
{
	return json_pack("{s:f, s:f, s:f, s:f, s:f, s:f, s:f, s:f, s:f, s:I, s:I, s:I, s:I}",
			 "parse_s", load->parse, "compile_s", load->compile,
			 "install_s", load->install, "first_s", load->first, "cpu_s", load->cpu,
			 "user_mib", load->user_mib, "snapshot_mib", load->snapshot_mib,
			 "counters_mib", load->counters_mib, "text_mib", load->text_mib,
			 "entries", (json_int_t)load->entries, "steps", (json_int_t)load->steps,
			 "file_octets", (json_int_t)load->text_octets,
			 "warnings", (json_int_t)load->warnings);
}

static json_t *arms_json(const struct size *size, unsigned int rounds)
{
	json_t *arms = json_object();

	for (int arm = 0; arm < ARM_COUNT; arm++) {
		json_t *figures = json_array();

		for (unsigned int round = 0; round < rounds; round++)
			json_array_append_new(figures, json_real(size->ns[arm][round]));
		json_object_set_new(arms, arm_keys[arm], figures);
	}
	return arms;
}

static int print(const struct bench *bench)
{
	json_t *all = json_object();
	int err;

	for (unsigned int i = 0; i < bench->size_count; i++) {
		const struct size *size = &bench->sizes[i];
		char key[24];

		snprintf(key, sizeof(key), "%zu", size->subject.set.count);
		json_object_set_new(all, key, json_pack("{s:o, s:o, s:I, s:I, s:I, s:I}",
			"arms", arms_json(size, bench->rounds), "load", load_json(&size->subject.load),
			"flows", (json_int_t)(size->subject.frames - HIT_FRAMES),
			"misremembered", (json_int_t)size->misremembered,
			"verified", (json_int_t)size->verified,
			"drops", (json_int_t)drops_of(size)));
	}
	err = json_dumpf(all, stdout, JSON_COMPACT) || puts("") < 0;
	json_decref(all);
	return err ? -EIO : 0;
}

/* ---- */

/* The per-CPU part of the flow cache that is looked at must be the one that is used. */
static int stay_on_cpu(struct bench *bench)
{
	cpu_set_t set;
	int cpu = sched_getcpu();

	if (cpu < 0)
		return -errno;
	CPU_ZERO(&set);
	CPU_SET((size_t)cpu, &set);
	bench->cpu = cpu;
	return sched_setaffinity(0, sizeof(set), &set) ? -errno : 0;
}

static int run(struct bench *bench, char **sizes)
{
	unsigned int opened = 0;
	int err = datapath_isolate();

	if (!err)
		err = stay_on_cpu(bench);
	for (; !err && opened < bench->size_count; opened++) {
		const struct gen_options options = {
			.kind = bench->kind,
			.family = bench->family,
			.rules = strtoul(sizes[opened], NULL, 10),
			.seed = bench->seed,
		};

		err = subject_open(&bench->sizes[opened].subject, &options);
		if (!err)
			err = verify(bench, &bench->sizes[opened]);
	}
	if (!err)
		err = measure(bench);
	if (!err)
		err = print(bench);
	while (opened)
		subject_close(&bench->sizes[--opened].subject);
	return err;
}

static bool parse_kind(const char *word, enum gen_kind *ret_kind)
{
	for (int kind = 0; kind < GEN_KIND_COUNT; kind++)
		if (!strcmp(word, gen_kind_words[kind])) {
			*ret_kind = (enum gen_kind)kind;
			return true;
		}
	return false;
}

int main(int argc, char **argv)
{
	struct bench bench = { 0 };
	int err;

	if (argc < 6 || argc - 5 > SIZES_MAX || !parse_kind(argv[2], &bench.kind)) {
		fprintf(stderr, "usage: spd_bench 4|6 KIND ROUNDS SEED SIZE...\n");
		return 2;
	}
	bench.family = !strcmp(argv[1], "6") ? FAMILY_V6 : FAMILY_V4;
	bench.rounds = (unsigned int)strtoul(argv[3], NULL, 10);
	bench.seed = strtoul(argv[4], NULL, 10);
	if (!bench.rounds || bench.rounds > ROUNDS_MAX) {
		fprintf(stderr, "spd_bench: ROUNDS is 1 to %d\n", ROUNDS_MAX);
		return 2;
	}
	bench.size_count = (unsigned int)(argc - 5);
	bench.sizes = calloc(bench.size_count, sizeof(*bench.sizes));
	err = bench.sizes ? run(&bench, argv + 5) : -ENOMEM;
	free(bench.sizes);
	if (err)
		fprintf(stderr, "spd_bench: %s\n", strerror(-err));
	return err ? EXIT_FAILURE : EXIT_SUCCESS;
}
