/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * The format of a compiled policy, part of the contract in abi.h, and the steps of searching it
 * that kernel and user space have in common.
 *
 * A snapshot is one array of 64-octet cells, immutable once it is in force:
 *
 *   cell 0        struct spd_head: what holds for the whole policy
 *   cells 1, 2    struct spd_app of application 0, the host: the roots of its SPD_TREES trees
 *   cell 3        struct spd_apps: where those of the applications are, and who is which (spd_app.h)
 *   then          nodes and leaf entries; struct spd_app of each application; buckets
 *
 * A packet looks the snapshot up once and takes everything from it, so that it sees one policy. It
 * is reduced to SPD_WORDS words. A node compares 32 bits of one word with up to SPD_THRESHOLDS
 * values; its children lie side by side, and so do the entries of a leaf: one memory access per
 * step. Rules that a node's question does not tell apart (they say "any") are set aside into a tree
 * of their own rather than repeated under each child; it is searched too, unless a better rule has
 * been found that all in it come after. See doc/classifier.md for why, and what it measured.
 *
 * Included by: bpf/spd_tree.h, lib/spd_*.c.
 */
#ifndef IPSECBPF_SPD_CELL_H
#define IPSECBPF_SPD_CELL_H

#include "abi.h"

/* ---- a packet, as selectors see it (RFC 4301 4.4.1.1), in host order ----------------------- */

enum spd_word { SPD_REMOTE_HI, SPD_REMOTE_LO, SPD_LOCAL_HI, SPD_LOCAL_LO, SPD_UPPER, SPD_WORDS };

/*
 * The fields of SPD_UPPER, lowest first. X(enumerator, shift, width in bits). A bit above each is
 * left free, for all to be compared by one subtraction. ICMP puts its type where the local port is,
 * its code where the remote one is.
 */
#define SPD_UPPER_FIELDS(X)	\
	X(REMOTE_PORT, 0, 16)	\
	X(LOCAL_PORT, 17, 16)	\
	X(VLAN, 34, 12)		/* 0: untagged */	\
	X(PROTO, 47, 8)		\
	X(DSCP, 56, 6)

enum spd_upper_shift {
#define X(id, shift, width) SPD_##id##_SHIFT = shift,
	SPD_UPPER_FIELDS(X)
#undef X
};
enum spd_upper_width {
#define X(id, shift, width) SPD_##id##_WIDTH = width,
	SPD_UPPER_FIELDS(X)
#undef X
};

#define SPD_UPPER_FIELD(id, value) ((__u64)(value) << SPD_##id##_SHIFT)
#define SPD_UPPER_FIELD_MASK(id) SPD_UPPER_FIELD(id, (1u << SPD_##id##_WIDTH) - 1)
#define SPD_UPPER_GUARD(id) SPD_UPPER_FIELD(id, 1u << SPD_##id##_WIDTH)
#define SPD_OR_MASK(id, shift, width) | SPD_UPPER_FIELD_MASK(id)
#define SPD_OR_GUARD(id, shift, width) | SPD_UPPER_GUARD(id)
#define SPD_UPPER_MASK (0ull SPD_UPPER_FIELDS(SPD_OR_MASK))
#define SPD_UPPER_GUARDS (0ull SPD_UPPER_FIELDS(SPD_OR_GUARD))

struct spd_query {
	__u64 word[SPD_WORDS];
};

/* ---- trees --------------------------------------------------------------------------------- */

/* Which way a packet goes; rules of RULE_OUT may name an origin. */
enum spd_way { SPD_WAY_IN, SPD_WAY_OUT_LOCAL, SPD_WAY_OUT_FORWARDED, SPD_WAYS };

/*
 * What a packet shows of itself. A later fragment has no ports; if extension headers came with the
 * first, not even its protocol. Rules that ask for what is hidden match then, unless they would let
 * the packet pass in the clear (RFC 4301 7): that is compiled in, there is a tree for each.
 */
enum spd_shows { SPD_SHOWS_ALL, SPD_SHOWS_PROTO, SPD_SHOWS_ADDRESSES, SPD_SHOWS };

#define SPD_TREE(way, family, shows) (((way) * FAMILY_COUNT + (family)) * SPD_SHOWS + (shows))
#define SPD_TREES SPD_TREE(SPD_WAYS, 0, 0)
#define SPD_TREE_WAY(tree) ((tree) / SPD_SHOWS / FAMILY_COUNT)
#define SPD_TREE_FAMILY(tree) ((tree) / SPD_SHOWS % FAMILY_COUNT)

/* A reference: cell << SPD_REF_BITS | number of entries, 0 of which means that it is a node. A
 * reference of 0 stands for nothing. */
#define SPD_REF_BITS 4
#define SPD_REF_ENTRIES(ref) ((ref) & ((1u << SPD_REF_BITS) - 1))
#define SPD_REF_CELL(ref) ((ref) >> SPD_REF_BITS)
#define SPD_REF(cell, entries) ((__u32)(cell) << SPD_REF_BITS | (entries))
#define SPD_LEAF_MAX ((1u << SPD_REF_BITS) - 1)
#define SPD_CELLS_MAX (1u << 24)	/* of a snapshot: 1 GiB */

/* Cells that an entry takes: in IPv6 the addresses have one of their own. */
#define SPD_ENTRY_CELLS(family) ((family) == FAMILY_V4 ? 1 : 2)

/* Trees set aside that may wait on the way to a leaf. */
#define SPD_ASIDE_MAX 4

/* Nodes and entries that a search reads at most; a policy that needs more is refused. */
#define SPD_STEPS_MAX 2048

#define SPD_THRESHOLDS 9

struct spd_head {
	__u32 serial;					/* counts applied policies, from 1 */
	__u32 essential;				/* bits ESSENTIAL(...) */
	__u8 default_action[SPD_DIRECTION_COUNT];	/* SPD_BYPASS or SPD_DISCARD */
	__u8 non_ip_action;				/* the same, for other ethertypes */
	__u8 pad;
	__u32 rules;					/* of the policy; see RULE_COUNT_SLOTS() */
	__u64 upper_used;				/* fields of SPD_UPPER that some rule asks for */
	__u32 cells;					/* of this snapshot */
	__u32 entries;					/* in all its leaves */
	__u32 steps;					/* of the longest search */
	__u32 text_len;					/* octets of canonical JSON in policy_text */
	__u32 nothing;					/* 0 */
	__u32 apps;					/* applications; 0: nobody asks whose a packet is */
	__u64 applied_ns;				/* CLOCK_REALTIME at which it was put here */
	__u64 pad3;
};

struct spd_node {
	__u32 threshold[SPD_THRESHOLDS];	/* greatest value of each child; unused: 0xffffffff */
	__u32 min_rule;				/* the first of the rules in this tree */
	__u32 children;				/* cell of the first */
	__u32 aside;				/* reference: to be searched as well, or 0 */
	__u8 end[SPD_THRESHOLDS + 1];		/* of each child, in cells from `children` */
	__u16 inner;				/* bit of each child that is a node */
	__u8 word, shift, width;		/* what is compared: bits of the query */
	__u8 pad;
};

struct spd_entry {
	__u64 upper_lo, upper_hi;
	__u32 rule;		/* index of the rule in the policy file, from 0 */
	__u32 protect_id;	/* index into out_sa; 0 unless action is SPD_PROTECT (ids start at 1) */
	__u32 remote_lo, remote_hi, local_lo, local_hi;	/* IPv4 */
	__u8 action;		/* enum spd_action */
	__u8 level;		/* enum spd_level */
	__u8 pad[22];
};

/* IPv6: follows the entry. */
struct spd_addresses {
	struct addr128 remote_lo, remote_hi, local_lo, local_hi;
};

/* The cells of a snapshot lie in chunks, the elements of its map: a search that stays within one
 * need not ask the kernel where the next cell is. */
#define SPD_CHUNK_SHIFT 14
#define SPD_CHUNK_CELLS (1u << SPD_CHUNK_SHIFT)
#define SPD_CHUNK_SIZE (SPD_CHUNK_CELLS * 64)
#define SPD_CHUNKS(cells) (((cells) + SPD_CHUNK_CELLS - 1) >> SPD_CHUNK_SHIFT)

/* ---- applications (spd_app.h) -------------------------------------------------------------- */

/* Two cells for each application, its rules' trees and limits; the host is application 0. */
struct spd_app {
	__u32 root[SPD_TREES];	/* references (SPD_REF); what matches nothing here asks the host's trees */
	__u32 first_rule, rules;	/* of the policy */
	__u32 optional_rate;	/* packets per second accepted in the clear; 0: none */
	__u32 flows_max;	/* connections that may be noted at once */
	__u64 name_digest;	/* the same in every policy */
	__u32 pad[32 - SPD_TREES - 6];
};
#define SPD_APP_CELLS 2

/* By which properties an application may ask; a shape is a set of these. The cgroup comes apart. */
enum spd_match { SPD_MATCH_GID = 1, SPD_MATCH_UID = 2, SPD_MATCH_EXE = 4, SPD_MATCH_SHAPES = 8 };

struct spd_apps {
	__u32 count;
	__u32 first;		/* cell of application 1; even, so that none lies in two chunks */
	__u32 buckets;		/* cell of the first struct spd_bucket */
	__u32 bucket_mask;	/* how many there are, a power of two, less 1 */
	__u32 cgroups;		/* bit i: some application names a cgroup at level i; bit 0: none named */
	__u32 units;		/* bit i: ... a unit, which is at level i */
	__u32 shapes;		/* bit of each set of SPD_MATCH_* that some application asks for */
	__u32 pad;
	__u64 seed;		/* of the buckets: chosen so that none overflows */
	__u64 pad2[3];
};

#define SPD_BUCKET_ENTRIES 5

struct spd_bucket {
	__u64 digest[SPD_BUCKET_ENTRIES];	/* 0: empty */
	__u32 app[SPD_BUCKET_ENTRIES];
	__u32 pad;
};

union spd_cell {
	struct spd_head head;
	__u32 root[16];
	struct spd_apps apps;
	struct spd_bucket bucket;
	struct spd_node node;
	struct spd_entry entry;
	struct spd_addresses addresses;
};
_Static_assert(sizeof(union spd_cell) == 64, "a cell is a cache line");

_Static_assert(sizeof(struct spd_app) == SPD_APP_CELLS * 64, "an application takes two cells");

#define SPD_HOST_CELL 1
#define SPD_APPS_CELL (SPD_HOST_CELL + SPD_APP_CELLS)
#define SPD_FIRST_FREE_CELL (SPD_APPS_CELL + 1)

/* Within the cells of a struct spd_app. */
#define SPD_ROOT_CELL(tree) ((tree) / 16)
#define SPD_ROOT_INDEX(tree) ((tree) % 16)

/* ---- flow cache ---------------------------------------------------------------------------- */

/*
 * Verdicts remembered: what the search said of a query, in a tree of a snapshot. Only whole
 * packets; never state, only what could be found out again. What tells a set's flows apart is in
 * one cache line, so that a flow that is not there costs no more.
 */
struct flow_tag {
	__u32 hash;
	__u32 serial;		/* of the policy that said it; 0: empty */
	__u32 used;		/* jiffies, the lower half, of the last packet */
	__u8 again;		/* asked for since it was noted */
	__u8 pad[3];
};

struct flow {
	__u64 word[SPD_WORDS];
	__u32 rule;
	__u32 protect_id;
	__u8 action;		/* enum spd_action */
	__u8 tree;		/* SPD_TREE() */
	__u8 level;		/* enum spd_level */
	__u8 pad;
	__u32 app;
	__u8 pad2[8];
};
_Static_assert(sizeof(struct flow) == 64, "a flow is a cache line");

#define FLOW_WAYS 4

/* Value of the map `flow_cache`. */
struct flow_set {
	struct flow_tag tag[FLOW_WAYS];
	struct flow flow[FLOW_WAYS];
};

#define FLOW_SEEDS (2 * SPD_WORDS)

/* ---- steps --------------------------------------------------------------------------------- */

/* The child that the packet belongs to, 0 to SPD_THRESHOLDS. `word`: the query's node->word. */
static inline __attribute__((always_inline)) __u32 spd_node_child(const struct spd_node *node,
								  __u64 word)
{
	__u64 value = (word >> (node->shift & 63)) & (0xffffffffull >> ((32 - node->width) & 31));
	__u64 child = 0;

	/* No branches: where they would go is as hard to foretell as the packet, and the verifier
	 * would walk them all. The empty asm keeps clang from making comparisons of this. */
	for (int i = 0; i < SPD_THRESHOLDS; i++) {
		__u64 borrow = node->threshold[i] - value;

		asm("" : "+r"(borrow));
		child += borrow >> 63;
	}
	return (__u32)child;
}

/* Are all fields of `upper` within the entry's? Guard bits survive where nothing was borrowed. */
static inline __attribute__((always_inline)) int spd_upper_matches(const struct spd_entry *entry,
								   __u64 upper)
{
	return (((upper | SPD_UPPER_GUARDS) - entry->upper_lo) &
		((entry->upper_hi | SPD_UPPER_GUARDS) - upper) & SPD_UPPER_GUARDS) ==
	       SPD_UPPER_GUARDS;
}

/* Whether packet and entry agree is computed without branches, too, in IPv4: 0 says that they do. */
static inline __attribute__((always_inline)) int
spd_addresses4_differ(const struct spd_entry *entry, const struct spd_query *query)
{
	__u64 remote = (__u32)query->word[SPD_REMOTE_LO] - entry->remote_lo;
	__u64 local = (__u32)query->word[SPD_LOCAL_LO] - entry->local_lo;
	__u64 remote_size = entry->remote_hi - entry->remote_lo;
	__u64 local_size = entry->local_hi - entry->local_lo;

	return (int)(((remote_size - (__u32)remote) | (local_size - (__u32)local)) >> 63);
}

static inline __attribute__((always_inline)) int
spd_less(const __u64 *address, const struct addr128 *than)
{
	return address[0] < than->hi || (address[0] == than->hi && address[1] < than->lo);
}

static inline __attribute__((always_inline)) int
spd_greater(const __u64 *address, const struct addr128 *than)
{
	return address[0] > than->hi || (address[0] == than->hi && address[1] > than->lo);
}

static inline __attribute__((always_inline)) int
spd_addresses6_differ(const struct spd_addresses *at, const struct spd_query *query)
{
	const __u64 *remote = &query->word[SPD_REMOTE_HI], *local = &query->word[SPD_LOCAL_HI];

	return spd_less(remote, &at->remote_lo) || spd_greater(remote, &at->remote_hi) ||
	       spd_less(local, &at->local_lo) || spd_greater(local, &at->local_hi);
}

#endif /* IPSECBPF_SPD_CELL_H */
