// SPDX-License-Identifier: BSD-2-Clause
#include <stdlib.h>

#include "metrics.h"
#include "output.h"
#include "verbs.h"

#define SAS_DEFAULT 1024
#define RULES_MAX 10000
#define APPS_DEFAULT 100

struct metrics_args {
	const char *ifname, *listen;
	bool remote;
	uint32_t sas, rules, apps;
};

static const struct operand_def operands[] = {
	{ "IFNAME", OPERAND_IFNAME, offsetof(struct metrics_args, ifname), .optional = true },
	OPERAND_END,
};

static const struct option_def options[] = {
	{ "listen", 'l', OPT_STRING, "[ADDR:]PORT",
	  "serve them by HTTP at /metrics, on 127.0.0.1 unless another address is given, until "
	  "SIGTERM or Ctrl-C; \"systemd\" means the socket of a systemd socket unit",
	  offsetof(struct metrics_args, listen) },
	{ "remote", 0, OPT_FLAG, NULL,
	  "the address of --listen may be one that is not loopback; nobody is asked who he is",
	  offsetof(struct metrics_args, remote) },
	{ "sas", 0, OPT_UINT, "N",
	  "SAs of an attachment that are described one by one (1024 unless given)",
	  offsetof(struct metrics_args, sas), 1, SA_SLOTS_MAX },
	{ "rules", 0, OPT_UINT, "N",
	  "also the counters of the N rules of an attachment that were hit most (none unless given)",
	  offsetof(struct metrics_args, rules), 1, RULES_MAX },
	{ "apps", 0, OPT_UINT, "N",
	  "applications that are described one by one, those with most packets (100 unless given)",
	  offsetof(struct metrics_args, apps), 1, APPS_MAX },
	OPTION_END,
};

static int print(struct metrics *metrics, struct ipsecbpf_report *report)
{
	struct exposition text = { 0 };
	int code, err = metrics_gather(metrics, report);

	if (err)
		return exit_code(err, metrics->only ? metrics->only : "ipsecbpf metrics", report);
	out_array("metrics");
	metrics_write(metrics, out_is_json() ? NULL : &text);
	out_array_end();
	if (text.failed)
		report_error(report, "ipsecbpf metrics", NULL, "out of memory");
	else if (!out_is_json())
		out_raw(text.text);
	code = text.failed ? EXIT_REFUSED : EXIT_DONE;
	exposition_fini(&text);
	return code;
}

static int serve(struct metrics *metrics, const struct metrics_args *args,
		 struct ipsecbpf_report *report)
{
	const struct metrics_listen_opts opts = { .where = args->listen, .remote = args->remote };

	if (out_is_json()) {
		report_error(report, "ipsecbpf metrics", "leave out -j",
			     "--listen speaks Prometheus' text format only");
		return EXIT_USAGE;
	}
	return exit_code(metrics_listen(metrics, &opts, report), args->listen, report);
}

static int run(const void *data, struct ipsecbpf_report *report)
{
	const struct metrics_args *args = data;
	struct metrics metrics = {
		.only = args->ifname,
		.limits = {
			.sas = args->sas ? args->sas : SAS_DEFAULT,
			.rules = args->rules,
			.apps = args->apps ? args->apps : APPS_DEFAULT,
		},
	};
	int code;

	if (args->remote && !args->listen) {
		report_error(report, "ipsecbpf metrics", NULL, "--remote goes with --listen");
		return EXIT_USAGE;
	}
	code = args->listen ? serve(&metrics, args, report) : print(&metrics, report);
	metrics_fini(&metrics);
	return code;
}

const struct verb verb_metrics = {
	.name = "metrics",
	.summary = "counters, SAs, policy and maps, for Prometheus",
	.details = "In Prometheus' text format, version 0.0.4, once to standard output, or with "
		   "--listen as often as it is asked for. Without IFNAME, of all attachments of this "
		   "network namespace, those that come later too. With -j, the same as JSON.",
	.operands = operands,
	.options = options,
	.args_size = sizeof(struct metrics_args),
	.run = run,
};
