/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Attaching one program to one place: XDP by link, tc by tcx link where the kernel has it,
 * otherwise as a clsact filter. Foreign programs are never evicted.
 *
 * Included by: loader.c, pin.c, preflight_kernel.c. No state.
 */
#ifndef IPSECBPF_HOOK_ATTACH_H
#define IPSECBPF_HOOK_ATTACH_H

#include <stdbool.h>
#include <stdint.h>

/* Link descriptor, or -errno (-EBUSY: another XDP program is attached). */
int hook_attach_xdp(int prog_fd, uint32_t ifindex, bool generic);

/* Link descriptor of a program in front of all others, or -errno (-EINVAL: no tcx in this kernel).
 */
int hook_attach_tcx(int prog_fd, uint32_t ifindex, bool egress);

/* Does this kernel have tcx? Asks by trying, with an interface that cannot exist. */
bool hook_has_tcx(int prog_fd);

/* Adds (or replaces, if *handle is not 0) a clsact filter; returns 0 and its place, or -errno. */
int hook_attach_clsact(int prog_fd, uint32_t ifindex, bool egress, uint32_t *handle,
		       uint32_t *priority);
/* Id of the program in that place, 0 if there is none. */
uint32_t hook_query_clsact(uint32_t ifindex, bool egress, uint32_t handle, uint32_t priority);
void hook_detach_clsact(uint32_t ifindex, bool egress, uint32_t handle, uint32_t priority);

#endif /* IPSECBPF_HOOK_ATTACH_H */
