/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The packet that a packet-too-big message quotes: is it one of our own SAs'? Only then is the
 * message the worker's (RFC 4301 8.2), who checks it against what was sent. It is read by copies at
 * computed offsets, in a function that the verifier sees once and on its own: such messages are
 * rare, and the paths through the quoted headers are not multiplied with those through the headers
 * around them.
 * Called by: xdp_ingress. Reads sad; writes nothing.
 */
#ifndef IPSECBPF_QUOTE_H
#define IPSECBPF_QUOTE_H

#include "maps.h"
#include "parse.h"
#include "sad.h"

#define ICMP_HEADER_REST 4	/* unused octets and the MTU, or the MTU alone */

struct quote {
	struct sad_key key;	/* of the SA that protected the packet, if one did */
	union wire_addr src;
	__u32 offset;		/* of the header after those read, in the whole packet */
};

static __always_inline bool quoted_ipv4(struct xdp_md *ctx, struct quote *quote)
{
	struct iphdr ip;

	if (bpf_xdp_load_bytes(ctx, quote->offset, &ip, sizeof(ip)) || ip.version != 4 ||
	    ip.ihl < 5 || (ip.frag_off & bpf_htons(IPV4_OFFSET_MASK)))
		return false;
	quote->src.w[0] = ip.saddr;
	quote->key.dst.w[0] = ip.daddr;
	quote->key.proto = ip.protocol;
	quote->offset += ip.ihl * 4;
	return true;
}

/* Steps over extension headers, of which a fragment header and an extension have the same size. */
static __always_inline bool quoted_ipv6_ext(struct xdp_md *ctx, struct quote *quote)
{
	for (int i = 0; i < IPV6_EXT_DEPTH_MAX; i++) {
		union {
			struct ipv6_ext ext;
			struct ipv6_fragment fragment;
		} header;

		if (!is_ipv6_ext(quote->key.proto))
			return true;
		if (bpf_xdp_load_bytes(ctx, quote->offset, &header, sizeof(header)))
			return false;
		if (quote->key.proto != IPPROTO_FRAGMENT)
			quote->offset += header.ext.len * 8;
		else if (header.fragment.offset_flags & bpf_htons(0xfff8))
			return false;
		quote->key.proto = header.ext.next_header;
		quote->offset += sizeof(header);
	}
	return false;
}

static __always_inline bool quoted_ipv6(struct xdp_md *ctx, struct quote *quote)
{
	struct ipv6hdr ip6;

	if (bpf_xdp_load_bytes(ctx, quote->offset, &ip6, sizeof(ip6)) || ip6.version != 6)
		return false;
	__builtin_memcpy(&quote->src, &ip6.saddr, 16);
	__builtin_memcpy(&quote->key.dst, &ip6.daddr, 16);
	quote->key.proto = ip6.nexthdr;
	quote->offset += sizeof(ip6);
	return quoted_ipv6_ext(ctx, quote);
}

/*
 * ICMP need quote no more than eight octets (RFC 792): of UDP that is without the SPI, and such a
 * message cannot be told to be about an SA.
 */
static __always_inline bool quoted_spi(struct xdp_md *ctx, struct quote *quote)
{
	union {
		struct esp_header esp;
		struct {
			__u8 next_header, len;
			__be16 reserved;
			__be32 spi;
		} ah;
		struct {
			struct udphdr header;
			__be32 spi;
		} udp;
	} upper;

	switch (quote->key.proto) {
	case IPPROTO_ESP:
		if (bpf_xdp_load_bytes(ctx, quote->offset, &upper, sizeof(upper.esp)))
			return false;
		quote->key.spi = upper.esp.spi;
		return true;
	case IPPROTO_AH:
		if (bpf_xdp_load_bytes(ctx, quote->offset, &upper, sizeof(upper.ah)))
			return false;
		quote->key.spi = upper.ah.spi;
		return true;
	case IPPROTO_UDP:
		if (bpf_xdp_load_bytes(ctx, quote->offset, &upper, sizeof(upper.udp)))
			return false;
		quote->key.proto = IPPROTO_ESP;
		quote->key.spi = upper.udp.spi;
		quote->key.encap_port = upper.udp.header.dest;
		return upper.udp.spi && upper.udp.header.dest;
	default:
		return false;
	}
}

/*
 * `offset`: of the octet after the ICMP message's checksum. The message goes to whoever sent what it
 * quotes: if that is not the SA's own address, it is not about the SA.
 */
__noinline int quotes_our_sa(struct xdp_md *ctx, const struct packet_info *info, __u32 offset)
{
	struct quote quote = { .offset = offset + ICMP_HEADER_REST };
	struct sad_entry *sa;

	if (!info)
		return 0;
	quote.key.family = info->family;
	if (info->family == FAMILY_V4 ? !quoted_ipv4(ctx, &quote) : !quoted_ipv6(ctx, &quote))
		return 0;
	if (!quoted_spi(ctx, &quote))
		return 0;
	sa = bpf_map_lookup_elem(&sad, &quote.key);
	return sa && (sa->flags & SA_F_OUTBOUND) && same_addr(&sa->src, &quote.src) &&
	       same_addr(&info->dst, &quote.src);
}

#endif /* IPSECBPF_QUOTE_H */
