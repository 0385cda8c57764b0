// SPDX-License-Identifier: BSD-2-Clause
/* What each SA tells of itself. */
#include <arpa/inet.h>
#include <math.h>
#include <stdio.h>

#include "metrics.h"

/* All of these name an SA. The SPI alone does not: with another destination it is another SA. */
#define SA_LABELS "peer", "protection", "direction", "protocol", "destination", "spi"

struct sa_labels {
	const char *direction, *protocol;
	char destination[INET6_ADDRSTRLEN], spi[16];
};

static struct sa_labels labels_of(const struct ipsecbpf_sa_info *sa)
{
	struct sa_labels labels = {
		.direction = sa->direction == SPD_OUT ? "out" : "in",
		.protocol = sa->proto == IPPROTO_AH ? "ah" : "esp",
	};

	inet_ntop(sa->family == FAMILY_V6 ? AF_INET6 : AF_INET, sa->dst.b, labels.destination,
		  sizeof(labels.destination));
	snprintf(labels.spi, sizeof(labels.spi), "0x%08x", ntohl(sa->spi));
	return labels;
}

/* A sample with the labels of an SA, and with what else there is. */
#define PUT(put, writer, sa, value, ...)						\
	do {										\
		const struct sa_labels of_sa_ = labels_of(sa);				\
											\
		put(writer, value, (sa)->peer, (sa)->protection, of_sa_.direction,	\
		    of_sa_.protocol, of_sa_.destination, of_sa_.spi, ##__VA_ARGS__);	\
	} while (0)

static size_t described(const struct metrics_writer *writer)
{
	size_t count = writer->source->sa_count, limit = writer->limits.sas;

	return limit && count > limit ? limit : count;
}

/* Defines the function of a metric: `body` for each `sa`. */
#define FOR_EACH_SA(function, body)							\
	static void function(const struct metrics_writer *writer)			\
	{										\
		for (size_t i_ = 0; i_ < described(writer); i_++) {			\
			const struct ipsecbpf_sa_info *sa = &writer->source->sas[i_];	\
											\
			body;								\
		}									\
	}

FOR_EACH_SA(write_packets, PUT(metrics_whole, writer, sa, sa->packets))
FOR_EACH_SA(write_bytes, PUT(metrics_whole, writer, sa, sa->bytes))
FOR_EACH_SA(write_icv_failed, PUT(metrics_whole, writer, sa, sa->icv_failed))
FOR_EACH_SA(write_replayed, PUT(metrics_whole, writer, sa, sa->replayed))
FOR_EACH_SA(write_lost, PUT(metrics_whole, writer, sa, sa->lost))
FOR_EACH_SA(write_age, PUT(metrics_whole, writer, sa, sa->age))
FOR_EACH_SA(write_inner_mtu, PUT(metrics_whole, writer, sa, sa->inner_mtu))

FOR_EACH_SA(write_idle, {
	if (sa->idle_ms != UINT64_MAX)
		PUT(metrics_real, writer, sa, (double)sa->idle_ms / 1000);
})

FOR_EACH_SA(write_active, {
	if (sa->direction == SPD_OUT)
		PUT(metrics_whole, writer, sa, sa->active);
})

FOR_EACH_SA(write_state, {
	for (unsigned int stage = 0; stage < STAGE_COUNT; stage++)
		PUT(metrics_whole, writer, sa, sa->stage == stage, sa_stage_name(stage));
})

/* Only those of a pair's own limits that there are. */
static void put_limits(const struct metrics_writer *writer, const struct ipsecbpf_sa_info *sa,
		       const struct sa_limits *limits)
{
	const struct {
		const char *word;
		uint64_t used, limit;
	} kinds[] = {
		{ "bytes", sa->bytes, limits->bytes },
		{ "packets", sa->packets, limits->packets },
		{ "seconds", sa->age, limits->seconds },
	};

	for (size_t i = 0; i < sizeof(kinds) / sizeof(kinds[0]); i++)
		if (kinds[i].limit)
			PUT(metrics_real, writer, sa,
			    (double)kinds[i].used / (double)kinds[i].limit, kinds[i].word);
}

FOR_EACH_SA(write_soft, put_limits(writer, sa, &sa->soft))
FOR_EACH_SA(write_hard, put_limits(writer, sa, &sa->hard))

/* Of a receiver it is the peer's numbers: they end its SA all the same. */
FOR_EACH_SA(write_sequence, PUT(metrics_real, writer, sa, ldexp((double)sa->seq,
							       sa->esn ? -64 : -32)))

/* X(name, type, help, function, labels...) */
#define SA_METRICS(X)									\
	X("packets_total", COUNTER, "Packets protected or accepted.", write_packets)	\
	X("bytes_total", COUNTER, "Octets of those packets, without what protects them.",	\
	  write_bytes)									\
	X("icv_failed_total", COUNTER, "Packets whose integrity check failed.", write_icv_failed) \
	X("replayed_total", COUNTER,							\
	  "Packets whose number had come before, or is too old to know.", write_replayed) \
	X("lost_total", COUNTER,							\
	  "Sequence numbers that left the replay window without having come.", write_lost) \
	X("age_seconds", GAUGE, "Since the SA was installed.", write_age)		\
	X("idle_seconds", GAUGE, "Since its last packet; absent before the first.", write_idle)	\
	X("inner_mtu_bytes", GAUGE, "The largest packet that fits through.", write_inner_mtu)	\
	X("state", GAUGE, "1 for where in its life the SA is (see LIFE OF AN SA in ipsecbpf(8)).", \
	  write_state, "state")								\
	X("active", GAUGE, "Outbound: 1 if this SA is in use, 0 if it is spare.", write_active) \
	X("soft_limit_used_ratio", GAUGE, "Of each soft limit that the SA has, how much is used.", \
	  write_soft, "limit")								\
	X("hard_limit_used_ratio", GAUGE, "Of each hard limit that the SA has, how much is used.", \
	  write_hard, "limit")								\
	X("sequence_used_ratio", GAUGE, "Of its sequence numbers, how many are used.", write_sequence)

const struct metric metrics_of_sas[] = {
#define X(suffix, kind, text, function, ...)						\
	{ .name = "ipsecbpf_sa_" suffix, .type = METRIC_##kind, .help = text,		\
	  .write = function, .labels = { SA_LABELS, ##__VA_ARGS__ } },
	SA_METRICS(X)
#undef X
	{ .name = NULL }
};
