// SPDX-License-Identifier: BSD-2-Clause
/*
 * Warnings about policies: every file of schemas/examples/risky gives those that stand beside it and
 * no others, each can be accepted, and what is said of rules that cannot be reached agrees with trying
 * every packet of a small world. Runs in the repository's root.
 */
#include "policy_testing.h"

#include <dirent.h>

#include "lib/policy_risk.h"

#define RISKY "schemas/examples/risky/"

static char *read_file(const char *path)
{
	FILE *in = fopen(path, "r");
	char *text = calloc(1, 65536);

	if (!in)
		fail_msg("cannot open %s", path);
	assert_true(fread(text, 1, 65535, in) < 65535);
	fclose(in);
	return text;
}

/* ---- the corpus ---- */

/* "LINE:COLUMN: W101 ..." of the item begins like this line of the .expected file. */
static bool says(const struct report_item *item, const char *path, const char *line, size_t len)
{
	char *said;
	bool right;

	assert_true(asprintf(&said, "%s: %s", item->object + strlen(path) + 1, item->cause) > 0);
	right = !strncmp(said, line, len) && said[len] == ':';
	free(said);
	return right;
}

static void check_file(const char *path)
{
	struct ipsecbpf_report report = { 0 };
	struct policy *policy = policy_load(path, &report);
	char *said = report_text(&report), other[512], *expected, *line;
	size_t count = 0, len;

	if (!policy)
		fail_msg("%s:\n%s", path, said);
	snprintf(other, sizeof(other), "%.*s.expected", (int)strlen(path) - 5, path);
	expected = read_file(other);
	for (line = expected; *line; line += len + 1, count++) {
		len = strcspn(line, "\n");
		if (count >= report.count || report.items[count].level != REPORT_WARNING ||
		    !says(&report.items[count], path, line, len))
			fail_msg("%s: expected\n%.*s\namong\n%s", path, (int)len, line, said);
	}
	if (count != report.count)
		fail_msg("%s: %zu warnings, expected %zu:\n%s", path, report.count, count, said);
	free(expected);
	free(said);
	report_fini(&report);
	policy_free(policy);
}

/* With every risk accepted but one, only that one is warned of: accepting is by name. */
static void check_accepting(const char *path)
{
	for (int kept = -1; kept < POLICY_RISK_COUNT; kept++) {
		char *text = read_file(path), *defaults = strstr(text, "\"defaults\""), *changed, *at;
		char list[1024] = "";
		struct ipsecbpf_report report = { 0 };
		struct policy *policy;

		at = strstr(text, "  \"accept_risk\": [\"default-bypass\"],\n");
		if (at && kept == RISK_DEFAULT_BYPASS) {
			free(text);
			continue;	/* the file accepts that itself */
		}
		if (at)
			memset(at, ' ', strlen("  \"accept_risk\": [\"default-bypass\"],"));
		for (int risk = 0; risk < POLICY_RISK_COUNT; risk++)
			if (risk != kept)
				snprintf(list + strlen(list), sizeof(list) - strlen(list), "%s\"%s\"",
					 *list ? "," : "", policy_risk_text(risk)->word);
		assert_true(asprintf(&changed, "%.*s\"accept_risk\":[%s],%s", (int)(defaults - text),
				     text, list, defaults) > 0);
		policy = policy_parse(changed, strlen(changed), path, &report);
		assert_non_null(policy);
		for (size_t i = 0; i < report.count; i++)
			if (kept < 0 || !strstr(report.items[i].cause, policy_risk_text(kept)->word))
				fail_msg("%s: not silenced: %s", path, report.items[i].cause);
		report_fini(&report);
		policy_free(policy);
		free(changed);
		free(text);
	}
}

static int is_policy(const struct dirent *entry)
{
	return strstr(entry->d_name, ".json") != NULL;
}

static void test_corpus(void **state)
{
	struct dirent **entries;
	int count = scandir(RISKY, &entries, is_policy, alphasort);
	char path[512];

	(void)state;
	assert_true(count >= 10);
	for (int i = 0; i < count; i++) {
		snprintf(path, sizeof(path), RISKY "%s", entries[i]->d_name);
		check_file(path);
		check_accepting(path);
		free(entries[i]);
	}
	free(entries);
}

/* Every risk has an example, and its word is in the schema. */
static void test_every_risk_is_known(void **state)
{
	char *schema = read_file("schemas/policy.schema.json"), quoted[64], path[512];
	bool shown[POLICY_RISK_COUNT] = { false };
	struct dirent **entries;
	int count = scandir(RISKY, &entries, is_policy, alphasort);

	(void)state;
	for (int i = 0; i < count; i++) {
		char *expected;

		snprintf(path, sizeof(path), RISKY "%.*s.expected",
			 (int)strlen(entries[i]->d_name) - 5, entries[i]->d_name);
		expected = read_file(path);
		for (int risk = 0; risk < POLICY_RISK_COUNT; risk++) {
			snprintf(quoted, sizeof(quoted), " W%u %s:", policy_risk_text(risk)->number,
				 policy_risk_text(risk)->word);
			shown[risk] |= strstr(expected, quoted) != NULL;
		}
		free(expected);
		free(entries[i]);
	}
	free(entries);
	for (int risk = 0; risk < POLICY_RISK_COUNT; risk++) {
		snprintf(quoted, sizeof(quoted), "\"%s\"", policy_risk_text(risk)->word);
		if (!strstr(schema, quoted) || !shown[risk])
			fail_msg("%s: not in the schema, or without an example", quoted);
	}
	free(schema);
}

/* What is not there is not to be called risky. */
static void test_errors_come_alone(void **state)
{
	static const char text[] = "{\"version\": 99}";
	struct ipsecbpf_report report = { 0 };

	(void)state;
	assert_null(policy_parse(text, strlen(text), "p", &report));
	assert_true(report.errors > 0);
	assert_int_equal(report.errors, report.count);
	report_fini(&report);
}

static void test_accepted_is_shown(void **state)
{
	struct policy *policy = parse_good(
		"{\"version\":1,\"bypass_essential\":[],\"accept_risk\":[\"unused\",\"conflict\"],"
		"\"defaults\":{\"in\":\"discard\",\"out\":\"discard\",\"non_ip\":\"bypass\"},"
		"\"rules\":[{\"name\":\"a\",\"accept_risk\":[\"half-rule\"],\"action\":\"bypass\"}]}");
	struct policy *other = parse_good(
		"{\"version\":1,\"bypass_essential\":[],"
		"\"defaults\":{\"in\":\"discard\",\"out\":\"discard\",\"non_ip\":\"bypass\"},"
		"\"rules\":[{\"name\":\"a\",\"action\":\"bypass\"}]}");
	struct policy_change *changes;
	char *text = policy_show(policy);
	size_t count;

	(void)state;
	assert_non_null(strstr(text, "  \"accept_risk\": [\n    \"conflict\",\n    \"unused\"\n  ],"));
	assert_non_null(strstr(text, "      \"accept_risk\": [\n        \"half-rule\"\n"));
	assert_int_equal(policy_diff(policy, other, &changes, &count), 0);
	assert_int_equal(count, 2);
	assert_string_equal(changes[0].object, "accept_risk");
	assert_string_equal(changes[1].object, "rule \"a\"");
	policy_changes_free(changes, count);
	free(text);
	policy_free(policy);
	policy_free(other);
}

/* ---- what cannot be reached, against every packet of a small world ---- */

#define WORLDS 3000
#define RULES 6

struct small_rule {
	int direction;			/* 0: both, 1: in, 2: out */
	int proto;			/* 0: any, 1: tcp, 2: udp */
	int host_lo, host_hi;		/* 192.0.2.HOST; lo < 0: any */
	int port_lo, port_hi;		/* local; lo < 0: any */
	int vlans;			/* bits of VLANs 0-2 and the rest up to 4094; 0: any */
	int dscps;			/* bits of a lower and an upper part; 0: any */
};

/* Hosts 0-3 and one outside, ports likewise, protocols tcp, udp and another, VLANs 0-2, one of the
 * rest and 4095, a DSCP of each part and one outside. */
struct small_packet {
	int direction, proto, host, port, vlan, dscp;
};
#define SMALL_PACKETS (2 * 3 * 5 * 5 * 5 * 3)

static uint32_t seed = 20240117;

static int random_below(int limit)
{
	seed = seed * 1664525u + 1013904223u;
	return (int)((seed >> 8) % (uint32_t)limit);
}

static struct small_rule random_rule(void)
{
	struct small_rule rule = {
		.direction = random_below(3), .proto = random_below(3), .host_lo = -1, .port_lo = -1,
	};

	if (random_below(4)) {
		rule.host_lo = random_below(4);
		rule.host_hi = rule.host_lo + random_below(4 - rule.host_lo);
	}
	if (rule.proto && random_below(2)) {
		rule.port_lo = random_below(4);
		rule.port_hi = rule.port_lo + random_below(4 - rule.port_lo);
	}
	if (!random_below(3))
		rule.vlans = 1 + random_below(15);
	if (!random_below(3))
		rule.dscps = 1 + random_below(3);
	return rule;
}

static struct small_packet small_packet(int number)
{
	return (struct small_packet){
		.direction = number % 2 + 1, .proto = number / 2 % 3 + 1, .host = number / 6 % 5,
		.port = number / 30 % 5, .vlan = number / 150 % 5, .dscp = number / 750,
	};
}

static bool matches(const struct small_rule *rule, const struct small_packet *packet)
{
	return (!rule->direction || rule->direction == packet->direction) &&
	       (!rule->proto || rule->proto == packet->proto) &&
	       (rule->host_lo < 0 ||
		(packet->host >= rule->host_lo && packet->host <= rule->host_hi)) &&
	       (rule->port_lo < 0 ||
		(packet->port >= rule->port_lo && packet->port <= rule->port_hi)) &&
	       (!rule->vlans || rule->vlans >> packet->vlan & 1) &&
	       (!rule->dscps || rule->dscps >> packet->dscp & 1);
}

static bool is_reached(const struct small_rule *rules, int index)
{
	for (int number = 0; number < SMALL_PACKETS; number++) {
		struct small_packet packet = small_packet(number);
		int first = 0;

		while (first < index && !matches(&rules[first], &packet))
			first++;
		if (first == index && matches(&rules[index], &packet))
			return true;
	}
	return false;
}

/* The elements whose bits are set, as a list. */
static void write_list(FILE *out, const char *key, int bits, const char *const *elements)
{
	const char *comma = "";

	if (!bits)
		return;
	fprintf(out, ",\"%s\":[", key);
	for (int i = 0; bits >> i; i++)
		if (bits >> i & 1) {
			fprintf(out, "%s%s", comma, elements[i]);
			comma = ",";
		}
	fputc(']', out);
}

static void write_rule(FILE *out, const struct small_rule *rule, int index)
{
	static const char *const directions[] = { "both", "in", "out" };
	static const char *const vlans[] = { "0", "\"1-1\"", "2", "\"3-4094\"" };
	static const char *const dscps[] = { "\"0-20\"", "\"22-63\"" };

	fprintf(out, "%s{\"name\":\"r%d\",\"direction\":\"%s\",\"action\":\"discard\"",
		index ? "," : "", index, directions[rule->direction]);
	if (rule->proto)
		fprintf(out, ",\"protocol\":\"%s\"", rule->proto == 1 ? "tcp" : "udp");
	if (rule->host_lo >= 0)
		fprintf(out, ",\"remote\":\"192.0.2.%d-192.0.2.%d\"", rule->host_lo, rule->host_hi);
	if (rule->port_lo >= 0)
		fprintf(out, ",\"local_port\":\"%d-%d\"", rule->port_lo, rule->port_hi);
	write_list(out, "vlan", rule->vlans, vlans);
	write_list(out, "dscp", rule->dscps, dscps);
	fputs("}", out);
}

static void compare_world(const struct small_rule *rules, size_t *ret_together)
{
	struct ipsecbpf_report report = { 0 };
	char *text = NULL, *said, needle[64];
	struct policy *policy;
	size_t len;
	FILE *out = open_memstream(&text, &len);

	fputs("{\"version\":1,\"bypass_essential\":[],\"accept_risk\":[\"no-arp\"],\"defaults\":"
	      "{\"in\":\"discard\",\"out\":\"discard\",\"non_ip\":\"discard\"},\"rules\":[", out);
	for (int i = 0; i < RULES; i++)
		write_rule(out, &rules[i], i);
	fputs("]}", out);
	fclose(out);
	policy = policy_parse(text, len, "world", &report);
	said = report_text(&report);
	for (int i = 0; i < RULES; i++) {
		snprintf(needle, sizeof(needle), "rule \"r%d\" can never match", i);
		/* Errors hide the warnings: then only what is said can be wrong. */
		if (strstr(said, needle) ? is_reached(rules, i) : policy && !is_reached(rules, i))
			fail_msg("rule r%d %s reached in\n%s\n%s", i,
				 is_reached(rules, i) ? "is" : "is not", text, said);
	}
	*ret_together += policy && strstr(said, "can never match");
	free(said);
	free(text);
	report_fini(&report);
	policy_free(policy);
}

static void test_reach_against_every_packet(void **state)
{
	struct small_rule rules[RULES];
	size_t together = 0;

	(void)state;
	for (int world = 0; world < WORLDS; world++) {
		for (int i = 0; i < RULES; i++)
			rules[i] = random_rule();
		compare_world(rules, &together);
	}
	assert_true(together > 30);	/* rules that no other alone covers */
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_corpus),
		cmocka_unit_test(test_every_risk_is_known),
		cmocka_unit_test(test_errors_come_alone),
		cmocka_unit_test(test_accepted_is_shown),
		cmocka_unit_test(test_reach_against_every_packet),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
