/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * What spd_probe.bpf.c and those who run it agree on: questions to bpf/spd.h, many to a test run.
 * Included by: spd_probe.bpf.c, probe.h; after bpf/abi.h.
 */
#ifndef IPSECBPF_SPD_PROBE_H
#define IPSECBPF_SPD_PROBE_H

#define PROBE_BATCH 32768		/* questions of one run, at most */

/* A packet, as bpf/parse.h reads it, and where it is met. */
struct probe_question {
	union wire_addr src, dst;
	__be16 src_port, dst_port;
	__u8 family;			/* enum ip_family */
	__u8 proto;
	__u8 icmp_type, icmp_code;
	__u8 fragment;			/* 0: whole; 1: first; 2: later */
	__u8 dscp;
	__u16 vlan;
	__u32 generation;
	__u32 way;			/* enum spd_way */
	__u32 pad;
};

struct probe_answer {
	__s32 err;
	__u32 rule, protect_id, serial;
	__u8 action;			/* enum spd_action */
	__u8 remembered;		/* the flow cache knew it before it was asked */
	__u8 pad[6];
};

/* Written before a run, and by it. */
struct probe_run {
	__u32 count;
	__u32 asked;
	__u64 ns;			/* that the questions took */
};

_Static_assert(sizeof(struct probe_question) % 8 == 0 && sizeof(struct probe_answer) % 8 == 0,
	       "elements of a mapped array are 8 octets apart");

#endif /* IPSECBPF_SPD_PROBE_H */
