// SPDX-License-Identifier: BSD-2-Clause
#include "icmp_error.h"

#include <linux/if_ether.h>
#include <netinet/icmp6.h>
#include <netinet/in.h>
#include <netinet/ip.h>
#include <netinet/ip6.h>
#include <netinet/ip_icmp.h>
#include <string.h>

#include "bytes.h"
#include "checksum.h"

#define HOP_LIMIT     64
#define ICMP_LEN      8
#define IPV6_MTU_MIN  1280 /* an ICMPv6 error must not exceed it */
#define IPV4_QUOTE    548  /* RFC 1812 4.3.2.3: up to 576 octets in all */
#define VLAN_TAGS_MAX 2

static uint32_t link_length(const struct host_frame *frame)
{
	uint32_t len = ETH_HLEN;

	for (int i = 0; i < VLAN_TAGS_MAX && frame->len >= len + 4; i++) {
		uint16_t type = load_be16(frame->data + len - 2);

		if (type != ETH_P_8021Q && type != ETH_P_8021AD)
			break;
		len += 4;
	}
	return len;
}

/* Link header of the answer: our peer's address as source, VLAN tags as they were. */
static void write_link(const struct host_frame *frame, uint32_t link, uint8_t *out)
{
	memset(out, 0, ETH_ALEN);
	memcpy(out + ETH_ALEN, frame->data, ETH_ALEN);
	memcpy(out + 2 * ETH_ALEN, frame->data + 2 * ETH_ALEN, link - 2 * ETH_ALEN);
}

static uint32_t too_big_ipv4(const uint8_t *ip, uint32_t len, uint32_t mtu, uint8_t *out)
{
	uint32_t quote = len < IPV4_QUOTE ? len : IPV4_QUOTE;
	uint8_t *icmp = out + sizeof(struct iphdr);
	struct iphdr original, answer = {
		.version = 4,
		.ihl = 5,
		.ttl = HOP_LIMIT,
		.protocol = IPPROTO_ICMP,
	};

	memcpy(&original, ip, sizeof(original));
	if (original.frag_off & htobe16(IP_OFFMASK) || IN_MULTICAST(be32toh(original.daddr)))
		return 0;
	if (original.protocol == IPPROTO_ICMP && ip[original.ihl * 4] != ICMP_ECHO &&
	    ip[original.ihl * 4] != ICMP_ECHOREPLY)
		return 0;
	answer.saddr = original.daddr;
	answer.daddr = original.saddr;
	answer.tot_len = htobe16((uint16_t)(sizeof(answer) + ICMP_LEN + quote));
	memcpy(out, &answer, sizeof(answer));
	checksum_ipv4(out, sizeof(answer));
	memset(icmp, 0, ICMP_LEN);
	icmp[0] = ICMP_DEST_UNREACH;
	icmp[1] = ICMP_FRAG_NEEDED;
	store_be16(icmp + 6, (uint16_t)mtu);
	memcpy(icmp + ICMP_LEN, ip, quote);
	store_raw16(icmp + 2, checksum_fold(checksum_add(0, icmp, ICMP_LEN + quote)));
	return (uint32_t)sizeof(answer) + ICMP_LEN + quote;
}

static uint32_t too_big_ipv6(const uint8_t *ip, uint32_t len, uint32_t mtu, uint8_t *out)
{
	const uint32_t most = IPV6_MTU_MIN - sizeof(struct ip6_hdr) - ICMP_LEN;
	uint32_t quote = len < most ? len : most;
	uint8_t *icmp = out + sizeof(struct ip6_hdr);
	struct ip6_hdr original, answer = { .ip6_flow = htobe32(6u << 28) };
	uint64_t sum;

	memcpy(&original, ip, sizeof(original));
	/* ICMPv6 errors have types below 128. Multicast is answered too: RFC 4443 2.4 (e.3) */
	if (original.ip6_nxt == IPPROTO_ICMPV6 && !(ip[sizeof(original)] & ICMP6_INFOMSG_MASK))
		return 0;
	answer.ip6_nxt = IPPROTO_ICMPV6;
	answer.ip6_hlim = HOP_LIMIT;
	answer.ip6_plen = htobe16((uint16_t)(ICMP_LEN + quote));
	answer.ip6_src = original.ip6_dst;
	answer.ip6_dst = original.ip6_src;
	memcpy(out, &answer, sizeof(answer));
	memset(icmp, 0, ICMP_LEN);
	icmp[0] = ICMP6_PACKET_TOO_BIG;
	store_be32(icmp + 4, mtu);
	memcpy(icmp + ICMP_LEN, ip, quote);
	sum = checksum_pseudo(0, FAMILY_V6, &answer.ip6_src, &answer.ip6_dst, IPPROTO_ICMPV6,
			      ICMP_LEN + quote);
	store_raw16(icmp + 2, checksum_fold(checksum_add(sum, icmp, ICMP_LEN + quote)));
	return (uint32_t)sizeof(answer) + ICMP_LEN + quote;
}

uint32_t icmp_too_big(const struct host_frame *frame, uint32_t mtu, uint8_t out[ICMP_ERROR_MAX])
{
	uint32_t link = link_length(frame), len, answer = 0;
	const uint8_t *ip = frame->data + link;

	/* A packet that is too big has more than the longest headers looked at here. */
	if (frame->len < link + sizeof(struct ip6_hdr) + 64)
		return 0;
	len = frame->len - link;
	if (ip[0] >> 4 == 4)
		answer = too_big_ipv4(ip, len, mtu, out + link);
	else if (ip[0] >> 4 == 6)
		answer = too_big_ipv6(ip, len, mtu, out + link);
	if (!answer)
		return 0;
	write_link(frame, link, out);
	return link + answer;
}
