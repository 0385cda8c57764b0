// SPDX-License-Identifier: BSD-2-Clause
/*
 * Internet checksum. Words of 32 bits are summed into 64-bit accumulators: 2^32 of them fit before
 * an overflow, so the loops carry nothing, and the compiler can use vector registers.
 */
#include "checksum.h"

#include <string.h>

#include "bytes.h"

/* Function multiversioning picks the widest vectors the CPU has when the program is loaded. The
 * sanitizers instrument the resolvers, which run before the sanitizers are ready. */
#if defined(__x86_64__) && defined(__gnu_linux__) && !defined(__SANITIZE_ADDRESS__) && \
	!defined(__SANITIZE_THREAD__)
#define VECTOR_CLONES __attribute__((target_clones("avx512f", "avx2", "default")))
#else
#define VECTOR_CLONES
#endif

/* One's complement addition of accumulators: the carry comes back at the low end. */
static inline uint64_t add_carry(uint64_t a, uint64_t b)
{
	a += b;
	return a + (a < b);
}

/* The last 0-3 octets, an odd one padded with zero (RFC 1071 4.1). */
static inline uint64_t sum_tail(const uint8_t *data, size_t len)
{
	uint16_t last = 0;
	uint64_t sum = 0;

	if (len & 2) {
		sum += load_raw16(data);
		data += 2;
	}
	if (len & 1) {
		memcpy(&last, data, 1);
		sum += last;
	}
	return sum;
}

VECTOR_CLONES
static uint64_t sum_words(const uint8_t *data, size_t words)
{
	uint64_t sum = 0;

	for (size_t i = 0; i < words; i++)
		sum += load_raw32(data + 4 * i);
	return sum;
}

VECTOR_CLONES
static uint64_t copy_words(uint8_t *restrict dst, const uint8_t *restrict src, size_t words)
{
	uint64_t sum = 0;

	for (size_t i = 0; i < words; i++) {
		uint32_t word = load_raw32(src + 4 * i);

		memcpy(dst + 4 * i, &word, sizeof(word));
		sum += word;
	}
	return sum;
}

uint64_t checksum_add(uint64_t sum, const void *data, size_t len)
{
	const uint8_t *octets = data;
	size_t body = len & ~(size_t)3;

	sum = add_carry(sum, sum_words(octets, body / 4));
	return add_carry(sum, sum_tail(octets + body, len - body));
}

uint64_t checksum_copy(uint64_t sum, void *restrict dst, const void *restrict src, size_t len)
{
	const uint8_t *from = src;
	uint8_t *to = dst;
	size_t body = len & ~(size_t)3;

	sum = add_carry(sum, copy_words(to, from, body / 4));
	if (len == body)
		return sum;
	memcpy(to + body, from + body, len - body);
	return add_carry(sum, sum_tail(from + body, len - body));
}

/* RFC 9293 3.1 for IPv4, RFC 8200 8.1 for IPv6; the sum is the same wherever the fields stand. */
uint64_t checksum_pseudo(uint64_t sum, enum ip_family family, const void *src, const void *dst,
			 uint8_t proto, uint32_t len)
{
	const uint8_t *from = src, *to = dst;
	size_t size = family == FAMILY_V6 ? 16 : 4;

	for (size_t i = 0; i < size; i += 4) {
		sum = add_carry(sum, load_raw32(from + i));
		sum = add_carry(sum, load_raw32(to + i));
	}
	sum = add_carry(sum, htobe32(len));
	return add_carry(sum, htobe16(proto));
}

uint16_t checksum_fold(uint64_t sum)
{
	sum = (sum & 0xffffffff) + (sum >> 32);
	sum = (sum & 0xffffffff) + (sum >> 32);
	sum = (sum & 0xffff) + (sum >> 16);
	sum = (sum & 0xffff) + (sum >> 16);
	return (uint16_t)~sum;
}

void checksum_ipv4(void *header, size_t header_len)
{
	uint8_t *octets = header;
	uint64_t sum = 0;

	store_raw16(octets + 10, 0);
	for (size_t i = 0; i + 4 <= header_len; i += 4)
		sum += load_raw32(octets + i);
	store_raw16(octets + 10, checksum_fold(sum));
}
