/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The supervisor's state, between its loop (supervisor.c) and its answers (supervisor_requests.c).
 *
 * Included by: these two only. Threading: one thread.
 */
#ifndef IPSECBPF_SUPERVISOR_INTERNAL_H
#define IPSECBPF_SUPERVISOR_INTERNAL_H

#include "control.h"
#include "sad.h"
#include "supervisor.h"
#include "watch_keeper.h"
#include "worker_process.h"

struct supervisor {
	const struct supervisor_config *config;
	struct sad sad;
	struct worker_process worker;
	int listen_fd, need_fd, signal_fd, trial_fd;
	int life_fd;		/* every second while there are SAs */
	int commit_fd;		/* -1: attaching is done */
	int policy_fd;		/* timer: a policy on trial has run out */
	uint32_t pause_ms;	/* between a crash and the restart; 0: none */
	uint64_t restart_at_ns; /* a worker that is down is not started before */
	bool refill_failed;	/* a reservation could not be written; to be tried again */
	bool watching;		/* life_fd is running */
	uint64_t lifetime_drops; /* of the worker, at the last look at the SAs */
	bool last_request;	/* the trial is over, and one late request was served */
	bool stopping;
	struct watch_keeper keeper; /* of the watch over host names */
};

/* Answers one request on fd, a connection. CONTROL_STOP only sets `stopping`: it is answered when
 * all is done. 0 or -errno. */
int supervisor_answer(struct supervisor *supervisor, int fd, const struct control_header *request,
		      const void *payload);

#endif /* IPSECBPF_SUPERVISOR_INTERNAL_H */
