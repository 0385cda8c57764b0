/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Cuts what the host port delivers into packets that fit the wire after protection: TCP
 * super-packets (and single TCP segments that became too large) into segments with finished
 * checksums; everything else passes through with its checksum completed.
 * Pure: no system calls, no allocation.
 *
 * Included by: worker.c, unit tests. Threading: one iterator belongs to one thread.
 */
#ifndef IPSECBPF_SEGMENT_H
#define IPSECBPF_SEGMENT_H

#include <linux/virtio_net.h>
#include <stdbool.h>
#include <stdint.h>

#include "packet.h"

/* A frame as read from the host port: Ethernet, maybe VLAN tags, IPv4 or IPv6. */
struct host_frame {
	struct virtio_net_hdr vnet;	/* in the machine's byte order, as a TAP gives it */
	uint8_t *data;			/* first octet of the Ethernet header */
	uint32_t len;
};

struct segment_iter {
	const struct host_frame *frame;
	uint32_t ip_max;		/* largest IP packet to make, octets */
	uint16_t l2_len, l3_len, l4_len;
	uint8_t family;			/* enum ip_family */
	uint8_t l4_proto;
	bool tcp_split;
	uint32_t payload_off;		/* of the first octet of TCP payload in frame->data */
	uint32_t mss;			/* TCP payload octets per segment */
	uint32_t next;			/* payload octets already emitted */
	uint32_t end;			/* of the IP packet in frame->data; link padding is cut off */
	uint64_t ip_sum;		/* IPv4 header less length, identification and checksum */
	uint64_t l4_sum;		/* pseudo header less length; TCP header less what varies */
	uint16_t ip_id;			/* IPv4 identification of the next segment */
	bool done;
};

/*
 * Prepares to cut `frame` into IP packets of at most ip_max octets. Validates every header against
 * frame->len. Returns DROP_NONE, or DROP_MALFORMED (also: a TCP segment to be cut whose finished
 * checksum is wrong, which new checksums would hide), DROP_UNSUPPORTED (GSO types other than
 * TCPV4/TCPV6, ethertypes other than IP, more than two VLAN tags), DROP_TOO_BIG (cannot be cut: not
 * TCP, a SYN or RST, or its headers alone are too large).
 */
enum drop_reason segment_start(struct segment_iter *iter, const struct host_frame *frame,
			       uint32_t ip_max);

/*
 * Writes the next packet to packet->data (whose first octet the caller chose inside a buffer with
 * `room` writable octets) and fills in len, l2_len, family and state CLEAR. FIN and PSH go with the
 * last segment only, CWR with the first (RFC 3168 6.1.2); sequence numbers, lengths, IPv4
 * identification and checksums are right in each. Returns true if a packet was made, false if the
 * frame is used up. A packet that does not fit `room` comes back DEAD with DROP_TOO_BIG and ends the
 * frame.
 */
bool segment_next(struct segment_iter *iter, struct packet *packet, uint32_t room);

#endif /* IPSECBPF_SEGMENT_H */
