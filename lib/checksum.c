// SPDX-License-Identifier: BSD-2-Clause
/*
 * Internet checksum. Words of 32 bits are summed into 64-bit accumulators: 2^32 of them fit before
 * an overflow, so the loops carry nothing, and the compiler can use vector registers.
 */
#include "checksum.h"

#include <string.h>

#include "bytes.h"

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

/* The words left over when no whole vector remains. dst is NULL where nothing is copied. */
static inline uint64_t sum_words(uint8_t *dst, const uint8_t *src, size_t len)
{
	uint64_t sum = 0;

	for (size_t i = 0; i + 4 <= len; i += 4) {
		uint32_t word = load_raw32(src + i);

		if (dst)
			memcpy(dst + i, &word, sizeof(word));
		sum += word;
	}
	return sum;
}

/*
 * Defines a sum over `len` octets (a multiple of 4) in vectors of `size` octets, which copies too
 * if dst is not NULL. Left to itself the compiler widens 32-bit words by shuffles, at four times
 * the cost: here each 64-bit lane holds two words, taken apart by a mask and a shift.
 */
#define DEFINE_SUM(name, size, attributes)						\
typedef uint64_t name##_vector __attribute__((vector_size(size)));			\
typedef uint64_t name##_loose __attribute__((vector_size(size), aligned(1), may_alias));	\
											\
attributes static uint64_t name(uint8_t *dst, const uint8_t *src, size_t len)		\
{											\
	name##_vector even[2] = { 0 }, odd[2] = { 0 };					\
	uint64_t sum = 0;								\
	size_t i = 0;									\
											\
	for (; i + 2 * (size) <= len; i += 2 * (size)) {				\
		name##_vector a = *(const name##_loose *)(src + i);			\
		name##_vector b = *(const name##_loose *)(src + i + (size));		\
											\
		if (dst) {								\
			*(name##_loose *)(dst + i) = a;					\
			*(name##_loose *)(dst + i + (size)) = b;			\
		}									\
		even[0] += a & 0xffffffff;						\
		odd[0] += a >> 32;							\
		even[1] += b & 0xffffffff;						\
		odd[1] += b >> 32;							\
	}										\
	even[0] += even[1] + odd[0] + odd[1];						\
	for (unsigned int lane = 0; lane < (size) / 8; lane++)				\
		sum += even[0][lane];							\
	return sum + sum_words(dst ? dst + i : NULL, src + i, len - i);			\
}

DEFINE_SUM(sum_any, 16, )	/* SSE2, NEON: what every machine has */

#ifdef __x86_64__
DEFINE_SUM(sum_avx2, 32, __attribute__((target("avx2"))))

static inline uint64_t sum_body(uint8_t *dst, const uint8_t *src, size_t len)
{
	if (len >= 64 && __builtin_cpu_supports("avx2"))
		return sum_avx2(dst, src, len);
	return sum_any(dst, src, len);
}
#else
static inline uint64_t sum_body(uint8_t *dst, const uint8_t *src, size_t len)
{
	return sum_any(dst, src, len);
}
#endif

uint64_t checksum_add(uint64_t sum, const void *data, size_t len)
{
	const uint8_t *octets = data;
	size_t body = len & ~(size_t)3;

	sum = add_carry(sum, sum_body(NULL, octets, body));
	return add_carry(sum, sum_tail(octets + body, len - body));
}

uint64_t checksum_copy(uint64_t sum, void *restrict dst, const void *restrict src, size_t len)
{
	const uint8_t *from = src;
	uint8_t *to = dst;
	size_t body = len & ~(size_t)3;

	sum = add_carry(sum, sum_body(to, from, body));
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
