// SPDX-License-Identifier: GPL-2.0-only
/*
 * The datapath as one object, so that its hooks share their maps. One header per hook, below; what
 * the hooks share is in parse.h, spd.h, sad.h and stats.h.
 */
#include <stdbool.h>

#include <linux/bpf.h>
#include <linux/pkt_cls.h>

#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>

#include "xdp_ingress.h"
#include "tc_egress.h"
#include "tc_host_port.h"
#include "app_entries.h"

char LICENSE[] SEC("license") = "GPL";
