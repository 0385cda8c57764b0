// SPDX-License-Identifier: BSD-2-Clause
/*
 * The neighbours that tracked slots send by. The kernel resolves them; as the worker's frames pass
 * its neighbour table by, it must be told that they are in use (NTF_USE, as `ip neigh ... use`):
 * then it resolves them, confirms them when they are stale, and finds out that they have gone.
 */
#include "net_watch_internal.h"

#include <errno.h>
#include <linux/neighbour.h>
#include <linux/rtnetlink.h>
#include <search.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "clock.h"

#define MAC_LEN		 6
#define USE_INTERVAL_NS	 5000000000u	/* as long as the kernel waits before it confirms a stale one */
#define USE_AFTER_LOSS_NS 1000000000u	/* sooner, where the kernel has removed one */

static int compare(const void *a, const void *b)
{
	const struct hop *x = a, *y = b;

	return memcmp(&x->address, &y->address, sizeof(x->address));
}

static struct hop *find(const struct net_watch *watch, const struct own_address *address)
{
	const struct hop key = { .address = *address };
	void *const *found = tfind(&key, &watch->hop_tree, compare);

	return found ? *found : NULL;
}

static void want(struct net_watch *watch, struct hop *hop)
{
	if (hop->queued)
		return;
	hop->queued = true;
	TAILQ_INSERT_TAIL(&watch->ask_hop, hop, queue);
}

struct hop *neighbours_get(struct net_watch *watch, const struct own_address *address)
{
	struct hop *hop = find(watch, address);

	if (hop)
		return hop;
	hop = calloc(1, sizeof(*hop));
	if (!hop)
		return NULL;
	hop->address = *address;
	LIST_INIT(&hop->users);
	if (!tsearch(hop, &watch->hop_tree, compare)) {
		free(hop);
		return NULL;
	}
	LIST_INSERT_HEAD(&watch->hops, hop, entry);
	want(watch, hop);
	return hop;
}

void neighbours_put(struct net_watch *watch, struct hop *hop)
{
	if (!LIST_EMPTY(&hop->users))
		return;
	if (hop->queued)
		TAILQ_REMOVE(&watch->ask_hop, hop, queue);
	LIST_REMOVE(hop, entry);
	tdelete(hop, &watch->hop_tree, compare);
	netlink_forget(watch, NULL, hop);
	free(hop);
}

/* ---- questions ----------------------------------------------------------------------------- */

static struct nlmsghdr *put_neighbour(char *buffer, const struct net_watch *watch,
				      const struct hop *hop, uint16_t type)
{
	struct nlmsghdr *message = mnl_nlmsg_put_header(buffer);
	struct ndmsg *header;

	message->nlmsg_type = type;
	header = mnl_nlmsg_put_extra_header(message, sizeof(*header));
	header->ndm_family = (uint8_t)af_from_family(hop->address.family);
	header->ndm_ifindex = (int)watch->config.ifindex;
	mnl_attr_put(message, NDA_DST, address_len(hop->address.family), &hop->address.addr);
	return message;
}

/*
 * "I am about to send there": starts resolution or confirmation. Not for permanent entries: since
 * Linux 5.16 that would take their permanence away.
 */
static void use(struct net_watch *watch, const struct hop *hop, uint16_t flags)
{
	char buffer[256] __attribute__((aligned(NLMSG_ALIGNTO))) = { 0 };
	struct nlmsghdr *message = put_neighbour(buffer, watch, hop, RTM_NEWNEIGH);
	struct ndmsg *header = mnl_nlmsg_get_payload(message);
	int err;

	message->nlmsg_flags = flags;
	header->ndm_state = NUD_NONE;
	header->ndm_flags = NTF_USE;
	err = netlink_send(watch, message, SEQ_NO_ANSWER);
	if (err)
		net_watch_complain(watch, "cannot have a neighbour resolved", err);
}

static int ask_neighbour(struct net_watch *watch, struct hop *hop)
{
	char buffer[256] __attribute__((aligned(NLMSG_ALIGNTO))) = { 0 };
	struct nlmsghdr *message = put_neighbour(buffer, watch, hop, RTM_GETNEIGH);

	return netlink_ask(watch, message, (struct question){ .hop = hop });
}

void neighbours_want_all(struct net_watch *watch)
{
	struct hop *hop;

	LIST_FOREACH(hop, &watch->hops, entry)
		want(watch, hop);
}

void neighbours_run(struct net_watch *watch, uint64_t now_ns)
{
	struct hop *hop;
	int err = 0;

	if (now_ns >= watch->use_due_ns) {
		watch->use_due_ns = now_ns + USE_INTERVAL_NS;
		neighbours_want_all(watch);
	}
	while (!err && netlink_may_ask(watch) && (hop = TAILQ_FIRST(&watch->ask_hop))) {
		TAILQ_REMOVE(&watch->ask_hop, hop, queue);
		hop->queued = false;
		err = ask_neighbour(watch, hop);
	}
	if (err)
		net_watch_complain(watch, "cannot ask for a neighbour", err);
}

/* ---- answers and events -------------------------------------------------------------------- */

static uint64_t mac_value(const uint8_t *mac)
{
	uint64_t value = 0;

	for (int i = 0; i < MAC_LEN; i++)
		value = value << 8 | mac[i];
	return SA_NEXT_HOP_KNOWN | value;
}

/*
 * The value that a message states. NUD_NOARP is not among the states: there the kernel has filled in
 * something itself, and the frame has it already.
 */
static uint64_t read_value(const struct nlmsghdr *message, const struct nlattr *lladdr)
{
	const struct ndmsg *header = mnl_nlmsg_get_payload(message);
	const uint16_t usable = NUD_PERMANENT | NUD_REACHABLE | NUD_STALE | NUD_DELAY | NUD_PROBE;

	if (message->nlmsg_type != RTM_NEWNEIGH || !(header->ndm_state & usable) || !lladdr ||
	    mnl_attr_get_payload_len(lladdr) != MAC_LEN)
		return 0;
	return mac_value(mnl_attr_get_payload(lladdr));
}

static void set_value(struct net_watch *watch, struct hop *hop, uint64_t value)
{
	struct tracked *tracked;

	hop->value = value;
	LIST_FOREACH(tracked, &hop->users, of_hop)
		net_watch_report(watch, tracked);
}

/* Attributes by type; false if the message is not about a neighbour on the NIC. */
static bool read_attributes(const struct net_watch *watch, const struct nlmsghdr *message,
			    const struct nlattr *attrs[NDA_MAX + 1])
{
	const struct ndmsg *header = mnl_nlmsg_get_payload(message);
	const struct nlattr *attr;

	if (mnl_nlmsg_get_payload_len(message) < sizeof(*header) ||
	    header->ndm_ifindex != (int)watch->config.ifindex || (header->ndm_flags & NTF_PROXY))
		return false;
	mnl_attr_for_each(attr, message, sizeof(*header))
		if (mnl_attr_get_type(attr) <= NDA_MAX)
			attrs[mnl_attr_get_type(attr)] = attr;
	return true;
}

void neighbours_event(struct net_watch *watch, const struct nlmsghdr *message)
{
	const struct ndmsg *header = mnl_nlmsg_get_payload(message);
	const struct nlattr *attrs[NDA_MAX + 1] = { 0 };
	struct own_address address;
	enum ip_family family;
	struct hop *hop;

	if (!read_attributes(watch, message, attrs) || !attrs[NDA_DST] ||
	    !family_from_af(header->ndm_family, &family) ||
	    !attribute_address(attrs[NDA_DST], family, &address))
		return;
	hop = find(watch, &address);
	if (!hop)
		return;
	set_value(watch, hop, read_value(message, attrs[NDA_LLADDR]));
	/* Not at once: where it cannot be kept, the kernel and we would chase each other. */
	if (message->nlmsg_type == RTM_DELNEIGH &&
	    watch->use_due_ns > clock_ns() + USE_AFTER_LOSS_NS)
		watch->use_due_ns = clock_ns() + USE_AFTER_LOSS_NS;
}

/* The entry's state decides whether the kernel is to do something about it. */
void neighbours_answer(struct net_watch *watch, struct hop *hop, const struct nlmsghdr *message)
{
	const struct ndmsg *header = mnl_nlmsg_get_payload(message);
	const struct nlattr *attrs[NDA_MAX + 1] = { 0 };

	if (message->nlmsg_type == RTM_NEWNEIGH && read_attributes(watch, message, attrs)) {
		set_value(watch, hop, read_value(message, attrs[NDA_LLADDR]));
		if (header->ndm_state == NUD_STALE || header->ndm_state == NUD_FAILED ||
		    header->ndm_state == NUD_NONE)
			use(watch, hop, 0);
	} else {
		/* There is none. Only if that still holds: it might be a permanent one by now. */
		set_value(watch, hop, 0);
		use(watch, hop, NLM_F_CREATE | NLM_F_EXCL);
	}
}
