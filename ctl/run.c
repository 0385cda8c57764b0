// SPDX-License-Identifier: BSD-2-Clause
/* `run`: starts a program as an application, by putting it into the application's cgroup. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <unistd.h>

#include "lib/app_live.h"
#include "output.h"
#include "verbs.h"

#define OBJECT "ipsecbpf run"
#define PATH_LEN 4096

struct run_args {
	const char *ifname, *app, *policy, *root;
	char **command;
};

#define AT(field) offsetof(struct run_args, field)
static const struct operand_def operands[] = {
	{ "IFNAME", OPERAND_IFNAME, AT(ifname), .optional = true },
	{ "-- COMMAND...", OPERAND_COMMAND, AT(command) },
	OPERAND_END,
};

static const struct option_def options[] = {
	{ "app", 0, OPT_STRING, "NAME", "the application", AT(app), .required = true },
	{ "policy", 0, OPT_FILE, "FILE", "of this policy instead of the one in force on IFNAME",
	  AT(policy) },
	{ "cgroup-root", 0, OPT_FILE, "DIR", "where the root of cgroup2 is mounted", AT(root) },
	OPTION_END,
};

static struct policy *open_policy(const struct run_args *args, struct ipsecbpf_report *report)
{
	struct policy *policy;

	if (args->policy)
		return policy_load(args->policy, report);
	policy = ipsecbpf_policy_live(args->ifname, report);
	if (!policy && errno == ENODATA)
		report_error(report, args->ifname, "ipsecbpf policy apply", "no policy is loaded");
	return policy;
}

/* ---- is it that application then? ----------------------------------------------------------- */

/* As execvp() would look for it. */
static int find_program(const char *name, char out[PATH_LEN])
{
	const char *path = getenv("PATH");
	char real[PATH_LEN];

	if (strchr(name, '/')) {
		if (!realpath(name, real))
			return -errno;
		return snprintf(out, PATH_LEN, "%s", real) < PATH_LEN ? 0 : -ENAMETOOLONG;
	}
	for (path = path ? path : "/usr/bin:/bin"; *path; path += strspn(path, ":")) {
		size_t len = strcspn(path, ":");

		snprintf(out, PATH_LEN, "%.*s/%s", (int)len, path, name);
		if (*out == '/' && !access(out, X_OK))
			return 0;
		path += len;
	}
	return -ENOENT;
}

/* Who the command will be, once it runs in that cgroup. */
static int foresee(const struct app_match *match, const char *program, struct app_identity *who,
		   const uint64_t seed[2])
{
	int err;

	*who = (struct app_identity){ .uid = getuid(), .gid = getgid() };
	err = app_identity_cgroup(who, match->cgroup, seed);
	return err ? err : app_identity_exe(who, program, seed);
}

static void refuse_other(const struct policy *policy, const struct app_match *match,
			 const struct app_pattern *found, const struct run_args *args,
			 struct ipsecbpf_report *report)
{
	char text[512], object[NAME_LEN + 32];

	snprintf(object, sizeof(object), "application \"%s\"", args->app);
	if (found)
		report_error(report, object, "ipsecbpf app identify says why",
			     "the command would be application \"%s\" in that cgroup",
			     policy->applications[found->app - 1].name);
	else
		report_error(report, object,
			     match->user || match->group ?
				     "run it as that user and group: setpriv --reuid USER --regid "
				     "GROUP --init-groups ipsecbpf run ..." :
				     "run that program, or give the application a match by cgroup alone",
			     "asks for more than its cgroup, and the command is not that: %s",
			     app_match_text(match, text, sizeof(text)));
}

static int check_who(const struct policy *policy, size_t app, const struct app_match *match,
		     const struct run_args *args, struct ipsecbpf_report *report)
{
	const struct app_pattern *found = NULL;
	struct attachment attachment = { 0 };
	struct app_patterns patterns = { 0 };
	struct app_identity who;
	char program[PATH_LEN];
	uint64_t seed[2];
	int err = find_program(args->command[0], program);

	if (err) {
		report_error(report, args->command[0], NULL, "%s", strerror(-err));
		return err;
	}
	if (getrandom(seed, sizeof(seed), 0) < 0)
		return -errno;
	attachment.digest_seed[0] = seed[0];
	attachment.digest_seed[1] = seed[1];
	err = app_patterns_init(&patterns, policy, &attachment, report);
	if (!err)
		err = foresee(match, program, &who, seed);
	if (!err && app_resolve_slowly(&patterns, &who, &found) != app + 1) {
		refuse_other(policy, match, found, args, report);
		err = -EPERM;
	}
	app_patterns_fini(&patterns);
	return err;
}

/* The first that names a cgroup. */
static const struct app_match *find_match(const struct application *app,
					  struct ipsecbpf_report *report)
{
	char object[NAME_LEN + 32], next[NAME_LEN + 128];

	snprintf(object, sizeof(object), "application \"%s\"", app->name);
	for (size_t i = 0; i < app->match_count; i++)
		if (app->matches[i].cgroup)
			return &app->matches[i];
	snprintf(next, sizeof(next), "add a match to it: {\"cgroup\": \"/%s\"}", app->name);
	for (size_t i = 0; i < app->match_count; i++)
		if (app->matches[i].unit)
			snprintf(next, sizeof(next), "systemctl start %.100s", app->matches[i].unit);
	report_error(report, object, next, "names no cgroup that a command could be put into");
	return NULL;
}

/* ---- the cgroup ----------------------------------------------------------------------------- */

/* Makes each directory on the way that is not there. */
static int make_cgroup(const char *root, const char *cgroup, char out[PATH_LEN])
{
	size_t at = strlen(root);

	if (snprintf(out, PATH_LEN, "%s%s", root, cgroup) >= PATH_LEN)
		return -ENAMETOOLONG;
	while (out[at]) {
		size_t end = at + 1 + strcspn(out + at + 1, "/");
		char kept = out[end];

		out[end] = '\0';
		if (mkdir(out, 0755) && errno != EEXIST)
			return -errno;
		out[end] = kept;
		at = end;
	}
	return 0;
}

/* This process, which then becomes the command: it is never seen outside of it. */
static int enter_cgroup(const char *directory)
{
	char path[PATH_LEN + 16];
	int fd, err = 0;

	snprintf(path, sizeof(path), "%s/cgroup.procs", directory);
	fd = open(path, O_WRONLY | O_CLOEXEC);
	if (fd < 0)
		return -errno;
	if (write(fd, "0", 1) != 1)
		err = -errno;
	close(fd);
	return err;
}

static int enter(const struct run_args *args, const char *cgroup, struct ipsecbpf_report *report)
{
	char root[PATH_LEN], directory[PATH_LEN];
	const char *next = NULL;
	int err = 0;

	if (args->root)
		snprintf(root, sizeof(root), "%s", args->root);
	else
		err = app_cgroup_mount(root, sizeof(root), report);
	if (err)
		return err;
	err = make_cgroup(root, cgroup, directory);
	if (!err)
		err = enter_cgroup(directory);
	if (!err)
		return 0;
	if (err == -EACCES || err == -EPERM)
		next = "run it as root, or as the user that the cgroup is delegated to";
	else if (err == -EBUSY)
		next = "a cgroup that hands controllers on to its children cannot have processes: name a "
		       "child of it in the policy";
	report_error(report, directory, next, "cannot enter the cgroup: %s", strerror(-err));
	return err;
}

static int run(const void *data, struct ipsecbpf_report *report)
{
	const struct run_args *args = data;
	const struct app_match *match = NULL;
	struct policy *policy;
	size_t app;
	int err;

	if (!args->ifname == !args->policy) {
		report_error(report, OBJECT, OBJECT " --help", args->ifname ?
			     "IFNAME or --policy, not both" : "IFNAME or --policy FILE is missing");
		return EXIT_USAGE;
	}
	policy = open_policy(args, report);
	if (!policy)
		return exit_code(-errno, args->ifname ? args->ifname : args->policy, report);
	app = app_find(policy, args->app, args->ifname ? args->ifname : args->policy, report);
	if (app != SIZE_MAX)
		match = find_match(&policy->applications[app], report);
	err = match ? check_who(policy, app, match, args, report) : -ENOENT;
	if (!err)
		err = enter(args, match->cgroup, report);
	policy_free(policy);
	if (err)
		return exit_code(err, OBJECT, report);
	execvp(args->command[0], args->command);
	report_error(report, args->command[0], NULL, "cannot be run: %s", strerror(errno));
	return EXIT_REFUSED;
}

const struct verb verb_run = {
	.name = "run",
	.summary = "run a command as an application of the policy",
	.details = "Puts itself into the cgroup of the application's first match that names one, made if "
		   "need be, and becomes the command: no socket of it is ever another's. Refused if the "
		   "command would not be that application there. The cgroup stays when the command ends.",
	.operands = operands,
	.options = options,
	.args_size = sizeof(struct run_args),
	.run = run,
};
