// SPDX-License-Identifier: BSD-2-Clause
/* Which neighbour a target is reached by: what `ip route get TARGET oif NIC` answers. */
#include "net_watch_internal.h"

#include <errno.h>
#include <linux/rtnetlink.h>
#include <string.h>
#include <sys/socket.h>

#include "clock.h"

/* Between two rounds of questions: a router's table may change all the time. */
#define ROUTES_PAUSE_NS 100000000u

void routes_want(struct net_watch *watch, struct tracked *tracked)
{
	if (!tracked->used || tracked->queued || tracked->on_link)
		return;
	tracked->queued = true;
	TAILQ_INSERT_TAIL(&watch->ask_route, tracked, queue);
}

void routes_changed(struct net_watch *watch)
{
	watch->routes_changed = true;
}

static int ask_route(struct net_watch *watch, struct tracked *tracked)
{
	char buffer[256] __attribute__((aligned(NLMSG_ALIGNTO))) = { 0 };
	struct nlmsghdr *message = mnl_nlmsg_put_header(buffer);
	size_t len = address_len(tracked->target.family);
	struct rtmsg *header;

	message->nlmsg_type = RTM_GETROUTE;
	header = mnl_nlmsg_put_extra_header(message, sizeof(*header));
	header->rtm_family = (uint8_t)af_from_family(tracked->target.family);
	header->rtm_dst_len = (uint8_t)(len * 8);
	header->rtm_flags = RTM_F_LOOKUP_TABLE;
	mnl_attr_put(message, RTA_DST, len, &tracked->target.addr);
	mnl_attr_put_u32(message, RTA_OIF, watch->config.ifindex);
	return netlink_ask(watch, message, (struct question){ .tracked = tracked });
}

/* ---- answers ------------------------------------------------------------------------------- */

struct route {
	uint32_t ifindex;
	uint32_t table;
	bool gateway;
	struct own_address hop;
};

/* RTA_VIA: a gateway of the other family (RFC 8950). */
static bool via_address(const struct nlattr *attr, struct own_address *ret_address)
{
	const struct rtvia *via = mnl_attr_get_payload(attr);
	struct own_address address = { 0 };
	size_t len = mnl_attr_get_payload_len(attr);
	enum ip_family family;

	if (len < sizeof(*via) || !family_from_af(via->rtvia_family, &family) ||
	    len - sizeof(*via) < address_len(family))
		return false;
	address.family = family;
	memcpy(&address.addr, via->rtvia_addr, address_len(family));
	*ret_address = address;
	return true;
}

static void read_attribute(const struct nlattr *attr, enum ip_family family, struct route *route)
{
	switch (mnl_attr_get_type(attr)) {
	case RTA_OIF:
		if (mnl_attr_validate(attr, MNL_TYPE_U32) >= 0)
			route->ifindex = mnl_attr_get_u32(attr);
		break;
	case RTA_TABLE:
		if (mnl_attr_validate(attr, MNL_TYPE_U32) >= 0)
			route->table = mnl_attr_get_u32(attr);
		break;
	case RTA_GATEWAY:
		route->gateway |= attribute_address(attr, family, &route->hop);
		break;
	case RTA_VIA:
		route->gateway |= via_address(attr, &route->hop);
		break;
	}
}

/*
 * The neighbour on the NIC that a route answer names, or false. For IPv4 the kernel answers a
 * question with an interface even if no route leads there by it, as though the target were on the
 * link; it then names no table.
 */
static bool read_route(const struct net_watch *watch, const struct tracked *tracked,
		       const struct nlmsghdr *message, struct own_address *ret_hop)
{
	const struct rtmsg *header = mnl_nlmsg_get_payload(message);
	struct route route = { .hop = tracked->target };
	const struct nlattr *attr;
	enum ip_family family;

	if (message->nlmsg_type != RTM_NEWROUTE ||
	    mnl_nlmsg_get_payload_len(message) < sizeof(*header) ||
	    !family_from_af(header->rtm_family, &family) || header->rtm_type != RTN_UNICAST)
		return false;
	route.table = header->rtm_table;
	mnl_attr_for_each(attr, message, sizeof(*header))
		read_attribute(attr, family, &route);
	if (route.ifindex != watch->config.ifindex || route.table == RT_TABLE_UNSPEC)
		return false;
	*ret_hop = route.hop;
	return true;
}

void routes_leave(struct net_watch *watch, struct tracked *tracked)
{
	struct hop *hop = tracked->hop;

	if (!hop)
		return;
	LIST_REMOVE(tracked, of_hop);
	tracked->hop = NULL;
	neighbours_put(watch, hop);
}

void routes_follow(struct net_watch *watch, struct tracked *tracked,
		   const struct own_address *address)
{
	struct hop *hop = address ? neighbours_get(watch, address) : NULL;

	if (hop != tracked->hop) {
		routes_leave(watch, tracked);
		if (hop)
			LIST_INSERT_HEAD(&hop->users, tracked, of_hop);
		tracked->hop = hop;
	}
	net_watch_report(watch, tracked);
}

void routes_answer(struct net_watch *watch, struct tracked *tracked, const struct nlmsghdr *message)
{
	struct own_address hop;

	routes_follow(watch, tracked, read_route(watch, tracked, message, &hop) ? &hop : NULL);
}

void routes_run(struct net_watch *watch, uint64_t now_ns)
{
	struct tracked *tracked;
	int err = 0;

	if (watch->routes_changed && now_ns >= watch->routes_due_ns) {
		watch->routes_changed = false;
		watch->routes_due_ns = now_ns + ROUTES_PAUSE_NS;
		LIST_FOREACH(tracked, &watch->tracked, entry)
			routes_want(watch, tracked);
	}
	while (!err && netlink_may_ask(watch) && (tracked = TAILQ_FIRST(&watch->ask_route))) {
		TAILQ_REMOVE(&watch->ask_route, tracked, queue);
		tracked->queued = false;
		err = ask_route(watch, tracked);
	}
	if (err) {
		net_watch_complain(watch, "cannot ask for a route", err);
		watch->routes_changed = true;
	}
}
