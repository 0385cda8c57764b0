// SPDX-License-Identifier: BSD-2-Clause
/*
 * What each application tells of itself. How many sockets it has is not among it: to find that out
 * takes the right to look into every process, and that is not for a listener.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include "lib/app_live.h"
#include "metrics.h"

struct metrics_app {
	char name[NAME_LEN];
	struct app_info info;
	size_t index;		/* in the policy */
	uint32_t flows_max;	/* of its connections */
};

void metrics_apps_free(struct metrics_source *source)
{
	free(source->apps);
	source->apps = NULL;
	source->app_count = 0;
}

/* ---- gathering ------------------------------------------------------------------------------ */

static uint64_t packets_of(const struct metrics_app *app)
{
	uint64_t sum = 0;

	for (unsigned int class = 0; class < TRAFFIC_CLASSES; class++)
		sum += app->info.traffic[class].packets;
	return sum;
}

static int compare(const void *a, const void *b)
{
	const struct metrics_app *x = a, *y = b;
	uint64_t first = packets_of(x), second = packets_of(y);

	if (first != second)
		return first > second ? -1 : 1;
	return x->index < y->index ? -1 : 1;
}

static int read_apps(struct metrics_source *source, const struct app_live *live,
		     struct ipsecbpf_report *report)
{
	size_t count = live->policy->application_count;
	struct app_info *items;
	int err = app_live_list(live, &items, report);

	if (err)
		return err;
	source->apps = calloc(count, sizeof(*source->apps));
	for (size_t i = 0; source->apps && i < count; i++) {
		struct metrics_app *app = &source->apps[i];

		snprintf(app->name, sizeof(app->name), "%s", items[i].name);
		app->info = items[i];
		app->info.name = NULL;	/* the policy's, which is not kept */
		app->index = i;
		app->flows_max = live->policy->applications[i].flows_max;
	}
	free(items);
	if (!source->apps)
		return -ENOMEM;
	source->app_count = count;
	qsort(source->apps, count, sizeof(*source->apps), compare);
	return 0;
}

int metrics_apps_read(struct metrics_source *source, struct ipsecbpf_report *report)
{
	struct app_live live;
	int err;

	if (!source->view.policy || !source->view.policy->application_count)
		return 0;
	err = app_live_reopen(&live, source->ifname, &source->live_policy, report);
	if (err)
		return err == -ENODATA ? 0 : err;
	if (live.policy->application_count)
		err = read_apps(source, &live, report);
	app_live_close_keep(&live, &source->live_policy);
	return err;
}

/* ---- writing -------------------------------------------------------------------------------- */

static size_t described(const struct metrics_writer *writer)
{
	size_t count = writer->source->app_count, limit = writer->limits.apps;

	return limit && count > limit ? limit : count;
}

/* Defines the function of a metric: `body` for each `app`. */
#define FOR_EACH_APP(function, body)							\
	static void function(const struct metrics_writer *writer)			\
	{										\
		for (size_t i_ = 0; i_ < described(writer); i_++) {			\
			const struct metrics_app *app = &writer->source->apps[i_];	\
											\
			body;								\
		}									\
	}

FOR_EACH_APP(write_endpoints, metrics_whole(writer, app->info.endpoints, app->name))
FOR_EACH_APP(write_connections, metrics_whole(writer, app->info.connections, app->name))
FOR_EACH_APP(write_flows_max, metrics_whole(writer, app->flows_max, app->name))
FOR_EACH_APP(write_sas, metrics_whole(writer, app->info.sas, app->name))

FOR_EACH_APP(write_packets, {
	for (unsigned int class = 0; class < TRAFFIC_CLASSES; class++)
		metrics_whole(writer, app->info.traffic[class].packets, app->name,
			      app_traffic_name(class));
})

FOR_EACH_APP(write_bytes, {
	for (unsigned int class = 0; class < TRAFFIC_CLASSES; class++)
		metrics_whole(writer, app->info.traffic[class].bytes, app->name,
			      app_traffic_name(class));
})

static void write_left_out(const struct metrics_writer *writer)
{
	metrics_whole(writer, writer->source->app_count - described(writer));
}

/* X(name, type, help, function, labels...) */
#define APP_METRICS(X)									\
	X("app_connections", GAUGE,							\
	  "TCP connections of an application, which its \"max_flows\" bounds; of those "	\
	  "with most packets, see --apps.", write_connections, "application")		\
	X("app_max_flows", GAUGE, "The bound of app_connections, of the policy.",		\
	  write_flows_max, "application")						\
	X("app_endpoints", GAUGE,							\
	  "Local addresses and ports that it is spoken to at: sockets that listen, and UDP; one "	\
	  "for IPv6 that serves IPv4 counts twice.", write_endpoints, "application")	\
	X("app_sas", GAUGE, "SAs installed that serve its rules.", write_sas, "application")	\
	X("app_packets_total", COUNTER,							\
	  "Packets that its rules have decided: protected, in the clear, or dropped.",	\
	  write_packets, "application", "class")					\
	X("app_bytes_total", COUNTER, "Octets of those packets, Ethernet headers included.",	\
	  write_bytes, "application", "class")						\
	X("apps_left_out", GAUGE, "Applications that are not described one by one (see --apps).", \
	  write_left_out)

const struct metric metrics_of_apps[] = {
#define X(suffix, kind, text, function, ...)						\
	{ .name = "ipsecbpf_" suffix, .type = METRIC_##kind, .help = text,		\
	  .write = function, .labels = { __VA_ARGS__ } },
	APP_METRICS(X)
#undef X
	{ .name = NULL }
};
