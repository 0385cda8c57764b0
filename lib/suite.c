// SPDX-License-Identifier: BSD-2-Clause
#include "suite.h"

#include <string.h>

/*
 * X(name, xfrm, cipher, mac, key, salt, iv, block, icv, mac key, counter mode, encrypts); lengths in
 * octets. The number in the xfrm spelling is the cipher key's length in bits.
 * RFC 4106 (GCM), RFC 7634 (ChaCha20-Poly1305), RFC 3602 (CBC), RFC 4868 (HMAC), RFC 2410 (NULL).
 */
#define SUITES(X)										\
	X("aes128gcm16", "rfc4106(gcm(aes)) 128", AES_GCM, NONE, 16, 4, 8, 1, 16, 0, true, true)	\
	X("aes192gcm16", "rfc4106(gcm(aes)) 192", AES_GCM, NONE, 24, 4, 8, 1, 16, 0, true, true)	\
	X("aes256gcm16", "rfc4106(gcm(aes)) 256", AES_GCM, NONE, 32, 4, 8, 1, 16, 0, true, true)	\
	X("chacha20poly1305", "rfc7539esp(chacha20,poly1305) 256", CHACHA20_POLY1305, NONE,		\
	  32, 4, 8, 1, 16, 0, true, true)								\
	X("aes128-sha256", "cbc(aes) 128 hmac(sha256)", AES_CBC, HMAC_SHA256,				\
	  16, 0, 16, 16, 16, 32, false, true)								\
	X("aes192-sha256", "cbc(aes) 192 hmac(sha256)", AES_CBC, HMAC_SHA256,				\
	  24, 0, 16, 16, 16, 32, false, true)								\
	X("aes256-sha256", "cbc(aes) 256 hmac(sha256)", AES_CBC, HMAC_SHA256,				\
	  32, 0, 16, 16, 16, 32, false, true)								\
	X("null-sha256", "ecb(cipher_null) hmac(sha256)", NULL, HMAC_SHA256,				\
	  0, 0, 0, 1, 16, 32, false, false)

static const struct esp_suite suites[] = {
#define X(name_, xfrm_, cipher_, mac_, key_, salt_, iv_, block_, icv_, mac_key_, counter_, enc_)	\
	{												\
		.name = name_, .xfrm = xfrm_, .cipher = CIPHER_##cipher_, .mac = MAC_##mac_,		\
		.key_len = key_, .salt_len = salt_, .iv_len = iv_, .block = block_, .icv_len = icv_,	\
		.mac_key_len = mac_key_, .counter_mode = counter_, .encrypts = enc_,			\
	},
	SUITES(X)
#undef X
};

#define X(name_, xfrm_, cipher_, mac_, key_, salt_, iv_, block_, icv_, mac_key_, counter_, enc_)	\
	_Static_assert((key_) + (salt_) <= SUITE_KEY_MAX && (mac_key_) <= SUITE_KEY_MAX &&		\
		       (iv_) <= SUITE_IV_MAX && (icv_) <= SUITE_ICV_MAX, name_ " exceeds a limit");
SUITES(X)
#undef X

const struct esp_suite *suite_find(const char *name)
{
	for (size_t i = 0; i < sizeof(suites) / sizeof(suites[0]); i++)
		if (!strcmp(suites[i].name, name) || !strcmp(suites[i].xfrm, name))
			return &suites[i];
	return NULL;
}

const struct esp_suite *suite_at(size_t index)
{
	return index < sizeof(suites) / sizeof(suites[0]) ? &suites[index] : NULL;
}

size_t suite_index(const struct esp_suite *suite)
{
	return (size_t)(suite - suites);
}
