// SPDX-License-Identifier: BSD-2-Clause
/* The shapes of kinds of rule sets, in numbers. See rulegen.h for where they come from. */
#include "rulegen_internal.h"

#define X(id, word) word,
const char *const gen_kind_words[GEN_KIND_COUNT] = { GEN_KINDS(X) };
#undef X

static const struct gen_lengths acl_remote[FAMILY_COUNT] = {
	{ { 0, 8, 12, 16, 20, 22, 24, 26, 28, 30, 32 }, { 14, 2, 2, 8, 5, 5, 22, 5, 5, 3, 29 } },
	{ { 0, 29, 32, 36, 40, 44, 48, 56, 64, 128 }, { 14, 2, 10, 3, 4, 3, 20, 6, 16, 22 } },
};
static const struct gen_lengths acl_local[FAMILY_COUNT] = {
	{ { 0, 16, 21, 23, 24, 27, 28, 30, 32 }, { 1, 3, 3, 5, 11, 6, 7, 6, 58 } },
	{ { 0, 32, 48, 56, 64, 96, 128 }, { 1, 3, 10, 5, 20, 2, 59 } },
};
static const struct gen_lengths fw_remote[FAMILY_COUNT] = {
	{ { 0, 8, 14, 16, 20, 24, 27, 28, 29, 32 }, { 52, 2, 1, 4, 3, 10, 3, 3, 3, 19 } },
	{ { 0, 32, 40, 48, 56, 64, 128 }, { 52, 4, 2, 11, 4, 12, 15 } },
};
static const struct gen_lengths fw_local[FAMILY_COUNT] = {
	{ { 0, 8, 16, 22, 24, 26, 28, 30, 32 }, { 34, 1, 6, 3, 14, 4, 6, 4, 28 } },
	{ { 0, 32, 40, 48, 56, 64, 128 }, { 34, 4, 2, 14, 6, 16, 24 } },
};
static const struct gen_lengths ipc_remote[FAMILY_COUNT] = {
	{ { 0, 8, 14, 16, 18, 22, 24, 27, 29, 32 }, { 5, 4, 2, 9, 3, 5, 20, 7, 6, 39 } },
	{ { 0, 32, 36, 44, 48, 56, 60, 64, 128 }, { 5, 8, 3, 4, 18, 7, 3, 20, 32 } },
};
static const struct gen_lengths ipc_local[FAMILY_COUNT] = {
	{ { 0, 8, 13, 16, 19, 23, 24, 26, 28, 32 }, { 5, 2, 2, 8, 3, 6, 20, 5, 7, 42 } },
	{ { 0, 32, 40, 48, 52, 56, 64, 128 }, { 5, 7, 4, 18, 2, 7, 22, 35 } },
};
static const struct gen_lengths host_remote[FAMILY_COUNT] = {
	{ { 0, 8, 12, 16, 20, 22, 24, 26, 28, 32 }, { 2, 1, 1, 6, 3, 4, 17, 4, 5, 57 } },
	{ { 0, 32, 40, 44, 48, 56, 60, 64, 128 }, { 2, 3, 2, 2, 11, 9, 3, 18, 50 } },
};
/* 0 or a whole address: one of the host's. */
static const struct gen_lengths host_local[FAMILY_COUNT] = {
	{ { 0, 32 }, { 70, 30 } },
	{ { 0, 128 }, { 70, 30 } },
};

const struct gen_shape gen_shapes[GEN_ADVERSE] = {
	[GEN_ACL] = {
		.remote = acl_remote,
		.local = acl_local,
		.proto = {
			[IS_TCP] = 77, [IS_UDP] = 14, [IS_ICMP] = 4,
			[IS_ANY] = 4, [IS_OTHER] = 1,
		},
		.remote_port = { [PORT_ANY] = 98, [PORT_HIGH] = 1, [PORT_ONE] = 1 },
		.local_port = {
			[PORT_ANY] = 12, [PORT_LOW] = 1, [PORT_HIGH] = 6, [PORT_RANGE] = 7,
			[PORT_ONE] = 74,
		},
		.action = { [SPD_BYPASS] = 60, [SPD_DISCARD] = 25, [SPD_PROTECT] = 15 },
		.skew = 45,
		.correlated = 15,
		.remote_again = 70,
		.local_again = 50,
	},
	[GEN_FW] = {
		.remote = fw_remote,
		.local = fw_local,
		.proto = {
			[IS_TCP] = 58, [IS_UDP] = 26, [IS_ICMP] = 6,
			[IS_ANY] = 7, [IS_OTHER] = 3,
		},
		.remote_port = {
			[PORT_ANY] = 58, [PORT_LOW] = 2, [PORT_HIGH] = 16, [PORT_RANGE] = 4,
			[PORT_ONE] = 20,
		},
		.local_port = {
			[PORT_ANY] = 30, [PORT_LOW] = 2, [PORT_HIGH] = 16, [PORT_RANGE] = 10,
			[PORT_ONE] = 42,
		},
		.action = { [SPD_BYPASS] = 50, [SPD_DISCARD] = 40, [SPD_PROTECT] = 10 },
		.skew = 60,
		.correlated = 5,
		.remote_again = 60,
		.local_again = 60,
	},
	[GEN_IPC] = {
		.remote = ipc_remote,
		.local = ipc_local,
		.proto = {
			[IS_TCP] = 52, [IS_UDP] = 26, [IS_ICMP] = 5,
			[IS_ANY] = 14, [IS_OTHER] = 3,
		},
		.remote_port = {
			[PORT_ANY] = 66, [PORT_LOW] = 1, [PORT_HIGH] = 6, [PORT_RANGE] = 4,
			[PORT_ONE] = 23,
		},
		.local_port = {
			[PORT_ANY] = 42, [PORT_LOW] = 1, [PORT_HIGH] = 6, [PORT_RANGE] = 7,
			[PORT_ONE] = 44,
		},
		.action = { [SPD_BYPASS] = 50, [SPD_DISCARD] = 20, [SPD_PROTECT] = 30 },
		.skew = 40,
		.correlated = 45,
		.remote_again = 60,
		.local_again = 60,
	},
	[GEN_HOST] = {
		.remote = host_remote,
		.local = host_local,
		.proto = {
			[IS_TCP] = 45, [IS_UDP] = 15, [IS_ICMP] = 5,
			[IS_ANY] = 34, [IS_OTHER] = 1,
		},
		.remote_port = {
			[PORT_ANY] = 70, [PORT_HIGH] = 3, [PORT_RANGE] = 2,
			[PORT_ONE] = 25,
		},
		.local_port = {
			[PORT_ANY] = 50, [PORT_HIGH] = 3, [PORT_RANGE] = 5,
			[PORT_ONE] = 42,
		},
		.action = { [SPD_BYPASS] = 20, [SPD_DISCARD] = 25, [SPD_PROTECT] = 55 },
		.skew = 50,
		.own_addresses = 4,
		.remote_again = 25,
	},
};

size_t gen_pick(struct gen_random *random, const uint8_t *shares, size_t count)
{
	uint64_t sum = 0, at;
	size_t i;

	for (i = 0; i < count; i++)
		sum += shares[i];
	at = gen_below(random, sum);
	for (i = 0; at >= shares[i]; i++)
		at -= shares[i];
	return i;
}

/* IANA's numbers, the most frequent first. */
static const uint16_t services[] = {
	443, 80, 22, 25, 53, 21, 123, 161, 23, 110, 143, 389, 3306, 5432, 8080, 1433, 3389, 445,
	514, 993, 995, 587, 636, 88, 135, 139, 111, 2049, 5060, 6379, 9092, 11211, 27017, 8443,
	1521, 179, 500, 4500, 1812, 69, 873, 5666, 10050, 2379, 6443, 9100, 1194, 1723, 7001, 49,
};

#define SERVICE_COUNT (sizeof(services) / sizeof(services[0]))

/* A well-known one more often than not, and of those the first more often than the last. */
uint16_t gen_service(struct gen_random *random)
{
	size_t bound;

	if (gen_percent(random, 30))
		return (uint16_t)gen_between(random, 1024, 65535);
	bound = 1 + gen_below(random, SERVICE_COUNT);
	return services[gen_below(random, bound)];
}

/* X Window, NetBIOS, traceroute, FTP, Linux ephemeral, RTP, Kubernetes, IANA ephemeral,
 * passive FTP, SIP */
static const struct gen_span service_ranges[] = {
	{ 6000, 6063 }, { 137, 139 }, { 33434, 33534 }, { 20, 21 }, { 32768, 61000 },
	{ 16384, 32767 }, { 30000, 32767 }, { 49152, 65535 }, { 50000, 51000 }, { 5060, 5061 },
};

struct gen_span gen_service_range(struct gen_random *random)
{
	size_t count = sizeof(service_ranges) / sizeof(service_ranges[0]);
	uint16_t lo, width;

	if (gen_percent(random, 60))
		return service_ranges[gen_below(random, count)];
	width = (uint16_t)(1u << gen_between(random, 1, 12));
	lo = (uint16_t)gen_between(random, 1, 65535 - width);
	return (struct gen_span){ lo, (uint16_t)(lo + gen_between(random, 1, width)) };
}
