/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * IP packets and their fragments for unit tests, built octet by octet from a description, sharing
 * nothing with lib/. Included by: test_fragments.c, reassembling.h (after cmocka).
 */
#ifndef IPSECBPF_TEST_FRAGMENTS_H
#define IPSECBPF_TEST_FRAGMENTS_H

#include <errno.h>
#include <malloc.h>
#include <stdlib.h>

#include "frames.h"
#include "lib/fragment.h"
#include "lib/reassembly.h"

#define SECOND 1000000000ull
#define FRAGMENTS_MAX 8192

struct shape {
	enum ip_family family;
	unsigned int vlans;
	const char *options;		/* IPv4, a multiple of four octets */
	uint32_t options_len;
	struct { uint8_t type; uint16_t len; } chain[4];	/* IPv6 extension headers, octets */
	unsigned int chain_len;
	unsigned int per_fragment;	/* so many of them are repeated in each fragment */
	uint8_t proto, tos;
	uint32_t src, id;
	uint32_t payload_len;		/* octets behind the extension headers */
};

static uint8_t payload[65536];

static inline struct shape shape_default(enum ip_family family)
{
	return (struct shape){ .family = family, .proto = 50, .src = 0x0a090001, .id = 0x4711,
			       .payload_len = 4000 };
}

static inline int fill_payload(void **state)
{
	uint64_t seed = 11;

	(void)state;
	fill_random(&seed, payload, sizeof(payload));
	return 0;
}

static inline uint32_t shape_l2(const struct shape *shape)
{
	return 14 + 4 * shape->vlans;
}

/* Octets of IP header in front of what can be cut. */
static inline uint32_t shape_header(const struct shape *shape)
{
	uint32_t len = 40;

	if (shape->family == FAMILY_V4)
		return 20 + shape->options_len;
	for (unsigned int i = 0; i < shape->per_fragment; i++)
		len += shape->chain[i].len;
	return len;
}

/* Octets that can be cut. */
static inline uint32_t shape_part(const struct shape *shape)
{
	uint32_t len = shape->payload_len;

	for (unsigned int i = shape->per_fragment; i < shape->chain_len; i++)
		len += shape->chain[i].len;
	return len;
}

static inline void put_ipv4(const struct shape *shape, uint8_t *ip)
{
	uint32_t header_len = 20 + shape->options_len;

	memset(ip, 0, 20);
	ip[0] = (uint8_t)(0x40 | header_len / 4);
	ip[1] = shape->tos;
	put16(ip + 2, header_len + shape->payload_len);
	put16(ip + 4, shape->id);
	ip[8] = 64;
	ip[9] = shape->proto;
	put32(ip + 12, shape->src);
	put32(ip + 16, 0x0a090002);
	if (shape->options_len)
		memcpy(ip + 20, shape->options, shape->options_len);
	put16(ip + 10, ~naive_add(0, ip, header_len) & 0xffff);
}

static inline void put_ipv6(const struct shape *shape, uint8_t *ip)
{
	uint8_t *at = ip + 40, *next = ip + 6;

	memset(ip, 0, 40);
	put32(ip, 0x60054321 | (uint32_t)shape->tos << 20);
	ip[7] = 64;
	put32(ip + 8, 0xfd000000);
	put32(ip + 20, shape->src);
	put32(ip + 24, 0xfd000000);
	put32(ip + 36, 2);
	for (unsigned int i = 0; i < shape->chain_len; i++) {
		*next = shape->chain[i].type;
		memset(at, 0, shape->chain[i].len);
		at[1] = (uint8_t)(shape->chain[i].len / 8 - 1);
		next = at;
		at += shape->chain[i].len;
	}
	*next = shape->proto;
	put16(ip + 4, (uint32_t)(at - ip) - 40 + shape->payload_len);
}

/* Writes the frame to out (FRAME_MAX octets) and returns its length. */
static inline uint32_t build_whole(const struct shape *shape, uint8_t *out)
{
	struct frame_spec ethernet = { .family = shape->family, .vlans = shape->vlans };
	uint32_t len = shape_l2(shape) + shape_header(shape) + shape_part(shape);

	build_ethernet(&ethernet, out);
	if (shape->family == FAMILY_V4)
		put_ipv4(shape, out + shape_l2(shape));
	else
		put_ipv6(shape, out + shape_l2(shape));
	memcpy(out + len - shape->payload_len, payload, shape->payload_len);
	return len;
}

/* One fragment, with all options; what it says need not be true. Returns its length. */
static inline uint32_t build_fragment(const struct shape *shape, uint32_t off, uint32_t len,
				      bool more, uint8_t *out)
{
	static uint8_t whole[FRAME_MAX];
	uint32_t header = shape_header(shape), l2 = shape_l2(shape);
	uint32_t at = l2 + header, next = l2 + 6;

	build_whole(shape, whole);
	memcpy(out, whole, at);
	if (shape->family == FAMILY_V4) {
		put16(out + l2 + 2, header + len);
		put16(out + l2 + 6, off / 8 | (more ? 0x2000 : 0));
		put16(out + l2 + 10, 0);
		put16(out + l2 + 10, ~naive_add(0, out + l2, header) & 0xffff);
	} else {
		for (unsigned int i = 0; i < shape->per_fragment; i++)
			next = i ? next + shape->chain[i - 1].len : l2 + 40;
		out[at] = out[next];
		out[next] = 44;
		out[at + 1] = 0;
		put16(out + at + 2, off | more);
		put32(out + at + 4, shape->id);
		put16(out + l2 + 4, header - 40 + 8 + len);
		at += 8;
	}
	memcpy(out + at, whole + l2 + header + off, len);
	return at + len;
}

/* An exact-size heap copy, so that ASan sees every octet too far. */
static inline struct packet heap_packet(const struct shape *shape, const uint8_t *data,
					uint32_t len)
{
	struct packet packet = {
		.data = malloc(len ? len : 1), .len = len, .l2_len = (uint16_t)shape_l2(shape),
		.family = (uint8_t)shape->family, .state = PACKET_PROTECTED,
	};

	assert_non_null(packet.data);
	memcpy(packet.data, data, len);
	return packet;
}

static inline struct reassembly *new_reassembly(uint32_t packets)
{
	struct reassembly_limits limits = { .packets = packets, .fragments = FRAGMENTS_MAX,
					    .timeout_ns = 10 * SECOND, .seed = 3 };
	struct reassembly *reassembly = reassembly_new(&limits);

	assert_non_null(reassembly);
	return reassembly;
}

/* `whole` must be the frame of `shape`, with room around it that may be written. Releases it. */
static inline void check_whole(struct reassembly *reassembly, const struct shape *shape,
			       struct packet *whole)
{
	static uint8_t wanted[FRAME_MAX];
	uint32_t len = build_whole(shape, wanted);

	assert_non_null(whole);
	assert_int_equal(whole->len, len);
	assert_int_equal(whole->l2_len, shape_l2(shape));
	assert_int_equal(whole->family, shape->family);
	assert_int_equal(whole->state, PACKET_PROTECTED);
	assert_memory_equal(whole->data, wanted, len);
	assert_true(whole->headroom >= PACKET_HEADROOM);
	assert_true(whole->tailroom >= PACKET_TAILROOM);
	memset(whole->data - whole->headroom, 0xa5, whole->headroom);
	memset(whole->data + whole->len, 0xa5, whole->tailroom);
	reassembly_release(reassembly, whole);
}

#endif /* IPSECBPF_TEST_FRAGMENTS_H */
