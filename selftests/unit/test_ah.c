// SPDX-License-Identifier: BSD-2-Clause
/* AH: round trips, what the bytes look like, edges. */
#include "ah_pair.h"

static void test_names(void **state)
{
	const struct esp_suite *suite;
	unsigned int count = 0;

	(void)state;
	for (size_t i = 0; i < AH_SUITE_COUNT; i++) {
		suite = suite_find_ah(ah_suites[i].name);
		assert_non_null(suite);
		assert_ptr_equal(suite_find_ah(ah_suites[i].xfrm), suite);
		assert_int_equal(suite->icv_len, ah_suites[i].icv_len);
		assert_int_equal(suite->cipher, CIPHER_NULL);
		assert_int_equal(suite->legacy, !strcmp(ah_suites[i].name, "md5"));
		assert_memory_equal(suite->name, "null-", 5);
		assert_string_equal(suite->name + 5, ah_suites[i].name);
	}
	for (size_t s = 0; (suite = suite_at(s)); s++) {
		assert_true(suite_serves(suite, IPPROTO_ESP));
		assert_false(suite_serves(suite, IPPROTO_COMP));
		assert_int_equal(suite_serves(suite, IPPROTO_AH), suite->cipher == CIPHER_NULL);
		count += suite_serves(suite, IPPROTO_AH);
	}
	assert_int_equal(count, AH_SUITE_COUNT);
	assert_null(suite_find_ah("null-sha256"));
	assert_null(suite_find_ah("aes128gmac"));
	assert_null(suite_find("sha256"));
}

static void test_only_ah_suites(void **state)
{
	struct sa_config config = { .proto = IPPROTO_AH, .direction = SPD_OUT };
	struct sa_state sa_state = { 0 };
	struct sa_runtime sa;

	(void)state;
	config.suite = (uint16_t)suite_index(suite_find("aes128gcm16"));
	assert_int_equal(sa_runtime_init(&sa, &config, &sa_state, NULL), -EINVAL);
	config.suite = (uint16_t)suite_index(suite_find("aes128-sha256"));
	assert_int_equal(sa_runtime_init(&sa, &config, &sa_state, NULL), -EINVAL);
}

/* What an outsider can check of a protected packet. */
static void assert_well_formed(const struct pair *pair, struct frame *frame, uint32_t ah_off)
{
	const struct packet *packet = &frame->packet;
	uint32_t total = packet->len - packet->l2_len, icv_len = pair->out.suite->icv_len;
	uint32_t align = pair->config.family == FAMILY_V4 ? 4 : 8;
	uint32_t ah_len = (12 + icv_len + align - 1) / align * align;
	const uint8_t *ip = frame_ip(frame), *ah = ip + ah_off;

	assert_int_equal(packet->state, PACKET_PROTECTED);
	assert_int_equal(packet->family, pair->config.family);
	assert_memory_equal(packet->data, frame->before, packet->l2_len - 2);
	if (pair->config.family == FAMILY_V4) {
		assert_int_equal(load_be16(packet->data + packet->l2_len - 2), 0x0800);
		assert_int_equal(load_be16(ip + 2), total);
		assert_int_equal(ip[9], IPPROTO_AH);
		assert_int_equal(checksum_fold(checksum_add(0, ip, (ip[0] & 15u) * 4)), 0);
	} else {
		assert_int_equal(load_be16(packet->data + packet->l2_len - 2), 0x86dd);
		assert_int_equal(load_be16(ip + 4) + 40, total);
	}
	assert_int_equal(ah[1], ah_len / 4 - 2);
	assert_int_equal(load_be16(ah + 2), 0);
	assert_int_equal(load_be32(ah + 4), 0x1001);
	assert_int_equal(load_be32(ah + 8), (uint32_t)packet->seq);
	for (uint32_t i = 12 + icv_len; i < ah_len; i++)
		assert_int_equal(ah[i], 0);
	/* What AH carries is the packet as it was, or its payload. */
	assert_int_equal(packet->len + packet->headroom, HEAD + frame->before_len);
	assert_memory_equal(ah + ah_len, frame->before + packet->l2_len +
			    (pair->config.tunnel ? 0 : ah_off), total - ah_off - ah_len);
	if (pair->config.tunnel)
		assert_int_equal(ah[0], frame->before[packet->l2_len] >> 4 == 4 ? IPPROTO_IPIP :
				 IPPROTO_IPV6);
}

static void round_trip(struct pair *pair, struct frame *frame, uint32_t ah_off)
{
	uint64_t bytes = pair->out_state.bytes;

	encap(pair, frame);
	assert_well_formed(pair, frame, ah_off);
	assert_int_equal(pair->out_state.bytes - bytes, frame->before_len - frame->packet.l2_len);
	decap(pair, frame);
	assert_restored(frame);
	assert_int_equal(pair->in_state.bytes, pair->out_state.bytes);
	assert_int_equal(pair->in_state.packets, pair->out_state.packets);
}

static void all_lengths(const char *suite, const char *engine, bool tunnel, bool esn)
{
	static const uint32_t large[] = { 511, 512, 1400, 1472, 8900, 9000 };
	static struct frame frame;

	for (int outer = 0; outer < FAMILY_COUNT; outer++)
		for (int inner = 0; inner < FAMILY_COUNT; inner++) {
			uint32_t off = outer == FAMILY_V4 ? 20 : 40;
			struct pair pair;

			if (!tunnel && outer != inner)
				continue;
			pair_init_ah(&pair, suite, engine, outer, tunnel, esn);
			for (uint32_t len = 0; len <= 140; len++) {
				frame_plain(&frame, inner, len);
				round_trip(&pair, &frame, off);
			}
			for (unsigned int i = 0; i < sizeof(large) / sizeof(large[0]); i++) {
				frame_plain(&frame, inner, large[i]);
				round_trip(&pair, &frame, off);
			}
			pair_fini(&pair);
		}
}

static void test_round_trips(void **state)
{
	const struct crypto_engine *engine;

	(void)state;
	for (unsigned int e = 0; (engine = crypto_engine_at(e)); e++)
		for (size_t s = 0; s < AH_SUITE_COUNT; s++)
			for (int variant = 0; variant < 4; variant++)
				all_lengths(ah_suites[s].name, engine->name, variant & 1,
					    variant & 2);
}

static void test_options_and_tags_kept(void **state)
{
	static struct frame frame;
	struct pair pair;

	(void)state;
	pair_init_ah(&pair, "sha256", NULL, FAMILY_V4, false, true);
	for (uint32_t options = 0; options <= 40; options += 4)
		for (unsigned int vlans = 0; vlans <= 2; vlans++) {
			frame_ipv4(&frame, options, 77, vlans);
			round_trip(&pair, &frame, 20 + options);
		}
	pair_fini(&pair);
}

/* More packets at once than the engine is given. */
static void test_many_packets(void **state)
{
	enum { PACKETS = 3 * BURST + 1 };
	static struct frame frames[PACKETS];
	struct packet *packets[PACKETS];
	struct pair pair;

	(void)state;
	pair_init_ah(&pair, "sha256", NULL, FAMILY_V4, true, true);
	for (unsigned int i = 0; i < PACKETS; i++) {
		frame_ipv4(&frames[i], 0, i, 0);
		packets[i] = &frames[i].packet;
	}
	sa_protect(&pair.out, packets, PACKETS);
	for (unsigned int i = 0; i < PACKETS; i++)
		assert_int_equal(packets[i]->seq, i + 1);
	sa_verify(&pair.in, packets, PACKETS);
	for (unsigned int i = 0; i < PACKETS; i++)
		assert_restored(&frames[i]);
	pair_fini(&pair);
}

/* More headers than a burst keeps at once, and one packet with more than it ever keeps. */
static void test_long_headers(void **state)
{
	enum { PACKETS = 70, EXTENSIONS = 4, OCTETS = 2048 };
	static struct frame frames[PACKETS];
	struct packet *packets[PACKETS];
	struct pair pair;

	(void)state;
	pair_init_ah(&pair, "sha256", NULL, FAMILY_V6, false, true);
	for (unsigned int i = 0; i < PACKETS; i++) {
		static const uint8_t types[] = { 1, IPPROTO_DSTOPTS, IPPROTO_DSTOPTS,
						 IPPROTO_ROUTING, 0 };
		uint32_t blocks = i == 5 ? 1000 : i == 9 ? 100 : 60;
		uint8_t *ip;

		frame_ipv6(&frames[i], types, 8 * blocks, 0);
		/* The payload's start becomes part of the extension headers: all Pad1. */
		ip = frame_ip(&frames[i]);
		for (uint32_t off = 40, k = 0; k < EXTENSIONS; k++) {
			uint32_t units = k == EXTENSIONS - 1 ? 0 : blocks / 4;

			ip[off] = types[k + 1] ? types[k + 1] : IPPROTO_UDP;
			ip[off + 1] = (uint8_t)units;
			memset(ip + off + 2, 0, units * 8 + 6);
			off += units * 8 + 8;
		}
		frame_finish(&frames[i], 40 + 32 + 8 * blocks);
		packets[i] = &frames[i].packet;
	}
	sa_protect(&pair.out, packets, PACKETS);
	for (unsigned int i = 0; i < PACKETS; i++)
		assert_int_equal(packets[i]->state, PACKET_PROTECTED);
	assert_int_equal(pair.out_state.packets, PACKETS);
	sa_verify(&pair.in, packets, PACKETS);
	for (unsigned int i = 0; i < PACKETS; i++)
		assert_restored(&frames[i]);
	frame_ipv6(&frames[0], (const uint8_t[]){ 1, IPPROTO_DSTOPTS, IPPROTO_DSTOPTS,
						  IPPROTO_DSTOPTS, IPPROTO_ROUTING, 0 }, 9000, 0);
	for (uint32_t off = 40, k = 0; k < 4; k++, off += OCTETS) {
		uint8_t next = k < 3 ? IPPROTO_DSTOPTS : IPPROTO_ROUTING;

		memset(frame_ip(&frames[0]) + off, 0, OCTETS + 8);
		frame_ip(&frames[0])[off] = next;
		frame_ip(&frames[0])[off + 1] = 255;
		frame_ip(&frames[0])[off + OCTETS] = IPPROTO_UDP;
	}
	encap(&pair, &frames[0]);
	assert_dropped(&frames[0], DROP_UNSUPPORTED);
	assert_int_equal(pair.out_state.seq_next, PACKETS + 1);
	pair_fini(&pair);
}

static void test_extension_headers(void **state)
{
	static const struct {
		uint8_t types[5];
		uint32_t ah_off;
	} cases[] = {
		{ { 1 }, 48 },
		{ { 1, IPPROTO_DSTOPTS, IPPROTO_ROUTING, IPPROTO_DSTOPTS }, 64 },
		{ { IPPROTO_DSTOPTS }, 40 },
		{ { IPPROTO_ROUTING }, 48 },
	};
	static struct frame frame;
	struct pair pair;

	(void)state;
	pair_init_ah(&pair, "sha512", NULL, FAMILY_V6, false, true);
	for (unsigned int i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		frame_ipv6(&frame, cases[i].types, 50, i % 2);
		round_trip(&pair, &frame, cases[i].ah_off);
	}
	frame_ipv6(&frame, (const uint8_t[]){ 1, IPPROTO_FRAGMENT, 0 }, 50, 0);
	encap(&pair, &frame);
	assert_dropped(&frame, DROP_FRAGMENT_TRANSPORT);
	frame_ipv6(&frame, (const uint8_t[]){ IPPROTO_ROUTING, 0 }, 50, 0);
	frame_ip(&frame)[43] = 1;	/* segments left */
	encap(&pair, &frame);
	assert_dropped(&frame, DROP_UNSUPPORTED);
	frame_ipv6(&frame, (const uint8_t[]){ IPPROTO_ROUTING, 0 }, 50, 0);
	encap(&pair, &frame);
	frame_ip(&frame)[43] = 1;
	decap(&pair, &frame);
	assert_dropped(&frame, DROP_UNSUPPORTED);
	pair_fini(&pair);
}

static void test_outer_header(void **state)
{
	static struct frame frame;
	struct pair pair;
	const uint8_t *ip;

	(void)state;
	pair_init_ah(&pair, "sha256", NULL, FAMILY_V4, true, true);
	frame_ipv4(&frame, 0, 100, 1);
	encap(&pair, &frame);
	ip = frame_ip(&frame);
	assert_int_equal(ip[0], 0x45);
	assert_int_equal(ip[8], 64);
	assert_int_equal(ip[9], IPPROTO_AH);
	assert_memory_equal(ip + 12, pair.config.src.b, 4);
	assert_memory_equal(ip + 16, pair.config.dst.b, 4);
	/* An outer CE mark, which is not covered, reaches the inner header. */
	frame_ip(&frame)[1] |= 3;
	decap(&pair, &frame);
	assert_int_equal(frame.packet.state, PACKET_VERIFIED);
	assert_int_equal(frame_ip(&frame)[1], 0xbb);
	assert_int_equal(checksum_fold(checksum_add(0, frame_ip(&frame), 20)), 0);
	pair_fini(&pair);
}

static void test_sequence_limits(void **state)
{
	static struct frame frame;
	struct pair pair;

	(void)state;
	pair_init_ah(&pair, "sha256", NULL, FAMILY_V4, false, false);
	pair.out_state.seq_next = 0;
	pair.out_state.seq_reserved = 2;
	frame_ipv4(&frame, 0, 10, 0);
	encap(&pair, &frame);
	assert_int_equal(frame.packet.seq, 1);
	frame_ipv4(&frame, 0, 10, 0);
	encap(&pair, &frame);
	assert_dropped(&frame, DROP_SEQ_UNRESERVED);
	assert_memory_equal(frame.packet.data, frame.before, frame.before_len);
	pair.out_state.seq_reserved = UINT64_MAX;
	pair.out_state.seq_next = UINT32_MAX;
	frame_ipv4(&frame, 0, 10, 0);
	encap(&pair, &frame);
	assert_int_equal(frame.packet.seq, UINT32_MAX);
	frame_ipv4(&frame, 0, 10, 0);
	encap(&pair, &frame);
	assert_dropped(&frame, DROP_SEQ_EXHAUSTED);
	pair_fini(&pair);
}

/* Packets past a hard limit use up no number; inbound ones that held do. */
static void test_hard_limits(void **state)
{
	static struct frame frames[4];
	struct packet *packets[4];
	struct pair pair;

	(void)state;
	for (int tunnel = 0; tunnel < 2; tunnel++)
		for (int i = 0; i < 3; i++) {
			const struct sa_limits limits[] = { { .packets = 2 }, { .bytes = 2 * 120 },
							    { .bytes = 3 * 120 - 1 } };
			const struct sa_limits limit = limits[i];

			pair_init_ah(&pair, "sha256", NULL, FAMILY_V4, tunnel, true);
			for (int k = 0; k < 4; k++) {
				frame_ipv4(&frames[k], 0, 100, 0);
				packets[k] = &frames[k].packet;
			}
			pair.out.hard = limit;
			sa_protect(&pair.out, packets, 4);
			assert_int_equal(frames[1].packet.state, PACKET_PROTECTED);
			assert_dropped(&frames[2], DROP_LIFETIME);
			assert_dropped(&frames[3], DROP_LIFETIME);
			assert_int_equal(pair.out_state.seq_next, 3);
			pair.out.hard = (struct sa_limits){ 0 };
			pair.in.hard = limit;
			frame_ipv4(&frames[2], 0, 100, 0);
			encap(&pair, &frames[2]);
			sa_verify(&pair.in, packets, 3);
			assert_restored(&frames[0]);
			assert_restored(&frames[1]);
			assert_dropped(&frames[2], DROP_LIFETIME);
			assert_int_equal(pair.in_state.replay_top, 3);
			assert_int_equal(pair.in_state.packets, 2);
			pair_fini(&pair);
		}
}

/* Refused packets use up no number and stay as they were. */
static void test_outbound_refusals(void **state)
{
	static struct frame frame;
	struct pair pair;

	(void)state;
	pair_init_ah(&pair, "sha256", NULL, FAMILY_V4, false, true);
	frame_ipv4(&frame, 0, 10, 0);
	frame_ip(&frame)[19] ^= 1;
	encap(&pair, &frame);
	assert_dropped(&frame, DROP_SA_SELECTOR);
	frame_ipv4(&frame, 0, 10, 0);
	frame_ip(&frame)[6] = 0x20;
	encap(&pair, &frame);
	assert_dropped(&frame, DROP_FRAGMENT_TRANSPORT);
	frame_ipv4(&frame, 0, 10, 0);
	frame.packet.headroom = 27;
	encap(&pair, &frame);
	assert_dropped(&frame, DROP_NO_BUFFER);
	frame_ipv4(&frame, 0, 10, 0);
	frame.packet.tailroom = CRYPTO_BEHIND - 1;
	encap(&pair, &frame);
	assert_dropped(&frame, DROP_NO_BUFFER);
	assert_int_equal(pair.out_state.seq_next, 1);
	assert_int_equal(pair.out_state.packets, 0);
	frame_ipv4(&frame, 0, 10, 0);
	frame.packet.headroom = 28;
	frame.packet.tailroom = CRYPTO_BEHIND;
	encap(&pair, &frame);
	assert_int_equal(frame.packet.state, PACKET_PROTECTED);
	assert_int_equal(frame.packet.headroom, 0);
	assert_int_equal(frame.packet.tailroom, CRYPTO_BEHIND);
	pair_fini(&pair);
}

/* Link padding behind the IP packet is cut off on both ways. */
static void test_link_padding(void **state)
{
	static struct frame frame;
	struct pair pair;

	(void)state;
	pair_init_ah(&pair, "sha384", NULL, FAMILY_V4, false, true);
	frame_ipv4(&frame, 0, 3, 0);
	frame.packet.len += 23;
	frame.packet.tailroom -= 23;
	encap(&pair, &frame);
	assert_well_formed(&pair, &frame, 20);
	frame.packet.len += 9;
	frame.packet.tailroom -= 9;
	decap(&pair, &frame);
	assert_restored(&frame);
	pair_fini(&pair);
}

/* sa_inner_mtu() is exact: there is no padding that depends on the packet. */
static void test_inner_mtu(void **state)
{
	static struct frame frame;
	struct pair pair;

	(void)state;
	for (size_t s = 0; s < AH_SUITE_COUNT; s++)
		for (int variant = 0; variant < 4; variant++) {
			uint32_t inner;

			pair_init_ah(&pair, ah_suites[s].name, NULL, variant & 1, variant & 2, true);
			inner = sa_inner_mtu(&pair.out, 1500);
			assert_int_equal(inner, 1500 - sa_overhead_max(&pair.out));
			frame_plain(&frame, variant & 1, inner - (variant & 1 ? 40 : 20));
			encap(&pair, &frame);
			assert_int_equal(frame.packet.len - 14, 1500);
			assert_int_equal(sa_inner_mtu(&pair.out, 20), 0);
			pair_fini(&pair);
		}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_names),
		cmocka_unit_test(test_only_ah_suites),
		cmocka_unit_test(test_round_trips),
		cmocka_unit_test(test_options_and_tags_kept),
		cmocka_unit_test(test_many_packets),
		cmocka_unit_test(test_long_headers),
		cmocka_unit_test(test_extension_headers),
		cmocka_unit_test(test_outer_header),
		cmocka_unit_test(test_sequence_limits),
		cmocka_unit_test(test_hard_limits),
		cmocka_unit_test(test_outbound_refusals),
		cmocka_unit_test(test_link_padding),
		cmocka_unit_test(test_inner_mtu),
	};

	return cmocka_run_group_tests_name("ah", tests, NULL, NULL);
}
