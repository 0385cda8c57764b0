// SPDX-License-Identifier: BSD-2-Clause
/* ESP in UDP (RFC 3948): what the bytes look like, and what else comes to such an SA. */
#include "esp_pair.h"

#include "lib/outer.h"

#include "vectors/udp_scapy.h"

#define SPORT 4500
#define DPORT 61234

static void pair_init_udp(struct pair *pair, const char *suite, enum ip_family family, bool tunnel)
{
	pair_init(pair, suite, NULL, family, tunnel, true);
	pair_udp(pair, SPORT, DPORT);
}

/* The sum over pseudo header and UDP; 0xffff if the checksum is right. */
static uint16_t udp_sum(const uint8_t *ip, const uint8_t *udp)
{
	uint32_t len = load_be16(udp + 4);
	uint32_t sum = ones_sum(len + IPPROTO_UDP, ip + 8, 32);

	return ones_sum(sum, udp, len);
}

/* IP, UDP and ESP as an outsider reads them; upper_off: octets of IP header. */
static void assert_udp(struct frame *frame, enum ip_family family, uint32_t upper_off)
{
	const uint8_t *ip = frame_ip(frame), *udp = ip + upper_off;
	uint32_t total = frame->packet.len - frame->packet.l2_len;

	assert_int_equal(frame->packet.state, PACKET_PROTECTED);
	assert_int_equal(frame->packet.family, family);
	assert_int_equal(load_be16(ip - 2), family == FAMILY_V4 ? 0x0800 : 0x86dd);
	if (family == FAMILY_V4) {
		assert_int_equal(load_be16(ip + 2), total);
		assert_int_equal((ip[0] & 15) * 4, upper_off);
		assert_int_equal(ip[9], IPPROTO_UDP);
		assert_int_equal(ones_sum(0, ip, upper_off), 0xffff);
		assert_int_equal(load_be16(udp + 6), 0);
	} else {
		assert_int_equal(load_be16(ip + 4) + 40, total);
		assert_int_not_equal(load_be16(udp + 6), 0);
		assert_int_equal(udp_sum(ip, udp), 0xffff);
	}
	assert_int_equal(load_be16(udp), SPORT);
	assert_int_equal(load_be16(udp + 2), DPORT);
	assert_int_equal(load_be16(udp + 4), total - upper_off);
	assert_int_equal(load_be32(udp + 8), 0x1001);
	assert_int_equal(load_be32(udp + 12), (uint32_t)frame->packet.seq);
}

/*
 * All that is between the IP header and the end is, UDP aside, what the SA without UDP would send:
 * ICV and AAD begin at ESP as ever.
 */
static void assert_same_esp(struct pair *pair, struct frame *in_udp, uint32_t upper_off)
{
	static struct frame plain;
	uint32_t len = in_udp->packet.len - in_udp->packet.l2_len - upper_off - UDP_HEADER_LEN;

	plain.packet = (struct packet){ .data = plain.mem + HEAD, .headroom = HEAD,
					.l2_len = in_udp->packet.l2_len };
	memcpy(plain.packet.data, in_udp->before, in_udp->before_len);
	frame_finish(&plain, in_udp->before_len - plain.packet.l2_len);
	pair->out.encap_dport = 0;
	pair->out_state.seq_next = in_udp->packet.seq;
	encap(pair, &plain);
	pair->out.encap_dport = pair->config.encap_dport;
	assert_int_equal(plain.packet.len + UDP_HEADER_LEN, in_udp->packet.len);
	assert_memory_equal(frame_ip(&plain) + upper_off,
			    frame_ip(in_udp) + upper_off + UDP_HEADER_LEN, len);
}

static void test_round_trips(void **state)
{
	const struct esp_suite *suite;
	static struct frame frame;
	struct pair pair;

	(void)state;
	for (size_t s = 0; (suite = suite_at(s)); s++)
		for (int variant = 0; variant < 8; variant++) {
			enum ip_family outer = variant & 1, inner = variant >> 1 & 1;

			if (!(variant & 4) && outer != inner)
				continue;
			pair_init_udp(&pair, suite->name, outer, variant & 4);
			for (uint32_t len = 0; len <= 1400; len += len < 70 ? 1 : 331) {
				uint32_t upper_off = outer == FAMILY_V4 ? 20 : 40;

				frame_plain(&frame, inner, len);
				encap(&pair, &frame);
				assert_udp(&frame, outer, upper_off);
				if (!suite_random_iv(suite))
					assert_same_esp(&pair, &frame, upper_off);
				decap(&pair, &frame);
				assert_restored(&frame);
			}
			pair_fini(&pair);
		}
}

/* UDP goes where ESP would go (RFC 4303 3.1.1), and nothing but length and protocol changes. */
static void test_insertion_point(void **state)
{
	static const struct {
		uint8_t types[5];
		uint32_t upper_off, next_off;
	} cases[] = {
		{ { 0 }, 40, 6 },
		{ { 1 }, 48, 40 },
		{ { 1, IPPROTO_DSTOPTS, IPPROTO_ROUTING, IPPROTO_DSTOPTS }, 64, 56 },
		{ { IPPROTO_DSTOPTS }, 40, 6 },
	};
	static struct frame frame;
	struct pair pair;

	(void)state;
	pair_init_udp(&pair, "aes128gcm16", FAMILY_V6, false);
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		const uint8_t *was = frame.before + 14 + 4 * (i % 3);
		uint8_t *ip;

		frame_ipv6(&frame, cases[i].types, 50, i % 3);
		encap(&pair, &frame);
		assert_udp(&frame, FAMILY_V6, cases[i].upper_off);
		ip = frame_ip(&frame);
		assert_int_equal(ip[cases[i].next_off], IPPROTO_UDP);
		ip[cases[i].next_off] = was[cases[i].next_off];
		assert_memory_equal(ip, was, 4);
		assert_memory_equal(ip + 6, was + 6, cases[i].upper_off - 6);
		ip[cases[i].next_off] = IPPROTO_UDP;
		decap(&pair, &frame);
		assert_restored(&frame);
	}
	pair_fini(&pair);
	pair_init_udp(&pair, "aes128gcm16", FAMILY_V4, false);
	for (uint32_t options = 0; options <= 40; options += 4) {
		frame_ipv4(&frame, options, 33, 1);
		encap(&pair, &frame);
		assert_udp(&frame, FAMILY_V4, 20 + options);
		decap(&pair, &frame);
		assert_restored(&frame);
	}
	pair_fini(&pair);
}

/* The first 44 octets of tunnels, as they are written in RFC 791, 8200, 768 and 4303. */
static void test_tunnel_bytes(void **state)
{
	static const uint8_t v4[44] = {
		0x45, 0xb9, 0, 120,  0, 9, 0x40, 0,  64, 17, 0, 0,  10, 9, 0, 1,  10, 9, 0, 2,
		0x11, 0x94, 0xef, 0x32,  0, 100, 0, 0,	/* 4500, 61234, 100 octets, no checksum */
		0, 0, 0x10, 0x01,  0, 0, 0, 9,  0, 0, 0, 0,  0, 0, 0, 9,
	};
	static const uint8_t v6[48] = {
		0x6b, 0x90, 0, 0,  0, 100, 17, 64,
		0xfd, 9, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1,
		0xfd, 9, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 2,
		0x11, 0x94, 0xef, 0x32,  0, 100, 0, 0,
	};
	static struct frame frame;
	struct pair pair;

	(void)state;
	for (int family = 0; family < FAMILY_COUNT; family++) {
		pair_init_udp(&pair, "aes128gcm16", family, true);
		pair.out_state.seq_next = 9;
		frame_ipv4(&frame, 0, 38, 0);	/* 58, 2 of trailer, 8 + 8 before, 16 behind: 92 */
		encap(&pair, &frame);
		assert_udp(&frame, family, family == FAMILY_V4 ? 20 : 40);
		store_be16(frame_ip(&frame) + (family == FAMILY_V4 ? 10 : 46), 0);
		assert_memory_equal(frame_ip(&frame), family == FAMILY_V4 ? v4 : v6,
				    family == FAMILY_V4 ? 44 : 48);
		pair_fini(&pair);
	}
}

/* A sum of zero is sent as 0xffff, or it would say that there is none. */
static void test_checksum_is_never_zero(void **state)
{
	static struct frame frame;
	unsigned int all_ones = 0;
	struct pair pair;

	(void)state;
	pair_init_udp(&pair, "aes128gcm16", FAMILY_V6, false);
	for (unsigned int i = 0; i < 1000000 && !all_ones; i++) {
		struct packet *packet = &frame.packet;

		if (i == 0)
			frame_plain(&frame, FAMILY_V6, 6);
		*packet = (struct packet){ .data = frame.mem + HEAD, .headroom = HEAD, .l2_len = 14,
					   .len = frame.before_len, .tailroom = 100 };
		memcpy(packet->data, frame.before, frame.before_len);
		encap(&pair, &frame);
		assert_int_not_equal(load_be16(frame_ip(&frame) + 46), 0);
		all_ones += load_be16(frame_ip(&frame) + 46) == 0xffff;
	}
	assert_int_equal(all_ones, 1);
	assert_udp(&frame, FAMILY_V6, 40);
	pair_fini(&pair);
}

/* A protected packet to damage, and where UDP stands in it. */
static uint8_t *protected_udp(struct pair *pair, struct frame *frame)
{
	memset(&pair->in_state, 0, sizeof(pair->in_state));
	frame_plain(frame, pair->config.family, 50);
	encap(pair, frame);
	assert_int_equal(frame->packet.state, PACKET_PROTECTED);
	return frame_ip(frame) + (pair->config.family == FAMILY_V4 ? 20 : 40);
}

static void test_length_field(void **state)
{
	static struct frame frame;
	struct pair pair;

	(void)state;
	for (int variant = 0; variant < 4; variant++) {
		uint8_t *udp;
		uint32_t len;

		pair_init_udp(&pair, "aes128gcm16", variant & 1, variant & 2);
		udp = protected_udp(&pair, &frame);
		len = load_be16(udp + 4);
		for (uint32_t lie = 0; lie <= 0xffff; lie++) {
			if (lie == len)
				continue;
			store_be16(udp + 4, (uint16_t)lie);
			frame.packet.state = PACKET_PROTECTED;
			decap(&pair, &frame);
			assert_dropped(&frame, DROP_UDP_ENCAP);
		}
		assert_int_equal(pair.in_state.replay_top, 0);
		store_be16(udp + 4, (uint16_t)len);
		frame.packet.state = PACKET_PROTECTED;
		decap(&pair, &frame);
		assert_restored(&frame);
		pair_fini(&pair);
	}
}

/* Neither checksum nor ports are ESP's matter (RFC 3948 2.1). */
static void test_not_looked_at(void **state)
{
	static struct frame frame;
	struct pair pair;
	uint8_t *udp;

	(void)state;
	for (int family = 0; family < FAMILY_COUNT; family++) {
		pair_init_udp(&pair, "aes128gcm16", family, true);
		udp = protected_udp(&pair, &frame);
		store_be16(udp + 6, 0xbad);
		decap(&pair, &frame);
		assert_restored(&frame);
		udp = protected_udp(&pair, &frame);
		store_be16(udp + 6, 0);
		store_be16(udp, 1);
		decap(&pair, &frame);
		assert_restored(&frame);
		pair_fini(&pair);
	}
}

/* The end of the frame moves so that UDP has `octets` with its header, in all length fields. */
static void cut_udp(struct frame *frame, uint8_t *udp, uint16_t octets)
{
	uint8_t *ip = frame_ip(frame);

	if (octets >= 6)
		store_be16(udp + 4, octets);
	if (ip[0] >> 4 == 4) {
		store_be16(ip + 2, (uint16_t)(20 + octets));
		checksum_ipv4(ip, 20);
	} else {
		store_be16(ip + 4, octets);
	}
	frame->packet.len = (uint32_t)(udp - frame->packet.data) + octets;
}

static void test_what_else_comes(void **state)
{
	static struct frame frame;
	struct pair pair;
	uint8_t *udp;

	(void)state;
	for (int variant = 0; variant < 4; variant++) {
		pair_init_udp(&pair, "aes128gcm16", variant & 1, variant & 2);
		udp = protected_udp(&pair, &frame);
		store_be32(udp + 8, 0);				/* IKE: the non-ESP marker */
		decap(&pair, &frame);
		assert_dropped(&frame, DROP_MALFORMED);
		udp = protected_udp(&pair, &frame);
		udp[8] = 0xff;					/* a NAT keep-alive */
		cut_udp(&frame, udp, 9);
		decap(&pair, &frame);
		assert_dropped(&frame, DROP_MALFORMED);
		for (uint16_t octets = 0; octets < 8 + 8 + 8 + 4 + 16; octets++) {
			udp = protected_udp(&pair, &frame);
			cut_udp(&frame, udp, octets);
			decap(&pair, &frame);
			assert_dropped(&frame, octets < 8 ? DROP_UDP_ENCAP : DROP_MALFORMED);
		}
		protected_udp(&pair, &frame);			/* to an SA without UDP */
		pair.in.encap_dport = 0;
		decap(&pair, &frame);
		assert_dropped(&frame, DROP_MALFORMED);
		pair.in.encap_dport = pair.config.encap_dport;
		pair.out.encap_dport = 0;
		protected_udp(&pair, &frame);			/* the reverse */
		decap(&pair, &frame);
		assert_dropped(&frame, DROP_MALFORMED);
		assert_int_equal(pair.in_state.replay_top, 0);
		assert_int_equal(pair.in_state.icv_failed, 0);
		pair_fini(&pair);
	}
}

static uint32_t unhex(const char *hex, uint8_t *out)
{
	uint32_t len = 0;

	for (; *hex; hex += 2)
		out[len++] = (uint8_t)strtoul((const char[]){ hex[0], hex[1], 0 }, NULL, 16);
	return len;
}

/* A frame with the IP packet of a vector. */
static void frame_vector(struct frame *frame, enum ip_family family, const char *hex)
{
	frame_start(frame, family, 0);
	frame_finish(frame, unhex(hex, frame_ip(frame)));
}

/* scapy's packets are opened; and made octet by octet, but for an unpredictable IV. */
static void test_scapy_agrees(void **state)
{
	static struct frame frame;
	uint8_t wire[512];

	(void)state;
	for (size_t i = 0; i < sizeof(udp_vectors) / sizeof(udp_vectors[0]); i++) {
		const struct udp_vector *vector = &udp_vectors[i];
		uint32_t len = unhex(vector->wire, wire);
		struct pair pair;

		pair_init(&pair, vector->suite, NULL, vector->outer, vector->tunnel, false);
		pair_udp(&pair, SPORT, DPORT);
		pair.out_state.seq_next = vector->seq;
		frame_vector(&frame, vector->inner, vector->clear);
		encap(&pair, &frame);
		assert_int_equal(frame.packet.len, 14 + len);
		if (!suite_random_iv(pair.out.suite))
			assert_memory_equal(frame_ip(&frame), wire, len);
		memcpy(frame_ip(&frame), wire, len);
		decap(&pair, &frame);
		assert_restored(&frame);
		pair_fini(&pair);
	}
}

/* No octet of room or of the MTU less than what UDP takes. */
static void test_room(void **state)
{
	static struct frame frame;
	struct pair pair;

	(void)state;
	for (int variant = 0; variant < 4; variant++) {
		uint32_t plain, mtu, front = 8 + 8 + 8;

		pair_init(&pair, "aes128gcm16", NULL, variant & 1, variant & 2, true);
		plain = sa_overhead_max(&pair.out);
		mtu = sa_inner_mtu(&pair.out, 1492);
		pair_udp(&pair, SPORT, DPORT);
		assert_int_equal(sa_inner_mtu(&pair.out, 1500), mtu);
		assert_int_equal(sa_overhead_max(&pair.out), plain + 8);
		front += variant & 2 ? outer_length(&pair.out) : 0;
		frame_plain(&frame, variant & 1, mtu - (variant & 1 ? 40 : 20));
		frame.packet.headroom = (uint16_t)(front - 1);
		encap(&pair, &frame);
		assert_dropped(&frame, DROP_NO_BUFFER);
		frame.packet.state = PACKET_CLEAR;
		frame.packet.headroom = (uint16_t)front;
		encap(&pair, &frame);
		assert_int_equal(frame.packet.state, PACKET_PROTECTED);
		assert_int_equal(frame.packet.headroom, 0);
		assert_in_range(frame.packet.len - 14, 1497, 1500);
		pair_fini(&pair);
	}
}

/* The largest IPv4 packet is the largest UDP packet too: one octet more does not fit a length. */
static void test_largest(void **state)
{
	static uint8_t mem[HEAD + 14 + 65535 + 64];
	uint8_t *ip = mem + HEAD + 14;
	struct packet packet, *burst = &packet;
	struct pair pair;

	(void)state;
	pair_init_udp(&pair, "aes128gcm16", FAMILY_V4, false);
	for (uint32_t total = 65535 - 48; total <= 65535; total++) {
		bool fits = total + 24 + (-(total - 20 + 2) & 3u) + 2 + 16 <= 65535;

		memset(mem, 0, HEAD + 14 + 20);
		packet = (struct packet){ .data = mem + HEAD, .len = 14 + total, .l2_len = 14,
					  .headroom = HEAD, .tailroom = 64 };
		store_be16(ip - 2, 0x0800);
		ip[0] = 0x45;
		store_be16(ip + 2, (uint16_t)total);
		memcpy(ip + 12, address(FAMILY_V4, 1).b, 4);
		memcpy(ip + 16, address(FAMILY_V4, 2).b, 4);
		esp_encap(&pair.out, &burst, 1);
		assert_int_equal(packet.state, fits ? PACKET_PROTECTED : PACKET_DEAD);
		if (fits)
			assert_int_equal(load_be16(packet.data + 14 + 24), packet.len - 14 - 20);
		else
			assert_int_equal(packet.drop, DROP_TOO_BIG);
	}
	pair_fini(&pair);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_round_trips),
		cmocka_unit_test(test_insertion_point),
		cmocka_unit_test(test_tunnel_bytes),
		cmocka_unit_test(test_checksum_is_never_zero),
		cmocka_unit_test(test_length_field),
		cmocka_unit_test(test_not_looked_at),
		cmocka_unit_test(test_what_else_comes),
		cmocka_unit_test(test_scapy_agrees),
		cmocka_unit_test(test_room),
		cmocka_unit_test(test_largest),
	};

	return cmocka_run_group_tests_name("udp_encap", tests, NULL, NULL);
}
