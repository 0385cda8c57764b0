// SPDX-License-Identifier: BSD-2-Clause
#include <inttypes.h>
#include <string.h>

#include "output.h"
#include "verbs.h"

#define FINDING_WIDTH  59 /* columns left of 100 by group, result and title */
#define FINDING_INDENT 41

struct preflight_args {
	const char *ifname;
	unsigned int xdp;
	struct mark_arg mark;
};

struct tally {
	uint64_t warnings, failures;
	const char *group; /* of the line before */
};

static const struct operand_def operands[] = {
	{ "IFNAME", OPERAND_IFNAME, offsetof(struct preflight_args, ifname) },
	OPERAND_END,
};

#define AT(field) offsetof(struct preflight_args, field)
static const struct option_def options[] = {
	{ "xdp", 0, OPT_WORD, "MODE", "as attach would be told: native (default) or generic",
	  AT(xdp), .word_at = xdp_mode_word },
	{ "mark", 0, OPT_MARK, "VALUE/MASK",
	  "as attach would be told (default: 0xe5000000/0xff000000)", AT(mark) },
	OPTION_END,
};

/* How much of the text fits into one line, broken between words; a long word is left whole. */
static size_t line_length(const char *text)
{
	size_t len = strcspn(text, "\n"), at = FINDING_WIDTH;

	if (len <= FINDING_WIDTH)
		return len;
	while (at && text[at] != ' ')
		at--;
	return at ? at : strcspn(text, " \n");
}

/* The first line is a cell of the table, the others stand below it. */
static void show_finding(const char *text)
{
	char line[FINDING_WIDTH + 1];
	bool first = true;

	do {
		size_t len = line_length(text);
		size_t shown = len < sizeof(line) ? len : sizeof(line) - 1;

		memcpy(line, text, shown);
		line[shown] = '\0';
		if (first) {
			out_string(OUT_TEXT, NULL, out_plain, line);
			out_row_end();
		} else {
			out_span("%*s%s", FINDING_INDENT, "", line);
		}
		first = false;
		text += shown;
		text += strspn(text, " \n");
	} while (*text);
}

static void on_finding(void *context, const struct preflight_finding *finding)
{
	static const struct {
		const char *word;
		enum out_colour colour;
	} results[] = {
		[PREFLIGHT_OK] = { "ok", COLOUR_GOOD },
		[PREFLIGHT_WARNING] = { "warning", COLOUR_WARN },
		[PREFLIGHT_FAILURE] = { "failure", COLOUR_BAD },
	};
	const struct preflight_check_text *check = preflight_check_text(finding->check);
	struct tally *tally = context;

	tally->warnings += finding->result == PREFLIGHT_WARNING;
	tally->failures += finding->result == PREFLIGHT_FAILURE;
	out_object(check->id);
	out_string(OUT_JSON, "group", out_plain, check->group);
	/* Once for all lines of it. */
	out_string(OUT_TEXT, NULL, "%-9s", check->group == tally->group ? "" : check->group);
	tally->group = check->group;
	out_string(OUT_JSON, "title", out_plain, check->title);
	out_colour(results[finding->result].colour);
	out_string(OUT_ANY, "result", "%-7s", results[finding->result].word);
	out_string(OUT_TEXT, NULL, "%-18s", check->title);
	out_string(OUT_JSON, "finding", out_plain, finding->found);
	if (finding->fix[0])
		out_string(OUT_JSON, "fix", out_plain, finding->fix);
	else
		out_null(OUT_JSON, "fix", NULL);
	if (!out_is_json()) {
		show_finding(finding->found);
		if (finding->fix[0])
			out_span("           fix: %s", finding->fix);
	}
	out_object_end();
}

static int run(const void *data, struct ipsecbpf_report *report)
{
	const struct preflight_args *args = data;
	const struct ipsecbpf_preflight_opts opts = {
		.sz = sizeof(opts),
		.xdp_mode = args->xdp ? args->xdp - 1 : XDP_MODE_NATIVE,
		.mark_value = args->mark.value,
		.mark_mask = args->mark.mask,
	};
	struct tally tally = { .group = "" };
	int result;

	out_string(OUT_JSON, "ifname", out_plain, args->ifname);
	out_object("checks");
	out_table(NULL, 4);
	result = ipsecbpf_preflight(args->ifname, &opts, on_finding, &tally);
	out_table_end();
	out_object_end();
	if (result < 0)
		return exit_code(result, args->ifname, report);
	out_string(OUT_TEXT, NULL, "%s: ", args->ifname);
	out_uint(OUT_ANY, "failures", "failures: %" PRIu64 ", ", tally.failures);
	out_uint(OUT_ANY, "warnings", "warnings: %" PRIu64 "\n", tally.warnings);
	return tally.failures || result ? EXIT_REFUSED : EXIT_DONE;
}

const struct verb verb_preflight = {
	.name = "preflight",
	.summary = "would attach work here? changes nothing",
	.details = "Checks process, kernel, file systems, crypto, the interface and its network "
		   "namespace: see PREFLIGHT. Each line says ok, warning or failure, what was "
		   "found, and the command that mends it. Exit code 1 if there is a failure: "
		   "attach would refuse, in the same words.",
	.operands = operands,
	.options = options,
	.args_size = sizeof(struct preflight_args),
	.run = run,
};
