// SPDX-License-Identifier: BSD-2-Clause
#include "app_identity.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "../bpf/app_digest.h"
#include "mountinfo.h"

#define CGROUP_ROOT_INODE 1	/* of the whole hierarchy; a cgroup namespace begins further down */

static uint64_t digest_name(uint64_t parent, const char *name, size_t len, const uint64_t seed[2])
{
	const __u64 seeds[2] = { seed[0], seed[1] };
	struct app_digest digest;

	digest_begin(&digest, seeds, parent);
	for (size_t at = 0; at < len; at += DIGEST_PIECE) {
		size_t piece_len = len - at < DIGEST_PIECE ? len - at : DIGEST_PIECE;
		char piece[DIGEST_PIECE] __attribute__((aligned(8))) = { 0 };

		memcpy(piece, name + at, piece_len);
		digest_piece(&digest, piece, piece_len);
	}
	return digest_end(&digest);
}

uint64_t app_digest_unit(const char *unit, const uint64_t seed[2])
{
	return digest_name(DIGEST_UNIT, unit, strlen(unit), seed);
}

/* ---- cgroups -------------------------------------------------------------------------------- */

int app_cgroup_mount(char *out, size_t out_len, struct ipsecbpf_report *report)
{
	struct mount_entry *mount = calloc(1, sizeof(*mount));
	int err = mount ? mountinfo_find("/proc/self/mountinfo", 0, "cgroup2", mount) : -ENOMEM;
	struct stat st;

	if (err == -ENOENT)
		report_error(report, "cgroup2", "mount -t cgroup2 none /sys/fs/cgroup",
			     "is not mounted, so that nobody knows which cgroup a process is in");
	if (!err && !stat(mount->point, &st) && st.st_ino != CGROUP_ROOT_INODE) {
		report_error(report, mount->point,
			     "run ipsecbpf in the host's cgroup namespace: nsenter -t 1 --cgroup --mount",
			     "shows only what a cgroup namespace has, not whose paths policy names");
		err = -ENOENT;
	}
	if (!err && (size_t)snprintf(out, out_len, "%s", mount->point) >= out_len)
		err = -ENAMETOOLONG;
	free(mount);
	return err;
}

static bool is_slice(const char *name, size_t len)
{
	static const char suffix[] = ".slice";
	const size_t suffix_len = sizeof(suffix) - 1;

	return len > suffix_len && !memcmp(name + len - suffix_len, suffix, suffix_len);
}

static bool is_component(const char *name, size_t len)
{
	return len <= DIGEST_NAME_MAX && !(len == 1 && name[0] == '.') &&
	       !(len == 2 && name[0] == '.' && name[1] == '.');
}

int app_identity_cgroup(struct app_identity *who, const char *path, const uint64_t seed[2])
{
	uint64_t parent = 0;
	uint32_t level = 0;

	if (*path != '/')
		return -EINVAL;
	memset(who->cgroup, 0, sizeof(who->cgroup));
	who->unit = 0;
	who->unit_level = 0;
	while (*(path += strspn(path, "/"))) {
		size_t len = strcspn(path, "/");

		if (!is_component(path, len))
			return -EINVAL;
		if (level == APP_CGROUP_LEVELS)
			return -E2BIG;
		parent = digest_name(parent, path, len, seed);
		who->cgroup[level++] = parent;
		if (!who->unit && !is_slice(path, len)) {
			who->unit = digest_name(DIGEST_UNIT, path, len, seed);
			who->unit_level = level;
		}
		path += len;
	}
	return 0;
}

/* Cuts off what the kernel writes behind the path of something that is gone. */
static bool cut_suffix(char *path, const char *suffix)
{
	size_t len = strlen(path), suffix_len = strlen(suffix);

	if (len <= suffix_len || strcmp(path + len - suffix_len, suffix))
		return false;
	path[len - suffix_len] = '\0';
	return true;
}

/* The path of process `pid` in cgroup2, "" if it cannot be known. */
static int read_cgroup(pid_t pid, char *out, size_t out_len)
{
	char path[64], *line = NULL;
	size_t size = 0;
	FILE *file;

	*out = '\0';
	snprintf(path, sizeof(path), "/proc/%d/cgroup", (int)pid);
	file = fopen(path, "re");
	if (!file)
		return errno == ENOENT ? -ESRCH : -errno;
	while (getline(&line, &size, file) >= 0) {
		line[strcspn(line, "\n")] = '\0';
		/* "/..": it is in no cgroup below the root of our namespace. */
		if (!strncmp(line, "0::/", 4) && strncmp(line, "0::/..", 6) &&
		    strlen(line + 3) < out_len)
			strcpy(out, line + 3);
	}
	free(line);
	fclose(file);
	cut_suffix(out, " (deleted)");
	return 0;
}

static int identify_cgroup(struct app_identity *who, pid_t pid, const uint64_t seed[2],
			   struct app_facts *facts)
{
	char *path = NULL;
	struct stat st;
	int err = read_cgroup(pid, facts->cgroup, sizeof(facts->cgroup));
	char mount[MOUNT_PATH_LEN];

	if (err || !*facts->cgroup)
		return err;
	err = app_cgroup_mount(mount, sizeof(mount), NULL);
	if (err) {
		*facts->cgroup = '\0';
		return err == -ENOENT ? 0 : err;
	}
	err = app_identity_cgroup(who, facts->cgroup, seed);
	if (asprintf(&path, "%s%s", mount, facts->cgroup) < 0)
		return -ENOMEM;
	/* The id is the inode's number (64 bits); of one that is gone it is not known. */
	if (!stat(path, &st))
		who->cgroup_id = st.st_ino;
	free(path);
	return err == -E2BIG ? 0 : err;
}

/* ---- executables ---------------------------------------------------------------------------- */

static int read_link(const char *path, char *out, size_t out_len)
{
	ssize_t len = readlink(path, out, out_len - 1);

	if (len < 0)
		return -errno;
	out[len] = '\0';
	return 0;
}

/* `path` without `prefix`, a directory; NULL if it is not below that. */
static const char *below(const char *path, const char *prefix)
{
	size_t len = strlen(prefix);

	if (!strcmp(prefix, "/"))
		return path;
	return !strncmp(path, prefix, len) && (path[len] == '/' || !path[len]) ? path + len : NULL;
}

/*
 * Where the file system of a descriptor is mounted, and its path there. `pid`: whose mounts it may
 * be among, if it is not among ours; its root is not ours then.
 */
static int find_mount(int fd, pid_t pid, const char *path, struct mount_entry *mount,
		      const char **ret_rest)
{
	char mounts[64], root[MOUNT_PATH_LEN];
	struct statx stx;
	int err;

	if (statx(fd, "", AT_EMPTY_PATH, STATX_MNT_ID, &stx))
		return -errno;
	if (!(stx.stx_mask & STATX_MNT_ID))
		return -EOPNOTSUPP;
	err = mountinfo_find("/proc/self/mountinfo", stx.stx_mnt_id, NULL, mount);
	if (err == -ENOENT && pid) {
		snprintf(mounts, sizeof(mounts), "/proc/%d/root", (int)pid);
		err = read_link(mounts, root, sizeof(root));
		path = err ? NULL : below(path, root);
		snprintf(mounts, sizeof(mounts), "/proc/%d/mountinfo", (int)pid);
		err = path ? mountinfo_find(mounts, stx.stx_mnt_id, NULL, mount) : -ENOENT;
	}
	if (err)
		return err;
	*ret_rest = below(path, mount->point);
	return *ret_rest ? 0 : -ENOENT;
}

/* From the last component up to the root, as the hooks go by a file's dentries. */
static uint64_t digest_path(uint64_t digest, const char *path, const uint64_t seed[2])
{
	size_t end = strlen(path), start;

	while (end) {
		start = end;
		while (start && path[start - 1] != '/')
			start--;
		if (end > start)
			digest = digest_name(digest, path + start, end - start, seed);
		end = start ? start - 1 : 0;
	}
	return digest;
}

static size_t count_components(const char *path)
{
	size_t count = 0;

	while (path && *(path += strspn(path, "/"))) {
		path += strcspn(path, "/");
		count++;
	}
	return count;
}

/* `path`: of an open file, as the kernel has it, plus `name` behind it, or NULL. */
static int digest_file(struct app_identity *who, int fd, pid_t pid, const char *path,
		       const char *name, const uint64_t seed[2])
{
	struct mount_entry *mount = calloc(1, sizeof(*mount));
	const char *rest;
	int err = mount ? find_mount(fd, pid, path, mount, &rest) : -ENOMEM;
	uint64_t digest;

	if (err)
		goto out;
	cut_suffix(mount->root, "//deleted");
	if (count_components(mount->root) + count_components(rest) + count_components(name) >=
	    DIGEST_DEPTH_MAX) {
		err = -E2BIG;
		goto out;
	}
	digest = ((uint64_t)mount->major << 20 | mount->minor) | DIGEST_FILE;
	if (name)
		digest = digest_path(digest, name, seed);
	digest = digest_path(digest, rest, seed);
	who->exe = digest_path(digest, mount->root, seed);
out:
	free(mount);
	return err;
}

/* A program that is not there yet, in a directory that is. */
static int identify_missing(struct app_identity *who, const char *path, const uint64_t seed[2])
{
	const char *name = strrchr(path, '/') + 1;
	char link[64], directory[MOUNT_PATH_LEN];
	struct stat st;
	int err, fd;

	/* A symbolic link to nowhere: which name the program will have is not known. */
	if (!*name || !is_component(name, strlen(name)) || !lstat(path, &st))
		return -ENOENT;
	snprintf(directory, sizeof(directory), "%.*s", (int)(name - path), path);
	fd = open(directory, O_PATH | O_DIRECTORY | O_CLOEXEC);
	if (fd < 0)
		return -errno;
	snprintf(link, sizeof(link), "/proc/self/fd/%d", fd);
	err = read_link(link, directory, sizeof(directory));
	if (!err)
		err = digest_file(who, fd, 0, directory, name, seed);
	close(fd);
	return err;
}

int app_identity_exe(struct app_identity *who, const char *path, const uint64_t seed[2])
{
	char link[64], real[MOUNT_PATH_LEN];
	struct stat st;
	int err, fd;

	if (*path != '/' || strlen(path) >= MOUNT_PATH_LEN)
		return -EINVAL;
	fd = open(path, O_PATH | O_CLOEXEC);
	if (fd < 0)
		return errno == ENOENT ? identify_missing(who, path, seed) : -errno;
	snprintf(link, sizeof(link), "/proc/self/fd/%d", fd);
	err = fstat(fd, &st) ? -errno : 0;
	if (!err && !S_ISREG(st.st_mode))
		err = S_ISDIR(st.st_mode) ? -EISDIR : -EACCES;
	if (!err)
		err = read_link(link, real, sizeof(real));
	if (!err)
		err = digest_file(who, fd, 0, real, NULL, seed);
	close(fd);
	return err;
}

/* Is the file still where its path says, so that " (deleted)" is its name? */
static bool is_there(pid_t pid, const char *path, const struct stat *file)
{
	char inside[MOUNT_PATH_LEN + 64];
	struct stat st;

	snprintf(inside, sizeof(inside), "/proc/%d/root%s", (int)pid, path);
	return file->st_nlink && !stat(inside, &st) && st.st_dev == file->st_dev &&
	       st.st_ino == file->st_ino;
}

/* One that cannot be read stays unknown: a kernel thread has none, and others' are private. */
static int identify_exe(struct app_identity *who, pid_t pid, const uint64_t seed[2],
			struct app_facts *facts)
{
	char link[64];
	struct stat st;
	int err, fd;

	snprintf(link, sizeof(link), "/proc/%d/exe", (int)pid);
	fd = open(link, O_PATH | O_CLOEXEC);
	if (fd < 0)
		return 0;
	err = fstat(fd, &st) ? -errno : read_link(link, facts->exe, sizeof(facts->exe));
	if (!err && !is_there(pid, facts->exe, &st))
		cut_suffix(facts->exe, " (deleted)");
	if (!err)
		err = digest_file(who, fd, pid, facts->exe, NULL, seed);
	close(fd);
	return err == -ENOMEM ? err : 0;
}

/* ---- processes ------------------------------------------------------------------------------ */

/* Real ids, as our user namespace has them: who may load BPF programs is in the initial one. */
static int identify_user(struct app_identity *who, pid_t pid)
{
	bool user = false, group = false;
	char path[64], line[256];
	FILE *file;

	snprintf(path, sizeof(path), "/proc/%d/status", (int)pid);
	file = fopen(path, "re");
	if (!file)
		return errno == ENOENT ? -ESRCH : -errno;
	while (!(user && group) && fgets(line, sizeof(line), file)) {
		user |= sscanf(line, "Uid: %" SCNu32, &who->uid) == 1;
		group |= sscanf(line, "Gid: %" SCNu32, &who->gid) == 1;
	}
	fclose(file);
	return user && group ? 0 : -ESRCH;
}

int app_identity_pid(struct app_identity *who, pid_t pid, const uint64_t seed[2],
		     struct app_facts *facts)
{
	struct app_facts *found = calloc(1, sizeof(*found));
	struct app_identity identity = { 0 };
	int err = found ? identify_user(&identity, pid) : -ENOMEM;

	if (!err)
		err = identify_cgroup(&identity, pid, seed, found);
	if (!err)
		err = identify_exe(&identity, pid, seed, found);
	if (!err) {
		found->uid = identity.uid;
		found->gid = identity.gid;
		*who = identity;
		if (facts)
			*facts = *found;
	}
	free(found);
	return err;
}
