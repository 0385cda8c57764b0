/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Counting and telling. drop() is the one place where a packet's drop is counted and reported.
 * Called by: the hooks' entry points only; lower steps return a negative drop reason.
 */
#ifndef IPSECBPF_STATS_H
#define IPSECBPF_STATS_H

#include "maps.h"
#include "parse.h"

#define EVENT_SLICE_NS	   100000000ull	/* budget is per CPU and slice */
#define EVENTS_PER_SLICE   128

static __always_inline void count(enum pass_counter counter)
{
	__u32 key = counter;
	__u64 *value = bpf_map_lookup_elem(&passes, &key);

	if (value)
		*value += 1;
}

/* May one more event be written in this slice of time? */
static __always_inline bool event_allowed(__u64 now)
{
	struct event_budget *budget;
	__u32 zero = 0;

	budget = bpf_map_lookup_elem(&event_budgets, &zero);
	if (!budget)
		return false;
	if (budget->window != now / EVENT_SLICE_NS) {
		budget->window = now / EVENT_SLICE_NS;
		budget->used = 0;
	}
	return budget->used++ < EVENTS_PER_SLICE;
}

static __noinline int report_drop(const struct packet_info *info, __u32 reason, __u32 direction,
				  __u32 rule, __u32 len)
{
	struct drop_event *event;
	struct control *ctl;
	__u32 zero = 0;
	__u64 now;

	ctl = bpf_map_lookup_elem(&control, &zero);
	if (!info || !ctl || !ctl->events_until)
		return 0;
	now = bpf_ktime_get_ns();
	if (now > ctl->events_until || !event_allowed(now))
		return 0;
	event = bpf_ringbuf_reserve(&events, sizeof(*event), 0);
	if (!event)
		return 0;
	event->ns = now;
	event->src = info->src;
	event->dst = info->dst;
	/* Of plain UDP, what stands where an SPI would is payload. */
	event->spi = info->proto != IPPROTO_UDP || info->esp_in_udp ? info->spi : 0;
	event->src_port = info->src_port;
	event->dst_port = info->dst_port;
	event->rule = rule;
	event->len = len;
	event->ethertype = info->ethertype;
	event->family = info->family;
	event->proto = info->proto;
	event->reason = reason;
	event->direction = direction;
	event->pad = 0;
	bpf_ringbuf_submit(event, 0);
	return 0;
}

/* Counts and reports a dropped packet. reason: positive enum drop_reason. */
static __always_inline void drop(const struct packet_info *info, __u32 reason,
				 enum spd_direction direction, __u32 rule, __u32 len)
{
	__u32 key = reason < DROP_SLOTS ? reason : DROP_INTERNAL;
	__u64 *value = bpf_map_lookup_elem(&drops, &key);

	if (value)
		*value += 1;
	report_drop(info, key, direction, rule, len);
}

#endif /* IPSECBPF_STATS_H */
