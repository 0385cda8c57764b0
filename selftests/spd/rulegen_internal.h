/* SPDX-License-Identifier: BSD-2-Clause */
/* What the parts of the generator share. Included by: selftests/spd/rulegen*.c. */
#ifndef IPSECBPF_RULEGEN_INTERNAL_H
#define IPSECBPF_RULEGEN_INTERNAL_H

#include "rulegen.h"

#define ANY_PROTO ((struct gen_span){ 0, 255 })
#define ANY_PORT ((struct gen_span){ 0, 65535 })
#define ANY_VLAN ((struct gen_span){ 0, 4095 })
#define ANY_DSCP ((struct gen_span){ 0, 63 })

enum { PROTO_OF_ICMP = 1, PROTO_OF_TCP = 6, PROTO_OF_UDP = 17, PROTO_OF_ICMPV6 = 58 };

/* ---- random numbers: SplitMix64 (Steele, Lea, Flood: "Fast Splittable PRNGs", 2014) ---- */

struct gen_random {
	uint64_t state;
};

/* Its finalizer: a bijection of 64 bits; each bit of the input touches all of the output. */
static inline uint64_t gen_mix(uint64_t x)
{
	x = (x ^ x >> 30) * 0xbf58476d1ce4e5b9ull;
	x = (x ^ x >> 27) * 0x94d049bb133111ebull;
	return x ^ x >> 31;
}

static inline uint64_t gen_next(struct gen_random *random)
{
	return gen_mix(random->state += 0x9e3779b97f4a7c15ull);
}

/* 0 to bound - 1; bound > 0. */
static inline uint64_t gen_below(struct gen_random *random, uint64_t bound)
{
	return (uint64_t)((unsigned __int128)gen_next(random) * bound >> 64);
}

static inline bool gen_percent(struct gen_random *random, unsigned int percent)
{
	return gen_below(random, 100) < percent;
}

/* lo to hi, both included. */
static inline uint64_t gen_between(struct gen_random *random, uint64_t lo, uint64_t hi)
{
	return lo || hi != UINT64_MAX ? lo + gen_below(random, hi - lo + 1) : gen_next(random);
}

/* ---- addresses as numbers ---- */

typedef unsigned __int128 gen_number;

static inline gen_number gen_to_number(struct addr128 addr)
{
	return (gen_number)addr.hi << 64 | addr.lo;
}

static inline struct addr128 gen_to_addr(gen_number number)
{
	return (struct addr128){ .hi = (uint64_t)(number >> 64), .lo = (uint64_t)number };
}

static inline unsigned int gen_bits(enum ip_family family)
{
	return family == FAMILY_V4 ? 32 : 128;
}

/* The host bits of a prefix of `len` bits, all set. */
static inline gen_number gen_host_mask(enum ip_family family, unsigned int len)
{
	unsigned int host = gen_bits(family) - len;

	return host == 128 ? ~(gen_number)0 : ((gen_number)1 << host) - 1;
}

/* ---- shapes (rulegen_shapes.c) ---- */

enum port_class { PORT_ANY, PORT_LOW, PORT_HIGH, PORT_RANGE, PORT_ONE, PORT_CLASS_COUNT };
enum proto_class { IS_TCP, IS_UDP, IS_ICMP, IS_ANY, IS_OTHER, PROTO_CLASS_COUNT };

#define LENGTHS_MAX 12

/* One of a few prefix lengths, with its share. */
struct gen_lengths {
	uint8_t len[LENGTHS_MAX];
	uint8_t share[LENGTHS_MAX];	/* they end where it is 0 */
};

/* Shares are relative to their sum. */
struct gen_shape {
	const struct gen_lengths *remote, *local;	/* of each family */
	uint8_t proto[PROTO_CLASS_COUNT];
	uint8_t remote_port[PORT_CLASS_COUNT], local_port[PORT_CLASS_COUNT];
	uint8_t action[SPD_ACTION_COUNT];
	uint8_t skew;		/* per cent, of the prefix tree */
	uint8_t correlated;	/* per cent of rules whose sides share leading bits */
	uint8_t own_addresses;	/* local is one of so many; 0: drawn from the tree */
	/* Per cent of rules whose side is that of an earlier one. Who has many rules gets more. */
	uint8_t remote_again, local_again;
};

extern const struct gen_shape gen_shapes[GEN_ADVERSE];

/* Index of one of `count` shares. */
size_t gen_pick(struct gen_random *random, const uint8_t *shares, size_t count);
uint16_t gen_service(struct gen_random *random);
struct gen_span gen_service_range(struct gen_random *random);

/* ---- drawing (rulegen_draw.c, rulegen_adverse.c) ---- */

struct gen_drawing {
	const struct gen_options *options;
	const struct gen_shape *shape;	/* NULL: GEN_ADVERSE */
	struct gen_random random;
	const struct gen_rule *rules;	/* found so far */
	size_t index;			/* their number */
	size_t wide;			/* the first of them are the last rules, which are any */
	unsigned int failures;		/* in a row: the rule drawn was there already */
};

/* Walks down the prefix tree from `from`, of which `from_len` bits are given, to `len` bits. */
gen_number gen_walk(struct gen_drawing *drawing, gen_number from, unsigned int from_len,
		    unsigned int len);
void gen_selector_any(struct gen_selector *selector, enum ip_family family);
void gen_draw(struct gen_drawing *drawing, struct gen_selector *ret_selector);
void gen_draw_adverse(struct gen_drawing *drawing, struct gen_selector *ret_selector);

#endif /* IPSECBPF_RULEGEN_INTERNAL_H */
