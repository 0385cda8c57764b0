/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The parts of net_watch: netlink (sockets, questions), addresses (the BPF map), routes (target to
 * neighbour), neighbours (neighbour to MAC address).
 *
 * Included by: net_watch*.c only. Ownership: all belongs to struct net_watch.
 *
 *     tracked slot --- route question ---> hop (shared) --- neighbour question ---> MAC address
 */
#ifndef IPSECBPF_NET_WATCH_INTERNAL_H
#define IPSECBPF_NET_WATCH_INTERNAL_H

#include <libmnl/libmnl.h>
#include <sys/queue.h>

#include "net_watch.h"

/* Questions under way. Their answers must fit into the receive buffer, or they would be lost. */
#define QUESTIONS_MAX 64

/* What sequence numbers say of an answer: nobody waits, a dump, otherwise one of the questions. */
#define SEQ_NO_ANSWER	0u
#define SEQ_DUMP	0x80000000u
#define SEQ_QUESTION	0x7fffffffu

/* A neighbour on the NIC. Lives as long as slots use it. */
struct hop {
	struct own_address address;
	uint64_t value;			/* as sa_state.next_hop */
	bool queued;
	LIST_HEAD(, tracked) users;
	LIST_ENTRY(hop) entry;
	TAILQ_ENTRY(hop) queue;
};

struct tracked {
	bool used, queued;
	bool on_link;
	struct own_address target;
	uint64_t value;			/* last reported */
	struct hop *hop;		/* NULL: no way there by the NIC, or not known yet */
	LIST_ENTRY(tracked) entry;
	LIST_ENTRY(tracked) of_hop;
	TAILQ_ENTRY(tracked) queue;
};

/* A question under way: about the route of a slot, or a neighbour, or what nobody wants any more. */
struct question {
	uint32_t seq;			/* 0: unused */
	struct tracked *tracked;
	struct hop *hop;
};

struct own_addresses {
	uint8_t round;			/* of the last dump: what the map's values are compared with */
	bool wanted;			/* a dump is to be started when it is due */
	bool incomplete;		/* the running dump missed something */
	uint32_t dump_seq;		/* 0: none is running */
	uint64_t dump_due_ns;
	uint32_t missing, reported;	/* did not fit; of the running dump, of the last one logged */
};

struct net_watch {
	struct net_watch_config config;
	struct mnl_socket *events, *questions;
	bool overrun;			/* events were lost, and those before the loss are not read yet */
	int epoll_fd, timer_fd;
	uint64_t complain_ns;		/* no line in the log before */

	struct own_addresses own;

	struct tracked *slots;
	LIST_HEAD(, tracked) tracked;
	TAILQ_HEAD(, tracked) ask_route;
	bool routes_changed;
	uint64_t routes_due_ns;

	void *hop_tree;			/* tsearch(3), by address */
	LIST_HEAD(, hop) hops;
	TAILQ_HEAD(, hop) ask_hop;
	uint64_t use_due_ns;

	uint32_t seq;			/* of the last question */
	struct question asked[QUESTIONS_MAX];	/* index: seq modulo size */
};

/* ---- net_watch_netlink.c ------------------------------------------------------------------- */

/* False for other families than IPv4 and IPv6. */
bool family_from_af(unsigned int af, enum ip_family *ret_family);
unsigned int af_from_family(uint32_t family);
size_t address_len(uint32_t family);

/* The address in an attribute of the given family; false if its length is not that family's. */
bool attribute_address(const struct nlattr *attr, enum ip_family family,
		       struct own_address *ret_address);

/* Logs, but not more than one line a minute: events may come by the thousand. */
void net_watch_complain(struct net_watch *watch, const char *what, int err);

int netlink_open(struct net_watch *watch);
void netlink_close(struct net_watch *watch);

/* Is there room for one more question? */
bool netlink_may_ask(const struct net_watch *watch);

/* Sends a message as this question, whose seq is filled in here. 0 or -errno. */
int netlink_ask(struct net_watch *watch, struct nlmsghdr *message, struct question question);

/* Sends a message with this sequence number. 0 or -errno. */
int netlink_send(struct net_watch *watch, struct nlmsghdr *message, uint32_t seq);

/* The question that this sequence number answers, removed from those under way; false if none. */
bool netlink_answered(struct net_watch *watch, uint32_t seq, struct question *ret_question);

/* Answers about these are nobody's from now on. */
void netlink_forget(struct net_watch *watch, const struct tracked *tracked, const struct hop *hop);

/* Handles what has come on both sockets, up to a bound. Returns whether anything had. */
bool netlink_receive(struct net_watch *watch);

/* ---- net_watch_addresses.c ----------------------------------------------------------------- */

void addresses_event(struct net_watch *watch, const struct nlmsghdr *message);
void addresses_dump_answer(struct net_watch *watch, const struct nlmsghdr *message);
/* Something may have been missed. */
void addresses_want_dump(struct net_watch *watch);
/* Starts the dump that is wanted, if it is time. */
void addresses_run(struct net_watch *watch, uint64_t now_ns);

/* ---- net_watch_routes.c -------------------------------------------------------------------- */

void routes_want(struct net_watch *watch, struct tracked *tracked);
void routes_changed(struct net_watch *watch);
void routes_answer(struct net_watch *watch, struct tracked *tracked,
		   const struct nlmsghdr *message);
/* Queues all slots if routes have changed and it is time; asks as many questions as there is room. */
void routes_run(struct net_watch *watch, uint64_t now_ns);
/* From now on the slot follows this neighbour; NULL: none. */
void routes_follow(struct net_watch *watch, struct tracked *tracked,
		   const struct own_address *address);
void routes_leave(struct net_watch *watch, struct tracked *tracked);

/* ---- net_watch_neighbours.c ---------------------------------------------------------------- */

/* The neighbour of this address, made if need be. NULL: no memory. */
struct hop *neighbours_get(struct net_watch *watch, const struct own_address *address);
/* Frees it if no slot uses it any more. */
void neighbours_put(struct net_watch *watch, struct hop *hop);
void neighbours_event(struct net_watch *watch, const struct nlmsghdr *message);
void neighbours_answer(struct net_watch *watch, struct hop *hop, const struct nlmsghdr *message);
/* All neighbours are to be asked for. */
void neighbours_want_all(struct net_watch *watch);
void neighbours_run(struct net_watch *watch, uint64_t now_ns);

/* ---- net_watch.c --------------------------------------------------------------------------- */

/* Tells the slot's value, if it is another than the last one told. */
void net_watch_report(struct net_watch *watch, struct tracked *tracked);

#endif /* IPSECBPF_NET_WATCH_INTERNAL_H */
