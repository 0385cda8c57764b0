// SPDX-License-Identifier: BSD-2-Clause
/* Addresses there and back, show, diff and digest. Runs in the repository's root. */
#include "policy_testing.h"

#include <dirent.h>

static void test_addresses(void **state)
{
	static const struct { const char *text, *canonical; } cases[] = {
		{ "10.0.0.1", "10.0.0.1" },
		{ "10.0.0.1/32", "10.0.0.1" },
		{ "10.0.0.0/8", "10.0.0.0/8" },
		{ "0.0.0.0/0", "0.0.0.0/0" },
		{ "0.0.0.0-255.255.255.255", "0.0.0.0/0" },
		{ "10.0.0.1-10.0.0.9", "10.0.0.1-10.0.0.9" },
		{ "10.0.0.0-10.0.0.255", "10.0.0.0/24" },
		{ "FD00:0:0::1", "fd00::1" },
		{ "fd00::/8", "fd00::/8" },
		{ "::/0", "::/0" },
		{ "2001:db8:0:1::/64", "2001:db8:0:1::/64" },
		{ "fd00::ffff-fd00::1:0", "fd00::ffff-fd00::1:0" },
		{ "ffff:ffff:ffff:ffff:ffff:ffff:ffff:fffe-ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff",
		  "ffff:ffff:ffff:ffff:ffff:ffff:ffff:fffe/127" },
	};
	struct address_range range;
	const char *error;
	char out[100];

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		assert_true(address_parse(cases[i].text, &range, &error));
		address_format(&range, out, sizeof(out));
		assert_string_equal(out, cases[i].canonical);
	}
	assert_true(address_parse("fd00::1:2", &range, &error));
	assert_int_equal(range.lo.hi, 0xfd00ull << 48);
	assert_int_equal(range.lo.lo, 0x10002);
	assert_memory_equal(addr128_to_wire(FAMILY_V6, range.lo).b,
			    "\xfd\0\0\0\0\0\0\0\0\0\0\0\0\1\0\2", 16);
	assert_true(address_parse("10.0.0.1", &range, &error));
	assert_memory_equal(addr128_to_wire(FAMILY_V4, range.lo).b,
			    "\x0a\0\0\1\0\0\0\0\0\0\0\0\0\0\0\0", 16);
}

static void assert_no_change(const struct policy *a, const struct policy *b)
{
	struct policy_change *changes;
	size_t count;

	assert_int_equal(policy_diff(a, b, &changes, &count), 0);
	assert_int_equal(count, 0);
	policy_changes_free(changes, count);
}

static void round_trip(const char *path)
{
	struct policy *policy = policy_load(path, NULL), *again;
	char *text, *second;

	assert_non_null(policy);
	text = policy_show(policy);
	assert_non_null(text);
	again = parse_good(text);
	second = policy_show(again);
	assert_string_equal(text, second);
	assert_no_change(policy, again);
	free(text);
	free(second);
	policy_free(policy);
	policy_free(again);
}

static int is_policy(const struct dirent *entry)
{
	return strstr(entry->d_name, ".json") && strncmp(entry->d_name, "sa-", 3) &&
	       strncmp(entry->d_name, "test-", 5);
}

static void test_round_trip(void **state)
{
	struct dirent **entries;
	int count = scandir("schemas/examples/good", &entries, is_policy, alphasort);
	char path[512];

	(void)state;
	assert_true(count >= 6);
	for (int i = 0; i < count; i++) {
		snprintf(path, sizeof(path), "schemas/examples/good/%s", entries[i]->d_name);
		round_trip(path);
		free(entries[i]);
	}
	free(entries);
}

static void test_canonical_text(void **state)
{
	struct policy *policy = parse_good(POLICY_HEAD
		"{\"protection\":\"wire\",\"peer\":\"b\",\"action\":\"protect\",\"name\":\"p\","
		"\"local_port\":[\"7-7\",\"8-9\"],\"protocol\":[6,\"udp\"],\"description\":\"d\"},"
		"{\"name\":\"v\",\"action\":\"protect\",\"peer\":\"b\",\"protection\":\"vpn\"}"
		POLICY_TAIL);
	char *text = policy_show(policy);

	(void)state;
	assert_non_null(strstr(text, "{\n  \"version\": 1,\n  \"bypass_essential\": ["));
	assert_non_null(strstr(text, "\"wire\": {\n      \"protocol\": \"esp\",\n"
			       "      \"type\": \"encryption\",\n"
			       "      \"level\": \"mandatory\",\n      \"mode\": \"transport\",\n"
			       "      \"fragments\": \"reassemble\",\n"
			       "      \"suites\": [\n        \"aes128gcm16\","));
	assert_non_null(strstr(text, "\"name\": \"p\",\n      \"direction\": \"both\",\n"
			       "      \"remote\": [\n        \"10.0.0.2\",\n        \"fd00::2\"\n"
			       "      ],\n      \"protocol\": [\n        \"tcp\",\n        \"udp\"\n"
			       "      ],\n      \"local_port\": [\n        7,\n        \"8-9\"\n"
			       "      ],\n      \"action\": \"protect\",\n      \"peer\": \"b\","));
	assert_null(strstr(text, "description"));
	assert_null(strstr(text, "within"));
	assert_null(strstr(text, "vlan"));
	assert_null(strstr(text, "dscp"));
	assert_string_equal(text + strlen(text) - 3, "\n}\n");
	free(text);
	policy_free(policy);
}

static void test_canonical_tags(void **state)
{
	struct policy *policy = parse_good(POLICY_HEAD
		"{\"dscp\":[46,\"default\",\"8-8\",3,\"10-12\"],\"vlan\":[0,\"100-199\",7],"
		"\"action\":\"bypass\",\"name\":\"t\"},"
		"{\"name\":\"u\",\"vlan\":4094,\"dscp\":63,\"action\":\"bypass\"}" POLICY_TAIL);
	char *text = policy_show(policy);

	(void)state;
	assert_int_equal(policy->rules[0].vlan.count, 3);
	assert_int_equal(policy->rules[0].vlan.items[1].hi, 199);
	assert_non_null(strstr(text, "\"name\": \"t\",\n      \"direction\": \"both\",\n"
			       "      \"vlan\": [\n        0,\n        \"100-199\",\n        7\n"
			       "      ],\n      \"dscp\": [\n        \"ef\",\n        \"cs0\",\n"
			       "        \"cs1\",\n        3,\n        \"10-12\"\n      ],\n"
			       "      \"action\": \"bypass\"\n"));
	assert_non_null(strstr(text, "      \"vlan\": 4094,\n      \"dscp\": 63,\n"));
	free(text);
	policy_free(policy);
}

/* Numbers as the RFCs have them. */
static void test_codepoints(void **state)
{
	static const struct { const char *name; int number; } known[] = {
		{ "cs0", 0 }, { "default", 0 }, { "le", 1 }, { "cs1", 8 }, { "cs2", 16 },
		{ "cs3", 24 }, { "cs4", 32 }, { "cs5", 40 }, { "cs6", 48 }, { "cs7", 56 },
		{ "va", 44 }, { "ef", 46 },
	};
	char name[8], text[1024];

	(void)state;
	for (int i = 0; i < 12 + 12; i++) {
		int class = (i - 12) / 3 + 1, drop = i % 3 + 1;
		struct policy *policy;

		/* RFC 2597 6: AFxy is 8x + 2y. */
		snprintf(name, sizeof(name), "af%d%d", class, drop);
		snprintf(text, sizeof(text), POLICY_HEAD "{\"name\":\"r\",\"action\":\"discard\","
			 "\"dscp\":\"%s\"}" POLICY_TAIL, i < 12 ? known[i].name : name);
		policy = parse_good(text);
		assert_int_equal(policy->rules[0].dscp.count, 1);
		assert_int_equal(policy->rules[0].dscp.items[0].lo,
				 i < 12 ? known[i].number : 8 * class + 2 * drop);
		assert_int_equal(policy->rules[0].dscp.items[0].hi,
				 policy->rules[0].dscp.items[0].lo);
		policy_free(policy);
	}
}

static void test_canonical_bundle(void **state)
{
	struct policy *policy = parse_good(PROTECTIONS_HEAD
		"\"a\":{\"within\":\"b\"},\"b\":{\"protocol\":\"ah\",\"fragments\":\"discard\","
		"\"suites\":[\"cmac(aes)\"],\"within\":{\"protection\":\"c\",\"peer\":\"gw\"}},"
		"\"c\":{\"mode\":\"tunnel\"}},\"peers\":{\"gw\":{\"addresses\":[\"10.0.0.1\"]}},"
		"\"rules\":[]}");
	char *text = policy_show(policy);

	(void)state;
	assert_non_null(strstr(text, "      ],\n      \"within\": \"b\"\n    },\n    \"b\": {\n"
			       "      \"protocol\": \"ah\",\n      \"type\": \"authentication\",\n"
			       "      \"level\": \"mandatory\",\n      \"mode\": \"transport\",\n"
			       "      \"fragments\": \"discard\",\n      \"suites\": [\n"
			       "        \"aescmac\"\n      ],\n      \"within\": {\n"
			       "        \"peer\": \"gw\",\n        \"protection\": \"c\"\n"
			       "      }\n    },\n"));
	free(text);
	policy_free(policy);
}

/* Compares two texts and expects these lines of "SIGN OBJECT: DETAIL". */
static void assert_diff(const char *before, const char *after, const char *expected)
{
	struct policy *a = policy_parse(before, strlen(before), "a", NULL);
	struct policy *b = policy_parse(after, strlen(after), "b", NULL);
	struct policy_change *changes;
	char *text = NULL;
	size_t count, len;
	FILE *out = open_memstream(&text, &len);

	assert_non_null(a);
	assert_non_null(b);
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

#define R(name, rest) "{\"name\":\"" name "\",\"action\":\"bypass\"," rest "}"
#define TCP(ports) "\"protocol\":\"tcp\",\"remote_port\":" ports

static void test_diff_of_rules(void **state)
{
	(void)state;
	assert_diff(POLICY_HEAD R("ftp", TCP("21")) "," R("web", TCP("80")) POLICY_TAIL,
		    POLICY_HEAD R("ftp", TCP("\"20-21\"")) "," R("web", TCP("80")) POLICY_TAIL,
		    "~ rule \"ftp\": remote_port: 21 -> 20-21\n");
	assert_diff(POLICY_HEAD R("a", TCP("1")) "," R("b", TCP("2")) "," R("c", TCP("3"))
		    POLICY_TAIL,
		    POLICY_HEAD R("c", TCP("3")) "," R("a", TCP("1")) "," R("d", TCP("4"))
		    POLICY_TAIL,
		    "- rule \"b\"\n+ rule \"d\"\n"
		    "~ order of rules: \"c\" now comes before \"a\"\n");
	assert_diff(POLICY_HEAD R("a", "\"direction\":\"out\"") POLICY_TAIL,
		    POLICY_HEAD "{\"name\":\"a\",\"remote\":\"10.0.0.2\",\"action\":\"protect\","
		    "\"peer\":\"b\",\"protection\":\"wire\"}" POLICY_TAIL,
		    "~ rule \"a\": direction: out -> both; action: bypass -> protect; "
		    "remote: any -> 10.0.0.2; peer: none -> b; protection: none -> wire\n");
	assert_diff(POLICY_HEAD R("a", "\"dscp\":[46,\"1-3\"]") POLICY_TAIL,
		    POLICY_HEAD R("a", "\"vlan\":[0,5]") POLICY_TAIL,
		    "~ rule \"a\": dscp: ef, 1-3 -> any; vlan: any -> 0, 5\n");
}

static void test_diff_of_the_rest(void **state)
{
	(void)state;
	assert_diff("{\"version\":1,\"bypass_essential\":[\"arp\",\"nd\"],\"defaults\":{\"in\":"
		    "\"bypass\",\"out\":\"bypass\",\"non_ip\":\"bypass\"},\"protections\":{\"x\":{},"
		    "\"y\":{}},\"peers\":{\"p\":{\"addresses\":[\"10.0.0.1\"]}},\"rules\":[]}",
		    "{\"version\":1,\"bypass_essential\":[],\"defaults\":{\"in\":\"discard\","
		    "\"out\":\"bypass\",\"non_ip\":\"bypass\"},\"protections\":{\"y\":{\"mode\":"
		    "\"tunnel\"},\"z\":{}},\"peers\":{\"p\":{\"addresses\":[\"10.0.0.1\","
		    "\"10.0.0.2\"]}},\"rules\":[]}",
		    "~ bypass_essential: arp, nd -> none\n~ defaults: in: bypass -> discard\n"
		    "- protection \"x\"\n~ protection \"y\": mode: transport -> tunnel\n"
		    "+ protection \"z\"\n"
		    "~ peer \"p\": addresses: 10.0.0.1 -> 10.0.0.1, 10.0.0.2\n");
}

#define PAIRS(a, b) PROTECTIONS_HEAD "\"a\":" a ",\"b\":" b "},"			\
	"\"peers\":{\"gw\":{\"addresses\":[\"10.0.0.1\"]}},\"rules\":[]}"

static void test_diff_of_protections(void **state)
{
	(void)state;
	assert_diff(PAIRS("{}", "{\"mode\":\"tunnel\"}"),
		    PAIRS("{\"within\":\"b\",\"fragments\":\"discard\"}", "{\"mode\":\"tunnel\"}"),
		    "~ protection \"a\": fragments: reassemble -> discard; within: none -> b\n");
	assert_diff(PAIRS("{\"within\":\"b\"}", "{\"mode\":\"tunnel\"}"),
		    PAIRS("{\"within\":{\"peer\":\"gw\",\"protection\":\"b\"}}",
			  "{\"mode\":\"tunnel\",\"allow_legacy\":true}"),
		    "~ protection \"a\": within: b -> peer gw, protection b\n"
		    "~ protection \"b\": allow_legacy: false -> true\n");
	assert_diff(PAIRS("{\"type\":\"authentication\"}", "{}"),
		    PAIRS("{\"protocol\":\"ah\"}", "{}"),
		    "~ protection \"a\": protocol: esp -> ah; suites: null-sha256 -> sha256\n");
}

static uint64_t digest_of(const char *protection, const char *addresses)
{
	struct policy *policy;
	uint64_t digest;
	char text[1024];

	snprintf(text, sizeof(text), "{\"version\":1,\"bypass_essential\":[],\"defaults\":{\"in\":"
		 "\"bypass\",\"out\":\"bypass\",\"non_ip\":\"bypass\"},\"protections\":{\"x\":%s},"
		 "\"peers\":{\"p\":{\"addresses\":%s}},\"rules\":[]}", protection, addresses);
	policy = policy_parse(text, strlen(text), "digest", NULL);
	assert_non_null(policy);
	digest = policy_protection_digest(policy, 0, 0);
	policy_free(policy);
	return digest;
}

static void test_digest(void **state)
{
	uint64_t plain = digest_of("{}", "[\"10.0.0.1\",\"fd00::1\"]");

	(void)state;
	assert_int_not_equal(plain, 0);
	assert_int_equal(plain, digest_of("{\"type\":\"encryption\",\"suites\":[\"aes256gcm16\","
					  "\"chacha20poly1305\",\"aes128gcm16\"]}",
					  "[\"fd00::1\",\"10.0.0.1\"]"));
	assert_int_not_equal(plain, digest_of("{\"mode\":\"tunnel\"}",
					      "[\"10.0.0.1\",\"fd00::1\"]"));
	assert_int_not_equal(plain, digest_of("{}", "[\"10.0.0.1\"]"));
	assert_int_not_equal(plain, digest_of("{}", "[\"10.0.0.1\",\"fd00::2\"]"));
	assert_int_not_equal(plain, digest_of("{\"suites\":[\"aes128gcm16\"]}",
					      "[\"10.0.0.1\",\"fd00::1\"]"));
	assert_int_not_equal(digest_of("{\"type\":\"authentication\"}", "[\"10.0.0.1\"]"),
			     digest_of("{}", "[\"10.0.0.1\"]"));
	/* Neighbouring addresses must not be told apart by how they merge. */
	assert_int_not_equal(digest_of("{}", "[\"10.0.0.2\",\"10.0.0.3\",\"10.0.0.4\"]"),
			     digest_of("{}", "[\"10.0.0.2\",\"10.0.0.4\"]"));
}

/* Of peer p's protection x in a policy with two peers and two more protections. */
static uint64_t bundle_digest(const char *x, const char *y, const char *z, const char *gateway)
{
	struct policy *policy;
	uint64_t digest;
	char text[1024];

	snprintf(text, sizeof(text), PROTECTIONS_HEAD "\"x\":%s,\"y\":%s,\"z\":%s},"
		 "\"peers\":{\"p\":{\"addresses\":[\"10.0.0.1\"]},\"q\":{\"addresses\":[\"%s\"]}},"
		 "\"rules\":[]}", x, y, z, gateway);
	policy = parse_good(text);
	digest = policy_protection_digest(policy, 0, 0);
	policy_free(policy);
	return digest;
}

/* All that the SAs around it are is part of what an SA is. */
static void test_digest_of_bundles(void **state)
{
	static const char in_y[] = "{\"within\":\"y\"}", via_q[] =
		"{\"within\":{\"peer\":\"q\",\"protection\":\"y\"}}", tunnel[] =
		"{\"mode\":\"tunnel\"}", tunnel_in_z[] = "{\"mode\":\"tunnel\",\"within\":\"z\"}";
	uint64_t plain = bundle_digest("{}", tunnel, tunnel, "10.0.0.2");
	uint64_t within = bundle_digest(in_y, tunnel, tunnel, "10.0.0.2");
	uint64_t other = bundle_digest(via_q, tunnel, tunnel, "10.0.0.2");
	uint64_t three = bundle_digest(in_y, tunnel_in_z, tunnel, "10.0.0.2");

	(void)state;
	assert_int_not_equal(plain, bundle_digest("{\"fragments\":\"discard\"}", tunnel, tunnel,
						  "10.0.0.2"));
	assert_int_not_equal(bundle_digest("{\"protocol\":\"ah\"}", tunnel, tunnel, "10.0.0.2"),
			     bundle_digest("{\"type\":\"authentication\"}", tunnel, tunnel,
					   "10.0.0.2"));
	assert_int_not_equal(plain, within);
	assert_int_not_equal(within, other);
	assert_int_not_equal(within, three);
	/* what is named */
	assert_int_not_equal(within, bundle_digest("{\"within\":\"z\"}", tunnel, tunnel,
						   "10.0.0.2"));
	/* how it protects, and with whom */
	assert_int_not_equal(within, bundle_digest(in_y, "{}", tunnel, "10.0.0.2"));
	assert_int_not_equal(other, bundle_digest(via_q, tunnel, tunnel, "10.0.0.3"));
	assert_int_not_equal(three, bundle_digest(in_y, tunnel_in_z,
						  "{\"mode\":\"tunnel\",\"protocol\":\"ah\"}",
						  "10.0.0.2"));
	/* and nothing else */
	assert_int_equal(plain, bundle_digest("{}", tunnel_in_z, tunnel, "10.0.0.3"));
	assert_int_equal(within, bundle_digest(in_y, tunnel, "{}", "10.0.0.3"));
	assert_int_equal(three, bundle_digest(in_y, tunnel_in_z, tunnel, "10.0.0.3"));
}

/* What a file allows, its canonical text allows as well; what it does not say is not said. */
static void test_allow_legacy_is_kept(void **state)
{
	struct policy *policy = parse_good(POLICY_HEAD POLICY_TAIL);
	char *text = policy_show(policy);

	(void)state;
	assert_non_null(text);
	assert_null(strstr(text, "allow_legacy"));
	policy->protections[0].allow_legacy = true;
	free(text);
	text = policy_show(policy);
	policy_free(policy);
	assert_non_null(text);
	assert_non_null(strstr(text, "\"allow_legacy\": true"));
	policy = parse_good(text);
	assert_true(policy->protections[0].allow_legacy);
	policy_free(policy);
	free(text);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_addresses),
		cmocka_unit_test(test_round_trip),
		cmocka_unit_test(test_canonical_text),
		cmocka_unit_test(test_canonical_tags),
		cmocka_unit_test(test_codepoints),
		cmocka_unit_test(test_canonical_bundle),
		cmocka_unit_test(test_allow_legacy_is_kept),
		cmocka_unit_test(test_diff_of_rules),
		cmocka_unit_test(test_diff_of_the_rest),
		cmocka_unit_test(test_diff_of_protections),
		cmocka_unit_test(test_digest),
		cmocka_unit_test(test_digest_of_bundles),
	};

	return cmocka_run_group_tests_name("policy_show", tests, NULL, NULL);
}
