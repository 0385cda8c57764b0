// SPDX-License-Identifier: BSD-2-Clause
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lib/policy_test.h"
#include "output.h"
#include "verbs.h"

struct test_args {
	const char *file, *policy;
};

#define AT(field) offsetof(struct test_args, field)
static const struct operand_def operands[] = {
	{ "FILE", OPERAND_FILE, AT(file) },
	OPERAND_END,
};

static const struct option_def options[] = {
	{ "policy", 0, OPT_FILE, "FILE",
	  "the policy; without it, the one that the tests name, which stands beside them",
	  AT(policy) },
	OPTION_END,
};

struct tally {
	size_t passed, failed;
	const char *file;
};

static const char *action_word(enum spd_action action)
{
	static const char *const words[] = {
#define X(id, word) [SPD_##id] = word,
		SPD_ACTIONS(X)
#undef X
	};

	return action < SPD_ACTION_COUNT ? words[action] : "unknown";
}

static void show_member(const char *key, const char *text, bool in_text)
{
	out_string(OUT_JSON, key, out_plain, text);
	if (in_text)
		out_text(", %s \"%s\"", key, text);
}

static void show_expected(const struct policy_test_expect *expect)
{
	out_object("expected");
	out_text("  expected ");
	out_string(OUT_ANY, "action", "%s", action_word(expect->action));
	if (expect->rule_given && expect->no_rule) {
		out_null(OUT_JSON, "rule", NULL);
		out_text(", no rule");
	} else if (expect->rule_given) {
		show_member("rule", expect->rule, true);
	}
	if (expect->peer[0])
		show_member("peer", expect->peer, true);
	if (expect->protection[0])
		show_member("protection", expect->protection, true);
	if (expect->essential_given) {
		out_bool(OUT_JSON, "essential", out_plain, expect->essential);
		out_text(expect->essential ? ", essential" : ", not essential");
	}
	out_text("\n");
	out_object_end();
}

static void show_got(const struct policy_test_result *result)
{
	out_object("got");
	out_text("  got      ");
	out_string(OUT_ANY, "action", "%s", action_word(result->action));
	if (result->rule) {
		show_member("rule", result->rule, true);
	} else {
		out_null(OUT_JSON, "rule", NULL);
		out_text(", no rule");
	}
	if (result->peer) {
		show_member("peer", result->peer, true);
		show_member("protection", result->protection, true);
	}
	out_bool(OUT_JSON, "essential", out_plain, result->essential);
	out_text(result->essential ? ", essential\n" : "\n");
	out_object_end();
}

/* As text, only what has failed. */
static void on_test(void *context, const struct policy_test *test,
		    const struct policy_test_result *result)
{
	struct tally *tally = context;

	tally->passed += result->passed;
	tally->failed += !result->passed;
	if (result->passed && !out_is_json())
		return;
	out_object(NULL);
	out_colour(COLOUR_BAD);
	out_text("FAIL");
	out_string(OUT_ANY, "name", " \"%s\"", test->name);
	out_uint(OUT_JSON, "line", out_plain, test->at.line);
	out_text(" (%s:%u)\n", tally->file, test->at.line);
	out_bool(OUT_JSON, "passed", out_plain, result->passed);
	show_expected(&test->expect);
	show_got(result);
	out_object_end();
}

/* The policy's file: beside the tests, unless its name says where. NULL without memory. */
static char *policy_path(const struct test_args *args, const struct policy_tests *tests)
{
	const char *slash = strrchr(args->file, '/');
	char *path;

	if (args->policy)
		return strdup(args->policy);
	if (tests->policy[0] == '/' || !slash)
		return strdup(tests->policy);
	if (asprintf(&path, "%.*s/%s", (int)(slash - args->file), args->file, tests->policy) < 0)
		return NULL;
	return path;
}

static int run_tests(const struct test_args *args, const struct policy_tests *tests,
		     const char *path, struct ipsecbpf_report *report)
{
	struct tally tally = { .file = args->file };
	struct policy *policy = policy_load(path, report);
	int err;

	if (!policy)
		return exit_code(-errno, path, report);
	out_string(OUT_JSON, "file", out_plain, args->file);
	out_string(OUT_JSON, "policy", out_plain, path);
	out_array("tests");
	err = policy_tests_run(tests, policy, on_test, &tally, report);
	out_array_end();
	policy_free(policy);
	if (err)
		return exit_code(err, path, report);
	out_text("%s: ", path);
	out_uint(OUT_ANY, "passed", "%" PRIu64 " passed, ", tally.passed);
	out_uint(OUT_ANY, "failed", "%" PRIu64 " failed\n", tally.failed);
	return tally.failed ? EXIT_REFUSED : EXIT_DONE;
}

static int run(const void *data, struct ipsecbpf_report *report)
{
	const struct test_args *args = data;
	struct policy_tests *tests = policy_tests_load(args->file, report);
	int code = EXIT_REFUSED;
	char *path;

	if (!tests)
		return exit_code(-errno, args->file, report);
	if (!args->policy && !tests->policy) {
		report_error(report, args->file, "give --policy FILE, or \"policy\" in the file",
			     "it does not say which policy is tested");
		goto out;
	}
	path = policy_path(args, tests);
	code = path ? run_tests(args, tests, path, report) :
		      exit_code(-ENOMEM, args->file, report);
	free(path);
out:
	policy_tests_free(tests);
	return code;
}

const struct verb verb_policy_test = {
	.group = "policy", .name = "test",
	.summary = "ask a policy file what it says of packets, and compare with what is expected",
	.details = "FILE has packets and expectations, see ipsecbpf-policy(5). The policy is compiled "
		   "into private maps, and the packets go through the BPF programs themselves: that "
		   "needs root, but nothing attached, and changes nothing. All failures are shown; "
		   "exit code 1 if there is any.",
	.operands = operands, .options = options, .args_size = sizeof(struct test_args),
	.run = run,
};
