/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The supervisor's state, between its loop (supervisor.c), its answers (supervisor_requests.c), and
 * who looks at the socket hooks (supervisor_hooks.c).
 *
 * Included by: these three only. Threading: one thread.
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
	int hooks_fd;		/* timer, every second: are the socket hooks there? */
	uint32_t pause_ms;	/* between a crash and the restart; 0: none */
	uint64_t restart_at_ns; /* a worker that is down is not started before */
	bool refill_failed;	/* a reservation could not be written; to be tried again */
	bool watching;		/* life_fd is running */
	uint64_t lifetime_drops; /* of the worker, at the last look at the SAs */
	bool last_request;	/* the trial is over, and one late request was served */
	bool hooks_off;		/* at the last look, or blocked since then */
	unsigned int hooks_waited;	/* looks at which somebody held the attachment's lock */
	bool stopping;
	struct watch_keeper keeper; /* for what takes more privileges */
};

/* Answers one request on fd, a connection. CONTROL_STOP only sets `stopping`: it is answered when
 * all is done. 0 or -errno. */
int supervisor_answer(struct supervisor *supervisor, int fd, const struct control_header *request,
		      const void *payload);

/* Has the keeper do it, or says in the log that there is none. */
void supervisor_order(const struct supervisor *supervisor, enum keeper_job job);

/* Does the policy in force have applications? */
bool supervisor_needs_hooks(const struct supervisor *supervisor);

/* A trial has begun: sets policy_fd for a moment before its end. 0 or -errno. */
int supervisor_note_trial(const struct supervisor *supervisor);

/* It is about to end: sockets are noted for the policy that comes back, and policy_fd set for the
 * end. */
void supervisor_prepare_end(const struct supervisor *supervisor);

/* When hooks_fd is readable. */
void supervisor_look_at_hooks(struct supervisor *supervisor);

#endif /* IPSECBPF_SUPERVISOR_INTERNAL_H */
