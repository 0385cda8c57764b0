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

/*
 * esp_encap() and esp_decap() count packets, bytes, icv_failed and replayed in the SA's state;
 * used_ns is the caller's, who knows the time.
 *
 * Protects a burst in place: CLEAR packets become PROTECTED or DEAD. Each takes the next sequence
 * number from state->seq_next, which is advanced before the number is used; numbers at or past
 * state->seq_reserved are refused (DROP_SEQ_UNRESERVED), as is any number past 2^32-1 without ESN
 * (DROP_SEQ_EXHAUSTED) and any packet past a hard limit (DROP_LIFETIME). Transport mode refuses IP fragments (DROP_FRAGMENT_TRANSPORT) and packets
 * whose addresses are not the SA's (DROP_SA_SELECTOR). On return data points at the Ethernet
 * header again, moved into the headroom as needed; MAC addresses and VLAN tags are kept.
 */
void esp_encap(struct sa_runtime *sa, struct packet **packets, unsigned int count);

/*
 * Verifies and decrypts a burst in place: PROTECTED packets become VERIFIED or DEAD, in the order
 * of RFC 4303 3.4: length, replay check, ICV, replay commit, then hard limits, padding, next header
 * and ECN. The caller has matched SPI, destination and source. On return the Ethernet header
 * stands before the inner packet, with the right ethertype, and the inner header's lengths and
 * checksum are right; trailing link padding is cut off.
 */
void esp_decap(struct sa_runtime *sa, struct packet **packets, unsigned int count);

#endif /* IPSECBPF_ESP_H */
