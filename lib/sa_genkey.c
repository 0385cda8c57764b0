// SPDX-License-Identifier: BSD-2-Clause
/* Makes an SA file with new keys, and the reservation records that let it be applied here. */
#include <arpa/inet.h>
#include <errno.h>
#include <inttypes.h>
#include <netinet/in.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/random.h>

#include "ipsecbpf.h"
#include "reservation.h"

#define SPI_MIN		      256
#define REPLAY_WINDOW_DEFAULT 1024
#define GENKEY_OBJECT	      "sa genkey"

static int fill_random(void *memory, size_t len, struct ipsecbpf_report *report)
{
	/* Requests of up to 256 octets are never cut short or interrupted (getrandom(2)). */
	if (getrandom(memory, len, 0) == (ssize_t)len)
		return 0;
	report_error(report, GENKEY_OBJECT, NULL, "the kernel gave no random numbers: %s",
		     strerror(errno));
	return -EIO;
}

static const char *host_error(const char *text, struct address_range *range)
{
	union wire_addr addr;
	const char *error;

	if (!text)
		return "an address is required";
	if (strpbrk(text, "/-"))
		return "an SA is between two single addresses";
	if (!address_parse(text, range, &error))
		return error;
	addr = addr128_to_wire(range->family, range->lo);
	return sa_address_usable(range->family, &addr) ? NULL : "not the address of a host";
}

static int parse_host(const char *option, const char *text, struct address_range *range,
		      struct ipsecbpf_report *report)
{
	const char *error = host_error(text, range);

	if (!error)
		return 0;
	report_error(report, option, NULL, "%s%s%s", text ? text : "", text ? ": " : "", error);
	return -EINVAL;
}

static int parse_hosts(const struct ipsecbpf_genkey_opts *opts, struct sa_config *sa,
		       struct ipsecbpf_report *report)
{
	struct address_range src, dst;
	int err = parse_host("--src", opts->src, &src, report);

	if (parse_host("--dst", opts->dst, &dst, report) || err)
		return -EINVAL;
	if (src.family != dst.family) {
		report_error(report, "--dst", NULL, "%s and %s are of different families", opts->src,
			     opts->dst);
		return -EINVAL;
	}
	sa->family = src.family;
	sa->src = addr128_to_wire(src.family, src.lo);
	sa->dst = addr128_to_wire(dst.family, dst.lo);
	if (!memcmp(&sa->src, &sa->dst, sizeof(sa->src))) {
		report_error(report, "--dst", NULL, "%s is --src as well", opts->dst);
		return -EINVAL;
	}
	return 0;
}

static int parse_name(const char *name, struct sa_config *sa, struct ipsecbpf_report *report)
{
	static const char allowed[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
				      "0123456789 ._:@/+-";
	size_t len = strlen(name);

	if (!len || len >= NAME_LEN || strspn(name, allowed) != len || name[0] == ' ' ||
	    name[len - 1] == ' ') {
		report_error(report, "--protection", NULL, "not the name of a protection");
		return -EINVAL;
	}
	memcpy(sa->protection, name, len + 1);
	return 0;
}

/* The suite asked for; NULL if the protocol has none of that name. */
static const struct esp_suite *find_suite(const struct ipsecbpf_genkey_opts *opts)
{
	if (opts->ah)
		return suite_find_ah(opts->suite ? opts->suite : "sha256");
	return suite_find(opts->suite ? opts->suite : "aes128gcm16");
}

static void unknown_suite(const struct ipsecbpf_genkey_opts *opts, struct ipsecbpf_report *report)
{
	if (opts->ah)
		report_error(report, "--suite", "AH takes sha256, for example",
			     "\"%s\" is no suite of AH", opts->suite);
	else if (suite_find_ah(opts->suite))
		report_error(report, "--suite", "add --proto ah", "\"%s\" is a suite of AH",
			     opts->suite);
	else
		report_error(report, "--suite", NULL, "suite \"%s\" is not known", opts->suite);
}

static bool suite_allowed(const struct esp_suite *suite, const struct ipsecbpf_genkey_opts *opts,
			  struct ipsecbpf_report *report)
{
	if (!suite) {
		unknown_suite(opts, report);
		return false;
	}
	if (suite->legacy && !opts->allow_legacy) {
		report_error(report, "--suite",
			     "add --allow-legacy if the peer knows nothing better",
			     "%s is weak and not used unless allowed", opts->suite);
		return false;
	}
	if (suite->legacy)
		report_warning(report, "--suite",
			       opts->ah ? "sha256 is secure" : "aes128gcm16 is secure and fast",
			       "%s is weak (RFC 8221)", opts->suite);
	return true;
}

/* Ports as on the wire from src to dst. */
static int parse_encap(const struct ipsecbpf_genkey_opts *opts, struct sa_config *sa,
		       struct ipsecbpf_report *report)
{
	if (!opts->encap_sport && !opts->encap_dport)
		return 0;
	if (opts->ah) {
		report_error(report, "--encap", "leave it out, or use ESP with a null suite",
			     "only with ESP (RFC 3948): AH protects the addresses that a NAT would "
			     "change");
		return -EINVAL;
	}
	if (!opts->encap_sport || !opts->encap_dport) {
		report_error(report, "--encap", "give ports from 1 to 65535", "port 0 is none");
		return -EINVAL;
	}
	sa->encap_sport = htons(opts->encap_sport);
	sa->encap_dport = htons(opts->encap_dport);
	return 0;
}

/* What both SAs share. */
static int parse_opts(const struct ipsecbpf_genkey_opts *opts, struct sa_config *sa,
		      struct ipsecbpf_report *report)
{
	const struct esp_suite *suite = find_suite(opts);
	int err = parse_hosts(opts, sa, report);

	if (parse_name(opts->protection ? opts->protection : "default", sa, report))
		err = -EINVAL;
	if (!suite_allowed(suite, opts, report) || parse_encap(opts, sa, report))
		err = -EINVAL;
	if (opts->replay_window > REPLAY_WINDOW_MAX) {
		report_error(report, "--replay-window", NULL, "%u is more than %d packets",
			     opts->replay_window, REPLAY_WINDOW_MAX);
		err = -EINVAL;
	}
	if (opts->spi && opts->spi < SPI_MIN) {
		report_error(report, "--spi", "take one from 256 to 4294967295",
			     "SPIs 0 to 255 are reserved (RFC 4303 2.1)");
		err = -EINVAL;
	}
	if (err)
		return err;
	sa->suite = (uint16_t)suite_index(suite);
	sa->proto = opts->ah ? IPPROTO_AH : IPPROTO_ESP;
	sa->tunnel = opts->tunnel;
	sa->esn = !opts->no_esn;
	sa->replay_window = opts->replay_window ? opts->replay_window : REPLAY_WINDOW_DEFAULT;
	return 0;
}

/* Keys for one SA, and an SPI unless it has one. */
static int make_secrets(struct sa_config *sa, struct ipsecbpf_report *report)
{
	const struct esp_suite *suite = suite_at(sa->suite);
	uint32_t spi = 0;
	int err;

	do
		err = fill_random(sa->key, (size_t)suite->key_len + suite->salt_len, report);
	while (!err && sa_key_is_weak(sa));
	if (!err)
		err = fill_random(sa->mac_key, suite->mac_key_len, report);
	while (!err && !sa->spi) {
		err = fill_random(&spi, sizeof(spi), report);
		if (spi >= SPI_MIN)
			sa->spi = htonl(spi);
	}
	return err;
}

/* The file is made here and wiped afterwards; two SAs take less than 2 KiB. */
struct text {
	char at[4096];
	size_t len;
};

static void __attribute__((format(printf, 2, 3))) add(struct text *text, const char *format, ...)
{
	size_t room = sizeof(text->at) - text->len;
	va_list args;
	int len;

	va_start(args, format);
	len = vsnprintf(text->at + text->len, room, format, args);
	va_end(args);
	if (len > 0)
		text->len += (size_t)len < room ? (size_t)len : room - 1;
}

static void add_hex(struct text *text, const char *name, const uint8_t *bytes, size_t len)
{
	add(text, "      \"%s\": \"", name);
	for (size_t i = 0; i < len; i++)
		add(text, "%02x", bytes[i]);
	add(text, "\",\n");
}

static void add_sa(struct text *text, const struct sa_config *sa, bool last)
{
	const struct esp_suite *suite = suite_at(sa->suite);
	int af = sa->family == FAMILY_V4 ? AF_INET : AF_INET6;
	char src[INET6_ADDRSTRLEN], dst[INET6_ADDRSTRLEN];
	bool ah = sa->proto == IPPROTO_AH;

	inet_ntop(af, sa->src.b, src, sizeof(src));
	inet_ntop(af, sa->dst.b, dst, sizeof(dst));
	add(text, "    {\n      \"src\": \"%s\",\n      \"dst\": \"%s\",\n", src, dst);
	add(text, "      \"spi\": \"0x%08" PRIx32 "\",\n      \"proto\": \"%s\",\n",
	    ntohl(sa->spi), ah ? "ah" : "esp");
	add(text, "      \"mode\": \"%s\",\n      \"suite\": \"%s\",\n",
	    sa->tunnel ? "tunnel" : "transport", ah ? suite->ah_name : suite->name);
	if (suite->legacy)
		add(text, "      \"allow_legacy\": true,\n");
	if (suite->key_len)
		add_hex(text, "key", sa->key, (size_t)suite->key_len + suite->salt_len);
	if (suite->mac_key_len)
		add_hex(text, "auth_key", sa->mac_key, suite->mac_key_len);
	if (sa->encap_dport)
		add(text, "      \"encap\": { \"sport\": %u, \"dport\": %u },\n",
		    ntohs(sa->encap_sport), ntohs(sa->encap_dport));
	add(text, "      \"protection\": \"%s\",\n      \"esn\": %s,\n", sa->protection,
	    sa->esn ? "true" : "false");
	add(text, "      \"replay_window\": %" PRIu32 "\n    }%s\n", sa->replay_window,
	    last ? "" : ",");
}

static int write_file(FILE *out, const struct sa_config *sas, unsigned int count,
		      struct ipsecbpf_report *report)
{
	struct text text = { .len = 0 };
	bool written;

	add(&text, "{\n  \"version\": 1,\n  \"sas\": [\n");
	for (unsigned int i = 0; i < count; i++)
		add_sa(&text, &sas[i], i + 1 == count);
	add(&text, "  ]\n}\n");
	written = fwrite(text.at, 1, text.len, out) == text.len && !fflush(out);
	explicit_bzero(&text, sizeof(text));
	if (written)
		return 0;
	report_error(report, GENKEY_OBJECT, NULL, "the SA file could not be written: %s",
		     strerror(errno));
	return -EIO;
}

static int start_reservations(const struct sa_config *sas, unsigned int count,
			      struct ipsecbpf_report *report)
{
	char key_id[33];
	int err = 0;

	for (unsigned int i = 0; i < count && !err; i++) {
		sa_key_id(&sas[i], key_id);
		err = reservation_start(key_id, report);
	}
	return err;
}

int ipsecbpf_sa_genkey(const struct ipsecbpf_genkey_opts *opts, FILE *out,
		       struct ipsecbpf_report *report)
{
	unsigned int count = opts->one_way ? 1 : 2;
	struct sa_config sas[2] = { 0 };
	int err;

	err = parse_opts(opts, &sas[0], report);
	if (err)
		return err;
	sas[1] = sas[0];
	sas[1].src = sas[0].dst;
	sas[1].dst = sas[0].src;
	sas[1].encap_sport = sas[0].encap_dport;
	sas[1].encap_dport = sas[0].encap_sport;
	sas[0].spi = htonl(opts->spi);
	for (unsigned int i = 0; i < count && !err; i++)
		err = make_secrets(&sas[i], report);
	/* The records come first: a file that was written can be applied. */
	if (!err)
		err = start_reservations(sas, count, report);
	if (!err)
		err = write_file(out, sas, count, report);
	sa_config_wipe(&sas[0]);
	sa_config_wipe(&sas[1]);
	return err;
}
