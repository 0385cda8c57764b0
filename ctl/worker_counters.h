/* SPDX-License-Identifier: BSD-2-Clause */
/* The worker's counters, for those who show them. Included by: stats.c, metrics_families.c. */
#ifndef CTL_WORKER_COUNTERS_H
#define CTL_WORKER_COUNTERS_H

/* Members of struct worker_stats. X(member, text) */
#define WORKER_COUNTERS(X)							\
	X(wire_rx, "ESP packets received by the worker")			\
	X(wire_tx, "ESP packets sent by the worker")				\
	X(host_rx, "frames read from the host port")				\
	X(host_tx, "frames written to the host port")				\
	X(host_rx_segments, "packets that the frames read were cut into")	\
	X(host_tx_coalesced, "packets that left merged into another frame")	\
	X(reassembled_in, "ESP and AH packets put together from fragments")	\
	X(reassembled_out, "packets put together before they were protected")	\
	X(fragmented_out, "packets sent in fragments")				\
	X(ptb_accepted, "path MTUs learnt from packet-too-big messages")	\
	X(keepalives, "NAT keep-alives sent")					\
	X(polls, "times the worker had nothing to do and slept")		\
	X(busy_polls, "times work came while it waited for it awake") \
	X(busy_poll_ns, "nanoseconds for which it waited awake")

#endif /* CTL_WORKER_COUNTERS_H */
