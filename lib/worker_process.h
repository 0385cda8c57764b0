/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The worker as its parent sees it: wire ports, fork, messages, death.
 * Included by: supervisor.c. Threading: the supervisor's thread.
 */
#ifndef IPSECBPF_WORKER_PROCESS_H
#define IPSECBPF_WORKER_PROCESS_H

#include "pin.h"
#include "worker.h"

struct worker_process {
	struct worker_config config; /* what each incarnation is given */
	struct wire_port ports[QUEUES_MAX];
	int xsks_fd;
	char ifname[16];
	uint32_t frame_size;
	int pid;	/* 0: not running */
	int pid_fd;	/* readable when it has died */
	int message_fd; /* our end */
	uint64_t started_ns;
	uint32_t restarts;
};

/* Opens the wire ports and puts them into the XSKMAP. 0 or -errno. */
int worker_process_open_ports(struct worker_process *process);
void worker_process_close_ports(struct worker_process *process);

/* Forks a worker. 0 or -errno. The caller then sends it all SAs. */
int worker_process_start(struct worker_process *process);

/* Ends the worker (if it runs) and reaps it. */
void worker_process_stop(struct worker_process *process);

/* Sends a message and waits for the answer. The worker's answer; -EPIPE if it died or hangs. */
int worker_process_tell(struct worker_process *process, const struct worker_message *message);

#endif /* IPSECBPF_WORKER_PROCESS_H */
