/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Inbound SA look-up and the checks that need no key (DESIGN: length -> SAD -> source -> replay
 * pre-check), so that nothing an attacker without the key sends costs a byte of cryptography.
 * Called by: xdp_ingress. Reads sad, sad_peers and sa_state; writes udp_fragments only.
 */
#ifndef IPSECBPF_SAD_H
#define IPSECBPF_SAD_H

#include "maps.h"
#include "parse.h"

/*
 * The inbound SA that ESP, AH, or ESP in UDP names. NULL: not one of ours. What an outbound SA is
 * named for is not on its way here.
 */
static __always_inline struct sad_entry *sad_lookup(const struct packet_info *info)
{
	bool udp = info->proto == IPPROTO_UDP;
	struct sad_key key = {
		.dst = info->dst,
		.spi = info->spi,
		.proto = udp ? IPPROTO_ESP : info->proto,
		.family = info->family,
		.encap_port = udp ? info->dst_port : 0,
	};
	struct sad_entry *sa = bpf_map_lookup_elem(&sad, &key);

	return sa && !(sa->flags & SA_F_OUTBOUND) ? sa : NULL;
}

/* A fragment of ESP or AH: is it between addresses that an SA of ours joins? */
static __always_inline bool sad_knows_peer(const struct packet_info *info)
{
	struct sad_peer key = {
		.src = info->src,
		.dst = info->dst,
		.proto = info->proto,
		.family = info->family,
	};

	return bpf_map_lookup_elem(&sad_peers, &key);
}

static __always_inline struct udp_fragment udp_fragment_key(const struct packet_info *info)
{
	return (struct udp_fragment){
		.src = info->src,
		.dst = info->dst,
		.id = info->fragment_id,
		.family = info->family,
	};
}

/* The first fragment of ESP in UDP has passed the checks of its SA: the others may follow. */
static __always_inline bool sad_expect_fragments(const struct packet_info *info)
{
	struct udp_fragment key = udp_fragment_key(info);
	__u64 now = bpf_ktime_get_ns();

	return !bpf_map_update_elem(&udp_fragments, &key, &now, BPF_ANY);
}

/* The first fragment of other UDP: those of an older packet are not its own. */
static __always_inline void sad_forget_fragments(const struct packet_info *info)
{
	struct udp_fragment key = udp_fragment_key(info);

	bpf_map_delete_elem(&udp_fragments, &key);
}

static __always_inline bool sad_expects_fragment(const struct packet_info *info)
{
	struct udp_fragment key = udp_fragment_key(info);
	__u64 *first = bpf_map_lookup_elem(&udp_fragments, &key);

	return first && bpf_ktime_get_ns() - *first < FRAGMENTS_WAIT_NS;
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

/* Does the packet come from where the SA's peer is said to be? */
static __always_inline bool sad_source_is_peer(const struct sad_entry *sa,
					       const struct packet_info *info)
{
	return !(sa->flags & SA_F_ANY_SRC) && same_addr(&sa->src, &info->src);
}

/*
 * May this packet go to the worker? 0, or a negative drop reason. ESP and AH have no ports: theirs
 * are zero, and so is the entry's.
 */
static __always_inline int sad_check(const struct sad_entry *sa, const struct packet_info *info)
{
	if (sa->flags & SA_F_NESTED)
		return -DROP_BUNDLE;
	if (!(sa->flags & SA_F_ANY_SRC) &&
	    (!sad_source_is_peer(sa, info) || sa->encap_src_port != info->src_port))
		return -DROP_SA_SOURCE;
	if (surely_replayed(sa, bpf_ntohl(info->seq)))
		return -DROP_REPLAY_OLD;
	return 0;
}

#endif /* IPSECBPF_SAD_H */
