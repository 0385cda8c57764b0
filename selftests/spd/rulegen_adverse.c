// SPDX-License-Identifier: BSD-2-Clause
/*
 * Rules that hurt decision trees, because no cut parts them well: see each. A few anchors are
 * shared by many rules, so that the rules crowd.
 */
#include "rulegen_internal.h"

/* Rules of one sort around one anchor. */
#define CROWD 500

/* An address that `index` of one sort shares with the others of its crowd. */
static gen_number anchor(const struct gen_drawing *drawing, size_t index, unsigned int side)
{
	struct gen_drawing fixed = *drawing;
	enum ip_family family = drawing->options->family;
	gen_number block = family == FAMILY_V6 ? (gen_number)0x2a00 << 112 : 0;

	fixed.random.state = gen_mix(drawing->options->seed ^ (index / CROWD * 2 + side));
	fixed.failures = 50;
	return gen_walk(&fixed, block, family == FAMILY_V6 ? 12 : 0, gen_bits(family));
}

static void set_remote(struct gen_selector *selector, gen_number lo, gen_number hi)
{
	selector->remote_lo = gen_to_addr(lo);
	selector->remote_hi = gen_to_addr(hi);
}

static void set_local(struct gen_selector *selector, gen_number lo, gen_number hi)
{
	selector->local_lo = gen_to_addr(lo);
	selector->local_hi = gen_to_addr(hi);
}

/* (one, any) and (any, one): whichever side is cut, half of the rules go into each part. */
static void draw_crossed(struct gen_drawing *drawing, size_t index, struct gen_selector *selector)
{
	gen_number address = gen_walk(drawing, anchor(drawing, index, 0) >> 16 << 16,
				      gen_bits(drawing->options->family) - 16,
				      gen_bits(drawing->options->family));

	if (index % 2)
		set_remote(selector, address, address);
	else
		set_local(selector, address, address);
}

/* Each within the next, no two ends alike. */
static void draw_onion(struct gen_drawing *drawing, size_t index, struct gen_selector *selector)
{
	gen_number center = anchor(drawing, index, 0), mask = (gen_number)0xfffffff;
	gen_number below = gen_between(&drawing->random, 0, 3), layer = (index % CROWD) * 4;

	center = (center & ~mask) | 0x8000000;
	set_remote(selector, center - layer - below, center + layer + drawing->failures);
	if (index % 3)
		selector->local_port = (struct gen_span){ 0, (uint16_t)(1023 + index % 7) };
	if (index % 3)
		selector->proto = (struct gen_span){ PROTO_OF_TCP, PROTO_OF_TCP };
}

static struct gen_span any_span(struct gen_random *random)
{
	uint16_t a = (uint16_t)gen_next(random), b = (uint16_t)gen_next(random);

	return a < b ? (struct gen_span){ a, b } : (struct gen_span){ b, a };
}

/* Rectangles of ports of all sizes over each other. */
static void draw_rectangles(struct gen_drawing *drawing, size_t index,
			    struct gen_selector *selector)
{
	uint16_t proto = index % 2 ? PROTO_OF_TCP : PROTO_OF_UDP;

	selector->proto = (struct gen_span){ proto, proto };
	selector->remote_port = any_span(&drawing->random);
	selector->local_port = any_span(&drawing->random);
}

/* All prefixes of one address, crossed with all of another. */
static void draw_chains(struct gen_drawing *drawing, size_t index, struct gen_selector *selector)
{
	enum ip_family family = drawing->options->family;
	unsigned int bits = gen_bits(family);
	unsigned int remote_len = (unsigned int)gen_between(&drawing->random, 1, bits);
	unsigned int local_len = (unsigned int)gen_between(&drawing->random, 1, bits);
	gen_number remote_mask = gen_host_mask(family, remote_len);
	gen_number local_mask = gen_host_mask(family, local_len);
	gen_number remote = anchor(drawing, index, 0) & ~remote_mask;
	gen_number local = anchor(drawing, index, 1) & ~local_mask;

	set_remote(selector, remote, remote | remote_mask);
	set_local(selector, local, local | local_mask);
}

/* Ranges that move up on one side and down on the other: each overlaps all, none covers another. */
static void draw_staircase(struct gen_drawing *drawing, size_t index, struct gen_selector *selector)
{
	static const uint8_t protos[] = { PROTO_OF_TCP, PROTO_OF_UDP, 132, 33, 136 };
	uint16_t step = (uint16_t)(index % 30000), turn = (uint16_t)(index / 30000);
	uint16_t shift = (uint16_t)gen_below(&drawing->random, 3);
	uint16_t proto = protos[turn % sizeof(protos)];

	selector->proto = (struct gen_span){ proto, proto };
	selector->remote_port = (struct gen_span){ step, (uint16_t)(step + 30000 + shift) };
	selector->local_port = (struct gen_span){ (uint16_t)(30000 - step),
						  (uint16_t)(60000 - step + shift) };
}

void gen_draw_adverse(struct gen_drawing *drawing, struct gen_selector *ret_selector)
{
	static void (*const sorts[])(struct gen_drawing *drawing, size_t index,
				     struct gen_selector *selector) = {
		draw_crossed, draw_onion, draw_rectangles, draw_chains, draw_staircase,
	};
	size_t count = sizeof(sorts) / sizeof(sorts[0]);

	gen_selector_any(ret_selector, drawing->options->family);
	/* Where one sort is used up another takes over. */
	sorts[(drawing->index + drawing->failures / 20) % count](drawing, drawing->index / count,
								 ret_selector);
}
