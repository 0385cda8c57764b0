// SPDX-License-Identifier: BSD-2-Clause
#include "output.h"
#include "verbs.h"

void version_show(void)
{
	out_string(OUT_ANY, "version", "ipsecbpf %s", IPSECBPF_VERSION);
	out_uint(OUT_ANY, "abi", ", ABI %ju\n", IPSECBPF_ABI_VERSION);
}

static int run(const void *args, struct ipsecbpf_report *report)
{
	(void)args;
	(void)report;
	version_show();
	return EXIT_DONE;
}

const struct verb verb_version = {
	.name = "version", .summary = "print the version",
	.operands = no_operands, .options = no_options, .run = run,
};
