// SPDX-License-Identifier: GPL-2.0-only
/*
 * What a verdict costs, by BPF_PROG_TEST_RUN: the real steps of tc egress, up to the verdict, for one
 * packet of a trace after the other. Test runs repeat one packet: so that caches see different ones
 * as in life, each program first writes the next packet's headers over the last one's.
 *
 * The maps of bpf/maps.h are those of an instance of the product that spd_bench.c has loaded and given
 * a policy.
 */
#include <stdbool.h>

#include <linux/bpf.h>
#include <linux/pkt_cls.h>

#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>

#include "bpf/tc_egress.h"
#include "spd_bench.h"

/* Traces. Written by spd_bench.c. Sized at load. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(map_flags, BPF_F_MMAPABLE);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct bench_frame);
} frames SEC(".maps");

/* All rules as entries in order, SPD_ENTRY_CELLS() each. Written by spd_bench.c. Sized at load. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(map_flags, BPF_F_MMAPABLE);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, union spd_cell);
} rule_list SEC(".maps");

struct bench_run run = {};

static __always_inline bool next_packet(struct __sk_buff *skb)
{
	__u64 *to = (void *)(long)skb->data + ETH_HLEN;
	__u32 at = run.at;
	struct bench_frame *frame = bpf_map_lookup_elem(&frames, &at);

	run.at = at + 1 < run.end ? at + 1 : run.first;
	if (!frame || (void *)(to + BENCH_WORDS) > (void *)(long)skb->data_end) {
		run.failed++;
		return false;
	}
#pragma clang loop unroll(full)
	for (int i = 0; i < BENCH_WORDS; i++)
		to[i] = frame->word[i];
	return true;
}

static __always_inline void note_rule(__u32 rule)
{
	run.digest = run.digest * 31 + rule;
}

/* What test runs themselves cost. */
SEC("tc")
int bare(struct __sk_buff *skb)
{
	return TC_ACT_UNSPEC;
}

/* The yardstick: as the others, but nobody is asked. */
SEC("tc")
int empty(struct __sk_buff *skb)
{
	if (next_packet(skb))
		note_rule(0);
	return TC_ACT_UNSPEC;
}

/* egress() without what its verdict leads to: the tag, the redirection, the drop. */
static __always_inline int judge(struct __sk_buff *skb, const struct control *ctl,
				 struct packet_info *info, struct spd_verdict *verdict)
{
	int err;

	err = parse_skb(skb, info);
	if (err)
		return err;
	err = egress_decide(skb, info, generation_in_force(ctl), verdict);
	if (err)
		return err;
	note_rule(verdict->rule);
	count(PASS_OUT_BYPASS);
	return TC_STEP_CONTINUE;
}

SEC("tc")
int egress_verdict(struct __sk_buff *skb)
{
	return next_packet(skb) ? tc_hook(skb, judge, SPD_OUT) : TC_ACT_UNSPEC;
}

static __always_inline int judge_by_tree(struct __sk_buff *skb, const struct control *ctl,
					 struct packet_info *info, struct spd_verdict *verdict)
{
	struct spd_query query;
	int err;

	err = parse_skb(skb, info);
	if (err)
		return err;
	query_fill(&query, info, SPD_WAY_OUT_LOCAL, SPD_SHOWS_ALL);
	err = spd_search(&query, live_generation(ctl),
			 SPD_TREE(SPD_WAY_OUT_LOCAL, info->family & 1, SPD_SHOWS_ALL), 0, verdict);
	if (err)
		return err;
	note_rule(verdict->rule);
	count(PASS_OUT_BYPASS);
	return TC_STEP_CONTINUE;
}

/* The search alone: neither flow cache nor counters of rules. */
SEC("tc")
int tree(struct __sk_buff *skb)
{
	return next_packet(skb) ? tc_hook(skb, judge_by_tree, SPD_OUT) : TC_ACT_UNSPEC;
}

struct scan {
	struct spd_query query;
	__u32 rule;
	__u32 family;
};

static long scan_step(__u64 index, struct scan *scan)
{
	__u32 key = index * SPD_ENTRY_CELLS(scan->family);
	union spd_cell *cell = bpf_map_lookup_elem(&rule_list, &key), *addresses;

	if (!cell)
		return 1;
	if (!spd_upper_matches(&cell->entry, scan->query.word[SPD_UPPER]))
		return 0;
	if (scan->family == FAMILY_V4) {
		if (spd_addresses4_differ(&cell->entry, &scan->query))
			return 0;
	} else {
		key++;
		addresses = bpf_map_lookup_elem(&rule_list, &key);
		if (!addresses || spd_addresses6_differ(&addresses->addresses, &scan->query))
			return 0;
	}
	scan->rule = cell->entry.rule;
	return 1;
}

static __always_inline int judge_linear(struct __sk_buff *skb, const struct control *ctl,
					struct packet_info *info, struct spd_verdict *verdict)
{
	struct scan scan = { .rule = SPD_RULE_DEFAULT };
	int err;

	err = parse_skb(skb, info);
	if (err)
		return err;
	scan.family = info->family;
	query_fill(&scan.query, info, SPD_WAY_OUT_LOCAL, SPD_SHOWS_ALL);
	bpf_loop(run.rules, scan_step, &scan, 0);
	note_rule(scan.rule);
	count(PASS_OUT_BYPASS);
	return TC_STEP_CONTINUE;
}

/* One rule after the other, as in a list, without memory of flows. */
SEC("tc")
int linear(struct __sk_buff *skb)
{
	return next_packet(skb) ? tc_hook(skb, judge_linear, SPD_OUT) : TC_ACT_UNSPEC;
}

char LICENSE[] SEC("license") = "GPL";
