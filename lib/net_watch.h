/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What the kernel tells of this network namespace by rtnetlink: the host's own addresses, kept in
 * the BPF map `own_addresses`, and the layer-2 next hops of tracked SAs.
 *
 * Included by: supervisor (owns it), sad (tracks its outbound tunnel SAs), tests.
 * Threading:   one thread. Nothing here waits for an answer: questions are sent, and answers taken
 *              when net_watch_fd() is readable. (The kernel serves a question in the call that
 *              sends it, which may wait for whoever holds its rtnl lock.)
 * Errors:      after opening, none reach the caller. They are logged, at most one in a minute, and
 *              what is affected is tried again.
 */
#ifndef IPSECBPF_NET_WATCH_H
#define IPSECBPF_NET_WATCH_H

#include <stdbool.h>

#include "abi_user.h"

struct net_watch;

struct net_watch_config {
	uint32_t ifindex;	/* of the attached NIC, which is Ethernet */
	int own_addresses_fd;	/* the map; stays the caller's */
	uint32_t slots;		/* what is tracked has a number below */
	/*
	 * The next hop of a slot has changed. value: as sa_state.next_hop; 0 if it is not known (any
	 * more). Called from net_watch_track() and net_watch_process(), not for untracked slots.
	 */
	void (*next_hop)(void *context, uint32_t slot, uint64_t value);
	void *context;
};

/* Whose layer-2 address is wanted. */
struct net_watch_target {
	union wire_addr address;
	uint8_t family;		/* enum ip_family */
	bool on_link;		/* a neighbour on the NIC, whatever the routes say */
};

/* Fills the map before it returns, unless the kernel needs longer. 0 or -errno. */
int net_watch_open(struct net_watch **ret_watch, const struct net_watch_config *config);

/* The map keeps its contents. All functions from here on take NULL: they then do nothing. */
void net_watch_close(struct net_watch *watch);

/* To be polled for POLLIN; -1 for NULL. */
int net_watch_fd(const struct net_watch *watch);

/* Takes what has come, a bounded number of messages, and does what is due. */
void net_watch_process(struct net_watch *watch);

/*
 * Reports the next hop towards a target, now if the kernel knows it, and whenever it changes. The
 * kernel is asked to resolve it and to notice when it goes away. Until the first report it is
 * taken as 0. A slot that is tracked already gets the new target.
 */
void net_watch_track(struct net_watch *watch, uint32_t slot,
		     const struct net_watch_target *target);
void net_watch_untrack(struct net_watch *watch, uint32_t slot);

/* How many own addresses did not fit into the map when they were last counted. */
uint32_t net_watch_missing(const struct net_watch *watch);

#endif /* IPSECBPF_NET_WATCH_H */
