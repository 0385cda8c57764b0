// SPDX-License-Identifier: BSD-2-Clause
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "output.h"
#include "verbs.h"

struct genkey_args {
	const char *src, *dst, *protection, *output;
	unsigned int suite, mode;
	bool no_esn, one_way, allow_legacy;
	uint32_t replay_window, spi;
};

static const char *suite_word(size_t index)
{
	const struct esp_suite *suite = suite_at(index);

	return suite ? suite->name : NULL;
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
	{ "suite", 0, OPT_WORD, "SUITE", "algorithms (default: aes128gcm16)", AT(suite),
	  .word_at = suite_word },
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

/* Where the keys go. `path` stays NULL for standard output. */
static FILE *open_output(const char *path, struct ipsecbpf_report *report)
{
	FILE *file = NULL;
	int fd;

	if (!path) {
		if (!isatty(STDOUT_FILENO))
			return stdout;
		report_error(report, "ipsecbpf sa genkey", "add -o FILE, or redirect the output",
			     "keys are not shown on a terminal");
		return NULL;
	}
	fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600);
	if (fd >= 0)
		file = fdopen(fd, "w");
	if (file)
		return file;
	report_error(report, path,
		     errno == EEXIST ? "choose another name or remove it first"
				     : "is the directory there, and writable?",
		     "%s",
		     errno == EEXIST ? "exists and is never overwritten" : strerror(errno));
	if (fd >= 0) {
		close(fd);
		unlink(path);
	}
	return NULL;
}

/* Makes sure that the keys are on the disk: a lost key file is two hosts that cannot talk. */
static int finish_output(FILE *file, const char *path, struct ipsecbpf_report *report)
{
	bool failed = fflush(file) || ferror(file);

	if (path) {
		failed = failed || fsync(fileno(file));
		failed = fclose(file) || failed;
	}
	if (!failed)
		return 0;
	report_error(report, path ? path : "standard output", NULL, "%s", strerror(errno));
	return -EIO;
}

static int run(const void *data, struct ipsecbpf_report *report)
{
	const struct genkey_args *args = data;
	const char *path = args->output && strcmp(args->output, "-") ? args->output : NULL;
	struct ipsecbpf_genkey_opts opts = {
		.sz = sizeof(opts), .src = args->src, .dst = args->dst,
		.suite = args->suite ? suite_word(args->suite - 1) : NULL,
		.protection = args->protection, .tunnel = args->mode == MODE_TUNNEL + 1,
		.no_esn = args->no_esn, .one_way = args->one_way,
		.allow_legacy = args->allow_legacy,
		.replay_window = args->replay_window, .spi = args->spi,
	};
	FILE *file = open_output(path, report);
	int err, finished;

	if (!file)
		return EXIT_REFUSED;
	setvbuf(file, NULL, _IONBF, 0);	/* a buffer would keep the keys */
	err = ipsecbpf_sa_genkey(&opts, file, report);
	if (!path && !err)
		out_raw("");	/* the SA file is the output, in both forms */
	finished = finish_output(file, path, report);
	if (err || finished) {
		if (path)
			unlink(path);
		return exit_code(err ? err : finished, "ipsecbpf sa genkey", report);
	}
	if (path) {
		out_string(OUT_ANY, "file", "%s: new keys", path);
		out_text(". Copy it to the other host by a safe way, then on both:"
			 " ipsecbpf sa apply IFNAME FILE (there: --fresh)\n");
	}
	return EXIT_DONE;
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
