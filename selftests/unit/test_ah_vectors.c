// SPDX-License-Identifier: BSD-2-Clause
/*
 * AH packets of another implementation, of which ours makes the same ones and takes them; ICVs
 * computed by hand; the engines against each other.
 */
#include <openssl/evp.h>
#include <openssl/hmac.h>

#include "ah_pair.h"

struct ah_vector {
	const char *name;
	const char *suite;
	enum ip_family family;		/* of the SA */
	bool tunnel;
	bool esn;
	uint64_t seq;
	const char *clear, *protected;	/* IP packets, hex */
};

#include "vectors/ah_scapy.h"

static uint32_t unhex(const char *hex, uint8_t *out)
{
	uint32_t len = (uint32_t)strlen(hex) / 2;

	for (uint32_t i = 0; i < len; i++) {
		const char digits[3] = { hex[2 * i], hex[2 * i + 1] };

		out[i] = (uint8_t)strtoul(digits, NULL, 16);
	}
	return len;
}

static void frame_of(struct frame *frame, const char *hex)
{
	enum ip_family family = hex[0] == '4' ? FAMILY_V4 : FAMILY_V6;

	frame_start(frame, family, 0);
	frame_finish(frame, unhex(hex, frame_ip(frame)));
}

static void assert_packet(struct frame *frame, const char *hex, const char *name)
{
	uint8_t bytes[512];
	uint32_t len = unhex(hex, bytes);

	if (frame->packet.len != 14 + len || memcmp(frame_ip(frame), bytes, len))
		print_error("%s:\n", name);
	assert_int_equal(frame->packet.len, 14 + len);
	assert_memory_equal(frame_ip(frame), bytes, len);
}

static void check(const struct ah_vector *vector, const char *engine)
{
	static struct frame frame;
	struct pair pair;

	pair_init_ah(&pair, vector->suite, engine, vector->family, vector->tunnel, vector->esn);
	pair.out_state.seq_next = vector->seq;
	pair.in_state.replay_top = vector->seq - 1;
	frame_of(&frame, vector->clear);
	encap(&pair, &frame);
	assert_int_equal(frame.packet.state, PACKET_PROTECTED);
	assert_packet(&frame, vector->protected, vector->name);
	frame_of(&frame, vector->protected);
	frame.packet.state = PACKET_PROTECTED;
	decap(&pair, &frame);
	assert_int_equal(frame.packet.state, PACKET_VERIFIED);
	assert_int_equal(frame.packet.seq, vector->seq);
	assert_packet(&frame, vector->clear, vector->name);
	pair_fini(&pair);
}

static void test_scapy(void **state)
{
	const struct crypto_engine *engine;

	(void)state;
	for (unsigned int e = 0; (engine = crypto_engine_at(e)); e++)
		for (size_t i = 0; i < sizeof(ah_scapy_vectors) / sizeof(ah_scapy_vectors[0]); i++)
			check(&ah_scapy_vectors[i], engine->name);
}

static const EVP_MD *digest_of(const struct esp_suite *suite)
{
	switch (suite->mac) {
	case MAC_HMAC_MD5:
		return EVP_md5();
	case MAC_HMAC_SHA1:
		return EVP_sha1();
	case MAC_HMAC_SHA256:
		return EVP_sha256();
	case MAC_HMAC_SHA384:
		return EVP_sha384();
	case MAC_HMAC_SHA512:
		return EVP_sha512();
	default:
		return NULL;
	}
}

/* One packet's octets zeroed by hand: a timestamp option goes, a router alert stays. */
static uint32_t zeroed_ipv4(const uint8_t *ip, uint32_t total, uint8_t *out)
{
	memcpy(out, ip, total);
	out[1] = out[6] = out[7] = out[8] = out[10] = out[11] = 0;
	memset(out + 24, 0, 12);	/* behind the router alert */
	return 36;
}

static uint32_t zeroed_ipv6(const uint8_t *ip, uint32_t total, uint8_t *out)
{
	memcpy(out, ip, total);
	out[0] = 0x60;
	out[1] = out[2] = out[3] = out[7] = 0;
	out[44] = out[45] = 0;		/* data of a mutable option, then of an immutable one */
	return 56;
}

static const uint8_t ipv4_options[16] = {
	148, 4, 0, 0,				/* router alert: immutable */
	68, 12, 9, 0, 1, 2, 3, 4, 0, 0, 0, 0,	/* timestamp, one entry filled */
};

static const uint8_t ipv6_options[16] = {
	0, 1,			/* next header (set by the test), length */
	0x3e, 2, 0xaa, 0xbb,	/* mutable */
	0x1e, 3, 1, 2, 3,	/* immutable */
	0,			/* Pad1 */
	1, 2, 0, 0,		/* PadN */
};

/* A packet with options, 37 octets of payload. */
static void frame_options(struct frame *frame, enum ip_family family)
{
	uint8_t *ip;

	if (family == FAMILY_V4) {
		frame_ipv4(frame, 16, 37, 0);
		memcpy(frame_ip(frame) + 20, ipv4_options, 16);
		checksum_ipv4(frame_ip(frame), 36);
		frame_finish(frame, 36 + 37);
		return;
	}
	frame_ipv6(frame, (const uint8_t[]){ 1, 0 }, 8 + 37, 0);
	ip = frame_ip(frame);
	memcpy(ip + 40, ipv6_options, sizeof(ipv6_options));
	ip[40] = IPPROTO_UDP;
	frame_finish(frame, 40 + 16 + 37);
}

static void check_by_hand(const char *name, const char *engine, enum ip_family family, bool esn)
{
	uint8_t bytes[512], expected[EVP_MAX_MD_SIZE];
	const struct esp_suite *suite = suite_find_ah(name);
	static struct frame frame;
	uint32_t total, ah_off;
	struct pair pair;

	pair_init_ah(&pair, name, engine, family, false, esn);
	if (esn)
		pair.out_state.seq_next = 0x1234500000007;
	frame_options(&frame, family);
	encap(&pair, &frame);
	total = frame.packet.len - 14;
	ah_off = family == FAMILY_V4 ? zeroed_ipv4(frame_ip(&frame), total, bytes) :
		 zeroed_ipv6(frame_ip(&frame), total, bytes);
	assert_int_equal(total, frame.before_len - 14 + ah_length(&pair.out));
	memset(bytes + ah_off + 12, 0, suite->icv_len);
	store_be32(bytes + total, 0x12345);
	assert_non_null(HMAC(digest_of(suite), pair.config.mac_key, suite->mac_key_len, bytes,
			     total + (esn ? 4 : 0), expected, NULL));
	assert_memory_equal(frame_ip(&frame) + ah_off + 12, expected, suite->icv_len);
	pair.in_state.replay_top = pair.out_state.seq_next - 2;
	decap(&pair, &frame);
	assert_restored(&frame);
	pair_fini(&pair);
}

static void test_icv_by_hand(void **state)
{
	const struct crypto_engine *engine;

	(void)state;
	for (unsigned int e = 0; (engine = crypto_engine_at(e)); e++)
		for (size_t s = 0; s < AH_SUITE_COUNT; s++)
			for (int variant = 0; variant < 4; variant++)
				if (digest_of(suite_find_ah(ah_suites[s].name)))
					check_by_hand(ah_suites[s].name, engine->name, variant & 1,
						      variant & 2);
}

/* Padded to 8 octets in IPv4, with octets that are covered: so Linux sends it without align4. */
static void test_padded_to_eight(void **state)
{
	uint8_t bytes[512], expected[EVP_MAX_MD_SIZE], *ip;
	static struct frame frame;
	struct pair pair;

	(void)state;
	for (int damage = 0; damage < 2; damage++) {
		pair_init_ah(&pair, "sha256", NULL, FAMILY_V4, false, false);
		frame_ipv4(&frame, 0, 100, 0);
		encap(&pair, &frame);
		ip = frame_ip(&frame);
		memmove(ip + 20 + 32, ip + 20 + 28, 100);
		memset(ip + 20 + 28, 0x5a, 4);
		ip[21] = 32 / 4 - 2;
		store_be16(ip + 2, 20 + 32 + 100);
		checksum_ipv4(ip, 20);
		frame.packet.len += 4;
		frame.packet.tailroom -= 4;
		memcpy(bytes, ip, 152);
		bytes[1] = bytes[6] = bytes[8] = bytes[10] = bytes[11] = 0;
		memset(bytes + 32, 0, 16);
		assert_non_null(HMAC(EVP_sha256(), pair.config.mac_key, 32, bytes, 152, expected,
				     NULL));
		memcpy(ip + 32, expected, 16);
		ip[50] ^= (uint8_t)damage;
		decap(&pair, &frame);
		if (damage)
			assert_dropped(&frame, DROP_ICV);
		else
			assert_memory_equal(frame.packet.data, frame.before, frame.before_len);
		pair_fini(&pair);
	}
}

/* Both engines make the same packet of the same SA. */
static void test_engines_agree(void **state)
{
	static struct frame frames[2];
	struct pair pair;

	(void)state;
	for (size_t s = 0; s < AH_SUITE_COUNT; s++)
		for (int variant = 0; variant < 8; variant++) {
			const struct crypto_engine *engine;

			for (unsigned int e = 0; (engine = crypto_engine_at(e)) && e < 2; e++) {
				pair_init_ah(&pair, ah_suites[s].name, engine->name, variant & 1,
					     variant & 2, variant & 4);
				frame_options(&frames[e], variant & 1);
				encap(&pair, &frames[e]);
				if (e)
					assert_memory_equal(frames[0].packet.data,
							    frames[1].packet.data,
							    frames[0].packet.len);
				pair_fini(&pair);
			}
		}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_scapy),
		cmocka_unit_test(test_icv_by_hand),
		cmocka_unit_test(test_padded_to_eight),
		cmocka_unit_test(test_engines_agree),
	};

	return cmocka_run_group_tests_name("ah_vectors", tests, NULL, NULL);
}
