// SPDX-License-Identifier: BSD-2-Clause
/*
 * SA files: JSON text to struct sa_config, with every error that is in it. No message ever quotes
 * a key, and every copy of the text that held one is wiped: the text itself, the parser's memory
 * and, by sa_file_free(), the result.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <malloc.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "ipsecbpf.h"
#include "json_read.h"
#include "policy_json.h"

#define SPI_MIN		      256	/* RFC 4303 2.1: below are reserved */
#define REPLAY_WINDOW_DEFAULT 1024

/* One SA being read. Values whose meaning depends on others are kept for finish_keys(). */
struct sa_reading {
	struct sa_config *sa;
	const struct esp_suite *suite;
	struct json_value self, src, dst, suite_at, key, auth_key;
	bool allow_legacy;
};

/* The whole file being read. */
struct file_reading {
	struct sa_file *file;
	struct position *at;	/* of each SA, for errors between two of them */
};

static void read_version(struct json_reader *reader, struct json_value value, void *target)
{
	json_int_t version;

	(void)target;
	if (json_read_integer(reader, value, 0, INT32_MAX, &version) && version != 1)
		json_error(reader, value, "write \"version\": 1",
			   "version %d of the format is not known", (int)version);
}

static bool read_address(struct json_reader *reader, struct json_value value, uint8_t *family,
			 union wire_addr *ret_addr)
{
	const char *text = json_read_string(reader, value), *error;
	struct address_range range;
	union wire_addr wire;

	if (!text)
		return false;
	if (!address_parse(text, &range, &error)) {
		json_error(reader, value, NULL, "%s", error);
		return false;
	}
	if (range.lo.hi != range.hi.hi || range.lo.lo != range.hi.lo || strpbrk(text, "/-")) {
		json_error(reader, value, NULL, "an SA is between two single addresses");
		return false;
	}
	wire = addr128_to_wire(range.family, range.lo);
	if (!sa_address_usable(range.family, &wire)) {
		json_error(reader, value, NULL, "not the address of a host");
		return false;
	}
	*family = range.family;
	*ret_addr = wire;
	return true;
}

/* Whichever of src and dst comes second in the text is compared with the first. */
static void read_end(struct json_reader *reader, struct json_value value,
		     struct sa_reading *reading, bool is_src)
{
	const struct json_value *other = is_src ? &reading->dst : &reading->src;
	struct sa_config *sa = reading->sa;
	uint8_t family;

	if (!read_address(reader, value, &family, is_src ? &sa->src : &sa->dst))
		return;
	if (other->json && family != sa->family)
		json_error(reader, value, NULL, "src and dst are of different families");
	else if (other->json && !memcmp(&sa->src, &sa->dst, sizeof(sa->src)))
		json_error(reader, value, NULL, "src and dst are the same address");
	sa->family = family;
	*(is_src ? &reading->src : &reading->dst) = value;
}

static void read_src(struct json_reader *reader, struct json_value value, void *target)
{
	read_end(reader, value, target, true);
}

static void read_dst(struct json_reader *reader, struct json_value value, void *target)
{
	read_end(reader, value, target, false);
}

/* "0x1001": 0x and hexadecimal digits, nothing else. False if it is not that. */
static bool spi_from_text(const char *text, uint64_t *ret_spi)
{
	size_t digits;

	if (strncasecmp(text, "0x", 2))
		return false;
	digits = strspn(text + 2, "0123456789abcdefABCDEF");
	if (!digits || digits > 8 || text[2 + digits])
		return false;
	*ret_spi = strtoull(text + 2, NULL, 16);
	return true;
}

static void read_spi(struct json_reader *reader, struct json_value value, void *target)
{
	struct sa_reading *reading = target;
	uint64_t spi;

	if (json_is_integer(value.json)) {
		json_int_t number = json_integer_value(value.json);

		spi = number < 0 ? UINT64_MAX : (uint64_t)number;
	} else if (!json_is_string(value.json) ||
		   !spi_from_text(json_string_value(value.json), &spi)) {
		json_error(reader, value, NULL,
			   "must be a number or hexadecimal text like \"0x1001\"");
		return;
	}
	if (spi < SPI_MIN)
		json_error(reader, value, "take one from 256 to 4294967295",
			   "SPIs 0 to 255 are reserved (RFC 4303 2.1)");
	else if (spi > UINT32_MAX)
		json_error(reader, value, "take one from 256 to 4294967295",
			   "an SPI has 32 bits");
	else
		reading->sa->spi = htonl((uint32_t)spi);
}

static void read_proto(struct json_reader *reader, struct json_value value, void *target)
{
	static const char *const words[] = { "esp", NULL };
	size_t index;

	(void)target;	/* IPPROTO_ESP already */
	json_read_word(reader, value, words, &index);
}

static void read_mode(struct json_reader *reader, struct json_value value, void *target)
{
	static const char *const words[] = { "transport", "tunnel", NULL };
	struct sa_reading *reading = target;
	size_t index;

	if (json_read_word(reader, value, words, &index))
		reading->sa->tunnel = index == 1;
}

static void read_suite(struct json_reader *reader, struct json_value value, void *target)
{
	struct sa_reading *reading = target;

	reading->suite_at = value;
	reading->suite = policy_read_suite(reader, value);
	if (reading->suite)
		reading->sa->suite = (uint16_t)suite_index(reading->suite);
}

static void read_key(struct json_reader *reader, struct json_value value, void *target)
{
	struct sa_reading *reading = target;

	if (json_read_string(reader, value))
		reading->key = value;
}

static void read_auth_key(struct json_reader *reader, struct json_value value, void *target)
{
	struct sa_reading *reading = target;

	if (json_read_string(reader, value))
		reading->auth_key = value;
}

static void read_protection(struct json_reader *reader, struct json_value value, void *target)
{
	struct sa_reading *reading = target;
	const char *name = json_read_string(reader, value);

	if (name)
		policy_read_name(reader, value, name, reading->sa->protection);
}

static void read_esn(struct json_reader *reader, struct json_value value, void *target)
{
	struct sa_reading *reading = target;

	json_read_boolean(reader, value, &reading->sa->esn);
}

static void read_allow_legacy(struct json_reader *reader, struct json_value value, void *target)
{
	struct sa_reading *reading = target;

	json_read_boolean(reader, value, &reading->allow_legacy);
}

static void read_replay_window(struct json_reader *reader, struct json_value value, void *target)
{
	struct sa_reading *reading = target;
	json_int_t window;

	if (json_read_integer(reader, value, 0, REPLAY_WINDOW_MAX, &window))
		reading->sa->replay_window = (uint32_t)window;
}

static void read_direction(struct json_reader *reader, struct json_value value, void *target)
{
	static const char *const words[] = { "in", "out", NULL };
	struct sa_reading *reading = target;
	size_t index;

	if (json_read_word(reader, value, words, &index)) {
		reading->sa->direction = index == 0 ? SPD_IN : SPD_OUT;
		reading->sa->direction_given = true;
	}
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
			   reading->suite->name, wanted, 2 * wanted, digits / 2,
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
		json_error(reader, value, "leave it out", "%s has no such key", suite->name);
	else if (value.json)
		check_key(reader, reading, value, out, wanted);
	else if (wanted)
		json_error(reader, reading->self, NULL, "missing: %s takes %zu octets here",
			   suite->name, wanted);
	reader->key = NULL;
}

/* Suites of the past are the administrator's explicit choice, and are not chosen in silence. */
static void finish_suite(struct json_reader *reader, const struct sa_reading *reading)
{
	const struct esp_suite *suite = reading->suite;

	if (!suite || !suite->legacy)
		return;
	reader->key = "suite";
	if (reading->allow_legacy)
		json_warning(reader, reading->suite_at, "aes128gcm16 is secure and fast",
			     "%s is weak (RFC 8221)", suite->name);
	else
		json_error(reader, reading->suite_at,
			   "add \"allow_legacy\": true to the SA if the peer knows nothing better",
			   "%s is weak and not used unless allowed", suite->name);
	reader->key = NULL;
}

/* Key lengths follow from the suite, wherever in the object it stands. */
static void finish_keys(struct json_reader *reader, const struct sa_reading *reading)
{
	if (!reading->suite)
		return;
	finish_key(reader, reading, reading->key, "key", reading->sa->key);
	finish_key(reader, reading, reading->auth_key, "auth_key", reading->sa->mac_key);
}

static void read_sa(struct json_reader *reader, struct json_value value, void *target)
{
	static const struct json_key keys[] = {
		{ "src", true, read_src },
		{ "dst", true, read_dst },
		{ "spi", true, read_spi },
		{ "proto", false, read_proto },
		{ "mode", false, read_mode },
		{ "suite", true, read_suite },
		{ "key", false, read_key },
		{ "auth_key", false, read_auth_key },
		{ "protection", true, read_protection },
		{ "esn", false, read_esn },
		{ "allow_legacy", false, read_allow_legacy },
		{ "replay_window", false, read_replay_window },
		{ "direction", false, read_direction },
		{ 0 }
	};
	struct file_reading *reading = target;
	size_t index = reading->file->count++;
	struct sa_reading sa = { .sa = &reading->file->sas[index], .self = value };

	*sa.sa = (struct sa_config){ .proto = IPPROTO_ESP, .esn = true,
				     .replay_window = REPLAY_WINDOW_DEFAULT,
				     .dscp = DSCP_COPY, .keepalive = KEEPALIVE_DEFAULT };
	reading->at[index] = json_where_value(reader->where, value.node);
	snprintf(reader->subject, sizeof(reader->subject), "sas[%zu]", index);
	reader->key = NULL;
	json_read_object(reader, value, keys, &sa);
	if (json_is_object(value.json)) {
		finish_suite(reader, &sa);
		finish_keys(reader, &sa);
	}
	reader->subject[0] = '\0';
}

/* Room for all SAs is made at once: growing would leave copies of keys behind. */
static void read_sas(struct json_reader *reader, struct json_value value, void *target)
{
	static const struct json_list list = { .max = SA_SLOTS_MAX, .read = read_sa };
	struct file_reading *reading = target;
	size_t count = json_array_size(value.json);

	if (count && count <= list.max) {
		reading->file->sas = calloc(count, sizeof(*reading->file->sas));
		reading->at = calloc(count, sizeof(*reading->at));
		if (!reading->file->sas || !reading->at) {
			reader->no_memory = true;
			return;
		}
	}
	json_read_list(reader, value, &list, reading);
}

/* ---- what may not be twice ------------------------------------------------------------------ */

static int by_id(const void *a, const void *b)
{
	const struct sa_config *x = *(const struct sa_config *const *)a;
	const struct sa_config *y = *(const struct sa_config *const *)b;
	int order = memcmp(&x->dst, &y->dst, sizeof(x->dst));

	if (!order)
		order = (x->family > y->family) - (x->family < y->family);
	if (!order)
		order = (x->proto > y->proto) - (x->proto < y->proto);
	if (!order)
		order = (x->spi > y->spi) - (x->spi < y->spi);
	return order;
}

/* By what must not be counted twice: the cipher key, in all ciphers that share its nonces. */
static int by_key(const void *a, const void *b)
{
	const struct sa_config *x = *(const struct sa_config *const *)a;
	const struct sa_config *y = *(const struct sa_config *const *)b;
	const struct esp_suite *xs = suite_at(x->suite), *ys = suite_at(y->suite);
	int order = strcmp(suite_key_group(xs), suite_key_group(ys));

	if (!order)
		order = (xs->key_len > ys->key_len) - (xs->key_len < ys->key_len);
	return order ? order : memcmp(x->key, y->key, xs->key_len);
}

static void report_pair(struct json_reader *reader, const struct file_reading *reading,
			const struct sa_config *a, const struct sa_config *b, const char *what)
{
	size_t first = (size_t)(a - reading->file->sas), second = (size_t)(b - reading->file->sas);

	if (first > second) {
		size_t swap = first;

		first = second;
		second = swap;
	}
	json_error_at(reader, reading->at[second], NULL, "sas[%zu]: %s as sas[%zu] (line %u)", second,
		      what, first, reading->at[first].line);
}

/*
 * Two hosts that send under one counter-mode key count from the same numbers: they would repeat
 * each other's nonces at once (RFC 4106 section 2). Several SAs of one sender are kept apart by
 * their shared reservation.
 */
static bool nonces_collide(const struct sa_config *a, const struct sa_config *b)
{
	return suite_at(a->suite)->counter_mode && memcmp(&a->src, &b->src, sizeof(a->src));
}

/* Only for files without other errors: addresses and keys are then all there. */
static int check_pairs(struct json_reader *reader, const struct file_reading *reading)
{
	size_t count = reading->file->count;
	const struct sa_config **sorted = calloc(count ? count : 1, sizeof(*sorted));

	if (!sorted)
		return -ENOMEM;
	for (size_t i = 0; i < count; i++)
		sorted[i] = &reading->file->sas[i];
	qsort(sorted, count, sizeof(*sorted), by_id);
	for (size_t i = 1; i < count; i++)
		if (!by_id(&sorted[i - 1], &sorted[i]))
			report_pair(reader, reading, sorted[i - 1], sorted[i],
				    "the same dst, proto and spi");
	qsort(sorted, count, sizeof(*sorted), by_key);
	for (size_t i = 1; i < count; i++)
		if (!by_key(&sorted[i - 1], &sorted[i]) && nonces_collide(sorted[i - 1], sorted[i]))
			report_pair(reader, reading, sorted[i - 1], sorted[i],
				    "another sender with the same key (nonces would repeat)");
	free(sorted);
	return 0;
}

/* ---- the parser's memory -------------------------------------------------------------------- */

static void wiping_free(void *memory)
{
	if (memory)
		explicit_bzero(memory, malloc_usable_size(memory));
	free(memory);
}

/*
 * The parser's own syntax messages end in "near '...'", which may be the beginning of a key. So
 * syntax is checked here first, and the message is cut.
 */
static int check_syntax(struct json_reader *reader, const char *text, size_t len)
{
	json_error_t error;
	json_t *root = json_loadb(text, len, JSON_REJECT_DUPLICATES, &error);
	struct position at = { 0 };
	bool duplicate;
	char *near;

	json_decref(root);
	if (root)
		return 0;
	if (json_error_code(&error) == json_error_out_of_memory)
		return -ENOMEM;
	duplicate = json_error_code(&error) == json_error_duplicate_key;
	near = strstr(error.text, " near ");
	if (near && !duplicate)	/* with a duplicate it is the member's name */
		*near = '\0';
	at.line = error.line > 0 ? (uint32_t)error.line : 0;
	at.column = error.column > 0 ? (uint32_t)error.column : 0;
	json_error_at(reader, at, duplicate ? "keep one of them" : NULL, "not valid JSON: %s",
		      error.text);
	explicit_bzero(&error, sizeof(error));
	return -EINVAL;
}

static int read_file(struct json_reader *reader, const char *text, size_t len,
		     struct file_reading *reading)
{
	static const struct json_key keys[] = {
		{ "version", true, read_version }, { "sas", true, read_sas }, { 0 }
	};
	int err = check_syntax(reader, text, len);

	if (!err)
		err = json_reader_open(reader, text, len);
	if (err)
		return err;
	json_read_object(reader, (struct json_value){ reader->root, JSON_WHERE_ROOT }, keys, reading);
	if (!reader->errors && !reader->no_memory)
		err = check_pairs(reader, reading);
	if (reader->no_memory)
		err = -ENOMEM;
	else if (reader->errors)
		err = -EINVAL;
	return err;
}

/* jansson's allocator is the process's: it is put back, and must not be changed meanwhile. */
struct sa_file *sa_file_parse(char *text, size_t len, const char *name,
			      struct ipsecbpf_report *report)
{
	struct json_reader reader = { .name = name, .report = report };
	struct file_reading reading = { .file = calloc(1, sizeof(*reading.file)) };
	json_malloc_t old_malloc;
	json_free_t old_free;
	int err = -ENOMEM;

	if (reading.file) {
		json_get_alloc_funcs(&old_malloc, &old_free);
		json_set_alloc_funcs(malloc, wiping_free);
		err = read_file(&reader, text, len, &reading);
		json_reader_close(&reader);
		json_set_alloc_funcs(old_malloc, old_free);
	}
	explicit_bzero(text, len);
	free(reading.at);
	if (!err)
		return reading.file;
	if (err == -ENOMEM)
		report_error(report, name, NULL, "out of memory");
	sa_file_free(reading.file);
	errno = -err;
	return NULL;
}

void sa_file_free(struct sa_file *file)
{
	if (!file)
		return;
	for (size_t i = 0; i < file->count; i++)
		sa_config_wipe(&file->sas[i]);
	free(file->sas);
	free(file);
}
