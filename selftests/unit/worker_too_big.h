/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Packet-too-big messages as a router would make them. Included by: test_worker_*.c (after
 * worker_testing.h).
 */
#ifndef IPSECBPF_TEST_WORKER_TOO_BIG_H
#define IPSECBPF_TEST_WORKER_TOO_BIG_H

#include "lib/checksum.h"

#define TOO_BIG_MAX 1600

/* A router's message. */
struct too_big {
	enum ip_family family;
	const uint8_t *quote;		/* IP packet as it was sent */
	uint32_t quote_len;
	uint32_t mtu;
	uint32_t options;		/* octets of options or extension headers in front of ICMP */
};

static inline uint32_t too_big_ipv4(const struct too_big *message, uint8_t *ip)
{
	uint32_t header = 20 + message->options, len = header + 8 + message->quote_len;
	uint8_t *icmp = ip + header;

	memset(ip, 0, header + 8);
	ip[0] = (uint8_t)(0x40 | header / 4);
	store_be16(ip + 2, (uint16_t)len);
	ip[8] = 60;
	ip[9] = IPPROTO_ICMP;
	memcpy(ip + 12, "\x0a\x63\x00\x01", 4);
	memcpy(ip + 16, end_address(FAMILY_V4, 1).b, 4);
	memset(ip + 20, 1, message->options);
	checksum_ipv4(ip, header);
	icmp[0] = 3;
	icmp[1] = 4;
	store_be16(icmp + 6, (uint16_t)message->mtu);
	memcpy(icmp + 8, message->quote, message->quote_len);
	store_raw16(icmp + 2, checksum_fold(checksum_add(0, icmp, len - header)));
	return len;
}

static inline uint32_t too_big_ipv6(const struct too_big *message, uint8_t *ip)
{
	uint32_t header = 40 + message->options, len = header + 8 + message->quote_len;
	uint8_t *icmp = ip + header;
	uint64_t sum;

	memset(ip, 0, header + 8);
	ip[0] = 0x60;
	store_be16(ip + 4, (uint16_t)(len - 40));
	ip[6] = IPPROTO_ICMPV6;
	if (message->options) {
		ip[6] = IPPROTO_DSTOPTS;
		ip[40] = IPPROTO_ICMPV6;
		ip[41] = (uint8_t)(message->options / 8 - 1);
	}
	ip[7] = 60;
	memcpy(ip + 8, end_address(FAMILY_V6, 99).b, 16);
	memcpy(ip + 24, end_address(FAMILY_V6, 1).b, 16);
	icmp[0] = 2;
	store_be32(icmp + 4, message->mtu);
	memcpy(icmp + 8, message->quote, message->quote_len);
	sum = checksum_pseudo(0, FAMILY_V6, ip + 8, ip + 24, IPPROTO_ICMPV6, len - header);
	store_raw16(icmp + 2, checksum_fold(checksum_add(sum, icmp, len - header)));
	return len;
}

/* Writes the whole frame (TOO_BIG_MAX octets); returns its length. */
static inline uint32_t build_too_big(const struct too_big *message, uint8_t *out)
{
	memset(out, 2, 12);
	store_be16(out + 12, message->family == FAMILY_V4 ? 0x0800 : 0x86dd);
	return 14 + (message->family == FAMILY_V4 ? too_big_ipv4(message, out + 14)
						  : too_big_ipv6(message, out + 14));
}

#endif /* IPSECBPF_TEST_WORKER_TOO_BIG_H */
