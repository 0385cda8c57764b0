/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The socket hooks by number, between who attaches them (app_hooks.c) and who looks whether they
 * are (app_hooks_look.c). Included by: these two only.
 */
#ifndef IPSECBPF_APP_HOOKS_INTERNAL_H
#define IPSECBPF_APP_HOOKS_INTERNAL_H

#include <linux/bpf.h>

#include "app_hooks.h"

/* X(program, attach type), in the order in which they are attached: what is noted is forgotten in
 * time, and nobody is guarded before he is known. */
#define SOCKET_HOOKS(X)                                   \
	X(sock_release, BPF_CGROUP_INET_SOCK_RELEASE)     \
	X(sock_ops, BPF_CGROUP_SOCK_OPS)                  \
	X(sock_create, BPF_CGROUP_INET_SOCK_CREATE)       \
	X(sock_bind4, BPF_CGROUP_INET4_BIND)              \
	X(sock_bind6, BPF_CGROUP_INET6_BIND)              \
	X(sock_bound4, BPF_CGROUP_INET4_POST_BIND)        \
	X(sock_bound6, BPF_CGROUP_INET6_POST_BIND)        \
	X(sock_connect4, BPF_CGROUP_INET4_CONNECT)        \
	X(sock_connect6, BPF_CGROUP_INET6_CONNECT)        \
	X(sock_sendmsg4, BPF_CGROUP_UDP4_SENDMSG)         \
	X(sock_sendmsg6, BPF_CGROUP_UDP6_SENDMSG)         \
	X(sock_guard, BPF_CGROUP_INET_INGRESS)

enum socket_hook {
#define X(program, type) SOCKET_HOOK_##program,
	SOCKET_HOOKS(X)
#undef X
	SOCKET_HOOK_COUNT
};

/* Where the link of a hook is pinned. */
void app_hooks_link_path(const struct paths *paths, size_t hook, char *out, size_t out_len);

/* The pinned link of a hook, or -errno. */
int app_hooks_open_link(const struct paths *paths, size_t hook, struct bpf_link_info *ret_info);

/* A descriptor of a directory of cgroup2, and its inode, which is the kernel's number of the
 * cgroup; or -errno (-ENOTDIR: of another file system). */
int app_hooks_open_cgroup(const char *path, uint64_t *ret_id);

#endif /* IPSECBPF_APP_HOOKS_INTERNAL_H */
