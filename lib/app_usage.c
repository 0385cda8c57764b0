// SPDX-License-Identifier: BSD-2-Clause
#include "app_usage.h"

#include <bpf/bpf.h>
#include <errno.h>
#include <stdlib.h>

#include "../bpf/spd_app.h"
#include "inner_map.h"

#define GENERATIONS 2

/* The rows of all applications that there are: of connections and of endpoints. */
struct named {
	uint64_t *items;
	size_t count;
};

static int compare(const void *a, const void *b)
{
	const uint64_t *x = a, *y = b;

	return (*x > *y) - (*x < *y);
}

/* Those of one snapshot. */
static int add_names(struct named *named, const union spd_cell *cells)
{
	const struct spd_apps *apps = &cells[SPD_APPS_CELL].apps;
	size_t count = cells->head.apps;
	uint64_t *items;

	if (!count)
		return 0;
	items = reallocarray(named->items, named->count + 2 * count, sizeof(*items));
	if (!items)
		return -ENOMEM;
	named->items = items;
	for (uint32_t app = 1; app <= count; app++) {
		const union spd_cell *cell = &cells[spd_app_cell(apps, app)];

		items[named->count] = ((const struct spd_app *)(const void *)cell)->name_digest;
		items[named->count + 1] = items[named->count] ^ APP_USAGE_ENDPOINTS;
		named->count += 2;
	}
	return 0;
}

static int collect(const struct pins *pins, struct named *named)
{
	int err = 0;

	for (uint32_t generation = 0; !err && generation < GENERATIONS; generation++) {
		struct inner_map map;

		err = inner_map_open(&map, pins->spd_fd, generation, false);
		if (err == -ENODATA) {
			err = 0;
			continue;
		}
		if (err)
			break;
		err = add_names(named, map.area);
		inner_map_close(&map);
	}
	if (named->count)
		qsort(named->items, named->count, sizeof(*named->items), compare);
	return err;
}

static bool may_go(const struct named *named, int fd, const uint64_t *name)
{
	uint64_t used;

	return !(named->count &&
		 bsearch(name, named->items, named->count, sizeof(*name), compare)) &&
	       !bpf_map_lookup_elem(fd, name, &used) && !used;
}

int app_usage_sweep(const struct pins *pins)
{
	struct named named = { 0 };
	int fd = pins->app_usage_fd, gone = 0, err;
	uint64_t name, next;
	bool more = !bpf_map_get_next_key(fd, NULL, &name);

	if (!more)
		return 0;
	err = collect(pins, &named);
	while (!err && more) {
		/* First the next one: from a key that is gone the kernel begins anew. */
		more = !bpf_map_get_next_key(fd, &name, &next);
		gone += may_go(&named, fd, &name) && !bpf_map_delete_elem(fd, &name);
		name = next;
	}
	free(named.items);
	return err ? err : gone;
}
