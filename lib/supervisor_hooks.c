// SPDX-License-Identifier: BSD-2-Clause
/*
 * Are the socket hooks there that the policy in force needs? They hang on a cgroup, which may be
 * removed and made again, and anybody with the privileges may take them off. Sockets that are made
 * then are nobody's, and by the host's rules in the clear: so nothing passes until it is put right
 * (app_mend.h).
 */
#include <errno.h>
#include <sys/timerfd.h>
#include <syslog.h>
#include <unistd.h>

#include "app_hooks.h"
#include "policy_trial.h"
#include "supervisor_internal.h"

#define NS_PER_S   1000000000ull
#define PREPARE_NS NS_PER_S	/* before a trial's end sockets are noted */
#define LOOKS_TO_WAIT 5		/* for who holds the attachment's lock */

void supervisor_order(const struct supervisor *supervisor, enum keeper_job job)
{
	if (!watch_keeper_order(&supervisor->keeper, job))
		return;
	if (job == KEEPER_NAMES)
		syslog(LOG_ERR, "%s: nobody watches host names: their addresses stay as they are",
		       supervisor->config->ifname);
	else
		syslog(LOG_ERR, "%s: nobody is left to look after socket hooks; ipsecbpf app mend %s "
		       "does it once, then detach and attach", supervisor->config->ifname,
		       supervisor->config->ifname);
}

static bool has_applications(const struct pins *pins, uint32_t generation)
{
	return __atomic_load_n(&pins->control->app_generations, __ATOMIC_ACQUIRE) >> generation & 1;
}

bool supervisor_needs_hooks(const struct supervisor *supervisor)
{
	const struct pins *pins = supervisor->config->pins;

	return has_applications(pins, policy_generation(pins));
}

/* ---- the end of a policy's trial ------------------------------------------------------------- */

static int wake_at(const struct supervisor *supervisor, uint64_t at_ns)
{
	const struct itimerspec at = { .it_value = {
		.tv_sec = (time_t)(at_ns / NS_PER_S), .tv_nsec = (long)(at_ns % NS_PER_S),
	} };

	return timerfd_settime(supervisor->policy_fd, TFD_TIMER_ABSTIME, &at, NULL) ? -errno : 0;
}

int supervisor_note_trial(const struct supervisor *supervisor)
{
	uint64_t deadline = policy_trial_deadline(supervisor->config->pins);

	/* 0: there is none any more, and the timer stops. */
	return wake_at(supervisor, deadline > PREPARE_NS ? deadline - PREPARE_NS : deadline);
}

void supervisor_prepare_end(const struct supervisor *supervisor)
{
	const struct pins *pins = supervisor->config->pins;

	if (has_applications(pins, !policy_generation(pins)))
		supervisor_order(supervisor, KEEPER_SOCKETS);
	wake_at(supervisor, policy_trial_deadline(pins));
}

/* ---- the hooks ------------------------------------------------------------------------------- */

static uint32_t state_of(const struct pins *pins)
{
	return __atomic_load_n(&pins->control->state, __ATOMIC_ACQUIRE);
}

static bool are_off(const struct supervisor *supervisor)
{
	const struct pins *pins = supervisor->config->pins;

	return state_of(pins) != ATTACH_GUARD && supervisor_needs_hooks(supervisor) &&
	       app_hooks_are_off(pins);
}

/*
 * False: they are there by now, or somebody is changing the attachment, and may be about to put them
 * there. Who holds the lock for long, or keeps it from being opened, does not put this off.
 */
static bool block(struct supervisor *supervisor)
{
	const struct pins *pins = supervisor->config->pins;
	uint32_t running = ATTACH_RUNNING;
	int lock = pins_try_lock(&pins->paths);
	bool off;

	if (lock == -EWOULDBLOCK && ++supervisor->hooks_waited < LOOKS_TO_WAIT)
		return false;
	supervisor->hooks_waited = 0;
	off = are_off(supervisor);
	if (off) {
		__atomic_compare_exchange_n(&pins->control->state, &running, ATTACH_CLOSED, false,
					    __ATOMIC_ACQ_REL, __ATOMIC_ACQUIRE);
		syslog(LOG_WARNING, "%s: socket hooks were taken off, or their cgroup is another: "
		       "everything but essential traffic is blocked until they are back",
		       supervisor->config->ifname);
	}
	if (lock >= 0)
		pins_unlock(&pins->paths, lock);
	return off;
}

/* A policy that needs no hooks has come, or come back: what passes is for its rules alone. */
static void reopen(const struct supervisor *supervisor)
{
	const struct pins *pins = supervisor->config->pins;
	uint32_t closed = ATTACH_CLOSED;
	int lock = pins_try_lock(&pins->paths);

	if (lock < 0)
		return;
	if (!supervisor_needs_hooks(supervisor))
		__atomic_compare_exchange_n(&pins->control->state, &closed, ATTACH_RUNNING, false,
					    __ATOMIC_ACQ_REL, __ATOMIC_ACQUIRE);
	pins_unlock(&pins->paths, lock);
}

void supervisor_look_at_hooks(struct supervisor *supervisor)
{
	const struct pins *pins = supervisor->config->pins;
	uint64_t ignored;
	bool off;

	/* Before attaching is done there are none. */
	if (read(supervisor->hooks_fd, &ignored, sizeof(ignored)) < 0 || supervisor->commit_fd >= 0)
		return;
	if (state_of(pins) == ATTACH_CLOSED && !supervisor_needs_hooks(supervisor))
		reopen(supervisor);
	off = are_off(supervisor);
	/* They may be lost again before it was seen that they were back. */
	if (off && (!supervisor->hooks_off || state_of(pins) == ATTACH_RUNNING) &&
	    !block(supervisor))
		return;
	if ((off || supervisor->hooks_off) && (supervisor->keeper.pid || !supervisor->hooks_off))
		supervisor_order(supervisor, KEEPER_SOCKETS);
	supervisor->hooks_off = off || (supervisor->hooks_off &&
					supervisor_needs_hooks(supervisor) &&
					state_of(pins) == ATTACH_CLOSED);
}
