/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A coalescer that packets are added to and whose frames are kept, for tests to look at.
 * Included by: test_coalesce.c, test_round_trip.c, after cmocka.h. One program, one bench.
 */
#ifndef IPSECBPF_TEST_COALESCING_H
#define IPSECBPF_TEST_COALESCING_H

#include <stdlib.h>

#include "frames.h"
#include "lib/coalesce.h"

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

static inline void take(void *context, struct coalesced *frame)
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

static inline int group_setup(void **state)
{
	uint64_t seed = 8;

	(void)state;
	fill_random(&seed, payload, sizeof(payload));
	return 0;
}

static inline int start(void **state)
{
	(void)state;
	memset(&bench, 0, sizeof(bench));
	coalesce_init(&bench.coalescer, take, &bench);
	return 0;
}

static inline int stop(void **state)
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
static inline void add_octets(const uint8_t *data, uint32_t len, uint16_t l2_len, uint32_t slot)
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

static inline void add(const struct frame_spec *spec)
{
	add_octets(scratch, build_frame(spec, scratch), (uint16_t)frame_l2_len(spec), 7);
}

static inline struct frame_spec data_spec(enum ip_family family)
{
	struct frame_spec spec = frame_default(family);

	spec.payload = payload;
	spec.payload_len = MSS;
	return spec;
}

/* The segment that follows `spec`. */
static inline struct frame_spec next_spec(const struct frame_spec *spec)
{
	struct frame_spec next = *spec;

	next.seq += spec->payload_len;
	next.payload += spec->payload_len;
	next.id++;
	return next;
}

static inline void assert_alone(unsigned int index, unsigned int packet)
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
static inline void assert_merged(unsigned int index, const struct frame_spec *spec, uint16_t gso_size)
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

#endif /* IPSECBPF_TEST_COALESCING_H */
