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
	return sizeof(*source) + (size_t)source->rules * sizeof(uint32_t) + source->file_len;
}

static bool is_source(const struct policy_source *source)
{
	return source->magic == POLICY_SOURCE_MAGIC && source->rules <= POLICY_RULES_MAX &&
	       source->file_len > 1 && source->file_len <= POLICY_SOURCE_FILE_MAX;
}

/* All zeroes if there is nothing to keep. */
static struct policy_source source_of(const struct policy *policy)
{
	struct policy_source source = {
		.magic = POLICY_SOURCE_MAGIC,
		.rules = (uint32_t)policy->rule_count,
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

void policy_source_put(const struct policy *policy, void *area, size_t text_len)
{
	struct policy_source source = source_of(policy);
	char *out = (char *)area + source_offset(text_len);

	if (!source.magic)
		return;
	memcpy(out, &source, sizeof(source));
	out += sizeof(source);
	for (size_t i = 0; i < source.rules; i++, out += sizeof(uint32_t))
		memcpy(out, &policy->rules[i].at.line, sizeof(uint32_t));
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
	if (!is_source(&source) || source.rules != policy->rule_count ||
	    room < source_len(&source))
		return false;
	file = at + source_len(&source) - source.file_len;
	if (memchr(file, '\0', source.file_len) != file + source.file_len - 1)
		return false;
	*ret_source = source;
	return true;
}

int policy_source_get(struct policy *policy, const void *area, size_t area_len, size_t text_len)
{
	size_t offset = source_offset(text_len);
	const char *at = (const char *)area + offset;
	struct policy_source source;
	char *file;

	if (offset > area_len || !find_source(policy, at, area_len - offset, &source))
		return 0;
	file = strdup(at + source_len(&source) - source.file_len);
	if (!file)
		return -ENOMEM;
	free(policy->file);
	policy->file = file;
	at += sizeof(source);
	for (size_t i = 0; i < source.rules; i++, at += sizeof(uint32_t)) {
		memcpy(&policy->rules[i].at.line, at, sizeof(uint32_t));
		policy->rules[i].at.column = 0;
	}
	return 0;
}
