// SPDX-License-Identifier: BSD-2-Clause
#include "net_watch_internal.h"

#include <errno.h>
#include <linux/rtnetlink.h>
#include <string.h>
#include <sys/socket.h>
#include <syslog.h>

#include "clock.h"

#define MESSAGES_AT_ONCE 64		/* reads of one socket before others get their turn */
#define EVENTS_BUFFER	 (1 << 20)	/* octets; a flood beyond is made good by a dump */
#define BUFFER_SIZE	 32768		/* what the kernel fills at most with one part of a dump */
#define COMPLAIN_NS	 60000000000u

/* ---- small things -------------------------------------------------------------------------- */

bool family_from_af(unsigned int af, enum ip_family *ret_family)
{
	if (af != AF_INET && af != AF_INET6)
		return false;
	*ret_family = af == AF_INET ? FAMILY_V4 : FAMILY_V6;
	return true;
}

unsigned int af_from_family(uint32_t family)
{
	return family == FAMILY_V4 ? AF_INET : AF_INET6;
}

size_t address_len(uint32_t family)
{
	return family == FAMILY_V4 ? 4 : 16;
}

bool attribute_address(const struct nlattr *attr, enum ip_family family,
		       struct own_address *ret_address)
{
	struct own_address address = { .family = family };

	if (mnl_attr_get_payload_len(attr) != address_len(family))
		return false;
	memcpy(&address.addr, mnl_attr_get_payload(attr), address_len(family));
	*ret_address = address;
	return true;
}

void net_watch_complain(struct net_watch *watch, const char *what, int err)
{
	uint64_t now = clock_ns();

	if (now < watch->complain_ns)
		return;
	watch->complain_ns = now + COMPLAIN_NS;
	syslog(LOG_WARNING, "interface %u: %s: %s", watch->config.ifindex, what, strerror(-err));
}

/* ---- sockets ------------------------------------------------------------------------------- */

static int open_socket(struct mnl_socket **ret_socket)
{
	struct mnl_socket *nl = mnl_socket_open2(NETLINK_ROUTE, SOCK_NONBLOCK | SOCK_CLOEXEC);
	int err;

	if (!nl)
		return -errno;
	if (mnl_socket_bind(nl, 0, MNL_SOCKET_AUTOPID)) {
		err = -errno;
		mnl_socket_close(nl);
		return err;
	}
	*ret_socket = nl;
	return 0;
}

static int join_groups(struct mnl_socket *nl)
{
	/* What can change a route is more than routes: links, addresses, rules, next-hop objects. */
	static const int groups[] = {
		RTNLGRP_LINK,	     RTNLGRP_NEIGH,	  RTNLGRP_IPV4_IFADDR, RTNLGRP_IPV6_IFADDR,
		RTNLGRP_IPV4_ROUTE,  RTNLGRP_IPV6_ROUTE,  RTNLGRP_IPV4_RULE,   RTNLGRP_IPV6_RULE,
		RTNLGRP_NEXTHOP,
	};

	for (size_t i = 0; i < sizeof(groups) / sizeof(groups[0]); i++) {
		int group = groups[i];

		/* Next-hop objects came with Linux 5.3: where there are none, none change. */
		if (mnl_socket_setsockopt(nl, NETLINK_ADD_MEMBERSHIP, &group, sizeof(group)) &&
		    group != RTNLGRP_NEXTHOP)
			return -errno;
	}
	return 0;
}

int netlink_open(struct net_watch *watch)
{
	const int size = EVENTS_BUFFER;
	int err;

	err = open_socket(&watch->questions);
	if (!err)
		err = open_socket(&watch->events);
	if (!err)
		err = join_groups(watch->events);
	if (err)
		return err;
	/* A smaller buffer only means that more is asked for again. */
	if (setsockopt(mnl_socket_get_fd(watch->events), SOL_SOCKET, SO_RCVBUFFORCE, &size,
		       sizeof(size)))
		net_watch_complain(watch, "cannot enlarge the netlink buffer", -errno);
	return 0;
}

void netlink_close(struct net_watch *watch)
{
	if (watch->events)
		mnl_socket_close(watch->events);
	if (watch->questions)
		mnl_socket_close(watch->questions);
}

/* ---- questions ----------------------------------------------------------------------------- */

static uint32_t next_seq(const struct net_watch *watch)
{
	uint32_t seq = (watch->seq + 1) & SEQ_QUESTION;

	return seq ? seq : 1;
}

bool netlink_may_ask(const struct net_watch *watch)
{
	return !watch->asked[next_seq(watch) % QUESTIONS_MAX].seq;
}

int netlink_send(struct net_watch *watch, struct nlmsghdr *message, uint32_t seq)
{
	message->nlmsg_seq = seq;
	message->nlmsg_flags |= NLM_F_REQUEST;
	if (mnl_socket_sendto(watch->questions, message, message->nlmsg_len) < 0)
		return -errno;
	return 0;
}

int netlink_ask(struct net_watch *watch, struct nlmsghdr *message, struct question question)
{
	int err;

	question.seq = next_seq(watch);
	err = netlink_send(watch, message, question.seq);
	if (err)
		return err;
	watch->seq = question.seq;
	watch->asked[question.seq % QUESTIONS_MAX] = question;
	return 0;
}

bool netlink_answered(struct net_watch *watch, uint32_t seq, struct question *ret_question)
{
	struct question *question = &watch->asked[seq % QUESTIONS_MAX];

	if (!seq || question->seq != seq)
		return false;
	*ret_question = *question;
	*question = (struct question){ 0 };
	return true;
}

void netlink_forget(struct net_watch *watch, const struct tracked *tracked, const struct hop *hop)
{
	for (int i = 0; i < QUESTIONS_MAX; i++) {
		struct question *question = &watch->asked[i];

		if (question->tracked == tracked)
			question->tracked = NULL;
		if (question->hop == hop)
			question->hop = NULL;
	}
}

/* ---- receiving ----------------------------------------------------------------------------- */

static void handle_event(struct net_watch *watch, const struct nlmsghdr *message)
{
	switch (message->nlmsg_type) {
	case RTM_NEWNEIGH:
	case RTM_DELNEIGH:
		neighbours_event(watch, message);
		break;
	case RTM_NEWADDR:
	case RTM_DELADDR:
		addresses_event(watch, message);
		/* Connected routes come and go with addresses. */
		routes_changed(watch);
		break;
	default:
		routes_changed(watch);
	}
}

static void handle_answer(struct net_watch *watch, const struct nlmsghdr *message)
{
	struct question question;

	if (message->nlmsg_seq & SEQ_DUMP)
		addresses_dump_answer(watch, message);
	else if (!netlink_answered(watch, message->nlmsg_seq, &question))
		return; /* late, or the refusal of what needs no answer */
	else if (question.tracked)
		routes_answer(watch, question.tracked, message);
	else if (question.hop)
		neighbours_answer(watch, question.hop, message);
}

typedef void message_handler(struct net_watch *watch, const struct nlmsghdr *message);

/* Reads up to a bound. Returns how many reads gave something; *ret_err is 0, or -errno if not all. */
static int receive_from(struct net_watch *watch, struct mnl_socket *nl, message_handler *handle,
			int *ret_err)
{
	static char buffer[BUFFER_SIZE] __attribute__((aligned(NLMSG_ALIGNTO)));
	int reads = 0;

	*ret_err = 0;
	while (reads < MESSAGES_AT_ONCE) {
		/* Only the kernel, and those with CAP_NET_ADMIN, can send here. */
		ssize_t len = mnl_socket_recvfrom(nl, buffer, sizeof(buffer));
		const struct nlmsghdr *message = (const struct nlmsghdr *)buffer;
		int left = (int)len;

		if (len < 0 && (errno == EAGAIN || errno == EINTR))
			break;
		reads++;
		if (len < 0) {
			*ret_err = -errno; /* told once, and gone: what follows can be read */
			continue;
		}
		for (; mnl_nlmsg_ok(message, left); message = mnl_nlmsg_next(message, &left))
			handle(watch, message);
	}
	return reads;
}

static void ask_all_again(struct net_watch *watch)
{
	addresses_want_dump(watch);
	routes_changed(watch);
	neighbours_want_all(watch);
}

bool netlink_receive(struct net_watch *watch)
{
	int answers, events, err;

	/* Answers first: one taken after a newer event would undo it. */
	answers = receive_from(watch, watch->questions, handle_answer, &err);
	if (err) {
		net_watch_complain(watch, "answers from the kernel were lost", err);
		memset(watch->asked, 0, sizeof(watch->asked));
		ask_all_again(watch);
	}
	events = receive_from(watch, watch->events, handle_event, &err);
	if (err) {
		/* Usual in a flood, and no loss: all is asked for again. */
		if (err != -ENOBUFS)
			net_watch_complain(watch, "events from the kernel were lost", err);
		watch->overrun = true;
	}
	/*
	 * Only when all events are read: the loss is told before those that were queued when it
	 * happened, and these, taken after the new answers, would bring back what is gone.
	 */
	if (watch->overrun && events < MESSAGES_AT_ONCE) {
		watch->overrun = false;
		ask_all_again(watch);
	}
	return answers || events;
}
