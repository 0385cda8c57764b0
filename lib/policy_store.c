// SPDX-License-Identifier: BSD-2-Clause
#include "policy_store.h"

#include <bpf/bpf.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "app_usage.h"
#include "inner_map.h"
#include "names_store.h"
#include "policy_keep.h"
#include "policy_source.h"
#include "policy_trial.h"
#include "protections.h"
#include "rule_counts.h"

#define READ_TRIES 5	/* of a policy that others change all the time */

/* ---- reading ------------------------------------------------------------------------------- */

int policy_read_head(const struct pins *pins, uint32_t generation, struct spd_head *ret_head)
{
	struct inner_map map;
	int err = inner_map_open(&map, pins->spd_fd, generation, false);

	if (err)
		return err;
	if (map.len >= sizeof(union spd_cell))
		*ret_head = ((const union spd_cell *)map.area)->head;
	else
		err = -ENODATA;
	inner_map_close(&map);
	return err;
}

bool policy_text_is(const struct pins *pins, uint32_t generation, const char *text)
{
	size_t len = strlen(text);
	struct spd_head head;
	struct inner_map map;
	bool same;

	if (policy_read_head(pins, generation, &head) || head.text_len != len ||
	    inner_map_open(&map, pins->policy_text_fd, generation, false))
		return false;
	same = len <= map.len && !memcmp(map.area, text, len);
	inner_map_close(&map);
	return same;
}

bool policy_snapshot_is(const struct pins *pins, uint32_t generation,
			const struct policy_compiled *compiled)
{
	size_t len = compiled->cells.count * sizeof(union spd_cell);
	const union spd_cell *cells;
	struct inner_map map;
	struct spd_head head;
	bool same = false;

	if (inner_map_open(&map, pins->spd_fd, generation, false))
		return false;
	cells = map.area;
	if (map.len >= len) {
		head = cells->head;
		head.serial = policy_head(compiled)->serial;
		head.applied_ns = policy_head(compiled)->applied_ns;
		head.text_len = policy_head(compiled)->text_len;
		same = !memcmp(&head, policy_head(compiled), sizeof(head)) &&
		       !memcmp(cells + 1, compiled->cells.items + 1, len - sizeof(*cells));
	}
	inner_map_close(&map);
	return same;
}

/* Head and text may be of two policies, if another came into the generation between the two. */
static bool is_still(const struct pins *pins, uint32_t generation, const struct spd_head *head)
{
	struct spd_head now;

	return !policy_read_head(pins, generation, &now) && now.serial == head->serial;
}

static int open_text_once(const struct pins *pins, struct inner_map *map, size_t *ret_len)
{
	uint32_t live = policy_generation(pins);
	struct spd_head head;
	int err = policy_read_head(pins, live, &head);

	if (!err)
		err = inner_map_open(map, pins->policy_text_fd, live, false);
	/* What a generation had goes when the other one is in force. */
	if (err)
		return policy_generation(pins) == live ? err : -EAGAIN;
	if (head.text_len > map->len || !is_still(pins, live, &head)) {
		inner_map_close(map);
		return -EAGAIN;
	}
	*ret_len = head.text_len;
	return 0;
}

/* The map of the policy in force; its text is the first *ret_len octets. 0, -ENODATA or -errno; -EAGAIN:
 * policies come faster than they can be read. */
static int open_text(const struct pins *pins, struct inner_map *map, size_t *ret_len)
{
	int err = -EAGAIN;

	for (int i = 0; i < READ_TRIES && err == -EAGAIN; i++)
		err = open_text_once(pins, map, ret_len);
	return err;
}

char *policy_read_text(const struct pins *pins, size_t *ret_len)
{
	struct inner_map map;
	char *text;
	size_t len;
	int err = open_text(pins, &map, &len);

	if (err) {
		errno = -err;
		return NULL;
	}
	text = malloc(len + 1);
	if (text) {
		memcpy(text, map.area, len);
		text[len] = '\0';
		*ret_len = len;
	}
	inner_map_close(&map);
	return text;
}

static size_t names_offset(const struct policy *policy, size_t text_len)
{
	return (policy_source_end(policy, text_len) + 7) & ~(size_t)7;
}

/* Rules are those in force only with the addresses in force, which lie behind text and source. */
static int expand_names(struct policy *policy, const struct inner_map *map, size_t text_len)
{
	size_t at = names_offset(policy, text_len);
	const char *text = (const char *)map->area + at;
	int err;

	if (!names_are_in(policy) || at >= map->len || *text != '{')
		return 0;
	err = names_parse(text, strnlen(text, map->len - at), &policy->names);
	return err ? err : policy_expand(policy, &policy->names);
}

struct policy *policy_read_live(const struct pins *pins, struct ipsecbpf_report *report)
{
	struct ipsecbpf_report said = { 0 };
	struct inner_map map;
	struct policy *policy;
	size_t len;
	int err = open_text(pins, &map, &len);

	if (err) {
		errno = -err;
		return NULL;
	}
	policy = policy_parse(map.area, len, pins->paths.dir, &said);
	err = policy ? -policy_source_get(policy, map.area, map.len, len) : errno;
	if (policy && !err)
		err = -expand_names(policy, &map, len);
	/* Its warnings were given when it was applied. */
	for (size_t i = 0; i < said.count && !policy; i++)
		report_add(report, said.items[i].level, said.items[i].object, said.items[i].next,
			   "%s", said.items[i].cause);
	report_fini(&said);
	inner_map_close(&map);
	if (policy && !err)
		return policy;
	policy_free(policy);
	errno = err;
	return NULL;
}

int policy_keep_live(const struct pins *pins, struct policy_keeping *ret_keeping,
		     struct ipsecbpf_report *report)
{
	struct policy *policy = policy_read_live(pins, report);
	int err = policy ? 0 : -errno;
	char *text;
	size_t len;

	if (err)
		return err;
	text = policy_read_text(pins, &len);
	err = text ? policy_keep_prepare(pins->ifname, text, &policy->names, ret_keeping, report) :
		     -errno;
	free(text);
	policy_free(policy);
	return err;
}

/* ---- writing ------------------------------------------------------------------------------- */

/* No hook that began while the generation was in force is still at work when this returns. */
static void wait_for_hooks(const struct pins *pins, uint32_t generation)
{
	inner_map_delete(pins->policy_text_fd, generation);
}

/* For the supervisor, which may not open maps by their ids. */
static void note_applications(const struct pins *pins, uint32_t generation, bool has)
{
	uint8_t bit = (uint8_t)(1u << generation);

	if (has)
		__atomic_fetch_or(&pins->control->app_generations, bit, __ATOMIC_ACQ_REL);
	else
		__atomic_fetch_and(&pins->control->app_generations, (uint8_t)~bit,
				   __ATOMIC_ACQ_REL);
}

static void take_away(const struct pins *pins, uint32_t generation)
{
	struct inner_map_change gone[] = {
		{ .outer_fd = pins->spd_fd, .key = generation },
		{ .outer_fd = pins->rule_counts_fd, .key = generation },
	};

	inner_map_change(gone, 2);
	note_applications(pins, generation, false);
	protections_remove(pins, generation);
	/* What is left over is tried again with the next generation that goes. */
	app_usage_sweep(pins);
}

void policy_free_generation(const struct pins *pins, uint32_t generation)
{
	wait_for_hooks(pins, generation);
	take_away(pins, generation);
}

void policy_retire_generation(const struct pins *pins, uint32_t generation,
			      struct ipsecbpf_report *report)
{
	int err;

	wait_for_hooks(pins, generation);
	/* Once more: what was counted since the flip, or in its midst. */
	err = rule_counts_carry(pins, generation, !generation);
	if (err)
		report_warning(report, pins->ifname, NULL,
			       "what rules counted while the policy changed is lost: %s",
			       strerror(-err));
	take_away(pins, generation);
}

static int put(const struct pins *pins, uint32_t generation, const struct inner_map *text,
	       const struct inner_map *counts, const struct inner_map *spd)
{
	struct inner_map_change new[] = {
		{ .outer_fd = pins->policy_text_fd, .key = generation, .map = text },
		{ .outer_fd = pins->rule_counts_fd, .key = generation, .map = counts },
		{ .outer_fd = pins->spd_fd, .key = generation, .map = spd },
	};

	return inner_map_change(new, 3);
}

/* The text, behind it where the rules come from, then what host names stand for in them. */
static int make_text(struct inner_map *map, const struct policy *policy, const char *text,
		     size_t len)
{
	char *names = policy->names.count ? names_text(&policy->names) : NULL;
	size_t end = policy_source_end(policy, len), at = names_offset(policy, len);
	int err = policy->names.count && !names ? -ENOMEM : 0;

	if (names)
		end = at + strlen(names) + 1;
	if (!err)
		err = inner_map_create(map, "policy_text", POLICY_TEXT_CHUNK,
				       (uint32_t)((end - 1) / POLICY_TEXT_CHUNK + 1));
	if (!err) {
		memcpy(map->area, text, len);
		policy_source_put(policy, map->area, len);
		if (names)
			memcpy((char *)map->area + at, names, strlen(names) + 1);
		err = inner_map_freeze(map);
		if (err)
			inner_map_close(map);
	}
	free(names);
	return err;
}

int policy_store(const struct pins *pins, uint32_t spare, const struct policy *policy,
		 const struct policy_compiled *compiled, const char *text)
{
	const struct spd_cells *cells = &compiled->cells;
	struct inner_map texts, counts, spd;
	int err = make_text(&texts, policy, text, policy_head(compiled)->text_len);

	if (err)
		return err;
	err = rule_counts_make(&counts, policy);
	if (err)
		goto out_text;
	err = inner_map_make(&spd, "spd", SPD_CHUNK_SIZE, cells->items,
			     cells->count * sizeof(*cells->items));
	if (err)
		goto out_counts;
	err = put(pins, spare, &texts, &counts, &spd);
	if (!err)
		err = rule_counts_carry(pins, !spare, spare);
	if (!err)
		note_applications(pins, spare, policy->application_count);
	inner_map_close(&spd);
out_counts:
	inner_map_close(&counts);
out_text:
	inner_map_close(&texts);
	return err;
}
