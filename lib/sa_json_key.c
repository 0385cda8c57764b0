// SPDX-License-Identifier: BSD-2-Clause
/* An SA's suite and its keys. No message ever quotes a key. */
#include <netinet/in.h>
#include <string.h>

#include "policy_json.h"
#include "sa_json.h"

/* As the file names it. */
static const char *suite_name(const struct sa_reading *reading)
{
	return reading->sa->proto == IPPROTO_AH ? reading->suite->ah_name : reading->suite->name;
}

void sa_json_suite(struct json_reader *reader, struct json_value value, void *target)
{
	struct sa_reading *reading = target;

	if (json_read_string(reader, value))
		reading->suite_at = value;
}

void sa_json_key(struct json_reader *reader, struct json_value value, void *target)
{
	struct sa_reading *reading = target;

	if (json_read_string(reader, value))
		reading->key = value;
}

void sa_json_auth_key(struct json_reader *reader, struct json_value value, void *target)
{
	struct sa_reading *reading = target;

	if (json_read_string(reader, value))
		reading->auth_key = value;
}

static int hex_digit(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	c |= 0x20;
	return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* Decodes exactly `wanted` octets. Says what is wrong with the length, never what the key is. */
static bool decode_key(struct json_reader *reader, const struct sa_reading *reading,
		       struct json_value value, uint8_t *out, size_t wanted)
{
	const char *text = json_string_value(value.json);
	size_t digits = json_string_length(value.json);
	uint8_t any = 0;

	for (size_t i = 0; i < digits; i++)
		if (hex_digit(text[i]) < 0) {
			json_error(reader, value, NULL, "not hexadecimal (at digit %zu)", i + 1);
			return false;
		}
	if (digits != 2 * wanted) {
		json_error(reader, value, "make keys with: ipsecbpf sa genkey",
			   "%s takes %zu octets (%zu hex digits) here, found %zu%s (%zu digits)",
			   suite_name(reading), wanted, 2 * wanted, digits / 2,
			   digits % 2 ? " and a half" : "", digits);
		return false;
	}
	for (size_t i = 0; i < wanted; i++) {
		out[i] = (uint8_t)(hex_digit(text[2 * i]) << 4 | hex_digit(text[2 * i + 1]));
		any |= out[i];
	}
	if (!wanted || any)
		return true;
	json_error(reader, value, "make keys with: ipsecbpf sa genkey", "the key is all zeros");
	return false;
}

static void check_key(struct json_reader *reader, const struct sa_reading *reading,
		      struct json_value value, uint8_t *out, size_t wanted)
{
	if (decode_key(reader, reading, value, out, wanted) && out == reading->sa->key &&
	    sa_key_is_weak(reading->sa))
		json_error(reader, value, "make keys with: ipsecbpf sa genkey",
			   "a weak 3DES key (RFC 2451 2.3)");
}

/* `name`: of the JSON key; wanted 0: the suite has none, and it may only be left out or empty. */
static void finish_key(struct json_reader *reader, const struct sa_reading *reading,
		       struct json_value value, const char *name, uint8_t *out)
{
	const struct esp_suite *suite = reading->suite;
	size_t wanted = out == reading->sa->key ? (size_t)suite->key_len + suite->salt_len
						: suite->mac_key_len;

	reader->key = name;
	if (value.json && !wanted && json_string_length(value.json))
		json_error(reader, value, "leave it out", "%s has no such key",
			   suite_name(reading));
	else if (value.json)
		check_key(reader, reading, value, out, wanted);
	else if (wanted)
		json_error(reader, reading->self, NULL, "missing: %s takes %zu octets here",
			   suite_name(reading), wanted);
	reader->key = NULL;
}

/* AH has no cipher: its only key is the MAC's. */
static void refuse_key(struct json_reader *reader, struct json_value value)
{
	if (!value.json)
		return;
	reader->key = "key";
	json_error(reader, value, "write it as \"auth_key\"",
		   "AH encrypts nothing: it has no such key");
	reader->key = NULL;
}

/* Suites of the past are the administrator's explicit choice, and are not chosen in silence. */
static void check_legacy(struct json_reader *reader, const struct sa_reading *reading)
{
	bool ah = reading->sa->proto == IPPROTO_AH;

	if (!reading->suite->legacy)
		return;
	if (reading->allow_legacy)
		json_warning(reader, reading->suite_at,
			     ah ? "sha256 is secure" : "aes128gcm16 is secure and fast",
			     "%s is weak (RFC 8221)", suite_name(reading));
	else
		json_error(reader, reading->suite_at,
			   "add \"allow_legacy\": true to the SA if the peer knows nothing better",
			   "%s is weak and not used unless allowed", suite_name(reading));
}

/* Which names there are follows from the protocol, wherever in the object it stands. */
static void finish_suite(struct json_reader *reader, struct sa_reading *reading)
{
	if (!reading->suite_at.json)
		return;
	reader->key = "suite";
	if (reading->sa->proto == IPPROTO_AH)
		reading->suite = policy_read_ah_suite(reader, reading->suite_at);
	else
		reading->suite = policy_read_suite(reader, reading->suite_at);
	if (reading->suite) {
		reading->sa->suite = (uint16_t)suite_index(reading->suite);
		check_legacy(reader, reading);
	}
	reader->key = NULL;
}

/* Key lengths follow from the suite, likewise. */
void sa_json_finish_keys(struct json_reader *reader, struct sa_reading *reading)
{
	finish_suite(reader, reading);
	if (reading->sa->proto == IPPROTO_AH)
		refuse_key(reader, reading->key);
	if (!reading->suite)
		return;
	if (reading->sa->proto != IPPROTO_AH)
		finish_key(reader, reading, reading->key, "key", reading->sa->key);
	finish_key(reader, reading, reading->auth_key, "auth_key", reading->sa->mac_key);
}
