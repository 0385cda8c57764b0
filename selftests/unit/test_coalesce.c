// SPDX-License-Identifier: BSD-2-Clause
/*
 * Coalescing: what merges and what must not, what the merged frame's headers say, and in which
 * order frames leave. test_round_trip.c cuts them again.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "coalescing.h"

static void merges_and_describes(void **state)
{
	unsigned int emitted = 0;

	(void)state;
	for (int family = 0; family < FAMILY_COUNT; family++) {
		for (unsigned int vlans = 0; vlans <= 2; vlans++) {
			struct frame_spec first = data_spec((enum ip_family)family), spec;

			first.vlans = vlans;
			spec = first;
			for (unsigned int i = 0; i < 5; i++) {
				add(&spec);
				spec = next_spec(&spec);
			}
			assert_int_equal(bench.count, emitted);
			coalesce_flush(&bench.coalescer);
			assert_int_equal(bench.count, ++emitted);
			assert_int_equal(bench.emitted[emitted - 1].packets, 5);
			first.payload_len = 5 * MSS;
			assert_merged(emitted - 1, &first, MSS);
		}
	}
}

static void single_is_untouched(void **state)
{
	struct frame_spec spec = data_spec(FAMILY_V4);

	(void)state;
	add(&spec);
	coalesce_flush(&bench.coalescer);
	assert_int_equal(bench.count, 1);
	assert_alone(0, 0);
	coalesce_flush(&bench.coalescer);
	assert_int_equal(bench.count, 1);
}

/* PSH joins, marks the frame and ends it. */
static void push_closes(void **state)
{
	struct frame_spec first = data_spec(FAMILY_V4), spec = next_spec(&first);

	(void)state;
	add(&first);
	spec.flags |= TCP_F_PSH;
	add(&spec);
	assert_int_equal(bench.count, 1);
	first.payload_len *= 2;
	first.flags |= TCP_F_PSH;
	assert_merged(0, &first, MSS);
	spec = next_spec(&spec);
	add(&spec);	/* PSH on the first */
	assert_int_equal(bench.count, 2);
	assert_alone(1, 2);
}

static void short_segment_closes(void **state)
{
	struct frame_spec first = data_spec(FAMILY_V6), spec = next_spec(&first);

	(void)state;
	add(&first);
	spec.payload_len = MSS - 1;
	add(&spec);
	assert_int_equal(bench.count, 1);
	first.payload_len += MSS - 1;
	assert_merged(0, &first, MSS);
	spec = next_spec(&spec);
	spec.payload_len = 10;
	add(&spec);
	spec = next_spec(&spec);
	spec.payload_len = 11;	/* more than the first defines */
	add(&spec);
	coalesce_flush(&bench.coalescer);
	assert_int_equal(bench.count, 3);
	assert_alone(1, 2);
	assert_alone(2, 3);
}

/* Adds a good segment, then `second`: both must come out alone, in order. */
static void assert_no_merge(const struct frame_spec *first, const struct frame_spec *second)
{
	unsigned int count = bench.count, added = bench.added;

	add(first);
	add(second);
	coalesce_flush(&bench.coalescer);
	assert_int_equal(bench.count, count + 2);
	assert_alone(count, added);
	assert_alone(count + 1, added + 1);
}

#define NO_MERGE(family, change) do {					\
	struct frame_spec first = data_spec(family);			\
	struct frame_spec spec = next_spec(&first);			\
									\
	change;								\
	assert_no_merge(&first, &spec);					\
} while (0)

static void differences_that_prevent(void **state)
{
	(void)state;
	NO_MERGE(FAMILY_V4, spec.seq++);
	NO_MERGE(FAMILY_V4, spec.seq--);
	NO_MERGE(FAMILY_V4, spec.ack++);
	NO_MERGE(FAMILY_V4, spec.window++);
	NO_MERGE(FAMILY_V4, spec.option_fill = 2);
	NO_MERGE(FAMILY_V4, spec.tcp_options = 16);
	NO_MERGE(FAMILY_V4, spec.sport++);
	NO_MERGE(FAMILY_V4, spec.dport++);
	NO_MERGE(FAMILY_V4, spec.ttl--);
	NO_MERGE(FAMILY_V4, spec.tos = 1);
	NO_MERGE(FAMILY_V4, spec.fragment = 0);
	NO_MERGE(FAMILY_V4, spec.vlans = 1);
	NO_MERGE(FAMILY_V4, spec.urgent = 1);
	NO_MERGE(FAMILY_V4, spec.payload_len++);
	NO_MERGE(FAMILY_V4, spec.ip_extra = 4);
	NO_MERGE(FAMILY_V4, first.ip_extra = spec.ip_extra = 4);
	NO_MERGE(FAMILY_V4, first.fragment = spec.fragment = 0x2000);
	NO_MERGE(FAMILY_V4, (first.fragment = spec.fragment = 0, spec.id++));
	NO_MERGE(FAMILY_V6, spec.ttl--);
	NO_MERGE(FAMILY_V6, spec.tos = 1);
	NO_MERGE(FAMILY_V6, spec.ip_extra = 8);
	NO_MERGE(FAMILY_V6, first.ip_extra = spec.ip_extra = 8);
}

static void flags_that_prevent(void **state)
{
	(void)state;
	for (unsigned int flags = 0; flags < 256; flags++) {
		if ((flags & ~TCP_F_PSH) == TCP_F_ACK)
			continue;
		NO_MERGE(FAMILY_V4, spec.flags = (uint8_t)flags);
		NO_MERGE(FAMILY_V6, first.flags = (uint8_t)flags);
		NO_MERGE(FAMILY_V4, first.flags = spec.flags = (uint8_t)flags);
		stop(state);
		start(state);
	}
}

/* With DF set the identification means nothing (RFC 6864); without, it has to count on. */
static void identification(void **state)
{
	struct frame_spec first = data_spec(FAMILY_V4), spec = next_spec(&first);

	(void)state;
	spec.id = 0x1234;
	add(&first);
	add(&spec);
	coalesce_flush(&bench.coalescer);
	assert_int_equal(bench.count, 1);
	first.fragment = spec.fragment = 0;
	first.id = 0xffff;
	spec.id = 0;
	add(&first);
	add(&spec);
	coalesce_flush(&bench.coalescer);
	assert_int_equal(bench.count, 2);
	assert_int_equal(bench.emitted[1].packets, 2);
}

static void sa_and_source_mac_separate(void **state)
{
	struct frame_spec first = data_spec(FAMILY_V4), spec = next_spec(&first);
	uint32_t len;

	(void)state;
	add(&first);
	len = build_frame(&spec, scratch);
	add_octets(scratch, len, 14, 8);	/* another SA's slot */
	spec = next_spec(&spec);
	len = build_frame(&spec, scratch);
	scratch[6] ^= 2;
	add_octets(scratch, len, 14, 8);
	coalesce_flush(&bench.coalescer);
	assert_int_equal(bench.count, 3);
	for (unsigned int i = 0; i < 3; i++)
		assert_alone(i, i);
	assert_int_equal(bench.emitted[0].slot, 7);
	assert_int_equal(bench.emitted[1].slot, 8);
}

/* Merging would write a fresh header checksum over a wrong one, or swallow trailing octets. */
static void damage_is_not_hidden(void **state)
{
	struct frame_spec first = data_spec(FAMILY_V4), spec = next_spec(&first);
	uint32_t len;

	(void)state;
	add(&first);
	len = build_frame(&spec, scratch);
	scratch[14 + 10] ^= 1;
	add_octets(scratch, len, 14, 7);
	add(&first);
	len = build_frame(&spec, scratch);
	add_octets(scratch, len + 1, 14, 7);
	coalesce_flush(&bench.coalescer);
	assert_int_equal(bench.count, 4);
	for (unsigned int i = 0; i < 4; i++)
		assert_alone(i, i);
}

/* Options, or a version, that 20 octets with a right checksum do not show otherwise. */
static void first_octet_counts(void **state)
{
	static const uint8_t wrong[] = { 0x4a, 0x65 };
	struct frame_spec first = data_spec(FAMILY_V4), spec = next_spec(&first);

	(void)state;
	for (unsigned int i = 0; i < sizeof(wrong); i++) {
		uint32_t len;

		add(&first);
		len = build_frame(&spec, scratch);
		scratch[14] = wrong[i];
		put16(scratch + 24, 0);
		put16(scratch + 24, ~naive_add(0, scratch + 14, 20) & 0xffff);
		add_octets(scratch, len, 14, 7);
		coalesce_flush(&bench.coalescer);
		assert_int_equal(bench.count, 2 * i + 2);
		assert_alone(2 * i, 2 * i);
		assert_alone(2 * i + 1, 2 * i + 1);
	}
}

/* What cannot merge sends its flow's frame first; other flows' frames stay. */
static void order_within_a_flow(void **state)
{
	struct frame_spec a = data_spec(FAMILY_V4), b = data_spec(FAMILY_V4), ack;

	(void)state;
	b.sport = 50000;
	add(&a);
	add(&b);
	ack = next_spec(&a);
	ack.payload_len = 0;
	add(&ack);
	assert_int_equal(bench.count, 2);
	assert_alone(0, 0);
	assert_alone(1, 2);
	b = next_spec(&b);
	b.fragment = 0x2000;	/* its ports are not looked at */
	add(&b);
	assert_int_equal(bench.count, 4);
	assert_alone(2, 1);
	assert_alone(3, 3);
}

/* UDP between the same hosts overtakes: it is another flow. */
static void other_protocols_pass(void **state)
{
	(void)state;
	for (int family = 0; family < FAMILY_COUNT; family++) {
		struct frame_spec spec = data_spec((enum ip_family)family);
		unsigned int count = bench.count, added = bench.added;
		uint32_t len;

		add(&spec);
		len = build_frame(&spec, scratch);
		scratch[14 + (family == FAMILY_V4 ? 9 : 6)] = 17;
		add_octets(scratch, len, 14, 7);
		assert_int_equal(bench.count, count + 1);
		assert_alone(count, added + 1);
		spec = next_spec(&spec);
		add(&spec);
		coalesce_flush(&bench.coalescer);
		assert_int_equal(bench.count, count + 2);
		assert_int_equal(bench.emitted[count + 1].packets, 2);
	}
}

static void oldest_gives_way(void **state)
{
	struct frame_spec spec = data_spec(FAMILY_V4);

	(void)state;
	for (unsigned int i = 0; i < COALESCE_FLOWS + 2; i++) {
		spec.sport = (uint16_t)(1000 + i);
		add(&spec);
	}
	assert_int_equal(bench.count, 2);
	assert_alone(0, 0);
	assert_alone(1, 1);
	coalesce_flush(&bench.coalescer);
	assert_int_equal(bench.count, COALESCE_FLOWS + 2);
	for (unsigned int i = 0; i < bench.count; i++)
		assert_alone(i, i);
}

static void bounded_size(void **state)
{
	struct frame_spec spec = data_spec(FAMILY_V4);

	(void)state;
	spec.payload_len = 8;
	for (unsigned int i = 0; i < COALESCE_PIECES + 1; i++) {
		add(&spec);
		spec = next_spec(&spec);
	}
	assert_int_equal(bench.count, 1);
	assert_int_equal(bench.emitted[0].packets, COALESCE_PIECES);
	coalesce_flush(&bench.coalescer);
	assert_alone(1, COALESCE_PIECES);
	spec = data_spec(FAMILY_V6);
	spec.payload_len = 1900;
	for (unsigned int i = 0; i < 35; i++) {
		spec.seq += 1900;
		add(&spec);
	}
	/* 34 * 1900 + 40 + 32 <= 65535 < 35 * 1900 + 40 + 32 */
	assert_int_equal(bench.count, 3);
	assert_int_equal(bench.emitted[2].packets, 34);
}

/* Truncated and damaged packets behind good ones: alone, unmodified, and nothing read too far. */
static void damage(void **state)
{
	uint64_t seed = 11;

	for (unsigned int round = 0; round < 20000; round++) {
		struct frame_spec first = data_spec(round & 1 ? FAMILY_V6 : FAMILY_V4), spec;
		uint32_t len;

		first.payload_len = 40;
		spec = next_spec(&first);
		add(&first);
		len = build_frame(&spec, scratch);
		if (round % 3)
			len = next_random(&seed) % (len + 1);
		for (unsigned int i = next_random(&seed) % 3; i > 0; i--)
			scratch[12 + next_random(&seed) % 80] = (uint8_t)next_random(&seed);
		if (round % 7 == 0)
			fill_random(&seed, scratch + 14, 100);
		add_octets(scratch, len, 14, 7);
		coalesce_flush(&bench.coalescer);
		assert_true(bench.count == 1 || bench.count == 2);
		stop(state);
		start(state);
	}
	for (int family = 0; family < FAMILY_COUNT; family++) {
		struct frame_spec first = data_spec((enum ip_family)family);
		struct frame_spec spec = next_spec(&first);
		uint32_t len = build_frame(&spec, scratch);

		for (uint32_t cut = 0; cut < len; cut++) {
			add(&first);
			build_frame(&spec, scratch);
			add_octets(scratch, cut, 14, 7);
			coalesce_flush(&bench.coalescer);
			assert_int_equal(bench.count, 2);
			stop(state);
			start(state);
		}
	}
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, start, stop)
	const struct CMUnitTest tests[] = {
		TEST(merges_and_describes),
		TEST(single_is_untouched),
		TEST(push_closes),
		TEST(short_segment_closes),
		TEST(differences_that_prevent),
		TEST(flags_that_prevent),
		TEST(identification),
		TEST(sa_and_source_mac_separate),
		TEST(damage_is_not_hidden),
		TEST(first_octet_counts),
		TEST(order_within_a_flow),
		TEST(other_protocols_pass),
		TEST(oldest_gives_way),
		TEST(bounded_size),
		TEST(damage),
	};
#undef TEST

	return cmocka_run_group_tests_name("coalesce", tests, group_setup, NULL);
}
