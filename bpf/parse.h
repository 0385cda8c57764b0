/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Headers of a packet, read once through one bounded cursor: Ethernet, up to two VLAN tags, IPv4 or
 * IPv6 with a bounded extension header chain, and the first octets of the upper layer. What an ICMP
 * error quotes is not read here: quote.h
 * Called by: every hook, first thing. Touches nothing.
 */
#ifndef IPSECBPF_PARSE_H
#define IPSECBPF_PARSE_H

#include <linux/if_ether.h>
#include <linux/in.h>
#include <linux/ip.h>
#include <linux/ipv6.h>
#include <linux/udp.h>

#include "abi.h"

#define VLAN_DEPTH_MAX	   2
#define VLAN_ID_MASK	   0x0fff
#define IPV6_EXT_DEPTH_MAX 6	/* steps: five extension headers and a look at what follows */
#define IPV4_MORE_FRAGMENTS 0x2000
#define IPV4_OFFSET_MASK    0x1fff
#define NON_ESP_MARKER_LEN  4
#define ICMP_TYPE_UNREACHABLE  3
#define ICMP_CODE_FRAG_NEEDED  4
#define ICMPV6_TYPE_PACKET_TOO_BIG 2
#define HEADERS_MAX 192		/* octets worth pulling into the linear part */

enum fragment { FRAGMENT_NONE, FRAGMENT_FIRST, FRAGMENT_LATER };

struct packet_info {
	union wire_addr src, dst;
	__be32 spi;		/* ESP, AH; UDP: of what may be ESP (RFC 3948), or 0 */
	__be32 seq;		/* the same */
	__be16 src_port, dst_port;
	__be16 ethertype;
	__u8 family;		/* enum ip_family; valid if is_ip */
	__u8 is_ip;
	__u8 proto;
	__u8 hop_limit;
	__u8 icmp_type, icmp_code;
	__u8 fragment;		/* enum fragment */
	__u8 dscp;		/* RFC 2474; valid if is_ip */
	__u16 vlan;		/* id in the outermost tag that has one; 0: untagged */
	__be32 fragment_id;	/* identification, of fragments only */
	__u8 non_esp_marker;	/* UDP payload starts with four zero octets, or is a keep-alive */
	__u8 esp_in_udp;	/* set by xdp_ingress: the SAD knows it */
	__be16 icmp_id;		/* of ICMP echo, otherwise 0 */
	__u8 app_of_socket;	/* the socket that sends it says so: not only what was noted (app.h) */
	__u8 pad;
	__u32 len;		/* octets of the frame, all of a super-packet; set by the hook */
	__u32 app;		/* application whose packet it is, 0: none; set by the hook (app.h) */
	__u32 app_serial;	/* of the policy that says so; not asked where the policy has none */
};

struct cursor {
	void *pos;
	void *end;
};

struct vlan_tag {
	__be16 tci;
	__be16 ethertype;
};

struct ipv6_ext {
	__u8 next_header;
	__u8 len;		/* 8-octet units after the first 8 */
	__u8 rest[6];
};

struct ipv6_fragment {
	__u8 next_header;
	__u8 reserved;
	__be16 offset_flags;
	__be32 id;
};

struct esp_header {
	__be32 spi;
	__be32 seq;
};

/* RFC 4302 2: what precedes the integrity check value, whose length the worker checks. */
struct ah_header {
	__u8 next_header;
	__u8 len;
	__be16 reserved;
	__be32 spi;
	__be32 seq;
};

/* The next `size` octets, or NULL if the packet ends before. */
static __always_inline void *cursor_take(struct cursor *c, __u32 size)
{
	void *here = c->pos;

	if (here + size > c->end)
		return NULL;
	c->pos = here + size;
	return here;
}

static __always_inline bool is_vlan(__be16 ethertype)
{
	return ethertype == bpf_htons(ETH_P_8021Q) || ethertype == bpf_htons(ETH_P_8021AD);
}

/*
 * The outermost tag that names a VLAN decides. A priority tag (id 0, IEEE 802.1Q 6.9) names none:
 * the stack takes it off and delivers by the tag behind it, so it must not hide that one here. What
 * came in info->vlan stood outside of all in the frame.
 */
static __always_inline void parse_vlan(struct packet_info *info, __u16 tci)
{
	if (!info->vlan)
		info->vlan = tci & VLAN_ID_MASK;
}

static __always_inline int parse_ethernet(struct cursor *c, struct packet_info *info)
{
	struct ethhdr *eth = cursor_take(c, sizeof(*eth));

	if (!eth)
		return -DROP_MALFORMED;
	info->ethertype = eth->h_proto;
	for (int i = 0; i < VLAN_DEPTH_MAX; i++) {
		struct vlan_tag *tag;

		if (!is_vlan(info->ethertype))
			break;
		tag = cursor_take(c, sizeof(*tag));
		if (!tag)
			return -DROP_MALFORMED;
		parse_vlan(info, bpf_ntohs(tag->tci));
		info->ethertype = tag->ethertype;
	}
	/* More tags than this bound are refused: what they hide is not "not IP". */
	return is_vlan(info->ethertype) ? -DROP_MALFORMED : 0;
}

static __always_inline int parse_ipv4(struct cursor *c, struct packet_info *info)
{
	struct iphdr *ip = cursor_take(c, sizeof(*ip));
	__u32 header, total;

	if (!ip || ip->version != 4 || ip->ihl < 5)
		return -DROP_MALFORMED;
	header = ip->ihl * 4;
	total = bpf_ntohs(ip->tot_len);
	/* tot_len is 0 in some GSO super-packets; otherwise it must cover the header. */
	if (total && total < header)
		return -DROP_MALFORMED;
	info->family = FAMILY_V4;
	info->proto = ip->protocol;
	info->hop_limit = ip->ttl;
	info->dscp = ip->tos >> 2;
	info->src.w[0] = ip->saddr;
	info->dst.w[0] = ip->daddr;
	info->fragment_id = ip->id;
	if (ip->frag_off & bpf_htons(IPV4_OFFSET_MASK))
		info->fragment = FRAGMENT_LATER;
	else if (ip->frag_off & bpf_htons(IPV4_MORE_FRAGMENTS))
		info->fragment = FRAGMENT_FIRST;
	if (header > sizeof(*ip) && !cursor_take(c, header - sizeof(*ip)))
		return -DROP_MALFORMED;
	return 0;
}

static __always_inline bool is_ipv6_ext(__u8 proto)
{
	return proto == IPPROTO_HOPOPTS || proto == IPPROTO_ROUTING || proto == IPPROTO_DSTOPTS ||
	       proto == IPPROTO_FRAGMENT;
}

/* Steps over one extension header. 1: stepped, 0: info->proto is not one, negative: malformed. */
static __always_inline int parse_ipv6_ext(struct cursor *c, struct packet_info *info)
{
	struct ipv6_fragment *frag;
	struct ipv6_ext *ext;

	switch (info->proto) {
	case IPPROTO_HOPOPTS:
	case IPPROTO_ROUTING:
	case IPPROTO_DSTOPTS:
		ext = cursor_take(c, sizeof(*ext));
		if (!ext)
			return -DROP_MALFORMED;
		info->proto = ext->next_header;
		if (ext->len && !cursor_take(c, (__u32)ext->len * 8))
			return -DROP_MALFORMED;
		return 1;
	case IPPROTO_FRAGMENT:
		frag = cursor_take(c, sizeof(*frag));
		if (!frag)
			return -DROP_MALFORMED;
		info->proto = frag->next_header;
		info->fragment_id = frag->id;
		if (frag->offset_flags & bpf_htons(0xfff8))
			info->fragment = FRAGMENT_LATER;
		else if (frag->offset_flags & bpf_htons(1))
			info->fragment = FRAGMENT_FIRST;
		/* What follows a later fragment's header is payload, not a header. */
		return info->fragment != FRAGMENT_LATER;
	default:
		return 0;
	}
}

static __always_inline int parse_ipv6(struct cursor *c, struct packet_info *info)
{
	struct ipv6hdr *ip6 = cursor_take(c, sizeof(*ip6));
	int more = 1;

	if (!ip6 || ip6->version != 6)
		return -DROP_MALFORMED;
	info->family = FAMILY_V6;
	info->proto = ip6->nexthdr;
	info->hop_limit = ip6->hop_limit;
	info->dscp = ip6->priority << 2 | ip6->flow_lbl[0] >> 6;
	__builtin_memcpy(&info->src, &ip6->saddr, 16);
	__builtin_memcpy(&info->dst, &ip6->daddr, 16);
	for (int i = 0; i < IPV6_EXT_DEPTH_MAX && more > 0; i++)
		more = parse_ipv6_ext(c, info);
	/* A chain longer than this bound is refused: its upper layer would go unseen. */
	return more > 0 && info->fragment != FRAGMENT_LATER ? -DROP_MALFORMED : more;
}

static __always_inline int parse_udp(struct cursor *c, struct packet_info *info)
{
	struct udphdr *udp = cursor_take(c, sizeof(*udp));
	struct esp_header *esp;
	__be32 *marker;
	__u16 len;

	if (!udp)
		return -DROP_MALFORMED;
	info->src_port = udp->source;
	info->dst_port = udp->dest;
	/* RFC 3948 2.2, 2.3: IKE carries four zero octets, a keep-alive is a single octet, and ESP
	 * starts with its SPI, which is not zero. By UDP's own length: what follows it may be
	 * Ethernet's padding. */
	len = bpf_ntohs(udp->len);
	esp = c->pos;
	if (len >= sizeof(*udp) + sizeof(*esp) && (void *)(esp + 1) <= c->end) {
		info->spi = esp->spi;
		info->seq = esp->seq;
	}
	marker = cursor_take(c, NON_ESP_MARKER_LEN);
	info->non_esp_marker = len == sizeof(*udp) + 1 ||
			       (len >= sizeof(*udp) + NON_ESP_MARKER_LEN && marker && !*marker);
	return 0;
}

/* Of echo requests and replies (RFC 792, RFC 4443 4.1). A cut one has none. The cursor stays where
 * it is: quote.h goes on from there. */
static __always_inline void parse_icmp_id(const struct cursor *c, struct packet_info *info)
{
	const __be16 *id = c->pos;
	bool echo = info->proto == IPPROTO_ICMP ? info->icmp_type == 8 || info->icmp_type == 0
						: info->icmp_type == 128 || info->icmp_type == 129;

	if (echo && (void *)(id + 1) <= c->end)
		info->icmp_id = *id;
}

static __always_inline int parse_upper(struct cursor *c, struct packet_info *info)
{
	struct esp_header *esp;
	struct ah_header *ah;
	__u8 *icmp;
	__be16 *ports;

	switch (info->proto) {
	case IPPROTO_UDP:
		return parse_udp(c, info);
	case IPPROTO_TCP:
	case IPPROTO_SCTP:
	case IPPROTO_DCCP:
	case IPPROTO_UDPLITE:
		ports = cursor_take(c, 2 * sizeof(*ports));
		if (!ports)
			return -DROP_MALFORMED;
		info->src_port = ports[0];
		info->dst_port = ports[1];
		return 0;
	case IPPROTO_ICMP:
	case IPPROTO_ICMPV6:
		icmp = cursor_take(c, 4);
		if (!icmp)
			return -DROP_MALFORMED;
		info->icmp_type = icmp[0];
		info->icmp_code = icmp[1];
		parse_icmp_id(c, info);
		return 0;
	case IPPROTO_ESP:
		esp = cursor_take(c, sizeof(*esp));
		if (!esp)
			return -DROP_MALFORMED;
		info->spi = esp->spi;
		info->seq = esp->seq;
		return 0;
	case IPPROTO_AH:
		ah = cursor_take(c, sizeof(*ah));
		if (!ah)
			return -DROP_MALFORMED;
		info->spi = ah->spi;
		info->seq = ah->seq;
		return 0;
	default:
		return 0;
	}
}

/* "Fragmentation needed" and "packet too big": the path MTU (RFC 1191, RFC 8201). */
static __always_inline bool is_too_big(const struct packet_info *info)
{
	if (!info->is_ip || info->fragment != FRAGMENT_NONE)
		return false;
	if (info->family == FAMILY_V4)
		return info->proto == IPPROTO_ICMP && info->icmp_type == ICMP_TYPE_UNREACHABLE &&
		       info->icmp_code == ICMP_CODE_FRAG_NEEDED;
	return info->proto == IPPROTO_ICMPV6 && info->icmp_type == ICMPV6_TYPE_PACKET_TOO_BIG;
}

/* From the IP header on, of an ethertype that info has already. */
static __always_inline int parse_network(struct cursor *c, struct packet_info *info)
{
	int err;

	if (info->ethertype == bpf_htons(ETH_P_IP))
		err = parse_ipv4(c, info);
	else if (info->ethertype == bpf_htons(ETH_P_IPV6))
		err = parse_ipv6(c, info);
	else
		return 0;
	if (err)
		return err;
	info->is_ip = 1;
	return info->fragment == FRAGMENT_LATER ? 0 : parse_upper(c, info);
}

/* Reads all headers. 0 with info filled in (zeroed by the caller, but for the VLAN of a tag that is
 * not in the frame), or a negative drop reason. */
static __always_inline int parse_packet(struct cursor *c, struct packet_info *info)
{
	int err = parse_ethernet(c, info);

	return err ? err : parse_network(c, info);
}

#endif /* IPSECBPF_PARSE_H */
