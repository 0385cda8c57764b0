// SPDX-License-Identifier: BSD-2-Clause
/*
 * What becomes of the counters of rules when policy changes: rules that stay the same keep theirs,
 * wherever they stand; a policy that comes back after a trial goes on from where it was.
 *
 * Prints what is wrong, and as its last line "N passed, N failed".
 */
#include <errno.h>
#include <linux/if_ether.h>
#include <netinet/in.h>
#include <netinet/ip.h>
#include <stdio.h>
#include <string.h>

#include "datapath.h"
#include "lib/bytes.h"
#include "lib/policy_store.h"
#include "lib/policy_trial.h"
#include "lib/rule_counts.h"
#include "lib/rule_stats.h"

#define POLICY(defaults, rules)							\
	"{\"version\":1,\"bypass_essential\":[],\"defaults\":{\"in\":\"" defaults "\"," \
	"\"out\":\"discard\",\"non_ip\":\"discard\"},\"rules\":[" rules "]}"
#define RULE(name, remote, action)						\
	"{\"name\":\"" name "\",\"remote\":\"" remote "\",\"action\":\"" action "\"}"
#define RULE_A RULE("a", "10.0.0.1", "bypass")
#define RULE_B RULE("b", "10.0.0.2", "discard")
#define PAYLOAD 8
#define TRIAL_SECONDS 86400

struct test {
	struct datapath datapath;
	struct rule_stats stats;	/* kept from one reading to the next */
	unsigned int passed, failed;
};

static void check(struct test *test, bool right, const char *what)
{
	if (right)
		test->passed++;
	else
		test->failed++;
	if (!right)
		printf("FAIL counters: %s\n", what);
}

static void apply(struct test *test, const char *text, uint32_t trial_seconds)
{
	struct policy *policy = policy_parse(text, strlen(text), "counted", NULL);

	if (!policy || datapath_apply(&test->datapath, policy, trial_seconds))
		check(test, false, text);
	policy_free(policy);
}

/* Packets from 10.0.0.`last`; out: to it. */
static void shoot(struct test *test, enum hook hook, uint8_t last, uint32_t count)
{
	uint8_t data[ETH_HLEN + sizeof(struct iphdr) + PAYLOAD] = { 0 };
	uint32_t remote = htobe32(0x0a000000u | last), local = htobe32(0x0a090001);
	struct iphdr ip = {
		.version = 4, .ihl = 5, .ttl = 64, .protocol = 47,
		.tot_len = htobe16(sizeof(ip) + PAYLOAD),
		.saddr = hook == HOOK_tc_egress ? local : remote,
		.daddr = hook == HOOK_tc_egress ? remote : local,
	};
	struct shot shot = { .data = data, .len = sizeof(data), .repeat = count };

	store_be16(data + 2 * ETH_ALEN, ETH_P_IP);
	memcpy(data + ETH_HLEN, &ip, sizeof(ip));
	if (datapath_shoot(&test->datapath, hook, &shot))
		check(test, false, "a packet could not be sent");
}

static const struct rule_stat *find(const struct rule_stats *stats, const char *name)
{
	if (!strcmp(name, "in") || !strcmp(name, "out"))
		return &stats->defaults[strcmp(name, "in") ? SPD_OUT : SPD_IN];
	for (size_t i = 0; i < stats->count; i++)
		if (!strcmp(stats->rules[i].name, name))
			return &stats->rules[i];
	return NULL;
}

/* A rule's, or "in" and "out" for the defaults'. */
static void expect(struct test *test, const char *when, const char *name, uint64_t packets)
{
	const struct rule_stat *stat;
	char what[160];
	int err = rule_stats_read(&test->datapath.pins, &test->stats);

	stat = err ? NULL : find(&test->stats, name);
	snprintf(what, sizeof(what), "%s, \"%s\": %lld packets, expected %llu (error %d)", when, name,
		 stat ? (long long)stat->packets : -1, (unsigned long long)packets, err);
	check(test, stat && stat->packets == packets &&
	      stat->bytes == packets * (ETH_HLEN + sizeof(struct iphdr) + PAYLOAD) &&
	      (stat->idle_ms == UINT64_MAX) == !packets, what);
}

/* Stands for the one in lib/policy_trial.c: packets come at the last moment before a flip. */
static struct test *flipping;

void __real_policy_flip(const struct pins *pins, uint32_t generation, uint32_t trial_seconds);
void __wrap_policy_flip(const struct pins *pins, uint32_t generation, uint32_t trial_seconds);

void __wrap_policy_flip(const struct pins *pins, uint32_t generation, uint32_t trial_seconds)
{
	if (flipping)
		shoot(flipping, HOOK_xdp_ingress, 1, 5);
	__real_policy_flip(pins, generation, trial_seconds);
}

/* What is counted late is there at once, on trial too, and not only when the old policy goes. */
static void test_midst_of_apply(struct test *test)
{
	apply(test, POLICY("discard", RULE("c", "10.0.0.3", "bypass")), 0);
	apply(test, POLICY("discard", RULE_A), 0);
	flipping = test;
	apply(test, POLICY("discard", RULE_B "," RULE_A), TRIAL_SECONDS);
	expect(test, "counted before the flip to a trial", "a", 5);
	check(test, !policy_trial_end(&test->datapath.pins, true), "keeping it");
	policy_retire_generation(&test->datapath.pins, !policy_generation(&test->datapath.pins), NULL);
	expect(test, "the trial is kept", "a", 5);
	apply(test, POLICY("discard", RULE_A), 0);
	expect(test, "counted before the flip", "a", 10);
	flipping = NULL;
}

static void test_same_rules(struct test *test)
{
	apply(test, POLICY("discard", RULE_A "," RULE_B), 0);
	shoot(test, HOOK_xdp_ingress, 1, 10);
	shoot(test, HOOK_tc_egress, 1, 5);
	shoot(test, HOOK_xdp_ingress, 2, 3);
	shoot(test, HOOK_xdp_ingress, 9, 4);
	shoot(test, HOOK_tc_egress, 9, 2);
	expect(test, "at first", "a", 15);
	expect(test, "at first", "b", 3);
	expect(test, "at first", "in", 4);
	expect(test, "at first", "out", 2);
	check(test, test->stats.rules[1].line > test->stats.rules[0].line, "lines of rules");

	apply(test, POLICY("discard", RULE("c", "10.0.0.3", "bypass") "," RULE_B "," RULE_A), 0);
	expect(test, "rules moved", "a", 15);
	expect(test, "rules moved", "b", 3);
	expect(test, "a new rule", "c", 0);
	expect(test, "rules moved", "in", 4);
	shoot(test, HOOK_xdp_ingress, 1, 1);
	expect(test, "and on", "a", 16);

	apply(test, POLICY("bypass", RULE("a", "10.0.0.1", "discard") "," RULE_B), 0);
	expect(test, "another action", "a", 0);
	expect(test, "the same still", "b", 3);
	expect(test, "another default", "in", 0);
	expect(test, "the same default", "out", 2);
}

static void test_trials(struct test *test)
{
	const struct pins *pins = &test->datapath.pins;
	struct control *control = pins->control;
	uint32_t serial, tried;
	uint64_t trial;

	apply(test, POLICY("discard", RULE_A "," RULE_B), 0);
	serial = test->stats.serial;
	shoot(test, HOOK_xdp_ingress, 1, 7);
	apply(test, POLICY("bypass", RULE_B "," RULE_A), TRIAL_SECONDS);
	shoot(test, HOOK_xdp_ingress, 1, 100);
	expect(test, "on trial", "a", 107);
	tried = policy_generation(pins);
	check(test, !policy_trial_end(pins, false), "going back");
	policy_free_generation(pins, tried);
	expect(test, "gone back", "a", 7);
	shoot(test, HOOK_xdp_ingress, 1, 1);
	expect(test, "gone back", "a", 8);

	apply(test, POLICY("bypass", RULE_B "," RULE_A), TRIAL_SECONDS);
	shoot(test, HOOK_xdp_ingress, 1, 10);
	/* As if a hook had looked at the time before the flip, and counted after it. */
	trial = control->active;
	tried = policy_generation(pins);
	control->active = !tried;
	shoot(test, HOOK_xdp_ingress, 1, 2);
	control->active = trial;
	expect(test, "on trial again", "a", 18);
	check(test, !policy_trial_end(pins, true), "staying");
	policy_retire_generation(pins, !tried, NULL);
	expect(test, "it stays", "a", 20);
	check(test, test->stats.serial == serial + 3, "no serial is given twice");
}

/* The last test: flows of old serials may be remembered. 0 would say that there is no policy. */
static void test_serials(struct test *test)
{
	test->datapath.pins.control->last_serial = UINT32_MAX;
	apply(test, POLICY("discard", RULE_B "," RULE_A), 0);
	expect(test, "serials begin again", "a", 10);
	check(test, test->stats.serial == 1, "the serial after the last");
}

#define APPLICATION(name, user) \
	"{\"name\":\"" name "\",\"match\":{\"user\":" user "},\"networks\":[" \
	"{\"remote\":\"10.0.0.0/8\",\"class\":\"trusted\"}]}"
#define APPLICATIONS(list)								\
	"{\"version\":1,\"bypass_essential\":[],\"defaults\":{\"in\":\"discard\","	\
	"\"out\":\"discard\",\"non_ip\":\"discard\"},\"rules\":[],\"applications\":[" list "]}"

/* Counters as a policy begins with them, in the place of a generation. */
static bool put_counters(struct test *test, uint32_t generation, const char *text,
			 struct inner_map *map)
{
	struct policy *policy = policy_parse(text, strlen(text), "counted", NULL);
	struct inner_map_change change = {
		.outer_fd = test->datapath.pins.rule_counts_fd, .key = generation, .map = map,
	};
	bool done = policy && !rule_counts_make(map, policy) && !inner_map_change(&change, 1);

	check(test, done, text);
	policy_free(policy);
	return done;
}

/* Applications keep theirs by name. Each has one rule here, and there are no others. */
static void test_applications(struct test *test)
{
	enum { HOST, FIRST, SECOND, APPS = SECOND };	/* places in the file */
	struct rule_count *old, *new;
	struct inner_map from, to;

	if (!put_counters(test, 0, APPLICATIONS(APPLICATION("a", "1") "," APPLICATION("b", "2")),
			  &from))
		return;
	if (put_counters(test, 1, APPLICATIONS(APPLICATION("b", "2") "," APPLICATION("c", "3")),
			 &to)) {
		old = from.area;
		new = to.area;
		old[0].packets = 1;
		old[1].packets = 2;
		old[RULE_COUNT_OPTIONAL(APPS, HOST)].packets = 3;
		old[RULE_COUNT_OPTIONAL(APPS, FIRST)].packets = 4;
		old[RULE_COUNT_OPTIONAL(APPS, SECOND)].packets = 5;
		old[RULE_COUNT_DEFAULT(APPS, SPD_IN)].packets = 6;
		old[RULE_COUNT_DEFAULT(APPS, SPD_OUT)].packets = 7;
		check(test, !rule_counts_carry(&test->datapath.pins, 0, 1), "carrying over");
		check(test, new[0].packets == 2 && !new[1].packets, "rules of applications");
		check(test, new[RULE_COUNT_OPTIONAL(APPS, HOST)].packets == 3, "the host's optional");
		check(test, new[RULE_COUNT_OPTIONAL(APPS, FIRST)].packets == 5 &&
			    !new[RULE_COUNT_OPTIONAL(APPS, SECOND)].packets, "optional, by name");
		check(test, new[RULE_COUNT_DEFAULT(APPS, SPD_IN)].packets == 6 &&
			    new[RULE_COUNT_DEFAULT(APPS, SPD_OUT)].packets == 7, "both defaults");
		inner_map_close(&to);
	}
	inner_map_close(&from);
}

int main(void)
{
	const struct datapath_opts opts = { .mark_value = 1, .mark_mask = 1 };
	struct test test = { 0 };
	int err = datapath_isolate();

	if (!err)
		err = datapath_open(&test.datapath, &opts);
	if (err) {
		fprintf(stderr, "cannot prepare: %s\n", strerror(-err));
		return 1;
	}
	check(&test, rule_stats_read(&test.datapath.pins, &test.stats) == -ENODATA,
	      "without a policy");
	test_same_rules(&test);
	test_trials(&test);
	test_midst_of_apply(&test);
	test_serials(&test);
	test_applications(&test);
	rule_stats_fini(&test.stats);
	datapath_close(&test.datapath);
	printf("%u passed, %u failed\n", test.passed, test.failed);
	return test.failed || !test.passed;
}
