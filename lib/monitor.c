// SPDX-License-Identifier: BSD-2-Clause
/*
 * Drop events as they happen. BPF drops come one by one through the ring buffer, rate limited and
 * only while `control.events_until` lies ahead, so a monitor that dies switches itself off. The
 * worker's drops are told as sums: nothing an attacker sends may write a line per packet. What
 * happens to SAs the supervisor knows: it is asked once a second.
 *
 * The ring has one reader's position: two at once would take events from each other, and set it
 * back. So there is one, who holds a lock on the directory of the pins. Called by: `ipsecbpf
 * monitor`.
 */
#include <bpf/libbpf.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include "clock.h"
#include "control.h"
#include "pin.h"
#include "policy_store.h"
#include "policy_trial.h"
#include "stats.h"

#define WATCH_NS     3000000000ull /* how long one poll keeps the events coming */
#define LOOK_NS      1000000000ull /* from one question about SAs, and the pins, to the next */

struct ipsecbpf_monitor {
	struct pins pins;
	int lock;		/* descriptor; -1: none */
	struct ring_buffer *ring;
	struct ipsecbpf_monitor_ops ops;
	void *context;
	struct worker_stats seen;
	uint32_t state, generation;
	uint64_t sa_serial;	/* of the last SA event told */
	uint64_t look_ns;	/* CLOCK_MONOTONIC of the next question */
	unsigned int events;
	struct policy *policy;	/* to name the rules of events; NULL: not needed yet */
	uint32_t identity;	/* of the policy in force, */
	uint64_t from_ns;	/* since when that is known (CLOCK_MONOTONIC), */
	uint64_t until_ns;	/* and until when */
	bool counting;		/* what follows counts from the first poll on */
	uint64_t drops;		/* of the hooks, at the end of the last poll */
	uint64_t received;	/* events, and the drops before the first poll */
	uint64_t lost;		/* told so far */
};

/* Which policy is in force, and since when for sure. */
static void look_at_policy(struct ipsecbpf_monitor *monitor)
{
	uint64_t now = clock_ns();
	uint32_t identity = policy_identity(&monitor->pins);

	monitor->until_ns = now;
	if (identity == monitor->identity)
		return;
	monitor->identity = identity;
	monitor->from_ns = now;
	policy_free(monitor->policy);
	monitor->policy = NULL;
}

/*
 * The policy that was in force when an event happened: the one that is so now, if it was before.
 * What happens while one follows another is of neither for sure: NULL.
 */
static const struct policy *policy_at(struct ipsecbpf_monitor *monitor, uint64_t ns)
{
	if (ns > monitor->until_ns)
		look_at_policy(monitor);
	if (ns < monitor->from_ns)
		return NULL;
	if (!monitor->policy) {
		monitor->policy = policy_read_live(&monitor->pins, NULL);
		/* Reading takes a while: it may be the next one already. */
		look_at_policy(monitor);
	}
	return ns < monitor->from_ns ? NULL : monitor->policy;
}

static const char *app_of(const struct ipsecbpf_monitor *monitor, const struct rule *rule)
{
	if (!rule || !rule->application)
		return NULL;
	return monitor->policy->applications[rule->application - 1].name;
}

static const struct rule *rule_of(struct ipsecbpf_monitor *monitor, const struct drop_event *event)
{
	const struct policy *policy;

	if (event->rule == SPD_RULE_DEFAULT)
		return NULL;
	policy = policy_at(monitor, event->ns);
	return policy && event->rule < policy->all_rule_count ? &policy->rules[event->rule] : NULL;
}

static int on_event(void *context, void *data, size_t size)
{
	struct ipsecbpf_monitor *monitor = context;

	if (size >= sizeof(struct drop_event)) {
		const struct rule *rule = rule_of(monitor, data);

		monitor->ops.drop(monitor->context, data, rule,
				  rule ? monitor->policy->file : NULL, app_of(monitor, rule));
		monitor->events++;
		monitor->received++;
	}
	return 0;
}

/* SA events after a serial; *ret_events is malloc'd. No supervisor: no events. */
static uint32_t ask_events(const struct ipsecbpf_monitor *monitor, uint64_t since,
			   struct ipsecbpf_sa_event **ret_events)
{
	struct control_call call = {
		.type = CONTROL_SA_EVENTS, .payload = &since, .len = sizeof(since),
	};

	if (control_ask(&monitor->pins.paths, &call, NULL))
		return 0;
	*ret_events = call.reply;
	return call.reply_len / (uint32_t)sizeof(**ret_events);
}

/* What happened before is not told. */
static void skip_events(struct ipsecbpf_monitor *monitor)
{
	struct ipsecbpf_sa_event *last = NULL;

	if (ask_events(monitor, CONTROL_LAST_EVENT, &last))
		monitor->sa_serial = last->serial;
	free(last);
}

/* Who holds a lock on this file, as far as it can be seen from here; 0: not seen. */
static int lock_holder(int fd)
{
	FILE *locks = fopen("/proc/locks", "re");
	unsigned int major_id, minor_id;
	int pid, holder = 0;
	unsigned long inode;
	char line[256];
	struct stat st;

	if (!locks)
		return 0;
	while (!fstat(fd, &st) && !holder && fgets(line, sizeof(line), locks))
		if (sscanf(line, "%*s FLOCK %*s %*s %d %x:%x:%lu", &pid, &major_id, &minor_id,
			   &inode) == 4 &&
		    inode == st.st_ino && major_id == major(st.st_dev) &&
		    minor_id == minor(st.st_dev))
			holder = pid;
	fclose(locks);
	return holder;
}

/* 0 or -errno, explained. */
static int take_lock(struct ipsecbpf_monitor *monitor, struct ipsecbpf_report *report)
{
	const struct pins *pins = &monitor->pins;
	char who[32] = "";
	int holder, err;

	monitor->lock = open(pins->paths.pins, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (monitor->lock >= 0 && !flock(monitor->lock, LOCK_EX | LOCK_NB))
		return 0;
	err = -errno;
	if (err != -EWOULDBLOCK) {
		report_error(report, pins->paths.pins, NULL, "cannot be locked: %s",
			     strerror(-err));
		return err;
	}
	holder = lock_holder(monitor->lock);
	if (holder)
		snprintf(who, sizeof(who), ": process %d", holder);
	report_error(report, pins->ifname, "end it, or read what it tells",
		     "another monitor takes the events%s", who);
	return -EBUSY;
}

static void close_all(struct ipsecbpf_monitor *monitor)
{
	ring_buffer__free(monitor->ring);
	if (monitor->lock >= 0)
		close(monitor->lock);
	pins_close(&monitor->pins);
}

struct ipsecbpf_monitor *ipsecbpf_monitor_open(const char *ifname,
					       const struct ipsecbpf_monitor_ops *ops,
					       void *context, struct ipsecbpf_report *report)
{
	struct ipsecbpf_monitor *monitor = calloc(1, sizeof(*monitor));
	struct ipsecbpf_stats stats;
	int err;

	if (!monitor)
		return NULL;
	monitor->ops = *ops;
	monitor->context = context;
	monitor->lock = -1;
	err = pins_open(&monitor->pins, ifname, report);
	if (err)
		goto fail;
	err = take_lock(monitor, report);
	if (err) {
		close_all(monitor);
		goto fail;
	}
	monitor->ring = ring_buffer__new(monitor->pins.events_fd, on_event, monitor, NULL);
	err = monitor->ring ? stats_read(&monitor->pins, &stats) : -errno;
	if (err) {
		report_error(report, ifname, NULL, "cannot read events: %s", strerror(-err));
		close_all(monitor);
		goto fail;
	}
	monitor->seen = stats.worker;
	monitor->identity = policy_identity(&monitor->pins);
	monitor->from_ns = monitor->until_ns = clock_ns();
	monitor->state = monitor->pins.control->state;
	monitor->generation = policy_generation(&monitor->pins);
	skip_events(monitor);
	return monitor;
fail:
	free(monitor);
	errno = -err;
	return NULL;
}

static void tell_worker_drops(struct ipsecbpf_monitor *monitor, const struct worker_stats *now)
{
	for (int reason = 0; reason < DROP_REASON_COUNT; reason++) {
		uint64_t more = now->drops[reason] - monitor->seen.drops[reason];

		if (!more)
			continue;
		monitor->ops.worker_drop(monitor->context, (enum drop_reason)reason, more);
		monitor->events++;
	}
	monitor->seen = *now;
}

static uint64_t hook_drops(const struct ipsecbpf_stats *stats)
{
	uint64_t sum = 0;

	for (int reason = 0; reason < DROP_SLOTS; reason++)
		sum += stats->drops[reason] - stats->worker.drops[reason];
	return sum;
}

/*
 * Drops that no event came of, for there were too many at once (bpf/stats.h), or we were too slow.
 * Events of all that had been counted when the last poll ended have been received by now: what is
 * wanting is lost. Never too many; while drops go on, some are told a poll later.
 */
static void tell_lost(struct ipsecbpf_monitor *monitor, const struct ipsecbpf_stats *now)
{
	uint64_t expected = monitor->drops;

	monitor->drops = hook_drops(now);
	if (expected <= monitor->received + monitor->lost)
		return;
	monitor->ops.lost(monitor->context, expected - monitor->received - monitor->lost);
	monitor->lost = expected - monitor->received;
	monitor->events++;
}

/* From now on every drop is expected to come as an event. */
static int start_counting(struct ipsecbpf_monitor *monitor)
{
	struct ipsecbpf_stats stats;
	int err = monitor->counting ? 0 : stats_read(&monitor->pins, &stats);

	if (err || monitor->counting)
		return err;
	monitor->counting = true;
	monitor->drops = monitor->received = hook_drops(&stats);
	return 0;
}

static void tell_state(struct ipsecbpf_monitor *monitor)
{
	static const char *const words[] = {
		[ATTACH_BLOCKED] = "blocked: no policy is loaded",
		[ATTACH_RUNNING] = "running",
		[ATTACH_GUARD] = "guard: detached, protected traffic is dropped",
		[ATTACH_CLOSED] = "blocked: socket hooks that policy needs are off",
	};
	const struct control *control = monitor->pins.control;
	uint32_t generation = policy_generation(&monitor->pins);

	if (generation != monitor->generation) {
		monitor->generation = generation;
		monitor->ops.notice(monitor->context, "another policy is in force");
		monitor->events++;
	}
	if (control->state != monitor->state && control->state <= ATTACH_CLOSED) {
		monitor->state = control->state;
		monitor->ops.notice(monitor->context, words[monitor->state]);
		monitor->events++;
	}
}

static void tell_sa_events(struct ipsecbpf_monitor *monitor)
{
	struct ipsecbpf_sa_event *events = NULL;
	uint32_t count;

	count = ask_events(monitor, monitor->sa_serial, &events);
	if (count && events[0].serial > monitor->sa_serial + 1) {
		monitor->ops.notice(monitor->context, "more happened to SAs than is remembered");
		monitor->events++;
	}
	for (uint32_t i = 0; i < count; i++) {
		monitor->ops.sa(monitor->context, &events[i]);
		monitor->sa_serial = events[i].serial;
		monitor->events++;
	}
	free(events);
}

int ipsecbpf_monitor_poll(struct ipsecbpf_monitor *monitor, int timeout_ms)
{
	uint64_t until = clock_ns() + WATCH_NS + (uint64_t)timeout_ms * 1000000u;
	struct ipsecbpf_stats stats;
	int err;

	monitor->events = 0;
	__atomic_store_n(&monitor->pins.control->events_until, until, __ATOMIC_RELEASE);
	err = start_counting(monitor);
	if (!err)
		err = ring_buffer__poll(monitor->ring, timeout_ms);
	if (err >= 0)
		err = stats_read(&monitor->pins, &stats);
	if (err < 0)
		return err;
	tell_worker_drops(monitor, &stats.worker);
	tell_lost(monitor, &stats);
	look_at_policy(monitor);
	tell_state(monitor);
	if (clock_ns() >= monitor->look_ns) {
		monitor->look_ns = clock_ns() + LOOK_NS;
		tell_sa_events(monitor);
		if (pins_replaced(&monitor->pins))
			return -ESTALE;
	}
	return (int)monitor->events;
}

void ipsecbpf_monitor_close(struct ipsecbpf_monitor *monitor)
{
	if (!monitor)
		return;
	policy_free(monitor->policy);
	close_all(monitor);
	free(monitor);
}
