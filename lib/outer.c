// SPDX-License-Identifier: BSD-2-Clause
#include "outer.h"

#include <string.h>

#include "checksum.h"

#define HOP_LIMIT      64
#define IPV4_DF	       0x40	/* of octet 6 */
#define IPV6_FLOW_MASK 0xfffff

/* The SA may have its own DSCP; ECN always is the inner transport's (RFC 6040 4.1, normal mode). */
static uint8_t traffic_class(const struct sa_runtime *sa, const struct ip_layout *inner)
{
	uint8_t class = outer_traffic_class(inner);

	if (sa->dscp == DSCP_COPY)
		return class;
	return (uint8_t)(sa->dscp << 2 | (class & IP_ECN_MASK));
}

/* IPv6 packets are not fragmented on their way: around one, "copy" means set (RFC 4301 8.1). */
static uint8_t dont_fragment(const struct sa_runtime *sa, const struct ip_layout *inner)
{
	if (sa->df == DF_COPY)
		return inner->family == FAMILY_V4 ? inner->ip[6] & IPV4_DF : IPV4_DF;
	return sa->df == DF_SET ? IPV4_DF : 0;
}

/* The identification is unique among all tunnels for as long as 16 bits allow (RFC 6864 4.3). */
static void write_ipv4(const struct sa_runtime *sa, const struct outer_fields *fields,
		       uint8_t *outer)
{
	const struct ip_layout *inner = fields->inner;

	outer[0] = 0x45;
	outer[1] = traffic_class(sa, inner);
	store_be16(outer + 2, (uint16_t)fields->total);
	store_be16(outer + 4, sa->ipv4_id ? (*sa->ipv4_id)++ : (uint16_t)fields->seq);
	outer[6] = dont_fragment(sa, inner);
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
	uint32_t label = inner->family == FAMILY_V6 ? load_be32(inner->ip) & IPV6_FLOW_MASK : 0;

	store_be32(outer, 6u << 28 | (uint32_t)traffic_class(sa, inner) << 20 | label);
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

static void set_ecn(const struct ip_layout *layout, uint8_t ecn)
{
	uint8_t *ip = layout->ip;

	if (layout->family == FAMILY_V4)
		ipv4_store_be16(ip, 0, (uint16_t)(ip[0] << 8 | (ip[1] & ~IP_ECN_MASK) | ecn));
	else
		ip[1] = (uint8_t)((ip[1] & ~(IP_ECN_MASK << 4)) | ecn << 4);
}

/*
 * RFC 6040 figure 4, by inner and outer field: the stronger mark wins, in the order ECT(0), ECT(1),
 * CE, but what cannot speak ECN is left alone, and lost where it would have been told.
 */
enum drop_reason outer_merge_ecn(const struct ip_layout *inner, uint8_t outer_class)
{
	enum { NOT_ECT, ECT_1, ECT_0, CE, LOST };
	static const uint8_t merged[4][4] = {
		/*	      NOT_ECT  ECT_1	ECT_0	 CE	in the outer header */
		[NOT_ECT] = { NOT_ECT, NOT_ECT, NOT_ECT, LOST },
		[ECT_1]   = { ECT_1,   ECT_1,   ECT_1,   CE },
		[ECT_0]   = { ECT_0,   ECT_1,   ECT_0,   CE },
		[CE]      = { CE,      CE,      CE,      CE },
	};
	uint8_t before = outer_traffic_class(inner) & IP_ECN_MASK;
	uint8_t after = merged[before][outer_class & IP_ECN_MASK];

	if (after == LOST)
		return DROP_ECN;
	if (after != before)
		set_ecn(inner, after);
	return DROP_NONE;
}
