/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Arrays inside of arrays of maps: what a generation consists of. All have the flags BPF_F_INNER_MAP
 * and BPF_F_MMAPABLE, as their templates in bpf/maps.h say.
 *
 * Included by: policy_store.c, rule_counts.c. Ownership: inner_map_close() gives back what _create and
 * _open gave; the kernel keeps the map while it is in the outer one.
 */
#ifndef IPSECBPF_INNER_MAP_H
#define IPSECBPF_INNER_MAP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct inner_map {
	int fd;
	void *area;		/* the elements, one behind the other */
	size_t len;		/* octets of them */
};

/* A new one, zeroed, writable, in no outer map yet. value_size: a multiple of 8. 0 or -errno. */
int inner_map_create(struct inner_map *map, const char *name, uint32_t value_size,
		     uint32_t entries);

/* Maps what is at `key` of the outer map; what was frozen can only be read. 0, -ENODATA: nothing is
 * there, or -errno. */
int inner_map_open(struct inner_map *map, int outer_fd, uint32_t key, bool writable);

/* No program and nobody else can change it any more. Ends the mapping. 0 or -errno. */
int inner_map_freeze(struct inner_map *map);

void inner_map_close(struct inner_map *map);

/* Creates, fills and freezes one: `len` octets of `data`, then zeroes. 0 or -errno. */
int inner_map_make(struct inner_map *map, const char *name, uint32_t value_size, const void *data,
		   size_t len);

/* Takes away what is at `key` of the outer map. Returns when no program that has looked it up is at
 * work any more. False: there was none. */
bool inner_map_delete(int outer_fd, uint32_t key);

/* Puts a map in its place of an outer one, or takes away what is there. */
struct inner_map_change {
	int outer_fd;
	uint32_t key;
	const struct inner_map *map;	/* NULL: take away */
	int err;			/* out */
};

/*
 * All of these, in no order. For each the kernel waits for the programs that are at work (tens of
 * milliseconds); so that they wait together each is made by a thread. 0 or the first -errno.
 */
#define INNER_MAP_CHANGES_MAX 3
int inner_map_change(struct inner_map_change *changes, size_t count);

#endif /* IPSECBPF_INNER_MAP_H */
