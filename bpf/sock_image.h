/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Who makes a socket, remembered for as long as it cannot have changed: to find it out anew means to
 * walk names and to hash them. What is remembered is that of a program in execution by a process, under
 * a key of everything that the answer follows from:
 *
 *   cgroup id               the path and its names: cgroup2 renames none, an id is not used again
 *   tgid, start, exec id    a process, by more than its number, and which exec() of it
 *   device, inode           of the executable, which that execution holds, so that no other file gets
 *                           them; prctl(PR_SET_MM_EXE_FILE) names another
 *   hash and length         of the executable's name, which the kernel salts with its directory: they
 *                           differ when it is renamed or moved, and in another link to the file
 *   user, group
 *
 * Only the names of directories above the executable's are not in it: those are what they were when the
 * program was first seen, or are looked at again when its entry had to give way. Whoever may rename
 * them decides what is executed under the name that policy has, and needs no such trick. A file that
 * was replaced or removed keeps the name that it was executed by, with and without this.
 *
 * The map gives its entries to others without waiting for readers. So an answer is sealed: a reader
 * takes a copy, and believes it if the seal is that of the copy and of his own key.
 *
 * Called by: sock_hooks.h. Touches its own map `images` alone; without an entry, all is only slower.
 */
#ifndef IPSECBPF_SOCK_IMAGE_H
#define IPSECBPF_SOCK_IMAGE_H

#include <stddef.h>

#include "sock_identity.h"
#include "spd_app.h"

#define IMAGES_MAX 16384
#define SUM_LANES 4	/* sums that the processor can work on at the same time */

struct image_key {
	__u64 cgroup_id;
	__u64 start_ns;		/* of the process, CLOCK_BOOTTIME */
	__u64 exec_id;
	__u64 inode;
	__u32 device, generation;
	__u32 name_hash, name_len;
	__u32 uid, gid;
	__u32 tgid;
	__u32 pad;
};

/* Begins as struct app_socket does. */
struct image {
	struct app_identity who;
	__u64 resolved;		/* APP_RESOLVED() */
	__u64 seal;
};
_Static_assert(offsetof(struct image, resolved) == offsetof(struct app_socket, resolved),
	       "both are one on the stack");

struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, IMAGES_MAX);
	__type(key, struct image_key);
	__type(value, struct image);
} images SEC(".maps");

/* Of the process that is running. False: it is none that executes a file. Plain loads: what is followed
 * may change meanwhile, and a load that faults gives 0. */
static __always_inline bool image_key(struct image_key *key)
{
	struct task_struct *task = bpf_get_current_task_btf();
	struct mm_struct *mm = task->mm;
	struct task_struct *leader = task->group_leader;
	__u64 ids = bpf_get_current_uid_gid();
	struct dentry *dentry;
	struct inode *inode;
	struct file *file;

	file = mm ? mm->exe_file : NULL;
	dentry = file ? file->f_path.dentry : NULL;
	inode = file ? file->f_inode : NULL;
	if (!dentry || !inode || !leader)
		return false;
	key->cgroup_id = task->cgroups->dfl_cgrp->kn->id;
	key->start_ns = leader->start_boottime;
	key->exec_id = task->self_exec_id;
	key->inode = inode->i_ino;
	key->device = inode->i_sb->s_dev;
	key->generation = inode->i_generation;
	key->name_hash = dentry->d_name.hash;
	key->name_len = dentry->d_name.len;
	key->tgid = task->tgid;
	key->uid = (__u32)ids;
	key->gid = ids >> 32;
	key->pad = 0;
	return key->cgroup_id;
}

/* A digest against accidents. `sum`: what it goes on from. */
static __always_inline __u64 sum_words(__u64 sum, const __u64 *words, __u32 count)
{
	__u64 lanes[SUM_LANES] = { sum, 1, 2, 3 };

#pragma clang loop unroll(full)
	for (__u32 i = 0; i < count; i++)
		lanes[i % SUM_LANES] = lanes[i % SUM_LANES] * 0x9e3779b97f4a7c15ull + words[i];
	return spd_match_mix(spd_match_mix(spd_match_mix(lanes[0], lanes[1]), lanes[2]), lanes[3]);
}

static __always_inline __u64 image_key_sum(const struct image_key *key)
{
	return sum_words(0, (const __u64 *)key, sizeof(*key) / sizeof(__u64));
}

static __always_inline __u64 image_seal(__u64 key_sum, const struct image *image)
{
	return sum_words(key_sum, (const __u64 *)image, offsetof(struct image, seal) / sizeof(__u64));
}

/*
 * Who the running process is, and its application by the policy of then, if that is remembered. Leaves
 * the key's sum, or 0, in `seal`, for image_keep(). Not inlined, for the stack's sake; static as in
 * app_entries.h.
 */
static __noinline int image_recall(struct image *image)
{
	const struct image *kept;
	struct image_key key;

	if (!image)
		return false;
	image->seal = 0;
	if (!image_key(&key))
		return false;
	image->seal = image_key_sum(&key);
	kept = bpf_map_lookup_elem(&images, &key);
	if (!kept)
		return false;
	image->who = kept->who;
	image->resolved = kept->resolved;
	/* The copy must be what is looked at. */
	asm volatile("" : : : "memory");
	return image_seal(image->seal, image) == kept->seal;
}

/* Remembers what was found out since image_recall(), if the process is still the same. */
static __noinline int image_keep(struct image *image)
{
	struct image_key key;
	__u64 sum;

	if (!image || !image_key(&key))
		return 0;
	sum = image_key_sum(&key);
	if (sum != image->seal || key.cgroup_id != image->who.cgroup_id)
		return 0;
	image->seal = image_seal(sum, image);
	return bpf_map_update_elem(&images, &key, image, BPF_ANY);
}

#endif /* IPSECBPF_SOCK_IMAGE_H */
