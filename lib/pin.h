/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The pinned side of an attachment: its maps and links under PIN_ROOT/<dir>/.
 *
 * Included by: everything that looks at or changes a live attachment from outside the supervisor.
 * Ownership:   struct pins owns descriptors and one mapping; pins_close() gives them back.
 */
#ifndef IPSECBPF_PIN_H
#define IPSECBPF_PIN_H

#include <stdbool.h>

#include "abi_user.h"
#include "paths.h"
#include "report.h"

/* X(map): every map that user space opens. Names are those in bpf/maps.h. What hooks decide by, or
 * do not touch at all; a private instance of the programs (lib/oracle.h) reads the live ones. */
#define PINNED_STATE(X)                                                                   \
	X(control)                                                                        \
	X(attachment) X(spd) X(policy_text) X(protections) X(sad)                         \
		X(sad_peers) X(own_addresses) X(out_sa) X(sa_slots) X(sa_state)           \
		X(worker_stats) X(xsks) X(had_sa) X(app_sockets) X(app_asked)             \
		X(app_flows) X(app_endpoints) X(app_closed) X(app_exchanges)         \
		X(app_usage)

/* X(map): what hooks write. Each instance of the programs has its own, at first empty. */
#define PINNED_COUNTS(X)                                                                  \
	X(rule_counts) X(flow_cache) X(optional_budgets) X(drops) X(passes) X(events)

#define PINNED_MAPS(X) PINNED_STATE(X) PINNED_COUNTS(X)

/* X(link): the hooks, in the order in which they are attached. */
#define PINNED_LINKS(X) X(tc_host_port) X(tc_egress) X(xdp_ingress)

enum hook {
#define X(id) HOOK_##id,
	PINNED_LINKS(X)
#undef X
		HOOK_COUNT
};
const char *hook_name(enum hook hook);

struct pins {
	struct paths paths;
	struct attachment attachment;
#define X(map) int map##_fd;
	PINNED_MAPS(X)
#undef X
	struct control *control; /* mapped; shared with the hooks */
	char ifname[16];
};

/* Where a map, or the link of a hook, is pinned. */
void pin_map_path(const struct paths *paths, const char *map, char *out, size_t out_len);
void pin_new_map_path(const struct paths *paths, const char *map, char *out, size_t out_len);
void pin_link_path(const struct paths *paths, enum hook hook, char *out, size_t out_len);

/*
 * Opens a live attachment. 0, or -ENOENT (not attached), -EPROTO (other ABI version), -errno; the
 * reason is in report (which may be NULL).
 */
int pins_open(struct pins *pins, const char *ifname, struct ipsecbpf_report *report);
void pins_close(struct pins *pins);

/* Are hooks of an attachment pinned, whatever became of its maps? */
bool pins_have_links(const struct paths *paths);

/*
 * Has the NIC been removed since (what has its name now is another interface), or was a hook taken
 * off it by other means than ours?
 */
bool pins_gone(const struct pins *pins);

/* Is what is pinned there now not this attachment: detached since, or attached anew? */
bool pins_replaced(const struct pins *pins);

/*
 * Do the hooks run other programs than those of the pinned maps? After an attach over a guard that
 * died half way they are still the guard's: what is written into the maps would have no effect.
 */
bool pins_stale(const struct pins *pins);

/* Does a program use that map? */
bool pins_program_uses(uint32_t prog_id, int map_fd);

/* Id of the program that runs in a hook on the NIC (not HOOK_tc_host_port); 0: none. */
uint32_t pins_program(const struct pins *pins, enum hook hook);

/* 0, or -ENODEV (gone) or -ESTALE, explained. For those who change a live attachment. */
int pins_check_nic(const struct pins *pins, struct ipsecbpf_report *report);

/* The hooks stay and drop what policy protects. An attachment without policy stays blocked. */
void pins_guard(const struct pins *pins);

/* Removes every pin of the attachment. Links whose last reference this is detach. */
void pins_remove(const struct paths *paths);

/*
 * Takes the lock that serialises attach, detach and policy apply; waits at most two seconds.
 * The descriptor to close, or -errno (-EBUSY; the holder's process id and command are in the
 * report).
 */
int pins_lock(const struct paths *paths, struct ipsecbpf_report *report);

/* The same without waiting and without a word: -EWOULDBLOCK if it is held. */
int pins_try_lock(const struct paths *paths);

/* Gives the lock back. Its file goes too where nothing is attached: nothing is left behind. */
void pins_unlock(const struct paths *paths, int lock);

/* pins_lock() and pins_open() in one, for those who change a live attachment. The lock, or -errno.
 */
int pins_open_locked(struct pins *pins, const char *ifname, struct ipsecbpf_report *report);

/* Undoes pins_open_locked(). */
void pins_close_locked(struct pins *pins, int lock);

#endif /* IPSECBPF_PIN_H */
