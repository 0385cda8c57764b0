/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The contract between ESP and AH and the crypto engines, and the engine registry.
 *
 * Included by: sa_runtime.c, engine_openssl.c, engine_ipsec_mb.c, worker.c (to pick engines).
 * Threading:   a crypto_key belongs to one thread. Engines keep no global mutable state after probe.
 */
#ifndef IPSECBPF_CRYPTO_H
#define IPSECBPF_CRYPTO_H

#include <stdbool.h>
#include <stdint.h>

#include "suite.h"

/*
 * Octets behind a packet: the ESN high half, and what ipsec-mb's AES-XCBC and AES-CMAC read past
 * the end, as they load the last block whole however much of it there is.
 */
#define CRYPTO_BEHIND 20

/*
 * One packet's worth of work, in place.
 * AEAD suites: nonce = salt || iv (12 octets); `aad` is SPI || sequence number (8 octets, or 12 with
 * ESN), built apart from the packet; data/len is what is en- or decrypted. AES-GMAC enciphers
 * nothing: aad, then iv and the data right behind it are authenticated (RFC 4543 section 3.3).
 * Encrypt-then-MAC suites: the MAC covers auth/auth_len (ESP header, IV and ciphertext, contiguous
 * in the packet), then the ESN high half if esn_hi_len is 4 (RFC 4303 2.2.1); iv is that of CBC, or
 * what stands between salt and block counter in CTR.
 * AH is a MAC with the NULL cipher: auth/auth_len is the IP packet, data is its end and len is 0.
 * `icv` is written by seal and compared by open in constant time. It stands right behind what is
 * en- or decrypted and authenticated; with the NULL cipher it may also be outside of the packet (AH,
 * whose ICV field is inside what is authenticated and zero meanwhile). Then CRYPTO_BEHIND octets
 * behind auth are the engine's to read, and to write the ESN high half to. What open leaves in
 * `data` when err is set is undefined.
 */
struct crypto_op {
	uint8_t *data;
	uint32_t len;
	const uint8_t *aad;
	const uint8_t *iv;		/* as in the packet, suite->iv_len octets */
	const uint8_t *auth;
	uint32_t auth_len;
	uint8_t esn_hi[4];		/* big endian */
	uint8_t esn_hi_len;		/* 0 or 4 */
	uint8_t aad_len;
	uint8_t *icv;			/* suite->icv_len octets; open leaves them as they are */
	int err;			/* out: 0, or -EBADMSG (open: ICV wrong), or -EIO */
};

struct crypto_key;			/* defined by each engine; first member: const struct crypto_engine * */

struct crypto_engine {
	const char *name;
	int priority;			/* the highest that supports a suite is used */
	bool (*probe)(void);		/* can this CPU and installation run it? */
	bool (*supports)(const struct esp_suite *suite);
	/* key: suite->key_len + salt_len octets; mac_key: mac_key_len octets. NULL + errno on failure. */
	struct crypto_key *(*key_new)(const struct esp_suite *suite, const uint8_t *key,
				      const uint8_t *mac_key);
	void (*key_free)(struct crypto_key *key);	/* wipes; NULL allowed */
	void (*seal)(struct crypto_key *key, struct crypto_op *ops, unsigned int count);
	void (*open)(struct crypto_key *key, struct crypto_op *ops, unsigned int count);
};

/*
 * The best probed engine for a suite, or the one called `name` if name is not NULL.
 * NULL with errno ENOENT if there is none.
 */
const struct crypto_engine *crypto_engine_for(const struct esp_suite *suite, const char *name);

/* Engine number `index`, NULL past the end (tests run every vector on every engine). */
const struct crypto_engine *crypto_engine_at(unsigned int index);

/*
 * Uses every suite of every engine once, so that whatever the crypto libraries open, probe or
 * allocate at first use has happened before a sandbox closes. 0, or -ENOENT if no engine is called `name`.
 */
int crypto_warm_up(const char *name);

#endif /* IPSECBPF_CRYPTO_H */
