// SPDX-License-Identifier: BSD-2-Clause
#include "policy_source.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "policy_internal.h"

#define ALIGNMENT 8u

static size_t source_offset(size_t text_len)
{
	return (text_len + ALIGNMENT - 1) / ALIGNMENT * ALIGNMENT;
}

static size_t source_len(const struct policy_source *source)
{
	return sizeof(*source) + (size_t)source->lines * sizeof(uint32_t) + source->file_len;
}

static bool is_source(const struct policy_source *source)
{
	return source->magic == POLICY_SOURCE_MAGIC && source->lines <= JSON_WHERE_MAX &&
	       source->file_len > 1 && source->file_len <= POLICY_SOURCE_FILE_MAX;
}

typedef void (*visit_fn)(struct position *at, void *context);

static void visit_application(const struct application *application, visit_fn visit, void *context)
{
	for (size_t i = 0; i < application->match_count; i++)
		visit(&application->matches[i].at, context);
	for (size_t i = 0; i < application->network_count; i++) {
		struct app_network *network = &application->networks[i];

		visit(&network->at, context);
		for (size_t k = 0; k < network->protect_count; k++)
			visit(&network->protect[k].at, context);
	}
}

/* Everything that a message may give the line of, in the order of the lines that are kept. */
static void visit_all(const struct policy *policy, visit_fn visit, void *context)
{
	for (size_t i = 0; i < policy->rule_count; i++)
		visit(&policy->rules[i].at, context);
	for (size_t i = 0; i < policy->application_count; i++) {
		visit(&policy->applications[i].at, context);
		visit_application(&policy->applications[i], visit, context);
	}
}

static void count_line(struct position *at, void *context)
{
	size_t *count = context;

	(void)at;
	(*count)++;
}

static uint32_t count_lines(const struct policy *policy)
{
	size_t count = 0;

	visit_all(policy, count_line, &count);
	return (uint32_t)count;
}

/* All zeroes if there is nothing to keep. */
static struct policy_source source_of(const struct policy *policy)
{
	struct policy_source source = {
		.magic = POLICY_SOURCE_MAGIC,
		.lines = count_lines(policy),
	};
	size_t len = policy->file ? strlen(policy->file) + 1 : 0;

	if (len <= POLICY_SOURCE_FILE_MAX)
		source.file_len = (uint32_t)len;
	return is_source(&source) ? source : (struct policy_source){ 0 };
}

size_t policy_source_end(const struct policy *policy, size_t text_len)
{
	struct policy_source source = source_of(policy);

	return source.magic ? source_offset(text_len) + source_len(&source) : text_len;
}

static void put_line(struct position *at, void *context)
{
	char **out = context;

	memcpy(*out, &at->line, sizeof(uint32_t));
	*out += sizeof(uint32_t);
}

void policy_source_put(const struct policy *policy, void *area, size_t text_len)
{
	struct policy_source source = source_of(policy);
	char *out = (char *)area + source_offset(text_len);

	if (!source.magic)
		return;
	memcpy(out, &source, sizeof(source));
	out += sizeof(source);
	visit_all(policy, put_line, &out);
	memcpy(out, policy->file, source.file_len);
}

/* Whether a source of this policy lies there, and all of it. */
static bool find_source(const struct policy *policy, const char *at, size_t room,
			struct policy_source *ret_source)
{
	struct policy_source source;
	const char *file;

	if (room < sizeof(source))
		return false;
	memcpy(&source, at, sizeof(source));
	if (!is_source(&source) || source.lines != count_lines(policy) ||
	    room < source_len(&source))
		return false;
	file = at + source_len(&source) - source.file_len;
	if (memchr(file, '\0', source.file_len) != file + source.file_len - 1)
		return false;
	*ret_source = source;
	return true;
}

/* From where in the canonical text to which line of the file. */
struct move {
	struct position from;
	uint32_t line;
};

struct moving {
	const char *lines;	/* those to come */
	struct move *moves;
	size_t count;
};

static void move_line(struct position *at, void *context)
{
	struct moving *moving = context;
	struct move *move = &moving->moves[moving->count++];

	move->from = *at;
	memcpy(&move->line, moving->lines, sizeof(uint32_t));
	moving->lines += sizeof(uint32_t);
	*at = (struct position){ .line = move->line };
}

static int compare_moves(const void *a, const void *b)
{
	const struct position *x = &((const struct move *)a)->from;
	const struct position *y = &((const struct move *)b)->from;

	if (x->line != y->line)
		return x->line < y->line ? -1 : 1;
	return x->column < y->column ? -1 : x->column > y->column;
}

/* The rules that applications come to stand where that stands which they come from. */
static void move_made_rules(struct policy *policy, const struct moving *moving)
{
	qsort(moving->moves, moving->count, sizeof(*moving->moves), compare_moves);
	for (size_t i = policy->rule_count; i < policy->all_rule_count; i++) {
		struct position *at = &policy->rules[i].at;
		const struct move key = { .from = *at }, *move;

		move = bsearch(&key, moving->moves, moving->count, sizeof(key), compare_moves);
		if (move)
			*at = (struct position){ .line = move->line };
	}
}

int policy_source_get(struct policy *policy, const void *area, size_t area_len, size_t text_len)
{
	size_t offset = source_offset(text_len);
	const char *at = (const char *)area + offset;
	struct policy_source source;
	struct moving moving = { 0 };
	char *file;

	if (offset > area_len || !find_source(policy, at, area_len - offset, &source))
		return 0;
	file = strdup(at + source_len(&source) - source.file_len);
	moving.lines = at + sizeof(source);
	moving.moves = calloc((size_t)source.lines + 1, sizeof(*moving.moves));
	if (!file || !moving.moves) {
		free(file);
		free(moving.moves);
		return -ENOMEM;
	}
	free(policy->file);
	policy->file = file;
	visit_all(policy, move_line, &moving);
	move_made_rules(policy, &moving);
	free(moving.moves);
	return 0;
}
