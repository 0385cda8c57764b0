/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What tests of two applications share, of user 1 and of user 2: a world, and what is found right or wrong
 * in it.
 *
 * Included by: app_packets.c, app_sockets.c.
 */
#ifndef APP_TESTING_H
#define APP_TESTING_H

#include <bpf/bpf.h>
#include <stdio.h>

#include "app_world.h"
#include "lib/build_skeleton.h"

enum { FIRST = 1, SECOND = 2 };

static const struct app_pattern patterns[] = {
	{ .app = FIRST, .who = { .uid = FIRST }, .shape = SPD_MATCH_UID },
	{ .app = SECOND, .who = { .uid = SECOND }, .shape = SPD_MATCH_UID },
};

/* Begins with a policy; test_begin() fills in the rest. */
struct test {
	struct app_world world;
	const struct pins *pins;	/* of the world */
	const struct app_policy *policy;
	const char *topic;
	unsigned int passed, failed;
};

/* The value of app_endpoints. bpf/maps.h has it with a lock, which only the kernel may hold. */
struct endpoint {
	struct app_identity who;
	uint64_t resolved;
	uint32_t lock, sockets, dying;
	struct app_endpoint_key key;
	uint64_t charged;
};

static inline void check(struct test *test, bool right, const char *what)
{
	if (right)
		test->passed++;
	else
		test->failed++;
	if (!right)
		printf("FAIL %s: %s\n", test->topic, what);
}

/* In a network namespace of its own. False: it says why. */
static inline bool test_begin(struct test *test)
{
	const struct bpf_map *endpoints;

	if (datapath_isolate() || app_world_open(&test->world, &(struct datapath_opts){ 0 }))
		return false;
	test->pins = &test->world.datapath.pins;
	endpoints = test->world.datapath.loader.object->maps.app_endpoints;
	test->topic = "begin";
	check(test, bpf_map__value_size(endpoints) == sizeof(struct endpoint), "what an endpoint is");
	check(test, !app_world_put(&test->world, test->policy), "its policy");
	return !test->failed;
}

/* Prints the last line. Returns what main() does. */
static inline int test_end(struct test *test)
{
	app_world_close(&test->world);
	printf("%u passed, %u failed\n", test->passed, test->failed);
	return test->failed != 0;
}

/* As the hooks would of one socket. */
static inline void note_endpoint(struct test *test, struct app_endpoint_key key, uint32_t app)
{
	const struct endpoint value = { .who = { .uid = app }, .sockets = 1, .key = key };

	check(test, !bpf_map_update_elem(test->pins->app_endpoints_fd, &key, &value, 0),
	      "an endpoint cannot be noted");
}

#endif /* APP_TESTING_H */
