// SPDX-License-Identifier: GPL-2.0-only
/*
 * Which application a socket belongs to: hooks of a cgroup, as an object of their own. It needs BTF
 * of the kernel, which the datapath (ipsecbpf.bpf.c) does not; its maps are the datapath's, shared.
 */
#include <stdbool.h>

#include <linux/bpf.h>
#include <linux/pkt_cls.h>

#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>

#include "sock_hooks.h"
#include "sock_ops.h"
#include "sock_guard.h"

char LICENSE[] SEC("license") = "GPL";
