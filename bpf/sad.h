/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Inbound SA look-up and the checks that need no key (DESIGN: length -> SAD -> source -> replay
 * pre-check), so that nothing an attacker without the key sends costs a byte of cryptography.
 * Called by: xdp_ingress. Reads sad and sa_state; writes nothing.
 */
#ifndef IPSECBPF_SAD_H
#define IPSECBPF_SAD_H

#include "maps.h"
#include "parse.h"

static __always_inline struct sad_entry *sad_lookup(const struct packet_info *info)
{
	struct sad_key key = {
		.dst = info->dst,
		.spi = info->spi,
		.proto = info->proto,
		.family = info->family,
	};

	return bpf_map_lookup_elem(&sad, &key);
}

static __always_inline bool same_addr(const union wire_addr *a, const union wire_addr *b)
{
	return a->w[0] == b->w[0] && a->w[1] == b->w[1] && a->w[2] == b->w[2] && a->w[3] == b->w[3];
}

/*
 * Left of the window for certain? With ESN the high half is not on the wire, and every low half
 * may belong to the next subspace (RFC 4303 A2.1): the worker decides.
 */
static __always_inline bool surely_replayed(const struct sad_entry *sa, __u32 seq)
{
	struct sa_state *state;
	__u32 slot = sa->slot;

	if ((sa->flags & SA_F_ESN) || !sa->replay_window)
		return false;
	state = bpf_map_lookup_elem(&sa_state, &slot);
	return state && (__u64)seq + sa->replay_window <= state->replay_top;
}

/* May this ESP packet go to the worker? 0, or a negative drop reason. */
static __always_inline int sad_check(const struct sad_entry *sa, const struct packet_info *info)
{
	if (!(sa->flags & SA_F_ANY_SRC) && !same_addr(&sa->src, &info->src))
		return -DROP_SA_SOURCE;
	if (surely_replayed(sa, bpf_ntohl(info->seq)))
		return -DROP_REPLAY_OLD;
	return 0;
}

#endif /* IPSECBPF_SAD_H */
