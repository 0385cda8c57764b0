// SPDX-License-Identifier: BSD-2-Clause
/*
 * Cutting: each fragment must equal, octet for octet, the one that fragments.h builds. And back:
 * fragments in any order must give the packet again.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>

#include <cmocka.h>

#include "fragments.h"
#include "vectors/scapy_fragments.h"

static uint8_t whole_frame[FRAME_MAX], wanted[FRAME_MAX];
static struct packet cut[FRAGMENTS_MAX];

static enum drop_reason start(struct fragment_iter *iter, const struct shape *shape, uint32_t mtu,
			      struct packet *ret_packet)
{
	uint32_t len = build_whole(shape, whole_frame);

	*ret_packet = heap_packet(shape, whole_frame, len);
	return fragment_start(iter, ret_packet, mtu, shape->id);
}

/* Cuts the packet into exact-size heap frames. Returns how many. */
static unsigned int cut_up(const struct shape *shape, uint32_t mtu)
{
	struct fragment_iter iter;
	struct packet packet, out = { 0 };
	uint32_t room = shape_l2(shape) + mtu;
	unsigned int count = 0;

	assert_int_equal(start(&iter, shape, mtu, &packet), DROP_NONE);
	out.data = malloc(room);
	while (memset(out.data, 0xee, room), fragment_next(&iter, &out, room)) {
		assert_int_equal(out.state, PACKET_PROTECTED);
		assert_int_equal(out.l2_len, packet.l2_len);
		assert_int_equal(out.family, packet.family);
		assert_true(out.len <= room);
		assert_true(count < FRAGMENTS_MAX);
		cut[count++] = heap_packet(shape, out.data, out.len);
	}
	free(out.data);
	free(packet.data);
	return count;
}

static void free_cut(unsigned int count)
{
	while (count--)
		free(cut[count].data);
}

/* Only for shapes whose fragments all have the same header. */
static void check_cut(const struct shape *shape, uint32_t mtu)
{
	unsigned int count = cut_up(shape, mtu);
	uint32_t header = shape_header(shape) + (shape->family == FAMILY_V6 ? 8 : 0);
	uint32_t step = (mtu - header) / 8 * 8, part = shape_part(shape), off = 0;

	for (unsigned int i = 0; i < count; i++) {
		uint32_t left = part - off;
		uint32_t size = left <= mtu - header ? left : step;
		uint32_t len = build_fragment(shape, off, size, size < left, wanted);

		assert_int_equal(cut[i].len, len);
		assert_memory_equal(cut[i].data, wanted, len);
		off += size;
	}
	assert_int_equal(off, part);
	free_cut(count);
}

static const struct shape shapes[] = {
	{ .family = FAMILY_V4, .proto = 50, .src = 1, .id = 0xffff },
	{ .family = FAMILY_V4, .proto = 51, .src = 2, .id = 0, .vlans = 1, .tos = 0xb9 },
	/* Loose source route, copied into each: 11 octets and an end */
	{ .family = FAMILY_V4, .proto = 50, .src = 3, .id = 7, .vlans = 2, .options_len = 12,
	  .options = "\x83\x0b\x04\x0a\x01\x02\x03\x0a\x01\x02\x04\x00" },
	{ .family = FAMILY_V6, .proto = 50, .src = 4, .id = 0xfedcba98 },
	{ .family = FAMILY_V6, .proto = 17, .src = 5, .id = 1, .vlans = 2, .tos = 0xb9,
	  .chain = { { 0, 8 }, { 60, 16 } }, .chain_len = 2, .per_fragment = 1 },
	{ .family = FAMILY_V6, .proto = 6, .src = 6, .id = 2, .vlans = 1,
	  .chain = { { 0, 8 }, { 60, 24 }, { 43, 16 }, { 60, 8 } }, .chain_len = 4,
	  .per_fragment = 3 },
};
#define SHAPES (sizeof(shapes) / sizeof(shapes[0]))
static const uint32_t mtus[] = { 576, 1280, 1500, 9001 };
#define MTUS (sizeof(mtus) / sizeof(mtus[0]))

/* Octets of payload for an IP packet as large as they get (IPv6: without the 40 of its header). */
static uint32_t largest(const struct shape *shape)
{
	uint32_t headers = shape_header(shape) + shape_part(shape) - shape->payload_len;

	return 65535 - headers + (shape->family == FAMILY_V6 ? 40 : 0);
}

static void cut_as_built(void **state)
{
	(void)state;
	for (size_t i = 0; i < SHAPES; i++) {
		for (size_t m = 0; m < MTUS; m++) {
			struct shape shape = shapes[i];

			shape.payload_len = largest(&shape);
			check_cut(&shape, mtus[m]);
			for (shape.payload_len = mtus[m]; shape.payload_len < mtus[m] + 40;
			     shape.payload_len++)
				check_cut(&shape, mtus[m]);
		}
	}
}

/* The last fragment may use the octets that a unit of eight leaves, no other one may. */
static void sizes_at_the_edge(void **state)
{
	struct shape shape = shape_default(FAMILY_V4);

	(void)state;
	for (uint32_t mtu = 28; mtu < 60; mtu++) {
		for (shape.payload_len = mtu - 19; shape.payload_len < 200; shape.payload_len++)
			check_cut(&shape, mtu);
	}
	shape = shape_default(FAMILY_V6);
	for (uint32_t mtu = 56; mtu < 80; mtu++) {
		for (shape.payload_len = mtu - 39; shape.payload_len < 200; shape.payload_len++)
			check_cut(&shape, mtu);
	}
}

/* RFC 791 3.1: without the copied flag an option is in the first fragment only. */
static void options_by_their_flag(void **state)
{
	static const char options[] = "\x01\x44\x0c\x05\x00\x01\x02\x03\x04\x05\x06\x07\x08"
				      "\x94\x04\x00\x00\x01\x07\x07\x04\x0a\x01\x02\x03"
				      "\x88\x04\x12\x34\x00\x99\x77";
	struct shape shape = shape_default(FAMILY_V4), later;
	unsigned int count;
	uint32_t off;

	(void)state;
	shape.options = options;
	shape.options_len = 32;
	later = shape;
	later.options = "\x94\x04\x00\x00\x88\x04\x12\x34";
	later.options_len = 8;
	count = cut_up(&shape, 576);
	assert_int_equal(count, 8);
	assert_int_equal(cut[0].len, build_fragment(&shape, 0, 520, true, wanted));
	assert_memory_equal(cut[0].data, wanted, cut[0].len);
	off = 520;
	for (unsigned int i = 1; i < count; i++) {
		uint32_t size = i < 7 ? 544 : 4000 - off;

		assert_int_equal(cut[i].len, build_fragment(&later, off, size, i < 7, wanted));
		assert_memory_equal(cut[i].data, wanted, cut[i].len);
		off += size;
	}
	free_cut(count);
}

/* A fragment that is cut once more: offsets go on from its own, and its last is not the last. */
static void fragment_of_fragment(void **state)
{
	struct shape shape = shape_default(FAMILY_V4);
	struct fragment_iter iter;
	struct packet packet, out = { .data = malloc(1514) };
	uint32_t len = build_fragment(&shape, 1024, 1200, true, whole_frame);

	(void)state;
	packet = heap_packet(&shape, whole_frame, len);
	assert_int_equal(fragment_start(&iter, &packet, 1000, 0), DROP_NONE);
	assert_true(fragment_next(&iter, &out, 1514));
	assert_int_equal(out.len, build_fragment(&shape, 1024, 976, true, wanted));
	assert_memory_equal(out.data, wanted, out.len);
	assert_true(fragment_next(&iter, &out, 1514));
	assert_int_equal(out.len, build_fragment(&shape, 2000, 224, true, wanted));
	assert_memory_equal(out.data, wanted, out.len);
	assert_false(fragment_next(&iter, &out, 1514));
	free(packet.data);
	free(out.data);
}

static void what_fits_goes_whole(void **state)
{
	(void)state;
	for (size_t i = 0; i < SHAPES; i++) {
		struct shape shape = shapes[i];
		uint32_t total;

		shape.payload_len = 1000;
		total = shape_header(&shape) + shape_part(&shape);
		assert_int_equal(cut_up(&shape, total), 1);
		assert_int_equal(cut[0].len, build_whole(&shape, wanted));
		assert_memory_equal(cut[0].data, wanted, cut[0].len);
		free_cut(1);
		assert_int_equal(cut_up(&shape, total - 1), 2);
		free_cut(2);
	}
}

/* ---- refusals ---- */

/* fragment_start() for the frame of `shape` with one octet replaced. */
static enum drop_reason start_with(const struct shape *shape, uint32_t mtu, uint32_t at,
				   uint8_t octet)
{
	struct fragment_iter iter;
	struct packet packet;
	enum drop_reason reason;

	packet = heap_packet(shape, whole_frame, build_whole(shape, whole_frame));
	packet.data[packet.l2_len + at] = octet;
	reason = fragment_start(&iter, &packet, mtu, 1);
	free(packet.data);
	return reason;
}

static void refusals(void **state)
{
	struct shape v4 = shape_default(FAMILY_V4), v6 = shape_default(FAMILY_V6);

	(void)state;
	assert_int_equal(start_with(&v4, 1500, 6, 0x40), DROP_TOO_BIG);		/* DF */
	assert_int_equal(start_with(&v4, 4020, 6, 0x40), DROP_NONE);
	assert_int_equal(start_with(&v4, 27, 6, 0), DROP_TOO_BIG);
	assert_int_equal(start_with(&v4, 28, 6, 0), DROP_NONE);
	assert_int_equal(start_with(&v4, 1500, 6, 0x1f), DROP_MALFORMED);	/* past 65535 */
	assert_int_equal(start_with(&v4, 1500, 3, 0xff), DROP_MALFORMED);	/* total length */
	assert_int_equal(start_with(&v4, 1500, 0, 0x44), DROP_MALFORMED);
	v4.payload_len = 4001;
	assert_int_equal(start_with(&v4, 1500, 6, 0x20), DROP_MALFORMED);	/* more, odd */
	assert_int_equal(start_with(&v6, 55, 7, 1), DROP_TOO_BIG);
	assert_int_equal(start_with(&v6, 56, 7, 1), DROP_NONE);
	assert_int_equal(start_with(&v6, 1500, 6, 44), DROP_MALFORMED);		/* a fragment */
	v6.chain_len = v6.per_fragment = 1;
	v6.chain[0].type = 43;
	v6.chain[0].len = 24;
	assert_int_equal(start_with(&v6, 1500, 43, 0), DROP_NONE);
	assert_int_equal(start_with(&v6, 1500, 43, 1), DROP_UNSUPPORTED);	/* on its way */
	v6.payload_len = 1400;
	assert_int_equal(start_with(&v6, 1300, 41, 255), DROP_MALFORMED);
}

static void option_lengths_lie(void **state)
{
	static const char *const bad[] = { "\x82\x01\x00\x00", "\x82\x00\x00\x00",
					   "\x82\x05\x00\x00", "\x01\x01\x01\x82",
					   "\x07\xff\x00\x00" };
	struct shape shape = shape_default(FAMILY_V4);

	(void)state;
	shape.options_len = 4;
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		shape.options = bad[i];
		assert_int_equal(start_with(&shape, 1500, 8, 9), DROP_MALFORMED);
	}
	shape.options = "\x00\x82\xff\xff";	/* behind the end of options: not looked at */
	assert_int_equal(start_with(&shape, 1500, 8, 9), DROP_NONE);
}

static void no_room(void **state)
{
	struct shape shape = shape_default(FAMILY_V6);
	struct fragment_iter iter;
	struct packet packet, out = { .data = malloc(1509) };

	(void)state;
	assert_int_equal(start(&iter, &shape, 1500, &packet), DROP_NONE);
	assert_true(fragment_next(&iter, &out, 1509));	/* 48 + 1448 and Ethernet: 1510 */
	assert_int_equal(out.state, PACKET_DEAD);
	assert_int_equal(out.drop, DROP_NO_BUFFER);
	assert_false(fragment_next(&iter, &out, 9000));
	free(packet.data);
	free(out.data);
}

/* ---- another implementation ---- */

static struct packet unhex_packet(const struct fragment_vector *vector, const char *hex)
{
	uint32_t len = (uint32_t)strlen(hex) / 2;

	for (uint32_t i = 0; i < len; i++) {
		char pair[] = { hex[2 * i], hex[2 * i + 1], 0 };

		wanted[i] = (uint8_t)strtoul(pair, NULL, 16);
	}
	return (struct packet){
		.data = memcpy(malloc(len), wanted, len), .len = len, .l2_len = vector->l2_len,
	};
}

/* Cuts as scapy does, and makes of scapy's fragments, last one first, the packet again. */
static void check_vector(const struct fragment_vector *vector)
{
	struct packet packet = unhex_packet(vector, vector->whole), theirs, *whole = NULL;
	struct packet out = { .data = malloc(2048) };
	struct reassembly *reassembly = new_reassembly(1);
	struct fragment_iter iter;
	unsigned int count = 0;
	uint32_t dropped;

	assert_int_equal(fragment_start(&iter, &packet, vector->mtu, vector->id), DROP_NONE);
	for (; fragment_next(&iter, &out, 2048); count++) {
		assert_non_null(vector->fragments[count]);
		theirs = unhex_packet(vector, vector->fragments[count]);
		assert_int_equal(out.len, theirs.len);
		assert_memory_equal(out.data, theirs.data, theirs.len);
		free(theirs.data);
	}
	assert_null(vector->fragments[count]);
	while (count--) {
		assert_null(whole);
		theirs = unhex_packet(vector, vector->fragments[count]);
		assert_int_equal(reassembly_add(reassembly, &theirs, 0, 1, &whole, &dropped),
				 DROP_NONE);
		free(theirs.data);
	}
	assert_non_null(whole);
	assert_int_equal(whole->len, packet.len);
	assert_memory_equal(whole->data, packet.data, packet.len);
	free(packet.data);
	free(out.data);
	reassembly_free(reassembly);
}

static void as_scapy_does(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof(fragment_vectors) / sizeof(fragment_vectors[0]); i++) {
		print_message("%s\n", fragment_vectors[i].name);
		check_vector(&fragment_vectors[i]);
	}
}

/* ---- there and back ---- */

static struct packet *add(struct reassembly *reassembly, const struct packet *fragment)
{
	struct packet *whole;
	uint32_t dropped;

	assert_int_equal(reassembly_add(reassembly, fragment, 0, 1, &whole, &dropped), DROP_NONE);
	assert_int_equal(dropped, 0);
	return whole;
}

/* Adds the fragments in the order given; only the last one completes the packet. */
static void put_together(struct reassembly *reassembly, const struct shape *shape,
			 const unsigned int *order, unsigned int count)
{
	for (unsigned int i = 0; i + 1 < count; i++)
		assert_null(add(reassembly, &cut[order[i]]));
	check_whole(reassembly, shape, add(reassembly, &cut[order[count - 1]]));
	assert_true(reassembly_next_ns(reassembly) == UINT64_MAX);
}

/* Heap's algorithm, by recursion. */
static void permute(struct reassembly *reassembly, const struct shape *shape, unsigned int *order,
		    unsigned int count, unsigned int left)
{
	if (left == 1) {
		put_together(reassembly, shape, order, count);
		return;
	}
	for (unsigned int i = 0; i < left; i++) {
		unsigned int other = left % 2 ? 0 : i, swap;

		permute(reassembly, shape, order, count, left - 1);
		if (i + 1 == left)
			break;
		swap = order[other];
		order[other] = order[left - 1];
		order[left - 1] = swap;
	}
}

static void every_order(void **state)
{
	struct reassembly *reassembly = new_reassembly(2);

	(void)state;
	for (size_t i = 0; i < SHAPES; i++) {
		unsigned int order[5] = { 0, 1, 2, 3, 4 };
		struct shape shape = shapes[i];

		shape.payload_len = 2400;
		assert_int_equal(cut_up(&shape, 600), 5);
		permute(reassembly, &shape, order, 5, 5);
		free_cut(5);
	}
	reassembly_free(reassembly);
}

static void shuffle(uint64_t *seed, unsigned int *order, unsigned int count)
{
	for (unsigned int i = 0; i < count; i++)
		order[i] = i;
	for (unsigned int i = count; i > 1; i--) {
		unsigned int other = next_random(seed) % i, swap = order[i - 1];

		order[i - 1] = order[other];
		order[other] = swap;
	}
}

static void round_trip(struct reassembly *reassembly, const struct shape *shape, uint32_t mtu,
		       uint64_t *seed)
{
	static unsigned int order[FRAGMENTS_MAX];
	unsigned int count = cut_up(shape, mtu);

	shuffle(seed, order, count);
	put_together(reassembly, shape, order, count);
	free_cut(count);
}

static void any_size_in_random_order(void **state)
{
	struct reassembly *reassembly = new_reassembly(1);
	uint64_t seed = 21;

	(void)state;
	for (unsigned int i = 0; i < 600; i++) {
		struct shape shape = shapes[i % SHAPES];
		uint32_t mtu = mtus[i / SHAPES % MTUS], max = largest(&shape);

		shape.payload_len = i < 72 ? max - i / 12 : mtu + next_random(&seed) % (max - mtu);
		round_trip(reassembly, &shape, mtu, &seed);
	}
	reassembly_free(reassembly);
}

/* The smallest fragments there are: every unit of eight octets comes alone. */
static void eight_octets_each(void **state)
{
	struct reassembly *reassembly = new_reassembly(1);
	struct shape shape = shape_default(FAMILY_V4);
	uint64_t seed = 22;

	(void)state;
	shape.payload_len = 65515;
	round_trip(reassembly, &shape, 28, &seed);
	shape = shape_default(FAMILY_V6);
	shape.payload_len = 65535;
	round_trip(reassembly, &shape, 56, &seed);
	reassembly_free(reassembly);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(cut_as_built),
		cmocka_unit_test(sizes_at_the_edge),
		cmocka_unit_test(options_by_their_flag),
		cmocka_unit_test(fragment_of_fragment),
		cmocka_unit_test(what_fits_goes_whole),
		cmocka_unit_test(refusals),
		cmocka_unit_test(option_lengths_lie),
		cmocka_unit_test(no_room),
		cmocka_unit_test(as_scapy_does),
		cmocka_unit_test(every_order),
		cmocka_unit_test(any_size_in_random_order),
		cmocka_unit_test(eight_octets_each),
	};

	return cmocka_run_group_tests(tests, fill_payload, NULL);
}
