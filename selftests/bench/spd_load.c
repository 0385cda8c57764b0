// SPDX-License-Identifier: BSD-2-Clause
/* What it takes to put a rule set in force. */
#include <bpf/bpf.h>
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "lib/ipsecbpf.h"
#include "lib/policy_apply.h"
#include "spd_subject.h"

#define MIB (1024.0 * 1024.0)

static double seconds(clockid_t clock)
{
	struct timespec ts;

	clock_gettime(clock, &ts);
	return (double)ts.tv_sec + (double)ts.tv_nsec / 1e9;
}

static double now(void)
{
	return seconds(CLOCK_MONOTONIC);
}

/* A number of kibibytes, or decimal octets, from a file of /proc: what follows `key`. 0: not there. */
static double proc_number(const char *path, const char *key)
{
	FILE *file = fopen(path, "r");
	double value = 0;
	char line[256];

	while (file && fgets(line, sizeof(line), file))
		if (!strncmp(line, key, strlen(key)))
			value = strtod(line + strlen(key), NULL);
	if (file)
		fclose(file);
	return value;
}

/* The kernel forgets what the peak was. */
static double reset_peak_mib(void)
{
	FILE *file = fopen("/proc/self/clear_refs", "w");

	if (file) {
		fputs("5", file);
		fclose(file);
	}
	return proc_number("/proc/self/status", "VmRSS:") / 1024;
}

static double peak_mib(void)
{
	return proc_number("/proc/self/status", "VmHWM:") / 1024;
}

/* What the kernel charges for the inner map of a generation. */
static double inner_map_mib(int outer_fd, uint32_t generation)
{
	char path[64];
	double octets;
	uint32_t id;
	int fd;

	if (bpf_map_lookup_elem(outer_fd, &generation, &id))
		return 0;
	fd = bpf_map_get_fd_by_id(id);
	if (fd < 0)
		return 0;
	snprintf(path, sizeof(path), "/proc/self/fdinfo/%d", fd);
	octets = proc_number(path, "memlock:");
	close(fd);
	return octets / MIB;
}

static uint32_t any_id(void *context, size_t peer, size_t protection)
{
	(void)context;
	return (uint32_t)(1 + (peer * GEN_PROTECTION_COUNT + protection) % (PROTECT_MAX - 1));
}

static int print_failure(const char *what, struct ipsecbpf_report *report, int err)
{
	for (size_t i = 0; i < report->count && report->errors; i++)
		if (report->items[i].level == REPORT_ERROR)
			fprintf(stderr, "%s: %s\n", report->items[i].object,
				report->items[i].cause);
	if (err)
		fprintf(stderr, "cannot %s: %s\n", what, strerror(-err));
	return err;
}

/* As `ipsecbpf policy apply` does, from the text in memory on. */
static int load_text(struct subject *subject, const char *text, size_t len, bool compile_alone)
{
	const struct policy_install_opts for_good = { 0 };
	struct load_cost *load = &subject->load;
	struct policy_compiled compiled = { 0 };
	struct ipsecbpf_apply_result result;
	struct ipsecbpf_report report = { 0 };
	struct policy *policy;
	double start = now();
	int err = 0;

	policy = policy_parse(text, len, "generated", &report);
	if (!policy)
		err = -errno;
	load->parse = now() - start;
	load->warnings = report.count - report.errors;
	if (!err && compile_alone) {
		const struct policy_compile_input input = {
			.policy = policy,
			.ifname = DATAPATH_POLICY_IFNAME,
			.protect_id = any_id,
		};

		start = now();
		err = policy_compile(&input, &compiled, &report);
		load->compile = now() - start;
		policy_compiled_fini(&compiled);
	}
	start = now();
	if (!err)
		err = policy_install(&subject->datapath.pins, DATAPATH_POLICY_IFNAME, policy,
				     &for_good, &result, &report);
	load->install = now() - start;
	if (!err) {
		load->entries = result.entries;
		load->steps = result.steps;
	}
	policy_free(policy);
	print_failure("load the policy", &report, err);
	report_fini(&report);
	return err;
}

static int policy_text(const struct gen_set *set, char **ret_text, size_t *ret_len)
{
	FILE *out = open_memstream(ret_text, ret_len);
	int err = out ? gen_set_write_policy(set, out) : -ENOMEM;

	if (out)
		fclose(out);
	return err;
}

int subject_load(struct subject *subject)
{
	const struct pins *pins = &subject->datapath.pins;
	struct load_cost *load = &subject->load;
	char *text = NULL, *name;
	uint32_t generation;
	double before, cpu;
	int err = policy_text(&subject->set, &text, &load->text_octets);

	if (err)
		return print_failure("write the policy", &(struct ipsecbpf_report){ 0 }, err);
	/* One rule is another: its name's first octet. */
	name = strstr(text, "{\"name\":\"r");
	if (!name)
		err = -EINVAL;
	else
		name[strlen("{\"name\":\"")] = 'x';
	if (!err)
		err = load_text(subject, text, load->text_octets, true);
	load->first = load->parse + load->install;
	before = reset_peak_mib();
	cpu = seconds(CLOCK_PROCESS_CPUTIME_ID);
	if (!err) {
		name[strlen("{\"name\":\"")] = 'r';
		err = load_text(subject, text, load->text_octets, false);
	}
	load->cpu = seconds(CLOCK_PROCESS_CPUTIME_ID) - cpu;
	load->user_mib = peak_mib() - before;
	free(text);
	if (err)
		return err;
	generation = GENERATION_AT(pins->control->active, 0);
	load->snapshot_mib = inner_map_mib(pins->spd_fd, generation);
	load->counters_mib = inner_map_mib(pins->rule_counts_fd, generation);
	load->text_mib = inner_map_mib(pins->policy_text_fd, generation);
	return load->snapshot_mib > 0 ? 0 : -ENOENT;
}
