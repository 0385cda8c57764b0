// SPDX-License-Identifier: BSD-2-Clause
#include <arpa/inet.h>
#include <errno.h>
#include <inttypes.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "lib/packet_spec.h"
#include "lib/app_live.h"
#include "output.h"
#include "rule_line.h"
#include "verbs.h"

#define POLL_MS 250	/* how late a signal between two waits, or a closed pipe, is noticed */

static volatile sig_atomic_t stop_requested;

struct monitor_args {
	const char *ifname;
	unsigned int reason, direction;		/* 1 + their number; 0: not given */
	const char *proto, *address, *rule, *app;
	uint32_t port, count;
};

static const char *reason_at(size_t index)
{
	return index + 1 < DROP_REASON_COUNT ? drop_reason_name(index + 1) : NULL;
}

static const char *direction_at(size_t index)
{
	static const char *const words[] = { [SPD_IN] = "in", [SPD_OUT] = "out" };

	return index < SPD_DIRECTION_COUNT ? words[index] : NULL;
}

static const struct operand_def operands[] = {
	{ "IFNAME", OPERAND_IFNAME, offsetof(struct monitor_args, ifname) },
	OPERAND_END,
};

static const struct option_def options[] = {
	{ "reason", 0, OPT_WORD, "REASON", "only drops for this reason",
	  offsetof(struct monitor_args, reason), .word_at = reason_at },
	{ "direction", 0, OPT_WORD, "in|out", "only drops of packets that arrive, or leave",
	  offsetof(struct monitor_args, direction), .word_at = direction_at },
	{ "proto", 0, OPT_STRING, "PROTOCOL", "only drops of this protocol, a name or a number",
	  offsetof(struct monitor_args, proto) },
	{ "address", 0, OPT_STRING, "PREFIX", "only drops of packets from or to it",
	  offsetof(struct monitor_args, address) },
	{ "port", 0, OPT_UINT, "PORT", "only drops of packets from or to it",
	  offsetof(struct monitor_args, port), 1, UINT16_MAX },
	{ "rule", 0, OPT_STRING, "NAME", "only drops that this rule decides",
	  offsetof(struct monitor_args, rule) },
	{ "app", 0, OPT_STRING, "NAME", "only drops that a rule of this application decides",
	  offsetof(struct monitor_args, app) },
	{ "count", 'n', OPT_UINT, "N", "end after so many",
	  offsetof(struct monitor_args, count), 1, UINT32_MAX },
	OPTION_END,
};

struct watcher {
	const struct monitor_args *args;
	struct address_range address;	/* if args->address */
	uint8_t proto;			/* if args->proto */
	int64_t clock_offset_ns;	/* CLOCK_REALTIME minus CLOCK_MONOTONIC */
	uint32_t shown;
	bool output_closed;
};

/* ---- filters ------------------------------------------------------------------------------- */

static bool is_ip(const struct drop_event *event)
{
	uint16_t ethertype = ntohs(event->ethertype);

	return ethertype == 0x0800 || ethertype == 0x86dd;
}

static bool within(const struct address_range *range, uint8_t family, const union wire_addr *wire)
{
	struct addr128 addr = addr128_from_wire((enum ip_family)family, wire);

	return family == range->family &&
	       (addr.hi > range->lo.hi || (addr.hi == range->lo.hi && addr.lo >= range->lo.lo)) &&
	       (addr.hi < range->hi.hi || (addr.hi == range->hi.hi && addr.lo <= range->hi.lo));
}

static bool packet_wanted(const struct watcher *watcher, const struct drop_event *event)
{
	const struct monitor_args *args = watcher->args;
	__be16 port = htons((uint16_t)args->port);

	if (!args->proto && !args->address && !args->port)
		return true;
	return is_ip(event) && (!args->proto || event->proto == watcher->proto) &&
	       (!args->port || event->src_port == port || event->dst_port == port) &&
	       (!args->address || within(&watcher->address, event->family, &event->src) ||
		within(&watcher->address, event->family, &event->dst));
}

static bool is_full(const struct watcher *watcher)
{
	return watcher->args->count && watcher->shown >= watcher->args->count;
}

static bool drop_wanted(const struct watcher *watcher, const struct drop_event *event,
			const struct rule *rule, const char *app)
{
	const struct monitor_args *args = watcher->args;

	return !is_full(watcher) && (!args->reason || event->reason == args->reason) &&
	       (!args->direction || event->direction == args->direction - 1) &&
	       (!args->rule || (rule && !strcmp(rule->name, args->rule))) &&
	       (!args->app || (app && !strcmp(app, args->app))) &&
	       packet_wanted(watcher, event);
}

/* What is no drop of a packet is not meant by those who ask for some packets. */
static bool others_wanted(const struct watcher *watcher)
{
	const struct monitor_args *args = watcher->args;

	return !is_full(watcher) && !args->direction && !args->rule && !args->app &&
	       !args->proto && !args->address && !args->port;
}

/* ---- events -------------------------------------------------------------------------------- */

static void on_signal(int number)
{
	(void)number;
	stop_requested = 1;
}

static int64_t clock_ns(clockid_t clock)
{
	struct timespec now;

	clock_gettime(clock, &now);
	return (int64_t)now.tv_sec * 1000000000 + now.tv_nsec;
}

static void show_time(const struct watcher *watcher, uint64_t monotonic_ns)
{
	int64_t ns = (int64_t)monotonic_ns + watcher->clock_offset_ns;
	time_t seconds = (time_t)(ns / 1000000000);
	char clock[16], stamp[48];
	struct tm tm;

	gmtime_r(&seconds, &tm);
	strftime(stamp, sizeof(stamp), "%Y-%m-%dT%H:%M:%S", &tm);
	snprintf(stamp + strlen(stamp), sizeof(stamp) - strlen(stamp), ".%06dZ",
		 (int)(ns % 1000000000 / 1000));
	out_string(OUT_JSON, "time", out_plain, stamp);
	localtime_r(&seconds, &tm);
	strftime(clock, sizeof(clock), "%H:%M:%S", &tm);
	out_text("%s.%03d ", clock, (int)(ns % 1000000000 / 1000000));
}

static void show_end(const char *key, const char *port_key, const char *fmt,
		     const struct drop_event *event, const union wire_addr *addr, __be16 port)
{
	char text[INET6_ADDRSTRLEN], both[INET6_ADDRSTRLEN + 16];

	inet_ntop(event->family == FAMILY_V6 ? AF_INET6 : AF_INET, addr->b, text, sizeof(text));
	out_string(OUT_JSON, key, out_plain, text);
	if (port) {
		out_uint(OUT_JSON, port_key, out_plain, ntohs(port));
		snprintf(both, sizeof(both), event->family == FAMILY_V6 ? "[%s]:%u" : "%s:%u",
			 text, ntohs(port));
	} else {
		snprintf(both, sizeof(both), "%s", text);
	}
	out_text("%s%s", fmt, both);
}

static void show_packet(const struct drop_event *event)
{
	char number[4];

	out_uint(OUT_JSON, "ethertype", out_plain, ntohs(event->ethertype));
	if (!is_ip(event)) {
		out_text("ethertype 0x%04x", ntohs(event->ethertype));
		return;
	}
	out_string(OUT_ANY, "proto", "%s", packet_protocol_name(event->proto, number));
	show_end("src", "src_port", " ", event, &event->src, event->src_port);
	show_end("dst", "dst_port", " > ", event, &event->dst, event->dst_port);
	if (event->spi) {
		out_uint(OUT_JSON, "spi", out_plain, ntohl(event->spi));
		out_text(" spi 0x%08x", ntohl(event->spi));
	}
}

static void end_record(struct watcher *watcher)
{
	if (!out_record())
		watcher->output_closed = true;
}

static void show_rule(const struct drop_event *event, const struct rule *rule, const char *file)
{
	if (event->rule == SPD_RULE_DEFAULT)
		out_null(OUT_JSON, "rule", NULL);
	else
		out_uint(OUT_ANY, "rule", " by rules[%" PRIu64 "]", event->rule);
	if (!rule) {
		out_null(OUT_JSON, "rule_name", NULL);
		out_null(OUT_JSON, "rule_file", NULL);
		out_null(OUT_JSON, "rule_line", NULL);
		return;
	}
	out_string(OUT_ANY, "rule_name", " \"%s\"", rule->name);
	out_rule_file("rule_file", file);
	out_uint(OUT_JSON, "rule_line", out_plain, rule->at.line);
	out_rule_line(file, rule->at.line);
}

static void show_app(const char *app)
{
	if (app)
		out_string(OUT_ANY, "application", " of application %s", app);
	else
		out_null(OUT_JSON, "application", NULL);
}

static void on_drop(void *context, const struct drop_event *event, const struct rule *rule,
		    const char *file, const char *app)
{
	struct watcher *watcher = context;
	const char *name = event->reason < DROP_REASON_COUNT ? drop_reason_name(event->reason) :
							       "unknown";

	if (!drop_wanted(watcher, event, rule, app))
		return;
	out_string(OUT_JSON, "event", out_plain, "drop");
	show_time(watcher, event->ns);
	out_string(OUT_ANY, "direction", "%-3s ", event->direction == SPD_OUT ? "out" : "in");
	show_packet(event);
	out_uint(OUT_ANY, "len", " len %" PRIu64, event->len);
	out_text(": ");
	out_colour(COLOUR_BAD);
	out_string(OUT_ANY, "reason", "%s", name);
	show_rule(event, rule, file);
	show_app(app);
	watcher->shown++;
	end_record(watcher);
}

/* Told whatever was asked for: some of it may have been among them. */
static void on_lost(void *context, uint64_t count)
{
	if (is_full(context))
		return;
	out_string(OUT_JSON, "event", out_plain, "lost");
	show_time(context, (uint64_t)clock_ns(CLOCK_MONOTONIC));
	out_colour(COLOUR_WARN);
	out_uint(OUT_ANY, "count", "%" PRIu64
		 " more drops, too many at once to be shown", count);
	end_record(context);
}

static void on_worker_drop(void *context, enum drop_reason reason, uint64_t count)
{
	struct watcher *watcher = context;

	if (!others_wanted(watcher) ||
	    (watcher->args->reason && watcher->args->reason != reason))
		return;
	watcher->shown++;
	out_string(OUT_JSON, "event", out_plain, "worker_drop");
	show_time(context, (uint64_t)clock_ns(CLOCK_MONOTONIC));
	out_uint(OUT_ANY, "count", "worker dropped %" PRIu64 ": ", count);
	out_colour(COLOUR_BAD);
	out_string(OUT_ANY, "reason", "%s", drop_reason_name(reason));
	out_text(" (%s)", drop_reason_text(reason));
	end_record(context);
}

static void on_notice(void *context, const char *text)
{
	struct watcher *watcher = context;

	if (!others_wanted(watcher) || watcher->args->reason)
		return;
	watcher->shown++;
	out_string(OUT_JSON, "event", out_plain, "notice");
	show_time(context, (uint64_t)clock_ns(CLOCK_MONOTONIC));
	out_string(OUT_ANY, "text", "%s", text);
	end_record(context);
}

static void show_sa(const struct ipsecbpf_sa_event *event)
{
	const int family = event->family == FAMILY_V6 ? AF_INET6 : AF_INET;
	char src[INET6_ADDRSTRLEN], dst[INET6_ADDRSTRLEN], number[4];

	inet_ntop(family, event->src.b, src, sizeof(src));
	inet_ntop(family, event->dst.b, dst, sizeof(dst));
	out_string(OUT_ANY, "direction", "SA %-3s ", event->direction == SPD_OUT ? "out" : "in");
	out_string(OUT_ANY, "src", "%s", src);
	out_string(OUT_ANY, "dst", " > %s", dst);
	out_string(OUT_ANY, "proto", " %s",
		   packet_protocol_name(event->proto, number));
	out_uint(OUT_JSON, "spi", out_plain, ntohl(event->spi));
	out_text(" spi 0x%08x: ", ntohl(event->spi));
	out_string(OUT_JSON, "peer", out_plain, event->peer);
	out_string(OUT_JSON, "protection", out_plain, event->protection);
}

static void on_sa(void *context, const struct ipsecbpf_sa_event *event)
{
	bool bad = event->change == SA_CHANGE_EXPIRED;
	struct watcher *watcher = context;
	char text[128];

	if (!others_wanted(watcher) || watcher->args->reason)
		return;
	watcher->shown++;
	out_string(OUT_JSON, "event", out_plain, "notice");
	show_time(context, event->ns);
	show_sa(event);
	out_colour(bad ? COLOUR_BAD : event->change == SA_CHANGE_DYING ? COLOUR_WARN : COLOUR_NONE);
	out_string(OUT_ANY, "change", "%s", sa_change_name(event->change));
	out_string(OUT_JSON, "why", out_plain, sa_cause_name(event->why));
	out_text(", %s", sa_cause_text(event->why));
	snprintf(text, sizeof(text), "SA %s: %s", sa_change_name(event->change),
		 sa_cause_text(event->why));
	out_string(OUT_JSON, "text", out_plain, text);
	end_record(context);
}

/* Without SA_RESTART: a signal ends the wait. */
static void catch_signals(void)
{
	struct sigaction stop = { .sa_handler = on_signal };
	struct sigaction ignore = { .sa_handler = SIG_IGN };

	sigaction(SIGINT, &stop, NULL);
	sigaction(SIGTERM, &stop, NULL);
	sigaction(SIGHUP, &stop, NULL);
	sigaction(SIGPIPE, &ignore, NULL);
}

/* A pipe's reader may leave while there is nothing to write to it. */
static bool reader_left(void)
{
	struct pollfd fd = { .fd = STDOUT_FILENO };

	return poll(&fd, 1, 0) > 0 && (fd.revents & POLLERR);
}

static int read_filters(struct watcher *watcher, struct ipsecbpf_report *report)
{
	const struct monitor_args *args = watcher->args;
	const char *wrong = "not a protocol's name or number";

	if (args->proto && !packet_protocol_parse(args->proto, &watcher->proto))
		report_error(report, "ipsecbpf monitor", NULL, "--proto: \"%s\": %s", args->proto,
			     wrong);
	if (args->address && !address_parse(args->address, &watcher->address, &wrong))
		report_error(report, "ipsecbpf monitor", NULL, "--address: \"%s\": %s",
			     args->address, wrong);
	return report->errors ? EXIT_USAGE : EXIT_DONE;
}

/* A name that no rule has would show nothing for ever. */
static int check_rule(const struct monitor_args *args, struct ipsecbpf_report *report)
{
	struct policy *policy = ipsecbpf_policy_live(args->ifname, report);
	bool found = false;

	if (!policy && errno != ENODATA)
		return exit_code(-errno, args->ifname, report);
	for (size_t i = 0; policy && i < policy->all_rule_count && !found; i++)
		found = !strcmp(policy->rules[i].name, args->rule);
	policy_free(policy);
	if (found)
		return EXIT_DONE;
	report_error(report, args->ifname, "ipsecbpf policy show has the names",
		     "the policy has no rule \"%s\"", args->rule);
	return EXIT_REFUSED;
}

/* The same of an application. */
static int check_app(const struct monitor_args *args, struct ipsecbpf_report *report)
{
	struct policy *policy = ipsecbpf_policy_live(args->ifname, report);
	size_t found = SIZE_MAX;

	if (!policy && errno != ENODATA)
		return exit_code(-errno, args->ifname, report);
	if (policy)
		found = app_find(policy, args->app, args->ifname, report);
	else
		report_error(report, args->ifname, "ipsecbpf policy apply", "no policy is loaded");
	policy_free(policy);
	return found == SIZE_MAX ? EXIT_REFUSED : EXIT_DONE;
}

static int watch(struct watcher *watcher, struct ipsecbpf_report *report)
{
	static const struct ipsecbpf_monitor_ops ops = {
		.drop = on_drop, .lost = on_lost, .worker_drop = on_worker_drop,
		.notice = on_notice, .sa = on_sa,
	};
	const char *ifname = watcher->args->ifname;
	struct ipsecbpf_monitor *monitor;
	int result = 0;

	catch_signals();
	monitor = ipsecbpf_monitor_open(ifname, &ops, watcher, report);
	if (!monitor)
		return exit_code(-errno, ifname, report);
	out_stream();
	while (!stop_requested && !watcher->output_closed && !is_full(watcher) && !reader_left()) {
		result = ipsecbpf_monitor_poll(monitor, POLL_MS);
		if (result < 0 && result != -EINTR)
			break;
		result = 0;
	}
	ipsecbpf_monitor_close(monitor);
	if (result == -ESTALE)
		report_error(report, ifname, "start monitor again when it is attached",
			     "the attachment is gone: detached, or attached anew");
	return exit_code(result, ifname, report);
}

static int run(const void *data, struct ipsecbpf_report *report)
{
	struct watcher watcher = {
		.args = data,
		.clock_offset_ns = clock_ns(CLOCK_REALTIME) - clock_ns(CLOCK_MONOTONIC),
	};
	int code = read_filters(&watcher, report);

	if (!code && watcher.args->rule)
		code = check_rule(watcher.args, report);
	if (!code && watcher.args->app)
		code = check_app(watcher.args, report);
	return code ? code : watch(&watcher, report);
}

const struct verb verb_monitor = {
	.name = "monitor",
	.summary = "print dropped packets, and what happens to SAs, as it comes",
	.details = "One line for each drop, with the reason and the rule that decided, with -j one JSON "
		   "object for each. Events are rate limited; how many were lost is told within a "
		   "second, and \"ipsecbpf stats\" has the exact counts. There is one monitor at a "
		   "time: a second one is refused. What the worker drops is told "
		   "by reason only. SAs that are added, are "
		   "dying (a soft limit is reached, or three quarters of the sequence numbers "
		   "are used), have expired, were removed or have taken over in a rotation are "
		   "told within a second. With options, only the drops that all of them mean. Ends at "
		   "Ctrl-C, SIGTERM or when its output is closed; with exit code 1 when the "
		   "attachment goes, by detach --open or a new attach.",
	.operands = operands,
	.options = options,
	.args_size = sizeof(struct monitor_args),
	.run = run,
};
