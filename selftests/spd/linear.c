// SPDX-License-Identifier: BSD-2-Clause
#include "linear.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

gen_number linear_max(enum ip_family family, enum linear_field field)
{
	static const unsigned int widths[] = {
#define X(id, shift, width) width,
		SPD_UPPER_FIELDS(X)
#undef X
	};

	if (field == FIELD_REMOTE || field == FIELD_LOCAL)
		return gen_host_mask(family, 0);
	return ((gen_number)1 << widths[field - FIELD_LOCAL - 1]) - 1;
}

static bool matches(const struct linear_rule *rule, const struct linear_packet *packet)
{
	for (int field = 0; field < FIELD_COUNT; field++)
		if (packet->at[field] < rule->lo[field] || packet->at[field] > rule->hi[field])
			return false;
	return true;
}

const struct linear_rule *linear_search(const struct linear_set *set,
					const struct linear_packet *packet)
{
	for (size_t i = 0; i < set->count; i++)
		if (matches(&set->rules[i], packet))
			return &set->rules[i];
	return NULL;
}

/* ---- to and from what the classifier takes --------------------------------------------------- */

static const unsigned int shifts[] = {
#define X(id, shift, width) shift,
	SPD_UPPER_FIELDS(X)
#undef X
};

static struct spd_query query_of(const gen_number *at)
{
	struct spd_query query = { .word = {
		[SPD_REMOTE_HI] = (uint64_t)(at[FIELD_REMOTE] >> 64),
		[SPD_REMOTE_LO] = (uint64_t)at[FIELD_REMOTE],
		[SPD_LOCAL_HI] = (uint64_t)(at[FIELD_LOCAL] >> 64),
		[SPD_LOCAL_LO] = (uint64_t)at[FIELD_LOCAL],
	} };

	for (int field = FIELD_LOCAL + 1; field < FIELD_COUNT; field++)
		query.word[SPD_UPPER] |= (uint64_t)at[field] << shifts[field - FIELD_LOCAL - 1];
	return query;
}

static void numbers_of(const struct spd_query *query, gen_number *at)
{
	const __u64 *word = query->word;

	at[FIELD_REMOTE] = (gen_number)word[SPD_REMOTE_HI] << 64 | word[SPD_REMOTE_LO];
	at[FIELD_LOCAL] = (gen_number)word[SPD_LOCAL_HI] << 64 | word[SPD_LOCAL_LO];
	for (int field = FIELD_LOCAL + 1; field < FIELD_COUNT; field++)
		at[field] = query->word[SPD_UPPER] >> shifts[field - FIELD_LOCAL - 1] &
			    (uint64_t)linear_max(FAMILY_V6, (enum linear_field)field);
}

struct spd_query linear_query(const struct linear_packet *packet)
{
	return query_of(packet->at);
}

void linear_boxes(const struct linear_set *set, struct spd_box *boxes)
{
	for (size_t i = 0; i < set->count; i++)
		boxes[i] = (struct spd_box){
			.lo = query_of(set->rules[i].lo),
			.hi = query_of(set->rules[i].hi),
			.rule = set->rules[i].rule,
			.protect_id = set->rules[i].protect_id,
			.action = set->rules[i].action,
		};
}

void linear_from_boxes(const struct spd_box *boxes, size_t count, struct linear_rule *rules)
{
	for (size_t i = 0; i < count; i++) {
		rules[i] = (struct linear_rule){
			.rule = boxes[i].rule,
			.protect_id = boxes[i].protect_id,
			.action = boxes[i].action,
		};
		numbers_of(&boxes[i].lo, rules[i].lo);
		numbers_of(&boxes[i].hi, rules[i].hi);
	}
}

/* ---- tiny worlds ----------------------------------------------------------------------------- */

/* The values that a field has in a world: base, and a few bits at two places above it. */
struct axis {
	gen_number base, max;
	unsigned int shift[2];	/* where the bits are */
	unsigned int bits;	/* how many, at each place */
	unsigned int any;	/* per cent of rules that do not ask for it */
};

struct world {
	struct axis axes[FIELD_COUNT];
	struct gen_random *random;
};

/* 0, the greatest value, somewhere, or just before a place where words and windows meet. */
static gen_number draw_base(struct gen_random *random, gen_number max)
{
	static const unsigned int seams[] = { 8, 31, 32, 33, 63, 64, 65, 96, 127 };
	gen_number anywhere = ((gen_number)gen_next(random) << 64 | gen_next(random)) & max;
	unsigned int seam = seams[gen_below(random, sizeof(seams) / sizeof(seams[0]))];

	switch (gen_below(random, 4)) {
	case 0:
		return 0;
	case 1:
		return max - gen_below(random, 40) % (max + (max != ~(gen_number)0));
	case 2:
		return (((anywhere >> seam) << seam) - gen_below(random, 20)) & max;
	default:
		return anywhere;
	}
}

static unsigned int draw_shift(struct gen_random *random, gen_number max)
{
	static const uint8_t some[] = { 0, 0, 0, 1, 4, 16, 28, 30, 31, 32, 33, 48, 60, 62, 63, 64,
					65, 80, 94, 95, 96, 97, 112, 120 };
	unsigned int shift;

	do {
		shift = some[gen_below(random, sizeof(some))];
	} while (!(max >> shift >> 3) && shift);
	return shift;
}

static struct axis draw_axis(struct gen_random *random, gen_number max)
{
	static const uint8_t any[] = { 0, 15, 50, 85, 100 };

	return (struct axis){
		.base = draw_base(random, max),
		.max = max,
		.shift = { draw_shift(random, max), draw_shift(random, max) },
		.bits = (unsigned int)gen_below(random, 5),
		.any = any[gen_below(random, sizeof(any))],
	};
}

/* Everything in one address, around its middle: nodes upon nodes that ask for bits there. */
static void crowd(struct axis *axis, struct gen_random *random)
{
	axis->any = 0;
	axis->bits = 6;
	axis->shift[0] = (unsigned int)gen_between(random, 56, 70);
	axis->shift[1] = (unsigned int)gen_between(random, 20, 100);
}

static gen_number draw_value(const struct axis *axis, struct gen_random *random)
{
	gen_number values = (gen_number)1 << axis->bits;
	gen_number value = axis->base;

	value += (gen_number)gen_below(random, (uint64_t)values) << axis->shift[0];
	if (gen_percent(random, 40))
		value += (gen_number)gen_below(random, (uint64_t)values) << axis->shift[1];
	return value & axis->max;
}

/* From a value to the end of its prefix, to another, to an end of all; or all. */
static void draw_range(const struct axis *axis, struct gen_random *random, gen_number *lo,
		       gen_number *hi)
{
	gen_number a = draw_value(axis, random), b = draw_value(axis, random);
	unsigned int shift = axis->shift[gen_below(random, 2)];

	*lo = 0;
	*hi = axis->max;
	if (gen_percent(random, axis->any))
		return;
	switch (gen_below(random, 8)) {
	case 0:
		*lo = a;
		break;
	case 1:
		*hi = a;
		break;
	case 2:
	case 3:
		*lo = *hi = a;
		break;
	case 4:
		*lo = a >> shift << shift;
		*hi = (*lo | (((gen_number)1 << shift) - 1)) & axis->max;
		break;
	default:
		*lo = a < b ? a : b;
		*hi = a < b ? b : a;
	}
}

/* Like an earlier one, in all fields, in some, or moved to touch it. */
static void draw_relative(struct linear_rule *rule, const struct linear_rule *of,
			  const struct world *world)
{
	struct gen_random *random = world->random;

	for (int field = 0; field < FIELD_COUNT; field++) {
		gen_number max = world->axes[field].max;

		if (gen_percent(random, 30))
			continue;
		rule->lo[field] = of->lo[field];
		rule->hi[field] = of->hi[field];
		if (gen_percent(random, 80))
			continue;
		if (gen_percent(random, 50) && of->hi[field] < max) {
			rule->lo[field] = of->hi[field] + 1;
			rule->hi[field] = gen_percent(random, 50) ? max : rule->lo[field];
		} else if (of->lo[field]) {
			rule->hi[field] = of->lo[field] - 1;
			rule->lo[field] = gen_percent(random, 50) ? 0 : rule->hi[field];
		}
	}
}

void linear_draw(struct linear_set *set, struct linear_rule *rules, size_t most,
		 enum ip_family family, struct gen_random *random)
{
	size_t count = 1 + gen_below(random, gen_below(random, most) + 1);
	struct world world = { .random = random };

	*set = (struct linear_set){ .family = family, .rules = rules, .count = count };
	for (int field = 0; field < FIELD_COUNT; field++)
		world.axes[field] =
			draw_axis(random, linear_max(family, (enum linear_field)field));
	if (family == FAMILY_V6 && gen_percent(random, 30))
		crowd(&world.axes[gen_below(random, 2)], random);
	for (size_t i = 0; i < count; i++) {
		/* A rule may be of several boxes. */
		bool goes_on = i && gen_percent(random, 20);

		rules[i] = (struct linear_rule){
			.rule = i ? rules[i - 1].rule + !goes_on : 0,
			.protect_id = (uint32_t)gen_below(random, 1u << 20),
			.action = (uint8_t)gen_below(random, SPD_ACTION_COUNT),
		};
		for (int field = 0; field < FIELD_COUNT; field++)
			draw_range(&world.axes[field], random, &rules[i].lo[field],
				   &rules[i].hi[field]);
		if (i && gen_percent(random, 30))
			draw_relative(&rules[i], &rules[gen_below(random, i)], &world);
		if (goes_on) {
			rules[i].protect_id = rules[i - 1].protect_id;
			rules[i].action = rules[i - 1].action;
		}
	}
}

void linear_draw_some_fields(struct linear_set *set, struct linear_rule *rules, size_t count,
			     enum ip_family family, struct gen_random *random)
{
	*set = (struct linear_set){ .family = family, .rules = rules, .count = count };
	for (size_t i = 0; i < count; i++) {
		size_t any = i * FIELD_COUNT / count;

		rules[i] = (struct linear_rule){
			.rule = (uint32_t)i,
			.protect_id = (uint32_t)i,
			.action = (uint8_t)gen_below(random, SPD_ACTION_COUNT),
		};
		for (size_t field = 0; field < FIELD_COUNT; field++) {
			rules[i].hi[field] = linear_max(family, (enum linear_field)field);
			if (gen_below(random, FIELD_COUNT - field) < any)
				any--;
			else
				rules[i].lo[field] = rules[i].hi[field] = gen_below(random, 6);
		}
	}
}

/* ---- packets --------------------------------------------------------------------------------- */

/* A value at, or one beside, an end of the rule's range; or anywhere in it. */
static gen_number corner(const struct linear_rule *rule, int field, gen_number max,
			 struct gen_random *random)
{
	gen_number lo = rule->lo[field], hi = rule->hi[field];
	gen_number anywhere = (gen_number)gen_next(random) << 64 | gen_next(random);

	switch (gen_below(random, 8)) {
	case 0:
		return (lo - 1) & max;
	case 1:
		return (hi + 1) & max;
	case 2:
	case 3:
		return lo;
	case 4:
	case 5:
		return hi;
	default:
		return hi - lo == ~(gen_number)0 ? anywhere : lo + anywhere % (hi - lo + 1);
	}
}

static gen_number inside(const struct linear_rule *rule, int field, struct gen_random *random)
{
	gen_number lo = rule->lo[field], span = rule->hi[field] - lo;
	gen_number anywhere = (gen_number)gen_next(random) << 64 | gen_next(random);

	if (gen_percent(random, 40))
		return gen_percent(random, 50) ? lo : rule->hi[field];
	return span == ~(gen_number)0 ? anywhere : lo + anywhere % (span + 1);
}

struct linear_packet linear_draw_packet(const struct linear_set *set, struct gen_random *random)
{
	const struct linear_rule *rule = &set->rules[gen_below(random, set->count)];
	unsigned int mixed = (unsigned int)gen_below(random, 4) * 15;
	bool within = gen_percent(random, 50);
	struct linear_packet packet;

	for (int field = 0; field < FIELD_COUNT; field++) {
		gen_number max = linear_max(set->family, (enum linear_field)field);
		const struct linear_rule *of =
			gen_percent(random, mixed) ? &set->rules[gen_below(random, set->count)] :
						     rule;

		packet.at[field] = within ? inside(of, field, random) :
					    corner(of, field, max, random);
	}
	return packet;
}

/* ---- for failures ---------------------------------------------------------------------------- */

static void print_number(gen_number number)
{
	if (number >> 64)
		printf("%" PRIx64 "_%016" PRIx64, (uint64_t)(number >> 64), (uint64_t)number);
	else
		printf("%" PRIx64, (uint64_t)number);
}

void linear_print_packet(const struct linear_packet *packet)
{
	for (int field = 0; field < FIELD_COUNT; field++) {
		fputc(' ', stdout);
		print_number(packet->at[field]);
	}
	fputc('\n', stdout);
}

void linear_print_set(const struct linear_set *set)
{
	for (size_t i = 0; i < set->count && i < WORLD_RULES_MAX; i++) {
		printf("  %u:", set->rules[i].rule);
		for (int field = 0; field < FIELD_COUNT; field++) {
			fputc(' ', stdout);
			print_number(set->rules[i].lo[field]);
			fputc('-', stdout);
			print_number(set->rules[i].hi[field]);
		}
		fputc('\n', stdout);
	}
}

uint64_t linear_environment(const char *name, uint64_t otherwise)
{
	const char *text = getenv(name);
	uint64_t number;
	char *end;

	if (!text || !*text)
		return otherwise;
	number = strtoull(text, &end, 0);
	if (*end) {
		fprintf(stderr, "%s=%s is not a number\n", name, text);
		exit(2);
	}
	return number;
}
