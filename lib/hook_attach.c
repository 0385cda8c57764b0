// SPDX-License-Identifier: BSD-2-Clause
#include "hook_attach.h"

#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <errno.h>
#include <linux/if_link.h>
#include <unistd.h>

/* Newer than Debian 12's headers; part of the kernel's ABI since 6.6. */
#define TCX_INGRESS  46
#define TCX_EGRESS   47
#define PLACE_BEFORE (1u << 3) /* BPF_F_BEFORE: at the head of the list */

#define CLSACT_PRIORITY 1

int hook_attach_xdp(int prog_fd, uint32_t ifindex, bool generic)
{
	DECLARE_LIBBPF_OPTS(bpf_link_create_opts, opts,
			    .flags = generic ? XDP_FLAGS_SKB_MODE : XDP_FLAGS_DRV_MODE);
	int fd = bpf_link_create(prog_fd, (int)ifindex, BPF_XDP, &opts);

	return fd < 0 ? -errno : fd;
}

int hook_attach_tcx(int prog_fd, uint32_t ifindex, bool egress)
{
	DECLARE_LIBBPF_OPTS(bpf_link_create_opts, opts, .flags = PLACE_BEFORE);
	int fd = bpf_link_create(prog_fd, (int)ifindex,
				 (enum bpf_attach_type)(egress ? TCX_EGRESS : TCX_INGRESS), &opts);

	return fd < 0 ? -errno : fd;
}

bool hook_has_tcx(int prog_fd)
{
	int fd = hook_attach_tcx(prog_fd, INT32_MAX, true);

	if (fd >= 0)
		close(fd);
	return fd == -ENODEV;
}

int hook_attach_clsact(int prog_fd, uint32_t ifindex, bool egress, uint32_t *handle,
		       uint32_t *priority)
{
	DECLARE_LIBBPF_OPTS(bpf_tc_hook, hook, .ifindex = (int)ifindex,
			    .attach_point = egress ? BPF_TC_EGRESS : BPF_TC_INGRESS);
	DECLARE_LIBBPF_OPTS(bpf_tc_opts, opts, .prog_fd = prog_fd, .priority = CLSACT_PRIORITY);
	int err;

	if (*handle) {
		opts.handle = *handle;
		opts.priority = *priority;
		opts.flags = BPF_TC_F_REPLACE;
	}
	err = bpf_tc_hook_create(&hook);
	if (err && err != -EEXIST)
		return err;
	err = bpf_tc_attach(&hook, &opts);
	if (err)
		return err;
	*handle = opts.handle;
	*priority = opts.priority;
	return 0;
}

uint32_t hook_query_clsact(uint32_t ifindex, bool egress, uint32_t handle, uint32_t priority)
{
	DECLARE_LIBBPF_OPTS(bpf_tc_hook, hook, .ifindex = (int)ifindex,
			    .attach_point = egress ? BPF_TC_EGRESS : BPF_TC_INGRESS);
	DECLARE_LIBBPF_OPTS(bpf_tc_opts, opts, .handle = handle, .priority = priority);

	return bpf_tc_query(&hook, &opts) ? 0 : opts.prog_id;
}

void hook_detach_clsact(uint32_t ifindex, bool egress, uint32_t handle, uint32_t priority)
{
	DECLARE_LIBBPF_OPTS(bpf_tc_hook, hook, .ifindex = (int)ifindex,
			    .attach_point = egress ? BPF_TC_EGRESS : BPF_TC_INGRESS);
	DECLARE_LIBBPF_OPTS(bpf_tc_opts, opts, .handle = handle, .priority = priority);

	/* The clsact qdisc stays: others may have filters there. */
	bpf_tc_detach(&hook, &opts);
}
