// SPDX-License-Identifier: BSD-2-Clause
/*
 * Parsing and checking: every file of schemas/examples does what stands beside it, and no text
 * whatever does harm. Runs in the repository's root.
 */
#include "policy_testing.h"

#include <dirent.h>
#include <errno.h>
#include <unistd.h>

#define EXAMPLES "schemas/examples/"

static char *read_file(const char *path, size_t *ret_len)
{
	FILE *in = fopen(path, "r");
	char *text;
	long len;

	if (!in)
		fail_msg("cannot open %s", path);
	fseek(in, 0, SEEK_END);
	len = ftell(in);
	rewind(in);
	text = malloc((size_t)len + 1);
	assert_int_equal(fread(text, 1, (size_t)len, in), len);
	text[len] = '\0';
	fclose(in);
	*ret_len = (size_t)len;
	return text;
}

static int is_policy(const struct dirent *entry)
{
	size_t len = strlen(entry->d_name);

	return len > 5 && !strcmp(entry->d_name + len - 5, ".json") &&
	       strncmp(entry->d_name, "sa-", 3) &&
	       strncmp(entry->d_name, "test-", 5);
}

/* Calls `run` with each policy's path; returns how many there were. */
static int for_each_example(const char *directory, void (*run)(const char *path))
{
	struct dirent **entries;
	int count = scandir(directory, &entries, is_policy, alphasort);
	char path[512];

	if (count < 0)
		fail_msg("%s: run this in the repository's root", directory);
	for (int i = 0; i < count; i++) {
		snprintf(path, sizeof(path), "%s%s", directory, entries[i]->d_name);
		run(path);
		free(entries[i]);
	}
	free(entries);
	return count;
}

static void run_good(const char *path)
{
	struct ipsecbpf_report report = { 0 };
	struct policy *policy = policy_load(path, &report);
	char *said = report_text(&report);

	if (!policy || report.count)
		fail_msg("%s is a good example, but:\n%s", path, said);
	free(said);
	report_fini(&report);
	policy_free(policy);
}

static void run_bad(const char *path)
{
	struct ipsecbpf_report report = { 0 };
	struct policy *policy = policy_load(path, &report);
	char *said = report_text(&report), *expected, *line, *rest, other[512];
	size_t len;

	if (policy || !report.errors)
		fail_msg("%s is a bad example, and was accepted", path);
	assert_int_equal(errno, EINVAL);
	snprintf(other, sizeof(other), "%.*s.expected", (int)strlen(path) - 5, path);
	expected = read_file(other, &len);
	for (rest = expected; (line = strsep(&rest, "\n"));)
		if (strncmp(line, "schema: ", 8) && !strstr(said, line))
			fail_msg("%s: expected\n  %s\namong\n%s", path, line, said);
	free(expected);
	free(said);
	report_fini(&report);
}

static void test_good_examples(void **state)
{
	(void)state;
	assert_true(for_each_example(EXAMPLES "good/", run_good) >= 9);
}

static void test_bad_examples(void **state)
{
	(void)state;
	assert_true(for_each_example(EXAMPLES "bad/", run_bad) >= 49);
}

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

static void assert_not_said(const char *text, size_t len, const char *unexpected)
{
	struct ipsecbpf_report report = { 0 };
	struct policy *policy = policy_parse(text, len, "test.json", &report);
	char *said = report_text(&report);

	if (strstr(said, unexpected))
		fail_msg("did not expect\n  %s\namong\n%s", unexpected, said);
	free(said);
	policy_free(policy);
	report_fini(&report);
}

static void test_warnings(void **state)
{
	static const char head[] = "{\"version\":1,\"bypass_essential\":[],\"defaults\":"
		"{\"in\":\"discard\",\"out\":\"discard\",\"non_ip\":\"discard\"},";
	static const struct { const char *tail, *expected; } cases[] = {
		{ "\"rules\":[]}", "warning: test.json:1:1: W205 no-arp: ARP is discarded" },
		{ "\"peers\":{\"six\":{\"addresses\":[\"fd00::1\"]}},\"rules\":[]}",
		  "warning: test.json:1:1: W206 no-nd: IPv6 neighbour discovery is discarded" },
		{ "\"peers\":{\"p\":{\"addresses\":[\"10.0.0.1\"]}},\"rules\":[]}",
		  "peer \"p\" is used by no rule:" },
		{ "\"protections\":{\"p\":{}},\"rules\":[]}",
		  "protection \"p\" is used by no rule:" },
		{ "\"protections\":{\"p\":{\"suites\":[\"3des-md5\"],\"allow_legacy\":true}},"
		  "\"rules\":[]}", "protection \"p\": suite \"3des-md5\" is weak: it is not to be used any more (RFC 8221)" },
		{ "\"protections\":{\"p\":{\"suites\":[\"md5\"],\"allow_legacy\":true,"
		  "\"protocol\":\"ah\"}},\"rules\":[]}",
		  "protection \"p\": suite \"md5\" is weak: it is not to be used any more (RFC 8221)" },
		{ "\"protections\":{\"p\":{\"within\":\"q\"},\"q\":{}},\"rules\":[]}",
		  "protection \"q\" is used by no rule:" },
		{ "\"rules\":[{\"name\":\"a\",\"local\":\"10.0.0.1\",\"remote\":[\"10.0.0.2\","
		  "\"fd00::1\"],\"action\":\"bypass\"}]}",
		  "rule \"a\" never matches IPv6, although it names IPv6 addresses" },
		{ "\"rules\":[{\"name\":\"a\",\"protocol\":[\"icmp\",\"icmpv6\"],\"icmp_type\":1,"
		  "\"action\":\"bypass\"}]}", "icmp and icmpv6 number their types differently" },
	};
	char text[1024];

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		snprintf(text, sizeof(text), "%s%s", head, cases[i].tail);
		assert_said(text, strlen(text), cases[i].expected);
	}
}

static void test_transport_remote_defaults_to_peer(void **state)
{
	struct policy *policy = parse_good(POLICY_HEAD
		"{\"name\":\"t\",\"protocol\":\"tcp\",\"action\":\"protect\",\"peer\":\"b\","
		"\"protection\":\"wire\"},{\"name\":\"v\",\"action\":\"protect\",\"peer\":\"b\","
		"\"protection\":\"vpn\"}" POLICY_TAIL);

	(void)state;
	assert_int_equal(policy->rules[0].remote.count, 2);
	assert_int_equal(policy->rules[0].remote.items[0].lo.lo, 0x0a000002);
	assert_int_equal(policy->rules[0].remote.items[1].family, FAMILY_V6);
	assert_int_equal(policy->rules[1].remote.count, 0);
	assert_int_equal(policy->protections[0].suite_count, 3);
	assert_string_equal(policy->protections[0].suites[2]->name, "chacha20poly1305");
	policy_free(policy);
}

/* Whatever stands first in the object. */
static void test_protection_fields(void **state)
{
	struct policy *policy = parse_good(PROTECTIONS_HEAD
		"\"a\":{\"within\":\"b\",\"suites\":[\"hmac(sha384)\",\"aescmac\"],"
		"\"protocol\":\"ah\"},\"b\":{\"within\":{\"protection\":\"c\","
		"\"peer\":\"gw\"},\"fragments\":\"discard\"},"
		"\"c\":{\"mode\":\"tunnel\",\"protocol\":\"ah\",\"type\":\"authentication\"}},"
		"\"peers\":{\"b\":{\"addresses\":[\"10.0.0.2\"]},"
		"\"gw\":{\"addresses\":[\"10.0.0.1\"]}},\"rules\":[]}");
	const struct protection *a = &policy->protections[0], *b = &a[1], *c = &a[2];
	struct policy_pair pair = { 0, 0 };

	(void)state;
	assert_int_equal(a->protocol, PROTECTION_AH);
	assert_int_equal(a->type, PROTECTION_AUTHENTICATION);
	assert_int_equal(a->fragments, FRAGMENTS_REASSEMBLE);
	assert_int_equal(a->suite_count, 2);
	assert_ptr_equal(a->suites[0], suite_find("null-sha384"));
	assert_ptr_equal(a->suites[1], suite_find("null-aescmac"));
	assert_int_equal(b->protocol, PROTECTION_ESP);
	assert_int_equal(b->type, PROTECTION_ENCRYPTION);
	assert_int_equal(b->fragments, FRAGMENTS_DISCARD);
	assert_int_equal(c->suite_count, 1);
	assert_string_equal(protection_suite_name(c, c->suites[0]), "sha256");
	assert_string_equal(protection_suite_name(b, c->suites[0]), "null-sha256");
	assert_true(policy_outer_pair(policy, pair, &pair));
	assert_int_equal(pair.peer, 0);
	assert_int_equal(pair.protection, 1);
	assert_true(policy_outer_pair(policy, pair, &pair));
	assert_int_equal(pair.peer, 1);
	assert_int_equal(pair.protection, 2);
	assert_false(policy_outer_pair(policy, pair, &pair));
	policy_free(policy);
}

/* BUNDLE_MAX around each other are allowed; what is only used around others is used. */
static void test_bundle_of_three(void **state)
{
	static const char text[] = PROTECTIONS_HEAD
		"\"a\":{\"within\":\"b\"},"
		"\"b\":{\"within\":{\"peer\":\"gw\",\"protection\":\"c\"}},"
		"\"c\":{\"mode\":\"tunnel\"}},\"peers\":{\"b\":{\"addresses\":[\"10.0.0.2\"]},"
		"\"gw\":{\"addresses\":[\"10.0.0.1\"]}},"
		"\"rules\":[{\"name\":\"r\",\"action\":\"protect\",\"peer\":\"b\",\"protection\":\"a\"}]}";

	(void)state;
	assert_int_equal(BUNDLE_MAX, 3);
	assert_said(text, sizeof(text) - 1, "errors: 0");
	assert_not_said(text, sizeof(text) - 1, "used by no rule");
}

/* One octet beyond the limit is refused unread; at the limit the text is read to its end. */
static void test_size_limit(void **state)
{
	size_t len = (64u << 20) + 1;
	char *text = malloc(len);

	(void)state;
	memset(text, ' ', len);
	assert_said(text, len, "error: test.json: larger than 64 MiB");
	text[len - 2] = '1';
	assert_said(text, len - 1, "test.json:1:67108864: not valid JSON");
	free(text);
}

static void test_many_peers(void **state)
{
	size_t len;
	char *text = NULL;
	FILE *out = open_memstream(&text, &len);

	(void)state;
	fputs("{\"peers\":{\"0\":{}", out);
	for (int i = 1; i < 4097; i++)
		fprintf(out, ",\"%d\":{}", i);
	fputs("}}", out);
	fclose(out);
	assert_said(text, len, "test.json:1:10: peers: 4097 members: more than the limit of 4096");
	free(text);
}

static void test_many_rules(void **state)
{
	size_t len;
	char *text = NULL;
	FILE *out = open_memstream(&text, &len);

	(void)state;
	fputs(POLICY_HEAD, out);
	for (int i = 0; i < 131073; i++)
		fprintf(out, "%s{\"name\":\"%d\"}", i ? "," : "", i);
	fputs(POLICY_TAIL, out);
	fclose(out);
	assert_said(text, len, "rules: 131073 elements: more than the limit of 131072");
	free(text);
}

/* A good policy with octets changed, cut or repeated: for the sanitizers: it must not crash. */
static void mutate(const char *path)
{
	static const char alphabet[] = "{}[]\",:\\/-0919 aeE.\n\t\xff\xc3";
	char *good, *text;
	unsigned int seed = 4;
	size_t good_len;

	good = read_file(path, &good_len);
	for (int round = 0; round < 3000; round++) {
		size_t len = round % 7 ? good_len : (size_t)rand_r(&seed) % good_len;
		struct ipsecbpf_report report = { 0 };
		struct policy *policy;

		text = malloc(len ? len : 1);	/* exact size: an overrun is seen */
		memcpy(text, good, len);
		for (int i = 0; i < 1 + round % 4 && len; i++)
			text[(size_t)rand_r(&seed) % len] =
				alphabet[(size_t)rand_r(&seed) % sizeof(alphabet)];
		policy = policy_parse(text, len, "fuzz", &report);
		assert_int_equal(policy == NULL, report.errors != 0);
		policy_free(policy);
		report_fini(&report);
		free(text);
	}
	free(good);
}

static void test_mutations(void **state)
{
	(void)state;
	mutate(EXAMPLES "good/every-selector.json");
	mutate(EXAMPLES "good/app-every-key.json");
}

static void test_load_failures(void **state)
{
	struct ipsecbpf_report report = { 0 };
	char *said;

	(void)state;
	assert_null(policy_load("schemas/examples/none.json", &report));
	assert_int_equal(errno, ENOENT);
	assert_null(policy_load("schemas", &report));
	assert_int_equal(errno, EISDIR);
	said = report_text(&report);
	assert_non_null(strstr(said, "schemas/examples/none.json: cannot be read: No such file"));
	assert_non_null(strstr(said, "schemas: cannot be read: Is a directory"));
	free(said);
	report_fini(&report);
	assert_null(policy_load("schemas", NULL));	/* nobody has to want the report */
	assert_null(policy_parse("{}", 2, "x", NULL));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_good_examples),
		cmocka_unit_test(test_bad_examples),
		cmocka_unit_test(test_warnings),
		cmocka_unit_test(test_transport_remote_defaults_to_peer),
		cmocka_unit_test(test_protection_fields),
		cmocka_unit_test(test_bundle_of_three),
		cmocka_unit_test(test_size_limit),
		cmocka_unit_test(test_many_peers),
		cmocka_unit_test(test_many_rules),
		cmocka_unit_test(test_mutations),
		cmocka_unit_test(test_load_failures),
	};

	return cmocka_run_group_tests_name("policy_json", tests, NULL, NULL);
}
