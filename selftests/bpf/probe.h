/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The classifier alone, in the kernel: snapshots written by hand, questions by the thousand, answers
 * compared with the naive reference. Runs on one CPU, as the flow cache has sets for each.
 *
 * Included by: spd_walk.c, flow_cache.c.
 */
#ifndef IPSECBPF_PROBE_H
#define IPSECBPF_PROBE_H

#include "lib/inner_map.h"
#include "selftests/spd/linear.h"

#include "spd_probe.h"

#define PROBE_CELLS (1u << 19)		/* of a snapshot at most */
#define PROBE_IDLE 1000			/* flow_idle: jiffies, a second at least */

enum probe_fragment { WHOLE, FIRST, LATER };

struct spd_probe_bpf;

struct probe {
	struct spd_probe_bpf *object;
	struct inner_map snapshots[2];
	struct probe_question *questions;	/* mapped; PROBE_BATCH */
	const struct probe_answer *answers;
	struct probe_run *run;
	struct flow_set *flows;		/* mapped: all CPUs' */
	uint32_t flow_sets, cpu;
	uint32_t serial;		/* of the last snapshot */
};

/* What a generation is made of: trees may share sets. Ownership: the caller's. */
struct probe_policy {
	const struct linear_set *trees[SPD_TREES];	/* NULL: no rules */
	uint8_t default_action[SPD_DIRECTION_COUNT];
	uint32_t serial;
	uint32_t spread;	/* before this tree cells are left out, until so near the end ... */
	uint32_t before_end;	/* ... of the chunk: the tree will lie across it. 0: none are */
};

/* A packet, and where it is met. What it does not show is 0. */
struct probe_packet {
	struct linear_packet packet;
	enum ip_family family;
	enum spd_way way;
	enum probe_fragment fragment;
	bool proto_hidden;		/* IPv6, LATER: behind extension headers */
	uint32_t generation;
};

/* flow_sets: 0, or a power of two. seeded: with random seeds, as in the product; otherwise all are 0, and
 * many flows have the same hash. Says what is wrong. 0 or -errno. */
int probe_open(struct probe *probe, uint32_t flow_sets, bool seeded);
void probe_close(struct probe *probe);

/* Compiles and writes a generation, in place; a new serial unless policy->serial says which. 0 or
 * -errno. Sets policy->serial. */
int probe_store(struct probe *probe, uint32_t generation, struct probe_policy *policy);

/* Puts a question; the packet is made one that can be: ICMP has no ports and so on. */
void probe_put(struct probe *probe, uint32_t index, struct probe_packet *packet);

/* Asks the first `count` questions. 0 or -errno. */
int probe_ask(struct probe *probe, uint32_t count);

/* Is the answer what the reference says? Otherwise prints both. */
bool probe_right(const struct probe *probe, uint32_t index, const struct probe_policy *policy,
		 const struct probe_packet *packet);

#endif /* IPSECBPF_PROBE_H */
