// SPDX-License-Identifier: BSD-2-Clause
#include "worker_sas.h"

#include <errno.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>

#include "bytes.h"

#define NS_PER_S 1000000000u

int worker_sas_init(struct worker_sas *sas, const struct worker_config *config)
{
	uint32_t buckets = 64;

	while (buckets < config->slots)
		buckets *= 2;
	*sas = (struct worker_sas){
		.config = config,
		.slots = config->slots,
		.bucket_mask = buckets - 1,
	};
	sas->by_slot = calloc(sas->slots, sizeof(*sas->by_slot));
	sas->buckets = calloc(buckets, sizeof(*sas->buckets));
	if (sas->by_slot && sas->buckets)
		return 0;
	free(sas->by_slot);
	free(sas->buckets);
	return -ENOMEM;
}

/* SPIs are chosen by the receiver, so they spread by themselves; this is for those that do not. */
static struct worker_sa **bucket_of(const struct worker_sas *sas, __be32 spi)
{
	return &sas->buckets[(spi * 0x9e3779b1u) >> 8 & sas->bucket_mask];
}

static void unlink_bucket(struct worker_sas *sas, const struct worker_sa *sa)
{
	struct worker_sa **at = bucket_of(sas, sa->sa.spi);

	while (*at && *at != sa)
		at = &(*at)->next;
	if (*at)
		*at = sa->next;
}

static void unlink_nested(struct worker_sas *sas, const struct worker_sa *sa)
{
	struct worker_sa **at = &sas->nested;

	while (*at && *at != sa)
		at = &(*at)->next_nested;
	if (*at)
		*at = sa->next_nested;
}

static bool is_nested_inbound(const struct worker_sa *sa)
{
	return sa->sa.within_id && sa->sa.direction == SPD_IN;
}

void worker_sas_remove(struct worker_sas *sas, uint32_t slot)
{
	struct worker_sa *sa = slot < sas->slots ? sas->by_slot[slot] : NULL;

	if (!sa)
		return;
	unlink_bucket(sas, sa);
	unlink_nested(sas, sa);
	sas->keepalives -= sa->keepalive_ns != 0;
	sas->by_slot[slot] = NULL;
	sas->last = NULL;
	sa_runtime_fini(&sa->sa);
	free(sa);
}

/* The peer's last known place outlives a worker in the SA's state. */
static void take_peer(struct sa_runtime *sa)
{
	const struct sa_state *state = sa->state;

	if (!sa->follow_peer || sa->direction != SPD_OUT || !state->peer_port)
		return;
	sa->dst = state->peer;
	sa->encap_dport = state->peer_port;
}

/*
 * An SA that takes over from another begins where the peer is: an inbound SA that stays reports a
 * move only once. What is sent knows it best, and of what is received, what came last.
 */
static void inherit_peer(const struct worker_sas *sas, const struct sa_runtime *sa)
{
	const struct sa_state *best = NULL;

	if (!sa->follow_peer || sa->direction != SPD_OUT || sa->state->peer_port)
		return;
	for (uint32_t slot = 1; slot < sas->slots; slot++) {
		const struct worker_sa *other = sas->by_slot[slot];

		if (!other || !other->sa.follow_peer || !other->sa.state->peer_port ||
		    other->sa.protect_id != sa->protect_id || other->sa.family != sa->family)
			continue;
		if (!best || other->sa.direction == SPD_OUT ||
		    other->sa.state->used_ns > best->used_ns)
			best = other->sa.state;
		if (other->sa.direction == SPD_OUT)
			break;
	}
	if (!best)
		return;
	sa->state->peer = best->peer;
	sa->state->peer_port = best->peer_port;
}

static void fill(struct worker_sa *sa, const struct worker_message *message, uint16_t *ipv4_id)
{
	const struct sa_config *config = &message->sa;

	sa->sa.slot = message->slot;
	sa->sa.sa_gen = message->sa_gen;
	sa->sa.ipv4_id = ipv4_id;
	sa->reassemble = config->reassemble;
	sa->expires_ns = config->hard.seconds
				 ? sa->sa.state->added_ns + config->hard.seconds * NS_PER_S
				 : UINT64_MAX;
	if (config->encap_dport && config->direction == SPD_OUT)
		sa->keepalive_ns = (uint64_t)config->keepalive * NS_PER_S;
}

int worker_sas_add(struct worker_sas *sas, const struct worker_message *message)
{
	struct worker_sa **bucket, *sa;
	int err;

	if (!message->slot || message->slot >= sas->slots)
		return -EINVAL;
	worker_sas_remove(sas, message->slot);
	sa = calloc(1, sizeof(*sa));
	if (!sa)
		return -ENOMEM;
	err = sa_runtime_init(&sa->sa, &message->sa, &sas->config->states[message->slot],
			      sas->config->engine);
	if (err) {
		free(sa);
		return err;
	}
	fill(sa, message, &sas->ipv4_id);
	/* Filed under its own SPI and destination, before the peer's new place is put in. */
	bucket = bucket_of(sas, sa->sa.spi);
	sa->next = *bucket;
	*bucket = sa;
	inherit_peer(sas, &sa->sa);
	take_peer(&sa->sa);
	sas->by_slot[message->slot] = sa;
	if (is_nested_inbound(sa)) {
		sa->next_nested = sas->nested;
		sas->nested = sa;
	}
	sas->keepalives += sa->keepalive_ns != 0;
	return 0;
}

struct worker_sa *worker_sas_outbound(const struct worker_sas *sas, uint32_t slot, uint8_t gen)
{
	struct worker_sa *sa = slot < sas->slots ? sas->by_slot[slot] : NULL;

	return sa && sa->sa.sa_gen == gen && sa->sa.direction == SPD_OUT ? sa : NULL;
}

struct worker_sa *worker_sas_around(const struct worker_sas *sas, const struct worker_sa *sa)
{
	const struct out_sa *out;

	if (sa->sa.within_id >= PROTECT_MAX)
		return NULL;
	out = &sas->config->out_sas[OUT_SA(sa->sa.within_id, sa->sa.family)];
	return out->slot ? worker_sas_outbound(sas, out->slot, out->sa_gen) : NULL;
}

/* ---- sizes --------------------------------------------------------------------------------- */

static uint32_t path_mtu(const struct worker_sas *sas, const struct sa_state *state,
			 uint64_t now_ns)
{
	uint32_t mtu = sas->config->mtu;

	if (state->path_mtu && state->path_mtu < mtu &&
	    now_ns - state->path_mtu_ns < PATH_MTU_LIFE_NS)
		mtu = state->path_mtu;
	return mtu;
}

uint32_t worker_sas_mtu(const struct worker_sas *sas, const struct worker_sa *sa, uint64_t now_ns)
{
	const struct worker_sa *chain[BUNDLE_MAX];
	unsigned int depth = 0;
	uint32_t mtu;

	for (; sa && sa->sa.within_id && depth < BUNDLE_MAX; sa = worker_sas_around(sas, sa))
		chain[depth++] = sa;
	if (!sa)
		return sas->config->mtu;	/* nothing is sent now */
	mtu = path_mtu(sas, sa->sa.state, now_ns);
	/* From the outermost to the one around the SA asked for. */
	for (; depth; depth--) {
		mtu = sa_inner_mtu(&sa->sa, mtu);
		sa = chain[depth - 1];
	}
	return mtu;
}

uint32_t worker_sas_inner_mtu(const struct worker_sas *sas, struct worker_sa *sa, uint64_t now_ns)
{
	uint32_t mtu = worker_sas_mtu(sas, sa, now_ns);

	if (mtu != sa->mtu) {
		sa->mtu = mtu;
		sa->inner_mtu = sa_inner_mtu(&sa->sa, mtu);
	}
	return sa->inner_mtu;
}

/* ---- looking up ---------------------------------------------------------------------------- */

static bool same_sa(const struct worker_sa *sa, const struct outer *outer,
		    enum spd_direction direction)
{
	return sa->sa.spi == outer->spi && sa->sa.family == outer->family &&
	       sa->sa.proto == outer->proto && sa->sa.direction == direction &&
	       sa->sa.encap_dport == outer->dport &&
	       !memcmp(&sa->sa.dst, &outer->dst, sizeof(outer->dst));
}

struct worker_sa *worker_sas_find(const struct worker_sas *sas, const struct outer *outer,
				  enum spd_direction direction)
{
	struct worker_sa *sa = *bucket_of(sas, outer->spi);

	while (sa && !same_sa(sa, outer, direction))
		sa = sa->next;
	return sa;
}

struct worker_sa *worker_sas_inbound(struct worker_sas *sas, const struct outer *outer,
				     enum drop_reason *ret_reason)
{
	struct worker_sa *sa = sas->last;

	if (!sa || !same_sa(sa, outer, SPD_IN))
		sa = worker_sas_find(sas, outer, SPD_IN);
	if (!sa) {
		*ret_reason = DROP_STALE_SA;
		return NULL;
	}
	/* XDP has checked this; the worker does not build on who put the packet into its ring. */
	if (!sa->sa.follow_peer && (memcmp(&sa->sa.src, &outer->src, sizeof(outer->src)) ||
				    sa->sa.encap_sport != outer->sport)) {
		*ret_reason = DROP_SA_SOURCE;
		return NULL;
	}
	sas->last = sa;
	return sa;
}

bool worker_sas_within(const struct worker_sas *sas, const struct worker_sa *around,
		       const struct outer *outer)
{
	for (const struct worker_sa *sa = sas->nested; sa; sa = sa->next_nested) {
		uint8_t proto = sa->sa.encap_dport ? IPPROTO_UDP : sa->sa.proto;

		if (sa->sa.within_id == around->sa.protect_id && proto == outer->proto &&
		    sa->sa.family == outer->family &&
		    !memcmp(&sa->sa.dst, &outer->dst, sizeof(outer->dst)) &&
		    (sa->sa.follow_peer || !memcmp(&sa->sa.src, &outer->src, sizeof(outer->src))))
			return true;
	}
	return false;
}

void worker_sas_peer_moved(struct worker_sas *sas, const struct worker_sa *in,
			   const struct outer *outer)
{
	for (uint32_t slot = 1; slot < sas->slots; slot++) {
		struct worker_sa *sa = sas->by_slot[slot];

		if (!sa || sa->sa.direction != SPD_OUT || !sa->sa.follow_peer ||
		    sa->sa.protect_id != in->sa.protect_id || sa->sa.family != outer->family)
			continue;
		sa->sa.state->peer = outer->src;
		sa->sa.state->peer_port = outer->sport;
		take_peer(&sa->sa);
	}
}
