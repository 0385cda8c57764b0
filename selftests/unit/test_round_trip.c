// SPDX-License-Identifier: BSD-2-Clause
/* Segmentation and coalescing undo each other, and no stream is ever reordered. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "coalescing.h"
#include "lib/segment.h"

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

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, start, stop)
	const struct CMUnitTest tests[] = {
		TEST(segments_merge_back),
		TEST(random_streams),
	};
#undef TEST

	return cmocka_run_group_tests_name("round trip", tests, group_setup, NULL);
}
