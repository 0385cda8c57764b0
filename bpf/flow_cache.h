/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Verdicts of flows, remembered. A flow is a query in one tree of one policy: a new policy has a new
 * serial, so nothing needs to be thrown away when it comes.
 *
 * A flood of packets that never come again must not push out the flows that do: a new flow takes the
 * place of one of another policy, of one that has been idle, or of one that was never asked for
 * again, in this order; where all are in use it is not noted, and searched for each time. All this is
 * a CPU's own: hooks run with softirqs off, so that nothing else on this CPU comes in between (with
 * PREEMPT_RT it may: the loader then leaves flow_sets 0).
 *
 * Called by: spd.h. Writes flow_cache.
 */
#ifndef IPSECBPF_FLOW_CACHE_H
#define IPSECBPF_FLOW_CACHE_H

#include "maps.h"

/* NMH (Halevi and Krawczyk 1997) with random seeds, then mixed. */
static __always_inline __u32 flow_hash(const struct spd_query *query)
{
	__u64 hash = 0;

#pragma clang loop unroll(full)
	for (int i = 0; i < SPD_WORDS; i++)
		hash += (__u64)((__u32)query->word[i] + flow_seeds[2 * i]) *
			(__u32)((query->word[i] >> 32) + flow_seeds[2 * i + 1]);
	hash ^= hash >> 29;
	hash *= 0x9e3779b97f4a7c15ull;
	return hash >> 32;
}

static __always_inline struct flow_set *flow_set_of(const struct spd_query *query)
{
	__u32 key;

	if (!flow_sets)
		return NULL;
	key = bpf_get_smp_processor_id() * flow_sets + (flow_hash(query) & (flow_sets - 1));
	return bpf_map_lookup_elem(&flow_cache, &key);
}

static __always_inline bool flow_is(const struct flow *flow, const struct spd_query *query,
				    __u8 tree, __u32 serial)
{
	__u64 differ = 0;

	if (flow->serial != serial || flow->tree != tree)
		return false;
#pragma clang loop unroll(full)
	for (int i = 0; i < SPD_WORDS; i++)
		differ |= flow->word[i] ^ query->word[i];
	return !differ;
}

static __always_inline struct flow *flow_find(struct flow_set *set, const struct spd_query *query,
					      __u8 tree, __u32 serial)
{
#pragma clang loop unroll(full)
	for (int i = 0; i < FLOW_WAYS; i++)
		if (flow_is(&set->way[i], query, tree, serial))
			return &set->way[i];
	return NULL;
}

/* How gladly a flow is given up: 0 not at all. */
static __always_inline __u32 flow_worth_leaving(const struct flow *flow, __u32 serial, __u64 now)
{
	if (flow->serial != serial)
		return 3;
	if (now - flow->used_ns > FLOW_IDLE_NS)
		return 2;
	return !flow->again;
}

/* The place for a new flow, or NULL. */
static __always_inline struct flow *flow_place(struct flow_set *set, __u32 serial, __u64 now)
{
	struct flow *place = NULL;
	__u32 best = 0;

#pragma clang loop unroll(full)
	for (int i = 0; i < FLOW_WAYS; i++) {
		__u32 worth = flow_worth_leaving(&set->way[i], serial, now);

		if (worth > best) {
			best = worth;
			place = &set->way[i];
		}
	}
	return place;
}

static __always_inline void flow_note(struct flow_set *set, const struct spd_query *query,
				      __u8 tree, __u64 now, const struct spd_verdict *verdict)
{
	struct flow *flow = flow_place(set, verdict->serial, now);

	if (!flow)
		return;
#pragma clang loop unroll(full)
	for (int i = 0; i < SPD_WORDS; i++)
		flow->word[i] = query->word[i];
	flow->serial = verdict->serial;
	flow->rule = verdict->rule;
	flow->protect_id = verdict->protect_id;
	flow->action = verdict->action;
	flow->tree = tree;
	flow->again = 0;
	flow->used_ns = now;
}

#endif /* IPSECBPF_FLOW_CACHE_H */
