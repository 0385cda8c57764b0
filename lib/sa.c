// SPDX-License-Identifier: BSD-2-Clause
/*
 * Digests use OpenSSL's SHA256_CTX directly: it lives on the stack and cannot fail, so neither a
 * fingerprint nor the name of a reservation record ever depends on memory being available.
 */
#define OPENSSL_SUPPRESS_DEPRECATED
#include "sa.h"

#include <openssl/des.h>
#include <openssl/sha.h>
#include <string.h>

void sa_config_wipe(struct sa_config *sa)
{
	explicit_bzero(sa->key, sizeof(sa->key));
	explicit_bzero(sa->mac_key, sizeof(sa->mac_key));
}

bool sa_address_usable(enum ip_family family, const union wire_addr *addr)
{
	static const union wire_addr unspecified;

	if (family == FAMILY_V4)
		return addr->b[0] != 0 && addr->b[0] < 224;
	return addr->b[0] != 0xff && memcmp(addr, &unspecified, sizeof(unspecified));
}

/* Parity bits, which the cipher ignores, are ignored here as well. */
bool sa_key_is_weak(const struct sa_config *sa)
{
	DES_cblock keys[3];
	bool weak = false;

	if (suite_at(sa->suite)->cipher != CIPHER_3DES_CBC)
		return false;
	memcpy(keys, sa->key, sizeof(keys));
	for (unsigned int i = 0; i < 3; i++) {
		DES_set_odd_parity(&keys[i]);
		weak |= DES_is_weak_key(&keys[i]) != 0;
	}
	for (unsigned int i = 0; i < 3; i++)
		weak |= !memcmp(keys[i], keys[(i + 1) % 3], sizeof(keys[i]));
	explicit_bzero(keys, sizeof(keys));
	return weak;
}

/* Strings go in with their NUL, so that no two sequences of parts run together. */
static void add_string(SHA256_CTX *ctx, const char *text)
{
	SHA256_Update(ctx, text, strlen(text) + 1);
}

/* Writes the first `digits` hex digits (even) of the digest and a NUL; wipes ctx. */
static void finish_hex(SHA256_CTX *ctx, char *out, size_t digits)
{
	static const char hex[] = "0123456789abcdef";
	uint8_t digest[SHA256_DIGEST_LENGTH];

	SHA256_Final(digest, ctx);
	for (size_t i = 0; i < digits; i++)
		out[i] = hex[digest[i / 2] >> (i % 2 ? 0 : 4) & 0x0f];
	out[digits] = '\0';
	explicit_bzero(digest, sizeof(digest));
	explicit_bzero(ctx, sizeof(*ctx));
}

void sa_fingerprint(const struct sa_config *sa, char out[SA_FINGERPRINT_LEN + 1])
{
	const struct esp_suite *suite = suite_at(sa->suite);
	SHA256_CTX ctx;

	SHA256_Init(&ctx);
	add_string(&ctx, suite->name);
	SHA256_Update(&ctx, sa->key, (size_t)suite->key_len + suite->salt_len);
	SHA256_Update(&ctx, sa->mac_key, suite->mac_key_len);
	finish_hex(&ctx, out, SA_FINGERPRINT_LEN);
}

/* A suite without a cipher key is filed under its MAC key: else all of them would share a record. */
void sa_key_id(const struct sa_config *sa, char out[33])
{
	const struct esp_suite *suite = suite_at(sa->suite);
	SHA256_CTX ctx;

	SHA256_Init(&ctx);
	add_string(&ctx, "ipsecbpf key id 1");
	add_string(&ctx, suite_key_group(suite));
	if (suite->key_len)
		SHA256_Update(&ctx, sa->key, suite->key_len);
	else
		SHA256_Update(&ctx, sa->mac_key, suite->mac_key_len);
	finish_hex(&ctx, out, 32);
}
