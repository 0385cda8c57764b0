/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Writes a policy into the maps: fill the spare generation, flip once, free the old one after the
 * kernel's grace period. Included by: policy_apply.c, attach.c, sa_apply.c.
 * Threading: under the attachment's lock.
 */
#ifndef IPSECBPF_POLICY_APPLY_H
#define IPSECBPF_POLICY_APPLY_H

#include "ipsecbpf.h"
#include "pin.h"

/* As ipsecbpf_policy_apply(), on open pins, the lock being held by the caller. */
int policy_install(const struct pins *pins, const char *ifname, const struct policy *policy,
		   struct ipsecbpf_apply_result *ret_result, struct ipsecbpf_report *report);

/* As ipsecbpf_policy_live(), on open pins. NULL with ENODATA if none is loaded. */
struct policy *policy_read_live(const struct pins *pins, struct ipsecbpf_report *report);

#endif /* IPSECBPF_POLICY_APPLY_H */
