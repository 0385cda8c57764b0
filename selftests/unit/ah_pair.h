/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Pairs of an SA of AH, and an ICV computed by hand. Included by: test_ah*.c.
 */
#ifndef SELFTESTS_AH_PAIR_H
#define SELFTESTS_AH_PAIR_H

#include "esp_pair.h"
#include "lib/ah.h"

/* X(name, xfrm, octets of ICV) */
#define AH_SUITES(X)			\
	X("md5", "hmac(md5)", 12)	\
	X("sha1", "hmac(sha1)", 12)	\
	X("sha256", "hmac(sha256)", 16)	\
	X("sha384", "hmac(sha384)", 24)	\
	X("sha512", "hmac(sha512)", 32)	\
	X("aesxcbc", "xcbc(aes)", 12)	\
	X("aescmac", "cmac(aes)", 12)

static const struct {
	const char *name, *xfrm;
	uint32_t icv_len;
} ah_suites[] = {
#define X(name, xfrm, icv_len) { name, xfrm, icv_len },
	AH_SUITES(X)
#undef X
};

#define AH_SUITE_COUNT (sizeof(ah_suites) / sizeof(ah_suites[0]))

static inline void pair_init_ah(struct pair *pair, const char *suite, const char *engine,
				enum ip_family family, bool tunnel, bool esn)
{
	const struct sa_config like = { .family = family, .tunnel = tunnel, .esn = esn };

	pair_init_suite(pair, IPPROTO_AH, suite_find_ah(suite), engine, &like);
}

#endif /* SELFTESTS_AH_PAIR_H */
