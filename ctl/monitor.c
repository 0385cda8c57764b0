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

#include "output.h"
#include "verbs.h"

#define POLL_MS 250	/* how late a signal between two waits, or a closed pipe, is noticed */

static volatile sig_atomic_t stop_requested;

struct watcher {
	int64_t clock_offset_ns;	/* CLOCK_REALTIME minus CLOCK_MONOTONIC */
	bool output_closed;
};

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

static const char *protocol_name(uint8_t proto, char *out, size_t out_len)
{
	static const struct {
		uint8_t number;
		const char *name;
	} known[] = {
		{ IPPROTO_ICMP, "icmp" }, { IPPROTO_TCP, "tcp" }, { IPPROTO_UDP, "udp" },
		{ IPPROTO_ESP, "esp" }, { IPPROTO_AH, "ah" }, { IPPROTO_ICMPV6, "icmpv6" },
		{ IPPROTO_SCTP, "sctp" }, { IPPROTO_DCCP, "dccp" }, { IPPROTO_UDPLITE, "udplite" },
	};

	for (size_t i = 0; i < sizeof(known) / sizeof(known[0]); i++)
		if (known[i].number == proto)
			return known[i].name;
	snprintf(out, out_len, "%u", proto);
	return out;
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
	uint16_t ethertype = ntohs(event->ethertype);
	char number[8];

	out_uint(OUT_JSON, "ethertype", out_plain, ethertype);
	if (ethertype != 0x0800 && ethertype != 0x86dd) {
		out_text("ethertype 0x%04x", ethertype);
		return;
	}
	out_string(OUT_ANY, "proto", "%s", protocol_name(event->proto, number, sizeof(number)));
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

static void on_drop(void *context, const struct drop_event *event)
{
	struct watcher *watcher = context;
	const char *name = event->reason < DROP_REASON_COUNT ? drop_reason_name(event->reason) :
							       "unknown";

	out_string(OUT_JSON, "event", out_plain, "drop");
	show_time(watcher, event->ns);
	out_string(OUT_ANY, "direction", "%-3s ", event->direction == SPD_OUT ? "out" : "in");
	show_packet(event);
	out_uint(OUT_ANY, "len", " len %" PRIu64, event->len);
	out_text(": ");
	out_colour(COLOUR_BAD);
	out_string(OUT_ANY, "reason", "%s", name);
	if (event->rule != SPD_RULE_DEFAULT)
		out_uint(OUT_ANY, "rule", " by rules[%" PRIu64 "]", event->rule);
	else
		out_null(OUT_JSON, "rule", NULL);
	end_record(watcher);
}

static void on_worker_drop(void *context, enum drop_reason reason, uint64_t count)
{
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
	out_string(OUT_JSON, "event", out_plain, "notice");
	show_time(context, (uint64_t)clock_ns(CLOCK_MONOTONIC));
	out_string(OUT_ANY, "text", "%s", text);
	end_record(context);
}

static void show_sa(const struct ipsecbpf_sa_event *event)
{
	const int family = event->family == FAMILY_V6 ? AF_INET6 : AF_INET;
	char src[INET6_ADDRSTRLEN], dst[INET6_ADDRSTRLEN], number[8];

	inet_ntop(family, event->src.b, src, sizeof(src));
	inet_ntop(family, event->dst.b, dst, sizeof(dst));
	out_string(OUT_ANY, "direction", "SA %-3s ", event->direction == SPD_OUT ? "out" : "in");
	out_string(OUT_ANY, "src", "%s", src);
	out_string(OUT_ANY, "dst", " > %s", dst);
	out_string(OUT_ANY, "proto", " %s",
		   protocol_name(event->proto, number, sizeof(number)));
	out_uint(OUT_JSON, "spi", out_plain, ntohl(event->spi));
	out_text(" spi 0x%08x: ", ntohl(event->spi));
	out_string(OUT_JSON, "peer", out_plain, event->peer);
	out_string(OUT_JSON, "protection", out_plain, event->protection);
}

static void on_sa(void *context, const struct ipsecbpf_sa_event *event)
{
	bool bad = event->change == SA_CHANGE_EXPIRED;
	char text[128];

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

static int run(const void *data, struct ipsecbpf_report *report)
{
	static const struct ipsecbpf_monitor_ops ops = {
		.drop = on_drop, .worker_drop = on_worker_drop, .notice = on_notice,
		.sa = on_sa,
	};
	const struct ifname_args *args = data;
	struct watcher watcher = {
		.clock_offset_ns = clock_ns(CLOCK_REALTIME) - clock_ns(CLOCK_MONOTONIC),
	};
	struct ipsecbpf_monitor *monitor;
	int result = 0;

	catch_signals();
	monitor = ipsecbpf_monitor_open(args->ifname, &ops, &watcher, report);
	if (!monitor)
		return exit_code(-errno, args->ifname, report);
	out_stream();
	while (!stop_requested && !watcher.output_closed && !reader_left()) {
		result = ipsecbpf_monitor_poll(monitor, POLL_MS);
		if (result < 0 && result != -EINTR)
			break;
		result = 0;
	}
	ipsecbpf_monitor_close(monitor);
	return exit_code(result, args->ifname, report);
}

const struct verb verb_monitor = {
	.name = "monitor",
	.summary = "print dropped packets, and what happens to SAs, as it comes",
	.details = "One line for each drop, with -j one JSON object for each. Events are rate "
		   "limited; \"ipsecbpf stats\" has the exact counts. SAs that are added, are "
		   "dying (a soft limit is reached, or three quarters of the sequence numbers "
		   "are used), have expired, were removed or have taken over in a rotation are "
		   "told within a second. Ends at Ctrl-C, SIGTERM or when its output is closed.",
	.operands = ifname_operand,
	.options = no_options,
	.args_size = sizeof(struct ifname_args),
	.run = run,
};
