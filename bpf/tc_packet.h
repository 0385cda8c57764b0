/* SPDX-License-Identifier: GPL-2.0-only */
/* What the tc hooks share: reading an skb's headers. Called by: tc_egress, tc_host_port. */
#ifndef IPSECBPF_TC_PACKET_H
#define IPSECBPF_TC_PACKET_H

#include "parse.h"

/* What a step returns for "let the next program and the stack have it". TC_ACT_UNSPEC, which says
 * that to the kernel, is negative and would read as a drop reason. */
#define TC_STEP_CONTINUE 0

/*
 * Parses an skb whose headers may lie in fragments. The linear part is extended only when the
 * headers do not fit it: pulling makes the packet writable, which costs a copy of shared ones.
 */
static __always_inline int parse_skb(struct __sk_buff *skb, struct packet_info *info)
{
	struct cursor cursor;
	__u32 want = skb->len < HEADERS_MAX ? skb->len : HEADERS_MAX;

	if ((void *)(long)skb->data + want > (void *)(long)skb->data_end &&
	    bpf_skb_pull_data(skb, want))
		return -DROP_INTERNAL;
	cursor.pos = (void *)(long)skb->data;
	cursor.end = (void *)(long)skb->data_end;
	return parse_packet(&cursor, info);
}

#endif /* IPSECBPF_TC_PACKET_H */
