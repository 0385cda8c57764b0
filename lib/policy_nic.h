/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What a policy asks of the NIC it is for.
 *
 * Included by: attach.c, policy_apply.c.
 */
#ifndef IPSECBPF_POLICY_NIC_H
#define IPSECBPF_POLICY_NIC_H

#include "policy.h"

/* Warns if inbound rules ask for VLANs and the NIC hides them: what is tagged looks untagged then. */
void policy_warn_nic(const struct policy *policy, const char *ifname,
		     struct ipsecbpf_report *report);

#endif /* IPSECBPF_POLICY_NIC_H */
