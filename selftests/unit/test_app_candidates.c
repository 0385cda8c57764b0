// SPDX-License-Identifier: BSD-2-Clause
/* Why a match lost; what an application's rules have counted. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "lib/app_live.h"

/* A process in /a/b, a unit at level 2, of program 7, user 1 and group 2. */
static const struct app_identity process = {
	.cgroup = { 11, 12 }, .unit = 20, .unit_level = 2, .exe = 7, .uid = 1, .gid = 2,
};

static struct app_pattern pattern(uint32_t app, uint32_t cgroup_level, bool unit, uint32_t shape)
{
	struct app_pattern made = {
		.who = process, .cgroup_level = cgroup_level, .unit = unit, .shape = shape, .app = app,
	};

	return made;
}

/* `lost`: why the second of two matches loses to the first. */
static void expect_lost(struct app_pattern winner, struct app_pattern loser, const char *lost)
{
	struct app_pattern items[] = { loser, winner };
	const struct app_patterns patterns = { .items = items, .count = 2 };
	struct app_candidate *found;
	size_t count;

	if (!strcmp(lost, "it comes later in the file")) {
		items[0] = winner;
		items[1] = loser;
	}
	items[0].app = 1;
	items[1].app = 2;
	assert_int_equal(app_candidates(&patterns, &process, &found, &count), 0);
	assert_int_equal(count, 2);
	for (size_t i = 0; i < count; i++) {
		assert_int_equal(found[i].app, i);
		assert_int_equal(found[i].match, 0);
		assert_int_equal(found[i].decided, !found[i].lost);
		if (found[i].lost)
			assert_string_equal(found[i].lost, lost);
	}
	assert_int_not_equal(found[0].decided, found[1].decided);
	free(found);
}

static void test_why_lost(void **state)
{
	(void)state;
	expect_lost(pattern(1, 2, false, 0), pattern(2, 1, false, SPD_MATCH_EXE),
		    "its cgroup is less deep");
	expect_lost(pattern(1, 1, false, 0), pattern(2, 0, false, SPD_MATCH_EXE | SPD_MATCH_UID),
		    "it names no cgroup");
	expect_lost(pattern(1, 0, true, 0), pattern(2, 1, false, 0), "its cgroup is less deep");
	expect_lost(pattern(1, 2, false, 0), pattern(2, 0, true, SPD_MATCH_EXE),
		    "a cgroup's path goes before the unit");
	expect_lost(pattern(1, 2, false, SPD_MATCH_EXE),
		    pattern(2, 2, false, SPD_MATCH_UID | SPD_MATCH_GID), "it names no executable");
	expect_lost(pattern(1, 0, false, SPD_MATCH_UID), pattern(2, 0, false, SPD_MATCH_GID),
		    "it names no user");
	expect_lost(pattern(1, 0, false, SPD_MATCH_EXE | SPD_MATCH_GID),
		    pattern(2, 0, false, SPD_MATCH_EXE), "it names no group");
	expect_lost(pattern(1, 0, false, SPD_MATCH_UID), pattern(2, 0, false, SPD_MATCH_UID),
		    "it comes later in the file");
}

static void test_matches_are_counted_by_application(void **state)
{
	struct app_pattern items[] = {
		pattern(1, 1, false, 0), pattern(2, 0, false, SPD_MATCH_UID),
		pattern(2, 0, false, SPD_MATCH_GID), pattern(2, 2, false, 0), pattern(3, 0, true, 0),
	};
	const struct app_patterns patterns = { .items = items, .count = 5 };
	struct app_candidate *found;
	size_t count;

	(void)state;
	items[2].who.gid = 99;	/* does not match */
	assert_int_equal(app_candidates(&patterns, &process, &found, &count), 0);
	assert_int_equal(count, 4);
	assert_int_equal(found[1].app, 1);
	assert_int_equal(found[1].match, 0);
	assert_int_equal(found[2].match, 2);
	assert_true(found[2].decided);
	assert_int_equal(found[3].app, 2);
	assert_int_equal(found[3].match, 0);
	free(found);
}

static void test_nothing_matches(void **state)
{
	struct app_pattern item = pattern(1, 1, false, 0);
	const struct app_patterns patterns = { .items = &item, .count = 1 };
	struct app_candidate *found;
	size_t count;

	(void)state;
	item.who.cgroup[0] = 5;
	assert_int_equal(app_candidates(&patterns, &process, &found, &count), 0);
	assert_int_equal(count, 0);
	free(found);
}

static void test_match_text(void **state)
{
	char cgroup[] = "/a/b", user[] = "ftp", exe[] = "/usr/sbin/vsftpd", unit[] = "x.service";
	const struct app_match one = { .cgroup = cgroup, .user = user };
	const struct app_match other = { .unit = unit, .exe = exe, .group = user };
	char text[128];

	(void)state;
	assert_string_equal(app_match_text(&one, text, sizeof(text)), "cgroup /a/b, user ftp");
	assert_string_equal(app_match_text(&other, text, sizeof(text)),
			    "unit x.service, executable /usr/sbin/vsftpd, group ftp");
	assert_string_equal(app_match_text(&other, text, 8), "unit x.");
}

static void expect_traffic(const struct app_info *info, enum app_traffic_class class,
			   uint64_t packets, uint64_t bytes)
{
	assert_int_equal(info->traffic[class].packets, packets);
	assert_int_equal(info->traffic[class].bytes, bytes);
}

/* What passed in the clear under an optional protection was counted by the rule as well. */
static void test_traffic(void **state)
{
	struct application apps[2] = { 0 };
	struct rule rules[] = {
		{ .action = SPD_BYPASS },
		{ .application = 1, .action = SPD_BYPASS },
		{ .application = 1, .action = SPD_PROTECT },
		{ .application = 2, .action = SPD_DISCARD },
		{ .application = 2, .action = SPD_DISCARD },
	};
	const struct policy policy = {
		.rules = rules, .rule_count = 1, .all_rule_count = 5,
		.applications = apps, .application_count = 2,
	};
	const struct rule_count sums[RULE_COUNT_SLOTS(5, 2)] = {
		{ .packets = 1000, .bytes = 1000 }, { .packets = 1, .bytes = 10 },
		{ .packets = 7, .bytes = 70 }, { .packets = 3, .bytes = 30 },
		{ .packets = 4, .bytes = 40 },
		[RULE_COUNT_DEFAULT(5, SPD_OUT)] = { .packets = 50 },
		[RULE_COUNT_OPTIONAL(5, 0)] = { .packets = 9 },
		[RULE_COUNT_OPTIONAL(5, 1)] = { .packets = 2, .bytes = 20 },
	};
	struct app_info items[2] = { 0 };

	(void)state;
	app_traffic_sum(&policy, sums, items);
	expect_traffic(&items[0], TRAFFIC_PROTECTED, 5, 50);
	expect_traffic(&items[0], TRAFFIC_CLEAR, 3, 30);
	expect_traffic(&items[0], TRAFFIC_DROPPED, 0, 0);
	expect_traffic(&items[1], TRAFFIC_PROTECTED, 0, 0);
	expect_traffic(&items[1], TRAFFIC_CLEAR, 0, 0);
	expect_traffic(&items[1], TRAFFIC_DROPPED, 7, 70);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_why_lost),
		cmocka_unit_test(test_matches_are_counted_by_application),
		cmocka_unit_test(test_nothing_matches),
		cmocka_unit_test(test_match_text),
		cmocka_unit_test(test_traffic),
	};

	return cmocka_run_group_tests_name("app_candidates", tests, NULL, NULL);
}
