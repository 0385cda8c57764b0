/* SPDX-License-Identifier: BSD-2-Clause */
/* What the loops of app_loops.c run on, and their results. Included by: app_loops.c, app_loops_arm.c. */
#ifndef IPSECBPF_APP_LOOPS_H
#define IPSECBPF_APP_LOOPS_H

#include <netinet/in.h>
#include <stdint.h>

/* Where a loop's peer is: on the same host, by loopback, or on another host, over the wire. */
enum way { WAY_LOOPBACK, WAY_WIRE, WAY_COUNT };

/* A stream listener and a datagram socket, of nobody: made outside all cgroups with hooks. */
struct sink {
	int listener, datagrams;
	struct sockaddr_in stream_address, datagram_address;
};

/* One arm: where this process has to be for its calls to be judged by that arm's policy. */
struct arm {
	const char *name;
	int netns, procs;	/* the namespace, and cgroup.procs of the cgroup */
	struct sink sinks[WAY_COUNT];
};

/* One round of one arm and way: medians of the calls, in ns. */
struct timing {
	double life;		/* socket(), connect() and close() of one connection */
	double create, connect, close;
	double sendto;
};

/* Takes file names of network namespaces (of the arm, of its peer) and a cgroup's directory. `peer`:
 * the IPv4 address of the wire's other side. 0 or -errno, with a line on stderr. Leaves the process in
 * the network namespace of the peer. */
int arm_open(struct arm *arm, const char *netns, const char *peer_netns, const char *cgroup,
	     struct in_addr peer);

/* Brings this process there. 0 or -errno. */
int arm_enter(const struct arm *arm);

/* Makes `connections` connections and sends `datagrams` datagrams. 0 or -errno. */
int arm_measure(const struct arm *arm, enum way way, unsigned int connections, unsigned int datagrams,
		struct timing *ret_timing);

#endif /* IPSECBPF_APP_LOOPS_H */
