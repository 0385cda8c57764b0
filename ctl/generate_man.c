// SPDX-License-Identifier: BSD-2-Clause
/* Sections of ipsecbpf(8) in man(7) markup, from the option tables and the list of drop reasons. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "advice.h"
#include "generate.h"
#include "metrics.h"
#include "options.h"
#include "lib/policy_risk.h"

void generate_free(char *text)
{
	free(text);
}

/* roff's own characters: backslash, a dash that must stay a dash, a dot or quote at the start. */
static void put_roff(FILE *out, const char *text)
{
	if (*text == '.' || *text == '\'')
		fputs("\\&", out);
	for (; *text; text++) {
		if (*text == '\\')
			fputs("\\e", out);
		else if (*text == '-')
			fputs("\\-", out);
		else if (*text == '"')
			fputs("\\(dq", out);
		else
			fputc(*text, out);
	}
}

static void put_option(FILE *out, const struct option_def *option)
{
	fputs(".TP\n\\fB", out);
	if (option->letter)
		fprintf(out, "\\-%c\\fR, \\fB", option->letter);
	put_roff(out, "--");
	put_roff(out, option->name);
	fputs("\\fR", out);
	if (option->metavar)
		fprintf(out, " \\fI%s\\fR", option->metavar);
	fputc('\n', out);
	put_roff(out, option->help);
	if (option->type == OPT_UINT)
		fprintf(out, "; from %u to %u", option->min, option->max);
	for (size_t i = 0; option->type == OPT_WORD && option->word_at(i); i++) {
		fputs(i ? ", " : ". One of: ", out);
		put_roff(out, option->word_at(i));
	}
	fputs(".\n", out);
}

static void put_options(FILE *out, const struct option_def *options)
{
	if (!options->name)
		return;
	fputs(".RS\n", out);
	for (; options->name; options++)
		if (!options->hidden)
			put_option(out, options);
	fputs(".RE\n", out);
}

static void put_verb(FILE *out, const struct verb *verb)
{
	char usage[256];

	fputs(".TP\n.B ", out);
	put_roff(out, verb_usage(verb, usage, sizeof(usage)));
	fputc('\n', out);
	put_roff(out, verb->summary);
	fputs(".\n", out);
	if (verb->details) {
		put_roff(out, verb->details);
		fputc('\n', out);
	}
	put_options(out, verb->options);
}

char *generate_man_commands(void)
{
	char *text = NULL;
	size_t len;
	FILE *out = open_memstream(&text, &len);

	if (!out)
		return NULL;
	fputs(".SH OPTIONS\nThey may stand before or after the command.\n", out);
	for (const struct option_def *option = global_options; option->name; option++)
		put_option(out, option);
	fputs(".SH COMMANDS\n", out);
	for (const struct verb *const *verb = verbs; *verb; verb++)
		put_verb(out, *verb);
	return fclose(out) ? NULL : text;
}

char *generate_man_drops(void)
{
	char *text = NULL;
	size_t len;
	FILE *out = open_memstream(&text, &len);

	if (!out)
		return NULL;
	for (unsigned int reason = DROP_NONE + 1; reason < DROP_REASON_COUNT; reason++) {
		fputs(".TP\n.B ", out);
		put_roff(out, drop_reason_name(reason));
		fputc('\n', out);
		put_roff(out, drop_reason_text(reason));
		fputs(".\nNext: ", out);
		put_roff(out, drop_advice(reason).next);
		fputs(".\n", out);
	}
	return fclose(out) ? NULL : text;
}

char *generate_man_checks(void)
{
	const char *group = "";
	char *text = NULL;
	size_t len;
	FILE *out = open_memstream(&text, &len);

	if (!out)
		return NULL;
	for (int check = 0; check < PREFLIGHT_CHECK_COUNT; check++) {
		const struct preflight_check_text *entry =
			preflight_check_text((enum preflight_check)check);

		if (strcmp(entry->group, group) != 0)
			fprintf(out, ".SS %s\n", entry->group);
		group = entry->group;
		fprintf(out, ".TP\n\\fB%s\\fR (", entry->id);
		put_roff(out, entry->title);
		fputs(")\n", out);
		put_roff(out, entry->asks);
		fputs(strchr("?.", entry->asks[strlen(entry->asks) - 1]) ? "\n" : ".\n", out);
	}
	return fclose(out) ? NULL : text;
}

char *generate_man_risks(void)
{
	char *text = NULL;
	size_t len;
	FILE *out = open_memstream(&text, &len);

	if (!out)
		return NULL;
	for (unsigned int risk = 0; risk < POLICY_RISK_COUNT; risk++) {
		const struct policy_risk_text *entry = policy_risk_text((enum policy_risk)risk);

		fputs(".TP\n.B ", out);
		put_roff(out, entry->word);
		fprintf(out, "\n(W%u) ", entry->number);
		put_roff(out, entry->why);
		fputs(".\nNext: ", out);
		put_roff(out, entry->next);
		fputs(".\n", out);
	}
	return fclose(out) ? NULL : text;
}

char *generate_man_metrics(void)
{
	const struct metric *metric;
	char *text = NULL;
	size_t len;
	FILE *out = open_memstream(&text, &len);

	if (!out)
		return NULL;
	for (size_t i = 0; (metric = metrics_at(i)); i++) {
		fputs(".TP\n.B ", out);
		put_roff(out, metric->name);
		fprintf(out, "\n(%s%s", metric_type_name(metric->type),
			metric->global ? "; labels" : "; labels interface");
		for (size_t label = 0; metric->labels[label]; label++)
			fprintf(out, "%s%s", label || !metric->global ? ", " : " ",
				metric->labels[label]);
		fputs(") ", out);
		put_roff(out, metric->help);
		fputc('\n', out);
	}
	return fclose(out) ? NULL : text;
}
