/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What the crypto engines share among themselves and with the registry.
 *
 * Included by: crypto.c and engine_*.c only. Everybody else uses crypto.h.
 */
#ifndef IPSECBPF_ENGINE_H
#define IPSECBPF_ENGINE_H

#include <stdbool.h>
#include <stdint.h>
#include <string.h>

#include "crypto.h"

extern const struct crypto_engine engine_openssl;
extern const struct crypto_engine engine_ipsec_mb;

#define NONCE_LEN 12	/* salt || IV of every AEAD suite, and of AES-CTR before its counter */

/* salt || IV: what stands before the block counter in GCM, GMAC, CTR and ChaCha20. */
static inline void set_nonce(uint8_t nonce[NONCE_LEN], const uint8_t salt[4],
			     const struct crypto_op *op)
{
	memcpy(nonce, salt, 4);
	memcpy(nonce + 4, op->iv, 8);
}

/* What AES-GMAC authenticates as it stands in the packet (RFC 4543 3.3): IV and payload. */
static inline uint32_t gmac_len(const struct crypto_op *op)
{
	return (uint32_t)(op->data - op->iv) + op->len;
}

static inline uint64_t icv_word_difference(const uint8_t *a, const uint8_t *b)
{
	uint64_t x, y;

	memcpy(&x, a, sizeof(x));
	memcpy(&y, b, sizeof(y));
	return x ^ y;
}

/*
 * Compares two ICVs of SUITE_ICV_MIN to SUITE_ICV_MAX octets in a time that does not depend on
 * where they differ. The last word overlaps the one before if the length is no multiple of 8.
 */
static inline bool icv_equal(const uint8_t *a, const uint8_t *b, uint32_t len)
{
	uint64_t difference = icv_word_difference(a + len - 8, b + len - 8);

	for (uint32_t at = 0; at + 8 < len; at += 8)
		difference |= icv_word_difference(a + at, b + at);
	return difference == 0;
}

#endif /* IPSECBPF_ENGINE_H */
