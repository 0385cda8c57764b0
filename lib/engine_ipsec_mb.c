// SPDX-License-Identifier: BSD-2-Clause
/*
 * Crypto engine on intel-ipsec-mb: AEAD suites by direct calls, which need no manager state of
 * their own and so may share one read-only manager; CBC and NULL with HMAC as job bursts.
 */
#include <errno.h>
#include <intel-ipsec-mb.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "engine.h"

struct crypto_key {
	const struct crypto_engine *engine;
	const struct esp_suite *suite;
	aes_gcm_enc_dec_t gcm_seal, gcm_open;
	uint8_t salt[4];
	IMB_MGR *jobs;		/* of the key's thread; NULL for AEAD suites */
	union {
		_Alignas(64) struct gcm_key_data gcm;	/* the header leaves this to us */
		uint8_t chacha[32];
		struct {
			uint8_t seal[16 * 15], open[16 * 15];	/* AES round keys */
			uint8_t inner[32], outer[32];		/* HMAC's first blocks, hashed */
		} etm;
	} u;
};

/* Set in probe(), never changed afterwards. Only its function pointers and CPU features are used. */
static IMB_MGR *shared;

/* Jobs wait in their manager, so each thread has its own, made with its first key. */
static _Thread_local IMB_MGR *thread_jobs;
static pthread_key_t thread_exit;

static void free_thread_jobs(void *manager)
{
	free_mb_mgr(manager);
}

#define NEEDED_FEATURES (IMB_FEATURE_AESNI | IMB_FEATURE_PCLMULQDQ | IMB_FEATURE_SSE4_2)

static bool ipsec_mb_probe(void)
{
	IMB_ARCH arch;

	shared = alloc_mb_mgr(0);
	if (!shared)
		return false;
	if ((shared->features & NEEDED_FEATURES) == NEEDED_FEATURES) {
		init_mb_mgr_auto(shared, &arch);
		if (!imb_get_errno(shared) && !pthread_key_create(&thread_exit, free_thread_jobs))
			return true;
	}
	free_mb_mgr(shared);
	shared = NULL;
	return false;
}

static bool ipsec_mb_supports(const struct esp_suite *suite)
{
	return suite->icv_len == ICV_LEN && suite->mac_key_len <= IMB_SHA_256_BLOCK_SIZE;
}

static IMB_MGR *jobs_of_this_thread(void)
{
	IMB_ARCH arch;

	if (thread_jobs)
		return thread_jobs;
	thread_jobs = alloc_mb_mgr(0);
	if (!thread_jobs)
		return NULL;
	init_mb_mgr_auto(thread_jobs, &arch);
	if (imb_get_errno(thread_jobs) || pthread_setspecific(thread_exit, thread_jobs)) {
		free_mb_mgr(thread_jobs);
		thread_jobs = NULL;
	}
	return thread_jobs;
}

/* Hashes the first block of HMAC (RFC 2104): key XOR pad. */
static void mac_start(const uint8_t *key, size_t key_len, uint8_t pad, uint8_t digest[32])
{
	uint8_t block[IMB_SHA_256_BLOCK_SIZE];

	memset(block, pad, sizeof(block));
	for (size_t i = 0; i < key_len; i++)
		block[i] ^= key[i];
	IMB_SHA256_ONE_BLOCK(shared, block, digest);
	explicit_bzero(block, sizeof(block));
}

static void etm_key(struct crypto_key *key, const uint8_t *bytes, const uint8_t *mac_key)
{
	mac_start(mac_key, key->suite->mac_key_len, 0x36, key->u.etm.inner);
	mac_start(mac_key, key->suite->mac_key_len, 0x5c, key->u.etm.outer);
	switch (key->suite->key_len) {
	case 16:
		IMB_AES_KEYEXP_128(shared, bytes, key->u.etm.seal, key->u.etm.open);
		break;
	case 24:
		IMB_AES_KEYEXP_192(shared, bytes, key->u.etm.seal, key->u.etm.open);
		break;
	case 32:
		IMB_AES_KEYEXP_256(shared, bytes, key->u.etm.seal, key->u.etm.open);
		break;
	default:
		break;	/* the NULL cipher has no key */
	}
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

	if (!new)
		return NULL;
	memset(new, 0, sizeof(*new));
	new->engine = &engine_ipsec_mb;
	new->suite = suite;
	memcpy(new->salt, key + suite->key_len, suite->salt_len);
	if (suite->mac != MAC_NONE) {
		new->jobs = jobs_of_this_thread();
		if (!new->jobs) {
			free(new);
			errno = ENOMEM;
			return NULL;
		}
		etm_key(new, key, mac_key);
	} else if (suite->cipher == CIPHER_AES_GCM) {
		gcm_key(new, key);
	} else {
		memcpy(new->u.chacha, key, sizeof(new->u.chacha));
	}
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

/* Submits one op; `tag` is where its ICV goes. Returns a finished job, or NULL. */
static IMB_JOB *submit(struct crypto_key *key, struct crypto_op *op, bool sealing, uint8_t *tag)
{
	IMB_JOB *job = IMB_GET_NEXT_JOB(key->jobs);
	bool null = key->suite->cipher == CIPHER_NULL;

	job->enc_keys = key->u.etm.seal;
	job->dec_keys = key->u.etm.open;
	job->key_len_in_bytes = key->suite->key_len;
	job->src = op->auth;
	job->dst = op->data;
	job->cipher_start_src_offset_in_bytes = (uint64_t)(op->data - op->auth);
	job->msg_len_to_cipher_in_bytes = null ? 0 : op->len;
	job->hash_start_src_offset_in_bytes = 0;
	job->msg_len_to_hash_in_bytes = op->auth_len + op->esn_hi_len;
	job->iv = op->iv;
	job->iv_len_in_bytes = key->suite->iv_len;
	job->auth_tag_output = tag;
	job->auth_tag_output_len_in_bytes = ICV_LEN;
	job->u.HMAC._hashed_auth_key_xor_ipad = key->u.etm.inner;
	job->u.HMAC._hashed_auth_key_xor_opad = key->u.etm.outer;
	job->cipher_mode = null ? IMB_CIPHER_NULL : IMB_CIPHER_CBC;
	job->cipher_direction = sealing ? IMB_DIR_ENCRYPT : IMB_DIR_DECRYPT;
	job->chain_order = sealing ? IMB_ORDER_CIPHER_HASH : IMB_ORDER_HASH_CIPHER;
	job->hash_alg = IMB_AUTH_HMAC_SHA_256;
	job->user_data = op;
	return IMB_SUBMIT_JOB(key->jobs);
}

static void finish(const IMB_JOB *job)
{
	struct crypto_op *op = job->user_data;

	op->err = job->status == IMB_STATUS_COMPLETED ? 0 : -EIO;
}

/*
 * The ESN high half is hashed behind the packet (RFC 4303 2.2.1): it stands where the ICV will be,
 * or was, while the job runs.
 */
static void etm_seal(struct crypto_key *key, struct crypto_op *ops, unsigned int count)
{
	const IMB_JOB *job;

	for (unsigned int i = 0; i < count; i++) {
		memcpy(ops[i].icv, ops[i].esn_hi, ops[i].esn_hi_len);
		for (job = submit(key, &ops[i], true, ops[i].icv); job;
		     job = IMB_GET_COMPLETED_JOB(key->jobs))
			finish(job);
	}
	while ((job = IMB_FLUSH_JOB(key->jobs)))
		finish(job);
}

#define OPEN_BURST 64

/* What a forged packet decrypts to is never looked at: its op says -EBADMSG. */
static void open_burst(struct crypto_key *key, struct crypto_op *ops, unsigned int count)
{
	uint8_t received[OPEN_BURST][ICV_LEN], computed[OPEN_BURST][ICV_LEN];
	const IMB_JOB *job;

	for (unsigned int i = 0; i < count; i++) {
		memcpy(received[i], ops[i].icv, ICV_LEN);
		memcpy(ops[i].icv, ops[i].esn_hi, ops[i].esn_hi_len);
		for (job = submit(key, &ops[i], false, computed[i]); job;
		     job = IMB_GET_COMPLETED_JOB(key->jobs))
			finish(job);
	}
	while ((job = IMB_FLUSH_JOB(key->jobs)))
		finish(job);
	for (unsigned int i = 0; i < count; i++) {
		memcpy(ops[i].icv, received[i], ICV_LEN);
		if (!ops[i].err && !icv_equal(received[i], computed[i]))
			ops[i].err = -EBADMSG;
	}
}

static void etm_open(struct crypto_key *key, struct crypto_op *ops, unsigned int count)
{
	for (unsigned int done = 0; done < count; done += OPEN_BURST)
		open_burst(key, ops + done,
			   count - done < OPEN_BURST ? count - done : OPEN_BURST);
}

static void ipsec_mb_seal(struct crypto_key *key, struct crypto_op *ops, unsigned int count)
{
	if (key->suite->mac != MAC_NONE)
		etm_seal(key, ops, count);
	else if (key->suite->cipher == CIPHER_AES_GCM)
		gcm_seal(key, ops, count);
	else
		chacha_seal(key, ops, count);
}

static void ipsec_mb_open(struct crypto_key *key, struct crypto_op *ops, unsigned int count)
{
	if (key->suite->mac != MAC_NONE)
		etm_open(key, ops, count);
	else if (key->suite->cipher == CIPHER_AES_GCM)
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
