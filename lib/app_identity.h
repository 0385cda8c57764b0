/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Who a process is, as the socket hooks would note it (bpf/sock_identity.h): from /proc.
 *
 * Included by: app_scan.c, policy_match.c, the CLI's `app` and `explain --pid`.
 */
#ifndef IPSECBPF_APP_IDENTITY_H
#define IPSECBPF_APP_IDENTITY_H

#include <sys/types.h>

#include "abi_user.h"
#include "report.h"

/* What the digests stand for, for people. */
struct app_facts {
	char cgroup[4096];	/* below the root of cgroup2; "" : unknown */
	char exe[4096];		/* "" : none, or it cannot be read */
	uid_t uid;
	gid_t gid;
};

/* Where cgroup2 is mounted, with its own root at the top. 0, or -ENOENT; explained in report. */
int app_cgroup_mount(char *out, size_t out_len, struct ipsecbpf_report *report);

/* Identity of a path below the root of cgroup2, or of an executable: the other fields stay. 0 or
 * -errno (-E2BIG: deeper than APP_CGROUP_LEVELS, of a path that a policy names, or than
 * DIGEST_DEPTH_MAX). */
int app_identity_cgroup(struct app_identity *who, const char *path, const uint64_t seed[2]);
int app_identity_exe(struct app_identity *who, const char *path, const uint64_t seed[2]);
uint64_t app_digest_unit(const char *unit, const uint64_t seed[2]);

/* 0, or -ESRCH, -errno. `facts` may be NULL. */
int app_identity_pid(struct app_identity *who, pid_t pid, const uint64_t seed[2],
		     struct app_facts *facts);

#endif /* IPSECBPF_APP_IDENTITY_H */
