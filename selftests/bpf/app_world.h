/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Policies with applications, as snapshots written by hand, in the real programs of datapath.h: what the
 * hooks make of them does not depend on what compiles policies.
 *
 * Included by: app_identity.c, app_testing.h.
 */
#ifndef APP_WORLD_H
#define APP_WORLD_H

#include "datapath.h"
#include "lib/inner_map.h"
#include "lib/policy_match.h"

#define APP_WORLD_RULES 15	/* of one application, or of the host: a leaf */
#define APP_WORLD_APPS	64

/* IPv4, and IPv6 where only ports are asked for; an address or a port of 0 is any. Both directions; the
 * host's not of forwarded packets, which no application's rules may decide. */
struct app_rule {
	uint32_t app;		/* 0: the host's */
	uint32_t remote;	/* host order */
	uint16_t local_port, remote_port;
	enum spd_action action;
	uint32_t protect_id;
	enum spd_level level;
};

struct app_policy {
	const struct app_rule *rules;
	size_t rule_count;
	const struct app_pattern *patterns;
	size_t pattern_count;
	uint32_t apps;
	uint32_t optional_rate[APP_WORLD_APPS + 1];
	uint32_t flows_max[APP_WORLD_APPS + 1];
	uint64_t seed;		/* of the buckets: the first to be tried */
	bool spread;		/* applications and buckets lie in other chunks than the head */
};

struct app_world {
	struct datapath datapath;
	struct inner_map snapshots[2], counts[2];
	uint32_t serial, generation, rules, apps;
};

/* What a packet added to the counters. */
struct app_change {
	int rule;		/* index; -1: none; SPD_IN + 1000, SPD_OUT + 1000: a default */
	int optional;		/* the application that passed in the clear; -1: none */
	int passed, dropped;	/* enum pass_counter, enum drop_reason; -1: none */
};
#define APP_DEFAULT(direction) (1000 + (int)(direction))

/* In a network namespace of its own. Prints what is wrong. 0 or -errno. */
int app_world_open(struct app_world *world, const struct datapath_opts *opts);
void app_world_close(struct app_world *world);

/* Puts a policy in force: a new serial, the other generation. 0 or -errno. */
int app_world_put(struct app_world *world, const struct app_policy *policy);

/* The name digest of an application. */
uint64_t app_world_name(uint32_t app);

/* A packet of IPv4; ports are ICMP's type << 8 | code and identifier. Addresses in host order. */
struct app_packet {
	uint8_t proto;
	uint8_t fragment;	/* 1: the first, 2: a later one */
	bool group_frame;	/* to a group MAC address */
	bool v6;		/* both addresses behind fd00::/96 */
	uint32_t src, dst;
	uint16_t src_port, dst_port;
	uint32_t ingress_ifindex;	/* tc hooks */
};

/* Sends it through a hook. 0 or -errno. */
int app_world_shoot(struct app_world *world, enum hook hook, const struct app_packet *packet,
		    uint32_t *ret_verdict, struct app_change *ret_change);

/* All counters, then what has changed since. */
struct app_counters {
	uint64_t rules[APP_WORLD_RULES * (APP_WORLD_APPS + 1) + APP_WORLD_APPS + 3];
	uint64_t passes[PASS_SLOTS], drops[DROP_SLOTS];
};
void app_world_count(const struct app_world *world, struct app_counters *counters);
struct app_change app_world_change(const struct app_world *world, const struct app_counters *before);

/* As keys and values of the maps. */
union wire_addr app_wire(uint32_t address, bool v6);
struct app_flow_key app_key_of_flow(uint8_t proto, uint32_t local, uint16_t local_port,
				    uint32_t remote, uint16_t remote_port);
struct app_endpoint_key app_key_of_endpoint(uint8_t proto, uint32_t local, uint16_t port);

#endif /* APP_WORLD_H */
