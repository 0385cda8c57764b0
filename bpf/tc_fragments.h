/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Later fragments follow their first (RFC 4301 7.3): only that one shows the ports, and what policy
 * said of it holds for the packet. Without a first, or where following would let a stranger's
 * fragment open the way for another's, spd.h judges them by what they show: never a bypass on a
 * guess. Nor do applications' fragments follow those of others, who may count as they do.
 * Called by: tc_egress, tc_host_port, xdp_ingress. Writes the map fragment_verdicts.
 */
#ifndef IPSECBPF_TC_FRAGMENTS_H
#define IPSECBPF_TC_FRAGMENTS_H

#include "spd.h"

/* Besides enum spd_way: what arrived in the clear, and passed. What comes out of SAs is another
 * packet. */
#define FRAGMENT_WAY_CLEAR SPD_WAYS

static __always_inline struct fragment_packet fragment_packet(const struct packet_info *info,
							      __u32 way)
{
	return (struct fragment_packet){
		.src = info->src,
		.dst = info->dst,
		.id = info->fragment_id,
		/* In IPv6 a later fragment may show another header than the first ended with. */
		.proto = info->family == FAMILY_V4 ? info->proto : 0,
		.family = info->family,
		.way = way,
		.app = info->app_of_socket ? info->app : 0,
	};
}

static __always_inline bool same_packet(const struct fragment_packet *a,
					const struct fragment_packet *b)
{
	const __u64 *x = (const __u64 *)a, *y = (const __u64 *)b;
	__u64 differ = 0;

	_Static_assert(sizeof(*a) % sizeof(*x) == 0, "compared by words");
#pragma clang loop unroll(full)
	for (unsigned int i = 0; i < sizeof(*a) / sizeof(*x); i++)
		differ |= x[i] ^ y[i];
	return !differ;
}

/*
 * Sent by this host, or taken out of an SA, ports and identification are those of one who may say
 * so.
 * A forwarded first fragment may be anybody's: it must not take the protection from fragments that
 * another sender counts under the same identification. Which of the policy's SAs those get it can
 * say.
 */
static __always_inline bool may_be_followed(const struct fragment_packet *packet,
					    const struct spd_verdict *verdict)
{
	return verdict->action != SPD_BYPASS || packet->way != SPD_WAY_OUT_FORWARDED;
}

/* Functions of their own: what they need of the stack is not taken from the search's. */

/*
 * What was said of the first fragment of this packet, by the policy that is in force still? Of what
 * it says a copy is looked at: the map may give its place to another packet at any moment.
 */
static __noinline int verdict_of_first(const struct packet_info *info, __u32 way, __u32 serial,
				       struct spd_verdict *verdict)
{
	struct fragment_packet packet = fragment_packet(info, way);
	struct fragment_verdict *known = bpf_map_lookup_elem(&fragment_verdicts, &packet);
	struct fragment_verdict first;

	if (!known)
		return 0;
	first = *known;
	if (first.verdict.serial != serial || !same_packet(&first.packet, &packet) ||
	    bpf_ktime_get_ns() - first.ns >= FRAGMENTS_WAIT_NS)
		return 0;
	explain_asked(serial);
	*verdict = first.verdict;
	return 1;
}

/* 0, or a negative drop reason: what an earlier packet was told must not stay for this one's rest. */
static __noinline int note_first(const struct packet_info *info, __u32 way,
				 const struct spd_verdict *verdict)
{
	struct fragment_verdict first;

	__builtin_memset(&first, 0, sizeof(first));
	first.packet = fragment_packet(info, way);
	if (!may_be_followed(&first.packet, verdict)) {
		bpf_map_delete_elem(&fragment_verdicts, &first.packet);
		return 0;
	}
	first.ns = bpf_ktime_get_ns();
	first.verdict = *verdict;
	if (!bpf_map_update_elem(&fragment_verdicts, &first.packet, &first, BPF_ANY))
		return 0;
	bpf_map_delete_elem(&fragment_verdicts, &first.packet);
	return bpf_map_lookup_elem(&fragment_verdicts, &first.packet) ? -DROP_INTERNAL : 0;
}

/*
 * Clear text that arrived and may pass, where policy tells applications apart: a later fragment
 * does not show whose it is, so that what the host's rules let in may be an application's, which
 * must not have it. It has to follow a first that passed; and not one that came out of an SA, the
 * rest of which does not come in the clear. 0, or a negative drop reason.
 */
static __always_inline int clear_fragment(const struct packet_info *info, __u32 serial,
					  const struct spd_verdict *verdict)
{
	struct spd_verdict first;

	if (info->fragment == FRAGMENT_FIRST)
		return note_first(info, FRAGMENT_WAY_CLEAR, verdict);
	if (info->fragment == FRAGMENT_LATER &&
	    (!verdict_of_first(info, FRAGMENT_WAY_CLEAR, serial, &first) ||
	     verdict_of_first(info, SPD_WAY_IN, serial, &first)))
		return -DROP_CLEAR_TEXT;
	return 0;
}

/* As spd_judge(), for packets of which each fragment comes by itself. */
static __always_inline int tc_decide(struct packet_info *info, const struct spd_head *head,
				     __u32 generation, enum spd_way way,
				     struct spd_verdict *verdict)
{
	int err;

	if (info->fragment == FRAGMENT_LATER &&
	    verdict_of_first(info, way, spd_serial(head), verdict))
		return 0;
	err = spd_judge(info, head, generation, way, verdict);
	if (!err && info->fragment == FRAGMENT_FIRST)
		err = note_first(info, way, verdict);
	return err < 0 ? err : 0;
}

#endif /* IPSECBPF_TC_FRAGMENTS_H */
