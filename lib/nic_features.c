// SPDX-License-Identifier: BSD-2-Clause
#include "nic_features.h"

#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <errno.h>
#include <linux/genetlink.h>
#include <linux/netlink.h>
#include <linux/pkt_sched.h>
#include <linux/rtnetlink.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "netlink_question.h"

/* Newer than Debian 12's headers; part of the kernel's ABI since 6.3 (netdev) and 6.6 (tcx). */
#define NETDEV_FAMILY	   "netdev"
#define NETDEV_GET	   1
#define NETDEV_IFINDEX	   1
#define NETDEV_XDP_FEATURES 3
#define TCX_EGRESS	   47
#define LINK_TYPE_TCX	   11

/* ---- XDP ----------------------------------------------------------------------------------- */

static void on_family(const struct nlmsghdr *message, void *context)
{
	const void *id = netlink_attribute(message, GENL_HDRLEN, CTRL_ATTR_FAMILY_ID,
					   sizeof(uint16_t));

	if (id)
		memcpy(context, id, sizeof(uint16_t));
}

static void on_features(const struct nlmsghdr *message, void *context)
{
	const void *features = netlink_attribute(message, GENL_HDRLEN, NETDEV_XDP_FEATURES,
						 sizeof(uint64_t));

	if (features)
		memcpy(context, features, sizeof(uint64_t));
}

static void generic_question(struct netlink_question *question, uint16_t type, uint8_t command)
{
	const struct genlmsghdr head = { .cmd = command, .version = 1 };

	netlink_question_init(question, type, 0, &head, sizeof(head));
}

int nic_xdp_features(uint32_t ifindex, uint64_t *ret_features)
{
	struct netlink_question question;
	uint64_t features = UINT64_MAX;
	uint16_t family = 0;
	int err;

	generic_question(&question, GENL_ID_CTRL, CTRL_CMD_GETFAMILY);
	netlink_question_add(&question, CTRL_ATTR_FAMILY_NAME, NETDEV_FAMILY,
			     sizeof(NETDEV_FAMILY));
	err = netlink_question_ask(NETLINK_GENERIC, &question, on_family, &family);
	if (err || !family)
		return !err || err == -ENOENT ? -EOPNOTSUPP : err;
	generic_question(&question, family, NETDEV_GET);
	netlink_question_add(&question, NETDEV_IFINDEX, &ifindex, sizeof(ifindex));
	err = netlink_question_ask(NETLINK_GENERIC, &question, on_features, &features);
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

/* What drivers take with programs that know no fragments, in kernels with pages of 4096 octets. */
uint32_t nic_xdp_mtu_max(const char *driver)
{
	static const struct {
		const char *driver;
		uint32_t mtu;
	} known[] = {
		{ "ena", 3498 }, { "hv_netvsc", 3506 }, { "i40e", 3046 }, { "ice", 3046 },
		{ "mlx5_core", 3498 }, { "veth", 3506 }, { "virtio_net", 3506 },
	};

	for (size_t i = 0; i < sizeof(known) / sizeof(known[0]); i++)
		if (!strcmp(driver, known[i].driver))
			return known[i].mtu;
	return 0;
}

/* The name needs CAP_SYS_ADMIN; without it, it stays empty. */
static void read_prog_name(struct nic_xdp *xdp)
{
	struct bpf_prog_info info = { 0 };
	uint32_t len = sizeof(info);
	int fd = bpf_prog_get_fd_by_id(xdp->prog_id);

	if (fd < 0)
		return;
	if (!bpf_obj_get_info_by_fd(fd, &info, &len))
		snprintf(xdp->name, sizeof(xdp->name), "%s", info.name);
	close(fd);
}

/*
 * The id of the link by which a program is attached, 0 if there is none or it may not be seen.
 * Interface indices repeat in other network namespaces: the program must be the one attached.
 * The index stands first in what links of XDP and of tcx tell about themselves.
 */
static uint32_t find_link(uint32_t type, uint32_t ifindex, uint32_t prog_id)
{
	uint32_t id = 0;

	while (!bpf_link_get_next_id(id, &id)) {
		struct bpf_link_info info = { 0 };
		uint32_t len = sizeof(info);
		int fd = bpf_link_get_fd_by_id(id);
		bool found;

		if (fd < 0)
			continue;
		found = !bpf_obj_get_info_by_fd(fd, &info, &len) && info.type == type &&
			info.prog_id == prog_id && info.xdp.ifindex == ifindex;
		close(fd);
		if (found)
			return id;
	}
	return 0;
}

int nic_xdp_attached(uint32_t ifindex, struct nic_xdp *ret_xdp)
{
	LIBBPF_OPTS(bpf_xdp_query_opts, query);
	struct nic_xdp xdp = { 0 };
	int err = bpf_xdp_query((int)ifindex, 0, &query);

	if (err)
		return err;
	xdp.prog_id = query.drv_prog_id ? query.drv_prog_id :
		      query.skb_prog_id ? query.skb_prog_id : query.prog_id;
	xdp.mode = query.drv_prog_id ? "native" : query.skb_prog_id ? "generic" : "offloaded";
	if (xdp.prog_id) {
		read_prog_name(&xdp);
		xdp.link_id = find_link(BPF_LINK_TYPE_XDP, ifindex, xdp.prog_id);
	}
	*ret_xdp = xdp;
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
	const struct tcmsg head = { .tcm_family = AF_UNSPEC, .tcm_ifindex = (int)ifindex,
				    .tcm_parent = TC_H_MAKE(TC_H_CLSACT, TC_H_MIN_EGRESS) };
	struct netlink_question question;
	int err;

	netlink_question_init(&question, RTM_GETTFILTER, NLM_F_DUMP, &head, sizeof(head));
	err = netlink_question_ask(NETLINK_ROUTE, &question, on_filter, tc);
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
	if (tc.tcx_count)
		tc.tcx_link = find_link(LINK_TYPE_TCX, ifindex, tc.tcx_ids[0]);
	err = list_filters(ifindex, &tc);
	if (!err)
		*ret_tc = tc;
	return err;
}
