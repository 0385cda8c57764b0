/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A packet on its way through the worker: a descriptor over memory that a port owns.
 *
 * Included by: segment, esp, coalesce, host_port, wire_port, worker.
 * Ownership:   the frame belongs to the port named in the comments of whoever made the packet.
 * Layout:      [headroom][l2 | l3 ...payload...][tailroom]; data points at the Ethernet header.
 */
#ifndef IPSECBPF_PACKET_H
#define IPSECBPF_PACKET_H

#include <stdint.h>

#include "abi_user.h"

#define BURST 64		/* packets moved at once, everywhere */

/*
 * What the worker needs around a packet to protect it in place, BUNDLE_MAX times: in front a tunnel's
 * IPv6 header (40), UDP (8), ESP (8) and IV (16), or AH (12 + 32, and 4 to a multiple of 8); behind, padding and what ends it
 * (17), ICV (32). Once more room in front for the fragment header (8) of what is cut up then.
 */
#define PACKET_HEADROOM 288
#define PACKET_TAILROOM 160
_Static_assert(BUNDLE_MAX * (40 + 12 + 32 + 4) + 8 <= PACKET_HEADROOM &&
	       BUNDLE_MAX * (40 + 8 + 8 + 16) + 8 <= PACKET_HEADROOM &&
	       BUNDLE_MAX * (17 + 32) <= PACKET_TAILROOM, "a bundle fits around a packet");

enum packet_state {
	PACKET_CLEAR,		/* readable, not yet protected (outbound) */
	PACKET_PROTECTED,	/* ESP or AH: outbound after encapsulation, inbound before decapsulation */
	PACKET_VERIFIED,	/* authenticated and decrypted (inbound) */
	PACKET_DEAD,		/* dropped; `drop` says why */
};

struct packet {
	uint8_t *data;		/* first octet of the Ethernet header */
	uint32_t len;		/* octets from data to the end of the packet */
	uint16_t l2_len;	/* Ethernet header with VLAN tags */
	uint16_t headroom;	/* writable octets before data */
	uint16_t tailroom;	/* writable octets after data + len */
	uint8_t state;		/* enum packet_state */
	uint8_t drop;		/* enum drop_reason */
	uint8_t family;		/* enum ip_family of the outermost IP header */
	uint8_t inner_family;	/* inbound, after decapsulation: the family that goes to the host */
	uint64_t seq;		/* full 64-bit sequence number, set by esp */
	uint64_t frame;		/* the port's own handle of the memory */
};

/* Marks a packet as dropped; returns -1 so that steps can `return packet_drop(...)`. */
static inline int packet_drop(struct packet *packet, enum drop_reason reason)
{
	packet->state = PACKET_DEAD;
	packet->drop = (uint8_t)reason;
	return -1;
}

#endif /* IPSECBPF_PACKET_H */
