/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What one IP fragment says, apart from all others. Pure.
 * Included by: reassembly.c, reassembly_piece.c. A piece points into its packet.
 */
#ifndef IPSECBPF_REASSEMBLY_PIECE_H
#define IPSECBPF_REASSEMBLY_PIECE_H

#include <stdbool.h>

#include "ip_layout.h"
#include "packet.h"
#include "tcpip.h"

#define FRAGMENT_UNIT 8u		/* fragment offsets count these */
#define FRAGMENT_PART_MAX 65535u	/* octets of a fragmentable part: an IPv6 payload length */
#define FRAGMENT_L2_MAX (ETHERNET_LEN + VLAN_TAGS_MAX * VLAN_TAG_LEN)
#define FRAGMENT_HEADERS_MAX 4096u	/* octets of IP header before the fragmentable part */

struct reassembly_key {
	uint8_t src[16], dst[16];
	uint32_t scope, id;
	uint16_t vlans[VLAN_TAGS_MAX];	/* id + 1, 0: no tag */
	uint8_t family, protocol, zero[2];
};
_Static_assert(sizeof(struct reassembly_key) == 48, "no padding: compared and hashed as octets");

/* What one fragment says. Offsets and lengths in octets. */
struct reassembly_piece {
	struct reassembly_key key;
	const struct packet *packet;
	uint8_t *data;		/* its payload */
	uint32_t off, len, end;	/* of that, in the fragmentable part */
	uint32_t header_len;	/* IP headers before the fragmentable part, no fragment header */
	uint32_t next_off;	/* IPv6: the field that names the fragment header */
	uint8_t next;		/* IPv6: what the fragment header names */
	uint8_t ecn;
	bool more;
};

static inline uint32_t fragment_units(uint32_t octets)
{
	return (octets + FRAGMENT_UNIT - 1) / FRAGMENT_UNIT;
}

/* Octets that header and fragmentable part may have together. */
static inline uint32_t reassembly_piece_max(const struct reassembly_piece *piece)
{
	return piece->key.family == FAMILY_V4 ? UINT16_MAX : IPV6_LEN + UINT16_MAX;
}

/* Octets of IP that the fragment has, an IPv6 fragment header among them. */
static inline uint32_t reassembly_piece_octets(const struct reassembly_piece *piece)
{
	return piece->header_len + (piece->key.family == FAMILY_V6 ? FRAGMENT_UNIT : 0) + piece->len;
}

/* Other than DROP_NONE: nobody can say which packet this fragment is of, or handle it. */
enum drop_reason reassembly_piece_parse(const struct packet *fragment, uint32_t scope,
					struct reassembly_piece *ret_piece);

/*
 * What is wrong with a fragment whatever the others say: DROP_REASSEMBLY if that condemns its
 * packet, DROP_MALFORMED or DROP_UNSUPPORTED if only itself.
 */
enum drop_reason reassembly_piece_check(const struct reassembly_piece *piece);

#endif /* IPSECBPF_REASSEMBLY_PIECE_H */
