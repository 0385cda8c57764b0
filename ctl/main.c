// SPDX-License-Identifier: BSD-2-Clause
/* The command `ipsecbpf`: finds the verb, runs it, shows what it reported. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "options.h"
#include "output.h"
#include "verbs.h"

const struct verb *const verbs[] = {
	&verb_attach, &verb_confirm, &verb_detach, &verb_status,
	&verb_policy_check, &verb_policy_apply, &verb_policy_diff, &verb_policy_show,
	&verb_policy_test, &verb_policy_confirm, &verb_policy_import_app,
	&verb_sa_apply, &verb_sa_rotate, &verb_sa_list, &verb_sa_delete, &verb_sa_flush,
	&verb_sa_genkey, &verb_sa_export,
	&verb_app_list, &verb_app_sockets, &verb_app_identify, &verb_run,
	&verb_app_names,
	&verb_app_watch, &verb_app_mend,
	&verb_explain, &verb_stats, &verb_metrics, &verb_monitor, &verb_preflight,
	&verb_version, &verb_help,
	NULL,
};

/* A wrong command line: the message also says how the command is used. */
static void add_usage(const struct command *command, struct ipsecbpf_report *report)
{
	char usage[256];

	if (!command->verb)
		return;
	verb_usage(command->verb, usage, sizeof(usage));
	report_add(report, REPORT_NOTE, "usage", NULL, "%s", usage);
}

static int run(const struct command *command, struct ipsecbpf_report *report)
{
	if (command->globals.help) {
		help_show(command->verb, command->group);
		return EXIT_DONE;
	}
	if (!command->verb) {
		version_show();
		return EXIT_DONE;
	}
	return command->verb->run(command->args, report);
}

int main(int argc, char **argv)
{
	struct ipsecbpf_report report = { 0 };
	struct command command;
	int code, err;

	out_open(options_want_json(argc, argv));
	err = options_parse(argc, argv, &command, &report);
	if (err) {
		add_usage(&command, &report);
		code = command.verb && command.verb->usage_status ? command.verb->usage_status :
								    EXIT_USAGE;
	} else {
		if (command.globals.json && !out_is_json())
			out_open(true);
		code = run(&command, &report);
	}
	err = out_close(&report);
	if (err) {
		fprintf(stderr, "error: standard output: %s\n", strerror(-err));
		code = code ? code : EXIT_REFUSED;
	}
	report_fini(&report);
	free(command.args);
	return code;
}
