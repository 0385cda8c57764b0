/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Every map, once. All are pinned under /sys/fs/bpf/ipsecbpf/<dir>/maps/ by lib/loader.c.
 * Included by: ipsecbpf.bpf.c and, through it, every step. Sizes marked * are set at load.
 */
#ifndef IPSECBPF_MAPS_H
#define IPSECBPF_MAPS_H

#include "abi.h"
#include "spd_cell.h"

/* State of the attachment and the active generation.
 * key 0 -> struct control. Written by attach, policy apply and confirm, detach, monitor, each its own
 * field and through a mapping, so that one store never undoes another. Read by every hook. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(map_flags, BPF_F_MMAPABLE);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct control);
} control SEC(".maps");

/* How this attachment was made. Written by attach; read by the command line. No hook reads it. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct attachment);
} attachment SEC(".maps");

/* Compiled policies, one per generation. generation -> array of the snapshot's chunks (spd_cell.h),
 * frozen. Written (the spare one) by policy apply; the kernel frees the old one after a grace period.
 * Read by every hook. The inner map here is only the template of those. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY_OF_MAPS);
	__uint(max_entries, 2);
	__type(key, __u32);
	__array(values, struct {
		__uint(type, BPF_MAP_TYPE_ARRAY);
		__uint(map_flags, BPF_F_INNER_MAP | BPF_F_MMAPABLE);
		__uint(max_entries, 1);
		__uint(key_size, sizeof(__u32));
		__uint(value_size, SPD_CHUNK_SIZE);
	});
} spd SEC(".maps");

/* What each rule decided, one per generation. generation -> array of RULE_COUNT_INDEX(). Created with
 * the generation by policy apply, which also writes the row of what is carried over; the hooks count
 * in the row of their CPU. Read by stats and metrics. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY_OF_MAPS);
	__uint(max_entries, 2);
	__type(key, __u32);
	__array(values, struct {
		__uint(type, BPF_MAP_TYPE_ARRAY);
		__uint(map_flags, BPF_F_INNER_MAP | BPF_F_MMAPABLE);
		__uint(max_entries, 1);
		__uint(key_size, sizeof(__u32));
		__uint(value_size, sizeof(struct rule_count));
	});
} rule_counts SEC(".maps");

/* Verdicts of flows, a set of FLOW_WAYS where a flow's hash points to; each CPU has its own sets, one
 * behind the other, and writes no other's. Written and read by flow_cache.h. * */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(map_flags, BPF_F_MMAPABLE);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct flow_set);
} flow_cache SEC(".maps");

/* Canonical JSON of each generation, and behind it where its rules were written (lib/policy_source.h).
 * generation -> map of POLICY_TEXT_CHUNK octets per element.
 * Written by policy apply, read by policy show and diff; no hook reads it. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY_OF_MAPS);
	__uint(max_entries, 2);
	__type(key, __u32);
	__array(values, struct {
		__uint(type, BPF_MAP_TYPE_ARRAY);
		__uint(map_flags, BPF_F_INNER_MAP | BPF_F_MMAPABLE);
		__uint(max_entries, 1);
		__uint(key_size, sizeof(__u32));
		__uint(value_size, POLICY_TEXT_CHUNK);
	});
} policy_text SEC(".maps");

/* Names -> protect ids, of both generations, and PROTECTION_HAD_SA. Written (the spare one's) by
 * policy apply; read by sa apply. No hook reads it. */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 3 * PROTECT_MAX);
	__type(key, struct protection_key);
	__type(value, struct protection_val);
} protections SEC(".maps");

/* Protect id -> not 0 once an SA served it: see abi.h. Written by the supervisor, read by the hooks. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(map_flags, BPF_F_MMAPABLE);
	__uint(max_entries, PROTECT_MAX);
	__type(key, __u32);
	__type(value, __u32);
} had_sa SEC(".maps");

/* ---- applications: whose is a packet? (app.h; the socket hooks, ipsecbpf_sockets.bpf.c) ---- */

/* Who made a socket. Written by the socket hooks and, of sockets older than those, by user space
 * (lib/app_scan.h); read by tc_egress and the guard. Goes with the socket. */
struct {
	__uint(type, BPF_MAP_TYPE_SK_STORAGE);
	__uint(map_flags, BPF_F_NO_PREALLOC | BPF_F_CLONE);
	__type(key, int);
	__type(value, struct app_socket);
} app_sockets SEC(".maps");

/* Where a datagram socket sent in the clear under an optional protection. Written by tc_egress, read by
 * the guard. Goes with the socket. */
struct {
	__uint(type, BPF_MAP_TYPE_SK_STORAGE);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, int);
	__type(value, struct app_asked);
} app_asked SEC(".maps");

/* Connections of applications, and where theirs are spoken to. Written by the socket hooks, tc_egress
 * and lib/app_scan.h, gone with their sockets; read by all hooks. */
struct app_endpoint {
	struct app_identity who;
	__u64 resolved;
	struct bpf_spin_lock lock;	/* of the two below */
	__u32 sockets;			/* that share it */
	__u32 dying;			/* the last has gone, it is about to be deleted */
	struct app_endpoint_key key;	/* again: elements are used anew while they are read */
	__u64 charged;			/* app_usage key of whom it counts as */
};
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__uint(max_entries, APP_FLOWS_MAX);
	__type(key, struct app_flow_key);
	__type(value, struct app_flow);
} app_flows SEC(".maps");
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__uint(max_entries, APP_ENDPOINTS_MAX);
	__type(key, struct app_endpoint_key);
	__type(value, struct app_endpoint);
} app_endpoints SEC(".maps");

/* Connections whose socket is gone or in TIME_WAIT, and exchanges without connections, as ICMP echo: for
 * APP_CLOSED_NS; the oldest gives way. Two maps, as anybody can have as many exchanges as they like.
 * Written by the socket hooks and, exchanges, by tc_egress; read by all hooks. */
struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, 65536);
	__type(key, struct app_flow_key);
	__type(value, struct app_flow);
} app_closed SEC(".maps");
struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, 16384);
	__type(key, struct app_flow_key);
	__type(value, struct app_flow);
} app_exchanges SEC(".maps");

/* spd_app.name_digest -> connections noted; ^ APP_USAGE_ENDPOINTS -> endpoints. Written where they
 * are noted; rows of applications that no policy names any more are taken away by lib/app_usage.h. */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__uint(max_entries, 4 * APPS_MAX);
	__type(key, __u64);
	__type(value, __u64);
} app_usage SEC(".maps");

/* Application -> clear text accepted under an optional protection in this slice of time: the slice,
 * with whose it is, << 32 | packets; one word, so that a new slice begins at once. Written and read by
 * xdp_ingress and the guard (optional_within_rate()). */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, APPS_MAX + 1);
	__type(key, __u32);
	__type(value, __u64);
} optional_budgets SEC(".maps");

/* SAs of both directions by (destination, protocol, SPI). Written by the supervisor, read by
 * xdp_ingress. * */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, SA_SLOTS_DEFAULT);
	__type(key, struct sad_key);
	__type(value, struct sad_entry);
} sad SEC(".maps");

/* (source, destination, protocol) -> how many inbound SAs. Written by the supervisor, read by
 * xdp_ingress for fragments. * */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, SA_SLOTS_DEFAULT);
	__type(key, struct sad_peer);
	__type(value, __u32);
} sad_peers SEC(".maps");

/* ESP in UDP that arrives in fragments, by what its fragments share: only the first names the SA, and
 * the others follow it to the worker, for as long as that waits. Written and read by xdp_ingress; the
 * oldest gives way. Value: CLOCK_MONOTONIC ns at which the first came. */
struct udp_fragment {
	union wire_addr src, dst;
	__be32 id;
	__u32 family;
};
struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, 4096);
	__type(key, struct udp_fragment);
	__type(value, __u64);
} udp_fragments SEC(".maps");

/* What policy said of a packet's first fragment, for the others. Written and read by the tc hooks and,
 * of clear text, by xdp_ingress (tc_fragments.h); the oldest gives way. */
struct fragment_packet {
	union wire_addr src, dst;
	__be32 id;
	__u8 proto;
	__u8 family;
	__u16 way;		/* enum spd_way, or FRAGMENT_WAY_CLEAR */
	__u32 app;		/* of the socket that sends it; 0: of none, or not known by its socket */
	__u32 pad;
};
struct spd_verdict {
	__u32 rule;
	__u32 protect_id;
	__u8 action;		/* enum spd_action */
	__u8 essential;		/* bypass because the traffic is essential */
	__u8 level;		/* enum spd_level, if action is SPD_PROTECT */
	__u8 pad;
	__u32 serial;		/* of the policy that said it */
};
struct fragment_verdict {
	struct fragment_packet packet;	/* the key again: elements are used anew while they are read */
	__u64 ns;		/* CLOCK_MONOTONIC at which the first came */
	struct spd_verdict verdict;
};
struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, 4096);
	__type(key, struct fragment_packet);
	__type(value, struct fragment_verdict);
} fragment_verdicts SEC(".maps");

/* This host's addresses. Written by the supervisor, as the kernel tells it; read by xdp_ingress and,
 * for forwarded packets, tc_egress. */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, OWN_ADDRESSES_MAX);
	__type(key, struct own_address);
	__type(value, __u8);
} own_addresses SEC(".maps");

/* OUT_SA(protect id, family) -> the outbound SA in use. Written by the supervisor, read by
 * tc_egress; mapped by the worker. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(map_flags, BPF_F_MMAPABLE);
	__uint(max_entries, PROTECT_MAX * FAMILY_COUNT);
	__type(key, __u32);
	__type(value, struct out_sa);
} out_sa SEC(".maps");

/* Slot -> what a decrypted packet's SA stands for. Written by the supervisor, read by tc_host_port.
 * * */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, SA_SLOTS_DEFAULT);
	__type(key, __u32);
	__type(value, struct sa_slot);
} sa_slots SEC(".maps");

/* Slot -> run-time state; mapped by worker and supervisor. Read by xdp_ingress. * */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(map_flags, BPF_F_MMAPABLE);
	__uint(max_entries, SA_SLOTS_DEFAULT);
	__type(key, __u32);
	__type(value, struct sa_state);
} sa_state SEC(".maps");

/* The worker's counters; mapped by the worker. No hook reads it. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(map_flags, BPF_F_MMAPABLE);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct worker_stats);
} worker_stats SEC(".maps");

/* Queue -> AF_XDP socket. Written by the supervisor (lib/wire_port.c), read by xdp_ingress. */
struct {
	__uint(type, BPF_MAP_TYPE_XSKMAP);
	__uint(max_entries, QUEUES_MAX);
	__type(key, __u32);
	__type(value, __u32);
} xsks SEC(".maps");

/* enum drop_reason -> packets. Written by drop() only. */
struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, DROP_SLOTS);
	__type(key, __u32);
	__type(value, __u64);
} drops SEC(".maps");

/* enum pass_counter -> packets. Written by count() only. */
struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, PASS_SLOTS);
	__type(key, __u32);
	__type(value, __u64);
} passes SEC(".maps");

/* Drop events for `ipsecbpf monitor`: only while one watches, rate limited. Written by drop(). */
struct {
	__uint(type, BPF_MAP_TYPE_RINGBUF);
	__uint(max_entries, 256 * 1024);
} events SEC(".maps");

/* Rate limit of `events`. Written and read by drop() only. */
struct event_budget {
	__u64 window;		/* index of the time slice counted in `used` */
	__u64 used;
};
struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct event_budget);
} event_budgets SEC(".maps");

/* What became of the last packet. Written by explain.h, only with the knob `explaining`; read by
 * lib/oracle.c. Never pinned: programs that are attached do not use it. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct packet_verdict);
} verdicts SEC(".maps");

/* Knobs, set between open and load (lib/loader.c). */
const volatile __u32 abi_version = IPSECBPF_ABI_VERSION;
const volatile __u32 nic_ifindex;
const volatile __u32 host_ifindex;
const volatile __u32 mark_value;
const volatile __u32 mark_mask;
const volatile bool xdp_generic;	/* generic XDP sees re-entered packets a second time */
const volatile __u8 reentry_mac[6];	/* secret: marks those packets; random per attachment */

const volatile __u32 flow_sets;		/* per CPU, a power of two; 0: flows are not remembered */
const volatile __u32 flow_idle;		/* jiffies after which a flow may give way to another */
const volatile __u32 flow_seeds[FLOW_SEEDS];	/* random: nobody shall choose where flows collide */

const volatile bool explaining;		/* test runs of `ipsecbpf explain`: note every verdict */

#endif /* IPSECBPF_MAPS_H */
