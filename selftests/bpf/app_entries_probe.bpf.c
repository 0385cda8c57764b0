// SPDX-License-Identifier: GPL-2.0-only
/* Does with bpf/app_entries.h what sockets do that come and go, on as many CPUs as it is run. */
#include <stdbool.h>

#include <linux/bpf.h>
#include <linux/in.h>
#include <linux/pkt_cls.h>

#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>

#include "bpf/app_entries.h"

#include "app_entries_probe.h"

struct app_entries_result result = {};

static long come_and_go(__u64 index, __u32 *seed)
{
	struct app_endpoint_key key = { .proto = IPPROTO_UDP, .port = 1 + (index & 1) };
	struct app_flow_terms terms = { .resolved = 1, .name_digest = APP_ENTRIES_NAME,
					.flows_max = APP_ENTRIES_FLOWS_MAX };
	struct app_identity who = { .uid = 1 };

	if (app_endpoint_add(&key, &who, &terms)) {
		__sync_fetch_and_add(&result.refused, 1);
		return 0;
	}
	__sync_fetch_and_add(&result.added, 1);
	if (!bpf_map_lookup_elem(&app_endpoints, &key))
		__sync_fetch_and_add(&result.lost, 1);
	app_endpoint_remove(&key);
	return 0;
}

/* Sockets that share two endpoints. */
SEC("tc")
int endpoints(struct __sk_buff *skb)
{
	__u32 seed = 0;

	bpf_loop(APP_ENTRIES_ROUNDS, come_and_go, &seed, 0);
	return TC_ACT_UNSPEC;
}

static long open_and_close(__u64 index, __u32 *cpu)
{
	struct app_flow_key key = { .proto = IPPROTO_TCP, .local_port = index & 7,
				    .remote_port = *cpu };
	struct app_flow_terms terms = { .cookie = index + 1, .name_digest = APP_ENTRIES_NAME,
					.flows_max = APP_ENTRIES_FLOWS_MAX, .tracked = 1 };
	struct app_identity who = { .uid = 1 };

	if (app_flow_add(&key, &who, &terms)) {
		__sync_fetch_and_add(&result.refused, 1);
		return 0;
	}
	if (__sync_fetch_and_add(&result.open, 1) >= APP_ENTRIES_FLOWS_MAX)
		__sync_fetch_and_add(&result.too_many, 1);
	/* The same socket's, once more: counts once. */
	app_flow_add(&key, &who, &terms);
	__sync_fetch_and_add(&result.added, 1);
	__sync_fetch_and_add(&result.open, -1);
	/* The end of another socket's is not the end of this one. */
	app_flow_close(&key, terms.cookie + 1);
	if (!bpf_map_lookup_elem(&app_flows, &key))
		__sync_fetch_and_add(&result.lost, 1);
	app_flow_close(&key, terms.cookie);
	if (!bpf_map_lookup_elem(&app_closed, &key))
		__sync_fetch_and_add(&result.lost, 1);
	return 0;
}

/* Connections of one application, whose limit they are at. */
SEC("tc")
int flows(struct __sk_buff *skb)
{
	__u32 cpu = bpf_get_smp_processor_id();

	bpf_loop(APP_ENTRIES_ROUNDS, open_and_close, &cpu, 0);
	return TC_ACT_UNSPEC;
}

/* ---- one at a time --------------------------------------------------------------------------- */

struct app_entries_asked asked = {};

SEC("tc")
int one(struct __sk_buff *skb)
{
	struct app_flow_terms terms = { .cookie = asked.cookie, .name_digest = APP_ENTRIES_NAME,
					.flows_max = APP_ENTRIES_MANY, .tracked = 1 };
	struct app_endpoint_key endpoint = { .proto = IPPROTO_UDP, .port = asked.port };
	struct app_flow_key flow = { .proto = IPPROTO_TCP, .local_port = asked.port };
	struct app_identity who = { .uid = 1 };

	switch (asked.what) {
	case APP_ENTRIES_BIND:
		return -app_endpoint_add(&endpoint, &who, &terms);
	case APP_ENTRIES_UNBIND:
		return -app_endpoint_remove(&endpoint);
	case APP_ENTRIES_OPEN:
		return -app_flow_add(&flow, &who, &terms);
	case APP_ENTRIES_CLOSE:
		return -app_flow_close(&flow, asked.cookie);
	}
	return -1;
}

char LICENSE[] SEC("license") = "GPL";
