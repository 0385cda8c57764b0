// SPDX-License-Identifier: BSD-2-Clause
#include "keepalive.h"

#include <netinet/in.h>
#include <string.h>

#include "bytes.h"
#include "checksum.h"
#include "esp.h"
#include "ip_layout.h"
#include "tcpip.h"

#define KEEPALIVE 0xff	/* RFC 3948 2.3: the one octet */
#define HOPS	  64

static uint32_t write_ip(const struct sa_runtime *sa, uint8_t *ip, uint32_t udp_len)
{
	if (sa->family == FAMILY_V4) {
		memset(ip, 0, IPV4_HEADER_LEN);
		ip[0] = 0x45;
		store_be16(ip + IPV4_TOTAL_LEN, (uint16_t)(IPV4_HEADER_LEN + udp_len));
		ip[IPV4_TTL] = HOPS;
		ip[IPV4_PROTOCOL] = IPPROTO_UDP;
		memcpy(ip + IPV4_SRC, sa->src.b, 4);
		memcpy(ip + IPV4_DST, sa->dst.b, 4);
		checksum_ipv4(ip, IPV4_HEADER_LEN);
		return IPV4_HEADER_LEN;
	}
	store_be32(ip, 6u << 28);
	store_be16(ip + IPV6_PAYLOAD_LEN, (uint16_t)udp_len);
	ip[IPV6_NEXT_HEADER] = IPPROTO_UDP;
	ip[IPV6_HOP_LIMIT] = HOPS;
	memcpy(ip + IPV6_SRC, sa->src.b, 16);
	memcpy(ip + IPV6_DST, sa->dst.b, 16);
	return IPV6_HEADER_LEN;
}

/* The checksum is zero over IPv4, as around ESP (RFC 3948 2.3), and never over IPv6. */
uint32_t keepalive_write(const struct sa_runtime *sa, uint8_t *ip)
{
	const uint32_t udp_len = UDP_HEADER_LEN + 1;
	uint32_t ip_len = write_ip(sa, ip, udp_len);
	uint8_t *udp = ip + ip_len;
	uint16_t sum;

	memcpy(udp, &sa->encap_sport, 2);
	memcpy(udp + 2, &sa->encap_dport, 2);
	store_be16(udp + 4, (uint16_t)udp_len);
	store_be16(udp + 6, 0);
	udp[UDP_HEADER_LEN] = KEEPALIVE;
	if (sa->family == FAMILY_V6) {
		sum = checksum_fold(checksum_add(checksum_pseudo(0, FAMILY_V6, sa->src.b, sa->dst.b,
								 IPPROTO_UDP, udp_len),
						 udp, udp_len));
		store_raw16(udp + 6, sum ? sum : 0xffff);
	}
	return ip_len + udp_len;
}
