// SPDX-License-Identifier: BSD-2-Clause
/*
 * attach, detach and confirm. The order of attaching is chosen so that traffic is undisturbed until
 * everything works: host port, programs loaded, policy and worker in place, SAs, and only then the
 * hooks on the NIC. A failure before that leaves nothing.
 */
#include <bpf/bpf.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "app_hooks.h"
#include "app_identity.h"
#include "app_reach.h"
#include "app_scan.h"
#include "control.h"
#include "host_port.h"
#include "ipsecbpf.h"
#include "loader.h"
#include "names_store.h"
#include "names_watch.h"
#include "nic.h"
#include "policy_apply.h"
#include "policy_keep.h"
#include "policy_nic.h"
#include "policy_store.h"
#include "policy_trial.h"
#include "preflight.h"
#include "sa_apply.h"
#include "supervisor.h"
#include "wire_port.h"

#define HOST_PORT_TRIES	   20
#define HOST_PORT_PAUSE_NS 50000000

struct attach {
	const char *ifname;
	const struct ipsecbpf_attach_opts *opts;
	struct ipsecbpf_report *report;
	struct paths paths;
	struct nic nic;
	uint32_t frame_size;
	struct policy *policy; /* NULL: start blocked */
	bool over_guard;       /* hooks of an earlier attachment are in place */
	int commit_fd;	       /* tells the supervisor that we have finished */
	char cgroup[ATTACH_CGROUP_LEN]; /* for the socket hooks; "": there is no cgroup2 */
	struct host_port host;
	struct loader loader;
	struct pins pins;
};

/* ---- before anything is touched -------------------------------------------------------------- */

/* What preflight calls a failure is refused, in its words. */
static int check_all(struct attach *attach)
{
	const struct ipsecbpf_attach_opts *opts = attach->opts;
	const struct ipsecbpf_preflight_opts wanted = {
		.sz = sizeof(wanted),
		.xdp_mode = opts->xdp_mode,
		.mark_value = opts->mark_value,
		.mark_mask = opts->mark_mask,
	};
	int err = preflight_refuse(attach->ifname, &wanted, attach->report);

	if (!err)
		err = nic_read(attach->ifname, &attach->nic);
	if (err)
		return err;
	attach->frame_size = attach->nic.mtu <= wire_port_mtu_max(WIRE_FRAME_SMALL) ?
			     WIRE_FRAME_SMALL : WIRE_FRAME_LARGE;
	return 0;
}

/* Would this cut off the session it was typed in? Without a policy all but essential traffic stops.
 */
static int check_session(struct attach *attach)
{
	if (attach->policy || attach->opts->force || attach->opts->trial_seconds ||
	    !nic_carries_session(attach->ifname))
		return 0;
	report_error(
		attach->report, attach->ifname,
		"give --policy FILE, or --trial SECONDS to have it undone by itself, or --force",
		"your ssh session comes in here, and without a policy everything but ARP, ND, DHCP "
		"and IKE is dropped");
	return -EPERM;
}

/*
 * Where none was given: the last one that was good on this interface, which is what was in force
 * before the host restarted; where nothing is known of it, the host's.
 */
static const char *default_policy(const struct attach *attach, char kept[256])
{
	bool host_has_one = !access(IPSECBPF_DEFAULT_POLICY, F_OK);

	if (!policy_keep_path(attach->ifname, kept, 256) && !access(kept, F_OK)) {
		report_add(attach->report, REPORT_NOTE, attach->ifname,
			   host_has_one ? "--policy " IPSECBPF_DEFAULT_POLICY " loads that one"
					: NULL,
			   "loading its last good policy, %s", kept);
		return kept;
	}
	if (!host_has_one)
		return NULL;
	report_add(attach->report, REPORT_NOTE, attach->ifname, NULL,
		   "loading " IPSECBPF_DEFAULT_POLICY);
	return IPSECBPF_DEFAULT_POLICY;
}

/* Where the socket hooks of a policy that names applications will go: one that names none needs no
 * cgroup2. */
static int find_cgroup(struct attach *attach)
{
	const char *wanted = attach->opts->cgroup;
	struct ipsecbpf_report quiet = { 0 };
	int err;

	if (wanted)
		return app_hooks_check_cgroup(wanted, attach->cgroup, sizeof(attach->cgroup),
					      attach->report);
	err = app_cgroup_mount(attach->cgroup, sizeof(attach->cgroup), &quiet);
	if (err)
		attach->cgroup[0] = '\0';
	report_fini(&quiet);
	return 0;
}

static int load_files(struct attach *attach)
{
	const char *policy_path = attach->opts->policy_path;
	char kept[256];
	int err = 0;

	if (!policy_path)
		policy_path = default_policy(attach, kept);
	if (policy_path) {
		attach->policy = policy_load(policy_path, attach->report);
		err = attach->policy ? 0 : -errno;
	}
	if (!err && attach->policy)
		err = names_prepare(attach->ifname, attach->policy, attach->report);
	if (err && policy_path == kept)
		report_add(attach->report, REPORT_NOTE, attach->ifname,
			   "attach with --policy FILE, or remove the kept file",
			   "its last good policy cannot be loaded, and nothing is attached");
	return err;
}

/* The policy is in force and there to stay: the next attach begins with it. */
static void keep_policy(const struct pins *pins, struct ipsecbpf_report *report)
{
	struct ipsecbpf_report causes = { 0 };
	struct policy_keeping keeping;

	if (!policy_keep_live(pins, &keeping, &causes))
		policy_keep_commit(&keeping, report);
	for (size_t i = 0; i < causes.count; i++)
		report_warning(report, causes.items[i].object, causes.items[i].next, "%s",
			       causes.items[i].cause);
	report_fini(&causes);
}

/* A trial ends in how it was before. The guard's policy is gone then: it could only end in another. */
static int check_trial(const struct attach *attach)
{
	if (!attach->over_guard || !attach->opts->trial_seconds)
		return 0;
	report_error(attach->report, attach->ifname,
		     "attach without --trial, or ipsecbpf detach --open it first",
		     "a guard is in place: a trial could not end in what it guards now");
	return -EBUSY;
}

/* Attached already? A guard, or an attachment whose supervisor is gone, may be taken over. */
static int check_free(struct attach *attach)
{
	struct ipsecbpf_report quiet = { 0 };
	struct attachment old;
	struct pins pins;
	bool gone;
	int err;

	err = pins_open(&pins, attach->ifname, &quiet);
	report_fini(&quiet);
	attach->over_guard = pins_have_links(&attach->paths);
	if (err == -ENOENT || err == -EPROTO)
		return check_trial(attach);
	if (err)
		return err;
	old = pins.attachment;
	gone = pins_gone(&pins);
	err = control_order(&pins.paths, gone ? CONTROL_STOP : CONTROL_STATUS, NULL);
	pins_close(&pins);
	if (old.ifindex != attach->nic.ifindex) {
		/* The interface was made anew: the old links are attached to nothing. */
		pins_remove(&attach->paths);
		attach->over_guard = false;
		return 0;
	}
	if (!gone && !err) {
		report_error(attach->report, attach->ifname,
			     "ipsecbpf policy apply changes its policy; ipsecbpf detach ends it",
			     "already attached");
		return -EEXIST;
	}
	if (old.xdp_generic != (attach->opts->xdp_mode == XDP_MODE_GENERIC)) {
		report_error(attach->report, attach->ifname,
			     "attach in the same mode, or ipsecbpf detach --open first",
			     "a guard is in place in %s mode",
			     old.xdp_generic ? "generic" : "native");
		return -EBUSY;
	}
	return check_trial(attach);
}

/* ---- steps ----------------------------------------------------------------------------------- */

static int create_host_port(struct attach *attach)
{
	const struct timespec pause = { .tv_nsec = HOST_PORT_PAUSE_NS };
	char name[IF_NAMESIZE];
	int err;

	snprintf(name, sizeof(name), "ipsec%u", attach->nic.ifindex);
	err = host_port_create(&attach->host, name);
	/* The worker of a supervisor that was killed may take a moment to go, and its port with it.
	 */
	for (int i = 0; err == -EBUSY && i < HOST_PORT_TRIES; i++) {
		nanosleep(&pause, NULL);
		err = host_port_create(&attach->host, name);
	}
	if (err)
		report_error(attach->report, name, "is /dev/net/tun there, and the name free?",
			     "cannot create the host port: %s", strerror(-err));
	return err;
}

static int load_programs(struct attach *attach)
{
	const struct ipsecbpf_attach_opts *opts = attach->opts;
	struct loader_config config = {
		.ifname = attach->ifname,
		.ifindex = attach->nic.ifindex,
		.host_ifindex = attach->host.ifindex,
		.mark_value = opts->mark_mask ? opts->mark_value : IPSECBPF_MARK_VALUE,
		.mark_mask = opts->mark_mask ? opts->mark_mask : IPSECBPF_MARK_MASK,
		.sa_slots = (opts->sa_slots ? opts->sa_slots : SA_SLOTS_DEFAULT) + 1,	/* 0 is none */
		.xdp_generic = opts->xdp_mode == XDP_MODE_GENERIC,
		.cgroup = attach->cgroup,
	};
	int err;

	memcpy(config.nic_mac, attach->nic.mac, sizeof(config.nic_mac));
	err = loader_init(&attach->loader, &config, attach->report);
	if (err)
		return err;
	err = loader_pins(&attach->loader, &attach->pins);
	if (err)
		loader_fini(&attach->loader);
	return err;
}

static uint32_t busy_poll_us(const struct ipsecbpf_attach_opts *opts)
{
	if (opts->busy_poll_us < 0)
		return 0;
	return opts->busy_poll_us ? (uint32_t)opts->busy_poll_us : BUSY_POLL_US_DEFAULT;
}

static int start_supervisor(struct attach *attach)
{
	struct supervisor_config config = {
		.pins = &attach->pins,
		.host = &attach->host,
		.ifname = attach->ifname,
		.engine = attach->opts->engine,
		.queues = attach->nic.queues,
		.mtu = attach->nic.mtu,
		.frame_size = attach->frame_size,
		.busy_poll_us = busy_poll_us(attach->opts),
		.trial_seconds = attach->opts->trial_seconds,
		.over_guard = attach->over_guard,
	};
	int err;

	memcpy(config.nic_mac, attach->nic.mac, sizeof(config.nic_mac));
	err = supervisor_start(&config, &attach->commit_fd, attach->report);
	if (err)
		return err;
	/* Waits until it is up: the answer comes from its loop. */
	return control_order(&attach->paths, CONTROL_STATUS, attach->report);
}

/* Those of a guard stay as long as the NIC's hooks have its maps. -1: the policy needs none. */
static int stage_socket_hooks(struct attach *attach, int *ret_stage)
{
	int stage;

	*ret_stage = -1;
	if (!attach->policy || !attach->policy->application_count)
		return 0;
	stage = app_hooks_stage(&attach->pins, attach->report);
	if (stage < 0)
		return stage;
	*ret_stage = stage;
	return app_scan_note_live(&attach->pins, attach->report);
}

/* The guard's socket hooks go when nobody asks its maps whose a packet is that leaves; until then ours
 * may go without anybody missing them. */
static void settle_socket_hooks(struct attach *attach, int stage)
{
	const struct paths *paths = &attach->paths;

	if (!loader_is_attached(&attach->loader, HOOK_tc_egress))
		app_hooks_abandon(paths, stage);
	else if (stage < 0)
		app_hooks_remove(paths);
	else
		app_hooks_commit(paths, stage);
}

static int attach_hooks(struct attach *attach)
{
	int err = loader_pin_maps(&attach->loader, attach->report), stage = -1;

	if (!err)
		err = stage_socket_hooks(attach, &stage);
	for (int hook = 0; !err && hook < HOOK_COUNT; hook++)
		err = loader_attach(&attach->loader, (enum hook)hook, attach->report);
	settle_socket_hooks(attach, stage);
	if (!err)
		err = loader_pin_links(&attach->loader, attach->report);
	if (!err && supervisor_commit(attach->commit_fd))
		err = -EPIPE;
	if (!err)
		return 0;
	pins_guard(&attach->pins);
	loader_undo(&attach->loader, attach->over_guard);
	return err;
}

static int apply_files(struct attach *attach)
{
	const struct policy_install_opts for_good = { .attaching = true };
	struct ipsecbpf_apply_result applied;

	if (!attach->policy)
		return 0;
	policy_warn_nic(attach->policy, attach->ifname, attach->report);
	app_reach_warn(&attach->pins, attach->policy, attach->report);
	return policy_install(&attach->pins, attach->ifname, attach->policy, &for_good, &applied,
			      attach->report);
}

/* Read only now, after the supervisor was forked: no key may be in memory that it inherits. */
static int apply_sas(struct attach *attach)
{
	struct ipsecbpf_sa_result result;
	struct sa_file *file;
	int err;

	if (!attach->opts->sa_path)
		return 0;
	file = sa_file_load(attach->opts->sa_path, attach->report);
	if (!file)
		return -errno;
	err = sa_install(&attach->pins, file, attach->opts->fresh ? SA_APPLY_FRESH : 0, &result,
			 attach->report);
	sa_file_free(file);
	return err;
}

static int build(struct attach *attach)
{
	int err;

	err = create_host_port(attach);
	if (err)
		return err;
	err = load_programs(attach);
	if (err)
		goto close_host;
	err = apply_files(attach);
	if (err)
		goto unload;
	err = start_supervisor(attach);
	if (!err)
		err = apply_sas(attach);
	if (!err)
		err = attach_hooks(attach);
	if (err)
		control_order(&attach->paths, CONTROL_STOP, NULL);
	else if (attach->policy && !attach->opts->trial_seconds)
		keep_policy(&attach->pins, attach->report);
	if (!err && attach->policy && names_are_in(attach->policy))
		policy_watch_names(&attach->pins, attach->report);
	if (attach->commit_fd >= 0)
		close(attach->commit_fd);
unload:
	pins_close(&attach->pins);
	loader_fini(&attach->loader);
close_host:
	host_port_close(&attach->host); /* the supervisor has its own descriptor */
	return err;
}

int ipsecbpf_attach(const char *ifname, const struct ipsecbpf_attach_opts *opts,
		    struct ipsecbpf_report *report)
{
	struct attach attach = {
		.ifname = ifname,
		.opts = opts,
		.report = report,
		.commit_fd = -1,
	};
	int err, lock = -1;

	err = paths_init(&attach.paths, ifname);
	if (err) {
		report_error(report, ifname, "ip link shows the names", "not an interface name");
		return err;
	}
	err = check_all(&attach);
	if (!err)
		err = load_files(&attach);
	if (!err)
		err = check_session(&attach);
	if (!err)
		err = find_cgroup(&attach);
	if (!err)
		err = lock = pins_lock(&attach.paths, report);
	if (lock >= 0) {
		err = check_free(&attach);
		if (!err)
			err = build(&attach);
		pins_unlock(&attach.paths, lock);
	}
	policy_free(attach.policy);
	return err < 0 ? err : 0;
}

/* ---- detach, confirm ------------------------------------------------------------------------- */

/* Where no supervisor is left to do it: no SA may stay published. */
static void withdraw_all_sas(const struct pins *pins)
{
	const struct sa_slot unused = { 0 };
	const struct out_sa none = { 0 };
	struct sad_key key;

	while (!bpf_map_get_next_key(pins->sad_fd, NULL, &key))
		if (bpf_map_delete_elem(pins->sad_fd, &key))
			break;
	for (uint32_t i = 0; i < PROTECT_MAX * FAMILY_COUNT; i++)
		bpf_map_update_elem(pins->out_sa_fd, &i, &none, 0);
	for (uint32_t slot = 1; slot < pins->attachment.sa_slots; slot++)
		bpf_map_update_elem(pins->sa_slots_fd, &slot, &unused, 0);
}

/* Hooks whose maps cannot be opened any more, or speak another ABI. 0, or -ENOENT if there are none. */
static int remove_remains(const char *ifname)
{
	struct paths paths;
	int lock;

	if (paths_init(&paths, ifname) || !pins_have_links(&paths))
		return -ENOENT;
	lock = pins_lock(&paths, NULL);
	if (lock < 0)
		return lock;
	control_order(&paths, CONTROL_STOP, NULL);
	pins_remove(&paths);
	pins_unlock(&paths, lock);
	return 0;
}

int ipsecbpf_detach(const char *ifname, bool open, struct ipsecbpf_report *report)
{
	struct pins pins;
	char looks[256];
	int err, lock = pins_open_locked(&pins, ifname, report);

	if (lock < 0)
		return open && !remove_remains(ifname) ? 0 : lock;
	err = open ? 0 : pins_check_nic(&pins, report);
	if (err)
		goto out;
	if (!open)
		pins_guard(&pins);
	if (control_order(&pins.paths, CONTROL_STOP, NULL))
		withdraw_all_sas(&pins);
	if (open) {
		loader_detach_clsact(&pins.attachment);
		names_look_path(&pins.paths, looks);
		unlink(looks);
		pins_remove(&pins.paths);
	}
out:
	pins_close_locked(&pins, lock);
	return err;
}

int ipsecbpf_confirm(const char *ifname, struct ipsecbpf_report *report)
{
	struct pins pins;
	int err, lock;

	err = pins_open(&pins, ifname, report);
	if (err)
		return err;
	err = control_order(&pins.paths, CONTROL_CONFIRM, report);
	pins_close(&pins);
	if (err)
		return err;
	lock = pins_open_locked(&pins, ifname, report);
	if (lock < 0)
		return 0;
	/* A policy that is still on trial by itself is kept when that is confirmed. */
	if (policy_trial_left(&pins) < 0)
		keep_policy(&pins, report);
	pins_close_locked(&pins, lock);
	return 0;
}
