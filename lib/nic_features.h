/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What a NIC's driver offers and what else hangs on its hooks, asked without changing anything: XDP
 * features (netdev generic netlink, Linux 6.3), ethtool's flags, attached XDP and tc programs.
 *
 * Included by: preflight_nic.c. No state.
 */
#ifndef IPSECBPF_NIC_FEATURES_H
#define IPSECBPF_NIC_FEATURES_H

#include <stdbool.h>
#include <stdint.h>

/* Bits of the kernel's netdev family (enum netdev_xdp_act), newer than Debian 12's headers. */
#define NIC_XDP_BASIC	     (1u << 0)
#define NIC_XDP_REDIRECT     (1u << 1)
#define NIC_XDP_XSK_ZEROCOPY (1u << 3)

/* The driver's XDP features. 0, -EOPNOTSUPP (the kernel does not tell), or -errno. */
int nic_xdp_features(uint32_t ifindex, uint64_t *ret_features);

/* Does the driver have native XDP in the kernels that do not tell? By its name. */
bool nic_driver_has_xdp(const char *driver);

struct nic_offloads {
	bool rx_vlan;		/* VLAN tags are taken out of received frames */
	bool lro;		/* received frames are merged by the NIC */
};
/* 0, -EOPNOTSUPP, or -errno. */
int nic_offloads(const char *ifname, struct nic_offloads *ret_offloads);

#define NIC_TC_MAX 16

struct nic_tc {
	bool tcx;			/* the kernel has tcx */
	uint32_t tcx_count;		/* programs on tcx egress */
	uint32_t tcx_ids[NIC_TC_MAX];	/* the first of them, in order of running */
	uint32_t filter_count;		/* clsact egress filters, which run after tcx */
	uint32_t first_priority;	/* of those filters; 0: none */
};
/* 0 or -errno. */
int nic_tc_egress(uint32_t ifindex, struct nic_tc *ret_tc);

#endif /* IPSECBPF_NIC_FEATURES_H */
