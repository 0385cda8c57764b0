// SPDX-License-Identifier: BSD-2-Clause
#include "app_candidates.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static uint32_t level_of(const struct app_pattern *pattern, const struct app_identity *who)
{
	return pattern->unit ? who->unit_level : pattern->cgroup_level;
}

/* In the order in which policy looks at properties (bpf/spd_app.h). */
static const char *why_lost(const struct app_pattern *winner, const struct app_pattern *loser,
			    const struct app_identity *who)
{
	uint32_t first = level_of(winner, who), second = level_of(loser, who);
	uint32_t more = winner->shape & ~loser->shape;

	if (first != second)
		return second ? "its cgroup is less deep" : "it names no cgroup";
	if (loser->unit && !winner->unit)
		return "a cgroup's path goes before the unit";
	if (winner->shape != loser->shape && winner->shape > loser->shape) {
		if (more & SPD_MATCH_EXE)
			return "it names no executable";
		return more & SPD_MATCH_UID ? "it names no user" : "it names no group";
	}
	return "it comes later in the file";
}

static bool matches(const struct app_pattern *pattern, const struct app_identity *who)
{
	struct app_pattern copy = *pattern;
	const struct app_patterns alone = { .items = &copy, .count = 1 };
	const struct app_pattern *found;

	return app_resolve_slowly(&alone, who, &found) != 0;
}

int app_candidates(const struct app_patterns *patterns, const struct app_identity *who,
		   struct app_candidate **ret_items, size_t *ret_count)
{
	struct app_candidate *items = calloc(patterns->count + 1, sizeof(*items));
	const struct app_pattern *winner = NULL;
	size_t count = 0, match = 0;

	if (!items)
		return -ENOMEM;
	app_resolve_slowly(patterns, who, &winner);
	for (size_t i = 0; i < patterns->count; i++) {
		const struct app_pattern *pattern = &patterns->items[i];

		match = i && patterns->items[i - 1].app == pattern->app ? match + 1 : 0;
		if (!winner || !matches(pattern, who))
			continue;
		items[count].app = pattern->app - 1;
		items[count].match = match;
		items[count].decided = pattern == winner;
		items[count++].lost = pattern == winner ? NULL : why_lost(winner, pattern, who);
	}
	*ret_items = items;
	*ret_count = count;
	return 0;
}

const char *app_match_text(const struct app_match *match, char *out, size_t out_len)
{
	const struct {
		const char *word, *value;
	} properties[] = {
		{ "cgroup", match->cgroup }, { "unit", match->unit },
		{ "executable", match->exe }, { "user", match->user }, { "group", match->group },
	};
	size_t used = 0;

	*out = '\0';
	for (size_t i = 0; i < sizeof(properties) / sizeof(properties[0]); i++) {
		if (!properties[i].value || used >= out_len)
			continue;
		used += (size_t)snprintf(out + used, out_len - used, "%s%s %s", used ? ", " : "",
					 properties[i].word, properties[i].value);
	}
	return out;
}
