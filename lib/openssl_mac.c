// SPDX-License-Identifier: BSD-2-Clause
/*
 * HMAC uses OpenSSL's hash states directly: the inner and outer states are keyed once and a packet
 * copies them. EVP_MAC re-initialisation allocates and frees three digest contexts per packet in
 * OpenSSL 3.0, which costs more than hashing 1 KiB.
 *
 * AES-XCBC-MAC (RFC 3566), which OpenSSL does not have, and AES-CMAC (RFC 4493) are one scheme:
 * CBC over the message, with one of two constants added to the last block.
 */
#define OPENSSL_SUPPRESS_DEPRECATED
#include "openssl_mac.h"

#include <errno.h>
#include <openssl/crypto.h>
#include <string.h>

/* ---- HMAC (RFC 2104) ------------------------------------------------------------------------ */

struct hash {
	uint8_t block;		/* octets of input block, to which HMAC pads its key */
	uint8_t len;		/* octets of digest */
	uint8_t state_len;	/* octets of a union hash_state that are its own */
	void (*init)(union hash_state *state);
	void (*update)(union hash_state *state, const void *data, size_t len);
	void (*final)(union hash_state *state, uint8_t *digest);
};

/* X(mac, OpenSSL's prefix, member of the state, block, digest) */
#define HASHES(X)							\
	X(MAC_HMAC_MD5, MD5, md5, MD5_CBLOCK, MD5_DIGEST_LENGTH)	\
	X(MAC_HMAC_SHA1, SHA1, sha1, SHA_CBLOCK, SHA_DIGEST_LENGTH)	\
	X(MAC_HMAC_SHA256, SHA256, sha256, SHA256_CBLOCK, SHA256_DIGEST_LENGTH)	\
	X(MAC_HMAC_SHA384, SHA384, sha512, SHA512_CBLOCK, SHA384_DIGEST_LENGTH)	\
	X(MAC_HMAC_SHA512, SHA512, sha512, SHA512_CBLOCK, SHA512_DIGEST_LENGTH)

#define DIGEST_MAX SHA512_DIGEST_LENGTH

/* OpenSSL's functions, by one type. */
#define X(mac, prefix, member, block_, len_)						\
	static void prefix##_init(union hash_state *state)				\
	{										\
		prefix##_Init(&state->member);						\
	}										\
	static void prefix##_update(union hash_state *state, const void *data, size_t len)	\
	{										\
		prefix##_Update(&state->member, data, len);				\
	}										\
	static void prefix##_final(union hash_state *state, uint8_t *digest)		\
	{										\
		prefix##_Final(digest, &state->member);					\
	}
HASHES(X)
#undef X

static const struct hash hashes[] = {
#define X(mac, prefix, member, block_, len_)						\
	[mac] = { .block = block_, .len = len_,						\
		  .state_len = sizeof(((union hash_state *)NULL)->member),		\
		  .init = prefix##_init, .update = prefix##_update, .final = prefix##_final },
	HASHES(X)
#undef X
};

/* Hashes the first block: key XOR pad. No suite's key is longer than a block. */
static void hmac_start(const struct hash *hash, union hash_state *state, const uint8_t *key,
		       size_t key_len, uint8_t pad)
{
	uint8_t block[SHA512_CBLOCK];

	memset(block, pad, sizeof(block));
	for (size_t i = 0; i < key_len; i++)
		block[i] ^= key[i];
	hash->init(state);
	hash->update(state, block, hash->block);
	OPENSSL_cleanse(block, sizeof(block));
}

static int hmac_run(const struct openssl_mac *mac, const struct crypto_op *op,
		    uint8_t ret_icv[SUITE_ICV_MAX])
{
	const struct hash *hash = mac->hash;
	uint8_t digest[DIGEST_MAX];
	union hash_state state;

	memcpy(&state, &mac->inner, hash->state_len);
	hash->update(&state, op->auth, op->auth_len);
	hash->update(&state, op->esn_hi, op->esn_hi_len);
	hash->final(&state, digest);
	memcpy(&state, &mac->outer, hash->state_len);
	hash->update(&state, digest, hash->len);
	hash->final(&state, digest);
	memcpy(ret_icv, digest, hash->len < SUITE_ICV_MAX ? hash->len : SUITE_ICV_MAX);
	return 0;
}

/* ---- AES-XCBC-MAC and AES-CMAC --------------------------------------------------------------- */

/* Starts a new message (zero IV) under the key, or the one set before if key is NULL. */
static bool cbc_start(EVP_CIPHER_CTX *aes, const uint8_t *key)
{
	static const uint8_t zero[AES_BLOCK_LEN];

	return EVP_EncryptInit_ex2(aes, key ? EVP_aes_128_cbc() : NULL, key, zero, NULL) &&
	       EVP_CIPHER_CTX_set_padding(aes, 0);
}

/* Encrypts a whole number of blocks; the last one's ciphertext is given back. */
static bool cbc_add(EVP_CIPHER_CTX *aes, const uint8_t *data, uint32_t len,
		    uint8_t ret_last[AES_BLOCK_LEN])
{
	uint8_t scratch[512];
	int done;

	for (uint32_t part; len; data += part, len -= part) {
		part = len < sizeof(scratch) ? len : (uint32_t)sizeof(scratch);
		if (!EVP_EncryptUpdate(aes, scratch, &done, data, (int)part) || done != (int)part)
			return false;
		memcpy(ret_last, scratch + part - AES_BLOCK_LEN, AES_BLOCK_LEN);
	}
	return true;
}

/* Encrypts one block with a key, by itself. */
static bool encrypt_block(EVP_CIPHER_CTX *aes, const uint8_t *key,
			  const uint8_t in[AES_BLOCK_LEN], uint8_t out[AES_BLOCK_LEN])
{
	return cbc_start(aes, key) && cbc_add(aes, in, AES_BLOCK_LEN, out);
}

/* K1 enciphers, K2 and K3 are added: each is a constant, enciphered (RFC 3566 section 4). */
static bool xcbc_key(struct openssl_mac *mac, const uint8_t *key)
{
	uint8_t constant[3][AES_BLOCK_LEN], own[AES_BLOCK_LEN];
	bool done;

	for (uint8_t i = 0; i < 3; i++)
		memset(constant[i], i + 1, AES_BLOCK_LEN);
	done = encrypt_block(mac->aes, key, constant[0], own) &&
	       encrypt_block(mac->aes, NULL, constant[1], mac->whole) &&
	       encrypt_block(mac->aes, NULL, constant[2], mac->partial) &&
	       cbc_start(mac->aes, own);
	OPENSSL_cleanse(own, sizeof(own));
	return done;
}

/* Multiplies by x in GF(2^128), most significant bit first, in constant time (RFC 4493 2.3). */
static void gf_double(const uint8_t in[AES_BLOCK_LEN], uint8_t out[AES_BLOCK_LEN])
{
	uint8_t carry = (uint8_t)(-(in[0] >> 7) & 0x87);

	for (unsigned int i = 0; i < AES_BLOCK_LEN - 1; i++)
		out[i] = (uint8_t)(in[i] << 1 | in[i + 1] >> 7);
	out[AES_BLOCK_LEN - 1] = (uint8_t)(in[AES_BLOCK_LEN - 1] << 1 ^ carry);
}

static bool cmac_key(struct openssl_mac *mac, const uint8_t *key)
{
	static const uint8_t zero[AES_BLOCK_LEN];
	uint8_t l[AES_BLOCK_LEN];

	if (!encrypt_block(mac->aes, key, zero, l))
		return false;
	gf_double(l, mac->whole);
	gf_double(mac->whole, mac->partial);
	OPENSSL_cleanse(l, sizeof(l));
	return true;
}

/* Pads the last block if it is not complete: 10...0. */
static void finish_block(const struct openssl_mac *mac, const uint8_t *data, uint32_t len,
			 uint8_t ret_block[AES_BLOCK_LEN])
{
	const uint8_t *add = len == AES_BLOCK_LEN ? mac->whole : mac->partial;

	memset(ret_block, 0, AES_BLOCK_LEN);
	memcpy(ret_block, data, len);
	if (len < AES_BLOCK_LEN)
		ret_block[len] = 0x80;
	for (unsigned int i = 0; i < AES_BLOCK_LEN; i++)
		ret_block[i] ^= add[i];
}

/* All blocks but the packet's last go in at once; that one and the ESN half make one or two. */
static int cbc_mac_run(const struct openssl_mac *mac, const struct crypto_op *op,
		       uint8_t ret_icv[SUITE_ICV_MAX])
{
	uint32_t bulk = op->auth_len ? (op->auth_len - 1) / AES_BLOCK_LEN * AES_BLOCK_LEN : 0;
	uint32_t rest = op->auth_len - bulk, len = rest + op->esn_hi_len, first = 0;
	uint8_t tail[AES_BLOCK_LEN + sizeof(op->esn_hi)], last[AES_BLOCK_LEN];

	memcpy(tail, op->auth + bulk, rest);
	memcpy(tail + rest, op->esn_hi, op->esn_hi_len);
	if (len > AES_BLOCK_LEN)
		first = AES_BLOCK_LEN;
	finish_block(mac, tail + first, len - first, last);
	if (!cbc_start(mac->aes, NULL) || !cbc_add(mac->aes, op->auth, bulk, ret_icv) ||
	    !cbc_add(mac->aes, tail, first, ret_icv) ||
	    !cbc_add(mac->aes, last, sizeof(last), ret_icv))
		return -EIO;
	return 0;
}

/* ---- either ---------------------------------------------------------------------------------- */

int openssl_mac_init(struct openssl_mac *mac, const struct esp_suite *suite, const uint8_t *key)
{
	bool keyed;

	*mac = (struct openssl_mac){ 0 };
	if (suite->mac == MAC_NONE)
		return 0;
	if (suite->mac != MAC_AES_XCBC && suite->mac != MAC_AES_CMAC) {
		mac->hash = &hashes[suite->mac];
		hmac_start(mac->hash, &mac->inner, key, suite->mac_key_len, 0x36);
		hmac_start(mac->hash, &mac->outer, key, suite->mac_key_len, 0x5c);
		return 0;
	}
	mac->aes = EVP_CIPHER_CTX_new();
	if (!mac->aes)
		return -ENOMEM;
	keyed = suite->mac == MAC_AES_XCBC ? xcbc_key(mac, key) : cmac_key(mac, key);
	if (keyed)
		return 0;
	openssl_mac_fini(mac);
	return -ENOMEM;
}

void openssl_mac_fini(struct openssl_mac *mac)
{
	EVP_CIPHER_CTX_free(mac->aes);
	OPENSSL_cleanse(mac, sizeof(*mac));
}

int openssl_mac_run(const struct openssl_mac *mac, const struct crypto_op *op,
		    uint8_t ret_icv[SUITE_ICV_MAX])
{
	return mac->hash ? hmac_run(mac, op, ret_icv) : cbc_mac_run(mac, op, ret_icv);
}
