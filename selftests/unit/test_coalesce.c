// SPDX-License-Identifier: BSD-2-Clause
/*
 * Coalescing: what merges and what must not, what the merged frame's headers say, and that cutting
 * it again gives the same stream in the same order.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>

#include <cmocka.h>

#include "frames.h"
#include "lib/coalesce.h"
#include "lib/segment.h"

#define PACKETS_MAX	512
#define PACKET_ROOM	2048
#define MSS		1000

/* What was emitted, flattened. */
struct emitted {
	struct virtio_net_hdr vnet;
	unsigned int packets;
	uint32_t slot, len;
	uint8_t *data;
};

struct bench {
	struct coalescer coalescer;
	struct packet packets[PACKETS_MAX];
	uint8_t *memory[PACKETS_MAX];
	uint8_t *before[PACKETS_MAX];	/* the packets as they were added */
	unsigned int added;
	struct emitted emitted[PACKETS_MAX];
	unsigned int count;
};

static uint8_t payload[65536], scratch[FRAME_MAX];
static struct bench bench;

static void take(void *context, struct coalesced *frame)
{
	struct bench *b = context;
	struct emitted *out = &b->emitted[b->count++];
	uint32_t off = 0;

	assert_true(b->count <= PACKETS_MAX);
	assert_ptr_equal(frame->iov[0].iov_base, &frame->vnet);
	assert_int_equal(frame->iov[0].iov_len, sizeof(frame->vnet));
	assert_int_equal(frame->iov_count, frame->packets + 1);
	*out = (struct emitted){ .vnet = frame->vnet, .packets = frame->packets,
				 .slot = frame->slot };
	for (unsigned int i = 1; i < frame->iov_count; i++)
		out->len += (uint32_t)frame->iov[i].iov_len;
	out->data = malloc(out->len);
	for (unsigned int i = 1; i < frame->iov_count; i++) {
		memcpy(out->data + off, frame->iov[i].iov_base, frame->iov[i].iov_len);
		off += (uint32_t)frame->iov[i].iov_len;
	}
}

static int group_setup(void **state)
{
	uint64_t seed = 8;

	(void)state;
	fill_random(&seed, payload, sizeof(payload));
	return 0;
}

static int start(void **state)
{
	(void)state;
	memset(&bench, 0, sizeof(bench));
	coalesce_init(&bench.coalescer, take, &bench);
	return 0;
}

static int stop(void **state)
{
	(void)state;
	for (unsigned int i = 0; i < bench.added; i++) {
		free(bench.memory[i]);
		free(bench.before[i]);
	}
	for (unsigned int i = 0; i < bench.count; i++)
		free(bench.emitted[i].data);
	return 0;
}

/* Adds a copy that is exactly as long as the packet, so that ASan sees every octet too far. */
static void add_octets(const uint8_t *data, uint32_t len, uint16_t l2_len, uint32_t slot)
{
	unsigned int i = bench.added++;
	struct packet *packet = &bench.packets[i];

	assert_true(i < PACKETS_MAX);
	bench.memory[i] = malloc(len ? len : 1);
	bench.before[i] = malloc(len ? len : 1);
	memcpy(bench.memory[i], data, len);
	memcpy(bench.before[i], data, len);
	*packet = (struct packet){ .data = bench.memory[i], .len = len, .l2_len = l2_len,
				   .state = PACKET_VERIFIED };
	coalesce_add(&bench.coalescer, packet, slot, 1);
}

static void add(const struct frame_spec *spec)
{
	add_octets(scratch, build_frame(spec, scratch), (uint16_t)frame_l2_len(spec), 7);
}

static struct frame_spec data_spec(enum ip_family family)
{
	struct frame_spec spec = frame_default(family);

	spec.payload = payload;
	spec.payload_len = MSS;
	return spec;
}

/* The segment that follows `spec`. */
static struct frame_spec next_spec(const struct frame_spec *spec)
{
	struct frame_spec next = *spec;

	next.seq += spec->payload_len;
	next.payload += spec->payload_len;
	next.id++;
	return next;
}

static void assert_alone(unsigned int index, unsigned int packet)
{
	static const struct virtio_net_hdr none;
	const struct emitted *out = &bench.emitted[index];

	assert_true(index < bench.count);
	assert_int_equal(out->packets, 1);
	assert_memory_equal(&out->vnet, &none, sizeof(none));
	assert_int_equal(out->len, bench.packets[packet].len);
	assert_memory_equal(out->data, bench.before[packet], out->len);
}

/* The emitted frame is the super-packet that the stack itself would have made of `spec`. */
static void assert_merged(unsigned int index, const struct frame_spec *spec, uint16_t gso_size)
{
	const struct emitted *out = &bench.emitted[index];
	struct frame_spec whole = *spec;
	struct virtio_net_hdr vnet = {
		.flags = VIRTIO_NET_HDR_F_NEEDS_CSUM,
		.gso_type = spec->family == FAMILY_V4 ? VIRTIO_NET_HDR_GSO_TCPV4 :
							VIRTIO_NET_HDR_GSO_TCPV6,
		.hdr_len = (uint16_t)frame_payload_off(spec),
		.gso_size = gso_size,
		.csum_start = (uint16_t)frame_l4_off(spec),
		.csum_offset = 16,
	};

	whole.csum = CSUM_PARTIAL;
	assert_true(index < bench.count);
	assert_memory_equal(&out->vnet, &vnet, sizeof(vnet));
	assert_int_equal(out->len, build_frame(&whole, scratch));
	assert_memory_equal(out->data, scratch, out->len);
}

static void merges_and_describes(void **state)
{
	unsigned int emitted = 0;

	(void)state;
	for (int family = 0; family < FAMILY_COUNT; family++) {
		for (unsigned int vlans = 0; vlans <= 2; vlans++) {
			struct frame_spec first = data_spec((enum ip_family)family), spec;

			first.vlans = vlans;
			spec = first;
			for (unsigned int i = 0; i < 5; i++) {
				add(&spec);
				spec = next_spec(&spec);
			}
			assert_int_equal(bench.count, emitted);
			coalesce_flush(&bench.coalescer);
			assert_int_equal(bench.count, ++emitted);
			assert_int_equal(bench.emitted[emitted - 1].packets, 5);
			first.payload_len = 5 * MSS;
			assert_merged(emitted - 1, &first, MSS);
		}
	}
}

static void single_is_untouched(void **state)
{
	struct frame_spec spec = data_spec(FAMILY_V4);

	(void)state;
	add(&spec);
	coalesce_flush(&bench.coalescer);
	assert_int_equal(bench.count, 1);
	assert_alone(0, 0);
	coalesce_flush(&bench.coalescer);
	assert_int_equal(bench.count, 1);
}

/* PSH joins, marks the frame and ends it. */
static void push_closes(void **state)
{
	struct frame_spec first = data_spec(FAMILY_V4), spec = next_spec(&first);

	(void)state;
	add(&first);
	spec.flags |= TCP_F_PSH;
	add(&spec);
	assert_int_equal(bench.count, 1);
	first.payload_len *= 2;
	first.flags |= TCP_F_PSH;
	assert_merged(0, &first, MSS);
	spec = next_spec(&spec);
	add(&spec);	/* PSH on the first */
	assert_int_equal(bench.count, 2);
	assert_alone(1, 2);
}

static void short_segment_closes(void **state)
{
	struct frame_spec first = data_spec(FAMILY_V6), spec = next_spec(&first);

	(void)state;
	add(&first);
	spec.payload_len = MSS - 1;
	add(&spec);
	assert_int_equal(bench.count, 1);
	first.payload_len += MSS - 1;
	assert_merged(0, &first, MSS);
	spec = next_spec(&spec);
	spec.payload_len = 10;
	add(&spec);
	spec = next_spec(&spec);
	spec.payload_len = 11;	/* more than the first defines */
	add(&spec);
	coalesce_flush(&bench.coalescer);
	assert_int_equal(bench.count, 3);
	assert_alone(1, 2);
	assert_alone(2, 3);
}

/* Adds a good segment, then `second`: both must come out alone, in order. */
static void assert_no_merge(const struct frame_spec *first, const struct frame_spec *second)
{
	unsigned int count = bench.count, added = bench.added;

	add(first);
	add(second);
	coalesce_flush(&bench.coalescer);
	assert_int_equal(bench.count, count + 2);
	assert_alone(count, added);
	assert_alone(count + 1, added + 1);
}

#define NO_MERGE(family, change) do {					\
	struct frame_spec first = data_spec(family);			\
	struct frame_spec spec = next_spec(&first);			\
									\
	change;								\
	assert_no_merge(&first, &spec);					\
} while (0)

static void differences_that_prevent(void **state)
{
	(void)state;
	NO_MERGE(FAMILY_V4, spec.seq++);
	NO_MERGE(FAMILY_V4, spec.seq--);
	NO_MERGE(FAMILY_V4, spec.ack++);
	NO_MERGE(FAMILY_V4, spec.window++);
	NO_MERGE(FAMILY_V4, spec.option_fill = 2);
	NO_MERGE(FAMILY_V4, spec.tcp_options = 16);
	NO_MERGE(FAMILY_V4, spec.sport++);
	NO_MERGE(FAMILY_V4, spec.dport++);
	NO_MERGE(FAMILY_V4, spec.ttl--);
	NO_MERGE(FAMILY_V4, spec.tos = 1);
	NO_MERGE(FAMILY_V4, spec.fragment = 0);
	NO_MERGE(FAMILY_V4, spec.vlans = 1);
	NO_MERGE(FAMILY_V4, spec.urgent = 1);
	NO_MERGE(FAMILY_V4, spec.payload_len++);
	NO_MERGE(FAMILY_V4, spec.ip_extra = 4);
	NO_MERGE(FAMILY_V4, first.ip_extra = spec.ip_extra = 4);
	NO_MERGE(FAMILY_V4, first.fragment = spec.fragment = 0x2000);
	NO_MERGE(FAMILY_V4, (first.fragment = spec.fragment = 0, spec.id++));
	NO_MERGE(FAMILY_V6, spec.ttl--);
	NO_MERGE(FAMILY_V6, spec.tos = 1);
	NO_MERGE(FAMILY_V6, spec.ip_extra = 8);
	NO_MERGE(FAMILY_V6, first.ip_extra = spec.ip_extra = 8);
}

static void flags_that_prevent(void **state)
{
	(void)state;
	for (unsigned int flags = 0; flags < 256; flags++) {
		if ((flags & ~TCP_F_PSH) == TCP_F_ACK)
			continue;
		NO_MERGE(FAMILY_V4, spec.flags = (uint8_t)flags);
		NO_MERGE(FAMILY_V6, first.flags = (uint8_t)flags);
		NO_MERGE(FAMILY_V4, first.flags = spec.flags = (uint8_t)flags);
		stop(state);
		start(state);
	}
}

/* With DF set the identification means nothing (RFC 6864); without, it has to count on. */
static void identification(void **state)
{
	struct frame_spec first = data_spec(FAMILY_V4), spec = next_spec(&first);

	(void)state;
	spec.id = 0x1234;
	add(&first);
	add(&spec);
	coalesce_flush(&bench.coalescer);
	assert_int_equal(bench.count, 1);
	first.fragment = spec.fragment = 0;
	first.id = 0xffff;
	spec.id = 0;
	add(&first);
	add(&spec);
	coalesce_flush(&bench.coalescer);
	assert_int_equal(bench.count, 2);
	assert_int_equal(bench.emitted[1].packets, 2);
}

static void sa_and_source_mac_separate(void **state)
{
	struct frame_spec first = data_spec(FAMILY_V4), spec = next_spec(&first);
	uint32_t len;

	(void)state;
	add(&first);
	len = build_frame(&spec, scratch);
	add_octets(scratch, len, 14, 8);	/* another SA's slot */
	spec = next_spec(&spec);
	len = build_frame(&spec, scratch);
	scratch[6] ^= 2;
	add_octets(scratch, len, 14, 8);
	coalesce_flush(&bench.coalescer);
	assert_int_equal(bench.count, 3);
	for (unsigned int i = 0; i < 3; i++)
		assert_alone(i, i);
	assert_int_equal(bench.emitted[0].slot, 7);
	assert_int_equal(bench.emitted[1].slot, 8);
}

/* Merging would write a fresh header checksum over a wrong one, or swallow trailing octets. */
static void damage_is_not_hidden(void **state)
{
	struct frame_spec first = data_spec(FAMILY_V4), spec = next_spec(&first);
	uint32_t len;

	(void)state;
	add(&first);
	len = build_frame(&spec, scratch);
	scratch[14 + 10] ^= 1;
	add_octets(scratch, len, 14, 7);
	add(&first);
	len = build_frame(&spec, scratch);
	add_octets(scratch, len + 1, 14, 7);
	coalesce_flush(&bench.coalescer);
	assert_int_equal(bench.count, 4);
	for (unsigned int i = 0; i < 4; i++)
		assert_alone(i, i);
}

/* Options, or a version, that 20 octets with a right checksum do not show otherwise. */
static void first_octet_counts(void **state)
{
	static const uint8_t wrong[] = { 0x4a, 0x65 };
	struct frame_spec first = data_spec(FAMILY_V4), spec = next_spec(&first);

	(void)state;
	for (unsigned int i = 0; i < sizeof(wrong); i++) {
		uint32_t len;

		add(&first);
		len = build_frame(&spec, scratch);
		scratch[14] = wrong[i];
		put16(scratch + 24, 0);
		put16(scratch + 24, ~naive_add(0, scratch + 14, 20) & 0xffff);
		add_octets(scratch, len, 14, 7);
		coalesce_flush(&bench.coalescer);
		assert_int_equal(bench.count, 2 * i + 2);
		assert_alone(2 * i, 2 * i);
		assert_alone(2 * i + 1, 2 * i + 1);
	}
}

/* What cannot merge sends its flow's frame first; other flows' frames stay. */
static void order_within_a_flow(void **state)
{
	struct frame_spec a = data_spec(FAMILY_V4), b = data_spec(FAMILY_V4), ack;

	(void)state;
	b.sport = 50000;
	add(&a);
	add(&b);
	ack = next_spec(&a);
	ack.payload_len = 0;
	add(&ack);
	assert_int_equal(bench.count, 2);
	assert_alone(0, 0);
	assert_alone(1, 2);
	b = next_spec(&b);
	b.fragment = 0x2000;	/* its ports are not looked at */
	add(&b);
	assert_int_equal(bench.count, 4);
	assert_alone(2, 1);
	assert_alone(3, 3);
}

/* UDP between the same hosts overtakes: it is another flow. */
static void other_protocols_pass(void **state)
{
	(void)state;
	for (int family = 0; family < FAMILY_COUNT; family++) {
		struct frame_spec spec = data_spec((enum ip_family)family);
		unsigned int count = bench.count, added = bench.added;
		uint32_t len;

		add(&spec);
		len = build_frame(&spec, scratch);
		scratch[14 + (family == FAMILY_V4 ? 9 : 6)] = 17;
		add_octets(scratch, len, 14, 7);
		assert_int_equal(bench.count, count + 1);
		assert_alone(count, added + 1);
		spec = next_spec(&spec);
		add(&spec);
		coalesce_flush(&bench.coalescer);
		assert_int_equal(bench.count, count + 2);
		assert_int_equal(bench.emitted[count + 1].packets, 2);
	}
}

static void oldest_gives_way(void **state)
{
	struct frame_spec spec = data_spec(FAMILY_V4);

	(void)state;
	for (unsigned int i = 0; i < COALESCE_FLOWS + 2; i++) {
		spec.sport = (uint16_t)(1000 + i);
		add(&spec);
	}
	assert_int_equal(bench.count, 2);
	assert_alone(0, 0);
	assert_alone(1, 1);
	coalesce_flush(&bench.coalescer);
	assert_int_equal(bench.count, COALESCE_FLOWS + 2);
	for (unsigned int i = 0; i < bench.count; i++)
		assert_alone(i, i);
}

static void bounded_size(void **state)
{
	struct frame_spec spec = data_spec(FAMILY_V4);

	(void)state;
	spec.payload_len = 8;
	for (unsigned int i = 0; i < COALESCE_PIECES + 1; i++) {
		add(&spec);
		spec = next_spec(&spec);
	}
	assert_int_equal(bench.count, 1);
	assert_int_equal(bench.emitted[0].packets, COALESCE_PIECES);
	coalesce_flush(&bench.coalescer);
	assert_alone(1, COALESCE_PIECES);
	spec = data_spec(FAMILY_V6);
	spec.payload_len = 1900;
	for (unsigned int i = 0; i < 35; i++) {
		spec.seq += 1900;
		add(&spec);
	}
	/* 34 * 1900 + 40 + 32 <= 65535 < 35 * 1900 + 40 + 32 */
	assert_int_equal(bench.count, 3);
	assert_int_equal(bench.emitted[2].packets, 34);
}

/* ---- both ways ---- */

/* Cuts a random super-packet, coalesces the segments, and wants it back octet for octet. */
static void round_trip(uint64_t *seed)
{
	struct frame_spec spec = frame_default(next_random(seed) & 1 ? FAMILY_V6 : FAMILY_V4);
	static uint8_t super[FRAME_MAX];
	struct host_frame frame = { .data = super };
	uint8_t out[PACKET_ROOM];
	struct packet packet = { .data = out };
	struct segment_iter iter;
	uint32_t mss = 1000 + next_random(seed) % 420;

	spec.vlans = next_random(seed) % 3;
	spec.tcp_options = next_random(seed) % 4 * 4;
	spec.seq = next_random(seed);
	spec.fragment = next_random(seed) & 1 ? IPV4_DF : 0;
	spec.payload = payload;
	spec.payload_len = mss + 1 + next_random(seed) % (63000 - mss);
	spec.flags |= next_random(seed) & 1 ? TCP_F_PSH : 0;
	spec.csum = CSUM_PARTIAL;
	frame.len = build_frame(&spec, super);
	frame.vnet = (struct virtio_net_hdr){
		.flags = VIRTIO_NET_HDR_F_NEEDS_CSUM,
		.gso_type = spec.family == FAMILY_V4 ? VIRTIO_NET_HDR_GSO_TCPV4 :
						       VIRTIO_NET_HDR_GSO_TCPV6,
		.gso_size = (uint16_t)mss,
		.csum_start = (uint16_t)frame_l4_off(&spec),
		.csum_offset = 16,
	};
	assert_int_equal(segment_start(&iter, &frame, 1500), DROP_NONE);
	while (segment_next(&iter, &packet, sizeof(out)))
		add_octets(out, packet.len, packet.l2_len, 7);
	coalesce_flush(&bench.coalescer);
	assert_int_equal(bench.count, 1);
	assert_merged(0, &spec, (uint16_t)mss);
}

static void segments_merge_back(void **state)
{
	uint64_t seed = 9;

	for (unsigned int round = 0; round < 300; round++) {
		round_trip(&seed);
		stop(state);
		start(state);
	}
}

/* Cuts emitted frame `out` and appends its payload to the flow's stream; checks the order. */
static void replay_emitted(const struct emitted *out, uint32_t *next_seq)
{
	struct host_frame frame = { .vnet = out->vnet, .data = out->data, .len = out->len };
	uint8_t room[PACKET_ROOM];
	struct packet packet = { .data = room };
	struct segment_iter iter;

	assert_int_equal(segment_start(&iter, &frame, 1500), DROP_NONE);
	while (segment_next(&iter, &packet, sizeof(room))) {
		const uint8_t *tcp = room + 34;
		uint32_t flow = tcp[1] & 15u, len = packet.len - 34 - 32;
		uint32_t seq = (uint32_t)tcp[4] << 24 | (uint32_t)tcp[5] << 16 |
			       (uint32_t)tcp[6] << 8 | tcp[7];

		assert_int_equal(seq, next_seq[flow]);
		assert_memory_equal(tcp + 32, payload + seq, len);
		assert_int_equal(naive_add(naive_pseudo(room + 26, 8, 6, len + 32), tcp, len + 32),
				 0xffff);
		next_seq[flow] += len;
	}
}

/* Twelve interleaved flows, sizes and flags at random, flushed at random: each stream is kept. */
static void random_streams(void **state)
{
	uint64_t seed = 10;

	for (unsigned int round = 0; round < 60; round++) {
		uint32_t sent[16] = { 0 }, got[16] = { 0 };

		for (unsigned int i = 0; i < 300; i++) {
			struct frame_spec spec = data_spec(FAMILY_V4);
			uint32_t flow = next_random(&seed) % (round % 12 + 1);
			uint32_t dice = next_random(&seed);

			spec.sport = (uint16_t)(0x4000 + flow);
			spec.seq = sent[flow];
			spec.payload = payload + sent[flow];
			spec.payload_len = dice % 16 ? 200 : dice / 16 % 200;
			spec.flags |= dice / 4096 % 32 ? 0 : TCP_F_PSH;
			spec.ack += dice / 65536 % 64 == 0;
			sent[flow] += spec.payload_len;
			add(&spec);
			if (next_random(&seed) % 64 == 0)
				coalesce_flush(&bench.coalescer);
		}
		coalesce_flush(&bench.coalescer);
		for (unsigned int i = 0; i < bench.count; i++)
			replay_emitted(&bench.emitted[i], got);
		assert_memory_equal(sent, got, sizeof(sent));
		if (round == 0)
			assert_true(bench.count < bench.added / 4);
		stop(state);
		start(state);
	}
}

/* Truncated and damaged packets behind good ones: alone, unmodified, and nothing read too far. */
static void damage(void **state)
{
	uint64_t seed = 11;

	for (unsigned int round = 0; round < 20000; round++) {
		struct frame_spec first = data_spec(round & 1 ? FAMILY_V6 : FAMILY_V4), spec;
		uint32_t len;

		first.payload_len = 40;
		spec = next_spec(&first);
		add(&first);
		len = build_frame(&spec, scratch);
		if (round % 3)
			len = next_random(&seed) % (len + 1);
		for (unsigned int i = next_random(&seed) % 3; i > 0; i--)
			scratch[12 + next_random(&seed) % 80] = (uint8_t)next_random(&seed);
		if (round % 7 == 0)
			fill_random(&seed, scratch + 14, 100);
		add_octets(scratch, len, 14, 7);
		coalesce_flush(&bench.coalescer);
		assert_true(bench.count == 1 || bench.count == 2);
		stop(state);
		start(state);
	}
	for (int family = 0; family < FAMILY_COUNT; family++) {
		struct frame_spec first = data_spec((enum ip_family)family);
		struct frame_spec spec = next_spec(&first);
		uint32_t len = build_frame(&spec, scratch);

		for (uint32_t cut = 0; cut < len; cut++) {
			add(&first);
			build_frame(&spec, scratch);
			add_octets(scratch, cut, 14, 7);
			coalesce_flush(&bench.coalescer);
			assert_int_equal(bench.count, 2);
			stop(state);
			start(state);
		}
	}
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, start, stop)
	const struct CMUnitTest tests[] = {
		TEST(merges_and_describes),
		TEST(single_is_untouched),
		TEST(push_closes),
		TEST(short_segment_closes),
		TEST(differences_that_prevent),
		TEST(flags_that_prevent),
		TEST(identification),
		TEST(sa_and_source_mac_separate),
		TEST(damage_is_not_hidden),
		TEST(first_octet_counts),
		TEST(order_within_a_flow),
		TEST(other_protocols_pass),
		TEST(oldest_gives_way),
		TEST(bounded_size),
		TEST(segments_merge_back),
		TEST(random_streams),
		TEST(damage),
	};
#undef TEST

	return cmocka_run_group_tests_name("coalesce", tests, group_setup, NULL);
}
