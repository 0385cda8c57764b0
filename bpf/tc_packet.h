/* SPDX-License-Identifier: GPL-2.0-only */
/* What the tc hooks share: the hook around their step, and reading an skb's headers.
 * Called by: tc_egress, tc_host_port. */
#ifndef IPSECBPF_TC_PACKET_H
#define IPSECBPF_TC_PACKET_H

#include "explain.h"
#include "spd.h"
#include "stats.h"

/* What a step returns for "let the next program and the stack have it". TC_ACT_UNSPEC, which says
 * that to the kernel, is negative and would read as a drop reason. */
#define TC_STEP_CONTINUE 0

/*
 * Parses an skb whose headers may lie in fragments. The linear part is extended only when the
 * headers do not fit it: pulling makes the packet writable, which costs a copy of shared ones. The
 * outermost tag is beside the frame, where the stack has put it, or still has to take it from.
 */
static __always_inline int parse_skb(struct __sk_buff *skb, struct packet_info *info)
{
	struct cursor cursor;
	__u32 want = skb->len < HEADERS_MAX ? skb->len : HEADERS_MAX;

	if ((void *)(long)skb->data + want > (void *)(long)skb->data_end &&
	    bpf_skb_pull_data(skb, want))
		return -DROP_INTERNAL;
	if (skb->vlan_present)
		parse_vlan(info, skb->vlan_tci);
	cursor.pos = (void *)(long)skb->data;
	cursor.end = (void *)(long)skb->data_end;
	info->len = skb->len;
	return parse_packet(&cursor, info);
}

typedef int (*tc_step)(struct __sk_buff *skb, const struct control *ctl, struct packet_info *info,
		       struct spd_verdict *verdict);

/* A tc hook: runs its step (inlined), counts and reports a drop, says the rest to the kernel. */
static __always_inline int tc_hook(struct __sk_buff *skb, tc_step step, enum spd_direction direction)
{
	struct spd_verdict verdict = { .rule = SPD_RULE_DEFAULT };
	struct packet_info info = {};
	struct control *ctl;
	__u32 zero = 0;
	int action;

	ctl = bpf_map_lookup_elem(&control, &zero);
	if (!ctl)
		return TC_ACT_SHOT;
	action = step(skb, ctl, &info, &verdict);
	explain_packet(&info, &verdict, action);
	if (action >= 0)
		return action == TC_STEP_CONTINUE ? TC_ACT_UNSPEC : action;
	drop(&info, -action, direction, verdict.rule, skb->len);
	return TC_ACT_SHOT;
}

#endif /* IPSECBPF_TC_PACKET_H */
