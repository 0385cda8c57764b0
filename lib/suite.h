/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The suites of ESP and AH: one table (suite.c) is the only source of names, numbers and sizes.
 *
 * Included by: sa_json, policy_check, esp, ah, the crypto engines, the CLI's listings.
 * Threading:   read-only data.
 */
#ifndef IPSECBPF_SUITE_H
#define IPSECBPF_SUITE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum suite_cipher {
	CIPHER_NULL,
	CIPHER_AES_GCM,
	CIPHER_AES_GMAC,		/* authenticates only, as an AEAD: the data is its AAD */
	CIPHER_CHACHA20_POLY1305,
	CIPHER_AES_CBC,
	CIPHER_AES_CTR,
	CIPHER_3DES_CBC,
};

enum suite_mac {
	MAC_NONE,			/* the cipher is an AEAD */
	MAC_HMAC_MD5,
	MAC_HMAC_SHA1,
	MAC_HMAC_SHA256,
	MAC_HMAC_SHA384,
	MAC_HMAC_SHA512,
	MAC_AES_XCBC,
	MAC_AES_CMAC,
};

#define SUITE_KEY_MAX	64	/* octets of cipher key + salt, and of MAC key, each at most */
#define SUITE_IV_MAX	16
#define SUITE_ICV_MIN	8
#define SUITE_ICV_MAX	32

struct esp_suite {
	const char *name;	/* as strongSwan writes it: "aes128gcm16" */
	const char *xfrm;	/* as ip xfrm writes it: "rfc4106(gcm(aes)) 128"; accepted as well */
	const char *ah_name;	/* the same two of AH: "sha256", "hmac(sha256)"; NULL: not for AH */
	const char *ah_xfrm;
	enum suite_cipher cipher;
	enum suite_mac mac;
	uint8_t encr_id;	/* IANA, IKEv2 transform type 1 (ENCR) */
	uint8_t integ_id;	/* IANA, IKEv2 transform type 3 (INTEG); 0 with an AEAD */
	uint8_t key_len;	/* octets of cipher key, without salt */
	uint8_t salt_len;	/* octets of salt that follow the key in key material */
	uint8_t iv_len;		/* octets of IV in each packet */
	uint8_t block;		/* padding alignment the cipher asks for; ESP itself wants 4 */
	uint8_t icv_len;
	uint8_t mac_key_len;
	bool counter_mode;	/* a repeated IV is fatal: needs the on-disk reservation */
	bool encrypts;		/* false: authentication only */
	bool legacy;		/* taken only where the administrator says allow_legacy */
};

/* The suite of that name (either spelling), or NULL: of ESP, of AH. */
const struct esp_suite *suite_find(const char *name);
const struct esp_suite *suite_find_ah(const char *name);

/* Can an SA of this protocol (IPPROTO_ESP, IPPROTO_AH) have the suite? */
bool suite_serves(const struct esp_suite *suite, uint8_t proto);

/* Suite number `index` in table order, NULL past the end; suite_index() is its inverse. */
const struct esp_suite *suite_at(size_t index);
size_t suite_index(const struct esp_suite *suite);

/*
 * Names the ciphers among which one key must be counted once: AES-GCM, AES-GMAC and AES-CTR put
 * the same salt and IV into AES's input, so a key that serves two of them may not repeat a nonce
 * between them either. Never NULL.
 */
const char *suite_key_group(const struct esp_suite *suite);

/* IVs must be unpredictable (CBC, RFC 3602 section 3), not only unique. */
static inline bool suite_random_iv(const struct esp_suite *suite)
{
	return suite->iv_len && !suite->counter_mode;
}

#endif /* IPSECBPF_SUITE_H */
