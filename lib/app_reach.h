/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What the socket hooks do not reach: programs outside the cgroup they are attached to, and packets
 * that sockets do not get from the NIC itself, so that nobody sees that an SA has verified them.
 *
 * Included by: policy_apply.c, attach.c, preflight.h. No state.
 */
#ifndef IPSECBPF_APP_REACH_H
#define IPSECBPF_APP_REACH_H

#include "pin.h"
#include "policy.h"

/* Names of interfaces; "": there is none. */
struct app_reach {
	char above[16];		/* sockets get what the NIC receives from there: VLAN, bridge ... */
	char beside[16];	/* another NIC of this network namespace that is attached */
};

/* Of an interface in the caller's network namespace. What cannot be asked is taken for none. */
void app_reach_read(const char *ifname, uint32_t ifindex, struct app_reach *ret_reach);

/* Warns of both, of a policy that names applications. */
void app_reach_warn(const struct pins *pins, const struct policy *policy,
		    struct ipsecbpf_report *report);

#endif /* IPSECBPF_APP_REACH_H */
