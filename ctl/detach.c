// SPDX-License-Identifier: BSD-2-Clause
#include "output.h"
#include "verbs.h"

struct detach_args {
	const char *ifname;
	bool open;
};

static const struct operand_def operands[] = {
	{ "IFNAME", OPERAND_IFNAME, offsetof(struct detach_args, ifname) },
	OPERAND_END,
};

static const struct option_def options[] = {
	{ "open", 0, OPT_FLAG, NULL, "remove the hooks as well: all traffic flows unprotected",
	  offsetof(struct detach_args, open) },
	OPTION_END,
};

static int run(const void *data, struct ipsecbpf_report *report)
{
	const struct detach_args *args = data;
	int err = ipsecbpf_detach(args->ifname, args->open, report);

	if (err)
		return exit_code(err, args->ifname, report);
	out_string(OUT_ANY, "ifname", "%s: ", args->ifname);
	out_string(OUT_ANY, "state", "%s", args->open ? "detached" : "guard");
	out_text(args->open ? ", traffic flows unprotected\n" :
			      ": what policy protects is dropped until the next attach\n");
	return EXIT_DONE;
}

const struct verb verb_detach = {
	.name = "detach",
	.summary = "stop protecting an interface",
	.details = "Stops the supervisor and the worker and forgets all SAs. Without --open a "
		   "guard stays behind: traffic that the policy bypasses flows, traffic that it "
		   "protects is dropped, so that nothing leaves in the clear by accident.",
	.operands = operands,
	.options = options,
	.args_size = sizeof(struct detach_args),
	.run = run,
};
