/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The worker's steps among themselves.
 *
 *   worker.c      start, rounds, time, the supervisor's messages
 *   worker_out.c  host port -> tag -> SA -> segment or reassemble -> protect -> wire port
 *   worker_in.c   wire port -> SA, source -> reassemble -> verify -> coalesce -> tag -> host port
 *   worker_ptb.c  wire port -> packet too big -> path MTU of an SA
 *   worker_sas.c  the SAs
 *
 * Included by: worker*.c only. Threading: the worker's thread.
 */
#ifndef IPSECBPF_WORKER_INTERNAL_H
#define IPSECBPF_WORKER_INTERNAL_H

#include "busy_poll.h"
#include "coalesce.h"
#include "reassembly.h"
#include "worker_sas.h"

/* Packets being put together at one time: inbound before authentication, so anybody's. */
#define REASSEMBLY_IN_PACKETS  128
#define REASSEMBLY_OUT_PACKETS 64
#define REASSEMBLY_FRAGMENTS   128 /* of one packet: 65,535 octets in 576 */

struct worker {
	const struct worker_config *config;
	struct worker_stats *stats;
	struct worker_sas sas;
	uint64_t now_ns;
	uint64_t tick_ns;		/* when time is looked at next */
	bool running;
	bool host_ready;		/* the host port has something, as far as is known */
	bool was_busy;			/* in the round before */
	struct busy_poll busy_poll;
	/* outbound */
	uint8_t *host_buffer;
	struct worker_sa *tx_sa;	/* of all packets in tx */
	struct wire_port *tx_port;
	struct packet tx[BURST];
	unsigned int tx_count;
	struct reassembly *out_fragments;
	uint32_t fragment_id;		/* IPv6 identification of the next packet that is cut */
	uint64_t ptb_window;		/* second in which ptb_sent were sent */
	uint32_t ptb_sent;
	/* inbound */
	struct coalescer coalescer;
	struct packet rx[BURST];
	/* reassembled in this burst, to be released */
	struct packet *whole[BURST * BUNDLE_MAX];
	unsigned int whole_count;
	struct reassembly *in_fragments;
};

static inline void count_drop(struct worker *worker, enum drop_reason reason, unsigned int packets)
{
	worker->stats->drops[reason] += packets;
}

/* Has the SA's time come? (RFC 4301 4.4.2.1) */
static inline bool worker_sa_expired(const struct worker *worker, const struct worker_sa *sa)
{
	return worker->now_ns >= sa->expires_ns;
}

/* ---- worker_out.c ---- */

/* Protects and sends what waits for its SA's burst to fill. */
void worker_out_flush(struct worker *worker);
/* Takes what the host port has, a few frames at most. Was there any? */
bool worker_out_round(struct worker *worker);
/* Sends keep-alives where they are due, and forgets fragments. Called about once a second. */
void worker_out_tick(struct worker *worker);

/* ---- worker_in.c ---- */

void worker_in_init(struct worker *worker);
bool worker_in_round(struct worker *worker, struct wire_port *port);
void worker_in_tick(struct worker *worker);

/* ---- worker_ptb.c ---- */

/*
 * Reads an ICMP message from the wire. If it says that a packet of ours, protected by a live SA and
 * sent lately, was too big, the SA's path MTU is lowered (RFC 4301 8.2.1, RFC 8201). DROP_NONE (the
 * message is used up) or DROP_PTB_REFUSED.
 */
enum drop_reason worker_ptb(struct worker *worker, const struct packet *packet);

#endif /* IPSECBPF_WORKER_INTERNAL_H */
