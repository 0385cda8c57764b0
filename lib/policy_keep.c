// SPDX-License-Identifier: BSD-2-Clause
#include "policy_keep.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "names_store.h"

#ifndef SO_NETNS_COOKIE
#define SO_NETNS_COOKIE 71 /* Linux 5.14; unknown to Debian 12's headers */
#endif

#define BOOT_ID_LEN 8 /* of its 36 characters */

static int netns_cookie(uint64_t *ret_cookie)
{
	socklen_t len = sizeof(*ret_cookie);
	int err, fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);

	if (fd < 0)
		return -errno;
	err = getsockopt(fd, SOL_SOCKET, SO_NETNS_COOKIE, ret_cookie, &len) ? -errno : 0;
	close(fd);
	return err;
}

static int boot_id(char out[BOOT_ID_LEN + 1])
{
	int fd = open("/proc/sys/kernel/random/boot_id", O_RDONLY | O_CLOEXEC);
	ssize_t len = fd < 0 ? -1 : read(fd, out, BOOT_ID_LEN);
	int err = len < 0 ? -errno : len < BOOT_ID_LEN ? -EIO : 0;

	if (fd >= 0)
		close(fd);
	out[err ? 0 : BOOT_ID_LEN] = '\0';
	return err;
}

/* Of a network namespace that an earlier boot had: nothing will ever ask for it. */
static bool is_of_earlier_boot(const char *name, const char *boot)
{
	const char *at = strrchr(name, '@');
	char seen[BOOT_ID_LEN + 1];
	int end = 0;

	return at && sscanf(at, "@%*[0-9a-f]-%8[0-9a-f].json%n", seen, &end) == 1 && end &&
	       (!at[end] || !strcmp(at + end, ".new")) && strcmp(seen, boot) != 0;
}

static void forget_earlier_boots(const char *path)
{
	DIR *directory = opendir(path);
	char boot[BOOT_ID_LEN + 1];
	const struct dirent *entry;

	if (!directory)
		return;
	if (!boot_id(boot))
		while ((entry = readdir(directory)))
			if (is_of_earlier_boot(entry->d_name, boot))
				unlinkat(dirfd(directory), entry->d_name, 0);
	closedir(directory);
}

int policy_keep_directory(const char *path)
{
	int err = paths_mkdir(path, 0700);

	if (!err)
		forget_earlier_boots(path);
	return err;
}

int policy_keep_name(const char *ifname, char *out, size_t out_len)
{
	char boot[BOOT_ID_LEN + 1];
	struct paths paths;
	uint64_t cookie;
	int err = paths_init(&paths, ifname);

	if (!err && !strchr(paths.dir, '@')) {
		snprintf(out, out_len, "%s", paths.dir);
		return 0;
	}
	if (!err)
		err = netns_cookie(&cookie);
	if (!err)
		err = boot_id(boot);
	if (!err)
		snprintf(out, out_len, "%s@%" PRIx64 "-%s", ifname, cookie, boot);
	return err;
}

int policy_keep_path(const char *ifname, char *out, size_t out_len)
{
	char name[128];
	int err = policy_keep_name(ifname, name, sizeof(name));

	if (!err)
		snprintf(out, out_len, POLICY_DIR "/%s.json", name);
	return err;
}

static int write_all(int fd, const char *text)
{
	size_t len = strlen(text);

	while (len) {
		ssize_t done = write(fd, text, len);

		if (done < 0 && errno == EINTR)
			continue;
		if (done <= 0)
			return done ? -errno : -EIO;
		text += done;
		len -= (size_t)done;
	}
	return fsync(fd) ? -errno : 0;
}

int keep_file_write(struct keep_file *file, const char *path, const char *text)
{
	int err, fd;

	snprintf(file->path, sizeof(file->path), "%s", path);
	snprintf(file->temporary, sizeof(file->temporary), "%s.new", path);
	unlink(file->temporary); /* of one who died; the lock is ours */
	fd = open(file->temporary, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
	if (fd < 0)
		return -errno;
	err = write_all(fd, text);
	if (close(fd) && !err)
		err = -errno;
	if (err)
		unlink(file->temporary);
	return err;
}

static int sync_directory(const char *path)
{
	char directory[256];
	int err, fd;

	snprintf(directory, sizeof(directory), "%.*s", (int)(strrchr(path, '/') - path), path);
	fd = open(directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (fd < 0)
		return -errno;
	err = fsync(fd) ? -errno : 0;
	close(fd);
	return err;
}

int keep_file_commit(const struct keep_file *file)
{
	return rename(file->temporary, file->path) ? -errno : sync_directory(file->path);
}

static int prepare_policy(const char *ifname, const char *text, struct keep_file *file,
			  struct ipsecbpf_report *report)
{
	char path[256] = POLICY_DIR;
	int err = policy_keep_path(ifname, path, sizeof(path));

	if (!err)
		err = policy_keep_directory(POLICY_DIR);
	if (!err)
		err = keep_file_write(file, path, text);
	if (err)
		report_error(report, path,
			     "make room in " STATE_ROOT ", and see that it is writable; the live "
			     "policy is unchanged",
			     "cannot keep the policy for the next attach: %s", strerror(-err));
	return err;
}

int policy_keep_prepare(const char *ifname, const char *text, const struct name_table *names,
			struct policy_keeping *ret_keeping, struct ipsecbpf_report *report)
{
	struct policy_keeping keeping = { .has_names = names->count > 0 };
	int err = prepare_policy(ifname, text, &keeping.policy, report);

	if (!err && keeping.has_names) {
		err = names_keep_prepare(ifname, names, &keeping.names, report);
		if (err)
			unlink(keeping.policy.temporary);
	}
	if (!err)
		*ret_keeping = keeping;
	return err;
}

void policy_keep_commit(const struct policy_keeping *keeping, struct ipsecbpf_report *report)
{
	int err = keep_file_commit(&keeping->policy);

	if (err)
		report_warning(report, keeping->policy.path, "attach with --policy FILE next time",
			       "the policy is in force, but the next attach may load the one "
			       "before: %s", strerror(-err));
	err = keeping->has_names ? keep_file_commit(&keeping->names) : 0;
	if (err)
		report_warning(report, keeping->names.path, NULL,
			       "the next attach may not know the addresses that are in force: %s",
			       strerror(-err));
}

void policy_keep_abandon(const struct policy_keeping *keeping)
{
	unlink(keeping->policy.temporary);
	if (keeping->has_names)
		unlink(keeping->names.temporary);
}
