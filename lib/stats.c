// SPDX-License-Identifier: BSD-2-Clause
#include "stats.h"

#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

/* Adds up a per-CPU array of counters. */
static int sum_percpu(int fd, uint64_t *totals, uint32_t count)
{
	int cpus = libbpf_num_possible_cpus(), err = 0;
	uint64_t *values;

	if (cpus < 0)
		return cpus;
	values = calloc((size_t)cpus, sizeof(*values));
	if (!values)
		return -ENOMEM;
	for (uint32_t key = 0; !err && key < count; key++) {
		if (bpf_map_lookup_elem(fd, &key, values))
			err = -errno;
		for (int cpu = 0; !err && cpu < cpus; cpu++)
			totals[key] += values[cpu];
	}
	free(values);
	return err;
}

int stats_read(const struct pins *pins, struct ipsecbpf_stats *ret_stats)
{
	struct ipsecbpf_stats stats = { 0 };
	uint32_t zero = 0;
	int err;

	err = sum_percpu(pins->passes_fd, stats.passes, PASS_SLOTS);
	if (!err)
		err = sum_percpu(pins->drops_fd, stats.drops, DROP_SLOTS);
	if (!err && bpf_map_lookup_elem(pins->worker_stats_fd, &zero, &stats.worker))
		err = -errno;
	if (err)
		return err;
	for (int reason = 0; reason < DROP_SLOTS; reason++)
		stats.drops[reason] += stats.worker.drops[reason];
	*ret_stats = stats;
	return 0;
}

int ipsecbpf_stats(const char *ifname, struct ipsecbpf_stats *ret_stats,
		   struct ipsecbpf_report *report)
{
	struct pins pins;
	int err;

	err = pins_open(&pins, ifname, report);
	if (err)
		return err;
	err = stats_read(&pins, ret_stats);
	if (err)
		report_error(report, ifname, NULL, "cannot read the counters: %s", strerror(-err));
	pins_close(&pins);
	return err;
}
