/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The worker's SAs: by slot for what the host port brings, by (destination, SPI) for what the wire
 * brings. Included by: worker.c. Threading: the worker's thread. Allocates only when an SA is
 * added.
 */
#ifndef IPSECBPF_WORKER_SAS_H
#define IPSECBPF_WORKER_SAS_H

#include "sa_runtime.h"
#include "worker.h"

struct worker_sa {
	struct sa_runtime esp;
	uint32_t inner_mtu;	/* of the NIC's MTU; outbound */
	uint64_t asked_at;	/* the seq_reserved at which more were last asked for */
	struct worker_sa *next; /* same hash bucket; inbound */
};

struct worker_sas {
	struct worker_sa **by_slot;
	struct worker_sa **buckets; /* inbound */
	uint32_t slots;
	uint32_t bucket_mask;
	struct worker_sa *last; /* inbound SA of the previous packet */
};

int worker_sas_init(struct worker_sas *sas, uint32_t slots);

/* Adds the SA of a message (replacing what was in the slot). Keys stay the caller's to wipe. 0 or
 * -errno. */
int worker_sas_add(struct worker_sas *sas, const struct worker_message *message,
		   const struct worker_config *config);
void worker_sas_remove(struct worker_sas *sas, uint32_t slot);

/* The SA of a host tag, or NULL if it is gone. */
struct worker_sa *worker_sas_by_tag(const struct worker_sas *sas, const struct host_tag *tag);

/* The inbound SA of an ESP packet by its outer header, after a check of the source address; NULL
 * with the packet DEAD otherwise. Sets l2_len and family of the packet. */
struct worker_sa *worker_sas_inbound(struct worker_sas *sas, struct packet *packet);

#endif /* IPSECBPF_WORKER_SAS_H */
