// SPDX-License-Identifier: BSD-2-Clause
/* Every SA file of schemas/examples does what stands beside it, and the schemas know the suites. */
#include <dirent.h>

#include <jansson.h>

#include "selftests/unit/policy_testing.h"
#include "selftests/unit/sa_testing.h"

#define EXAMPLES "schemas/examples/"

static char *read_text(const char *path)
{
	char *text = NULL;
	size_t room = 0;
	FILE *in = fopen(path, "r");

	if (!in)
		fail_msg("%s: run this in the repository's root", path);
	assert_true(getdelim(&text, &room, '\0', in) > 0);
	fclose(in);
	return text;
}

static int is_sa_file(const struct dirent *entry)
{
	size_t len = strlen(entry->d_name);

	return len > 5 && !strcmp(entry->d_name + len - 5, ".json") &&
	       !strncmp(entry->d_name, "sa-", 3);
}

static int for_each_example(const char *directory, void (*run)(const char *path))
{
	struct dirent **entries;
	int count = scandir(directory, &entries, is_sa_file, alphasort);
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
	char *text = read_text(path), *said;
	struct sa_file *file = parse(text);

	said = report_text(&report);
	if (!file || report.count)
		fail_msg("%s is a good example, but:\n%s", path, said);
	sa_file_free(file);
	free(said);
	free(text);
}

static void run_bad(const char *path)
{
	char *text = read_text(path), *said, *expected, *line, *rest, other[512];

	if (parse(text))
		fail_msg("%s is a bad example, and was accepted", path);
	said = report_text(&report);
	snprintf(other, sizeof(other), "%.*s.expected", (int)strlen(path) - 5, path);
	expected = read_text(other);
	for (rest = expected; (line = strsep(&rest, "\n"));)
		if (strncmp(line, "schema: ", 8) && !strstr(said, line))
			fail_msg("%s: expected\n  %s\namong\n%s", path, line, said);
	free(expected);
	free(said);
	free(text);
}

static void test_good_examples(void **state)
{
	(void)state;
	assert_true(for_each_example(EXAMPLES "good/", run_good) >= 3);
}

static void test_bad_examples(void **state)
{
	(void)state;
	assert_true(for_each_example(EXAMPLES "bad/", run_bad) >= 15);
}

/* The suites of a schema are the table, in both spellings, no more and no fewer. */
static void schema_lists_suites(const char *path, const char *const *way,
				const struct esp_suite *(*find)(const char *name))
{
	json_t *schema = json_load_file(path, 0, NULL), *at = schema, *item;
	size_t count = 0, index;

	assert_non_null(schema);
	for (; *way; way++)
		at = json_object_get(at, *way);
	json_array_foreach(at, index, item) {
		assert_non_null(find(json_string_value(item)));
		count++;
	}
	for (size_t i = 0; suite_at(i); i++)
		if (find == suite_find || suite_at(i)->ah_name)
			count -= 2;
	assert_int_equal(count, 0);
	json_decref(schema);
}

static void test_schemas_list_the_suites(void **state)
{
	static const char *const esp[] = { "$defs", "esp_suite", "enum", NULL };
	static const char *const ah[] = { "$defs", "ah_suite", "enum", NULL };

	(void)state;
	schema_lists_suites("schemas/sa.schema.json", esp, suite_find);
	schema_lists_suites("schemas/sa.schema.json", ah, suite_find_ah);
	schema_lists_suites("schemas/policy.schema.json", esp, suite_find);
	schema_lists_suites("schemas/policy.schema.json", ah, suite_find_ah);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_good_examples),
		cmocka_unit_test(test_bad_examples),
		cmocka_unit_test(test_schemas_list_the_suites),
	};

	return cmocka_run_group_tests_name("sa_examples", tests, NULL, forget_report);
}
