/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Later fragments follow their first (RFC 4301 7.3): only that one shows the ports, and what policy
 * said of it holds for the packet. Without a first, or where following would let a stranger's
 * fragment open the way for another's, spd.h judges them by what they show: never a bypass on a
 * guess.
 * Called by: tc_egress, tc_host_port. Writes the map fragment_verdicts.
 */
#ifndef IPSECBPF_TC_FRAGMENTS_H
#define IPSECBPF_TC_FRAGMENTS_H

#include "spd.h"

static __always_inline struct fragment_packet fragment_packet(const struct packet_info *info,
							      enum spd_direction direction,
							      __u16 origin)
{
	return (struct fragment_packet){
		.src = info->src,
		.dst = info->dst,
		.id = info->fragment_id,
		/* In IPv6 a later fragment may show another header than the first ended with. */
		.proto = info->family == FAMILY_V4 ? info->proto : 0,
		.family = info->family,
		.direction = direction,
		.forwarded = origin == SPD_F_ORIGIN_FORWARDED,
	};
}

/*
 * Sent by this host, ports and identification are the stack's. A forwarded first fragment may be
 * anybody's: it must not take the protection from fragments that another sender counts under the
 * same identification.
 */
static __always_inline bool may_be_followed(const struct fragment_packet *packet,
					    const struct spd_verdict *verdict)
{
	return verdict->action != SPD_BYPASS || !packet->forwarded;
}

/* As spd_decide(), for packets of which each fragment comes by itself. */
static __always_inline int tc_decide(const struct control *ctl, const struct packet_info *info,
				     enum spd_direction direction, __u16 origin,
				     struct spd_verdict *verdict)
{
	__u32 generation = ctl->active & 1;
	struct fragment_packet packet;
	struct fragment_verdict *known, first;
	struct spd_generation *head;
	int err;

	if (info->fragment == FRAGMENT_NONE)
		return spd_decide(ctl, info, direction, origin, verdict);
	packet = fragment_packet(info, direction, origin);
	head = bpf_map_lookup_elem(&generations, &generation);
	if (!head)
		return -DROP_INTERNAL;
	if (info->fragment == FRAGMENT_LATER) {
		known = bpf_map_lookup_elem(&fragment_verdicts, &packet);
		if (known && known->serial == head->serial &&
		    bpf_ktime_get_ns() - known->ns < FRAGMENTS_WAIT_NS) {
			explain_asked(head->serial);
			*verdict = known->verdict;
			return 0;
		}
		return spd_decide(ctl, info, direction, origin, verdict);
	}
	err = spd_decide(ctl, info, direction, origin, verdict);
	if (err)
		return err;
	if (!may_be_followed(&packet, verdict)) {
		bpf_map_delete_elem(&fragment_verdicts, &packet);
		return 0;
	}
	__builtin_memset(&first, 0, sizeof(first));
	first.ns = bpf_ktime_get_ns();
	first.serial = head->serial;
	first.verdict = *verdict;
	bpf_map_update_elem(&fragment_verdicts, &packet, &first, BPF_ANY);
	return 0;
}

#endif /* IPSECBPF_TC_FRAGMENTS_H */
