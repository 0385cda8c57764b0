// SPDX-License-Identifier: BSD-2-Clause
/*
 * Millions of frames from the wire that are damaged, cut, or made of chance: nothing comes out that
 * was not sent, each frame is accounted for, and the sanitizers find nothing. Then peers that move,
 * and what keeps a NAT's mapping of them alive.
 */
#include "worker_testing.h"
#include "worker_modes.h"
#include "worker_traffic.h"
#include "worker_too_big.h"

#define SAMPLES_MAX 512
#define FRAMES_PER_MODE 200000	/* times the modes */

static struct octets *samples[SAMPLES_MAX];
static uint32_t sample_count;
static uint64_t seed = 99;

static int end(void **state)
{
	(void)state;
	ledger_clear();
	return 0;
}

static uint32_t dice(uint32_t sides)
{
	return next_random(&seed) % sides;
}

/* ---- samples ------------------------------------------------------------------------------- */

/* A packet-too-big message about `octets`, which a was too generous with. */
static void sample_too_big(const struct octets *octets)
{
	static uint8_t message[TOO_BIG_MAX];
	struct too_big too_big = { .quote = octets->data + 14, .quote_len = 60, .mtu = 1400 };

	too_big.family = octets->data[14] >> 4 == 4 ? FAMILY_V4 : FAMILY_V6;
	samples[sample_count++] = octets_new(message, build_too_big(&too_big, message));
}

/* Frames as a has sent them; b has not seen them yet. */
static void make_samples(const struct mode *mode)
{
	struct octets *octets;

	sample_count = 0;
	for (uint32_t i = 0; i < 32; i++) {
		uint32_t payload = i % 16 == 15 ? 3000 : i % 8 == 7 ? 1300 : 16 + dice(100);

		send_udp(mode, &(struct stack_packet){ .family = i % 2, .payload = payload });
		if (i < 4)
			send_tcp(mode, &(struct stack_packet){ .family = i % 2, .payload = 300,
							       .gso_size = 60 });
	}
	host_work(&a);
	while ((octets = octets_pop(&a.wire_out))) {
		assert_true(sample_count < SAMPLES_MAX - 2);
		if (sample_count % 8 == 0)
			sample_too_big(octets);
		samples[sample_count++] = octets;
	}
}

static void free_samples(void)
{
	while (sample_count)
		free(samples[--sample_count]);
}

/* ---- damage -------------------------------------------------------------------------------- */

/* Makes the IPv4 header's checksum right again, so that what is behind it is looked at. */
static void mend(uint8_t *ip, uint32_t len)
{
	uint32_t header = (ip[0] & 15u) * 4;

	if (ip[0] >> 4 != 4 || header < 20 || header > len)
		return;
	put16(ip + 10, 0);
	put16(ip + 10, ~naive_add(0, ip, header) & 0xffff);
}

static uint32_t damage(uint8_t *frame, uint32_t len)
{
	uint32_t headers = len < 90 ? len : 90;

	switch (dice(8)) {
	case 0:		/* cut */
		return dice(len + 1);
	case 1:		/* any bit */
		frame[dice(len)] ^= (uint8_t)(1u << dice(8));
		break;
	case 2:		/* a header's octet */
		frame[14 + dice(headers - 14)] = (uint8_t)next_random(&seed);
		break;
	case 3:		/* a fragment of something */
		put16(frame + 14 + 6, next_random(&seed) & 0x3fff);
		break;
	case 4:		/* lengths, version */
		frame[14 + dice(6)] = (uint8_t)next_random(&seed);
		break;
	case 5:		/* next header */
		frame[14 + (dice(2) ? 9 : 6)] = (uint8_t[]){ 0, 1, 17, 43, 44, 50, 51, 58, 60 }[dice(9)];
		break;
	case 6:		/* a VLAN tag, or two */
		memmove(frame + 16, frame + 12, len - 12);
		put32(frame + 12, 0x81000000 | dice(4096));
		len += 4;
		break;
	default:	/* noise */
		fill_random(&seed, frame + dice(headers), dice(len - headers + 1) % 32);
	}
	if (dice(4))
		mend(frame + 14, len - 14);
	return len;
}

/* ---- millions of frames --------------------------------------------------------------------- */

/* A tunnel's ICV covers all of it: nothing has changed. */
static void check_fragment(const uint8_t *ip, uint32_t len)
{
	uint32_t id = ip[0] >> 4 == 4 ? load_be16(ip + 4) : load_be32(ip) & 0xfffff;
	uint32_t header = ip[0] >> 4 == 4 ? 20 : 48, from = fragment_offset(ip);

	assert_true(id > 0 && id < ledger_count && len > header);
	check_fragment_header(ip, len, &ledger[id]);
	from += ip[0] >> 4 == 4 ? 20 : 40;
	assert_true(from + len - header <= ledger[id].len);
	assert_memory_equal(ip + header, ledger[id].ip + from, len - header);
}

/* Fields that no ICV covers may have changed; what the packet carries may not. */
static void check_payload(const struct octets *octets)
{
	uint32_t l2 = 14, upper;
	const uint8_t *ip;

	while (load_be16(octets->data + l2 - 2) == 0x8100)
		l2 += 4;
	ip = octets->data + l2;
	if (is_fragment(ip)) {
		check_fragment(ip, octets->len - l2);
		return;
	}
	upper = ip[0] >> 4 == 4 ? (ip[0] & 15u) * 4 : 40;
	for (uint32_t i = 1; i < ledger_count; i++) {
		const struct entry *entry = &ledger[i];
		uint32_t header = entry->ip[0] >> 4 == 4 ? 20 : 40;

		if (octets->len - l2 - upper == entry->len - header &&
		    !memcmp(ip + upper, entry->ip + header, entry->len - header))
			return;
	}
	upper += TCP_HEADER;	/* not UDP of ours: the stream, then */
	assert_true(octets->len > l2 + upper);
	assert_int_equal(ip[octets->len - l2 - 1],
			 stream_octet(load_be32(ip + upper - TCP_HEADER + 4) + octets->len - l2 -
				      upper - 1));
}

static uint64_t take_hostile(void)
{
	struct octets *octets;
	uint64_t count = 0;

	for (; (octets = octets_pop(&b.host_out)); count++) {
		check_payload(octets);
		free(octets);
	}
	return count;
}

static void damage_all(uint32_t frames)
{
	static uint8_t frame[2048];
	uint64_t delivered = 0;

	for (uint32_t i = 0; i < frames; i++) {
		const struct octets *sample = samples[dice(sample_count)];
		uint32_t len = sample->len;

		memcpy(frame, sample->data, len);
		for (uint32_t times = 1 + dice(3); times && len > 40; times--)
			len = damage(frame, len);
		octets_push(&b.wire_in, frame, len);
		if (i % 64 == 0)
			worker_in_round(&b.worker, &b.port);
		if (i % 1024 == 0)
			host_wait(&b);
	}
	host_work(&b);
	host_wait(&b);
	delivered = take_hostile();
	assert_int_equal(b.stats.wire_rx, frames);
	assert_int_equal(b.stats.host_tx, delivered);
	/* The rest was put together, said twice, or a message that was believed. */
	assert_true(drops_of(&b) + b.stats.host_tx + b.stats.host_tx_coalesced <= frames);
	assert_true(drops_of(&b) > frames * 3 / 4);
	assert_true(b.stats.drops[DROP_MALFORMED] && b.stats.drops[DROP_ICV] &&
		    b.stats.drops[DROP_STALE_SA] && b.stats.drops[DROP_REASSEMBLY_TIME]);
}

static void test_damage(void **state)
{
	(void)state;
	for (size_t i = 0; i < MODES; i++) {
		mode_begin(&modes[i]);
		make_samples(&modes[i]);
		damage_all(FRAMES_PER_MODE);
		free_samples();
		mode_end();
		ledger_clear();
	}
}

/* Goes through SAs number `from` to `to` of the mode, as a has them. */
static bool protect_by(const struct mode *mode, struct packet *packet, unsigned int from,
		       unsigned int to)
{
	enum ip_family family = packet->data[14] >> 4 == 6 ? FAMILY_V6 : FAMILY_V4;

	for (unsigned int i = from; i < to; i++) {
		struct worker_sa *sa;

		family = outer_family(&mode->layers[i], family);
		sa = a.worker.sas.by_slot[mode_slot(i, 0, family)];
		packet->state = PACKET_CLEAR;
		sa_protect(&sa->sa, &packet, 1);
		if (packet->state != PACKET_PROTECTED)
			return false;
	}
	return true;
}

/* A peer with all keys that sends nonsense within its outermost SA. */
static uint32_t damage_within(const struct mode *mode, uint32_t frames)
{
	static uint8_t memory[PACKET_HEADROOM + 2048 + PACKET_TAILROOM];
	unsigned int depth = mode_depth(mode);
	uint32_t sent = 0;

	for (uint32_t i = 0; i < frames; i++) {
		const struct entry *entry = &ledger[1 + dice(ledger_count - 1)];
		struct packet packet = { .data = memory + PACKET_HEADROOM, .l2_len = 14,
					 .headroom = PACKET_HEADROOM, .len = 14 + entry->len };

		memset(packet.data, 2, 12);
		store_be16(packet.data + 12, entry->ip[0] >> 4 == 4 ? 0x0800 : 0x86dd);
		memcpy(packet.data + 14, entry->ip, entry->len);
		packet.tailroom = (uint16_t)(2048 + PACKET_TAILROOM - packet.len);
		if (!protect_by(mode, &packet, 0, depth - 1))
			continue;
		damage(packet.data, packet.len);
		packet.tailroom = (uint16_t)(memory + sizeof(memory) - packet.data - packet.len);
		if (!protect_by(mode, &packet, depth - 1, depth))
			continue;
		octets_push(&b.wire_in, packet.data, packet.len);
		sent++;
		if (i % 64 == 0)
			worker_in_round(&b.worker, &b.port);
	}
	host_work(&b);
	host_wait(&b);
	return sent;
}

static void test_damage_within(void **state)
{
	(void)state;
	for (size_t i = 0; i < MODES; i++) {
		uint32_t sent;

		mode_begin(&modes[i]);
		for (uint32_t size = 0; size < 40; size++)
			send_udp(&modes[i], &(struct stack_packet){ .family = size % 2,
								    .payload = 16 + size * 7 });
		octets_clear(&a.host_in);
		sent = damage_within(&modes[i], 20000);
		assert_true(sent > 4000);
		/* Each comes out, under whatever SA it has got to, or is counted. */
		assert_int_equal(b.stats.host_tx + b.stats.host_tx_coalesced + drops_of(&b), sent);
		assert_int_equal(octets_clear(&b.host_out), b.stats.host_tx);
		mode_end();
		ledger_clear();
	}
}

/* The host's own stack is not trusted with lengths either. */
static void test_damage_from_host(void **state)
{
	(void)state;
	for (size_t i = 0; i < MODES; i++) {
		mode_begin(&modes[i]);
		a.may_be_clear = true;	/* a fragment's offset may be hit */
		for (uint32_t frame = 0; frame < 4000; frame++) {
			struct octets *octets;

			send_udp(&modes[i], &(struct stack_packet){
				.family = dice(2), .payload = 16 + dice(dice(20) ? 400 : 4000) });
			STAILQ_FOREACH(octets, &a.host_in, next) {
				uint32_t headers = octets->len < 64 ? octets->len - 14 : 50;

				for (uint32_t times = dice(3); times; times--)
					octets->data[14 + dice(headers)] = (uint8_t)
						next_random(&seed);
				if (dice(3) == 0)
					octets->vnet = (struct virtio_net_hdr){
						.flags = (uint8_t)dice(2),
						.gso_type = (uint8_t)dice(6),
						.gso_size = (uint16_t)dice(2000),
						.csum_start = (uint16_t)dice(100),
						.csum_offset = (uint16_t)dice(20) };
			}
			host_work(&a);
			octets_clear(&a.wire_out);
			octets_clear(&a.host_out);
		}
		mode_end();
		ledger_clear();
	}
}

/* ---- peers that move ----------------------------------------------------------------------- */

/* a's frame as if from another address and port. */
static void move(struct octets *octets, uint8_t last, uint16_t port)
{
	octets->data[14 + 15] = last;
	put16(octets->data + 14 + 20, port);
	mend(octets->data + 14, octets->len - 14);
}

/* Where b's next packet goes to. */
static void check_goes_to(const struct mode *mode, uint8_t last, uint16_t port)
{
	struct octets *octets;

	send_udp(mode, &(struct stack_packet){ .payload = 50, .back = true });
	host_work(&b);
	octets = octets_pop(&b.wire_out);
	assert_non_null(octets);
	assert_int_equal(octets->data[14 + 19], last);
	assert_int_equal(load_be16(octets->data + 14 + 22), port);
	free(octets);
}

static void begin_following(const struct mode *mode)
{
	mode_begin(mode);
	for (unsigned int back = 0; back < 2; back++) {
		struct sa_config sa = mode_sa(mode, 0, back, FAMILY_V4);

		sa.follow_peer = true;
		sa.keepalive = 20;
		sa.direction = back ? SPD_OUT : SPD_IN;
		host_sa(&b, mode_slot(0, back, FAMILY_V4), 1, &sa);
	}
}

static void test_moving(void **state)
{
	const struct mode *mode = &modes[5];
	struct octets *frames[4];

	(void)state;
	assert_string_equal(mode->name, "udp-tunnel");
	begin_following(mode);
	check_goes_to(mode, 1, 4500);
	for (unsigned int i = 0; i < 4; i++) {
		send_udp(mode, &(struct stack_packet){ .payload = 50 });
		host_work(&a);
		frames[i] = octets_pop(&a.wire_out);
	}
	move(frames[1], 77, 61000);
	STAILQ_INSERT_TAIL(&b.wire_in, frames[1], next);
	host_work(&b);
	check_goes_to(mode, 77, 61000);
	/* An older one comes late, one moves on, and a forged one says something else. */
	STAILQ_INSERT_TAIL(&b.wire_in, frames[0], next);
	host_work(&b);
	check_goes_to(mode, 77, 61000);
	move(frames[2], 66, 5);
	STAILQ_INSERT_TAIL(&b.wire_in, frames[2], next);
	octets_clear(&b.host_out);
	host_work(&b);
	check_goes_to(mode, 66, 5);
	frames[3]->data[frames[3]->len - 1] ^= 1;
	move(frames[3], 55, 5);
	STAILQ_INSERT_TAIL(&b.wire_in, frames[3], next);
	host_work(&b);
	assert_int_equal(b.stats.drops[DROP_ICV], 1);
	check_goes_to(mode, 66, 5);
	mode_end();
}

static void test_keepalives(void **state)
{
	const struct mode *mode = &modes[5];
	struct octets *octets;

	(void)state;
	begin_following(mode);
	b.worker.now_ns += 100 * SECOND_NS;
	worker_out_tick(&b.worker);
	assert_true(STAILQ_EMPTY(&b.wire_out));	/* there is no mapping yet */
	check_goes_to(mode, 1, 4500);
	b.worker.now_ns += 20 * SECOND_NS - 1;
	worker_out_tick(&b.worker);
	assert_true(STAILQ_EMPTY(&b.wire_out));
	for (unsigned int i = 0; i < 3; i++) {
		b.worker.now_ns += i ? 20 * SECOND_NS : 1;
		worker_out_tick(&b.worker);
		worker_out_tick(&b.worker);
		octets = octets_pop(&b.wire_out);
		assert_non_null(octets);
		assert_true(STAILQ_EMPTY(&b.wire_out));
		assert_int_equal(octets->len, 14 + 20 + 8 + 1);
		assert_int_equal(naive_add(0, octets->data + 14, 20), 0xffff);
		assert_int_equal(load_be16(octets->data + 14 + 22), 4500);
		assert_int_equal(load_be16(octets->data + 14 + 24), 9);
		assert_int_equal(octets->data[14 + 28], 0xff);
		free(octets);
	}
	assert_int_equal(b.stats.keepalives, 3);
	mode_end();
}

int main(void)
{
#define TEST(name) cmocka_unit_test_teardown(name, end)
	const struct CMUnitTest tests[] = {
		TEST(test_damage), TEST(test_damage_within),
		TEST(test_damage_from_host), TEST(test_moving),
		TEST(test_keepalives),
	};

	return cmocka_run_group_tests_name("worker_hostile", tests, NULL, NULL);
}
