/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Internet checksum (RFC 1071). Included by: segment, coalesce, esp. Pure.
 * Sums are kept as 64-bit one's complement accumulators in memory order, so no byte swapping.
 */
#ifndef IPSECBPF_CHECKSUM_H
#define IPSECBPF_CHECKSUM_H

#include <stddef.h>
#include <stdint.h>

#include "abi_user.h"

/* Adds len octets to sum. Only the last piece of a chain may have odd length. */
uint64_t checksum_add(uint64_t sum, const void *data, size_t len);

/* Copies len octets and adds them to sum in the same pass. */
uint64_t checksum_copy(uint64_t sum, void *restrict dst, const void *restrict src, size_t len);

/* Adds the TCP/UDP/ICMPv6 pseudo header. Addresses: 4 or 16 octets; len: upper-layer length. */
uint64_t checksum_pseudo(uint64_t sum, enum ip_family family, const void *src, const void *dst,
			 uint8_t proto, uint32_t len);

/* Folds to the value that goes into a checksum field (complemented, memory order). */
uint16_t checksum_fold(uint64_t sum);

/* Sets the checksum of an IPv4 header of header_len octets (a multiple of 4). */
void checksum_ipv4(void *header, size_t header_len);

#endif /* IPSECBPF_CHECKSUM_H */
