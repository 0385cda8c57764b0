/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Protected packets of ours as packet-too-big messages quote them, laid out here, by no code of lib/.
 * Included by: test_worker_ptb.c (after worker_testing.h).
 */
#ifndef IPSECBPF_TEST_WORKER_QUOTED_H
#define IPSECBPF_TEST_WORKER_QUOTED_H

#include "frames.h"

#define SPI 0x12345678
#define SENT 1000u		/* the last number sent, unless a test says otherwise */
#define QUOTED_MAX 256

enum kind { ESP, AH, UDP, KINDS };

/* A packet of ours, as a router has it. */
struct quoted {
	enum ip_family family;
	enum kind kind;
	uint32_t options;	/* octets of IPv4 options */
	const uint8_t *chain;	/* IPv6 extension headers of 8 octets, ended by NONE */
	uint32_t spi, seq;
	uint32_t total;
	uint16_t fragment;	/* IPv4 */
};

static inline uint8_t quoted_proto(enum kind kind)
{
	return kind == ESP ? IPPROTO_ESP : kind == AH ? IPPROTO_AH : IPPROTO_UDP;
}

static inline struct quoted quoted_default(enum ip_family family, enum kind kind)
{
	return (struct quoted){ .family = family, .kind = kind, .spi = SPI, .seq = SENT,
				.total = 1500 };
}

static inline uint32_t quoted_ipv4(const struct quoted *quoted, uint8_t *quote)
{
	quote[0] = (uint8_t)(0x45 + quoted->options / 4);
	put16(quote + 2, quoted->total);
	put16(quote + 6, quoted->fragment);
	quote[9] = quoted_proto(quoted->kind);
	memcpy(quote + 12, end_address(FAMILY_V4, 1).b, 4);
	memcpy(quote + 16, end_address(FAMILY_V4, 2).b, 4);
	memset(quote + 20, 1, quoted->options);
	return 20 + quoted->options;
}

static inline uint32_t quoted_ipv6(const struct quoted *quoted, uint8_t *quote)
{
	uint8_t *next = quote + 6;
	uint32_t at = 40;

	quote[0] = 0x60;
	put16(quote + 4, quoted->total - 40);
	memcpy(quote + 8, end_address(FAMILY_V6, 1).b, 16);
	memcpy(quote + 24, end_address(FAMILY_V6, 2).b, 16);
	for (const uint8_t *type = quoted->chain; type && *type != IPPROTO_NONE; type++) {
		*next = *type;
		next = quote + at;
		at += 8;
	}
	*next = quoted_proto(quoted->kind);
	return at;
}

/* Writes what is quoted at most of it that matters; returns its octets. */
static inline uint32_t quoted_write(const struct quoted *quoted, uint8_t *quote)
{
	uint32_t at;

	memset(quote, 0, QUOTED_MAX);
	at = quoted->family == FAMILY_V4 ? quoted_ipv4(quoted, quote) : quoted_ipv6(quoted, quote);
	if (quoted->kind == UDP) {
		put16(quote + at, 4500);
		put16(quote + at + 2, 4500);
		at += 8;
	} else if (quoted->kind == AH) {
		at += 4;
	}
	put32(quote + at, quoted->spi);
	put32(quote + at + 4, quoted->seq);
	return at + 8;
}

#endif /* IPSECBPF_TEST_WORKER_QUOTED_H */
