// SPDX-License-Identifier: BSD-2-Clause
/*
 * Crypto engine on OpenSSL 3: runs on every CPU and has every suite. One context per key and
 * direction of use is keyed once; a packet only sets the IV.
 */
#define OPENSSL_SUPPRESS_DEPRECATED
#include <errno.h>
#include <openssl/crypto.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <stdlib.h>
#include <string.h>

#include "engine.h"
#include "openssl_mac.h"

struct crypto_key {
	const struct crypto_engine *engine;
	const struct esp_suite *suite;
	EVP_CIPHER_CTX *seal, *open;	/* NULL for the NULL cipher */
	uint8_t salt[NONCE_LEN];	/* only salt_len octets are used */
	struct openssl_mac mac;
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
	{ CIPHER_AES_GMAC, 16, "AES-128-GCM" },
	{ CIPHER_AES_GMAC, 24, "AES-192-GCM" },
	{ CIPHER_AES_GMAC, 32, "AES-256-GCM" },
	{ CIPHER_CHACHA20_POLY1305, 32, "ChaCha20-Poly1305" },
	{ CIPHER_AES_CBC, 16, "AES-128-CBC" },
	{ CIPHER_AES_CBC, 24, "AES-192-CBC" },
	{ CIPHER_AES_CBC, 32, "AES-256-CBC" },
	{ CIPHER_AES_CTR, 16, "AES-128-CTR" },
	{ CIPHER_AES_CTR, 24, "AES-192-CTR" },
	{ CIPHER_AES_CTR, 32, "AES-256-CTR" },
	{ CIPHER_3DES_CBC, 24, "DES-EDE3-CBC" },
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
	return suite->cipher == CIPHER_NULL || algorithm_for(suite) != NULL;
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
	openssl_mac_fini(&key->mac);
	OPENSSL_cleanse(key, sizeof(*key));
	free(key);
}

static int key_parts(struct crypto_key *new, const uint8_t *key, const uint8_t *mac_key)
{
	const struct esp_suite *suite = new->suite;

	if (suite->cipher != CIPHER_NULL) {
		new->seal = context_new(suite, key, 1);
		new->open = context_new(suite, key, 0);
		if (!new->seal || !new->open)
			return -ENOMEM;
	}
	return openssl_mac_init(&new->mac, suite, mac_key);
}

static struct crypto_key *openssl_key_new(const struct esp_suite *suite, const uint8_t *key,
					  const uint8_t *mac_key)
{
	struct crypto_key *new = calloc(1, sizeof(*new));
	int err;

	if (!new)
		return NULL;
	new->engine = &engine_openssl;
	new->suite = suite;
	memcpy(new->salt, key + suite->key_len, suite->salt_len);
	err = key_parts(new, key, mac_key);
	if (!err)
		return new;
	openssl_key_free(new);
	ERR_clear_error();
	errno = -err;
	return NULL;
}

/* GCM and ChaCha20-Poly1305 encipher the data; GMAC only authenticates it, after IV and AAD. */
static bool aead_body(EVP_CIPHER_CTX *ctx, const struct crypto_key *key, const struct crypto_op *op,
		      int *len)
{
	if (key->suite->cipher != CIPHER_AES_GMAC)
		return EVP_CipherUpdate(ctx, op->data, len, op->data, (int)op->len);
	*len = (int)op->len;
	return EVP_CipherUpdate(ctx, NULL, &(int){ 0 }, op->iv, (int)gmac_len(op));
}

static int aead_seal(struct crypto_key *key, struct crypto_op *op)
{
	EVP_CIPHER_CTX *ctx = key->seal;
	uint8_t nonce[NONCE_LEN];
	int len;

	set_nonce(nonce, key->salt, op);
	if (!EVP_CipherInit_ex2(ctx, NULL, NULL, nonce, -1, NULL) ||
	    !EVP_EncryptUpdate(ctx, NULL, &len, op->aad, op->aad_len) ||
	    !aead_body(ctx, key, op, &len) ||
	    !EVP_EncryptFinal_ex(ctx, op->data + len, &len) ||
	    !EVP_CIPHER_CTX_ctrl(ctx, EVP_CTRL_AEAD_GET_TAG, key->suite->icv_len,
				 op->icv))
		return -EIO;
	return 0;
}

/* EVP_DecryptFinal_ex() compares the tag in constant time; its failure means only "wrong ICV". */
static int aead_open(struct crypto_key *key, struct crypto_op *op)
{
	EVP_CIPHER_CTX *ctx = key->open;
	uint8_t nonce[NONCE_LEN];
	int len;

	set_nonce(nonce, key->salt, op);
	if (!EVP_CipherInit_ex2(ctx, NULL, NULL, nonce, -1, NULL) ||
	    !EVP_CIPHER_CTX_ctrl(ctx, EVP_CTRL_AEAD_SET_TAG, key->suite->icv_len,
				 op->icv) ||
	    !EVP_DecryptUpdate(ctx, NULL, &len, op->aad, op->aad_len) ||
	    !aead_body(ctx, key, op, &len))
		return -EIO;
	return EVP_DecryptFinal_ex(ctx, op->data + len, &len) ? 0 : -EBADMSG;
}

/* CBC takes the packet's IV; CTR a counter block that begins at 1 (RFC 3686 section 4). */
static int cipher_run(const struct crypto_key *key, EVP_CIPHER_CTX *ctx, const struct crypto_op *op)
{
	uint8_t counter[NONCE_LEN + 4] = { [NONCE_LEN + 3] = 1 };
	const uint8_t *iv = op->iv;
	int len;

	if (!ctx)
		return 0;
	if (key->suite->cipher == CIPHER_AES_CTR) {
		set_nonce(counter, key->salt, op);
		iv = counter;
	}
	if (!EVP_CipherInit_ex2(ctx, NULL, NULL, iv, -1, NULL) ||
	    !EVP_CipherUpdate(ctx, op->data, &len, op->data, (int)op->len) || len != (int)op->len)
		return -EIO;
	return 0;
}

static int etm_seal(struct crypto_key *key, struct crypto_op *op)
{
	uint8_t icv[SUITE_ICV_MAX];
	int err = cipher_run(key, key->seal, op);

	if (!err)
		err = openssl_mac_run(&key->mac, op, icv);
	if (!err)
		memcpy(op->icv, icv, key->suite->icv_len);
	return err;
}

/* Nothing is decrypted before the MAC held (RFC 4303 3.4.4.1). */
static int etm_open(struct crypto_key *key, struct crypto_op *op)
{
	uint8_t icv[SUITE_ICV_MAX];
	int err = openssl_mac_run(&key->mac, op, icv);

	if (err)
		return err;
	if (!icv_equal(icv, op->icv, key->suite->icv_len))
		return -EBADMSG;
	return cipher_run(key, key->open, op);
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
