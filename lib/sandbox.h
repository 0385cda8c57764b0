/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Giving up privilege. Included by: supervisor.c, worker.c, names_*.c, ctl/metrics_*.c.
 */
#ifndef IPSECBPF_SANDBOX_H
#define IPSECBPF_SANDBOX_H

#include <stddef.h>

/* Closes every descriptor from 3 on that is not in keep (sorted here). 0 or -errno. */
int sandbox_close_others(int *keep, size_t count);

/* The supervisor keeps what restarting a worker takes (network, BPF, locked memory, ending and
 * demoting the worker), no more. No core dumps, no ptrace. 0 or -errno. */
int sandbox_supervisor(void);

/*
 * The worker keeps nothing: no capability, no root identity, no new privileges, and a seccomp
 * filter that allows reading, writing and polling what is open, memory, time and exit; anything
 * else ends the process. 0 or -errno.
 */
int sandbox_worker(void);

/*
 * Who reads metrics for others: stays root, with CAP_SYS_ADMIN alone (maps within maps are opened
 * by their ids), and a seccomp filter under which that opens no more: of bpf() only what reads,
 * files only for reading. What is not allowed fails with EPERM. 0 or -errno.
 */
int sandbox_reader(void);

/*
 * Who asks for names: nothing, as the worker, under an identity of its own; the filter allows
 * sockets of IP and local ones, and files only for reading. What is not allowed fails with EPERM.
 * Not as root it keeps its identity, which tests have. 0 or -errno.
 */
int sandbox_resolver(void);

/*
 * Who starts the watch over names again and again, and thereby the watch: stays root, with what
 * putting a policy in force takes, and a filter that takes away what else these capabilities are
 * good for: memory of other processes (but not pidfd_getfd(2), which finding their sockets takes),
 * namespaces, mounts, the clock. What is forbidden fails with EPERM. No wall: it may load BPF
 * programs. 0 or -errno.
 */
int sandbox_watch_keeper(void);

/*
 * Who answers HTTP requests: nothing, as the worker, under another nobody's identity; the filter
 * allows what serving an open listening socket takes. 0 or -errno.
 */
int sandbox_listener(void);

#endif /* IPSECBPF_SANDBOX_H */
