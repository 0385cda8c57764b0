// SPDX-License-Identifier: BSD-2-Clause
/* Who is which application: buckets of digests, and their search. The order is in bpf/spd_app.h. */
#include "policy_match.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "../bpf/spd_app.h"

/* Before buckets get more, so many seeds are tried: with one match for two buckets every third to
 * every other seed is good, if there are not very many. */
#define SEEDS_PER_SIZE 32
#define BUCKETS_MAX (1u << 22)

#define RANK(level, path) (2 * (level) + (path))	/* of a cgroup; none: 0 */

/* ---- the definition ------------------------------------------------------------------------ */

/* What of an identity a pattern looks at, as one number; 0: none. */
static uint64_t cgroup_of(const struct app_pattern *pattern)
{
	return pattern->cgroup_level ? pattern->who.cgroup[pattern->cgroup_level - 1] :
	       pattern->unit	     ? pattern->who.unit : 0;
}

static bool cgroup_matches(const struct app_pattern *pattern, const struct app_identity *who)
{
	if (pattern->cgroup_level)
		return who->cgroup[pattern->cgroup_level - 1] == cgroup_of(pattern);
	if (pattern->unit)
		return who->unit_level && who->unit_level <= APP_CGROUP_LEVELS &&
		       who->unit == cgroup_of(pattern);
	return true;
}

static bool pattern_matches(const struct app_pattern *pattern, const struct app_identity *who)
{
	const struct app_identity *wanted = &pattern->who;

	return cgroup_matches(pattern, who) &&
	       (!(pattern->shape & SPD_MATCH_EXE) || (who->exe && who->exe == wanted->exe)) &&
	       (!(pattern->shape & SPD_MATCH_UID) || who->uid == wanted->uid) &&
	       (!(pattern->shape & SPD_MATCH_GID) || who->gid == wanted->gid);
}

static uint32_t rank_of(const struct app_pattern *pattern, const struct app_identity *who)
{
	return pattern->cgroup_level ? RANK(pattern->cgroup_level, 1) :
	       pattern->unit	     ? RANK(who->unit_level, 0) : 0;
}

/* Is `a` the more specific one? Of equals the first is kept. */
static bool beats(const struct app_pattern *a, const struct app_pattern *b,
		  const struct app_identity *who)
{
	uint32_t rank = rank_of(a, who), than = rank_of(b, who);

	return rank != than ? rank > than : a->shape > b->shape;
}

uint32_t app_resolve_slowly(const struct app_patterns *patterns, const struct app_identity *who,
			    const struct app_pattern **ret_pattern)
{
	const struct app_pattern *best = NULL;

	for (size_t i = 0; i < patterns->count; i++) {
		const struct app_pattern *pattern = &patterns->items[i];

		if (pattern_matches(pattern, who) && (!best || beats(pattern, best, who)))
			best = pattern;
	}
	if (ret_pattern)
		*ret_pattern = best;
	return best ? best->app : 0;
}

/* ---- by cells ------------------------------------------------------------------------------ */

static uint32_t find(const union spd_cell *cells, uint64_t cgroup, const struct app_identity *who)
{
	const struct spd_apps *apps = &cells[SPD_APPS_CELL].apps;

	for (uint32_t shape = SPD_MATCH_SHAPES; shape--;) {
		uint64_t digest;
		uint32_t app;

		if (!(apps->shapes >> shape & 1) || (!shape && !cgroup) ||
		    ((shape & SPD_MATCH_EXE) && !who->exe))
			continue;
		digest = spd_match_digest(apps->seed, cgroup, who, shape);
		app = spd_bucket_find(&cells[spd_bucket_cell(apps, digest)].bucket, digest);
		if (app)
			return app;
	}
	return 0;
}

uint32_t app_resolve(const union spd_cell *cells, const struct app_identity *who)
{
	const struct spd_apps *apps = &cells[SPD_APPS_CELL].apps;
	uint32_t app = 0;

	if (!cells[0].head.apps)
		return 0;
	for (uint32_t level = APP_CGROUP_LEVELS; level && !app; level--) {
		if ((apps->cgroups >> level & 1) && who->cgroup[level - 1])
			app = find(cells, who->cgroup[level - 1], who);
		if (!app && level == who->unit_level && (apps->units >> level & 1) && who->unit)
			app = find(cells, who->unit, who);
	}
	return app || !(apps->cgroups & 1) ? app : find(cells, 0, who);
}

/* ---- building ------------------------------------------------------------------------------ */

/* Buckets on their way: which pattern is in which place, + 1. */
struct packing {
	const struct app_patterns *patterns;
	struct spd_bucket *buckets;
	uint32_t (*owner)[SPD_BUCKET_ENTRIES];
	uint32_t count;
	uint64_t seed;
};

static bool same_pattern(const struct app_pattern *a, const struct app_pattern *b)
{
	return a->shape == b->shape && a->cgroup_level == b->cgroup_level && a->unit == b->unit &&
	       cgroup_of(a) == cgroup_of(b) &&
	       (!(a->shape & SPD_MATCH_EXE) || a->who.exe == b->who.exe) &&
	       (!(a->shape & SPD_MATCH_UID) || a->who.uid == b->who.uid) &&
	       (!(a->shape & SPD_MATCH_GID) || a->who.gid == b->who.gid);
}

/* False: this seed will not do. */
static bool put(struct packing *packing, size_t index)
{
	const struct app_pattern *pattern = &packing->patterns->items[index];
	uint64_t digest = spd_match_digest(packing->seed, cgroup_of(pattern), &pattern->who,
					   pattern->shape);
	uint32_t at = (uint32_t)digest & (packing->count - 1);
	struct spd_bucket *bucket = &packing->buckets[at];

	for (int i = 0; i < SPD_BUCKET_ENTRIES; i++) {
		uint32_t owner = packing->owner[at][i];

		if (owner && bucket->digest[i] == digest)
			return same_pattern(&packing->patterns->items[owner - 1], pattern);
		if (owner)
			continue;
		bucket->digest[i] = digest;
		bucket->app[i] = pattern->app;
		packing->owner[at][i] = (uint32_t)index + 1;
		return true;
	}
	return false;
}

static bool put_all(struct packing *packing)
{
	memset(packing->buckets, 0, packing->count * sizeof(*packing->buckets));
	memset(packing->owner, 0, packing->count * sizeof(*packing->owner));
	for (size_t i = 0; i < packing->patterns->count; i++)
		if (!put(packing, i))
			return false;
	return true;
}

static int pack_into(struct packing *packing, uint32_t count)
{
	struct spd_bucket *buckets = realloc(packing->buckets, count * sizeof(*buckets));
	uint32_t (*owner)[SPD_BUCKET_ENTRIES];

	if (!buckets)
		return -ENOMEM;
	packing->buckets = buckets;
	owner = realloc(packing->owner, count * sizeof(*owner));
	if (!owner)
		return -ENOMEM;
	packing->owner = owner;
	packing->count = count;
	for (uint64_t i = 1; i <= SEEDS_PER_SIZE; i++) {
		packing->seed = spd_match_mix(count, i);
		if (put_all(packing))
			return 0;
	}
	return -EAGAIN;
}

static int pack(struct packing *packing)
{
	uint32_t count = 1;
	int err;

	while (count < packing->patterns->count && count < BUCKETS_MAX)
		count *= 2;
	do {
		err = pack_into(packing, count);
		count *= 2;
	} while (err == -EAGAIN && count <= BUCKETS_MAX);
	return err == -EAGAIN ? -E2BIG : err;
}

static void note_questions(const struct app_patterns *patterns, struct spd_apps *apps)
{
	for (size_t i = 0; i < patterns->count; i++) {
		const struct app_pattern *pattern = &patterns->items[i];

		apps->shapes |= 1u << pattern->shape;
		if (pattern->unit)	/* wherever it is */
			apps->units |= (2u << APP_CGROUP_LEVELS) - 2;
		else
			apps->cgroups |= 1u << pattern->cgroup_level;
	}
}

int app_patterns_build(const struct app_patterns *patterns, struct spd_cells *cells,
		       struct spd_apps *apps)
{
	struct packing packing = { .patterns = patterns };
	int64_t first;
	int err = pack(&packing);

	if (err)
		goto out;
	first = spd_cells_add(cells, packing.count);
	if (first < 0) {
		err = (int)first;
		goto out;
	}
	for (uint32_t i = 0; i < packing.count; i++)
		cells->items[first + i].bucket = packing.buckets[i];
	apps->buckets = (uint32_t)first;
	apps->bucket_mask = packing.count - 1;
	apps->seed = packing.seed;
	note_questions(patterns, apps);
out:
	free(packing.buckets);
	free(packing.owner);
	return err;
}

void app_patterns_fini(struct app_patterns *patterns)
{
	free(patterns->items);
	*patterns = (struct app_patterns){ 0 };
}
