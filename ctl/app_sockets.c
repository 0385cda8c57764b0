// SPDX-License-Identifier: BSD-2-Clause
/* `app sockets`: each socket, whose it is, and what becomes of what it sends. */
#include <arpa/inet.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "app_words.h"
#include "explain_output.h"
#include "lib/explain.h"
#include "output.h"
#include "verbs.h"

struct sockets_args {
	const char *ifname, *app;
};

static const struct operand_def operands[] = {
	{ "IFNAME", OPERAND_IFNAME, offsetof(struct sockets_args, ifname) },
	OPERAND_END,
};

static const struct option_def options[] = {
	{ "app", 0, OPT_STRING, "NAME", "only those of this application",
	  offsetof(struct sockets_args, app) },
	OPTION_END,
};

static void show_end(const char *key, const struct socket_name *name)
{
	char text[INET6_ADDRSTRLEN + 16], address[INET6_ADDRSTRLEN];

	out_text("%s", app_end_text(name, text, sizeof(text)));
	if (!name->port) {
		out_null(OUT_JSON, key, NULL);
		return;
	}
	out_object(key);
	inet_ntop(name->family == FAMILY_V6 ? AF_INET6 : AF_INET, name->addr.b, address,
		  sizeof(address));
	out_string(OUT_JSON, "address", out_plain, address);
	out_uint(OUT_JSON, "port", out_plain, ntohs(name->port));
	out_object_end();
}

static void show_owner(const struct app_live *live, const struct app_socket_info *info)
{
	char number[4];

	if (info->app)
		out_string(OUT_ANY, "application", out_plain,
			   live->policy->applications[info->app - 1].name);
	else
		out_null(OUT_ANY, "application", "-");
	out_int(OUT_ANY, "pid", out_plain, info->pid);
	if (*info->program)
		out_string(OUT_ANY, "program", out_plain, info->program);
	else
		out_null(OUT_ANY, "program", "?");
	out_string(OUT_ANY, "protocol", out_plain, packet_protocol_name(info->proto, number));
	out_bool(OUT_JSON, "listening", out_plain, info->listening);
	out_bool(OUT_JSON, "noted", out_plain, info->noted);
	show_end("local", &info->local);
	show_end("remote", &info->remote);
}

static int show_verdict(struct explainer *explainer, const struct app_socket_info *info,
			struct ipsecbpf_report *report)
{
	const struct packet_spec spec = {
		.family = info->local.family, .proto = info->proto,
		.src = info->local.addr, .dst = info->remote.addr,
		.src_port = ntohs(info->local.port), .dst_port = ntohs(info->remote.port),
	};
	const struct explain_packet packet = {
		.direction = SPD_OUT, .spec = &spec, .app = info->app,
	};
	struct explanation explanation;
	int err = 0;

	/* One that is not connected sends anywhere, or nowhere. */
	if (!info->connected || info->local.family != info->remote.family) {
		explain_show_verdict(NULL);
		return 0;
	}
	err = explainer_ask(explainer, &packet, &explanation, report);
	explain_show_verdict(err ? NULL : &explanation.packet);
	return err;
}

static int show(const struct app_live *live, size_t only, struct ipsecbpf_report *report)
{
	static const char *const headings[] = {
		"application", "pid", "program", "proto", "local", "remote", "decision", "by", "SA",
	};
	struct app_socket_info *sockets;
	struct explainer *explainer;
	size_t count, shown = 0;
	int err = app_live_sockets(live, 0, &sockets, &count, report);

	if (err)
		return err;
	explainer = explainer_open(live->pins.ifname, report);
	err = explainer ? 0 : -errno;
	if (err)
		goto out;
	out_string(OUT_JSON, "ifname", out_plain, live->pins.ifname);
	out_array("sockets");
	out_table(headings, sizeof(headings) / sizeof(headings[0]));
	for (size_t i = 0; !err && i < count; i++) {
		if (only != SIZE_MAX && sockets[i].app != only + 1)
			continue;
		shown++;
		out_object(NULL);
		show_owner(live, &sockets[i]);
		err = show_verdict(explainer, &sockets[i], report);
		out_object_end();
		out_row_end();
	}
	out_table_end();
	out_array_end();
	if (!shown)
		out_text("%s: no sockets\n", live->pins.ifname);
out:
	explainer_close(explainer);
	free(sockets);
	return err;
}

static int run(const void *data, struct ipsecbpf_report *report)
{
	const struct sockets_args *args = data;
	size_t only = SIZE_MAX;
	struct app_live live;
	int err = app_live_open(&live, args->ifname, report);

	if (err)
		return exit_code(err, args->ifname, report);
	if (args->app) {
		only = app_find(live.policy, args->app, args->ifname, report);
		err = only == SIZE_MAX ? -ENOENT : 0;
	}
	if (!err)
		err = show(&live, only, report);
	app_live_close(&live);
	return exit_code(err, args->ifname, report);
}

const struct verb verb_app_sockets = {
	.group = "app",
	.name = "sockets",
	.summary = "each socket, which application's it is, and what becomes of what it sends",
	.details = "Internet sockets of the interface's network namespace, those of applications "
		   "first. The decision is that of explain on a packet to where the socket is "
		   "connected; one that is not connected has none. A socket that is shared is "
		   "shown once, with one of its processes.",
	.operands = operands,
	.options = options,
	.args_size = sizeof(struct sockets_args),
	.run = run,
};
