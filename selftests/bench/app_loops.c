// SPDX-License-Identifier: BSD-2-Clause
/*
 * What connect() and sendto() cost one process, arm by arm: it goes from network namespace to network
 * namespace and from cgroup to cgroup, makes connections and sends datagrams in each, in order and then
 * in reverse. Called by: app_connect.py.
 *
 *	app_loops ROUNDS CONNECTIONS DATAGRAMS PEER EMPTY NAME NETNS PEER-NETNS CGROUP ...
 *
 * PEER: the IPv4 address of the other side of each arm's wire. EMPTY: the name of the arm whose cgroup
 * gets the empty programs, attached for as long as this runs. Writes one JSON object:
 * {NAME: {"loopback": {"connect": [ns of each round], ...}, "wire": ...}}.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "app_loops.h"

#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wshadow"
#pragma GCC diagnostic ignored "-Wcast-qual"
#include "bench/app_empty.skel.h"
#pragma GCC diagnostic pop

#define ARMS_MAX     8
#define FIXED_ARGS   6
#define ARM_ARGS     4
#define WARM_UP_PART 8	/* one in so many, before each round, is not measured */

struct bench {
	unsigned int rounds, connections, datagrams, arm_count;
	struct arm arms[ARMS_MAX];
	struct timing *timings;	/* [round][arm][way] */
};

static struct timing *timing_at(const struct bench *bench, unsigned int round, unsigned int arm,
				enum way way)
{
	return &bench->timings[(round * bench->arm_count + arm) * WAY_COUNT + way];
}

/* ---- the empty programs ------------------------------------------------------------------------ */

static int attach_empty(struct app_empty_bpf *skel, const char *cgroup)
{
	struct bpf_program *program;
	int fd = open(cgroup, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	if (fd < 0)
		return -errno;
	bpf_object__for_each_program(program, skel->obj) {
		/* The link lives until this process ends. */
		if (!bpf_program__attach_cgroup(program, fd)) {
			int err = -errno;

			fprintf(stderr, "app_loops: %s: %s\n", bpf_program__name(program), strerror(-err));
			close(fd);
			return err;
		}
	}
	close(fd);
	return 0;
}

/* ---- rounds ------------------------------------------------------------------------------------ */

static int measure_arm(struct bench *bench, unsigned int round, unsigned int number)
{
	const struct arm *arm = &bench->arms[number];
	struct timing ignored;
	int err = arm_enter(arm);

	for (enum way way = 0; !err && way < WAY_COUNT; way++) {
		err = arm_measure(arm, way, bench->connections / WARM_UP_PART + 1,
				  bench->datagrams / WARM_UP_PART + 1, &ignored);
		err = err ?: arm_measure(arm, way, bench->connections, bench->datagrams,
					 timing_at(bench, round, number, way));
	}
	return err;
}

static int measure(struct bench *bench)
{
	int err = 0;

	for (unsigned int round = 0; !err && round < bench->rounds; round++)
		for (unsigned int i = 0; !err && i < bench->arm_count; i++)
			err = measure_arm(bench, round, round % 2 ? bench->arm_count - 1 - i : i);
	return err;
}

/* ---- output ------------------------------------------------------------------------------------ */

#define TIMINGS(X) X(life) X(create) X(connect) X(close) X(sendto)

#define DEFINE_PICK(field)							\
	static double pick_##field(const struct timing *timing)			\
	{									\
		return timing->field;						\
	}
TIMINGS(DEFINE_PICK)

static void print_rounds(const struct bench *bench, unsigned int arm, enum way way, const char *name,
			 double (*pick)(const struct timing *timing))
{
	printf("\"%s\": [", name);
	for (unsigned int round = 0; round < bench->rounds; round++)
		printf("%s%.1f", round ? ", " : "", pick(timing_at(bench, round, arm, way)));
	printf("]");
}

static void print_way(const struct bench *bench, unsigned int arm, enum way way)
{
	const char *separator = "";

#define PRINT(field)								\
	printf("%s", separator);						\
	separator = ", ";							\
	print_rounds(bench, arm, way, #field, pick_##field);
	TIMINGS(PRINT)
}

static void print_result(const struct bench *bench)
{
	static const char *const names[WAY_COUNT] = { "loopback", "wire" };

	printf("{");
	for (unsigned int arm = 0; arm < bench->arm_count; arm++) {
		printf("%s\"%s\": {", arm ? ", " : "", bench->arms[arm].name);
		for (enum way way = 0; way < WAY_COUNT; way++) {
			printf("%s\"%s\": {", way ? ", " : "", names[way]);
			print_way(bench, arm, way);
			printf("}");
		}
		printf("}");
	}
	printf("}\n");
}

/* ---- the program ------------------------------------------------------------------------------- */

static unsigned int number(const char *text)
{
	char *end;
	unsigned long value = strtoul(text, &end, 10);

	if (!*text || *end || !value || value > 1000000) {
		fprintf(stderr, "app_loops: not a number from 1 to 1000000: %s\n", text);
		exit(2);
	}
	return (unsigned int)value;
}

static int open_arms(struct bench *bench, char **argv, struct app_empty_bpf *skel)
{
	struct in_addr peer;

	if (inet_pton(AF_INET, argv[4], &peer) != 1)
		return -EINVAL;
	for (unsigned int i = 0; i < bench->arm_count; i++) {
		char **arg = argv + FIXED_ARGS + i * ARM_ARGS;
		int err;

		bench->arms[i].name = arg[0];
		err = arm_open(&bench->arms[i], arg[1], arg[2], arg[3], peer);
		if (!err && !strcmp(arg[0], argv[5]))
			err = attach_empty(skel, arg[3]);
		if (err)
			return err;
	}
	return 0;
}

static int run(struct bench *bench, char **argv, struct app_empty_bpf *skel)
{
	int err = open_arms(bench, argv, skel);

	if (err)
		return err;
	err = measure(bench);
	if (!err)
		print_result(bench);
	return err;
}

int main(int argc, char **argv)
{
	struct app_empty_bpf *skel = NULL;
	struct bench bench = {};
	int err = -ENOMEM;

	if (argc < FIXED_ARGS + ARM_ARGS || (argc - FIXED_ARGS) % ARM_ARGS ||
	    argc > FIXED_ARGS + ARMS_MAX * ARM_ARGS) {
		fprintf(stderr, "app_loops: see its source for the arguments\n");
		return 2;
	}
	bench.rounds = number(argv[1]);
	bench.connections = number(argv[2]);
	bench.datagrams = number(argv[3]);
	bench.arm_count = (unsigned int)(argc - FIXED_ARGS) / ARM_ARGS;
	bench.timings = calloc((size_t)bench.rounds * bench.arm_count * WAY_COUNT,
			       sizeof(*bench.timings));
	skel = app_empty_bpf__open_and_load();
	if (bench.timings && skel)
		err = run(&bench, argv, skel);
	app_empty_bpf__destroy(skel);
	free(bench.timings);
	return err ? 1 : 0;
}
