/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A strict reader of JSON configuration: duplicate and unknown keys are errors, every error has
 * "file:line:column" and names the object, and reading goes on after an error so that all of them
 * are found. Keys of an object are a table (struct json_key).
 *
 * Included by: readers of configuration files (policy_json).
 * Ownership:   json_reader_close() frees what the reader holds; the text is borrowed until then.
 * Threading:   one reader, one thread.
 */
#ifndef IPSECBPF_JSON_READ_H
#define IPSECBPF_JSON_READ_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <jansson.h>

#include "json_where.h"
#include "report.h"

#define JSON_TEXT_MAX (64u << 20)	/* octets of one file */

/* A value and where it stands. */
struct json_value {
	json_t *json;		/* borrowed */
	uint32_t node;		/* of reader->where */
};

/* How many elements an array may have at most. */
struct json_capacity {
	const char *pointer;	/* to the array, as for json_where_find() */
	size_t max;
};

struct json_reader {
	const char *name;	/* file name for messages */
	const struct json_capacity *capacity;	/* looked at before anything is read; NULL: none */
	struct ipsecbpf_report *report;
	struct json_where *where;
	json_t *root;
	char subject[96];	/* object being read, put in front of causes: rule "ftp" */
	const char *key;	/* key being read, likewise; NULL: none */
	size_t errors;
	bool no_memory;		/* set by whoever ran out; the reading is then void */
};

struct json_key {
	const char *name;
	bool required;
	/* Puts the value into `target`, or reports what is wrong with it. */
	void (*read)(struct json_reader *reader, struct json_value value, void *target);
};

/*
 * Parses the text, unless it is too much of it. 0; -EINVAL with the error in the report; -ENOMEM.
 * To be closed in every case. Afterwards the root is { reader->root, JSON_WHERE_ROOT }.
 */
int json_reader_open(struct json_reader *reader, const char *text, size_t len);
void json_reader_close(struct json_reader *reader);

/* Reports an error at a place; subject and key are put in front. Control characters become '?'. */
void json_report_at(struct json_reader *reader, enum report_level level, struct position at,
		    const char *next, const char *format, ...)
	__attribute__((format(printf, 5, 6)));
#define json_error_at(reader, at, next, ...) \
	json_report_at(reader, REPORT_ERROR, at, next, __VA_ARGS__)
#define json_error(reader, value, next, ...) \
	json_error_at(reader, json_where_value((reader)->where, (value).node), next, __VA_ARGS__)
#define json_warning(reader, value, next, ...) \
	json_report_at(reader, REPORT_WARNING, json_where_value((reader)->where, (value).node), \
		       next, __VA_ARGS__)

/*
 * Reads an object whose keys are those of the table (ended by a NULL name), calling their read
 * functions in text order. Unknown and missing keys are errors.
 */
void json_read_object(struct json_reader *reader, struct json_value value,
		      const struct json_key *keys, void *target);

/* Calls `read` for each member of an object (any names), with reader->key set to the name. */
void json_read_members(struct json_reader *reader, struct json_value value,
		       void (*read)(struct json_reader *, struct json_value, void *), void *target);

/*
 * Calls `read` for each element of an array, or once for a value that is none if `scalar_too`.
 * More than `max` elements are an error. An empty array calls nothing; returns the number of calls.
 */
struct json_list {
	size_t max;
	bool scalar_too;
	void (*read)(struct json_reader *reader, struct json_value value, void *target);
};
size_t json_read_list(struct json_reader *reader, struct json_value value,
		      const struct json_list *list, void *target);

/* Reports "must be WANTED, not an array". */
void json_type_error(struct json_reader *reader, struct json_value value, const char *wanted);

/* Each reports what is wrong and returns NULL or false, leaving the output alone. */
const char *json_read_string(struct json_reader *reader, struct json_value value);
bool json_read_integer(struct json_reader *reader, struct json_value value, json_int_t lo,
		       json_int_t hi, json_int_t *ret_integer);
bool json_read_boolean(struct json_reader *reader, struct json_value value, bool *ret_boolean);
/* One of `words` (ended by NULL); its index. */
bool json_read_word(struct json_reader *reader, struct json_value value, const char *const *words,
		    size_t *ret_index);

/* Writes "did you mean \"best\"?" to `out`; NULL if `best` is. For the `next` of json_error(). */
const char *json_did_you_mean(const char *best, char out[96]);

#endif /* IPSECBPF_JSON_READ_H */
