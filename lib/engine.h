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

#define NONCE_LEN 12	/* salt || IV of every AEAD suite */
#define ICV_LEN	  16	/* of every suite in the table; key_new() refuses others */

/* Compares two ICVs in a time that does not depend on where they differ. */
static inline bool icv_equal(const uint8_t a[ICV_LEN], const uint8_t b[ICV_LEN])
{
	uint64_t x[2], y[2];

	memcpy(x, a, sizeof(x));
	memcpy(y, b, sizeof(y));
	return ((x[0] ^ y[0]) | (x[1] ^ y[1])) == 0;
}

#endif /* IPSECBPF_ENGINE_H */
