// SPDX-License-Identifier: BSD-2-Clause
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "metrics.h"
#include "rule_order.h"

/* What was read the last time; the view stays, as it is dear. */
static void forget(struct metrics_source *source)
{
	free(source->sas);
	free(source->maps);
	free(source->top);
	metrics_apps_free(source);
	source->sas = NULL;
	source->maps = NULL;
	source->top = NULL;
	source->sa_count = source->map_count = source->top_count = 0;
	source->up = false;
}

/* No policy, no rules: that is no failure. */
static int read_rules(struct metrics_source *source, uint32_t limit,
		      struct ipsecbpf_report *report)
{
	int err;

	if (!limit || !source->view.policy)
		return 0;
	err = ipsecbpf_rule_stats(source->ifname, &source->rules, report);
	if (err)
		return err == -ENODATA ? 0 : err;
	source->top = rule_order(&source->rules, limit, &source->top_count);
	return source->top ? 0 : -ENOMEM;
}

static int read_source(struct metrics_source *source, const struct metrics_limits *limits,
		       struct ipsecbpf_report *report)
{
	uint32_t identity = source->view.identity;
	int err;

	forget(source);
	err = ipsecbpf_view_update(&source->view, source->ifname, report);
	/* Names are kept from one reading to the next, but not beyond an attachment. */
	if (source->view.identity != identity) {
		rule_stats_fini(&source->rules);
		app_live_forget(&source->live_policy);
	}
	if (!err)
		err = read_rules(source, limits->rules, report);
	if (!err)
		err = ipsecbpf_status(source->ifname, &source->status, report);
	if (!err)
		err = ipsecbpf_stats(source->ifname, &source->stats, report);
	if (!err)
		err = ipsecbpf_map_list(source->ifname, &source->maps, &source->map_count, report);
	if (!err)
		err = metrics_apps_read(source, report);
	source->up = !err;
	/* No supervisor is a state of its own, not a failure to look. */
	if (!err && ipsecbpf_sa_list(source->ifname, &source->sas, &source->sa_count, NULL)) {
		source->sas = NULL;
		source->sa_count = 0;
	}
	return err;
}

static void free_source(struct metrics_source *source)
{
	forget(source);
	ipsecbpf_view_fini(&source->view);
	app_live_forget(&source->live_policy);
	rule_stats_fini(&source->rules);
	free(source);
}

static int note(struct metrics *metrics, const char *ifname)
{
	struct metrics_source **at = &metrics->sources;

	while (*at && strcmp((*at)->ifname, ifname))
		at = &(*at)->next;
	if (!*at) {
		*at = calloc(1, sizeof(**at));
		if (!*at)
			return -ENOMEM;
		snprintf((*at)->ifname, sizeof((*at)->ifname), "%s", ifname);
	}
	(*at)->listed = true;
	return 0;
}

static int note_all(struct metrics *metrics)
{
	char **names;
	size_t count;
	int err = ipsecbpf_list(&names, &count);

	if (err)
		return err;
	for (size_t i = 0; i < count; i++) {
		err = err ? err : note(metrics, names[i]);
		free(names[i]);
	}
	free(names);
	return err;
}

static void drop_unlisted(struct metrics *metrics)
{
	struct metrics_source **at = &metrics->sources;

	while (*at) {
		struct metrics_source *source = *at;

		if (source->listed) {
			at = &source->next;
			continue;
		}
		*at = source->next;
		free_source(source);
	}
}

int metrics_gather(struct metrics *metrics, struct ipsecbpf_report *report)
{
	int err;

	for (struct metrics_source *source = metrics->sources; source; source = source->next)
		source->listed = false;
	err = metrics->only ? note(metrics, metrics->only) : note_all(metrics);
	if (err)
		return err;
	drop_unlisted(metrics);
	for (struct metrics_source *source = metrics->sources; source; source = source->next)
		err = read_source(source, &metrics->limits, metrics->only ? report : NULL);
	return metrics->only ? err : 0;
}

void metrics_fini(struct metrics *metrics)
{
	for (struct metrics_source *source = metrics->sources; source; source = source->next)
		source->listed = false;
	drop_unlisted(metrics);
}
