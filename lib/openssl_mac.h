/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The MACs of the OpenSSL engine: HMAC, AES-XCBC-MAC and AES-CMAC, keyed once.
 *
 * Included by: engine_openssl.c.
 * Ownership:   a struct openssl_mac holds key material; openssl_mac_fini() wipes it.
 * Threading:   belongs to one thread, as the crypto_key that it is part of.
 */
#ifndef IPSECBPF_OPENSSL_MAC_H
#define IPSECBPF_OPENSSL_MAC_H

#ifndef OPENSSL_SUPPRESS_DEPRECATED
#error "OPENSSL_SUPPRESS_DEPRECATED must be defined before OpenSSL's headers"
#endif
#include <openssl/evp.h>
#include <openssl/md5.h>
#include <openssl/sha.h>

#include "crypto.h"

#define AES_BLOCK_LEN 16

union hash_state {
	MD5_CTX md5;
	SHA_CTX sha1;
	SHA256_CTX sha256;
	SHA512_CTX sha512;		/* SHA-384 as well */
};

struct openssl_mac {
	const struct hash *hash;	/* NULL: AES-XCBC or AES-CMAC */
	union hash_state inner, outer;	/* HMAC: after its first blocks */
	EVP_CIPHER_CTX *aes;		/* CBC: the MAC's own key */
	uint8_t whole[AES_BLOCK_LEN];	/* added to a last block that is complete ... */
	uint8_t partial[AES_BLOCK_LEN];	/* ... or was padded */
};

/* Keys a MAC with suite->mac_key_len octets. MAC_NONE is allowed. 0 or -errno. */
int openssl_mac_init(struct openssl_mac *mac, const struct esp_suite *suite, const uint8_t *key);
void openssl_mac_fini(struct openssl_mac *mac);

/*
 * The MAC over the packet and the ESN high half (RFC 4303 2.2.1), to be cut to the suite's ICV
 * length by the caller. 0 or -EIO.
 */
int openssl_mac_run(const struct openssl_mac *mac, const struct crypto_op *op,
		    uint8_t ret_icv[SUITE_ICV_MAX]);

#endif /* IPSECBPF_OPENSSL_MAC_H */
