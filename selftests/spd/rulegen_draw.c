// SPDX-License-Identifier: BSD-2-Clause
/*
 * One rule after the shape of its kind. Addresses come from a binary tree that is not stored:
 * whether a node has one child or two and which is the heavier is a hash of the node, so that all
 * prefixes drawn with one seed nest and crowd as in one network plan.
 */
#include <stdlib.h>

#include "rulegen_internal.h"

/* Per cent of nodes with two children, by depth: networks are spread thinly over the address space,
 * subnets densely over their network. */
static unsigned int branching(enum ip_family family, unsigned int depth)
{
	static const uint8_t v4[] = { 70, 45, 60, 80 };	/* per octet */

	if (family == FAMILY_V4)
		return v4[depth / 8];
	if (depth < 32)
		return 50;		/* providers of a registry */
	return depth < 48 ? 40 : depth < 56 ? 70 : 25;	/* sites, their plans, their subnets */
}

/* The RIRs' blocks: APNIC, ARIN, LACNIC, RIPE NCC, AFRINIC (IANA IPv6 unicast registry). */
static gen_number rir_block(struct gen_random *random)
{
	static const uint8_t share[] = { 25, 30, 8, 32, 5 };
	static const uint16_t block[] = { 0x2400, 0x2600, 0x2800, 0x2a00, 0x2c00 };

	return (gen_number)block[gen_pick(random, share, sizeof(share))] << 112;
}

/* The lower half of an IPv6 address: servers are numbered by hand, others take random ones. */
static uint64_t interface_id(struct gen_random *random)
{
	if (gen_percent(random, 60))
		return gen_between(random, 1, 0x1ff);
	return gen_next(random);
}

gen_number gen_walk(struct gen_drawing *drawing, gen_number from, unsigned int from_len,
		    unsigned int len)
{
	const struct gen_options *options = drawing->options;
	unsigned int bits = gen_bits(options->family);
	unsigned int own_skew = drawing->shape ? drawing->shape->skew : 50;
	unsigned int skew = options->skew ? options->skew : own_skew;
	unsigned int more = drawing->failures;	/* where the tree is used up it grows */
	struct gen_random *random = &drawing->random;
	gen_number prefix = from;

	for (unsigned int depth = from_len; depth < len; depth++) {
		struct addr128 at = gen_to_addr(prefix);
		uint64_t hash = gen_mix(gen_mix(options->seed + at.hi) ^ at.lo ^ depth);
		bool bit = hash & 1;

		if (bits == 128 && depth == 64 && len == 128)
			return prefix | interface_id(random);
		/* ClassBench's skew s: the lighter child has 1 - s of the heavier one's weight. */
		if ((hash >> 8) % 100 < branching(options->family, depth))
			bit ^= gen_below(random, 200 - skew) >= 100;
		if (gen_percent(random, more))
			bit = gen_next(random) & 1;
		/* No multicast. */
		if (bits == 32 && depth == 2 && prefix >> 30 == 3)
			bit = false;
		prefix |= (gen_number)bit << (bits - 1 - depth);
	}
	return prefix;
}

void gen_selector_any(struct gen_selector *selector, enum ip_family family)
{
	*selector = (struct gen_selector){
		.remote_hi = gen_to_addr(gen_host_mask(family, 0)),
		.local_hi = gen_to_addr(gen_host_mask(family, 0)),
		.remote_port = ANY_PORT,
		.local_port = ANY_PORT,
		.proto = ANY_PROTO,
		.vlan = ANY_VLAN,
		.dscp = ANY_DSCP,
	};
}

/* ClassBench's knobs: smoothing moves a length by up to so many bits, scope widens or narrows. */
static unsigned int bend(struct gen_drawing *drawing, unsigned int len)
{
	const struct gen_options *options = drawing->options;
	unsigned int bits = gen_bits(options->family);
	struct gen_random *random = &drawing->random;
	int bent = (int)len, room, moved;

	if (!len)
		return 0;
	for (unsigned int i = 0; i < options->smooth; i++)
		bent += (int)gen_below(random, 3) - 1;
	bent = bent < 1 ? 1 : bent > (int)bits ? (int)bits : bent;
	room = options->scope > 0 ? bent : (int)bits - bent;
	room = room * abs(options->scope) / 100;
	moved = (int)gen_below(random, (uint64_t)room + 1);
	bent += options->scope > 0 ? -moved : moved;
	return bent < 1 ? 1 : (unsigned int)bent;
}

static unsigned int draw_length(struct gen_drawing *drawing, const struct gen_lengths *lengths)
{
	return lengths->len[gen_pick(&drawing->random, lengths->share, LENGTHS_MAX)];
}

/* Returns the prefix. */
static gen_number draw_remote(struct gen_drawing *drawing, unsigned int len)
{
	bool v6 = drawing->options->family == FAMILY_V6;

	if (v6 && len > 12)
		return gen_walk(drawing, rir_block(&drawing->random), 12, len);
	return gen_walk(drawing, 0, 0, len);
}

static gen_number draw_local(struct gen_drawing *drawing, gen_number remote,
			     unsigned int remote_len, unsigned int len)
{
	enum ip_family family = drawing->options->family;
	unsigned int shared = family == FAMILY_V4 ? 20 : 48, own = drawing->shape->own_addresses;
	struct gen_drawing fixed = *drawing;

	if (own && len == gen_bits(family)) {
		/* The same few whenever asked: a generator of their own draws them. */
		fixed.random.state = gen_mix(drawing->options->seed) +
				     gen_below(&drawing->random, own);
		fixed.failures = 0;
		return draw_remote(&fixed, len);
	}
	if (!gen_percent(&drawing->random, drawing->shape->correlated) || !remote_len)
		return draw_remote(drawing, len);
	shared = (unsigned int)gen_between(&drawing->random, 8, shared);
	shared = shared < remote_len ? shared : remote_len;
	shared = shared < len ? shared : len;
	return gen_walk(drawing, remote & ~gen_host_mask(family, shared), shared, len);
}

static struct gen_span draw_port(struct gen_random *random, const uint8_t shares[PORT_CLASS_COUNT])
{
	uint16_t port;

	switch ((enum port_class)gen_pick(random, shares, PORT_CLASS_COUNT)) {
	case PORT_LOW:
		return (struct gen_span){ 0, 1023 };
	case PORT_HIGH:
		return (struct gen_span){ 1024, 65535 };
	case PORT_RANGE:
		return gen_service_range(random);
	case PORT_ONE:
		port = gen_service(random);
		return (struct gen_span){ port, port };
	default:
		return ANY_PORT;
	}
}

/* Type in local_port, code in remote_port. */
static void draw_icmp(struct gen_drawing *drawing, struct gen_selector *selector)
{
	static const uint8_t types[FAMILY_COUNT][6] = {
		{ 8, 0, 3, 11, 5, 13 }, { 128, 129, 1, 2, 3, 4 },
	};
	bool v6 = drawing->options->family == FAMILY_V6;
	uint8_t type = types[v6][gen_below(&drawing->random, 6)];
	uint16_t proto = v6 ? PROTO_OF_ICMPV6 : PROTO_OF_ICMP;

	selector->proto = (struct gen_span){ proto, proto };
	if (gen_percent(&drawing->random, 35))
		return;
	selector->local_port = (struct gen_span){ type, type };
	if (gen_percent(&drawing->random, 25))
		selector->remote_port.lo = selector->remote_port.hi =
			(uint16_t)gen_below(&drawing->random, 5);
}

static void draw_upper(struct gen_drawing *drawing, struct gen_selector *selector)
{
	static const uint8_t others[] = { 47, 50, 51, 89, 103, 132 }; /* GRE ESP AH OSPF PIM SCTP */
	const struct gen_shape *shape = drawing->shape;
	struct gen_random *random = &drawing->random;
	uint16_t proto;

	switch ((enum proto_class)gen_pick(random, shape->proto, PROTO_CLASS_COUNT)) {
	case IS_ICMP:
		draw_icmp(drawing, selector);
		return;
	case IS_ANY:
		return;
	case IS_OTHER:
		proto = others[gen_below(random, sizeof(others))];
		selector->proto = (struct gen_span){ proto, proto };
		return;
	case IS_UDP:
		proto = PROTO_OF_UDP;
		break;
	default:
		proto = PROTO_OF_TCP;
	}
	selector->proto = (struct gen_span){ proto, proto };
	selector->remote_port = draw_port(random, shape->remote_port);
	selector->local_port = draw_port(random, shape->local_port);
}

/* An earlier rule to have a side in common with, or NULL. */
static const struct gen_selector *draw_earlier(struct gen_drawing *drawing, unsigned int percent)
{
	struct gen_random *random = &drawing->random;

	if (!gen_percent(random, percent) || drawing->index == drawing->wide ||
	    drawing->failures > 4)
		return NULL;
	return &drawing->rules[gen_between(random, drawing->wide, drawing->index - 1)].selector;
}

static void draw_addresses(struct gen_drawing *drawing, struct gen_selector *selector)
{
	const struct gen_shape *shape = drawing->shape;
	enum ip_family family = drawing->options->family;
	unsigned int remote_len = bend(drawing, draw_length(drawing, &shape->remote[family]));
	unsigned int local_len = draw_length(drawing, &shape->local[family]);
	gen_number remote, local;

	if (!shape->own_addresses)
		local_len = bend(drawing, local_len);
	remote = draw_remote(drawing, remote_len);
	local = draw_local(drawing, remote, remote_len, local_len);
	selector->remote_lo = gen_to_addr(remote);
	selector->remote_hi = gen_to_addr(remote | gen_host_mask(family, remote_len));
	selector->local_lo = gen_to_addr(local);
	selector->local_hi = gen_to_addr(local | gen_host_mask(family, local_len));
}

void gen_draw(struct gen_drawing *drawing, struct gen_selector *ret_selector)
{
	const struct gen_selector *earlier;

	gen_selector_any(ret_selector, drawing->options->family);
	draw_addresses(drawing, ret_selector);
	earlier = draw_earlier(drawing, drawing->shape->remote_again);
	if (earlier) {
		ret_selector->remote_lo = earlier->remote_lo;
		ret_selector->remote_hi = earlier->remote_hi;
	}
	earlier = draw_earlier(drawing, drawing->shape->local_again);
	if (earlier) {
		ret_selector->local_lo = earlier->local_lo;
		ret_selector->local_hi = earlier->local_hi;
	}
	draw_upper(drawing, ret_selector);
}
