/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Asks the BPF programs themselves what they would do with a packet. A second instance of them is
 * loaded, attached to nothing and pinned nowhere, and fed by BPF_PROG_TEST_RUN. What decides
 * (policy, SAs, state) it shares with the attached one; what hooks write (counters, events, caches)
 * is its own: nothing that is live changes. So there is no second implementation of policy to be
 * wrong.
 *
 * Included by: explain, policy_test.
 * Ownership:   struct oracle owns the programs; oracle_close() after a successful open.
 */
#ifndef IPSECBPF_ORACLE_H
#define IPSECBPF_ORACLE_H

#include "ipsecbpf.h"
#include "loader.h"

struct oracle {
	struct loader loader;
	struct pins pins;	/* of the private instance */
};

struct oracle_packet {
	const uint8_t *frame;	/* with its Ethernet header */
	uint32_t len;
	bool forwarded;		/* outbound: it came in by another interface */
	uint32_t app;		/* whose it is; APP_ASK_MAPS: whose the maps say; 0: no application's */
};

enum oracle_fate { ORACLE_STACK, ORACLE_WORKER, ORACLE_DROP };

struct oracle_answer {
	enum oracle_fate fate;
	struct packet_verdict verdict;
	uint64_t passes[PASS_SLOTS], drops[DROP_SLOTS];	/* what the packet was counted as */
};

/* 0 or -errno, explained in report. `live` must stay open as long as the oracle is. */
int oracle_open_live(struct oracle *oracle, const struct pins *live,
		     struct ipsecbpf_report *report);

/* The same with a policy that is in force nowhere, compiled for an interface of that name. There
 * are no SAs, and no own addresses. */
int oracle_open_policy(struct oracle *oracle, const struct policy *policy, const char *ifname,
		       struct ipsecbpf_report *report);
void oracle_close(struct oracle *oracle);

/* What a hook makes of a packet. 0 or -errno. */
int oracle_ask(struct oracle *oracle, enum hook hook, const struct oracle_packet *packet,
	       struct oracle_answer *ret_answer);

/* Would the stack get this packet if the inbound SA of that slot had protected it? 0 or -errno. */
int oracle_ask_inside(struct oracle *oracle, const struct oracle_packet *packet, uint32_t slot,
		      struct oracle_answer *ret_answer);

/* Is the program of a hook the one that is attached, instruction by instruction? */
bool oracle_is_same(const struct oracle *oracle, const struct pins *live, enum hook hook);

#endif /* IPSECBPF_ORACLE_H */
