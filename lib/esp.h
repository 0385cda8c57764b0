/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * ESP (RFC 4303), transport and tunnel mode, IPv4 and IPv6, on bursts of packets of one SA.
 * Pure: no system calls, no allocation on the packet path.
 *
 * Included by: sa_runtime.c, unit tests, benchmarks.
 * Threading:   one sa_runtime belongs to one worker thread.
 */
#ifndef IPSECBPF_ESP_H
#define IPSECBPF_ESP_H

#include "sa_runtime.h"

#define ESP_HEADER_LEN	8	/* SPI, sequence number */
#define ESP_TRAILER_LEN 2	/* pad length, next header */
#define UDP_HEADER_LEN	8	/* of ESP in UDP (RFC 3948) */

/* Octets between the IP header and ESP: a UDP header or none. */
static inline uint32_t esp_udp_length(const struct sa_runtime *sa)
{
	return sa->encap_dport ? UDP_HEADER_LEN : 0;
}

/*
 * esp_encap() and esp_decap() count packets, bytes, icv_failed and replayed in the SA's state;
 * used_ns is the caller's, who knows the time.
 *
 * Protects a burst in place: CLEAR packets become PROTECTED or DEAD. Each takes the next sequence
 * number from state->seq_next, which is advanced before the number is used; numbers at or past
 * state->seq_reserved are refused (DROP_SEQ_UNRESERVED), as is any number past 2^32-1 without ESN
 * (DROP_SEQ_EXHAUSTED) and any packet past a hard limit (DROP_LIFETIME). Transport mode refuses IP
 * fragments (DROP_FRAGMENT_TRANSPORT) and packets whose addresses are not the SA's
 * (DROP_SA_SELECTOR). On return data points at the Ethernet header again, moved into the headroom
 * as needed; MAC addresses and VLAN tags are kept.
 *
 * With encap_dport a UDP header goes before ESP (RFC 3948 section 2.1); its checksum is 0 over
 * IPv4, and right over IPv6, where 0 is not allowed (RFC 8200 8.1).
 */
void esp_encap(struct sa_runtime *sa, struct packet **packets, unsigned int count);

/*
 * Verifies and decrypts a burst in place: PROTECTED packets become VERIFIED or DEAD, in the order
 * of RFC 4303 3.4: length, replay check, ICV, replay commit, then hard limits, padding, next header
 * and ECN. The caller has matched SPI, destination, source and UDP ports. On return the Ethernet
 * header stands before the inner packet, with the right ethertype, and the inner header's lengths
 * and checksum are right; trailing link padding is cut off.
 *
 * With encap_dport the packet comes as it was on the wire, UDP header included, and leaves without:
 * UDP that is cut short or does not cover exactly the rest of the IP packet is DROP_UDP_ENCAP,
 * plain ESP and the non-ESP marker are DROP_MALFORMED, as is UDP on an SA without. The UDP checksum
 * is not looked at (RFC 3948 section 2.1): the ICV says more.
 *
 * Not done: where a NAT has changed the addresses of a transport mode packet, the checksum of TCP
 * or UDP inside does not fit them any more, and RFC 3948 section 3.1.2 would have it put right. The
 * addresses of a transport mode SA must stay as they are on the way; through a NAT goes tunnel mode.
 */
void esp_decap(struct sa_runtime *sa, struct packet **packets, unsigned int count);

#endif /* IPSECBPF_ESP_H */
