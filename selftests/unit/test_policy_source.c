// SPDX-License-Identifier: BSD-2-Clause
/* Where rules were written, kept behind the canonical text: there and back, and what is not whole. */
#include "lib/policy_source.h"
#include "policy_testing.h"

#define RULES "{\"name\":\"a\",\"action\":\"discard\"}"
#define TEXT POLICY_HEAD "\n\n" RULES POLICY_TAIL
#define AREA 8192

static struct policy *parsed(const char *text)
{
	struct policy *policy = policy_parse(text, strlen(text), "test.json", NULL);

	assert_non_null(policy);
	return policy;
}

/* A map's elements: the text and what was put behind it. */
static size_t stored(const struct policy *policy, size_t text_len, char area[AREA])
{
	size_t end = policy_source_end(policy, text_len);

	assert_true(end <= AREA);
	memset(area, 0, AREA);
	policy_source_put(policy, area, text_len);
	for (size_t i = end; i < AREA; i++)
		assert_int_equal(area[i], 0);
	return end;
}

static void test_there_and_back(void **state)
{
	struct policy *policy = parsed(TEXT), *live;
	char area[AREA];

	(void)state;
	policy->file = strdup("/etc/ipsecbpf/some\n\"policy\".json");
	assert_non_null(policy->file);
	for (size_t text_len = 0; text_len < 17; text_len++) {
		size_t end = stored(policy, text_len, area);

		live = parsed(POLICY_HEAD RULES POLICY_TAIL);
		assert_int_equal(live->rules[0].at.line, 1);
		assert_int_equal(policy_source_get(live, area, end, text_len), 0);
		assert_string_equal(live->file, policy->file);
		assert_int_equal(live->rules[0].at.line, 3);
		policy_free(live);
	}
	policy_free(policy);
}

static void expect_none(const char *area, size_t area_len, size_t text_len)
{
	struct policy *live = parsed(POLICY_HEAD RULES POLICY_TAIL);

	assert_int_equal(policy_source_get(live, area, area_len, text_len), 0);
	assert_null(live->file);
	assert_int_equal(live->rules[0].at.line, 1);
	policy_free(live);
}

/* Each octet of the head and each length of the area: none of it is read beyond the area's end. */
static void test_not_whole(void **state)
{
	struct policy *policy = parsed(TEXT);
	const size_t text_len = 24;
	char area[AREA], *tight;
	size_t end;

	(void)state;
	policy->file = strdup("-");
	end = stored(policy, text_len, area);
	for (size_t len = 0; len < end; len++) {
		tight = malloc(len + 1);
		assert_non_null(tight);
		memcpy(tight, area, len);
		expect_none(tight, len, text_len);
		free(tight);
	}
	for (size_t i = 0; i < offsetof(struct policy_source, pad); i++) {
		area[text_len + i] ^= 0x55;
		expect_none(area, end, text_len);
		area[text_len + i] ^= 0x55;
	}
	area[end - 1] = 'x';		/* no NUL */
	expect_none(area, end, text_len);
	area[end - 1] = '\0';
	area[end - 2] = '\0';		/* one too early: an empty name */
	expect_none(area, end, text_len);
	policy_free(policy);
}

/* No file, and a name too long: the text alone, as older versions left it. */
static void test_nothing_to_keep(void **state)
{
	struct policy *policy = parsed(TEXT);
	char area[AREA];

	(void)state;
	assert_int_equal(stored(policy, 21, area), 21);
	expect_none(area, AREA, 21);
	policy->file = malloc(POLICY_SOURCE_FILE_MAX + 1);
	assert_non_null(policy->file);
	memset(policy->file, 'x', POLICY_SOURCE_FILE_MAX);
	policy->file[POLICY_SOURCE_FILE_MAX] = '\0';
	assert_int_equal(stored(policy, 21, area), 21);
	expect_none(area, AREA, 21);
	policy->file[POLICY_SOURCE_FILE_MAX - 1] = '\0';
	assert_true(stored(policy, 21, area) > POLICY_SOURCE_FILE_MAX);
	policy_free(policy);
}

/* Lines of another policy, with more rules or fewer, are not this one's. */
static void test_other_policy(void **state)
{
	struct policy *policy = parsed(POLICY_HEAD "{\"name\":\"b\",\"action\":\"bypass\","
				       "\"remote\":\"10.0.0.9\"}," RULES POLICY_TAIL);
	char area[AREA];
	size_t end;

	(void)state;
	policy->file = strdup("/x");
	end = stored(policy, 8, area);
	expect_none(area, end, 8);
	policy_free(policy);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_there_and_back),
		cmocka_unit_test(test_not_whole),
		cmocka_unit_test(test_nothing_to_keep),
		cmocka_unit_test(test_other_policy),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
