// SPDX-License-Identifier: BSD-2-Clause
/*
 * The map `own_addresses`. It is itself the only record: the value of an entry is the round of the
 * dump that last showed the address, or in which an event told of it. When a dump is complete, what
 * has another round is swept out. An event that takes an address away starts such a round rather
 * than deleting: the same address may be there twice, on another interface or with another prefix.
 */
#include "net_watch_internal.h"

#include <bpf/bpf.h>
#include <errno.h>
#include <linux/if_addr.h>
#include <linux/rtnetlink.h>
#include <string.h>
#include <syslog.h>

#include "clock.h"

/* Between the starts of two dumps: whoever changes addresses all the time must not keep us busy. */
#define DUMP_PAUSE_NS 100000000u
#define RETRY_NS      1000000000u	/* after an error */

static bool is_v6_link_local(const struct own_address *address)
{
	return address->family == FAMILY_V6 && address->addr.b[0] == 0xfe &&
	       (address->addr.b[1] & 0xc0) == 0x80;
}

/*
 * The address that a message tells of, if it counts. An IPv6 link-local address means something on
 * its own link only (RFC 4007): another station next to the NIC may well have that of another
 * interface, as routers do that are fe80::1 on every link.
 */
static bool read_address(const struct net_watch *watch, const struct nlmsghdr *message,
			 struct own_address *ret_address)
{
	const struct ifaddrmsg *header = mnl_nlmsg_get_payload(message);
	const struct nlattr *attr, *local = NULL;
	enum ip_family family;

	if (mnl_nlmsg_get_payload_len(message) < sizeof(*header) ||
	    !family_from_af(header->ifa_family, &family))
		return false;
	/* IFA_ADDRESS is the other end of a point-to-point link where there is an IFA_LOCAL too. */
	mnl_attr_for_each(attr, message, sizeof(*header))
		if (mnl_attr_get_type(attr) == IFA_LOCAL ||
		    (mnl_attr_get_type(attr) == IFA_ADDRESS && !local))
			local = attr;
	if (!local || !attribute_address(local, family, ret_address))
		return false;
	return !is_v6_link_local(ret_address) || header->ifa_index == watch->config.ifindex;
}

/*
 * While duplicate address detection runs (RFC 4862 5.4), an address is not the host's: it may turn
 * out to be another's, whose packets must pass. So it is after it has turned out so. The kernel
 * tells again when the address has become ours. An optimistic address (RFC 4429) is used before,
 * but can be another's just as well.
 */
static bool is_ours(const struct nlmsghdr *message)
{
	const struct ifaddrmsg *header = mnl_nlmsg_get_payload(message);

	return !(header->ifa_flags & (IFA_F_TENTATIVE | IFA_F_DADFAILED));
}

/* False if the map is full. */
static bool put(struct net_watch *watch, const struct own_address *address)
{
	if (!bpf_map_update_elem(watch->config.own_addresses_fd, address, &watch->own.round, 0))
		return true;
	if (errno != E2BIG)
		net_watch_complain(watch, "cannot note an own address", -errno);
	return false;
}

void addresses_event(struct net_watch *watch, const struct nlmsghdr *message)
{
	struct own_address address;
	uint8_t round;

	if (!read_address(watch, message, &address))
		return;
	if (message->nlmsg_type == RTM_NEWADDR && is_ours(message)) {
		/* That it does not fit, the dump counts. */
		if (!put(watch, &address))
			addresses_want_dump(watch);
	} else if (!bpf_map_lookup_elem(watch->config.own_addresses_fd, &address, &round) ||
		   watch->own.dump_seq) {
		addresses_want_dump(watch);
	}
}

/* ---- dump ---------------------------------------------------------------------------------- */

void addresses_want_dump(struct net_watch *watch)
{
	watch->own.wanted = true;
}

void addresses_run(struct net_watch *watch, uint64_t now_ns)
{
	struct own_addresses *own = &watch->own;
	char buffer[64] __attribute__((aligned(NLMSG_ALIGNTO))) = { 0 };
	struct nlmsghdr *message;
	struct ifaddrmsg *header;
	int err;

	if (!own->wanted || own->dump_seq || now_ns < own->dump_due_ns)
		return;
	own->dump_due_ns = now_ns + DUMP_PAUSE_NS;
	message = mnl_nlmsg_put_header(buffer);
	message->nlmsg_type = RTM_GETADDR;
	message->nlmsg_flags = NLM_F_DUMP;
	header = mnl_nlmsg_put_extra_header(message, sizeof(*header));
	header->ifa_family = AF_UNSPEC;
	/* Not 0, and never the last one's. */
	own->round = (uint8_t)(own->round % UINT8_MAX + 1);
	err = netlink_send(watch, message, SEQ_DUMP | own->round);
	if (err) {
		net_watch_complain(watch, "cannot ask for the own addresses", err);
		own->dump_due_ns = now_ns + RETRY_NS;
		return;
	}
	own->dump_seq = SEQ_DUMP | own->round;
	own->wanted = own->incomplete = false;
	own->missing = 0;
}

/* Removes from the map what the dump has not shown; returns how many. */
static uint32_t sweep(struct net_watch *watch)
{
	int fd = watch->config.own_addresses_fd;
	struct own_address key, next;
	bool more = !bpf_map_get_next_key(fd, NULL, &next);
	uint32_t removed = 0;
	uint8_t round;

	while (more) {
		key = next;
		/* Before it goes: from a key that is gone, the search would start again. */
		more = !bpf_map_get_next_key(fd, &key, &next);
		if (!bpf_map_lookup_elem(fd, &key, &round) && round != watch->own.round &&
		    !bpf_map_delete_elem(fd, &key))
			removed++;
	}
	return removed;
}

static void count_missing(struct net_watch *watch)
{
	struct own_addresses *own = &watch->own;

	if (own->missing && !own->reported)
		syslog(LOG_WARNING,
		       "interface %u: more than %u own addresses: forged packets from %u of them "
		       "are not recognised", watch->config.ifindex, OWN_ADDRESSES_MAX,
		       own->missing);
	own->reported = own->missing;
}

static void finish(struct net_watch *watch, int err)
{
	struct own_addresses *own = &watch->own;

	own->dump_seq = 0;
	if (err) {
		net_watch_complain(watch, "cannot list the own addresses", err);
		own->dump_due_ns = clock_ns() + RETRY_NS;
	}
	if (err || own->incomplete) {
		own->wanted = true;
		return;
	}
	/* What did not fit may have been in want of the room that was swept. */
	if (sweep(watch) && own->missing)
		own->wanted = true;
	else
		count_missing(watch);
}

static int dump_error(const struct nlmsghdr *message)
{
	/* Both NLMSG_ERROR and NLMSG_DONE begin with a negative errno or 0. */
	if (mnl_nlmsg_get_payload_len(message) < sizeof(int))
		return message->nlmsg_type == NLMSG_DONE ? 0 : -EPROTO;
	return *(const int *)mnl_nlmsg_get_payload(message);
}

void addresses_dump_answer(struct net_watch *watch, const struct nlmsghdr *message)
{
	struct own_addresses *own = &watch->own;
	struct own_address address;

	if (message->nlmsg_seq != own->dump_seq)
		return;
	/* Changed while it was being listed: something may have been left out. */
	own->incomplete |= message->nlmsg_flags & NLM_F_DUMP_INTR;
	if (message->nlmsg_type == NLMSG_DONE || message->nlmsg_type == NLMSG_ERROR)
		finish(watch, dump_error(message));
	else if (message->nlmsg_type == RTM_NEWADDR &&
		 read_address(watch, message, &address) && is_ours(message))
		own->missing += !put(watch, &address);
}
