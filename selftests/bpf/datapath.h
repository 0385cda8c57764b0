/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The three programs without an interface: loaded by lib/loader.c and given policies by
 * lib/policy_apply.c as in the product, then fed single packets with BPF_PROG_TEST_RUN. Nothing is
 * attached or pinned; it all happens in a network namespace of its own.
 *
 * Included by: run_fixtures.c, cross_check.c, flip_under_load.c,
 *              reload_under_load.c.
 */
#ifndef DATAPATH_H
#define DATAPATH_H

#include <stdbool.h>
#include <stdint.h>

#include "lib/loader.h"
#include "lib/policy.h"

#define SHOT_MAX 4096

#define DATAPATH_IFNAME "lo"		/* where test runs take place */
#define DATAPATH_POLICY_IFNAME "eth0"	/* what policies are compiled for */

struct datapath {
	struct loader loader;
	struct pins pins;
	int socket;		/* AF_XDP, on queue 0 of the map `xsks`; -1: none */
};

struct datapath_opts {
	bool generic;
	bool explaining;	/* hooks note what they read: datapath_note() */
	uint32_t mark_value, mark_mask;
	const struct pins *live;	/* NULL, or whose policy and SAs these programs are to obey */
};

/* One packet through one hook. */
struct shot {
	const uint8_t *data;
	uint32_t len;
	uint32_t mark, ingress_ifindex;		/* tc hooks only */
	uint32_t repeat;			/* how often; 0: once */
	/* out */
	uint32_t verdict, mark_after;
	uint8_t out[SHOT_MAX];
	uint32_t out_len;
};

/* Moves the process into a new network namespace, where lo is up. 0 or -errno. */
int datapath_isolate(void);

/* Prints what is wrong. 0 or -errno. */
int datapath_open(struct datapath *datapath, const struct datapath_opts *opts);
void datapath_close(struct datapath *datapath);

/* Applies a policy, for good (0) or on trial. Prints what is wrong. 0 or -errno. */
int datapath_apply(struct datapath *datapath, const struct policy *policy,
		   uint32_t trial_seconds);

/* Puts a socket on queue 0, or takes it away. 0 or -errno. */
int datapath_listen(struct datapath *datapath, bool on);

/* 0 or -errno of the test run itself. */
int datapath_shoot(const struct datapath *datapath, enum hook hook, struct shot *shot);

/* What the hook has read of the last packet. 0 or -errno. */
int datapath_note(const struct datapath *datapath, struct packet_verdict *ret_note);

/* The secret address that marks re-entered packets for generic XDP. */
void datapath_secret(const struct datapath *datapath, uint8_t out[6]);

/* The address that the programs take for the NIC's. */
extern const uint8_t datapath_mac[6];

#endif /* DATAPATH_H */
