// SPDX-License-Identifier: BSD-2-Clause
#include "paths.h"

#include <errno.h>
#include <linux/magic.h>
#include <net/if.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statfs.h>

/*
 * Are we in the network namespace of process 1? Where that may not be asked: take it that we are
 * not, since the longer name never collides. Asked once, as a process stays where it is: one that
 * has given up its privileges meanwhile may not ask any more.
 */
static int netns_inode(ino_t *ret_inode, int *ret_initial)
{
	static ino_t inode;
	static int initial;
	struct stat own, init;

	if (!inode) {
		if (stat("/proc/self/ns/net", &own))
			return -errno;
		initial = !stat("/proc/1/ns/net", &init) && own.st_ino == init.st_ino;
		inode = own.st_ino;
	}
	*ret_initial = initial;
	*ret_inode = inode;
	return 0;
}

int paths_init(struct paths *paths, const char *ifname)
{
	size_t len = strlen(ifname);
	ino_t inode;
	int err, initial;

	/* '.' is legal in interface names, but bpffs does not take it: it becomes ':'. */
	if (!len || len >= IF_NAMESIZE || strpbrk(ifname, "/:@ \t\n") || ifname[0] == '.')
		return -EINVAL;
	err = netns_inode(&inode, &initial);
	if (err)
		return err;
	if (initial)
		snprintf(paths->dir, sizeof(paths->dir), "%s", ifname);
	else
		snprintf(paths->dir, sizeof(paths->dir), "%s@%llu", ifname,
			 (unsigned long long)inode);
	for (char *c = paths->dir; *c; c++)
		if (*c == '.')
			*c = ':';
	snprintf(paths->pins, sizeof(paths->pins), PIN_ROOT "/%s", paths->dir);
	snprintf(paths->socket, sizeof(paths->socket), RUN_ROOT "/%s.sock", paths->dir);
	snprintf(paths->lock, sizeof(paths->lock), RUN_ROOT "/%s.lock", paths->dir);
	return 0;
}

int paths_mkdir(const char *path, unsigned int mode)
{
	char copy[256];
	size_t len = strlen(path);

	if (len >= sizeof(copy))
		return -ENAMETOOLONG;
	memcpy(copy, path, len + 1);
	for (char *slash = strchr(copy + 1, '/'); slash; slash = strchr(slash + 1, '/')) {
		*slash = '\0';
		if (mkdir(copy, mode) && errno != EEXIST)
			return -errno;
		*slash = '/';
	}
	return mkdir(copy, mode) && errno != EEXIST ? -errno : 0;
}

int paths_check_bpffs(void)
{
	struct statfs fs;

	if (statfs(BPFFS, &fs))
		return -errno;
	return fs.f_type == BPF_FS_MAGIC ? 0 : -ENOENT;
}
