/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Sockets that are older than the socket hooks, or than the policy that makes their program an
 * application: finds them by /proc, takes a descriptor of each by pidfd_getfd(2), and notes who
 * made it as the hooks would have. That, and not a BPF iterator, because an iterator sees a socket
 * but not the program that has it open.
 *
 * Not found: sockets that no process has open but that wait in a queue of descriptors (SCM_RIGHTS)
 * or are direct descriptors of io_uring, TCP sockets that were closed and still send, those of a
 * thread that shares its descriptors with no other, and those of processes that the mounted /proc
 * does not show: it has to be the host's, not a container's.
 *
 * Included by: policy_apply.c, policy_confirm.c, app_mend.c, `app sockets`.
 */
#ifndef IPSECBPF_APP_SCAN_H
#define IPSECBPF_APP_SCAN_H

#include "app_identity.h"
#include "pin.h"

/* A socket that a process has open, with what is noted of it. */
struct app_scan_socket {
	pid_t pid;
	int pidfd;		/* of the process; open during the call only */
	int pid_fd_number;	/* its number in that process */
	int fd;			/* ours; open during the call only */
	unsigned long inode;
	uint8_t family;		/* AF_INET, AF_INET6 */
	uint8_t proto;
	bool listening;
	bool known;		/* `socket` was there already, noted by a hook */
	struct app_socket socket;
};

/* Called for each Internet socket of the attachment's network namespace, once per socket, whoever
 * shares it. Not 0: stops, and is what app_scan() returns. */
typedef int (*app_scan_fn)(void *context, const struct app_scan_socket *found);
int app_scan(const struct pins *pins, app_scan_fn each, void *context);
/* The same of one process. -ESRCH: there is none. */
int app_scan_process(const struct pins *pins, pid_t pid, app_scan_fn each, void *context);

/* Whether `pid` is still that process: what was read about it before the question was of no
 * other. */
bool app_scan_is_there(const struct app_scan_socket *found);

/* Notes sockets that nobody has noted, and endpoints and flows of all that are an application's by
 * that snapshot. To be called before a policy is in force, and once more after. 0 or -errno. */
int app_scan_note(const struct pins *pins, const union spd_cell *cells, size_t *ret_noted);

/* The same by the policy of a generation, with the cause in report; nothing without one. */
int app_scan_note_generation(const struct pins *pins, uint32_t generation,
			     struct ipsecbpf_report *report);
/* ... by the policy in force. */
int app_scan_note_live(const struct pins *pins, struct ipsecbpf_report *report);

#endif /* IPSECBPF_APP_SCAN_H */
