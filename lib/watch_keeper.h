/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Keeps `ipsecbpf app watch` running beside a supervisor. The watch puts policy in force, for which
 * the supervisor has not the privileges any more once it holds keys: so a process of its own is
 * forked before, which holds nothing but this program, and starts it when it is told to.
 *
 * Included by: supervisor*.c. Threading: the supervisor's thread.
 */
#ifndef IPSECBPF_WATCH_KEEPER_H
#define IPSECBPF_WATCH_KEEPER_H

struct watch_keeper {
	int pid;	/* 0: not running */
	int fd;		/* our end; closing it ends both, as our death does */
};

/*
 * Forks it. No key may be in memory. `forget` is called in it first: to unmap what must not be
 * held, as an AF_XDP socket's rings, without which the queue is not free for the next worker. 0 or
 * -errno.
 */
int watch_keeper_start(struct watch_keeper *keeper, const char *ifname, void (*forget)(void *),
		       void *context);

/* Starts the watch, or has it look at once. It ends by itself if no policy has names.
 * 0, or -ECHILD: it is gone. */
int watch_keeper_wake(const struct watch_keeper *keeper);

/* Its end hung up: it has died, and nobody can start another, for which the supervisor has not the
 * privileges. */
void watch_keeper_died(struct watch_keeper *keeper, const char *ifname);

void watch_keeper_stop(struct watch_keeper *keeper);

#endif /* IPSECBPF_WATCH_KEEPER_H */
