// SPDX-License-Identifier: BSD-2-Clause
/*
 * Which application an identity is, as the hooks find it in a snapshot, against the definition: every
 * match is compared with it, and the most specific one wins. Small worlds, in which matches collide; the
 * identity is that of a connection, and the answer what the hook has remembered beside it.
 *
 * SEED=n repeats a run. Prints what is wrong, and as its last line "N passed, N failed".
 */
#include <bpf/bpf.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "app_world.h"
#include "selftests/spd/rulegen_internal.h"

#define WORLDS 60
#define IDENTITIES 40
#define LOCAL 0x0a090001u
#define REMOTE 0x0a090002u

struct test {
	struct app_world world;
	struct gen_random random;
	unsigned int passed, failed;
};

static uint32_t draw(struct test *test, uint32_t below)
{
	return (uint32_t)(gen_next(&test->random) % below);
}

/* Few values, so that they meet. Digests of a level know the levels above, as those of paths do. */
static struct app_identity draw_identity(struct test *test)
{
	struct app_identity who = { .uid = draw(test, 3), .gid = draw(test, 3), .exe = draw(test, 4) };
	uint32_t depth = draw(test, APP_CGROUP_LEVELS + 1);
	uint64_t path = 0;

	for (uint32_t i = 0; i < depth; i++) {
		path = path * 3 + 1 + draw(test, 2);
		who.cgroup[i] = path;
	}
	if (depth && draw(test, 2)) {
		who.unit_level = 1 + draw(test, depth);
		who.unit = 0x100000 + draw(test, 3);
	}
	return who;
}

static struct app_pattern draw_pattern(struct test *test, uint32_t app)
{
	struct app_pattern pattern = { .app = app, .who = draw_identity(test) };

	if (draw(test, 3) == 0) {
		pattern.unit = true;
		pattern.who.unit = 0x100000 + draw(test, 3);
	} else if (draw(test, 3)) {
		for (uint32_t i = 0; i < APP_CGROUP_LEVELS && pattern.who.cgroup[i]; i++)
			pattern.cgroup_level = i + 1;
	}
	pattern.shape = draw(test, SPD_MATCH_SHAPES);
	if (!pattern.shape && !pattern.unit && !pattern.cgroup_level)
		pattern.shape = SPD_MATCH_UID;
	if (!pattern.who.exe)
		pattern.who.exe = 1;
	return pattern;
}

/* ---- the definition -------------------------------------------------------------------------- */

static bool pattern_holds(const struct app_pattern *pattern, const struct app_identity *who)
{
	uint32_t level = pattern->cgroup_level;

	if (pattern->unit && pattern->who.unit != who->unit)
		return false;
	if (!pattern->unit && level && pattern->who.cgroup[level - 1] != who->cgroup[level - 1])
		return false;
	if ((pattern->shape & SPD_MATCH_EXE) && pattern->who.exe != who->exe)
		return false;
	if ((pattern->shape & SPD_MATCH_UID) && pattern->who.uid != who->uid)
		return false;
	return !(pattern->shape & SPD_MATCH_GID) || pattern->who.gid == who->gid;
}

/* The depth of the cgroup first, a path before a unit; then executable, user, group. */
static uint32_t specificity(const struct app_pattern *pattern, const struct app_identity *who)
{
	uint32_t level = pattern->unit ? who->unit_level : pattern->cgroup_level;

	return level * 100 + !pattern->unit * 50 + pattern->shape;
}

static uint32_t define(const struct app_policy *policy, const struct app_identity *who)
{
	const struct app_pattern *best = NULL;

	for (size_t i = 0; i < policy->pattern_count; i++) {
		const struct app_pattern *pattern = &policy->patterns[i];

		if (pattern_holds(pattern, who) &&
		    (!best || specificity(pattern, who) > specificity(best, who)))
			best = pattern;
	}
	return best ? best->app : 0;
}

/* ---- asking ---------------------------------------------------------------------------------- */

static bool ask(struct test *test, const struct app_identity *who, uint64_t *ret_resolved)
{
	struct app_flow_key key = app_key_of_flow(IPPROTO_TCP, LOCAL, 80, REMOTE, 4000);
	const struct app_packet packet = {
		.proto = IPPROTO_TCP, .src = REMOTE, .dst = LOCAL, .src_port = 4000, .dst_port = 80,
	};
	struct app_flow flow = { .who = *who, .resolved = *ret_resolved };
	int fd = test->world.datapath.pins.app_flows_fd;
	struct app_change change;
	uint32_t verdict;

	if (bpf_map_update_elem(fd, &key, &flow, 0) ||
	    app_world_shoot(&test->world, HOOK_xdp_ingress, &packet, &verdict, &change) ||
	    bpf_map_lookup_elem(fd, &key, &flow))
		return false;
	*ret_resolved = flow.resolved;
	return true;
}

static void test_identity(struct test *test, const struct app_policy *policy)
{
	struct app_identity who = draw_identity(test);
	uint32_t app = define(policy, &who);
	/* What an older policy has said is of no account. */
	uint64_t resolved = APP_RESOLVED(test->world.serial - 1, 7);

	if (ask(test, &who, &resolved) && resolved == APP_RESOLVED(test->world.serial, app)) {
		test->passed++;
		return;
	}
	test->failed++;
	printf("FAIL identity: application %u of serial %u, expected %u of %u (exe %llu uid %u gid %u "
	       "unit %llx at %u)\n", APP_RESOLVED_APP(resolved), APP_RESOLVED_SERIAL(resolved), app,
	       test->world.serial, (unsigned long long)who.exe, who.uid, who.gid,
	       (unsigned long long)who.unit, who.unit_level);
}

static void test_world(struct test *test, bool spread)
{
	struct app_pattern patterns[2 * APP_WORLD_APPS];
	struct app_policy policy = {
		.patterns = patterns, .apps = 1 + draw(test, APP_WORLD_APPS), .spread = spread,
		.seed = gen_next(&test->random),
	};

	for (uint32_t app = 1; app <= policy.apps; app++)
		for (uint32_t i = 0; i <= draw(test, 2); i++)
			if (policy.pattern_count < 2 * APP_WORLD_APPS)
				patterns[policy.pattern_count++] = draw_pattern(test, app);
	if (app_world_put(&test->world, &policy)) {
		printf("FAIL identity: the policy could not be put in force\n");
		test->failed++;
		return;
	}
	for (int i = 0; i < IDENTITIES; i++)
		test_identity(test, &policy);
}

/* An answer of the policy in force is not looked for again. */
static void test_remembered(struct test *test)
{
	const struct app_identity who = { .uid = 1 };
	uint64_t resolved = APP_RESOLVED(test->world.serial, 3);

	if (ask(test, &who, &resolved) && resolved == APP_RESOLVED(test->world.serial, 3))
		test->passed++;
	else if (++test->failed)
		printf("FAIL identity: what was remembered is looked for again\n");
}

int main(void)
{
	const char *seed = getenv("SEED");
	struct test test = { .random = { seed ? strtoull(seed, NULL, 0) : 20261121 } };

	if (datapath_isolate() || app_world_open(&test.world, &(struct datapath_opts){ 0 }))
		return 1;
	for (int i = 0; i < WORLDS; i++)
		test_world(&test, i & 1);
	test_remembered(&test);
	app_world_close(&test.world);
	printf("%u passed, %u failed\n", test.passed, test.failed);
	return test.failed != 0;
}
