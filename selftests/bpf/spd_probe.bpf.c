// SPDX-License-Identifier: GPL-2.0-only
/* Asks bpf/spd.h, as the hooks do, about packets that come from a map instead of a wire. */
#include <stdbool.h>

#include <linux/bpf.h>
#include <linux/pkt_cls.h>

#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>

#include "bpf/spd.h"

#include "spd_probe.h"

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(map_flags, BPF_F_MMAPABLE);
	__uint(max_entries, PROBE_BATCH);
	__type(key, __u32);
	__type(value, struct probe_question);
} questions SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(map_flags, BPF_F_MMAPABLE);
	__uint(max_entries, PROBE_BATCH);
	__type(key, __u32);
	__type(value, struct probe_answer);
} answers SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(map_flags, BPF_F_MMAPABLE);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct probe_run);
} runs SEC(".maps");

/* Would the flow cache answer? Looks without leaving a trace. */
static __noinline int is_remembered(const struct packet_info *info, __u32 generation, __u32 way)
{
	void *snapshot = bpf_map_lookup_elem(&spd, &generation);
	struct flow_key key = {};
	struct flow_set *set;
	union spd_cell *cell;
	enum spd_shows shows;
	__u32 zero = 0;

	cell = snapshot ? bpf_map_lookup_elem(snapshot, &zero) : NULL;
	if (!cell || info->fragment != FRAGMENT_NONE)
		return 0;
	shows = what_shows(info);
	query_fill(&key.query, info, way, shows);
	key.query.word[SPD_UPPER] &= cell->head.upper_used;
	key.place = FLOW_PLACE(info->app, SPD_TREE(way, info->family & 1, shows));
	key.hash = flow_hash(&key);
	set = flow_set_of(&key);
	if (!set)
		return 0;
	for (int i = 0; i < FLOW_WAYS; i++)
		if (set->tag[i].hash == key.hash && set->tag[i].serial == cell->head.serial &&
		    flow_is(&set->flow[i], &key))
			return 1;
	return 0;
}

static __always_inline void fill_info(struct packet_info *info,
				      const struct probe_question *question)
{
	info->src = question->src;
	info->dst = question->dst;
	info->src_port = question->src_port;
	info->dst_port = question->dst_port;
	info->ethertype = question->family == FAMILY_V4 ? bpf_htons(ETH_P_IP) :
							  bpf_htons(ETH_P_IPV6);
	info->family = question->family;
	info->is_ip = 1;
	info->proto = question->proto;
	info->icmp_type = question->icmp_type;
	info->icmp_code = question->icmp_code;
	info->fragment = question->fragment;
	info->dscp = question->dscp;
	info->vlan = question->vlan;
}

static long ask(__u64 index, __u32 *asked)
{
	struct spd_verdict verdict = {};
	struct packet_info info = {};
	struct probe_question *question;
	struct probe_answer *answer;
	__u32 key = index;

	question = bpf_map_lookup_elem(&questions, &key);
	answer = bpf_map_lookup_elem(&answers, &key);
	if (!question || !answer)
		return 1;
	fill_info(&info, question);
	answer->remembered = is_remembered(&info, question->generation, question->way);
	answer->err = spd_ask(&info, question->generation, question->way, &verdict);
	answer->rule = verdict.rule;
	answer->protect_id = verdict.protect_id;
	answer->serial = verdict.serial;
	answer->action = verdict.action;
	++*asked;
	return 0;
}

SEC("tc")
int spd_probe(struct __sk_buff *skb)
{
	struct probe_run *run;
	__u32 zero = 0, asked = 0;

	run = bpf_map_lookup_elem(&runs, &zero);
	if (!run)
		return TC_ACT_SHOT;
	run->ns = bpf_ktime_get_ns();
	bpf_loop(run->count, ask, &asked, 0);
	run->ns = bpf_ktime_get_ns() - run->ns;
	run->asked = asked;
	return TC_ACT_OK;
}

char LICENSE[] SEC("license") = "GPL";
