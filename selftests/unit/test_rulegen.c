// SPDX-License-Identifier: BSD-2-Clause
/* The generators of rule sets and packets: what benchmarks and other tests build on. */
#include <errno.h>

#include "policy_testing.h"

#include "selftests/spd/rulegen_internal.h"

#define SEED 20261121

static const size_t sizes[] = { 1, 2, 10, 100, 1000 };

/* All kinds in both families. */
#define for_each_shape(kind, family)							\
	for (enum gen_kind kind = 0; kind < GEN_KIND_COUNT; kind++)			\
		for (enum ip_family family = 0; family < FAMILY_COUNT; family++)

static struct gen_set make(enum gen_kind kind, enum ip_family family, size_t rules,
			   unsigned int flags)
{
	struct gen_options options = {
		.kind = kind, .family = family, .rules = rules, .seed = SEED, .flags = flags,
	};
	struct gen_set set;

	assert_int_equal(gen_set_init(&set, &options), 0);
	assert_int_equal(set.count, rules);
	return set;
}

static void same_seed_same_set(void **state)
{
	(void)state;
	for_each_shape(kind, family) {
		struct gen_set a = make(kind, family, 500, GEN_VLAN_DSCP);
		struct gen_set b = make(kind, family, 500, GEN_VLAN_DSCP);
		struct gen_options other = a.options;
		struct gen_set c;
		size_t same = 0;

		assert_memory_equal(a.rules, b.rules, a.count * sizeof(*a.rules));
		assert_int_equal(a.peer_count, b.peer_count);
		assert_memory_equal(a.peers, b.peers, a.peer_count * sizeof(*a.peers));
		other.seed++;
		assert_int_equal(gen_set_init(&c, &other), 0);
		for (size_t i = 0; i < a.count; i++)
			same += !memcmp(&a.rules[i].selector, &c.rules[i].selector,
					sizeof(a.rules[i].selector));
		assert_in_range(same, 0, a.count / 4);
		gen_set_fini(&a);
		gen_set_fini(&b);
		gen_set_fini(&c);
	}
}

/* What the first rules are on every machine: a change of these changes all published numbers. */
static void sets_stay_what_they_are(void **state)
{
	static const uint64_t expected[GEN_KIND_COUNT][FAMILY_COUNT] = {
		{ 0x4dee11615a0a31a4ull, 0x2d1759d285f2c40full },
		{ 0x9955837f58991999ull, 0x982336312a1fff96ull },
		{ 0x8b50531bb60a5bccull, 0x17d9fb8f3e793b3dull },
		{ 0x61f822bd7628bcf4ull, 0xf133f04b0106b177ull },
		{ 0xab51a6afa1280a2cull, 0xef4d5ce7eead9753ull },
	};
	bool changed = false;

	(void)state;
	for_each_shape(kind, family) {
		struct gen_set set = make(kind, family, 200, 0);
		struct spd_box *boxes;
		uint64_t hash = 0;

		assert_int_equal(gen_set_boxes(&set, &boxes), 0);
		for (size_t i = 0; i < set.count; i++) {
			for (size_t j = 0; j < SPD_WORDS; j++)
				hash = gen_mix(gen_mix(hash ^ boxes[i].lo.word[j]) ^
					       boxes[i].hi.word[j]);
			hash = gen_mix(hash ^ boxes[i].action ^ (uint64_t)boxes[i].protect_id << 8);
		}
		if (hash != expected[kind][family]) {
			print_error("%s, family %d: 0x%016llx\n", gen_kind_words[kind], family,
				    (unsigned long long)hash);
			changed = true;
		}
		free(boxes);
		gen_set_fini(&set);
	}
	assert_false(changed);
}

static void check_field(uint64_t lo, uint64_t hi, unsigned int shift, unsigned int width)
{
	uint64_t mask = (1ull << width) - 1;

	assert_true((lo >> shift & mask) <= (hi >> shift & mask));
}

static void check_box(const struct spd_box *box, enum ip_family family)
{
	const __u64 *lo = box->lo.word, *hi = box->hi.word;

	for (int side = SPD_REMOTE_HI; side <= SPD_LOCAL_HI; side += 2) {
		assert_true(lo[side] < hi[side] ||
			    (lo[side] == hi[side] && lo[side + 1] <= hi[side + 1]));
		if (family == FAMILY_V4)
			assert_true(!hi[side] && hi[side + 1] <= UINT32_MAX);
	}
#define X(id, shift, width) check_field(lo[SPD_UPPER], hi[SPD_UPPER], shift, width);
	SPD_UPPER_FIELDS(X)
#undef X
	assert_true(!((lo[SPD_UPPER] | hi[SPD_UPPER]) & ~SPD_UPPER_MASK));
	assert_int_equal(!!box->protect_id, box->action == SPD_PROTECT);
}

static void boxes_are_well_formed(void **state)
{
	(void)state;
	for_each_shape(kind, family) {
		for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
			struct gen_set set = make(kind, family, sizes[i],
						  GEN_VLAN_DSCP | GEN_UNREACHABLE);
			struct spd_box *boxes;

			assert_int_equal(gen_set_boxes(&set, &boxes), 0);
			for (size_t j = 0; j < set.count; j++) {
				check_box(&boxes[j], family);
				assert_int_equal(boxes[j].rule, j);
			}
			free(boxes);
			gen_set_fini(&set);
		}
	}
}

/* ---- rules behind others ---- */

static bool covers(const struct spd_box *a, const struct spd_box *b)
{
	return spd_box_matches(a, &b->lo) && spd_box_matches(a, &b->hi);
}

static size_t count_covered(const struct gen_set *set)
{
	struct spd_box *boxes;
	size_t covered = 0;

	assert_int_equal(gen_set_boxes(set, &boxes), 0);
	for (size_t i = 1; i < set->count; i++)
		for (size_t j = 0; j < i; j++)
			if (covers(&boxes[j], &boxes[i])) {
				covered++;
				break;
			}
	free(boxes);
	return covered;
}

static void no_rule_is_covered_unless_asked_for(void **state)
{
	(void)state;
	for_each_shape(kind, family) {
		struct gen_set set = make(kind, family, 3000, GEN_VLAN_DSCP);

		assert_int_equal(count_covered(&set), 0);
		gen_set_fini(&set);
		set = make(kind, family, 3000, GEN_UNREACHABLE);
		assert_in_range(count_covered(&set), 200, 600);
		gen_set_fini(&set);
	}
}

/* Specific first, but not by length alone: some rule is wider than a later one. */
static void order_is_not_by_width(void **state)
{
	struct gen_set set = make(GEN_HOST, FAMILY_V4, 1000, 0);
	size_t wider = 0;

	(void)state;
	for (size_t i = 1; i < set.count; i++) {
		const struct gen_selector *a = &set.rules[i - 1].selector;
		const struct gen_selector *b = &set.rules[i].selector;

		wider += a->remote_hi.lo - a->remote_lo.lo > b->remote_hi.lo - b->remote_lo.lo;
	}
	assert_in_range(wider, set.count / 50, set.count / 2);
	gen_set_fini(&set);
}

/* ---- policies ---- */

static char *policy_text(const struct gen_set *set, size_t *ret_len)
{
	char *text = NULL;
	FILE *out = open_memstream(&text, ret_len);

	assert_non_null(out);
	assert_int_equal(gen_set_write_policy(set, out), 0);
	fclose(out);
	return text;
}

static bool same_range(const struct address_list *list, struct addr128 lo, struct addr128 hi)
{
	return list->count == 1 && !memcmp(&list->items[0].lo, &lo, sizeof(lo)) &&
	       !memcmp(&list->items[0].hi, &hi, sizeof(hi));
}

/* The policy says what the set says. */
static void check_rule(const struct rule *rule, const struct gen_set *set, size_t index)
{
	const struct gen_rule *wanted = &set->rules[index];
	const struct gen_selector *s = &wanted->selector;

	assert_string_equal(rule->name, wanted->name);
	assert_int_equal(rule->action, wanted->action);
	if (rule->remote.count)
		assert_true(same_range(&rule->remote, s->remote_lo, s->remote_hi));
	else
		assert_true(gen_to_number(s->remote_hi) == gen_host_mask(set->options.family, 0));
	if (rule->local.count)
		assert_true(same_range(&rule->local, s->local_lo, s->local_hi));
	else
		assert_true(gen_to_number(s->local_hi) == gen_host_mask(set->options.family, 0));
	assert_int_equal(rule->protocol_count ? rule->protocols[0] : 0, s->proto.lo);
	assert_int_equal(rule->vlan.count ? rule->vlan.items[0].lo : 0, s->vlan.lo);
	assert_int_equal(rule->dscp.count ? rule->dscp.items[0].hi : 63, s->dscp.hi);
	if (rule->icmp_given) {
		assert_int_equal(rule->icmp_type_lo, s->local_port.lo);
		assert_int_equal(rule->icmp_code_lo, s->remote_port.lo);
		return;
	}
	assert_int_equal(rule->local_port.count ? rule->local_port.items[0].lo : 0,
			 s->local_port.lo);
	assert_int_equal(rule->local_port.count ? rule->local_port.items[0].hi : 65535,
			 s->local_port.hi);
	assert_int_equal(rule->remote_port.count ? rule->remote_port.items[0].hi : 65535,
			 s->remote_port.hi);
}

static void policies_are_valid(void **state)
{
	(void)state;
	for_each_shape(kind, family) {
		for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
			struct gen_set set = make(kind, family, sizes[i],
						  i % 2 ? GEN_VLAN_DSCP : 0);
			size_t len;
			char *text = policy_text(&set, &len);
			struct policy *policy = parse_good(text);

			assert_int_equal(policy->rule_count, set.count);
			for (size_t j = 0; j < set.count; j++)
				check_rule(&policy->rules[j], &set, j);
			policy_free(policy);
			free(text);
			gen_set_fini(&set);
		}
	}
}

static void bad_options_are_refused(void **state)
{
	struct gen_options none = { .rules = 0 }, skew = { .rules = 1, .skew = 101 };
	struct gen_options scope = { .rules = 1, .scope = -101 };
	struct gen_options flags = { .rules = 1, .flags = 8 };
	struct gen_set set = make(GEN_ACL, FAMILY_V4, 10, GEN_UNREACHABLE), unused;
	struct gen_trace_options shares = { .packets = 1, .corners = 60, .uniform = 60 };
	struct gen_trace trace;

	(void)state;
	assert_int_equal(gen_set_init(&unused, &none), -EINVAL);
	assert_int_equal(gen_set_init(&unused, &skew), -EINVAL);
	assert_int_equal(gen_set_init(&unused, &scope), -EINVAL);
	assert_int_equal(gen_set_init(&unused, &flags), -EINVAL);
	assert_int_equal(gen_set_write_policy(&set, stdout), -EINVAL);
	assert_int_equal(gen_trace_init(&trace, &set, &shares), -EINVAL);
	gen_set_fini(&set);
}

/* The knobs bend the shape the way they say. */
static void scope_and_smoothing_bend_lengths(void **state)
{
	struct gen_options options = { .kind = GEN_IPC, .rules = 1000, .seed = SEED };
	size_t wide[3] = { 0 };	/* host bits of all rules together */

	(void)state;
	for (int i = 0; i < 3; i++) {
		struct gen_set set;

		options.scope = (i - 1) * 80;
		options.smooth = 2;
		assert_int_equal(gen_set_init(&set, &options), 0);
		for (size_t j = 0; j < set.count; j++)
			wide[i] += (size_t)__builtin_popcountll(set.rules[j].selector.remote_hi.lo ^
								set.rules[j].selector.remote_lo.lo);
		assert_int_equal(count_covered(&set), 0);
		gen_set_fini(&set);
	}
	assert_true(wide[0] < wide[1] && wide[1] < wide[2]);
}

/* ---- traces ---- */

/* By the fields' places, not by the subtraction that the product does. */
static bool lies_in(const struct spd_box *box, const struct spd_query *query)
{
	for (int side = SPD_REMOTE_HI; side <= SPD_LOCAL_HI; side += 2) {
		gen_number at = (gen_number)query->word[side] << 64 | query->word[side + 1];

		if (at < ((gen_number)box->lo.word[side] << 64 | box->lo.word[side + 1]) ||
		    at > ((gen_number)box->hi.word[side] << 64 | box->hi.word[side + 1]))
			return false;
	}
#define X(id, shift, width)								\
	{										\
		uint64_t mask = (1ull << (width)) - 1;					\
		uint64_t at = query->word[SPD_UPPER] >> (shift) & mask;			\
											\
		if (at < (box->lo.word[SPD_UPPER] >> (shift) & mask) ||			\
		    at > (box->hi.word[SPD_UPPER] >> (shift) & mask))			\
			return false;							\
	}
	SPD_UPPER_FIELDS(X)
#undef X
	return true;
}

static void packets_within_a_rule_match_it(void **state)
{
	const struct gen_trace_options options = {
		.packets = 5000, .seed = SEED, .corners = 20, .uniform = 10, .locality = 100,
	};

	(void)state;
	for_each_shape(kind, family) {
		struct gen_set set = make(kind, family, 1000, GEN_VLAN_DSCP);
		struct gen_trace trace, again;
		struct spd_box *boxes;
		size_t within = 0;

		assert_int_equal(gen_set_boxes(&set, &boxes), 0);
		assert_int_equal(gen_trace_init(&trace, &set, &options), 0);
		assert_int_equal(gen_trace_init(&again, &set, &options), 0);
		assert_int_equal(trace.count, options.packets);
		assert_memory_equal(trace.queries, again.queries,
				    trace.count * sizeof(*trace.queries));
		for (size_t i = 0; i < trace.count; i++) {
			assert_false(trace.queries[i].word[SPD_UPPER] & ~SPD_UPPER_MASK);
			if (trace.rules[i] == GEN_NO_RULE)
				continue;
			within++;
			assert_true(lies_in(&boxes[trace.rules[i]], &trace.queries[i]));
		}
		assert_in_range(within, trace.count / 2, trace.count * 9 / 10);
		gen_trace_fini(&trace);
		gen_trace_fini(&again);
		free(boxes);
		gen_set_fini(&set);
	}
}

static size_t count_repeats(const struct gen_set *set, unsigned int locality)
{
	const struct gen_trace_options options = {
		.packets = 20000, .seed = SEED, .locality = locality,
	};
	struct gen_trace trace;
	size_t repeats = 0;

	assert_int_equal(gen_trace_init(&trace, set, &options), 0);
	for (size_t i = 1; i < trace.count; i++)
		repeats += !memcmp(&trace.queries[i], &trace.queries[i - 1],
				   sizeof(*trace.queries));
	gen_trace_fini(&trace);
	return repeats;
}

static void locality_makes_bursts(void **state)
{
	struct gen_set set = make(GEN_IPC, FAMILY_V6, 1000, 0);

	(void)state;
	assert_in_range(count_repeats(&set, 0), 0, 50);
	assert_in_range(count_repeats(&set, 1000), 12000, 20000);
	gen_set_fini(&set);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(same_seed_same_set),
		cmocka_unit_test(sets_stay_what_they_are),
		cmocka_unit_test(boxes_are_well_formed),
		cmocka_unit_test(no_rule_is_covered_unless_asked_for),
		cmocka_unit_test(order_is_not_by_width),
		cmocka_unit_test(policies_are_valid),
		cmocka_unit_test(bad_options_are_refused),
		cmocka_unit_test(scope_and_smoothing_bend_lengths),
		cmocka_unit_test(packets_within_a_rule_match_it),
		cmocka_unit_test(locality_makes_bursts),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
