/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Hook: tc egress on the NIC, every packet that the stack sends. What policy protects is tagged
 * with its SA and redirected to the host port, super-packets whole: one decision for all segments.
 */
#ifndef IPSECBPF_TC_EGRESS_H
#define IPSECBPF_TC_EGRESS_H

#include "optional.h"
#include "own_address.h"
#include "tc_fragments.h"
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
				   const struct packet_info *info, __u32 generation,
				   const struct spd_verdict *verdict)
{
	__u32 key = OUT_SA(verdict->protect_id, info->family);
	struct host_tag tag;
	struct out_sa *sa;
	int err;

	if (ctl->state == ATTACH_GUARD)
		return -DROP_GUARD;
	sa = bpf_map_lookup_elem(&out_sa, &key);
	if (!sa || !sa->slot) {
		err = optional_out(skb, ctl, info, generation, verdict);
		if (!err)
			count(PASS_OUT_OPTIONAL);
		return err ? err : TC_STEP_CONTINUE;
	}
	explain_sa(sa->slot);
	host_tag_fill(&tag, sa);
	if (bpf_skb_store_bytes(skb, MAC_SOURCE_OFFSET, &tag, sizeof(tag), 0))
		return -DROP_INTERNAL;
	count(PASS_OUT_PROTECT);
	return bpf_redirect(host_ifindex, 0);
}

/*
 * Somebody else's packet with our address must not get our protection: the peer would take it for
 * ours. ingress_ifindex tells them apart: it is 0 for what this host makes, the stack's ICMP errors
 * and resets included, for those are new packets, and for what the stack puts into a tunnel of its
 * own (skb_scrub_packet). But it stays set for what this host forwards under its own address by
 * masquerading, as the answers of a forwarded port, or in tunnel mode of the kernel's own IPsec.
 * Those are not to be told from a forgery here: in the clear they pass as policy says, and only
 * protection is denied.
 */
static __always_inline bool is_forged(const struct __sk_buff *skb, const struct packet_info *info)
{
	return skb->ingress_ifindex && is_own_source(info);
}

/* What policy says of a packet that goes out, as the application's whose it is. What is forwarded
 * is nobody's here. */
static __always_inline int egress_decide(struct __sk_buff *skb, struct packet_info *info,
					 __u32 generation, struct spd_verdict *verdict)
{
	const struct spd_head *head = spd_head_of(generation);
	bool local = !skb->ingress_ifindex;
	int err = 0;

	if (policy_has_apps(head))
		err = local ? app_of_skb(skb, info, generation) :
			      app_of_packet(info, generation, SPD_WAY_OUT_FORWARDED);
	if (err)
		return err;
	return tc_decide(info, head, generation,
			 local ? SPD_WAY_OUT_LOCAL : SPD_WAY_OUT_FORWARDED, verdict);
}

static __always_inline int egress(struct __sk_buff *skb, const struct control *ctl,
				  struct packet_info *info, struct spd_verdict *verdict)
{
	__u32 generation = generation_in_force(ctl);
	int err;

	err = parse_skb(skb, info);
	if (err)
		return err;
	err = egress_decide(skb, info, generation, verdict);
	if (err)
		return err;
	if (is_closed(ctl, verdict))
		return -DROP_NO_POLICY;
	switch (verdict->action) {
	case SPD_BYPASS:
		count(verdict->essential ? PASS_OUT_ESSENTIAL : PASS_OUT_BYPASS);
		return TC_STEP_CONTINUE;
	case SPD_PROTECT:
		if (is_forged(skb, info))
			return -DROP_OWN_SOURCE;
		return protect(skb, ctl, info, generation, verdict);
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
