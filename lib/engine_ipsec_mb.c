// SPDX-License-Identifier: BSD-2-Clause
/*
 * Crypto engine on intel-ipsec-mb: AEAD suites by direct calls, which need no manager state of
 * their own and so may share one read-only manager; CBC and NULL with HMAC as job bursts.
 */
#include <errno.h>
#include <intel-ipsec-mb.h>
#include <stdlib.h>
#include <string.h>

#include "engine.h"

struct crypto_key {
	const struct crypto_engine *engine;
	const struct esp_suite *suite;
	aes_gcm_enc_dec_t gcm_seal, gcm_open;
	uint8_t salt[4];
	union {
		_Alignas(64) struct gcm_key_data gcm;	/* the header leaves this to us */
		uint8_t chacha[32];
	} u;
};

/* Set in probe(), never changed afterwards. Only its function pointers and CPU features are used. */
static IMB_MGR *shared;

#define NEEDED_FEATURES (IMB_FEATURE_AESNI | IMB_FEATURE_PCLMULQDQ | IMB_FEATURE_SSE4_2)

static bool ipsec_mb_probe(void)
{
	IMB_ARCH arch;

	shared = alloc_mb_mgr(0);
	if (!shared)
		return false;
	if ((shared->features & NEEDED_FEATURES) == NEEDED_FEATURES) {
		init_mb_mgr_auto(shared, &arch);
		if (!imb_get_errno(shared))
			return true;
	}
	free_mb_mgr(shared);
	shared = NULL;
	return false;
}

static bool ipsec_mb_supports(const struct esp_suite *suite)
{
	return suite->icv_len == ICV_LEN &&
	       (suite->cipher == CIPHER_AES_GCM || suite->cipher == CIPHER_CHACHA20_POLY1305);
}

static void gcm_key(struct crypto_key *key, const uint8_t *bytes)
{
	switch (key->suite->key_len) {
	case 16:
		IMB_AES128_GCM_PRE(shared, bytes, &key->u.gcm);
		key->gcm_seal = shared->gcm128_enc;
		key->gcm_open = shared->gcm128_dec;
		break;
	case 24:
		IMB_AES192_GCM_PRE(shared, bytes, &key->u.gcm);
		key->gcm_seal = shared->gcm192_enc;
		key->gcm_open = shared->gcm192_dec;
		break;
	default:
		IMB_AES256_GCM_PRE(shared, bytes, &key->u.gcm);
		key->gcm_seal = shared->gcm256_enc;
		key->gcm_open = shared->gcm256_dec;
	}
}

static struct crypto_key *ipsec_mb_key_new(const struct esp_suite *suite, const uint8_t *key,
					   const uint8_t *mac_key)
{
	size_t size = (sizeof(struct crypto_key) + 63) & ~(size_t)63;
	struct crypto_key *new = aligned_alloc(64, size);

	(void)mac_key;
	if (!new)
		return NULL;
	memset(new, 0, sizeof(*new));
	new->engine = &engine_ipsec_mb;
	new->suite = suite;
	memcpy(new->salt, key + suite->key_len, sizeof(new->salt));
	if (suite->cipher == CIPHER_AES_GCM)
		gcm_key(new, key);
	else
		memcpy(new->u.chacha, key, sizeof(new->u.chacha));
	return new;
}

static void ipsec_mb_key_free(struct crypto_key *key)
{
	if (!key)
		return;
	explicit_bzero(key, sizeof(*key));
	free(key);
}

static void set_nonce(uint8_t nonce[NONCE_LEN], const struct crypto_key *key,
		      const struct crypto_op *op)
{
	memcpy(nonce, key->salt, 4);
	memcpy(nonce + 4, op->iv, 8);
}

static void gcm_seal(struct crypto_key *key, struct crypto_op *ops, unsigned int count)
{
	struct gcm_context_data ctx;
	uint8_t nonce[NONCE_LEN];

	for (unsigned int i = 0; i < count; i++) {
		struct crypto_op *op = &ops[i];

		set_nonce(nonce, key, op);
		key->gcm_seal(&key->u.gcm, &ctx, op->data, op->data, op->len, nonce, op->aad,
			      op->aad_len, op->icv, ICV_LEN);
		op->err = 0;
	}
}

static void gcm_open(struct crypto_key *key, struct crypto_op *ops, unsigned int count)
{
	struct gcm_context_data ctx;
	uint8_t nonce[NONCE_LEN], icv[ICV_LEN];

	for (unsigned int i = 0; i < count; i++) {
		struct crypto_op *op = &ops[i];

		set_nonce(nonce, key, op);
		key->gcm_open(&key->u.gcm, &ctx, op->data, op->data, op->len, nonce, op->aad,
			      op->aad_len, icv, ICV_LEN);
		op->err = icv_equal(icv, op->icv) ? 0 : -EBADMSG;
	}
}

static void chacha_seal(struct crypto_key *key, struct crypto_op *ops, unsigned int count)
{
	struct chacha20_poly1305_context_data ctx;
	const uint8_t *bytes = key->u.chacha;
	uint8_t nonce[NONCE_LEN];

	for (unsigned int i = 0; i < count; i++) {
		struct crypto_op *op = &ops[i];

		set_nonce(nonce, key, op);
		IMB_CHACHA20_POLY1305_INIT(shared, bytes, &ctx, nonce, op->aad, op->aad_len);
		IMB_CHACHA20_POLY1305_ENC_UPDATE(shared, bytes, &ctx, op->data, op->data, op->len);
		IMB_CHACHA20_POLY1305_ENC_FINALIZE(shared, &ctx, op->icv, ICV_LEN);
		op->err = 0;
	}
}

static void chacha_open(struct crypto_key *key, struct crypto_op *ops, unsigned int count)
{
	struct chacha20_poly1305_context_data ctx;
	uint8_t nonce[NONCE_LEN], icv[ICV_LEN];
	const uint8_t *bytes = key->u.chacha;

	for (unsigned int i = 0; i < count; i++) {
		struct crypto_op *op = &ops[i];

		set_nonce(nonce, key, op);
		IMB_CHACHA20_POLY1305_INIT(shared, bytes, &ctx, nonce, op->aad, op->aad_len);
		IMB_CHACHA20_POLY1305_DEC_UPDATE(shared, bytes, &ctx, op->data, op->data, op->len);
		IMB_CHACHA20_POLY1305_DEC_FINALIZE(shared, &ctx, icv, ICV_LEN);
		op->err = icv_equal(icv, op->icv) ? 0 : -EBADMSG;
	}
}

static void ipsec_mb_seal(struct crypto_key *key, struct crypto_op *ops, unsigned int count)
{
	if (key->suite->cipher == CIPHER_AES_GCM)
		gcm_seal(key, ops, count);
	else
		chacha_seal(key, ops, count);
}

static void ipsec_mb_open(struct crypto_key *key, struct crypto_op *ops, unsigned int count)
{
	if (key->suite->cipher == CIPHER_AES_GCM)
		gcm_open(key, ops, count);
	else
		chacha_open(key, ops, count);
}

const struct crypto_engine engine_ipsec_mb = {
	.name = "ipsec-mb",
	.priority = 20,
	.probe = ipsec_mb_probe,
	.supports = ipsec_mb_supports,
	.key_new = ipsec_mb_key_new,
	.key_free = ipsec_mb_key_free,
	.seal = ipsec_mb_seal,
	.open = ipsec_mb_open,
};
