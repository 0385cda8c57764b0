/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The suites of the ipsec-mb engine that are a cipher with a MAC: bursts of jobs.
 *
 * Included by: engine_ipsec_mb.c.
 * Ownership:   a struct ipsec_mb_job_key is key material; whoever has it wipes it.
 * Threading:   a key is used by the thread that made it, whose job manager it names.
 */
#ifndef IPSECBPF_IPSEC_MB_JOBS_H
#define IPSECBPF_IPSEC_MB_JOBS_H

#include <intel-ipsec-mb.h>
#include <stdbool.h>

#include "crypto.h"

#define AES_ROUND_KEYS (16 * 15)

struct ipsec_mb_job_key {
	const struct esp_suite *suite;
	IMB_MGR *manager;		/* of the key's thread */
	uint8_t salt[4];
	union {
		struct {
			_Alignas(16) uint8_t seal[AES_ROUND_KEYS], open[AES_ROUND_KEYS];
		} aes;
		uint64_t des[3][16];	/* key schedules of 3DES */
	} cipher;
	const void *des[3];		/* those, as the library wants them */
	union {
		struct {		/* HMAC's first blocks, hashed */
			_Alignas(16) uint8_t inner[IMB_SHA512_DIGEST_SIZE_IN_BYTES];
			uint8_t outer[IMB_SHA512_DIGEST_SIZE_IN_BYTES];
		} hmac;
		struct {		/* AES-XCBC, AES-CMAC: round keys, two constants */
			_Alignas(16) uint32_t rounds[4 * 11];
			_Alignas(16) uint8_t whole[16], partial[16];
		} aes;
	} mac;
};

/* Once per process, before any key. */
bool ipsec_mb_jobs_probe(void);

/* 0 or -ENOMEM. `key`: of the cipher, then the salt. */
int ipsec_mb_job_key_init(struct ipsec_mb_job_key *ret_key, const struct esp_suite *suite,
			  const uint8_t *key, const uint8_t *mac_key);

/* As crypto_engine's seal and open. */
void ipsec_mb_jobs_seal(struct ipsec_mb_job_key *key, struct crypto_op *ops, unsigned int count);
void ipsec_mb_jobs_open(struct ipsec_mb_job_key *key, struct crypto_op *ops, unsigned int count);

#endif /* IPSECBPF_IPSEC_MB_JOBS_H */
