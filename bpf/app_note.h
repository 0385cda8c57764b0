/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * What user space asks of bpf/ipsecbpf_note.bpf.c, as the data of a test run.
 *
 * Included by: that, lib/app_note.c.
 */
#ifndef IPSECBPF_APP_NOTE_H
#define IPSECBPF_APP_NOTE_H

#include "abi.h"

enum app_note_what { APP_NOTE_ENDPOINT, APP_NOTE_ENDPOINT_GONE, APP_NOTE_FLOW, APP_NOTE_FLOW_GONE };

struct app_note {
	__u8 ethernet[16];	/* zeroes: the kernel wants a frame */
	__u32 what;		/* enum app_note_what */
	__u32 flows_max;
	struct app_endpoint_key endpoint;
	__u32 pad;
	struct app_flow_key flow;
	struct app_identity who;
	__u64 resolved;
	__u64 cookie;
	__u64 name_digest;
};
_Static_assert(sizeof(struct app_note) == 216, "app_note is ABI");

#endif /* IPSECBPF_APP_NOTE_H */
