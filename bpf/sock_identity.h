/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Who makes a socket: cgroup, unit, executable and user of the process that is running, as digests.
 * Read from the kernel's own structures, found by BTF: only the fields that are named below have to be
 * there. Reads that fault give 0, so that a process about which something cannot be found out matches
 * no application that asks for it.
 *
 * Called by: sock_hooks.h, where the process that acts is the one that is running; sock_image.h has the
 * structures from here. Touches nothing.
 */
#ifndef IPSECBPF_SOCK_IDENTITY_H
#define IPSECBPF_SOCK_IDENTITY_H

#include <bpf/bpf_core_read.h>

#include "app_digest.h"
#include "maps.h"

/* The seed of the digests (attachment.digest_seed). */
const volatile __u64 digest_seed[2];

/* ---- of the kernel's structures, what is read ------------------------------------------------ */

#pragma clang attribute push(__attribute__((preserve_access_index)), apply_to = record)

struct kernfs_node {
	const char *name;
	__u64 id;
};

struct cgroup {
	int level;
	struct kernfs_node *kn;
	struct cgroup *ancestors[0];
};

struct css_set {
	struct cgroup *dfl_cgrp;	/* in cgroup2 */
};

struct super_block {
	__u32 s_dev;
};

struct qstr {
	__u32 hash;		/* salted with the directory */
	__u32 len;
	const unsigned char *name;
};

struct dentry {
	struct dentry *d_parent;
	struct qstr d_name;
	struct super_block *d_sb;
};

struct path {
	struct dentry *dentry;
};

struct inode {
	struct super_block *i_sb;
	unsigned long i_ino;
	__u32 i_generation;	/* of a number that is used again */
};

struct file {
	struct path f_path;
	struct inode *f_inode;
};

struct mm_struct {
	struct file *exe_file;
};

struct task_struct {
	struct mm_struct *mm;
	struct css_set *cgroups;
	struct task_struct *group_leader;
	__u64 start_boottime;
	__u64 self_exec_id;	/* counts exec() */
	int tgid;
};

#pragma clang attribute pop

/* ---- digests --------------------------------------------------------------------------------- */

/* Of the name at that address in the kernel, and its length. Not inlined: the verifier walks it once. */
__noinline __u64 identity_name(__u64 parent, __u64 address, __u32 *ret_len)
{
	const __u64 seed[2] = { digest_seed[0], digest_seed[1] };
	struct app_digest digest;

	if (!ret_len)
		return 0;
	digest_begin(&digest, seed, parent);
#pragma clang loop unroll(disable)
	for (int i = 0; i < DIGEST_NAME_MAX / DIGEST_PIECE + 1; i++) {
		__u64 piece[DIGEST_PIECE / 8 + 1] = {};
		long len = bpf_probe_read_kernel_str(piece, DIGEST_PIECE + 1, (const void *)address);

		if (len <= 1)	/* with its NUL */
			break;
		digest_piece(&digest, piece, len - 1);
		if (len <= DIGEST_PIECE)
			break;
		address += DIGEST_PIECE;
	}
	*ret_len = digest.len;
	return digest_end(&digest);
}

/* Ends the name in ".slice", and is that not all of it? */
static __always_inline bool is_slice(__u64 address, __u32 len)
{
	const union suffix {
		char text[8];	/* with its NUL, and one more */
		__u64 word;
	} suffix = { ".slice" };
	union suffix end = {};

	return len >= sizeof(".slice") &&
	       !bpf_probe_read_kernel(&end, sizeof(".slice"),
				      (const void *)(address + len + 1 - sizeof(".slice"))) &&
	       end.word == suffix.word;
}

/*
 * The cgroup, by its ancestors: they stay as long as it does, and so do their names (cgroup2 renames
 * none). Level 0 is the root.
 */
static __always_inline void identity_cgroup(struct app_identity *who, struct task_struct *task)
{
	struct cgroup *cgroup = BPF_CORE_READ(task, cgroups, dfl_cgrp);
	int depth = BPF_CORE_READ(cgroup, level);
	__u64 digest = 0;

	who->cgroup_id = BPF_CORE_READ(cgroup, kn, id);
#pragma clang loop unroll(disable)
	for (int i = 0; i < APP_CGROUP_LEVELS && i < depth; i++) {
		struct cgroup *ancestor;
		__u64 name;
		__u32 len = 0;

		bpf_probe_read_kernel(&ancestor, sizeof(ancestor), (const char *)cgroup +
				      bpf_core_field_offset(cgroup->ancestors) +
				      (i + 1) * sizeof(ancestor));
		name = (__u64)BPF_CORE_READ(ancestor, kn, name);
		digest = identity_name(digest, name, &len);
		who->cgroup[i] = digest;
		if (!who->unit && !is_slice(name, len)) {
			who->unit = identity_name(DIGEST_UNIT, name, &len);
			who->unit_level = i + 1;
		}
	}
}

/* The executable, from its name up to the root of its file system. One whose path is deeper, or that
 * has none (memfd_create), is not known. */
static __always_inline __u64 identity_exe(struct task_struct *task)
{
	struct mm_struct *mm = task->mm;
	struct file *file = mm ? mm->exe_file : NULL;
	struct dentry *dentry = file ? file->f_path.dentry : NULL;
	__u64 digest;
	__u32 len;
	int i;

	if (!dentry)
		return 0;
	digest = dentry->d_sb->s_dev | DIGEST_FILE;
#pragma clang loop unroll(disable)
	for (i = 0; i < DIGEST_DEPTH_MAX; i++) {
		struct dentry *parent = dentry->d_parent;

		if (parent == dentry)
			return i ? digest : 0;
		digest = identity_name(digest, (__u64)BPF_CORE_READ(dentry, d_name.name), &len);
		dentry = parent;
	}
	return 0;
}

/* Of the process that is running. */
__noinline int identity_of_current(struct app_identity *who)
{
	struct task_struct *task = bpf_get_current_task_btf();
	__u64 ids = bpf_get_current_uid_gid();

	if (!who)
		return -DROP_INTERNAL;
	__builtin_memset(who, 0, sizeof(*who));
	identity_cgroup(who, task);
	who->exe = identity_exe(task);
	who->uid = (__u32)ids;
	who->gid = ids >> 32;
	return 0;
}

#endif /* IPSECBPF_SOCK_IDENTITY_H */
