// SPDX-License-Identifier: BSD-2-Clause
/* The outer header of tunnel mode, octet by octet, and what of it reaches the inner one again. */
#include "esp_pair.h"

#include "lib/outer.h"

enum { NOT_ECT, ECT_1, ECT_0, CE };	/* RFC 3168 5 */

#define LOST 0xff

/* An inner packet with this DSCP and ECN octet. */
static void frame_class(struct frame *frame, enum ip_family family, uint8_t class)
{
	uint8_t *ip;

	frame_plain(frame, family, 100);
	ip = frame_ip(frame);
	if (family == FAMILY_V4) {
		ip[1] = class;
		checksum_ipv4(ip, 20);
	} else {
		store_be32(ip, 0x60012345 | (uint32_t)class << 20);
	}
	memcpy(frame->before, frame->packet.data, frame->before_len);
}

static uint8_t class_of(const uint8_t *ip)
{
	return ip[0] >> 4 == 4 ? ip[1] : (uint8_t)(ip[0] << 4 | ip[1] >> 4);
}

/* As a router that meets congestion would, or a hostile one: the checksum is made right. */
static void set_outer_ecn(uint8_t *ip, uint8_t ecn)
{
	if (ip[0] >> 4 == 4) {
		ip[1] = (uint8_t)((ip[1] & 0xfc) | ecn);
		checksum_ipv4(ip, 20);
	} else {
		ip[1] = (uint8_t)((ip[1] & 0xcf) | ecn << 4);
	}
}

static void test_ipv4_header(void **state)
{
	static const uint8_t want[20] = {
		0x45, 0xb9, 0, 156,			/* DSCP and ECN copied */
		0x12, 0x34, 0x40, 0, 64, IPPROTO_ESP,	/* the sequence number; DF copied */
		0, 0, 10, 9, 0, 1, 10, 9, 0, 2,
	};
	static struct frame frame;
	struct pair pair;
	uint8_t *ip;

	(void)state;
	pair_init(&pair, "aes128gcm16", NULL, FAMILY_V4, true, true);
	for (int inner = 0; inner < FAMILY_COUNT; inner++) {
		pair.out_state.seq_next = 0x71234;
		frame_plain(&frame, inner, inner == FAMILY_V4 ? 80 : 60);
		encap(&pair, &frame);
		ip = frame_ip(&frame);
		assert_int_equal(ones_sum(0, ip, 20), 0xffff);
		store_be16(ip + 10, 0);
		assert_memory_equal(ip, want, 20);
		assert_int_equal(load_be16(ip - 2), 0x0800);
		assert_int_equal(load_be32(ip + 20), 0x1001);
	}
	pair_fini(&pair);
}

static void test_ipv6_header(void **state)
{
	static const uint32_t first[FAMILY_COUNT] = {
		0x6b900000, 0x6b912345,	/* a flow label there is in IPv6 only */
	};
	static const uint8_t want[36] = {
		0, 136, IPPROTO_ESP, 64,
		0xfd, 9, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1,
		0xfd, 9, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 2,
	};
	static struct frame frame;
	struct pair pair;

	(void)state;
	pair_init(&pair, "aes128gcm16", NULL, FAMILY_V6, true, true);
	for (int inner = 0; inner < FAMILY_COUNT; inner++) {
		frame_plain(&frame, inner, inner == FAMILY_V4 ? 80 : 60);
		encap(&pair, &frame);
		assert_int_equal(load_be32(frame_ip(&frame)), first[inner]);
		assert_memory_equal(frame_ip(&frame) + 4, want, 36);
		assert_int_equal(load_be16(frame_ip(&frame) - 2), 0x86dd);
		assert_int_equal(load_be32(frame_ip(&frame) + 40), 0x1001);
	}
	pair_fini(&pair);
}

/* Every DSCP with every ECN field, copied and set, over all families; the way back is silent. */
static void test_dscp(void **state)
{
	static struct frame frame;
	struct pair pair;

	(void)state;
	for (int variant = 0; variant < 4; variant++) {
		pair_init(&pair, "aes128gcm16", NULL, variant & 1, true, true);
		for (unsigned int class = 0; class < 256; class++) {
			pair.out.dscp = DSCP_COPY;
			frame_class(&frame, variant >> 1, (uint8_t)class);
			encap(&pair, &frame);
			assert_int_equal(class_of(frame_ip(&frame)), class);
			pair.out.dscp = (uint8_t)(63 - class / 4);
			frame_class(&frame, variant >> 1, (uint8_t)class);
			encap(&pair, &frame);
			assert_int_equal(class_of(frame_ip(&frame)),
					 (63 - class / 4) * 4 + class % 4);
			decap(&pair, &frame);
			assert_int_equal(frame.packet.state, PACKET_VERIFIED);
			assert_int_equal(frame.packet.len, frame.before_len);
			assert_memory_equal(frame.packet.data, frame.before, frame.before_len);
		}
		pair_fini(&pair);
	}
}

static void test_df(void **state)
{
	static const struct {
		enum df_rule rule;
		enum ip_family inner;
		uint8_t before, after;
	} cases[] = {
		{ DF_COPY, FAMILY_V4, 0, 0 },	  { DF_COPY, FAMILY_V4, 0x40, 0x40 },
		{ DF_COPY, FAMILY_V6, 0, 0x40 },  { DF_SET, FAMILY_V4, 0, 0x40 },
		{ DF_SET, FAMILY_V4, 0x40, 0x40 }, { DF_SET, FAMILY_V6, 0, 0x40 },
		{ DF_CLEAR, FAMILY_V4, 0, 0 },	  { DF_CLEAR, FAMILY_V4, 0x40, 0 },
		{ DF_CLEAR, FAMILY_V6, 0, 0 },
		{ DF_COPY, FAMILY_V4, 0x80 | 0x20, 0 },	/* a fragment; the reserved bit stays in */
	};
	static struct frame frame;
	struct pair pair;

	(void)state;
	pair_init(&pair, "aes128gcm16", NULL, FAMILY_V4, true, true);
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		pair.out.df = (uint8_t)cases[i].rule;
		frame_plain(&frame, cases[i].inner, 100);
		if (cases[i].inner == FAMILY_V4) {
			frame_ip(&frame)[6] = cases[i].before;
			checksum_ipv4(frame_ip(&frame), 20);
		}
		encap(&pair, &frame);
		assert_int_equal(load_be16(frame_ip(&frame) + 6), cases[i].after << 8);
		assert_int_equal(ones_sum(0, frame_ip(&frame), 20), 0xffff);
	}
	pair_fini(&pair);
}

/* RFC 6040 figure 4, in its own order of columns and rows. */
static const uint8_t columns[4] = { NOT_ECT, ECT_0, ECT_1, CE };
static const struct {
	uint8_t inner, result[4];
} figure_4[4] = {
	{ NOT_ECT, { NOT_ECT, NOT_ECT, NOT_ECT, LOST } },
	{ ECT_0,   { ECT_0,   ECT_0,   ECT_1,   CE } },
	{ ECT_1,   { ECT_1,   ECT_1,   ECT_1,   CE } },
	{ CE,      { CE,      CE,      CE,      CE } },
};

static void merge_case(struct pair *pair, enum ip_family inner, unsigned int row, unsigned int col)
{
	static struct frame frame;
	uint8_t result = figure_4[row].result[col];
	uint8_t *ip;

	frame_class(&frame, inner, (uint8_t)(0xb8 | figure_4[row].inner));
	encap(pair, &frame);
	assert_int_equal(class_of(frame_ip(&frame)) & 3, figure_4[row].inner);
	set_outer_ecn(frame_ip(&frame), columns[col]);
	decap(pair, &frame);
	if (result == LOST) {
		assert_dropped(&frame, DROP_ECN);
		return;
	}
	assert_int_equal(frame.packet.state, PACKET_VERIFIED);
	ip = frame_ip(&frame);
	assert_int_equal(class_of(ip), 0xb8 | result);
	if (inner == FAMILY_V4)
		assert_int_equal(ones_sum(0, ip, 20), 0xffff);
	/* Nothing else has changed. */
	set_outer_ecn(ip, figure_4[row].inner);
	assert_int_equal(frame.packet.len, frame.before_len);
	assert_memory_equal(frame.packet.data, frame.before, frame.before_len);
}

static void test_ecn_on_arrival(void **state)
{
	struct pair pair;

	(void)state;
	for (int outer = 0; outer < FAMILY_COUNT; outer++) {
		pair_init(&pair, "aes128gcm16", NULL, outer, true, true);
		for (int inner = 0; inner < FAMILY_COUNT; inner++)
			for (unsigned int row = 0; row < 4; row++)
				for (unsigned int col = 0; col < 4; col++)
					merge_case(&pair, inner, row, col);
		pair_fini(&pair);
	}
}

/* Whatever the rest of the octets says; a header with a wrong checksum keeps a wrong one. */
static void test_merge_alone(void **state)
{
	(void)state;
	for (unsigned int class = 0; class < 256; class++)
		for (unsigned int outer = 0; outer < 256; outer++) {
			uint8_t ip[40] = { 0x45, (uint8_t)class }, before[40];
			struct ip_layout layout = { .ip = ip, .family = FAMILY_V4 };
			uint16_t sum;

			memcpy(ip + 12, address(FAMILY_V4, 1).b, 4);
			store_be16(ip + 10, (uint16_t)(outer * 0x101));
			sum = ones_sum(0, ip, 20);
			memcpy(before, ip, 40);
			if (outer_merge_ecn(&layout, (uint8_t)outer) != DROP_NONE) {
				assert_true(class % 4 == NOT_ECT && outer % 4 == CE);
				assert_memory_equal(ip, before, 40);
			}
			assert_int_equal(ip[1] & 0xfc, class & 0xfc);
			assert_int_equal(ones_sum(0, ip, 20) % 0xffff, sum % 0xffff);
			layout.family = FAMILY_V6;
			store_be32(ip, 0x600abcde | class << 20);
			outer_merge_ecn(&layout, (uint8_t)outer);
			assert_int_equal(load_be32(ip) & 0xffcfffff,
					 (0x600abcde | class << 20) & 0xffcfffff);
		}
}

/* Transport mode has one IP header: its ECN field is the transport's as it is. */
static void test_transport_mode_keeps_ecn(void **state)
{
	static struct frame frame;
	struct pair pair;

	(void)state;
	for (int family = 0; family < FAMILY_COUNT; family++) {
		pair_init(&pair, "aes128gcm16", NULL, family, false, true);
		pair.out.dscp = 1;
		frame_class(&frame, family, 0xb8);
		encap(&pair, &frame);
		assert_int_equal(class_of(frame_ip(&frame)), 0xb8);
		set_outer_ecn(frame_ip(&frame), CE);
		decap(&pair, &frame);
		assert_int_equal(frame.packet.state, PACKET_VERIFIED);
		assert_int_equal(class_of(frame_ip(&frame)), 0xbb);
		pair_fini(&pair);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_ipv4_header),
		cmocka_unit_test(test_ipv6_header),
		cmocka_unit_test(test_dscp),
		cmocka_unit_test(test_df),
		cmocka_unit_test(test_ecn_on_arrival),
		cmocka_unit_test(test_merge_alone),
		cmocka_unit_test(test_transport_mode_keeps_ecn),
	};

	return cmocka_run_group_tests_name("outer", tests, NULL, NULL);
}
