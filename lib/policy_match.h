/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Who is which application: the matches of a policy as the buckets of a snapshot (bpf/spd_app.h),
 * and the look-up that the hooks do. Pure, but for app_patterns_init(), which asks this host what
 * users, groups and executables are (policy_match_host.c).
 *
 * Included by: policy_compile.c, app_scan.c, `app identify`, tests.
 */
#ifndef IPSECBPF_POLICY_MATCH_H
#define IPSECBPF_POLICY_MATCH_H

#include "policy.h"
#include "spd_tree.h"

/* One match, as digests. */
struct app_pattern {
	struct app_identity who;	/* of cgroup[] only the deepest is looked at */
	uint32_t cgroup_level;		/* 0: no cgroup is asked for */
	bool unit;			/* who.unit is asked for, at any level */
	uint32_t shape;			/* SPD_MATCH_* */
	uint32_t app;			/* from 1 */
};

struct app_patterns {
	struct app_pattern *items;	/* by application, in file order */
	size_t count;
};

/*
 * Turns the policy's matches into patterns: looks up users, groups and executables of this host.
 * An executable that does not exist yet is known by its path, if its directory exists. Each that
 * cannot be is an error in `report`. `attachment`: its digest_seed. 0 or -errno.
 */
int app_patterns_init(struct app_patterns *patterns, const struct policy *policy,
		      const struct attachment *attachment, struct ipsecbpf_report *report);
void app_patterns_fini(struct app_patterns *patterns);

/* Adds the buckets to `cells` and fills in `apps` (buckets, masks, seed). 0, -ENOMEM, -E2BIG. */
int app_patterns_build(const struct app_patterns *patterns, struct spd_cells *cells,
		       struct spd_apps *apps);

/* The application (0: none) as the hooks find it in a snapshot; and which property decided. */
uint32_t app_resolve(const union spd_cell *cells, const struct app_identity *who);

/* The definition of it: compares `who` with every pattern. Slow. *ret_pattern: the one, or NULL. */
uint32_t app_resolve_slowly(const struct app_patterns *patterns, const struct app_identity *who,
			    const struct app_pattern **ret_pattern);

/* Of an application's name: what its counters and its use of flows are known by in every policy. */
uint64_t app_name_digest(const char *name);

#endif /* IPSECBPF_POLICY_MATCH_H */
