/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Verdicts of flows, remembered. A flow is an application's query in one tree of one policy: a new
 * policy has a new serial, so nothing needs to be thrown away when it comes.
 *
 * A flood of packets that never come again must not push out the flows that do: a new flow takes an
 * empty place, or that of one of another policy, of one that has been idle, or of one that was
 * never asked for again, in this order; where all are in use it is not noted, and searched for each
 * time.
 * All this is a CPU's own: hooks run with softirqs off, so that nothing else on this CPU comes in
 * between (with PREEMPT_RT it may: the loader then leaves flow_sets 0).
 *
 * Called by: spd.h. Writes flow_cache.
 */
#ifndef IPSECBPF_FLOW_CACHE_H
#define IPSECBPF_FLOW_CACHE_H

#include "maps.h"

/* What a flow is known by in a policy: an application's query in a tree, of which the fields that
 * no rule asks for are 0. */
struct flow_key {
	struct spd_query query;
	__u32 place;	/* FLOW_PLACE() */
	__u32 hash;
};

/* In one word, as the stack is short: APPS_MAX is less than 1 << 24. */
#define FLOW_PLACE(app, tree) ((app) << 8 | (tree))
#define FLOW_APP(place) ((place) >> 8)
#define FLOW_TREE(place) ((place) & 0xff)

/* NMH (Halevi and Krawczyk 1997) with random seeds, then mixed. */
static __always_inline __u32 flow_hash(const struct flow_key *key)
{
	__u64 hash = key->place;

#pragma clang loop unroll(full)
	for (int i = 0; i < SPD_WORDS; i++) {
		__u64 word = key->query.word[i];

		hash += (__u64)((__u32)word + flow_seeds[2 * i]) *
			(__u32)((word >> 32) + flow_seeds[2 * i + 1]);
	}
	hash ^= hash >> 29;
	hash *= 0x9e3779b97f4a7c15ull;
	return hash >> 32;
}

static __always_inline struct flow_set *flow_set_of(const struct flow_key *key)
{
	__u32 index;

	if (!flow_sets)
		return NULL;
	index = bpf_get_smp_processor_id() * flow_sets + (key->hash & (flow_sets - 1));
	return bpf_map_lookup_elem(&flow_cache, &index);
}

static __always_inline bool flow_is(const struct flow *flow, const struct flow_key *key)
{
	__u64 differ = FLOW_PLACE(flow->app, flow->tree) ^ key->place;

#pragma clang loop unroll(full)
	for (int i = 0; i < SPD_WORDS; i++)
		differ |= flow->word[i] ^ key->query.word[i];
	return !differ;
}

/* What is remembered of the flow by the policy of the serial: true, and *verdict. */
static __always_inline bool flow_find(struct flow_set *set, const struct flow_key *key, __u32 serial,
				      struct spd_verdict *verdict)
{
#pragma clang loop unroll(full)
	for (int i = 0; i < FLOW_WAYS; i++) {
		struct flow_tag *tag = &set->tag[i];
		const struct flow *flow = &set->flow[i];

		if (tag->hash != key->hash || tag->serial != serial || !flow_is(flow, key))
			continue;
		tag->again = 1;
		tag->used = bpf_jiffies64();
		verdict->rule = flow->rule;
		verdict->protect_id = flow->protect_id;
		verdict->action = flow->action;
		verdict->level = flow->level;
		return true;
	}
	return false;
}

/* How gladly a flow is given up: 0 not at all. */
static __always_inline __u32 flow_worth_leaving(const struct flow_tag *tag, __u32 serial, __u32 now)
{
	if (!tag->serial)
		return 4;
	if (tag->serial != serial)
		return 3;
	if (now - tag->used > flow_idle)
		return 2;
	return !tag->again;
}

/* The way for a new flow, or FLOW_WAYS. */
static __always_inline __u32 flow_place(struct flow_set *set, __u32 serial, __u32 now)
{
	__u32 place = FLOW_WAYS, best = 0;

#pragma clang loop unroll(full)
	for (__u32 i = 0; i < FLOW_WAYS; i++) {
		__u32 worth = flow_worth_leaving(&set->tag[i], serial, now);

		if (worth > best) {
			best = worth;
			place = i;
		}
	}
	return place;
}

static __always_inline void flow_note(struct flow_set *set, const struct flow_key *key,
				      const struct spd_verdict *verdict)
{
	__u32 now = bpf_jiffies64(), place = flow_place(set, verdict->serial, now);
	struct flow_tag *tag;
	struct flow *flow;

	if (place >= FLOW_WAYS)
		return;
	tag = &set->tag[place];
	flow = &set->flow[place];
#pragma clang loop unroll(full)
	for (int i = 0; i < SPD_WORDS; i++)
		flow->word[i] = key->query.word[i];
	flow->rule = verdict->rule;
	flow->protect_id = verdict->protect_id;
	flow->action = verdict->action;
	flow->level = verdict->level;
	flow->tree = FLOW_TREE(key->place);
	flow->app = FLOW_APP(key->place);
	tag->hash = key->hash;
	tag->serial = verdict->serial;
	tag->used = now;
	tag->again = 0;
}

#endif /* IPSECBPF_FLOW_CACHE_H */
