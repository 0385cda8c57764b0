/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The worker's SAs: by slot for what the host port brings, by (destination, SPI) for what the wire
 * brings. Included by: worker_internal.h. Threading: the worker's thread. Allocates only when an
 * SA is added.
 */
#ifndef IPSECBPF_WORKER_SAS_H
#define IPSECBPF_WORKER_SAS_H

#include "sa_runtime.h"
#include "worker.h"

#define PATH_MTU_LIFE_NS 600000000000u /* RFC 1191 6.3, RFC 8201 5.3: then larger is tried again */

struct worker_sa {
	struct sa_runtime sa;
	uint64_t expires_ns;	/* CLOCK_MONOTONIC; UINT64_MAX: never */
	bool reassemble;	/* outbound fragments */
	uint32_t mtu, inner_mtu;	/* outbound: of an outer MTU, what fits inside */
	uint64_t asked_at;	/* the seq_reserved at which more were last asked for */
	uint64_t keepalive_ns;	/* UDP, outbound: time without traffic; 0: none are sent */
	uint64_t sent_ns;	/* when anything was sent last, if keep-alives are */
	struct worker_sa *next; /* same hash bucket */
	struct worker_sa *next_nested;
};

struct worker_sas {
	struct worker_sa **by_slot;
	struct worker_sa **buckets;
	const struct worker_config *config;
	uint32_t slots;
	uint32_t bucket_mask;
	uint16_t ipv4_id;	/* of the next outer IPv4 header */
	struct worker_sa *nested;	/* inbound SAs that lie within another one */
	uint32_t keepalives;	/* outbound SAs that send them */
	struct worker_sa *last; /* inbound SA of the previous packet */
};

/* What an arriving packet shows of its SA. */
struct outer {
	union wire_addr src, dst;
	__be32 spi;
	__be16 sport, dport; /* ESP in UDP; otherwise 0 */
	uint8_t family;
	uint8_t proto;
};

int worker_sas_init(struct worker_sas *sas, const struct worker_config *config);

/* Adds the SA of a message (replacing what was in the slot). Keys stay the caller's to wipe. 0 or
 * -errno. */
int worker_sas_add(struct worker_sas *sas, const struct worker_message *message);
void worker_sas_remove(struct worker_sas *sas, uint32_t slot);

/* The outbound SA of a slot and generation, or NULL if it is gone. */
struct worker_sa *worker_sas_outbound(const struct worker_sas *sas, uint32_t slot, uint8_t gen);

/* The SA around what `sa` has protected; NULL if there is none just now. */
struct worker_sa *worker_sas_around(const struct worker_sas *sas, const struct worker_sa *sa);

/*
 * Octets of IP that an SA's packets may have on the wire, and those that may go into it: by the
 * NIC, by what its path has been learnt to carry, and by the SAs around it.
 */
uint32_t worker_sas_mtu(const struct worker_sas *sas, const struct worker_sa *sa, uint64_t now_ns);
uint32_t worker_sas_inner_mtu(const struct worker_sas *sas, struct worker_sa *sa, uint64_t now_ns);

/* The SA of that direction to which an outer header belongs, or NULL. */
struct worker_sa *worker_sas_find(const struct worker_sas *sas, const struct outer *outer,
				  enum spd_direction direction);

/* The inbound SA of an outer header, after a check of source address and port; NULL with a reason
 * otherwise (DROP_STALE_SA, DROP_SA_SOURCE). */
struct worker_sa *worker_sas_inbound(struct worker_sas *sas, const struct outer *outer,
				     enum drop_reason *ret_reason);

/* Is there an inbound SA within `around` that a fragment with this outer header may belong to? Ports
 * and SPI are not looked at: only the first one shows them. */
bool worker_sas_within(const struct worker_sas *sas, const struct worker_sa *around,
		       const struct outer *outer);

/* The peer of an inbound SA, heard authentically from a new place: what is sent to it goes there. */
void worker_sas_peer_moved(struct worker_sas *sas, const struct worker_sa *sa,
			   const struct outer *outer);

#endif /* IPSECBPF_WORKER_SAS_H */
