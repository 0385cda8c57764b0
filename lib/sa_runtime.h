/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What the worker keeps per SA, and the sizes that follow from suite, mode and family. ESP (esp.h)
 * and AH (ah.h) transform packets by it; sa_protect() and sa_verify() choose between them.
 *
 * Included by: esp, ah, outer, worker, unit tests, benchmarks.
 * Threading:   one sa_runtime belongs to one worker thread.
 */
#ifndef IPSECBPF_SA_RUNTIME_H
#define IPSECBPF_SA_RUNTIME_H

#include <stdbool.h>
#include <stdint.h>

#include "crypto.h"
#include "packet.h"
#include "replay.h"
#include "sa.h"

/* No raw keys: those are inside crypto_key. */
struct sa_runtime {
	const struct esp_suite *suite;
	const struct crypto_engine *engine;
	struct crypto_key *key;
	struct iv_pool *iv_pool;	/* outbound CBC (AES, 3DES) only */
	struct sa_state *state;		/* in shared memory; outlives the worker */
	struct replay_config replay;
	union wire_addr src, dst;	/* of the outer header */
	__be32 spi;
	uint32_t slot;
	uint32_t protect_id;
	uint32_t within_id;		/* as in struct sa_config */
	struct sa_limits hard;		/* seconds are the worker's to watch */
	uint16_t *ipv4_id;		/* of the next outer header, for all SAs of a worker; NULL:
					 * the sequence number's lower half */
	__be16 encap_sport, encap_dport;	/* ESP in UDP; 0: plain */
	uint8_t sa_gen;
	uint8_t proto;			/* IPPROTO_ESP, IPPROTO_AH */
	uint8_t family;			/* of the outer header */
	uint8_t direction;		/* enum spd_direction */
	uint8_t dscp;			/* as in struct sa_config */
	uint8_t df;			/* enum df_rule */
	bool tunnel;
	bool esn;
	bool follow_peer;
};

/*
 * Makes the run-time of one SA: picks the engine (by name if engine_name is not NULL) and keys it.
 * `state` stays the caller's and must outlive the run-time. slot and sa_gen are left 0 for the
 * caller to fill in. 0 or -errno (-EINVAL: the suite is not one of the protocol's; -ENOENT: no
 * engine for the suite, or none of that name; -EKEYREJECTED: the key is weak).
 */
int sa_runtime_init(struct sa_runtime *sa, const struct sa_config *config, struct sa_state *state,
		    const char *engine_name);
void sa_runtime_fini(struct sa_runtime *sa);

/*
 * Octets that this SA adds to an IP packet in the worst case (padding included); for the
 * MTU: an inner IP packet of sa_inner_mtu() octets still fits an outer packet of `mtu` octets.
 */
uint32_t sa_overhead_max(const struct sa_runtime *sa);
uint32_t sa_inner_mtu(const struct sa_runtime *sa, uint32_t mtu);

/* May one more packet of `bytes` octets be taken, after `packets` that the state does not count yet
 * and their `pending` octets? (RFC 4301 4.4.2.1: hard limits) */
static inline bool sa_within_limits(const struct sa_runtime *sa, uint64_t packets, uint64_t pending,
				    uint32_t bytes)
{
	return (!sa->hard.packets || sa->state->packets + packets < sa->hard.packets) &&
	       (!sa->hard.bytes || sa->state->bytes + pending + bytes <= sa->hard.bytes);
}

/* esp_encap() or ah_protect(), esp_decap() or ah_verify(), as the SA says. */
void sa_protect(struct sa_runtime *sa, struct packet **packets, unsigned int count);
void sa_verify(struct sa_runtime *sa, struct packet **packets, unsigned int count);

#endif /* IPSECBPF_SA_RUNTIME_H */
