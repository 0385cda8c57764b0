/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Reassembly of IP fragments (RFC 791 3.2, RFC 8200 4.5, RFC 5722), bounded in memory and time:
 * of ESP and AH before they are authenticated, and of this host's packets before protection.
 * No system calls; all memory is taken at the start.
 *
 * Included by: worker_in.c, worker_out.c, unit tests. Threading: belongs to one thread.
 * Ownership:   fragments are copied; a whole packet lies in the reassembly's memory until released.
 */
#ifndef IPSECBPF_REASSEMBLY_H
#define IPSECBPF_REASSEMBLY_H

#include "packet.h"

struct reassembly;

struct reassembly_limits {
	uint32_t packets;	/* being put together at one time, and not yet released */
	uint32_t fragments;	/* of one packet */
	uint64_t timeout_ns;	/* from the first fragment that came */
	uint64_t seed;		/* random: nobody shall choose what collides in the tables */
};

/* NULL with errno: EINVAL (a limit is 0), ENOMEM. */
struct reassembly *reassembly_new(const struct reassembly_limits *limits);
void reassembly_free(struct reassembly *reassembly);

/*
 * Takes one fragment: an IPv4 packet with offset or more-fragments, or an IPv6 one whose extension
 * header chain has a fragment header (l2_len and the Ethernet header are right). `scope` keeps
 * apart what must not be mixed (an SA's slot, or 0). Belonging together is by scope, VLAN ids,
 * source, destination, identification and (IPv4) protocol.
 *
 * DROP_NONE and *ret_whole NULL: kept. DROP_NONE and *ret_whole: complete, as one packet without fragmentation (IPv4 header
 * checksum right, IPv6 fragment header gone), headers being those of the first fragment, in the
 * state of the last one to come, with PACKET_HEADROOM and PACKET_TAILROOM around it; give it back
 * with reassembly_release(). An IPv6 fragment that is all of its packet is complete by itself,
 * whatever else has its identification (RFC 6946). *ret_dropped: how many fragments of another
 * packet had to give way: count them as DROP_REASSEMBLY_FULL.
 *
 * Otherwise the reason for which *ret_dropped fragments were dropped. With DROP_REASSEMBLY
 * (overlap, lies about offset or length, too many, Not-ECT with CE (RFC 3168 5.3), an IPv6 first
 * fragment without the whole header chain (RFC 7112)) that is all of the packet, and its later
 * fragments will be dropped too until the time is over. With DROP_REASSEMBLY_FULL (nothing but
 * whole packets that are not yet released, or the packet gave way before), DROP_FRAGMENT_DUP (the
 * same offset, length and octets once more), DROP_MALFORMED (also: not a fragment, IPv4 header checksum wrong, a fragment header in a fragment) and
 * DROP_UNSUPPORTED it is this one.
 *
 * Fairness: room is shared by source address. When there is none, the oldest packet of that source
 * which holds the most gives way, whether it is the newcomer's or another's. So a flood displaces
 * itself, and few fragments that never become packets do not shut out anybody until their time is
 * over; refusing the newcomer would give the table to whoever came first.
 */
enum drop_reason reassembly_add(struct reassembly *reassembly, const struct packet *fragment,
				uint32_t scope, uint64_t now_ns, struct packet **ret_whole,
				uint32_t *ret_dropped);
void reassembly_release(struct reassembly *reassembly, struct packet *whole);

/* How a packet came that reassembly_add() has put together. */
struct reassembly_origin {
	uint32_t largest;	/* octets of IP in the largest fragment */
	uint32_t id;		/* identification, host order */
};

/* For as long as `whole` is not released. */
struct reassembly_origin reassembly_origin(const struct packet *whole);

/* Forgets what has waited too long; returns how many fragments that were. */
uint32_t reassembly_expire(struct reassembly *reassembly, uint64_t now_ns);

/* A packet of that kind of memory for other uses (empty, headroom as above), or NULL if none is
 * free: there are BURST of them, apart from those for fragments. *ret_room: octets that may be
 * written from data on, with PACKET_TAILROOM behind them. Goes back with reassembly_release(). */
struct packet *reassembly_buffer(struct reassembly *reassembly, uint32_t *ret_room);

/* CLOCK_MONOTONIC ns at which something will have waited too long; UINT64_MAX: nothing waits. */
uint64_t reassembly_next_ns(const struct reassembly *reassembly);

#endif /* IPSECBPF_REASSEMBLY_H */
