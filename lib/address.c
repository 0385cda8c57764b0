// SPDX-License-Identifier: BSD-2-Clause
/* Addresses as numbers, so that prefixes and ranges are the same thing: an interval. */
#include <arpa/inet.h>
#include <endian.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "policy.h"
#include "policy_internal.h"

struct addr128 addr128_from_wire(enum ip_family family, const union wire_addr *wire)
{
	uint64_t halves[2];

	if (family == FAMILY_V4)
		return (struct addr128){ .hi = 0, .lo = ntohl(wire->w[0]) };
	memcpy(halves, wire->b, sizeof(halves));
	return (struct addr128){ .hi = be64toh(halves[0]), .lo = be64toh(halves[1]) };
}

union wire_addr addr128_to_wire(enum ip_family family, struct addr128 addr)
{
	uint64_t halves[2] = { htobe64(addr.hi), htobe64(addr.lo) };
	union wire_addr wire = { 0 };

	if (family == FAMILY_V4)
		wire.w[0] = htonl((uint32_t)addr.lo);
	else
		memcpy(wire.b, halves, sizeof(halves));
	return wire;
}

int addr128_compare(struct addr128 a, struct addr128 b)
{
	if (a.hi != b.hi)
		return a.hi < b.hi ? -1 : 1;
	return a.lo < b.lo ? -1 : a.lo > b.lo;
}

/* The host bits of a prefix of `len` bits, all set. */
static struct addr128 host_mask(enum ip_family family, unsigned int len)
{
	unsigned int bits = (family == FAMILY_V4 ? 32 : 128) - len;
	struct addr128 mask = { 0 };

	if (bits >= 64) {
		mask.lo = UINT64_MAX;
		mask.hi = bits == 128 ? UINT64_MAX : (1ull << (bits - 64)) - 1;
	} else {
		mask.lo = (1ull << bits) - 1;
	}
	return mask;
}

struct address_range address_whole_family(enum ip_family family)
{
	return (struct address_range){ .family = (uint8_t)family, .hi = host_mask(family, 0) };
}

static bool parse_one(const char *text, size_t len, enum ip_family *ret_family,
		      struct addr128 *ret_addr)
{
	char copy[INET6_ADDRSTRLEN];
	union wire_addr wire = { 0 };
	enum ip_family family;

	if (len >= sizeof(copy))
		return false;
	memcpy(copy, text, len);
	copy[len] = '\0';
	family = memchr(copy, ':', len) ? FAMILY_V6 : FAMILY_V4;
	if (inet_pton(family == FAMILY_V6 ? AF_INET6 : AF_INET, copy, wire.b) != 1)
		return false;
	*ret_addr = addr128_from_wire(family, &wire);
	*ret_family = family;
	return true;
}

static const char *parse_prefix(const char *text, struct address_range *range)
{
	unsigned int max = range->family == FAMILY_V4 ? 32 : 128;
	size_t digits = strspn(text, "0123456789");
	struct addr128 mask;
	unsigned int len;

	if (!digits || digits > 3 || text[digits] || (text[0] == '0' && digits > 1))
		return "what follows the '/' is not a prefix length";
	len = (unsigned int)strtoul(text, NULL, 10);
	if (len > max)
		return max == 32 ? "an IPv4 prefix length is at most 32" :
				   "an IPv6 prefix length is at most 128";
	mask = host_mask(range->family, len);
	if ((range->lo.hi & mask.hi) || (range->lo.lo & mask.lo))
		return "bits are set behind the prefix length";
	range->hi.hi |= mask.hi;
	range->hi.lo |= mask.lo;
	return NULL;
}

static const char *parse_range_end(const char *text, struct address_range *range)
{
	enum ip_family family;

	if (!parse_one(text, strlen(text), &family, &range->hi))
		return "what follows the '-' is not an address";
	if (family != range->family)
		return "a range cannot begin in one address family and end in the other";
	if (addr128_compare(range->lo, range->hi) > 0)
		return "the range ends before it begins";
	return NULL;
}

/* RFC 4291 2.5.5.2: such addresses stand for IPv4 in sockets and are never in a packet. */
static bool is_v4_mapped(const struct address_range *range)
{
	return range->family == FAMILY_V6 && !range->lo.hi && !range->hi.hi &&
	       range->lo.lo >> 32 == 0xffff && range->hi.lo >> 32 == 0xffff;
}

bool address_parse(const char *text, struct address_range *ret_range, const char **ret_error)
{
	size_t len = strcspn(text, "/-");
	struct address_range range = { 0 };
	const char *error = NULL;
	enum ip_family family;

	if (!parse_one(text, len, &family, &range.lo)) {
		*ret_error = strchr(text, '%') ? "zones (%eth0) are in no packet's address" :
						 "not an IPv4 or IPv6 address, prefix or range";
		return false;
	}
	range.family = (uint8_t)family;
	range.hi = range.lo;
	if (text[len] == '/')
		error = parse_prefix(text + len + 1, &range);
	else if (text[len] == '-')
		error = parse_range_end(text + len + 1, &range);
	if (!error && is_v4_mapped(&range))
		error = "IPv4-mapped IPv6 addresses are never on the wire: write the IPv4 address";
	if (error) {
		*ret_error = error;
		return false;
	}
	*ret_range = range;
	return true;
}

static void format_one(enum ip_family family, struct addr128 addr, char out[INET6_ADDRSTRLEN])
{
	union wire_addr wire = addr128_to_wire(family, addr);

	inet_ntop(family == FAMILY_V4 ? AF_INET : AF_INET6, wire.b, out, INET6_ADDRSTRLEN);
}

/* The length of the prefix that is exactly this range, or -1. */
static int prefix_len(const struct address_range *range)
{
	struct addr128 host = { range->lo.hi ^ range->hi.hi, range->lo.lo ^ range->hi.lo };
	int bits = host.hi ? 128 - __builtin_clzll(host.hi) :
		   host.lo ? 64 - __builtin_clzll(host.lo) : 0;
	int len = (range->family == FAMILY_V4 ? 32 : 128) - bits;
	struct addr128 mask = host_mask(range->family, (unsigned int)len);

	/* All host bits differ, from zero to one. */
	if (host.hi != mask.hi || host.lo != mask.lo || range->lo.hi & mask.hi ||
	    range->lo.lo & mask.lo)
		return -1;
	return len;
}

void address_format(const struct address_range *range, char *out, size_t out_len)
{
	int len = prefix_len(range), max = range->family == FAMILY_V4 ? 32 : 128;
	char lo[INET6_ADDRSTRLEN], hi[INET6_ADDRSTRLEN];

	format_one(range->family, range->lo, lo);
	if (len == max) {
		snprintf(out, out_len, "%s", lo);
	} else if (len >= 0) {
		snprintf(out, out_len, "%s/%d", lo, len);
	} else {
		format_one(range->family, range->hi, hi);
		snprintf(out, out_len, "%s-%s", lo, hi);
	}
}
