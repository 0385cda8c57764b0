/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Hook: tc egress on the NIC, every packet that the stack sends. What policy protects is tagged
 * with its SA and redirected to the host port, super-packets whole: one decision for all segments.
 */
#ifndef IPSECBPF_TC_EGRESS_H
#define IPSECBPF_TC_EGRESS_H

#include "tc_packet.h"

#define MAC_SOURCE_OFFSET 6

static __always_inline void host_tag_fill(struct host_tag *tag, const struct out_sa *sa)
{
	tag->magic = HOST_TAG_SA;
	tag->sa_gen = sa->sa_gen;
	tag->slot[0] = sa->slot >> 24;
	tag->slot[1] = sa->slot >> 16;
	tag->slot[2] = sa->slot >> 8;
	tag->slot[3] = sa->slot;
}

static __always_inline int protect(struct __sk_buff *skb, const struct control *ctl,
				   const struct packet_info *info, const struct spd_verdict *verdict)
{
	__u32 key = OUT_SA(verdict->protect_id, info->family);
	struct host_tag tag;
	struct out_sa *sa;

	if (ctl->state == ATTACH_GUARD)
		return -DROP_GUARD;
	sa = bpf_map_lookup_elem(&out_sa, &key);
	if (!sa || !sa->slot)
		return -DROP_NO_SA_OUT;
	host_tag_fill(&tag, sa);
	if (bpf_skb_store_bytes(skb, MAC_SOURCE_OFFSET, &tag, sizeof(tag), 0))
		return -DROP_INTERNAL;
	count(PASS_OUT_PROTECT);
	return bpf_redirect(host_ifindex, 0);
}

static __always_inline int egress(struct __sk_buff *skb, const struct control *ctl,
				  struct packet_info *info, struct spd_verdict *verdict)
{
	__u16 origin = skb->ingress_ifindex ? SPD_F_ORIGIN_FORWARDED : SPD_F_ORIGIN_LOCAL;
	int err;

	err = parse_skb(skb, info);
	if (err)
		return err;
	err = spd_decide(ctl, info, SPD_OUT, origin, verdict);
	if (err)
		return err;
	switch (verdict->action) {
	case SPD_BYPASS:
		count(verdict->essential ? PASS_OUT_ESSENTIAL : PASS_OUT_BYPASS);
		return TC_STEP_CONTINUE;
	case SPD_PROTECT:
		return protect(skb, ctl, info, verdict);
	default:
		return -DROP_POLICY_DISCARD;
	}
}

SEC("tc")
int tc_egress(struct __sk_buff *skb)
{
	return tc_hook(skb, egress, SPD_OUT);
}

#endif /* IPSECBPF_TC_EGRESS_H */
