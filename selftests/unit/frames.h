/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Frames for unit tests, built octet by octet from a description, with checksums computed the slow
 * way (RFC 1071, octet pairs). Deliberately shares nothing with lib/ but the names of fields.
 * Included by: test_checksum.c, test_segment.c, coalescing.h.
 */
#ifndef IPSECBPF_TEST_FRAMES_H
#define IPSECBPF_TEST_FRAMES_H

#include <stdbool.h>
#include <stdint.h>
#include <string.h>

#include "bpf/abi.h"
#include "lib/tcpip.h"

#define FRAME_MAX (65536 + 256)

enum csum_mode {
	CSUM_FULL,	/* as on the wire */
	CSUM_PARTIAL,	/* the pseudo header's sum only, as NEEDS_CSUM wants it */
};

struct frame_spec {
	enum ip_family family;
	unsigned int vlans;
	unsigned int ip_extra;		/* octets of IPv4 options or of IPv6 destination options */
	unsigned int tcp_options;
	uint32_t seq, ack;
	uint16_t window, id, fragment, urgent;
	uint16_t sport, dport;
	uint8_t flags, ttl, tos, option_fill;
	const uint8_t *payload;
	uint32_t payload_len;
	enum csum_mode csum;
};

/* What most tests vary from. */
static inline struct frame_spec frame_default(enum ip_family family)
{
	return (struct frame_spec){
		.family = family, .tcp_options = 12, .seq = 0xfffff000, .ack = 0x01020304,
		.window = 500, .id = 0xfff0, .fragment = IPV4_DF, .sport = 40000, .dport = 443,
		.flags = TCP_F_ACK, .ttl = 64, .option_fill = 1, .csum = CSUM_FULL,
	};
}

static inline uint32_t naive_add(uint32_t sum, const uint8_t *data, uint32_t len)
{
	for (uint32_t i = 0; i < len; i++) {
		sum += i & 1 ? data[i] : (uint32_t)data[i] << 8;
		sum = (sum & 0xffff) + (sum >> 16);
	}
	return sum;
}

static inline void put16(uint8_t *at, uint32_t value)
{
	at[0] = (uint8_t)(value >> 8);
	at[1] = (uint8_t)value;
}

static inline void put32(uint8_t *at, uint32_t value)
{
	put16(at, value >> 16);
	put16(at + 2, value & 0xffff);
}

static inline uint32_t naive_pseudo(const uint8_t *addresses, uint32_t pair_len, uint8_t proto,
				    uint32_t len)
{
	uint32_t sum = naive_add(0, addresses, pair_len);

	sum += proto + (len & 0xffff) + (len >> 16);
	return (sum & 0xffff) + (sum >> 16);
}

static inline uint32_t frame_l2_len(const struct frame_spec *spec)
{
	return 14 + 4 * spec->vlans;
}

static inline uint32_t frame_l4_off(const struct frame_spec *spec)
{
	return frame_l2_len(spec) + (spec->family == FAMILY_V4 ? 20 : 40) + spec->ip_extra;
}

static inline uint32_t frame_payload_off(const struct frame_spec *spec)
{
	return frame_l4_off(spec) + 20 + spec->tcp_options;
}

static inline void build_ethernet(const struct frame_spec *spec, uint8_t *out)
{
	memcpy(out, "\x02\x00\x00\x00\x00\x01\xa7\x01\x00\x00\x00\x07", 12);
	for (unsigned int i = 0; i < spec->vlans; i++) {
		put16(out + 12 + 4 * i, i + 1 < spec->vlans ? 0x88a8 : 0x8100);
		put16(out + 14 + 4 * i, 100 + i);
	}
	put16(out + 12 + 4 * spec->vlans, spec->family == FAMILY_V4 ? 0x0800 : 0x86dd);
}

/* Returns the sum of the TCP pseudo header. */
static inline uint32_t build_ip(const struct frame_spec *spec, uint8_t *ip)
{
	uint32_t tcp_len = 20 + spec->tcp_options + spec->payload_len;

	if (spec->family == FAMILY_V4) {
		memset(ip, 0, 20);
		ip[0] = (uint8_t)(0x40 | (20 + spec->ip_extra) / 4);
		ip[1] = spec->tos;
		put16(ip + 2, 20 + spec->ip_extra + tcp_len);
		put16(ip + 4, spec->id);
		put16(ip + 6, spec->fragment);
		ip[8] = spec->ttl;
		ip[9] = 6;
		put32(ip + 12, 0x0a090001);
		put32(ip + 16, 0x0a090002);
		memset(ip + 20, 1, spec->ip_extra);	/* no-operation options */
		put16(ip + 10, ~naive_add(0, ip, 20 + spec->ip_extra) & 0xffff);
		return naive_pseudo(ip + 12, 8, 6, tcp_len);
	}
	put32(ip, 0x60012345 | (uint32_t)spec->tos << 20);
	put16(ip + 4, spec->ip_extra + tcp_len);
	ip[6] = spec->ip_extra ? 60 : 6;
	ip[7] = spec->ttl;
	for (unsigned int i = 0; i < 32; i++)
		ip[8 + i] = (uint8_t)(i * 7 + 0xfd);
	if (spec->ip_extra) {
		memset(ip + 40, 0, spec->ip_extra);	/* Pad1 options */
		ip[40] = 6;
		ip[41] = (uint8_t)(spec->ip_extra / 8 - 1);
	}
	return naive_pseudo(ip + 8, 32, 6, tcp_len);
}

/* Writes the frame to out (FRAME_MAX octets) and returns its length. */
static inline uint32_t build_frame(const struct frame_spec *spec, uint8_t *out)
{
	uint8_t *tcp = out + frame_l4_off(spec);
	uint32_t tcp_len = 20 + spec->tcp_options + spec->payload_len;
	uint32_t pseudo;

	build_ethernet(spec, out);
	pseudo = build_ip(spec, out + frame_l2_len(spec));
	put16(tcp, spec->sport);
	put16(tcp + 2, spec->dport);
	put32(tcp + 4, spec->seq);
	put32(tcp + 8, spec->ack);
	tcp[12] = (uint8_t)((20 + spec->tcp_options) / 4 << 4);
	tcp[13] = spec->flags;
	put16(tcp + 14, spec->window);
	put16(tcp + 16, 0);
	put16(tcp + 18, spec->urgent);
	memset(tcp + 20, spec->option_fill, spec->tcp_options);
	if (spec->payload_len)
		memcpy(tcp + 20 + spec->tcp_options, spec->payload, spec->payload_len);
	put16(tcp + 16, spec->csum == CSUM_PARTIAL ? pseudo :
			~naive_add(pseudo, tcp, tcp_len) & 0xffff);
	return frame_payload_off(spec) + spec->payload_len;
}

/* xorshift64*: the same stream on every machine. */
static inline uint32_t next_random(uint64_t *state)
{
	*state ^= *state >> 12;
	*state ^= *state << 25;
	*state ^= *state >> 27;
	return (uint32_t)((*state * 0x2545f4914f6cdd1dULL) >> 32);
}

static inline void fill_random(uint64_t *state, uint8_t *out, uint32_t len)
{
	for (uint32_t i = 0; i < len; i++)
		out[i] = (uint8_t)next_random(state);
}

#endif /* IPSECBPF_TEST_FRAMES_H */
