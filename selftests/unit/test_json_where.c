// SPDX-License-Identifier: BSD-2-Clause
/* The locator of JSON values: positions in valid text, and no access outside of any other text. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "lib/json_where.h"

static void assert_at(const struct json_where *where, const char *pointer, uint32_t line,
		      uint32_t column)
{
	uint32_t node = json_where_find(where, pointer);

	assert_int_not_equal(node, JSON_WHERE_NONE);
	assert_int_equal(json_where_value(where, node).line, line);
	assert_int_equal(json_where_value(where, node).column, column);
}

static void test_positions(void **state)
{
	static const char text[] = "{\"version\": 1,\n"
				   "  \"sas\": [ {\"spi\": \"0x1\", \"a\\\"b\": [1, -2.5e3,true]},\r\n"
				   "\t{\"key\":null} ], \"\xc3\xa4\":\"\xe2\x82\xac}\", \"z\" :\n{}}\n";
	struct json_where *where = json_where_index(text, strlen(text));
	uint32_t node;

	(void)state;
	assert_non_null(where);
	assert_at(where, "", 1, 1);
	assert_at(where, "/version", 1, 13);
	assert_at(where, "/sas", 2, 10);
	assert_at(where, "/sas/0", 2, 12);
	assert_at(where, "/sas/0/spi", 2, 20);
	assert_at(where, "/sas/0/a\\\"b/1", 2, 39);
	assert_at(where, "/sas/0/a\\\"b/2", 2, 46);
	assert_at(where, "/sas/1/key", 3, 9);
	assert_at(where, "/\xc3\xa4", 3, 22);	/* columns count characters, not octets */
	assert_at(where, "/z", 4, 1);
	node = json_where_find(where, "/z");
	assert_int_equal(json_where_key(where, node).line, 3);
	assert_int_equal(json_where_key(where, node).column, 28);
	assert_int_equal(json_where_find(where, "/sas/2"), JSON_WHERE_NONE);
	assert_int_equal(json_where_find(where, "/sas/x"), JSON_WHERE_NONE);
	assert_int_equal(json_where_find(where, "/none"), JSON_WHERE_NONE);
	assert_int_equal(json_where_find(where, "/version/0"), JSON_WHERE_NONE);
	json_where_free(where);
}

static size_t count_below(const struct json_where *where, uint32_t parent)
{
	uint32_t node = json_where_first(where, parent);
	size_t count = 0;

	for (; node != JSON_WHERE_NONE; node = json_where_next(where, parent, node))
		count += 1 + count_below(where, node);
	return count;
}

static void test_walk(void **state)
{
	static const char text[] = "[[],{},{\"a\":[1,2],\"b\":\"[,]\"},3]";
	struct json_where *where = json_where_index(text, strlen(text));
	uint32_t node = json_where_first(where, JSON_WHERE_ROOT);

	(void)state;
	assert_int_equal(count_below(where, JSON_WHERE_ROOT), 8);
	for (int i = 0; i < 3; i++)
		node = json_where_next(where, JSON_WHERE_ROOT, node);
	assert_int_equal(json_where_value(where, node).column, 30);
	assert_int_equal(json_where_next(where, JSON_WHERE_ROOT, node), JSON_WHERE_NONE);
	json_where_free(where);
}

/* Random octets that like to be JSON: for the sanitizers, and the walk must come to an end. */
static void test_invalid_text(void **state)
{
	static const char alphabet[] = "{}[]\",:\\ \n1a\xc3";
	unsigned int seed = 1;

	(void)state;
	for (int round = 0; round < 20000; round++) {
		size_t len = (size_t)rand_r(&seed) % 40;
		char *text = malloc(len + 1);	/* exact size: an overrun is seen */
		struct json_where *where;

		for (size_t i = 0; i < len; i++)
			text[i] = alphabet[(size_t)rand_r(&seed) % sizeof(alphabet)];
		where = json_where_index(text, len);
		assert_non_null(where);
		assert_true(count_below(where, JSON_WHERE_ROOT) < 64);
		json_where_find(where, "/a/0/a");
		json_where_free(where);
		free(text);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_positions),
		cmocka_unit_test(test_walk),
		cmocka_unit_test(test_invalid_text),
	};

	return cmocka_run_group_tests_name("json_where", tests, NULL, NULL);
}
