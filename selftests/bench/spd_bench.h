/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/* What spd_bench.bpf.c and spd_bench.c have in common. */
#ifndef IPSECBPF_SPD_BENCH_H
#define IPSECBPF_SPD_BENCH_H

#include <linux/types.h>

/* Octets behind the Ethernet header of each packet: IPv6 and 16 of the upper layer. An IPv4 packet is
 * shorter by its total length; what follows is padding. */
#define BENCH_WORDS 7
#define BENCH_UPPER 16
#define BENCH_OCTETS (BENCH_WORDS * 8)

/* Value of the map `frames`, one per packet of a trace. */
struct bench_frame {
	__u64 word[BENCH_WORDS];	/* as on the wire */
	__u64 pad;
};
_Static_assert(sizeof(struct bench_frame) == 64, "a frame is a cache line");

/* The programs' variables. User space writes them between test runs. */
struct bench_run {
	__u32 first, end;	/* the frames to take turns, by index */
	__u32 at;		/* the next one */
	__u32 rules;		/* for the linear scan */
	__u64 digest;		/* of the rules that were found, in order */
	__u64 failed;		/* packets that were not judged */
};

#endif /* IPSECBPF_SPD_BENCH_H */
