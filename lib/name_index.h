/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Finds one of many things by its name: a hash table over an array whose elements begin with their
 * name (char[NAME_LEN]), which it does not copy.
 *
 * Included by: policy_check, policy_diff, policy_json*, policy_check_app.
 * Ownership:   the array is borrowed and must neither move nor change while the index is used.
 * Threading:   read-only but for name_index_add().
 */
#ifndef IPSECBPF_NAME_INDEX_H
#define IPSECBPF_NAME_INDEX_H

#include <stddef.h>
#include <stdint.h>

#define NAME_INDEX_NONE SIZE_MAX

struct name_index {
	const char *names;	/* the first element */
	size_t stride;		/* octets from one element to the next */
	uint32_t *slots;	/* position + 1; 0: free */
	size_t mask;
};

/* Makes an empty index with room for `count` elements. 0 or -ENOMEM. To be finished in both cases. */
int name_index_init(struct name_index *index, const void *array, size_t stride, size_t count);
void name_index_fini(struct name_index *index);

/* Adds the element at `position`, unless one has its name: that one's position, else
 * NAME_INDEX_NONE. */
size_t name_index_add(struct name_index *index, size_t position);

/* Position of the element of this name, or NAME_INDEX_NONE. */
size_t name_index_find(const struct name_index *index, const char *name);

#endif /* IPSECBPF_NAME_INDEX_H */
