// SPDX-License-Identifier: BSD-2-Clause
/* SA files: what they mean, every error in them, who may own them, and that keys do not leak. */
#include <errno.h>
#include <netinet/in.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "selftests/unit/sa_testing.h"

/*
 * One error (there must be no other), at the place that is marked with '@' in the text, with
 * `cause` in its cause. The mark is taken out before parsing.
 */
static void refuses(const char *marked, const char *cause)
{
	unsigned int line = 1, column = 1;
	const struct report_item *error = NULL;
	char *text = strdup(marked), *mark;
	char place[64];

	assert_non_null(text);
	mark = strchr(text, '@');
	assert_non_null(mark);
	for (const char *c = text; c < mark; c++) {
		line += *c == '\n';
		column = *c == '\n' ? 1 : column + 1;
	}
	memmove(mark, mark + 1, strlen(mark));
	snprintf(place, sizeof(place), "sa.json:%u:%u", line, column);
	assert_null(parse(text));
	assert_int_equal(report.errors, 1);
	for (size_t i = 0; i < report.count; i++)
		if (report.items[i].level == REPORT_ERROR)
			error = &report.items[i];
	assert_non_null(error);
	print_message("%s: %s\n", error->object, error->cause);
	assert_string_equal(error->object, place);
	assert_non_null(strstr(error->cause, cause));
	free(text);
}

static void test_all_fields(void **state)
{
	struct sa_file *file = parse(FILE_OF(
		"{\"src\":\"fd00::1\",\"dst\":\"fd00::2\",\"spi\":4294967295,\"proto\":\"esp\","
		"\"mode\":\"tunnel\",\"suite\":\"aes128-sha256\","
		"\"key\":\"000102030405060708090A0B0C0D0E0F\",\"auth_key\":\"" KEY32 "\","
		"\"protection\":\"secret ftp\",\"esn\":false,\"replay_window\":0,"
		"\"direction\":\"out\"},"
		"{" ENDS "\"spi\":\"0x1001\"," GCM REST "}"));
	const struct sa_config *sa;

	(void)state;
	assert_non_null(file);
	assert_int_equal(file->count, 2);
	sa = &file->sas[0];
	assert_int_equal(sa->family, FAMILY_V6);
	assert_int_equal(sa->src.b[0], 0xfd);
	assert_int_equal(sa->dst.b[15], 2);
	assert_int_equal(ntohl(sa->spi), 0xffffffff);
	assert_int_equal(sa->proto, IPPROTO_ESP);
	assert_true(sa->tunnel);
	assert_string_equal(suite_at(sa->suite)->name, "aes128-sha256");
	assert_int_equal(sa->key[15], 15);
	assert_int_equal(sa->mac_key[31], 31);
	assert_string_equal(sa->protection, "secret ftp");
	assert_false(sa->esn);
	assert_int_equal(sa->replay_window, 0);
	assert_true(sa->direction_given);
	assert_int_equal(sa->direction, SPD_OUT);
	sa = &file->sas[1];
	assert_int_equal(sa->family, FAMILY_V4);
	assert_int_equal(sa->dst.b[3], 2);
	assert_int_equal(ntohl(sa->spi), 0x1001);
	assert_false(sa->tunnel);
	assert_true(sa->esn);
	assert_int_equal(sa->replay_window, 1024);
	assert_false(sa->direction_given);
	assert_int_equal(sa->key[19], 0x13);
	sa_file_free(file);
	file = parse("{\"version\":1,\"sas\":[]}");
	assert_non_null(file);
	assert_int_equal(file->count, 0);
	sa_file_free(file);
}

#define AT256 "{" ENDS "\"spi\":256,"

/* What is around the packets, and how long the SA lives; `sa` is replaced and freed. */
static const struct sa_config *one_sa(struct sa_file **file, const char *text)
{
	sa_file_free(*file);
	*file = parse(text);
	assert_non_null(*file);
	assert_int_equal((*file)->count, 1);
	return (*file)->sas;
}

static void test_outer_headers_and_limits(void **state)
{
	struct sa_file *file = NULL;
	const struct sa_config *sa = one_sa(&file, FILE_OF(AT256 GCM REST "}"));

	(void)state;
	assert_int_equal(sa->encap_dport, 0);
	assert_int_equal(sa->keepalive, 20);
	assert_int_equal(sa->dscp, DSCP_COPY);
	assert_int_equal(sa->df, DF_COPY);
	assert_false(sa->next_hop_given || sa->follow_peer);
	assert_true(!sa->soft.bytes && !sa->soft.packets && !sa->soft.seconds);
	assert_true(!sa->hard.bytes && !sa->hard.packets && !sa->hard.seconds);
	sa = one_sa(&file, FILE_OF(AT256 ENCAP("{" PORTS ",\"keepalive\":0,\"follow_peer\":true}")
				   "\"dscp\":46,\"df\":\"clear\",\"next_hop\":\"fe80::7\"," GCM
				   "\"limits\":{\"soft\":{\"bytes\":1,\"packets\":2,\"seconds\":3},"
				   "\"hard\":{\"seconds\":4294967295,\"packets\":5,"
				   "\"bytes\":9223372036854775807}}," TUNNEL REST "}"));
	assert_int_equal(ntohs(sa->encap_sport), 4500);
	assert_int_equal(ntohs(sa->encap_dport), 4501);
	assert_int_equal(sa->keepalive, 0);
	assert_true(sa->follow_peer);
	assert_int_equal(sa->dscp, 46);
	assert_int_equal(sa->df, DF_CLEAR);
	assert_true(sa->next_hop_given);
	assert_int_equal(sa->next_hop_family, FAMILY_V6);
	assert_int_equal(sa->next_hop.b[15], 7);
	assert_int_equal(sa->family, FAMILY_V4);
	assert_int_equal(sa->soft.bytes, 1);
	assert_int_equal(sa->soft.packets, 2);
	assert_int_equal(sa->soft.seconds, 3);
	assert_int_equal(sa->hard.bytes, INT64_MAX);
	assert_int_equal(sa->hard.packets, 5);
	assert_int_equal(sa->hard.seconds, UINT32_MAX);
	sa = one_sa(&file, FILE_OF("{\"src\":\"fd00::1\",\"dst\":\"fd00::2\",\"spi\":256," GCM TUNNEL
				   "\"dscp\":\"copy\",\"df\":\"set\",\"next_hop\":\"10.0.0.1\"," REST
				   "}"));
	assert_int_equal(sa->dscp, DSCP_COPY);
	assert_int_equal(sa->df, DF_SET);
	assert_int_equal(sa->next_hop_family, FAMILY_V4);
	assert_int_equal(report.count, 1);	/* a warning */
	assert_non_null(strstr(report.items[0].cause, "df: has no effect"));
	sa_file_free(file);
}

/* AH's suites are the null cipher's; its only key is auth_key, wherever proto stands. */
static void test_ah(void **state)
{
	struct sa_file *file = NULL;
	const struct sa_config *sa = one_sa(&file, FILE_OF(
		AT256 "\"suite\":\"hmac(sha256)\",\"auth_key\":\"" KEY32 "\","
		"\"replay_window\":0,\"limits\":{\"hard\":{\"packets\":10}},"
		REST ",\"proto\":\"ah\"}"));

	(void)state;
	assert_int_equal(sa->proto, IPPROTO_AH);
	assert_string_equal(suite_at(sa->suite)->name, "null-sha256");
	assert_int_equal(sa->mac_key[31], 31);
	assert_int_equal(sa->hard.packets, 10);
	sa_file_free(file);
	/* One SPI may serve ESP and AH; and AH has no nonces that two senders could repeat. */
	file = parse(FILE_OF(AT256 AH_SHA256 REST "}," AT256 GCM REST "},"
			     "{" BACK "\"spi\":256," AH_SHA256 REST "}"));
	assert_non_null(file);
	sa_file_free(file);
}

/* clang-format off */
static const struct refusal {
	const char *text, *cause;
} refusals[] = {
	{ "{\"version\":@2,\"sas\":[]}", "version 2" },
	{ "@{\"sas\":[]}", "\"version\" is missing" },
	{ "{\"version\":1,\"sas\":[],@\"x\":1}", "unknown key \"x\"" },
	{ "{\"version\":1,\n \"sas\":[@}", "not valid JSON" },
	{ FILE_OF("@7"), "must be an object" },
	{ FILE_OF("{" ENDS "\"spi\":@255," GCM REST "}"), "reserved" },
	{ FILE_OF("{" ENDS "\"spi\":@-1," GCM REST "}"), "32 bits" },
	{ FILE_OF("{" ENDS "\"spi\":@\"0xff\"," GCM REST "}"), "reserved" },
	{ FILE_OF("{" ENDS "\"spi\":@\"1001\"," GCM REST "}"), "hexadecimal" },
	{ FILE_OF("{" ENDS "\"spi\":@\"0x\"," GCM REST "}"), "hexadecimal" },
	{ FILE_OF("{" ENDS "\"spi\":@\"0x100000000\"," GCM REST "}"), "hexadecimal" },
	{ FILE_OF("{" ENDS "\"spi\":@4294967296," GCM REST "}"), "32 bits" },
	{ FILE_OF(AT256 "\"proto\":@\"AH\"," GCM REST "}"), "\"AH\" is not known here" },
	{ FILE_OF(AT256 "\"proto\":\"ah\",\"suite\":@\"aes128gcm16\"," REST "}"),
	  "\"aes128gcm16\" is no suite of AH" },
	{ FILE_OF(AT256 "\"suite\":@\"null-sha256\",\"proto\":\"ah\"," REST "}"),
	  "\"null-sha256\" is no suite of AH" },
	{ FILE_OF(AT256 "\"suite\":@\"sha256\",\"auth_key\":\"" KEY32 "\"," REST "}"),
	  "\"sha256\" is a suite of AH, and this is ESP" },
	{ FILE_OF(AT256 "\"key\":@\"" KEY32 "\"," AH_SHA256 REST "}"),
	  "AH encrypts nothing: it has no such key" },
	{ FILE_OF(AT256 "\"key\":@\"\"," AH_SHA256 REST "}"), "it has no such key" },
	{ FILE_OF("@" AT256 "\"proto\":\"ah\",\"suite\":\"sha256\"," REST "}"),
	  "auth_key: missing: sha256 takes 32 octets here" },
	{ FILE_OF(AT256 "\"proto\":\"ah\",\"suite\":\"sha256\",\"auth_key\":@\"" KEY20
		  "\"," REST "}"), "sha256 takes 32 octets (64 hex digits) here, found 20" },
	{ FILE_OF(AT256 "\"proto\":\"ah\",\"suite\":@\"hmac(md5)\",\"auth_key\":\"" KEY16
		  "\"," REST "}"), "md5 is weak and not used unless allowed" },
	{ FILE_OF(AT256 AH_SHA256 REST "},\n@" AT256 AH_SHA256 REST "}"),
	  "same dst, proto and spi as sas[0] (line 1)" },
	{ FILE_OF(AT256 ENCAP("@{\"sport\":4500}") GCM REST "}"), "\"dport\" is missing" },
	{ FILE_OF(AT256 ENCAP("{\"sport\":@0,\"dport\":1}") GCM REST "}"),
	  "out of range 1-65535" },
	{ FILE_OF(AT256 ENCAP("{\"sport\":1,\"dport\":@65536}") GCM REST "}"),
	  "out of range 1-65535" },
	{ FILE_OF(AT256 ENCAP("{" PORTS ",\"keepalive\":@3601}") GCM REST "}"),
	  "keepalive: 3601 is out of range 0-3600" },
	{ FILE_OF(AT256 ENCAP("{" PORTS ",\"follow_peer\":@true}") GCM REST "}"),
	  "a changed address would break the inner checksums" },
	{ FILE_OF(AT256 ENCAP("{" PORTS ",\"follow_peer\":@true}") GCM TUNNEL
		  "\"replay_window\":0," REST "}"), "needs the replay check" },
	{ FILE_OF(AT256 ENCAP("{" PORTS ",\"follow_peer\":@1}") GCM TUNNEL REST "}"),
	  "true or false" },
	{ FILE_OF(AT256 ENCAP("{" PORTS ",@\"keep_alive\":20}") GCM REST "}"),
	  "unknown key \"keep_alive\"" },
	{ FILE_OF(AT256 ENCAP("@4500") GCM REST "}"), "must be an object" },
	{ FILE_OF(AT256 ENCAP("@{" PORTS "}") AH_SHA256 REST "}"), "only with ESP (RFC 3948)" },
	{ FILE_OF(AT256 GCM REST "},\n@" AT256 ENCAP("{" PORTS "}") "\"suite\":\"aes128gcm16\","
		  "\"key\":\"" KEY20B "\"," REST "}"), "same dst, proto and spi" },
	{ FILE_OF(AT256 "\"dscp\":@46," GCM REST "}"), "dscp: only in tunnel mode" },
	{ FILE_OF(AT256 TUNNEL "\"dscp\":@64," GCM REST "}"), "out of range 0-63" },
	{ FILE_OF(AT256 TUNNEL "\"dscp\":@\"ef\"," GCM REST "}"), "\"ef\" is not known here" },
	{ FILE_OF(AT256 TUNNEL "\"dscp\":@true," GCM REST "}"),
	  "\"copy\" or a number from 0 to 63, not a boolean" },
	{ FILE_OF(AT256 "\"df\":@\"copy\"," GCM REST "}"), "df: only in tunnel mode" },
	{ FILE_OF(AT256 TUNNEL "\"df\":@\"keep\"," GCM REST "}"), "\"keep\" is not known" },
	{ FILE_OF(AT256 "\"next_hop\":@\"10.0.0.1\"," GCM REST "}"),
	  "next_hop: only in tunnel mode" },
	{ FILE_OF(AT256 TUNNEL "\"next_hop\":@\"10.0.0.0/8\"," GCM REST "}"),
	  "a single address" },
	{ FILE_OF(AT256 TUNNEL "\"next_hop\":@\"ff02::1\"," GCM REST "}"),
	  "not the address of a host" },
	{ FILE_OF(AT256 "\"limits\":@{}," GCM REST "}"), "at least one of soft and hard" },
	{ FILE_OF(AT256 "\"limits\":{\"soft\":@{}}," GCM REST "}"), "at least one of bytes" },
	{ FILE_OF(AT256 "\"limits\":{@\"bytes\":1}," GCM REST "}"), "unknown key \"bytes\"" },
	{ FILE_OF(AT256 "\"limits\":{\"hard\":{\"bytes\":@0}}," GCM REST "}"), "0 is out of range" },
	{ FILE_OF(AT256 "\"limits\":{\"hard\":{\"packets\":@-1}}," GCM REST "}"),
	  "packets: -1 is out of range" },
	{ FILE_OF(AT256 "\"limits\":{\"hard\":{\"seconds\":@4294967296}}," GCM REST "}"),
	  "seconds: 4294967296 is out of range" },
	{ FILE_OF(AT256 "\"limits\":{\"hard\":{\"seconds\":@1.5}}," GCM REST "}"),
	  "must be a whole number" },
	{ FILE_OF(AT256 "\"limits\":{\"soft\":{\"bytes\":@100,\"packets\":1},\"hard\":"
		  "{\"bytes\":100,\"packets\":2}}," GCM REST "}"),
	  "limits: soft bytes: 100 is not below the hard limit of 100" },
	{ FILE_OF(AT256 "\"limits\":{\"hard\":{\"packets\":7},\"soft\":{\"packets\":@8}},"
		  GCM REST "}"), "soft packets: 8 is not below the hard limit of 7" },
	{ FILE_OF(AT256 "\"limits\":{\"hard\":{\"seconds\":7},\"soft\":{\"seconds\":@8}},"
		  GCM REST "}"), "soft seconds: 8 is not below the hard limit of 7" },
	{ FILE_OF(AT256 "\"suite\":@\"aes128gcm\",\"key\":\"" KEY20 "\"," REST "}"),
	  "suite \"aes128gcm\" is not known" },
	{ FILE_OF(AT256 "\"suite\":\"aes128gcm16\",\"key\":@\"" KEY32 "\"," REST "}"),
	  "aes128gcm16 takes 20 octets (40 hex digits) here, found 32" },
	{ FILE_OF(AT256 "\"suite\":\"aes128gcm16\",\"key\":@\"012\"," REST "}"),
	  "found 1 and a half" },
	{ FILE_OF("@" AT256 "\"suite\":\"aes128gcm16\"," REST "}"), "key: missing" },
	{ FILE_OF(AT256 "\"suite\":\"aes128gcm16\",\"key\":@\"0g\"," REST "}"),
	  "not hexadecimal (at digit 2)" },
	{ FILE_OF(AT256 "\"suite\":\"aes128gcm16\",\"key\":@\""
		  "0000000000000000000000000000000000000000\"," REST "}"), "all zeros" },
	{ FILE_OF(AT256 GCM "\"auth_key\":@\"" KEY32 "\"," REST "}"),
	  "aes128gcm16 has no such key" },
	{ FILE_OF("@" AT256 "\"suite\":\"null-sha256\"," REST "}"), "auth_key: missing" },
	{ FILE_OF(AT256 "\"suite\":@\"null-md5\",\"auth_key\":\"" KEY16 "\"," REST "}"),
	  "null-md5 is weak and not used unless allowed" },
	{ FILE_OF(AT256 "\"suite\":@\"cbc(des3_ede) hmac(sha256)\",\"key\":\"" DES3 "\","
		  "\"allow_legacy\":false,\"auth_key\":\"" KEY32 "\"," REST "}"),
	  "3des-sha256 is weak and not used unless allowed" },
	{ FILE_OF(AT256 "\"allow_legacy\":@1," GCM REST "}"), "true or false" },
	{ FILE_OF(AT256 "\"suite\":\"aes128ctr-sha1\",\"key\":@\"" KEY16 "\","
		  "\"auth_key\":\"" KEY20 "\"," REST "}"),
	  "aes128ctr-sha1 takes 20 octets" },
	{ FILE_OF(AT256 GCM REST "},\n@{" BACK "\"spi\":256,\"suite\":\"aes128ctr-sha1\","
		  "\"key\":\"" KEY20 "\",\"auth_key\":\"" KEY20 "\"," REST "}"),
	  "another sender with the same key" },
	{ FILE_OF(AT256 "\"esn\":@1," GCM REST "}"), "true or false" },
	{ FILE_OF(AT256 "\"replay_window\":@4097," GCM REST "}"), "out of range 0-4096" },
	{ FILE_OF(AT256 GCM "\"protection\":@\"\"}"), "a name has" },
	{ FILE_OF("{\"src\":\"10.9.0.1\",\"dst\":@\"fd00::2\",\"spi\":256," GCM REST "}"),
	  "different families" },
	{ FILE_OF("{\"dst\":\"10.9.0.1\",\"src\":@\"10.9.0.1\",\"spi\":256," GCM REST "}"),
	  "the same address" },
	{ FILE_OF("{\"src\":@\"10.9.0.0/24\",\"dst\":\"10.9.0.1\",\"spi\":256," GCM REST "}"),
	  "a single address" },
	{ FILE_OF("{\"src\":\"10.9.0.1\",\"dst\":@\"224.0.0.1\",\"spi\":256," GCM REST "}"),
	  "not the address of a host" },
	{ FILE_OF("{\"src\":\"fd00::1\",\"dst\":@\"ff02::1\",\"spi\":256," GCM REST "}"),
	  "not the address of a host" },
	{ FILE_OF("{\"src\":\"fd00::1\",\"dst\":@\"::\",\"spi\":256," GCM REST "}"),
	  "not the address of a host" },
	{ FILE_OF(AT256 GCM REST "},\n@" AT256 "\"suite\":\"aes128gcm16\",\"key\":\""
		  KEY20B "\"," REST "}"), "same dst, proto and spi as sas[0] (line 1)" },
	{ FILE_OF(AT256 GCM REST "},\n@{" BACK "\"spi\":256," GCM REST "}"),
	  "another sender with the same key" },
	{ "{\"version\":1,\"version@\":1,\"sas\":[]}", "duplicate" },
};
/* clang-format on */

static void test_refusals(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof(refusals) / sizeof(refusals[0]); i++)
		refuses(refusals[i].text, refusals[i].cause);
}

/* A cipher key of three DES keys: refused, or not. Parity bits do not make a difference. */
static void weak(const char *key, bool expected)
{
	char text[512];

	snprintf(text, sizeof(text), FILE_OF(AT256
		 "\"suite\":\"3des-sha1\",\"allow_legacy\":true,\"key\":%s\"%s\",\"auth_key\":\""
		 KEY20 "\"," REST "}"), expected ? "@" : "", key);
	if (expected) {
		refuses(text, "a weak 3DES key");
	} else {
		struct sa_file *file = parse(text);

		assert_non_null(file);
		assert_int_equal(report.count, 1);
		assert_int_equal(report.items[0].level, REPORT_WARNING);
		assert_non_null(strstr(report.items[0].cause, "3des-sha1 is weak"));
		sa_file_free(file);
	}
}

static void test_weak_keys(void **state)
{
#define K1 "0123456789abcdef"
#define K2 "23456789abcdef01"
#define K3 "456789abcdef0123"
	(void)state;
	weak(K1 K2 K3, false);
	weak(K1 K1 K3, true);
	weak(K1 K3 K3, true);
	weak(K1 K2 K1, true);
	weak(K1 "0022446688aaccee" K3, true);	/* K1 but for parity */
	weak("0101010101010101" K2 K3, true);	/* weak */
	weak("0000000000000000" K2 K3, true);	/* the same but for parity */
	weak(K1 "01fe01fe01fe01fe" K3, true);	/* semi-weak */
}

/* The same key may come twice from one sender: its reservation keeps the numbers apart. */
static void test_key_shared_by_one_sender(void **state)
{
	struct sa_file *file = parse(FILE_OF("{" ENDS "\"spi\":256," GCM REST "},"
					     "{" ENDS "\"spi\":257," GCM REST "}"));

	(void)state;
	assert_non_null(file);
	sa_file_free(file);
}

static void test_all_errors_are_listed(void **state)
{
	(void)state;
	assert_null(parse(FILE_OF("{" ENDS "\"spi\":7,\"mode\":\"both\",\"colour\":1,"
				  "\"suite\":\"aes128gcm16\",\"key\":\"00\"},\n"
				  "{" ENDS "\"spi\":7,\"suite\":\"x\"," REST "}")));
	/* protection, spi, mode, colour, key; spi, suite */
	assert_int_equal(report.errors, 7);
}

/* Whatever is broken where, no message holds a part of the key. */
static void test_keys_do_not_leak(void **state)
{
	static const char whole[] =
		FILE_OF("{" ENDS "\"spi\":\"0x1001\",\"suite\":\"aes128gcm16\","
			"\"key\":\"deadbeefcafed00ddeadbeefcafed00ddeadbeef\"," REST "}");
	static const char junk[] = { '"', '}', 'g', ',', '\\', '\n', (char)0xff };
	char text[sizeof(whole)];

	(void)state;
	for (size_t at = 0; at < strlen(whole); at++)
		for (size_t j = 0; j <= sizeof(junk); j++) {
			memcpy(text, whole, sizeof(whole));
			text[at] = j < sizeof(junk) ? junk[j] : '\0';
			report_fini(&report);
			sa_file_free(sa_file_parse(text, text[at] ? strlen(whole) : at, "f", &report));
			for (size_t i = 0; i < report.count; i++) {
				assert_null(strstr(report.items[i].cause, "dead"));
				assert_null(strstr(report.items[i].cause, "cafe"));
			}
		}
}

static void write_file(const char *path, const char *text, mode_t mode)
{
	FILE *file = fopen(path, "w");

	assert_non_null(file);
	assert_true(fputs(text, file) >= 0);
	assert_int_equal(fclose(file), 0);
	assert_int_equal(chmod(path, mode), 0);
}

static void refuses_file(const char *path, const char *cause)
{
	report_fini(&report);
	assert_null(sa_file_load(path, &report));
	assert_int_equal(report.errors, 1);
	print_message("%s: %s\n", report.items[0].object, report.items[0].cause);
	assert_string_equal(report.items[0].object, path);
	assert_non_null(strstr(report.items[0].cause, cause));
}

static void test_files(void **state)
{
	static const mode_t good[] = { 0600, 0400 }, bad[] = { 0640, 0644, 0604, 0660, 0700, 04600 };
	char dir[] = "/tmp/test_sa_json.XXXXXX", path[64], link_path[64], fifo[64];
	struct sa_file *file;

	(void)state;
	assert_non_null(mkdtemp(dir));
	snprintf(path, sizeof(path), "%s/sa.json", dir);
	snprintf(link_path, sizeof(link_path), "%s/link", dir);
	snprintf(fifo, sizeof(fifo), "%s/fifo", dir);
	for (size_t i = 0; i < sizeof(good) / sizeof(good[0]); i++) {
		write_file(path, FILE_OF("{" ENDS "\"spi\":256," GCM REST "}"), good[i]);
		report_fini(&report);
		file = sa_file_load(path, &report);
		assert_non_null(file);
		assert_int_equal(file->count, 1);
		sa_file_free(file);
		assert_int_equal(unlink(path), 0);
	}
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		write_file(path, "{}", bad[i]);
		refuses_file(path, "mode");
		assert_int_equal(unlink(path), 0);
	}
	write_file(path, "{}", 0600);
	assert_int_equal(symlink(path, link_path), 0);
	refuses_file(link_path, "symbolic link");
	assert_int_equal(mkfifo(fifo, 0600), 0);
	refuses_file(fifo, "not a regular file");
	refuses_file(dir, "not a regular file");
	if (geteuid() == 0) {
		assert_int_equal(chown(path, 12345, 0), 0);
		refuses_file(path, "neither root nor you");
	} else {
		print_message("not root: foreign owner not tested\n");
	}
	unlink(fifo);
	unlink(link_path);
	unlink(path);
	refuses_file(path, "No such file");
	rmdir(dir);
}

static void test_fingerprints(void **state)
{
	struct sa_config a = { .suite = (uint16_t)suite_index(suite_find("aes128gcm16")),
			       .key = { 1, 2, 3 } }, b = a;
	char fa[SA_FINGERPRINT_LEN + 1], fb[SA_FINGERPRINT_LEN + 1], ia[33], ib[33];

	(void)state;
	b.key[16] ^= 1;		/* the salt: another fingerprint, the same cipher key */
	b.spi = 7;
	sa_fingerprint(&a, fa);
	sa_fingerprint(&b, fb);
	sa_key_id(&a, ia);
	sa_key_id(&b, ib);
	assert_int_equal(strlen(fa), SA_FINGERPRINT_LEN);
	assert_int_equal(strlen(ia), 32);
	assert_string_not_equal(fa, fb);
	assert_string_equal(ia, ib);
	b.key[15] ^= 1;
	sa_key_id(&b, ib);
	assert_string_not_equal(ia, ib);
	sa_config_wipe(&a);
	for (size_t i = 0; i < SUITE_KEY_MAX; i++)
		assert_int_equal(a.key[i] | a.mac_key[i], 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_all_fields),
		cmocka_unit_test(test_outer_headers_and_limits),
		cmocka_unit_test(test_ah),
		cmocka_unit_test(test_refusals),
		cmocka_unit_test(test_weak_keys),
		cmocka_unit_test(test_key_shared_by_one_sender),
		cmocka_unit_test(test_all_errors_are_listed),
		cmocka_unit_test(test_keys_do_not_leak),
		cmocka_unit_test(test_files),
		cmocka_unit_test(test_fingerprints),
	};

	return cmocka_run_group_tests_name("sa_json", tests, NULL, forget_report);
}
