// SPDX-License-Identifier: BSD-2-Clause
/* How full the maps are. */
#include <bpf/bpf.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "observe.h"
#include "pin.h"

#define MAP_KEY_MAX 256

_Static_assert(sizeof(struct protection_key) <= MAP_KEY_MAX, "the longest key");

static const char *const map_names[] = {
#define X(map) #map,
	PINNED_MAPS(X)
#undef X
};
#define MAP_COUNT (sizeof(map_names) / sizeof(map_names[0]))

static int describe_map(int fd, struct bpf_map_info *ret_info)
{
	uint32_t len = sizeof(*ret_info);

	memset(ret_info, 0, sizeof(*ret_info));
	return bpf_obj_get_info_by_fd(fd, ret_info, &len) ? -errno : 0;
}

/* A hash that changes meanwhile may send us round again: it holds no more than it can. */
static uint32_t count_hash(int fd, const struct bpf_map_info *info)
{
	char keys[2][MAP_KEY_MAX];
	void *previous = NULL;
	uint32_t count = 0;

	if (info->key_size > MAP_KEY_MAX)
		return 0;
	while (count < info->max_entries &&
	       !bpf_map_get_next_key(fd, previous, keys[count % 2])) {
		previous = keys[count % 2];
		count++;
	}
	return count;
}

static uint32_t count_slots(const struct pins *pins)
{
	struct sa_slot slot;
	uint32_t count = 0;

	for (uint32_t i = 1; i < pins->attachment.sa_slots; i++)
		count += !bpf_map_lookup_elem(pins->sa_slots_fd, &i, &slot) && slot.used;
	return count;
}

static uint32_t count_out_sas(const struct pins *pins, const struct bpf_map_info *info)
{
	struct out_sa sa;
	uint32_t count = 0;

	for (uint32_t i = 0; i < info->max_entries; i++)
		count += !bpf_map_lookup_elem(pins->out_sa_fd, &i, &sa) && sa.slot;
	return count;
}

/* Arrays whose elements all have their meaning from the start are not counted. */
static void count_entries(const struct pins *pins, int fd, const struct bpf_map_info *info,
			  struct ipsecbpf_map_use *use)
{
	use->fills = true;
	if (info->type == BPF_MAP_TYPE_HASH)
		use->entries = count_hash(fd, info);
	else if (fd == pins->sa_slots_fd)
		use->entries = count_slots(pins);
	else if (fd == pins->out_sa_fd)
		use->entries = count_out_sas(pins, info);
	else
		use->fills = false;
}

static int fd_of(const struct pins *pins, size_t index)
{
	const int fds[] = {
#define X(map) pins->map##_fd,
		PINNED_MAPS(X)
#undef X
	};

	return fds[index];
}

static int describe_all(const struct pins *pins, struct ipsecbpf_map_use *maps)
{
	for (size_t i = 0; i < MAP_COUNT; i++) {
		struct bpf_map_info info;
		int fd = fd_of(pins, i), err = describe_map(fd, &info);

		if (err)
			return err;
		maps[i].name = map_names[i];
		maps[i].max_entries = info.max_entries;
		count_entries(pins, fd, &info, &maps[i]);
	}
	return 0;
}

int ipsecbpf_map_list(const char *ifname, struct ipsecbpf_map_use **ret_maps, size_t *ret_count,
		      struct ipsecbpf_report *report)
{
	struct ipsecbpf_map_use *maps;
	struct pins pins;
	int err = pins_open(&pins, ifname, report);

	if (err)
		return err;
	maps = calloc(MAP_COUNT, sizeof(*maps));
	err = maps ? describe_all(&pins, maps) : -ENOMEM;
	pins_close(&pins);
	if (err) {
		report_error(report, ifname, NULL, "cannot look at the maps: %s", strerror(-err));
		free(maps);
		return err;
	}
	*ret_maps = maps;
	*ret_count = MAP_COUNT;
	return 0;
}
