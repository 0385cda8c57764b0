// SPDX-License-Identifier: BSD-2-Clause
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "advice.h"
#include "output.h"
#include "verbs.h"

static const struct operand_def operands[] = {
	{ "IFNAME", OPERAND_IFNAME, offsetof(struct ifname_args, ifname), .optional = true },
	OPERAND_END,
};

static void problem(const char *cause, const char *next)
{
	out_object(NULL);
	out_text("  ");
	out_colour(COLOUR_BAD);
	out_text("problem");
	out_string(OUT_ANY, "cause", ": %s\n", cause);
	out_string(OUT_ANY, "next", "    next: %s\n", next);
	out_object_end();
}

static void state_problems(const struct ipsecbpf_status *status)
{
	char next[128], cause[128];

	if (!strcmp(status->state, "blocked") && status->policy_serial) {
		snprintf(next, sizeof(next), "it is tried again by itself; ipsecbpf app mend %s says "
			 "what stands in the way", status->ifname);
		problem("socket hooks that policy needs are off: only essential traffic passes",
			next);
	} else if (!strcmp(status->state, "blocked")) {
		snprintf(next, sizeof(next), "ipsecbpf policy apply %s FILE", status->ifname);
		problem("no policy is loaded: only essential traffic passes", next);
	} else if (!strcmp(status->state, "guard")) {
		snprintf(next, sizeof(next), "ipsecbpf attach %s, or ipsecbpf detach %s --open",
			 status->ifname, status->ifname);
		problem("detached with the guard left: what policy protects is dropped", next);
	} else if (!strcmp(status->state, "supervisor-dead")) {
		snprintf(next, sizeof(next), "ipsecbpf attach %s --policy FILE --sa FILE",
			 status->ifname);
		problem("the supervisor has died: what policy protects is dropped", next);
	} else if (!strcmp(status->state, "gone")) {
		snprintf(next, sizeof(next), "ipsecbpf detach %s --open, then ipsecbpf attach %s",
			 status->ifname, status->ifname);
		problem("the interface was removed, or a hook taken off it: it is not protected", next);
	} else if (!status->worker_pid) {
		problem("no worker is running; the supervisor starts one by itself",
			"look again in a second, then into the system log");
	}
	if (status->confirm_left >= 0) {
		snprintf(cause, sizeof(cause), "the policy is on trial: confirm in %" PRId64
			 " s, or the one before comes back", status->confirm_left);
		snprintf(next, sizeof(next), "ipsecbpf policy confirm %s", status->ifname);
		problem(cause, next);
	}
	if (status->trial_left >= 0) {
		snprintf(cause, sizeof(cause), "on trial: detaches by itself in %" PRId64 " s",
			 status->trial_left);
		snprintf(next, sizeof(next), "ipsecbpf confirm %s", status->ifname);
		problem(cause, next);
	}
}

/* Known sockets stay known; what is lost is who makes new ones. */
static void socket_hook_problems(const struct ipsecbpf_status *status)
{
	char next[ATTACH_CGROUP_LEN + 64], cause[160];

	if (status->hooks_unwatched) {
		snprintf(next, sizeof(next), "ipsecbpf app mend %s does so once; ipsecbpf detach %s and "
			 "attach for good", status->ifname, status->ifname);
		problem("nobody puts socket hooks back that are taken off: all is blocked then",
			next);
	}
	if (!status->applications || status->socket_hooks_attached == status->socket_hooks)
		return;
	snprintf(cause, sizeof(cause), "%d of %d socket hooks are attached: %s",
		 status->socket_hooks_attached, status->socket_hooks,
		 status->cgroup_gone ?
			 "their cgroup is gone, and nobody in it; they come back with it" :
			 "new sockets are nobody's, the host's rules apply to them");
	if (status->cgroup_gone)
		snprintf(next, sizeof(next), "mkdir %s; or detach, then attach with --cgroup DIR",
			 status->cgroup);
	else
		snprintf(next, sizeof(next), "ipsecbpf app mend %s", status->ifname);
	problem(cause, next);
}

static void name_problems(const struct ipsecbpf_status *status)
{
	char next[192];

	if (!status->names_unwatched)
		return;
	snprintf(next, sizeof(next),
		 "ipsecbpf app watch %s follows them as long as it runs; ipsecbpf detach %s and "
		 "attach for good", status->ifname, status->ifname);
	problem("nobody follows host names: their addresses stay as they are", next);
}

static void drop_problems(const struct ipsecbpf_stats *stats)
{
	for (unsigned int reason = DROP_NONE + 1; reason < DROP_REASON_COUNT; reason++) {
		struct advice advice = drop_advice(reason);
		char cause[256];

		if (!stats->drops[reason] || !advice.problem)
			continue;
		snprintf(cause, sizeof(cause), "%" PRIu64 " packets dropped as %s: %s",
			 stats->drops[reason], drop_reason_name(reason), drop_reason_text(reason));
		problem(cause, advice.next);
	}
}

static void show_hooks(const struct ipsecbpf_status *status)
{
	out_label("hooks");
	out_string(OUT_ANY, "xdp_mode", "XDP %s", status->xdp_mode);
	out_string(OUT_ANY, "tc_mode", ", tc %s\n", status->tc_mode);
	out_label("ports");
	if (status->wire_mode)
		out_string(OUT_ANY, "wire_mode", "wire %s", status->wire_mode);
	else
		out_null(OUT_ANY, "wire_mode", "wire none");
	out_uint(OUT_ANY, "queues", ", %" PRIu64 " queues", status->queues);
	out_string(OUT_ANY, "host_port", ", host %s\n", status->host_port);
	out_label("mtu");
	out_uint(OUT_ANY, "mtu", "%" PRIu64, status->mtu);
	if (status->inner_mtu)
		out_uint(OUT_ANY, "inner_mtu", ", %" PRIu64 " inside ESP", status->inner_mtu);
	else
		out_null(OUT_JSON, "inner_mtu", NULL);
	out_text("\n");
	out_label("mark");
	out_uint(OUT_JSON, "mark_value", out_plain, status->mark_value);
	out_uint(OUT_JSON, "mark_mask", out_plain, status->mark_mask);
	out_text("0x%08x/0x%08x\n", status->mark_value, status->mark_mask);
}

static void show_socket_hooks(const struct ipsecbpf_status *status)
{
	if (!status->socket_hooks) {
		out_null(OUT_JSON, "socket_hooks", NULL);
		return;
	}
	out_label("socket hooks");
	out_object("socket_hooks");
	out_uint(OUT_ANY, "attached", "%" PRIu64, (uint64_t)status->socket_hooks_attached);
	out_uint(OUT_ANY, "of", " of %" PRIu64, (uint64_t)status->socket_hooks);
	out_string(OUT_ANY, "cgroup", " at %s\n", status->cgroup);
	out_object_end();
}

static void show_pid(const char *key, const char *what, int32_t pid)
{
	if (pid)
		out_int(OUT_JSON, key, out_plain, pid);
	else
		out_null(OUT_JSON, key, NULL);
	if (pid)
		out_text("%s %d", what, pid);
	else
		out_text("no %s", what);
}

static void show_processes(const struct ipsecbpf_status *status)
{
	out_label("processes");
	show_pid("supervisor_pid", "supervisor", status->supervisor_pid);
	out_text(", ");
	show_pid("worker_pid", "worker", status->worker_pid);
	out_uint(OUT_ANY, "worker_restarts", ", %" PRIu64 " restarts\n", status->worker_restarts);
	out_label("engines");
	out_string(OUT_ANY, "engine", "%s\n", status->engine);
	out_label("busy poll");
	if (status->busy_poll_us)
		out_uint(OUT_ANY, "busy_poll_us", "up to %" PRIu64 " us\n", status->busy_poll_us);
	else
		out_uint(OUT_ANY, "busy_poll_us", "off\n", 0);
}

static void show_policy(const struct ipsecbpf_status *status)
{
	out_label("policy");
	if (status->policy_serial)
		out_uint(OUT_ANY, "policy_serial", "serial %" PRIu64 ", ", status->policy_serial);
	else
		out_null(OUT_ANY, "policy_serial", "none, ");
	out_uint(OUT_ANY, "rules", "%" PRIu64 " rules", status->rules);
	if (status->confirm_left >= 0)
		out_int(OUT_ANY, "confirm_left", ", confirm in %" PRId64 " s", status->confirm_left);
	else
		out_null(OUT_JSON, "confirm_left", NULL);
	out_text("\n");
	out_label("SAs");
	out_uint(OUT_ANY, "sas_in", "%" PRIu64 " in, ", status->sas_in);
	out_uint(OUT_ANY, "sas_out", "%" PRIu64 " out\n", status->sas_out);
	out_label("dropped");
	out_uint(OUT_ANY, "dropped", "%" PRIu64 " packets\n", status->dropped);
}

static int show_one(const char *ifname, struct ipsecbpf_report *report)
{
	struct ipsecbpf_status status;
	struct ipsecbpf_stats stats;
	int err = ipsecbpf_status(ifname, &status, report);

	if (!err)
		err = ipsecbpf_stats(ifname, &stats, report);
	if (err)
		return exit_code(err, ifname, report);
	out_object(NULL);
	out_string(OUT_ANY, "ifname", "%s: ", status.ifname);
	out_uint(OUT_JSON, "ifindex", out_plain, status.ifindex);
	out_colour(strcmp(status.state, "running") ? COLOUR_BAD : COLOUR_GOOD);
	out_string(OUT_ANY, "state", "%s", status.state);
	out_text("\n");
	show_hooks(&status);
	show_socket_hooks(&status);
	show_processes(&status);
	show_policy(&status);
	if (status.trial_left < 0)
		out_null(OUT_JSON, "trial_left", NULL);
	else
		out_int(OUT_JSON, "trial_left", out_plain, status.trial_left);
	out_array("problems");
	state_problems(&status);
	socket_hook_problems(&status);
	name_problems(&status);
	drop_problems(&stats);
	out_array_end();
	out_object_end();
	return EXIT_DONE;
}

static int show_all(struct ipsecbpf_report *report)
{
	int code = EXIT_DONE;
	size_t count;
	char **names;
	int err = ipsecbpf_list(&names, &count);

	if (err)
		return exit_code(err, "ipsecbpf status", report);
	if (!count)
		out_text("not attached to any interface\n  next: ipsecbpf attach IFNAME\n");
	for (size_t i = 0; i < count; i++) {
		int result = show_one(names[i], report);

		code = result ? result : code;
		free(names[i]);
	}
	free(names);
	return code;
}

static int run(const void *data, struct ipsecbpf_report *report)
{
	const struct ifname_args *args = data;
	int code;

	out_array("attachments");
	code = args->ifname ? show_one(args->ifname, report) : show_all(report);
	out_array_end();
	return code;
}

const struct verb verb_status = {
	.name = "status",
	.summary = "what is attached, and what is wrong with it",
	.details = "Without IFNAME, all attachments of this network namespace. Each problem "
		   "comes with the next step. That there are problems does not change the exit "
		   "code.",
	.operands = operands,
	.options = no_options,
	.args_size = sizeof(struct ifname_args),
	.run = run,
};
