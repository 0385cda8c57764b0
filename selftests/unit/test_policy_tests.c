// SPDX-License-Identifier: BSD-2-Clause
/* Files of expectations: the examples do what stands beside them; what passes and what fails. */
#include <dirent.h>

#include "lib/policy_test.h"
#include "selftests/unit/policy_testing.h"

#define EXAMPLES "schemas/examples/"

static int is_test_file(const struct dirent *entry)
{
	size_t len = strlen(entry->d_name);

	return len > 5 && !strcmp(entry->d_name + len - 5, ".json") &&
	       !strncmp(entry->d_name, "test-", 5);
}

static int for_each_example(const char *directory, void (*run)(const char *path))
{
	struct dirent **entries;
	int count = scandir(directory, &entries, is_test_file, alphasort);
	char path[512];

	for (int i = 0; i < count; i++) {
		snprintf(path, sizeof(path), "%s%s", directory, entries[i]->d_name);
		run(path);
		free(entries[i]);
	}
	if (count >= 0)
		free(entries);
	return count;
}

static void run_good(const char *path)
{
	struct ipsecbpf_report report = { 0 };
	struct policy_tests *tests = policy_tests_load(path, &report);
	char *said = report_text(&report);

	if (!tests || report.count)
		fail_msg("%s is a good example, but:\n%s", path, said);
	assert_string_equal(tests->policy, strstr(path, "test-app-") ? "app-ftp-fast-server.json" :
								       "secure-two-hosts.json");
	assert_string_equal(tests->items[0].application,
			    strstr(path, "test-app-") ? "ftp-server" : "");
	policy_tests_free(tests);
	report_fini(&report);
	free(said);
}

static void run_bad(const char *path)
{
	struct ipsecbpf_report report = { 0 };
	char line[256], *said, *end, other[512];
	FILE *expected;

	assert_null(policy_tests_load(path, &report));
	said = report_text(&report);
	snprintf(other, sizeof(other), "%.*s.expected", (int)strlen(path) - 5, path);
	expected = fopen(other, "r");
	assert_non_null(expected);
	while (fgets(line, sizeof(line), expected)) {
		end = strchr(line, '\n');
		if (end)
			*end = '\0';
		if (strncmp(line, "schema: ", 8) && !strstr(said, line))
			fail_msg("%s: expected\n  %s\namong\n%s", path, line, said);
	}
	fclose(expected);
	report_fini(&report);
	free(said);
}

static void test_good_examples(void **state)
{
	(void)state;
	assert_true(for_each_example(EXAMPLES "good/", run_good) >= 2);
}

static void test_bad_examples(void **state)
{
	(void)state;
	assert_true(for_each_example(EXAMPLES "bad/", run_bad) >= 9);
}

static bool judged(const struct policy_test_expect *expect, struct policy_test_result got)
{
	const struct policy_test test = { .expect = *expect };

	policy_test_judge(&test, &got);
	return got.passed;
}

static void test_judgement(void **state)
{
	const struct policy_test_result bypass = { .action = SPD_BYPASS, .essential = true };
	const struct policy_test_result protect = {
		.action = SPD_PROTECT, .rule = "r", .peer = "b", .protection = "wire",
	};
	struct policy_test_expect expect = { .action = SPD_PROTECT };

	(void)state;
	assert_true(judged(&expect, protect));
	assert_false(judged(&expect, bypass));
	expect = (struct policy_test_expect){ SPD_PROTECT, .peer = "b", .protection = "wire" };
	assert_true(judged(&expect, protect));
	expect = (struct policy_test_expect){ SPD_PROTECT, .peer = "c" };
	assert_false(judged(&expect, protect));
	expect = (struct policy_test_expect){ SPD_PROTECT, .protection = "vpn" };
	assert_false(judged(&expect, protect));
	expect = (struct policy_test_expect){ SPD_PROTECT, .rule_given = true, .rule = "r" };
	assert_true(judged(&expect, protect));
	expect = (struct policy_test_expect){ SPD_PROTECT, .rule_given = true, .rule = "q" };
	assert_false(judged(&expect, protect));
	expect = (struct policy_test_expect){ SPD_PROTECT, .rule_given = true, .no_rule = true };
	assert_false(judged(&expect, protect));
	expect = (struct policy_test_expect){ SPD_BYPASS, .rule_given = true, .no_rule = true };
	assert_true(judged(&expect, bypass));
	expect = (struct policy_test_expect){ SPD_BYPASS, .rule_given = true, .rule = "r" };
	assert_false(judged(&expect, bypass));
	expect = (struct policy_test_expect){ SPD_BYPASS, .essential_given = true };
	assert_false(judged(&expect, bypass));
	expect.essential = true;
	assert_true(judged(&expect, bypass));
}

/* For the sanitizers. */
static void test_mutations(void **state)
{
	static const char alphabet[] = "{}[]\",:\\/-0919 aeE.\n\t\xff\xc3";
	static char good[16384], text[16384];
	FILE *in = fopen(EXAMPLES "good/test-every-key.json", "r");
	unsigned int seed = 9;
	size_t len;

	(void)state;
	assert_non_null(in);
	len = fread(good, 1, sizeof(good), in);
	fclose(in);
	for (int round = 0; round < 3000; round++) {
		struct ipsecbpf_report report = { 0 };
		struct policy_tests *tests;

		memcpy(text, good, len);
		for (int i = 0; i < 1 + round % 4; i++)
			text[(size_t)rand_r(&seed) % len] =
				alphabet[(size_t)rand_r(&seed) % sizeof(alphabet)];
		tests = policy_tests_parse(text, len, "fuzz", &report);
		assert_int_equal(tests == NULL, report.errors != 0);
		policy_tests_free(tests);
		report_fini(&report);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_good_examples),
		cmocka_unit_test(test_bad_examples),
		cmocka_unit_test(test_judgement),
		cmocka_unit_test(test_mutations),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
