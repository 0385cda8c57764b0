// SPDX-License-Identifier: GPL-2.0-only
/*
 * Programs that do nothing, on the hooks that application policy has: what having hooks costs by itself.
 * Loaded by: app_loops.c.
 */
#include <linux/bpf.h>

#include <bpf/bpf_helpers.h>

#define ALLOW 1

#define EMPTY(name, section, context)				\
	SEC(section)						\
	int name(struct context *ctx)				\
	{							\
		(void)ctx;					\
		return ALLOW;					\
	}

EMPTY(empty_sock_create, "cgroup/sock_create", bpf_sock)
EMPTY(empty_connect4, "cgroup/connect4", bpf_sock_addr)
EMPTY(empty_post_bind4, "cgroup/post_bind4", bpf_sock)
EMPTY(empty_sendmsg4, "cgroup/sendmsg4", bpf_sock_addr)
EMPTY(empty_sock_release, "cgroup/sock_release", bpf_sock)
EMPTY(empty_sock_ops, "sockops", bpf_sock_ops)
EMPTY(empty_ingress, "cgroup_skb/ingress", __sk_buff)

char _license[] SEC("license") = "GPL";
