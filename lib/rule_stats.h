/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What each rule of the policy in force has decided: the sums of the map `rule_counts`.
 *
 * A rule that stays the same when policy is replaced keeps its counters, and so does the policy
 * that comes back after a trial. Essential traffic asks no rule and is not in here.
 *
 * What an application's network or protection comes to may be several rules of one name: they are
 * one here, for people have written it once.
 *
 * Included by: stats.c, metrics and others who show counters; tests.
 * Ownership:   rule_stats_fini() frees what rule_stats_read() gave. No lock is needed: if policy is
 *              replaced meanwhile, all is read again.
 */
#ifndef IPSECBPF_RULE_STATS_H
#define IPSECBPF_RULE_STATS_H

#include <stddef.h>
#include <stdint.h>

#include "abi_user.h"
#include "report.h"

struct pins;

struct rule_stat {
	char name[NAME_LEN];	/* empty: a default */
	uint32_t line;		/* in the file, from 1; 0: a default */
	uint64_t packets;	/* super-packets count once */
	uint64_t bytes;		/* of the frames */
	uint64_t idle_ms;	/* since the last packet; UINT64_MAX: never used */
};

struct rule_stats {
	uint32_t serial;	/* of the policy */
	struct rule_stat *rules;	/* in the order of the policy */
	size_t count;
	uint32_t *stat_of;	/* for each rule that was compiled, which of those it is */
	size_t compiled;
	size_t apps;		/* applications of the policy */
	char *file;		/* absolute, or "-"; NULL: what `ipsecbpf policy show` prints */
	struct rule_stat defaults[SPD_DIRECTION_COUNT];
};

/*
 * Fills *stats: zeroed at first, later what the last call left there, which spares reading the
 * names of the same policy again. 0, -ENODATA (no policy is loaded), -EAGAIN (it was replaced again
 * and again) or
 * -errno; to be finished in all cases.
 */
int rule_stats_read(const struct pins *pins, struct rule_stats *stats);
/* The same of an interface; the cause is in report. */
int ipsecbpf_rule_stats(const char *ifname, struct rule_stats *stats,
			struct ipsecbpf_report *report);
void rule_stats_fini(struct rule_stats *stats);

#endif /* IPSECBPF_RULE_STATS_H */
