// SPDX-License-Identifier: BSD-2-Clause
/* Reassembly of what chance makes: against a slow model of it, and with octets replaced. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>

#include <cmocka.h>

#include "reassembling.h"

/* A model of one packet: which fragment each octet is of. */
struct model {
	uint8_t owner[512];
	struct range ranges[256];
	uint32_t count, end, total;
	bool dead;
};

enum outcome { KEPT, DROPPED, WHOLE, TWICE };

static enum outcome model_add(struct model *model, const struct range *range)
{
	uint32_t end = range->off + range->len;
	bool overlap = false;

	for (uint32_t i = 0; i < model->count && !model->dead; i++) {
		if (!memcmp(&model->ranges[i], range, sizeof(*range)))
			return TWICE;
	}
	for (uint32_t i = range->off; i < end; i++)
		overlap |= model->owner[i] != 0;
	if (model->dead || overlap || !range->len || (range->more && range->len % 8) ||
	    (model->total && (!range->more || end > model->total)) ||
	    (!range->more && end < model->end)) {
		model->dead = true;
		return DROPPED;
	}
	model->ranges[model->count++] = *range;
	memset(model->owner + range->off, 1, range->len);
	if (end > model->end)
		model->end = end;
	if (!range->more)
		model->total = end;
	return model->total && !memchr(model->owner, 0, model->total) ? WHOLE : KEPT;
}

/* A cut of `total` octets at a chosen grid, and now and then a range that does not fit it. */
static struct range random_range(uint64_t *seed, uint32_t total, uint32_t grid, uint32_t strange)
{
	struct range range;

	memset(&range, 0, sizeof(range));	/* compared as octets */
	range.off = next_random(seed) % (total / grid + 1) * grid;
	range.len = grid;
	if (range.off + range.len >= total)
		range.len = total - range.off;
	range.more = range.off + range.len < total;
	if (next_random(seed) % strange == 0) {
		range.off = next_random(seed) % 30 * 8;
		range.len = next_random(seed) % 15 * 8 + next_random(seed) % 8 *
			    (next_random(seed) % 2);
		range.more = next_random(seed) & 1;
	}
	return range;
}

static void model_run(uint64_t *seed, uint32_t id, unsigned int *counts)
{
	struct shape shape = shape_of(id & 1 ? FAMILY_V6 : FAMILY_V4, id & 0xffff, 511);
	uint32_t grid = 8 * (1 + next_random(seed) % 6), total = 41 + next_random(seed) % 200;
	struct model model = { 0 };

	total += total % grid ? 0 : 1;		/* the last one is never empty */
	for (unsigned int n = 0; n < 40; n++) {
		struct range range = random_range(seed, total, grid, 60);
		enum drop_reason reason;
		enum outcome outcome;

		if (!range.off && !range.more)
			continue;		/* IPv4: no fragment, IPv6: atomic */
		outcome = model_add(&model, &range);
		reason = add(&shape, range.off, range.len, range.more);
		counts[outcome]++;
		assert_int_equal(reason, outcome == DROPPED ? DROP_REASSEMBLY :
					 outcome == TWICE   ? DROP_FRAGMENT_DUP :
							      DROP_NONE);
		if (outcome == WHOLE) {
			shape.payload_len = model.total;
			check_whole(reassembly, &shape, whole);
			return;
		}
		assert_null(whole);
	}
}

static void as_the_model(void **state)
{
	unsigned int counts[4] = { 0 };
	uint64_t seed = 31;

	(void)state;
	for (uint32_t id = 0; id < 6000; id++) {
		now = 1 + id * 11 * SECOND;	/* nothing left from before */
		reassembly_expire(reassembly, now);
		model_run(&seed, id, counts);
	}
	assert_true(counts[KEPT] > 10000 && counts[DROPPED] > 1000 && counts[WHOLE] > 1000 &&
		    counts[TWICE] > 1000);
}

/* Any octets may be wrong: nothing but refusal, or a packet whose lengths are right. */
static void check_any_whole(void)
{
	uint8_t *ip = whole->data + whole->l2_len;
	uint32_t total = (uint32_t)ip[2] << 8 | ip[3];

	if (whole->family == FAMILY_V6)
		total = 40 + ((uint32_t)ip[4] << 8 | ip[5]);
	else
		assert_int_equal(naive_add(0, ip, (ip[0] & 15u) * 4), 0xffff);
	assert_int_equal(whole->len, whole->l2_len + total);
	assert_true(whole->headroom >= PACKET_HEADROOM);
	assert_true(whole->tailroom >= PACKET_TAILROOM);
	assert_true(naive_add(0, whole->data, whole->len) <= 0xffff);	/* all can be read */
	memset(whole->data + whole->len, 1, whole->tailroom);
	reassembly_release(reassembly, whole);
}

static uint32_t mutate(uint64_t *seed, const struct shape *shape, uint32_t len)
{
	uint32_t l2 = shape_l2(shape);

	for (unsigned int n = next_random(seed) % 8 ? 0 : 1 + next_random(seed) % 3; n; n--)
		frame[12 + next_random(seed) % 80 % (len - 12)] = (uint8_t)next_random(seed);
	if (shape->family == FAMILY_V4 && next_random(seed) % 4) {	/* else it ends there */
		put16(frame + l2 + 10, 0);
		put16(frame + l2 + 10, ~naive_add(0, frame + l2, 20 + shape->options_len));
	}
	return next_random(seed) % 16 ? len : next_random(seed) % (len + 1);
}

static void mutations(void **state)
{
	uint64_t seed = 41;
	uint32_t wholes = 0, kept = 0;
	size_t before = mallinfo2().uordblks;

	(void)state;
	/* 48 fragments of one packet, then of the next. */
	for (uint32_t i = 0; i < 1000000; i++) {
		struct shape shape = shape_of(i / 48 & 1, i / 48 & 0xffff, 192);
		uint32_t off = next_random(&seed) % 6 * 32, len;

		shape.vlans = i / 96 % 3;
		shape.chain_len = shape.family == FAMILY_V6 ? i / 288 % 3 : 0;
		shape.per_fragment = shape.chain_len > 1;
		for (unsigned int n = 0; n < shape.chain_len; n++) {
			shape.chain[n].type = n ? 60 : 43;
			shape.chain[n].len = 8;
		}
		len = build_fragment(&shape, off, 32, off < 160, frame);
		len = mutate(&seed, &shape, len);
		now += SECOND / 100;
		if (add_frame(&shape, frame, len) == DROP_NONE)
			kept++;
		if (whole) {
			check_any_whole();
			wholes++;
		}
		if (i % 64 == 0)
			reassembly_expire(reassembly, now);
	}
	assert_true(kept > 100000 && wholes > 10000);
	check_memory(before);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(as_the_model),
		TEST(mutations),
	};

	return cmocka_run_group_tests(tests, fill_payload, NULL);
}
