/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The last good policy of an interface on disk, as canonical JSON: what `attach` loads where it is
 * told nothing else. A policy is good once it has been in force and nobody has to confirm it any
 * more.
 *
 * Written in two steps, so that a full disk is known before policy changes, and the file never
 * holds a policy that was not in force: prepare (a file beside it, synced), flip, commit (rename).
 *
 * Included by: policy_apply.c, names_store.c, attach.c. Threading: under the attachment's lock.
 */
#ifndef IPSECBPF_POLICY_KEEP_H
#define IPSECBPF_POLICY_KEEP_H

#include "paths.h"
#include "policy.h"
#include "report.h"

struct keep_file {
	char path[256], temporary[280];
};

/* The policy, and what its host names stand for (names_store.h): with the one goes the other. */
struct policy_keeping {
	struct keep_file policy, names;
	bool has_names;
};

/*
 * Where it is kept: POLICY_DIR/<ifname>.json in the initial network namespace. Elsewhere the name
 * has the namespace's cookie and the boot id: inode numbers of namespaces are given out again, and
 * no namespace must begin with the policy of another. 0 or -errno.
 */
int policy_keep_path(const char *ifname, char *out, size_t out_len);

/* The same without directory and ending: for what else is kept of an interface. 0 or -errno. */
int policy_keep_name(const char *ifname, char *out, size_t out_len);

/* Makes the directory, if need be, and removes what an earlier boot's network namespaces left
 * there: their cookies mean nothing any more. 0 or -errno. */
int policy_keep_directory(const char *path);

/* A file for the path: written under the temporary name, synced; then renamed, and its directory
 * synced. 0 or -errno. */
int keep_file_write(struct keep_file *file, const char *path, const char *text);
int keep_file_commit(const struct keep_file *file);

/* Writes and syncs the new files under other names. 0 or -errno, explained in report. */
int policy_keep_prepare(const char *ifname, const char *text, const struct name_table *names,
			struct policy_keeping *ret_keeping, struct ipsecbpf_report *report);

/* Puts them in place of the old ones. Too late for an error: what fails is a warning. */
void policy_keep_commit(const struct policy_keeping *keeping, struct ipsecbpf_report *report);
void policy_keep_abandon(const struct policy_keeping *keeping);

#endif /* IPSECBPF_POLICY_KEEP_H */
