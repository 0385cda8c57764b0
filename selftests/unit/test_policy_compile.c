// SPDX-License-Identifier: BSD-2-Clause
/*
 * Compiling: what the entries decide is what the rules say. The judge is policy_reference.h.
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

/* How many random protections had what. */
struct seen {
	unsigned int ah, discard, nested;
};

/* ---- the entries, searched as abi.h says ---- */

static bool upper_matches(const struct spd_entry *entry, const struct test_packet *packet)
{
	if ((entry->flags & SPD_F_PORTS) &&
	    (packet->local_port < entry->local_port_lo ||
	     packet->local_port > entry->local_port_hi ||
	     packet->remote_port < entry->remote_port_lo ||
	     packet->remote_port > entry->remote_port_hi))
		return false;
	return !(entry->flags & SPD_F_ICMP) ||
	       (packet->icmp_type >= entry->icmp_type_lo &&
		packet->icmp_type <= entry->icmp_type_hi &&
		packet->icmp_code >= entry->icmp_code_lo &&
		packet->icmp_code <= entry->icmp_code_hi);
}

static bool entry_matches(const struct spd_entry *entry, const struct test_packet *packet)
{
	if (!in_range(entry->local_lo, entry->local_hi, packet->local) ||
	    !in_range(entry->remote_lo, entry->remote_hi, packet->remote))
		return false;
	if ((entry->flags & SPD_F_PROTO) && entry->proto != packet->proto)
		return false;
	if (packet->later && (entry->flags & (SPD_F_PORTS | SPD_F_ICMP))) {
		if (entry->action == SPD_BYPASS)
			return false;
	} else if (!upper_matches(entry, packet)) {
		return false;
	}
	if (entry->flags & SPD_F_ORIGIN_LOCAL)
		return !packet->forwarded;
	return !(entry->flags & SPD_F_ORIGIN_FORWARDED) || packet->forwarded;
}

static uint32_t compiled_verdict(const struct policy_compiled *compiled,
				 const struct test_packet *packet)
{
	const struct spd_entry *entries = compiled->entries[packet->direction][packet->family];

	for (uint32_t i = 0; i < compiled->head.entries[packet->direction][packet->family]; i++)
		if (entry_matches(&entries[i], packet))
			return entries[i].rule;
	return SPD_RULE_DEFAULT;
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

/* What show prints compiles to the very same entries: nothing is lost in it. */
static void assert_shown_is_equal(const struct policy *policy,
				  const struct policy_compiled *compiled, struct seen *seen)
{
	char *text = policy_show(policy);
	struct policy *again = policy_parse(text, strlen(text), "shown", NULL);
	struct policy_compiled second;

	assert_non_null(again);
	assert_int_equal(policy_compile(again, "eth0", pair_id, NULL, &second, NULL), 0);
	assert_memory_equal(&second.head, &compiled->head, sizeof(second.head));
	for (int table = 0; table < SPD_DIRECTION_COUNT * FAMILY_COUNT; table++) {
		int direction = table / FAMILY_COUNT, family = table % FAMILY_COUNT;
		size_t size = second.head.entries[direction][family] * sizeof(struct spd_entry);

		if (size)
			assert_memory_equal(second.entries[direction][family],
					    compiled->entries[direction][family], size);
	}
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

		assert_int_equal(policy_compile(policy, "eth0", pair_id, NULL, &compiled, NULL), 0);
		for (int i = 0; i < 400; i++) {
			struct test_packet packet = random_packet();
			uint32_t expected = reference_verdict(policy, "eth0", &packet);

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

static void test_cross_product(void **state)
{
	struct policy *policy = parse_good(POLICY_HEAD
		"{\"name\":\"skip\",\"interface\":\"wlan0\",\"action\":\"bypass\"},"
		"{\"name\":\"x\",\"local\":[\"10.1.0.0/16\",\"10.2.0.1\",\"10.2.0.2\",\"fd01::/64\"],"
		"\"remote\":[\"192.0.2.1\",\"fd02::/64\"],\"protocol\":[\"udp\",\"tcp\"],"
		"\"local_port\":[1,2,\"2-4\",9],\"direction\":\"out\",\"origin\":\"forwarded\","
		"\"action\":\"bypass\"},"
		"{\"name\":\"p\",\"action\":\"protect\",\"peer\":\"b\",\"protection\":\"wire\"},"
		"{\"name\":\"ping\",\"protocol\":\"icmpv6\",\"icmp_type\":128,\"direction\":\"in\","
		"\"action\":\"discard\"}" POLICY_TAIL);
	struct policy_compiled compiled;
	const struct spd_entry *entries;

	(void)state;
	assert_int_equal(policy_compile(policy, "eth0", pair_id, NULL, &compiled, NULL), 0);
	/* 2 locals (two touch and merge) x 1 remote x 2 protocols x 2 port ranges, and the peer */
	assert_int_equal(compiled.head.entries[SPD_OUT][FAMILY_V4], 9);
	assert_int_equal(compiled.head.entries[SPD_OUT][FAMILY_V6], 5);
	assert_int_equal(compiled.head.entries[SPD_IN][FAMILY_V4], 1);
	assert_int_equal(compiled.head.entries[SPD_IN][FAMILY_V6], 2);
	entries = compiled.entries[SPD_OUT][FAMILY_V4];
	assert_int_equal(entries[0].rule, 1);
	assert_int_equal(entries[0].flags,
			 SPD_F_PROTO | SPD_F_PORTS | SPD_F_ORIGIN_FORWARDED);
	assert_int_equal(entries[0].proto, PROTO_TCP);
	assert_int_equal(entries[0].local_port_lo, 1);
	assert_int_equal(entries[0].local_port_hi, 4);
	assert_int_equal(entries[0].remote_port_hi, 65535);
	assert_int_equal(entries[0].local_hi.lo, 0x0a01ffff);
	assert_int_equal(entries[8].action, SPD_PROTECT);
	assert_int_equal(entries[8].rule, 2);
	assert_int_equal(entries[8].protect_id, 1);
	assert_int_equal(entries[8].remote_lo.lo, 0x0a000002);
	assert_int_equal(entries[8].flags, 0);
	entries = compiled.entries[SPD_IN][FAMILY_V6];
	assert_int_equal(entries[1].flags, SPD_F_PROTO | SPD_F_ICMP);
	assert_int_equal(entries[1].icmp_type_lo, 128);
	assert_int_equal(entries[1].icmp_code_hi, 255);
	assert_int_equal(entries[1].protect_id, 0);
	assert_int_equal(compiled.head.essential, ESSENTIAL(ARP) | ESSENTIAL(ND));
	assert_int_equal(compiled.head.default_action[SPD_IN], SPD_BYPASS);
	assert_int_equal(compiled.head.default_action[SPD_OUT], SPD_DISCARD);
	assert_int_equal(compiled.head.non_ip_action, SPD_BYPASS);
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
	struct policy *most = product_policy(33, 31), *beyond = product_policy(32, 32);
	struct ipsecbpf_report report = { 0 };
	struct policy_compiled compiled = { 0 };

	(void)state;
	assert_int_equal(policy_compile(most, "eth0", pair_id, NULL, &compiled, &report), 0);
	assert_int_equal(compiled.head.entries[SPD_IN][FAMILY_V4], SPD_MAX_ENTRIES);
	policy_compiled_fini(&compiled);
	assert_int_equal(policy_compile(beyond, "eth0", pair_id, NULL, &compiled, &report),
			 -EINVAL);
	assert_int_equal(report.errors, 1);
	assert_non_null(strstr(report.items[0].object, "limit.json:1:"));
	assert_string_equal(report.items[0].cause, "the inbound IPv4 rules make 1025 entries, and "
			    "the limit is 1024: rule \"big\" alone makes 1024 (addresses x "
			    "protocols x ports)");
	report_fini(&report);
	policy_free(most);
	policy_free(beyond);
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
	struct ipsecbpf_report report = { 0 };
	struct policy_compiled compiled = { 0 };

	(void)state;
	assert_int_equal(policy_compile(policy, "eth0", note_pair, &asked, &compiled, &report), 0);
	assert_string_equal(asked.text, "gw/c b/b b/a gw/c ");
	assert_int_equal(compiled.entries[SPD_OUT][FAMILY_V4][0].protect_id, 3);
	assert_int_equal(compiled.entries[SPD_OUT][FAMILY_V4][1].protect_id, 4);
	policy_compiled_fini(&compiled);
	asked = (struct asked){ policy, "", 0, 1 };
	assert_int_equal(policy_compile(policy, "eth0", note_pair, &asked, &compiled, &report),
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
	assert_int_equal(policy_compile(policy, "eth0", no_id, NULL, &compiled, &report), -EINVAL);
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
		cmocka_unit_test(test_limit),
		cmocka_unit_test(test_no_protect_id),
		cmocka_unit_test(test_ids_of_bundles),
	};

	return cmocka_run_group_tests_name("policy_compile", tests, NULL, NULL);
}
