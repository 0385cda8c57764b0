// SPDX-License-Identifier: BSD-2-Clause
/*
 * Compiling: what the snapshot decides is what the rules say. The judge is policy_reference.h.
 */
#include "policy_testing.h"

#include <errno.h>

#include "policy_reference.h"

#define PROTO_TCP 6

static uint32_t pair_id(void *context, size_t peer, size_t protection)
{
	(void)context;
	return (uint32_t)(1 + peer * 100 + protection);
}

static int compile(const struct policy *policy, protect_id_fn protect_id, void *context,
		   struct policy_compiled *ret_compiled, struct ipsecbpf_report *report)
{
	const struct policy_compile_input input = {
		.policy = policy,
		.ifname = "eth0",
		.protect_id = protect_id,
		.context = context,
	};

	return policy_compile(&input, ret_compiled, report);
}

/* How many random protections had what. */
struct seen {
	unsigned int ah, discard, nested;
};

/* ---- the snapshot, searched as the hooks do ---- */

static struct spd_query query_of(const struct test_packet *packet, const struct spd_head *head)
{
	bool icmp = packet->proto == 1 || packet->proto == 58, all = !packet->later;
	uint64_t upper = SPD_UPPER_FIELD(VLAN, packet->vlan) | SPD_UPPER_FIELD(DSCP, packet->dscp);

	if (!packet->proto_hidden)
		upper |= SPD_UPPER_FIELD(PROTO, packet->proto);
	if (all) {
		upper |= SPD_UPPER_FIELD(LOCAL_PORT, icmp ? packet->icmp_type : packet->local_port);
		upper |= SPD_UPPER_FIELD(REMOTE_PORT,
					 icmp ? packet->icmp_code : packet->remote_port);
	}
	return (struct spd_query){ .word = {
		[SPD_REMOTE_HI] = packet->remote.hi, [SPD_REMOTE_LO] = packet->remote.lo,
		[SPD_LOCAL_HI] = packet->local.hi, [SPD_LOCAL_LO] = packet->local.lo,
		/* What no rule asks for makes no difference. */
		[SPD_UPPER] = upper & head->upper_used,
	} };
}

static uint32_t root_for(const struct policy_compiled *compiled, enum spd_way way,
			 enum ip_family family, enum spd_shows shows)
{
	uint32_t tree = SPD_TREE(way, family, shows);

	return compiled->cells.items[SPD_HOST_CELL + SPD_ROOT_CELL(tree)].root[SPD_ROOT_INDEX(tree)];
}

static enum spd_way way_of(const struct test_packet *packet)
{
	return packet->direction == SPD_IN ? SPD_WAY_IN :
	       packet->forwarded	   ? SPD_WAY_OUT_FORWARDED :
					     SPD_WAY_OUT_LOCAL;
}

static uint32_t compiled_verdict(const struct policy_compiled *compiled,
				 const struct test_packet *packet)
{
	const struct spd_head *head = policy_head(compiled);
	struct spd_query query = query_of(packet, head);
	const struct spd_entry *entry;
	uint32_t steps;

	entry = spd_search(compiled->cells.items,
			   root_for(compiled, way_of(packet), packet->family,
				    packet->proto_hidden ? SPD_SHOWS_ADDRESSES :
				    packet->later	 ? SPD_SHOWS_PROTO :
							   SPD_SHOWS_ALL),
			   packet->family, &query, &steps);
	assert_in_range(steps, 0, head->steps);
	return entry ? entry->rule : SPD_RULE_DEFAULT;
}

/* What there is to see of protections, but the position in the file. */
static void assert_same_protections(const struct policy *policy, const struct policy *again,
				    struct seen *seen)
{
	struct policy_change *changes;
	size_t count;

	assert_int_equal(policy->protection_count, again->protection_count);
	for (size_t i = 0; i < policy->protection_count; i++) {
		const struct protection *a = &policy->protections[i], *b = &again->protections[i];

		assert_int_equal(a->protocol, b->protocol);
		assert_int_equal(a->type, b->type);
		assert_int_equal(a->fragments, b->fragments);
		assert_int_equal(a->suite_count, b->suite_count);
		assert_memory_equal(a->suites, b->suites, a->suite_count * sizeof(*a->suites));
		assert_int_equal(a->nested, b->nested);
		assert_int_equal(a->within.peer, b->within.peer);
		assert_int_equal(a->within.protection, b->within.protection);
		assert_int_equal(policy_protection_digest(policy, 0, i),
				 policy_protection_digest(again, 0, i));
		seen->ah += a->protocol == PROTECTION_AH;
		seen->discard += a->fragments == FRAGMENTS_DISCARD;
		seen->nested += a->nested;
	}
	assert_int_equal(policy_diff(policy, again, &changes, &count), 0);
	assert_int_equal(count, 0);
	policy_changes_free(changes, count);
}

/* What show prints compiles to the very same cells: nothing is lost in it. */
static void assert_shown_is_equal(const struct policy *policy,
				  const struct policy_compiled *compiled, struct seen *seen)
{
	char *text = policy_show(policy);
	struct policy *again = policy_parse(text, strlen(text), "shown", NULL);
	struct policy_compiled second;

	assert_non_null(again);
	assert_int_equal(compile(again, pair_id, NULL, &second, NULL), 0);
	assert_int_equal(second.cells.count, compiled->cells.count);
	assert_memory_equal(second.cells.items, compiled->cells.items,
			    compiled->cells.count * sizeof(*compiled->cells.items));
	assert_same_protections(policy, again, seen);
	policy_compiled_fini(&second);
	policy_free(again);
	free(text);
}

static void test_against_reference(void **state)
{
	unsigned int by_rule = 0;
	struct seen seen = { 0 };

	(void)state;
	seed = 20;
	for (int round = 0; round < 400; round++) {
		struct policy *policy = random_policy();
		struct policy_compiled compiled;

		assert_int_equal(compile(policy, pair_id, NULL, &compiled, NULL), 0);
		for (int i = 0; i < 400; i++) {
			struct test_packet packet = random_packet();
			uint32_t expected;

			packet.proto_hidden = packet.later && packet.family == FAMILY_V6 && below(2);
			expected = reference_verdict(policy, "eth0", &packet);
			if (compiled_verdict(&compiled, &packet) != expected) {
				char *text = policy_show(policy);

				fail_msg("round %d packet %d: rule %d, expected %d\n%s", round, i,
					 (int)compiled_verdict(&compiled, &packet), (int)expected,
					 text);
			}
			by_rule += expected != SPD_RULE_DEFAULT;
		}
		assert_shown_is_equal(policy, &compiled, &seen);
		policy_compiled_fini(&compiled);
		policy_free(policy);
	}
	assert_in_range(by_rule, 30000, 130000);	/* both kinds are many */
	assert_in_range(seen.ah, 1000, 2600);
	assert_in_range(seen.discard, 500, 2600);
	assert_in_range(seen.nested, 500, 2600);
}

/* The different entries of one tree, by rule and what they ask for. */
struct tree_entries {
	const union spd_cell *cells;
	uint32_t width;			/* of an entry, in cells */
	uint32_t count;
	const union spd_cell *items[32];
};

static int compare_entries(const void *a, const void *b)
{
	const struct spd_entry *x = &(*(const union spd_cell *const *)a)->entry;
	const struct spd_entry *y = &(*(const union spd_cell *const *)b)->entry;

	if (x->rule != y->rule)
		return x->rule < y->rule ? -1 : 1;
	if (x->local_lo != y->local_lo)
		return x->local_lo < y->local_lo ? -1 : 1;
	return x->upper_lo < y->upper_lo ? -1 : x->upper_lo > y->upper_lo;
}

static void collect_leaf(struct tree_entries *found, uint32_t cell, uint32_t entries)
{
	for (uint32_t i = 0; i < entries; i++) {
		const union spd_cell *entry = &found->cells[cell + i * found->width];
		bool known = false;

		for (uint32_t k = 0; k < found->count; k++)
			known = known || !memcmp(found->items[k], entry,
						 found->width * sizeof(*entry));
		if (known)
			continue;
		assert_in_range(found->count, 0, 31);
		found->items[found->count++] = entry;
	}
}

static void collect(struct tree_entries *found, uint32_t ref)
{
	const struct spd_node *node = &found->cells[SPD_REF_CELL(ref)].node;

	if (SPD_REF_ENTRIES(ref))
		collect_leaf(found, SPD_REF_CELL(ref), SPD_REF_ENTRIES(ref));
	if (!ref || SPD_REF_ENTRIES(ref))
		return;
	collect(found, node->aside);
	for (uint32_t i = 0, at = 0; i <= SPD_THRESHOLDS; at = node->end[i++]) {
		if (node->inner >> i & 1)
			collect(found, SPD_REF(node->children + at, 0));
		else if (node->end[i] > at)
			collect_leaf(found, node->children + at, (node->end[i] - at) / found->width);
	}
}

static struct tree_entries entries_of(const struct policy_compiled *compiled, enum spd_way way,
				      enum ip_family family, enum spd_shows shows)
{
	struct tree_entries found = {
		.cells = compiled->cells.items,
		.width = SPD_ENTRY_CELLS(family),
	};

	collect(&found, root_for(compiled, way, family, shows));
	qsort(found.items, found.count, sizeof(*found.items), compare_entries);
	return found;
}

static uint64_t field(uint64_t upper, unsigned int shift, unsigned int width)
{
	return upper >> shift & ((1u << width) - 1);
}

#define FIELD(upper, id) field(upper, SPD_##id##_SHIFT, SPD_##id##_WIDTH)

static void assert_head(const struct spd_head *head, size_t cells)
{
	assert_int_equal(head->essential, ESSENTIAL(ARP) | ESSENTIAL(ND));
	assert_int_equal(head->default_action[SPD_IN], SPD_BYPASS);
	assert_int_equal(head->default_action[SPD_OUT], SPD_DISCARD);
	assert_int_equal(head->non_ip_action, SPD_BYPASS);
	assert_int_equal(head->rules, 4);
	assert_int_equal(head->cells, cells);
	assert_int_equal(head->upper_used,
			 SPD_UPPER_FIELD_MASK(PROTO) | SPD_UPPER_FIELD_MASK(LOCAL_PORT));
}

static void test_cross_product(void **state)
{
	struct policy *policy = parse_good(POLICY_HEAD
		"{\"name\":\"skip\",\"interface\":\"wlan0\",\"action\":\"bypass\"},"
		"{\"name\":\"x\",\"local\":[\"10.1.0.0/16\",\"10.2.0.1\",\"10.2.0.2\",\"fd01::/64\"],"
		"\"remote\":[\"192.0.2.1\",\"fd02::/64\"],\"protocol\":[\"udp\",\"tcp\"],"
		"\"local_port\":[1,2,\"3-4\",9],\"direction\":\"out\",\"origin\":\"forwarded\","
		"\"action\":\"discard\"},"
		"{\"name\":\"p\",\"action\":\"protect\",\"peer\":\"b\",\"protection\":\"wire\"},"
		"{\"name\":\"ping\",\"protocol\":\"icmpv6\",\"icmp_type\":128,\"direction\":\"in\","
		"\"action\":\"discard\"}" POLICY_TAIL);
	struct policy_compiled compiled;
	struct tree_entries found;

	(void)state;
	assert_int_equal(compile(policy, pair_id, NULL, &compiled, NULL), 0);
	/* 2 locals (two touch and merge) x 1 remote x 2 protocols x 2 port ranges, and the peer */
	found = entries_of(&compiled, SPD_WAY_OUT_FORWARDED, FAMILY_V4, SPD_SHOWS_ALL);
	assert_int_equal(found.count, 9);
	assert_int_equal(found.items[0]->entry.rule, 1);
	assert_int_equal(FIELD(found.items[0]->entry.upper_lo, PROTO), PROTO_TCP);
	assert_int_equal(FIELD(found.items[0]->entry.upper_hi, PROTO), PROTO_TCP);
	assert_int_equal(FIELD(found.items[0]->entry.upper_lo, LOCAL_PORT), 1);
	assert_int_equal(FIELD(found.items[0]->entry.upper_hi, LOCAL_PORT), 4);
	assert_int_equal(FIELD(found.items[0]->entry.upper_hi, REMOTE_PORT), 65535);
	assert_int_equal(found.items[0]->entry.local_hi, 0x0a01ffff);
	assert_int_equal(found.items[8]->entry.action, SPD_PROTECT);
	assert_int_equal(found.items[8]->entry.rule, 2);
	assert_int_equal(found.items[8]->entry.protect_id, 1);
	assert_int_equal(found.items[8]->entry.remote_lo, 0x0a000002);
	assert_int_equal(found.items[8]->entry.upper_lo, 0);
	assert_int_equal(found.items[8]->entry.upper_hi, SPD_UPPER_MASK);
	/* Fragments: without ports two ranges are one, without a protocol two more are. */
	assert_int_equal(entries_of(&compiled, SPD_WAY_OUT_FORWARDED, FAMILY_V4,
				    SPD_SHOWS_PROTO).count, 5);
	assert_int_equal(entries_of(&compiled, SPD_WAY_OUT_FORWARDED, FAMILY_V6,
				    SPD_SHOWS_ALL).count, 5);
	assert_int_equal(entries_of(&compiled, SPD_WAY_OUT_FORWARDED, FAMILY_V6,
				    SPD_SHOWS_ADDRESSES).count, 2);
	assert_int_equal(entries_of(&compiled, SPD_WAY_OUT_LOCAL, FAMILY_V4, SPD_SHOWS_ALL).count,
			 1);
	assert_int_equal(entries_of(&compiled, SPD_WAY_IN, FAMILY_V4, SPD_SHOWS_ALL).count, 1);
	found = entries_of(&compiled, SPD_WAY_IN, FAMILY_V6, SPD_SHOWS_ALL);
	assert_int_equal(found.count, 2);
	assert_int_equal(found.items[1]->entry.protect_id, 0);
	assert_int_equal(FIELD(found.items[1]->entry.upper_lo, LOCAL_PORT), 128);
	assert_int_equal(FIELD(found.items[1]->entry.upper_hi, LOCAL_PORT), 128);
	assert_int_equal(FIELD(found.items[1]->entry.upper_hi, REMOTE_PORT), 65535);
	assert_head(policy_head(&compiled), compiled.cells.count);
	policy_compiled_fini(&compiled);
	policy_free(policy);
}

/* Trees with the same boxes are built once; without any rules there is none. */
static void test_shared_trees(void **state)
{
	struct policy *policy = parse_good(POLICY_HEAD
		"{\"name\":\"a\",\"remote\":\"10.0.0.0/8\",\"action\":\"bypass\"},"
		"{\"name\":\"b\",\"remote\":\"10.0.0.0/7\",\"protocol\":\"tcp\",\"remote_port\":80,"
		"\"action\":\"bypass\"},{\"name\":\"c\",\"remote\":\"fd00::/8\","
		"\"direction\":\"in\",\"action\":\"discard\"}" POLICY_TAIL);
	struct policy_compiled compiled;
	uint32_t in, fragments;

	(void)state;
	assert_int_equal(compile(policy, pair_id, NULL, &compiled, NULL), 0);
	in = root_for(&compiled, SPD_WAY_IN, FAMILY_V4, SPD_SHOWS_ALL);
	fragments = root_for(&compiled, SPD_WAY_IN, FAMILY_V4, SPD_SHOWS_PROTO);
	assert_int_not_equal(in, 0);
	assert_int_not_equal(in, fragments);
	assert_int_equal(root_for(&compiled, SPD_WAY_OUT_LOCAL, FAMILY_V4, SPD_SHOWS_ALL), in);
	assert_int_equal(root_for(&compiled, SPD_WAY_OUT_FORWARDED, FAMILY_V4, SPD_SHOWS_ALL), in);
	assert_int_equal(root_for(&compiled, SPD_WAY_OUT_FORWARDED, FAMILY_V4, SPD_SHOWS_PROTO),
			 fragments);
	in = root_for(&compiled, SPD_WAY_IN, FAMILY_V6, SPD_SHOWS_ALL);
	assert_int_not_equal(in, 0);
	assert_int_equal(root_for(&compiled, SPD_WAY_IN, FAMILY_V6, SPD_SHOWS_ADDRESSES), in);
	assert_int_equal(root_for(&compiled, SPD_WAY_OUT_LOCAL, FAMILY_V6, SPD_SHOWS_ALL), 0);
	/* 2 of IPv4, 1 of them for fragments too, 1 of IPv6 */
	assert_int_equal(policy_head(&compiled)->entries, 4);
	policy_compiled_fini(&compiled);
	policy_free(policy);
}

/* A rule with `locals` addresses times `ports` ports, in one table. */
static struct policy *product_policy(int locals, int ports)
{
	struct policy *policy;
	char *text = NULL;
	size_t len;
	FILE *out = open_memstream(&text, &len);

	fputs(POLICY_HEAD "{\"name\":\"small\",\"protocol\":\"gre\",\"remote\":\"10.0.0.9\","
	      "\"direction\":\"in\",\"action\":\"bypass\"},"
	      "{\"name\":\"big\",\"protocol\":\"tcp\",\"direction\":\"in\",\"action\":\"bypass\","
	      "\"local\":[", out);
	for (int i = 0; i < locals; i++)
		fprintf(out, "%s\"10.0.%d.%d\"", i ? "," : "", i / 100, i % 100 * 2);
	fputs("],\"local_port\":[", out);
	for (int i = 0; i < ports; i++)
		fprintf(out, "%s%d", i ? "," : "", i * 2);
	fputs("]}" POLICY_TAIL, out);
	fclose(out);
	policy = policy_parse(text, len, "limit.json", NULL);
	assert_non_null(policy);
	free(text);
	return policy;
}

static void test_limit(void **state)
{
	struct policy *beyond = product_policy(1024, 1024);
	struct ipsecbpf_report report = { 0 };
	struct policy_compiled compiled = { 0 };

	(void)state;
	assert_int_equal(compile(beyond, pair_id, NULL, &compiled, &report),
			 -EINVAL);
	assert_int_equal(report.errors, 1);
	assert_non_null(strstr(report.items[0].object, "limit.json:1:"));
	assert_string_equal(report.items[0].cause, "the inbound IPv4 rules make 1048577 entries, "
			    "and the limit is 1048576: rule \"big\" alone makes 1048576 (addresses x "
			    "protocols x ports and so on)");
	assert_null(compiled.cells.items);
	report_fini(&report);
	policy_free(beyond);
}

/* A rule is known again wherever it stands, but not after any change. */
static void test_rule_digests(void **state)
{
	struct policy *before = parse_good(POLICY_HEAD
		"{\"name\":\"a\",\"remote\":\"10.1.0.0/16\",\"action\":\"bypass\"},"
		"{\"name\":\"b\",\"protocol\":\"tcp\",\"local_port\":22,\"action\":\"bypass\"},"
		"{\"name\":\"p\",\"remote\":\"10.0.0.2\",\"action\":\"protect\",\"peer\":\"b\","
		"\"protection\":\"wire\"}" POLICY_TAIL);
	struct policy *after = parse_good(POLICY_HEAD
		"{\"name\":\"b\",\"protocol\":\"tcp\",\"local_port\":22,\"action\":\"bypass\"},"
		"{\"name\":\"a\",\"remote\":\"10.2.0.0/16\",\"action\":\"bypass\"},"
		"{\"name\":\"p\",\"remote\":\"10.0.0.2\",\"action\":\"protect\",\"peer\":\"b\","
		"\"protection\":\"vpn\"}" POLICY_TAIL);
	struct policy *renamed = parse_good(POLICY_HEAD
		"{\"name\":\"b2\",\"protocol\":\"tcp\",\"local_port\":22,\"action\":\"bypass\"}"
		POLICY_TAIL);

	(void)state;
	assert_true(policy_rule_digest(before, 1) == policy_rule_digest(after, 0));
	assert_true(policy_rule_digest(before, 0) != policy_rule_digest(after, 1));
	assert_true(policy_rule_digest(before, 2) != policy_rule_digest(after, 2));
	assert_true(policy_rule_digest(before, 1) != policy_rule_digest(renamed, 0));
	policy_free(renamed);
	policy_free(before);
	policy_free(after);
}

/* Pairs in the order they were asked for, as text; ids count up. */
struct asked {
	const struct policy *policy;
	char text[256];
	uint32_t count, limit;
};

static uint32_t note_pair(void *context, size_t peer, size_t protection)
{
	struct asked *asked = context;
	size_t len = strlen(asked->text);

	snprintf(asked->text + len, sizeof(asked->text) - len, "%s/%s ",
		 asked->policy->peers[peer].name, asked->policy->protections[protection].name);
	return asked->count < asked->limit ? ++asked->count : 0;
}

/* SAs need the ids of the pairs around theirs, although no rule names those. */
static void test_ids_of_bundles(void **state)
{
	struct policy *policy = parse_good(PROTECTIONS_HEAD
		"\"a\":{\"within\":\"b\"},"
		"\"b\":{\"within\":{\"peer\":\"gw\",\"protection\":\"c\"}},"
		"\"c\":{\"mode\":\"tunnel\"},\"d\":{\"within\":\"b\"}},"
		"\"peers\":{\"b\":{\"addresses\":[\"10.0.0.2\"]},"
		"\"gw\":{\"addresses\":[\"10.0.0.1\"]}},"
		"\"rules\":[{\"name\":\"s\",\"interface\":\"eth1\","
		"\"action\":\"protect\",\"peer\":\"b\",\"protection\":\"d\"},{\"name\":\"r\","
		"\"action\":\"protect\",\"peer\":\"b\",\"protection\":\"a\"},{\"name\":\"t\","
		"\"remote\":\"10.1.0.0/16\",\"action\":\"protect\",\"peer\":\"gw\","
		"\"protection\":\"c\"}]}");
	struct asked asked = { policy, "", 0, 9 };
	struct tree_entries found;
	struct ipsecbpf_report report = { 0 };
	struct policy_compiled compiled = { 0 };

	(void)state;
	assert_int_equal(compile(policy, note_pair, &asked, &compiled, &report), 0);
	assert_string_equal(asked.text, "gw/c b/b b/a gw/c ");
	found = entries_of(&compiled, SPD_WAY_OUT_LOCAL, FAMILY_V4, SPD_SHOWS_ALL);
	assert_int_equal(found.items[0]->entry.protect_id, 3);
	assert_int_equal(found.items[1]->entry.protect_id, 4);
	policy_compiled_fini(&compiled);
	asked = (struct asked){ policy, "", 0, 1 };
	assert_int_equal(compile(policy, note_pair, &asked, &compiled, &report),
			 -EINVAL);
	assert_int_equal(report.errors, 1);
	assert_non_null(strstr(report.items[0].cause, "rule \"r\": no id is left for protection "
			       "\"b\" with peer \"b\""));
	report_fini(&report);
	policy_free(policy);
}

static uint32_t no_id(void *context, size_t peer, size_t protection)
{
	(void)context;
	(void)peer;
	(void)protection;
	return 0;
}

static void test_no_protect_id(void **state)
{
	struct policy *policy = parse_good(POLICY_HEAD
		"{\"name\":\"p\",\"action\":\"protect\",\"peer\":\"b\",\"protection\":\"wire\"},"
		"{\"name\":\"v\",\"action\":\"protect\",\"peer\":\"b\",\"protection\":\"vpn\"}"
		POLICY_TAIL);
	struct ipsecbpf_report report = { 0 };
	struct policy_compiled compiled = { 0 };

	(void)state;
	assert_int_equal(compile(policy, no_id, NULL, &compiled, &report), -EINVAL);
	assert_int_equal(report.errors, 1);
	assert_non_null(strstr(report.items[0].cause,
			       "no id is left for protection \"wire\" with peer \"b\""));
	report_fini(&report);
	policy_free(policy);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_cross_product),
		cmocka_unit_test(test_against_reference),
		cmocka_unit_test(test_shared_trees),
		cmocka_unit_test(test_limit),
		cmocka_unit_test(test_rule_digests),
		cmocka_unit_test(test_no_protect_id),
		cmocka_unit_test(test_ids_of_bundles),
	};

	return cmocka_run_group_tests_name("policy_compile", tests, NULL, NULL);
}
