// SPDX-License-Identifier: BSD-2-Clause
#include <errno.h>
#include <inttypes.h>
#include <string.h>

#include "output.h"
#include "verbs.h"

struct attach_args {
	const char *ifname, *policy, *sa, *engine, *cgroup;
	bool fresh, force;
	unsigned int xdp;
	struct mark_arg mark;
	bool no_busy_poll;
	uint32_t sa_slots, trial, busy_poll;
};

const char *xdp_mode_word(size_t index)
{
	static const char *const words[] = {
		[XDP_MODE_NATIVE] = "native", [XDP_MODE_GENERIC] = "generic", NULL,
	};

	return words[index];
}

static const struct operand_def operands[] = {
	{ "IFNAME", OPERAND_IFNAME, offsetof(struct attach_args, ifname) },
	OPERAND_END,
};

#define AT(field) offsetof(struct attach_args, field)
static const struct option_def options[] = {
	{ "policy", 'p', OPT_FILE, "FILE",
	  "the policy; \"-\": standard input (default: the last good one of this interface, else "
	  IPSECBPF_DEFAULT_POLICY ", else nothing but essential traffic passes)", AT(policy) },
	{ "sa", 's', OPT_FILE, "FILE", "SAs to install; \"-\": standard input", AT(sa) },
	{ "fresh", 0, OPT_FLAG, NULL,
	  "declare the outbound keys in --sa FILE never used before, on any host", AT(fresh) },
	{ "xdp", 0, OPT_WORD, "MODE", "how the XDP program runs: native (default) or generic",
	  AT(xdp), .word_at = xdp_mode_word },
	{ "mark", 0, OPT_MARK, "VALUE/MASK",
	  "bits of the packet mark that say \"verified\" (default: 0xe5000000/0xff000000)",
	  AT(mark) },
	{ "sa-slots", 0, OPT_UINT, "N", "how many SAs fit (default: 1024)", AT(sa_slots), 1,
	  SA_SLOTS_MAX },
	{ "cgroup", 0, OPT_FILE, "DIR",
	  "where the socket hooks go once a policy names applications: programs outside of this "
	  "directory of cgroup2 are never an application (default: its root)", AT(cgroup) },
	{ "engine", 0, OPT_STRING, "NAME", "crypto engine (default: the fastest on this CPU)",
	  AT(engine) },
	{ "busy-poll", 0, OPT_UINT, "USEC",
	  "how long the worker goes on looking for packets, at most, before it sleeps (default: 200)",
	  AT(busy_poll), 1, BUSY_POLL_US_MAX },
	{ "no-busy-poll", 0, OPT_FLAG, NULL, "sleep as soon as there is nothing to do",
	  AT(no_busy_poll) },
	{ "trial", 0, OPT_UINT, "SECONDS",
	  "detach with --open after this time unless \"ipsecbpf confirm\" comes first", AT(trial),
	  1, 86400 },
	{ "force", 0, OPT_FLAG, NULL, "attach although this login session would be cut off",
	  AT(force) },
	OPTION_END,
};

static int run(const void *data, struct ipsecbpf_report *report)
{
	const struct attach_args *args = data;
	struct ipsecbpf_attach_opts opts = {
		.sz = sizeof(opts), .policy_path = args->policy, .sa_path = args->sa,
		.fresh = args->fresh, .xdp_mode = args->xdp ? args->xdp - 1 : XDP_MODE_NATIVE,
		.mark_value = args->mark.value, .mark_mask = args->mark.mask,
		.sa_slots = args->sa_slots, .trial_seconds = args->trial, .engine = args->engine,
		.force = args->force, .cgroup = args->cgroup,
		.busy_poll_us = args->no_busy_poll ? -1 : (int32_t)args->busy_poll,
	};
	int err;

	if (args->policy && args->sa && !strcmp(args->policy, "-") && !strcmp(args->sa, "-")) {
		report_error(report, "ipsecbpf attach", "put one of them into a file",
			     "--policy and --sa cannot both be standard input");
		return EXIT_USAGE;
	}
	if (args->fresh && !args->sa) {
		report_error(report, "ipsecbpf attach", "add --sa FILE",
			     "--fresh says something about the SAs of --sa");
		return EXIT_USAGE;
	}
	if (args->busy_poll && args->no_busy_poll) {
		report_error(report, "ipsecbpf attach", "leave one of them out",
			     "--busy-poll and --no-busy-poll exclude each other");
		return EXIT_USAGE;
	}
	err = ipsecbpf_attach(args->ifname, &opts, report);
	if (err)
		return exit_code(err, args->ifname, report);
	out_string(OUT_ANY, "ifname", "%s: ", args->ifname);
	out_string(OUT_ANY, "state", "%s", "attached");
	if (args->trial)
		out_uint(OUT_ANY, "trial_seconds", ", on trial for %" PRIu64 " s", args->trial);
	out_text("\n");
	if (args->trial)
		out_text("  to keep it: ipsecbpf confirm %s\n", args->ifname);
	return EXIT_DONE;
}

const struct verb verb_attach = {
	.name = "attach",
	.summary = "put policy in force on an interface",
	.details = "Loads the BPF programs, the policy and the SAs, starts the supervisor and "
		   "its worker in the background, and returns when packets flow under the "
		   "policy. All or nothing: if anything is refused, the interface is as it was "
		   "before. What preflight calls a failure is refused, in the same words.",
	.operands = operands,
	.options = options,
	.args_size = sizeof(struct attach_args),
	.run = run,
};
