// SPDX-License-Identifier: BSD-2-Clause
/* Reassembly against fragments that lie, overlap, never end or come in floods. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>

#include <cmocka.h>

#include "reassembling.h"

static void add_dropped(const struct shape *shape, uint32_t off, uint32_t len, bool more)
{
	assert_int_equal(add(shape, off, len, more), DROP_REASSEMBLY);
	assert_null(whole);
}

static void for_both(void (*run)(enum ip_family))
{
	run(FAMILY_V4);
	run(FAMILY_V6);
}

/* ---- overlap ---- */

/* Two good fragments, then the one that condemns them. The packet has 128 octets. */
static const struct range overlaps[][3] = {
	{ { 0, 64, true }, { 64, 32, true }, { 56, 8, true } },		/* inside the first */
	{ { 0, 64, true }, { 64, 32, true }, { 0, 32, true } },		/* its beginning */
	{ { 0, 64, true }, { 64, 32, true }, { 0, 72, true } },		/* and more than it */
	{ { 0, 64, true }, { 64, 32, true }, { 0, 96, true } },		/* two at once */
	{ { 0, 64, true }, { 64, 32, true }, { 88, 40, false } },	/* the next one's end */
	{ { 0, 64, true }, { 96, 32, false }, { 64, 40, true } },	/* the hole and more */
	{ { 0, 64, true }, { 96, 32, false }, { 24, 8, false } },	/* teardrop */
	{ { 0, 64, true }, { 96, 32, false }, { 96, 32, true } },	/* is not the last */
	{ { 0, 64, true }, { 96, 32, false }, { 96, 24, false } },	/* nor as long */
	{ { 0, 64, true }, { 96, 32, false }, { 96, 40, false } },
	{ { 0, 64, true }, { 96, 32, false }, { 128, 8, true } },	/* behind the end */
	{ { 0, 64, true }, { 96, 32, false }, { 128, 8, false } },
	{ { 64, 64, true }, { 8, 8, true }, { 64, 64, false } },	/* the last one after all */
	{ { 64, 64, true }, { 8, 8, true }, { 24, 16, false } },	/* an end too early */
	{ { 64, 61, false }, { 8, 8, true }, { 64, 64, true } },	/* same units */
	{ { 64, 61, false }, { 8, 8, true }, { 64, 64, false } },
	{ { 64, 61, false }, { 8, 8, true }, { 64, 60, false } },
};

static void overlapping(enum ip_family family)
{
	for (uint32_t i = 0; i < sizeof(overlaps) / sizeof(overlaps[0]); i++) {
		struct shape shape = shape_of(family, 100 + i, 256);

		for (unsigned int n = 0; n < 2; n++)
			add_kept(&shape, overlaps[i][n].off, overlaps[i][n].len,
				 overlaps[i][n].more);
		add_dropped(&shape, overlaps[i][2].off, overlaps[i][2].len, overlaps[i][2].more);
		assert_int_equal(dropped, 3);
		/* Nothing of it ever again, were it the fragment that was right. */
		add_dropped(&shape, overlaps[i][0].off, overlaps[i][0].len, overlaps[i][0].more);
		assert_int_equal(dropped, 1);
	}
	assert_true(reassembly_next_ns(reassembly) == UINT64_MAX);
}

static void any_overlap_drops_all(void **state)
{
	(void)state;
	for_both(overlapping);
}

static void duplicates(enum ip_family family)
{
	struct shape shape = shape_of(family, 7, 125);

	add_kept(&shape, 64, 32, true);
	add_kept(&shape, 96, 29, false);
	add_kept(&shape, 32, 32, true);
	for (unsigned int n = 0; n < 3; n++) {
		add_duplicate(&shape, 64, 32, true);
		add_duplicate(&shape, 96, 29, false);
		add_duplicate(&shape, 32, 32, true);
	}
	assert_int_equal(add(&shape, 0, 32, true), DROP_NONE);
	check_whole(reassembly, &shape, whole);
	/* The same, one octet of the payload not. */
	add_kept(&shape, 64, 32, true);
	build_fragment(&shape, 64, 32, true, frame);
	add_duplicate(&shape, 64, 32, true);
	frame[build_fragment(&shape, 64, 32, true, frame) - 1] ^= 1;
	assert_int_equal(add_frame(&shape, frame, shape_l2(&shape) + shape_header(&shape) +
				   (family == FAMILY_V6 ? 8 : 0) + 32), DROP_REASSEMBLY);
	assert_int_equal(dropped, 2);
}

/* The same octets, but to be understood in another way. */
static void duplicate_of_another_kind(void **state)
{
	struct shape shape = shape_of(FAMILY_V6, 7, 96);

	(void)state;
	add_kept(&shape, 0, 32, true);
	shape.proto = 51;
	add_dropped(&shape, 0, 32, true);
	assert_int_equal(dropped, 2);
}

static void duplicates_go_alone(void **state)
{
	(void)state;
	for_both(duplicates);
}

/* ---- lies ---- */

static void lies(enum ip_family family)
{
	struct shape shape = shape_of(family, 1, 65000);
	uint32_t most = family == FAMILY_V4 ? 65515 : 65535;

	add_kept(&shape, 0, 1000, true);
	add_dropped(&shape, 1000, 1001, true);		/* not a multiple of eight */
	assert_int_equal(dropped, 2);
	shape.id++;
	add_dropped(&shape, 1000, 0, true);		/* nothing */
	add_dropped(&shape, 0, 1000, true);		/* condemned before its first fragment */
	shape.id++;
	add_dropped(&shape, 1000, 0, false);
	shape.id++;
	add_kept(&shape, 64000, most - 64000, false);	/* the largest there is */
	shape.id++;
	add_dropped(&shape, 64000, most - 64000 + 1, false);
	shape.id++;
	add_dropped(&shape, 65528, 8, true);		/* the last unit that an offset can name */
}

static void lengths_and_offsets_lie(void **state)
{
	(void)state;
	for_both(lies);
}

/* Headers that grow with the first fragment: together they are too long. */
static void too_long_with_the_first_header(void **state)
{
	struct shape shape = shape_of(FAMILY_V4, 1, 65000), long_header = shape;

	(void)state;
	long_header.options = "\x01\x01\x01\x01";
	long_header.options_len = 4;
	add_kept(&shape, 64000, 1515, false);
	add_dropped(&long_header, 0, 64, true);
	shape.id = long_header.id = 2;
	add_kept(&long_header, 0, 64, true);
	add_dropped(&shape, 64000, 1515, false);
	shape.id = long_header.id = 3;
	add_kept(&long_header, 0, 64, true);
	add_kept(&shape, 64000, 1511, false);
}

static void too_many_fragments(void **state)
{
	struct reassembly_limits limits = { .packets = 2, .fragments = 4, .timeout_ns = 1 };
	struct shape shape = shape_of(FAMILY_V4, 1, 200);

	(void)state;
	reassembly_free(reassembly);
	reassembly = reassembly_new(&limits);
	for (uint32_t i = 0; i < 4; i++)
		add_kept(&shape, i * 16, 8, true);
	add_duplicate(&shape, 0, 8, true);
	add_dropped(&shape, 64, 8, true);
	assert_int_equal(dropped, 5);
}

/* One octet of a good fragment replaced: `reason`, and nothing is kept. */
static void check_octet(const struct shape *shape, uint32_t at, uint8_t octet,
			enum drop_reason reason)
{
	uint32_t len = build_fragment(shape, 0, 64, true, frame);

	frame[shape_l2(shape) + at] = octet;
	assert_int_equal(add_frame(shape, frame, len), reason);
	assert_int_equal(dropped, 1);
	assert_true(reassembly_next_ns(reassembly) == UINT64_MAX);
}

static void malformed(void **state)
{
	struct shape v4 = shape_of(FAMILY_V4, 1, 200), v6 = shape_of(FAMILY_V6, 1, 200);

	(void)state;
	check_octet(&v4, 0, 0x44, DROP_MALFORMED);
	check_octet(&v4, 0, 0x46, DROP_MALFORMED);
	check_octet(&v4, 3, 200, DROP_MALFORMED);
	check_octet(&v4, 2, 0xff, DROP_MALFORMED);
	check_octet(&v4, 6, 0, DROP_MALFORMED);		/* no fragment */
	check_octet(&v4, 8, 63, DROP_MALFORMED);	/* checksum */
	check_octet(&v6, 5, 200, DROP_MALFORMED);
	check_octet(&v6, 5, 7, DROP_MALFORMED);		/* half a fragment header */
	check_octet(&v6, 6, 50, DROP_MALFORMED);	/* no fragment */
	check_octet(&v6, 6, 0, DROP_MALFORMED);		/* nor this: hop-by-hop, then ESP */
	check_octet(&v6, 40, 44, DROP_MALFORMED);	/* a fragment header in a fragment */
	v6.chain_len = v6.per_fragment = 1;
	v6.chain[0].type = 43;
	v6.chain[0].len = 24;
	check_octet(&v6, 43, 1, DROP_UNSUPPORTED);
	check_octet(&v6, 41, 255, DROP_MALFORMED);
	v6.chain[0].type = 60;
	v6.per_fragment = 0;
	check_octet(&v6, 48, 44, DROP_MALFORMED);	/* and behind other headers */
}

/* A fragment header in a fragment that is not the first. */
static void nested_later(void **state)
{
	struct shape shape = shape_of(FAMILY_V6, 1, 200);

	(void)state;
	shape.proto = 44;
	assert_int_equal(add(&shape, 64, 64, true), DROP_MALFORMED);
	assert_true(reassembly_next_ns(reassembly) == UINT64_MAX);
}

/* The longest headers there is room for, and longer ones. */
static void long_headers(void **state)
{
	struct shape shape = shape_of(FAMILY_V6, 1, 33000);

	(void)state;
	shape.vlans = 2;
	shape.chain_len = shape.per_fragment = 2;
	shape.chain[0].type = shape.chain[1].type = 60;
	shape.chain[0].len = 2048;
	shape.chain[1].len = 2016;
	assert_int_equal(add(&shape, 0, 32000, true), DROP_UNSUPPORTED);
	shape.payload_len = 65535 - 4056;
	shape.chain[1].len = 2008;
	add_kept(&shape, 0, 32000, true);
	assert_int_equal(add(&shape, 32000, shape.payload_len - 32000, false), DROP_NONE);
	check_whole(reassembly, &shape, whole);
}

static void too_many_tags(void **state)
{
	struct shape shape = shape_of(FAMILY_V4, 1, 200);

	(void)state;
	shape.vlans = 3;
	assert_int_equal(add(&shape, 0, 64, true), DROP_MALFORMED);
}

/* RFC 7112: {protocol, octets of its header that must be there}. */
static void first_has_the_header_chain(void **state)
{
	static const struct { uint8_t proto, min; } want[] = {
		{ 6, 24 }, { 17, 8 }, { 50, 8 }, { 51, 16 }, { 58, 8 }, { 253, 8 },
	};
	struct shape shape = shape_of(FAMILY_V6, 1, 200);

	(void)state;
	shape.chain_len = 1;
	shape.chain[0].type = 60;
	shape.chain[0].len = 24;
	for (size_t i = 0; i < sizeof(want) / sizeof(want[0]); i++) {
		shape.proto = want[i].proto;
		for (uint32_t len = 8; len <= 72; len += 8) {
			shape.id++;
			/* Nobody can demand a header of what nobody knows. */
			if (len >= 24u + (want[i].proto == 253 ? 0 : want[i].min))
				add_kept(&shape, 0, len, true);
			else
				add_dropped(&shape, 0, len, true);
			reassembly_expire(reassembly, UINT64_MAX);
		}
	}
}

static void atomic_fragments(void **state)
{
	struct shape shape = shape_of(FAMILY_V6, 1, 64);

	(void)state;
	add_kept(&shape, 32, 32, true);
	assert_int_equal(add(&shape, 0, 64, false), DROP_NONE);
	check_whole(reassembly, &shape, whole);
	shape.payload_len = 96;		/* what waits has not noticed */
	add_kept(&shape, 64, 32, false);
	assert_int_equal(add(&shape, 0, 32, true), DROP_NONE);
	check_whole(reassembly, &shape, whole);
	shape.payload_len = 0;
	shape.proto = 59;
	assert_int_equal(add(&shape, 0, 0, false), DROP_NONE);
	check_whole(reassembly, &shape, whole);
	shape.proto = 6;		/* without TCP's header */
	shape.payload_len = 19;
	assert_int_equal(add(&shape, 0, 19, false), DROP_REASSEMBLY);
	assert_int_equal(dropped, 1);
	shape.payload_len = 20;
	assert_int_equal(add(&shape, 0, 20, false), DROP_NONE);
	check_whole(reassembly, &shape, whole);
}

/* ---- header of the whole packet ---- */

/* RFC 3168 5.3: octets of two fragments, and of the packet (0xff: dropped). */
static void congestion(enum ip_family family)
{
	static const uint8_t want[][3] = {
		{ 0, 0, 0 }, { 1, 1, 1 }, { 2, 2, 2 }, { 3, 3, 3 }, { 2, 3, 3 }, { 3, 2, 3 },
		{ 1, 3, 3 }, { 3, 1, 3 }, { 0, 3, 0xff }, { 3, 0, 0xff }, { 1, 2, 1 }, { 2, 1, 2 },
	};

	for (uint32_t i = 0; i < sizeof(want) / sizeof(want[0]); i++) {
		struct shape shape = shape_of(family, i, 64);

		shape.tos = (uint8_t)(0xb8 | want[i][0]);
		add_kept(&shape, 0, 32, true);
		shape.tos = want[i][1];
		if (want[i][2] == 0xff) {
			add_dropped(&shape, 32, 32, false);
			continue;
		}
		assert_int_equal(add(&shape, 32, 32, false), DROP_NONE);
		shape.tos = (uint8_t)(0xb8 | want[i][2]);
		check_whole(reassembly, &shape, whole);
	}
}

static void ecn_of_fragments(void **state)
{
	(void)state;
	for_both(congestion);
}

/* What is only in the first fragment is in the packet, whenever it comes. */
static void options_of_the_first(void **state)
{
	struct shape shape = shape_of(FAMILY_V4, 1, 64), later = shape;

	(void)state;
	shape.options = "\x44\x08\x05\x00\x01\x02\x03\x04";
	shape.options_len = 8;
	later.tos = 4;
	add_kept(&later, 32, 32, false);
	assert_int_equal(add(&shape, 0, 32, true), DROP_NONE);
	check_whole(reassembly, &shape, whole);
}

/* ---- what belongs together ---- */

static void check_stranger(const struct shape *shape, const struct shape *stranger)
{
	add_kept(shape, 0, 32, true);
	add_kept(stranger, 32, 32, false);
	assert_int_equal(reassembly_expire(reassembly, UINT64_MAX), 2);
}

static void strangers(enum ip_family family)
{
	struct shape shape = shape_of(family, 1, 64), other = shape;

	other.id = 2;
	check_stranger(&shape, &other);
	other = shape;
	other.src++;
	check_stranger(&shape, &other);
	other = shape;
	other.vlans = 1;
	check_stranger(&shape, &other);
	if (family == FAMILY_V4) {
		other = shape;
		other.proto = 51;
		check_stranger(&shape, &other);
	}
	add_kept(&shape, 0, 32, true);
	scope = 1;
	add_kept(&shape, 32, 32, false);
	assert_int_equal(reassembly_expire(reassembly, UINT64_MAX), 2);
	scope = 0;
}

/* The priority in a tag is not the VLAN. */
static void tags_with_other_priority(void **state)
{
	struct shape shape = shape_of(FAMILY_V4, 1, 64);
	uint32_t len;

	(void)state;
	shape.vlans = 2;
	add_kept(&shape, 0, 32, true);
	len = build_fragment(&shape, 32, 32, false, frame);
	frame[14] |= 0xe0;
	frame[18] |= 0x10;
	assert_int_equal(add_frame(&shape, frame, len), DROP_NONE);
	check_whole(reassembly, &shape, whole);
}

static void strangers_are_kept_apart(void **state)
{
	(void)state;
	for_both(strangers);
}

/* ---- time ---- */

static void time_runs_from_the_first(void **state)
{
	struct shape shape = shape_of(FAMILY_V4, 1, 96), second = shape_of(FAMILY_V4, 2, 96);

	(void)state;
	now = SECOND;
	assert_true(reassembly_next_ns(reassembly) == UINT64_MAX);
	add_kept(&shape, 0, 32, true);
	now = 5 * SECOND;
	add_kept(&shape, 32, 32, true);
	add_kept(&second, 32, 32, true);
	assert_true(reassembly_next_ns(reassembly) == 11 * SECOND);
	assert_int_equal(reassembly_expire(reassembly, 11 * SECOND - 1), 0);
	assert_int_equal(reassembly_expire(reassembly, 11 * SECOND), 2);
	assert_true(reassembly_next_ns(reassembly) == 15 * SECOND);
	/* Too late, though nobody has looked yet: counted when somebody does. */
	now = 15 * SECOND;
	add_kept(&second, 0, 32, true);
	assert_true(reassembly_next_ns(reassembly) <= now);
	assert_int_equal(reassembly_expire(reassembly, now), 1);
	assert_true(reassembly_next_ns(reassembly) == 25 * SECOND);
}

static void tombstones_pass(void **state)
{
	struct shape shape = shape_of(FAMILY_V6, 1, 64);

	(void)state;
	now = SECOND;
	add_kept(&shape, 0, 32, true);
	now = 2 * SECOND;
	add_dropped(&shape, 16, 32, true);
	now = 11 * SECOND - 1;
	add_dropped(&shape, 0, 32, true);
	assert_int_equal(dropped, 1);
	assert_int_equal(reassembly_expire(reassembly, now), 0);
	now = 11 * SECOND;
	add_kept(&shape, 0, 32, true);
	assert_int_equal(add(&shape, 32, 32, false), DROP_NONE);
	check_whole(reassembly, &shape, whole);
}

/* ---- where it came from ---- */

static void told_origin(enum ip_family family)
{
	static const struct range ranges[] = { { 96, 29, false }, { 0, 32, true }, { 32, 64, true } };
	struct shape shape = shape_of(family, 77, 125);
	uint32_t len, largest = 0, i = 0;
	struct reassembly_origin origin;

	for (; i < sizeof(ranges) / sizeof(ranges[0]); i++) {
		len = build_fragment(&shape, ranges[i].off, ranges[i].len, ranges[i].more, frame);
		if (ranges[i].len == 64)
			largest = len - shape_l2(&shape);
		assert_int_equal(add_frame(&shape, frame, len), DROP_NONE);
	}
	assert_non_null(whole);
	origin = reassembly_origin(whole);
	assert_int_equal(origin.largest, largest);
	assert_int_equal(origin.id, 77);
	reassembly_release(reassembly, whole);
}

static void origin_is_told(void **state)
{
	(void)state;
	for_both(told_origin);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(any_overlap_drops_all),
		TEST(origin_is_told),
		TEST(duplicates_go_alone),
		TEST(duplicate_of_another_kind),
		TEST(lengths_and_offsets_lie),
		TEST(too_long_with_the_first_header),
		TEST(too_many_fragments),
		TEST(malformed),
		TEST(nested_later),
		TEST(long_headers),
		TEST(too_many_tags),
		TEST(first_has_the_header_chain),
		TEST(atomic_fragments),
		TEST(ecn_of_fragments),
		TEST(options_of_the_first),
		TEST(strangers_are_kept_apart),
		TEST(tags_with_other_priority),
		TEST(time_runs_from_the_first),
		TEST(tombstones_pass),
	};

	return cmocka_run_group_tests(tests, fill_payload, NULL);
}
