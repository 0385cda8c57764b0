// SPDX-License-Identifier: BSD-2-Clause
#include "nic_features.h"

#include <bpf/bpf.h>
#include <errno.h>
#include <linux/ethtool.h>
#include <linux/genetlink.h>
#include <linux/netlink.h>
#include <linux/pkt_sched.h>
#include <linux/rtnetlink.h>
#include <linux/sockios.h>
#include <net/if.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#define REPLY_MAX 32768

/* Newer than Debian 12's headers; part of the kernel's ABI since 6.3 (netdev) and 6.6 (tcx). */
#define NETDEV_FAMILY	   "netdev"
#define NETDEV_GET	   1
#define NETDEV_IFINDEX	   1
#define NETDEV_XDP_FEATURES 3
#define TCX_EGRESS	   47

/* ---- netlink, as little as needed: one request, attributes or messages of its answer --------- */

struct request {
	struct nlmsghdr header;
	union {
		struct genlmsghdr genl;
		struct tcmsg tc;
	};
	uint8_t attribute[64];
};

/* Called for each message of an answer. */
typedef void (*message_fn)(const struct nlmsghdr *message, void *context);

static void set_attribute(struct request *request, uint16_t type, const void *data, uint16_t len)
{
	const struct nlattr head = { .nla_len = (uint16_t)(NLA_HDRLEN + len), .nla_type = type };
	uint8_t *at = (uint8_t *)request + request->header.nlmsg_len;

	memcpy(at, &head, sizeof(head));
	memcpy(at + NLA_HDRLEN, data, len);
	request->header.nlmsg_len += NLA_ALIGN(head.nla_len);
}

/* Looks at one datagram. 1: more to come, 0: that was all, or -errno. */
static int read_messages(const struct nlmsghdr *message, uint32_t len, message_fn fn, void *context)
{
	for (; NLMSG_OK(message, len); message = NLMSG_NEXT(message, len)) {
		if (message->nlmsg_type == NLMSG_DONE)
			return 0;
		if (message->nlmsg_type == NLMSG_ERROR)
			return ((const struct nlmsgerr *)NLMSG_DATA(message))->error;
		fn(message, context);
		if (!(message->nlmsg_flags & NLM_F_MULTI))
			return 0;
	}
	return 1;
}

static int ask(int family, const struct request *request, message_fn fn, void *context)
{
	static const struct timeval patience = { .tv_sec = 5 };
	_Alignas(struct nlmsghdr) uint8_t reply[REPLY_MAX];
	int err = 1, fd;
	ssize_t len;

	fd = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, family);
	if (fd < 0)
		return -errno;
	if (setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience)) ||
	    send(fd, request, request->header.nlmsg_len, 0) < 0)
		err = -errno;
	while (err > 0) {
		len = recv(fd, reply, sizeof(reply), 0);
		err = len < 0 ? -errno : read_messages((const void *)reply, (uint32_t)len, fn, context);
	}
	close(fd);
	return err;
}

/* The value of an attribute after the generic netlink header, or NULL. */
static const void *find_attribute(const struct nlmsghdr *message, uint16_t type, uint16_t len)
{
	const uint8_t *at = (const uint8_t *)NLMSG_DATA(message) + GENL_HDRLEN;
	const uint8_t *end = (const uint8_t *)message + message->nlmsg_len;
	struct nlattr head;

	while (end - at >= (ptrdiff_t)sizeof(head)) {
		memcpy(&head, at, sizeof(head));
		if (head.nla_len < NLA_HDRLEN || head.nla_len > end - at)
			return NULL;
		if ((head.nla_type & NLA_TYPE_MASK) == type && head.nla_len >= NLA_HDRLEN + len)
			return at + NLA_HDRLEN;
		at += NLA_ALIGN(head.nla_len);
	}
	return NULL;
}

/* ---- XDP ----------------------------------------------------------------------------------- */

static void on_family(const struct nlmsghdr *message, void *context)
{
	const void *id = find_attribute(message, CTRL_ATTR_FAMILY_ID, sizeof(uint16_t));

	if (id)
		memcpy(context, id, sizeof(uint16_t));
}

static void on_features(const struct nlmsghdr *message, void *context)
{
	const void *features = find_attribute(message, NETDEV_XDP_FEATURES, sizeof(uint64_t));

	if (features)
		memcpy(context, features, sizeof(uint64_t));
}

static struct request generic_request(uint16_t type, uint8_t command)
{
	return (struct request){
		.header = { .nlmsg_len = NLMSG_LENGTH(GENL_HDRLEN), .nlmsg_type = type,
			    .nlmsg_flags = NLM_F_REQUEST },
		.genl = { .cmd = command, .version = 1 },
	};
}

int nic_xdp_features(uint32_t ifindex, uint64_t *ret_features)
{
	struct request request = generic_request(GENL_ID_CTRL, CTRL_CMD_GETFAMILY);
	uint64_t features = UINT64_MAX;
	uint16_t family = 0;
	int err;

	set_attribute(&request, CTRL_ATTR_FAMILY_NAME, NETDEV_FAMILY, sizeof(NETDEV_FAMILY));
	err = ask(NETLINK_GENERIC, &request, on_family, &family);
	if (err || !family)
		return !err || err == -ENOENT ? -EOPNOTSUPP : err;
	request = generic_request(family, NETDEV_GET);
	set_attribute(&request, NETDEV_IFINDEX, &ifindex, sizeof(ifindex));
	err = ask(NETLINK_GENERIC, &request, on_features, &features);
	if (err)
		return err;
	if (features == UINT64_MAX)
		return -EOPNOTSUPP;
	*ret_features = features;
	return 0;
}

bool nic_driver_has_xdp(const char *driver)
{
	static const char *const known[] = {
		"atlantic", "bnxt_en", "bonding", "ena", "fec", "fsl_dpa",
		"fsl_dpaa2_eth", "fsl_enetc", "gve", "hv_netvsc", "i40e", "ice", "igb", "igc",
		"ixgbe", "ixgbevf", "lan966x-switch", "mana", "mlx4_en", "mlx5_core", "mtk_soc_eth",
		"mvneta", "mvpp2", "netsec", "nfp", "octeontx2-nic", "qede", "sfc", "st_gmac",
		"stmmac", "thunder-nic", "ti-cpsw", "tsnep", "tun", "veth", "virtio_net", "vmxnet3",
		"xen-netfront",
	};

	for (size_t i = 0; i < sizeof(known) / sizeof(known[0]); i++)
		if (!strcmp(driver, known[i]))
			return true;
	return false;
}

/* ---- ethtool ------------------------------------------------------------------------------- */

int nic_offloads(const char *ifname, struct nic_offloads *ret_offloads)
{
	struct ethtool_value flags = { .cmd = ETHTOOL_GFLAGS };
	struct ifreq request = { .ifr_data = (void *)&flags };
	int err = 0, fd;

	fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return -errno;
	snprintf(request.ifr_name, sizeof(request.ifr_name), "%s", ifname);
	if (ioctl(fd, SIOCETHTOOL, &request))
		err = -errno;
	close(fd);
	if (err)
		return err;
	*ret_offloads = (struct nic_offloads){
		.rx_vlan = flags.data & ETH_FLAG_RXVLAN,
		.lro = flags.data & ETH_FLAG_LRO,
	};
	return 0;
}

/* ---- tc ------------------------------------------------------------------------------------ */

static void on_filter(const struct nlmsghdr *message, void *context)
{
	const struct tcmsg *filter = NLMSG_DATA(message);
	uint32_t priority = filter->tcm_info >> 16;
	struct nic_tc *tc = context;

	/* Each filter comes with its chain's head, which has no handle. */
	if (message->nlmsg_type != RTM_NEWTFILTER || !filter->tcm_handle)
		return;
	tc->filter_count++;
	if (!tc->first_priority || priority < tc->first_priority)
		tc->first_priority = priority;
}

static int list_filters(uint32_t ifindex, struct nic_tc *tc)
{
	const struct request request = {
		.header = { .nlmsg_len = NLMSG_LENGTH(sizeof(struct tcmsg)),
			    .nlmsg_type = RTM_GETTFILTER,
			    .nlmsg_flags = NLM_F_REQUEST | NLM_F_DUMP },
		.tc = { .tcm_family = AF_UNSPEC, .tcm_ifindex = (int)ifindex,
			.tcm_parent = TC_H_MAKE(TC_H_CLSACT, TC_H_MIN_EGRESS) },
	};
	int err = ask(NETLINK_ROUTE, &request, on_filter, tc);

	return err == -EINVAL || err == -ENOENT ? 0 : err;	/* no clsact there: no filters */
}

int nic_tc_egress(uint32_t ifindex, struct nic_tc *ret_tc)
{
	LIBBPF_OPTS(bpf_prog_query_opts, query);
	struct nic_tc tc = { 0 };
	int err = 0;

	query.prog_ids = tc.tcx_ids;
	query.prog_cnt = NIC_TC_MAX;
	if (bpf_prog_query_opts((int)ifindex, (enum bpf_attach_type)TCX_EGRESS, &query))
		err = -errno;
	/* EINVAL: no such attach type. ENOENT: nothing attached. ENOSPC: more than were asked for. */
	tc.tcx = err != -EINVAL;
	if (!err || err == -ENOSPC)
		tc.tcx_count = query.prog_cnt;
	else if (err != -EINVAL && err != -ENOENT)
		return err;
	err = list_filters(ifindex, &tc);
	if (!err)
		*ret_tc = tc;
	return err;
}
