/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * AH (RFC 4302), transport and tunnel mode, IPv4 and IPv6, on bursts of packets of one SA.
 * Pure: no system calls, no allocation on the packet path.
 *
 * Included by: sa_runtime.c, unit tests.
 * Threading:   one sa_runtime belongs to one worker thread.
 */
#ifndef IPSECBPF_AH_H
#define IPSECBPF_AH_H

#include "sa_runtime.h"

#define AH_HEADER_LEN 12	/* without the ICV */

/*
 * As esp_encap() and esp_decap() do (esp.h): CLEAR packets become PROTECTED or DEAD, PROTECTED ones
 * VERIFIED or DEAD, with the same counters, the same rules for sequence numbers and limits, and the
 * same order of checks.
 */
void ah_protect(struct sa_runtime *sa, struct packet **packets, unsigned int count);
void ah_verify(struct sa_runtime *sa, struct packet **packets, unsigned int count);

#endif /* IPSECBPF_AH_H */
