// SPDX-License-Identifier: BSD-2-Clause
/* SA files with new keys: read back, they say what was asked for. Records are tested elsewhere. */
#include <netinet/in.h>

#include "lib/reservation.h"
#include "selftests/unit/sa_testing.h"

static char started[4][33];
static unsigned int started_count;

int reservation_start(const char key_id[33], struct ipsecbpf_report *unused)
{
	(void)unused;
	assert_true(started_count < 4);
	memcpy(started[started_count++], key_id, 33);
	return 0;
}

static const struct esp_suite *suite_of(const struct ipsecbpf_genkey_opts *opts)
{
	if (opts->ah)
		return suite_find_ah(opts->suite ? opts->suite : "sha256");
	return suite_find(opts->suite ? opts->suite : "aes128gcm16");
}

static char *genkey(const struct ipsecbpf_genkey_opts *opts, int want)
{
	char *text = NULL;
	size_t len = 0;
	FILE *out = open_memstream(&text, &len);

	assert_non_null(out);
	report_fini(&report);
	started_count = 0;
	assert_int_equal(ipsecbpf_sa_genkey(opts, out, &report), want);
	fclose(out);
	assert_true(want ? report.errors > 0 && !len && !started_count : !report.errors);
	/* A legacy suite is warned of. */
	assert_int_equal(!want && report.count, !want && suite_of(opts)->legacy);
	return text;
}

static void genkey_round_trip(const char *suite, bool one_way)
{
	const struct ipsecbpf_genkey_opts opts = { .sz = sizeof(opts), .src = "fd00::1",
						   .dst = "fd00::2", .suite = suite,
						   .tunnel = true, .no_esn = one_way,
						   .one_way = one_way, .allow_legacy = true,
						   .spi = 0x300 };
	char *text = genkey(&opts, 0), key_id[33];
	struct sa_file *file = parse(text);

	assert_non_null(file);
	assert_int_equal(file->count, one_way ? 1 : 2);
	assert_int_equal(started_count, file->count);
	for (size_t i = 0; i < file->count; i++) {
		const struct sa_config *sa = &file->sas[i];

		sa_key_id(sa, key_id);
		assert_string_equal(key_id, started[i]);
		assert_string_equal(suite_at(sa->suite)->name, suite);
		assert_int_equal(sa->src.b[15], i ? 2 : 1);
		assert_int_equal(sa->dst.b[15], i ? 1 : 2);
		assert_true(sa->tunnel);
		assert_int_equal(sa->esn, !one_way);
		assert_int_equal(sa->replay_window, 1024);
		assert_string_equal(sa->protection, "default");
	}
	assert_int_equal(ntohl(file->sas[0].spi), 0x300);
	if (!one_way) {
		assert_memory_not_equal(file->sas[0].key, file->sas[1].key, SUITE_KEY_MAX * 2);
		assert_string_not_equal(started[0], started[1]);
	}
	sa_file_free(file);
	free(text);
}

static void test_genkey(void **state)
{
	const struct esp_suite *suite;

	(void)state;
	for (size_t i = 0; (suite = suite_at(i)); i++) {
		genkey_round_trip(suite->name, false);
		genkey_round_trip(suite->name, true);
	}
}

/* The suite's name in AH, and its single key. */
static void test_genkey_ah(void **state)
{
	struct ipsecbpf_genkey_opts opts = { .sz = sizeof(opts), .src = "10.0.0.1",
					     .dst = "10.0.0.2", .ah = true, .allow_legacy = true };
	const struct esp_suite *suite;
	struct sa_file *file;
	char *text;

	(void)state;
	for (size_t i = 0; (suite = suite_at(i)); i++) {
		if (!suite->ah_name)
			continue;
		opts.suite = suite->ah_name;
		text = genkey(&opts, 0);
		assert_null(strstr(text, "\"key\""));
		file = parse(text);
		assert_non_null(file);
		assert_int_equal(file->count, 2);
		for (size_t j = 0; j < 2; j++) {
			assert_int_equal(file->sas[j].proto, IPPROTO_AH);
			assert_ptr_equal(suite_at(file->sas[j].suite), suite);
		}
		sa_file_free(file);
		free(text);
	}
	opts.suite = NULL;
	text = genkey(&opts, 0);
	assert_non_null(strstr(text, "\"suite\": \"sha256\""));
	free(text);
}

/* The answers come back by the ports that the requests left and reached. */
static void test_genkey_encap(void **state)
{
	const struct ipsecbpf_genkey_opts opts = { .sz = sizeof(opts), .src = "10.0.0.1",
						   .dst = "10.0.0.2", .encap_sport = 4500,
						   .encap_dport = 61000 };
	char *text = genkey(&opts, 0);
	struct sa_file *file = parse(text);

	(void)state;
	assert_non_null(file);
	assert_int_equal(ntohs(file->sas[0].encap_sport), 4500);
	assert_int_equal(ntohs(file->sas[0].encap_dport), 61000);
	assert_int_equal(ntohs(file->sas[1].encap_sport), 61000);
	assert_int_equal(ntohs(file->sas[1].encap_dport), 4500);
	assert_int_equal(file->sas[1].keepalive, KEEPALIVE_DEFAULT);
	sa_file_free(file);
	free(text);
}

static void test_genkey_refusals(void **state)
{
	static const struct ipsecbpf_genkey_opts bad[] = {
		{ .src = NULL, .dst = "10.0.0.2" },
		{ .src = "10.0.0.1", .dst = "fd00::2" },
		{ .src = "10.0.0.1", .dst = "10.0.0.1" },
		{ .src = "10.0.0.0/8", .dst = "10.0.0.1" },
		{ .src = "10.0.0.1", .dst = "239.0.0.1" },
		{ .src = "10.0.0.1", .dst = "10.0.0.2", .suite = "des" },
		{ .src = "10.0.0.1", .dst = "10.0.0.2", .suite = "3des-sha256" },
		{ .src = "10.0.0.1", .dst = "10.0.0.2", .suite = "aes128-md5" },
		{ .src = "10.0.0.1", .dst = "10.0.0.2", .spi = 255 },
		{ .src = "10.0.0.1", .dst = "10.0.0.2", .replay_window = 4097 },
		{ .src = "10.0.0.1", .dst = "10.0.0.2", .protection = "a\"b" },
		{ .src = "10.0.0.1", .dst = "10.0.0.2", .suite = "sha256" },
		{ .src = "10.0.0.1", .dst = "10.0.0.2", .suite = "null-sha256", .ah = true },
		{ .src = "10.0.0.1", .dst = "10.0.0.2", .suite = "md5", .ah = true },
		{ .src = "10.0.0.1", .dst = "10.0.0.2", .encap_sport = 4500 },
		{ .src = "10.0.0.1", .dst = "10.0.0.2", .encap_dport = 4500 },
		{ .src = "10.0.0.1", .dst = "10.0.0.2", .encap_sport = 1, .encap_dport = 1,
		  .ah = true },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		free(genkey(&bad[i], -EINVAL));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_genkey),
		cmocka_unit_test(test_genkey_ah),
		cmocka_unit_test(test_genkey_encap),
		cmocka_unit_test(test_genkey_refusals),
	};

	return cmocka_run_group_tests_name("sa_genkey", tests, NULL, forget_report);
}
