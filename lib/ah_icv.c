// SPDX-License-Identifier: BSD-2-Clause
#include "ah_icv.h"

#include <errno.h>
#include <netinet/in.h>
#include <string.h>

enum pass {
	CHECK,
	ZERO,	/* what is mutable */
};

/* ---- IPv4 ------------------------------------------------------------------------------------ */

#define OPTION_END	    0
#define OPTION_NOP	    1
#define OPTION_SECURITY	    130
#define OPTION_LOOSE_ROUTE  131
#define OPTION_EXT_SECURITY 133
#define OPTION_CIPSO	    134
#define OPTION_STRICT_ROUTE 137
#define OPTION_ROUTER_ALERT 148
#define OPTION_MULTI_DEST   149

/* RFC 4302 A1; the two of one octet aside. All others, unknown ones too, are zeroed. */
static bool option_immutable(uint8_t type)
{
	switch (type) {
	case OPTION_SECURITY:
	case OPTION_EXT_SECURITY:
	case OPTION_CIPSO:
	case OPTION_ROUTER_ALERT:
	case OPTION_MULTI_DEST:
		return true;
	default:
		return false;
	}
}

/* A source route whose pointer is not past its end: the destination field is not the final one. */
static bool route_ahead(const uint8_t *option)
{
	if (option[0] != OPTION_LOOSE_ROUTE && option[0] != OPTION_STRICT_ROUTE)
		return false;
	return option[1] < 3 || option[2] <= option[1];
}

/* An option is covered whole or not at all, its type and length included (3.3.3.1.1.2). */
static enum drop_reason ipv4_options(uint8_t *at, const uint8_t *end, enum pass pass)
{
	while (at < end && *at != OPTION_END) {
		uint32_t len = 1;

		if (*at != OPTION_NOP) {
			if (end - at < 2 || at[1] < 2 || at[1] > end - at)
				return DROP_MALFORMED;
			if (route_ahead(at))
				return DROP_UNSUPPORTED;
			len = at[1];
			if (pass == ZERO && !option_immutable(*at))
				memset(at, 0, len);
		}
		at += len;
	}
	return DROP_NONE;
}

/* TOS, flags and fragment offset, TTL, checksum (3.3.3.1.1.1). */
static void zero_ipv4(uint8_t *ip)
{
	ip[1] = 0;
	store_be16(ip + 6, 0);
	ip[8] = 0;
	store_be16(ip + 10, 0);
}

/* ---- IPv6 ------------------------------------------------------------------------------------ */

#define OPTION_PAD1    0
#define OPTION_MUTABLE 0x20 /* of the type (RFC 8200 4.2) */

/* Of a mutable option, type and length are covered and the data is zeroed (3.3.3.1.2.2). */
static enum drop_reason ipv6_options(uint8_t *at, const uint8_t *end, enum pass pass)
{
	while (at < end) {
		uint32_t len = 1;

		if (*at != OPTION_PAD1) {
			if (end - at < 2 || at[1] > end - at - 2)
				return DROP_MALFORMED;
			len = 2u + at[1];
			if (pass == ZERO && (*at & OPTION_MUTABLE))
				memset(at + 2, 0, at[1]);
		}
		at += len;
	}
	return DROP_NONE;
}

/*
 * Extension headers from the fixed header to AH, which ip_layout has walked before: their lengths
 * hold. A routing header is as it arrives, as ip_layout lets none pass that has segments left.
 */
static enum drop_reason ipv6_headers(uint8_t *ip, uint32_t header_len, enum pass pass)
{
	enum drop_reason reason = DROP_NONE;
	uint8_t type = ip[6];
	uint32_t len;

	for (uint32_t off = IPV6_HEADER_LEN; off < header_len && !reason; off += len) {
		len = (ip[off + 1] + 1u) * 8;
		if (type == IPPROTO_HOPOPTS || type == IPPROTO_DSTOPTS)
			reason = ipv6_options(ip + off + 2, ip + off + len, pass);
		type = ip[off];
	}
	return reason;
}

/* Traffic class, flow label, hop limit (3.3.3.1.2.1). */
static void zero_ipv6(uint8_t *ip)
{
	store_be32(ip, 6u << 28);
	ip[7] = 0;
}

/* ---- either ---------------------------------------------------------------------------------- */

static enum drop_reason extensions(const struct ip_layout *layout, enum pass pass)
{
	uint8_t *ip = layout->ip;

	if (layout->family == FAMILY_V4)
		return ipv4_options(ip + IPV4_HEADER_LEN, ip + layout->upper_off, pass);
	return ipv6_headers(ip, layout->upper_off, pass);
}

enum drop_reason ah_icv_check(const struct ip_layout *layout)
{
	if (layout->upper_off > AH_HEADERS_MAX)
		return DROP_UNSUPPORTED;
	return extensions(layout, CHECK);
}

bool ah_icv_fits(const struct ah_burst *burst, const struct ip_layout *layout)
{
	return burst->count < BURST && burst->saved_len + layout->upper_off <= AH_HEADERS_MAX;
}

/* The ICV field is zeroed; padding behind it is covered as it is (3.3.3, 3.3.3.2.1). */
void ah_icv_add(const struct sa_runtime *sa, struct ah_burst *burst, struct packet *packet,
		const struct ip_layout *layout)
{
	unsigned int i = burst->count++;
	uint8_t *icv = layout->ip + layout->upper_off + AH_HEADER_LEN;
	struct crypto_op *op = &burst->ops[i];

	burst->packets[i] = packet;
	burst->layout[i] = *layout;
	burst->saved_at[i] = burst->saved_len;
	memcpy(burst->saved + burst->saved_len, layout->ip, layout->upper_off);
	burst->saved_len += layout->upper_off;
	memcpy(burst->icv[i], icv, sa->suite->icv_len);
	memset(icv, 0, sa->suite->icv_len);
	extensions(layout, ZERO);
	if (layout->family == FAMILY_V4)
		zero_ipv4(layout->ip);
	else
		zero_ipv6(layout->ip);
	*op = (struct crypto_op){
		.data = layout->ip + layout->total,
		.auth = layout->ip,
		.auth_len = layout->total,
		.esn_hi_len = sa->esn ? 4 : 0,
		.icv = burst->icv[i],
		.err = -EIO,	/* unless the engine says otherwise */
	};
	store_be32(op->esn_hi, (uint32_t)(packet->seq >> 32));
}

void ah_icv_restore(const struct ah_burst *burst, unsigned int i)
{
	const struct ip_layout *layout = &burst->layout[i];

	memcpy(layout->ip, burst->saved + burst->saved_at[i], layout->upper_off);
}
