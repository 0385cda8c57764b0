/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What the commands say: one call per value serves text and JSON.
 *
 * With -j, standard output is exactly one JSON object (one per line for a stream such as
 * `monitor`), and what went wrong is in its member "messages", an array of
 *     {"level": "error|warning|note", "object": "...", "cause": "...", "next": "..."|null}
 * As text, values go to standard output and messages to standard error.
 *
 * Included by: everything in ctl/.
 * Ownership:   copies what it is given. Not thread safe. Lack of memory ends the program.
 */
#ifndef CTL_OUTPUT_H
#define CTL_OUTPUT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "lib/ipsecbpf.h"

enum out_where { OUT_TEXT = 1, OUT_JSON = 2, OUT_ANY = 3 };
enum out_colour { COLOUR_NONE, COLOUR_GOOD, COLOUR_WARN, COLOUR_BAD, COLOUR_BOLD };

/* As a format: the value alone. (Not NULL, which gcc takes for a mistake in a format.) */
extern const char out_plain[];

/* Starts the output. Colour is used only as text, on a terminal, without NO_COLOR. */
void out_open(bool json);
bool out_is_json(void);

/* Ends the output and shows `report`. 0, or -errno if standard output did not take everything. */
int out_close(const struct ipsecbpf_report *report);

/*
 * One value. `key` is the JSON member, NULL inside an array. `fmt` makes the text and has exactly
 * one conversion for the value; out_plain means the value alone. Inside a table each text is one
 * cell.
 * Control characters in strings are shown as '?'.
 */
void out_string(unsigned int where, const char *key, const char *fmt, const char *value)
	__attribute__((format(printf, 3, 0)));
void out_uint(unsigned int where, const char *key, const char *fmt, uint64_t value)
	__attribute__((format(printf, 3, 0)));
void out_int(unsigned int where, const char *key, const char *fmt, int64_t value)
	__attribute__((format(printf, 3, 0)));
/* JSON only. */
void out_real(const char *key, double value);
/* The text is "yes" or "no", through a %s. */
void out_bool(unsigned int where, const char *key, const char *fmt, bool value)
	__attribute__((format(printf, 3, 0)));
/* JSON null; as text `text`, or nothing if that is NULL. */
void out_null(unsigned int where, const char *key, const char *text);
/* Text only. */
void out_text(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
/* Text only: the name in front of the values of one line, padded to a common column. */
void out_label(const char *label);
/* Text only: the colour of the next text. */
void out_colour(enum out_colour colour);

void out_object(const char *key);
void out_object_end(void);
void out_array(const char *key);
void out_array_end(void);

/*
 * Text only: an aligned table. `headings` may be NULL. Numbers are set flush right. Rows end with
 * out_row_end(); out_span() adds a line that belongs to no column.
 */
void out_table(const char *const *headings, size_t columns);
void out_row_end(void);
void out_span(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
void out_table_end(void);

/* The output is a stream of records, none of which may ever come. */
void out_stream(void);
/* Ends one record of a stream and hands it to the reader. False: it could not be written, and there
 * is no use in going on. That the reader has closed a pipe is no error for out_close(). */
bool out_record(void);

/* Standard output is this text in both forms (a file to be read back); messages go to stderr. */
void out_raw(const char *text);

/* "1.5 s", "3 min", "never" of a time in milliseconds; UINT64_MAX is never. */
const char *format_duration(uint64_t ms, char *out, size_t out_len);

#endif /* CTL_OUTPUT_H */
