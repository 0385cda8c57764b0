/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The socket hooks (bpf/ipsecbpf_sockets.bpf.c) of a live attachment: loaded, attached to a cgroup
 * and pinned when the first policy that names applications comes; they stay until detach. They act
 * on sockets of the NIC's network namespace only.
 *
 * Included by: policy_apply.c, attach.c, status.c, app_mend.c, supervisor_hooks.c.
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

/*
 * The same for an attach over a guard, whose hooks have their own maps: new ones are put beside
 * them, so that the NIC's hooks know every socket whichever maps they have, before and after they
 * are moved. Then either app_hooks_commit(), when the NIC's are ours: the guard's go; or
 * app_hooks_abandon(): the new ones go, and nothing has changed. The number of the stage (>= 0), or
 * -errno, explained.
 */
int app_hooks_stage(const struct pins *pins, struct ipsecbpf_report *report);
/* stage < 0: none, for a policy without applications. */
void app_hooks_commit(const struct paths *paths, int stage);
void app_hooks_abandon(const struct paths *paths, int stage);

/* Are they all attached, to what is attachment.cgroup now? What status and preflight say. */
bool app_hooks_attached(const struct pins *pins);

/* How many socket hooks there are, and how many links of theirs are alive. */
int app_hooks_count(const struct pins *pins, int *ret_alive);

/* Was attachment.cgroup removed? Then no process is in it that could make a socket, nor below it;
 * the hooks stay until the last socket that was made there is closed. */
bool app_hooks_cgroup_is_gone(const struct pins *pins);

/* May sockets be made that no hook sees: is there that cgroup, and a hook not attached to it? For
 * the supervisor, which may not ask whose program it is: 40 system calls. */
bool app_hooks_are_off(const struct pins *pins);

/* Takes links and pins away: detach --open. */
void app_hooks_remove(const struct paths *paths);

#endif /* IPSECBPF_APP_HOOKS_H */
