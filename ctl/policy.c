// SPDX-License-Identifier: BSD-2-Clause
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>

#include "output.h"
#include "verbs.h"

struct policy_args {
	const char *ifname, *file;
};

static const struct operand_def file_operand[] = {
	{ "FILE", OPERAND_FILE, offsetof(struct policy_args, file) },
	OPERAND_END,
};

static const struct operand_def both_operands[] = {
	{ "IFNAME", OPERAND_IFNAME, offsetof(struct policy_args, ifname) },
	{ "FILE", OPERAND_FILE, offsetof(struct policy_args, file) },
	OPERAND_END,
};

static int run_check(const void *data, struct ipsecbpf_report *report)
{
	const struct policy_args *args = data;
	struct policy *policy = policy_load(args->file, report);
	int err = policy ? 0 : -errno;

	out_string(OUT_JSON, "file", out_plain, args->file);
	out_bool(OUT_JSON, "valid", out_plain, policy != NULL);
	if (!policy) {
		exit_code(err, args->file, report);
		out_uint(OUT_JSON, "errors", out_plain, report->errors);
		return EXIT_REFUSED;
	}
	out_text("%s: valid: ", args->file);
	out_uint(OUT_ANY, "rules", "%" PRIu64 " rules, ", policy->rule_count);
	out_uint(OUT_ANY, "peers", "%" PRIu64 " peers, ", policy->peer_count);
	out_uint(OUT_ANY, "protections", "%" PRIu64 " protections\n", policy->protection_count);
	policy_free(policy);
	return EXIT_DONE;
}

static void show_apply(const struct policy_args *args, const struct policy *policy,
		       const struct ipsecbpf_apply_result *result)
{
	out_string(OUT_ANY, "ifname", "%s: ", args->ifname);
	out_bool(OUT_JSON, "changed", out_plain, result->changed);
	out_uint(OUT_ANY, "serial", "policy %" PRIu64, result->serial);
	out_text(result->changed ? " in force, " : " was in force already, ");
	out_uint(OUT_ANY, "rules", "%" PRIu64 " rules, ", policy->rule_count);
	out_uint(OUT_ANY, "entries", "%" PRIu64 " entries\n", result->entries);
	out_uint(OUT_JSON, "orphaned_sas", out_plain, result->orphaned_sas);
}

static int run_apply(const void *data, struct ipsecbpf_report *report)
{
	const struct policy_args *args = data;
	struct ipsecbpf_apply_result result;
	struct policy *policy = policy_load(args->file, report);
	int err;

	if (!policy)
		return exit_code(-errno, args->file, report);
	err = ipsecbpf_policy_apply(args->ifname, policy, &result, report);
	if (!err) {
		show_apply(args, policy, &result);
		if (result.orphaned_sas)
			report_warning(report, args->ifname, "install new ones: ipsecbpf sa apply",
				       "%u SAs no longer match the protection they were made for",
				       result.orphaned_sas);
	}
	policy_free(policy);
	return exit_code(err, args->ifname, report);
}

static void show_changes(const struct policy_change *changes, size_t count)
{
	out_bool(OUT_JSON, "equal", out_plain, count == 0);
	out_array("changes");
	for (size_t i = 0; i < count; i++) {
		const struct policy_change *change = &changes[i];
		const char sign[2] = { change->sign, 0 };

		out_object(NULL);
		out_colour(change->sign == '+' ? COLOUR_GOOD :
			   change->sign == '-' ? COLOUR_BAD : COLOUR_WARN);
		out_string(OUT_ANY, "sign", "%s ", sign);
		out_string(OUT_ANY, "object", out_plain, change->object);
		if (change->detail)
			out_string(OUT_ANY, "detail", ": %s", change->detail);
		else
			out_null(OUT_JSON, "detail", NULL);
		out_text("\n");
		out_object_end();
	}
	out_array_end();
}

/* Nothing in force: the whole file is the difference. */
static int diff_against_nothing(void)
{
	char object[] = "policy", detail[] = "none is loaded, all of the file is new";
	const struct policy_change change = { .sign = '+', .object = object, .detail = detail };

	show_changes(&change, 1);
	return EXIT_REFUSED;
}

static int run_diff(const void *data, struct ipsecbpf_report *report)
{
	const struct policy_args *args = data;
	struct policy *file = policy_load(args->file, report);
	struct policy *live = NULL;
	struct policy_change *changes;
	size_t count;
	int code;

	if (!file)
		return exit_code(-errno, args->file, report);
	live = ipsecbpf_policy_live(args->ifname, report);
	if (!live) {
		if (errno == ENODATA && !report->errors)
			code = diff_against_nothing();
		else
			code = exit_code(-errno, args->ifname, report);
		goto out_free;
	}
	code = exit_code(policy_diff(live, file, &changes, &count), args->ifname, report);
	if (code)
		goto out_free;
	show_changes(changes, count);
	if (!count)
		out_text("%s: no difference from %s\n", args->ifname, args->file);
	code = count ? EXIT_REFUSED : EXIT_DONE;
	policy_changes_free(changes, count);
out_free:
	policy_free(live);
	policy_free(file);
	return code;
}

static int run_show(const void *data, struct ipsecbpf_report *report)
{
	const struct policy_args *args = data;
	struct policy *policy = ipsecbpf_policy_live(args->ifname, report);
	char next[64], *text;
	int err = 0;

	if (!policy) {
		err = -errno;
		if (err == -ENODATA && !report->errors) {
			snprintf(next, sizeof(next), "ipsecbpf policy apply %s FILE", args->ifname);
			report_error(report, args->ifname, next,
				     "no policy is loaded, only essential traffic passes");
		}
		return exit_code(err, args->ifname, report);
	}
	text = policy_show(policy);
	if (text)
		out_raw(text);
	else
		err = -errno;
	free(text);
	policy_free(policy);
	return exit_code(err, args->ifname, report);
}

const struct verb verb_policy_check = {
	.group = "policy",
	.name = "check",
	.summary = "check a policy file, list every error",
	.details =
		"Needs no root and touches nothing. FILE \"-\" is standard input, here and below.",
	.operands = file_operand,
	.options = no_options,
	.args_size = sizeof(struct policy_args),
	.run = run_check,
};

const struct verb verb_policy_apply = {
	.group = "policy", .name = "apply", .summary = "put a policy file in force",
	.details = "All or nothing: every packet sees either the old policy or the new one.",
	.operands = both_operands, .options = no_options, .args_size = sizeof(struct policy_args),
	.run = run_apply,
};

const struct verb verb_policy_diff = {
	.group = "policy", .name = "diff",
	.summary = "what would change if the file were applied",
	.details = "Exit code 1 if there is any difference, 0 if there is none.",
	.operands = both_operands, .options = no_options, .args_size = sizeof(struct policy_args),
	.run = run_diff,
};

const struct verb verb_policy_show = {
	.group = "policy", .name = "show", .summary = "print the policy in force as canonical JSON",
	.details = "What it prints can be applied again and gives no difference.",
	.operands = ifname_operand, .options = no_options,
	.args_size = sizeof(struct policy_args), .run = run_show,
};
_Static_assert(offsetof(struct policy_args, ifname) == offsetof(struct ifname_args, ifname),
	       "policy show reads its operand as struct ifname_args");
