// SPDX-License-Identifier: BSD-2-Clause
#include <errno.h>
#include <stdlib.h>

#include "lib/policy_import.h"
#include "output.h"
#include "verbs.h"

struct import_args {
	const char *file;
	struct list_arg peers, programs;
};

static const struct operand_def import_operands[] = {
	{ "FILE", OPERAND_FILE, offsetof(struct import_args, file) },
	OPERAND_END,
};

static const struct option_def import_options[] = {
	{ "peer", 0, OPT_LIST, "NAME=ADDRESS",
	  "a host that SAs are with; again for another address of it, and for other hosts",
	  offsetof(struct import_args, peers) },
	{ "program", 0, OPT_LIST, "NAME=PATH",
	  "where a program is that the file only names; again for others",
	  offsetof(struct import_args, programs) },
	OPTION_END,
};

static int run_import(const void *data, struct ipsecbpf_report *report)
{
	const struct import_args *args = data;
	const struct policy_import_opts opts = {
		.peers = args->peers.items, .peer_count = args->peers.count,
		.programs = args->programs.items, .program_count = args->programs.count,
	};
	char *text = policy_import_file(args->file, &opts, report);

	if (!text)
		return exit_code(-errno, args->file, report);
	out_raw(text);
	free(text);
	return EXIT_DONE;
}

const struct verb verb_policy_import_app = {
	.group = "policy",
	.name = "import-app",
	.summary = "print a policy in the application policy language as JSON",
	.details = "The language is that of Yin and Wang's application-aware IPsec policy system "
		   "(ipsecbpf-policy(5)). Programs without a path are looked for on this host. Who "
		   "the peers are the language leaves to IKE: hosts that are protected networks by "
		   "themselves are peers, others are given by --peer.",
	.operands = import_operands,
	.options = import_options,
	.args_size = sizeof(struct import_args),
	.run = run_import,
};
