/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Runs, beside a supervisor, what the supervisor has not the privileges for any more once it holds
 * keys: `ipsecbpf app watch`, which puts policy in force, and `ipsecbpf app mend`, which attaches
 * socket hooks. A process of its own is forked before, which holds nothing but this program, and
 * starts them when it is told to.
 *
 * Included by: supervisor*.c. Threading: the supervisor's thread.
 */
#ifndef IPSECBPF_WATCH_KEEPER_H
#define IPSECBPF_WATCH_KEEPER_H

enum keeper_job {
	KEEPER_NAMES,	/* started, or has it look at once; ends by itself if no policy has names */
	KEEPER_SOCKETS,	/* run once, and once more if it was running already, until it succeeds */
	KEEPER_JOBS
};

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

/* 0, or -ECHILD: it is gone. */
int watch_keeper_order(const struct watch_keeper *keeper, enum keeper_job job);

/* Its end hung up: it has died, and nobody can start another, for which the supervisor has not the
 * privileges. */
void watch_keeper_died(struct watch_keeper *keeper, const char *ifname);

void watch_keeper_stop(struct watch_keeper *keeper);

#endif /* IPSECBPF_WATCH_KEEPER_H */
