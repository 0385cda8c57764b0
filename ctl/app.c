// SPDX-License-Identifier: BSD-2-Clause
/* `app identify`: which application a process is, and why. */
#include <errno.h>
#include <grp.h>
#include <inttypes.h>
#include <pwd.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

#include "accounts.h"
#include "app_words.h"
#include "lib/app_live.h"
#include "lib/policy_json.h"
#include "lib/script.h"
#include "output.h"
#include "verbs.h"

#define OBJECT "ipsecbpf app identify"
#define ID_UNKNOWN UINT32_MAX	/* no user's, no group's */

struct identify_args {
	const char *ifname;
	const char *policy, *cgroup, *exe, *user, *group;
	uint32_t pid;
};

#define AT(field) offsetof(struct identify_args, field)
static const struct operand_def operands[] = {
	{ "IFNAME", OPERAND_IFNAME, AT(ifname), .optional = true },
	OPERAND_END,
};

static const struct option_def options[] = {
	{ "policy", 0, OPT_FILE, "FILE", "by this policy instead of the one in force on IFNAME",
	  AT(policy) },
	{ "pid", 0, OPT_UINT, "PID", "a process that runs", AT(pid), .min = 1, .max = INT32_MAX },
	{ "cgroup", 0, OPT_FILE, "PATH",
	  "or one that would be in this cgroup (below the root of cgroup2)", AT(cgroup) },
	{ "exe", 0, OPT_FILE, "PATH", "or would run this program", AT(exe) },
	{ "user", 0, OPT_STRING, "USER", "as this user, by name or number", AT(user) },
	{ "group", 0, OPT_STRING, "GROUP", "and this group", AT(group) },
	OPTION_END,
};

/* Everything that the question needs. */
struct inquiry {
	const struct identify_args *args;
	struct policy *policy;
	struct attachment attachment;	/* of its digest_seed */
	struct app_patterns patterns;
	struct app_identity who;
	struct app_facts facts;
	bool uid_known, gid_known;
	bool script;		/* --exe is one, and facts.exe its interpreter */
	struct ipsecbpf_report *report;
};

static int usage_error(struct ipsecbpf_report *report, const char *cause)
{
	report_error(report, OBJECT, OBJECT " --help", "%s", cause);
	return -EINVAL;
}

static int check_args(const struct identify_args *args, struct ipsecbpf_report *report)
{
	bool described = args->cgroup || args->exe || args->user || args->group;

	if (!args->ifname == !args->policy)
		return usage_error(report, args->ifname ? "IFNAME or --policy, not both" :
							  "IFNAME or --policy FILE is missing");
	if (!args->pid && !described)
		return usage_error(report, "--pid, --cgroup, --exe, --user or --group is missing");
	if (args->pid && described)
		return usage_error(report, "--pid says it all: without --cgroup, --exe, --user and "
				   "--group");
	if (args->cgroup && strcmp(args->cgroup, "/") && policy_path_fault(args->cgroup)) {
		report_error(report, OBJECT " --cgroup", "a path from the root of cgroup2: /...", "%s",
			     policy_path_fault(args->cgroup));
		return -EINVAL;
	}
	if (args->exe && *args->exe != '/')
		return usage_error(report, "--exe is an absolute path");
	return 0;
}

/* ---- what is asked about -------------------------------------------------------------------- */

static int open_policy(struct inquiry *inquiry)
{
	const struct identify_args *args = inquiry->args;
	struct app_live live;
	int err;

	if (args->ifname) {
		err = app_live_open(&live, args->ifname, inquiry->report);
		if (err)
			return err;
		inquiry->policy = live.policy;
		live.policy = NULL;
		inquiry->attachment = live.pins.attachment;
		app_live_close(&live);
	} else {
		inquiry->policy = policy_load(args->policy, inquiry->report);
		if (!inquiry->policy)
			return -errno;
		if (getrandom(inquiry->attachment.digest_seed,
			      sizeof(inquiry->attachment.digest_seed), 0) < 0)
			return -errno;
	}
	report_drop_warnings(inquiry->report);	/* `policy check` has them */
	return app_patterns_init(&inquiry->patterns, inquiry->policy, &inquiry->attachment,
				 inquiry->report);
}

static int take_ids(struct inquiry *inquiry)
{
	const struct identify_args *args = inquiry->args;
	int err = 0;

	inquiry->who.uid = inquiry->who.gid = ID_UNKNOWN;
	inquiry->uid_known = args->user != NULL;
	inquiry->gid_known = args->group != NULL;
	if (args->user)
		err = account_user(args->user, OBJECT " --user", &inquiry->who.uid, inquiry->report);
	if (!err && args->group)
		err = account_group(args->group, OBJECT " --group", &inquiry->who.gid,
				    inquiry->report);
	inquiry->facts.uid = inquiry->who.uid;
	inquiry->facts.gid = inquiry->who.gid;
	return err;
}

/* What runs counts: of a script that is its interpreter. */
static int take_exe(struct inquiry *inquiry, const uint64_t seed[2])
{
	const char *path = inquiry->args->exe;
	struct app_facts *facts = &inquiry->facts;
	int err = script_program(path, facts->exe, sizeof(facts->exe), &inquiry->script);

	if (!err)
		err = app_identity_exe(&inquiry->who, facts->exe, seed);
	if (err)
		report_error(inquiry->report, OBJECT, err == -ENOENT ?
			     "its directory must be there: write where the program is to be" : NULL,
			     "--exe %s: %s", path, strerror(-err));
	return err;
}

static int describe(struct inquiry *inquiry, const uint64_t seed[2])
{
	const struct identify_args *args = inquiry->args;
	int err = take_ids(inquiry);

	if (!err && args->cgroup) {
		err = app_identity_cgroup(&inquiry->who, args->cgroup, seed);
		err = err == -E2BIG ? 0 : err;
		if (err)
			report_error(inquiry->report, OBJECT, NULL, "--cgroup %s: %s", args->cgroup,
				     strerror(-err));
		snprintf(inquiry->facts.cgroup, sizeof(inquiry->facts.cgroup), "%s", args->cgroup);
	}
	return !err && args->exe ? take_exe(inquiry, seed) : err;
}

static int find_who(struct inquiry *inquiry)
{
	const uint64_t seed[2] = {
		inquiry->attachment.digest_seed[0], inquiry->attachment.digest_seed[1],
	};
	char object[32];
	int err;

	if (!inquiry->args->pid)
		return describe(inquiry, seed);
	inquiry->uid_known = inquiry->gid_known = true;
	err = app_identity_pid(&inquiry->who, (pid_t)inquiry->args->pid, seed, &inquiry->facts);
	snprintf(object, sizeof(object), "process %u", inquiry->args->pid);
	if (err == -ESRCH)
		report_error(inquiry->report, object, "ipsecbpf app sockets lists those with sockets",
			     "there is none");
	return err;
}

/* ---- the answer ----------------------------------------------------------------------------- */

static void show_fact(const char *key, const char *value)
{
	out_label(key);
	if (*value)
		out_string(OUT_ANY, key, "%s\n", value);
	else
		out_null(OUT_ANY, key, "unknown\n");
}

static void show_id(const char *key, bool known, uint32_t id, const char *name)
{
	out_label(key);
	if (!known) {
		out_null(OUT_ANY, key, "unknown\n");
		return;
	}
	if (name)
		out_string(OUT_TEXT, NULL, "%s, ", name);
	out_uint(OUT_ANY, key, "%" PRIu64 "\n", id);
}

static void show_who(const struct inquiry *inquiry)
{
	const struct passwd *user = getpwuid(inquiry->facts.uid);
	const struct group *group = getgrgid(inquiry->facts.gid);

	if (inquiry->args->pid) {
		out_label("process");
		out_uint(OUT_ANY, "pid", "%" PRIu64 "\n", inquiry->args->pid);
	}
	show_fact("cgroup", inquiry->facts.cgroup);
	if (inquiry->script)
		show_fact("script", inquiry->args->exe);
	show_fact("executable", inquiry->facts.exe);
	show_id("user", inquiry->uid_known, inquiry->facts.uid, user ? user->pw_name : NULL);
	show_id("group", inquiry->gid_known, inquiry->facts.gid, group ? group->gr_name : NULL);
}

static void show_match(const struct inquiry *inquiry, const struct app_candidate *candidate)
{
	const struct application *app = &inquiry->policy->applications[candidate->app];
	const struct app_match *match = &app->matches[candidate->match];
	char text[512];

	app_match_text(match, text, sizeof(text));
	out_uint(OUT_ANY, "match_index", "match[%" PRIu64 "] ", candidate->match);
	out_uint(OUT_JSON, "line", out_plain, match->at.line);
	app_match_json(match);
	out_string(OUT_TEXT, NULL, "%s", text);
}

static void show_decided(const struct inquiry *inquiry, const struct app_candidate *winner)
{
	out_label("application");
	if (!winner) {
		out_null(OUT_JSON, "application", NULL);
		out_null(OUT_JSON, "by", NULL);
		out_text("none: the host's rules apply\n");
		return;
	}
	out_colour(COLOUR_BOLD);
	out_string(OUT_ANY, "application", "%s", inquiry->policy->applications[winner->app].name);
	out_text("\n");
	out_label("by");
	out_object("by");
	show_match(inquiry, winner);
	out_object_end();
	out_text("\n");
}

static void show_losers(const struct inquiry *inquiry, const struct app_candidate *items,
			size_t count)
{
	bool first = true;

	out_array("also_matches");
	for (size_t i = 0; i < count; i++) {
		if (items[i].decided)
			continue;
		out_object(NULL);
		out_label(first ? "also matches" : "");
		first = false;
		out_string(OUT_ANY, "application", "%s, ",
			   inquiry->policy->applications[items[i].app].name);
		show_match(inquiry, &items[i]);
		out_string(OUT_ANY, "because", ": %s\n", items[i].lost);
		out_object_end();
	}
	out_array_end();
}

static int answer(const struct inquiry *inquiry)
{
	const struct app_candidate *winner = NULL;
	struct app_candidate *items;
	size_t count;
	int err = app_candidates(&inquiry->patterns, &inquiry->who, &items, &count);

	if (err)
		return err;
	for (size_t i = 0; i < count; i++)
		winner = items[i].decided ? &items[i] : winner;
	if (inquiry->args->ifname)
		out_string(OUT_JSON, "ifname", out_plain, inquiry->args->ifname);
	show_who(inquiry);
	show_decided(inquiry, winner);
	show_losers(inquiry, items, count);
	free(items);
	return 0;
}

static int run(const void *data, struct ipsecbpf_report *report)
{
	struct inquiry *inquiry = calloc(1, sizeof(*inquiry));
	const struct identify_args *args = data;
	int err;

	if (!inquiry)
		return exit_code(-ENOMEM, OBJECT, report);
	*inquiry = (struct inquiry){ .args = args, .report = report };
	err = check_args(args, report);
	if (err) {
		free(inquiry);
		return EXIT_USAGE;
	}
	err = open_policy(inquiry);
	if (!err)
		err = find_who(inquiry);
	if (!err)
		err = answer(inquiry);
	app_patterns_fini(&inquiry->patterns);
	policy_free(inquiry->policy);
	free(inquiry);
	return exit_code(err, args->ifname ? args->ifname : args->policy, report);
}

const struct verb verb_app_identify = {
	.group = "app",
	.name = "identify",
	.summary = "which application a process is by policy, and why",
	.details = "Every match that fits is shown; that of the deepest cgroup decides (a systemd "
		   "unit is the cgroup it runs in), among those the one that names the "
		   "executable, then the user, then the group, then the first in the file. A "
		   "process may be made up: what is not given is unknown then, and matches "
		   "nothing; of a script it is the interpreter that counts. A socket keeps the "
		   "application of the process that made it, whatever becomes of that; app sockets "
		   "shows it.",
	.operands = operands,
	.options = options,
	.args_size = sizeof(struct identify_args),
	.run = run,
};
