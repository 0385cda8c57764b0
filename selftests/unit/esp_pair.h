/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Two hosts' run-times of one SA, and frames to send between them. Included by: test_esp*.c,
 * test_ah*.c.
 */
#ifndef SELFTESTS_ESP_PAIR_H
#define SELFTESTS_ESP_PAIR_H

#include <errno.h>
#include <netinet/in.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "lib/bytes.h"
#include "lib/checksum.h"
#include "lib/esp.h"

#define FRAME_MAX 10240
#define HEAD 128

/* A pair of run-times of one SA, as the two hosts have them. */
struct pair {
	struct sa_config config;
	struct sa_state out_state, in_state;
	struct sa_runtime out, in;
};

/* A packet in memory of its own; what it was before is kept for comparing. */
struct frame {
	uint8_t mem[HEAD + FRAME_MAX];
	struct packet packet;
	uint8_t before[FRAME_MAX];
	uint32_t before_len;
};

static inline union wire_addr address(enum ip_family family, uint8_t last)
{
	union wire_addr addr = { .b = { 10, 9, 0, last } };

	if (family == FAMILY_V6)
		addr = (union wire_addr){ .b = { 0xfd, 9, [15] = last } };
	return addr;
}

/* An SA of any protocol; pair_init() makes one of ESP. */
static inline void pair_init_suite(struct pair *pair, uint8_t proto, const struct esp_suite *suite,
				   const char *engine, const struct sa_config *like)
{
	struct sa_config *config = &pair->config;

	memset(pair, 0, sizeof(*pair));
	*config = (struct sa_config){ .src = address(like->family, 1),
				      .dst = address(like->family, 2),
				      .spi = htobe32(0x1001), .proto = proto,
				      .family = like->family, .direction = SPD_OUT,
				      .tunnel = like->tunnel, .esn = like->esn,
				      .replay_window = 1024, .dscp = DSCP_COPY,
				      .suite = (uint16_t)suite_index(suite) };
	for (unsigned int i = 0; i < SUITE_KEY_MAX; i++) {
		config->key[i] = (uint8_t)(i * 3 + 1);
		config->mac_key[i] = (uint8_t)(i * 5 + 2);
	}
	pair->out_state.seq_next = 1;
	pair->out_state.seq_reserved = UINT64_MAX;
	assert_int_equal(sa_runtime_init(&pair->out, config, &pair->out_state, engine), 0);
	config->direction = SPD_IN;
	assert_int_equal(sa_runtime_init(&pair->in, config, &pair->in_state, engine), 0);
}

static inline void pair_init(struct pair *pair, const char *suite, const char *engine,
			     enum ip_family family, bool tunnel, bool esn)
{
	const struct sa_config like = { .family = family, .tunnel = tunnel, .esn = esn };

	pair_init_suite(pair, IPPROTO_ESP, suite_find(suite), engine, &like);
}

/* Makes it an SA of ESP in UDP, on both hosts. */
static inline void pair_udp(struct pair *pair, uint16_t sport, uint16_t dport)
{
	pair->config.encap_sport = pair->out.encap_sport = pair->in.encap_sport = htobe16(sport);
	pair->config.encap_dport = pair->out.encap_dport = pair->in.encap_dport = htobe16(dport);
}

static inline void pair_fini(struct pair *pair)
{
	sa_runtime_fini(&pair->out);
	sa_runtime_fini(&pair->in);
}

static inline uint8_t *frame_ip(struct frame *frame)
{
	return frame->packet.data + frame->packet.l2_len;
}

static inline void frame_finish(struct frame *frame, uint32_t ip_len)
{
	struct packet *packet = &frame->packet;

	packet->len = packet->l2_len + ip_len;
	packet->tailroom = (uint16_t)(FRAME_MAX - packet->len);
	packet->state = PACKET_CLEAR;
	memcpy(frame->before, packet->data, packet->len);
	frame->before_len = packet->len;
}

/* Ethernet, VLAN tags, MACs that tell their places apart. */
static inline void frame_start(struct frame *frame, enum ip_family family, unsigned int vlans)
{
	struct packet *packet = &frame->packet;

	memset(frame, 0xee, sizeof(*frame));
	*packet = (struct packet){ .data = frame->mem + HEAD, .headroom = HEAD, .family = family,
				   .l2_len = (uint16_t)(14 + 4 * vlans) };
	for (uint8_t i = 0; i < 12; i++)
		packet->data[i] = i;
	for (unsigned int i = 0; i < vlans; i++)
		store_be32(packet->data + 12 + 4 * i, 0x81000064 + i);
	store_be16(packet->data + packet->l2_len - 2, family == FAMILY_V4 ? 0x0800 : 0x86dd);
}

static inline void fill(uint8_t *at, uint32_t len)
{
	for (uint32_t i = 0; i < len; i++)
		at[i] = (uint8_t)(i * 11 + len);
}

/* options: octets of IPv4 options, a multiple of 4. */
static inline void frame_ipv4(struct frame *frame, uint32_t options, uint32_t payload, unsigned int vlans)
{
	uint8_t *ip;

	frame_start(frame, FAMILY_V4, vlans);
	ip = frame_ip(frame);
	memset(ip, 0, 20);
	ip[0] = (uint8_t)(0x40 | (20 + options) / 4);
	ip[1] = 0xb9;			/* DSCP 46, ECT(1) */
	store_be16(ip + 2, (uint16_t)(20 + options + payload));
	store_be16(ip + 4, 0x1234);
	ip[6] = 0x40;
	ip[8] = 63;
	ip[9] = IPPROTO_UDP;
	memcpy(ip + 12, address(FAMILY_V4, 1).b, 4);
	memcpy(ip + 16, address(FAMILY_V4, 2).b, 4);
	memset(ip + 20, 1, options);
	checksum_ipv4(ip, 20 + options);
	fill(ip + 20 + options, payload);
	frame_finish(frame, 20 + options + payload);
}

/* `types`: extension headers of 8 octets each, 0-terminated; IPPROTO_HOPOPTS is 0: written as 1. */
static inline void frame_ipv6(struct frame *frame, const uint8_t *types, uint32_t payload,
		       unsigned int vlans)
{
	uint32_t off = 40;
	uint8_t *ip, *next;

	frame_start(frame, FAMILY_V6, vlans);
	ip = frame_ip(frame);
	store_be32(ip, 0x6b912345);	/* traffic class 0xb9, a flow label */
	ip[7] = 63;
	memcpy(ip + 8, address(FAMILY_V6, 1).b, 16);
	memcpy(ip + 24, address(FAMILY_V6, 2).b, 16);
	next = ip + 6;
	for (; *types; types++, off += 8) {
		*next = *types == 1 ? IPPROTO_HOPOPTS : *types;
		next = ip + off;
		memcpy(ip + off, (const uint8_t[]){ 0, 0, 1, 0, 0, 0, 0, 0 }, 8);
		if (*types == IPPROTO_ROUTING || *types == IPPROTO_FRAGMENT)
			memset(ip + off + 2, 0, 6);
	}
	*next = IPPROTO_UDP;
	store_be16(ip + 4, (uint16_t)(off - 40 + payload));
	fill(ip + off, payload);
	frame_finish(frame, off + payload);
}

static inline void frame_plain(struct frame *frame, enum ip_family family, uint32_t payload)
{
	if (family == FAMILY_V4)
		frame_ipv4(frame, 0, payload, 0);
	else
		frame_ipv6(frame, (const uint8_t[]){ 0 }, payload, 0);
}

/* Internet checksum the slow way, to check the library's: in host order, not complemented. */
static inline uint16_t ones_sum(uint32_t sum, const uint8_t *data, uint32_t len)
{
	for (uint32_t i = 0; i < len; i++) {
		sum += i & 1 ? data[i] : (uint32_t)data[i] << 8;
		if (sum > 0xffff)
			sum -= 0xffff;
	}
	return (uint16_t)sum;
}

static inline void encap(struct pair *pair, struct frame *frame)
{
	struct packet *packet = &frame->packet;

	sa_protect(&pair->out, &packet, 1);
}

static inline void decap(struct pair *pair, struct frame *frame)
{
	struct packet *packet = &frame->packet;

	sa_verify(&pair->in, &packet, 1);
}

/* The frame is what it was, octet by octet, and its descriptor says so. */
static inline void assert_restored(const struct frame *frame)
{
	const struct packet *packet = &frame->packet;

	assert_int_equal(packet->state, PACKET_VERIFIED);
	assert_int_equal(packet->len, frame->before_len);
	assert_memory_equal(packet->data, frame->before, frame->before_len);
	assert_ptr_equal(packet->data - packet->headroom, frame->mem);
	assert_ptr_equal(packet->data + packet->len + packet->tailroom,
			 frame->mem + HEAD + FRAME_MAX);
	assert_int_equal(packet->family, packet->inner_family);
}

#define assert_dropped(frame, reason)						\
	do {									\
		assert_int_equal((frame)->packet.state, PACKET_DEAD);		\
		assert_int_equal((frame)->packet.drop, reason);			\
	} while (0)

/* The same number five times, in a burst and after it; the first is forged. */
static inline void check_replays(struct pair *pair)
{
	static struct frame frames[5];
	struct packet *packets[5];

	frame_ipv4(&frames[0], 0, 40, 0);
	encap(pair, &frames[0]);
	for (int i = 0; i < 5; i++) {
		if (i) {
			memcpy(&frames[i], &frames[0], sizeof(frames[0]));
			frames[i].packet.data = frames[i].mem + (frames[0].packet.data - frames[0].mem);
		}
		packets[i] = &frames[i].packet;
	}
	frames[0].packet.data[60] ^= 1;
	sa_verify(&pair->in, packets, 4);
	assert_dropped(&frames[0], DROP_ICV);
	assert_restored(&frames[1]);
	assert_dropped(&frames[2], DROP_REPLAY_DUP);
	assert_dropped(&frames[3], DROP_REPLAY_DUP);
	sa_verify(&pair->in, &packets[4], 1);
	assert_dropped(&frames[4], DROP_REPLAY_DUP);
	assert_int_equal(pair->in_state.replayed, 3);
	assert_int_equal(pair->in_state.icv_failed, 1);
	assert_int_equal(pair->in_state.packets, 1);
}

#endif /* SELFTESTS_ESP_PAIR_H */
