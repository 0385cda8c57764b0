/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The SPD decision: essential traffic, other ethertypes, then the first matching entry of the
 * active generation. spd_decide() is the interface that any classifier stands behind.
 * Called by: all hooks. Reads control, generations, spd; writes nothing.
 */
#ifndef IPSECBPF_SPD_H
#define IPSECBPF_SPD_H

#include "explain.h"
#include "maps.h"
#include "parse.h"

/* A packet as selectors see it (RFC 4301 4.4.1.1), in host order. */
struct spd_query {
	struct addr128 local, remote;
	__u16 local_port, remote_port;
	__u16 origin;		/* SPD_F_ORIGIN_*, outbound only */
	__u8 proto;
	__u8 icmp_type, icmp_code;
	__u8 later_fragment;	/* ports and ICMP type are not in this packet */
	__u8 proto_hidden;	/* nor is the upper protocol: extension headers went with the first */
};

static __always_inline struct addr128 addr_value(__u8 family, const union wire_addr *addr)
{
	struct addr128 value = {};

	if (family == FAMILY_V4) {
		value.lo = bpf_ntohl(addr->w[0]);
	} else {
		value.hi = (__u64)bpf_ntohl(addr->w[0]) << 32 | bpf_ntohl(addr->w[1]);
		value.lo = (__u64)bpf_ntohl(addr->w[2]) << 32 | bpf_ntohl(addr->w[3]);
	}
	return value;
}

static __always_inline bool addr_within(struct addr128 a, struct addr128 lo, struct addr128 hi)
{
	return (a.hi > lo.hi || (a.hi == lo.hi && a.lo >= lo.lo)) &&
	       (a.hi < hi.hi || (a.hi == hi.hi && a.lo <= hi.lo));
}

static __always_inline bool port_within(__u16 port, __u16 lo, __u16 hi)
{
	return port >= lo && port <= hi;
}

/*
 * Upper-layer selectors. A later fragment shows none: an entry that asks for them then matches
 * unless it would let the packet pass in the clear. (RFC 4301 7: never bypass on a guess.) The same
 * holds for its protocol if extension headers follow the fragment header.
 */
static __always_inline bool upper_matches(const struct spd_entry *e, const struct spd_query *q)
{
	if (!(e->flags & SPD_F_PROTO))
		return true;
	if (q->proto_hidden)
		return e->action != SPD_BYPASS;
	if (e->proto != q->proto)
		return false;
	if (!(e->flags & (SPD_F_PORTS | SPD_F_ICMP)))
		return true;
	if (q->later_fragment)
		return e->action != SPD_BYPASS;
	if (e->flags & SPD_F_PORTS)
		return port_within(q->local_port, e->local_port_lo, e->local_port_hi) &&
		       port_within(q->remote_port, e->remote_port_lo, e->remote_port_hi);
	return q->icmp_type >= e->icmp_type_lo && q->icmp_type <= e->icmp_type_hi &&
	       q->icmp_code >= e->icmp_code_lo && q->icmp_code <= e->icmp_code_hi;
}

static __always_inline bool entry_matches(const struct spd_entry *e, const struct spd_query *q)
{
	const __u16 origins = SPD_F_ORIGIN_LOCAL | SPD_F_ORIGIN_FORWARDED;

	if ((e->flags & origins) && !(e->flags & q->origin))
		return false;
	return addr_within(q->remote, e->remote_lo, e->remote_hi) &&
	       addr_within(q->local, e->local_lo, e->local_hi) && upper_matches(e, q);
}

struct spd_scan {
	const struct spd_table *table;
	const struct spd_query *query;
	struct spd_verdict *verdict;
};

static long spd_scan_entry(__u64 index, struct spd_scan *scan)
{
	const struct spd_entry *e;

	if (index >= SPD_MAX_ENTRIES)
		return 1;
	e = &scan->table->entries[index];
	if (!entry_matches(e, scan->query))
		return 0;
	scan->verdict->rule = e->rule;
	scan->verdict->protect_id = e->protect_id;
	scan->verdict->action = e->action;
	return 1;
}

/* First match in one table; the default otherwise. 0, or a negative drop reason. */
static __always_inline int spd_classify(const struct spd_generation *head, __u32 generation,
					enum spd_direction direction, __u8 family,
					const struct spd_query *query, struct spd_verdict *verdict)
{
	struct spd_scan scan = { .query = query, .verdict = verdict };
	__u32 key = SPD_TABLE(generation & 1, direction, family & 1), zero = 0;
	void *table;

	verdict->rule = SPD_RULE_DEFAULT;
	verdict->action = head->default_action[direction];
	verdict->protect_id = 0;
	if (!head->entries[direction][family & 1])
		return 0;
	table = bpf_map_lookup_elem(&spd, &key);
	if (!table)
		return -DROP_INTERNAL;
	scan.table = bpf_map_lookup_elem(table, &zero);
	if (!scan.table)
		return -DROP_INTERNAL;
	bpf_loop(head->entries[direction][family & 1], spd_scan_entry, &scan, 0);
	return 0;
}

static __always_inline bool both_in(__be16 a, __be16 b, __u16 x, __u16 y)
{
	return (a == bpf_htons(x) || a == bpf_htons(y)) && (b == bpf_htons(x) || b == bpf_htons(y));
}

/*
 * Neighbour discovery has not passed a router. Switches that snoop multicast listener discovery
 * (RFC 2710, RFC 3810) forward it only to those who have joined: without one, no other for long.
 */
static __always_inline bool is_essential_icmpv6(const struct packet_info *info, __u32 essential)
{
	__u8 type = info->icmp_type;

	if (type >= 133 && type <= 137)
		return (essential & ESSENTIAL(ND)) && info->hop_limit == 255;
	return (essential & ESSENTIAL(MLD)) && info->hop_limit == 1 &&
	       ((type >= 130 && type <= 132) || type == 143);
}

/*
 * Is this traffic that the policy calls essential? IKE is known by *this* host's port: a remote
 * source port of 500 proves nothing and must not open every local UDP service.
 */
static __always_inline bool is_essential(const struct packet_info *info, __u32 essential,
					 enum spd_direction direction)
{
	__be16 own;

	if (info->ethertype == bpf_htons(ETH_P_ARP))
		return essential & ESSENTIAL(ARP);
	if (!info->is_ip || info->fragment != FRAGMENT_NONE)
		return false;
	if (info->proto == IPPROTO_ICMPV6 && info->family == FAMILY_V6)
		return is_essential_icmpv6(info, essential);
	if (info->proto != IPPROTO_UDP)
		return false;
	if (essential & ESSENTIAL(DHCP)) {
		if (info->family == FAMILY_V4 ? both_in(info->src_port, info->dst_port, 67, 68)
					      : both_in(info->src_port, info->dst_port, 546, 547))
			return true;
	}
	own = direction == SPD_IN ? info->dst_port : info->src_port;
	return (essential & ESSENTIAL(IKE)) &&
	       (own == bpf_htons(500) || (own == bpf_htons(4500) && info->non_esp_marker));
}

static __always_inline void spd_query_fill(struct spd_query *q, const struct packet_info *info,
					   enum spd_direction direction, __u16 origin)
{
	bool in = direction == SPD_IN;

	q->local = addr_value(info->family, in ? &info->dst : &info->src);
	q->remote = addr_value(info->family, in ? &info->src : &info->dst);
	q->local_port = bpf_ntohs(in ? info->dst_port : info->src_port);
	q->remote_port = bpf_ntohs(in ? info->src_port : info->dst_port);
	q->origin = origin;
	q->proto = info->proto;
	q->icmp_type = info->icmp_type;
	q->icmp_code = info->icmp_code;
	q->later_fragment = info->fragment == FRAGMENT_LATER;
	q->proto_hidden = q->later_fragment && info->family == FAMILY_V6 && is_ipv6_ext(info->proto);
}

/* The generation in force. Only while a policy is on trial does this look at the clock. */
static __always_inline __u32 live_generation(const struct control *ctl)
{
	__u64 active = *(const volatile __u64 *)&ctl->active;

	return GENERATION_AT(active, ACTIVE_DEADLINE(active) ? bpf_ktime_get_ns() : 0) & 1;
}

/*
 * What policy says of this packet, from one generation. 0 and *verdict, or a negative drop reason.
 * Without a policy everything but essential traffic is dropped.
 */
static __always_inline int spd_decide(const struct control *ctl, const struct packet_info *info,
				      enum spd_direction direction, __u16 origin,
				      struct spd_verdict *verdict)
{
	__u32 generation = live_generation(ctl);
	struct spd_generation *head;
	struct spd_query query = {};
	bool blocked;

	head = bpf_map_lookup_elem(&generations, &generation);
	if (!head)
		return -DROP_INTERNAL;
	explain_asked(head->serial);
	/* The first flip is two stores; seen the other way round, the generation is an empty one. */
	blocked = ctl->state == ATTACH_BLOCKED || !head->serial;
	if (is_essential(info, blocked ? ESSENTIAL_ALL : head->essential, direction)) {
		verdict->action = SPD_BYPASS;
		verdict->essential = 1;
		return 0;
	}
	if (blocked)
		return -DROP_NO_POLICY;
	if (!info->is_ip) {
		verdict->action = head->non_ip_action;
		return verdict->action == SPD_BYPASS ? 0 : -DROP_NON_IP;
	}
	spd_query_fill(&query, info, direction, origin);
	return spd_classify(head, generation, direction, info->family, &query, verdict);
}

#endif /* IPSECBPF_SPD_H */
