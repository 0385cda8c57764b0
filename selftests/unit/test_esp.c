// SPDX-License-Identifier: BSD-2-Clause
/* ESP encapsulation and decapsulation: round trips, what the bytes look like, edges. */
#include "esp_pair.h"

/* What an outsider can check of a protected packet. */
static void assert_well_formed(const struct pair *pair, struct frame *frame, uint32_t upper_off)
{
	const struct packet *packet = &frame->packet;
	const uint8_t *ip = frame_ip(frame);
	uint32_t total = packet->len - packet->l2_len;

	assert_int_equal(packet->state, PACKET_PROTECTED);
	assert_int_equal(packet->family, pair->config.family);
	assert_memory_equal(packet->data, frame->before, packet->l2_len - 2);
	if (pair->config.family == FAMILY_V4) {
		uint32_t header_len = (ip[0] & 15u) * 4;

		assert_int_equal(load_be16(packet->data + packet->l2_len - 2), 0x0800);
		assert_int_equal(load_be16(ip + 2), total);
		assert_int_equal(checksum_fold(checksum_add(0, ip, header_len)), 0);
	} else {
		assert_int_equal(load_be16(packet->data + packet->l2_len - 2), 0x86dd);
		assert_int_equal(load_be16(ip + 4) + 40, total);
	}
	assert_int_equal(load_be32(ip + upper_off), 0x1001);
	assert_int_equal(load_be32(ip + upper_off + 4), (uint32_t)packet->seq);
	assert_int_equal((total - upper_off) % 4, 0);
}

static void round_trip(struct pair *pair, struct frame *frame, uint32_t upper_off)
{
	uint64_t bytes = pair->out_state.bytes;

	encap(pair, frame);
	assert_well_formed(pair, frame, upper_off);
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
			pair_init(&pair, suite, engine, outer, tunnel, esn);
			for (uint32_t len = 0; len <= 200; len++) {
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
	const struct esp_suite *suite;

	(void)state;
	for (unsigned int e = 0; (engine = crypto_engine_at(e)); e++)
		for (size_t s = 0; (suite = suite_at(s)); s++) {
			if (!engine->supports(suite))
				continue;
			for (int variant = 0; variant < 4; variant++)
				all_lengths(suite->name, engine->name, variant & 1, variant & 2);
		}
}

static void test_headers_kept_in_transport_mode(void **state)
{
	static struct frame frame;
	struct pair pair;

	(void)state;
	pair_init(&pair, "aes128gcm16", NULL, FAMILY_V4, false, true);
	for (uint32_t options = 0; options <= 40; options += 4)
		for (unsigned int vlans = 0; vlans <= 2; vlans++) {
			frame_ipv4(&frame, options, 77, vlans);
			round_trip(&pair, &frame, 20 + options);
		}
	pair_fini(&pair);
}

static void test_extension_headers(void **state)
{
	static const struct {
		uint8_t types[5];
		uint32_t upper_off;
		enum drop_reason drop;
	} cases[] = {
		{ { 1 }, 48, DROP_NONE },
		{ { 1, IPPROTO_DSTOPTS, IPPROTO_ROUTING, IPPROTO_DSTOPTS }, 64, DROP_NONE },
		{ { IPPROTO_DSTOPTS }, 40, DROP_NONE },
		{ { IPPROTO_ROUTING }, 48, DROP_NONE },
		{ { 1, IPPROTO_FRAGMENT }, 0, DROP_FRAGMENT_TRANSPORT },
	};
	static struct frame frame;
	struct pair pair;

	(void)state;
	pair_init(&pair, "aes128gcm16", NULL, FAMILY_V6, false, true);
	for (unsigned int i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		frame_ipv6(&frame, cases[i].types, 50, i % 2);
		if (cases[i].drop == DROP_NONE) {
			round_trip(&pair, &frame, cases[i].upper_off);
		} else {
			encap(&pair, &frame);
			assert_dropped(&frame, cases[i].drop);
		}
	}
	frame_ipv6(&frame, (const uint8_t[]){ IPPROTO_ROUTING, 0 }, 50, 0);
	frame_ip(&frame)[43] = 1;	/* segments left */
	encap(&pair, &frame);
	assert_dropped(&frame, DROP_UNSUPPORTED);
	frame_ipv6(&frame, (const uint8_t[]){ 60, 60, 60, 60, 60, 60, 60, 60, 60, 60, 0 }, 50, 0);
	encap(&pair, &frame);
	assert_dropped(&frame, DROP_UNSUPPORTED);
	frame_ipv6(&frame, (const uint8_t[]){ 1, 0 }, 0, 0);
	frame_ip(&frame)[41] = 1;	/* longer than the packet */
	encap(&pair, &frame);
	assert_dropped(&frame, DROP_MALFORMED);
	pair_fini(&pair);
}

static void test_sequence_limits(void **state)
{
	static struct frame frame;
	struct pair pair;

	(void)state;
	pair_init(&pair, "aes128gcm16", NULL, FAMILY_V4, false, false);
	pair.out_state.seq_next = 0;
	pair.out_state.seq_reserved = 3;
	for (uint64_t seq = 1; seq <= 2; seq++) {
		frame_ipv4(&frame, 0, 10, 0);
		encap(&pair, &frame);
		assert_int_equal(frame.packet.seq, seq);
	}
	frame_ipv4(&frame, 0, 10, 0);
	encap(&pair, &frame);
	assert_dropped(&frame, DROP_SEQ_UNRESERVED);
	assert_memory_equal(frame.packet.data, frame.before, frame.before_len);
	assert_int_equal(pair.out_state.seq_next, 3);
	pair.out_state.seq_reserved = UINT64_MAX;
	pair.out_state.seq_next = UINT32_MAX;
	frame_ipv4(&frame, 0, 10, 0);
	encap(&pair, &frame);
	assert_int_equal(frame.packet.seq, UINT32_MAX);
	frame_ipv4(&frame, 0, 10, 0);
	encap(&pair, &frame);
	assert_dropped(&frame, DROP_SEQ_EXHAUSTED);
	pair.out.esn = true;
	frame_ipv4(&frame, 0, 10, 0);
	encap(&pair, &frame);
	assert_int_equal(frame.packet.seq, 0x100000000);
	pair_fini(&pair);
}

/* `count` packets of `size` octets in one burst; how many of them the SA still took. */
static unsigned int take_burst(struct pair *pair, struct frame *frames, unsigned int count,
			       uint32_t size)
{
	struct packet *packets[BURST * 2];
	unsigned int taken = 0;

	for (unsigned int i = 0; i < count; i++) {
		frame_ipv4(&frames[i], 0, size - 20, 0);
		packets[i] = &frames[i].packet;
	}
	esp_encap(&pair->out, packets, count);
	for (unsigned int i = 0; i < count; i++) {
		if (packets[i]->state == PACKET_PROTECTED) {
			assert_int_equal(taken, i);	/* the first ones, without a gap */
			taken++;
			continue;
		}
		assert_dropped(&frames[i], DROP_LIFETIME);
		assert_memory_equal(packets[i]->data, frames[i].before, frames[i].before_len);
	}
	return taken;
}

/* At the limit itself, whether it falls inside a burst, on its end, or between two. */
static void test_hard_limits_outbound(void **state)
{
	static const unsigned int limits[] = { 1, 2, 63, 64, 65, 100, 128, 129 };
	static struct frame frames[BURST * 2];
	static struct frame frame;
	struct pair pair;

	(void)state;
	for (size_t i = 0; i < sizeof(limits) / sizeof(limits[0]); i++)
		for (int variant = 0; variant < 3; variant++) {
			unsigned int limit = limits[i], first = limit < 128 ? limit : 128;

			pair_init(&pair, "aes128gcm16", NULL, FAMILY_V4, false, true);
			if (variant == 0)
				pair.out.hard.packets = limit;
			else	/* one octet more does not hold one packet more */
				pair.out.hard.bytes = limit * 100u + (variant == 2 ? 99 : 0);
			assert_int_equal(take_burst(&pair, frames, 128, 100), first);
			assert_int_equal(pair.out_state.packets, first);
			assert_int_equal(pair.out_state.bytes, first * 100);
			assert_int_equal(pair.out_state.seq_next, first + 1);
			assert_int_equal(take_burst(&pair, frames, 3, 100), limit - first);
			assert_int_equal(pair.out_state.seq_next, limit + 1);
			pair_fini(&pair);
		}
	pair_init(&pair, "aes128gcm16", NULL, FAMILY_V4, false, true);
	pair.out.hard.bytes = 100;
	frame_ipv4(&frame, 0, 81, 0);
	encap(&pair, &frame);
	assert_dropped(&frame, DROP_LIFETIME);
	assert_int_equal(pair.out_state.seq_next, 1);
	pair_fini(&pair);
}

static void test_hard_limits_inbound(void **state)
{
	static struct frame frames[BURST * 2];
	struct packet *packets[BURST * 2];
	struct pair pair;

	(void)state;
	for (int variant = 0; variant < 4; variant++)
		for (unsigned int limit = 1; limit < 128; limit += 21) {
			pair_init(&pair, "aes128-sha256", NULL, FAMILY_V4, variant & 1, true);
			pair.in.hard.packets = variant & 2 ? limit : 0;
			pair.in.hard.bytes = variant & 2 ? 0 : limit * 101u + (limit & 1 ? 100 : 0);
			assert_int_equal(take_burst(&pair, frames, 128, 101), 128);
			for (unsigned int i = 0; i < 128; i++)
				packets[i] = &frames[i].packet;
			esp_decap(&pair.in, packets, 128);
			for (unsigned int i = 0; i < 128; i++)
				if (i < limit)
					assert_restored(&frames[i]);
				else
					assert_dropped(&frames[i], DROP_LIFETIME);
			assert_int_equal(pair.in_state.packets, limit);
			assert_int_equal(pair.in_state.bytes, limit * 101);
			assert_int_equal(pair.in_state.replay_top, 128);	/* they did come */
			pair_fini(&pair);
		}
}

/* Refused packets use up no number and stay as they were. */
static void test_outbound_refusals(void **state)
{
	static struct frame frame;
	struct pair pair;

	(void)state;
	pair_init(&pair, "aes128gcm16", NULL, FAMILY_V4, false, true);
	frame_ipv4(&frame, 0, 10, 0);
	frame_ip(&frame)[19] ^= 1;
	encap(&pair, &frame);
	assert_dropped(&frame, DROP_SA_SELECTOR);
	frame_ipv6(&frame, (const uint8_t[]){ 0 }, 10, 0);
	encap(&pair, &frame);
	assert_dropped(&frame, DROP_SA_SELECTOR);
	frame_ipv4(&frame, 0, 10, 0);
	frame_ip(&frame)[6] = 0x20;
	encap(&pair, &frame);
	assert_dropped(&frame, DROP_FRAGMENT_TRANSPORT);
	frame_ipv4(&frame, 0, 10, 0);
	frame_ip(&frame)[0] = 0x44;
	encap(&pair, &frame);
	assert_dropped(&frame, DROP_MALFORMED);
	frame_ipv4(&frame, 0, 10, 0);
	frame.packet.headroom = 15;
	encap(&pair, &frame);
	assert_dropped(&frame, DROP_NO_BUFFER);
	frame_ipv4(&frame, 0, 10, 0);
	frame.packet.tailroom = 17;	/* 10 + 2 needs no padding: 2 + 16 behind it */
	encap(&pair, &frame);
	assert_dropped(&frame, DROP_NO_BUFFER);
	assert_int_equal(pair.out_state.seq_next, 1);
	assert_int_equal(pair.out_state.packets, 0);
	frame_ipv4(&frame, 0, 10, 0);
	frame.packet.headroom = 16;
	frame.packet.tailroom = 18;
	encap(&pair, &frame);
	assert_int_equal(frame.packet.state, PACKET_PROTECTED);
	assert_int_equal(frame.packet.headroom, 0);
	assert_int_equal(frame.packet.tailroom, 0);
	pair_fini(&pair);
}

/* Link padding behind the IP packet is cut off on both ways. */
static void test_link_padding(void **state)
{
	static struct frame frame;
	struct pair pair;

	(void)state;
	pair_init(&pair, "aes256gcm16", NULL, FAMILY_V4, false, true);
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

static void test_replays(void **state)
{
	struct pair pair;

	(void)state;
	pair_init(&pair, "aes128gcm16", NULL, FAMILY_V4, false, true);
	check_replays(&pair);
	pair_fini(&pair);
}

/* Writes a protected packet with a trailer of the test's choice, through the engine itself. */
static void forge(struct pair *pair, struct frame *frame, const uint8_t *plain, uint32_t len)
{
	uint8_t *ip, aad[12] = { 0, 0, 0x10, 0x01 }, *esp;
	uint64_t seq = pair->out_state.seq_next++;
	struct crypto_op op;

	frame_ipv4(frame, 0, 16 + len + 16, 0);
	ip = frame_ip(frame);
	ip[9] = IPPROTO_ESP;
	esp = ip + 20;
	store_be32(esp, 0x1001);
	store_be32(esp + 4, (uint32_t)seq);
	store_be32(esp + 8, 0);
	store_be32(esp + 12, (uint32_t)seq);
	store_be32(aad + 8, (uint32_t)seq);
	memcpy(esp + 16, plain, len);
	op = (struct crypto_op){ .data = esp + 16, .len = len, .aad = aad, .aad_len = 12,
				 .iv = esp + 8, .icv = esp + 16 + len };
	pair->out.engine->seal(pair->out.key, &op, 1);
	frame->packet.state = PACKET_PROTECTED;
}

static void test_trailers(void **state)
{
	static const struct {
		uint8_t plain[12];
		uint32_t len;
		enum drop_reason drop;
	} cases[] = {
		/* First, as its IV ends in 1: with 2, 3, ... a padding that begins before the data. */
		{ { 2, 3, 4, 5, 6, 7, 7, 17 }, 8, DROP_PADDING },
		{ { 9, 9, 9, 9, 1, 2, 2, 17 }, 8, DROP_NONE },
		{ { 9, 1, 2, 3, 4, 5, 5, 17 }, 8, DROP_NONE },
		{ { 1, 2, 3, 4, 5, 6, 6, 17 }, 8, DROP_NONE },	/* no payload at all */
		{ { 9, 9, 9, 9, 1, 2, 7, 17 }, 8, DROP_PADDING },	/* longer than the packet */
		{ { 9, 9, 9, 9, 1, 2, 255, 17 }, 8, DROP_PADDING },
		{ { 9, 9, 9, 9, 0, 0, 2, 17 }, 8, DROP_PADDING },
		{ { 9, 9, 9, 9, 2, 1, 2, 17 }, 8, DROP_PADDING },
		{ { 9, 9, 9, 9, 1, 2, 2, 59 }, 8, DROP_DUMMY_NEXT_HEADER },
		{ { 9, 9, 9, 9, 1, 2, 17 }, 7, DROP_MALFORMED },	/* not a multiple of 4 */
		{ { 0 }, 0, DROP_MALFORMED },
	};
	static struct frame frame;
	struct pair pair;

	(void)state;
	pair_init(&pair, "aes128gcm16", NULL, FAMILY_V4, false, true);
	for (unsigned int i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		forge(&pair, &frame, cases[i].plain, cases[i].len);
		decap(&pair, &frame);
		if (cases[i].drop)
			assert_dropped(&frame, cases[i].drop);
		else
			assert_int_equal(frame.packet.state, PACKET_VERIFIED);
	}
	pair_fini(&pair);
	pair_init(&pair, "aes128gcm16", NULL, FAMILY_V4, true, true);
	forge(&pair, &frame, (const uint8_t[]){ 9, 9, 9, 9, 1, 2, 2, 17 }, 8);
	decap(&pair, &frame);
	assert_dropped(&frame, DROP_SA_SELECTOR);	/* tunnel mode carries IP only */
	forge(&pair, &frame, (const uint8_t[]){ 0x45, 9, 9, 9, 1, 2, 2, 4 }, 8);
	decap(&pair, &frame);
	assert_dropped(&frame, DROP_MALFORMED);
	pair_fini(&pair);
}

/* What is forged or replayed does not meet the limit, and past it the inside is not looked at. */
static void test_hard_limits_come_before_the_inside(void **state)
{
	static struct frame frame;
	static const uint8_t bad_padding[8] = { 9, 9, 9, 9, 1, 2, 255, 17 };
	struct pair pair;

	(void)state;
	pair_init(&pair, "aes128gcm16", NULL, FAMILY_V4, false, true);
	forge(&pair, &frame, bad_padding, 8);
	decap(&pair, &frame);
	assert_dropped(&frame, DROP_PADDING);
	pair.in.hard.packets = 1;
	pair.in_state.packets = 1;
	forge(&pair, &frame, bad_padding, 8);
	frame.packet.data[14 + 20 + 16] ^= 1;
	decap(&pair, &frame);
	assert_dropped(&frame, DROP_ICV);
	pair.out_state.seq_next--;
	forge(&pair, &frame, bad_padding, 8);
	decap(&pair, &frame);
	assert_dropped(&frame, DROP_LIFETIME);
	pair.out_state.seq_next--;
	forge(&pair, &frame, bad_padding, 8);
	decap(&pair, &frame);
	assert_dropped(&frame, DROP_REPLAY_DUP);
	pair_fini(&pair);
}

/* One octet more than sa_inner_mtu() of the worst header, and the packet would not fit. */
static void test_inner_mtu(void **state)
{
	static const uint32_t mtus[] = { 576, 1280, 1492, 1499, 1500, 9000 };
	const struct esp_suite *suite;
	static struct frame frame;
	struct pair pair;

	(void)state;
	for (size_t s = 0; (suite = suite_at(s)); s++)
		for (int variant = 0; variant < 4; variant++)
			for (size_t i = 0; i < sizeof(mtus) / sizeof(mtus[0]); i++) {
				uint32_t inner, worst[2] = { 0, 0 };

				pair_init(&pair, suite->name, NULL, variant & 1, variant & 2, true);
				inner = sa_inner_mtu(&pair.out, mtus[i]);
				assert_true(inner >= mtus[i] - sa_overhead_max(&pair.out));
				for (uint32_t options = 0; options <= 40; options += 4)
					for (uint32_t more = 0; more < 2; more++) {
						uint32_t size;

						frame_ipv4(&frame, options, inner + more - 20 - options, 0);
						if (variant & 1 && !(variant & 2))
							frame_ipv6(&frame, (const uint8_t[]){ 0 },
								   inner + more - 40, 0);
						encap(&pair, &frame);
						assert_int_equal(frame.packet.state, PACKET_PROTECTED);
						size = frame.packet.len - 14;
						if (size > worst[more])
							worst[more] = size;
					}
				assert_true(worst[0] <= mtus[i]);
				if (suite->block <= 4 || variant & 2)
					assert_true(worst[1] > mtus[i]);
				assert_int_equal(sa_inner_mtu(&pair.out, 20), 0);
				pair_fini(&pair);
			}
}

/* No two packets share an IV, and a CBC IV does not follow from the one before. */
static void test_ivs_differ(void **state)
{
	static const char *const suites[] = { "aes128gcm16", "chacha20poly1305", "aes128-sha256",
					      "aes128ctr-sha1", "aes256gmac", "3des-sha256" };
	static uint8_t seen[2000][16];
	static struct frame frame;
	struct pair pair;

	(void)state;
	for (size_t s = 0; s < sizeof(suites) / sizeof(suites[0]); s++) {
		pair_init(&pair, suites[s], NULL, FAMILY_V4, false, true);
		memset(seen, 0, sizeof(seen));
		for (unsigned int i = 0; i < 2000; i++) {
			frame_ipv4(&frame, 0, 20, 0);
			encap(&pair, &frame);
			memcpy(seen[i], frame_ip(&frame) + 28, pair.out.suite->iv_len);
			for (unsigned int j = 0; j < i; j++)
				assert_memory_not_equal(seen[i], seen[j], 16);
		}
		pair_fini(&pair);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_round_trips),
		cmocka_unit_test(test_headers_kept_in_transport_mode),
		cmocka_unit_test(test_extension_headers),
		cmocka_unit_test(test_hard_limits_outbound),
		cmocka_unit_test(test_hard_limits_inbound),
		cmocka_unit_test(test_hard_limits_come_before_the_inside),
		cmocka_unit_test(test_sequence_limits),
		cmocka_unit_test(test_outbound_refusals),
		cmocka_unit_test(test_link_padding),
		cmocka_unit_test(test_replays),
		cmocka_unit_test(test_trailers),
		cmocka_unit_test(test_inner_mtu),
		cmocka_unit_test(test_ivs_differ),
	};

	return cmocka_run_group_tests_name("esp", tests, NULL, NULL);
}
