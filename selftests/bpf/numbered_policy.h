/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Policies by number, no two of them alike, and what each says: how many rules, where those stand that
 * decide some streams of packets, what stands before and behind them. Who puts two of them together
 * finds another rule for a packet than either has.
 *
 * Included by: numbered_policy.c, reload_under_load.c.
 */
#ifndef NUMBERED_POLICY_H
#define NUMBERED_POLICY_H

#include <stddef.h>
#include <stdint.h>

#include "bpf/abi.h"

/* One remote host each. X(enumerator, name of its rule) */
#define STREAMS(X)			\
	X(BYPASSED, "bypassed")		\
	X(PROTECTED, "protected")	\
	X(DISCARDED, "discarded")	\
	X(CHANGING, "changing")		/* by number: any of the three */

enum stream {
#define X(id, name) STREAM_##id,
	STREAMS(X)
#undef X
	STREAM_COUNT
};

#define NUMBERED_LARGE_EVERY 256	/* one of so many policies has thousands of rules */

struct numbered_policy {
	uint32_t number;		/* from 1 */
	uint32_t rules;
	uint32_t place[FAMILY_COUNT][STREAM_COUNT];	/* index of the rule */
};

/* Of the stream's host; with the last octet of numbered_remote(). The other end is .1. */
#define NUMBERED_NET_V4 "10.9.0."
#define NUMBERED_NET_V6 "fd00:9::"

struct numbered_policy numbered_policy(uint32_t number);
uint8_t numbered_remote(enum stream stream);
const char *numbered_rule_name(enum ip_family family, enum stream stream, char out[NAME_LEN]);
enum spd_action numbered_action(uint32_t number, enum stream stream);

/* As JSON, malloc'd; NULL: no memory. */
char *numbered_text(const struct numbered_policy *policy, size_t *ret_len);

#endif /* NUMBERED_POLICY_H */
