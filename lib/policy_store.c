// SPDX-License-Identifier: BSD-2-Clause
#include "policy_store.h"

#include <bpf/bpf.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "inner_map.h"
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

/* Head and text may be of two policies, if another came into the generation between the two. */
static bool is_still(const struct pins *pins, uint32_t generation, const struct spd_head *head)
{
	struct spd_head now;

	return !policy_read_head(pins, generation, &now) && now.serial == head->serial;
}

/* NULL with errno EAGAIN: it changed meanwhile. */
static char *read_text(const struct pins *pins, size_t *ret_len)
{
	uint32_t live = policy_generation(pins);
	struct inner_map map;
	struct spd_head head;
	char *text = NULL;
	int err = policy_read_head(pins, live, &head);

	if (!err)
		err = inner_map_open(&map, pins->policy_text_fd, live, false);
	if (err) {
		errno = -err;
		return NULL;
	}
	if (head.text_len > map.len || !is_still(pins, live, &head))
		errno = EAGAIN;
	else
		text = malloc((size_t)head.text_len + 1);
	if (text) {
		memcpy(text, map.area, head.text_len);
		text[head.text_len] = '\0';
		*ret_len = head.text_len;
	}
	inner_map_close(&map);
	return text;
}

char *policy_read_text(const struct pins *pins, size_t *ret_len)
{
	char *text = NULL;

	for (int i = 0; i < READ_TRIES && !text; i++) {
		text = read_text(pins, ret_len);
		if (!text && errno != EAGAIN)
			break;
	}
	return text;
}

struct policy *policy_read_live(const struct pins *pins, struct ipsecbpf_report *report)
{
	struct ipsecbpf_report said = { 0 };
	struct policy *policy;
	size_t len;
	char *text = policy_read_text(pins, &len);
	int err;

	if (!text)
		return NULL;
	policy = policy_parse(text, len, pins->paths.dir, &said);
	err = errno;
	/* Its warnings were given when it was applied. */
	for (size_t i = 0; i < said.count && !policy; i++)
		report_add(report, said.items[i].level, said.items[i].object, said.items[i].next,
			   "%s", said.items[i].cause);
	report_fini(&said);
	free(text);
	errno = err;
	return policy;
}

/* ---- writing ------------------------------------------------------------------------------- */

/* No hook that began while the generation was in force is still at work when this returns. */
static void wait_for_hooks(const struct pins *pins, uint32_t generation)
{
	inner_map_delete(pins->policy_text_fd, generation);
}

static void take_away(const struct pins *pins, uint32_t generation)
{
	struct inner_map_change gone[] = {
		{ .outer_fd = pins->spd_fd, .key = generation },
		{ .outer_fd = pins->rule_counts_fd, .key = generation },
	};

	inner_map_change(gone, 2);
	protections_remove(pins, generation);
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

int policy_store(const struct pins *pins, uint32_t spare, const struct policy *policy,
		 const struct policy_compiled *compiled, const char *text)
{
	const struct spd_cells *cells = &compiled->cells;
	struct inner_map texts, counts, spd;
	int err = inner_map_make(&texts, "policy_text", POLICY_TEXT_CHUNK, text,
				 policy_head(compiled)->text_len);

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
	inner_map_close(&spd);
out_counts:
	inner_map_close(&counts);
out_text:
	inner_map_close(&texts);
	return err;
}
