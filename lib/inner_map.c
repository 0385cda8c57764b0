// SPDX-License-Identifier: BSD-2-Clause
#include "inner_map.h"

#include <bpf/bpf.h>
#include <errno.h>
#include <linux/bpf.h>
#include <pthread.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

static int map_area(struct inner_map *map, bool writable)
{
	int protection = writable ? PROT_READ | PROT_WRITE : PROT_READ;
	void *area = mmap(NULL, map->len, protection, MAP_SHARED, map->fd, 0);

	if (area == MAP_FAILED)
		return -errno;
	map->area = area;
	return 0;
}

static void unmap_area(struct inner_map *map)
{
	if (map->area)
		munmap(map->area, map->len);
	map->area = NULL;
}

int inner_map_create(struct inner_map *map, const char *name, uint32_t value_size,
		     uint32_t entries)
{
	LIBBPF_OPTS(bpf_map_create_opts, opts, .map_flags = BPF_F_INNER_MAP | BPF_F_MMAPABLE);
	int err;

	*map = (struct inner_map){ .len = (size_t)value_size * entries };
	map->fd = bpf_map_create(BPF_MAP_TYPE_ARRAY, name, sizeof(uint32_t), value_size, entries,
				 &opts);
	if (map->fd < 0)
		return -errno;
	err = map_area(map, true);
	if (err)
		inner_map_close(map);
	return err;
}

int inner_map_open(struct inner_map *map, int outer_fd, uint32_t key, bool writable)
{
	struct bpf_map_info info = { 0 };
	uint32_t id, info_len = sizeof(info);
	int err;

	*map = (struct inner_map){ .fd = -1 };
	if (bpf_map_lookup_elem(outer_fd, &key, &id))
		return errno == ENOENT ? -ENODATA : -errno;
	map->fd = bpf_map_get_fd_by_id(id);
	if (map->fd < 0)
		return errno == ENOENT ? -ENODATA : -errno; /* taken away in between */
	err = bpf_obj_get_info_by_fd(map->fd, &info, &info_len) ? -errno : 0;
	map->len = (size_t)info.value_size * info.max_entries;
	if (!err)
		err = map_area(map, writable);
	if (err)
		inner_map_close(map);
	return err;
}

int inner_map_freeze(struct inner_map *map)
{
	unmap_area(map);
	return bpf_map_freeze(map->fd) ? -errno : 0;
}

void inner_map_close(struct inner_map *map)
{
	unmap_area(map);
	if (map->fd >= 0)
		close(map->fd);
	map->fd = -1;
}

int inner_map_make(struct inner_map *map, const char *name, uint32_t value_size, const void *data,
		   size_t len)
{
	size_t entries = len ? (len - 1) / value_size + 1 : 1;
	int err;

	if (entries > UINT32_MAX)
		return -E2BIG;
	err = inner_map_create(map, name, value_size, (uint32_t)entries);
	if (err)
		return err;
	memcpy(map->area, data, len);
	err = inner_map_freeze(map);
	if (err)
		inner_map_close(map);
	return err;
}

/* ---- outer maps ---------------------------------------------------------------------------- */

bool inner_map_delete(int outer_fd, uint32_t key)
{
	uint32_t id;

	/* Some kernels wait as well where there is nothing. */
	if (bpf_map_lookup_elem(outer_fd, &key, &id))
		return false;
	return !bpf_map_delete_elem(outer_fd, &key);
}

static void *change_one(void *context)
{
	struct inner_map_change *change = context;

	if (!change->map)
		inner_map_delete(change->outer_fd, change->key);
	else if (bpf_map_update_elem(change->outer_fd, &change->key, &change->map->fd, 0))
		change->err = -errno;
	return NULL;
}

int inner_map_change(struct inner_map_change *changes, size_t count)
{
	pthread_t threads[INNER_MAP_CHANGES_MAX];
	bool running[INNER_MAP_CHANGES_MAX] = { false };
	int err = 0;

	if (count > INNER_MAP_CHANGES_MAX)
		return -E2BIG;
	for (size_t i = 1; i < count; i++)
		running[i] = !pthread_create(&threads[i], NULL, change_one, &changes[i]);
	for (size_t i = 0; i < count; i++) {
		if (running[i])
			pthread_join(threads[i], NULL);
		else
			change_one(&changes[i]);
		err = err ? err : changes[i].err;
	}
	return err;
}
