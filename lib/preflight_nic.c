// SPDX-License-Identifier: BSD-2-Clause
/* Preflight asks the interface: its limits, its offloads, and what hangs on its hooks. */
#include <bpf/bpf.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "control.h"
#include "pin.h"
#include "preflight.h"

/* ---- what we ourselves have there ------------------------------------------------------------ */

/* The program of a pinned link of ours; 0: there is none, as where it sits in a clsact filter. */
static uint32_t own_program(const struct paths *paths, enum hook hook)
{
	struct bpf_link_info info = { 0 };
	uint32_t len = sizeof(info), id = 0;
	char path[256];
	int fd;

	pin_link_path(paths, hook, path, sizeof(path));
	fd = bpf_obj_get(path);
	if (fd < 0)
		return 0;
	if (!bpf_obj_get_info_by_fd(fd, &info, &len))
		id = info.prog_id;
	close(fd);
	return id;
}

static enum preflight_attachment look_at_pins(const struct pins *pins, struct preflight_nic *nic)
{
	nic->ours = pins->attachment.ifindex == nic->nic.ifindex;
	nic->attachment_generic = pins->attachment.xdp_generic;
	if (!nic->ours)
		return ATTACHMENT_STALE;
	if (!control_order(&pins->paths, CONTROL_STATUS, NULL))
		return ATTACHMENT_LIVE;
	return pins->control->state == ATTACH_RUNNING ? ATTACHMENT_ORPHAN : ATTACHMENT_GUARD;
}

static void probe_attachment(const char *ifname, struct preflight_nic *nic)
{
	struct ipsecbpf_report report = { 0 };
	struct pins pins;
	int err = pins_open(&pins, ifname, &report);

	if (err == -ENOENT)
		nic->attachment = ATTACHMENT_NONE;
	else if (err)
		nic->attachment = err == -EPROTO ? ATTACHMENT_FOREIGN_ABI : ATTACHMENT_BROKEN;
	if (err)
		snprintf(nic->attachment_cause, sizeof(nic->attachment_cause), "%s",
			 report.count ? report.items[0].cause : strerror(-err));
	report_fini(&report);
	if (err)
		return;
	nic->attachment = look_at_pins(&pins, nic);
	pins_close(&pins);
}

/* ---- everything ------------------------------------------------------------------------------ */

static void probe_hooks(struct preflight_facts *facts)
{
	struct preflight_nic *nic = &facts->nic;
	struct paths paths;

	nic->xdp_err = nic_xdp_attached(nic->nic.ifindex, &nic->xdp);
	nic->tc_err = -EPERM;
	if (!PREFLIGHT_HAS(facts, NET_ADMIN))
		return;
	nic->tc_err = nic_tc_egress(nic->nic.ifindex, &nic->tc);
	if (!PREFLIGHT_HAS(facts, BPF) || paths_init(&paths, facts->ifname))
		return;
	nic->own_xdp = own_program(&paths, HOOK_xdp_ingress);
	nic->own_egress = own_program(&paths, HOOK_tc_egress);
}

void preflight_probe_nic(struct preflight_facts *facts, bool attaching)
{
	struct preflight_nic *nic = &facts->nic;
	const char *ifname = facts->ifname;
	long cpus;

	nic->err = nic_read(ifname, &nic->nic);
	if (nic->err)
		return;
	if (net_master_read(nic->nic.ifindex, nic->master))
		nic->master[0] = '\0';
	app_reach_read(ifname, nic->nic.ifindex, &nic->reach);
	cpus = sysconf(_SC_NPROCESSORS_ONLN);
	nic->cpus = cpus > 0 ? (uint32_t)cpus : 1;
	nic->channels_err = nic_channels(ifname, &nic->channels);
	nic->rss_err = nic_rss_queues(ifname, &nic->rss_queues);
	nic->xdp_features_err = nic_xdp_features(nic->nic.ifindex, &nic->xdp_features);
	nic->offloads_err = nic_offloads(ifname, &nic->offloads);
	probe_hooks(facts);
	if (attaching)
		return;
	if (facts->process.root && PREFLIGHT_HAS(facts, BPF))
		probe_attachment(ifname, nic);
	nic->session_asked = true;
	nic->session = nic_carries_session(ifname);
}
