// SPDX-License-Identifier: BSD-2-Clause
#include "spd_frames.h"

#include <errno.h>
#include <netinet/in.h>
#include <netinet/ip.h>
#include <netinet/ip6.h>
#include <stdlib.h>
#include <string.h>

#include "lib/bytes.h"
#include "lib/policy.h"

#define HOP_LIMIT 64	/* no neighbour discovery, no listener discovery */
#define BATCHES	  16	/* of packets, after which a set is taken to have no more flows */

struct flow_id {
	union wire_addr local, remote;
	uint16_t local_port, remote_port;
	uint8_t proto;
};

static uint16_t upper_field(const struct spd_query *query, enum spd_upper_shift shift,
			    enum spd_upper_width width)
{
	return (uint16_t)(query->word[SPD_UPPER] >> shift & ((1u << width) - 1));
}

/* Ports, or ICMP's type and code. Others show nothing that tells flows apart. */
static bool shows_upper(uint8_t proto)
{
	return proto == IPPROTO_TCP || proto == IPPROTO_UDP || proto == IPPROTO_UDPLITE ||
	       proto == IPPROTO_SCTP || proto == IPPROTO_DCCP || proto == IPPROTO_ICMP ||
	       proto == IPPROTO_ICMPV6;
}

/* What tells packets of a set apart. The classifier does not look at a port that no rule asks for. */
struct scope {
	enum ip_family family;
	bool local_port, remote_port;
};

static bool is_any_port(struct gen_span span)
{
	return !span.lo && span.hi == UINT16_MAX;
}

static struct scope scope_of(const struct gen_set *set)
{
	struct scope scope = { .family = set->options.family };

	for (size_t i = 0; i < set->count; i++) {
		scope.local_port |= !is_any_port(set->rules[i].selector.local_port);
		scope.remote_port |= !is_any_port(set->rules[i].selector.remote_port);
	}
	return scope;
}

static struct flow_id flow_of(const struct spd_query *query, const struct scope *scope)
{
	enum ip_family family = scope->family;
	struct addr128 local = { query->word[SPD_LOCAL_HI], query->word[SPD_LOCAL_LO] };
	struct addr128 remote = { query->word[SPD_REMOTE_HI], query->word[SPD_REMOTE_LO] };
	struct flow_id flow = {
		.local = addr128_to_wire(family, local),
		.remote = addr128_to_wire(family, remote),
		.proto = (uint8_t)upper_field(query, SPD_PROTO_SHIFT, SPD_PROTO_WIDTH),
	};

	if (scope->local_port && shows_upper(flow.proto))
		flow.local_port = upper_field(query, SPD_LOCAL_PORT_SHIFT, SPD_LOCAL_PORT_WIDTH);
	if (scope->remote_port && shows_upper(flow.proto))
		flow.remote_port = upper_field(query, SPD_REMOTE_PORT_SHIFT, SPD_REMOTE_PORT_WIDTH);
	return flow;
}

/* What asks no rule, or would have to be longer to be what it says: essential traffic, extension
 * headers. */
static bool is_out_of_scope(const struct flow_id *flow)
{
	bool udp = flow->proto == IPPROTO_UDP;

	if (udp && (flow->local_port == 500 || flow->local_port == 4500 ||
		    flow->local_port == 67 || flow->local_port == 68 ||
		    flow->local_port == 546 || flow->local_port == 547))
		return true;
	return flow->proto == IPPROTO_HOPOPTS || flow->proto == IPPROTO_ROUTING ||
	       flow->proto == IPPROTO_FRAGMENT || flow->proto == IPPROTO_DSTOPTS;
}

static size_t write_ip(const struct flow_id *flow, enum ip_family family, uint8_t *out)
{
	struct ip6_hdr ip6 = { 0 };
	struct iphdr ip = {
		.version = 4, .ihl = 5, .ttl = HOP_LIMIT, .protocol = flow->proto,
		.tot_len = htobe16(sizeof(ip) + BENCH_UPPER),
		.saddr = flow->local.w[0], .daddr = flow->remote.w[0],
	};

	if (family == FAMILY_V4) {
		memcpy(out, &ip, sizeof(ip));
		return sizeof(ip);
	}
	ip6.ip6_flow = htobe32(6u << 28);
	ip6.ip6_plen = htobe16(BENCH_UPPER);
	ip6.ip6_nxt = flow->proto;
	ip6.ip6_hlim = HOP_LIMIT;
	memcpy(&ip6.ip6_src, &flow->local, sizeof(ip6.ip6_src));
	memcpy(&ip6.ip6_dst, &flow->remote, sizeof(ip6.ip6_dst));
	memcpy(out, &ip6, sizeof(ip6));
	return sizeof(ip6);
}

static void write_upper(const struct flow_id *flow, uint8_t *out)
{
	if (flow->proto == IPPROTO_ICMP || flow->proto == IPPROTO_ICMPV6) {
		out[0] = (uint8_t)flow->local_port;
		out[1] = (uint8_t)flow->remote_port;
		return;
	}
	store_be16(out, flow->local_port);
	store_be16(out + 2, flow->remote_port);
	if (flow->proto == IPPROTO_UDP)
		store_be16(out + 4, BENCH_UPPER);
}

static void write_frame(const struct flow_id *flow, enum ip_family family,
			struct bench_frame *frame)
{
	uint8_t octets[sizeof(frame->word)] = { 0 };

	write_upper(flow, octets + write_ip(flow, family, octets));
	memset(frame, 0, sizeof(*frame));
	memcpy(frame->word, octets, sizeof(octets));
}

/* ---- each flow once -------------------------------------------------------------------------- */

struct seen {
	uint32_t *slots;	/* index + 1 of a frame; 0: free */
	size_t mask;
};

static bool is_new(struct seen *seen, const struct bench_frame *frames, uint32_t index)
{
	uint64_t hash = 0;
	size_t at;

	for (size_t i = 0; i < BENCH_WORDS; i++)
		hash = (hash ^ frames[index].word[i]) * 0x9e3779b97f4a7c15ull ^ hash >> 29;
	for (at = hash >> 32 & seen->mask; seen->slots[at]; at = (at + 1) & seen->mask)
		if (!memcmp(&frames[seen->slots[at] - 1], &frames[index], sizeof(*frames)))
			return false;
	seen->slots[at] = index + 1;
	return true;
}

static int draw_batch(const struct gen_set *set, uint64_t seed, struct seen *seen,
		      struct bench_frame *frames, size_t room, size_t *count)
{
	const struct gen_trace_options options = {
		.packets = room, .seed = seed, .corners = 10, .uniform = 10,
	};
	struct scope scope = scope_of(set);
	struct gen_trace trace;
	int err = gen_trace_init(&trace, set, &options);

	if (err)
		return err;
	for (size_t i = 0; i < trace.count && *count < room; i++) {
		struct flow_id flow = flow_of(&trace.queries[i], &scope);

		if (is_out_of_scope(&flow))
			continue;
		write_frame(&flow, set->options.family, &frames[*count]);
		*count += is_new(seen, frames, (uint32_t)*count);
	}
	gen_trace_fini(&trace);
	return 0;
}

int frames_draw(const struct gen_set *set, struct bench_frame *frames, size_t room,
		size_t *ret_count)
{
	struct seen seen = { .mask = 1 };
	size_t count = 0;
	int err = 0;

	while (seen.mask < 2 * room)
		seen.mask = seen.mask << 1 | 1;
	seen.slots = calloc(seen.mask + 1, sizeof(*seen.slots));
	if (!seen.slots)
		return -ENOMEM;
	for (uint64_t seed = 1; !err && count < room && seed <= BATCHES; seed++)
		err = draw_batch(set, seed, &seen, frames, room, &count);
	free(seen.slots);
	if (!err)
		*ret_count = count;
	return err;
}
