// SPDX-License-Identifier: BSD-2-Clause
/* `app list`: the applications of the policy in force. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "app_words.h"
#include "output.h"
#include "verbs.h"

#define INDENT "     "	/* of what stands below an application */

static void show_traffic(const struct app_info *info)
{
	for (unsigned int class = 0; class < TRAFFIC_CLASSES; class++) {
		out_object(app_traffic_name(class));
		out_uint(OUT_ANY, "packets", out_plain, info->traffic[class].packets);
		out_uint(OUT_ANY, "bytes", out_plain, info->traffic[class].bytes);
		out_object_end();
	}
}

static void show_matches(const struct application *app)
{
	char text[512];

	out_array("match");
	for (size_t i = 0; i < app->match_count; i++) {
		out_object(NULL);
		app_match_json(&app->matches[i]);
		out_object_end();
	}
	out_array_end();
	for (size_t i = 0; i < app->match_count; i++)
		out_span(INDENT "%s", app_match_text(&app->matches[i], text, sizeof(text)));
}

static void show_app(const struct application *app, const struct app_info *info, size_t sockets)
{
	out_object(NULL);
	out_string(OUT_ANY, "name", out_plain, app->name);
	if (app->description)
		out_string(OUT_JSON, "description", out_plain, app->description);
	out_uint(OUT_ANY, "sockets", out_plain, sockets);
	out_uint(OUT_ANY, "connections", out_plain, info->connections);
	out_uint(OUT_JSON, "endpoints", out_plain, info->endpoints);
	out_uint(OUT_JSON, "max_flows", out_plain, app->flows_max);
	out_uint(OUT_ANY, "sas", out_plain, info->sas);
	show_traffic(info);
	out_row_end();
	show_matches(app);
	out_object_end();
}

static void count_sockets(const struct app_socket_info *sockets, size_t count, size_t *per_app)
{
	for (size_t i = 0; i < count; i++)
		per_app[sockets[i].app]++;
}

static int show(const struct app_live *live, struct ipsecbpf_report *report)
{
	static const char *const headings[] = {
		"application", "sockets", "connections", "SAs", "protected", "bytes", "clear", "bytes",
		"dropped", "bytes",
	};
	const struct policy *policy = live->policy;
	size_t *per_app = calloc(APPS_MAX + 1, sizeof(*per_app)), socket_count;
	struct app_socket_info *sockets = NULL;
	struct app_info *items = NULL;
	int err = per_app ? app_live_list(live, &items, report) : -ENOMEM;

	if (!err)
		err = app_live_sockets(live, 0, &sockets, &socket_count, report);
	if (err)
		goto out;
	count_sockets(sockets, socket_count, per_app);
	out_string(OUT_JSON, "ifname", out_plain, live->pins.ifname);
	out_uint(OUT_JSON, "policy_serial", out_plain, live->cells->head.serial);
	out_array("applications");
	out_table(headings, sizeof(headings) / sizeof(headings[0]));
	for (size_t i = 0; i < policy->application_count; i++)
		show_app(&policy->applications[i], &items[i], per_app[i + 1]);
	out_table_end();
	out_array_end();
	if (!policy->application_count)
		out_text("%s: its policy has no applications\n", live->pins.ifname);
out:
	free(per_app);
	free(sockets);
	free(items);
	return err;
}

static int run(const void *data, struct ipsecbpf_report *report)
{
	const struct ifname_args *args = data;
	struct app_live live;
	int err = app_live_open(&live, args->ifname, report);

	if (!err) {
		err = show(&live, report);
		app_live_close(&live);
	}
	return exit_code(err, args->ifname, report);
}

const struct verb verb_app_list = {
	.group = "app",
	.name = "list",
	.summary = "the applications of the policy, what they have open and what became of their "
		   "packets",
	.details = "Packets and octets are those that the application's own rules have decided, "
		   "both directions: protected (or, inbound, accepted by an SA), in the clear, "
		   "dropped; what the host's rules decided is not in there. SAs are those that "
		   "serve its rules.",
	.operands = ifname_operand,
	.options = no_options,
	.args_size = sizeof(struct ifname_args),
	.run = run,
};
