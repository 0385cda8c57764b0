// SPDX-License-Identifier: BSD-2-Clause
#include "json_where.h"

#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define NO_KEY UINT32_MAX

/* Nodes stand in text order, so that a value's descendants follow it directly. */
struct where_node {
	struct position value;
	struct position key;
	uint32_t offset;	/* of the value's first character */
	uint32_t key_offset;	/* of the name's opening quote; NO_KEY in arrays */
	uint32_t end;		/* first node that is no descendant; while open: the parent */
};

struct json_where {
	const char *text;
	size_t len;
	struct where_node *nodes;
	size_t count, room;
	struct position beyond;	/* of the first value there was no room for */
};

/* State of the one pass. */
struct scan {
	struct json_where *where;
	size_t at;		/* offset of the next character */
	uint32_t line;		/* from 1 */
	uint32_t passed;	/* characters of this line before `at` */
	uint32_t open;		/* innermost open object or array */
	bool name_next;		/* the next string is a member name */
	struct position key;
	uint32_t key_offset;
};

static void advance(struct scan *scan)
{
	unsigned char c = (unsigned char)scan->where->text[scan->at++];

	if (c == '\n') {
		scan->line++;
		scan->passed = 0;
	} else if ((c & 0xc0) != 0x80) {	/* not a UTF-8 continuation octet */
		scan->passed++;
	}
}

static bool at_end(const struct scan *scan)
{
	return scan->at >= scan->where->len;
}

static void skip_string(struct scan *scan)
{
	const char *text = scan->where->text;

	advance(scan);
	while (!at_end(scan) && text[scan->at] != '"') {
		if (text[scan->at] == '\\')
			advance(scan);
		if (!at_end(scan))
			advance(scan);
	}
	if (!at_end(scan))
		advance(scan);
}

/* true, false, null, numbers: up to whatever can follow a value. */
static void skip_word(struct scan *scan)
{
	do
		advance(scan);
	while (!at_end(scan) && !strchr(",:]}[{\" \t\r\n", scan->where->text[scan->at]));
}

static struct position here(const struct scan *scan)
{
	return (struct position){ .line = scan->line, .column = scan->passed + 1 };
}

static int add_node(struct scan *scan, uint32_t *ret_node)
{
	struct json_where *where = scan->where;
	struct where_node *nodes;
	size_t room;

	if (where->count == JSON_WHERE_MAX) {
		where->beyond = here(scan);
		return -EOVERFLOW;
	}
	if (where->count == where->room) {
		room = where->room ? where->room * 2 : 64;
		nodes = reallocarray(where->nodes, room, sizeof(*nodes));
		if (!nodes)
			return -ENOMEM;
		where->nodes = nodes;
		where->room = room;
	}
	where->nodes[where->count] = (struct where_node){
		.value = here(scan),
		.key = scan->key_offset == NO_KEY ? here(scan) : scan->key,
		.offset = (uint32_t)scan->at,
		.key_offset = scan->key_offset,
		.end = (uint32_t)where->count + 1,
	};
	scan->key_offset = NO_KEY;
	*ret_node = (uint32_t)where->count++;
	return 0;
}

static bool is_object(const struct json_where *where, uint32_t node)
{
	return node != JSON_WHERE_NONE && where->text[where->nodes[node].offset] == '{';
}

static int scan_open(struct scan *scan)
{
	uint32_t node;
	int err;

	err = add_node(scan, &node);
	if (err)
		return err;
	scan->where->nodes[node].end = scan->open;
	scan->open = node;
	scan->name_next = is_object(scan->where, node);
	advance(scan);
	return 0;
}

static void close_open(struct scan *scan)
{
	struct json_where *where = scan->where;
	uint32_t parent;

	if (scan->open == JSON_WHERE_NONE)
		return;
	parent = where->nodes[scan->open].end;
	where->nodes[scan->open].end = (uint32_t)where->count;
	scan->open = parent;
}

static void scan_close(struct scan *scan)
{
	advance(scan);
	close_open(scan);
	scan->name_next = false;
}

static int scan_string(struct scan *scan)
{
	uint32_t node;
	int err = 0;

	if (scan->name_next) {
		scan->key = here(scan);
		scan->key_offset = (uint32_t)scan->at;
		scan->name_next = false;
	} else {
		err = add_node(scan, &node);
	}
	skip_string(scan);
	return err;
}

static int scan_word(struct scan *scan)
{
	uint32_t node;
	int err;

	err = add_node(scan, &node);
	skip_word(scan);
	return err;
}

static int scan_token(struct scan *scan)
{
	switch (scan->where->text[scan->at]) {
	case '{':
	case '[':
		return scan_open(scan);
	case '}':
	case ']':
		scan_close(scan);
		return 0;
	case '"':
		return scan_string(scan);
	case ',':
		scan->name_next = is_object(scan->where, scan->open);
		advance(scan);
		return 0;
	case ':':
	case ' ':
	case '\t':
	case '\r':
	case '\n':
		advance(scan);
		return 0;
	default:
		return scan_word(scan);
	}
}

struct json_where *json_where_index(const char *text, size_t len)
{
	struct scan scan = { .line = 1, .open = JSON_WHERE_NONE, .key_offset = NO_KEY };
	int err = 0;

	if (len > INT32_MAX) {
		errno = E2BIG;
		return NULL;
	}
	scan.where = calloc(1, sizeof(*scan.where));
	if (!scan.where)
		return NULL;
	scan.where->text = text;
	scan.where->len = len;
	while (!err && !at_end(&scan))
		err = scan_token(&scan);
	while (scan.open != JSON_WHERE_NONE)	/* only in text that is not valid, or too long */
		close_open(&scan);
	if (!err || err == -EOVERFLOW)
		return scan.where;
	json_where_free(scan.where);
	errno = -err;
	return NULL;
}

struct position json_where_beyond(const struct json_where *where)
{
	return where->beyond;
}

void json_where_free(struct json_where *where)
{
	if (!where)
		return;
	free(where->nodes);
	free(where);
}

uint32_t json_where_first(const struct json_where *where, uint32_t parent)
{
	if (parent >= where->count || where->nodes[parent].end <= parent + 1)
		return JSON_WHERE_NONE;
	return parent + 1;
}

uint32_t json_where_next(const struct json_where *where, uint32_t parent, uint32_t node)
{
	uint32_t next;

	if (parent >= where->count || node >= where->count)
		return JSON_WHERE_NONE;
	next = where->nodes[node].end;
	return next < where->nodes[parent].end ? next : JSON_WHERE_NONE;
}

/* Whether the name in front of a node is `key` (as written: names with escapes match nothing). */
static bool key_is(const struct json_where *where, uint32_t node, const char *key, size_t key_len)
{
	size_t start = (size_t)where->nodes[node].key_offset + 1;

	return where->nodes[node].key_offset != NO_KEY && start + key_len < where->len &&
	       !memcmp(where->text + start, key, key_len) && where->text[start + key_len] == '"';
}

/* Child of `parent` named by the `len` characters at `step`: a member name or an index. */
static uint32_t find_child(const struct json_where *where, uint32_t parent, const char *step,
			   size_t len)
{
	bool object = is_object(where, parent);
	uint32_t node = json_where_first(where, parent);
	unsigned long index = 0;

	if (!object && strspn(step, "0123456789") != len)
		return JSON_WHERE_NONE;
	if (!object)
		index = strtoul(step, NULL, 10);
	while (node != JSON_WHERE_NONE) {
		if (object ? key_is(where, node, step, len) : index-- == 0)
			return node;
		node = json_where_next(where, parent, node);
	}
	return JSON_WHERE_NONE;
}

uint32_t json_where_find(const struct json_where *where, const char *pointer)
{
	uint32_t node = where->count ? JSON_WHERE_ROOT : JSON_WHERE_NONE;

	while (*pointer == '/' && node != JSON_WHERE_NONE) {
		size_t len = strcspn(pointer + 1, "/");

		node = find_child(where, node, pointer + 1, len);
		pointer += 1 + len;
	}
	return node;
}

struct position json_where_value(const struct json_where *where, uint32_t node)
{
	if (node >= where->count)
		return (struct position){ 0 };
	return where->nodes[node].value;
}

struct position json_where_key(const struct json_where *where, uint32_t node)
{
	if (node >= where->count)
		return (struct position){ 0 };
	return where->nodes[node].key;
}
