// SPDX-License-Identifier: BSD-2-Clause
/* Packets for a rule set: within a rule, at its corners, anywhere; one by one or in bursts. */
#include <errno.h>
#include <stdlib.h>

#include "rulegen_internal.h"

#define BURST_MAX 4096

/* A packet, field by field. */
struct header {
	gen_number remote, local;
	uint16_t remote_port, local_port, proto, vlan, dscp;
};

static struct spd_query query_of(const struct header *header)
{
	struct addr128 remote = gen_to_addr(header->remote), local = gen_to_addr(header->local);

	return (struct spd_query){ .word = {
		[SPD_REMOTE_HI] = remote.hi, [SPD_REMOTE_LO] = remote.lo,
		[SPD_LOCAL_HI] = local.hi, [SPD_LOCAL_LO] = local.lo,
		[SPD_UPPER] = SPD_UPPER_FIELD(REMOTE_PORT, header->remote_port) |
			      SPD_UPPER_FIELD(LOCAL_PORT, header->local_port) |
			      SPD_UPPER_FIELD(PROTO, header->proto) |
			      SPD_UPPER_FIELD(VLAN, header->vlan) |
			      SPD_UPPER_FIELD(DSCP, header->dscp),
	} };
}

static gen_number address_between(struct gen_random *random, struct addr128 lo, struct addr128 hi)
{
	gen_number span = gen_to_number(hi) - gen_to_number(lo), offset;

	offset = (gen_number)gen_next(random) << 64 | gen_next(random);
	return gen_to_number(lo) + (span == ~(gen_number)0 ? offset : offset % (span + 1));
}

static uint16_t number_between(struct gen_random *random, struct gen_span span)
{
	return (uint16_t)gen_between(random, span.lo, span.hi);
}

/* What is not asked for is mostly 0: no tag, best effort. */
static uint16_t seldom_between(struct gen_random *random, struct gen_span span)
{
	return !span.lo && span.hi && gen_percent(random, 90) ? 0 : number_between(random, span);
}

static bool is_any(struct gen_span span, struct gen_span any)
{
	return span.lo == any.lo && span.hi == any.hi;
}

static bool has_ports(uint16_t proto)
{
	return proto == PROTO_OF_TCP || proto == PROTO_OF_UDP || proto == 33 || proto == 132 ||
	       proto == 136;
}

/* The number of a port, an ICMP type or code; 0 where the protocol has none. */
static uint16_t draw_upper_number(struct gen_random *random, uint16_t proto, struct gen_span span)
{
	if (proto == PROTO_OF_ICMP || proto == PROTO_OF_ICMPV6)
		span.hi = span.hi < 255 ? span.hi : 255;
	else if (!has_ports(proto) && is_any(span, ANY_PORT))
		return 0;
	return number_between(random, span);
}

static uint16_t draw_proto(struct gen_random *random, enum ip_family family, struct gen_span span)
{
	unsigned int chance;

	if (!is_any(span, ANY_PROTO))
		return number_between(random, span);
	chance = (unsigned int)gen_below(random, 100);
	if (chance < 70)
		return PROTO_OF_TCP;
	if (chance < 92)
		return PROTO_OF_UDP;
	if (chance < 97)
		return family == FAMILY_V4 ? PROTO_OF_ICMP : PROTO_OF_ICMPV6;
	return number_between(random, span);
}

static void draw_within(struct gen_random *random, enum ip_family family,
			const struct gen_selector *selector, struct header *header)
{
	header->remote = address_between(random, selector->remote_lo, selector->remote_hi);
	header->local = address_between(random, selector->local_lo, selector->local_hi);
	header->proto = draw_proto(random, family, selector->proto);
	header->remote_port = draw_upper_number(random, header->proto, selector->remote_port);
	header->local_port = draw_upper_number(random, header->proto, selector->local_port);
	header->vlan = seldom_between(random, selector->vlan);
	header->dscp = seldom_between(random, selector->dscp);
}

/* A bound, or one beside it as far as there is any. */
static gen_number corner(struct gen_random *random, gen_number lo, gen_number hi, gen_number max)
{
	switch (gen_below(random, 4)) {
	case 0:
		return lo;
	case 1:
		return hi;
	case 2:
		return lo ? lo - 1 : lo;
	default:
		return hi < max ? hi + 1 : hi;
	}
}

static void corner_of_address(struct gen_random *random, enum ip_family family, struct addr128 lo,
			      struct addr128 hi, gen_number *address)
{
	if (gen_percent(random, 60))
		*address = corner(random, gen_to_number(lo), gen_to_number(hi),
				  gen_host_mask(family, 0));
}

static void corner_of_span(struct gen_random *random, struct gen_span span, uint16_t max,
			   uint16_t *number)
{
	if (gen_percent(random, 60))
		*number = (uint16_t)corner(random, span.lo, span.hi, max);
}

static void move_to_corner(struct gen_random *random, enum ip_family family,
			   const struct gen_selector *selector, struct header *header)
{
	corner_of_address(random, family, selector->remote_lo, selector->remote_hi,
			  &header->remote);
	corner_of_address(random, family, selector->local_lo, selector->local_hi, &header->local);
	corner_of_span(random, selector->remote_port, 65535, &header->remote_port);
	corner_of_span(random, selector->local_port, 65535, &header->local_port);
	if (gen_percent(random, 10))
		corner_of_span(random, selector->proto, 255, &header->proto);
	if (!is_any(selector->vlan, ANY_VLAN))
		corner_of_span(random, selector->vlan, 4095, &header->vlan);
	if (!is_any(selector->dscp, ANY_DSCP))
		corner_of_span(random, selector->dscp, 63, &header->dscp);
}

/* Packets in a row: b / u is Pareto's distribution of shape 1 where u is uniform in (0, 1]. */
static size_t burst(struct gen_random *random, unsigned int locality)
{
	uint64_t one = 1u << 24, uniform = 1 + gen_below(random, one);
	uint64_t len = (locality * one + 1000 * uniform - 1) / (1000 * uniform);

	return len < 1 ? 1 : len > BURST_MAX ? BURST_MAX : len;
}

static uint32_t draw_header(struct gen_random *random, const struct gen_set *set,
			    const struct gen_trace_options *options, struct header *ret_header)
{
	uint32_t rule = (uint32_t)gen_below(random, set->count);
	unsigned int chance = (unsigned int)gen_below(random, 100);
	enum ip_family family = set->options.family;
	struct gen_selector any;

	if (chance < options->uniform) {
		gen_selector_any(&any, family);
		draw_within(random, family, &any, ret_header);
		return GEN_NO_RULE;
	}
	draw_within(random, family, &set->rules[rule].selector, ret_header);
	if (chance - options->uniform >= options->corners)
		return rule;
	move_to_corner(random, family, &set->rules[rule].selector, ret_header);
	return GEN_NO_RULE;
}

int gen_trace_init(struct gen_trace *trace, const struct gen_set *set,
		   const struct gen_trace_options *options)
{
	struct gen_random random = { gen_mix(options->seed ^ 0x7261636574ull) };
	struct header header = { 0 };
	uint32_t rule;

	if (!options->packets || options->corners > 100 || options->uniform > 100 ||
	    options->corners + options->uniform > 100 || options->locality > 1000000)
		return -EINVAL;
	*trace = (struct gen_trace){
		.queries = calloc(options->packets, sizeof(*trace->queries)),
		.rules = calloc(options->packets, sizeof(*trace->rules)),
	};
	if (!trace->queries || !trace->rules) {
		gen_trace_fini(trace);
		return -ENOMEM;
	}
	while (trace->count < options->packets) {
		size_t left = burst(&random, options->locality);

		rule = draw_header(&random, set, options, &header);
		for (; left && trace->count < options->packets; left--, trace->count++) {
			trace->queries[trace->count] = query_of(&header);
			trace->rules[trace->count] = rule;
		}
	}
	return 0;
}

void gen_trace_fini(struct gen_trace *trace)
{
	free(trace->queries);
	free(trace->rules);
	*trace = (struct gen_trace){ 0 };
}
