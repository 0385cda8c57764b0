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

static void check_aead(const struct crypto_engine *engine, const struct suite_vector *v)
{
	const struct esp_suite *suite = suite_of(v);
	struct bytes key = unhex(v->key), nonce = unhex(v->nonce), aad = unhex(v->aad);
	struct bytes data = unhex(v->plain), cipher = unhex(v->cipher), icv = unhex(v->icv);
	struct bytes plain = data;
	struct crypto_key *k;
	struct crypto_op op = { .data = data.b, .len = data.len, .aad = aad.b,
				.aad_len = (uint8_t)aad.len, .iv = nonce.b + suite->salt_len,
				.icv = data.b + data.len };

	print_message("%s: %s\n", engine->name, v->source);
	memcpy(key.b + key.len, nonce.b, suite->salt_len);
	k = engine->key_new(suite, key.b, NULL);
	assert_non_null(k);
	engine->seal(k, &op, 1);
	assert_int_equal(op.err, 0);
	assert_memory_equal(data.b, cipher.b, cipher.len);
	assert_memory_equal(op.icv, icv.b, icv.len);
	engine->open(k, &op, 1);
	assert_int_equal(op.err, 0);
	assert_memory_equal(data.b, plain.b, plain.len);
	memcpy(data.b, cipher.b, cipher.len);
	aad.b[0] ^= 1;
	engine->open(k, &op, 1);
	assert_int_equal(op.err, -EBADMSG);
	engine->key_free(k);
}

static void check_cbc(const struct crypto_engine *engine, const struct suite_vector *v)
{
	const struct esp_suite *suite = suite_of(v);
	struct bytes key = unhex(v->key), iv = unhex(v->nonce), plain = unhex(v->plain);
	struct bytes cipher = unhex(v->cipher), packet = { .len = 8 + 16 + plain.len };
	uint8_t mac_key[32], digest[EVP_MAX_MD_SIZE];
	struct crypto_key *k;
	struct crypto_op op = { .data = packet.b + 24, .len = plain.len, .iv = packet.b + 8,
				.auth = packet.b, .auth_len = packet.len,
				.esn_hi = { 1, 2, 3, 4 }, .icv = packet.b + packet.len };

	print_message("%s: %s\n", engine->name, v->source);
	memset(mac_key, 0x5a, sizeof(mac_key));
	k = engine->key_new(suite, key.b, mac_key);
	assert_non_null(k);
	for (op.esn_hi_len = 0; op.esn_hi_len <= 4; op.esn_hi_len += 4) {
		memcpy(packet.b + 8, iv.b, iv.len);
		memcpy(op.data, plain.b, plain.len);
		engine->seal(k, &op, 1);
		assert_int_equal(op.err, 0);
		assert_memory_equal(op.data, cipher.b, cipher.len);
		/* An independent HMAC over the packet and, with ESN, the high half behind it. */
		memcpy(cipher.b, packet.b, packet.len);
		memcpy(cipher.b + packet.len, op.esn_hi, op.esn_hi_len);
		assert_non_null(HMAC(EVP_sha256(), mac_key, sizeof(mac_key), cipher.b,
				     packet.len + op.esn_hi_len, digest, NULL));
		cipher = unhex(v->cipher);
		assert_memory_equal(op.icv, digest, suite->icv_len);
		engine->open(k, &op, 1);
		assert_int_equal(op.err, 0);
		assert_memory_equal(op.data, plain.b, plain.len);
	}
	engine->key_free(k);
}

static void check_mac(const struct crypto_engine *engine, const struct suite_vector *v)
{
	struct bytes key = unhex(v->key), data = unhex(v->plain), icv = unhex(v->icv);
	struct crypto_key *k = engine->key_new(suite_of(v), key.b, key.b);
	struct crypto_op op = { .data = data.b, .len = data.len, .iv = data.b, .auth = data.b,
				.auth_len = data.len, .icv = data.b + data.len };

	print_message("%s: %s\n", engine->name, v->source);
	assert_non_null(k);
	engine->seal(k, &op, 1);
	assert_int_equal(op.err, 0);
	assert_memory_equal(op.icv, icv.b, icv.len);
	engine->open(k, &op, 1);
	assert_int_equal(op.err, 0);
	op.icv[15] ^= 0x80;
	engine->open(k, &op, 1);
	assert_int_equal(op.err, -EBADMSG);
	engine->key_free(k);
}

static void run_vectors(const struct suite_vector *vectors, size_t count,
			void (*check)(const struct crypto_engine *, const struct suite_vector *))
{
	const struct crypto_engine *engine;
	unsigned int ran = 0;

	for (unsigned int e = 0; (engine = crypto_engine_at(e)); e++)
		for (size_t i = 0; i < count; i++)
			if (engine->supports(suite_of(&vectors[i]))) {
				check(engine, &vectors[i]);
				ran++;
			}
	assert_true(ran >= count);
}

static void test_aead_vectors(void **state)
{
	(void)state;
	run_vectors(aead_vectors, COUNT(aead_vectors), check_aead);
}

static void test_cbc_vectors(void **state)
{
	(void)state;
	run_vectors(cbc_vectors, COUNT(cbc_vectors), check_cbc);
}

static void test_mac_vectors(void **state)
{
	(void)state;
	run_vectors(mac_vectors, COUNT(mac_vectors), check_mac);
}

#define CROSS_OPS 48

/* One burst of differing lengths; packet i lies at mem + i * 1024: ESP header, IV, data, ICV. */
static void cross_ops(const struct esp_suite *suite, struct crypto_op *ops, uint8_t *mem,
		      uint32_t salt)
{
	for (uint32_t i = 0; i < CROSS_OPS; i++) {
		uint8_t *at = mem + i * 1024u;
		uint32_t len = (i * 37 + salt) % 700 / 16 * 16 + (suite->block == 16 ? 16 : i % 16);

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
			ops[1][i].icv[i % 16] ^= (uint8_t)(1u << i % 8);
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

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_registry),     cmocka_unit_test(test_aead_vectors),
		cmocka_unit_test(test_cbc_vectors),  cmocka_unit_test(test_mac_vectors),
		cmocka_unit_test(test_engines_agree),
	};

	return cmocka_run_group_tests_name("crypto", tests, NULL, NULL);
}
