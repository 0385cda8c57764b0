/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Host port: the clear-text side towards this host's stack, a TAP with vnet headers
 * (IFF_VNET_HDR, TUNSETOFFLOAD CSUM|TSO4|TSO6), so that one read or write carries up to 64 KiB.
 *
 * Included by: attach (creates it), worker (moves frames).
 * Ownership:   the supervisor holds the descriptor, so the port outlives a worker; when the last
 *              descriptor closes, the interface goes, and redirects to it fail closed.
 */
#ifndef IPSECBPF_HOST_PORT_H
#define IPSECBPF_HOST_PORT_H

#include <linux/virtio_net.h>
#include <net/if.h>
#include <stdint.h>
#include <sys/uio.h>

#include "segment.h"

#define HOST_FRAME_MAX (65536 + 64)	/* a super-packet with Ethernet and VLAN headers */

struct host_port {
	int fd;				/* non-blocking */
	unsigned int ifindex;
	char ifname[IF_NAMESIZE];
};

/*
 * Creates the TAP called `ifname` in the current network namespace: no IPv6 auto-configuration (it
 * must never speak for itself), queue length 4096, MTU 65535 or the most the kernel takes, up.
 * 0 or -errno; on failure nothing is left behind.
 */
int host_port_create(struct host_port *port, const char *ifname);
void host_port_close(struct host_port *port);

/*
 * Reads one frame into buffer (HOST_FRAME_MAX octets). Returns 1 and fills `frame`, 0 if there is
 * none now, or -errno. A frame shorter than an Ethernet header is skipped (returns 0).
 */
int host_port_read(struct host_port *port, uint8_t *buffer, struct host_frame *frame);

/* Writes one frame; iov[0] is the struct virtio_net_hdr. 0 or -errno (-EAGAIN: queue full). */
int host_port_write(struct host_port *port, const struct iovec *iov, unsigned int count);

#endif /* IPSECBPF_HOST_PORT_H */
