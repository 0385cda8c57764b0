/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What spd_bench.c measures: one rule set in force in an instance of the product's BPF programs of
 * its own, attached to nothing, and beside it the programs of spd_bench.bpf.c on the same maps.
 *
 * Included by: spd_bench.c, spd_load.c, spd_subject.c.
 * Ownership:   subject_close() gives everything back, also after a failed open.
 */
#ifndef IPSECBPF_SPD_SUBJECT_H
#define IPSECBPF_SPD_SUBJECT_H

#include "selftests/bpf/datapath.h"
#include "selftests/spd/rulegen.h"
#include "spd_bench.h"

#define HIT_FRAMES  256		/* flows that all are remembered */
#define MISS_FRAMES 32768	/* flows, no two alike */

/* How long what takes, in seconds; and in how much memory. */
struct load_cost {
	double parse;		/* text -> checked policy, with its warnings */
	double compile;		/* of which nothing is stored; done once by itself */
	double install;		/* canonical text, compile, maps written, flipped, old ones freed */
	double first;		/* parse and install where no policy was in force */
	double cpu;		/* of parse and install, what was spent on a processor */
	double user_mib;	/* more than before, at the peak */
	double snapshot_mib, counters_mib, text_mib;
	uint32_t entries, steps;
	size_t text_octets;	/* of the file */
	size_t warnings;
};

struct spd_bench_bpf;

struct subject {
	struct gen_set set;
	struct datapath datapath;
	bool is_open;
	struct load_cost load;
	struct spd_bench_bpf *object;
	struct flow_set *flows;		/* the map, of all CPUs */
	size_t flows_size;
	uint32_t sets;			/* of one CPU */
	uint32_t frames;		/* HIT_FRAMES, then those for misses */
};

/* Makes the rule set, loads it and prepares the programs. Prints what is wrong. 0 or -errno. */
int subject_open(struct subject *subject, const struct gen_options *options);
void subject_close(struct subject *subject);

/* spd_load.c: puts the set in force, twice: at first with one rule named otherwise, then as a
 * replacement of that. Prints what is wrong. 0 or -errno. */
int subject_load(struct subject *subject);

/* The sets of the flow cache of this CPU. */
struct flow_set *subject_flows(const struct subject *subject, int cpu);

#endif /* IPSECBPF_SPD_SUBJECT_H */
