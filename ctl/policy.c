// SPDX-License-Identifier: BSD-2-Clause
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>

#include "output.h"
#include "verbs.h"

struct policy_args {
	const char *ifname, *file;
	bool dry_run, undo;
	uint32_t confirm;
};

static const struct option_def apply_options[] = {
	{ "dry-run", 0, OPT_FLAG, NULL,
	  "only say what would change; the exit code is that of policy diff",
	  offsetof(struct policy_args, dry_run) },
	{ "confirm", 0, OPT_UINT, "SECONDS",
	  "the policy before comes back after this time unless \"ipsecbpf policy confirm\" comes first",
	  offsetof(struct policy_args, confirm), 1, 86400 },
	OPTION_END,
};

static const struct option_def confirm_options[] = {
	{ "undo", 0, OPT_FLAG, NULL, "go back to the policy before, at once",
	  offsetof(struct policy_args, undo) },
	OPTION_END,
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
	out_uint(OUT_ANY, "applications", "%" PRIu64 " applications, ", policy->application_count);
	out_uint(OUT_ANY, "peers", "%" PRIu64 " peers, ", policy->peer_count);
	out_uint(OUT_ANY, "protections", "%" PRIu64 " protections\n", policy->protection_count);
	policy_free(policy);
	return EXIT_DONE;
}

#define show_memory(kib, mib, octets)					\
	((octets) < 1024 * 1024 ? out_text(kib, ((octets) + 1023) / 1024) :	\
				  out_text(mib, ((octets) + 1048575) / 1048576))

/* What the policy is once compiled; without a line end in text. */
static void show_size(const struct ipsecbpf_apply_result *result)
{
	out_uint(OUT_ANY, "entries", "%" PRIu64 " entries, ", result->entries);
	out_uint(OUT_JSON, "memory", out_plain, result->memory);
	out_uint(OUT_JSON, "counters_memory", out_plain, result->counters_memory);
	show_memory("%" PRIu64 " KiB, ", "%" PRIu64 " MiB, ", result->memory);
	show_memory("%" PRIu64 " KiB of counters, ", "%" PRIu64 " MiB of counters, ",
		    result->counters_memory);
	out_uint(OUT_ANY, "steps", "%" PRIu64 " steps in the longest search", result->steps);
}

static void show_apply(const struct policy_args *args, const struct policy *policy,
		       const struct ipsecbpf_apply_result *result)
{
	out_string(OUT_ANY, "ifname", "%s: ", args->ifname);
	out_bool(OUT_JSON, "changed", out_plain, result->changed);
	out_uint(OUT_ANY, "serial", "policy %" PRIu64, result->serial);
	out_text(result->changed ? " in force, " : " was in force already, ");
	out_uint(OUT_ANY, "rules", "%" PRIu64 " rules, ", policy->rule_count);
	out_uint(OUT_ANY, "applications", "%" PRIu64 " applications, ", policy->application_count);
	show_size(result);
	out_text("\n");
	out_uint(OUT_JSON, "orphaned_sas", out_plain, result->orphaned_sas);
	if (!args->confirm || !result->changed) {
		out_null(OUT_JSON, "confirm_seconds", NULL);
		return;
	}
	out_uint(OUT_ANY, "confirm_seconds",
		 "  on trial for %" PRIu64 " s, then the policy before comes back\n", args->confirm);
	out_text("  to keep it: ipsecbpf policy confirm %s\n", args->ifname);
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

static int compare_to_live(const struct policy_args *args, const struct policy *file,
			   struct ipsecbpf_report *report)
{
	struct policy *live = ipsecbpf_policy_live(args->ifname, report);
	struct policy_change *changes;
	size_t count;
	int code;

	if (!live && errno == ENODATA && !report->errors)
		return diff_against_nothing();
	if (!live)
		return exit_code(-errno, args->ifname, report);
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
	return code;
}

static int run_diff(const void *data, struct ipsecbpf_report *report)
{
	const struct policy_args *args = data;
	struct policy *file = policy_load(args->file, report);
	int code = file ? compare_to_live(args, file, report) :
			  exit_code(-errno, args->file, report);

	policy_free(file);
	return code;
}

static void show_dry_run(const struct policy_args *args,
			 const struct ipsecbpf_apply_result *result)
{
	out_text("it makes ");
	show_size(result);
	out_uint(OUT_ANY, "orphaned_sas", ", and leaves %" PRIu64 " SAs without protection\n",
		 result->orphaned_sas);
	out_text("%s: nothing was changed\n", args->ifname);
}

static int run_apply(const void *data, struct ipsecbpf_report *report)
{
	const struct policy_args *args = data;
	const struct ipsecbpf_policy_opts opts = {
		.sz = sizeof(opts), .dry_run = args->dry_run, .confirm_seconds = args->confirm,
	};
	struct ipsecbpf_apply_result result;
	struct policy *policy = policy_load(args->file, report);
	int err, code;

	if (!policy)
		return exit_code(-errno, args->file, report);
	err = ipsecbpf_policy_apply(args->ifname, policy, &opts, &result, report);
	code = exit_code(err, args->ifname, report);
	if (!err && args->dry_run) {
		code = compare_to_live(args, policy, report);
		show_dry_run(args, &result);
	} else if (!err) {
		show_apply(args, policy, &result);
	}
	policy_free(policy);
	return code;
}

static int run_confirm(const void *data, struct ipsecbpf_report *report)
{
	const struct policy_args *args = data;
	int err = ipsecbpf_policy_confirm(args->ifname, args->undo, report);

	if (err)
		return exit_code(err, args->ifname, report);
	out_string(OUT_ANY, "ifname", "%s: ", args->ifname);
	out_string(OUT_ANY, "policy", "%s\n", args->undo ? "the policy before is in force" :
						     "the policy stays");
	return EXIT_DONE;
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
	.summary = "check a policy file, list every error and risk",
	.details =
		"Needs no root and touches nothing. Warns of what is valid and may be a mistake "
		"(ipsecbpf-policy(5) lists that). FILE \"-\" is standard input, here and below.",
	.operands = file_operand,
	.options = no_options,
	.args_size = sizeof(struct policy_args),
	.run = run_check,
};

const struct verb verb_policy_apply = {
	.group = "policy", .name = "apply", .summary = "put a policy file in force",
	.details = "All or nothing: every packet sees either the old policy or the new one. What is "
		   "in force for good is kept on disk, for the next attach. During a trial no "
		   "other policy can be applied. A file that says the same as the policy in force "
		   "changes nothing: explain, stats and monitor go on naming the file and the lines "
		   "of the first. The deadline is kept where the policy is: the one "
		   "before comes back even if the session, this command or the supervisor is gone.",
	.operands = both_operands, .options = apply_options, .args_size = sizeof(struct policy_args),
	.run = run_apply,
};

const struct verb verb_policy_confirm = {
	.group = "policy", .name = "confirm", .summary = "end the trial of a policy: it stays",
	.details = "What policy apply --confirm began. The policy is kept on disk, for the next "
		   "attach.",
	.operands = ifname_operand, .options = confirm_options,
	.args_size = sizeof(struct policy_args), .run = run_confirm,
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
	       "policy show and confirm read their operand as struct ifname_args");
