/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What is mounted where, from /proc/PID/mountinfo (proc(5)).
 *
 * Included by: app_identity.c, unit tests. No state; thread safe.
 */
#ifndef IPSECBPF_MOUNTINFO_H
#define IPSECBPF_MOUNTINFO_H

#include <stdbool.h>
#include <stdint.h>

#define MOUNT_PATH_LEN 4096	/* PATH_MAX, with the final NUL */

struct mount_entry {
	uint64_t id;
	unsigned int major, minor;	/* of the file system, as the kernel counts it */
	char root[MOUNT_PATH_LEN];	/* what of the file system is mounted: a path inside it */
	char point[MOUNT_PATH_LEN];	/* where */
	char type[64];			/* of file system */
};

/* One line, with or without its newline. False if it is none. Paths come out unescaped. */
bool mountinfo_line(const char *line, struct mount_entry *ret_entry);

/*
 * Looks for the mount of that id, or, if `type` is not NULL, for the first of that type whose root
 * is its file system's. `path`: of a mountinfo file. 0, -ENOENT or -errno.
 */
int mountinfo_find(const char *path, uint64_t id, const char *type,
		   struct mount_entry *ret_entry);

#endif /* IPSECBPF_MOUNTINFO_H */
