// SPDX-License-Identifier: BSD-2-Clause
/* Internet checksum against RFC 1071's example and an octet-wise reference. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>

#include <cmocka.h>

#include "frames.h"
#include "lib/checksum.h"

#define LEN_MAX 300

/* A checksum field as a number, however the machine orders octets. */
static uint16_t as_number(uint16_t memory_order)
{
	uint8_t octets[2];

	memcpy(octets, &memory_order, 2);
	return (uint16_t)(octets[0] << 8 | octets[1]);
}

static uint16_t naive(const uint8_t *data, uint32_t len)
{
	return (uint16_t)~naive_add(0, data, len);
}

/* RFC 1071 3: 0001 f203 f4f5 f6f7 sums to ddf2. */
static void example_of_rfc1071(void **state)
{
	static const uint8_t data[] = { 0x00, 0x01, 0xf2, 0x03, 0xf4, 0xf5, 0xf6, 0xf7 };

	(void)state;
	assert_int_equal(as_number(checksum_fold(checksum_add(0, data, sizeof(data)))),
			 (uint16_t)~0xddf2);
}

/* Every length and alignment, in memory of exactly that size, so that ASan sees any overrun. */
static void every_length_and_alignment(void **state)
{
	uint64_t seed = 1;

	(void)state;
	for (uint32_t len = 0; len <= LEN_MAX; len++) {
		for (uint32_t skew = 0; skew < 4; skew++) {
			uint8_t *from = malloc(len + skew + 1), *to = malloc(len + skew + 1);
			uint64_t sum;

			fill_random(&seed, from, len + skew);
			to[len + skew] = 0x5a;
			sum = checksum_add(0, from + skew, len);
			assert_int_equal(as_number(checksum_fold(sum)), naive(from + skew, len));
			sum = checksum_copy(0, to + skew, from + skew, len);
			assert_int_equal(as_number(checksum_fold(sum)), naive(from + skew, len));
			assert_memory_equal(to + skew, from + skew, len);
			assert_int_equal(to[len + skew], 0x5a);
			free(from);
			free(to);
		}
	}
}

/* All ones make the most carries; the accumulator's own end-around carry counts too. */
static void carries(void **state)
{
	static uint8_t data[65536], copy[65536];
	static const uint8_t one[] = { 0, 0, 0, 1 };

	(void)state;
	memset(data, 0xff, sizeof(data));
	assert_int_equal(checksum_fold(checksum_add(0, data, sizeof(data))), 0);
	assert_int_equal(checksum_fold(checksum_copy(0, copy, data, sizeof(data))), 0);
	assert_int_equal(as_number(checksum_fold(checksum_add(UINT64_MAX, one, 4))), 0xfffe);
	assert_int_equal(checksum_fold(UINT64_MAX), 0);
	assert_int_equal(checksum_fold(0), 0xffff);
}

static void chained_pieces(void **state)
{
	uint8_t data[LEN_MAX], copy[LEN_MAX];
	uint64_t seed = 2;

	(void)state;
	fill_random(&seed, data, sizeof(data));
	for (uint32_t cut = 0; cut <= LEN_MAX; cut += 2) {
		uint64_t sum = checksum_add(0, data, cut);

		sum = checksum_copy(sum, copy, data + cut, LEN_MAX - cut);
		assert_int_equal(as_number(checksum_fold(sum)), naive(data, LEN_MAX));
	}
}

static void pseudo_headers(void **state)
{
	uint8_t addresses[32];
	uint64_t seed = 3;

	(void)state;
	fill_random(&seed, addresses, sizeof(addresses));
	for (uint32_t len = 1; len < 0x30000; len = len * 3 + 1) {
		uint64_t v4 = checksum_pseudo(0, FAMILY_V4, addresses, addresses + 4, 17, len);
		uint64_t v6 = checksum_pseudo(0, FAMILY_V6, addresses, addresses + 16, 58, len);

		assert_int_equal(as_number(checksum_fold(v4)),
				 (uint16_t)~naive_pseudo(addresses, 8, 17, len));
		assert_int_equal(as_number(checksum_fold(v6)),
				 (uint16_t)~naive_pseudo(addresses, 32, 58, len));
	}
}

static void ipv4_headers(void **state)
{
	uint8_t header[60];
	uint64_t seed = 4;

	(void)state;
	for (uint32_t len = 20; len <= sizeof(header); len += 4) {
		fill_random(&seed, header, len);
		checksum_ipv4(header, len);
		assert_int_equal(naive(header, len), 0);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(example_of_rfc1071),
		cmocka_unit_test(every_length_and_alignment),
		cmocka_unit_test(carries),
		cmocka_unit_test(chained_pieces),
		cmocka_unit_test(pseudo_headers),
		cmocka_unit_test(ipv4_headers),
	};

	return cmocka_run_group_tests_name("checksum", tests, NULL, NULL);
}
