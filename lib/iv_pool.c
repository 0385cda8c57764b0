// SPDX-License-Identifier: BSD-2-Clause
#include "iv_pool.h"

#include <errno.h>
#include <openssl/crypto.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

#define POOL_IVS 256	/* per refill: about 1 us of AES every 256 packets */

struct iv_pool {
	EVP_CIPHER_CTX *ctx;
	unsigned int used;	/* IVs handed out of `ivs` */
	uint8_t ivs[POOL_IVS][IV_POOL_IV_LEN];
};

static int refill(struct iv_pool *pool)
{
	int len;

	memset(pool->ivs, 0, sizeof(pool->ivs));	/* the key stream alone */
	if (!EVP_EncryptUpdate(pool->ctx, pool->ivs[0], &len, pool->ivs[0], sizeof(pool->ivs))) {
		ERR_clear_error();
		return -EIO;
	}
	pool->used = 0;
	return 0;
}

/* Key and first counter block. getrandom() of 48 octets is never cut short once it is seeded. */
static int key_pool(struct iv_pool *pool)
{
	uint8_t seed[32 + 16];
	int err = 0;

	if (getrandom(seed, sizeof(seed), 0) != (ssize_t)sizeof(seed))
		err = -EIO;
	else if (!EVP_EncryptInit_ex2(pool->ctx, EVP_aes_256_ctr(), seed, seed + 32, NULL))
		err = -ENOMEM;
	explicit_bzero(seed, sizeof(seed));
	return err;
}

struct iv_pool *iv_pool_new(void)
{
	struct iv_pool *pool = calloc(1, sizeof(*pool));
	int err = -ENOMEM;

	if (!pool)
		return NULL;
	pool->ctx = EVP_CIPHER_CTX_new();
	if (pool->ctx)
		err = key_pool(pool);
	if (!err)
		err = refill(pool);
	if (!err)
		return pool;
	ERR_clear_error();
	iv_pool_free(pool);
	errno = -err;
	return NULL;
}

void iv_pool_free(struct iv_pool *pool)
{
	if (!pool)
		return;
	EVP_CIPHER_CTX_free(pool->ctx);
	explicit_bzero(pool, sizeof(*pool));
	free(pool);
}

int iv_pool_next(struct iv_pool *pool, uint8_t *iv, size_t len)
{
	int err;

	if (pool->used == POOL_IVS) {
		err = refill(pool);
		if (err)
			return err;
	}
	memcpy(iv, pool->ivs[pool->used++], len);
	return 0;
}
