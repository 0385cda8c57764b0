// SPDX-License-Identifier: BSD-2-Clause
/* SAs for Wireshark: one line or one reason for every suite. That tshark takes them is tested where
 * it runs (selftests/net/test_capture_tools.py). */
#include <netinet/in.h>

#include "selftests/unit/sa_testing.h"

/* One SA of every suite with keys of its own octets, and then of every suite of AH. */
static struct sa_file *every_suite(void)
{
	struct sa_file *file = calloc(1, sizeof(*file));

	assert_non_null(file);
	for (size_t i = 0; suite_at(i); i++)
		file->count += 1 + !!suite_at(i)->ah_name;
	file->sas = calloc(file->count, sizeof(*file->sas));
	assert_non_null(file->sas);
	for (size_t i = 0, ah = 0; i < file->count; i++) {
		struct sa_config *sa = &file->sas[i];

		*sa = (struct sa_config){ .proto = suite_at(i) ? IPPROTO_ESP : IPPROTO_AH,
					  .src.b = { 10, 0, 0, 1 }, .dst.b = { 10, 0, 0, 2 },
					  .spi = htonl(0x1000 + (uint32_t)i), .suite = (uint16_t)i };
		while (sa->proto == IPPROTO_AH && !suite_at(ah)->ah_name)
			ah++;
		if (sa->proto == IPPROTO_AH)
			sa->suite = (uint16_t)ah++;
		memset(sa->key, 0xc1, sizeof(sa->key));
		memset(sa->mac_key, 0xb4, sizeof(sa->mac_key));
	}
	return file;
}

static char *export(const struct sa_file *file, int want)
{
	char *text = NULL;
	size_t len = 0;
	FILE *out = open_memstream(&text, &len);

	assert_non_null(out);
	report_fini(&report);
	assert_int_equal(ipsecbpf_sa_export_wireshark(file, out, &report), want);
	fclose(out);
	assert_int_equal(len == 0, want != 0);
	return text;
}

/* The line of an SPI, in a buffer of the caller's; NULL: there is none. */
static const char *line_of(const char *text, uint32_t spi, char *out, size_t out_len)
{
	char mark[32];
	const char *at, *start;

	snprintf(mark, sizeof(mark), "\"0x%08x\"", spi);
	at = strstr(text, mark);
	if (!at)
		return NULL;
	for (start = at; start > text && start[-1] != '\n'; start--)
		;
	snprintf(out, out_len, "%.*s", (int)strcspn(start, "\n"), start);
	return out;
}

static size_t count_of(const char *text, const char *part)
{
	size_t count = 0;

	for (; (text = strstr(text, part)); text += strlen(part))
		count++;
	return count;
}

static void test_every_suite(void **state)
{
	struct sa_file *file = every_suite();
	char *text = export(file, 0), line[1024];
	size_t left_out = 0;

	(void)state;
	for (size_t i = 0; i < file->count; i++) {
		const struct esp_suite *suite = suite_at(file->sas[i].suite);
		const char *found = line_of(text, 0x1000 + (uint32_t)i, line, sizeof(line));
		bool known = file->sas[i].proto == IPPROTO_ESP && suite->cipher != CIPHER_AES_GMAC;

		assert_int_equal(found != NULL, known);
		left_out += !known;
		if (!known)
			continue;
		assert_int_equal(found[0] == '#', suite->cipher == CIPHER_CHACHA20_POLY1305);
		assert_int_equal(count_of(found, "\""), 16);
		assert_int_equal(count_of(found, "c1"), suite->key_len + suite->salt_len);
		assert_int_equal(count_of(found, "b4"), suite->mac_key_len);
	}
	assert_int_equal(count_of(text, ": not exported: "), left_out);
	assert_int_equal(report.count, left_out + 1);	/* and the one commented out */
	assert_int_equal(report.errors, 0);
	assert_int_equal(count_of(text, "64-bit\",\"0\"\n"), 0);
	free(text);
	sa_file_free(file);
}

static void test_a_line(void **state)
{
	struct sa_config sa = { .proto = IPPROTO_ESP, .family = FAMILY_V6, .src.b = { 0xfd, [15] = 1 },
				.dst.b = { 0xfd, [15] = 2 }, .spi = htonl(0xabcd), .esn = true,
				.suite = (uint16_t)suite_index(suite_find("aes128-aescmac")),
				.encap_sport = htons(61000), .encap_dport = htons(61001) };
	struct sa_file file = { .sas = &sa, .count = 1 };
	char *text;

	(void)state;
	memset(sa.key, 0x11, 16);
	memset(sa.mac_key, 0x22, 16);
	text = export(&file, 0);
	assert_non_null(strstr(text,
		"# The ICV is not checked: Wireshark does not know aescmac.\n"
		"# In UDP to port 61001: decode that port as UDPENCAP.\n"
		"\"IPv6\",\"fd00::1\",\"fd00::2\",\"0x0000abcd\",\"AES-CBC [RFC3602]\","
		"\"0x11111111111111111111111111111111\",\"ANY 96 bit authentication [no checking]\","
		"\"0x22222222222222222222222222222222\",\"64-bit\",\"0\"\n"));
	free(text);
	sa.encap_dport = htons(4500);
	text = export(&file, 0);
	assert_null(strstr(text, "UDPENCAP"));
	free(text);
}

static void test_nothing_to_export(void **state)
{
	struct sa_config sa = { .proto = IPPROTO_ESP, .suite = (uint16_t)suite_index(
						      suite_find("aes192gmac")) };
	struct sa_file file = { .sas = &sa, .count = 1 }, empty = { .count = 0 };

	(void)state;
	free(export(&file, -ENOTSUP));
	assert_int_equal(report.errors, 1);
	assert_non_null(strstr(report.items[0].cause, "sas[0], aes192gmac: not exported"));
	free(export(&empty, -ENOTSUP));
	assert_int_equal(report.errors, 1);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_every_suite),
		cmocka_unit_test(test_a_line),
		cmocka_unit_test(test_nothing_to_export),
	};

	return cmocka_run_group_tests_name("sa_export", tests, NULL, forget_report);
}
