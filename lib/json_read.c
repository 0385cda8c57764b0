// SPDX-License-Identifier: BSD-2-Clause
#include "json_read.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "suggest.h"

/* Messages quote the file: keep terminals and JSON output safe from what it says. */
static void make_printable(char *text)
{
	for (; *text; text++)
		if ((unsigned char)*text < 0x20 || (unsigned char)*text > 0x7e)
			*text = '?';
}

static void report_at(struct json_reader *reader, enum report_level level, struct position at,
		      const char *next, const char *cause)
{
	char *object;

	if (level == REPORT_ERROR)
		reader->errors++;
	if (asprintf(&object, "%s:%u:%u", reader->name, at.line, at.column) < 0) {
		reader->no_memory = true;
		return;
	}
	report_add(reader->report, level, object, next, "%s", cause);
	free(object);
}

void json_report_at(struct json_reader *reader, enum report_level level, struct position at,
		    const char *next, const char *format, ...)
{
	const char *key = reader->key ? reader->key : "";
	char cause[512];
	va_list args;
	int len;

	len = snprintf(cause, sizeof(cause), "%s%s%.60s%s", reader->subject,
		       reader->subject[0] ? ": " : "", key, reader->key ? ": " : "");
	va_start(args, format);
	vsnprintf(cause + len, sizeof(cause) - (size_t)len, format, args);
	va_end(args);
	make_printable(cause);
	report_at(reader, level, at, next, cause);
}

static int syntax_error(struct json_reader *reader, const json_error_t *error)
{
	struct position at = {
		.line = error->line > 0 ? (uint32_t)error->line : 0,
		.column = error->column > 0 ? (uint32_t)error->column : 0,
	};

	if (json_error_code(error) == json_error_out_of_memory)
		return -ENOMEM;
	if (json_error_code(error) == json_error_duplicate_key)
		json_error_at(reader, at, "keep one of them", "%s", error->text);
	else
		json_error_at(reader, at, NULL, "not valid JSON: %s", error->text);
	return -EINVAL;
}

/* Before jansson takes up many times the text's memory. */
static int check_capacity(struct json_reader *reader)
{
	struct position beyond = json_where_beyond(reader->where);
	const struct json_capacity *capacity = reader->capacity;
	uint32_t array, node;
	size_t count = 0;

	array = capacity ? json_where_find(reader->where, capacity->pointer) : JSON_WHERE_NONE;
	for (node = json_where_first(reader->where, array); node != JSON_WHERE_NONE;
	     node = json_where_next(reader->where, array, node))
		count++;
	if (capacity && count > capacity->max)
		json_error_at(reader, json_where_value(reader->where, array), NULL,
			      "%s: %s%zu elements: more than the limit of %zu",
			      capacity->pointer + 1, beyond.line ? "at least " : "", count,
			      capacity->max);
	else if (beyond.line)
		json_error_at(reader, beyond, NULL,
			      "more than %u values, the most that is read", JSON_WHERE_MAX);
	return reader->errors ? -EINVAL : 0;
}

int json_reader_open(struct json_reader *reader, const char *text, size_t len)
{
	json_error_t error;
	int err;

	if (len > JSON_TEXT_MAX) {
		report_error(reader->report, reader->name, NULL,
			     "larger than %u MiB, the most that is read", JSON_TEXT_MAX >> 20);
		reader->errors++;
		return -EINVAL;
	}
	reader->where = json_where_index(text, len);
	if (!reader->where)
		return -errno;
	err = check_capacity(reader);
	if (err)
		return err;
	reader->root = json_loadb(text, len, JSON_REJECT_DUPLICATES, &error);
	return reader->root ? 0 : syntax_error(reader, &error);
}

void json_reader_close(struct json_reader *reader)
{
	json_decref(reader->root);
	reader->root = NULL;
	json_where_free(reader->where);
	reader->where = NULL;
}

static const char *type_name(const json_t *json)
{
	switch (json_typeof(json)) {
	case JSON_OBJECT:
		return "an object";
	case JSON_ARRAY:
		return "an array";
	case JSON_STRING:
		return "a string";
	case JSON_INTEGER:
		return "a number";
	case JSON_REAL:
		return "a number with a fraction or exponent";
	case JSON_TRUE:
	case JSON_FALSE:
		return "a boolean";
	default:
		return "null";
	}
}

void json_type_error(struct json_reader *reader, struct json_value value, const char *wanted)
{
	json_error(reader, value, NULL, "must be %s, not %s", wanted, type_name(value.json));
}

const char *json_did_you_mean(const char *best, char out[96])
{
	if (!best)
		return NULL;
	snprintf(out, 96, "did you mean \"%.64s\"?", best);
	return out;
}

static const struct json_key *find_key(const struct json_key *keys, const char *name)
{
	for (; keys->name; keys++)
		if (!strcmp(keys->name, name))
			return keys;
	return NULL;
}

static void unknown_key(struct json_reader *reader, uint32_t node, const char *name,
			const struct json_key *keys)
{
	struct suggest near = { .word = name };
	char next[96];

	for (; keys->name; keys++)
		suggest_offer(&near, keys->name);
	json_error_at(reader, json_where_key(reader->where, node),
		      json_did_you_mean(near.best, next), "unknown key \"%.60s\"", name);
}

static void require_keys(struct json_reader *reader, struct json_value value,
			 const struct json_key *keys)
{
	for (; keys->name; keys++)
		if (keys->required && !json_object_get(value.json, keys->name))
			json_error(reader, value, NULL, "key \"%s\" is missing", keys->name);
}

void json_read_object(struct json_reader *reader, struct json_value value,
		      const struct json_key *keys, void *target)
{
	const char *outer_key = reader->key, *name;
	const struct json_key *key;
	uint32_t node;
	json_t *json;

	if (!json_is_object(value.json)) {
		json_type_error(reader, value, "an object");
		return;
	}
	require_keys(reader, value, keys);
	/* jansson walks an object in the order of its text, as the index does. */
	node = json_where_first(reader->where, value.node);
	json_object_foreach(value.json, name, json) {
		key = find_key(keys, name);
		if (!key) {
			unknown_key(reader, node, name, keys);
		} else {
			reader->key = key->name;
			key->read(reader, (struct json_value){ json, node }, target);
			reader->key = outer_key;
		}
		node = json_where_next(reader->where, value.node, node);
	}
}

void json_read_members(struct json_reader *reader, struct json_value value,
		       void (*read)(struct json_reader *, struct json_value, void *), void *target)
{
	const char *outer_key = reader->key, *name;
	uint32_t node;
	json_t *json;

	if (!json_is_object(value.json)) {
		json_type_error(reader, value, "an object");
		return;
	}
	node = json_where_first(reader->where, value.node);
	json_object_foreach(value.json, name, json) {
		reader->key = name;
		read(reader, (struct json_value){ json, node }, target);
		node = json_where_next(reader->where, value.node, node);
	}
	reader->key = outer_key;
}

size_t json_read_list(struct json_reader *reader, struct json_value value,
		      const struct json_list *list, void *target)
{
	uint32_t node;
	json_t *json;
	size_t i;

	if (!json_is_array(value.json) && list->scalar_too) {
		list->read(reader, value, target);
		return 1;
	}
	if (!json_is_array(value.json)) {
		json_type_error(reader, value, "an array");
		return 0;
	}
	if (json_array_size(value.json) > list->max) {
		json_error(reader, value, NULL, "%zu elements: more than the limit of %zu",
			   json_array_size(value.json), list->max);
		return 0;
	}
	node = json_where_first(reader->where, value.node);
	json_array_foreach(value.json, i, json) {
		list->read(reader, (struct json_value){ json, node }, target);
		node = json_where_next(reader->where, value.node, node);
	}
	return i;
}

const char *json_read_string(struct json_reader *reader, struct json_value value)
{
	if (!json_is_string(value.json)) {
		json_type_error(reader, value, "a string");
		return NULL;
	}
	return json_string_value(value.json);
}

bool json_read_integer(struct json_reader *reader, struct json_value value, json_int_t lo,
		       json_int_t hi, json_int_t *ret_integer)
{
	json_int_t integer = json_integer_value(value.json);

	if (!json_is_integer(value.json)) {
		json_type_error(reader, value, "a whole number");
		return false;
	}
	if (integer < lo || integer > hi) {
		json_error(reader, value, NULL,
			   "%" JSON_INTEGER_FORMAT " is out of range %" JSON_INTEGER_FORMAT
			   "-%" JSON_INTEGER_FORMAT, integer, lo, hi);
		return false;
	}
	*ret_integer = integer;
	return true;
}

bool json_read_boolean(struct json_reader *reader, struct json_value value, bool *ret_boolean)
{
	if (!json_is_boolean(value.json)) {
		json_type_error(reader, value, "true or false");
		return false;
	}
	*ret_boolean = json_is_true(value.json);
	return true;
}

static void unknown_word(struct json_reader *reader, struct json_value value,
			 const char *const *words)
{
	const char *text = json_string_value(value.json);
	struct suggest near = { .word = text };
	char all[256] = "one of", next[96];
	size_t len = strlen(all);

	for (size_t i = 0; words[i]; i++) {
		suggest_offer(&near, words[i]);
		if (len < sizeof(all))
			len += (size_t)snprintf(all + len, sizeof(all) - len, "%s %s", i ? "," : "",
						words[i]);
	}
	json_error(reader, value, near.best ? json_did_you_mean(near.best, next) : all,
		   "\"%.60s\" is not known here", text);
}

bool json_read_word(struct json_reader *reader, struct json_value value, const char *const *words,
		    size_t *ret_index)
{
	const char *text = json_read_string(reader, value);

	if (!text)
		return false;
	for (size_t i = 0; words[i]; i++)
		if (!strcmp(words[i], text)) {
			*ret_index = i;
			return true;
		}
	unknown_word(reader, value, words);
	return false;
}
