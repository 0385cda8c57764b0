/* SPDX-License-Identifier: BSD-2-Clause */
/* What the policy tests share. Included by: selftests/unit/test_policy_*.c. */
#ifndef POLICY_TESTING_H
#define POLICY_TESTING_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "lib/policy.h"

/* The beginning and end of a policy with two protections and a peer, rules in between. */
#define POLICY_HEAD								\
	"{\"version\":1,\"bypass_essential\":[\"arp\",\"nd\"],"			\
	"\"defaults\":{\"in\":\"bypass\",\"out\":\"discard\",\"non_ip\":\"bypass\"},"	\
	"\"protections\":{\"wire\":{},\"vpn\":{\"mode\":\"tunnel\"}},"		\
	"\"peers\":{\"b\":{\"addresses\":[\"10.0.0.2\",\"fd00::2\"]}},\"rules\":["
#define POLICY_TAIL "]}"

/* The beginning of a policy, up to and into its protections. */
#define PROTECTIONS_HEAD							\
	"{\"version\":1,\"bypass_essential\":[\"arp\",\"nd\"],"			\
	"\"defaults\":{\"in\":\"bypass\",\"out\":\"discard\",\"non_ip\":\"bypass\"},"	\
	"\"protections\":{"

/* A report as text: one "LEVEL: OBJECT: CAUSE (NEXT)" per line, then "errors: N". malloc'd. */
static inline char *report_text(const struct ipsecbpf_report *report)
{
	char *text = NULL;
	size_t len;
	FILE *out = open_memstream(&text, &len);

	assert_non_null(out);
	for (size_t i = 0; i < report->count; i++) {
		const struct report_item *item = &report->items[i];

		fprintf(out, "%s: %s: %s", report_level_name(item->level), item->object,
			item->cause);
		if (item->next)
			fprintf(out, " (%s)", item->next);
		fputc('\n', out);
	}
	fprintf(out, "errors: %zu\n", report->errors);
	fclose(out);
	return text;
}

/* Parses text that must be good; says why if it is not. */
static inline struct policy *parse_good(const char *text)
{
	struct ipsecbpf_report report = { 0 };
	struct policy *policy = policy_parse(text, strlen(text), "test.json", &report);

	if (!policy) {
		char *said = report_text(&report);

		print_error("%s\n%s", text, said);
		free(said);
	}
	assert_non_null(policy);
	report_fini(&report);
	return policy;
}

#endif /* POLICY_TESTING_H */
