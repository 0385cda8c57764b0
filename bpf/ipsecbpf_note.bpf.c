// SPDX-License-Identifier: GPL-2.0-only
/*
 * Notes connections and endpoints for user space, which finds sockets that are older than the hooks
 * (lib/app_scan.h): counting who shares an endpoint takes a lock that user space cannot hold. Attached to
 * nothing; a test run is one call.
 */
#include <linux/bpf.h>
#include <linux/pkt_cls.h>
#include <linux/types.h>
#include <stdbool.h>

#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>

#include "app_entries.h"
#include "app_note.h"

static __always_inline struct app_flow_terms terms_of(const struct app_note *note)
{
	return (struct app_flow_terms){
		.resolved = note->resolved,
		.cookie = note->cookie,
		.name_digest = note->name_digest,
		.flows_max = note->flows_max,
	};
}

/* Returns 0 or a drop reason. */
SEC("tc")
int app_note(struct __sk_buff *skb)
{
	struct app_flow_terms terms;
	struct app_note note;

	if (bpf_skb_load_bytes(skb, 0, &note, sizeof(note)))
		return DROP_INTERNAL;
	terms = terms_of(&note);
	switch (note.what) {
	case APP_NOTE_ENDPOINT:
		return -app_endpoint_add(&note.endpoint, &note.who, &terms);
	case APP_NOTE_ENDPOINT_GONE:
		return -app_endpoint_remove(&note.endpoint);
	case APP_NOTE_FLOW:
		return -app_flow_add(&note.flow, &note.who, &terms);
	case APP_NOTE_FLOW_GONE:
		return -app_flow_remove(&note.flow, note.cookie);
	}
	return DROP_INTERNAL;
}

char LICENSE[] SEC("license") = "GPL";
