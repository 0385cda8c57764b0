// SPDX-License-Identifier: BSD-2-Clause
/* What is attached, and in what state. Called by: `ipsecbpf status`. Changes nothing. */
#include <bpf/bpf.h>
#include <errno.h>
#include <net/if.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "app_hooks.h"
#include "control.h"
#include "names_store.h"
#include "pin.h"
#include "policy_store.h"
#include "policy_trial.h"
#include "stats.h"

static void read_policy(const struct pins *pins, struct ipsecbpf_status *status)
{
	uint32_t active = policy_generation(pins);
	struct spd_head head;

	if (policy_read_head(pins, active, &head))
		return;
	status->policy_serial = head.serial;
	status->rules = head.rules;
	status->applications = head.apps;
}

static void read_socket_hooks(const struct pins *pins, struct ipsecbpf_status *status)
{
	int count = app_hooks_count(pins, &status->socket_hooks_attached);

	if (status->applications || status->socket_hooks_attached)
		status->socket_hooks = count;
	memcpy(status->cgroup, pins->attachment.cgroup, sizeof(status->cgroup));
	status->cgroup_gone = *status->cgroup && app_hooks_cgroup_is_gone(pins);
}

static bool has_names(const struct pins *pins)
{
	struct policy *policy = policy_read_live(pins, NULL);
	bool has = policy && names_are_in(policy);

	policy_free(policy);
	return has;
}

static bool read_supervisor(const struct pins *pins, struct ipsecbpf_status *status)
{
	struct control_call call = { .type = CONTROL_STATUS };
	struct control_status answer;

	if (control_ask(&pins->paths, &call, NULL))
		return false;
	if (call.reply_len == sizeof(answer)) {
		memcpy(&answer, call.reply, sizeof(answer));
		status->supervisor_pid = answer.supervisor_pid;
		status->worker_pid = answer.worker_pid;
		status->worker_restarts = answer.worker_restarts;
		status->queues = answer.queues;
		status->sas_in = answer.sas_in;
		status->sas_out = answer.sas_out;
		status->mtu = answer.mtu;
		status->inner_mtu = answer.inner_mtu;
		status->trial_left = answer.trial_left;
		status->names_unwatched = answer.keeper_gone && has_names(pins);
		status->hooks_unwatched = answer.keeper_gone && status->applications;
		status->wire_mode = answer.zero_copy ? "zero-copy" : "copy";
		memcpy(status->host_port, answer.host_port, sizeof(status->host_port));
		status->busy_poll_us = answer.busy_poll_us;
		memcpy(status->engine, answer.engine, sizeof(status->engine));
	}
	free(call.reply);
	return true;
}

static const char *state_word(const struct pins *pins, bool supervised, bool has_policy)
{
	if (pins_gone(pins))
		return "gone";
	if (!supervised && pins_stale(pins))
		return "guard";
	switch (pins->control->state) {
	case ATTACH_GUARD:
		return "guard";
	case ATTACH_BLOCKED:
		return "blocked";
	case ATTACH_CLOSED:
		return "blocked";
	default:
		if (!has_policy) /* the trial of the first one ran out */
			return "blocked";
		return supervised ? "running" : "supervisor-dead";
	}
}

int ipsecbpf_status(const char *ifname, struct ipsecbpf_status *ret_status,
		    struct ipsecbpf_report *report)
{
	struct ipsecbpf_status status = { .trial_left = -1, .wire_mode = "none" };
	struct ipsecbpf_stats stats = { 0 };
	struct pins pins;
	bool supervised;
	int err;

	err = pins_open(&pins, ifname, report);
	if (err)
		return err;
	snprintf(status.ifname, sizeof(status.ifname), "%s", ifname);
	status.ifindex = pins.attachment.ifindex;
	status.mark_value = pins.attachment.mark_value;
	status.mark_mask = pins.attachment.mark_mask;
	status.xdp_mode = pins.attachment.xdp_generic ? "generic" : "native";
	status.tc_mode = pins.attachment.tcx ? "tcx" : "clsact";
	read_policy(&pins, &status);
	read_socket_hooks(&pins, &status);
	status.confirm_left = policy_trial_left(&pins);
	supervised = read_supervisor(&pins, &status);
	status.state = state_word(&pins, supervised, status.policy_serial);
	if (!stats_read(&pins, &stats))
		for (int reason = 1; reason < DROP_SLOTS; reason++)
			status.dropped += stats.drops[reason];
	pins_close(&pins);
	*ret_status = status;
	return 0;
}

/* 1, 0, or -errno: nobody may look. */
static int is_attached(const char *ifname)
{
	struct paths paths;
	char path[256];
	int fd;

	if (paths_init(&paths, ifname))
		return 0;
	pin_map_path(&paths, "control", path, sizeof(path));
	fd = bpf_obj_get(path);
	if (fd < 0)
		return errno == EPERM || errno == EACCES ? -errno : 0;
	close(fd);
	return 1;
}

static void free_names(char **names, size_t count)
{
	for (size_t i = 0; i < count; i++)
		free(names[i]);
	free(names);
}

static int list_names(const struct if_nameindex *at, char **names, size_t *count)
{
	for (; at->if_index; at++) {
		int attached = is_attached(at->if_name);

		if (attached < 0)
			return attached;
		if (!attached)
			continue;
		names[*count] = strdup(at->if_name);
		if (!names[*count])
			return -ENOMEM;
		(*count)++;
	}
	return 0;
}

int ipsecbpf_list(char ***ret_names, size_t *ret_count)
{
	struct if_nameindex *interfaces = if_nameindex();
	size_t count = 0, capacity = 1;
	char **names;
	int err;

	if (!interfaces)
		return -errno;
	for (const struct if_nameindex *at = interfaces; at->if_index; at++)
		capacity++;
	names = calloc(capacity, sizeof(*names));
	err = names ? list_names(interfaces, names, &count) : -ENOMEM;
	if_freenameindex(interfaces);
	if (err) {
		free_names(names, count);
		return err;
	}
	*ret_names = names;
	*ret_count = count;
	return 0;
}
