/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What must be known of a NIC before attaching. Included by: attach.c, preflight.h.
 */
#ifndef IPSECBPF_NIC_H
#define IPSECBPF_NIC_H

#include <stdbool.h>
#include <stdint.h>

struct nic {
	uint32_t ifindex, mtu;
	uint32_t queues; /* that receive; 1 where the driver does not say */
	uint8_t mac[6];
	bool ethernet, up, loopback;
	char driver[32]; /* "" where the driver does not say */
};

/* 0, -ENODEV, or -errno. */
int nic_read(const char *ifname, struct nic *ret_nic);

/* Does the ssh session that this process runs in arrive at one of the interface's addresses? */
bool nic_carries_session(const char *ifname);

#endif /* IPSECBPF_NIC_H */
