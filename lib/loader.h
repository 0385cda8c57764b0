/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Loads the BPF object, pins its maps, attaches its hooks and pins their links. Runs in the command
 * that attaches, and exits with it: the pins keep everything alive. If that command dies half way,
 * the supervisor notices (supervisor.h, the commit) and takes the pins away.
 *
 * Included by: attach.c. Ownership: struct loader owns the object and its unpinned links.
 */
#ifndef IPSECBPF_LOADER_H
#define IPSECBPF_LOADER_H

#include <stdbool.h>
#include <stdint.h>

#include "pin.h"

struct loader_config {
	const char *ifname;
	uint32_t ifindex, host_ifindex;
	uint32_t mark_value, mark_mask;
	uint32_t sa_slots;
	uint8_t nic_mac[6];
	const char *cgroup;	 /* for the socket hooks; NULL: there is no cgroup2 */
	bool xdp_generic;
	bool explaining;	 /* for test runs: verdicts are noted; never to be attached */
	const struct pins *live; /* NULL, or whose state (PINNED_STATE) the programs are to share */
};

struct ipsecbpf_bpf;

struct loader {
	struct ipsecbpf_bpf *object;
	struct loader_config config;
	struct paths paths;
	struct attachment attachment;
	int link_fd[HOOK_COUNT];   /* -1: none, or a clsact filter */
	bool filter[HOOK_COUNT];   /* a clsact filter of this loader */
	bool replaced[HOOK_COUNT]; /* a guard's link, now running our program */
};

/* Opens and loads the object. 0 or -errno, explained in report; loader_fini() is due only after 0.
 */
int loader_init(struct loader *loader, const struct loader_config *config,
		struct ipsecbpf_report *report);

/* The object's maps as an attachment (descriptors duplicated); close with pins_close(). 0 or
 * -errno. */
int loader_pins(struct loader *loader, struct pins *ret_pins);

/*
 * Attaches one hook. Where a guard left its link, that link is moved to the new program in one
 * step, so that no packet finds the hook empty. 0 or -errno, explained in report.
 */
int loader_attach(struct loader *loader, enum hook hook, struct ipsecbpf_report *report);
bool loader_is_attached(const struct loader *loader, enum hook hook);

/*
 * Pins the maps; what a guard had pinned is replaced. Before any hook is attached: the maps that a
 * hook uses must have a name, also if this command dies. 0 or -errno.
 */
int loader_pin_maps(struct loader *loader, struct ipsecbpf_report *report);

/* Pins the links. 0 or -errno. */
int loader_pin_links(struct loader *loader, struct ipsecbpf_report *report);

/* Detaches and unpins what this loader made. Over a guard, hooks and pins stay. */
void loader_undo(struct loader *loader, bool over_guard);
void loader_fini(struct loader *loader);

/* What libbpf has to say is kept instead of printed; the end of it is valid until the next time. */
void loader_log_begin(void);
const char *loader_log_end(void);

/* Removes the clsact filters of an attachment; tcx links go with their pins. */
void loader_detach_clsact(const struct attachment *attachment);

#endif /* IPSECBPF_LOADER_H */
