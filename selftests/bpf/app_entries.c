// SPDX-License-Identifier: BSD-2-Clause
/*
 * Sockets that come and go on all CPUs at once: what is noted of them is there as long as one of them is,
 * and nothing is left when all are gone; an application never has more connections than it may.
 *
 * Prints what is wrong, and as its last line "N passed, N failed".
 */
#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <errno.h>
#include <netinet/in.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>

#include "lib/abi_user.h"

#include "app_entries_probe.h"

#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wshadow"
#pragma GCC diagnostic ignored "-Wcast-qual"
#include "bpf/app_entries_probe.skel.h"
#pragma GCC diagnostic pop

#define THREADS 4
#define RUNS 50

struct test {
	struct app_entries_probe_bpf *object;
	int prog_fd;
	unsigned int passed, failed;
};

static void check(struct test *test, bool right, const char *topic, const char *what)
{
	if (right)
		test->passed++;
	else
		test->failed++;
	if (!right)
		printf("FAIL %s: %s\n", topic, what);
}

static void *run(void *context)
{
	const struct test *test = context;
	uint8_t frame[64] = { 0 };
	intptr_t failed = 0;

	for (int i = 0; i < RUNS; i++) {
		LIBBPF_OPTS(bpf_test_run_opts, opts, .data_in = frame,
			    .data_size_in = sizeof(frame), .repeat = 1);

		failed += !!bpf_prog_test_run_opts(test->prog_fd, &opts);
	}
	return (void *)failed;
}

static void run_all(struct test *test, const struct bpf_program *prog, const char *topic)
{
	pthread_t threads[THREADS];
	void *failed = NULL;

	memset(&test->object->bss->result, 0, sizeof(test->object->bss->result));
	test->prog_fd = bpf_program__fd(prog);
	for (int i = 0; i < THREADS; i++)
		check(test, !pthread_create(&threads[i], NULL, run, test), topic, "a thread");
	for (int i = 0; i < THREADS; i++)
		check(test, !pthread_join(threads[i], &failed) && !failed, topic, "its runs");
}

static bool is_empty(const struct bpf_map *map)
{
	uint8_t key[64];

	return bpf_map_get_next_key(bpf_map__fd(map), NULL, key) && errno == ENOENT;
}

static void test_endpoints(struct test *test)
{
	const struct app_entries_result *result = &test->object->bss->result;
	uint64_t name = APP_ENTRIES_NAME ^ APP_ENTRIES_ENDPOINTS, used = 1;
	char text[100];

	run_all(test, test->object->progs.endpoints, "endpoints");
	snprintf(text, sizeof(text), "%llu of %llu not there while in use",
		 (unsigned long long)result->lost, (unsigned long long)result->added);
	check(test, result->added && !result->lost, "endpoints", text);
	check(test, is_empty(test->object->maps.app_endpoints), "endpoints", "some are left");
	check(test, !bpf_map_lookup_elem(bpf_map__fd(test->object->maps.app_usage), &name, &used) &&
	      !used, "endpoints", "they are still charged for");
	printf("endpoints: %llu came and went, %llu refused\n", (unsigned long long)result->added,
	       (unsigned long long)result->refused);
}

/* One that is going, or whose place was given to another key, is not joined: that is refused, as it may
 * be gone in a moment. */
static void test_going(struct test *test)
{
	struct {
		struct app_identity who;
		uint64_t resolved;
		uint32_t lock, sockets, dying;
		struct app_endpoint_key key;
		uint64_t charged;
	} value = { .dying = 1 };
	const struct app_entries_result *result = &test->object->bss->result;
	int fd = bpf_map__fd(test->object->maps.app_endpoints);
	struct app_endpoint_key keys[] = {
		{ .proto = IPPROTO_UDP, .port = 1 }, { .proto = IPPROTO_UDP, .port = 2 },
	};

	value.key = keys[0];
	check(test, !bpf_map_update_elem(fd, &keys[0], &value, 0), "going", "one that is dying");
	value.dying = 0;
	check(test, !bpf_map_update_elem(fd, &keys[1], &value, 0), "going", "one of another key");
	run_all(test, test->object->progs.endpoints, "going");
	check(test, !result->added && result->refused, "going", "it was joined");
	for (int i = 0; i < 2; i++)
		check(test, !bpf_map_lookup_elem(fd, &keys[i], &value) && !value.sockets &&
		      !bpf_map_delete_elem(fd, &keys[i]), "going", "it was changed");
}

static void test_flows(struct test *test)
{
	const struct app_entries_result *result = &test->object->bss->result;
	uint64_t name = APP_ENTRIES_NAME, used = 1;
	char text[100];

	run_all(test, test->object->progs.flows, "flows");
	snprintf(text, sizeof(text), "%llu of %llu not there, %llu too many",
		 (unsigned long long)result->lost, (unsigned long long)result->added,
		 (unsigned long long)result->too_many);
	check(test, result->added && !result->lost && !result->too_many, "flows", text);
	check(test, is_empty(test->object->maps.app_flows), "flows", "some are left");
	check(test, !bpf_map_lookup_elem(bpf_map__fd(test->object->maps.app_usage), &name, &used) &&
	      !used, "flows", "they are still charged for");
	printf("flows: %llu came and went, %llu refused\n", (unsigned long long)result->added,
	       (unsigned long long)result->refused);
}

/* ---- no room --------------------------------------------------------------------------------- */

enum { ROOM = 4 };

/* What the entry point returns: 0 or a drop reason. */
static int ask(struct test *test, enum app_entries_what what, uint16_t port, uint64_t cookie)
{
	uint8_t frame[64] = { 0 };
	LIBBPF_OPTS(bpf_test_run_opts, opts, .data_in = frame, .data_size_in = sizeof(frame),
		    .repeat = 1);

	test->object->bss->asked = (struct app_entries_asked){ what, port, cookie };
	if (bpf_prog_test_run_opts(bpf_program__fd(test->object->progs.one), &opts))
		return -1;
	return (int)opts.retval;
}

static uint64_t used(const struct test *test, uint64_t name)
{
	uint64_t count = 0;

	bpf_map_lookup_elem(bpf_map__fd(test->object->maps.app_usage), &name, &count);
	return count;
}

static bool has(const struct bpf_map *map, uint16_t port)
{
	const struct app_flow_key key = { .proto = IPPROTO_TCP, .local_port = port };
	struct app_flow flow;

	return !bpf_map_lookup_elem(bpf_map__fd(map), &key, &flow);
}

/* Refused, and not charged for; what goes makes room. */
static void test_no_room(struct test *test)
{
	const uint64_t endpoints = APP_ENTRIES_NAME ^ APP_ENTRIES_ENDPOINTS;

	for (uint16_t i = 0; i < ROOM; i++) {
		check(test, !ask(test, APP_ENTRIES_BIND, i, 1), "no room", "an endpoint");
		check(test, !ask(test, APP_ENTRIES_OPEN, i, 1), "no room", "a connection");
	}
	check(test, ask(test, APP_ENTRIES_BIND, ROOM, 1) == DROP_APP_FULL, "no room",
	      "one endpoint more");
	check(test, ask(test, APP_ENTRIES_OPEN, ROOM, 1) == DROP_APP_FULL, "no room",
	      "one connection more");
	check(test, used(test, endpoints) == ROOM && used(test, APP_ENTRIES_NAME) == ROOM,
	      "no room", "what was refused is charged for");
	check(test, !ask(test, APP_ENTRIES_BIND, 0, 1), "no room", "one that is there is shared");
	ask(test, APP_ENTRIES_UNBIND, 1, 1);
	check(test, !ask(test, APP_ENTRIES_BIND, ROOM, 1), "no room", "an endpoint in its place");
}

/* One that cannot be kept as closed stays among those that are open, until its key is used anew. */
static void test_no_room_for_closed(struct test *test)
{
	const struct bpf_map *closed = test->object->maps.app_closed;
	const struct bpf_map *flows = test->object->maps.app_flows;

	check(test, !ask(test, APP_ENTRIES_CLOSE, 0, 1) && has(closed, 0) && !has(flows, 0),
	      "no room for closed", "one has room");
	check(test, ask(test, APP_ENTRIES_CLOSE, 1, 1) == DROP_APP_FULL && has(flows, 1),
	      "no room for closed", "the next stays");
	check(test, used(test, APP_ENTRIES_NAME) == ROOM - 1, "no room for closed",
	      "it is charged for");
	check(test, !ask(test, APP_ENTRIES_OPEN, 1, 2) && used(test, APP_ENTRIES_NAME) == ROOM - 1,
	      "no room for closed", "a new one takes its place");
	check(test, !ask(test, APP_ENTRIES_CLOSE, 1, 1) && has(flows, 1), "no room for closed",
	      "the old one's end is not the new one's");
}

/* Maps that are full soon; and of those that are closed the kernel never makes room by itself. */
static struct app_entries_probe_bpf *load_small(void)
{
	struct app_entries_probe_bpf *object = app_entries_probe_bpf__open();

	if (!object)
		return NULL;
	if (bpf_map__set_max_entries(object->maps.app_flows, ROOM) ||
	    bpf_map__set_max_entries(object->maps.app_endpoints, ROOM) ||
	    bpf_map__set_type(object->maps.app_closed, BPF_MAP_TYPE_HASH) ||
	    bpf_map__set_max_entries(object->maps.app_closed, 1) ||
	    app_entries_probe_bpf__load(object)) {
		app_entries_probe_bpf__destroy(object);
		return NULL;
	}
	return object;
}

int main(void)
{
	struct test test = { .object = app_entries_probe_bpf__open_and_load() };

	if (!test.object) {
		fprintf(stderr, "cannot load the probe: %s\n", strerror(errno));
		return 1;
	}
	test_endpoints(&test);
	test_going(&test);
	test_flows(&test);
	app_entries_probe_bpf__destroy(test.object);
	test.object = load_small();
	if (!test.object) {
		fprintf(stderr, "cannot load the probe with small maps: %s\n", strerror(errno));
		return 1;
	}
	test_no_room(&test);
	test_no_room_for_closed(&test);
	app_entries_probe_bpf__destroy(test.object);
	printf("%u passed, %u failed\n", test.passed, test.failed);
	return test.failed != 0;
}
