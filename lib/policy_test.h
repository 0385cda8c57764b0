/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Expectations kept beside a policy: packets, and what the policy is to say of them. They are asked
 * of the BPF programs (oracle.h), with the policy in private maps: nothing need be attached.
 *
 * Included by: the CLI's policy test. Part of the public interface.
 * Ownership:   policy_tests_free() frees what policy_tests_load() returns.
 */
#ifndef IPSECBPF_POLICY_TEST_H
#define IPSECBPF_POLICY_TEST_H

#include "ipsecbpf.h"
#include "packet_spec.h"

#define POLICY_TEST_VERSION 1
#define POLICY_TESTS_MAX    65536

/* What is not given is not compared. */
struct policy_test_expect {
	enum spd_action action;
	bool rule_given, no_rule;	/* no_rule: a default or essential traffic decides */
	bool essential_given, essential;
	char rule[NAME_LEN];
	char peer[NAME_LEN], protection[NAME_LEN];	/* "": not given */
};

struct policy_test {
	char name[NAME_LEN];
	enum spd_direction direction;
	bool forwarded;
	char application[NAME_LEN];	/* whose packet it is; empty: no application's */
	struct packet_spec spec;
	struct policy_test_expect expect;
	struct position at;
};

struct policy_tests {
	char *policy;			/* file name as written, or NULL */
	char interface[16];		/* for which the policy is compiled */
	struct policy_test *items;
	size_t count;
};

/* What the policy says. Names are NULL where there is none. */
struct policy_test_result {
	bool passed;
	enum spd_action action;
	bool essential;
	const char *rule, *peer, *protection;
};

/* Errors as policy_parse(): every one is in report; NULL + errno. */
struct policy_tests *policy_tests_parse(const char *text, size_t len, const char *name,
					struct ipsecbpf_report *report);
struct policy_tests *policy_tests_load(const char *path, struct ipsecbpf_report *report);
void policy_tests_free(struct policy_tests *tests);

/* Compares what was said of a packet with what is expected: sets result->passed. */
void policy_test_judge(const struct policy_test *test, struct policy_test_result *result);

typedef void (*policy_test_fn)(void *context, const struct policy_test *test,
			       const struct policy_test_result *result);

/* Calls `fn` for each test, in order. 0 whether they pass or not, or -errno explained in report. */
int policy_tests_run(const struct policy_tests *tests, const struct policy *policy,
		     policy_test_fn fn, void *context, struct ipsecbpf_report *report);

#endif /* IPSECBPF_POLICY_TEST_H */
