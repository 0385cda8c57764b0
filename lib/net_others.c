// SPDX-License-Identifier: BSD-2-Clause
#include "net_others.h"

#include <errno.h>
#include <linux/fib_rules.h>
#include <linux/rtnetlink.h>
#include <linux/xfrm.h>
#include <net/if.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>

#include "netlink_question.h"

static uint32_t get_u32(const void *value)
{
	uint32_t number = 0;

	if (value)
		memcpy(&number, value, sizeof(number));
	return number;
}

/* ---- routing rules that look at the mark ----------------------------------------------------- */

static void on_rule(const struct nlmsghdr *message, void *context)
{
	const struct fib_rule_hdr *head = NLMSG_DATA(message);
	struct net_others *others = context;
	struct net_mark_rule rule = { .ipv6 = head->family == AF_INET6 };

	if (message->nlmsg_type != RTM_NEWRULE)
		return;
	rule.value = get_u32(netlink_attribute(message, sizeof(*head), FRA_FWMARK, 4));
	rule.mask = get_u32(netlink_attribute(message, sizeof(*head), FRA_FWMASK, 4));
	rule.priority = get_u32(netlink_attribute(message, sizeof(*head), FRA_PRIORITY, 4));
	if (rule.mask && others->rule_count < NET_RULES_MAX)
		others->rules[others->rule_count++] = rule;
}

static int read_rules(uint8_t family, struct net_others *others)
{
	const struct fib_rule_hdr head = { .family = family };
	struct netlink_question question;
	int err;

	netlink_question_init(&question, RTM_GETRULE, NLM_F_DUMP, &head, sizeof(head));
	err = netlink_question_ask(NETLINK_ROUTE, &question, on_rule, others);
	/* A kernel without the family, or without policy routing, has no rules. */
	return err == -EAFNOSUPPORT || err == -EOPNOTSUPP ? 0 : err;
}

/* ---- links ----------------------------------------------------------------------------------- */

static void on_link(const struct nlmsghdr *message, void *context)
{
	const size_t len = sizeof(struct ifinfomsg);
	const void *info = netlink_attribute(message, len, IFLA_LINKINFO, 0);
	const char *kind = info ? netlink_nested(info, IFLA_INFO_KIND, sizeof("wireguard")) : NULL;
	const char *name = netlink_attribute(message, len, IFLA_IFNAME, 2);
	struct net_others *others = context;

	if (!kind || strcmp(kind, "wireguard") != 0)
		return;
	if (!others->wireguard_count++ && name)
		snprintf(others->wireguard, sizeof(others->wireguard), "%s", name);
}

static int read_links(struct net_others *others)
{
	const struct ifinfomsg head = { 0 };
	struct netlink_question question;

	netlink_question_init(&question, RTM_GETLINK, NLM_F_DUMP, &head, sizeof(head));
	return netlink_question_ask(NETLINK_ROUTE, &question, on_link, others);
}

static void on_own_link(const struct nlmsghdr *message, void *context)
{
	*(uint32_t *)context =
		get_u32(netlink_attribute(message, sizeof(struct ifinfomsg), IFLA_MASTER, 4));
}

int net_master_read(uint32_t ifindex, char ret_name[16])
{
	const struct ifinfomsg head = { .ifi_index = (int)ifindex };
	struct netlink_question question;
	uint32_t master = 0;
	int err;

	netlink_question_init(&question, RTM_GETLINK, 0, &head, sizeof(head));
	err = netlink_question_ask(NETLINK_ROUTE, &question, on_own_link, &master);
	if (err)
		return err;
	if (!master || !if_indextoname(master, ret_name))
		ret_name[0] = '\0';
	return 0;
}

struct upper {
	uint32_t ifindex;	/* of what it lies above */
	char name[16];
};

/* Tunnels, too, name what they send by, but what comes out of them is another packet. */
static bool is_upper_kind(const char *kind)
{
	static const char *const kinds[] = { "vlan", "macvlan", "macvtap", "ipvlan", "ipvtap" };

	for (size_t i = 0; i < sizeof(kinds) / sizeof(kinds[0]); i++)
		if (!strcmp(kind, kinds[i]))
			return true;
	return false;
}

static void on_upper(const struct nlmsghdr *message, void *context)
{
	const size_t len = sizeof(struct ifinfomsg);
	const void *info = netlink_attribute(message, len, IFLA_LINKINFO, 0);
	const char *kind = info ? netlink_nested(info, IFLA_INFO_KIND, sizeof("vlan")) : NULL;
	const char *name = netlink_attribute(message, len, IFLA_IFNAME, 2);
	struct upper *upper = context;

	/* One in another namespace has the number of a device there. */
	if (!kind || !name || !is_upper_kind(kind) ||
	    netlink_attribute(message, len, IFLA_LINK_NETNSID, 4) ||
	    get_u32(netlink_attribute(message, len, IFLA_LINK, 4)) != upper->ifindex)
		return;
	snprintf(upper->name, sizeof(upper->name), "%s", name);
}

int net_upper_read(uint32_t ifindex, char ret_name[16])
{
	const struct ifinfomsg head = { 0 };
	struct upper upper = { .ifindex = ifindex };
	struct netlink_question question;
	int err;

	netlink_question_init(&question, RTM_GETLINK, NLM_F_DUMP, &head, sizeof(head));
	err = netlink_question_ask(NETLINK_ROUTE, &question, on_upper, &upper);
	if (!err)
		snprintf(ret_name, sizeof(upper.name), "%s", upper.name);
	return err;
}

/* ---- the kernel's IPsec ---------------------------------------------------------------------- */

struct policy_count {
	uint32_t ifindex, count;
};

static void on_policy(const struct nlmsghdr *message, void *context)
{
	const struct xfrm_userpolicy_info *policy = NLMSG_DATA(message);
	struct policy_count *policies = context;

	if (message->nlmsg_type != XFRM_MSG_NEWPOLICY || policy->dir >= XFRM_POLICY_MAX)
		return;
	policies->count += !policy->sel.ifindex || policy->sel.ifindex == (int)policies->ifindex;
}

static int read_policies(uint32_t ifindex, struct net_others *others)
{
	const struct xfrm_userpolicy_id head = { 0 };
	struct policy_count policies = { .ifindex = ifindex };
	struct netlink_question question;
	int err;

	netlink_question_init(&question, XFRM_MSG_GETPOLICY, NLM_F_DUMP, &head, sizeof(head));
	err = netlink_question_ask(NETLINK_XFRM, &question, on_policy, &policies);
	others->xfrm = !err;
	others->xfrm_policies = policies.count;
	return err == -EPROTONOSUPPORT || err == -ECONNREFUSED ? 0 : err;
}

int net_others_read(uint32_t ifindex, struct net_others *ret_others)
{
	struct net_others others = { 0 };
	int err = read_rules(AF_INET, &others);

	if (!err)
		err = read_rules(AF_INET6, &others);
	if (!err)
		err = read_links(&others);
	if (!err)
		err = read_policies(ifindex, &others);
	if (!err)
		*ret_others = others;
	return err;
}
