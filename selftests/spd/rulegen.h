/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Rule sets and packets to try classifiers with: shaped like real ones, of any size, and the same
 * for the same seed on every machine (no floating point, no libc random numbers).
 *
 *   rulegen.c          a set: draws rules until there are enough different ones, orders them
 *   rulegen_draw.c     one rule after the shape of its kind; the prefix tree
 *   rulegen_shapes.c   the shapes: the numbers below
 *   rulegen_adverse.c  what hurts decision trees
 *   rulegen_trace.c    packets for a set
 *   rulegen_json.c     a set as a policy file
 *   rulegen_main.c     build/spd/rulegen, the same as a program
 *
 * Shapes. ACL, FW and IPC follow what D. Taylor and J. Turner, "ClassBench: A Packet Classification
 * Benchmark" (INFOCOM 2005; IEEE/ACM ToN 15(3), 2007) published of twelve seed sets from ISPs and
 * vendors: port ranges of five classes (any; 0-1023; 1024-65535; another range; one port), prefix
 * lengths at few values, prefixes drawn from a binary tree whose branches differ in weight (skew =
 * 1 - lighter/heavier), source and destination that share leading bits (correlation). Two of their
 * knobs that bend a shape are here as well: scope (wider, narrower) and smoothing (lengths move
 * by a few bits, so that large sets get values that the small original did not have). The seed
 * files themselves are not used: the shares here are our own estimates in the spirit of what the
 * paper describes, not taken from its figures or fitted to a real set. A rule's source is `remote`
 * and its destination `local`: a policy seen from the protected side. A side of a rule is often
 * that of an earlier one, so that there are fewer prefixes than rules.
 *
 *   ACL      destinations mostly /32 or near, sources /0 to /32; one destination port, any source
 *            port; mostly TCP
 *   FW       a side is any in half of the rules, ports often any or 1024-65535, on both sides
 *   IPC      both sides specific and often in the same network; ports of all classes
 *   HOST     a host's own policy: local is any or one of its few addresses, remote thousands of
 *            hosts and networks nested in sites; services by local or remote port; mostly protect
 *   ADVERSE  five things decision trees fear, a fifth each: (specific, any) crossed with (any,
 *            specific); nested address ranges; ranges in both ports, no two bounds alike; chains of
 *            nested prefixes on both sides; staircases of ranges that all overlap
 *
 * IPv6 sets have the same shapes with lengths where address plans have them (/32, /48, /56, /64,
 * /128; RFC 6177, RIR allocation policies) in the five RIRs' /12 blocks.
 *
 * Order: as in real files, rules of one site stand together, sites in no order, within a site
 * mostly the specific first, by a measure that differs from site to site; wide ones at the end. A
 * rule never stands behind one that covers it, for policies with such rules are refused; but see
 * GEN_UNREACHABLE.
 *
 * Included by: selftests/spd, benchmarks, unit tests. A set is immutable once made: threads may
 * share it. All functions return 0 or -errno.
 */
#ifndef IPSECBPF_RULEGEN_H
#define IPSECBPF_RULEGEN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include "lib/spd_tree.h"

/* X(enumerator, word) */
#define GEN_KINDS(X)		\
	X(ACL, "acl")		\
	X(FW, "fw")		\
	X(IPC, "ipc")		\
	X(HOST, "host")		\
	X(ADVERSE, "adverse")

enum gen_kind {
#define X(id, word) GEN_##id,
	GEN_KINDS(X)
#undef X
	GEN_KIND_COUNT
};

extern const char *const gen_kind_words[GEN_KIND_COUNT];

/* A tenth of the rules are like earlier ones or lie within them. Not valid as a policy. */
#define GEN_UNREACHABLE	(1u << 0)
/* One rule in 25 asks for a VLAN, one in 25 for a DSCP. */
#define GEN_VLAN_DSCP	(1u << 1)

struct gen_options {
	enum gen_kind kind;
	enum ip_family family;
	size_t rules;		/* 1 to GEN_RULES_MAX */
	uint64_t seed;
	unsigned int flags;	/* GEN_* above */
	unsigned int skew;	/* per cent, 1 to 100; 0: the kind's own */
	unsigned int smooth;	/* bits by which prefix lengths move at most */
	int scope;		/* per cent, -100 (specific) to 100 (wide); 0: the kind's own */
};

#define GEN_RULES_MAX 1000000

struct gen_span {
	uint16_t lo, hi;	/* inclusive */
};

/* What a rule asks for. "Any" is the whole range. */
struct gen_selector {
	struct addr128 remote_lo, remote_hi, local_lo, local_hi;
	struct gen_span remote_port, local_port;	/* ICMP: code, type; any: 0-65535 */
	struct gen_span proto, vlan, dscp;		/* any: 0-255, 0-4095, 0-63 */
};

enum gen_protection { GEN_TRANSPORT, GEN_AUTHENTICATION, GEN_TUNNEL, GEN_PROTECTION_COUNT };

struct gen_rule {
	char name[12];		/* "r1" to "rN", in order */
	struct gen_selector selector;
	enum spd_action action;
	enum gen_protection protection;	/* with SPD_PROTECT */
	uint32_t peer;			/* the same: index into the set's peers */
};

struct gen_set {
	struct gen_options options;
	struct gen_rule *rules;
	size_t count;			/* options.rules */
	struct addr128 *peers;		/* one address each; no two alike */
	size_t peer_count;		/* a few hundred at most */
};

/* Makes a set. -EINVAL: an option is out of range. -ENOMEM. gen_set_fini() frees it. */
int gen_set_init(struct gen_set *set, const struct gen_options *options);
void gen_set_fini(struct gen_set *set);

/* What spd_tree_build() takes: malloc'd, set->count, in order. protect_id tells the pairs apart. */
int gen_set_boxes(const struct gen_set *set, struct spd_box **ret_boxes);

/* The set as a policy file. -EINVAL with GEN_UNREACHABLE; -EIO if `out` fails. */
int gen_set_write_policy(const struct gen_set *set, FILE *out);

#define GEN_NO_RULE UINT32_MAX

struct gen_trace_options {
	size_t packets;
	uint64_t seed;
	unsigned int corners;	/* per cent of packets at a bound of a rule, or one beside it */
	unsigned int uniform;	/* per cent of packets anywhere; the others lie within a rule */
	/*
	 * Locality, per mille: ClassBench's Pareto distribution of shape a = 1 and this scale b
	 * says how often a packet comes in a row. 0: each once; 1000: bursts of up to thousands.
	 */
	unsigned int locality;
};

struct gen_trace {
	struct spd_query *queries;
	uint32_t *rules;	/* each was drawn within (an earlier may match); GEN_NO_RULE */
	size_t count;
};

int gen_trace_init(struct gen_trace *trace, const struct gen_set *set,
		   const struct gen_trace_options *options);
void gen_trace_fini(struct gen_trace *trace);

#endif /* IPSECBPF_RULEGEN_H */
