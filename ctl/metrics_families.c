// SPDX-License-Identifier: BSD-2-Clause
/*
 * Every metric, once: its name after Prometheus' conventions (base units as suffix, _total for what
 * only rises), its type, its help, its labels, and how its samples come out of a source.
 */
#include <microhttpd.h>
#include <stdarg.h>
#include <string.h>

#include "metrics.h"
#include "output.h"
#include "worker_counters.h"

/* ---- samples ------------------------------------------------------------------------------- */

static void json_sample(const struct metric_label *labels, size_t count, struct metric_value value)
{
	out_object(NULL);
	out_object("labels");
	for (size_t i = 0; i < count; i++)
		out_string(OUT_JSON, labels[i].name, out_plain, labels[i].value);
	out_object_end();
	if (value.is_real)
		out_real("value", value.real);
	else
		out_uint(OUT_JSON, "value", out_plain, value.whole);
	out_object_end();
}

static void put_sample(const struct metrics_writer *writer, struct metric_value value, va_list args)
{
	struct metric_label labels[METRIC_LABELS_MAX + 1];
	const struct metric *metric = writer->metric;
	size_t count = 0;

	if (!metric->global)
		labels[count++] = (struct metric_label){ "interface", writer->source->ifname };
	for (size_t i = 0; metric->labels[i]; i++) {
		labels[count].name = metric->labels[i];
		labels[count++].value = va_arg(args, const char *);
	}
	if (writer->text)
		exposition_sample(writer->text, metric->name, labels, count, value);
	else
		json_sample(labels, count, value);
}

void metrics_whole(const struct metrics_writer *writer, uint64_t value, ...)
{
	va_list args;

	va_start(args, value);
	put_sample(writer, (struct metric_value){ .whole = value }, args);
	va_end(args);
}

void metrics_real(const struct metrics_writer *writer, double value, ...)
{
	va_list args;

	va_start(args, value);
	put_sample(writer, (struct metric_value){ .real = value, .is_real = true }, args);
	va_end(args);
}

/* ---- what is attached ---------------------------------------------------------------------- */

static void write_build(const struct metrics_writer *writer)
{
	char abi[16];

	snprintf(abi, sizeof(abi), "%u", IPSECBPF_ABI_VERSION);
	metrics_whole(writer, 1, IPSECBPF_VERSION, abi, MHD_get_version());
}

static void write_up(const struct metrics_writer *writer)
{
	metrics_whole(writer, writer->source->up);
}

static void write_state(const struct metrics_writer *writer)
{
	static const char *const states[] = {
		"running", "blocked", "guard", "supervisor-dead", "gone",
	};

	for (size_t i = 0; i < sizeof(states) / sizeof(states[0]); i++)
		metrics_whole(writer, !strcmp(writer->source->status.state, states[i]), states[i]);
}

static void write_attachment(const struct metrics_writer *writer)
{
	const struct ipsecbpf_status *status = &writer->source->status;

	metrics_whole(writer, 1, status->xdp_mode, status->tc_mode, status->wire_mode,
		      status->host_port, status->engine);
}

static void write_trial(const struct metrics_writer *writer)
{
	if (writer->source->status.trial_left >= 0)
		metrics_whole(writer, (uint64_t)writer->source->status.trial_left);
}

static void write_worker_up(const struct metrics_writer *writer)
{
	metrics_whole(writer, writer->source->status.worker_pid != 0);
}

static void write_supervisor_up(const struct metrics_writer *writer)
{
	metrics_whole(writer, writer->source->status.supervisor_pid != 0);
}

#define WRITE_STATUS(function, value)				\
	static void function(const struct metrics_writer *writer)	\
	{							\
		metrics_whole(writer, writer->source->value);	\
	}

WRITE_STATUS(write_restarts, status.worker_restarts)
WRITE_STATUS(write_queues, status.queues)
WRITE_STATUS(write_mtu, status.mtu)
WRITE_STATUS(write_serial, status.policy_serial)
WRITE_STATUS(write_rules, status.rules)

static void write_inner_mtu(const struct metrics_writer *writer)
{
	if (writer->source->status.inner_mtu)
		metrics_whole(writer, writer->source->status.inner_mtu);
}

/* ---- packets ------------------------------------------------------------------------------- */

/* The series are there from the start, so that a first drop is seen to raise one. */
static void write_drops(const struct metrics_writer *writer)
{
	const struct ipsecbpf_stats *stats = &writer->source->stats;

	for (unsigned int i = DROP_NONE + 1; i < DROP_REASON_COUNT; i++) {
		uint64_t worker = stats->worker.drops[i], bpf = stats->drops[i] - worker;
		const char *where = drop_reason_where(i);

		if (strstr(where, "bpf") || bpf)
			metrics_whole(writer, bpf, drop_reason_name(i), "bpf");
		if (strstr(where, "worker") || worker)
			metrics_whole(writer, worker, drop_reason_name(i), "worker");
	}
}

static void write_passes(const struct metrics_writer *writer)
{
	for (unsigned int i = 0; i < PASS_COUNTER_COUNT; i++)
		metrics_whole(writer, writer->source->stats.passes[i], pass_counter_name(i));
}

static void write_worker(const struct metrics_writer *writer)
{
#define X(member, text) metrics_whole(writer, writer->source->stats.worker.member, #member);
	WORKER_COUNTERS(X)
#undef X
}

/* ---- policy -------------------------------------------------------------------------------- */

/* Of a policy that needs none, when none are there, nothing is said. */
static void write_hooks(const struct metrics_writer *writer)
{
	if (writer->source->status.socket_hooks)
		metrics_whole(writer, (uint64_t)writer->source->status.socket_hooks);
}

static void write_hooks_attached(const struct metrics_writer *writer)
{
	if (writer->source->status.socket_hooks)
		metrics_whole(writer, (uint64_t)writer->source->status.socket_hooks_attached);
}

static void write_on_trial(const struct metrics_writer *writer)
{
	metrics_whole(writer, writer->source->status.confirm_left >= 0);
}

static void write_confirm_left(const struct metrics_writer *writer)
{
	if (writer->source->status.confirm_left >= 0)
		metrics_whole(writer, (uint64_t)writer->source->status.confirm_left);
}

static void write_applied(const struct metrics_writer *writer)
{
	if (writer->source->view.policy)
		metrics_real(writer, (double)writer->source->view.head.applied_ns / 1e9);
}

static void write_entries(const struct metrics_writer *writer)
{
	if (writer->source->view.policy)
		metrics_whole(writer, writer->source->view.head.entries);
}

static void write_memory(const struct metrics_writer *writer)
{
	if (writer->source->view.policy)
		metrics_whole(writer, (uint64_t)writer->source->view.head.cells *
				      sizeof(union spd_cell));
}

static void write_rule_packets(const struct metrics_writer *writer)
{
	for (size_t i = 0; i < writer->source->top_count; i++)
		metrics_whole(writer, writer->source->top[i]->packets,
			      writer->source->top[i]->name);
}

static void write_rule_bytes(const struct metrics_writer *writer)
{
	for (size_t i = 0; i < writer->source->top_count; i++)
		metrics_whole(writer, writer->source->top[i]->bytes, writer->source->top[i]->name);
}

static void write_rule_idle(const struct metrics_writer *writer)
{
	for (size_t i = 0; i < writer->source->top_count; i++)
		if (writer->source->top[i]->idle_ms != UINT64_MAX)
			metrics_real(writer, (double)writer->source->top[i]->idle_ms / 1000,
				     writer->source->top[i]->name);
}

/* ---- SAs and maps -------------------------------------------------------------------------- */

static const char *const directions[SPD_DIRECTION_COUNT] = { [SPD_IN] = "in", [SPD_OUT] = "out" };

static void write_sas(const struct metrics_writer *writer)
{
	metrics_whole(writer, writer->source->status.sas_in, directions[SPD_IN]);
	metrics_whole(writer, writer->source->status.sas_out, directions[SPD_OUT]);
}

static void write_sas_left_out(const struct metrics_writer *writer)
{
	size_t count = writer->source->sa_count, limit = writer->limits.sas;

	metrics_whole(writer, limit && count > limit ? count - limit : 0);
}

static void write_missing(const struct metrics_writer *writer)
{
	const struct ipsecbpf_view *view = &writer->source->view;

	for (size_t i = 0; i < view->pair_count; i++) {
		const struct ipsecbpf_pair_use *pair = &view->pairs[i];

		for (int way = 0; way < SPD_DIRECTION_COUNT; way++)
			if (pair->needed[way])
				metrics_whole(writer, !pair->sas[way], pair->peer, pair->protection,
					      directions[way]);
	}
}

static void write_map_entries(const struct metrics_writer *writer)
{
	for (size_t i = 0; i < writer->source->map_count; i++)
		if (writer->source->maps[i].fills)
			metrics_whole(writer, writer->source->maps[i].entries,
				      writer->source->maps[i].name);
}

static void write_map_max(const struct metrics_writer *writer)
{
	for (size_t i = 0; i < writer->source->map_count; i++)
		metrics_whole(writer, writer->source->maps[i].max_entries,
			      writer->source->maps[i].name);
}

/* ---- the table ----------------------------------------------------------------------------- */

/* X(name, type, help, function, labels...) */
#define METRICS(X)										\
	X("attachment_info", GAUGE, "How the interface is attached; always 1.",			\
	  write_attachment, "xdp_mode", "tc_mode", "wire_mode", "host_port", "engines")		\
	X("attachment_state", GAUGE,								\
	  "1 for the state that the attachment is in: running; blocked (no policy, or socket "	\
	  "hooks that it needs are off); guard "						\
	  "(detached, protected traffic is dropped); supervisor-dead (the same); gone (the "	\
	  "interface is not protected any more).", write_state, "state")			\
	X("attachment_trial_remaining_seconds", GAUGE,						\
	  "Until the attachment undoes itself unless confirmed; absent without a trial.",	\
	  write_trial)										\
	X("supervisor_up", GAUGE, "1 if the supervisor answers.", write_supervisor_up)		\
	X("worker_up", GAUGE, "1 if a worker is running.", write_worker_up)			\
	X("worker_restarts_total", COUNTER, "Times that the supervisor has replaced the worker.", \
	  write_restarts)									\
	X("queues", GAUGE, "Queues of the NIC that the worker serves.", write_queues)		\
	X("mtu_bytes", GAUGE, "MTU of the NIC.", write_mtu)					\
	X("inner_mtu_bytes", GAUGE,								\
	  "What fits through every outbound SA; absent without any.", write_inner_mtu)		\
	X("drops_total", COUNTER,								\
	  "Packets dropped, by reason (see DROP REASONS in ipsecbpf(8)) and by whom.",		\
	  write_drops, "reason", "where")							\
	X("passes_total", COUNTER,								\
	  "Packets that the hooks let pass or handed on, by how (see ipsecbpf stats).",		\
	  write_passes, "counter")								\
	X("worker_events_total", COUNTER,							\
	  "What the worker has done, by kind (see ipsecbpf stats).", write_worker, "counter")	\
	X("policy_serial", GAUGE, "Number of the policy in force; 0: none.", write_serial)	\
	X("policy_rules", GAUGE, "Rules of the policy in force.", write_rules)			\
	X("policy_entries", GAUGE, "Entries that its rules were compiled to.", write_entries)	\
	X("policy_memory_bytes", GAUGE, "Of the map that packets are searched in.", write_memory)	\
	X("policy_applied_timestamp_seconds", GAUGE, "When the policy in force was applied.",	\
	  write_applied)									\
	X("policy_on_trial", GAUGE, "1 if the policy before comes back unless this one is confirmed.", \
	  write_on_trial)									\
	X("policy_trial_remaining_seconds", GAUGE,						\
	  "Until the policy before comes back; absent without a trial.", write_confirm_left)	\
	X("socket_hooks", GAUGE,								\
	  "Socket hooks that there are to be; absent without applications.", write_hooks)	\
	X("socket_hooks_attached", GAUGE,							\
	  "Of them, those that are attached; as long as some are off, nothing but essential "	\
	  "traffic passes, unless their cgroup is gone.", write_hooks_attached)			\
	X("rule_packets_total", COUNTER,							\
	  "Packets that a rule has decided (super-packets count once); of the rules hit "	\
	  "most, see --rules.",									\
	  write_rule_packets, "rule")								\
	X("rule_bytes_total", COUNTER, "Octets of those packets, Ethernet headers included.",	\
	  write_rule_bytes, "rule")								\
	X("rule_idle_seconds", GAUGE, "Since the last of them.", write_rule_idle, "rule")	\
	X("sas", GAUGE, "SAs installed.", write_sas, "direction")				\
	X("sas_left_out", GAUGE, "SAs that are not described one by one (see --sas).",		\
	  write_sas_left_out)									\
	X("sa_missing", GAUGE,									\
	  "1 where policy says protect and there is no SA to do it: what it protects is dropped.", \
	  write_missing, "peer", "protection", "direction")					\
	X("map_entries", GAUGE, "Entries in use of the BPF maps that can become full.",		\
	  write_map_entries, "map")								\
	X("map_max_entries", GAUGE, "Entries that a BPF map has room for (of events: octets).",	\
	  write_map_max, "map")

static const struct metric build_info = {
	.name = "ipsecbpf_build_info", .type = METRIC_GAUGE, .global = true, .write = write_build,
	.help = "The version that reads, and the version of the BPF maps it understands; always 1.",
	.labels = { "version", "abi", "libmicrohttpd" },
};

static const struct metric up = {
	.name = "ipsecbpf_up", .type = METRIC_GAUGE, .write = write_up,
	.help = "1 if the attachment could be read; otherwise nothing else is said of it.",
};

static const struct metric families[] = {
#define X(suffix, kind, text, function, ...)						\
	{ .name = "ipsecbpf_" suffix, .type = METRIC_##kind, .help = text, .write = function, \
	  .labels = { __VA_ARGS__ } },
	METRICS(X)
#undef X
	{ .name = NULL }
};

static void begin(struct metrics_writer *writer, const struct metric *metric)
{
	writer->metric = metric;
	if (writer->text) {
		exposition_metric(writer->text, metric->name, metric->type, metric->help);
		return;
	}
	out_object(NULL);
	out_string(OUT_JSON, "name", out_plain, metric->name);
	out_string(OUT_JSON, "type", out_plain, metric_type_name(metric->type));
	out_string(OUT_JSON, "help", out_plain, metric->help);
	out_array("samples");
}

static void end(const struct metrics_writer *writer)
{
	if (writer->text)
		return;
	out_array_end();
	out_object_end();
}

/* All samples of a metric stand together, whichever attachment they are of. */
static void write_metric(struct metrics_writer *writer, const struct metrics *metrics,
			 const struct metric *metric)
{
	begin(writer, metric);
	if (metric->global)
		metric->write(writer);
	for (writer->source = metrics->sources; writer->source && !metric->global;
	     writer->source = writer->source->next)
		if (writer->source->up || metric == &up)
			metric->write(writer);
	end(writer);
}

const struct metric *metrics_at(size_t index)
{
	static const struct metric *const tables[] = { families, metrics_of_sas, metrics_of_apps };
	static const struct metric *const first[] = { &build_info, &up };

	if (index < sizeof(first) / sizeof(first[0]))
		return first[index];
	index -= sizeof(first) / sizeof(first[0]);
	for (size_t i = 0; i < sizeof(tables) / sizeof(tables[0]); i++)
		for (const struct metric *metric = tables[i]; metric->name; metric++)
			if (!index--)
				return metric;
	return NULL;
}

void metrics_write(const struct metrics *metrics, struct exposition *text)
{
	struct metrics_writer writer = { .text = text, .limits = metrics->limits };

	const struct metric *metric;

	for (size_t i = 0; (metric = metrics_at(i)); i++)
		write_metric(&writer, metrics, metric);
}
