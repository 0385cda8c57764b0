/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/* What app_entries_probe.bpf.c and app_entries.c agree on. */
#ifndef IPSECBPF_APP_ENTRIES_PROBE_H
#define IPSECBPF_APP_ENTRIES_PROBE_H

#define APP_ENTRIES_ROUNDS 2000		/* of one run */
#define APP_ENTRIES_NAME 77ull
#define APP_ENTRIES_ENDPOINTS 0x9e3779b97f4a7c15ull	/* APP_USAGE_ENDPOINTS */
#define APP_ENTRIES_FLOWS_MAX 1
#define APP_ENTRIES_MANY 100		/* more than the maps have room for, where that is tested */

struct app_entries_result {
	__u64 added, refused;
	__u64 lost;		/* not there while it was in use */
	__u64 open, too_many;
};

enum app_entries_what { APP_ENTRIES_BIND, APP_ENTRIES_UNBIND, APP_ENTRIES_OPEN, APP_ENTRIES_CLOSE };

struct app_entries_asked {
	__u32 what;	/* enum app_entries_what */
	__u32 port;
	__u64 cookie;
};

#endif /* IPSECBPF_APP_ENTRIES_PROBE_H */
