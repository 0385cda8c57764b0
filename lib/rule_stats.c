// SPDX-License-Identifier: BSD-2-Clause
#include "rule_stats.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "clock.h"
#include "pin.h"
#include "policy_store.h"
#include "policy_trial.h"
#include "rule_counts.h"

#define TRIES 8		/* policy may be replaced while it is read: then all over again */
#define NS_PER_MS 1000000u

void rule_stats_fini(struct rule_stats *stats)
{
	free(stats->rules);
	free(stats->file);
	*stats = (struct rule_stats){ 0 };
}

static int read_names(const struct pins *pins, struct rule_stats *stats)
{
	struct policy *policy = policy_read_live(pins, NULL);
	struct rule_stat *rules = NULL;

	if (policy)
		rules = calloc(policy->all_rule_count + 1, sizeof(*rules));
	if (!rules) {
		policy_free(policy);
		return policy ? -ENOMEM : -errno;
	}
	for (size_t i = 0; i < policy->all_rule_count; i++) {
		snprintf(rules[i].name, sizeof(rules[i].name), "%s", policy->rules[i].name);
		rules[i].line = policy->rules[i].at.line;
	}
	free(stats->rules);
	stats->rules = rules;
	stats->count = policy->all_rule_count;
	free(stats->file);
	stats->file = policy->file;
	policy->file = NULL;
	policy_free(policy);
	return 0;
}

static void set_counts(struct rule_stat *stat, const struct rule_count *sum, uint64_t now)
{
	stat->packets = sum->packets;
	stat->bytes = sum->bytes;
	stat->idle_ms = UINT64_MAX;
	if (sum->used_ns)
		stat->idle_ms = now > sum->used_ns ? (now - sum->used_ns) / NS_PER_MS : 0;
}

static int read_counts(const struct pins *pins, uint32_t generation, struct rule_stats *stats)
{
	struct rule_count *sums;
	struct inner_map map;
	uint64_t now;
	uint32_t slots;
	int err = inner_map_open(&map, pins->rule_counts_fd, generation, false);

	if (err)
		return err == -ENODATA ? -EAGAIN : err;
	err = rule_counts_sum(&map, &sums, &slots);
	inner_map_close(&map);
	if (err)
		return err;
	now = clock_ns();
	if (slots == RULE_COUNT_SLOTS(stats->count, stats->apps)) {
		for (size_t i = 0; i < stats->count; i++)
			set_counts(&stats->rules[i], &sums[i], now);
		for (int i = 0; i < SPD_DIRECTION_COUNT; i++)
			set_counts(&stats->defaults[i],
				   &sums[RULE_COUNT_DEFAULT(stats->count, (size_t)i)], now);
	} else {
		err = -EAGAIN;
	}
	free(sums);
	return err;
}

/* All of it from one policy, or -EAGAIN. */
static int read_once(const struct pins *pins, struct rule_stats *stats)
{
	uint32_t generation = policy_generation(pins);
	struct spd_head head, after;
	int err = policy_read_head(pins, generation, &head);

	if (err)
		return err;
	stats->apps = head.apps;
	if (stats->serial != head.serial) {
		stats->serial = 0;	/* until the names are known to be its */
		err = read_names(pins, stats);
	}
	if (!err)
		err = read_counts(pins, generation, stats);
	if (!err)
		err = policy_read_head(pins, generation, &after);
	if (err || after.serial != head.serial || policy_generation(pins) != generation)
		return err && err != -ENODATA ? err : -EAGAIN;
	stats->serial = head.serial;
	return 0;
}

int rule_stats_read(const struct pins *pins, struct rule_stats *stats)
{
	int err = -EAGAIN;

	for (int i = 0; err == -EAGAIN && i < TRIES; i++)
		err = read_once(pins, stats);
	return err;
}

int ipsecbpf_rule_stats(const char *ifname, struct rule_stats *stats,
			struct ipsecbpf_report *report)
{
	struct pins pins;
	int err = pins_open(&pins, ifname, report);

	if (err)
		return err;
	err = rule_stats_read(&pins, stats);
	pins_close(&pins);
	if (err == -ENODATA)
		report_error(report, ifname, "ipsecbpf policy apply", "no policy is loaded");
	else if (err)
		report_error(report, ifname, NULL, "cannot read the rules' counters: %s",
			     strerror(-err));
	return err;
}
