// SPDX-License-Identifier: BSD-2-Clause
/*
 * What the steps of a policy's front end cost: bench_policy FILE... Processor time of this process in
 * milliseconds, the least of several rounds: other load on the machine shows in it but little.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "lib/policy.h"

#define ROUNDS 3

enum step { STEP_PARSE, STEP_CHECK, STEP_SHOW, STEP_DIFF, STEP_FREE, STEP_COUNT };

static const char *const words[] = {
	[STEP_PARSE] = "load+check", [STEP_CHECK] = "of that check+lint", [STEP_SHOW] = "show",
	[STEP_DIFF] = "diff", [STEP_FREE] = "free",
};

static double now(void)
{
	struct timespec at;

	clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &at);
	return (double)at.tv_sec * 1e3 + (double)at.tv_nsec / 1e6;
}

static void least(double *least_of, double taken)
{
	if (!*least_of || taken < *least_of)
		*least_of = taken;
}

static int measure(const char *path, double times[STEP_COUNT])
{
	struct ipsecbpf_report report = { 0 };
	struct policy_change *changes;
	struct policy *policy, *again;
	double start = now();
	size_t count;
	char *text;

	policy = policy_load(path, &report);
	least(&times[STEP_PARSE], now() - start);
	report_fini(&report);
	if (!policy)
		return -1;
	start = now();
	policy_check(policy, &report);
	least(&times[STEP_CHECK], now() - start);
	report_fini(&report);
	start = now();
	text = policy_show(policy);
	least(&times[STEP_SHOW], now() - start);
	again = text ? policy_parse(text, strlen(text), "again", NULL) : NULL;
	free(text);
	start = now();
	if (!again || policy_diff(policy, again, &changes, &count) || count)
		return -1;
	least(&times[STEP_DIFF], now() - start);
	policy_changes_free(changes, count);
	policy_free(again);
	start = now();
	policy_free(policy);
	least(&times[STEP_FREE], now() - start);
	return 0;
}

int main(int argc, char **argv)
{
	for (int i = 1; i < argc; i++) {
		double times[STEP_COUNT] = { 0 };

		for (int round = 0; round < ROUNDS; round++)
			if (measure(argv[i], times)) {
				fprintf(stderr, "%s: cannot be measured\n", argv[i]);
				return 1;
			}
		printf("%s:\n", argv[i]);
		for (int step = 0; step < STEP_COUNT; step++)
			printf("  %-20s %9.2f ms\n", words[step], times[step]);
	}
	return 0;
}
