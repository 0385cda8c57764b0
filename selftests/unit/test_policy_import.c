// SPDX-License-Identifier: BSD-2-Clause
/*
 * The reader of the paper's language: what is wrong is said with line and column, all of it, and no text
 * does harm, wherever it is cut off or changed. Runs in the repository's root.
 */
#include "policy_testing.h"

#include <errno.h>

#include "lib/policy_import.h"

#define A "application /bin/true {\n"
#define P "protection P { localport=any remoteport=any encryption mandatory; }\n}\n"

static char *import(const char *text, size_t len, struct ipsecbpf_report *report)
{
	static const char *const peers[] = { "b=10.0.0.2" };
	const struct policy_import_opts opts = { .peers = peers, .peer_count = 1 };

	return policy_import(text, len, "t.app", &opts, report);
}

static void test_errors(void **state)
{
	static const struct { const char *text, *expected; } cases[] = {
		{ "", "t.app:1:1: the file ends where \"application\" is expected" },
		{ "# nothing\n", "t.app:2:1: the file ends where \"application\" is expected" },
		{ "aplication /bin/true {}", "t.app:1:1: \"application\" is expected, not \"aplication\" "
		  "(did you mean \"application\"?)" },
		{ "application {}", "t.app:1:13: a program's name or path is expected, not \"{\"" },
		{ "application /bin/true,{}", "t.app:1:23: a program's name or path is expected" },
		{ "application /bin/true", "t.app:1:22: the file ends where '{' is expected" },
		{ A, "t.app:2:1: the file ends where '}' is expected" },
		{ A "}", "t.app:1:1: the application names no network" },
		{ A "network 10.0.0.0/8 trusted }", "t.app:2:28: ';' is expected, not \"}\"" },
		{ A "network 10.0.0.0/8 trustd; }", "t.app:2:20: \"trusted\", \"untrusted\" or "
		  "\"protected\" is expected, not \"trustd\" (did you mean \"trusted\"?)" },
		{ A "network 10.0.0.1/8 trusted; }", "t.app:2:9: \"10.0.0.1/8\" is neither an address nor a "
		  "host name: bits are set behind the prefix length (write 10.0.0.0/8" },
		{ A "network 10.0.0.9 - 10.0.0.1 trusted; }", "the range ends before it begins" },
		{ A "network 10.0.0 trusted; }", "t.app:2:9: \"10.0.0\" is neither" },
		{ A "network any trusted; }", "write 0.0.0.0/0 for all of IPv4" },
		{ A "network a..b trusted; }", "\"a..b\" is neither" },
		{ A "network 10.0.0.0/8 protected; }", "t.app:2:29: the name of a protection is expected" },
		{ A "network 10.0.0.0/8 protected Q;\n" P, "t.app:2:30: no protection \"Q\" in this "
		  "application (define it in the same application" },
		{ A "network 10.0.0.0/8 protected Secrue; protection Secure { localport=any "
		  "remoteport=any encryption mandatory; } }", "(did you mean \"Secure\"?)" },
		{ A "network 10.0.0.0/8 protected P;\n protection P {} }", "t.app:3:16: at least one" },
		{ A "network 10.0.0.0/8 protected P;\n protection P { localport=0 }}", "t.app:3:27: a port (1 "
		  "to 65535) or \"any\" is expected, not \"0\"" },
		{ A "network 10.0.0.0/8 protected P;\n protection P { localport=65536 }}", "not \"65536\"" },
		{ A "network 10.0.0.0/8 protected P;\n protection P { remoteport=any }}", "t.app:3:17: "
		  "\"localport\" is expected, not \"remoteport\"" },
		{ A "network 10.0.0.0/8 protected P;\n protection P { localport=any remoteport=any encrypt; "
		  "}}", "\"encryption\" or \"authentication\" is expected" },
		{ A "network 10.0.0.0/8 protected P;\n protection P { localport=any remoteport=any "
		  "encryption; }}", "\"optional\" or \"mandatory\" is expected, not \";\"" },
		{ A "network 10.0.0.0/8 protected P;\n protection P { localport=any remoteport=any "
		  "encryption mandatory; }\n" P, "t.app:4:12: protection \"P\" is defined already, at line 3" },
		{ "application no-such-program { network 0.0.0.0/0 trusted; }", "t.app:1:13: no program "
		  "\"no-such-program\" in the usual directories of this host (write its path, or say it: "
		  "--program no-such-program=/PATH)" },
		{ "application bin/true { network 0.0.0.0/0 trusted; }", "is neither a name nor an absolute "
		  "path (write the whole path" },
		{ "application /bin/true, /bin/true { network 0.0.0.0/0 trusted; }", "t.app:1:24: /bin/true "
		  "has an application already, at line 1" },
		{ "application \"open { }", "t.app:1:13: the quoted name does not end on its line" },
		{ "application \"\" { }", "t.app:1:13: the name is empty" },
		{ "application b\xc3\xa4r { }", "t.app:1:14: only printable ASCII characters" },
		{ A "network 10.0.0.0/8 trusted; } }", "t.app:2:31: \"application\" is expected, not \"}\"" },
		/* All of them, and nothing that only follows from one. */
		{ A "network 10.0.0/8 trusted;\nnetwork 10.0.0.0/8 good;\nnetwrk x;\n}\napplicaton b {}",
		  "t.app:2:9: \"10.0.0/8\" is neither an address nor a host name: " },
		{ A "network 10.0.0.0/8 good;\nnetwrk x;\n}\napplicaton b {}", "errors: 3\n" },
		{ "aplication b {\n protection P { localport=any remoteport=any encryption mandatory; }\n"
		  " network 10.0.0.0/8 protected P;\n}\n" A "network 10.0.0.0/8 trusted; }", "errors: 1\n" },
		{ A "network 10.0.0.0/8 trusted;\nprotecton P { localport=any remoteport=any encryption "
		  "mandatory; }\n}\n", "errors: 1\n" },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct ipsecbpf_report report = { 0 };
		char *json = import(cases[i].text, strlen(cases[i].text), &report);
		char *said = report_text(&report);

		assert_int_equal(errno, EINVAL);
		if (json || !strstr(said, cases[i].expected))
			fail_msg("%s\nexpected\n  %s\namong\n%s", cases[i].text, cases[i].expected, said);
		free(said);
		report_fini(&report);
	}
}

static const char whole[] =
	A "network 10.0.0.0 - 10.0.0.9 protected P; # comment\nnetwork www.example.org protected P;\n"
	"network 10.1.0.0/16 untrusted;\n" P
	"application \"/bin/false\", /bin/echo { network ::/0 trusted; }\n";

/* A text that ends early, in memory of its own: reading beyond is seen by the sanitizer. */
static void import_copy(const char *text, size_t len, bool good)
{
	struct ipsecbpf_report report = { 0 };
	char *copy = malloc(len ? len : 1), *json;

	memcpy(copy, text, len);
	json = import(copy, len, &report);
	if (good && !json)
		fail_msg("refused at %zu", len);
	if (!json)
		assert_true(report.errors > 0);
	free(json);
	free(copy);
	report_fini(&report);
}

static void test_truncated(void **state)
{
	struct ipsecbpf_report report = { 0 };
	const char *ends = strstr(whole, "application \"") - 1;

	(void)state;
	import_copy(whole, strlen(whole), true);
	for (size_t len = 0; len < strlen(whole) - 2; len++) {
		bool good = whole + len == ends || whole + len == ends + 1;
		char *json = import(whole, len, &report);

		/* Only between two applications nothing is missing. */
		assert_int_equal(json != NULL, good);
		free(json);
		report_fini(&report);
		import_copy(whole, len, good);
	}
}

static void test_changed(void **state)
{
	static const char octets[] = "{};,=\"#/-. \n\xff\x01" "a0\0";
	char text[sizeof(whole)];
	unsigned int seed = 5;

	(void)state;
	for (size_t at = 0; at < strlen(whole); at++)
		for (size_t i = 0; i < sizeof(octets); i++) {
			memcpy(text, whole, sizeof(whole));
			text[at] = octets[i];
			import_copy(text, strlen(whole), false);
		}
	for (int round = 0; round < 20000; round++) {
		size_t len = 1 + (size_t)rand_r(&seed) % (sizeof(text) - 1);

		memcpy(text, whole, sizeof(whole));
		for (int i = 0; i < 8; i++) {
			size_t from = (size_t)rand_r(&seed) % len, to = (size_t)rand_r(&seed) % len;
			size_t most = len - (from > to ? from : to);

			memmove(text + to, text + from, 1 + (size_t)rand_r(&seed) % most);
		}
		import_copy(text, len, false);
	}
}

static void test_limits(void **state)
{
	struct ipsecbpf_report report = { 0 };
	size_t len = (1u << 20) + 1;
	char *text = malloc(len), *said;

	(void)state;
	memset(text, '{', len);
	assert_null(import(text, len, &report));
	said = report_text(&report);
	assert_non_null(strstr(said, "longer than 1048576 octets"));
	free(said);
	report_fini(&report);
	assert_null(import(text, len - 1, &report));
	report_fini(&report);
	/* Errors without end are not all listed. */
	for (size_t i = 0; i < len; i++)
		text[i] = ";a"[i % 2];
	memcpy(text, "application /bin/true {", 23);
	assert_null(import(text, len - 1, &report));
	assert_true(report.errors >= 100 && report.errors < 110);
	report_fini(&report);
	memset(text, 'x', len);
	assert_null(import(text, len - 1, &report));
	report_fini(&report);
	free(text);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_errors),
		cmocka_unit_test(test_truncated),
		cmocka_unit_test(test_changed),
		cmocka_unit_test(test_limits),
	};

	return cmocka_run_group_tests_name("policy_import", tests, NULL, NULL);
}
