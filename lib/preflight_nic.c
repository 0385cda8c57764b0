// SPDX-License-Identifier: BSD-2-Clause
/* Preflight: the interface, its limits, its offloads, and what else hangs on its hooks. */
#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <errno.h>
#include <linux/if_link.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "control.h"
#include "nic_features.h"
#include "pin.h"
#include "preflight.h"
#include "wire_port.h"

#define FIX_MTU "ip link set dev %s mtu 1500"

static bool check_interface(struct preflight *p)
{
	const struct nic *nic = &p->nic;
	int err = nic_read(p->ifname, &p->nic);

	if (err) {
		preflight_say(p, PREFLIGHT_FAILURE, "interface", "ip link show", "%s: %s", p->ifname,
			      err == -ENODEV ? "no such interface in this network namespace" :
					       strerror(-err));
		return false;
	}
	if (!nic->ethernet || nic->loopback) {
		preflight_say(p, PREFLIGHT_FAILURE, "interface", "ip -brief link show",
			      "%s is not an Ethernet interface", p->ifname);
		return false;
	}
	p->has_nic = true;
	if (!nic->up)
		preflight_say(p, PREFLIGHT_WARNING, "interface", "ip link set dev %s up",
			      "Ethernet, but down");
	else
		preflight_say(p, PREFLIGHT_OK, "interface", NULL, "Ethernet, up, driver %s",
			      nic->driver[0] ? nic->driver : "unknown");
	return true;
}

static void check_mtu(struct preflight *p)
{
	uint32_t most = wire_port_mtu_max(WIRE_FRAME_LARGE);
	bool fits = p->nic.mtu >= WIRE_MTU_MIN && p->nic.mtu <= most;

	preflight_say(p, fits ? PREFLIGHT_OK : PREFLIGHT_FAILURE, "mtu", fits ? NULL : FIX_MTU,
		      "%u; from %u to %u is possible", p->nic.mtu, WIRE_MTU_MIN, most);
}

static void check_queues(struct preflight *p)
{
	bool fits = p->nic.queues <= QUEUES_MAX;

	preflight_say(p, fits ? PREFLIGHT_OK : PREFLIGHT_FAILURE, "queues",
		      fits ? NULL : "ethtool -L %s combined 64", "%u; at most %u are served",
		      p->nic.queues, QUEUES_MAX);
}

/* ---- what we ourselves have there ---------------------------------------------------------- */

static bool supervisor_answers(const struct pins *pins)
{
	return !control_order(&pins->paths, CONTROL_STATUS, NULL);
}

/* Is an attachment of ours there? Its programs are then not foreign ones. */
static bool check_attachment(struct preflight *p)
{
	struct ipsecbpf_report report = { 0 };
	struct pins pins;
	bool ours;
	int err = pins_open(&pins, p->ifname, &report);

	if (err == -ENOENT)
		preflight_say(p, PREFLIGHT_OK, "attachment", NULL, "none yet");
	else if (err)
		preflight_say(p, PREFLIGHT_FAILURE, "attachment",
			      err == -EPROTO ? "ipsecbpf detach %s --open" : NULL, "%s",
			      report.count ? report.items[0].cause : strerror(-err));
	report_fini(&report);
	if (err)
		return false;
	ours = pins.attachment.ifindex == p->nic.ifindex;
	if (!ours)
		preflight_say(p, PREFLIGHT_OK, "attachment", NULL,
			      "left by an interface of this name that is gone; attach clears it away");
	else if (supervisor_answers(&pins))
		preflight_say(p, PREFLIGHT_FAILURE, "attachment",
			      "ipsecbpf policy apply %s policy.json", "already attached");
	else
		preflight_say(p, PREFLIGHT_WARNING, "attachment", "ipsecbpf attach %s",
			      "%s is in place, in %s mode; attach in the same mode takes it over",
			      pins.control->state == ATTACH_GUARD ? "a guard" :
			      "an attachment without a supervisor",
			      pins.attachment.xdp_generic ? "generic" : "native");
	pins_close(&pins);
	return ours;
}

/* ---- XDP ----------------------------------------------------------------------------------- */

static void check_xdp_driver(struct preflight *p)
{
	static const char fix[] = "ipsecbpf attach %s --xdp generic";
	const char *driver = p->nic.driver[0] ? p->nic.driver : "unknown";
	uint64_t features;
	bool copy;
	int err = nic_xdp_features(p->nic.ifindex, &features);

	if (err) {
		if (nic_driver_has_xdp(driver))
			preflight_say(p, PREFLIGHT_OK, "xdp", NULL,
				      "this kernel does not tell, but driver %s is known for native XDP",
				      driver);
		else
			preflight_say(p, PREFLIGHT_WARNING, "xdp", fix,
				      "driver %s is not known for native XDP: attach may refuse it",
				      driver);
		preflight_say(p, PREFLIGHT_OK, "zero-copy", NULL,
			      "this kernel does not tell; attach tries it, then copies");
		return;
	}
	if (!(features & NIC_XDP_BASIC) || !(features & NIC_XDP_REDIRECT)) {
		preflight_say(p, PREFLIGHT_FAILURE, "xdp", fix, "driver %s has no native XDP%s",
			      driver, features & NIC_XDP_BASIC ? " with redirection" : "");
		return;
	}
	copy = !(features & NIC_XDP_XSK_ZEROCOPY);
	preflight_say(p, PREFLIGHT_OK, "xdp", NULL, "driver %s has native XDP", driver);
	preflight_say(p, PREFLIGHT_OK, "zero-copy", NULL,
		      copy ? "not with driver %s: packets are copied once" : "driver %s has it",
		      driver);
}

static void check_xdp_free(struct preflight *p, bool ours)
{
	LIBBPF_OPTS(bpf_xdp_query_opts, query);
	int err = bpf_xdp_query((int)p->nic.ifindex, 0, &query);
	bool foreign = !err && query.attach_mode != XDP_ATTACHED_NONE && !ours;
	uint32_t id = query.prog_id ? query.prog_id :
		      query.drv_prog_id ? query.drv_prog_id : query.skb_prog_id;

	if (err)
		preflight_say(p, PREFLIGHT_WARNING, "xdp hook", "ip -details link show dev %s",
			      "cannot ask what is attached: %s", strerror(-err));
	else if (foreign)
		preflight_say(p, PREFLIGHT_FAILURE, "xdp hook", "ip link set dev %s xdp off",
			      "another XDP program is attached, id %u; end it with the tool that owns it",
			      id);
	else
		preflight_say(p, PREFLIGHT_OK, "xdp hook", NULL, ours ? "ours is attached" : "free");
}

/* ---- offloads that hide things from XDP ---------------------------------------------------- */

static void check_offloads(struct preflight *p)
{
	struct nic_offloads offloads;
	int err = nic_offloads(p->ifname, &offloads);

	if (err) {
		preflight_say(p, PREFLIGHT_OK, "offloads", NULL, "the driver has none to ask about");
		return;
	}
	if (offloads.rx_vlan)
		preflight_say(p, PREFLIGHT_WARNING, "rx-vlan-offload", "ethtool -K %s rxvlan off",
			      "on: VLAN tags are stripped before XDP, so ESP that arrives tagged loses its tag");
	else
		preflight_say(p, PREFLIGHT_OK, "rx-vlan-offload", NULL, "off");
	if (offloads.lro)
		preflight_say(p, PREFLIGHT_WARNING, "large-receive-offload", "ethtool -K %s lro off",
			      "on: native XDP and LRO exclude each other with most drivers");
	else
		preflight_say(p, PREFLIGHT_OK, "large-receive-offload", NULL, "off");
}

/* ---- tc ------------------------------------------------------------------------------------ */

/* Our program's id, 0 where there is none or it sits in a clsact filter. */
static uint32_t own_egress_id(const struct preflight *p)
{
	struct bpf_link_info info = { 0 };
	uint32_t len = sizeof(info), id = 0;
	struct paths paths;
	char path[256];
	int fd;

	if (paths_init(&paths, p->ifname))
		return 0;
	pin_link_path(&paths, HOOK_tc_egress, path, sizeof(path));
	fd = bpf_obj_get(path);
	if (fd < 0)
		return 0;
	if (!bpf_obj_get_info_by_fd(fd, &info, &len))
		id = info.prog_id;
	close(fd);
	return id;
}

static void check_tcx_order(struct preflight *p, const struct nic_tc *tc, uint32_t own)
{
	if (own && tc->tcx_count && tc->tcx_ids[0] != own)
		preflight_say(p, PREFLIGHT_WARNING, "tc programs", "bpftool net show dev %s",
			      "program id %u runs before ours on egress: what it sends or redirects, policy never sees",
			      tc->tcx_ids[0]);
	else
		preflight_say(p, PREFLIGHT_OK, "tc programs", NULL,
			      "%u others on egress; ours runs before them",
			      tc->tcx_count + tc->filter_count - (own != 0));
}

static void check_clsact_order(struct preflight *p, const struct nic_tc *tc, bool ours)
{
	/* Ours has priority 1: what tc gives a priority by itself comes behind it. */
	if (!ours && tc->first_priority == 1)
		preflight_say(p, PREFLIGHT_WARNING, "tc programs",
			      "tc filter show dev %s egress",
			      "an egress filter of priority 1 exists and may run before ours: what it sends or redirects, policy never sees");
	else
		preflight_say(p, PREFLIGHT_OK, "tc programs", NULL,
			      "%u filters on egress; ours runs first", tc->filter_count);
}

static void check_tc(struct preflight *p, bool ours)
{
	struct nic_tc tc;
	int err = nic_tc_egress(p->nic.ifindex, &tc);

	if (err) {
		preflight_say(p, PREFLIGHT_WARNING, "tc", "tc filter show dev %s egress",
			      "cannot ask what is attached: %s", strerror(-err));
		return;
	}
	preflight_say(p, PREFLIGHT_OK, "tc", NULL,
		      tc.tcx ? "tcx" : "no tcx in this kernel: clsact is used");
	if (tc.tcx)
		check_tcx_order(p, &tc, ours ? own_egress_id(p) : 0);
	else
		check_clsact_order(p, &tc, ours);
}

static void check_session(struct preflight *p)
{
	if (nic_carries_session(p->ifname))
		preflight_say(p, PREFLIGHT_WARNING, "ssh session",
			      "ipsecbpf attach %s --policy policy.json --trial 60",
			      "yours comes in here: a wrong policy would cut it off");
	else
		preflight_say(p, PREFLIGHT_OK, "ssh session", NULL, "none of yours comes in here");
}

void preflight_nic(struct preflight *p)
{
	bool ours;

	if (!check_interface(p))
		return;
	check_mtu(p);
	check_queues(p);
	ours = check_attachment(p);
	check_xdp_driver(p);
	check_xdp_free(p, ours);
	check_offloads(p);
	check_tc(p, ours);
	check_session(p);
}
