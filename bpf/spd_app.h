/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * Which application an identity is, by one snapshot: what hooks and user space have in common. The
 * most specific match wins: the deeper cgroup (a unit counts as the cgroup that it is), then one
 * that names the executable, then the user, then the group; among equals the first in the file.
 *
 * Every match of every application is a digest in a hash table of buckets, one cache line each,
 * that user space built so that none overflows (lib/policy_match.c). Of two equal matches it holds
 * the first.
 *
 * Included by: app.h, sock_image.h, lib/policy_match.c.
 */
#ifndef IPSECBPF_SPD_APP_H
#define IPSECBPF_SPD_APP_H

#include "spd_cell.h"

#define spd_app_inline static inline __attribute__((always_inline))

spd_app_inline __u64 spd_match_mix(__u64 hash, __u64 word)
{
	hash = (hash ^ word) * 0x9e3779b97f4a7c15ull;
	hash ^= hash >> 32;
	hash *= 0xd6e8feb86659fd93ull;
	return hash ^ hash >> 29;
}

/* cgroup: the digest of a path or a unit; 0: none is asked for. shape: SPD_MATCH_*, of what else
 * is. */
spd_app_inline __u64 spd_match_digest(__u64 seed, __u64 cgroup, const struct app_identity *who,
				      __u32 shape)
{
	__u64 hash = spd_match_mix(seed, cgroup);

	hash = spd_match_mix(hash, shape & SPD_MATCH_EXE ? who->exe : 0);
	hash = spd_match_mix(hash, (__u64)(shape & SPD_MATCH_UID ? who->uid : 0) << 32 |
				   (shape & SPD_MATCH_GID ? who->gid : 0));
	hash = spd_match_mix(hash, shape);
	return hash ? hash : 1;
}

/* The cell of the bucket that a digest belongs to. */
spd_app_inline __u32 spd_bucket_cell(const struct spd_apps *apps, __u64 digest)
{
	return apps->buckets + ((__u32)digest & apps->bucket_mask);
}

spd_app_inline __u32 spd_bucket_find(const struct spd_bucket *bucket, __u64 digest)
{
	__u32 app = 0;

	for (int i = 0; i < SPD_BUCKET_ENTRIES; i++)
		if (bucket->digest[i] == digest)
			app = bucket->app[i];
	return app;
}

/* The cell in which application `app` (0: the host) has its struct spd_app. */
spd_app_inline __u32 spd_app_cell(const struct spd_apps *apps, __u32 app)
{
	return app ? apps->first + (app - 1) * SPD_APP_CELLS : SPD_HOST_CELL;
}

#endif /* IPSECBPF_SPD_APP_H */
