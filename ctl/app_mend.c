// SPDX-License-Identifier: BSD-2-Clause
/* `app mend`: what the supervisor has done where socket hooks were taken off. */
#include <syslog.h>

#include "lib/app_mend.h"
#include "output.h"
#include "verbs.h"

/* Nobody reads what it says where the supervisor has it run. */
static void log_result(const char *ifname, const struct app_mend_result *result,
		       const struct ipsecbpf_report *report)
{
	openlog("ipsecbpf", LOG_PID, LOG_DAEMON);
	for (size_t i = 0; i < report->count; i++) {
		const struct report_item *item = &report->items[i];

		syslog(item->level == REPORT_ERROR ? LOG_ERR : LOG_WARNING, "%s: %s: %s%s%s",
		       ifname, item->object, item->cause, item->next ? "; " : "",
		       item->next ? item->next : "");
	}
	if (result->attached)
		syslog(LOG_NOTICE, "%s: the socket hooks are attached again, and sockets that were "
		       "made meanwhile are noted", ifname);
	if (result->unblocked)
		syslog(LOG_NOTICE, "%s: not blocked any more", ifname);
	closelog();
}

static void show(const char *ifname, const struct app_mend_result *result)
{
	out_string(OUT_ANY, "ifname", "%s: ", ifname);
	out_bool(OUT_JSON, "attached", out_plain, result->attached);
	out_bool(OUT_JSON, "unblocked", out_plain, result->unblocked);
	out_bool(OUT_JSON, "cgroup_gone", out_plain, result->cgroup_gone);
	if (!result->needed)
		out_text("no applications in its policy");
	else if (result->cgroup_gone)
		out_text("the cgroup of the socket hooks is gone, and nobody in it");
	else
		out_text("the socket hooks %s attached, and every socket is noted",
			 result->attached ? "are again" : "were");
	out_text("%s\n", result->unblocked ? "; not blocked any more" : "");
}

static int run(const void *data, struct ipsecbpf_report *report)
{
	const struct ifname_args *args = data;
	struct app_mend_result result = { 0 };
	int err = app_mend(args->ifname, &result, report);

	log_result(args->ifname, &result, report);
	if (err)
		return exit_code(err, args->ifname, report);
	show(args->ifname, &result);
	return EXIT_DONE;
}

const struct verb verb_app_mend = {
	.group = "app",
	.name = "mend",
	.summary = "attach socket hooks again that were taken off, note the sockets they missed",
	.details = "The supervisor looks each second and runs it by itself, also when a policy's "
		   "trial ends. Where hooks are off that the policy in force needs, all but "
		   "essential traffic is blocked until it succeeds; it is tried again every few "
		   "seconds, and the system log says what stands in the way.",
	.operands = ifname_operand,
	.options = no_options,
	.args_size = sizeof(struct ifname_args),
	.run = run,
};
