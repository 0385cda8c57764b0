// SPDX-License-Identifier: BSD-2-Clause
/* Reassembly when room is short: floods, who gives way, and what others may take. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>

#include <cmocka.h>

#include "reassembling.h"

static void whole_packets_take_room(void **state)
{
	struct shape shape = shape_of(FAMILY_V4, 1, 64);
	struct packet *held[8];

	(void)state;
	for (uint32_t i = 0; i < 8; i++) {
		shape.id = i;
		add_kept(&shape, 0, 32, true);
		assert_int_equal(add(&shape, 32, 32, false), DROP_NONE);
		held[i] = whole;
	}
	shape.id = 8;
	assert_int_equal(add(&shape, 0, 32, true), DROP_REASSEMBLY_FULL);
	assert_int_equal(dropped, 1);
	reassembly_release(reassembly, held[3]);
	add_kept(&shape, 0, 32, true);
	assert_int_equal(add(&shape, 32, 32, false), DROP_NONE);
	for (uint32_t i = 0; i < 8; i++) {
		struct packet *next = i == 3 ? whole : held[i];

		shape.id = i == 3 ? 8 : i;
		check_whole(reassembly, &shape, next);
	}
}

static void buffers_for_others(void **state)
{
	struct packet *taken[BURST];
	struct shape shape = shape_of(FAMILY_V4, 1, 64);
	uint32_t room;

	(void)state;
	for (uint32_t i = 0; i < 100; i++) {
		shape.id = i;
		add(&shape, 0, 32, true);
	}
	for (unsigned int i = 0; i < BURST; i++) {
		taken[i] = reassembly_buffer(reassembly, &room);
		assert_non_null(taken[i]);
		assert_true(taken[i]->headroom >= PACKET_HEADROOM);
		assert_true(room >= 22 + 40 + 65535);
		memset(taken[i]->data - taken[i]->headroom, 1,
		       taken[i]->headroom + room + PACKET_TAILROOM);
	}
	assert_null(reassembly_buffer(reassembly, &room));
	reassembly_release(reassembly, taken[0]);
	reassembly_release(reassembly, taken[0]);	/* twice is once */
	taken[0] = reassembly_buffer(reassembly, &room);
	assert_non_null(taken[0]);
	assert_null(reassembly_buffer(reassembly, &room));
	for (unsigned int i = 0; i < BURST; i++)
		reassembly_release(reassembly, taken[i]);
}

/* A flood from one source leaves others' packets alone, and room for new ones. */
static void flood_displaces_itself(void **state)
{
	struct shape good = shape_of(FAMILY_V4, 1, 96), flood = shape_of(FAMILY_V4, 1, 96);
	size_t before;

	(void)state;
	before = mallinfo2().uordblks;
	flood.src = 0xc0000201;
	add_kept(&good, 0, 32, true);
	for (uint32_t i = 0; i < 100000; i++) {
		flood.id = i % 50000;
		assert_int_equal(add(&flood, 64, 32, i & 1), DROP_NONE);
		assert_int_equal(dropped, i < 6 ? 0 : 1);
		if (i % 10000 == 0) {		/* somebody else's, whole in the midst of it */
			struct shape other = shape_of(FAMILY_V4, 1, 64);

			other.src = 0xc6336401;
			assert_int_equal(add(&other, 0, 32, true), DROP_NONE);
			assert_int_equal(add(&other, 32, 32, false), DROP_NONE);
			check_whole(reassembly, &other, whole);
			flood.id = 60000 + i / 10000;	/* takes the room again */
			add(&flood, 64, 32, true);
		}
	}
	add_kept(&good, 64, 32, false);
	assert_int_equal(add(&good, 32, 32, true), DROP_NONE);
	check_whole(reassembly, &good, whole);
	check_memory(before);
}

/* The oldest gives way; what comes of it later is not the beginning of another packet. */
static void who_gives_way(void **state)
{
	struct shape shape = shape_of(FAMILY_V6, 0, 96);

	(void)state;
	for (shape.id = 0; shape.id < 8; shape.id++) {
		add_kept(&shape, 0, 32, true);
		add_kept(&shape, 32, 32, true);
	}
	assert_int_equal(add(&shape, 0, 32, true), DROP_NONE);
	assert_null(whole);
	assert_int_equal(dropped, 2);
	shape.id = 0;
	assert_int_equal(add(&shape, 64, 32, false), DROP_REASSEMBLY_FULL);
	assert_int_equal(dropped, 1);
	for (shape.id = 1; shape.id < 8; shape.id++) {
		assert_int_equal(add(&shape, 64, 32, false), DROP_NONE);
		check_whole(reassembly, &shape, whole);
	}
}

static void limits_make_sense(void **state)
{
	struct reassembly_limits limits = { .packets = 0, .fragments = 1 };

	(void)state;
	assert_null(reassembly_new(&limits));
	assert_int_equal(errno, EINVAL);
	limits = (struct reassembly_limits){ .packets = 1 };
	assert_null(reassembly_new(&limits));
	reassembly_free(NULL);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(whole_packets_take_room),
		TEST(buffers_for_others),
		TEST(flood_displaces_itself),
		TEST(who_gives_way),
		TEST(limits_make_sense),
	};

	return cmocka_run_group_tests(tests, fill_payload, NULL);
}
