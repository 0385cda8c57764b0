/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The outer header of tunnel mode (RFC 4301 5.1.2), and what of it reaches the inner one again.
 *
 * Included by: esp_encap.c, esp_decap.c, ah_protect.c, ah_verify.c, unit tests. Pure.
 */
#ifndef IPSECBPF_OUTER_H
#define IPSECBPF_OUTER_H

#include "ip_layout.h"
#include "sa_runtime.h"

/* Octets of an SA's outer header. */
static inline uint32_t outer_length(const struct sa_runtime *sa)
{
	return sa->family == FAMILY_V4 ? IPV4_HEADER_LEN : IPV6_HEADER_LEN;
}

/* What an outer header says that its SA does not. */
struct outer_fields {
	const struct ip_layout *inner;	/* the packet inside; its header is read where ip says */
	uint32_t total;			/* octets of the outer packet */
	uint8_t next;			/* protocol after the outer header */
	uint64_t seq;			/* for the IPv4 identification */
};

/*
 * Writes outer header and ethertype: ECN from the inner header (RFC 6040 section 4.1, normal mode),
 * DSCP from there or the SA's own, DF by the SA's rule (set over an inner IPv6 packet if it
 * copies), flow label from IPv6, hop limit 64. `outer` is preceded by the Ethernet header.
 */
void outer_write(const struct sa_runtime *sa, const struct outer_fields *fields, uint8_t *outer);

/* DSCP and ECN octet of an IP header. */
uint8_t outer_traffic_class(const struct ip_layout *layout);

/*
 * Merges the ECN field of the outer header (in outer_class) into the inner one, whose checksum
 * stays as right as it was (RFC 6040 section 4.2). DROP_NONE, or DROP_ECN where congestion was
 * marked on a packet whose transport would not see it; the packet is unchanged then.
 */
enum drop_reason outer_merge_ecn(const struct ip_layout *inner, uint8_t outer_class);

#endif /* IPSECBPF_OUTER_H */
