/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What a frame on the wire is, by its headers, and no further than its octets go.
 *
 * Included by: wirecount.c.
 */
#ifndef FRAME_KIND_H
#define FRAME_KIND_H

#include <stdint.h>

/* What a packet was. X(enumerator, JSON key) */
#define PACKET_KINDS(X)   \
	X(ESP, "esp")     \
	X(ARP, "arp")     \
	X(ND, "nd")       \
	X(CLEAR, "clear") \
	X(NON_IP, "non_ip")

enum packet_kind {
#define X(id, word) KIND_##id,
	PACKET_KINDS(X)
#undef X
		KIND_COUNT
};

/* One truncated frame. */
struct frame {
	const uint8_t *data;
	uint32_t len; /* octets present */
	uint32_t wire_len;
	uint64_t ns;
	uint32_t port;
};

/* What the frame is; *ret_offset: where the IP payload starts. */
enum packet_kind frame_kind(const struct frame *f, uint32_t *ret_offset);

/* Ethertype behind VLAN tags left in the frame; *offset is moved to what follows. */
uint16_t frame_ethertype(const struct frame *f, uint32_t *offset);

/* Upper-layer protocol of an IPv6 packet; *offset is moved to it. */
uint8_t frame_ipv6_upper(const struct frame *f, uint32_t *offset);

#endif /* FRAME_KIND_H */
