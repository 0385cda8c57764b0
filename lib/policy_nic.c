// SPDX-License-Identifier: BSD-2-Clause
#include "policy_nic.h"

#include <fnmatch.h>
#include <net/if.h>
#include <stdio.h>

#include "nic_features.h"

static bool asks_for_vlan(const struct rule *rule, const char *ifname)
{
	bool applies = !rule->interface_count;

	for (size_t i = 0; i < rule->interface_count && !applies; i++)
		applies = !fnmatch(rule->interfaces[i], ifname, 0);
	return applies && rule->vlan.count && rule->direction != RULE_OUT;
}

void policy_warn_nic(const struct policy *policy, const char *ifname,
		     struct ipsecbpf_report *report)
{
	struct nic_offloads offloads;
	char next[IF_NAMESIZE + 32];

	for (size_t i = 0; i < policy->rule_count; i++) {
		const struct rule *rule = &policy->rules[i];

		if (!asks_for_vlan(rule, ifname))
			continue;
		if (nic_offloads(ifname, &offloads) || !offloads.on[NIC_OFFLOAD_RX_VLAN])
			return;
		snprintf(next, sizeof(next), "ethtool -K %s rxvlan off", ifname);
		report_warning(report, ifname, next, "rule \"%s\" asks for VLANs of what comes in, "
			       "and the NIC may take tags out of frames before XDP sees them: they "
			       "count as untagged then", rule->name);
		return;
	}
}
