/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Where an attachment keeps its things. <dir> is the interface name in the initial network
 * namespace and "<ifname>@<namespace inode>" elsewhere, so that hosts in namespaces on one file
 * system do not collide.
 *
 * Included by: pin, loader, attach, control, reservation, policy_keep. Pure string making and stat().
 */
#ifndef IPSECBPF_PATHS_H
#define IPSECBPF_PATHS_H

#include <stddef.h>

#define BPFFS	   "/sys/fs/bpf"
#define PIN_ROOT   BPFFS "/ipsecbpf"
#define RUN_ROOT   "/run/ipsecbpf"
#define STATE_ROOT "/var/lib/ipsecbpf"
#define SEQ_DIR	   STATE_ROOT "/seq"
#define POLICY_DIR STATE_ROOT "/policy"

struct paths {
	char dir[64];	  /* <dir> alone */
	char pins[128];	  /* PIN_ROOT/<dir> */
	char socket[108]; /* RUN_ROOT/<dir>.sock */
	char lock[128];	  /* RUN_ROOT/<dir>.lock */
};

/* 0, or -EINVAL for a name that no interface can have, or -errno of looking at /proc/self/ns/net.
 */
int paths_init(struct paths *paths, const char *ifname);

/* Makes a directory and its parents with this mode; existing ones are left as they are. 0 or
 * -errno. */
int paths_mkdir(const char *path, unsigned int mode);

/* Is bpffs mounted on BPFFS? 0, -ENOENT if not, or -errno. */
int paths_check_bpffs(void);

#endif /* IPSECBPF_PATHS_H */
