// SPDX-License-Identifier: BSD-2-Clause
/*
 * Applications as text: what the parser makes of them, canonical text and back, differences,
 * digests, lines. What is wrong with them is in schemas/examples/bad/app-*. Runs in the repository's root.
 */
#include "policy_testing.h"

#include "lib/policy_source.h"

#define HEAD									\
	"{\"version\":1,\"bypass_essential\":[\"arp\",\"nd\",\"mld\"],"		\
	"\"defaults\":{\"in\":\"discard\",\"out\":\"discard\",\"non_ip\":\"discard\"},"	\
	"\"protections\":{\"p\":{},\"o\":{\"level\":\"optional\"},\"vpn\":{\"mode\":\"tunnel\"}},"	\
	"\"peers\":{\"b\":{\"addresses\":[\"192.0.2.2\"]},\"c\":{\"addresses\":[\"192.0.2.3\"]}},"	\
	"\"rules\":[],\"applications\":["
#define TAIL "]}"

/* An application of user `user`, with these members. */
#define APP(name, user, rest) "{\"name\":\"" name "\",\"match\":{\"user\":" user "}," rest "}"
#define NET(remote, rest) "{\"remote\":" remote "," rest "}"
#define PROTECTED(items) "\"class\":\"protected\",\"protect\":" items

static void assert_said(const char *text, size_t len, const char *expected)
{
	struct ipsecbpf_report report = { 0 };
	struct policy *policy = policy_parse(text, len, "test.json", &report);
	char *said = report_text(&report);

	if (!strstr(said, expected))
		fail_msg("expected\n  %s\namong\n%s", expected, said);
	free(said);
	policy_free(policy);
	report_fini(&report);
}

/* ---- what is read ---- */

static void test_matches(void **state)
{
	struct policy *policy = parse_good(HEAD "{\"name\":\"a\",\"networks\":[],\"match\":["
		"{\"cgroup\":\"/1/2/3/4/5/6/7/8\",\"executable\":\"/bin/x y\"},"
		"{\"unit\":\"getty@tty1.service\",\"group\":4294967294},"
		"{\"user\":\"DOM\\\\alice\",\"group\":0}]}" TAIL);
	const struct application *one = &policy->applications[0];

	(void)state;
	assert_int_equal(policy->application_count, 1);
	assert_int_equal(one->match_count, 3);
	assert_string_equal(one->matches[0].cgroup, "/1/2/3/4/5/6/7/8");
	assert_string_equal(one->matches[0].exe, "/bin/x y");
	assert_null(one->matches[0].unit);
	assert_null(one->matches[0].user);
	assert_null(one->matches[0].group);
	assert_null(one->matches[1].cgroup);
	assert_string_equal(one->matches[1].unit, "getty@tty1.service");
	assert_string_equal(one->matches[1].group, "4294967294");
	assert_string_equal(one->matches[2].user, "DOM\\alice");
	assert_string_equal(one->matches[2].group, "0");
	assert_int_equal(one->network_count, 0);
	assert_false(one->default_discard);
	assert_int_equal(one->optional_rate, APP_OPTIONAL_RATE_DEFAULT);
	assert_int_equal(one->flows_max, APP_FLOWS_DEFAULT);
	policy_free(policy);
}

static void test_networks(void **state)
{
	struct policy *policy = parse_good(HEAD APP("a", "1",
		"\"default\":\"discard\",\"optional_rate\":0,\"max_flows\":262144,\"networks\":["
		NET("[\"B.Example.\",\"10.0.0.0/8\",\"xn--bcher-kva.example\",\"fd00::1-fd00::9\","
		    "\"localhost\",\"3com.example\",\"a1.b2\"]", "\"class\":\"trusted\"") ","
		NET("\"any\"", "\"class\":\"untrusted\"") "]") TAIL);
	const struct application *one = &policy->applications[0];
	static const char *const names[] = {
		"b.example", "xn--bcher-kva.example", "localhost", "3com.example", "a1.b2",
	};

	(void)state;
	assert_int_equal(one->network_count, 2);
	assert_int_equal(one->networks[0].class, APP_TRUSTED);
	assert_int_equal(one->networks[0].remote.count, 2);
	assert_int_equal(one->networks[0].remote.items[1].family, FAMILY_V6);
	assert_int_equal(one->networks[0].name_count, 5);
	for (size_t i = 0; i < 5; i++)
		assert_string_equal(one->networks[0].names[i], names[i]);
	assert_int_equal(one->networks[1].class, APP_UNTRUSTED);
	assert_int_equal(one->networks[1].remote.count, 0);
	assert_int_equal(one->networks[1].name_count, 0);
	assert_true(one->default_discard);
	assert_int_equal(one->optional_rate, 0);
	assert_int_equal(one->flows_max, 262144);
	policy_free(policy);
}

/* What a direction is not told, the protection's level says. */
static void test_protections(void **state)
{
	static const enum app_demand expected[][2] = {
		{ DEMAND_REQUIRE, DEMAND_REQUIRE }, { DEMAND_REQUEST, DEMAND_REQUEST },
		{ DEMAND_NONE, DEMAND_REQUIRE }, { DEMAND_REQUEST, DEMAND_NONE },
		{ DEMAND_REQUEST, DEMAND_REQUIRE },
	};
	struct policy *policy = parse_good(HEAD APP("a", "1", "\"networks\":["
		NET("\"192.0.2.0/24\"", PROTECTED("[{\"protection\":\"p\",\"protocol\":\"tcp\","
			"\"local_port\":[21,\"30-40\"],\"remote_port\":7,\"peer\":[\"c\",\"b\"]},"
		"{\"protection\":\"o\",\"protocol\":[17]},"
		"{\"protection\":\"p\",\"in\":\"none\",\"protocol\":\"gre\"},"
		"{\"out\":\"none\",\"protection\":\"o\",\"protocol\":\"udplite\"},"
		"{\"protection\":\"p\",\"in\":\"request\",\"sa\":\"shared\"}]")) "]") TAIL);
	const struct app_network *network = &policy->applications[0].networks[0];
	const struct app_protect *first = &network->protect[0];

	(void)state;
	assert_int_equal(network->protect_count, 5);
	for (size_t i = 0; i < 5; i++)
		for (int way = 0; way < SPD_DIRECTION_COUNT; way++)
			assert_int_equal(network->protect[i].demand[way], expected[i][way]);
	assert_int_equal(first->peer_count, 2);
	assert_int_equal(first->peers[0], 1);
	assert_int_equal(first->peers[1], 0);
	assert_int_equal(first->protocols[0], 6);
	assert_int_equal(first->local_port.items[1].hi, 40);
	assert_int_equal(first->remote_port.items[0].lo, 7);
	assert_int_equal(network->protect[1].protection, 1);
	assert_int_equal(network->protect[1].peer_count, 0);
	policy_free(policy);
}

/* A rule asks for what its protection's level says. */
static void test_level_of_rules(void **state)
{
	struct policy *policy = parse_good(PROTECTIONS_HEAD "\"p\":{\"level\":\"mandatory\"},"
		"\"o\":{\"level\":\"optional\"}},\"peers\":{\"b\":{\"addresses\":[\"10.0.0.2\"]}},"
		"\"rules\":["
		"{\"name\":\"a\",\"action\":\"protect\",\"peer\":\"b\",\"protection\":\"o\","
		"\"protocol\":\"tcp\"},"
		"{\"name\":\"b\",\"action\":\"protect\",\"peer\":\"b\",\"protection\":\"p\"}]}");
	struct policy_need *needs;
	size_t count;

	(void)state;
	assert_int_equal(policy->rules[0].level, LEVEL_OPTIONAL);
	assert_int_equal(policy->rules[1].level, LEVEL_MANDATORY);
	assert_int_equal(policy_needs(policy, "eth0", &needs, &count), 0);
	assert_int_equal(count, 1);	/* what is optional can do without */
	assert_int_equal(needs[0].pair.protection, 0);
	free(needs);
	policy_free(policy);
}

/* What names stand for is not known yet: a peer may be there. So it may behind a gateway. */
static void test_peers_elsewhere(void **state)
{
	struct ipsecbpf_report report = { 0 };
	static const char text[] = HEAD APP("a", "1",
		"\"accept_risk\":[\"host-names\"],\"networks\":["
		NET("\"b.example\"", PROTECTED("{\"protection\":\"p\",\"peer\":\"b\"}")) ","
		NET("\"c.example\"", PROTECTED("{\"protection\":\"o\",\"in\":\"require\","
						 "\"out\":\"none\"}")) ","
		NET("\"10.0.0.0/8\"", PROTECTED("{\"protection\":\"vpn\",\"peer\":\"b\"}")) ","
		NET("\"any\"", PROTECTED("{\"protection\":\"p\",\"peer\":\"c\"}")) "]") TAIL;
	struct policy *policy = policy_parse(text, sizeof(text) - 1, "p", &report);
	char *said = report_text(&report);

	(void)state;
	assert_string_equal(said, "errors: 0\n");
	assert_non_null(policy);
	free(said);
	report_fini(&report);
	policy_free(policy);
}

/* Who lets everything pass for everybody loses nothing by a program that anybody can be. */
static void test_executable_of_open_host(void **state)
{
	static const char apps[] = "\"applications\":[{\"name\":\"a\",\"match\":"
		"{\"executable\":\"/x\"},\"networks\":[" NET("\"any\"", "\"class\":\"trusted\"") "]}]}";
	static const struct { const char *out, *rule; bool warned; } cases[] = {
		{ "bypass", "", false },
		{ "bypass", NET("\"10.0.0.1\"", "\"name\":\"r\",\"action\":\"bypass\""), false },
		{ "bypass", NET("\"10.0.0.1\"", "\"name\":\"r\",\"action\":\"discard\""), true },
		{ "discard", "", true },
	};
	char text[1024];

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct ipsecbpf_report report = { 0 };
		struct policy *policy;
		char *said;

		snprintf(text, sizeof(text), "{\"version\":1,\"bypass_essential\":[],\"defaults\":"
			 "{\"in\":\"bypass\",\"out\":\"%s\",\"non_ip\":\"bypass\"},"
			 "\"rules\":[%s],%s", cases[i].out, cases[i].rule, apps);
		policy = policy_parse(text, strlen(text), "p", &report);
		said = report_text(&report);
		assert_non_null(policy);
		assert_int_equal(strstr(said, "executable-alone") != NULL, cases[i].warned);
		free(said);
		report_fini(&report);
		policy_free(policy);
	}
}

/* ---- limits ---- */

static char *print_many(int count, size_t *ret_len)
{
	char *text = NULL;
	FILE *out = open_memstream(&text, ret_len);

	assert_non_null(out);
	fputs(HEAD, out);
	for (int i = 0; i < count; i++)
		fprintf(out, "%s\n{\"name\":\"a%d\",\"match\":{\"user\":%d},\"networks\":[]}",
			i ? "," : "", i, i);
	fputs(TAIL, out);
	fclose(out);
	return text;
}

static void test_ten_thousand(void **state)
{
	struct policy *policy;
	size_t len;
	char *text = print_many(10000, &len);

	(void)state;
	policy = parse_good(text);
	assert_int_equal(policy->application_count, 10000);
	assert_string_equal(policy->applications[9999].name, "a9999");
	policy_free(policy);
	free(text);
	text = print_many(10001, &len);
	assert_said(text, len, "test.json:10002:1: applications: 10001 applications: more than the "
		    "limit of 10000, and this is the first of those beyond");
	free(text);
}

/* Each is refused before anything is compared with anything. */
static void test_long_lists(void **state)
{
	static const struct { const char *head, *item, *tail, *expected; int count; } cases[] = {
		{ "\"networks\":[", "{\"remote\":\"any\",\"class\":\"trusted\"}", "]",
		  "networks: 1025 elements: more than the limit of 1024", 1025 },
		{ "\"networks\":[{\"remote\":[", "\"10.0.0.1\"", "],\"class\":\"trusted\"}]",
		  "remote: 1025 elements: more than the limit of 1024", 1025 },
		{ "\"networks\":[{\"remote\":\"any\"," "\"class\":\"protected\",\"protect\":[",
		  "{\"protection\":\"p\"}", "]}]",
		  "protect: 1025 elements: more than the limit of 1024", 1025 },
	};
	char *text;
	FILE *out;
	size_t len;

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		out = open_memstream(&text, &len);
		fprintf(out, HEAD "{\"name\":\"a\",\"match\":{\"user\":1},%s", cases[i].head);
		for (int k = 0; k < cases[i].count; k++)
			fprintf(out, "%s%s", k ? "," : "", cases[i].item);
		fprintf(out, "%s}" TAIL, cases[i].tail);
		fclose(out);
		assert_said(text, len, cases[i].expected);
		free(text);
	}
}

/* Whose accepted sockets of it are the hooks cannot say. */
static void test_sctp(void **state)
{
	static const char text[] = HEAD APP("a", "1", "\"networks\":[" NET("\"any\"",
		PROTECTED("[{\"protection\":\"p\",\"protocol\":[\"tcp\",\"sctp\"]}]")) "]") TAIL;

	(void)state;
	assert_said(text, sizeof(text) - 1, "sctp: the kernel makes the sockets");
}

static void test_many_host_names(void **state)
{
	char *text;
	size_t len;
	FILE *out = open_memstream(&text, &len);

	(void)state;
	fputs(HEAD "{\"name\":\"a\",\"match\":{\"user\":1},\"networks\":[{\"remote\":[", out);
	for (int i = 0; i < 257; i++)
		fprintf(out, "%s\"h%d.example\"", i ? "," : "", i);
	fputs("],\"class\":\"trusted\"}]}" TAIL, out);
	fclose(out);
	assert_said(text, len, "remote: more than 256 host names in one network");
	free(text);
}

/* ---- canonical text ---- */

static void test_canonical_text(void **state)
{
	struct policy *policy = parse_good(HEAD
		"{\"networks\":[" NET("\"192.0.2.0/24\"", PROTECTED("{\"protection\":\"p\","
			"\"protocol\":6,\"local_port\":[21],\"peer\":[\"b\"],\"in\":\"request\","
			"\"description\":\"gone\"}")) ","
		NET("[\"A.example\",\"10.0.0.1\"]", "\"class\":\"trusted\"") ","
		NET("\"any\"", "\"class\":\"untrusted\"") "],"
		"\"match\":{\"group\":\"g\",\"user\":1000,\"executable\":\"/x\","
		"\"unit\":\"u.scope\"},"
		"\"description\":\"kept\",\"name\":\"ftp\",\"accept_risk\":[\"unused\"]}" TAIL);
	char *text = policy_show(policy);

	(void)state;
	assert_non_null(strstr(text, "  \"rules\": [],\n  \"applications\": [\n    {\n"
		"      \"name\": \"ftp\",\n      \"description\": \"kept\",\n      \"match\": [\n"
		"        {\n          \"unit\": \"u.scope\",\n          \"executable\": \"/x\",\n"
		"          \"user\": 1000,\n          \"group\": \"g\"\n        }\n      ],\n"
		"      \"networks\": [\n        {\n          \"remote\": \"192.0.2.0/24\",\n"
		"          \"class\": \"protected\",\n          \"protect\": [\n            {\n"
		"              \"protocol\": \"tcp\",\n              \"local_port\": 21,\n"
		"              \"peer\": \"b\",\n              \"protection\": \"p\",\n"
		"              \"in\": \"request\",\n              \"out\": \"require\"\n"
		"            }\n          ]\n        },\n        {\n          \"remote\": [\n"
		"            \"10.0.0.1\",\n            \"a.example\"\n          ],\n"
		"          \"class\": \"trusted\"\n        },\n        {\n"
		"          \"remote\": \"any\",\n          \"class\": \"untrusted\"\n        }\n"
		"      ],\n      \"default\": \"host\",\n      \"optional_rate\": 1000,\n"
		"      \"max_flows\": 65536,\n      \"accept_risk\": [\n        \"unused\"\n"
		"      ]\n    }\n  ]\n}\n"));
	assert_non_null(strstr(text, "    \"o\": {\n      \"protocol\": \"esp\",\n"
				     "      \"type\": \"encryption\",\n"
				     "      \"level\": \"optional\",\n"));
	assert_null(strstr(text, "gone"));
	free(text);
	policy_free(policy);
	policy = parse_good(HEAD TAIL);
	text = policy_show(policy);
	assert_null(strstr(text, "applications"));
	free(text);
	policy_free(policy);
}

/* ---- differences ---- */

static void assert_diff(const char *before, const char *after, const char *expected)
{
	struct policy *a = parse_good(before), *b = parse_good(after);
	struct policy_change *changes;
	char *text = NULL;
	size_t count, len;
	FILE *out = open_memstream(&text, &len);

	assert_int_equal(policy_diff(a, b, &changes, &count), 0);
	for (size_t i = 0; i < count; i++)
		fprintf(out, "%c %s%s%s\n", changes[i].sign, changes[i].object,
			changes[i].detail ? ": " : "", changes[i].detail ? changes[i].detail : "");
	fclose(out);
	assert_string_equal(text, expected);
	policy_changes_free(changes, count);
	free(text);
	policy_free(a);
	policy_free(b);
}

#define OPEN APP("open", "1", "\"networks\":[" NET("\"any\"", "\"class\":\"trusted\"") "]")
#define SHUT APP("shut", "2", "\"networks\":[],\"default\":\"discard\"")
#define NET1 NET("\"10.0.0.0/8\"", "\"class\":\"untrusted\"")
#define NET2(ports) NET("\"192.0.2.0/24\"", PROTECTED("[{\"protection\":\"p\","		\
	"\"protocol\":\"tcp\",\"local_port\":" ports "},{\"protection\":\"o\"}]"))
#define MORE(networks) APP("more", "3", "\"networks\":[" networks "]")

static void test_differences(void **state)
{
	(void)state;
	assert_diff(HEAD OPEN "," SHUT TAIL, HEAD SHUT "," MORE("") TAIL,
		    "- application \"open\"\n+ application \"more\"\n");
	assert_diff(HEAD OPEN "," SHUT TAIL, HEAD SHUT "," OPEN TAIL,
		    "~ order of applications: \"shut\" now comes before \"open\"\n");
	assert_diff(HEAD SHUT TAIL, HEAD APP("shut", "\"u\"", "\"networks\":[],\"max_flows\":7") TAIL,
		    "~ application \"shut\": match[0].user: 2 -> u; default: discard -> host; "
		    "max_flows: 65536 -> 7\n");
	assert_diff(HEAD MORE(NET1 "," NET2("21")) TAIL, HEAD MORE(NET1 "," NET2("\"20-21\"")) TAIL,
		    "~ application \"more\": networks[1].protect[0].local_port: 21 -> 20-21\n");
	/* What was put in front of it did not change. */
	assert_diff(HEAD MORE(NET2("21")) TAIL, HEAD MORE(NET1 "," NET2("21")) TAIL,
		    "~ application \"more\": networks[0]: none -> remote 10.0.0.0/8, "
		    "class untrusted\n");
	assert_diff(HEAD MORE(NET1 "," NET2("[21,22]")) TAIL, HEAD MORE(NET1) TAIL,
		    "~ application \"more\": networks[1]: remote 192.0.2.0/24, class protected, "
		    "protect [(protocol tcp, local_port [21, 22], protection p, in require, "
		    "out require), (protection o, in request, out request)] -> none\n");
	assert_diff(HEAD MORE(NET1) TAIL, HEAD MORE("") TAIL,
		    "~ application \"more\": networks[0]: remote 10.0.0.0/8, class untrusted "
		    "-> none\n");
}

/* ---- digests ---- */

/* Both ends of an SA may differ in what they do without it. */
static void test_level_and_digests(void **state)
{
	struct policy *policy = parse_good(HEAD APP("a", "1", "\"networks\":[]") ","
					   APP("b", "2", "\"networks\":[]") TAIL);
	struct rule rules[1] = { { .name = "r", .action = SPD_PROTECT } };
	uint64_t plain, optional, of_a, of_b, of_nobody;

	(void)state;
	assert_int_equal(policy_protection_digest(policy, 0, 0),
			 policy_protection_digest(policy, 0, 1));
	free(policy->rules);
	policy->rules = rules;
	plain = policy_rule_digest(policy, 0);
	rules[0].level = LEVEL_OPTIONAL;
	optional = policy_rule_digest(policy, 0);
	rules[0].application = 1;
	of_a = policy_rule_digest(policy, 0);
	rules[0].application = 2;
	of_b = policy_rule_digest(policy, 0);
	rules[0].peer = PEER_NONE;
	of_nobody = policy_rule_digest(policy, 0);
	assert_int_not_equal(plain, optional);
	assert_int_not_equal(optional, of_a);
	assert_int_not_equal(of_a, of_b);
	assert_int_not_equal(of_b, of_nobody);
	policy->rules = NULL;
	policy->rule_count = policy->all_rule_count = 0;
	policy_free(policy);
}

/* ---- lines ---- */

#define LINES HEAD "\n"								\
	"{\"name\":\"a\",\n"							\
	"\"match\":[\n{\"user\":1},\n{\"user\":2}],\n"				\
	"\"networks\":[\n"							\
	"{\"remote\":\"10.0.0.1\",\"class\":\"trusted\"},\n"			\
	"{\"remote\":\"192.0.2.0/24\",\"class\":\"protected\",\"protect\":[\n"	\
	"{\"protection\":\"p\",\"protocol\":\"tcp\"},\n{\"protection\":\"o\"}]}]}," \
	"\n{\"name\":\"b\",\"match\":{\"user\":3},\"networks\":[]}" TAIL

static void add_made_rule(struct policy *policy, struct position at)
{
	struct rule *rules = realloc(policy->rules, (policy->all_rule_count + 1) * sizeof(*rules));

	assert_non_null(rules);
	policy->rules = rules;
	rules[policy->all_rule_count++] =
		(struct rule){ .name = "made", .application = 1, .at = at };
}

static void test_lines(void **state)
{
	struct policy *policy = parse_good(LINES), *live;
	char *canonical = policy_show(policy), *area;
	size_t len = strlen(canonical), end;
	const struct application *a;

	(void)state;
	policy->file = strdup("/etc/p.json");
	end = policy_source_end(policy, len);
	area = calloc(1, end);
	policy_source_put(policy, area, len);
	live = parse_good(canonical);
	a = &live->applications[0];
	add_made_rule(live, a->networks[0].at);
	add_made_rule(live, a->networks[1].protect[1].at);
	assert_int_equal(policy_source_get(live, area, end, len), 0);
	assert_string_equal(live->file, "/etc/p.json");
	assert_int_equal(a[0].at.line, 2);
	assert_int_equal(a[0].matches[0].at.line, 4);
	assert_int_equal(a[0].matches[1].at.line, 5);
	assert_int_equal(a[0].networks[0].at.line, 7);
	assert_int_equal(a[0].networks[1].at.line, 8);
	assert_int_equal(a[0].networks[1].protect[0].at.line, 9);
	assert_int_equal(a[0].networks[1].protect[1].at.line, 10);
	assert_int_equal(a[1].at.line, 11);
	assert_int_equal(live->rules[live->all_rule_count - 2].at.line, 7);
	assert_int_equal(live->rules[live->all_rule_count - 1].at.line, 10);
	free(area);
	free(canonical);
	policy_free(live);
	policy_free(policy);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_matches),
		cmocka_unit_test(test_networks),
		cmocka_unit_test(test_protections),
		cmocka_unit_test(test_level_of_rules),
		cmocka_unit_test(test_peers_elsewhere),
		cmocka_unit_test(test_executable_of_open_host),
		cmocka_unit_test(test_ten_thousand),
		cmocka_unit_test(test_long_lists),
		cmocka_unit_test(test_sctp),
		cmocka_unit_test(test_many_host_names),
		cmocka_unit_test(test_canonical_text),
		cmocka_unit_test(test_differences),
		cmocka_unit_test(test_level_and_digests),
		cmocka_unit_test(test_lines),
	};

	return cmocka_run_group_tests_name("policy_json_app", tests, NULL, NULL);
}
