/* SPDX-License-Identifier: BSD-2-Clause */
/* What the SA file tests share. Included by: selftests/unit/test_sa_*.c, once each. */
#ifndef SA_TESTING_H
#define SA_TESTING_H

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "lib/ipsecbpf.h"

#define KEY16 "000102030405060708090a0b0c0d0e0f"
#define DES3 "0123456789abcdef" "23456789abcdef01" "456789abcdef0123"
#define KEY20 "000102030405060708090a0b0c0d0e0f10111213"
#define KEY20B "f00102030405060708090a0b0c0d0e0f10111213"
#define KEY32 "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f"
#define ENDS "\"src\":\"10.9.0.1\",\"dst\":\"10.9.0.2\","
#define BACK "\"src\":\"10.9.0.2\",\"dst\":\"10.9.0.1\","
#define GCM "\"suite\":\"aes128gcm16\",\"key\":\"" KEY20 "\","
#define REST "\"protection\":\"p\""
#define AH_SHA256 "\"proto\":\"ah\",\"suite\":\"sha256\",\"auth_key\":\"" KEY32 "\","
#define ENCAP(object) "\"encap\":" object ","
#define PORTS "\"sport\":4500,\"dport\":4501"
#define TUNNEL "\"mode\":\"tunnel\","
#define FILE_OF(sas) "{\"version\":1,\"sas\":[" sas "]}"

/* Of the last text parsed. */
static struct ipsecbpf_report report;

/* Parses text, and sees that it was wiped and that an error was reported if it was refused. */
static inline struct sa_file *parse(const char *text)
{
	char *copy = strdup(text);
	size_t len = strlen(text);
	struct sa_file *file;

	assert_non_null(copy);
	report_fini(&report);
	errno = 0;
	file = sa_file_parse(copy, len, "sa.json", &report);
	for (size_t i = 0; i < len; i++)
		assert_int_equal(copy[i], 0);	/* wiped, however it ended */
	free(copy);
	if (!file)
		assert_int_equal(errno, EINVAL);
	assert_true(file ? !report.errors : report.errors > 0);
	return file;
}

static inline int forget_report(void **state)
{
	(void)state;
	report_fini(&report);
	return 0;
}

#endif /* SA_TESTING_H */
