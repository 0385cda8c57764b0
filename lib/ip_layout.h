/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Where ESP, AH or UDP stands, or goes, in an IP packet: bounded parsing of IPv4 and IPv6 headers,
 * shared by both directions.
 *
 * Included by: esp_*.c, ah_*.c, outer.c, reassembly.c, fragment.c, worker_*.c.
 */
#ifndef IPSECBPF_IP_LAYOUT_H
#define IPSECBPF_IP_LAYOUT_H

#include <stdbool.h>
#include <stdint.h>

#include "bytes.h"
#include "packet.h"

#define IPV4_HEADER_LEN 20
#define IPV6_HEADER_LEN 40

#define IP_ECN_MASK 0x03
#define IP_ECN_CE   0x03

struct ip_layout {
	uint8_t *ip;		/* first octet of the IP header */
	uint32_t total;		/* octets of the IP packet, <= what the frame holds */
	uint32_t upper_off;	/* octets from ip to where the upper layer's header stands or goes */
	uint32_t next_off;	/* octets from ip to the next header field that points there */
	uint8_t next;		/* that field's value */
	uint8_t family;		/* enum ip_family */
	bool fragment;
};

/*
 * Validates the IP header against the frame and the ethertype, and fills in ip, total, family and
 * (IPv4) fragment; upper_off, next_off and next are those of the fixed header with its IPv4 options.
 * DROP_NONE or DROP_MALFORMED.
 */
enum drop_reason ip_layout_parse(const struct packet *packet, struct ip_layout *ret_layout);

/*
 * Walks IPv6 extension headers to where a transport-mode ESP header goes (RFC 4303 3.1.1): behind
 * hop-by-hop and routing headers and what stands before these. Destination options that no routing
 * header follows are for the final destination and stay inside. No-op for IPv4.
 */
enum drop_reason ip_layout_find_insertion(struct ip_layout *layout);

/*
 * Walks IPv6 extension headers to the first header that is none, or to a fragment header, which it
 * does not step over (fragment is set then). `next` says what stands there. No-op for IPv4.
 */
enum drop_reason ip_layout_find_upper(struct ip_layout *layout);

/*
 * Writes 16 bits at an even offset of an IPv4 header and corrects its checksum by the difference
 * (RFC 1624): a header that was damaged before stays detectably wrong.
 */
static inline void ipv4_store_be16(uint8_t *header, unsigned int offset, uint16_t value)
{
	uint32_t sum = (uint16_t)~load_be16(header + 10);

	sum += (uint16_t)~load_be16(header + offset);
	sum += value;
	sum = (sum & 0xffff) + (sum >> 16);
	sum = (sum & 0xffff) + (sum >> 16);
	store_be16(header + offset, value);
	store_be16(header + 10, (uint16_t)~sum);
}

/* Sets total length (IPv4) or payload length (IPv6) and the protocol field at next_off. */
static inline void ip_set_length_and_next(uint8_t *ip, const struct ip_layout *layout,
					  uint32_t total, uint8_t next)
{
	if (layout->family == FAMILY_V4) {
		ipv4_store_be16(ip, 2, (uint16_t)total);
		ipv4_store_be16(ip, 8, (uint16_t)(ip[8] << 8 | next));
	} else {
		store_be16(ip + 4, (uint16_t)(total - IPV6_HEADER_LEN));
		ip[layout->next_off] = next;
	}
}

#endif /* IPSECBPF_IP_LAYOUT_H */
