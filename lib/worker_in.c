// SPDX-License-Identifier: BSD-2-Clause
/*
 * IN   wire port -> SA, source -> replay, authenticate, decrypt -> coalesce -> tag -> host port
 *
 * Fragments are put together first. What comes out of an SA and belongs to another one that lies
 * within it (a bundle) goes round again, at most BUNDLE_MAX times.
 */
#include <linux/if_ether.h>
#include <netinet/in.h>
#include <string.h>

#include "ah.h"
#include "esp.h"
#include "ip_layout.h"
#include "tcpip.h"
#include "worker_internal.h"

/* Packets of one SA, in the order in which they came. */
struct run {
	struct worker_sa *sa;
	struct packet *packets[BURST];
	struct outer outer[BURST];	/* by packet; only kept if the peer is followed */
	unsigned int count;
};

/* ---- out to the host ----------------------------------------------------------------------- */

/* Hands one finished frame to the host, under the tag of its SA. */
static void emit(void *context, struct coalesced *frame)
{
	struct worker *worker = context;
	struct host_tag tag = { .magic = HOST_TAG_SA, .sa_gen = frame->sa_gen };

	store_be32(tag.slot, frame->slot);
	memcpy(frame->first->data, &tag, sizeof(tag));
	if (host_port_write(worker->config->host, frame->iov, frame->iov_count)) {
		count_drop(worker, DROP_HOST_PORT, frame->packets);
		return;
	}
	worker->stats->host_tx++;
	worker->stats->host_tx_coalesced += frame->packets - 1;
}

/* ---- what a packet shows ------------------------------------------------------------------- */

/* Ethernet and VLAN headers; 0 if the frame is too short for them. */
static uint16_t link_length(const struct packet *packet)
{
	uint32_t len = ETHERNET_LEN;

	for (int i = 0; i < VLAN_TAGS_MAX && packet->len >= len; i++) {
		uint16_t type = load_be16(packet->data + len - 2);

		if (type != ETH_P_8021Q && type != ETH_P_8021AD)
			break;
		len += VLAN_TAG_LEN;
	}
	return packet->len >= len ? (uint16_t)len : 0;
}

static enum drop_reason read_layout(struct packet *packet, struct ip_layout *ret_layout)
{
	enum drop_reason reason;

	packet->l2_len = link_length(packet);
	if (!packet->l2_len)
		return DROP_MALFORMED;
	reason = ip_layout_parse(packet, ret_layout);
	if (reason != DROP_NONE)
		return reason;
	packet->family = ret_layout->family;
	return ip_layout_find_upper(ret_layout);
}

/* SPI and, in UDP, ports. DROP_NONE, DROP_MALFORMED, or DROP_NO_SA_IN: nothing of ours. */
static enum drop_reason read_spi(const struct ip_layout *layout, struct outer *outer)
{
	const uint8_t *upper = layout->ip + layout->upper_off;
	uint32_t left = layout->total - layout->upper_off;

	outer->proto = layout->next;
	if (layout->next == IPPROTO_UDP) {
		if (left < UDP_HEADER_LEN + ESP_HEADER_LEN)
			return DROP_MALFORMED;
		memcpy(&outer->sport, upper, 2);
		memcpy(&outer->dport, upper + 2, 2);
		memcpy(&outer->spi, upper + UDP_HEADER_LEN, 4);
		outer->proto = IPPROTO_ESP;
	} else if (layout->next == IPPROTO_ESP) {
		if (left < ESP_HEADER_LEN)
			return DROP_MALFORMED;
		memcpy(&outer->spi, upper, 4);
	} else if (layout->next == IPPROTO_AH) {
		if (left < AH_HEADER_LEN)
			return DROP_MALFORMED;
		memcpy(&outer->spi, upper + 4, 4);
	} else {
		return DROP_NO_SA_IN;
	}
	return DROP_NONE;
}

static void read_addresses(const struct ip_layout *layout, struct outer *outer)
{
	*outer = (struct outer){ .family = layout->family };
	if (layout->family == FAMILY_V4) {
		memcpy(&outer->src, layout->ip + IPV4_SRC, 4);
		memcpy(&outer->dst, layout->ip + IPV4_DST, 4);
	} else {
		memcpy(&outer->src, layout->ip + IPV6_SRC, 16);
		memcpy(&outer->dst, layout->ip + IPV6_DST, 16);
	}
}

static enum drop_reason read_outer(const struct ip_layout *layout, struct outer *ret_outer)
{
	read_addresses(layout, ret_outer);
	return read_spi(layout, ret_outer);
}

/* Of a fragment: addresses, and what it is a fragment of. */
static void read_fragment(const struct ip_layout *layout, struct outer *ret_outer)
{
	read_addresses(layout, ret_outer);
	ret_outer->proto = layout->next;
	if (layout->family == FAMILY_V6)
		ret_outer->proto = layout->upper_off < layout->total
					   ? layout->ip[layout->upper_off] : IPPROTO_NONE;
}

/* ---- fragments ---------------------------------------------------------------------------- */

/* A fragment of ESP or AH: NULL until the last one is there, or if it is dropped. scope: the
 * protect_id of the SA that it came out of; 0: the wire. */
static struct packet *reassemble(struct worker *worker, const struct packet *fragment,
				 uint32_t scope)
{
	struct packet *whole = NULL;
	enum drop_reason reason;
	uint32_t dropped = 0;

	reason = reassembly_add(worker->in_fragments, fragment, scope, worker->now_ns, &whole,
				&dropped);
	/* Without a reason of its own: what had to give way to this one. */
	count_drop(worker, reason == DROP_NONE ? DROP_REASSEMBLY_FULL : reason, dropped);
	if (reason == DROP_NONE && whole) {
		worker->whole[worker->whole_count++] = whole;
		worker->stats->reassembled_in++;
	}
	return reason == DROP_NONE ? whole : NULL;
}

/* ---- through the SAs ----------------------------------------------------------------------- */

static void verify_run(struct worker *worker, struct run *run, unsigned int depth);

/* Authentic and the newest of its SA: where it came from is where the peer is. */
static void follow(struct worker *worker, struct worker_sa *sa, const struct packet *packet,
		   const struct outer *outer)
{
	struct sa_state *state = sa->sa.state;
	const union wire_addr *known = state->peer_port ? &state->peer : &sa->sa.src;
	__be16 port = state->peer_port ? state->peer_port : sa->sa.encap_sport;

	if (packet->seq != state->replay_top ||
	    (outer->sport == port && !memcmp(&outer->src, known, sizeof(*known))))
		return;
	state->peer = outer->src;
	state->peer_port = outer->sport;
	worker_sas_peer_moved(&worker->sas, sa, outer);
}

/*
 * What came out of `around`. If that is a tunnel, packets of an SA within it may come in fragments:
 * NULL until the last one is there. Fragments of anything else are the host's to put together.
 */
static struct packet *whole_within(struct worker *worker, const struct worker_sa *around,
				   struct packet *packet)
{
	struct ip_layout layout;
	struct outer outer;

	if (!worker->sas.nested || read_layout(packet, &layout) != DROP_NONE || !layout.fragment)
		return packet;
	read_fragment(&layout, &outer);
	if (!worker_sas_within(&worker->sas, around, &outer))
		return packet;
	return reassemble(worker, packet, around->sa.protect_id);
}

/* The SA within the one that a verified packet came by: NULL if the packet is for the host, or if it
 * is DEAD now. */
static struct worker_sa *inner_sa(struct worker *worker, const struct worker_sa *around,
				  struct packet *packet, struct outer *outer)
{
	struct ip_layout layout;
	enum drop_reason reason;
	struct worker_sa *sa;

	if (!worker->sas.nested || read_layout(packet, &layout) != DROP_NONE || layout.fragment ||
	    read_outer(&layout, outer) != DROP_NONE)
		return NULL;
	sa = worker_sas_inbound(&worker->sas, outer, &reason);
	if (!sa && reason == DROP_STALE_SA)
		return NULL;	/* not ours: what it is, policy will say */
	if (sa && sa->sa.within_id == around->sa.protect_id)
		return sa;
	packet_drop(packet, sa ? DROP_BUNDLE : reason);
	return NULL;
}

static void run_add(struct run *run, struct packet *packet, const struct outer *outer)
{
	if (run->sa->sa.follow_peer)
		run->outer[run->count] = *outer;
	run->packets[run->count++] = packet;
}

/* Sorts what came out of an SA into what is for the host and what lies within another SA. */
static void deliver(struct worker *worker, const struct run *run, unsigned int depth)
{
	struct run within;
	struct outer outer;

	within.sa = NULL;
	within.count = 0;
	for (unsigned int i = 0; i < run->count; i++) {
		struct packet *packet = run->packets[i];
		struct worker_sa *sa;

		if (packet->state != PACKET_VERIFIED) {
			count_drop(worker, packet->drop, 1);
			continue;
		}
		run->sa->sa.state->used_ns = worker->now_ns;
		if (run->sa->sa.follow_peer)
			follow(worker, run->sa, packet, &run->outer[i]);
		packet = whole_within(worker, run->sa, packet);
		if (!packet)
			continue;
		sa = inner_sa(worker, run->sa, packet, &outer);
		if (packet->state == PACKET_DEAD) {
			count_drop(worker, packet->drop, 1);
			continue;
		}
		if (within.count && sa != within.sa)
			verify_run(worker, &within, depth + 1);
		if (!sa) {
			coalesce_add(&worker->coalescer, packet, run->sa->sa.slot,
				     run->sa->sa.sa_gen);
			continue;
		}
		packet->state = PACKET_PROTECTED;
		within.sa = sa;
		run_add(&within, packet, &outer);
	}
	if (within.count)
		verify_run(worker, &within, depth + 1);
}

/* Verifies a run and passes it on; empties it. */
static void verify_run(struct worker *worker, struct run *run, unsigned int depth)
{
	struct worker_sa *sa = run->sa;
	enum drop_reason refused = DROP_NONE;

	if (!run->count)
		return;
	if (worker_sa_expired(worker, sa))
		refused = DROP_LIFETIME;
	else if (depth >= BUNDLE_MAX || (!depth && sa->sa.within_id))
		refused = DROP_BUNDLE;
	if (refused != DROP_NONE) {
		count_drop(worker, refused, run->count);
	} else {
		sa_verify(&sa->sa, run->packets, run->count);
		deliver(worker, run, depth);
	}
	run->count = 0;
}

/* ---- from the wire ------------------------------------------------------------------------- */

static bool is_icmp(const struct ip_layout *layout)
{
	return !layout->fragment &&
	       layout->next == (layout->family == FAMILY_V4 ? IPPROTO_ICMP : IPPROTO_ICMPV6);
}

/* The SA of a packet from the wire, put together if need be; NULL if it is used up or dropped. */
static struct worker_sa *take(struct worker *worker, struct packet **packet, struct outer *outer)
{
	struct worker_sa *sa = NULL;
	struct ip_layout layout;
	enum drop_reason reason;

	reason = read_layout(*packet, &layout);
	if (reason == DROP_NONE && layout.fragment) {
		*packet = reassemble(worker, *packet, 0);
		if (!*packet)
			return NULL;
		reason = read_layout(*packet, &layout);
		if (reason == DROP_NONE && layout.fragment)
			reason = DROP_ESP_FRAGMENT;
	}
	if (reason == DROP_NONE && is_icmp(&layout)) {
		reason = worker_ptb(worker, *packet);
		if (reason == DROP_NONE)
			return NULL;
	} else if (reason == DROP_NONE) {
		reason = read_outer(&layout, outer);
		if (reason == DROP_NONE)
			sa = worker_sas_inbound(&worker->sas, outer, &reason);
	}
	if (!sa)
		count_drop(worker, reason, 1);
	return sa;
}

bool worker_in_round(struct worker *worker, struct wire_port *port)
{
	struct run run;
	unsigned int count;

	count = wire_port_receive(port, worker->rx, BURST);
	worker->stats->wire_rx += count;
	run.sa = NULL;
	run.count = 0;
	for (unsigned int i = 0; i < count; i++) {
		struct packet *packet = &worker->rx[i];
		struct outer outer;
		struct worker_sa *sa = take(worker, &packet, &outer);

		if (!sa)
			continue;
		if (sa != run.sa) {
			verify_run(worker, &run, 0);
			run.sa = sa;
		}
		run_add(&run, packet, &outer);
	}
	verify_run(worker, &run, 0);
	coalesce_flush(&worker->coalescer);
	while (worker->whole_count)
		reassembly_release(worker->in_fragments, worker->whole[--worker->whole_count]);
	wire_port_release(port, worker->rx, count);
	return count;
}

void worker_in_tick(struct worker *worker)
{
	count_drop(worker, DROP_REASSEMBLY_TIME,
		   reassembly_expire(worker->in_fragments, worker->now_ns));
}

void worker_in_init(struct worker *worker)
{
	coalesce_init(&worker->coalescer, emit, worker);
}
