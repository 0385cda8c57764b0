// SPDX-License-Identifier: BSD-2-Clause
/*
 * Crypto engine on OpenSSL 3: runs on every CPU. One context per key and direction of use is keyed
 * once; a packet only sets the IV.
 *
 * HMAC uses OpenSSL's SHA256_CTX directly: the inner and outer states are keyed once and a packet
 * copies them (two 112-octet copies). EVP_MAC re-initialisation allocates and frees three digest
 * contexts per packet in OpenSSL 3.0, which costs more than hashing 1 KiB.
 */
#define OPENSSL_SUPPRESS_DEPRECATED
#include <errno.h>
#include <openssl/crypto.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/sha.h>
#include <stdlib.h>
#include <string.h>

#include "engine.h"

struct crypto_key {
	const struct crypto_engine *engine;
	const struct esp_suite *suite;
	EVP_CIPHER_CTX *seal, *open;	/* NULL for the NULL cipher */
	uint8_t salt[NONCE_LEN];	/* only salt_len octets are used */
	SHA256_CTX mac_inner, mac_outer;
};

/* Fetched in probe(), read-only afterwards, never freed: they live as long as the process. */
static struct {
	enum suite_cipher cipher;
	uint8_t key_len;
	const char *name;
	EVP_CIPHER *evp;
} algorithms[] = {
	{ CIPHER_AES_GCM, 16, "AES-128-GCM" },
	{ CIPHER_AES_GCM, 24, "AES-192-GCM" },
	{ CIPHER_AES_GCM, 32, "AES-256-GCM" },
	{ CIPHER_CHACHA20_POLY1305, 32, "ChaCha20-Poly1305" },
	{ CIPHER_AES_CBC, 16, "AES-128-CBC" },
	{ CIPHER_AES_CBC, 24, "AES-192-CBC" },
	{ CIPHER_AES_CBC, 32, "AES-256-CBC" },
};
#define ALGORITHM_COUNT (sizeof(algorithms) / sizeof(algorithms[0]))

static bool openssl_probe(void)
{
	for (size_t i = 0; i < ALGORITHM_COUNT; i++)
		algorithms[i].evp = EVP_CIPHER_fetch(NULL, algorithms[i].name, NULL);
	ERR_clear_error();
	return true;
}

static const EVP_CIPHER *algorithm_for(const struct esp_suite *suite)
{
	for (size_t i = 0; i < ALGORITHM_COUNT; i++)
		if (algorithms[i].cipher == suite->cipher && algorithms[i].key_len == suite->key_len)
			return algorithms[i].evp;
	return NULL;
}

static bool openssl_supports(const struct esp_suite *suite)
{
	if (suite->icv_len != ICV_LEN || suite->mac_key_len > SHA256_CBLOCK)
		return false;
	return suite->cipher == CIPHER_NULL || algorithm_for(suite) != NULL;
}

/* Runs the first block of HMAC (RFC 2104): key XOR pad. */
static void mac_start(SHA256_CTX *ctx, const uint8_t *key, size_t key_len, uint8_t pad)
{
	uint8_t block[SHA256_CBLOCK];

	memset(block, pad, sizeof(block));
	for (size_t i = 0; i < key_len; i++)
		block[i] ^= key[i];
	SHA256_Init(ctx);
	SHA256_Update(ctx, block, sizeof(block));
	OPENSSL_cleanse(block, sizeof(block));
}

static EVP_CIPHER_CTX *context_new(const struct esp_suite *suite, const uint8_t *key, int encrypt)
{
	EVP_CIPHER_CTX *ctx = EVP_CIPHER_CTX_new();

	if (!ctx)
		return NULL;
	if (!EVP_CipherInit_ex2(ctx, algorithm_for(suite), key, NULL, encrypt, NULL) ||
	    !EVP_CIPHER_CTX_set_padding(ctx, 0)) {
		EVP_CIPHER_CTX_free(ctx);
		return NULL;
	}
	return ctx;
}

static void openssl_key_free(struct crypto_key *key)
{
	if (!key)
		return;
	EVP_CIPHER_CTX_free(key->open);
	EVP_CIPHER_CTX_free(key->seal);
	OPENSSL_cleanse(key, sizeof(*key));
	free(key);
}

static struct crypto_key *openssl_key_new(const struct esp_suite *suite, const uint8_t *key,
					  const uint8_t *mac_key)
{
	struct crypto_key *new = calloc(1, sizeof(*new));

	if (!new)
		return NULL;
	new->engine = &engine_openssl;
	new->suite = suite;
	memcpy(new->salt, key + suite->key_len, suite->salt_len);
	if (suite->cipher != CIPHER_NULL) {
		new->seal = context_new(suite, key, 1);
		new->open = context_new(suite, key, 0);
		if (!new->seal || !new->open) {
			openssl_key_free(new);
			ERR_clear_error();
			errno = ENOMEM;
			return NULL;
		}
	}
	if (suite->mac == MAC_HMAC_SHA256) {
		mac_start(&new->mac_inner, mac_key, suite->mac_key_len, 0x36);
		mac_start(&new->mac_outer, mac_key, suite->mac_key_len, 0x5c);
	}
	return new;
}

static void set_nonce(uint8_t nonce[NONCE_LEN], const struct crypto_key *key,
		      const struct crypto_op *op)
{
	memcpy(nonce, key->salt, 4);
	memcpy(nonce + 4, op->iv, 8);
}

static int aead_seal(struct crypto_key *key, struct crypto_op *op)
{
	EVP_CIPHER_CTX *ctx = key->seal;
	uint8_t nonce[NONCE_LEN];
	int len;

	set_nonce(nonce, key, op);
	if (!EVP_CipherInit_ex2(ctx, NULL, NULL, nonce, -1, NULL) ||
	    !EVP_EncryptUpdate(ctx, NULL, &len, op->aad, op->aad_len) ||
	    !EVP_EncryptUpdate(ctx, op->data, &len, op->data, (int)op->len) ||
	    !EVP_EncryptFinal_ex(ctx, op->data + len, &len) ||
	    !EVP_CIPHER_CTX_ctrl(ctx, EVP_CTRL_AEAD_GET_TAG, ICV_LEN, op->icv))
		return -EIO;
	return 0;
}

/* EVP_DecryptFinal_ex() compares the tag in constant time; its failure means only "wrong ICV". */
static int aead_open(struct crypto_key *key, struct crypto_op *op)
{
	EVP_CIPHER_CTX *ctx = key->open;
	uint8_t nonce[NONCE_LEN];
	int len;

	set_nonce(nonce, key, op);
	if (!EVP_CipherInit_ex2(ctx, NULL, NULL, nonce, -1, NULL) ||
	    !EVP_CIPHER_CTX_ctrl(ctx, EVP_CTRL_AEAD_SET_TAG, ICV_LEN, op->icv) ||
	    !EVP_DecryptUpdate(ctx, NULL, &len, op->aad, op->aad_len) ||
	    !EVP_DecryptUpdate(ctx, op->data, &len, op->data, (int)op->len))
		return -EIO;
	return EVP_DecryptFinal_ex(ctx, op->data + len, &len) ? 0 : -EBADMSG;
}

/* HMAC-SHA-256 over the packet and the ESN high half (RFC 4303 2.2.1), cut to 128 bits (RFC 4868). */
static void mac_run(const struct crypto_key *key, const struct crypto_op *op, uint8_t icv[ICV_LEN])
{
	uint8_t digest[SHA256_DIGEST_LENGTH];
	SHA256_CTX ctx = key->mac_inner;

	SHA256_Update(&ctx, op->auth, op->auth_len);
	SHA256_Update(&ctx, op->esn_hi, op->esn_hi_len);
	SHA256_Final(digest, &ctx);
	ctx = key->mac_outer;
	SHA256_Update(&ctx, digest, sizeof(digest));
	SHA256_Final(digest, &ctx);
	memcpy(icv, digest, ICV_LEN);
}

static int cbc_run(EVP_CIPHER_CTX *ctx, const struct crypto_op *op)
{
	int len;

	if (!ctx)
		return 0;
	if (!EVP_CipherInit_ex2(ctx, NULL, NULL, op->iv, -1, NULL) ||
	    !EVP_CipherUpdate(ctx, op->data, &len, op->data, (int)op->len) || len != (int)op->len)
		return -EIO;
	return 0;
}

static int etm_seal(struct crypto_key *key, struct crypto_op *op)
{
	int err = cbc_run(key->seal, op);

	if (!err)
		mac_run(key, op, op->icv);
	return err;
}

/* Nothing is decrypted before the MAC held (RFC 4303 3.4.4.1). */
static int etm_open(struct crypto_key *key, struct crypto_op *op)
{
	uint8_t icv[ICV_LEN];

	mac_run(key, op, icv);
	if (!icv_equal(icv, op->icv))
		return -EBADMSG;
	return cbc_run(key->open, op);
}

static void run_all(struct crypto_key *key, struct crypto_op *ops, unsigned int count,
		    int (*run)(struct crypto_key *key, struct crypto_op *op))
{
	bool failed = false;

	for (unsigned int i = 0; i < count; i++) {
		ops[i].err = run(key, &ops[i]);
		failed |= ops[i].err != 0;
	}
	if (failed)
		ERR_clear_error();	/* or the thread's error queue keeps stale entries */
}

static void openssl_seal(struct crypto_key *key, struct crypto_op *ops, unsigned int count)
{
	run_all(key, ops, count, key->suite->mac == MAC_NONE ? aead_seal : etm_seal);
}

static void openssl_open(struct crypto_key *key, struct crypto_op *ops, unsigned int count)
{
	run_all(key, ops, count, key->suite->mac == MAC_NONE ? aead_open : etm_open);
}

const struct crypto_engine engine_openssl = {
	.name = "openssl",
	.priority = 10,
	.probe = openssl_probe,
	.supports = openssl_supports,
	.key_new = openssl_key_new,
	.key_free = openssl_key_free,
	.seal = openssl_seal,
	.open = openssl_open,
};
