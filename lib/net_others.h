/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Who else has a say about the packets of an interface: routing rules that look at the packet mark,
 * the kernel's own IPsec, WireGuard, the bridge or bond it is a port of, VLANs above it. Asked by
 * netlink, in the network namespace of the caller; nothing is changed.
 *
 * Included by: preflight.h, app_reach.c. No state.
 */
#ifndef IPSECBPF_NET_OTHERS_H
#define IPSECBPF_NET_OTHERS_H

#include <stdbool.h>
#include <stdint.h>

#define NET_RULES_MAX 32

struct net_mark_rule {
	uint32_t priority, value, mask;
	bool ipv6;
};

struct net_others {
	uint32_t rule_count;		/* of those that follow; more are not kept */
	struct net_mark_rule rules[NET_RULES_MAX]; /* that look at the packet mark */
	bool xfrm;			/* the kernel has IPsec of its own */
	uint32_t xfrm_policies;		/* for this interface or any; not those of single sockets */
	uint32_t wireguard_count;
	char wireguard[16];		/* the first interface of them */
};

/* 0 or -errno. */
int net_others_read(uint32_t ifindex, struct net_others *ret_others);

/* The bridge, bond or the like whose port the interface is; "": none. 0 or -errno. */
int net_master_read(uint32_t ifindex, char ret_name[16]);

/* A device of this namespace that stands for a part of what the interface carries: a VLAN, macvlan,
 * ipvlan or the like; "": none. 0 or -errno. */
int net_upper_read(uint32_t ifindex, char ret_name[16]);

#endif /* IPSECBPF_NET_OTHERS_H */
