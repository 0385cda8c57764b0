// SPDX-License-Identifier: BSD-2-Clause
#include "ipsec_mb_jobs.h"

#include <errno.h>
#include <pthread.h>
#include <string.h>

#include "engine.h"

/* Jobs wait in their manager, so each thread has its own, made with its first key. */
static _Thread_local IMB_MGR *thread_jobs;
static pthread_key_t thread_exit;

static void free_thread_jobs(void *manager)
{
	free_mb_mgr(manager);
}

bool ipsec_mb_jobs_probe(void)
{
	return !pthread_key_create(&thread_exit, free_thread_jobs);
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

/* ---- keys ------------------------------------------------------------------------------------ */

#define HASH_BLOCK_MAX IMB_SHA_512_BLOCK_SIZE

static void one_block(IMB_MGR *manager, enum suite_mac mac, const uint8_t *block, uint8_t *digest)
{
	switch (mac) {
	case MAC_HMAC_MD5:
		IMB_MD5_ONE_BLOCK(manager, block, digest);
		break;
	case MAC_HMAC_SHA1:
		IMB_SHA1_ONE_BLOCK(manager, block, digest);
		break;
	case MAC_HMAC_SHA384:
		IMB_SHA384_ONE_BLOCK(manager, block, digest);
		break;
	case MAC_HMAC_SHA512:
		IMB_SHA512_ONE_BLOCK(manager, block, digest);
		break;
	default:
		IMB_SHA256_ONE_BLOCK(manager, block, digest);
		break;
	}
}

/* Hashes the first block of HMAC (RFC 2104): key XOR pad, in the hash's own block length. */
static void hmac_start(const struct ipsec_mb_job_key *key, const uint8_t *bytes, uint8_t pad,
		       uint8_t *digest)
{
	uint8_t block[HASH_BLOCK_MAX];

	memset(block, pad, sizeof(block));
	for (size_t i = 0; i < key->suite->mac_key_len; i++)
		block[i] ^= bytes[i];
	one_block(key->manager, key->suite->mac, block, digest);
	explicit_bzero(block, sizeof(block));
}

static void mac_init(struct ipsec_mb_job_key *key, const uint8_t *bytes)
{
	_Alignas(16) uint8_t unused[AES_ROUND_KEYS];

	switch (key->suite->mac) {
	case MAC_AES_XCBC:
		IMB_AES_XCBC_KEYEXP(key->manager, bytes, key->mac.aes.rounds, key->mac.aes.whole,
				    key->mac.aes.partial);
		break;
	case MAC_AES_CMAC:
		IMB_AES_KEYEXP_128(key->manager, bytes, key->mac.aes.rounds, unused);
		IMB_AES_CMAC_SUBKEY_GEN_128(key->manager, key->mac.aes.rounds, key->mac.aes.whole,
					    key->mac.aes.partial);
		explicit_bzero(unused, sizeof(unused));
		break;
	default:
		hmac_start(key, bytes, 0x36, key->mac.hmac.inner);
		hmac_start(key, bytes, 0x5c, key->mac.hmac.outer);
		break;
	}
}

static void des_init(struct ipsec_mb_job_key *key, const uint8_t *bytes)
{
	for (unsigned int i = 0; i < 3; i++) {
		IMB_DES_KEYSCHED(key->manager, key->cipher.des[i], bytes + 8 * i);
		key->des[i] = key->cipher.des[i];
	}
}

static void cipher_init(struct ipsec_mb_job_key *key, const uint8_t *bytes)
{
	if (key->suite->cipher == CIPHER_3DES_CBC) {
		des_init(key, bytes);
		return;
	}
	switch (key->suite->key_len) {
	case 16:
		IMB_AES_KEYEXP_128(key->manager, bytes, key->cipher.aes.seal, key->cipher.aes.open);
		break;
	case 24:
		IMB_AES_KEYEXP_192(key->manager, bytes, key->cipher.aes.seal, key->cipher.aes.open);
		break;
	case 32:
		IMB_AES_KEYEXP_256(key->manager, bytes, key->cipher.aes.seal, key->cipher.aes.open);
		break;
	default:
		break;	/* the NULL cipher has no key */
	}
}

int ipsec_mb_job_key_init(struct ipsec_mb_job_key *ret_key, const struct esp_suite *suite,
			  const uint8_t *key, const uint8_t *mac_key)
{
	IMB_MGR *manager = jobs_of_this_thread();

	if (!manager)
		return -ENOMEM;
	ret_key->suite = suite;
	ret_key->manager = manager;
	memcpy(ret_key->salt, key + suite->key_len, suite->salt_len);
	cipher_init(ret_key, key);
	mac_init(ret_key, mac_key);
	return 0;
}

/* ---- jobs ------------------------------------------------------------------------------------ */

#define JOB_BURST 64

/* What the jobs of a burst point to while they wait. */
struct job_burst {
	uint8_t nonces[JOB_BURST][NONCE_LEN];		/* AES-CTR; the library adds the counter */
	uint8_t received[JOB_BURST][SUITE_ICV_MAX];	/* open: the packet's ICV, */
	uint8_t computed[JOB_BURST][SUITE_ICV_MAX];	/* and what it should be */
};

static void set_cipher(const struct ipsec_mb_job_key *key, const struct crypto_op *op,
		       uint8_t nonce[NONCE_LEN], IMB_JOB *job)
{
	job->enc_keys = key->cipher.aes.seal;
	job->dec_keys = key->cipher.aes.open;
	job->key_len_in_bytes = key->suite->key_len;
	job->msg_len_to_cipher_in_bytes = op->len;
	job->iv = op->iv;
	job->iv_len_in_bytes = key->suite->iv_len;
	switch (key->suite->cipher) {
	case CIPHER_AES_CTR:
		set_nonce(nonce, key->salt, op);
		job->iv = nonce;
		job->iv_len_in_bytes = NONCE_LEN;
		job->cipher_mode = IMB_CIPHER_CNTR;
		break;
	case CIPHER_3DES_CBC:
		job->enc_keys = key->des;
		job->dec_keys = key->des;
		job->cipher_mode = IMB_CIPHER_DES3;
		break;
	case CIPHER_NULL:
		job->msg_len_to_cipher_in_bytes = 0;
		job->cipher_mode = IMB_CIPHER_NULL;
		break;
	default:
		job->cipher_mode = IMB_CIPHER_CBC;
		break;
	}
}

static IMB_HASH_ALG hash_of(enum suite_mac mac)
{
	switch (mac) {
	case MAC_HMAC_MD5:
		return IMB_AUTH_MD5;
	case MAC_HMAC_SHA1:
		return IMB_AUTH_HMAC_SHA_1;
	case MAC_HMAC_SHA384:
		return IMB_AUTH_HMAC_SHA_384;
	case MAC_HMAC_SHA512:
		return IMB_AUTH_HMAC_SHA_512;
	case MAC_AES_XCBC:
		return IMB_AUTH_AES_XCBC;
	case MAC_AES_CMAC:
		return IMB_AUTH_AES_CMAC;
	default:
		return IMB_AUTH_HMAC_SHA_256;
	}
}

static void set_mac(const struct ipsec_mb_job_key *key, IMB_JOB *job)
{
	job->hash_alg = hash_of(key->suite->mac);
	switch (key->suite->mac) {
	case MAC_AES_XCBC:
		job->u.XCBC._k1_expanded = key->mac.aes.rounds;
		job->u.XCBC._k2 = key->mac.aes.whole;
		job->u.XCBC._k3 = key->mac.aes.partial;
		break;
	case MAC_AES_CMAC:
		job->u.CMAC._key_expanded = key->mac.aes.rounds;
		job->u.CMAC._skey1 = key->mac.aes.whole;
		job->u.CMAC._skey2 = key->mac.aes.partial;
		break;
	default:
		job->u.HMAC._hashed_auth_key_xor_ipad = key->mac.hmac.inner;
		job->u.HMAC._hashed_auth_key_xor_opad = key->mac.hmac.outer;
		break;
	}
}

static void finish(const IMB_JOB *job)
{
	struct crypto_op *op = job->user_data;

	op->err = job->status == IMB_STATUS_COMPLETED ? 0 : -EIO;
}

/*
 * Submits one op; `tag` is where its ICV goes. The ESN high half is hashed behind the packet
 * (RFC 4303 2.2.1): in ESP it stands where the ICV will be, or was, while the job runs.
 */
static void submit(struct ipsec_mb_job_key *key, struct crypto_op *op, uint8_t nonce[NONCE_LEN],
		   uint8_t *tag)
{
	uint8_t *behind = op->data + op->len;
	bool sealing = tag == op->icv;
	IMB_JOB *job = IMB_GET_NEXT_JOB(key->manager);

	memcpy(behind, op->esn_hi, op->esn_hi_len);
	job->src = op->auth;
	job->dst = op->data;
	job->cipher_start_src_offset_in_bytes = (uint64_t)(op->data - op->auth);
	job->hash_start_src_offset_in_bytes = 0;
	job->msg_len_to_hash_in_bytes = op->auth_len + op->esn_hi_len;
	job->auth_tag_output = tag;
	job->auth_tag_output_len_in_bytes = key->suite->icv_len;
	job->cipher_direction = sealing ? IMB_DIR_ENCRYPT : IMB_DIR_DECRYPT;
	job->chain_order = sealing ? IMB_ORDER_CIPHER_HASH : IMB_ORDER_HASH_CIPHER;
	job->user_data = op;
	set_cipher(key, op, nonce, job);
	set_mac(key, job);
	for (job = IMB_SUBMIT_JOB(key->manager); job; job = IMB_GET_COMPLETED_JOB(key->manager))
		finish(job);
}

static void flush(struct ipsec_mb_job_key *key)
{
	const IMB_JOB *job;

	while ((job = IMB_FLUSH_JOB(key->manager)))
		finish(job);
}

static void seal_burst(struct ipsec_mb_job_key *key, struct crypto_op *ops, unsigned int count)
{
	struct job_burst burst;

	for (unsigned int i = 0; i < count; i++)
		submit(key, &ops[i], burst.nonces[i], ops[i].icv);
	flush(key);
}

/* What a forged packet decrypts to is never looked at: its op says -EBADMSG. */
static void open_burst(struct ipsec_mb_job_key *key, struct crypto_op *ops, unsigned int count)
{
	const uint8_t icv_len = key->suite->icv_len;
	struct job_burst burst;

	for (unsigned int i = 0; i < count; i++) {
		memcpy(burst.received[i], ops[i].icv, icv_len);
		submit(key, &ops[i], burst.nonces[i], burst.computed[i]);
	}
	flush(key);
	for (unsigned int i = 0; i < count; i++) {
		memcpy(ops[i].icv, burst.received[i], icv_len);
		if (!ops[i].err && !icv_equal(burst.received[i], burst.computed[i], icv_len))
			ops[i].err = -EBADMSG;
	}
}

static unsigned int burst_at(unsigned int done, unsigned int count)
{
	return count - done < JOB_BURST ? count - done : JOB_BURST;
}

void ipsec_mb_jobs_seal(struct ipsec_mb_job_key *key, struct crypto_op *ops, unsigned int count)
{
	for (unsigned int done = 0; done < count; done += JOB_BURST)
		seal_burst(key, ops + done, burst_at(done, count));
}

void ipsec_mb_jobs_open(struct ipsec_mb_job_key *key, struct crypto_op *ops, unsigned int count)
{
	for (unsigned int done = 0; done < count; done += JOB_BURST)
		open_burst(key, ops + done, burst_at(done, count));
}
