// SPDX-License-Identifier: BSD-2-Clause
#include "frame_kind.h"

#include <linux/if_ether.h>
#include <netinet/icmp6.h>
#include <netinet/ip.h>
#include <netinet/ip6.h>
#include <stdbool.h>

#define IPV6_EXT_MAX 8

uint16_t frame_ethertype(const struct frame *f, uint32_t *offset)
{
	uint32_t at = 12;
	uint16_t type = 0;

	while (at + 2 <= f->len) {
		type = (uint16_t)(f->data[at] << 8 | f->data[at + 1]);
		if (type != ETH_P_8021Q && type != ETH_P_8021AD)
			break;
		at += 4;
	}
	*offset = at + 2;
	return type;
}

static bool ipv6_extension(uint8_t next)
{
	return next == IPPROTO_HOPOPTS || next == IPPROTO_ROUTING || next == IPPROTO_DSTOPTS ||
	       next == IPPROTO_FRAGMENT;
}

uint8_t frame_ipv6_upper(const struct frame *f, uint32_t *offset)
{
	uint32_t at = *offset;
	uint8_t next;

	if (at + sizeof(struct ip6_hdr) > f->len)
		return IPPROTO_NONE;
	next = f->data[at + 6];
	at += sizeof(struct ip6_hdr);
	for (int depth = 0; depth < IPV6_EXT_MAX && ipv6_extension(next); depth++) {
		if (at + 8 > f->len)
			return IPPROTO_NONE;
		uint32_t len = next == IPPROTO_FRAGMENT ? 8 : (f->data[at + 1] + 1u) * 8;

		next = f->data[at];
		at += len;
	}
	*offset = at;
	return next;
}

static enum packet_kind kind_of_ipv4(const struct frame *f, uint32_t *offset)
{
	uint32_t at = *offset;

	if (at + sizeof(struct iphdr) > f->len)
		return KIND_CLEAR;
	*offset = at + (f->data[at] & 0xfu) * 4;
	return f->data[at + 9] == IPPROTO_ESP ? KIND_ESP : KIND_CLEAR;
}

static enum packet_kind kind_of_ipv6(const struct frame *f, uint32_t *offset)
{
	uint8_t upper = frame_ipv6_upper(f, offset);

	if (upper == IPPROTO_ESP)
		return KIND_ESP;
	if (upper == IPPROTO_ICMPV6 && *offset < f->len && f->data[*offset] >= ND_ROUTER_SOLICIT &&
	    f->data[*offset] <= ND_REDIRECT)
		return KIND_ND;
	return KIND_CLEAR;
}

enum packet_kind frame_kind(const struct frame *f, uint32_t *ret_offset)
{
	switch (frame_ethertype(f, ret_offset)) {
	case ETH_P_IP:
		return kind_of_ipv4(f, ret_offset);
	case ETH_P_IPV6:
		return kind_of_ipv6(f, ret_offset);
	case ETH_P_ARP:
		return KIND_ARP;
	default:
		return KIND_NON_IP;
	}
}
