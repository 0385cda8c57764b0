/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Optional protections: clear text where no SA has ever been. An attacker who can keep SAs from
 * being made can have clear text, so it is held within bounds: never once an SA has served the pair
 * (had_sa), never to or from groups, never while detached, and inbound not more of it than the
 * policy says.
 * Called by: tc_egress, xdp_ingress. Reads had_sa; writes optional_budgets, app_asked, rule_counts.
 */
#ifndef IPSECBPF_OPTIONAL_H
#define IPSECBPF_OPTIONAL_H

#include "app.h"

#define OPTIONAL_SLICE_NS 1000000000ull		/* spd_app.optional_rate is per second */

/* No SA has served it, and the attachment is at work. */
static __always_inline bool optional_is_open(const struct control *ctl,
					     const struct spd_verdict *verdict)
{
	__u32 protect_id = verdict->protect_id;
	const __u32 *had = bpf_map_lookup_elem(&had_sa, &protect_id);

	return verdict->level == LEVEL_OPTIONAL && ctl->state == ATTACH_RUNNING && had && !*had;
}

/* May one more packet of the application be taken in the clear in this slice of time? Its number may be
 * another's in the next policy, who has used nothing: slices are told apart by name as well. */
static __noinline int optional_within_rate(__u32 generation, __u32 app)
{
	__u64 *budget = bpf_map_lookup_elem(&optional_budgets, &app), slice, old;
	struct app_limits limits;

	if (!budget || app_limits(generation, app, &limits) || !limits.optional_rate)
		return 0;
	slice = (bpf_ktime_get_ns() / OPTIONAL_SLICE_NS + limits.name_digest) << 32;
	old = *(volatile __u64 *)budget;
	if ((old ^ slice) >> 32) {
		if (__sync_val_compare_and_swap(budget, old, slice | 1) == old)
			return 1;
		old = *(volatile __u64 *)budget;
	}
	/* Looked at first: what is refused need not be counted by all CPUs, nor ever goes beyond
	 * the packets' half of the word. */
	return (__u32)old < limits.optional_rate &&
	       (__u32)__sync_fetch_and_add(budget, 1) < limits.optional_rate;
}

static __noinline int count_optional(__u32 generation, __u32 app, __u32 octets)
{
	union spd_cell *chunk = spd_first_chunk(generation);

	if (chunk && app <= chunk->head.apps)
		count_slot(generation, &chunk->head, RULE_COUNT_OPTIONAL(chunk->head.rules, app),
			   octets);
	return 0;
}

/* Clear text that came: 0, or a negative drop reason. Not inlined, for the stack's sake. */
static __noinline int optional_in(const struct control *ctl, const struct packet_info *info,
				  __u32 generation, const struct spd_verdict *verdict)
{
	if (!optional_is_open(ctl, verdict) || is_group_address(&info->dst, info->family) ||
	    !is_own_address(&info->dst, info->family))
		return -DROP_CLEAR_TEXT;
	if (!optional_within_rate(generation, info->app))
		return -DROP_OPTIONAL_RATE;
	count_optional(generation, info->app, info->len);
	return 0;
}

/* A place in the list: the one that the peer has already, or the oldest. */
static __always_inline __u32 asked_place(const struct app_asked *asked,
					 const struct packet_info *info)
{
	const __u32 *peer = info->dst.w;
	__u32 place = asked->next;

#pragma clang loop unroll(disable)
	for (__u32 i = 0; i < APP_ASKED; i++) {
		const __u32 *addr = asked->to[i].addr.w;

		if (asked->to[i].port == info->dst_port && asked->to[i].family == info->family &&
		    !((addr[0] ^ peer[0]) | (addr[1] ^ peer[1]) | (addr[2] ^ peer[2]) |
		      (addr[3] ^ peer[3])))
			place = i;
	}
	return place;
}

/* With the lock held. */
static __always_inline void asked_put(struct app_asked *asked, const struct packet_info *info,
				      __u64 now)
{
	__u32 place = asked_place(asked, info);

	if (place == asked->next)
		asked->next = (place + 1) % APP_ASKED;
	asm("" : "+r"(place));
	place &= APP_ASKED - 1;
	asked->to[place].ns = now;
	asked->to[place].addr = info->dst;
	asked->to[place].port = info->dst_port;
	asked->to[place].family = info->family;
}

/*
 * The socket has asked there in the clear, and may be answered so. Not of TCP, which knows its
 * connections, nor of servers, who are asked. If it cannot be noted, what answers will be dropped.
 */
__noinline int note_asked_peer(struct __sk_buff *skb, const struct packet_info *info)
{
	struct bpf_sock *sk = skb->sk;
	const struct app_socket *socket;
	struct app_asked *asked;
	__u64 now;

	if (sk)
		sk = bpf_sk_fullsock(sk);
	if (!sk || !info || info->proto == IPPROTO_TCP)
		return 0;
	socket = bpf_sk_storage_get(&app_sockets, sk, 0, 0);
	if (!socket || (socket->flags & APP_SOCKET_SERVER))
		return 0;
	asked = bpf_sk_storage_get(&app_asked, sk, 0, BPF_SK_STORAGE_GET_F_CREATE);
	if (!asked)
		return 0;
	now = bpf_ktime_get_ns();
	bpf_spin_lock(&asked->lock);
	asked_put(asked, info, now);
	bpf_spin_unlock(&asked->lock);
	return 0;
}

static __always_inline bool is_group_frame(const struct __sk_buff *skb)
{
	const struct ethhdr *eth = (void *)(long)skb->data;

	return (void *)(eth + 1) > (void *)(long)skb->data_end || (eth->h_dest[0] & 1);
}

/* What is to be protected, and no SA is there: may it go in the clear? 0, or a negative drop
 * reason. */
static __always_inline int optional_out(struct __sk_buff *skb, const struct control *ctl,
					const struct packet_info *info, __u32 generation,
					const struct spd_verdict *verdict)
{
	if (!optional_is_open(ctl, verdict) || is_group_frame(skb) ||
	    is_group_address(&info->dst, info->family))
		return -DROP_NO_SA_OUT;
	count_optional(generation, info->app, info->len);
	if (info->app)
		note_asked_peer(skb, info);
	return 0;
}

#endif /* IPSECBPF_OPTIONAL_H */
