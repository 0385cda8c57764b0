// SPDX-License-Identifier: BSD-2-Clause
#include <stdio.h>
#include <string.h>

#include "generate.h"
#include "output.h"
#include "lib/suggest.h"
#include "verbs.h"

struct help_args {
	const char *first, *second;
	bool man_options, man_drops, man_risks, man_checks, man_metrics, bash_completion;
};

#define AT(field) offsetof(struct help_args, field)
static const struct operand_def operands[] = {
	{ "COMMAND", OPERAND_VERB, AT(first), .optional = true },
	{ "SUBCOMMAND", OPERAND_VERB, AT(second), .optional = true },
	OPERAND_END,
};

static const struct option_def options[] = {
	{ "bash-completion", 0, OPT_FLAG, NULL, "print the completion script for bash",
	  AT(bash_completion) },
	{ "man-options", 0, OPT_FLAG, NULL, "print the man page's commands", AT(man_options),
	  .hidden = true },
	{ "man-drops", 0, OPT_FLAG, NULL, "print the man page's drop reasons", AT(man_drops),
	  .hidden = true },
	{ "man-risks", 0, OPT_FLAG, NULL, "print the man page's warnings of policies", AT(man_risks),
	  .hidden = true },
	{ "man-checks", 0, OPT_FLAG, NULL, "print the man page's checks of preflight", AT(man_checks),
	  .hidden = true },
	{ "man-metrics", 0, OPT_FLAG, NULL, "print the man page's metrics", AT(man_metrics),
	  .hidden = true },
	OPTION_END,
};

static void show_option(const struct option_def *option)
{
	char usage[64], help[256];

	if (option->hidden)
		return;
	snprintf(help, sizeof(help), "%s", option->help);
	if (option->type == OPT_UINT)
		snprintf(help, sizeof(help), "%s; from %u to %u", option->help, option->min,
			 option->max);
	out_object(NULL);
	out_text("  %s", option_usage(option, usage, sizeof(usage)));
	out_string(OUT_JSON, "name", out_plain, option->name);
	if (option->metavar)
		out_string(OUT_JSON, "value", out_plain, option->metavar);
	else
		out_null(OUT_JSON, "value", NULL);
	out_bool(OUT_JSON, "required", out_plain, option->required);
	out_string(OUT_ANY, "help", out_plain, help);
	out_row_end();
	if (option->type == OPT_UINT) {
		out_uint(OUT_JSON, "min", out_plain, option->min);
		out_uint(OUT_JSON, "max", out_plain, option->max);
	}
	if (option->type == OPT_LIST)
		out_bool(OUT_JSON, "repeatable", out_plain, true);
	if (option->type == OPT_WORD) {
		out_array("words");
		for (size_t i = 0; option->word_at(i); i++)
			out_string(OUT_JSON, NULL, out_plain, option->word_at(i));
		out_array_end();
	}
	out_object_end();
}

static void show_options(const struct option_def *verb_options)
{
	out_array("options");
	out_table(NULL, 2);
	for (; verb_options->name; verb_options++)
		show_option(verb_options);
	for (const struct option_def *option = global_options; option->name; option++)
		show_option(option);
	out_table_end();
	out_array_end();
}

static void show_verb(const struct verb *verb)
{
	char usage[256];

	out_string(OUT_ANY, "usage", "usage: %s\n", verb_usage(verb, usage, sizeof(usage)));
	out_string(OUT_ANY, "summary", "\n%s\n", verb->summary);
	if (verb->details)
		out_string(OUT_ANY, "details", "%s\n", verb->details);
	else
		out_null(OUT_JSON, "details", NULL);
	out_text("\noptions:\n");
	show_options(verb->options);
}

static void show_verbs(const char *group)
{
	char name[64];

	out_array("commands");
	out_table(NULL, 2);
	for (const struct verb *const *verb = verbs; *verb; verb++) {
		if (group && (!(*verb)->group || strcmp((*verb)->group, group)))
			continue;
		verb_name(*verb, name, sizeof(name));
		out_object(NULL);
		out_text("  %s", name + strlen("ipsecbpf "));
		out_string(OUT_JSON, "name", out_plain, name + strlen("ipsecbpf "));
		out_string(OUT_ANY, "summary", out_plain, (*verb)->summary);
		out_row_end();
		out_object_end();
	}
	out_table_end();
	out_array_end();
}

void help_show(const struct verb *verb, const char *group)
{
	if (verb) {
		show_verb(verb);
		return;
	}
	out_text("usage: ipsecbpf %s COMMAND [ARGUMENTS] [OPTIONS]\n\ncommands:\n",
		 group ? group : "[-j]");
	show_verbs(group);
	out_text("\noptions of all commands:\n");
	show_options(no_options);
	out_text("\nexit code: 0 done, 1 refused or failed (diff: there are differences), "
		 "2 wrong usage\nmore: ipsecbpf help COMMAND, man ipsecbpf\n");
}

static int unknown(const struct help_args *args, struct ipsecbpf_report *report)
{
	struct suggest near = { .word = args->first };
	char next[96] = "ipsecbpf help";

	for (const struct verb *const *verb = verbs; *verb; verb++)
		suggest_offer(&near, (*verb)->group ? (*verb)->group : (*verb)->name);
	if (near.best)
		snprintf(next, sizeof(next), "did you mean \"ipsecbpf help %s\"?", near.best);
	report_error(report, "ipsecbpf help", next, "there is no command \"%s%s%s\"", args->first,
		     args->second ? " " : "", args->second ? args->second : "");
	return EXIT_USAGE;
}

static int run(const void *data, struct ipsecbpf_report *report)
{
	const struct help_args *args = data;
	const struct verb *verb = NULL;
	char *text = NULL;

	if (args->man_options)
		text = generate_man_commands();
	else if (args->man_drops)
		text = generate_man_drops();
	else if (args->man_risks)
		text = generate_man_risks();
	else if (args->man_checks)
		text = generate_man_checks();
	else if (args->man_metrics)
		text = generate_man_metrics();
	else if (args->bash_completion)
		text = generate_bash_completion();
	if (text) {
		out_raw(text);
		generate_free(text);
		return EXIT_DONE;
	}
	if (args->first)
		verb = args->second ? verb_find(args->first, args->second) :
				      verb_find(NULL, args->first);
	if (args->first && !verb && (args->second || !verb_group_exists(args->first)))
		return unknown(args, report);
	help_show(verb, args->first);
	return EXIT_DONE;
}

const struct verb verb_help = {
	.name = "help", .summary = "explain the commands, or one of them",
	.operands = operands, .options = options, .args_size = sizeof(struct help_args),
	.run = run,
};
