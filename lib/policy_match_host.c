// SPDX-License-Identifier: BSD-2-Clause
/* A policy's matches -> patterns: what names of users, groups and programs stand for on this host. */
#include <errno.h>
#include <grp.h>
#include <inttypes.h>
#include <pwd.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../bpf/app_digest.h"
#include "app_identity.h"
#include "policy_internal.h"
#include "policy_match.h"

struct looking_up {
	const struct policy *policy;
	const struct application *application;
	const struct app_match *match;
	uint64_t seed[2];
	struct ipsecbpf_report *report;
};

#define match_error(at, ...)								\
	policy_report_at((at)->policy, (at)->report, REPORT_ERROR, (at)->match->at, __VA_ARGS__)

/* ---- users and groups ---------------------------------------------------------------------- */

/* All digits: *ret_id. */
static bool read_number(const char *text, uint32_t *ret_id)
{
	char *end;
	unsigned long long value;

	if (!*text || text[strspn(text, "0123456789")])
		return false;
	errno = 0;
	value = strtoull(text, &end, 10);
	if (errno || value > POLICY_ID_MAX)
		return false;
	*ret_id = (uint32_t)value;
	return true;
}

/*
 * The id as the initial user namespace has it, where sockets are judged. From a namespace within
 * others only the next one shows, but from there no BPF program is loaded. `path`: uid_map or
 * gid_map.
 */
static int map_id(const char *path, uint32_t *id)
{
	uint32_t inside, outside, count;
	int err = -ERANGE;
	FILE *file = fopen(path, "re");

	if (!file)
		return -errno;
	while (err && fscanf(file, "%" SCNu32 " %" SCNu32 " %" SCNu32, &inside, &outside, &count) == 3)
		if (*id >= inside && *id - inside < count) {
			*id = outside + (*id - inside);
			err = 0;
		}
	fclose(file);
	return err;
}

static int find_user(const char *name, uint32_t *ret_id)
{
	struct passwd *user;

	if (read_number(name, ret_id))
		return 0;
	errno = 0;
	user = getpwnam(name);
	if (!user)
		return errno ? -errno : -ENOENT;
	*ret_id = user->pw_uid;
	return 0;
}

static int find_group(const char *name, uint32_t *ret_id)
{
	struct group *group;

	if (read_number(name, ret_id))
		return 0;
	errno = 0;
	group = getgrnam(name);
	if (!group)
		return errno ? -errno : -ENOENT;
	*ret_id = group->gr_gid;
	return 0;
}

static int look_up_id(const struct looking_up *at, const char *name, bool user, uint32_t *ret_id)
{
	const char *kind = user ? "user" : "group";
	int err = user ? find_user(name, ret_id) : find_group(name, ret_id);

	if (err) {
		/* getpwnam(3): what "no such user" is depends on where users are kept. */
		match_error(at, "application \"%s\": match: there is no %s \"%.60s\" on this host%s%s",
			    at->application->name, kind, name, err == -ENOENT ? "" : ": ",
			    err == -ENOENT ? "" : strerror(-err));
		return err == -ENOMEM ? err : -EINVAL;
	}
	err = map_id(user ? "/proc/self/uid_map" : "/proc/self/gid_map", ret_id);
	if (err == -ERANGE)
		match_error(at, "application \"%s\": match: %s \"%.60s\" (%" PRIu32 ") does not exist "
			    "outside this user namespace: /proc/self/%s does not map it, and no "
			    "socket could be told to be of it", at->application->name, kind, name,
			    *ret_id, user ? "uid_map" : "gid_map");
	else if (err)
		match_error(at, "application \"%s\": match: cannot read /proc/self/%s: %s",
			    at->application->name, user ? "uid_map" : "gid_map", strerror(-err));
	return err ? -EINVAL : 0;
}

/* ---- cgroups and programs ------------------------------------------------------------------ */

static uint32_t depth_of(const struct app_identity *who)
{
	uint32_t level = 0;

	while (level < APP_CGROUP_LEVELS && who->cgroup[level])
		level++;
	return level;
}

static int look_up_cgroup(const struct looking_up *at, struct app_pattern *pattern)
{
	const char *path = at->match->cgroup;
	int err = app_identity_cgroup(&pattern->who, path, at->seed);

	/* Which unit a path lies in has not been asked. */
	pattern->who.unit = 0;
	pattern->who.unit_level = 0;
	pattern->cgroup_level = depth_of(&pattern->who);
	if (err == -E2BIG)
		match_error(at, "application \"%s\": match: cgroup \"%.200s\" is deeper than %d "
			    "levels: name one above it", at->application->name, path, APP_CGROUP_LEVELS);
	else if (err)
		match_error(at, "application \"%s\": match: \"%.200s\" is not the path of a cgroup",
			    at->application->name, path);
	else if (!pattern->cgroup_level)
		match_error(at, "application \"%s\": match: every process is in the root cgroup: leave "
			    "\"cgroup\" out", at->application->name);
	return err == -ENOMEM ? err : err || !pattern->cgroup_level ? -EINVAL : 0;
}

static int look_up_exe(const struct looking_up *at, struct app_pattern *pattern)
{
	const char *path = at->match->exe, *why;
	int err = app_identity_exe(&pattern->who, path, at->seed);

	if (!err || err == -ENOMEM)
		return err;
	why = err == -ENOENT ? "neither it nor its directory exists" :
	      err == -EISDIR ? "it is a directory" :
	      err == -EACCES ? "it is no regular file, or may not be looked at" : strerror(-err);
	match_error(at, "application \"%s\": match: executable \"%.200s\" cannot be told apart from "
		    "others: %s", at->application->name, path, why);
	return -EINVAL;
}

static int look_up(const struct looking_up *at, struct app_pattern *pattern)
{
	const struct app_match *match = at->match;
	int err = 0;

	if (match->cgroup)
		err = look_up_cgroup(at, pattern);
	if (match->unit && !match->cgroup) {
		pattern->who.unit = app_digest_unit(match->unit, at->seed);
		pattern->unit = true;
	}
	if (!err && match->exe) {
		err = look_up_exe(at, pattern);
		pattern->shape |= SPD_MATCH_EXE;
	}
	if (!err && match->user) {
		err = look_up_id(at, match->user, true, &pattern->who.uid);
		pattern->shape |= SPD_MATCH_UID;
	}
	if (!err && match->group) {
		err = look_up_id(at, match->group, false, &pattern->who.gid);
		pattern->shape |= SPD_MATCH_GID;
	}
	return err;
}

/* ---- from outside -------------------------------------------------------------------------- */

static int look_up_application(struct looking_up *at, struct app_patterns *patterns)
{
	uint32_t app = (uint32_t)(at->application - at->policy->applications) + 1;
	int err = 0;

	/* Go on behind an error, for all of them to be told. */
	for (size_t i = 0; i < at->application->match_count && err != -ENOMEM; i++) {
		struct app_pattern pattern = { .app = app };
		int one;

		at->match = &at->application->matches[i];
		one = look_up(at, &pattern);
		if (one)
			err = one;
		else
			patterns->items[patterns->count++] = pattern;
	}
	return err;
}

int app_patterns_init(struct app_patterns *patterns, const struct policy *policy,
		      const struct attachment *attachment, struct ipsecbpf_report *report)
{
	struct looking_up at = {
		.policy = policy,
		.seed = { attachment->digest_seed[0], attachment->digest_seed[1] },
		.report = report,
	};
	size_t count = 0;
	int err = 0;

	*patterns = (struct app_patterns){ 0 };
	for (size_t i = 0; i < policy->application_count; i++)
		count += policy->applications[i].match_count;
	patterns->items = calloc(count + 1, sizeof(*patterns->items));
	if (!patterns->items)
		return -ENOMEM;
	for (size_t i = 0; i < policy->application_count && err != -ENOMEM; i++) {
		int one;

		at.application = &policy->applications[i];
		one = look_up_application(&at, patterns);
		err = one ? one : err;
	}
	if (err)
		app_patterns_fini(patterns);
	return err;
}

uint64_t app_name_digest(const char *name)
{
	/* Administrators choose names: there is nothing to keep from them. The same for ever. */
	static const __u64 seed[2] = { 0x6970736563627066ull, 1 };
	char piece[NAME_LEN] __attribute__((aligned(8))) = { 0 };
	struct app_digest digest;
	size_t len = strnlen(name, sizeof(piece));

	_Static_assert(NAME_LEN % DIGEST_PIECE == 0, "names are digested in pieces");
	memcpy(piece, name, len);
	digest_begin(&digest, seed, 0);
	for (size_t at = 0; at < sizeof(piece); at += DIGEST_PIECE)
		digest_piece(&digest, piece + at, at ? 0 : len);
	return digest_end(&digest);
}
