// SPDX-License-Identifier: BSD-2-Clause
#include "output.h"
#include "verbs.h"

static int run(const void *data, struct ipsecbpf_report *report)
{
	const struct ifname_args *args = data;
	int err = ipsecbpf_confirm(args->ifname, report);

	if (err)
		return exit_code(err, args->ifname, report);
	out_string(OUT_ANY, "ifname", "%s: ", args->ifname);
	out_bool(OUT_JSON, "confirmed", out_plain, true);
	out_text("confirmed, the attachment stays\n");
	return EXIT_DONE;
}

const struct verb verb_confirm = {
	.name = "confirm",
	.summary = "end a trial period: the attachment stays",
	.details =
		"Run it over the network connection that you want to keep: that it arrives is the "
		"proof that the policy lets you in.",
	.operands = ifname_operand,
	.options = no_options,
	.args_size = sizeof(struct ifname_args),
	.run = run,
};
