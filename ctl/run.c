// SPDX-License-Identifier: BSD-2-Clause
/* `run`: starts a program as an application, by putting it into the application's cgroup. */
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <limits.h>
#include <linux/magic.h>
#include <pwd.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <unistd.h>

#include "accounts.h"
#include "lib/app_live.h"
#include "lib/script.h"
#include "output.h"
#include "verbs.h"

#define OBJECT "ipsecbpf run"
#define PATH_LEN PATH_MAX

/* As of env(1) and others that become a command: 1 and 2 are the command's to say. (A wrong command
 * line before any verb is known is 2 all the same.) */
enum { EXIT_NOT_RUN = 125, EXIT_CANNOT_RUN = 126, EXIT_NOT_FOUND = 127 };

struct run_args {
	const char *ifname, *app, *policy, *root, *user;
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
	{ "user", 0, OPT_STRING, "USER[:GROUP]",
	  "as this user, by names or numbers, with all its groups; the environment stays as it is",
	  AT(user) },
	{ "policy", 0, OPT_FILE, "FILE", "of this policy instead of the one in force on IFNAME",
	  AT(policy) },
	{ "cgroup-root", 0, OPT_FILE, "DIR", "where the root of cgroup2 is mounted", AT(root) },
	OPTION_END,
};

/* What is to run, and as whom. */
struct program {
	const struct run_args *args;
	char path[PATH_LEN];	/* what is executed */
	char program[PATH_LEN];	/* what runs then: an interpreter, if that is a script; absolute */
	bool script;
	uint32_t uid, gid;
	struct ipsecbpf_report *report;
};

static struct policy *open_policy(const struct run_args *args, struct ipsecbpf_report *report)
{
	struct policy *policy;

	if (args->policy)
		policy = policy_load(args->policy, report);
	else
		policy = ipsecbpf_policy_live(args->ifname, report);
	if (!policy && args->ifname && errno == ENODATA)
		report_error(report, args->ifname, "ipsecbpf policy apply", "no policy is loaded");
	if (policy)
		report_drop_warnings(report);	/* `policy check` has them */
	return policy;
}

/* ---- what runs ------------------------------------------------------------------------------ */

/* As execvp() looks for it; an empty component of PATH is the working directory. */
static int find_command(const char *name, char out[PATH_LEN])
{
	const char *path = getenv("PATH");
	struct stat st;
	int err = -ENOENT;

	*out = '\0';
	if (strchr(name, '/'))
		return snprintf(out, PATH_LEN, "%s", name) < PATH_LEN ? 0 : -ENAMETOOLONG;
	for (path = path ? path : "/usr/bin:/bin";; path++) {	/* past the ":" */
		size_t len = strcspn(path, ":");
		bool fits = snprintf(out, PATH_LEN, "%.*s/%s", len ? (int)len : 1,
				     len ? path : ".", name) < PATH_LEN;

		path += len;
		if (fits && !stat(out, &st) && S_ISREG(st.st_mode)) {
			if (!access(out, X_OK))
				return 0;
			err = -EACCES;
		}
		if (!*path)
			break;
	}
	*out = '\0';
	return err;
}

static int find_program(struct program *command)
{
	int err = find_command(command->args->command[0], command->path);
	char inner[PATH_LEN];
	struct stat st;

	if (!err && (stat(command->path, &st) || access(command->path, X_OK)))
		err = -errno;
	else if (!err && !S_ISREG(st.st_mode))
		err = S_ISDIR(st.st_mode) ? -EISDIR : -EACCES;
	if (!err)
		err = script_program(command->path, inner, sizeof(inner), &command->script);
	if (!err && !realpath(inner, command->program))
		err = -errno;
	return err;
}

static int explain_program(const struct program *command, int err)
{
	const char *name = command->args->command[0], *next = NULL;

	if (!err)
		return EXIT_DONE;
	if (err == -ENOENT && (!*command->path || access(command->path, F_OK))) {
		report_error(command->report, name,
			     strchr(name, '/') ? NULL : "install it, or write its path",
			     "there is no such command");
		return EXIT_NOT_FOUND;
	}
	if (err == -ENOEXEC)
		next = "begin it with the line #!/bin/sh, if it is a script";
	else if (err == -EACCES)
		next = "chmod +x, if it is a program, and see to it that the user may run it";
	else if (err == -ENOENT)
		next = "install the interpreter that its first line names";
	report_error(command->report, name, next, "cannot be run: %s", strerror(-err));
	return EXIT_CANNOT_RUN;
}

/* ---- as whom -------------------------------------------------------------------------------- */

static int find_ids(struct program *command)
{
	const char *text = command->args->user, *group = text ? strchr(text, ':') : NULL;
	const struct passwd *account;
	char user[NAME_LEN], next[NAME_LEN + 32];
	int err;

	command->uid = getuid();
	command->gid = getgid();
	if (!text)
		return 0;
	snprintf(user, sizeof(user), "%.*s", NAME_LEN - 1, text);
	user[strcspn(user, ":")] = '\0';
	err = account_user(user, OBJECT " --user", &command->uid, command->report);
	if (err)
		return err;
	if (group)
		return account_group(group + 1, OBJECT " --user", &command->gid, command->report);
	account = getpwuid(command->uid);
	if (!account) {
		snprintf(next, sizeof(next), "--user %.40s:GROUP", user);
		report_error(command->report, OBJECT " --user", next,
			     "this host does not know the group of user %s", user);
		return -EINVAL;
	}
	command->gid = account->pw_gid;
	return 0;
}

/* Groups first: whoever is no longer root may not set them. */
static int become(const struct program *command)
{
	const struct passwd *account = getpwuid(command->uid);
	gid_t gid = command->gid;
	int err = 0;

	if (!command->args->user)
		return 0;
	if (account ? initgroups(account->pw_name, gid) : setgroups(1, &gid))
		err = -errno;
	if (!err && setresgid(gid, gid, gid))
		err = -errno;
	if (!err && setresuid(command->uid, command->uid, command->uid))
		err = -errno;
	if (err)
		report_error(command->report, OBJECT " --user",
			     err == -EPERM ? "run it as root" : NULL, "cannot become user %u: %s",
			     command->uid, strerror(-err));
	return err;
}

/* ---- is it that application then? ----------------------------------------------------------- */

/* Who the command will be, once it runs in that cgroup. */
static int foresee(const struct program *command, const struct app_match *match,
		   struct app_identity *who, const uint64_t seed[2])
{
	int err;

	*who = (struct app_identity){ .uid = command->uid, .gid = command->gid };
	err = app_identity_cgroup(who, match->cgroup, seed);
	/* What env starts is not known here: then no executable may be asked for. */
	if (err || (command->script && script_is_launcher(command->program)))
		return err;
	return app_identity_exe(who, command->program, seed);
}

static void refuse_other(const struct program *command, const struct policy *policy,
			 const struct app_match *match, const struct app_pattern *found)
{
	char text[512], object[NAME_LEN + 32], runs[PATH_LEN + 64] = "";
	const char *next = "run that program, or give the application a match by cgroup alone";

	snprintf(object, sizeof(object), "application \"%s\"", command->args->app);
	if (command->script)
		snprintf(runs, sizeof(runs), " (it is a script: what runs is %s)", command->program);
	if (found) {
		report_error(command->report, object, "ipsecbpf app identify says why",
			     "the command would be application \"%s\" in that cgroup%s",
			     policy->applications[found->app - 1].name, runs);
		return;
	}
	if (command->script && match->exe)
		next = "give the application a match by cgroup alone: a script is never known by "
		       "its own name";
	else if (match->user || match->group)
		next = "run it as that user and group: --user USER:GROUP";
	report_error(command->report, object, next,
		     "asks for more than its cgroup, and the command is not that: %s%s",
		     app_match_text(match, text, sizeof(text)), runs);
}

static int check_who(const struct program *command, const struct policy *policy, size_t app,
		     const struct app_match *match)
{
	const struct app_pattern *found = NULL;
	struct attachment attachment = { 0 };
	struct app_patterns patterns = { 0 };
	struct app_identity who;
	uint64_t seed[2];
	int err;

	if (getrandom(seed, sizeof(seed), 0) < 0)
		return -errno;
	attachment.digest_seed[0] = seed[0];
	attachment.digest_seed[1] = seed[1];
	err = app_patterns_init(&patterns, policy, &attachment, command->report);
	if (!err)
		err = foresee(command, match, &who, seed);
	if (!err && app_resolve_slowly(&patterns, &who, &found) != app + 1) {
		refuse_other(command, policy, match, found);
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

/* Makes each directory on the way that is not there; a cgroup is for all to look into. */
static int make_cgroup(const char *root, const char *cgroup, char out[PATH_LEN])
{
	size_t at = strlen(root);
	mode_t mask = umask(022);
	int err = 0;

	if (snprintf(out, PATH_LEN, "%s%s", root, cgroup) >= PATH_LEN)
		err = -ENAMETOOLONG;
	while (!err && out[at]) {
		size_t end = at + 1 + strcspn(out + at + 1, "/");
		char kept = out[end];

		out[end] = '\0';
		if (mkdir(out, 0755) && errno != EEXIST)
			err = -errno;
		out[end] = kept;
		at = end;
	}
	umask(mask);
	return err;
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

static int find_root(const struct program *command, char out[PATH_LEN])
{
	const char *given = command->args->root;
	struct statfs fs;

	if (!given)
		return app_cgroup_mount(out, PATH_LEN, command->report);
	if (statfs(given, &fs)) {
		int err = -errno;

		report_error(command->report, given, "findmnt -t cgroup2 shows where it is",
			     "%s", strerror(-err));
		return err;
	}
	if (fs.f_type != CGROUP2_SUPER_MAGIC) {
		report_error(command->report, given, "findmnt -t cgroup2 shows where it is",
			     "is not in a cgroup2 file system");
		return -ENOTDIR;
	}
	return snprintf(out, PATH_LEN, "%s", given) < PATH_LEN ? 0 : -ENAMETOOLONG;
}

static int enter(const struct program *command, const char *cgroup)
{
	char root[PATH_LEN], directory[PATH_LEN];
	const char *next = NULL;
	int err = find_root(command, root);

	if (err)
		return err;
	err = make_cgroup(root, cgroup, directory);
	if (!err)
		err = enter_cgroup(directory);
	if (!err)
		return 0;
	if (err == -EACCES || err == -EPERM)
		next = "run it as root, with --user if the command is not to be root, or as the user "
		       "that the cgroup is delegated to";
	else if (err == -EBUSY)
		next = "a cgroup that hands controllers on to its children cannot have processes: "
		       "name a child of it in the policy";
	report_error(command->report, directory, next, "cannot enter the cgroup: %s",
		     strerror(-err));
	return err;
}

/* This process is the application then, or it is refused. */
static int become_application(struct program *command)
{
	const struct run_args *args = command->args;
	const char *object = args->ifname ? args->ifname : args->policy;
	const struct app_match *match = NULL;
	struct policy *policy = open_policy(args, command->report);
	size_t app;
	int err;

	if (!policy)
		return -errno;
	app = app_find(policy, args->app, object, command->report);
	if (app != SIZE_MAX)
		match = find_match(&policy->applications[app], command->report);
	err = match ? check_who(command, policy, app, match) : -ENOENT;
	if (!err)
		err = enter(command, match->cgroup);
	if (!err)
		err = become(command);
	policy_free(policy);
	return err;
}

static int run(const void *data, struct ipsecbpf_report *report)
{
	const struct run_args *args = data;
	struct program command = { .args = args, .report = report };
	int err, code;

	if (!args->ifname == !args->policy) {
		report_error(report, OBJECT, OBJECT " --help", args->ifname ?
			     "IFNAME or --policy, not both" : "IFNAME or --policy FILE is missing");
		return EXIT_NOT_RUN;
	}
	code = explain_program(&command, find_program(&command));
	if (code)
		return code;
	err = find_ids(&command);
	if (!err)
		err = become_application(&command);
	if (err) {
		exit_code(err, OBJECT, report);
		return EXIT_NOT_RUN;
	}
	execv(command.path, args->command);
	return explain_program(&command, -errno);
}

const struct verb verb_run = {
	.name = "run",
	.summary = "run a command as an application of the policy",
	.details = "Puts itself into the cgroup of the application's first match that names one, made "
		   "if need be, and becomes the command: no socket of it is ever another's. Refused if "
		   "the command would not be that application there; of a script it is the "
		   "interpreter that counts. It runs as who calls it, or as --user. The exit status "
		   "is the command's; 125: refused, failed, or a wrong command line, 126: it cannot be "
		   "run, 127: there is none. The cgroup stays when the command ends.",
	.operands = operands,
	.options = options,
	.args_size = sizeof(struct run_args),
	.usage_status = EXIT_NOT_RUN,
	.run = run,
};
