/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The supervisor: the process that holds keys and parses no packets. It answers the command line,
 * reserves sequence numbers, and restarts the worker.
 *
 * Included by: attach.c. Ownership: supervisor_start() forks; what the child needs is inherited.
 */
#ifndef IPSECBPF_SUPERVISOR_H
#define IPSECBPF_SUPERVISOR_H

#include "host_port.h"
#include "pin.h"

struct supervisor_config {
	struct pins *pins; /* used by the child; the parent keeps its own use */
	struct host_port *host;
	const char *ifname;
	const char *engine; /* NULL: the best */
	uint32_t queues, mtu, frame_size;
	uint32_t busy_poll_us; /* 0: none */
	uint32_t trial_seconds; /* 0: none */
	uint8_t nic_mac[6];
	bool over_guard; /* giving up means back to the guard, not to open */
};

/*
 * Opens socket and wire ports, then forks the supervisor into the background; it answers on
 * RUN_ROOT/<dir>.sock when this returns. The parent's copies are closed. If *ret_commit_fd is
 * closed without supervisor_commit(), whoever was attaching has died: the supervisor takes
 * everything back and ends. 0 or -errno, explained in report.
 */
int supervisor_start(const struct supervisor_config *config, int *ret_commit_fd,
		     struct ipsecbpf_report *report);

/* Attaching is done: the supervisor stays. 0 or -errno. */
int supervisor_commit(int commit_fd);

#endif /* IPSECBPF_SUPERVISOR_H */
