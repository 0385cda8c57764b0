// SPDX-License-Identifier: BSD-2-Clause
#include <stdio.h>
#include <string.h>

#include "key_output.h"
#include "output.h"
#include "verbs.h"

#define WHO "ipsecbpf sa genkey"

struct genkey_args {
	const char *src, *dst, *protection, *encap, *output;
	unsigned int proto, suite, mode;
	bool no_esn, one_way, allow_legacy;
	uint32_t replay_window, spi;
};

enum { PROTO_ESP, PROTO_AH };

static const char *proto_word(size_t index)
{
	static const char *const words[] = { [PROTO_ESP] = "esp", [PROTO_AH] = "ah", NULL };

	return words[index];
}

/* The suites of ESP, then those of AH. */
static const char *suite_word(size_t index)
{
	const struct esp_suite *suite;
	size_t esp = 0;

	for (; (suite = suite_at(esp)); esp++)
		if (esp == index)
			return suite->name;
	index -= esp;
	for (size_t i = 0; (suite = suite_at(i)); i++)
		if (suite->ah_name && !index--)
			return suite->ah_name;
	return NULL;
}

static const char *mode_word(size_t index)
{
	static const char *const words[] = {
		[MODE_TRANSPORT] = "transport", [MODE_TUNNEL] = "tunnel", NULL,
	};

	return words[index];
}

#define AT(field) offsetof(struct genkey_args, field)
static const struct option_def options[] = {
	{ "src", 0, OPT_STRING, "ADDRESS", "address of the one host", AT(src), .required = true },
	{ "dst", 0, OPT_STRING, "ADDRESS", "address of the other host", AT(dst),
	  .required = true },
	{ "proto", 0, OPT_WORD, "PROTOCOL", "esp (default) or ah", AT(proto),
	  .word_at = proto_word },
	{ "suite", 0, OPT_WORD, "SUITE",
	  "algorithms (default: aes128gcm16; with --proto ah one of the last, default: sha256)",
	  AT(suite), .word_at = suite_word },
	{ "encap", 0, OPT_STRING, "SPORT:DPORT",
	  "carry ESP in UDP, with these ports from --src to --dst and the reverse back",
	  AT(encap) },
	{ "allow-legacy", 0, OPT_FLAG, NULL,
	  "allow a suite with 3DES or HMAC-MD5, for peers that know nothing better",
	  AT(allow_legacy) },
	{ "protection", 0, OPT_STRING, "NAME",
	  "the protection in the policy that the SAs serve (default: default)", AT(protection) },
	{ "mode", 0, OPT_WORD, "MODE", "transport (default) or tunnel", AT(mode),
	  .word_at = mode_word },
	{ "no-esn", 0, OPT_FLAG, NULL, "32-bit sequence numbers instead of 64-bit ones",
	  AT(no_esn) },
	{ "one-way", 0, OPT_FLAG, NULL, "one SA, from --src to --dst, instead of two",
	  AT(one_way) },
	{ "replay-window", 0, OPT_UINT, "PACKETS", "replay window (default: 1024)",
	  AT(replay_window), 1, REPLAY_WINDOW_MAX },
	{ "spi", 0, OPT_UINT, "SPI", "SPI of the first SA (default: random)", AT(spi), 256,
	  UINT32_MAX },
	{ "output", 'o', OPT_FILE, "FILE",
	  "create FILE with mode 0600; an existing file is never overwritten "
	  "(default: standard output, unless that is a terminal)", AT(output) },
	OPTION_END,
};

/* "SPORT:DPORT", both from 1 to 65535. Nothing was asked for without it. */
static bool parse_ports(const char *text, struct ipsecbpf_genkey_opts *opts)
{
	const char *colon = text ? strchr(text, ':') : NULL;
	uint64_t sport, dport;

	if (!text)
		return true;
	if (!colon || !parse_uint(text, (size_t)(colon - text), UINT16_MAX, &sport) || !sport ||
	    !parse_uint(colon + 1, strlen(colon + 1), UINT16_MAX, &dport) || !dport)
		return false;
	opts->encap_sport = (uint16_t)sport;
	opts->encap_dport = (uint16_t)dport;
	return true;
}

static int make_keys(const struct genkey_args *args, const struct ipsecbpf_genkey_opts *opts,
		     struct ipsecbpf_report *report)
{
	struct key_output output;
	int err = key_output_open(&output, WHO, args->output, report);

	if (err)
		return EXIT_REFUSED;
	err = ipsecbpf_sa_genkey(opts, output.file, report);
	err = key_output_close(&output, err, report);
	if (err)
		return exit_code(err, WHO, report);
	if (output.path) {
		out_string(OUT_ANY, "file", "%s: new keys", output.path);
		out_text(". Copy it to the other host by a safe way, then on both:"
			 " ipsecbpf sa apply IFNAME FILE (there: --fresh)\n");
	}
	return EXIT_DONE;
}

static int run(const void *data, struct ipsecbpf_report *report)
{
	const struct genkey_args *args = data;
	struct ipsecbpf_genkey_opts opts = {
		.sz = sizeof(opts), .src = args->src, .dst = args->dst,
		.suite = args->suite ? suite_word(args->suite - 1) : NULL,
		.protection = args->protection, .ah = args->proto == PROTO_AH + 1,
		.tunnel = args->mode == MODE_TUNNEL + 1,
		.no_esn = args->no_esn, .one_way = args->one_way,
		.allow_legacy = args->allow_legacy,
		.replay_window = args->replay_window, .spi = args->spi,
	};

	if (parse_ports(args->encap, &opts))
		return make_keys(args, &opts, report);
	report_error(report, WHO, "--encap 4500:4500 is usual",
		     "--encap: \"%s\" is not SPORT:DPORT, two numbers from 1 to 65535",
		     args->encap);
	return EXIT_USAGE;
}

const struct verb verb_sa_genkey = {
	.group = "sa",
	.name = "genkey",
	.summary = "make an SA file with new random keys",
	.details = "Both hosts use the same file. This host notes that the keys are new, so "
		   "applying the file here needs no --fresh; the other host needs it the first "
		   "time.",
	.operands = no_operands,
	.options = options,
	.args_size = sizeof(struct genkey_args),
	.run = run,
};
