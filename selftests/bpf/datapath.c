// SPDX-License-Identifier: BSD-2-Clause
#include "datapath.h"

#include <bpf/bpf.h>
#include <errno.h>
#include <linux/if_xdp.h>
#include <net/if.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "lib/build_skeleton.h"
#include "lib/policy_apply.h"

const uint8_t datapath_mac[6] = { 0x02, 0, 0, 0, 0, 0x01 };

int datapath_isolate(void)
{
	struct ifreq request = { .ifr_name = DATAPATH_IFNAME, .ifr_flags = IFF_UP };
	int err = 0, fd;

	if (unshare(CLONE_NEWNET))
		return -errno;
	fd = socket(AF_INET, SOCK_DGRAM, 0);
	if (fd < 0 || ioctl(fd, SIOCSIFFLAGS, &request))
		err = -errno;
	if (fd >= 0)
		close(fd);
	return err;
}

static void print_report(struct ipsecbpf_report *report)
{
	for (size_t i = 0; i < report->count; i++)
		fprintf(stderr, "%s: %s\n", report->items[i].object, report->items[i].cause);
	report_fini(report);
}

int datapath_open(struct datapath *datapath, const struct datapath_opts *opts)
{
	struct loader_config config = {
		.ifname = DATAPATH_IFNAME,
		.ifindex = if_nametoindex(DATAPATH_IFNAME),
		.host_ifindex = if_nametoindex(DATAPATH_IFNAME),
		.mark_value = opts->mark_value,
		.mark_mask = opts->mark_mask,
		.sa_slots = 64,
		.xdp_generic = opts->generic,
		.explaining = opts->explaining,
		.live = opts->live,
	};
	struct ipsecbpf_report report = { 0 };
	int err;

	datapath->socket = -1;
	memcpy(config.nic_mac, datapath_mac, sizeof(config.nic_mac));
	err = loader_init(&datapath->loader, &config, &report);
	if (!err)
		err = loader_pins(&datapath->loader, &datapath->pins);
	print_report(&report);
	return err;
}

void datapath_close(struct datapath *datapath)
{
	if (datapath->socket >= 0)
		close(datapath->socket);
	pins_close(&datapath->pins);
	loader_fini(&datapath->loader);
}

int datapath_apply(struct datapath *datapath, const struct policy *policy, uint32_t trial_seconds)
{
	struct ipsecbpf_report report = { 0 };
	const struct policy_install_opts opts = { .trial_seconds = trial_seconds };
	struct ipsecbpf_apply_result result;
	int err = policy_install(&datapath->pins, DATAPATH_POLICY_IFNAME, policy, &opts, &result,
				 &report);

	if (err)
		print_report(&report);
	report_fini(&report);
	return err;
}

int datapath_listen(struct datapath *datapath, bool on)
{
	const int entries = 64;
	uint32_t queue = 0;

	if (on == (datapath->socket >= 0))
		return 0;
	if (!on) {
		bpf_map_delete_elem(datapath->pins.xsks_fd, &queue);
		close(datapath->socket);
		datapath->socket = -1;
		return 0;
	}
	datapath->socket = socket(AF_XDP, SOCK_RAW | SOCK_CLOEXEC, 0);
	if (datapath->socket < 0 ||
	    setsockopt(datapath->socket, SOL_XDP, XDP_RX_RING, &entries, sizeof(entries)) ||
	    bpf_map_update_elem(datapath->pins.xsks_fd, &queue, &datapath->socket, 0))
		return -errno;
	return 0;
}

static int shoot_xdp(int fd, struct shot *shot)
{
	LIBBPF_OPTS(bpf_test_run_opts, opts, .data_in = shot->data, .data_size_in = shot->len,
		    .data_out = shot->out, .data_size_out = sizeof(shot->out),
		    .repeat = shot->repeat ? (int)shot->repeat : 1);

	if (bpf_prog_test_run_opts(fd, &opts))
		return -errno;
	shot->verdict = opts.retval;
	shot->out_len = opts.data_size_out;
	shot->mark_after = shot->mark;
	return 0;
}

static int shoot_tc(int fd, struct shot *shot)
{
	struct __sk_buff before = { .mark = shot->mark, .ingress_ifindex = shot->ingress_ifindex };
	struct __sk_buff after = { 0 };
	LIBBPF_OPTS(bpf_test_run_opts, opts, .data_in = shot->data, .data_size_in = shot->len,
		    .data_out = shot->out, .data_size_out = sizeof(shot->out), .ctx_in = &before,
		    .ctx_size_in = sizeof(before), .ctx_out = &after, .ctx_size_out = sizeof(after),
		    .repeat = shot->repeat ? (int)shot->repeat : 1);

	if (bpf_prog_test_run_opts(fd, &opts))
		return -errno;
	shot->verdict = opts.retval;
	shot->out_len = opts.data_size_out;
	shot->mark_after = after.mark;
	return 0;
}

int datapath_shoot(const struct datapath *datapath, enum hook hook, struct shot *shot)
{
	const struct ipsecbpf_bpf *object = datapath->loader.object;

	if (hook == HOOK_xdp_ingress)
		return shoot_xdp(bpf_program__fd(object->progs.xdp_ingress), shot);
	if (hook == HOOK_tc_egress)
		return shoot_tc(bpf_program__fd(object->progs.tc_egress), shot);
	return shoot_tc(bpf_program__fd(object->progs.tc_host_port), shot);
}

void datapath_secret(const struct datapath *datapath, uint8_t out[6])
{
	for (int i = 0; i < 6; i++)
		out[i] = datapath->loader.object->rodata->reentry_mac[i];
}

int datapath_note(const struct datapath *datapath, struct packet_verdict *ret_note)
{
	uint32_t zero = 0;

	return bpf_map_lookup_elem(bpf_map__fd(datapath->loader.object->maps.verdicts), &zero,
				   ret_note) ? -errno : 0;
}
