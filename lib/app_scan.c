// SPDX-License-Identifier: BSD-2-Clause
#include "app_scan.h"

#include <bpf/bpf.h>
#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#ifndef SO_NETNS_COOKIE
#define SO_NETNS_COOKIE 71
#endif

struct scan {
	const struct pins *pins;
	app_scan_fn each;
	void *context;
	int storage;		/* map app_sockets; -1: of an attachment without it */
	unsigned long *seen;	/* inodes, an open hash table; 0: empty */
	size_t seen_count, seen_room;	/* a power of two */
};

/* ---- each socket once ----------------------------------------------------------------------- */

static bool put_inode(unsigned long *table, size_t room, unsigned long inode)
{
	size_t at = inode * 0x9e3779b97f4a7c15ul & (room - 1);

	while (table[at] && table[at] != inode)
		at = (at + 1) & (room - 1);
	if (table[at] == inode)
		return false;
	table[at] = inode;
	return true;
}

static int grow(struct scan *scan)
{
	size_t room = scan->seen_room ? scan->seen_room * 2 : 1024;
	unsigned long *table = calloc(room, sizeof(*table));

	if (!table)
		return -ENOMEM;
	for (size_t i = 0; i < scan->seen_room; i++)
		if (scan->seen[i])
			put_inode(table, room, scan->seen[i]);
	free(scan->seen);
	scan->seen = table;
	scan->seen_room = room;
	return 0;
}

static bool is_seen(const struct scan *scan, unsigned long inode)
{
	size_t at = inode * 0x9e3779b97f4a7c15ul & (scan->seen_room - 1);

	while (scan->seen_room && scan->seen[at] && scan->seen[at] != inode)
		at = (at + 1) & (scan->seen_room - 1);
	return scan->seen_room && scan->seen[at];
}

/* 1: seen for the first time, 0: not, or -ENOMEM. */
static int see(struct scan *scan, unsigned long inode)
{
	int err = scan->seen_count * 2 >= scan->seen_room ? grow(scan) : 0;

	if (err || !put_inode(scan->seen, scan->seen_room, inode))
		return err;
	scan->seen_count++;
	return 1;
}

/* ---- one socket ----------------------------------------------------------------------------- */

static int socket_option(int fd, int option)
{
	int value = -1;
	socklen_t len = sizeof(value);

	return getsockopt(fd, SOL_SOCKET, option, &value, &len) ? -1 : value;
}

static bool is_of_namespace(int fd, uint64_t cookie)
{
	uint64_t value = 0;
	socklen_t len = sizeof(value);

	return !getsockopt(fd, SOL_SOCKET, SO_NETNS_COOKIE, &value, &len) && value == cookie;
}

/* False: none of ours. */
static bool describe(const struct scan *scan, struct app_scan_socket *found)
{
	int family = socket_option(found->fd, SO_DOMAIN);

	if ((family != AF_INET && family != AF_INET6) ||
	    !is_of_namespace(found->fd, scan->pins->attachment.netns_cookie))
		return false;
	found->family = (uint8_t)family;
	found->proto = (uint8_t)socket_option(found->fd, SO_PROTOCOL);
	found->listening = socket_option(found->fd, SO_ACCEPTCONN) == 1;
	found->known = scan->storage >= 0 &&
		       !bpf_map_lookup_elem(scan->storage, &found->fd, &found->socket);
	return true;
}

/* The number may be another file's by now: what counts is whose it is in our hands. */
static int look_at(struct scan *scan, struct app_scan_socket *found)
{
	struct stat st;
	int result = 0;

	found->fd = (int)syscall(SYS_pidfd_getfd, found->pidfd, found->pid_fd_number, 0);
	if (found->fd < 0)	/* the process or the socket is gone */
		return errno == ESRCH || errno == EBADF ? 0 : -errno;
	if (!fstat(found->fd, &st) && S_ISSOCK(st.st_mode)) {
		found->inode = st.st_ino;
		result = see(scan, found->inode);
	}
	if (result > 0)
		result = describe(scan, found) ? scan->each(scan->context, found) : 0;
	close(found->fd);
	return result;
}

bool app_scan_is_there(const struct app_scan_socket *found)
{
	return !syscall(SYS_pidfd_send_signal, found->pidfd, 0, NULL, 0) || errno != ESRCH;
}

/* ---- processes ------------------------------------------------------------------------------ */

static bool read_inode(int directory, const char *name, unsigned long *ret_inode)
{
	char target[64];
	ssize_t len = readlinkat(directory, name, target, sizeof(target) - 1);

	if (len < 0)
		return false;
	target[len] = '\0';
	return sscanf(target, "socket:[%lu]", ret_inode) == 1;
}

static int scan_directory(struct scan *scan, pid_t pid, int pidfd, DIR *directory)
{
	const struct dirent *entry;
	int result = 0;

	while (!result && (entry = readdir(directory))) {
		struct app_scan_socket found = { .pid = pid, .pidfd = pidfd };

		if (!read_inode(dirfd(directory), entry->d_name, &found.inode) ||
		    is_seen(scan, found.inode))
			continue;
		found.pid_fd_number = atoi(entry->d_name);
		result = look_at(scan, &found);
	}
	return result;
}

static int scan_process(struct scan *scan, pid_t pid)
{
	int pidfd = (int)syscall(SYS_pidfd_open, pid, 0), result;
	DIR *directory;
	char path[64];

	if (pidfd < 0)
		return -errno;
	snprintf(path, sizeof(path), "/proc/%d/fd", (int)pid);
	directory = opendir(path);
	result = directory ? scan_directory(scan, pid, pidfd, directory) :
		 errno == ENOENT ? -ESRCH : -errno;
	if (directory)
		closedir(directory);
	close(pidfd);
	return result;
}

static int scan_all(struct scan *scan)
{
	DIR *directory = opendir("/proc");
	const struct dirent *entry;
	int result = 0;

	if (!directory)
		return -errno;
	while (!result && (entry = readdir(directory))) {
		char *end;
		long pid = strtol(entry->d_name, &end, 10);

		if (*end || pid <= 0)
			continue;
		result = scan_process(scan, (pid_t)pid);
		if (result == -ESRCH)	/* it has ended */
			result = 0;
	}
	closedir(directory);
	return result;
}

static int run(const struct pins *pins, pid_t pid, app_scan_fn each, void *context)
{
	struct scan scan = { .pins = pins, .each = each, .context = context };
	char path[256];
	int result;

	pin_map_path(&pins->paths, "app_sockets", path, sizeof(path));
	scan.storage = bpf_obj_get(path);
	result = pid ? scan_process(&scan, pid) : scan_all(&scan);
	if (scan.storage >= 0)
		close(scan.storage);
	free(scan.seen);
	return result;
}

int app_scan(const struct pins *pins, app_scan_fn each, void *context)
{
	return run(pins, 0, each, context);
}

int app_scan_process(const struct pins *pins, pid_t pid, app_scan_fn each, void *context)
{
	return run(pins, pid, each, context);
}
