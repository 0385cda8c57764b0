/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The packet-too-big message for what does not fit after protection: ICMP fragmentation needed
 * (RFC 792, RFC 1191 section 4), ICMPv6 packet too big (RFC 4443 3.2). Pure.
 *
 * Included by: worker.c, unit tests.
 */
#ifndef IPSECBPF_ICMP_ERROR_H
#define IPSECBPF_ICMP_ERROR_H

#include <stdint.h>

#include "segment.h"

#define ICMP_ERROR_MAX 1320 /* an IPv6 minimum-MTU packet and its link headers */

/*
 * Writes a whole frame that answers `frame` to its sender, as if from the packet's destination:
 * link header (the destination address is left for the host tag), IP, ICMP, and as much of the
 * packet as belongs. `mtu`: the largest IP packet that fits, octets. Returns the frame's length, or
 * 0 where no error may be sent (RFC 1122 3.2.2: not for ICMP errors, fragments but the first,
 * multicast).
 */
uint32_t icmp_too_big(const struct host_frame *frame, uint32_t mtu, uint8_t out[ICMP_ERROR_MAX]);

#endif /* IPSECBPF_ICMP_ERROR_H */
