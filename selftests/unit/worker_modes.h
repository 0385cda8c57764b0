/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Two hosts, back to back in memory, and every way in which they can protect what is between them
 * (those of selftests/net/modes.py, and more bundles). Included by: test_worker_*.c (after
 * worker_testing.h).
 */
#ifndef IPSECBPF_TEST_WORKER_MODES_H
#define IPSECBPF_TEST_WORKER_MODES_H

#define V4_ONLY 1
#define V6_ONLY 2
#define GCM "aes128gcm16"
#define CBC "aes128-sha256"

struct layer {
	const char *suite;
	bool ah, tunnel, udp;
	uint8_t only;		/* V4_ONLY, V6_ONLY: one family of outer headers for all traffic */
};

struct mode {
	const char *name;
	struct layer layers[BUNDLE_MAX];	/* inside out */
};

static const struct mode modes[] = {
	{ "esp-transport", { { GCM } } },
	{ "esp-tunnel", { { CBC, .tunnel = true } } },
	{ "esp-tunnel-in-ipv6", { { GCM, .tunnel = true, .only = V6_ONLY } } },
	{ "esp-tunnel-in-ipv4", { { GCM, .tunnel = true, .only = V4_ONLY } } },
	{ "udp-transport", { { GCM, .udp = true } } },
	{ "udp-tunnel", { { GCM, .udp = true, .tunnel = true } } },
	{ "udp-tunnel-in-ipv6", { { CBC, .udp = true, .tunnel = true, .only = V6_ONLY } } },
	{ "ah-transport", { { "sha256", .ah = true } } },
	{ "ah-tunnel", { { "sha256", .ah = true, .tunnel = true } } },
	{ "ah-tunnel-in-ipv4", { { "aescmac", .ah = true, .tunnel = true, .only = V4_ONLY } } },
	{ "esp-within-ah", { { GCM }, { "sha256", .ah = true } } },
	{ "esp-within-tunnel", { { CBC }, { GCM, .tunnel = true } } },
	{ "ah-within-udp-tunnel-in-ipv4",
	  { { "sha1", .ah = true }, { "chacha20poly1305", .tunnel = true, .udp = true,
				      .only = V4_ONLY } } },
	{ "esp-within-ah-within-tunnel-in-ipv6",
	  { { CBC }, { "sha512", .ah = true }, { GCM, .tunnel = true, .only = V6_ONLY } } },
	{ "tunnel-within-tunnel-within-ah",
	  { { GCM, .tunnel = true, .only = V4_ONLY }, { CBC, .tunnel = true, .only = V6_ONLY },
	    { "sha256", .ah = true } } },
	{ "udp-within-tunnel", { { GCM, .udp = true }, { CBC, .tunnel = true } } },
};
#define MODES (sizeof(modes) / sizeof(modes[0]))

static struct test_host a, b;

static inline unsigned int mode_depth(const struct mode *mode)
{
	unsigned int depth = 0;

	while (depth < BUNDLE_MAX && mode->layers[depth].suite)
		depth++;
	return depth;
}

/* Do packets go into a tunnel as they are? Then those that are too large go in fragments. */
static inline bool begins_with_tunnel(const struct mode *mode)
{
	return mode->layers[0].tunnel;
}

/* Is there a tunnel around another SA? Protected packets that are too large are cut before it. */
static inline bool has_tunnel_around(const struct mode *mode)
{
	return mode->layers[1].tunnel || mode->layers[2].tunnel;
}

static inline enum ip_family outer_family(const struct layer *layer, enum ip_family inside)
{
	return layer->only ? (enum ip_family)(layer->only - V4_ONLY) : inside;
}

/* The family of the outermost header around packets of `family`. */
static inline enum ip_family wire_family(const struct mode *mode, enum ip_family family)
{
	for (unsigned int i = 0; i < mode_depth(mode); i++)
		family = outer_family(&mode->layers[i], family);
	return family;
}

/* Slots: by layer, direction (0: from a to b) and family. */
static inline uint32_t mode_slot(unsigned int layer, unsigned int back, enum ip_family family)
{
	return 1 + layer * 4 + back * 2 + (uint32_t)family;
}

/* The slot of the SA that is given packets of `family`, and of the outermost around them. */
static inline uint32_t inner_slot(const struct mode *mode, unsigned int back, enum ip_family family)
{
	return mode_slot(0, back, outer_family(&mode->layers[0], family));
}

static inline uint32_t outermost_slot(const struct mode *mode, unsigned int back,
				      enum ip_family family)
{
	return mode_slot(mode_depth(mode) - 1, back, wire_family(mode, family));
}

/* Packets that a's SAs of one layer have been given. */
static inline uint64_t given_to_layer(unsigned int layer)
{
	uint64_t count = 0;

	for (unsigned int family = 0; family < FAMILY_COUNT; family++) {
		const struct sa_state *state = &a.states[mode_slot(layer, 0, family)];

		count += state->seq_next ? state->seq_next - 1 : 0;
	}
	return count;
}

static inline struct sa_config mode_sa(const struct mode *mode, unsigned int i, unsigned int back,
				       enum ip_family family)
{
	const struct layer *layer = &mode->layers[i];
	struct sa_config sa = sa_default(family, 0x1000 + mode_slot(i, back, family));

	if (back) {
		sa.src = end_address(family, 2);
		sa.dst = end_address(family, 1);
	}
	sa.proto = layer->ah ? IPPROTO_AH : IPPROTO_ESP;
	sa.suite = (uint16_t)suite_index(layer->ah ? suite_find_ah(layer->suite)
						   : suite_find(layer->suite));
	sa.tunnel = layer->tunnel;
	if (layer->udp)
		sa.encap_sport = sa.encap_dport = htobe16(4500);
	sa.protect_id = i + 1;
	sa.within_id = i + 1 < mode_depth(mode) ? i + 2 : 0;
	return sa;
}

static inline void add_layer(const struct mode *mode, unsigned int i, unsigned int back,
			     enum ip_family family)
{
	struct sa_config sa = mode_sa(mode, i, back, family);
	struct test_host *from = back ? &b : &a, *to = back ? &a : &b;
	uint32_t slot = mode_slot(i, back, family);

	host_sa(from, slot, 1, &sa);
	sa.direction = SPD_IN;
	host_sa(to, slot, 1, &sa);
	for (unsigned int inside = 0; inside < FAMILY_COUNT; inside++)
		if (outer_family(&mode->layers[i], inside) == family)
			from->out_sas[OUT_SA(i + 1, inside)] =
				(struct out_sa){ .slot = slot, .sa_gen = 1 };
}

/* Two hosts with all SAs of a mode. */
static inline void mode_begin(const struct mode *mode)
{
	bool clear = true;

	host_begin(&a, 1);
	host_begin(&b, 2);
	for (unsigned int i = 0; i < mode_depth(mode); i++) {
		clear &= mode->layers[i].ah;
		for (unsigned int family = 0; family < FAMILY_COUNT; family++) {
			if (outer_family(&mode->layers[i], family) != family)
				continue;
			add_layer(mode, i, 0, family);
			add_layer(mode, i, 1, family);
		}
	}
	a.may_be_clear = b.may_be_clear = clear;
	a.udp = b.udp = mode->layers[mode_depth(mode) - 1].udp;
}

static inline void mode_end(void)
{
	host_end(&a);
	host_end(&b);
}

/* All that has left `from` arrives. */
static inline void carry(struct test_host *from, struct test_host *to)
{
	STAILQ_CONCAT(&to->wire_in, &from->wire_out);
}

#endif /* IPSECBPF_TEST_WORKER_MODES_H */
