/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Loads and stores of packet fields at any alignment (an IP header behind a 14-octet Ethernet
 * header is never aligned). Included by: whoever reads or writes headers in lib/. Pure.
 */
#ifndef IPSECBPF_BYTES_H
#define IPSECBPF_BYTES_H

#include <endian.h>
#include <stdint.h>
#include <string.h>

/* As in memory: for one's complement sums and for comparing. */
static inline uint16_t load_raw16(const void *p)
{
	uint16_t v;

	memcpy(&v, p, sizeof(v));
	return v;
}

static inline uint32_t load_raw32(const void *p)
{
	uint32_t v;

	memcpy(&v, p, sizeof(v));
	return v;
}

static inline void store_raw16(void *p, uint16_t v)
{
	memcpy(p, &v, sizeof(v));
}

static inline uint16_t load_be16(const void *p)
{
	return be16toh(load_raw16(p));
}

static inline uint32_t load_be32(const void *p)
{
	return be32toh(load_raw32(p));
}

static inline void store_be16(void *p, uint16_t v)
{
	store_raw16(p, htobe16(v));
}

static inline void store_be32(void *p, uint32_t v)
{
	v = htobe32(v);
	memcpy(p, &v, sizeof(v));
}

#endif /* IPSECBPF_BYTES_H */
