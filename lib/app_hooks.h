/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The socket hooks (bpf/ipsecbpf_sockets.bpf.c) of a live attachment: loaded, attached to a cgroup and
 * pinned when the first policy that names applications comes; they stay until detach. They act on
 * sockets of the NIC's network namespace only.
 *
 * Included by: policy_apply.c, attach.c, status.c.
 */
#ifndef IPSECBPF_APP_HOOKS_H
#define IPSECBPF_APP_HOOKS_H

#include "pin.h"

/* Is that a directory of cgroup2? 0 and its real path, or -errno, explained. */
int app_hooks_check_cgroup(const char *path, char *ret_real, size_t real_len,
			   struct ipsecbpf_report *report);

/* Makes sure that they are attached, all of them, to attachment.cgroup. 0 or -errno, explained:
 * no cgroup2, no BTF, another program holds the hook exclusively. */
int app_hooks_ensure(const struct pins *pins, struct ipsecbpf_report *report);

/* Are they all attached? What status and preflight say. */
bool app_hooks_attached(const struct pins *pins);

/* How many socket hooks there are, and how many links of theirs are alive. */
int app_hooks_count(const struct pins *pins, int *ret_alive);

/* Takes links and pins away: detach --open. */
void app_hooks_remove(const struct paths *paths);

#endif /* IPSECBPF_APP_HOOKS_H */
