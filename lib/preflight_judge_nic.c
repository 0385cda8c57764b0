// SPDX-License-Identifier: BSD-2-Clause
/* Preflight judges the interface, from the facts alone. */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "preflight.h"
#include "wire_port.h"

#define OK	PREFLIGHT_OK
#define WARNING PREFLIGHT_WARNING
#define FAILURE PREFLIGHT_FAILURE

/* What AES-GCM in a tunnel through IPv6 adds at most: IPv6 header, SPI and sequence number, IV,
 * padding to 4 octets, its length and next header, ICV (RFC 4303 2, RFC 4106 4). */
#define TUNNEL_OVERHEAD (40u + 8u + 8u + 3u + 2u + 16u)

static bool native(const struct preflight_facts *facts)
{
	return facts->wanted.xdp_mode == XDP_MODE_NATIVE;
}

static bool no_interface(const struct preflight_facts *facts)
{
	return facts->nic.err || !facts->nic.nic.ethernet || facts->nic.nic.loopback;
}

static const char *driver_of(const struct preflight_facts *facts)
{
	return facts->nic.nic.driver[0] ? facts->nic.nic.driver : "unknown";
}

/* ---- what it is ------------------------------------------------------------------------------ */

void preflight_judge_interface(const struct preflight_facts *facts,
			       struct preflight_finding *finding)
{
	const struct nic *nic = &facts->nic.nic;
	int err = facts->nic.err;

	if (err) {
		preflight_found(finding, FAILURE, "%s",
				err == -ENODEV ? "no such interface in this network namespace"
					       : strerror(-err));
		preflight_fix(finding, "ip -brief link show");
	} else if (no_interface(facts)) {
		preflight_found(finding, FAILURE, "not an Ethernet interface");
		preflight_fix(finding, "ip -brief link show");
	} else if (facts->nic.master[0]) {
		preflight_found(finding, WARNING, "a port of %s: this host's addresses are there",
				facts->nic.master);
		preflight_fix(finding, "ip link set dev %s nomaster", facts->shell_name);
	} else if (!nic->up) {
		preflight_found(finding, WARNING, "Ethernet, but down");
		preflight_fix(finding, "ip link set dev %s up", facts->shell_name);
	} else {
		preflight_found(finding, OK, "Ethernet, up, driver %s", driver_of(facts));
	}
}

void preflight_judge_attachment(const struct preflight_facts *facts,
				struct preflight_finding *finding)
{
	const struct preflight_nic *nic = &facts->nic;
	const char *mode = nic->attachment_generic ? "generic" : "native";

	switch (nic->attachment) {
	case ATTACHMENT_NOT_ASKED:
		break;
	case ATTACHMENT_NONE:
		preflight_found(finding, OK, "none yet");
		break;
	case ATTACHMENT_STALE:
		preflight_found(finding, OK,
				"of an interface of this name that is gone; attach clears it away");
		break;
	case ATTACHMENT_LIVE:
		preflight_found(finding, FAILURE, "already attached");
		preflight_fix(finding, "ipsecbpf detach %s", facts->shell_name);
		break;
	case ATTACHMENT_GUARD:
	case ATTACHMENT_ORPHAN:
		preflight_found(finding, WARNING,
				"%s is in place, %s mode; attach in that mode takes it over",
				nic->attachment == ATTACHMENT_GUARD
					? "a guard"
					: "an attachment without supervisor",
				mode);
		preflight_fix(finding, "ipsecbpf attach %s --xdp %s", facts->shell_name, mode);
		break;
	case ATTACHMENT_FOREIGN_ABI:
		preflight_found(finding, FAILURE, "%s", nic->attachment_cause);
		preflight_fix(finding, "ipsecbpf detach %s --open", facts->shell_name);
		break;
	case ATTACHMENT_BROKEN:
		preflight_found(finding, FAILURE, "%s", nic->attachment_cause);
		break;
	}
}

void preflight_judge_applications(const struct preflight_facts *facts,
				  struct preflight_finding *finding)
{
	const struct app_reach *reach = &facts->nic.reach;

	if (no_interface(facts))
		return;
	if (reach->above[0])
		preflight_found(finding, WARNING,
				"%s lies above: policy for applications drops what SAs have "
				"verified", reach->above);
	else if (reach->beside[0])
		preflight_found(finding, WARNING,
				"%s is attached beside it: policy for applications drops what the "
				"other NIC's SAs have verified", reach->beside);
	else
		preflight_found(finding, OK,
				"sockets get packets from here, and no other is attached");
}

/* ---- sizes ----------------------------------------------------------------------------------- */

void preflight_judge_mtu(const struct preflight_facts *facts, struct preflight_finding *finding)
{
	uint32_t mtu = facts->nic.nic.mtu, most = wire_port_mtu_max(WIRE_FRAME_LARGE);
	uint32_t driver = native(facts) ? nic_xdp_mtu_max(facts->nic.nic.driver) : 0;
	bool by_driver = driver && driver < most;

	if (no_interface(facts))
		return;
	if (by_driver)
		most = driver;
	if (mtu >= WIRE_MTU_MIN && mtu <= most) {
		preflight_found(finding, OK, "%u; from %u to %u is possible", mtu, WIRE_MTU_MIN,
				most);
		return;
	}
	if (mtu < WIRE_MTU_MIN)
		preflight_found(finding, FAILURE, "%u; IPv6 and ESP need at least %u", mtu,
				WIRE_MTU_MIN);
	else if (by_driver)
		preflight_found(finding, FAILURE, "%u; native XDP of driver %s takes at most %u",
				mtu, driver_of(facts), most);
	else
		preflight_found(finding, FAILURE, "%u; AF_XDP frames hold at most %u", mtu, most);
	preflight_fix(finding, "ip link set dev %s mtu 1500", facts->shell_name);
}

void preflight_judge_esp_room(const struct preflight_facts *facts,
			      struct preflight_finding *finding)
{
	uint32_t mtu = facts->nic.nic.mtu;

	if (no_interface(facts) || mtu < TUNNEL_OVERHEAD)
		return;
	if (mtu - TUNNEL_OVERHEAD >= WIRE_MTU_MIN) {
		preflight_found(finding, OK, "a tunnel through IPv6 (AES-GCM) carries %u octets",
				mtu - TUNNEL_OVERHEAD);
		return;
	}
	preflight_found(
		finding, WARNING,
		"a tunnel through IPv6 (AES-GCM) carries %u octets; IPv6 needs %u: fragments",
		mtu - TUNNEL_OVERHEAD, WIRE_MTU_MIN);
	preflight_fix(finding, "ip link set dev %s mtu 1500", facts->shell_name);
}

/* ---- queues ---------------------------------------------------------------------------------- */

static uint32_t least(uint32_t a, uint32_t b)
{
	return a < b ? a : b;
}

/* How many queues there should be; what is wrong with as many as there are, or NULL. */
static const char *judge_count(const struct preflight_facts *facts, uint32_t *ret_wanted,
			       enum preflight_result *ret_result)
{
	const struct nic_channels *channels = &facts->nic.channels;
	uint32_t queues = facts->nic.nic.queues, wanted = least(queues, QUEUES_MAX);
	bool known = !facts->nic.channels_err;
	const char *wrong = NULL;

	*ret_result = FAILURE;
	if (queues > QUEUES_MAX)
		wrong = "more than 64 are not served";
	/* ENA keeps a queue to send from XDP for each, out of the same stock. */
	if (native(facts) && known && !strcmp(facts->nic.nic.driver, "ena") &&
	    channels->combined > channels->max_combined / 2) {
		wanted = least(wanted, channels->max_combined / 2);
		wrong = "driver ena takes XDP on half of its queues only";
	}
	if (known && !channels->combined && channels->tx && channels->rx > channels->tx) {
		wanted = least(wanted, channels->tx);
		*ret_result = wrong ? FAILURE : WARNING;
		wrong = wrong ? wrong : "some receive, but have no queue to send from";
	}
	if (wanted > facts->nic.cpus) {
		wanted = facts->nic.cpus;
		*ret_result = wrong ? *ret_result : WARNING;
		wrong = wrong ? wrong : "more than CPUs: memory for nothing";
	}
	*ret_wanted = wanted ? wanted : 1;
	return wrong;
}

void preflight_judge_queues(const struct preflight_facts *facts, struct preflight_finding *finding)
{
	const struct nic_channels *channels = &facts->nic.channels;
	uint32_t queues = facts->nic.nic.queues, wanted;
	bool known = !facts->nic.channels_err;
	enum preflight_result result;
	const char *wrong;

	if (no_interface(facts))
		return;
	wrong = judge_count(facts, &wanted, &result);
	if (native(facts) && known && !strcmp(facts->nic.nic.driver, "bnxt_en") &&
	    !channels->combined) {
		preflight_found(
			finding, FAILURE,
			"%u to receive, %u to send: driver bnxt_en takes XDP on combined ones only",
			channels->rx, channels->tx);
		preflight_fix(finding, "ethtool -L %s rx 0 tx 0 combined %u", facts->shell_name,
			      wanted);
		return;
	}
	if (wrong) {
		preflight_found(finding, result, "%u for %u CPUs: %s", queues, facts->nic.cpus,
				wrong);
		preflight_fix(finding, "ethtool -L %s %s %u", facts->shell_name,
			      known && !channels->combined ? "rx" : "combined", wanted);
		return;
	}
	preflight_found(finding, OK, "%u%s for %u CPUs", queues,
			!known		     ? ""
			: channels->combined ? " combined"
					     : " to receive",
			facts->nic.cpus);
}

void preflight_judge_rss(const struct preflight_facts *facts, struct preflight_finding *finding)
{
	uint32_t queues = facts->nic.nic.queues, used = facts->nic.rss_queues;

	if (no_interface(facts))
		return;
	if (queues == 1) {
		preflight_found(finding, OK, "one queue: nothing to spread");
	} else if (facts->nic.rss_err) {
		preflight_found(finding, OK, "driver %s does not tell", driver_of(facts));
	} else if (used < queues) {
		preflight_found(finding, WARNING, "%u of %u queues get everything", used, queues);
		preflight_fix(finding, "ethtool -X %s equal %u", facts->shell_name, queues);
	} else {
		preflight_found(finding, OK, "over all %u queues", queues);
	}
}

/* ---- XDP ------------------------------------------------------------------------------------- */

void preflight_judge_xdp_mode(const struct preflight_facts *facts,
			      struct preflight_finding *finding)
{
	const char *driver = driver_of(facts);
	uint64_t features = facts->nic.xdp_features;

	if (no_interface(facts))
		return;
	if (!native(facts)) {
		preflight_found(finding, OK, "generic, as asked for: slower than native");
	} else if (facts->nic.xdp_features_err && nic_driver_has_xdp(driver)) {
		preflight_found(finding, OK,
				"the kernel does not tell; driver %s is known for native", driver);
	} else if (facts->nic.xdp_features_err) {
		preflight_found(finding, WARNING, "driver %s is not known for native XDP", driver);
		preflight_fix(finding, "ipsecbpf attach %s --xdp generic", facts->shell_name);
	} else if (!(features & NIC_XDP_BASIC) || !(features & NIC_XDP_REDIRECT)) {
		preflight_found(finding, FAILURE, "driver %s has no native XDP%s", driver,
				features & NIC_XDP_BASIC ? " with redirection" : "");
		preflight_fix(finding, "ipsecbpf attach %s --xdp generic", facts->shell_name);
	} else {
		preflight_found(finding, OK, "native, by driver %s", driver);
	}
}

static void fix_foreign(const struct preflight_facts *facts, struct preflight_finding *finding)
{
	const struct nic_xdp *xdp = &facts->nic.xdp;

	if (!strcmp(xdp->name, "xdp_dispatcher"))
		preflight_fix(finding, "xdp-loader unload %s --all", facts->shell_name);
	else if (xdp->link_id)
		preflight_fix(finding, "bpftool link detach id %u", xdp->link_id);
	else
		preflight_fix(finding, "ip link set dev %s %s off", facts->shell_name,
			      !strcmp(xdp->mode, "generic")  ? "xdpgeneric"
			      : !strcmp(xdp->mode, "native") ? "xdpdrv"
							     : "xdpoffload");
}

void preflight_judge_xdp_hook(const struct preflight_facts *facts,
			      struct preflight_finding *finding)
{
	const struct nic_xdp *xdp = &facts->nic.xdp;

	if (no_interface(facts))
		return;
	if (facts->nic.xdp_err) {
		preflight_found(finding, WARNING, "cannot ask what is attached: %s",
				strerror(-facts->nic.xdp_err));
		preflight_fix(finding, "ip -details link show dev %s", facts->shell_name);
	} else if (!xdp->prog_id) {
		preflight_found(finding, OK, "free");
	} else if (xdp->prog_id == facts->nic.own_xdp) {
		preflight_found(finding, OK, "ours, %s", xdp->mode);
	} else {
		preflight_found(finding, FAILURE, "taken by another program, %s%sid %u, %s",
				xdp->name, xdp->name[0] ? ", " : "", xdp->prog_id, xdp->mode);
		fix_foreign(facts, finding);
	}
}

void preflight_judge_zero_copy(const struct preflight_facts *facts,
			       struct preflight_finding *finding)
{
	if (no_interface(facts))
		return;
	if (!native(facts))
		preflight_found(finding, OK, "not in generic mode: packets are copied once");
	else if (facts->nic.xdp_features_err)
		preflight_found(finding, OK,
				"the kernel does not tell; attach tries it, then copies");
	else if (facts->nic.xdp_features & NIC_XDP_XSK_ZEROCOPY)
		preflight_found(finding, OK, "driver %s has it", driver_of(facts));
	else
		preflight_found(finding, OK, "not by driver %s: packets are copied once",
				driver_of(facts));
}

/* ---- offloads -------------------------------------------------------------------------------- */

static bool no_offloads(const struct preflight_facts *facts)
{
	return no_interface(facts) || facts->nic.offloads_err;
}

/* One that native XDP and the driver quarrel about. Attach decides, so none is a failure here. */
static void judge_merging(const struct preflight_facts *facts, enum nic_offload offload,
			  const char *word, struct preflight_finding *finding)
{
	const struct nic_offloads *offloads = &facts->nic.offloads;

	if (no_offloads(facts))
		return;
	if (!offloads->on[offload]) {
		preflight_found(finding, OK, "off");
		return;
	}
	preflight_found(finding, WARNING,
			native(facts) ? "on: most drivers refuse native XDP beside it"
				      : "on: merged packets are no ESP packets");
	if (offloads->fixed[offload] && native(facts))
		preflight_fix(finding, "ipsecbpf attach %s --xdp generic", facts->shell_name);
	else if (!offloads->fixed[offload])
		preflight_fix(finding, "ethtool -K %s %s off", facts->shell_name, word);
}

void preflight_judge_lro(const struct preflight_facts *facts, struct preflight_finding *finding)
{
	judge_merging(facts, NIC_OFFLOAD_LRO, "lro", finding);
}

void preflight_judge_gro_hw(const struct preflight_facts *facts, struct preflight_finding *finding)
{
	const struct nic_offloads *offloads = &facts->nic.offloads;

	if (no_offloads(facts))
		return;
	/* This one is known: it turns the offload off, or has no way to, and refuses. */
	if (native(facts) && offloads->on[NIC_OFFLOAD_GRO_HW] &&
	    !strcmp(facts->nic.nic.driver, "virtio_net")) {
		if (!offloads->fixed[NIC_OFFLOAD_GRO_HW]) {
			preflight_found(finding, OK,
					"on; driver virtio_net turns it off by itself");
			return;
		}
		preflight_found(finding, FAILURE,
				"on, and cannot be turned off here: virtio_net refuses native XDP");
		preflight_fix(finding, "ipsecbpf attach %s --xdp generic", facts->shell_name);
		return;
	}
	judge_merging(facts, NIC_OFFLOAD_GRO_HW, "rx-gro-hw", finding);
}

void preflight_judge_rx_vlan(const struct preflight_facts *facts, struct preflight_finding *finding)
{
	const struct nic_offloads *offloads = &facts->nic.offloads;

	if (no_offloads(facts))
		return;
	if (!offloads->on[NIC_OFFLOAD_RX_VLAN]) {
		preflight_found(finding, OK, "off: policy sees VLAN tags");
		return;
	}
	preflight_found(finding, WARNING,
			"on: tags are stripped; inbound policy takes all frames for untagged");
	if (!offloads->fixed[NIC_OFFLOAD_RX_VLAN])
		preflight_fix(finding, "ethtool -K %s rxvlan off", facts->shell_name);
}

void preflight_judge_gso(const struct preflight_facts *facts, struct preflight_finding *finding)
{
	const bool *on = facts->nic.offloads.on;

	if (no_offloads(facts))
		return;
	if (on[NIC_OFFLOAD_GSO] || (on[NIC_OFFLOAD_TSO4] && on[NIC_OFFLOAD_TSO6])) {
		preflight_found(finding, OK, "on: TCP comes in super-packets");
		return;
	}
	preflight_found(finding, WARNING, "off: TCP comes packet by packet, several times slower");
	preflight_fix(finding, "ethtool -K %s sg on gso on", facts->shell_name);
}

/* ---- who else is there ----------------------------------------------------------------------- */

void preflight_judge_tc_order(const struct preflight_facts *facts,
			      struct preflight_finding *finding)
{
	const struct nic_tc *tc = &facts->nic.tc;
	uint32_t own = facts->nic.own_egress;

	if (no_interface(facts))
		return;
	if (facts->nic.tc_err) {
		preflight_found(finding, WARNING, "cannot ask what is attached: %s",
				strerror(-facts->nic.tc_err));
		preflight_fix(finding, "tc filter show dev %s egress", facts->shell_name);
	} else if (tc->tcx && own && tc->tcx_count && tc->tcx_ids[0] != own) {
		preflight_found(
			finding, WARNING,
			"program %u runs before ours: what it sends or redirects, policy misses",
			tc->tcx_ids[0]);
		if (tc->tcx_link)
			preflight_fix(finding, "bpftool link detach id %u", tc->tcx_link);
		else
			preflight_fix(finding, "ipsecbpf detach %s --open && ipsecbpf attach %s",
				      facts->shell_name, facts->shell_name);
	} else if (tc->tcx) {
		preflight_found(finding, OK, "%u others on egress; ours runs before them",
				tc->tcx_count + tc->filter_count - (own != 0));
	} else if (!facts->nic.ours && tc->first_priority == 1) {
		/* Ours has priority 1: what tc gives a priority by itself comes behind it. */
		preflight_found(finding, WARNING,
				"a filter of priority 1 may run before ours: what it redirects, "
				"policy misses");
		preflight_fix(finding, "tc filter del dev %s egress prio 1", facts->shell_name);
	} else {
		preflight_found(finding, OK, "%u filters on egress; ours runs first",
				tc->filter_count);
	}
}

void preflight_judge_session(const struct preflight_facts *facts, struct preflight_finding *finding)
{
	if (no_interface(facts) || !facts->nic.session_asked)
		return;
	if (!facts->nic.session) {
		preflight_found(finding, OK, "none of yours comes in here");
		return;
	}
	preflight_found(finding, WARNING, "yours comes in here: a wrong policy would cut it off");
	preflight_fix(finding, "ipsecbpf attach %s --policy /etc/ipsecbpf/policy.json --trial 60",
		      facts->shell_name);
}
