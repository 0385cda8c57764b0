// SPDX-License-Identifier: BSD-2-Clause
#include "net_watch_internal.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/timerfd.h>
#include <unistd.h>

#include "clock.h"

#define NS_PER_S 1000000000u

/*
 * Rounds of asking and reading in one go. The kernel has answered when a question has been sent, so
 * a route and its neighbour take two, and a dump one for each few hundred addresses.
 */
#define ROUNDS_MAX 8

void net_watch_report(struct net_watch *watch, struct tracked *tracked)
{
	uint64_t value = tracked->hop ? tracked->hop->value : 0;

	if (value == tracked->value)
		return;
	tracked->value = value;
	watch->config.next_hop(watch->config.context, (uint32_t)(tracked - watch->slots), value);
}

/* ---- when ---------------------------------------------------------------------------------- */

static void earlier(uint64_t *at, bool wanted, uint64_t due)
{
	if (wanted && due < *at)
		*at = due;
}

/* The timer goes off when something is due that no message brings about. */
static void set_timer(struct net_watch *watch)
{
	struct itimerspec timer = { 0 };
	uint64_t at = UINT64_MAX;

	earlier(&at, watch->own.wanted && !watch->own.dump_seq, watch->own.dump_due_ns);
	earlier(&at, watch->routes_changed, watch->routes_due_ns);
	earlier(&at, !LIST_EMPTY(&watch->hops), watch->use_due_ns);
	if (at != UINT64_MAX) {
		/* 0 would stop it. */
		timer.it_value.tv_sec = (time_t)(at / NS_PER_S);
		timer.it_value.tv_nsec = (long)(at % NS_PER_S) + !at;
	}
	timerfd_settime(watch->timer_fd, TFD_TIMER_ABSTIME, &timer, NULL);
}

static void run(struct net_watch *watch)
{
	uint64_t now = clock_ns();

	addresses_run(watch, now);
	routes_run(watch, now);
	neighbours_run(watch, now);
}

/* Asks and takes the answers that are there. */
static void settle(struct net_watch *watch)
{
	int rounds = 0;

	do
		run(watch);
	while (netlink_receive(watch) && ++rounds < ROUNDS_MAX);
	run(watch);
	set_timer(watch);
}

void net_watch_process(struct net_watch *watch)
{
	uint64_t expired;

	if (!watch)
		return;
	/* Only to make it unreadable: what is due is seen by the clock. */
	if (read(watch->timer_fd, &expired, sizeof(expired)) < 0 && errno != EAGAIN)
		net_watch_complain(watch, "timer", -errno);
	settle(watch);
}

int net_watch_fd(const struct net_watch *watch)
{
	return watch ? watch->epoll_fd : -1;
}

uint32_t net_watch_missing(const struct net_watch *watch)
{
	return watch ? watch->own.reported : 0;
}

/* ---- tracking ------------------------------------------------------------------------------ */

void net_watch_track(struct net_watch *watch, uint32_t slot, const struct net_watch_target *target)
{
	struct tracked *tracked;

	if (!watch || slot >= watch->config.slots)
		return;
	net_watch_untrack(watch, slot);
	tracked = &watch->slots[slot];
	tracked->used = true;
	tracked->on_link = target->on_link;
	tracked->target = (struct own_address){ target->address, target->family };
	LIST_INSERT_HEAD(&watch->tracked, tracked, entry);
	if (target->on_link)
		routes_follow(watch, tracked, &tracked->target);
	else
		routes_want(watch, tracked);
	settle(watch);
}

void net_watch_untrack(struct net_watch *watch, uint32_t slot)
{
	struct tracked *tracked;

	if (!watch || slot >= watch->config.slots || !watch->slots[slot].used)
		return;
	tracked = &watch->slots[slot];
	routes_leave(watch, tracked);
	if (tracked->queued)
		TAILQ_REMOVE(&watch->ask_route, tracked, queue);
	LIST_REMOVE(tracked, entry);
	netlink_forget(watch, tracked, NULL);
	*tracked = (struct tracked){ 0 };
}

/* ---- opening ------------------------------------------------------------------------------- */

static int add_to_epoll(struct net_watch *watch, int fd)
{
	struct epoll_event event = { .events = EPOLLIN };

	return epoll_ctl(watch->epoll_fd, EPOLL_CTL_ADD, fd, &event) ? -errno : 0;
}

static int open_descriptors(struct net_watch *watch)
{
	int err;

	watch->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
	watch->timer_fd = timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK);
	if (watch->epoll_fd < 0 || watch->timer_fd < 0)
		return -errno;
	err = netlink_open(watch);
	if (!err)
		err = add_to_epoll(watch, watch->timer_fd);
	if (!err)
		err = add_to_epoll(watch, mnl_socket_get_fd(watch->events));
	if (!err)
		err = add_to_epoll(watch, mnl_socket_get_fd(watch->questions));
	return err;
}

int net_watch_open(struct net_watch **ret_watch, const struct net_watch_config *config)
{
	struct net_watch *watch = calloc(1, sizeof(*watch));
	int err = -ENOMEM;

	if (!watch)
		return err;
	watch->config = *config;
	watch->epoll_fd = watch->timer_fd = -1;
	LIST_INIT(&watch->tracked);
	LIST_INIT(&watch->hops);
	TAILQ_INIT(&watch->ask_route);
	TAILQ_INIT(&watch->ask_hop);
	watch->slots = calloc(config->slots, sizeof(*watch->slots));
	if (watch->slots)
		err = open_descriptors(watch);
	if (err) {
		net_watch_close(watch);
		return err;
	}
	addresses_want_dump(watch);
	settle(watch);
	*ret_watch = watch;
	return 0;
}

void net_watch_close(struct net_watch *watch)
{
	if (!watch)
		return;
	for (uint32_t slot = 0; watch->slots && slot < watch->config.slots; slot++)
		net_watch_untrack(watch, slot);
	netlink_close(watch);
	if (watch->timer_fd >= 0)
		close(watch->timer_fd);
	if (watch->epoll_fd >= 0)
		close(watch->epoll_fd);
	free(watch->slots);
	free(watch);
}
