/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * One reassembly per test, fed with exact-size heap copies. Included by: test_reassembly*.c (after
 * cmocka).
 */
#ifndef IPSECBPF_TEST_REASSEMBLING_H
#define IPSECBPF_TEST_REASSEMBLING_H

#include "fragments.h"

/* What a fragment says of its place in the packet, octets. */
struct range {
	uint32_t off, len;
	bool more;
};

static struct reassembly *reassembly;
static struct packet *whole;
static uint32_t dropped, scope;
static uint64_t now;
static uint8_t frame[FRAME_MAX];

static inline int fresh(void **state)
{
	(void)state;
	reassembly = new_reassembly(8);
	scope = 0;
	now = 1;
	return 0;
}

static inline int gone(void **state)
{
	(void)state;
	reassembly_free(reassembly);
	return 0;
}

static inline enum drop_reason add_frame(const struct shape *shape, const uint8_t *data,
					 uint32_t len)
{
	struct packet packet = heap_packet(shape, data, len);
	enum drop_reason reason = reassembly_add(reassembly, &packet, scope, now, &whole, &dropped);

	free(packet.data);
	return reason;
}

static inline enum drop_reason add(const struct shape *shape, uint32_t off, uint32_t len, bool more)
{
	return add_frame(shape, frame, build_fragment(shape, off, len, more, frame));
}

static inline struct shape shape_of(enum ip_family family, uint32_t id, uint32_t payload_len)
{
	struct shape shape = shape_default(family);

	shape.id = id;
	shape.payload_len = payload_len;
	return shape;
}

static inline void add_kept(const struct shape *shape, uint32_t off, uint32_t len, bool more)
{
	assert_int_equal(add(shape, off, len, more), DROP_NONE);
	assert_null(whole);
	assert_int_equal(dropped, 0);
}

/* The same once more: counted, and no harm to the others. */
static inline void add_duplicate(const struct shape *shape, uint32_t off, uint32_t len, bool more)
{
	assert_int_equal(add(shape, off, len, more), DROP_FRAGMENT_DUP);
	assert_null(whole);
	assert_int_equal(dropped, 1);
}

/* Nothing is allocated for fragments; what malloc keeps for the test's own copies is little. */
static inline void check_memory(size_t before)
{
	assert_true(mallinfo2().uordblks < before + 4096);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, fresh, gone)

#endif /* IPSECBPF_TEST_REASSEMBLING_H */
