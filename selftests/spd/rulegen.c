// SPDX-License-Identifier: BSD-2-Clause
/* A rule set: drawn until there are enough different rules, ordered, given actions and peers. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "rulegen_internal.h"

/* ---- different rules ---- */

/* Open addressing over the set's rules, by selector: index + 1, 0 for a free place. */
struct seen {
	uint32_t *places;
	size_t mask;
};

static uint64_t selector_hash(const struct gen_selector *selector)
{
	uint64_t words[sizeof(*selector) / sizeof(uint64_t) + 1] = { 0 }, hash = 0;

	memcpy(words, selector, sizeof(*selector));
	for (size_t i = 0; i < sizeof(words) / sizeof(words[0]); i++)
		hash = gen_mix(hash ^ words[i]) + i;
	return hash;
}

static bool same_selector(const struct gen_selector *a, const struct gen_selector *b)
{
	_Static_assert(sizeof(*a) == 64 + 5 * sizeof(struct gen_span) + 4, "only a pad at the end");

	return !memcmp(a, b, offsetof(struct gen_selector, dscp) + sizeof(a->dscp));
}

/* Adds the selector as the set's next rule, unless it is there. */
static bool add_rule(struct gen_set *set, struct seen *seen, const struct gen_selector *selector)
{
	struct gen_selector clean;
	size_t at;

	memset(&clean, 0, sizeof(clean));	/* the pad as well: it is hashed */
	memcpy(&clean, selector, offsetof(struct gen_selector, dscp) + sizeof(clean.dscp));
	at = selector_hash(&clean) & seen->mask;
	for (; seen->places[at]; at = (at + 1) & seen->mask)
		if (same_selector(&set->rules[seen->places[at] - 1].selector, &clean))
			return false;
	memcpy(&set->rules[set->count].selector, &clean, sizeof(clean));
	seen->places[at] = (uint32_t)++set->count;
	return true;
}

/* The last rules of a file: what is left of ICMP, of connections from inside, of everything. */
static void add_wide_rules(struct gen_set *set, struct seen *seen)
{
	enum ip_family family = set->options.family;
	uint16_t icmp = family == FAMILY_V4 ? PROTO_OF_ICMP : PROTO_OF_ICMPV6;
	struct gen_selector selector;

	gen_selector_any(&selector, family);
	add_rule(set, seen, &selector);
	if (set->options.rules < 10 || set->options.kind == GEN_ADVERSE)
		return;
	selector.proto = (struct gen_span){ icmp, icmp };
	add_rule(set, seen, &selector);
	selector.proto = (struct gen_span){ PROTO_OF_TCP, PROTO_OF_TCP };
	selector.local_port = (struct gen_span){ 1024, 65535 };
	add_rule(set, seen, &selector);
}

static void draw_link_layer(struct gen_random *random, struct gen_selector *selector)
{
	static const uint8_t classes[] = { 46, 34, 26, 18, 10, 48, 8, 0 };

	if (gen_percent(random, 4))
		selector->vlan.lo = selector->vlan.hi = (uint16_t)gen_between(random, 1, 200);
	if (gen_percent(random, 4))
		selector->dscp.lo = selector->dscp.hi = classes[gen_below(random, sizeof(classes))];
}

static int draw_rules(struct gen_set *set)
{
	struct gen_drawing drawing = {
		.options = &set->options,
		.shape = set->options.kind == GEN_ADVERSE ? NULL : &gen_shapes[set->options.kind],
		.random.state = gen_mix(set->options.seed * GEN_KIND_COUNT + set->options.kind),
		.rules = set->rules,
	};
	struct gen_selector selector;
	struct seen seen = { .mask = 16 };

	while (seen.mask < set->options.rules * 2)
		seen.mask *= 2;
	seen.places = calloc(seen.mask, sizeof(*seen.places));
	if (!seen.places)
		return -ENOMEM;
	seen.mask--;
	add_wide_rules(set, &seen);
	drawing.wide = set->count;
	while (set->count < set->options.rules) {
		drawing.index = set->count;
		if (set->options.kind == GEN_ADVERSE)
			gen_draw_adverse(&drawing, &selector);
		else
			gen_draw(&drawing, &selector);
		if (set->options.flags & GEN_VLAN_DSCP)
			draw_link_layer(&drawing.random, &selector);
		drawing.failures = add_rule(set, &seen, &selector) ? 0 : drawing.failures + 1;
	}
	free(seen.places);
	return 0;
}

/* ---- order ---- */

/*
 * Rules of one site stand together; later levels are for rules too wide to belong to one. Nothing
 * in a group covers anything in another of its level or in a later level, and within a group the
 * rules go by a measure that grows with each selector.
 */
enum level { LEVEL_SITE, LEVEL_NETWORK, LEVEL_LOCAL_SITE, LEVEL_WIDE };

struct place {
	enum level level;
	uint64_t group, measure, tie;
	size_t rule;
};

/* The prefix of `len` bits that the range lies in, or 0 if in none. */
static bool group_of(enum ip_family family, struct addr128 lo, struct addr128 hi, unsigned int len,
		     uint64_t *ret_group)
{
	unsigned int shift = gen_bits(family) - len;
	gen_number prefix = gen_to_number(lo) >> shift;

	if (prefix != gen_to_number(hi) >> shift)
		return false;
	*ret_group = (uint64_t)prefix;
	return true;
}

/* Grows strictly with x, roughly with its logarithm: its bits, then those behind the first one. */
static uint64_t logarithm(gen_number x)
{
	unsigned int bits = 0;

	if (!x)
		return 0;
	for (gen_number rest = x; rest; rest >>= 1)
		bits++;
	x <<= 128 - bits;
	return (uint64_t)bits << 32 | (uint64_t)(x << 1 >> 96);
}

static uint64_t span_logarithm(struct gen_span span)
{
	return logarithm((gen_number)(span.hi - span.lo));
}

/* How wide the rule is, in a group whose hash is `weights`: some sites care more for addresses. */
static uint64_t measure(const struct gen_selector *selector, uint64_t weights)
{
	uint64_t remote = logarithm(gen_to_number(selector->remote_hi) -
				    gen_to_number(selector->remote_lo));
	uint64_t local = logarithm(gen_to_number(selector->local_hi) -
				   gen_to_number(selector->local_lo));

	return remote * (1 + (weights & 7)) + local * (1 + (weights >> 3 & 7)) +
	       span_logarithm(selector->remote_port) * (1 + (weights >> 6 & 7)) +
	       span_logarithm(selector->local_port) * (1 + (weights >> 9 & 7)) +
	       span_logarithm(selector->proto) * (1 + (weights >> 12 & 7)) +
	       span_logarithm(selector->vlan) + span_logarithm(selector->dscp);
}

static struct place place_of(const struct gen_set *set, size_t index)
{
	const struct gen_selector *selector = &set->rules[index].selector;
	enum ip_family family = set->options.family;
	unsigned int site = family == FAMILY_V4 ? 16 : 48, network = family == FAMILY_V4 ? 8 : 32;
	struct place place = { .rule = index };

	if (group_of(family, selector->remote_lo, selector->remote_hi, site, &place.group))
		place.level = LEVEL_SITE;
	else if (group_of(family, selector->remote_lo, selector->remote_hi, network, &place.group))
		place.level = LEVEL_NETWORK;
	else if (group_of(family, selector->local_lo, selector->local_hi, site, &place.group))
		place.level = LEVEL_LOCAL_SITE;
	else
		place.level = LEVEL_WIDE;
	/* A bijection: groups are shuffled, and stay apart. */
	place.group = gen_mix(place.group + set->options.seed);
	place.measure = measure(selector, place.group);
	place.tie = gen_mix(index ^ set->options.seed);
	return place;
}

static int compare_places(const void *a, const void *b)
{
	const struct place *x = a, *y = b;

	if (x->level != y->level)
		return x->level < y->level ? -1 : 1;
	if (x->group != y->group)
		return x->group < y->group ? -1 : 1;
	if (x->measure != y->measure)
		return x->measure < y->measure ? -1 : 1;
	return x->tie < y->tie ? -1 : x->tie > y->tie;
}

static int order_rules(struct gen_set *set)
{
	struct place *places = calloc(set->count, sizeof(*places));
	struct gen_rule *ordered = calloc(set->count, sizeof(*ordered));
	int err = -ENOMEM;

	if (!places || !ordered)
		goto out;
	for (size_t i = 0; i < set->count; i++)
		places[i] = place_of(set, i);
	qsort(places, set->count, sizeof(*places), compare_places);
	for (size_t i = 0; i < set->count; i++) {
		ordered[i] = set->rules[places[i].rule];
		snprintf(ordered[i].name, sizeof(ordered[i].name), "r%u", (uint32_t)i + 1);
	}
	memcpy(set->rules, ordered, set->count * sizeof(*ordered));
	err = 0;
out:
	free(ordered);
	free(places);
	return err;
}

/* Copies of earlier selectors, or parts of them. */
static void make_unreachable(struct gen_set *set, struct gen_random *random)
{
	for (size_t i = 1; i < set->count; i++) {
		struct gen_selector *selector = &set->rules[i].selector;

		if (!gen_percent(random, 10))
			continue;
		*selector = set->rules[gen_below(random, i)].selector;
		if (gen_percent(random, 50))
			selector->remote_hi = selector->remote_lo;
	}
}

/* ---- what is done with the packets ---- */

/* Peers in transport mode at most, and gateways of tunnels. */
#define HOSTS_MAX 160
#define GATEWAYS_MAX 64

/* RFC 2544 and RFC 5180: for benchmarks, so that no rule's own addresses come from there. */
static gen_number gateway_address(enum ip_family family, uint32_t index)
{
	gen_number block = family == FAMILY_V4 ? (gen_number)198 << 24 | 18 << 16 :
						 (gen_number)0x20010002 << 96;

	return block + 1 + index;
}

static bool is_one(struct addr128 lo, struct addr128 hi)
{
	return lo.hi == hi.hi && lo.lo == hi.lo;
}

/* The peer with this address; if there is none it is made, or GEN_NO_RULE if there are enough. */
static uint32_t peer_of(struct gen_set *set, struct addr128 addr, size_t *room)
{
	for (size_t i = 0; i < set->peer_count; i++)
		if (is_one(set->peers[i], addr))
			return (uint32_t)i;
	if (!*room)
		return GEN_NO_RULE;
	(*room)--;
	set->peers[set->peer_count] = addr;
	return (uint32_t)set->peer_count++;
}

/* A host talks for itself in transport mode; behind a gateway lies its site. */
static void protect(struct gen_set *set, struct gen_rule *rule, size_t *host_room,
		    size_t *gateway_room)
{
	enum ip_family family = set->options.family;
	const struct gen_selector *selector = &rule->selector;
	uint64_t site = gen_to_number(selector->remote_lo) >> (family == FAMILY_V4 ? 16 : 80);
	gen_number gateway;

	rule->action = SPD_PROTECT;
	rule->peer = GEN_NO_RULE;
	if (is_one(selector->remote_lo, selector->remote_hi))
		rule->peer = peer_of(set, selector->remote_lo, host_room);
	if (rule->peer != GEN_NO_RULE) {
		rule->protection = gen_mix(rule->peer) % 8 ? GEN_TRANSPORT : GEN_AUTHENTICATION;
		return;
	}
	gateway = gateway_address(family, (uint32_t)(gen_mix(site) % GATEWAYS_MAX));
	rule->peer = peer_of(set, gen_to_addr(gateway), gateway_room);
	rule->protection = GEN_TUNNEL;
}

static int give_actions(struct gen_set *set, struct gen_random *random)
{
	static const uint8_t adverse[SPD_ACTION_COUNT] = { 50, 30, 20 };
	const uint8_t *shares = set->options.kind == GEN_ADVERSE ?
					adverse : gen_shapes[set->options.kind].action;
	size_t host_room = HOSTS_MAX, gateway_room = GATEWAYS_MAX;

	set->peers = calloc(HOSTS_MAX + GATEWAYS_MAX, sizeof(*set->peers));
	if (!set->peers)
		return -ENOMEM;
	for (size_t i = 0; i < set->count; i++) {
		struct gen_rule *rule = &set->rules[i];

		rule->action = (enum spd_action)gen_pick(random, shares, SPD_ACTION_COUNT);
		if (rule->action == SPD_PROTECT)
			protect(set, rule, &host_room, &gateway_room);
	}
	/* What nobody thought of. */
	set->rules[set->count - 1].action = SPD_DISCARD;
	set->rules[set->count - 1].peer = 0;
	return 0;
}

/* ---- the set ---- */

static bool in_range(const struct gen_options *options)
{
	return (unsigned int)options->kind < GEN_KIND_COUNT &&
	       (unsigned int)options->family < FAMILY_COUNT && options->rules &&
	       options->rules <= GEN_RULES_MAX && options->skew <= 100 && options->smooth <= 64 &&
	       options->scope >= -100 && options->scope <= 100 &&
	       !(options->flags & ~(GEN_UNREACHABLE | GEN_VLAN_DSCP));
}

int gen_set_init(struct gen_set *set, const struct gen_options *options)
{
	struct gen_random random = { gen_mix(~options->seed) };
	int err;

	if (!in_range(options))
		return -EINVAL;
	*set = (struct gen_set){ .options = *options };
	set->rules = calloc(options->rules, sizeof(*set->rules));
	err = set->rules ? draw_rules(set) : -ENOMEM;
	if (!err)
		err = order_rules(set);
	if (!err && options->flags & GEN_UNREACHABLE)
		make_unreachable(set, &random);
	if (!err)
		err = give_actions(set, &random);
	if (err)
		gen_set_fini(set);
	return err;
}

void gen_set_fini(struct gen_set *set)
{
	free(set->rules);
	free(set->peers);
	*set = (struct gen_set){ 0 };
}

/* ---- boxes ---- */

static uint64_t upper_word(uint16_t remote_port, uint16_t local_port, uint16_t proto, uint16_t vlan,
			   uint16_t dscp)
{
	return SPD_UPPER_FIELD(REMOTE_PORT, remote_port) | SPD_UPPER_FIELD(LOCAL_PORT, local_port) |
	       SPD_UPPER_FIELD(PROTO, proto) | SPD_UPPER_FIELD(VLAN, vlan) |
	       SPD_UPPER_FIELD(DSCP, dscp);
}

static struct spd_box box_of(const struct gen_rule *rule, size_t index)
{
	const struct gen_selector *s = &rule->selector;

	return (struct spd_box){
		.lo.word = {
			[SPD_REMOTE_HI] = s->remote_lo.hi, [SPD_REMOTE_LO] = s->remote_lo.lo,
			[SPD_LOCAL_HI] = s->local_lo.hi, [SPD_LOCAL_LO] = s->local_lo.lo,
			[SPD_UPPER] = upper_word(s->remote_port.lo, s->local_port.lo, s->proto.lo,
						 s->vlan.lo, s->dscp.lo),
		},
		.hi.word = {
			[SPD_REMOTE_HI] = s->remote_hi.hi, [SPD_REMOTE_LO] = s->remote_hi.lo,
			[SPD_LOCAL_HI] = s->local_hi.hi, [SPD_LOCAL_LO] = s->local_hi.lo,
			[SPD_UPPER] = upper_word(s->remote_port.hi, s->local_port.hi, s->proto.hi,
						 s->vlan.hi, s->dscp.hi),
		},
		.rule = (uint32_t)index,
		.protect_id = rule->action != SPD_PROTECT ?
				      0 : 1 + rule->peer * GEN_PROTECTION_COUNT + rule->protection,
		.action = (uint8_t)rule->action,
	};
}

int gen_set_boxes(const struct gen_set *set, struct spd_box **ret_boxes)
{
	struct spd_box *boxes = calloc(set->count, sizeof(*boxes));

	if (!boxes)
		return -ENOMEM;
	for (size_t i = 0; i < set->count; i++)
		boxes[i] = box_of(&set->rules[i], i);
	*ret_boxes = boxes;
	return 0;
}
