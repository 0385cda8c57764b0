// SPDX-License-Identifier: BSD-2-Clause
#include <inttypes.h>

#include "output.h"
#include "verbs.h"

struct tally {
	uint64_t warnings, failures;
};

static void on_check(void *context, enum preflight_result result, const char *check,
		     const char *finding, const char *fix)
{
	static const struct {
		const char *word;
		enum out_colour colour;
	} results[] = {
		[PREFLIGHT_OK] = { "OK", COLOUR_GOOD },
		[PREFLIGHT_WARNING] = { "warning", COLOUR_WARN },
		[PREFLIGHT_FAILURE] = { "FAIL", COLOUR_BAD },
	};
	struct tally *tally = context;

	tally->warnings += result == PREFLIGHT_WARNING;
	tally->failures += result == PREFLIGHT_FAILURE;
	out_object(NULL);
	out_colour(results[result].colour);
	out_string(OUT_ANY, "result", out_plain, results[result].word);
	out_string(OUT_ANY, "check", out_plain, check);
	out_string(OUT_ANY, "finding", out_plain, finding);
	out_row_end();
	if (fix) {
		out_string(OUT_JSON, "fix", out_plain, fix);
		out_span("         fix: %s", fix);
	} else {
		out_null(OUT_JSON, "fix", NULL);
	}
	out_object_end();
}

static int run(const void *data, struct ipsecbpf_report *report)
{
	const struct ifname_args *args = data;
	struct tally tally = { 0 };
	int result;

	out_string(OUT_JSON, "ifname", out_plain, args->ifname);
	out_array("checks");
	out_table(NULL, 3);
	result = ipsecbpf_preflight(args->ifname, on_check, &tally);
	out_table_end();
	out_array_end();
	if (result < 0)
		return exit_code(result, args->ifname, report);
	out_text("%s: ", args->ifname);
	out_uint(OUT_ANY, "failures", "failures: %" PRIu64 ", ", tally.failures);
	out_uint(OUT_ANY, "warnings", "warnings: %" PRIu64 "\n", tally.warnings);
	return tally.failures || result ? EXIT_REFUSED : EXIT_DONE;
}

const struct verb verb_preflight = {
	.name = "preflight",
	.summary = "would attach work here? changes nothing",
	.details = "Checks kernel, privileges, file systems, the interface, its queues and MTU, "
		   "and other programs on its hooks. Exit code 1 if anything would make attach "
		   "fail.",
	.operands = ifname_operand,
	.options = no_options,
	.args_size = sizeof(struct ifname_args),
	.run = run,
};
