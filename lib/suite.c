// SPDX-License-Identifier: BSD-2-Clause
/*
 * Every suite is a cipher with a MAC, or an AEAD. The rows of each are here once, and the
 * preprocessor multiplies them: what a cipher or a MAC is called and how long its parts are stands
 * in one place. Suites that RFC 8221 says one MUST or SHOULD have, and two of the past.
 *
 * AH has no cipher: its suites are the rows whose cipher is NULL, by the MAC's own name. AES-GMAC
 * in AH, which RFC 8221 section 6 says one MAY have, puts an IV into the ICV field: not here.
 */
#include "suite.h"

#include <netinet/in.h>
#include <string.h>

/*
 * X(name, xfrm, IANA number, cipher, key, salt, IV, block, ICV, encrypts): octets. Numbers in the
 * xfrm spelling are bits: of the cipher key, then of the ICV unless that is 128.
 * RFC 4106 (GCM), RFC 7634 (ChaCha20-Poly1305), RFC 4543 (GMAC).
 */
#define GCM(X, icv, number, bits)								\
	X("aes128gcm" #icv, "rfc4106(gcm(aes)) 128" bits, number, AES_GCM, 16, 4, 8, 1, icv, true) \
	X("aes192gcm" #icv, "rfc4106(gcm(aes)) 192" bits, number, AES_GCM, 24, 4, 8, 1, icv, true) \
	X("aes256gcm" #icv, "rfc4106(gcm(aes)) 256" bits, number, AES_GCM, 32, 4, 8, 1, icv, true)
#define AEADS(X)										\
	GCM(X, 16, 20, "")									\
	X("chacha20poly1305", "rfc7539esp(chacha20,poly1305) 256", 28, CHACHA20_POLY1305,	\
	  32, 4, 8, 1, 16, true)								\
	GCM(X, 12, 19, " 96")									\
	GCM(X, 8, 18, " 64")									\
	X("aes128gmac", "rfc4543(gcm(aes)) 128", 21, AES_GMAC, 16, 4, 8, 1, 16, false)		\
	X("aes192gmac", "rfc4543(gcm(aes)) 192", 21, AES_GMAC, 24, 4, 8, 1, 16, false)		\
	X("aes256gmac", "rfc4543(gcm(aes)) 256", 21, AES_GMAC, 32, 4, 8, 1, 16, false)

/*
 * X(cipher's arguments ..., name, xfrm, IANA number, mac, key, ICV, legacy).
 * RFC 4868 (SHA-2), RFC 2404 (SHA-1), RFC 3566 (XCBC), RFC 4494 (CMAC), RFC 2403 (MD5).
 */
#define MACS(X, ...)										\
	X(__VA_ARGS__, "sha256", "hmac(sha256)", 12, HMAC_SHA256, 32, 16, false)		\
	X(__VA_ARGS__, "sha384", "hmac(sha384)", 13, HMAC_SHA384, 48, 24, false)		\
	X(__VA_ARGS__, "sha512", "hmac(sha512)", 14, HMAC_SHA512, 64, 32, false)		\
	X(__VA_ARGS__, "sha1", "hmac(sha1)", 2, HMAC_SHA1, 20, 12, false)			\
	X(__VA_ARGS__, "aesxcbc", "xcbc(aes)", 5, AES_XCBC, 16, 12, false)			\
	X(__VA_ARGS__, "aescmac", "cmac(aes)", 8, AES_CMAC, 16, 12, false)			\
	X(__VA_ARGS__, "md5", "hmac(md5)", 1, HMAC_MD5, 16, 12, true)

/*
 * MACS(X, name, xfrm, IANA number, cipher, key, salt, IV, block, counter mode, encrypts, legacy).
 * RFC 3602 (CBC), RFC 3686 (CTR), RFC 2410 (NULL), RFC 2451 (3DES). CIPHER_NULL cannot be pasted
 * from its last part: NULL is a macro.
 */
#define PAIRS(X)										\
	MACS(X, "aes128", "cbc(aes) 128", 12, CIPHER_AES_CBC, 16, 0, 16, 16, false, true, false) \
	MACS(X, "aes192", "cbc(aes) 192", 12, CIPHER_AES_CBC, 24, 0, 16, 16, false, true, false) \
	MACS(X, "aes256", "cbc(aes) 256", 12, CIPHER_AES_CBC, 32, 0, 16, 16, false, true, false) \
	MACS(X, "aes128ctr", "rfc3686(ctr(aes)) 128", 13, CIPHER_AES_CTR, 16, 4, 8, 1,		\
	     true, true, false)									\
	MACS(X, "aes192ctr", "rfc3686(ctr(aes)) 192", 13, CIPHER_AES_CTR, 24, 4, 8, 1,		\
	     true, true, false)									\
	MACS(X, "aes256ctr", "rfc3686(ctr(aes)) 256", 13, CIPHER_AES_CTR, 32, 4, 8, 1,		\
	     true, true, false)									\
	MACS(X, "null", "ecb(cipher_null)", 11, CIPHER_NULL, 0, 0, 0, 1, false, false, false)	\
	MACS(X, "3des", "cbc(des3_ede)", 3, CIPHER_3DES_CBC, 24, 0, 8, 8, false, true, true)

#define ROW(...) ROW_(__VA_ARGS__)

static const struct esp_suite suites[] = {
#define X(name_, xfrm_, number_, cipher_, key_, salt_, iv_, block_, icv_, encrypts_)		\
	{											\
		.name = name_, .xfrm = xfrm_, .cipher = CIPHER_##cipher_, .mac = MAC_NONE,	\
		.encr_id = number_, .key_len = key_, .salt_len = salt_, .iv_len = iv_,		\
		.block = block_, .icv_len = icv_, .counter_mode = true, .encrypts = encrypts_,	\
	},
	AEADS(X)
#undef X
#define ROW_(name_, xfrm_, number_, cipher_, key_, salt_, iv_, block_, counter_, encrypts_,	\
	     legacy_, mac_name_, mac_xfrm_, mac_number_, mac_, mac_key_, icv_, mac_legacy_)		\
	{											\
		.name = name_ "-" mac_name_, .xfrm = xfrm_ " " mac_xfrm_, .cipher = cipher_,	\
		.mac = MAC_##mac_, .encr_id = number_, .integ_id = mac_number_, .key_len = key_, \
		.salt_len = salt_, .iv_len = iv_, .block = block_, .icv_len = icv_,		\
		.mac_key_len = mac_key_, .counter_mode = counter_, .encrypts = encrypts_,	\
		.legacy = (legacy_) || (mac_legacy_),						\
		.ah_name = (cipher_) == CIPHER_NULL ? mac_name_ : NULL,				\
		.ah_xfrm = (cipher_) == CIPHER_NULL ? mac_xfrm_ : NULL,				\
	},
	PAIRS(ROW)
#undef ROW_
};

#define FITS(name_, key_, mac_key_, iv_, icv_)							\
	_Static_assert((key_) <= SUITE_KEY_MAX && (mac_key_) <= SUITE_KEY_MAX &&		\
		       (iv_) <= SUITE_IV_MAX && (icv_) >= SUITE_ICV_MIN &&			\
		       (icv_) <= SUITE_ICV_MAX, name_ " exceeds a limit");
#define X(name_, xfrm_, number_, cipher_, key_, salt_, iv_, block_, icv_, encrypts_)		\
	FITS(name_, (key_) + (salt_), 0, iv_, icv_)
AEADS(X)
#undef X
#define ROW_(name_, xfrm_, number_, cipher_, key_, salt_, iv_, block_, counter_, encrypts_,	\
	     legacy_, mac_name_, mac_xfrm_, mac_number_, mac_, mac_key_, icv_, mac_legacy_)		\
	FITS(name_ "-" mac_name_, (key_) + (salt_), mac_key_, iv_, icv_)
PAIRS(ROW)
#undef ROW_

const struct esp_suite *suite_find(const char *name)
{
	for (size_t i = 0; i < sizeof(suites) / sizeof(suites[0]); i++)
		if (!strcmp(suites[i].name, name) || !strcmp(suites[i].xfrm, name))
			return &suites[i];
	return NULL;
}

const struct esp_suite *suite_find_ah(const char *name)
{
	for (size_t i = 0; i < sizeof(suites) / sizeof(suites[0]); i++)
		if (suites[i].ah_name &&
		    (!strcmp(suites[i].ah_name, name) || !strcmp(suites[i].ah_xfrm, name)))
			return &suites[i];
	return NULL;
}

bool suite_serves(const struct esp_suite *suite, uint8_t proto)
{
	return proto == IPPROTO_ESP || (proto == IPPROTO_AH && suite->ah_name);
}

const struct esp_suite *suite_at(size_t index)
{
	return index < sizeof(suites) / sizeof(suites[0]) ? &suites[index] : NULL;
}

size_t suite_index(const struct esp_suite *suite)
{
	return (size_t)(suite - suites);
}

const char *suite_key_group(const struct esp_suite *suite)
{
	switch (suite->cipher) {
	case CIPHER_AES_GCM:
	case CIPHER_AES_GMAC:
	case CIPHER_AES_CTR:
		return "aes-gcm";	/* the name of records on disk: it stays */
	case CIPHER_CHACHA20_POLY1305:
		return "chacha20-poly1305";
	case CIPHER_AES_CBC:
		return "aes-cbc";
	case CIPHER_3DES_CBC:
		return "3des-cbc";
	case CIPHER_NULL:
		break;
	}
	return "null";
}
