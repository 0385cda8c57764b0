// SPDX-License-Identifier: BSD-2-Clause
/* `app watch`: host names of the policy in force, in the foreground. */
#include <errno.h>
#include <inttypes.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <syslog.h>
#include <time.h>

#include "lib/names_watch.h"
#include "output.h"
#include "verbs.h"

/* Waits for a signal or the time. False: it is to end. */
static bool wait_for(const sigset_t *signals, struct names_watch *watch)
{
	const struct timespec timeout = { .tv_sec = watch->wait_s };
	int signal_number = sigtimedwait(signals, NULL, &timeout);

	/* Another policy is in force: it may have been one before, with what its names were
	 * then. */
	watch->all |= signal_number == SIGHUP;
	return signal_number < 0 || signal_number == SIGHUP;
}

static void ignore_signal(int signal_number)
{
	(void)signal_number;
}

static void block_signals(sigset_t *signals)
{
	struct sigaction action = { .sa_handler = ignore_signal };

	/* Ignored, as the supervisor leaves it, it would never be pending. */
	sigaction(SIGHUP, &action, NULL);
	sigemptyset(signals);
	sigaddset(signals, SIGHUP);
	sigaddset(signals, SIGINT);
	sigaddset(signals, SIGTERM);
	sigprocmask(SIG_BLOCK, signals, NULL);
}

static int log_level(enum report_level level)
{
	return level == REPORT_ERROR ? LOG_ERR : level == REPORT_WARNING ? LOG_WARNING : LOG_NOTICE;
}

/* One line per message; the same warning at each look is one. */
static bool tell(const char *ifname, const struct ipsecbpf_report *report,
		 const struct ipsecbpf_report *last)
{
	bool going = true;

	for (size_t i = 0; i < report->count; i++) {
		const struct report_item *item = &report->items[i];
		bool again = false;

		for (size_t j = 0; j < last->count; j++)
			again |= !strcmp(last->items[j].object, item->object) &&
				 !strcmp(last->items[j].cause, item->cause);
		if (again)
			continue;
		syslog(log_level(item->level), "%s: %s: %s%s%s", ifname, item->object, item->cause,
		       item->next ? "; " : "", item->next ? item->next : "");
		if (!out_is_json())
			continue;
		out_string(OUT_JSON, "ifname", out_plain, ifname);
		out_string(OUT_JSON, "level", out_plain, report_level_name(item->level));
		out_string(OUT_JSON, "object", out_plain, item->object);
		out_string(OUT_JSON, "cause", out_plain, item->cause);
		going = out_record();
	}
	return going;
}

static int run_watch(const void *data, struct ipsecbpf_report *report)
{
	const struct ifname_args *args = data;
	struct names_watch watch = { .ifname = args->ifname };
	struct ipsecbpf_report said = { 0 }, last = { 0 };
	bool going = true;
	sigset_t signals;
	int err;

	/* Woken during the first look, it looks again: another policy may be in force. */
	block_signals(&signals);
	/* What is wrong from the start is an error like any other. */
	err = names_watch_look(&watch, report);
	if (watch.detached || err == -EPROTO || err == -EPERM || err == -EINVAL) {
		names_watch_fini(&watch);
		return exit_code(err, args->ifname, report);
	}
	openlog("ipsecbpf", LOG_PID | (out_is_json() ? 0 : LOG_PERROR), LOG_DAEMON);
	out_stream();
	going = tell(args->ifname, report, &last);
	report_fini(report);
	while (going && !watch.none && wait_for(&signals, &watch)) {
		names_watch_look(&watch, &said);
		if (watch.detached)
			break;		/* there is nothing to watch any more */
		going = tell(args->ifname, &said, &last);
		report_fini(&last);
		last = said;
		said = (struct ipsecbpf_report){ 0 };
	}
	if (watch.none)
		syslog(LOG_INFO, "%s: no host names in its policy", args->ifname);
	report_fini(&said);
	report_fini(&last);
	names_watch_fini(&watch);
	return EXIT_DONE;
}

const struct verb verb_app_watch = {
	.group = "app",
	.name = "watch",
	.summary = "resolve the host names of the policy again and again, apply what changes",
	.details = "The supervisor runs it by itself where the policy in force has host names. Each is "
		   "resolved again when its TTL is over, but not sooner than after 5 s nor later than "
		   "after an hour; after a minute if it is not from DNS. What changes is put in force at "
		   "most every 30 s, and said on standard error and in the system log. An address that "
		   "answers do not have any more stays for three TTLs, at least 5 minutes; a name that "
		   "cannot be resolved keeps its addresses. ipsecbpf app names shows them. During a "
		   "trial nothing is applied. Ends when the policy has no names.",
	.operands = ifname_operand,
	.options = no_options,
	.args_size = sizeof(struct ifname_args),
	.run = run_watch,
};
