// SPDX-License-Identifier: BSD-2-Clause
#include <inttypes.h>

#include "output.h"
#include "verbs.h"
#include "worker_counters.h"

struct stats_args {
	const char *ifname;
	bool all;
};

static const struct operand_def operands[] = {
	{ "IFNAME", OPERAND_IFNAME, offsetof(struct stats_args, ifname) },
	OPERAND_END,
};

static const struct option_def options[] = {
	{ "all", 'a', OPT_FLAG, NULL, "counters that are zero as well (JSON always has them)",
	  offsetof(struct stats_args, all) },
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

static int run(const void *data, struct ipsecbpf_report *report)
{
	const struct stats_args *args = data;
	struct ipsecbpf_stats stats;
	int err = ipsecbpf_stats(args->ifname, &stats, report);

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
	.name = "stats", .summary = "count of packets passed and dropped, by reason",
	.operands = operands, .options = options, .args_size = sizeof(struct stats_args),
	.run = run,
};
