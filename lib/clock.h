/* SPDX-License-Identifier: BSD-2-Clause */
/* Monotonic time, the same clock as bpf_ktime_get_ns(). Included by: whoever keeps time in lib/. */
#ifndef IPSECBPF_CLOCK_H
#define IPSECBPF_CLOCK_H

#include <stdint.h>
#include <time.h>

static inline uint64_t clock_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * 1000000000u + (uint64_t)ts.tv_nsec;
}

/* What the calendar says, for people; it may jump. */
static inline uint64_t wall_clock_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_REALTIME, &ts);
	return (uint64_t)ts.tv_sec * 1000000000u + (uint64_t)ts.tv_nsec;
}

#endif /* IPSECBPF_CLOCK_H */
