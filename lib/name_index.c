// SPDX-License-Identifier: BSD-2-Clause
/* Open addressing, at most half full, so that a search ends soon. */
#include "name_index.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

int name_index_init(struct name_index *index, const void *array, size_t stride, size_t count)
{
	size_t room = 16;

	while (room < count * 2)
		room *= 2;
	*index = (struct name_index){ .names = array, .stride = stride, .mask = room - 1 };
	index->slots = calloc(room, sizeof(*index->slots));
	return index->slots ? 0 : -ENOMEM;
}

void name_index_fini(struct name_index *index)
{
	free(index->slots);
	*index = (struct name_index){ 0 };
}

/* FNV-1a, its upper half folded in: names that differ in a digit at the end must not cluster. */
static size_t hash(const char *name)
{
	uint64_t value = 0xcbf29ce484222325ull;

	for (; *name; name++)
		value = (value ^ (unsigned char)*name) * 0x100000001b3ull;
	return (size_t)(value ^ value >> 32);
}

/* The slot that has the name, or the free one where it would be put. */
static uint32_t *find_slot(const struct name_index *index, const char *name)
{
	size_t at = hash(name) & index->mask;

	while (index->slots[at] &&
	       strcmp(index->names + (index->slots[at] - 1) * index->stride, name))
		at = (at + 1) & index->mask;
	return &index->slots[at];
}

size_t name_index_add(struct name_index *index, size_t position)
{
	uint32_t *slot = find_slot(index, index->names + position * index->stride);

	if (*slot)
		return *slot - 1;
	*slot = (uint32_t)position + 1;
	return NAME_INDEX_NONE;
}

size_t name_index_find(const struct name_index *index, const char *name)
{
	const uint32_t *slot = find_slot(index, name);

	return *slot ? *slot - 1 : NAME_INDEX_NONE;
}
