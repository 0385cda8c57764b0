// SPDX-License-Identifier: BSD-2-Clause
#include "outer.h"

#include <string.h>

#include "checksum.h"

#define HOP_LIMIT 64

/* The identification is unique for as long as 16 bits allow. */
static void write_ipv4(const struct sa_runtime *sa, const struct outer_fields *fields,
		       uint8_t *outer)
{
	const struct ip_layout *inner = fields->inner;
	uint8_t df = inner->family == FAMILY_V4 ? inner->ip[6] & 0x40 : 0x40;

	outer[0] = 0x45;
	outer[1] = outer_traffic_class(inner);
	store_be16(outer + 2, (uint16_t)fields->total);
	store_be16(outer + 4, (uint16_t)fields->seq);
	outer[6] = df;
	outer[7] = 0;
	outer[8] = HOP_LIMIT;
	outer[9] = fields->next;
	memcpy(outer + 12, sa->src.b, 4);
	memcpy(outer + 16, sa->dst.b, 4);
	checksum_ipv4(outer, IPV4_HEADER_LEN);
}

/* The flow label is copied from IPv6, so that ECMP keeps spreading flows; 0 for IPv4. */
static void write_ipv6(const struct sa_runtime *sa, const struct outer_fields *fields,
		       uint8_t *outer)
{
	const struct ip_layout *inner = fields->inner;

	if (inner->family == FAMILY_V6)
		memcpy(outer, inner->ip, 4);
	else
		store_be32(outer, 6u << 28 | (uint32_t)inner->ip[1] << 20);
	store_be16(outer + 4, (uint16_t)(fields->total - IPV6_HEADER_LEN));
	outer[6] = fields->next;
	outer[7] = HOP_LIMIT;
	memcpy(outer + 8, sa->src.b, 16);
	memcpy(outer + 24, sa->dst.b, 16);
}

void outer_write(const struct sa_runtime *sa, const struct outer_fields *fields, uint8_t *outer)
{
	if (sa->family == FAMILY_V4) {
		write_ipv4(sa, fields, outer);
		store_be16(outer - 2, 0x0800);
	} else {
		write_ipv6(sa, fields, outer);
		store_be16(outer - 2, 0x86dd);
	}
}

uint8_t outer_traffic_class(const struct ip_layout *layout)
{
	if (layout->family == FAMILY_V4)
		return layout->ip[1];
	return (uint8_t)(load_be16(layout->ip) >> 4);
}

/* Congestion met on the way is told to the inner transport, if it speaks ECN (RFC 4301 5.1.2.1). */
enum drop_reason outer_merge_ecn(const struct ip_layout *inner, uint8_t outer_class)
{
	uint8_t *ip = inner->ip;

	if ((outer_class & IP_ECN_MASK) != IP_ECN_CE)
		return DROP_NONE;
	if (inner->family == FAMILY_V4 && (ip[1] & IP_ECN_MASK))
		ipv4_store_be16(ip, 0, (uint16_t)(ip[0] << 8 | ip[1] | IP_ECN_CE));
	else if (inner->family == FAMILY_V6 && (ip[1] >> 4 & IP_ECN_MASK))
		ip[1] |= IP_ECN_CE << 4;
	return DROP_NONE;
}
