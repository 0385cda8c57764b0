// SPDX-License-Identifier: BSD-2-Clause
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "lib/rule_stats.h"
#include "output.h"
#include "rule_line.h"
#include "rule_order.h"
#include "verbs.h"
#include "worker_counters.h"

struct stats_args {
	const char *ifname, *rule;
	bool all, rules;
	uint32_t top;
};

static const struct operand_def operands[] = {
	{ "IFNAME", OPERAND_IFNAME, offsetof(struct stats_args, ifname) },
	OPERAND_END,
};

static const struct option_def options[] = {
	{ "all", 'a', OPT_FLAG, NULL, "counters that are zero as well (JSON always has them)",
	  offsetof(struct stats_args, all) },
	{ "rules", 'r', OPT_FLAG, NULL,
	  "what each rule has decided, in the order of the policy, instead",
	  offsetof(struct stats_args, rules) },
	{ "rule", 0, OPT_STRING, "NAME", "the same of one rule", offsetof(struct stats_args, rule) },
	{ "top", 0, OPT_UINT, "N", "the same of the N rules hit most, most packets first",
	  offsetof(struct stats_args, top), 1, UINT32_MAX },
	OPTION_END,
};

/* One counter: a member in JSON; as text a row, unless it is zero and not asked for. */
static void counter(const char *name, uint64_t value, const char *text, bool all)
{
	bool shown = all || value;

	if (shown) {
		out_text("  %s", name);
		out_uint(OUT_ANY, name, out_plain, value);
		out_text("%s", text);
		out_row_end();
	} else {
		out_uint(OUT_JSON, name, out_plain, value);
	}
}

static void show_passed(const struct ipsecbpf_stats *stats, bool all)
{
	out_object("passed");
	out_span("passed");
	for (unsigned int i = 0; i < PASS_COUNTER_COUNT; i++)
		counter(pass_counter_name(i), stats->passes[i], pass_counter_text(i), all);
	out_object_end();
}

static void show_dropped(const struct ipsecbpf_stats *stats, bool all)
{
	out_object("dropped");
	out_span("dropped");
	for (unsigned int i = DROP_NONE + 1; i < DROP_REASON_COUNT; i++)
		counter(drop_reason_name(i), stats->drops[i], drop_reason_text(i), all);
	out_object_end();
}

static void show_worker(const struct worker_stats *worker, bool all)
{
	out_object("worker");
	out_span("worker");
#define X(field, text) counter(#field, worker->field, text, all);
	WORKER_COUNTERS(X)
#undef X
	out_object_end();
}

/* ---- rules --------------------------------------------------------------------------------- */

static void show_rule(const struct rule_stat *rule, const char *name)
{
	char idle[32];

	out_object(NULL);
	out_string(OUT_ANY, "name", out_plain, name);
	out_uint(OUT_ANY, "packets", out_plain, rule->packets);
	out_uint(OUT_ANY, "bytes", out_plain, rule->bytes);
	out_text("%s", format_duration(rule->idle_ms, idle, sizeof(idle)));
	if (rule->idle_ms == UINT64_MAX)
		out_null(OUT_JSON, "idle_ms", NULL);
	else
		out_uint(OUT_JSON, "idle_ms", out_plain, rule->idle_ms);
	if (rule->line)
		out_uint(OUT_ANY, "line", out_plain, rule->line);
	else
		out_null(OUT_ANY, "line", "-");
	out_object_end();
	out_row_end();
}

static void show_rules(const struct rule_stats *stats)
{
	out_array("rules");
	for (size_t i = 0; i < stats->count; i++)
		show_rule(&stats->rules[i], stats->rules[i].name);
	out_array_end();
	out_array("defaults");
	show_rule(&stats->defaults[SPD_IN], "(default in)");
	show_rule(&stats->defaults[SPD_OUT], "(default out)");
	out_array_end();
}

static int show_one(const struct stats_args *args, const struct rule_stats *stats,
		    struct ipsecbpf_report *report)
{
	size_t i = 0;

	while (i < stats->count && strcmp(stats->rules[i].name, args->rule))
		i++;
	out_array("rules");
	if (i < stats->count)
		show_rule(&stats->rules[i], args->rule);
	out_array_end();
	if (i < stats->count)
		return EXIT_DONE;
	report_error(report, args->ifname, "ipsecbpf policy show has the names",
		     "the policy has no rule \"%s\"", args->rule);
	return EXIT_REFUSED;
}

static int show_top(const struct stats_args *args, const struct rule_stats *stats,
		    struct ipsecbpf_report *report)
{
	size_t count;
	const struct rule_stat **order = rule_order(stats, args->top, &count);

	if (!order)
		return exit_code(-ENOMEM, args->ifname, report);
	out_array("rules");
	for (size_t i = 0; i < count; i++)
		show_rule(order[i], order[i]->name);
	out_array_end();
	free(order);
	return EXIT_DONE;
}

static int run_rules(const struct stats_args *args, struct ipsecbpf_report *report)
{
	static const char *const headings[] = { "rule", "packets", "bytes", "idle", "line" };
	struct rule_stats stats = { 0 };
	int code = exit_code(ipsecbpf_rule_stats(args->ifname, &stats, report), args->ifname,
			     report);

	if (code)
		goto out;
	out_string(OUT_JSON, "ifname", out_plain, args->ifname);
	out_uint(OUT_JSON, "policy_serial", out_plain, stats.serial);
	out_rule_file("file", stats.file);
	out_table(headings, sizeof(headings) / sizeof(headings[0]));
	if (args->rule)
		code = show_one(args, &stats, report);
	else if (args->top)
		code = show_top(args, &stats, report);
	else
		show_rules(&stats);
	out_table_end();
	if (!code)
		out_string(OUT_TEXT, NULL, "lines are of %s\n", rule_file_text(stats.file));
out:
	rule_stats_fini(&stats);
	return code;
}

static int run(const void *data, struct ipsecbpf_report *report)
{
	const struct stats_args *args = data;
	struct ipsecbpf_stats stats;
	int err;

	if (args->rule && args->top) {
		report_error(report, "ipsecbpf stats", NULL, "--rule or --top, not both");
		return EXIT_USAGE;
	}
	if (args->rules || args->rule || args->top)
		return run_rules(args, report);
	err = ipsecbpf_stats(args->ifname, &stats, report);
	if (err)
		return exit_code(err, args->ifname, report);
	out_string(OUT_JSON, "ifname", out_plain, args->ifname);
	out_table(NULL, 3);
	show_passed(&stats, args->all);
	show_dropped(&stats, args->all);
	show_worker(&stats.worker, args->all);
	out_table_end();
	return EXIT_DONE;
}

const struct verb verb_stats = {
	.name = "stats", .summary = "count of packets passed and dropped, by reason or by rule",
	.details = "A rule's counters go on when policy is replaced and the rule stays the same. "
		   "Super-packets count once, bytes are of frames with their Ethernet headers; "
		   "idle is the time since the last one; line is "
		   "the rule's in the file that was applied.",
	.operands = operands, .options = options, .args_size = sizeof(struct stats_args),
	.run = run,
};
