// SPDX-License-Identifier: BSD-2-Clause
/* Every published vector on every engine that supports its suite; engines against each other. */
#include <errno.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "lib/crypto.h"
#include "vectors.h"

#define COUNT(a) (sizeof(a) / sizeof((a)[0]))
#define DATA_MAX 2048

struct bytes {
	uint8_t b[DATA_MAX];
	uint32_t len;
};

static struct bytes unhex(const char *hex)
{
	struct bytes out = { .len = (uint32_t)strlen(hex) / 2 };

	for (uint32_t i = 0; i < out.len; i++) {
		unsigned int octet;

		assert_int_equal(sscanf(hex + 2 * i, "%2x", &octet), 1);
		out.b[i] = (uint8_t)octet;
	}
	return out;
}

static const struct esp_suite *suite_of(const struct suite_vector *v)
{
	const struct esp_suite *suite = suite_find(v->suite);

	assert_non_null(suite);
	return suite;
}

/* The IV stands right before the data, as in a packet: AES-GMAC authenticates both. */
static void check_aead(const struct crypto_engine *engine, const struct suite_vector *v)
{
	const struct esp_suite *suite = suite_of(v);
	struct bytes key = unhex(v->key), nonce = unhex(v->nonce), aad = unhex(v->aad);
	struct bytes plain = unhex(v->plain), cipher = unhex(v->cipher), icv = unhex(v->icv);
	struct bytes packet = { .len = suite->iv_len + plain.len };
	struct crypto_key *k;
	struct crypto_op op = { .data = packet.b + suite->iv_len, .len = plain.len, .aad = aad.b,
				.aad_len = (uint8_t)aad.len, .iv = packet.b,
				.icv = packet.b + packet.len };

	assert_int_equal(icv.len, suite->icv_len);
	memcpy(packet.b, nonce.b + suite->salt_len, suite->iv_len);
	memcpy(op.data, plain.b, plain.len);
	memcpy(key.b + key.len, nonce.b, suite->salt_len);
	k = engine->key_new(suite, key.b, NULL);
	assert_non_null(k);
	engine->seal(k, &op, 1);
	assert_int_equal(op.err, 0);
	assert_memory_equal(op.data, cipher.b, cipher.len);
	assert_memory_equal(op.icv, icv.b, icv.len);
	assert_int_equal(op.icv[icv.len], 0);	/* and nothing behind it */
	engine->open(k, &op, 1);
	assert_int_equal(op.err, 0);
	assert_memory_equal(op.data, plain.b, plain.len);
	memcpy(op.data, cipher.b, cipher.len);
	aad.b[0] ^= 1;
	engine->open(k, &op, 1);
	assert_int_equal(op.err, -EBADMSG);
	engine->key_free(k);
}

/* Cipher vectors, in a suite with HMAC-SHA-256: its ICV is checked against an independent HMAC. */
static void check_cipher(const struct crypto_engine *engine, const struct suite_vector *v)
{
	const struct esp_suite *suite = suite_of(v);
	struct bytes key = unhex(v->key), nonce = unhex(v->nonce), plain = unhex(v->plain);
	struct bytes cipher = unhex(v->cipher), covered;
	struct bytes packet = { .len = 8u + suite->iv_len + plain.len };
	uint8_t mac_key[32], digest[EVP_MAX_MD_SIZE];
	struct crypto_key *k;
	struct crypto_op op = { .data = packet.b + 8 + suite->iv_len, .len = plain.len,
				.iv = packet.b + 8, .auth = packet.b, .auth_len = packet.len,
				.esn_hi = { 1, 2, 3, 4 }, .icv = packet.b + packet.len };

	assert_int_equal(nonce.len, suite->salt_len + suite->iv_len);
	memset(mac_key, 0x5a, sizeof(mac_key));
	memcpy(key.b + key.len, nonce.b, suite->salt_len);
	k = engine->key_new(suite, key.b, mac_key);
	assert_non_null(k);
	for (op.esn_hi_len = 0; op.esn_hi_len <= 4; op.esn_hi_len += 4) {
		memcpy(packet.b + 8, nonce.b + suite->salt_len, suite->iv_len);
		memcpy(op.data, plain.b, plain.len);
		engine->seal(k, &op, 1);
		assert_int_equal(op.err, 0);
		assert_memory_equal(op.data, cipher.b, cipher.len);
		/* The MAC covers the packet and, with ESN, the high half behind it. */
		memcpy(covered.b, packet.b, packet.len);
		memcpy(covered.b + packet.len, op.esn_hi, op.esn_hi_len);
		assert_non_null(HMAC(EVP_sha256(), mac_key, sizeof(mac_key), covered.b,
				     packet.len + op.esn_hi_len, digest, NULL));
		assert_memory_equal(op.icv, digest, suite->icv_len);
		engine->open(k, &op, 1);
		assert_int_equal(op.err, 0);
		assert_memory_equal(op.data, plain.b, plain.len);
	}
	engine->key_free(k);
}

static void check_mac(const struct crypto_engine *engine, const struct suite_vector *v)
{
	const struct esp_suite *suite = suite_of(v);
	struct bytes key = unhex(v->key), data = unhex(v->plain), icv = unhex(v->icv);
	struct crypto_key *k = engine->key_new(suite, key.b, key.b);
	struct crypto_op op = { .data = data.b, .len = data.len, .iv = data.b, .auth = data.b,
				.auth_len = data.len, .icv = data.b + data.len };

	assert_non_null(k);
	assert_true(key.len <= suite->mac_key_len);
	engine->seal(k, &op, 1);
	assert_int_equal(op.err, 0);
	assert_memory_equal(op.icv, icv.b, icv.len < suite->icv_len ? icv.len : suite->icv_len);
	assert_int_equal(op.icv[suite->icv_len], 0);
	engine->open(k, &op, 1);
	assert_int_equal(op.err, 0);
	op.icv[suite->icv_len - 1] ^= 0x80;
	engine->open(k, &op, 1);
	assert_int_equal(op.err, -EBADMSG);
	engine->key_free(k);
}

/* ipsec-mb refuses jobs of no octets, which ESP has none of: its header is always there. */
static bool runs(const struct crypto_engine *engine, const struct suite_vector *v)
{
	return engine->supports(suite_of(v)) &&
	       (v->plain[0] || strcmp(engine->name, "ipsec-mb"));
}

static void run_vectors(const struct suite_vector *vectors, size_t count,
			void (*check)(const struct crypto_engine *, const struct suite_vector *))
{
	const struct crypto_engine *engine;

	for (size_t i = 0; i < count; i++) {
		unsigned int ran = 0;

		for (unsigned int e = 0; (engine = crypto_engine_at(e)); e++)
			if (runs(engine, &vectors[i])) {
				print_message("%s: %s: %s\n", engine->name, vectors[i].suite,
					      vectors[i].source);
				check(engine, &vectors[i]);
				ran++;
			}
		assert_true(ran > 0);
	}
}

/* X(table, how its vectors are checked) */
#define VECTOR_TABLES(X)			\
	X(gcm_spec_vectors, check_aead)		\
	X(mcgrew_gcm_vectors, check_aead)	\
	X(mcgrew_gmac_vectors, check_aead)	\
	X(nist_gcm_vectors, check_aead)		\
	X(rfc7634_vectors, check_aead)		\
	X(nist_cbc_vectors, check_cipher)	\
	X(nist_tdes_vectors, check_cipher)	\
	X(rfc3602_vectors, check_cipher)	\
	X(rfc3686_vectors, check_cipher)	\
	X(rfc2202_vectors, check_mac)		\
	X(rfc3566_vectors, check_mac)		\
	X(rfc4231_vectors, check_mac)		\
	X(rfc4493_vectors, check_mac)		\
	X(rfc4868_vectors, check_mac)

#define X(table, check)						\
	static void test_##table(void **state)			\
	{							\
		(void)state;					\
		run_vectors(table, COUNT(table), check);	\
	}
VECTOR_TABLES(X)
#undef X

/* AES-GMAC is GCM with nothing to encipher: OpenSSL's GCM over AAD, IV and payload in one piece. */
static void check_gmac(const struct crypto_engine *engine, const struct esp_suite *suite,
		       const EVP_CIPHER *gcm)
{
	uint8_t key[36], nonce[12], packet[12 + 8 + 301 + 16], icv[16];
	EVP_CIPHER_CTX *ctx = EVP_CIPHER_CTX_new();
	struct crypto_op op = { .aad = packet, .aad_len = 12, .iv = packet + 12,
				.data = packet + 20, .len = 301, .icv = packet + 321 };
	struct crypto_key *k;
	int len;

	for (unsigned int i = 0; i < sizeof(packet); i++)
		packet[i] = (uint8_t)(i * 11 + 3);
	for (unsigned int i = 0; i < sizeof(key); i++)
		key[i] = (uint8_t)(i * 7 + 1);
	memcpy(nonce, key + suite->key_len, 4);
	memcpy(nonce + 4, op.iv, 8);
	assert_non_null(ctx);
	assert_true(EVP_EncryptInit_ex2(ctx, gcm, key, nonce, NULL));
	assert_true(EVP_EncryptUpdate(ctx, NULL, &len, packet, 321));
	assert_true(EVP_EncryptFinal_ex(ctx, icv, &len));
	assert_true(EVP_CIPHER_CTX_ctrl(ctx, EVP_CTRL_AEAD_GET_TAG, sizeof(icv), icv));
	EVP_CIPHER_CTX_free(ctx);
	k = engine->key_new(suite, key, NULL);
	assert_non_null(k);
	engine->seal(k, &op, 1);
	assert_int_equal(op.err, 0);
	assert_memory_equal(op.icv, icv, sizeof(icv));
	engine->key_free(k);
}

static void test_gmac_is_gcm(void **state)
{
	const struct crypto_engine *engine;

	(void)state;
	for (unsigned int e = 0; (engine = crypto_engine_at(e)); e++) {
		check_gmac(engine, suite_find("aes128gmac"), EVP_aes_128_gcm());
		check_gmac(engine, suite_find("aes192gmac"), EVP_aes_192_gcm());
		check_gmac(engine, suite_find("aes256gmac"), EVP_aes_256_gcm());
	}
}

#define CROSS_OPS 48

/* One burst of differing lengths; packet i lies at mem + i * 1024: ESP header, IV, data, ICV. */
static void cross_ops(const struct esp_suite *suite, struct crypto_op *ops, uint8_t *mem,
		      uint32_t salt)
{
	for (uint32_t i = 0; i < CROSS_OPS; i++) {
		uint8_t *at = mem + i * 1024u;
		/* At least an ESP trailer. */
		uint32_t len = (i * 37 + salt) % 700 / 16 * 16 +
			       (suite->block > 1 ? 16 : 2 + i % 16);

		for (uint32_t j = 0; j < 1024; j++)
			at[j] = (uint8_t)(i * 7 + j * 13 + salt);
		ops[i] = (struct crypto_op){ .data = at + 8 + suite->iv_len, .len = len, .aad = at,
					     .aad_len = salt & 1 ? 12 : 8, .iv = at + 8, .auth = at,
					     .auth_len = 8u + suite->iv_len + len,
					     .esn_hi = { 9, 8, 7, (uint8_t)salt },
					     .esn_hi_len = salt & 1 ? 4 : 0,
					     .icv = at + 8 + suite->iv_len + len };
	}
}

/* What one engine seals another opens, in bursts; a burst reports exactly the packets it should. */
static void cross(const struct esp_suite *suite, const struct crypto_engine *a,
		  const struct crypto_engine *b)
{
	static uint8_t mem[2][CROSS_OPS * 1024];
	struct crypto_op ops[2][CROSS_OPS];
	uint8_t key[SUITE_KEY_MAX], mac_key[SUITE_KEY_MAX];
	struct crypto_key *ka, *kb;

	memset(key, 0x31, sizeof(key));
	memset(mac_key, 0x7d, sizeof(mac_key));
	ka = a->key_new(suite, key, mac_key);
	kb = b->key_new(suite, key, mac_key);
	assert_non_null(ka);
	assert_non_null(kb);
	for (uint32_t salt = 0; salt < 20; salt++) {
		cross_ops(suite, ops[0], mem[0], salt);
		cross_ops(suite, ops[1], mem[1], salt);
		a->seal(ka, ops[0], CROSS_OPS);
		b->seal(kb, ops[1], CROSS_OPS);
		assert_memory_equal(mem[0], mem[1], sizeof(mem[0]));
		for (unsigned int i = salt % 5; i < CROSS_OPS; i += 5)
			ops[1][i].icv[i % suite->icv_len] ^= (uint8_t)(1u << i % 8);
		b->open(kb, ops[1], CROSS_OPS);
		for (unsigned int i = 0; i < CROSS_OPS; i++)
			assert_int_equal(ops[1][i].err, i % 5 == salt % 5 ? -EBADMSG : 0);
		a->open(ka, ops[0], CROSS_OPS);
		cross_ops(suite, ops[1], mem[1], salt);
		for (unsigned int i = 0; i < CROSS_OPS; i++) {
			assert_int_equal(ops[0][i].err, 0);
			assert_memory_equal(ops[0][i].data, ops[1][i].data, ops[0][i].len);
		}
	}
	a->key_free(ka);
	b->key_free(kb);
}

static void test_engines_agree(void **state)
{
	const struct crypto_engine *a, *b;
	const struct esp_suite *suite;

	(void)state;
	for (size_t s = 0; (suite = suite_at(s)); s++)
		for (unsigned int i = 0; (a = crypto_engine_at(i)); i++)
			for (unsigned int j = 0; (b = crypto_engine_at(j)); j++)
				if (a->supports(suite) && b->supports(suite))
					cross(suite, a, b);
}

static void test_registry(void **state)
{
	const struct esp_suite *suite;
	const struct crypto_engine *engine;

	(void)state;
	for (size_t s = 0; (suite = suite_at(s)); s++) {
		assert_int_equal(suite_index(suite), s);
		assert_ptr_equal(suite_find(suite->name), suite);
		assert_ptr_equal(suite_find(suite->xfrm), suite);
		engine = crypto_engine_for(suite, NULL);
		assert_non_null(engine);
		print_message("%s: %s\n", suite->name, engine->name);
		assert_string_equal(crypto_engine_for(suite, "openssl")->name, "openssl");
		assert_null(crypto_engine_for(suite, "no such engine"));
		assert_int_equal(errno, ENOENT);
	}
	assert_null(suite_find("aes128"));
	for (unsigned int i = 1; crypto_engine_at(i); i++)
		assert_true(crypto_engine_at(i - 1)->priority >= crypto_engine_at(i)->priority);
}

/* Numbers of the IANA registry, one of each; whole lists would only repeat the table. */
static void test_numbers(void **state)
{
	static const struct {
		const char *name;
		uint8_t encr, integ, icv;
	} expected[] = {
		{ "3des-md5", 3, 1, 12 },	    { "aes128-sha1", 12, 2, 12 },
		{ "null-aesxcbc", 11, 5, 12 },	    { "aes256ctr-aescmac", 13, 8, 12 },
		{ "aes128-sha256", 12, 12, 16 },    { "aes192ctr-sha384", 13, 13, 24 },
		{ "null-sha512", 11, 14, 32 },	    { "aes128gcm8", 18, 0, 8 },
		{ "aes192gcm12", 19, 0, 12 },	    { "aes256gcm16", 20, 0, 16 },
		{ "aes256gmac", 21, 0, 16 },	    { "chacha20poly1305", 28, 0, 16 },
	};

	(void)state;
	for (size_t i = 0; i < COUNT(expected); i++) {
		const struct esp_suite *suite = suite_find(expected[i].name);

		assert_non_null(suite);
		assert_int_equal(suite->encr_id, expected[i].encr);
		assert_int_equal(suite->integ_id, expected[i].integ);
		assert_int_equal(suite->icv_len, expected[i].icv);
	}
}

/* What the rest of the program takes for granted of each row. */
static void test_rows(void **state)
{
	const struct esp_suite *suite;
	size_t s;

	(void)state;
	for (s = 0; (suite = suite_at(s)); s++) {
		bool aead = suite->mac == MAC_NONE;

		assert_int_equal(suite->mac_key_len == 0, aead);
		assert_int_equal(suite->integ_id == 0, aead);
		assert_int_equal(suite->counter_mode, suite->salt_len == 4);
		assert_int_equal(suite->encrypts, suite->cipher != CIPHER_NULL &&
						  suite->cipher != CIPHER_AES_GMAC);
		assert_int_equal(suite->legacy, suite->cipher == CIPHER_3DES_CBC ||
						suite->mac == MAC_HMAC_MD5);
		assert_int_equal(suite_random_iv(suite), suite->block > 1);
	}
	assert_int_equal(s, 13 + 8 * 7);
	assert_string_equal(suite_find("rfc3686(ctr(aes)) 192 hmac(sha1)")->name, "aes192ctr-sha1");
	assert_string_equal(suite_find("cbc(des3_ede) hmac(md5)")->name, "3des-md5");
	assert_string_equal(suite_find("ecb(cipher_null) xcbc(aes)")->name, "null-aesxcbc");
	assert_string_equal(suite_find("rfc4106(gcm(aes)) 256 64")->name, "aes256gcm8");
	assert_string_equal(suite_key_group(suite_find("aes128gmac")),
			    suite_key_group(suite_find("aes256ctr-sha1")));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_registry),
		cmocka_unit_test(test_numbers),
		cmocka_unit_test(test_rows),
#define X(table, check) cmocka_unit_test(test_##table),
		VECTOR_TABLES(X)
#undef X
		cmocka_unit_test(test_gmac_is_gcm),
		cmocka_unit_test(test_engines_agree),
	};

	return cmocka_run_group_tests_name("crypto", tests, NULL, NULL);
}
