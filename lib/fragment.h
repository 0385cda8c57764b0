/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Cuts a protected packet that does not fit the path into IP fragments (RFC 791, RFC 8200 4.5).
 * Pure: no system calls, no allocation.
 *
 * Included by: worker_out.c, unit tests. Threading: one iterator belongs to one thread.
 */
#ifndef IPSECBPF_FRAGMENT_H
#define IPSECBPF_FRAGMENT_H

#include <stdbool.h>

#include "packet.h"

struct fragment_iter {
	const struct packet *packet;
	uint32_t mtu;		/* octets of IP */
	uint32_t header_len;	/* octets of header in each (IPv6: with fragment header) */
	uint32_t first_header_len;	/* of the first: with all IPv4 options */
	uint32_t next;		/* octets of the fragmentable part already sent */
	uint32_t end;		/* octets of the fragmentable part */
	uint32_t part_off;	/* where that begins, octets from the IP header */
	uint32_t next_off;	/* IPv6: where the number of the fragment header goes */
	uint32_t id;
	uint8_t family;		/* enum ip_family */
	bool whole;		/* fits: goes as it is, once */
	bool done;
};

/*
 * Prepares to cut `packet`, which stays as it is and must outlive the iterator. id: IPv6
 * identification, unique between these hosts for as long as fragments live (RFC 8200 4.5); IPv4
 * keeps the packet's own. A packet that fits comes out as it is. An IPv4 fragment may be cut
 * further. DROP_NONE, DROP_MALFORMED (also: IPv6 with a fragment header), DROP_UNSUPPORTED (IPv6
 * headers as in ip_layout_find_insertion()), or DROP_TOO_BIG (DF is set, or the MTU has no room
 * for eight octets after the headers).
 */
enum drop_reason fragment_start(struct fragment_iter *iter, const struct packet *packet,
				uint32_t mtu, uint32_t id);

/*
 * Writes the next fragment, with its Ethernet header, to out->data (with `room` writable octets)
 * and fills in len, l2_len, family and state as the packet's. False if there is none. A fragment
 * that does not fit comes back DEAD with DROP_NO_BUFFER and ends the packet.
 */
bool fragment_next(struct fragment_iter *iter, struct packet *out, uint32_t room);

/* How many fragment_next() is still to write. */
uint32_t fragment_left(const struct fragment_iter *iter);

#endif /* IPSECBPF_FRAGMENT_H */
