/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The naive reference of the classifier: rules as seven ranges, compared one after the other; and tiny
 * worlds, whose rules and packets have so few values that they collide, nest, repeat, touch.
 * Shares no code with the classifier: fields are plain numbers here, not bits of words.
 *
 * Included by: unit/test_spd_tree.c, bpf/spd_walk.c, bpf/flow_cache.c. Same seed, same world.
 */
#ifndef IPSECBPF_LINEAR_H
#define IPSECBPF_LINEAR_H

#include "rulegen_internal.h"

enum linear_field {
	FIELD_REMOTE,
	FIELD_LOCAL,
#define X(id, shift, width) FIELD_##id,
	SPD_UPPER_FIELDS(X)
#undef X
	FIELD_COUNT
};

/* A packet: the value of each field. */
struct linear_packet {
	gen_number at[FIELD_COUNT];
};

/* A rule, or a part of one: those of a set are sorted by `rule`. */
struct linear_rule {
	gen_number lo[FIELD_COUNT], hi[FIELD_COUNT];
	uint32_t rule, protect_id;
	uint8_t action;		/* enum spd_action */
};

struct linear_set {
	enum ip_family family;
	struct linear_rule *rules;
	size_t count;
};

/* The greatest value of a field. */
gen_number linear_max(enum ip_family family, enum linear_field field);

/* The first rule that matches, or NULL. */
const struct linear_rule *linear_search(const struct linear_set *set,
					const struct linear_packet *packet);

/* A set of a tiny world: 1 to `most` rules in `rules`, which is the caller's. */
#define WORLD_RULES	60	/* of most worlds */
#define WORLD_RULES_MAX 600	/* of some: these have nodes below nodes */
void linear_draw(struct linear_set *set, struct linear_rule *rules, size_t most,
		 enum ip_family family, struct gen_random *random);

/* `count` rules that ask for all fields, then for all but one, and so on: under a tree that is set
 * aside there is one to be set aside again, until SPD_ASIDE_MAX of them wait. */
void linear_draw_some_fields(struct linear_set *set, struct linear_rule *rules, size_t count,
			     enum ip_family family, struct gen_random *random);

/* A packet at the corners of some rules, within one, or anywhere. set->count > 0. */
struct linear_packet linear_draw_packet(const struct linear_set *set, struct gen_random *random);

/* What spd_tree_build() takes; `boxes` has room for set->count. */
void linear_boxes(const struct linear_set *set, struct spd_box *boxes);
struct spd_query linear_query(const struct linear_packet *packet);

/* The other way round: for sets of rulegen. `rules` has room for `count`. */
void linear_from_boxes(const struct spd_box *boxes, size_t count, struct linear_rule *rules);

/* For a failure: the packet, field by field. */
void linear_print_packet(const struct linear_packet *packet);
void linear_print_set(const struct linear_set *set);

/* A number from the environment: SEED, ROUNDS. */
uint64_t linear_environment(const char *name, uint64_t otherwise);

#endif /* IPSECBPF_LINEAR_H */
