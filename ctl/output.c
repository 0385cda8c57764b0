// SPDX-License-Identifier: BSD-2-Clause
#include "output.h"

#include <ctype.h>
#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <jansson.h>

#include "table.h"

const char out_plain[] = "value alone";	/* compared by address */

#define DEPTH_MAX 8
#define LABEL_WIDTH 14

/* The formats come from the callers, whose prototypes carry the format attribute. */
#pragma GCC diagnostic ignored "-Wformat-nonliteral"

static struct {
	bool json;
	bool raw;		/* standard output is taken by out_raw() */
	bool stream;		/* records instead of one document */
	int write_error;	/* -errno of the first record that was not written */
	enum out_colour colour;	/* of the next text */
	struct table *table;
	json_t *stack[DEPTH_MAX];	/* [0] is the document and owns the others */
	size_t depth;
} out;

static void *need(void *memory)
{
	if (memory)
		return memory;
	fputs("error: ipsecbpf: out of memory\n", stderr);
	exit(1);
}

static bool use_colour(FILE *stream)
{
	const char *no_colour = getenv("NO_COLOR");

	return !out.json && isatty(fileno(stream)) && !(no_colour && *no_colour);
}

void out_open(bool json)
{
	json_decref(out.stack[0]);
	memset(&out, 0, sizeof(out));
	out.json = json;
	out.stack[0] = need(json_object());
}

bool out_is_json(void)
{
	return out.json;
}

/* ---- JSON ---------------------------------------------------------------------------------- */

static void json_add(const char *key, json_t *value)
{
	json_t *top = out.stack[out.depth];

	need(value);
	if (json_is_array(top) ? json_array_append_new(top, value) :
				 json_object_set_new(top, key, value))
		need(NULL);
}

static void json_push(const char *key, json_t *container)
{
	if (!out.json) {
		json_decref(container);
		return;
	}
	json_add(key, container);
	if (out.depth + 1 == DEPTH_MAX)
		abort();
	out.stack[++out.depth] = container;
}

static void json_pop(void)
{
	if (out.json)
		out.depth--;
}

/* A name from elsewhere may be no UTF-8: it is shown all the same, byte by byte. */
static json_t *json_text(const char *value)
{
	json_t *json = json_string(value);
	char *copy;

	if (json)
		return json;
	copy = need(strdup(value));
	for (char *c = copy; *c; c++)
		if (!isascii((unsigned char)*c))
			*c = '?';
	json = json_string(copy);
	free(copy);
	return json;
}

void out_object(const char *key)
{
	json_push(key, json_object());
}

void out_object_end(void)
{
	json_pop();
}

void out_array(const char *key)
{
	json_push(key, json_array());
}

void out_array_end(void)
{
	json_pop();
}

/* ---- text ---------------------------------------------------------------------------------- */

static const char *colour_on(enum out_colour colour)
{
	static const char *const codes[] = {
		[COLOUR_NONE] = "", [COLOUR_GOOD] = "\033[32m", [COLOUR_WARN] = "\033[33m",
		[COLOUR_BAD] = "\033[31m", [COLOUR_BOLD] = "\033[1m",
	};

	return codes[colour];
}

static void print_coloured(FILE *stream, enum out_colour colour, const char *text)
{
	if (colour == COLOUR_NONE || !use_colour(stream))
		fputs(text, stream);
	else
		fprintf(stream, "%s%s\033[0m", colour_on(colour), text);
}

static bool text_wanted(unsigned int where)
{
	return !out.json && (where & OUT_TEXT);
}

static bool json_wanted(unsigned int where)
{
	return out.json && (where & OUT_JSON);
}

/* Takes `text` over: a cell of the open table, or straight to standard output. */
static void emit(char *text, bool number)
{
	if (out.table) {
		table_cell(out.table, need(text), out.colour, number);
	} else {
		print_coloured(stdout, out.colour, need(text));
		free(text);
	}
	out.colour = COLOUR_NONE;
}

static char *format_va(const char *fmt, va_list args)
{
	char *text;

	if (vasprintf(&text, fmt, args) < 0)
		text = NULL;
	return need(text);
}

static __attribute__((format(printf, 1, 2))) char *format(const char *fmt, ...)
{
	va_list args;
	char *text;

	va_start(args, fmt);
	text = format_va(fmt, args);
	va_end(args);
	return text;
}

void out_text(const char *fmt, ...)
{
	va_list args;

	if (out.json)
		return;
	va_start(args, fmt);
	emit(format_va(fmt, args), false);
	va_end(args);
}

void out_label(const char *label)
{
	if (!out.json)
		printf("  %-*s", LABEL_WIDTH, label);
}

void out_colour(enum out_colour colour)
{
	out.colour = colour;
}

/* What a terminal would obey rather than show. */
static char *hide_controls(char *text)
{
	for (char *c = text; *c; c++)
		if (iscntrl((unsigned char)*c))
			*c = '?';
	return text;
}

static char *without_controls(const char *value)
{
	return hide_controls(need(strdup(value)));
}

void out_string(unsigned int where, const char *key, const char *fmt, const char *value)
{
	if (json_wanted(where)) {
		json_add(key, json_text(value));
	} else if (text_wanted(where)) {
		char *clean = without_controls(value);

		emit(format(fmt != out_plain ? fmt : "%s", clean), false);
		free(clean);
	}
}

void out_uint(unsigned int where, const char *key, const char *fmt, uint64_t value)
{
	/* JSON integers of jansson are signed; a counter beyond 2^63 is clamped, not negative. */
	if (json_wanted(where))
		json_add(key, json_integer(value > INT64_MAX ? INT64_MAX : (json_int_t)value));
	else if (text_wanted(where))
		emit(format(fmt != out_plain ? fmt : "%" PRIu64, value), true);
}

void out_int(unsigned int where, const char *key, const char *fmt, int64_t value)
{
	if (json_wanted(where))
		json_add(key, json_integer(value));
	else if (text_wanted(where))
		emit(format(fmt != out_plain ? fmt : "%" PRId64, value), true);
}

void out_real(const char *key, double value)
{
	if (out.json)
		json_add(key, json_real(value));
}

void out_bool(unsigned int where, const char *key, const char *fmt, bool value)
{
	if (json_wanted(where))
		json_add(key, json_boolean(value));
	else if (text_wanted(where))
		emit(format(fmt != out_plain ? fmt : "%s", value ? "yes" : "no"), false);
}

void out_null(unsigned int where, const char *key, const char *text)
{
	if (json_wanted(where))
		json_add(key, json_null());
	else if (text_wanted(where) && text)
		emit(strdup(text), false);
}

void out_table(const char *const *headings, size_t columns)
{
	if (!out.json)
		out.table = need(table_new(headings, columns));
}

void out_row_end(void)
{
	if (out.table)
		table_row_end(out.table);
}

void out_span(const char *fmt, ...)
{
	va_list args;

	if (!out.table)
		return;
	va_start(args, fmt);
	table_span(out.table, hide_controls(format_va(fmt, args)), out.colour);
	va_end(args);
	out.colour = COLOUR_NONE;
}

void out_table_end(void)
{
	if (!out.table)
		return;
	table_print(out.table, stdout, print_coloured);
	table_free(out.table);
	out.table = NULL;
}

void out_raw(const char *text)
{
	out.raw = true;
	fputs(text, stdout);
}

void out_stream(void)
{
	out.stream = true;
}

bool out_record(void)
{
	if (out.json) {
		json_dumpf(out.stack[0], stdout, JSON_COMPACT);
		json_object_clear(out.stack[0]);
		out.depth = 0;
	}
	putchar('\n');
	errno = 0;
	if (!out.write_error && (fflush(stdout) || ferror(stdout)))
		out.write_error = errno ? -errno : -EIO;
	return !out.write_error;
}

/* ---- messages ------------------------------------------------------------------------------ */

static void messages_json(const struct ipsecbpf_report *report)
{
	out_array("messages");
	for (size_t i = 0; i < report->count; i++) {
		const struct report_item *item = &report->items[i];

		out_object(NULL);
		out_string(OUT_JSON, "level", out_plain, report_level_name(item->level));
		out_string(OUT_JSON, "object", out_plain, item->object);
		out_string(OUT_JSON, "cause", out_plain, item->cause);
		if (item->next)
			out_string(OUT_JSON, "next", out_plain, item->next);
		else
			out_null(OUT_JSON, "next", NULL);
		out_object_end();
	}
	out_array_end();
}

static void message_text(const struct report_item *item)
{
	char *object = without_controls(item->object);
	char *cause = without_controls(item->cause);
	char *next = item->next ? without_controls(item->next) : NULL;

	if (item->level != REPORT_NOTE) {
		print_coloured(stderr, item->level == REPORT_ERROR ? COLOUR_BAD : COLOUR_WARN,
			       report_level_name(item->level));
		fputs(": ", stderr);
	}
	fprintf(stderr, "%s: %s\n", object, cause);
	if (next)
		fprintf(stderr, "  next: %s\n", next);
	free(object);
	free(cause);
	free(next);
}

int out_close(const struct ipsecbpf_report *report)
{
	bool document = out.json && !out.raw;
	int err = out.write_error;

	out.depth = 0;
	if (document && report->count)
		messages_json(report);
	if (document && (!out.stream || report->count)) {
		json_dumpf(out.stack[0], stdout, out.stream ? JSON_COMPACT : JSON_INDENT(2));
		putchar('\n');
	}
	errno = 0;
	if ((fflush(stdout) || ferror(stdout)) && !err)
		err = errno ? -errno : -EIO;
	if (out.stream && err == -EPIPE)
		err = 0;	/* the reader has seen enough */
	for (size_t i = 0; !document && i < report->count; i++)
		message_text(&report->items[i]);
	if (report->incomplete)
		fputs("error: ipsecbpf: out of memory, some messages are missing\n", stderr);
	json_decref(out.stack[0]);
	out.stack[0] = NULL;
	return err;
}

const char *format_duration(uint64_t ms, char *text, size_t text_len)
{
	if (ms == UINT64_MAX)
		snprintf(text, text_len, "never");
	else if (ms < 120 * 1000)
		snprintf(text, text_len, "%" PRIu64 ".%" PRIu64 " s", ms / 1000, ms % 1000 / 100);
	else if (ms < 120 * 60 * 1000)
		snprintf(text, text_len, "%" PRIu64 " min", ms / 60000);
	else
		snprintf(text, text_len, "%" PRIu64 " h", ms / 3600000);
	return text;
}
