/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Published test vectors of the suites' algorithms, as hex: one file in vectors/ per source.
 * Included by: test_crypto.c.
 */
#ifndef SELFTESTS_VECTORS_H
#define SELFTESTS_VECTORS_H

/*
 * For an AEAD `nonce` is salt and IV together, and `icv` its tag. For a cipher with a MAC, `nonce`
 * is salt and IV and there is no ICV: the source knows the cipher only. For a MAC `plain` is what is
 * authenticated; a key shorter than the suite's is padded with zeros, which is the same to HMAC,
 * and an ICV longer than the suite's is cut.
 */
struct suite_vector {
	const char *source;
	const char *suite;
	const char *key, *nonce, *aad;
	const char *plain, *cipher, *icv;
};

#include "vectors/gcm_spec.h"
#include "vectors/mcgrew_gcm.h"
#include "vectors/nist_cbc.h"
#include "vectors/nist_gcm.h"
#include "vectors/nist_tdes.h"
#include "vectors/rfc2202.h"
#include "vectors/rfc3566.h"
#include "vectors/rfc3602.h"
#include "vectors/rfc3686.h"
#include "vectors/rfc4231.h"
#include "vectors/rfc4493.h"
#include "vectors/rfc4868.h"
#include "vectors/rfc7634.h"

#endif /* SELFTESTS_VECTORS_H */
