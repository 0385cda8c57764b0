/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What a NIC's driver offers and what else hangs on its hooks, asked without changing anything: XDP
 * features (netdev generic netlink, Linux 6.3), attached XDP and tc programs (nic_features.c),
 * offloads, channels and RSS (nic_ethtool.c).
 *
 * Included by: preflight.h. No state.
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

/* The largest MTU at which the driver takes a native XDP program; 0: not known. By its name. */
uint32_t nic_xdp_mtu_max(const char *driver);

/* The XDP program on an interface. */
struct nic_xdp {
	uint32_t prog_id;	/* 0: none */
	uint32_t link_id;	/* 0: attached by no link, or the caller may not see it */
	const char *mode;	/* "native", "generic", "offloaded" */
	char name[16];		/* "": the caller may not see it */
};
/* 0 or -errno. */
int nic_xdp_attached(uint32_t ifindex, struct nic_xdp *ret_xdp);

/* X(name, the kernel's word): see nic_ethtool.c */
#define NIC_OFFLOADS(X)                                                                     \
	X(LRO, "rx-lro") X(GRO_HW, "rx-gro-hw") X(RX_VLAN, "rx-vlan-hw-parse")              \
	X(TSO4, "tx-tcp-segmentation") X(TSO6, "tx-tcp6-segmentation")                      \
	X(GSO, "tx-generic-segmentation")

enum nic_offload {
#define X(name, word) NIC_OFFLOAD_##name,
	NIC_OFFLOADS(X)
#undef X
	NIC_OFFLOAD_COUNT
};

struct nic_offloads {
	bool on[NIC_OFFLOAD_COUNT];
	bool fixed[NIC_OFFLOAD_COUNT];	/* cannot be changed */
};
/* 0, -EOPNOTSUPP, or -errno. */
int nic_offloads(const char *ifname, struct nic_offloads *ret_offloads);

struct nic_channels {
	uint32_t rx, tx, combined, max_rx, max_tx, max_combined;
};
/* 0, -EOPNOTSUPP (the driver does not say), or -errno. */
int nic_channels(const char *ifname, struct nic_channels *ret_channels);

/* How many queues the NIC's RSS table spreads packets over. 0, -EOPNOTSUPP, or -errno. */
int nic_rss_queues(const char *ifname, uint32_t *ret_queues);

#define NIC_TC_MAX 16

struct nic_tc {
	bool tcx;			/* the kernel has tcx */
	uint32_t tcx_count;		/* programs on tcx egress */
	uint32_t tcx_ids[NIC_TC_MAX];	/* the first of them, in order of running */
	uint32_t tcx_link;		/* by which the first is attached; 0: none that is seen */
	uint32_t filter_count;		/* clsact egress filters, which run after tcx */
	uint32_t first_priority;	/* of those filters; 0: none */
};
/* 0 or -errno. */
int nic_tc_egress(uint32_t ifindex, struct nic_tc *ret_tc);

#endif /* IPSECBPF_NIC_FEATURES_H */
