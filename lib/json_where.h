/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Where in a JSON text a value stands. jansson forgets positions once it has parsed; this index,
 * made by one pass over the same text, keeps line and column of every value and member name, so
 * that an error of meaning can be reported as "file:line:column" like an error of syntax.
 *
 * Included by: json_read (which most readers want instead), policy_json.
 * Ownership:   json_where_free() frees the index. The text is borrowed and must outlive it.
 * Threading:   read-only after json_where_index().
 * Safety:      the text is meant to be valid JSON (jansson accepted it); any other text gives
 *              useless positions, but no access outside of it. No recursion.
 */
#ifndef IPSECBPF_JSON_WHERE_H
#define IPSECBPF_JSON_WHERE_H

#include <stddef.h>
#include <stdint.h>

struct position {
	uint32_t line, column;	/* from 1, columns in characters; 0: unknown */
};

#define JSON_WHERE_ROOT 0u		/* the node of the whole text */
#define JSON_WHERE_NONE UINT32_MAX	/* no such node */

struct json_where;

#define JSON_WHERE_MAX (4u << 20)	/* values of one text: what bounds the memory reading takes */

/*
 * Makes the index, of at most JSON_WHERE_MAX values. NULL with errno ENOMEM, or E2BIG for a text of
 * 2 GiB and more.
 */
struct json_where *json_where_index(const char *text, size_t len);

/* Where the first value stands that is not in the index any more; line 0: all are. */
struct position json_where_beyond(const struct json_where *where);
void json_where_free(struct json_where *where);

/*
 * Walks an object's or array's values in text order, which is also jansson's iteration order:
 * JSON_WHERE_NONE after the last one. `node` is a value below `parent`.
 */
uint32_t json_where_first(const struct json_where *where, uint32_t parent);
uint32_t json_where_next(const struct json_where *where, uint32_t parent, uint32_t node);

/*
 * Node at a JSON pointer (RFC 6901 without the ~ escapes): "/sas/3/key", "" for the whole text.
 * JSON_WHERE_NONE if there is none. Takes time in proportion to the siblings passed.
 */
uint32_t json_where_find(const struct json_where *where, const char *pointer);

/* Position of a value, and of the member name in front of it (for elements: of the value). */
struct position json_where_value(const struct json_where *where, uint32_t node);
struct position json_where_key(const struct json_where *where, uint32_t node);

#endif /* IPSECBPF_JSON_WHERE_H */
