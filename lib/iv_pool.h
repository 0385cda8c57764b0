/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Unpredictable IVs for CBC (RFC 3602 section 3): AES-256 in counter mode under a random key that
 * never leaves the pool, made in bulk so that a packet costs a 16-octet copy and no system call.
 *
 * Included by: sa_runtime.c, esp_encap.c. Threading: a pool belongs to one thread.
 */
#ifndef IPSECBPF_IV_POOL_H
#define IPSECBPF_IV_POOL_H

#include <stddef.h>
#include <stdint.h>

#define IV_POOL_IV_LEN 16

struct iv_pool;

/* Keys a pool from getrandom(). NULL + errno. */
struct iv_pool *iv_pool_new(void);
void iv_pool_free(struct iv_pool *pool);	/* wipes; NULL allowed */

/*
 * Writes the next IV, `len` octets of it (at most IV_POOL_IV_LEN). 0, or -EIO if the cipher failed
 * (then the packet must not leave).
 */
int iv_pool_next(struct iv_pool *pool, uint8_t *iv, size_t len);

#endif /* IPSECBPF_IV_POOL_H */
