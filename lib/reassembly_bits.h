/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Which units of 8 octets of a packet's fragmentable part are there: a bit each. Ranges are [from, to) of
 * units, to at most UNITS.
 *
 * Included by: reassembly.c.
 */
#ifndef IPSECBPF_REASSEMBLY_BITS_H
#define IPSECBPF_REASSEMBLY_BITS_H

#include <stdbool.h>
#include <stdint.h>

#define UNITS 8192u
#define UNIT_WORDS (UNITS / 64)

static inline uint64_t word_mask(uint32_t word, uint32_t from, uint32_t to)
{
	uint32_t low = from > word * 64 ? from - word * 64 : 0;
	uint32_t high = to < word * 64 + 64 ? to - word * 64 : 64;

	return ~0ull << low & ~0ull >> (64 - high);
}

static inline bool bits_any(const uint64_t *bits, uint32_t from, uint32_t to)
{
	for (uint32_t i = from / 64; i * 64 < to; i++) {
		if (bits[i] & word_mask(i, from, to))
			return true;
	}
	return false;
}

static inline bool bits_all(const uint64_t *bits, uint32_t from, uint32_t to)
{
	for (uint32_t i = from / 64; i * 64 < to; i++) {
		if (~bits[i] & word_mask(i, from, to))
			return false;
	}
	return true;
}

static inline void bits_set(uint64_t *bits, uint32_t from, uint32_t to)
{
	for (uint32_t i = from / 64; i * 64 < to; i++)
		bits[i] |= word_mask(i, from, to);
}

static inline bool bit_is_set(const uint64_t *bits, uint32_t bit)
{
	return bit < UNITS && bits[bit / 64] >> bit % 64 & 1;
}

#endif /* IPSECBPF_REASSEMBLY_BITS_H */
