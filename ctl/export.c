// SPDX-License-Identifier: BSD-2-Clause
#include <errno.h>

#include "key_output.h"
#include "output.h"
#include "verbs.h"

#define WHO "ipsecbpf sa export"

struct export_args {
	const char *file, *output;
	bool wireshark;
};

static const struct operand_def operands[] = {
	{ "FILE", OPERAND_FILE, offsetof(struct export_args, file) },
	OPERAND_END,
};

static const struct option_def options[] = {
	{ "wireshark", 0, OPT_FLAG, NULL, "as lines of Wireshark's table esp_sa",
	  offsetof(struct export_args, wireshark), .required = true },
	{ "output", 'o', OPT_FILE, "FILE",
	  "create FILE with mode 0600; an existing file is never overwritten "
	  "(default: standard output, unless that is a terminal)",
	  offsetof(struct export_args, output) },
	OPTION_END,
};

static int write_export(const struct export_args *args, const struct sa_file *file,
			struct ipsecbpf_report *report)
{
	struct key_output output;
	int err = key_output_open(&output, WHO, args->output, report);

	if (err)
		return EXIT_REFUSED;
	err = ipsecbpf_sa_export_wireshark(file, output.file, report);
	err = key_output_close(&output, err, report);
	if (err)
		return exit_code(err, WHO, report);
	if (output.path)
		out_string(OUT_ANY, "file", "%s: SAs with their keys, for Wireshark\n",
			   output.path);
	return EXIT_DONE;
}

static int run(const void *data, struct ipsecbpf_report *report)
{
	const struct export_args *args = data;
	struct sa_file *file = sa_file_load(args->file, report);
	int code;

	if (!file)
		return exit_code(-errno, args->file, report);
	code = write_export(args, file, report);
	sa_file_free(file);
	return code;
}

const struct verb verb_sa_export = {
	.group = "sa",
	.name = "export",
	.summary = "write the SAs of a file for Wireshark, which then decrypts captures",
	.details = "The result holds the keys: whoever reads it can read the traffic. As the file "
		   "esp_sa in Wireshark's configuration it is read at the start. AH and AES-GMAC "
		   "are unknown to Wireshark and left out with a warning; ChaCha20-Poly1305 is known "
		   "to newer versions only, and its lines are commented out. FILE has to be as for "
		   "sa apply.",
	.operands = operands,
	.options = options,
	.args_size = sizeof(struct export_args),
	.run = run,
};
