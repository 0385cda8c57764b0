// SPDX-License-Identifier: BSD-2-Clause
/*
 * Compiling: what the entries decide is what the rules say. The judge is a matcher that reads
 * struct policy directly and shares no code with the compiler.
 */
#include "policy_testing.h"

#include <errno.h>
#include <fnmatch.h>

#define PROTO_TCP 6

struct test_packet {
	enum spd_direction direction;
	enum ip_family family;
	struct addr128 local, remote;
	uint8_t proto;
	bool has_ports;		/* false for later fragments */
	uint16_t local_port, remote_port;
	bool has_icmp;
	uint8_t icmp_type, icmp_code;
	bool forwarded;
};

static uint32_t pair_id(void *context, size_t peer, size_t protection)
{
	(void)context;
	return (uint32_t)(1 + peer * 100 + protection);
}

static bool in_range(struct addr128 lo, struct addr128 hi, struct addr128 addr)
{
	unsigned __int128 l = (unsigned __int128)lo.hi << 64 | lo.lo;
	unsigned __int128 h = (unsigned __int128)hi.hi << 64 | hi.lo;
	unsigned __int128 a = (unsigned __int128)addr.hi << 64 | addr.lo;

	return l <= a && a <= h;
}

/* ---- the reference: rules as the documentation states them ---- */

static bool in_list(const struct address_list *list, enum ip_family family, struct addr128 addr)
{
	for (size_t i = 0; i < list->count; i++)
		if (list->items[i].family == family &&
		    in_range(list->items[i].lo, list->items[i].hi, addr))
			return true;
	return list->count == 0;
}

static bool port_in_list(const struct port_list *list, uint16_t port)
{
	for (size_t i = 0; i < list->count; i++)
		if (list->items[i].lo <= port && port <= list->items[i].hi)
			return true;
	return list->count == 0;
}

static bool protocol_in_rule(const struct rule *rule, const struct test_packet *packet)
{
	for (size_t i = 0; i < rule->protocol_count; i++)
		if (rule->protocols[i] == packet->proto)
			return !(packet->proto == 1 && packet->family == FAMILY_V6) &&
			       !(packet->proto == 58 && packet->family == FAMILY_V4);
	return rule->protocol_count == 0;
}

static bool rule_matches(const struct rule *rule, const char *ifname,
			 const struct test_packet *packet)
{
	bool interface = rule->interface_count == 0;

	for (size_t i = 0; i < rule->interface_count; i++)
		interface = interface || !fnmatch(rule->interfaces[i], ifname, 0);
	if (!interface || (rule->direction == RULE_IN && packet->direction == SPD_OUT) ||
	    (rule->direction == RULE_OUT && packet->direction == SPD_IN))
		return false;
	if ((rule->origin == ORIGIN_LOCAL && packet->forwarded) ||
	    (rule->origin == ORIGIN_FORWARDED && !packet->forwarded))
		return false;
	if ((rule->local_port.count || rule->remote_port.count) &&
	    (!packet->has_ports || !port_in_list(&rule->local_port, packet->local_port) ||
	     !port_in_list(&rule->remote_port, packet->remote_port)))
		return false;
	if (rule->icmp_given &&
	    (!packet->has_icmp || packet->icmp_type < rule->icmp_type_lo ||
	     packet->icmp_type > rule->icmp_type_hi || packet->icmp_code < rule->icmp_code_lo ||
	     packet->icmp_code > rule->icmp_code_hi))
		return false;
	return in_list(&rule->local, packet->family, packet->local) &&
	       in_list(&rule->remote, packet->family, packet->remote) &&
	       protocol_in_rule(rule, packet);
}

static uint32_t reference_verdict(const struct policy *policy, const char *ifname,
				  const struct test_packet *packet)
{
	for (size_t i = 0; i < policy->rule_count; i++)
		if (rule_matches(&policy->rules[i], ifname, packet))
			return (uint32_t)i;
	return SPD_RULE_DEFAULT;
}

/* ---- the entries, searched as abi.h says ---- */

static bool entry_matches(const struct spd_entry *entry, const struct test_packet *packet)
{
	if (!in_range(entry->local_lo, entry->local_hi, packet->local) ||
	    !in_range(entry->remote_lo, entry->remote_hi, packet->remote))
		return false;
	if ((entry->flags & SPD_F_PROTO) && entry->proto != packet->proto)
		return false;
	if ((entry->flags & SPD_F_PORTS) &&
	    (!packet->has_ports || packet->local_port < entry->local_port_lo ||
	     packet->local_port > entry->local_port_hi ||
	     packet->remote_port < entry->remote_port_lo ||
	     packet->remote_port > entry->remote_port_hi))
		return false;
	if ((entry->flags & SPD_F_ICMP) &&
	    (!packet->has_icmp || packet->icmp_type < entry->icmp_type_lo ||
	     packet->icmp_type > entry->icmp_type_hi || packet->icmp_code < entry->icmp_code_lo ||
	     packet->icmp_code > entry->icmp_code_hi))
		return false;
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

/* ---- random policies and packets, from few values so that they meet ---- */

static unsigned int seed;

static unsigned int below(unsigned int limit)
{
	return (unsigned int)rand_r(&seed) % limit;
}

static void print_addresses(FILE *out, const char *key)
{
	static const char *const pool[] = {
		"10.0.0.0/30", "10.0.0.1", "10.0.0.2-10.0.0.5", "10.0.0.4/31", "0.0.0.0/0",
		"fd00::/126", "fd00::1", "fd00::2-fd00::5", "::/0", "255.255.255.255",
	};
	unsigned int count = 1 + below(3);

	if (below(3) == 0)
		return;
	fprintf(out, ",\"%s\":[", key);
	for (unsigned int i = 0; i < count; i++)
		fprintf(out, "%s\"%s\"", i ? "," : "", pool[below(10)]);
	fputc(']', out);
}

static void print_ports(FILE *out, const char *key)
{
	unsigned int count = 1 + below(3);

	if (below(2))
		return;
	fprintf(out, ",\"%s\":[", key);
	for (unsigned int i = 0; i < count; i++) {
		unsigned int lo = below(6);

		fprintf(out, "%s\"%u-%u\"", i ? "," : "", lo, lo + below(3));
	}
	fputc(']', out);
}

static void print_protocols(FILE *out)
{
	switch (below(5)) {
	case 0:
		fputs(",\"protocol\":[\"tcp\",\"udp\"]", out);
		print_ports(out, "local_port");
		print_ports(out, "remote_port");
		break;
	case 1:
		fprintf(out, ",\"protocol\":\"icmp\",\"icmp_type\":\"%u-3\",\"icmp_code\":%u",
			below(4), below(2));
		break;
	case 2:
		fprintf(out, ",\"protocol\":\"icmpv6\",\"icmp_type\":%u", below(4));
		break;
	case 3:
		fputs(",\"protocol\":[1,58,6,47]", out);
		break;
	}
}

static void print_rule(FILE *out, unsigned int index)
{
	static const char *const directions[] = {
		"both", "in", "out", "out\",\"origin\":\"local", "out\",\"origin\":\"forwarded",
	};
	static const char *const interfaces[] = { "[\"eth0\",\"wlan*\"]", "\"eth1\"", "\"e*\"" };

	fprintf(out, "%s{\"name\":\"%u\",\"direction\":\"%s\"", index ? "," : "", index,
		directions[below(5)]);
	if (below(3) == 0)
		fprintf(out, ",\"interface\":%s", interfaces[below(3)]);
	print_addresses(out, "local");
	print_addresses(out, "remote");
	print_protocols(out);
	fputs(below(2) ? ",\"action\":\"bypass\"}" :
	      ",\"action\":\"protect\",\"peer\":\"b\",\"protection\":\"vpn\"}", out);
}

/* A policy that parses; contradictory ones (families apart, unreachable rules) are thrown away. */
static struct policy *random_policy(void)
{
	struct policy *policy = NULL;

	while (!policy) {
		unsigned int count = 4 + below(6);
		char *text = NULL;
		size_t len;
		FILE *out = open_memstream(&text, &len);

		fputs(POLICY_HEAD, out);
		for (unsigned int i = 0; i < count; i++)
			print_rule(out, i);
		fputs(POLICY_TAIL, out);
		fclose(out);
		policy = policy_parse(text, len, "random", NULL);
		free(text);
	}
	return policy;
}

static struct addr128 random_address(enum ip_family family)
{
	uint64_t low = below(8);

	if (family == FAMILY_V4)
		return (struct addr128){ 0, below(8) ? 0x0a000000 + low : 0xffffffff - low % 2 };
	return (struct addr128){ below(8) ? 0xfd00ull << 48 : 0, low };
}

static struct test_packet random_packet(void)
{
	static const uint8_t protocols[] = { 1, 58, 6, 17, 47 };
	struct test_packet packet = {
		.direction = below(2), .family = below(2), .proto = protocols[below(5)],
		.local_port = (uint16_t)below(9), .remote_port = (uint16_t)below(9),
		.icmp_type = (uint8_t)below(5), .icmp_code = (uint8_t)below(3),
	};

	packet.local = random_address(packet.family);
	packet.remote = random_address(packet.family);
	packet.has_ports = (packet.proto == 6 || packet.proto == 17) && below(8);
	packet.has_icmp = packet.proto == (packet.family == FAMILY_V4 ? 1 : 58) && below(8);
	packet.forwarded = packet.direction == SPD_OUT && below(2);
	return packet;
}

/* What show prints compiles to the very same entries: nothing is lost in it. */
static void assert_shown_is_equal(const struct policy *policy,
				  const struct policy_compiled *compiled)
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
	policy_compiled_fini(&second);
	policy_free(again);
	free(text);
}

static void test_against_reference(void **state)
{
	unsigned int by_rule = 0;

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
		assert_shown_is_equal(policy, &compiled);
		policy_compiled_fini(&compiled);
		policy_free(policy);
	}
	assert_in_range(by_rule, 30000, 130000);	/* both kinds are many */
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
	};

	return cmocka_run_group_tests_name("policy_compile", tests, NULL, NULL);
}
