/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Hook: tc ingress on the host port, every frame the worker hands back. The worker is not taken at
 * its word: the SA in the tag must be live and inbound, and the inner packet must be one that the
 * inbound SPD expects from exactly this SA. Then it is marked as verified and re-entered as
 * received on the NIC. Checking here keeps one classifier and one generation for every decision,
 * and one check serves a whole coalesced super-packet.
 */
#ifndef IPSECBPF_TC_HOST_PORT_H
#define IPSECBPF_TC_HOST_PORT_H

#include "app.h"
#include "tc_fragments.h"
#include "tc_packet.h"

#define MAC_DESTINATION_OFFSET 0

static __always_inline int inner_policy(const struct control *ctl, struct packet_info *info,
					const struct host_tag *tag, struct spd_verdict *verdict)
{
	__u32 slot = (__u32)tag->slot[0] << 24 | (__u32)tag->slot[1] << 16 |
		     (__u32)tag->slot[2] << 8 | tag->slot[3];
	__u32 generation = generation_in_force(ctl);
	const struct spd_head *head;
	struct sa_slot *sa;
	int err;

	sa = bpf_map_lookup_elem(&sa_slots, &slot);
	if (!sa || !sa->used || !sa->inbound || sa->sa_gen != tag->sa_gen)
		return -DROP_STALE_SA;
	/* Nor may a peer, however wide its selectors, speak in this host's name. */
	if (is_own_source(info))
		return -DROP_OWN_SOURCE;
	head = spd_head_of(generation);
	if (policy_has_apps(head))
		app_of_packet(info, generation, SPD_WAY_IN);
	err = tc_decide(info, head, generation, SPD_WAY_IN, verdict);
	if (err)
		return err;
	if (is_closed(ctl, verdict))
		return -DROP_NO_POLICY;
	if (verdict->action != SPD_PROTECT || verdict->protect_id != sa->protect_id)
		return -DROP_INNER_POLICY;
	return 0;
}

/* The worker's own packet-too-big message to a local sender; nothing else may use that tag. */
static __always_inline int local_icmp(const struct packet_info *info)
{
	return is_too_big(info) ? 0 : -DROP_HOST_TAG;
}

static __always_inline int reenter(struct __sk_buff *skb, const struct control *ctl, bool verified)
{
	__u8 mac[ETH_ALEN];

	for (int i = 0; i < ETH_ALEN; i++)
		mac[i] = xdp_generic ? reentry_mac[i] : ctl->nic_mac[i];
	if (bpf_skb_store_bytes(skb, MAC_DESTINATION_OFFSET, mac, sizeof(mac), 0))
		return -DROP_INTERNAL;
	if (verified) {
		skb->mark = (skb->mark & ~mark_mask) | mark_value;
		count(PASS_IN_VERIFIED);
	}
	return bpf_redirect(nic_ifindex, BPF_F_INGRESS);
}

static __always_inline int host_port(struct __sk_buff *skb, const struct control *ctl,
				     struct packet_info *info, struct spd_verdict *verdict)
{
	struct host_tag tag;
	int err;

	err = parse_skb(skb, info);
	if (err)
		return err;
	if (bpf_skb_load_bytes(skb, MAC_DESTINATION_OFFSET, &tag, sizeof(tag)))
		return -DROP_MALFORMED;
	if (tag.magic == HOST_TAG_SA)
		err = inner_policy(ctl, info, &tag, verdict);
	else if (tag.magic == HOST_TAG_LOCAL_ICMP)
		err = local_icmp(info);
	else
		err = -DROP_HOST_TAG;
	return err ? err : reenter(skb, ctl, tag.magic == HOST_TAG_SA);
}

SEC("tc")
int tc_host_port(struct __sk_buff *skb)
{
	return tc_hook(skb, host_port, SPD_IN);
}

#endif /* IPSECBPF_TC_HOST_PORT_H */
