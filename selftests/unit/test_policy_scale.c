// SPDX-License-Identifier: BSD-2-Clause
/*
 * Policies of 100,000 rules, and the comparison of rules with each other that makes them possible: what
 * is found through the index is what is found by comparing every rule with every other.
 */
#include "policy_testing.h"

#include "lib/json_where.h"
#include "lib/rule_space.h"
#include "lint_reference.h"

#define MANY 100000

static uint32_t seed = 20260411;

static unsigned int below(unsigned int limit)
{
	seed = seed * 1664525u + 1013904223u;
	return (seed >> 8) % limit;
}

/* ---- many rules ---- */

/* Rule i is about a host of its own; those of `changed` and `moved` are unlike in another file. */
static char *many_rules(unsigned int changed, unsigned int moved, size_t *ret_len)
{
	char *text = NULL;
	FILE *out = open_memstream(&text, ret_len);

	fputs("{\"version\":1,\"bypass_essential\":[],\"accept_risk\":[\"no-arp\",\"bypass-private\"],"
	      "\"defaults\":{\"in\":\"discard\",\"out\":\"discard\",\"non_ip\":\"discard\"},"
	      "\"protections\":{\"vpn\":{\"mode\":\"tunnel\"}},"
	      "\"peers\":{\"b\":{\"addresses\":[\"192.0.2.1\"]}},\"rules\":[\n", out);
	for (unsigned int i = 0; i < MANY; i++) {
		unsigned int n = i == moved ? i + 1 : i == moved + 1 ? i - 1 : i;

		fprintf(out, "%s{\"name\":\"r%u\",\"remote\":\"", i ? ",\n" : "", n);
		if (n % 3)
			fprintf(out, "10.%u.%u.%u", n >> 16, n >> 8 & 255, n & 255);
		else
			fprintf(out, "2001:db8:%x:%x::/64", n >> 16, n & 65535);
		fprintf(out, "\",\"protocol\":\"tcp\",\"local_port\":%u,\"action\":%s}",
			n == changed ? 23 : 22,
			n % 10 ? n % 2 ? "\"bypass\"" : "\"discard\"" :
			"\"protect\",\"peer\":\"b\",\"protection\":\"vpn\"");
	}
	fputs("]}", out);
	fclose(out);
	return text;
}

static struct policy *parse_many(unsigned int changed, unsigned int moved)
{
	struct policy *policy;
	size_t len;
	char *text = many_rules(changed, moved, &len);

	policy = parse_good(text);
	free(text);
	return policy;
}

static void test_round_trip_of_many(void **state)
{
	struct policy *policy = parse_many(MANY, MANY), *again;
	struct policy_change *changes;
	char *text = policy_show(policy), *second;
	size_t count;

	(void)state;
	assert_int_equal(policy->rule_count, MANY);
	assert_int_equal(policy->rules[MANY - 1].at.line, MANY + 1);
	assert_int_equal(policy->rules[MANY - 1].at.column, 1);
	assert_non_null(text);
	again = parse_good(text);
	second = policy_show(again);
	assert_string_equal(text, second);
	assert_int_equal(policy_diff(policy, again, &changes, &count), 0);
	assert_int_equal(count, 0);
	policy_changes_free(changes, count);
	free(text);
	free(second);
	policy_free(policy);
	policy_free(again);
}

static void assert_change(const struct policy *before, const struct policy *after,
			  const char *object, const char *detail)
{
	struct policy_change *changes;
	size_t count;

	assert_int_equal(policy_diff(before, after, &changes, &count), 0);
	assert_int_equal(count, 1);
	assert_int_equal(changes[0].sign, '~');
	assert_string_equal(changes[0].object, object);
	assert_string_equal(changes[0].detail, detail);
	policy_changes_free(changes, count);
}

static void test_diff_of_many(void **state)
{
	struct policy *policy = parse_many(MANY, MANY), *changed = parse_many(77777, MANY);
	struct policy *moved = parse_many(MANY, 55555);

	(void)state;
	assert_change(policy, changed, "rule \"r77777\"", "local_port: 22 -> 23");
	assert_change(policy, moved, "order of rules", "\"r55556\" now comes before \"r55555\"");
	policy_free(policy);
	policy_free(changed);
	policy_free(moved);
}

/* Where an error is among them all, and no other is reported. */
static void test_errors_among_many(void **state)
{
	struct ipsecbpf_report report = { 0 };
	size_t len;
	char *text = many_rules(MANY, MANY, &len), *at = strstr(text, "\"r90000\"");

	(void)state;
	memcpy(at, "\"r10000\"", 8);	/* a name twice, 80,000 rules apart */
	at = strstr(text, "{\"name\":\"r80001\"");
	memcpy(strstr(at, "tcp"), "tpc", 3);
	assert_null(policy_parse(text, len, "many", &report));
	assert_int_equal(report.count, 2);
	assert_string_equal(report.items[0].object, "many:80003:61");
	assert_string_equal(report.items[0].next, "did you mean \"tcp\"?");
	assert_string_equal(report.items[1].object, "many:90002:1");
	assert_string_equal(report.items[1].cause,
			    "rule \"r10000\": the rule at line 10002 has the same name");
	report_fini(&report);
	free(text);
}

/* Of a kind of warning 100 are listed; the others are counted. */
static void test_warnings_are_counted(void **state)
{
	struct ipsecbpf_report report = { 0 };
	struct policy *policy = parse_many(MANY, MANY);

	(void)state;
	policy->accept_risk = 0;
	assert_int_equal(policy_check(policy, &report), 0);
	assert_int_equal(report.count, 102);	/* and no-arp */
	assert_non_null(strstr(report.items[100].cause, "W101 bypass-private: rule \"r"));
	assert_string_equal(report.items[101].object, "test.json:1:1");
	assert_string_equal(report.items[101].cause, "W101 bypass-private: 33233 more warnings of this "
			    "kind are not listed");
	report_fini(&report);
	policy_free(policy);
}

/* What would take ever so long is left, and a warning says so: each rule meets half of
 * the others but for its interface. */
static void test_work_is_bounded(void **state)
{
	struct ipsecbpf_report report = { 0 };
	struct policy *policy;
	char *text = NULL;
	size_t len, said = 0;
	FILE *out = open_memstream(&text, &len);

	(void)state;
	fputs("{\"version\":1,\"bypass_essential\":[\"arp\"],\"defaults\":{\"in\":\"discard\","
	      "\"out\":\"discard\",\"non_ip\":\"discard\"},\"rules\":[", out);
	for (unsigned int i = 0; i < 20000; i++)
		fprintf(out, "%s{\"name\":\"%u\",\"remote\":\"198.0.0.0/%s\",\"protocol\":\"tcp\","
			"\"%s\":%u,\"interface\":\"eth%u\",\"action\":\"%s\"}", i ? "," : "", i,
			i % 2 ? "8" : "9", i % 2 ? "local_port" : "remote_port", i, i,
			i % 2 ? "bypass" : "discard");
	fputs("]}", out);
	fclose(out);
	policy = policy_parse(text, len, "wide", &report);
	assert_non_null(policy);
	for (size_t i = 0; i < report.count; i++)
		said += !strncmp(report.items[i].cause, "W207 not-compared: the rules are too many",
				 41);
	assert_int_equal(said, 1);
	policy_free(policy);
	report_fini(&report);
	free(text);
}

/* More values than are read: one error that says where the limit is, and no other. */
static void test_many_values(void **state)
{
	struct ipsecbpf_report report = { 0 };
	size_t len = 2 * (JSON_WHERE_MAX + 8);
	char *text = malloc(len);

	(void)state;
	for (size_t i = 0; i < len; i += 2)
		memcpy(text + i, "0,", 2);
	memcpy(text, "[\n", 2);
	memcpy(text + len - 2, "0]", 2);
	assert_null(policy_parse(text, len, "values", &report));
	assert_int_equal(report.count, 1);
	assert_string_equal(report.items[0].object, "values:2:8388607");
	assert_string_equal(report.items[0].cause,
			    "more than 4194304 values, the most that is read");
	report_fini(&report);
	free(text);
}

/* ---- small worlds ---- */

#define WORLDS 400
#define RULES 90

static const char *const addresses[] = {
	"10.0.0.0/28", "10.0.0.1", "10.0.0.2", "10.0.0.2-10.0.0.9", "10.0.0.8/29", "10.0.0.0/8",
	"0.0.0.0/0", "10.9.0.0/16", "10.9.0.1", "255.255.255.255", "10.0.0.16/28", "10.9.0.0/24",
	"fd00::/124", "fd00::1", "fd00::2-fd00::9", "fd00::8/125", "fd00::/8", "::/0", "fd09::/64",
	"fd09::1", "fd00::2", "::", "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", "fd00::10/124",
};

static void print_addresses(FILE *out, const char *key, unsigned int family)
{
	unsigned int count = below(4) ? 1 : 1 + below(3);

	fprintf(out, ",\"%s\":[", key);
	for (unsigned int i = 0; i < count; i++)
		fprintf(out, "%s\"%s\"", i ? "," : "",
			addresses[family == 2 ? below(24) : family * 12 + below(12)]);
	fputc(']', out);
}

static void print_ports(FILE *out, const char *key)
{
	unsigned int lo = below(5);

	if (below(2))
		fprintf(out, ",\"%s\":[\"%u-%u\",%u]", key, lo, lo + below(3), below(12));
}

static void print_upper(FILE *out)
{
	switch (below(6)) {
	case 0:
		fputs(",\"protocol\":[\"tcp\",\"udp\"]", out);
		print_ports(out, "remote_port");
		break;
	case 1:
	case 2:
		fputs(",\"protocol\":\"tcp\"", out);
		print_ports(out, "local_port");
		print_ports(out, "remote_port");
		break;
	case 3:
		fprintf(out, ",\"protocol\":[\"icmp\",\"icmpv6\"],\"icmp_type\":\"%u-3\"", below(4));
		break;
	case 4:
		fputs(",\"protocol\":[1,58,6,47]", out);
		break;
	}
	if (!below(8))
		fprintf(out, ",\"dscp\":%u", below(2));
	if (!below(8))
		fprintf(out, ",\"vlan\":%u", below(2));
	if (!below(8))
		fprintf(out, ",\"interface\":\"%s\"", below(2) ? "eth0" : "eth*");
}

/* The family of one list fits that of the other one more often than not. */
static char *random_rule(unsigned int index)
{
	static const char *const directions[] = {
		"both", "in", "out", "out\",\"origin\":\"local", "both",
	};
	unsigned int family = below(3);
	char *text = NULL;
	size_t len;
	FILE *out = open_memstream(&text, &len);

	fprintf(out, "{\"name\":\"r%u\",\"direction\":\"%s\"", index, directions[below(5)]);
	if (below(5))
		print_addresses(out, "remote", family);
	if (!below(3))
		print_addresses(out, "local", family);
	print_upper(out);
	switch (below(5)) {
	case 0:
	case 1:
		fprintf(out, ",\"action\":\"protect\",\"peer\":\"p%u\",\"protection\":\"vpn\"}",
			below(3));
		break;
	case 2:
		fputs(",\"action\":\"discard\"}", out);
		break;
	default:
		fputs(",\"action\":\"bypass\"}", out);
	}
	fclose(out);
	return text;
}

static struct policy *parse_rules(char *const rules[RULES], bool bypass,
				  struct ipsecbpf_report *report)
{
	const char *word = bypass ? "bypass" : "discard";
	struct policy *policy;
	char *text = NULL;
	size_t len;
	FILE *out = open_memstream(&text, &len);
	bool any = false;

	fprintf(out, "{\"version\":1,\"bypass_essential\":[],\"defaults\":{\"in\":\"%s\",\"out\":"
		"\"discard\",\"non_ip\":\"discard\"},\"protections\":{\"vpn\":{\"mode\":\"tunnel\"}},"
		"\"peers\":{\"p0\":{\"addresses\":[\"192.0.2.1\"]},\"p1\":{\"addresses\":["
		"\"192.0.2.2\"]},\"p2\":{\"addresses\":[\"192.0.2.3\"]}},\"rules\":[", word);
	for (int i = 0; i < RULES; i++) {
		if (rules[i])
			fprintf(out, "%s\n%s", any ? "," : "", rules[i]);
		any |= rules[i] != NULL;
	}
	fputs("]}", out);
	fclose(out);
	policy = policy_parse(text, len, "world", report);
	free(text);
	return policy;
}

/* Rules that are wrong, or that others hide, are taken out until none is left. */
static struct policy *random_world(void)
{
	struct ipsecbpf_report report = { 0 };
	struct policy *policy = NULL;
	char *rules[RULES];
	bool bypass = below(2);
	unsigned int index;

	for (unsigned int i = 0; i < RULES; i++)
		rules[i] = random_rule(i);
	while (!policy) {
		policy = parse_rules(rules, bypass, &report);
		for (size_t i = 0; i < report.count && !policy; i++) {
			if (sscanf(report.items[i].cause, "rule \"r%u\"", &index) != 1)
				continue;
			free(rules[index]);
			rules[index] = NULL;
		}
		report_fini(&report);
	}
	for (int i = 0; i < RULES; i++)
		free(rules[i]);
	return policy;
}

/* Those findings that the reference knows, each without what follows its text. */
static char *findings(const struct ipsecbpf_report *report)
{
	static const char *const kinds[] = { "W102 ", "W104 ", "W106 " };
	char *text = NULL;
	size_t len;
	FILE *out = open_memstream(&text, &len);

	for (size_t i = 0; i < report->count; i++) {
		const char *cause = report->items[i].cause, *from = cause;
		bool known = report->items[i].level == REPORT_ERROR;

		for (size_t k = 0; k < sizeof(kinds) / sizeof(kinds[0]); k++)
			known |= !strncmp(cause, kinds[k], strlen(kinds[k]));
		if (!known)
			continue;
		if (report->items[i].level == REPORT_WARNING)
			from = strchr(cause, ':') + 2;
		/* The reason stands behind the last colon that has a space behind it. */
		fprintf(out, "%.*s\n", report->items[i].level == REPORT_ERROR ?
			(int)strlen(from) : (int)(strstr(from, ": ") - from), from);
	}
	fclose(out);
	return text;
}

static char *expected(const struct policy *policy, const struct selector *selectors)
{
	struct reference reference = { .policy = policy, .selectors = selectors };
	char *text = NULL;
	size_t len;

	reference.out = open_memstream(&text, &len);
	reference_reach(&reference);
	if (!fflush(reference.out) && !len)
		reference_lint(&reference);
	fclose(reference.out);
	return text;
}

static struct selector *make_selectors(const struct policy *policy)
{
	struct selector *selectors = calloc(policy->rule_count + 1, sizeof(*selectors));

	for (size_t i = 0; i < policy->rule_count; i++)
		assert_int_equal(selector_init(&selectors[i], &policy->rules[i]), 0);
	return selectors;
}

static void free_selectors(struct selector *selectors, size_t count)
{
	for (size_t i = 0; i < count; i++)
		selector_fini(&selectors[i]);
	free(selectors);
}

static size_t compare_to_reference(const struct policy *policy)
{
	struct selector *selectors = make_selectors(policy);
	struct ipsecbpf_report report = { 0 };
	char *said, *wanted = expected(policy, selectors);
	size_t found = 0;

	policy_check(policy, &report);
	said = findings(&report);
	assert_string_equal(said, wanted);
	for (const char *at = wanted; *at; at++)
		found += *at == '\n';
	free(said);
	free(wanted);
	report_fini(&report);
	free_selectors(selectors, policy->rule_count);
	return found;
}

static void shuffle(struct policy *policy)
{
	for (size_t i = policy->rule_count; i > 1; i--) {
		size_t other = below((unsigned int)i);
		struct rule kept = policy->rules[i - 1];

		policy->rules[i - 1] = policy->rules[other];
		policy->rules[other] = kept;
	}
}

static void test_lint_against_every_pair(void **state)
{
	size_t warnings = 0, errors = 0;

	(void)state;
	for (int world = 0; world < WORLDS; world++) {
		struct policy *policy = random_world();

		warnings += compare_to_reference(policy);
		shuffle(policy);	/* now some hide others */
		errors += compare_to_reference(policy);
		policy_free(policy);
	}
	assert_true(warnings > WORLDS && errors > WORLDS);
}

/* ---- the index itself ---- */

struct question {
	const struct selector *selectors;
	size_t rule;
	enum rule_relation relation;
};

static bool fits(void *context, size_t other)
{
	const struct question *question = context;
	const struct selector *one = &question->selectors[question->rule];
	const struct selector *two = &question->selectors[other];

	switch (question->relation) {
	case RULES_AROUND:
	case RULES_AT_CORNER:	/* whatever has it all has the corner */
		return selector_covers(two, one);
	case RULES_WITHIN:
		return selector_covers(one, two);
	default:
		return selector_overlaps(one, two);
	}
}

static size_t first_of_all(struct question *question, const struct rule_search *search)
{
	for (size_t i = search->from; i < search->below; i++)
		if (question->selectors[i].rule->action >= search->action_lo &&
		    question->selectors[i].rule->action <= search->action_hi && fits(question, i))
			return i;
	return RULE_NONE;
}

static void ask_everything(struct rule_space *space, const struct selector *selectors, size_t count)
{
	static const enum rule_relation relations[] = {
		RULES_AROUND, RULES_AT_CORNER, RULES_WITHIN, RULES_MEETING,
	};
	struct question question = { .selectors = selectors };

	for (size_t i = 0; i < 4 * count; i++) {
		struct rule_search search = {
			.relation = relations[i % 4], .from = below((unsigned int)count),
			.below = below((unsigned int)count + 1),
			.action_lo = below(2), .action_hi = SPD_DISCARD + below(2),
			.accept = fits, .context = &question,
		};

		question.rule = i / 4;
		question.relation = search.relation;
		assert_int_equal(rule_space_first(space, &search, question.rule),
				 first_of_all(&question, &search));
	}
}

static void test_index_against_a_plain_search(void **state)
{
	(void)state;
	for (int world = 0; world < WORLDS; world++) {
		struct policy *policy = random_world();
		struct selector *selectors = make_selectors(policy);
		struct rule_space space;

		assert_int_equal(rule_space_init(&space, selectors, policy->rule_count), 0);
		ask_everything(&space, selectors, policy->rule_count);
		space.hulls = true;	/* as if lists were too long to be taken apart */
		ask_everything(&space, selectors, policy->rule_count);
		rule_space_fini(&space);
		free_selectors(selectors, policy->rule_count);
		policy_free(policy);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_round_trip_of_many),
		cmocka_unit_test(test_diff_of_many),
		cmocka_unit_test(test_errors_among_many),
		cmocka_unit_test(test_warnings_are_counted),
		cmocka_unit_test(test_work_is_bounded),
		cmocka_unit_test(test_many_values),
		cmocka_unit_test(test_lint_against_every_pair),
		cmocka_unit_test(test_index_against_a_plain_search),
	};

	return cmocka_run_group_tests_name("policy_scale", tests, NULL, NULL);
}
