// SPDX-License-Identifier: BSD-2-Clause
/*
 * AH packets that were changed on the way, as routers may and as nobody may, cut, and made up.
 * AddressSanitizer sees any step outside: build with SAN=-fsanitize=address,undefined.
 */
#include "ah_pair.h"

/* A copy that ends where it says, and `behind` octets, of which the engine needs CRYPTO_BEHIND. */
static void verify_copy(struct pair *pair, const uint8_t *data, uint32_t len, uint16_t behind,
			const struct packet *like, struct packet *ret_packet)
{
	uint8_t *copy = malloc(len + behind ? len + behind : 1);
	struct packet *packet = ret_packet;

	assert_non_null(copy);
	memset(&pair->in_state, 0, sizeof(pair->in_state));
	memcpy(copy, data, len);
	*packet = *like;
	packet->data = copy;
	packet->len = len;
	packet->headroom = 0;
	packet->tailroom = behind;
	packet->state = PACKET_PROTECTED;
	sa_verify(&pair->in, &packet, 1);
	free(copy);
}

static void verify_exact(struct pair *pair, const uint8_t *data, uint32_t len,
			 const struct packet *like, struct packet *ret_packet)
{
	verify_copy(pair, data, len, CRYPTO_BEHIND, like, ret_packet);
}

static const uint8_t ipv4_options[32] = {
	148, 4, 0, 0,				/* router alert: immutable */
	1,					/* no operation */
	7, 7, 4, 0, 0, 0, 0,			/* record route: mutable */
	68, 8, 5, 0, 0, 0, 0, 0,		/* timestamp: mutable */
	131, 3, 4,				/* a loose source route that is used up: mutable */
	0x9e, 5, 1, 2, 3,			/* nobody knows it: mutable */
	0, 9, 9, 9,				/* end; immutable from here */
};

/* Offsets from the option's first octet. */
static bool ipv4_mutable(uint32_t off)
{
	if (off < 20)
		return off == 1 || (off >= 6 && off <= 8) || off == 10 || off == 11;
	return off >= 25 && off < 48;
}

static const uint8_t ipv6_options[24] = {
	IPPROTO_DSTOPTS, 2,
	0x3e, 4, 1, 2, 3, 4,	/* mutable */
	0x1e, 2, 5, 6,		/* immutable */
	0, 0,			/* Pad1 */
	0x20, 0,		/* mutable, without data */
	0x26, 2, 7, 8,		/* mutable */
	1, 2, 0, 0,		/* PadN */
};

/* Behind those, 8 octets of destination options, and a routing header. */
static const uint8_t ipv6_more[16] = {
	IPPROTO_ROUTING, 0, 0xe5, 1, 9, 1, 1, 0,
	IPPROTO_UDP, 0, 200, 0, 0, 0, 0, 0,
};

static bool ipv6_mutable(uint32_t off)
{
	if (off < 40)
		return (off >= 1 && off < 4) || off == 7;
	off -= 40;
	return (off >= 4 && off < 8) || (off >= 18 && off < 20) || off == 28;
}

static void frame_options(struct frame *frame, enum ip_family family)
{
	uint8_t *ip;

	if (family == FAMILY_V4) {
		frame_ipv4(frame, 32, 45, 1);
		ip = frame_ip(frame);
		memcpy(ip + 20, ipv4_options, 32);
		checksum_ipv4(ip, 52);
		frame_finish(frame, 52 + 45);
	} else {
		frame_ipv6(frame, (const uint8_t[]){ 1, 0 }, 32 + 45, 1);
		ip = frame_ip(frame);
		memcpy(ip + 40, ipv6_options, 24);
		memcpy(ip + 64, ipv6_more, 16);
		frame_finish(frame, 80 + 45);
	}
}

/* May the bit change on the way? (of a tunnel packet: its outer header has no options) */
static bool is_mutable(enum ip_family family, bool tunnel, uint32_t off, unsigned int bit)
{
	if (tunnel && off >= (family == FAMILY_V4 ? 20 : 40))
		return false;
	if (family == FAMILY_V6 && off == 0)
		return bit < 4;		/* the traffic class begins there */
	return family == FAMILY_V4 ? ipv4_mutable(off) : ipv6_mutable(off);
}

/*
 * Is it mutable, but says where things begin and end? Fragments are refused, and mutable IPv4
 * options of another type, length or pointer can be immutable, longer, or not used up.
 */
static bool is_structure(enum ip_family family, bool tunnel, uint32_t off)
{
	static const uint8_t offsets[] = { 25, 26, 32, 33, 40, 41, 42, 43, 44 };

	if (family != FAMILY_V4)
		return false;
	return off == 6 || off == 7 || (!tunnel && memchr(offsets, (int)off, sizeof(offsets)));
}

/* Every bit behind the Ethernet header: what is mutable may change, nothing else. */
static void every_bit(const char *suite, const char *engine, enum ip_family family, int variant)
{
	bool tunnel = variant & 1;
	static struct frame frame;
	struct packet result;
	struct pair pair;
	uint8_t *ip;

	pair_init_ah(&pair, suite, engine, family, tunnel, variant & 2);
	frame_options(&frame, family);
	encap(&pair, &frame);
	assert_int_equal(frame.packet.state, PACKET_PROTECTED);
	ip = frame_ip(&frame);
	for (uint32_t at = 0; at < (frame.packet.len - 18) * 8; at++) {
		ip[at / 8] ^= (uint8_t)(1u << at % 8);
		verify_exact(&pair, frame.packet.data, frame.packet.len, &frame.packet, &result);
		ip[at / 8] ^= (uint8_t)(1u << at % 8);
		if (is_structure(family, tunnel, at / 8))
			continue;
		assert_int_equal(result.state, is_mutable(family, tunnel, at / 8, at % 8) ?
				 PACKET_VERIFIED : PACKET_DEAD);
		if (result.state == PACKET_DEAD) {
			assert_int_equal(pair.in_state.replay_top, 0);
			assert_int_equal(pair.in_state.icv_failed, result.drop == DROP_ICV);
		}
	}
	verify_exact(&pair, frame.packet.data, frame.packet.len, &frame.packet, &result);
	assert_int_equal(result.state, PACKET_VERIFIED);
	pair_fini(&pair);
}

static void test_every_bit(void **state)
{
	const struct crypto_engine *engine;

	(void)state;
	for (unsigned int e = 0; (engine = crypto_engine_at(e)); e++)
		for (size_t s = 0; s < AH_SUITE_COUNT; s++)
			for (int variant = 0; variant < 4; variant++) {
				every_bit(ah_suites[s].name, engine->name, FAMILY_V4, variant);
				every_bit(ah_suites[s].name, engine->name, FAMILY_V6, variant);
			}
}

/* What routers write on the way arrives as they wrote it, its checksum too. */
static void test_changed_in_transit(void **state)
{
	static struct frame frame;
	struct pair pair;
	uint8_t *ip;

	(void)state;
	pair_init_ah(&pair, "sha256", NULL, FAMILY_V4, false, true);
	frame_options(&frame, FAMILY_V4);
	encap(&pair, &frame);
	ip = frame_ip(&frame);
	ip[1] = 0x2b;
	ip[6] = 0;			/* DF cleared */
	ip[8] -= 7;
	memcpy(ip + 25, "\x07\x07\x08\x0a\x01\x02\x03", 7);	/* recorded */
	memcpy(ip + 32, "\x44\x08\x09\x00\x00\x11\x22\x33", 8);	/* stamped */
	checksum_ipv4(ip, 52);
	decap(&pair, &frame);
	ip = frame_ip(&frame);
	assert_int_equal(frame.packet.state, PACKET_VERIFIED);
	assert_int_equal(ip[1], 0x2b);
	assert_int_equal(ip[8], 56);
	assert_int_equal(ip[9], IPPROTO_UDP);
	assert_memory_equal(ip + 25, "\x07\x07\x08\x0a\x01\x02\x03", 7);
	assert_int_equal(load_be16(ip + 2), 52 + 45);
	assert_int_equal(checksum_fold(checksum_add(0, ip, 52)), 0);
	pair_fini(&pair);
	pair_init_ah(&pair, "sha256", NULL, FAMILY_V6, false, true);
	frame_options(&frame, FAMILY_V6);
	encap(&pair, &frame);
	ip = frame_ip(&frame);
	store_be32(ip, 0x6ff54321);
	ip[7] = 3;
	memcpy(ip + 44, "abcd", 4);
	decap(&pair, &frame);
	ip = frame_ip(&frame);
	assert_int_equal(frame.packet.state, PACKET_VERIFIED);
	assert_int_equal(load_be32(ip), 0x6ff54321);
	assert_int_equal(ip[7], 3);
	assert_memory_equal(ip + 44, "abcd", 4);
	assert_int_equal(load_be16(ip + 4), 40 + 45);
	pair_fini(&pair);
}

static void hostile(const char *suite, enum ip_family family, bool tunnel)
{
	static struct frame frame;
	struct packet result;
	struct pair pair;
	uint8_t *data;

	pair_init_ah(&pair, suite, NULL, family, tunnel, true);
	frame_options(&frame, family);
	encap(&pair, &frame);
	data = frame.packet.data;
	for (uint32_t len = 0; len < frame.packet.len; len++) {
		uint8_t saved[6];

		verify_exact(&pair, data, len, &frame.packet, &result);
		assert_int_equal(result.state, PACKET_DEAD);
		if (len < 18 + 40u)
			continue;
		/* The same, with a length field that agrees. */
		memcpy(saved, data + 18, 6);
		store_be16(data + 18 + (family == FAMILY_V4 ? 2 : 4),
			   (uint16_t)(len - 18 - (family == FAMILY_V4 ? 0 : 40)));
		verify_exact(&pair, data, len, &frame.packet, &result);
		assert_int_equal(result.state, PACKET_DEAD);
		verify_copy(&pair, data, len, 0, &frame.packet, &result);
		assert_int_equal(result.state, PACKET_DEAD);
		memcpy(data + 18, saved, 6);
	}
	/* Any value of any octet of the headers. */
	for (uint32_t off = 18; off < 18 + 160u && off < frame.packet.len; off++)
		for (unsigned int value = 0; value < 256; value++) {
			uint8_t was = data[off];

			data[off] = (uint8_t)value;
			verify_exact(&pair, data, frame.packet.len, &frame.packet, &result);
			data[off] = was;
		}
	pair_fini(&pair);
}

static void test_hostile_packets(void **state)
{
	(void)state;
	for (size_t s = 0; s < AH_SUITE_COUNT; s++)
		for (int variant = 0; variant < 4; variant++)
			hostile(ah_suites[s].name, variant & 1, variant & 2);
}

/* The same from the host's side: whatever the header claims, protection stays inside. */
static void test_hostile_clear_packets(void **state)
{
	static struct frame frame;
	struct pair pair;

	(void)state;
	for (int variant = 0; variant < 4; variant++) {
		pair_init_ah(&pair, "sha384", NULL, variant & 1, variant & 2, true);
		frame_options(&frame, variant & 1);
		for (uint32_t bit = 18 * 8; bit < frame.before_len * 8; bit++)
			for (uint32_t cut = 0; cut < frame.before_len; cut += bit % 8 ? 999 : 1) {
				uint32_t len = frame.before_len - cut;
				uint8_t *copy = malloc(96 + len + CRYPTO_BEHIND);
				struct packet p = { .data = copy + 96, .len = len, .l2_len = 18,
						    .headroom = 96,
						    .tailroom = CRYPTO_BEHIND,
						    .family = variant & 1, .state = PACKET_CLEAR };
				struct packet *packet = &p;

				assert_non_null(copy);
				memcpy(p.data, frame.before, len);
				if (bit / 8 < len)
					p.data[bit / 8] ^= (uint8_t)(1u << bit % 8);
				sa_protect(&pair.out, &packet, 1);
				free(copy);
			}
		pair_fini(&pair);
	}
}

/* Options that lie, and source routes whose end is not reached, on both ways. */
static void test_ipv4_options_refused(void **state)
{
	static const struct {
		uint8_t options[8];
		enum drop_reason drop;
	} cases[] = {
		{ { 148, 4, 0, 0, 1, 1, 1, 1 }, DROP_NONE },
		{ { 1, 1, 1, 1, 1, 1, 1, 148 }, DROP_MALFORMED },	/* no length */
		{ { 148, 1, 0, 0, 1, 1, 1, 1 }, DROP_MALFORMED },
		{ { 148, 0, 0, 0, 1, 1, 1, 1 }, DROP_MALFORMED },
		{ { 1, 7, 8, 4, 0, 0, 0, 0 }, DROP_MALFORMED },		/* past the header */
		{ { 0, 7, 8, 4, 0, 0, 0, 0 }, DROP_NONE },		/* behind the end */
		{ { 131, 7, 4, 10, 9, 0, 2, 0 }, DROP_UNSUPPORTED },
		{ { 137, 7, 4, 10, 9, 0, 2, 0 }, DROP_UNSUPPORTED },
		{ { 137, 7, 7, 10, 9, 0, 2, 0 }, DROP_UNSUPPORTED },
		{ { 131, 7, 8, 10, 9, 0, 2, 0 }, DROP_NONE },
		{ { 137, 7, 8, 10, 9, 0, 2, 0 }, DROP_NONE },
		{ { 131, 2, 9, 1, 1, 1, 1, 1 }, DROP_UNSUPPORTED },	/* no pointer */
	};
	static struct frame frame;
	struct pair pair;

	(void)state;
	pair_init_ah(&pair, "sha256", NULL, FAMILY_V4, false, true);
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		uint64_t seq = pair.out_state.seq_next;

		frame_ipv4(&frame, 8, 20, 0);
		memcpy(frame_ip(&frame) + 20, cases[i].options, 8);
		checksum_ipv4(frame_ip(&frame), 28);
		frame_finish(&frame, 48);
		encap(&pair, &frame);
		if (cases[i].drop == DROP_NONE) {
			decap(&pair, &frame);
			assert_restored(&frame);
			continue;
		}
		assert_dropped(&frame, cases[i].drop);
		assert_int_equal(pair.out_state.seq_next, seq);
		frame_ipv4(&frame, 8, 20, 0);
		encap(&pair, &frame);
		memcpy(frame_ip(&frame) + 20, cases[i].options, 8);
		decap(&pair, &frame);
		assert_dropped(&frame, cases[i].drop);
	}
	pair_fini(&pair);
}

static void test_ipv6_options_refused(void **state)
{
	static const struct {
		uint8_t options[6];
		enum drop_reason drop;
	} cases[] = {
		{ { 1, 4, 0, 0, 0, 0 }, DROP_NONE },
		{ { 0, 0, 0, 0, 0, 0x3e }, DROP_MALFORMED },	/* no length */
		{ { 0x3e, 5, 0, 0, 0, 0 }, DROP_MALFORMED },	/* past the header */
		{ { 0, 0, 0, 0, 1, 0 }, DROP_NONE },
		{ { 0, 0, 0, 0, 1, 1 }, DROP_MALFORMED },
	};
	static struct frame frame;
	struct pair pair;

	(void)state;
	pair_init_ah(&pair, "sha256", NULL, FAMILY_V6, false, true);
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		frame_ipv6(&frame, (const uint8_t[]){ 1, 0 }, 20, 0);
		memcpy(frame_ip(&frame) + 42, cases[i].options, 6);
		frame_finish(&frame, 68);
		encap(&pair, &frame);
		if (cases[i].drop == DROP_NONE) {
			decap(&pair, &frame);
			assert_restored(&frame);
		} else {
			assert_dropped(&frame, cases[i].drop);
		}
	}
	pair_fini(&pair);
}

/* The length field of AH: only what the ICV and its padding ask for, and within the packet. */
static void header_lengths(const char *suite, enum ip_family family, uint32_t payload)
{
	static struct frame frame;
	struct pair pair;

	pair_init_ah(&pair, suite, NULL, family, false, true);
	for (unsigned int len = 0; len < 256; len++) {
		uint8_t *field, was;

		frame_plain(&frame, family, payload);
		encap(&pair, &frame);
		field = frame_ip(&frame) + (family == FAMILY_V4 ? 21 : 41);
		was = *field;
		*field = (uint8_t)len;
		decap(&pair, &frame);
		if (len == was)
			assert_restored(&frame);
		else if (family == FAMILY_V4 && len == ((was + 2u + 1) & ~1u) - 2 && payload >= 4)
			assert_dropped(&frame, DROP_ICV);	/* as Linux pads */
		else
			assert_dropped(&frame, DROP_MALFORMED);
	}
	pair_fini(&pair);
}

static void test_header_length(void **state)
{
	static const uint32_t payloads[] = { 0, 3, 4, 1200 };

	(void)state;
	for (size_t s = 0; s < AH_SUITE_COUNT; s++)
		for (int family = 0; family < FAMILY_COUNT; family++)
			for (size_t i = 0; i < sizeof(payloads) / sizeof(payloads[0]); i++)
				header_lengths(ah_suites[s].name, family, payloads[i]);
}

static void test_inbound_refusals(void **state)
{
	static struct frame frame;
	struct pair pair;

	(void)state;
	pair_init_ah(&pair, "sha256", NULL, FAMILY_V4, false, true);
	frame_ipv4(&frame, 0, 40, 0);
	encap(&pair, &frame);
	frame_ip(&frame)[6] = 0x20;	/* more fragments */
	decap(&pair, &frame);
	assert_dropped(&frame, DROP_ESP_FRAGMENT);
	frame_ipv4(&frame, 0, 40, 0);
	encap(&pair, &frame);
	frame_ip(&frame)[9] = IPPROTO_ESP;
	decap(&pair, &frame);
	assert_dropped(&frame, DROP_MALFORMED);
	frame_ipv4(&frame, 0, 40, 0);
	encap(&pair, &frame);
	frame.packet.tailroom = CRYPTO_BEHIND - 1;
	decap(&pair, &frame);
	assert_dropped(&frame, DROP_NO_BUFFER);
	pair_fini(&pair);
	/* An SA of tunnel mode carries IP only. */
	pair_init_ah(&pair, "sha256", NULL, FAMILY_V4, false, true);
	pair.in.tunnel = true;
	frame_ipv4(&frame, 0, 40, 0);
	encap(&pair, &frame);
	decap(&pair, &frame);
	assert_dropped(&frame, DROP_SA_SELECTOR);
	frame_ipv4(&frame, 0, 40, 0);
	frame_ip(&frame)[9] = IPPROTO_IPIP;
	checksum_ipv4(frame_ip(&frame), 20);
	encap(&pair, &frame);
	decap(&pair, &frame);
	assert_dropped(&frame, DROP_MALFORMED);
	pair_fini(&pair);
}

static void test_replays(void **state)
{
	struct pair pair;

	(void)state;
	pair_init_ah(&pair, "sha1", NULL, FAMILY_V4, false, true);
	check_replays(&pair);
	pair_fini(&pair);
}

/* The high half of the number is covered, though it does not travel. */
static void test_wrong_high_half(void **state)
{
	const struct crypto_engine *engine;
	static struct frame frame;
	struct pair pair;

	(void)state;
	for (unsigned int e = 0; (engine = crypto_engine_at(e)); e++)
		for (size_t s = 0; s < AH_SUITE_COUNT; s++) {
			pair_init_ah(&pair, ah_suites[s].name, engine->name, FAMILY_V4, false,
				     true);
			pair.out_state.seq_next = 0x100000005;
			frame_ipv4(&frame, 0, 40, 0);
			encap(&pair, &frame);
			decap(&pair, &frame);	/* who takes it for 5 */
			assert_dropped(&frame, DROP_ICV);
			pair_fini(&pair);
		}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_every_bit),
		cmocka_unit_test(test_changed_in_transit),
		cmocka_unit_test(test_hostile_packets),
		cmocka_unit_test(test_hostile_clear_packets),
		cmocka_unit_test(test_ipv4_options_refused),
		cmocka_unit_test(test_ipv6_options_refused),
		cmocka_unit_test(test_header_length),
		cmocka_unit_test(test_inbound_refusals),
		cmocka_unit_test(test_replays),
		cmocka_unit_test(test_wrong_high_half),
	};

	return cmocka_run_group_tests_name("ah_hostile", tests, NULL, NULL);
}
