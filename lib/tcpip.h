/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Offsets and bits of the headers that segment.c and coalesce.c edit. Offsets rather than structs,
 * since nothing in a frame is aligned. Included by: segment.c, coalesce.c, their tests.
 */
#ifndef IPSECBPF_TCPIP_H
#define IPSECBPF_TCPIP_H

enum ethernet_field {
	ETHERNET_TYPE = 12,
	ETHERNET_LEN = 14,
	VLAN_TAG_LEN = 4,
	VLAN_TAGS_MAX = 2,
};

/* RFC 791 3.1 */
enum ipv4_field {
	IPV4_VERSION_IHL = 0,
	IPV4_TOS = 1,
	IPV4_TOTAL_LEN = 2,
	IPV4_ID = 4,
	IPV4_FRAGMENT = 6,
	IPV4_TTL = 8,
	IPV4_PROTOCOL = 9,
	IPV4_CHECKSUM = 10,
	IPV4_SRC = 12,
	IPV4_DST = 16,
	IPV4_LEN = 20,		/* without options */
};
#define IPV4_DF			0x4000
#define IPV4_FRAGMENT_BITS	0x3fff	/* more fragments, and the offset */

/* RFC 8200 3 */
enum ipv6_field {
	IPV6_PAYLOAD_LEN = 4,
	IPV6_NEXT_HEADER = 6,
	IPV6_HOP_LIMIT = 7,
	IPV6_SRC = 8,
	IPV6_DST = 24,
	IPV6_LEN = 40,
	IPV6_EXTENSIONS_MAX = 8,	/* more of them are not looked behind */
	IPV6_ROUTING_LEFT = 3,		/* in a routing header: segments left */
};

/* RFC 9293 3.1 */
enum tcp_field {
	TCP_SEQ = 4,
	TCP_ACK_SEQ = 8,
	TCP_OFFSET = 12,
	TCP_FLAGS = 13,
	TCP_WINDOW = 14,
	TCP_CHECKSUM = 16,
	TCP_URGENT = 18,
	TCP_LEN = 20,		/* without options */
	TCP_LEN_MAX = 60,
};
#define TCP_F_FIN	0x01
#define TCP_F_SYN	0x02
#define TCP_F_RST	0x04
#define TCP_F_PSH	0x08
#define TCP_F_ACK	0x10
#define TCP_F_URG	0x20
#define TCP_F_CWR	0x80

#endif /* IPSECBPF_TCPIP_H */
