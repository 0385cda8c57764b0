/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * ESP (RFC 4303), transport and tunnel mode, IPv4 and IPv6, on bursts of packets of one SA.
 * Pure: no system calls, no allocation on the packet path.
 *
 * Included by: worker.c, unit tests, benchmarks.
 * Threading:   one sa_runtime belongs to one worker thread.
 */
#ifndef IPSECBPF_ESP_H
#define IPSECBPF_ESP_H

#include <stdbool.h>
#include <stdint.h>

#include "crypto.h"
#include "packet.h"
#include "replay.h"
#include "sa.h"

/* What the worker keeps per SA. No raw keys: those are inside crypto_key. */
struct sa_runtime {
	const struct esp_suite *suite;
	const struct crypto_engine *engine;
	struct crypto_key *key;
	struct iv_pool *iv_pool;	/* outbound CBC (AES, 3DES) only */
	struct sa_state *state;		/* in shared memory; outlives the worker */
	struct replay_config replay;
	union wire_addr src, dst;
	__be32 spi;
	uint32_t slot;
	uint32_t protect_id;
	uint8_t sa_gen;
	uint8_t family;			/* of the outer header */
	uint8_t direction;		/* enum spd_direction */
	bool tunnel;
	bool esn;
};

/*
 * Makes the run-time of one SA: picks the engine (by name if engine_name is not NULL) and keys it.
 * `state` stays the caller's and must outlive the run-time. slot and sa_gen are left 0 for the
 * caller to fill in. 0 or -errno (-ENOENT: no engine for the suite, or none of that name;
 * -EKEYREJECTED: the key is weak).
 */
int sa_runtime_init(struct sa_runtime *sa, const struct sa_config *config, struct sa_state *state,
		    const char *engine_name);
void sa_runtime_fini(struct sa_runtime *sa);

/*
 * Octets that encapsulation adds to an IP packet in the worst case (padding included); for the
 * MTU: an inner IP packet of esp_inner_mtu() octets still fits an outer packet of `mtu` octets.
 */
uint32_t esp_overhead_max(const struct sa_runtime *sa);
uint32_t esp_inner_mtu(const struct sa_runtime *sa, uint32_t mtu);

/*
 * esp_encap() and esp_decap() count packets, bytes, icv_failed and replayed in the SA's state;
 * used_ns is the caller's, who knows the time.
 *
 * Protects a burst in place: CLEAR packets become PROTECTED or DEAD. Each takes the next sequence
 * number from state->seq_next, which is advanced before the number is used; numbers at or past
 * state->seq_reserved are refused (DROP_SEQ_UNRESERVED), as is any number past 2^32-1 without ESN
 * (DROP_SEQ_EXHAUSTED). Transport mode refuses IP fragments (DROP_FRAGMENT_TRANSPORT) and packets
 * whose addresses are not the SA's (DROP_SA_SELECTOR). On return data points at the Ethernet
 * header again, moved into the headroom as needed; MAC addresses and VLAN tags are kept.
 */
void esp_encap(struct sa_runtime *sa, struct packet **packets, unsigned int count);

/*
 * Verifies and decrypts a burst in place: PROTECTED packets become VERIFIED or DEAD, in the order
 * of RFC 4303 3.4: length, replay check, ICV, replay commit, then padding, next header and inner
 * addresses. The caller has matched SPI, destination and source. On return the Ethernet header
 * stands before the inner packet, with the right ethertype, and the inner header's lengths and
 * checksum are right; trailing link padding is cut off.
 */
void esp_decap(struct sa_runtime *sa, struct packet **packets, unsigned int count);

#endif /* IPSECBPF_ESP_H */
