// SPDX-License-Identifier: BSD-2-Clause
#include "policy_test.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "oracle.h"

void policy_tests_free(struct policy_tests *tests)
{
	if (!tests)
		return;
	free(tests->policy);
	free(tests->items);
	free(tests);
}

static bool same_name(const char *expected, const char *got)
{
	return !expected[0] || (got && !strcmp(expected, got));
}

void policy_test_judge(const struct policy_test *test, struct policy_test_result *result)
{
	const struct policy_test_expect *expect = &test->expect;

	result->passed = result->action == expect->action &&
			 same_name(expect->peer, result->peer) &&
			 same_name(expect->protection, result->protection) &&
			 (!expect->essential_given || expect->essential == result->essential);
	if (expect->rule_given && expect->no_rule)
		result->passed &= !result->rule;
	else if (expect->rule_given)
		result->passed &= same_name(expect->rule, result->rule);
}

static void read_verdict(const struct policy *policy, const struct packet_verdict *verdict,
			 struct policy_test_result *result)
{
	const struct rule *rule;

	*result = (struct policy_test_result){
		.action = (enum spd_action)verdict->action,
		.essential = verdict->essential,
	};
	if (verdict->rule >= policy->all_rule_count)
		return;
	rule = &policy->rules[verdict->rule];
	result->rule = rule->name;
	if (rule->action == SPD_PROTECT) {
		result->peer = rule->peer == PEER_NONE ? NULL :
							 policy->peers[rule->peer].name;
		result->protection = policy->protections[rule->protection].name;
	}
}

/* The number of the application whose packet it is. -ENOENT: the policy has none of that name. */
static int find_application(const struct policy *policy, const char *name, uint32_t *ret_app)
{
	*ret_app = 0;
	for (size_t i = 0; i < policy->application_count && name[0] && !*ret_app; i++)
		if (!strcmp(policy->applications[i].name, name))
			*ret_app = (uint32_t)i + 1;
	return name[0] && !*ret_app ? -ENOENT : 0;
}

static int run_one(struct oracle *oracle, const struct policy *policy,
		   const struct policy_test *test, struct policy_test_result *ret_result)
{
	static const uint8_t mac[6] = { 0x02, 0, 0, 0, 0, 0x01 };
	enum hook hook = test->direction == SPD_OUT ? HOOK_tc_egress : HOOK_xdp_ingress;
	uint8_t frame[PACKET_SPEC_FRAME_MAX];
	struct oracle_packet packet = { .frame = frame, .forwarded = test->forwarded };
	struct oracle_answer answer;
	int err;

	err = find_application(policy, test->application, &packet.app);
	if (err)
		return err;
	packet.len = packet_spec_build(&test->spec, mac, frame);
	err = oracle_ask(oracle, hook, &packet, &answer);
	if (err)
		return err;
	if (!answer.verdict.asked)	/* we have made the packet: this cannot be */
		return -EPROTO;
	read_verdict(policy, &answer.verdict, ret_result);
	policy_test_judge(test, ret_result);
	return 0;
}

int policy_tests_run(const struct policy_tests *tests, const struct policy *policy,
		     policy_test_fn fn, void *context, struct ipsecbpf_report *report)
{
	struct policy_test_result result;
	struct ipsecbpf_report causes = { 0 };
	struct oracle oracle;
	int err = oracle_open_policy(&oracle, policy, tests->interface, &causes);

	/* Without the privilege, what else there is to say is a consequence. */
	if (err == -EPERM)
		report_error(report, "policy test", "run it as root",
			     "the BPF programs need CAP_BPF and CAP_NET_ADMIN to be loaded");
	for (size_t i = 0; err != -EPERM && i < causes.count; i++)
		report_add(report, causes.items[i].level, causes.items[i].object,
			   causes.items[i].next, "%s", causes.items[i].cause);
	report_fini(&causes);
	if (err)
		return err;
	for (size_t i = 0; !err && i < tests->count; i++) {
		err = run_one(&oracle, policy, &tests->items[i], &result);
		if (err == -ENOENT)
			report_error(report, tests->items[i].name, NULL,
				     "the policy has no application \"%s\"",
				     tests->items[i].application);
		else if (err)
			report_error(report, tests->items[i].name, NULL,
				     "cannot ask the programs: %s", strerror(-err));
		else
			fn(context, &tests->items[i], &result);
	}
	oracle_close(&oracle);
	return err;
}
