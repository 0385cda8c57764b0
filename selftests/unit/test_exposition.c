// SPDX-License-Identifier: BSD-2-Clause
/* The text that Prometheus reads: what is quoted, what numbers look like. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "lib/exposition.h"

static void expect_sample(const char *label, struct metric_value value, const char *expected)
{
	const struct metric_label labels[] = { { "a", label }, { "b", "x" } };
	struct exposition text = { 0 };

	exposition_sample(&text, "m", labels, label ? 2 : 0, value);
	assert_false(text.failed);
	assert_string_equal(text.text, expected);
	assert_int_equal(text.len, strlen(expected));
	exposition_fini(&text);
	assert_null(text.text);
}

static void test_labels_are_quoted(void **state)
{
	static const struct {
		const char *value, *shown;
	} cases[] = {
		{ "", "" },
		{ "plain ._:@/+-", "plain ._:@/+-" },
		{ "say \"hi\"", "say \\\"hi\\\"" },
		{ "back\\slash", "back\\\\slash" },
		{ "two\nlines", "two\\nlines" },
		{ "\\n", "\\\\n" },
		{ "{x=\"y\"} 1 #", "{x=\\\"y\\\"} 1 #" },
		{ "\xc3\xa9 \xe2\x82\xac \xf0\x9f\x98\x80", "\xc3\xa9 \xe2\x82\xac \xf0\x9f\x98\x80" },
		/* RFC 3629: lone and missing continuations, overlong forms, surrogates, too high */
		{ "\x80", "?" }, { "\xc3", "?" }, { "\xc3\"", "?\\\"" }, { "\xc0\xaf", "??" },
		{ "\xe0\x80\xaf", "???" }, { "\xed\xa0\x80", "???" }, { "\xf4\x90\x80\x80", "????" },
		{ "\xff", "?" }, { "\xe2\x82", "??" }, { "\xf0\x8f\xbf\xbf", "????" },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		char expected[128];

		snprintf(expected, sizeof(expected), "m{a=\"%s\",b=\"x\"} 1\n", cases[i].shown);
		expect_sample(cases[i].value, (struct metric_value){ .whole = 1 }, expected);
	}
}

static struct metric_value real(double value)
{
	return (struct metric_value){ .real = value, .is_real = true };
}

static void test_numbers(void **state)
{
	(void)state;
	expect_sample(NULL, (struct metric_value){ .whole = 0 }, "m 0\n");
	expect_sample(NULL, (struct metric_value){ .whole = UINT64_MAX },
		      "m 18446744073709551615\n");
	expect_sample(NULL, real(0.25), "m 0.25\n");
	expect_sample(NULL, real(1e-19), "m 1e-19\n");
	expect_sample(NULL, real(INFINITY), "m +Inf\n");
	expect_sample(NULL, real(-INFINITY), "m -Inf\n");
	expect_sample(NULL, real(NAN), "m NaN\n");
}

static void test_help(void **state)
{
	struct exposition text = { 0 };

	(void)state;
	exposition_metric(&text, "m_total", METRIC_COUNTER, "of \"x\\y\"\nand z");
	exposition_metric(&text, "g", METRIC_GAUGE, "h");
	assert_string_equal(text.text, "# HELP m_total of \"x\\\\y\"\\nand z\n# TYPE m_total counter\n"
				       "# HELP g h\n# TYPE g gauge\n");
	exposition_fini(&text);
}

/* However long, nothing is lost where the room is enlarged. */
static void test_grows(void **state)
{
	const struct metric_label label = { "n", "0123456789" };
	static const char line[] = "m{n=\"0123456789\"} 7\n";
	struct exposition text = { 0 };

	(void)state;
	for (int i = 0; i < 100000; i++)
		exposition_sample(&text, "m", &label, 1, (struct metric_value){ .whole = 7 });
	assert_int_equal(text.len, 100000 * strlen(line));
	for (size_t i = 0; i < 100000; i++)
		assert_memory_equal(text.text + i * strlen(line), line, strlen(line));
	assert_int_equal(text.text[text.len], '\0');
	exposition_fini(&text);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_labels_are_quoted),
		cmocka_unit_test(test_numbers),
		cmocka_unit_test(test_help),
		cmocka_unit_test(test_grows),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
