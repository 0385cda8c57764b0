/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * How long the worker stays awake when there is nothing to do.
 *
 * To wake a process costs more than most packets do: an interrupt to a CPU that sleeps, which in a guest
 * is an exit to the hypervisor on either side. Whoever waits for an answer pays that at every hop. So
 * the worker looks again for a while before it sleeps, and between two looks gives the CPU to whoever
 * else can run. The while, its window, follows the gaps between pieces of work, much as the kernel's
 * cpuidle-haltpoll does it: a gap that it could have covered widens it, one that is beyond all it may
 * be halves it. So a host that gets a packet now and then sleeps between them.
 *
 * Where CPUs are busy with other things nobody sleeps, and who gives the CPU away gets it back a time
 * slice later; a sleeper that is woken gets it at once. So the worker then sleeps, too, for a while.
 *
 * Included by: worker.c, test_busy_poll.c. Times are of one clock, ns.
 */
#ifndef IPSECBPF_BUSY_POLL_H
#define IPSECBPF_BUSY_POLL_H

#include <stdbool.h>
#include <stdint.h>

#include "bpf/abi.h"

#define BUSY_POLL_FLOOR_NS 10000	/* a window below is none: it takes as long to wake up */
#define BUSY_POLL_AWAY_NS  1000000	/* without the CPU for so long: others need it more, */
#define BUSY_POLL_REST_NS  200000000	/* and have it for so long */

struct busy_poll {
	struct worker_stats *stats;	/* busy_polls and busy_poll_ns are counted there */
	uint64_t max_ns;		/* of the window; 0: sleeps at once, always */
	uint64_t window_ns;
	uint64_t idle_ns;		/* since when there is nothing to do; 0: there is */
	bool slept;			/* since then */
	uint64_t rest_ns;		/* until when there is no window */
};

/* A gap that was slept through: would a wider window have covered it, or could none? */
static inline void busy_poll_learn(struct busy_poll *poll, uint64_t gap)
{
	uint64_t wider = 2 * (gap > poll->window_ns ? gap : poll->window_ns);

	if (gap > poll->max_ns) {
		poll->window_ns /= 2;
		if (poll->window_ns < BUSY_POLL_FLOOR_NS)
			poll->window_ns = 0;
		return;
	}
	if (wider < BUSY_POLL_FLOOR_NS)
		wider = BUSY_POLL_FLOOR_NS;
	poll->window_ns = wider < poll->max_ns ? wider : poll->max_ns;
}

/* There is nothing to do. Look again (true), or sleep? Once it slept it sleeps until there is work: what
 * else may wake it is no packet. */
static inline bool busy_poll_again(struct busy_poll *poll, uint64_t now_ns)
{
	if (!poll->idle_ns)
		poll->idle_ns = now_ns;
	if (poll->slept)
		return false;
	if (now_ns - poll->idle_ns < poll->window_ns && now_ns >= poll->rest_ns)
		return true;
	poll->stats->busy_poll_ns += now_ns - poll->idle_ns;
	poll->slept = true;
	return false;
}

/* The CPU was given away, and is back. */
static inline void busy_poll_back(struct busy_poll *poll, uint64_t away_ns, uint64_t now_ns)
{
	if (away_ns >= BUSY_POLL_AWAY_NS)
		poll->rest_ns = now_ns + BUSY_POLL_REST_NS;
}

/* There is work. */
static inline void busy_poll_met(struct busy_poll *poll, uint64_t now_ns)
{
	uint64_t gap = now_ns - poll->idle_ns;

	if (!poll->idle_ns)
		return;
	if (poll->slept) {
		busy_poll_learn(poll, gap);
	} else {
		poll->stats->busy_polls++;
		poll->stats->busy_poll_ns += gap;
	}
	poll->idle_ns = 0;
	poll->slept = false;
}

#endif /* IPSECBPF_BUSY_POLL_H */
