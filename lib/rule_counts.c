// SPDX-License-Identifier: BSD-2-Clause
#include "rule_counts.h"

#include <bpf/libbpf.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "policy_match.h"

/* Each slot has a digest that says what it counts, whatever other slots there are. Those of rules
 * and of applications' names are as good as random. */
#define DIGEST_DEFAULT	0xdefa017000000000u	/* direction << 8 | action */
#define DIGEST_HOST	0x0b7f000000000000u	/* passed in the clear by optional rules of the host */

/* Row 0, and one for each CPU that there may ever be. */
static uint32_t row_count(void)
{
	int cpus = libbpf_num_possible_cpus();

	return RULE_COUNT_ROW(cpus > 0 ? (uint32_t)cpus : 1);
}

static uint32_t slots_of(const struct inner_map *map)
{
	return (uint32_t)(map->len / sizeof(struct rule_count) / row_count());
}

size_t rule_counts_memory(size_t rules, size_t apps)
{
	return RULE_COUNT_SLOTS(rules, apps) * row_count() * sizeof(struct rule_count);
}

/* ---- making -------------------------------------------------------------------------------- */

int rule_counts_make(struct inner_map *map, const struct policy *policy)
{
	size_t rules = policy->all_rule_count;
	struct rule_count *row;
	int err = inner_map_create(map, "rule_counts", sizeof(*row),
				   (uint32_t)(RULE_COUNT_SLOTS(rules, policy->application_count) *
					      row_count()));

	if (err)
		return err;
	row = map->area;
	for (size_t i = 0; i < rules; i++)
		row[i].digest = policy_rule_digest(policy, i);
	for (size_t i = 0; i < SPD_DIRECTION_COUNT; i++)
		row[RULE_COUNT_DEFAULT(rules, i)].digest =
			DIGEST_DEFAULT | i << 8 | policy->default_action[i];
	row[RULE_COUNT_OPTIONAL(rules, 0)].digest = DIGEST_HOST;
	for (size_t app = 1; app <= policy->application_count; app++)
		row[RULE_COUNT_OPTIONAL(rules, app)].digest =
			app_name_digest(policy->applications[app - 1].name);
	return 0;
}

/* ---- sums ---------------------------------------------------------------------------------- */

/* Hooks go on counting meanwhile: each number is whole, if not of the same moment. */
static uint64_t number(const __u64 *of)
{
	return __atomic_load_n(of, __ATOMIC_RELAXED);
}

static void add_row(struct rule_count *sums, const struct rule_count *row, uint32_t slots)
{
	for (uint32_t slot = 0; slot < slots; slot++) {
		uint64_t used_ns = number(&row[slot].used_ns);

		sums[slot].packets += number(&row[slot].packets);
		sums[slot].bytes += number(&row[slot].bytes);
		if (used_ns > sums[slot].used_ns)
			sums[slot].used_ns = used_ns;
	}
}

int rule_counts_sum(const struct inner_map *map, struct rule_count **ret_sums, uint32_t *ret_slots)
{
	const struct rule_count *rows = map->area;
	uint32_t slots = slots_of(map);
	struct rule_count *sums = calloc(slots + 1u, sizeof(*sums));

	if (!sums)
		return -ENOMEM;
	for (uint32_t row = 0; row < row_count(); row++)
		add_row(sums, rows + (size_t)row * slots, slots);
	for (uint32_t slot = 0; slot < slots; slot++)
		sums[slot].digest = rows[slot].digest;
	*ret_sums = sums;
	*ret_slots = slots;
	return 0;
}

/* ---- carrying over ------------------------------------------------------------------------- */

/* Slots by digest: slot + 1, 0 for none. */
struct slot_table {
	uint32_t *slots;
	size_t size;
};

static size_t place_of(const struct slot_table *table, const struct rule_count *sums,
		       uint64_t digest)
{
	size_t place = (digest ^ digest >> 32) & (table->size - 1);

	while (table->slots[place] && sums[table->slots[place] - 1].digest != digest)
		place = (place + 1) & (table->size - 1);
	return place;
}

static int index_slots(struct slot_table *table, const struct rule_count *sums, uint32_t slots)
{
	table->size = 16;
	while (table->size < 2 * (size_t)slots)
		table->size *= 2;
	table->slots = calloc(table->size, sizeof(*table->slots));
	if (!table->slots)
		return -ENOMEM;
	for (uint32_t slot = 0; slot < slots; slot++)
		table->slots[place_of(table, sums, sums[slot].digest)] = slot + 1;
	return 0;
}

static void carry(struct rule_count *to, const struct rule_count *from)
{
	to->packets = from->packets;
	to->bytes = from->bytes;
	to->used_ns = from->used_ns;
}

static int carry_all(struct rule_count *row, uint32_t slots, const struct rule_count *sums,
		     uint32_t old_slots)
{
	struct slot_table table;
	int err = index_slots(&table, sums, old_slots);

	if (err)
		return err;
	for (uint32_t slot = 0; slot < slots; slot++) {
		uint32_t old = table.slots[place_of(&table, sums, row[slot].digest)];

		if (old)
			carry(&row[slot], &sums[old - 1]);
	}
	free(table.slots);
	return 0;
}

int rule_counts_carry(const struct pins *pins, uint32_t from, uint32_t to)
{
	struct inner_map old, new;
	struct rule_count *sums;
	uint32_t old_slots;
	int err = inner_map_open(&old, pins->rule_counts_fd, from, false);

	if (err)
		return err == -ENODATA ? 0 : err;
	err = inner_map_open(&new, pins->rule_counts_fd, to, true);
	if (err)
		goto out_old;
	err = rule_counts_sum(&old, &sums, &old_slots);
	if (err)
		goto out_new;
	err = carry_all(new.area, slots_of(&new), sums, old_slots);
	free(sums);
out_new:
	inner_map_close(&new);
out_old:
	inner_map_close(&old);
	return err == -ENODATA ? 0 : err;
}
