/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The connected TCP and UDP sockets of a process, from /proc.
 *
 * Included by: the CLI's explain, unit tests.
 */
#ifndef IPSECBPF_PROCESS_SOCKETS_H
#define IPSECBPF_PROCESS_SOCKETS_H

#include <stdbool.h>
#include <stddef.h>

#include "packet_spec.h"
#include "report.h"

/*
 * What the process sends by its connected sockets, one outbound packet each: TCP and UDP over IPv4
 * and IPv6. *ret_specs is malloc'd. 0, or -ESRCH (no such process), -EXDEV (it lives in another
 * network namespace than the caller), -errno; explained in report. `pid` is as the caller sees it.
 */
int process_sockets(int pid, struct packet_spec **ret_specs, size_t *ret_count,
		    struct ipsecbpf_report *report);

/* One line of /proc/net/tcp and its like: false if the socket is not connected, or not a socket. */
bool process_socket_line(const char *line, enum ip_family family, struct packet_spec *ret_spec,
			 unsigned long *ret_inode);

#endif /* IPSECBPF_PROCESS_SOCKETS_H */
