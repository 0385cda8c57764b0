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

#include "policy_json.h"
#include "sa_json.h"

#define SPI_MIN		      256	/* RFC 4303 2.1: below are reserved */
#define REPLAY_WINDOW_DEFAULT 1024

static void read_version(struct json_reader *reader, struct json_value value, void *target)
{
	json_int_t version;

	(void)target;
	if (json_read_integer(reader, value, 0, INT32_MAX, &version) && version != 1)
		json_error(reader, value, "write \"version\": 1",
			   "version %d of the format is not known", (int)version);
}

bool sa_json_address(struct json_reader *reader, struct json_value value, uint8_t *ret_family,
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
		json_error(reader, value, NULL, "must be a single address, not a prefix or a range");
		return false;
	}
	wire = addr128_to_wire(range.family, range.lo);
	if (!sa_address_usable(range.family, &wire)) {
		json_error(reader, value, NULL, "not the address of a host");
		return false;
	}
	*ret_family = range.family;
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

	if (!sa_json_address(reader, value, &family, is_src ? &sa->src : &sa->dst))
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
	static const char *const words[] = { "esp", "ah", NULL };
	struct sa_reading *reading = target;
	size_t index;

	if (json_read_word(reader, value, words, &index))
		reading->sa->proto = index == 1 ? IPPROTO_AH : IPPROTO_ESP;
}

static void read_mode(struct json_reader *reader, struct json_value value, void *target)
{
	static const char *const words[] = { "transport", "tunnel", NULL };
	struct sa_reading *reading = target;
	size_t index;

	if (json_read_word(reader, value, words, &index))
		reading->sa->tunnel = index == 1;
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

static void read_sa(struct json_reader *reader, struct json_value value, void *target)
{
	static const struct json_key keys[] = {
		{ "src", true, read_src },
		{ "dst", true, read_dst },
		{ "spi", true, read_spi },
		{ "proto", false, read_proto },
		{ "mode", false, read_mode },
		{ "suite", true, sa_json_suite },
		{ "key", false, sa_json_key },
		{ "auth_key", false, sa_json_auth_key },
		{ "protection", true, read_protection },
		{ "esn", false, read_esn },
		{ "allow_legacy", false, read_allow_legacy },
		{ "replay_window", false, read_replay_window },
		{ "direction", false, read_direction },
		{ "encap", false, sa_json_encap },
		{ "dscp", false, sa_json_dscp },
		{ "df", false, sa_json_df },
		{ "next_hop", false, sa_json_next_hop },
		{ "limits", false, sa_json_limits },
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
		sa_json_finish_keys(reader, &sa);
		sa_json_finish_outer(reader, &sa);
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
		err = sa_json_check_pairs(reader, reading);
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
