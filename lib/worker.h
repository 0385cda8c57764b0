/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The worker: the process that touches packets. It owns both ends of the clear/protected boundary,
 * holds keys, and has no privilege: it is forked with everything open, drops all capabilities,
 * locks itself in (sandbox.h) and moves bursts until it is told to stop or dies.
 *
 * Included by: supervisor.c (starts it), benchmarks.
 * Threading:   one thread; every SA of the attachment belongs to it.
 */
#ifndef IPSECBPF_WORKER_H
#define IPSECBPF_WORKER_H

#include <stdint.h>

#include "host_port.h"
#include "sa.h"
#include "wire_port.h"

/* What the worker is given. Everything was opened by the supervisor; nothing is opened later. */
struct worker_config {
	struct host_port *host;
	struct wire_port *ports;
	uint32_t port_count;
	uint32_t mtu; /* of the NIC, octets of IP */
	uint8_t nic_mac[6];
	uint32_t slots;
	struct sa_state *states;    /* shared, by slot */
	const struct out_sa *out_sas; /* shared, by OUT_SA() */
	struct worker_stats *stats; /* shared */
	int message_fd;		    /* SOCK_SEQPACKET to the supervisor: struct worker_message */
	int need_fd;		    /* eventfd: "an SA runs low on sequence numbers" */
	const char *engine;	    /* crypto engine by name; NULL: the best */
	uint32_t busy_poll_us;	    /* longest window of busy_poll.h; 0: none */
};

/* A new worker moves no packet before WORKER_RUN: it would drop what belongs to SAs it has not got
 * yet. */
enum worker_message_type { WORKER_SA_ADD, WORKER_SA_REMOVE, WORKER_RUN };

/* Supervisor to worker; answered by an int32_t, 0 or -errno, once it has taken effect. */
struct worker_message {
	uint32_t type;
	uint32_t slot;
	uint8_t sa_gen;
	struct sa_config sa; /* WORKER_SA_ADD only; holds keys */
};

/* Never returns: exits 0 when the supervisor closes message_fd, non-zero on failure. */
void worker_main(const struct worker_config *config) __attribute__((noreturn));

#endif /* IPSECBPF_WORKER_H */
