/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * AH (RFC 4302), transport and tunnel mode, IPv4 and IPv6, on bursts of packets of one SA.
 * Pure: no system calls, no allocation on the packet path.
 *
 *   offset 0  next header | length in words of 4 octets, less 2 | reserved (2 octets)
 *          4  SPI
 *          8  sequence number, the lower half of it with ESN
 *         12  ICV, and padding
 *
 * Included by: sa_runtime.c, ah_*.c, unit tests.
 * Threading:   one sa_runtime belongs to one worker thread.
 */
#ifndef IPSECBPF_AH_H
#define IPSECBPF_AH_H

#include "sa_runtime.h"

#define AH_HEADER_LEN 12	/* without the ICV */

/*
 * Octets of the header of an SA, padded to what the IP version around it asks for (RFC 4302
 * 3.3.3.2.1).
 */
static inline uint32_t ah_length(const struct sa_runtime *sa)
{
	uint32_t align = sa->family == FAMILY_V4 ? 4 : 8;

	return (AH_HEADER_LEN + sa->suite->icv_len + align - 1) & -align;
}

/*
 * As esp_encap() and esp_decap() do (esp.h): CLEAR packets become PROTECTED or DEAD, PROTECTED ones
 * VERIFIED or DEAD, with the same counters, the same rules for sequence numbers and limits, and the
 * same order of checks. Header fields that may change on the way are not covered (3.3.3.1); a
 * source route or routing header that is not used up is refused (DROP_UNSUPPORTED), and so are
 * headers of more than AH_HEADERS_MAX octets. CRYPTO_BEHIND octets of room behind the packet are
 * needed (else DROP_NO_BUFFER); what they are afterwards is undefined.
 *
 * Sent: the shortest header. Accepted: one padded to 8 octets in IPv4 as well, as Linux does it
 * unless the SA has its flag align4.
 */
void ah_protect(struct sa_runtime *sa, struct packet **packets, unsigned int count);
void ah_verify(struct sa_runtime *sa, struct packet **packets, unsigned int count);

#endif /* IPSECBPF_AH_H */
