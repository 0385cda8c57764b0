/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * libipsecbpf: the public interface. ctl/ includes only this (and what it includes).
 *
 * Conventions: functions return 0 or -errno and explain failures in `report` (object, cause, next
 * step); pointers come back NULL + errno. Outputs named ret_ are written on success only.
 * Interfaces are named as in the caller's network namespace. Nothing here prints or exits.
 */
#ifndef IPSECBPF_H
#define IPSECBPF_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include "abi_user.h"
#include "policy.h"
#include "preflight_checks.h"
#include "report.h"
#include "sa.h"

#define IPSECBPF_VERSION "0.1.0"
#define IPSECBPF_DEFAULT_POLICY "/etc/ipsecbpf/policy.json"

/* ---- attach -------------------------------------------------------------------------------- */

enum xdp_mode { XDP_MODE_NATIVE, XDP_MODE_GENERIC };

struct ipsecbpf_attach_opts {
	size_t sz;			/* sizeof(struct ipsecbpf_attach_opts) */
	const char *policy_path;	/* NULL: the last good one of this interface, else
					 * IPSECBPF_DEFAULT_POLICY, else start blocked */
	const char *sa_path;		/* NULL: no SAs yet */
	bool fresh;			/* for sa_path, as SA_APPLY_FRESH */
	enum xdp_mode xdp_mode;
	uint32_t mark_value, mark_mask;	/* skb->mark of verified packets; mask 0: the defaults */
	uint32_t sa_slots;		/* 0: SA_SLOTS_DEFAULT */
	uint32_t trial_seconds;		/* 0: none; else detach --open by itself unless confirmed */
	const char *engine;		/* crypto engine by name; NULL: the best */
	int32_t busy_poll_us;		/* longest time the worker looks for packets before it
					 * sleeps; 0: BUSY_POLL_US_DEFAULT; negative: none */
	bool force;			/* attach although the ssh session would be cut off */
	const char *cgroup;		/* where the socket hooks go, a directory of cgroup2; NULL: its
					 * root, if it is mounted */
};

#define BUSY_POLL_US_DEFAULT 200	/* as guest_halt_poll_ns of the kernel's haltpoll */
#define BUSY_POLL_US_MAX     10000

#define IPSECBPF_MARK_VALUE 0xe5000000u
#define IPSECBPF_MARK_MASK  0xff000000u

/* Attaches, loads policy and SAs, starts the supervisor (a daemon) and returns when it is ready. */
int ipsecbpf_attach(const char *ifname, const struct ipsecbpf_attach_opts *opts,
		    struct ipsecbpf_report *report);

/* Ends a trial period: the attachment stays. -ENOENT if none is running. */
int ipsecbpf_confirm(const char *ifname, struct ipsecbpf_report *report);

/* Stops the supervisor and worker and forgets all SAs. open: removes the hooks as well; otherwise
 * they stay as a guard that drops what policy wants protected. */
int ipsecbpf_detach(const char *ifname, bool open, struct ipsecbpf_report *report);

struct ipsecbpf_status {
	char ifname[16];
	unsigned int ifindex;
	const char *state;		/* "running", "blocked", "guard", "supervisor-dead", "gone" */
	const char *xdp_mode;		/* "native", "generic" */
	const char *tc_mode;		/* "tcx", "clsact" */
	const char *wire_mode;		/* "zero-copy", "copy" */
	char host_port[16];
	char engine[64];		/* crypto engines in use, in order of priority */
	uint32_t busy_poll_us;		/* 0: the worker does not busy-poll */
	uint32_t queues;
	uint32_t policy_serial;		/* 0: none loaded */
	uint32_t rules;
	uint32_t sas_in, sas_out;
	int32_t supervisor_pid, worker_pid;	/* 0: not running */
	uint32_t worker_restarts;
	uint32_t mark_value, mark_mask;
	uint32_t mtu, inner_mtu;	/* inner: smallest over the outbound SAs; 0 if none */
	int64_t trial_left;		/* seconds; -1: no trial */
	int64_t confirm_left;		/* of the policy's trial, seconds; -1: none */
	uint64_t dropped;		/* all reasons */
	uint32_t applications;		/* of the policy */
	bool names_unwatched;		/* it has host names, and nobody follows them */
	bool hooks_unwatched;		/* it has applications, and nobody looks after them */
	int socket_hooks;		/* that there are; 0: neither attached nor needed */
	int socket_hooks_attached;
	char cgroup[ATTACH_CGROUP_LEN];	/* where; "": cgroup2 is not mounted */
	bool cgroup_gone;		/* it was removed since */
};
int ipsecbpf_status(const char *ifname, struct ipsecbpf_status *ret_status,
		    struct ipsecbpf_report *report);

/* Names of all attachments in this network namespace; *ret_names is malloc'd, as are its items.
 * -EPERM or -EACCES: the caller may not look. */
int ipsecbpf_list(char ***ret_names, size_t *ret_count);

/* ---- policy (struct policy and its functions are in policy.h) ------------------------------- */

struct ipsecbpf_apply_result {
	bool changed;
	uint32_t serial;
	uint32_t entries;		/* compiled, in all trees */
	uint32_t steps;			/* nodes and entries that the longest search reads */
	uint64_t memory;		/* octets that hooks search */
	uint64_t counters_memory;	/* octets, for all CPUs */
	uint32_t orphaned_sas;		/* SAs whose protection changed its definition */
};
struct ipsecbpf_policy_opts {
	size_t sz;			/* sizeof(struct ipsecbpf_policy_opts) */
	bool dry_run;			/* everything but putting it in force */
	uint32_t confirm_seconds;	/* 0: for good; else the policy before comes back by itself */
};
/*
 * All or nothing. An equal policy changes nothing. For good, it is kept on disk as the last good one
 * (what cannot be kept is not applied), unless the attachment is on trial. -EBUSY: another policy is
 * on trial, or somebody else is changing the attachment. opts may be NULL.
 */
int ipsecbpf_policy_apply(const char *ifname, struct policy *policy,
			  const struct ipsecbpf_policy_opts *opts,
			  struct ipsecbpf_apply_result *ret_result, struct ipsecbpf_report *report);
/* Ends a policy's trial: it stays and is kept on disk; or, undo, the policy before comes back at
 * once. -ENOENT if none is running any more. */
int ipsecbpf_policy_confirm(const char *ifname, bool undo, struct ipsecbpf_report *report);
/* The live policy; NULL + errno (ENODATA, without a word in report: none is loaded). Free it with
 * policy_free(). */
struct policy *ipsecbpf_policy_live(const char *ifname, struct ipsecbpf_report *report);

/* ---- SAs ----------------------------------------------------------------------------------- */

struct sa_file {
	struct sa_config *sas;		/* wiped and freed by sa_file_free() */
	size_t count;
};
/* Reads an SA file ("-": stdin). Files must be regular, owned by root or the caller, mode 0600 or
 * stricter. */
struct sa_file *sa_file_load(const char *path, struct ipsecbpf_report *report);
struct sa_file *sa_file_parse(char *text, size_t len, const char *name,
			      struct ipsecbpf_report *report);	/* wipes text */
void sa_file_free(struct sa_file *file);

#define SA_APPLY_FRESH (1u << 0)	/* outbound keys without a record were never used: start one */

struct ipsecbpf_sa_result {
	uint32_t added, unchanged;
};
int ipsecbpf_sa_apply(const char *ifname, const struct sa_file *file, uint32_t flags,
		      struct ipsecbpf_sa_result *ret_result, struct ipsecbpf_report *report);
int ipsecbpf_sa_flush(const char *ifname, uint32_t *ret_removed, struct ipsecbpf_report *report);


/* Names one SA (RFC 4301 4.1). */
struct ipsecbpf_sa_id {
	union wire_addr dst;
	__be32 spi;
	uint8_t proto;			/* IPPROTO_ESP, IPPROTO_AH */
	uint8_t family;			/* enum ip_family of dst */
};
/* -ENOENT: there is no such SA. */
int ipsecbpf_sa_delete(const char *ifname, const struct ipsecbpf_sa_id *id,
		       struct ipsecbpf_report *report);

#define SA_SWITCH_AFTER_DEFAULT 10	/* seconds */
#define SA_DRAIN_DEFAULT	60

struct ipsecbpf_sa_rotate_opts {
	size_t sz;			/* sizeof(struct ipsecbpf_sa_rotate_opts) */
	uint32_t flags;			/* SA_APPLY_FRESH */
	uint32_t switch_after;		/* seconds; 0: SA_SWITCH_AFTER_DEFAULT */
	uint32_t drain;			/* seconds; 0: SA_DRAIN_DEFAULT */
};
/*
 * Make before break: the file's inbound SAs are used at once, its outbound ones when the peer has
 * been heard by its new half, or after switch_after. The inbound SAs that they replace live on for
 * drain seconds from then. -EBUSY: a rotation between the same two is pending.
 */
int ipsecbpf_sa_rotate(const char *ifname, const struct sa_file *file,
		       const struct ipsecbpf_sa_rotate_opts *opts,
		       struct ipsecbpf_sa_result *ret_result, struct ipsecbpf_report *report);

/* Where in its life an SA is. X(enumerator, JSON/CLI word) */
#define SA_STAGES(X)		\
	X(LIVE, "valid")	\
	X(DYING, "dying")	\
	X(PENDING, "pending")	\
	X(DRAINING, "draining")

enum sa_stage {
#define X(id, word) STAGE_##id,
	SA_STAGES(X)
#undef X
	STAGE_COUNT
};
const char *sa_stage_name(unsigned int stage);

struct ipsecbpf_sa_info {
	union wire_addr src, dst;
	__be32 spi;
	uint8_t proto, family, direction;	/* enum ip_family, enum spd_direction */
	bool tunnel, esn;
	bool active;			/* outbound: the SA in use for its protection */
	bool nested;			/* within another SA */
	uint8_t stage;			/* enum sa_stage */
	__be16 encap_sport, encap_dport;	/* ESP in UDP; 0: plain */
	__be16 moved_port;		/* the peer was heard of at moved_to; 0: never elsewhere */
	union wire_addr moved_to;
	uint32_t path_mtu;		/* learnt lately; 0: no */
	uint32_t replay_window;
	uint32_t slot;
	uint32_t inner_mtu;
	const char *suite;
	char peer[NAME_LEN], protection[NAME_LEN];
	char fingerprint[SA_FINGERPRINT_LEN + 1];
	uint64_t seq;			/* last sent, or highest received */
	uint64_t packets, bytes, icv_failed, replayed;
	uint64_t lost;			/* inbound: left the replay window without having come */
	uint64_t age;			/* seconds since it was added */
	struct sa_limits soft, hard;
	struct sa_limits left;		/* until hard; only where there is such a limit */
	uint64_t idle_ms;		/* since the last packet; UINT64_MAX: never used */
};
int ipsecbpf_sa_list(const char *ifname, struct ipsecbpf_sa_info **ret_sas, size_t *ret_count,
		     struct ipsecbpf_report *report);

/* What happens to an SA. X(enumerator, JSON/CLI word) */
#define SA_CHANGES(X)		\
	X(ADDED, "added")	\
	X(DYING, "dying")	\
	X(EXPIRED, "expired")	\
	X(REMOVED, "removed")	\
	X(ROTATED, "rotated")

enum sa_change {
#define X(id, word) SA_CHANGE_##id,
	SA_CHANGES(X)
#undef X
	SA_CHANGE_COUNT
};
const char *sa_change_name(unsigned int change);

/* Why. X(enumerator, JSON word, text) */
#define SA_CAUSES(X)								\
	X(NONE, "none", "")							\
	X(BYTES, "bytes", "limit in octets")					\
	X(PACKETS, "packets", "limit in packets")				\
	X(SECONDS, "seconds", "limit in time")					\
	X(SEQUENCE, "sequence", "three quarters of the sequence numbers are used")	\
	X(COMMAND, "command", "by command")					\
	X(ROTATION, "rotation", "replaced by a rotation")			\
	X(PEER, "peer", "in use: the peer sends by its new SA")			\
	X(WAITED, "waited", "in use: the peer has had its time")

enum sa_cause {
#define X(id, word, text) SA_CAUSE_##id,
	SA_CAUSES(X)
#undef X
	SA_CAUSE_COUNT
};
const char *sa_cause_name(unsigned int cause);
const char *sa_cause_text(unsigned int cause);

struct ipsecbpf_sa_event {
	uint64_t serial;		/* counts events of one attachment, from 1 */
	uint64_t ns;			/* CLOCK_MONOTONIC */
	union wire_addr src, dst;
	__be32 spi;
	uint8_t proto, family, direction;
	uint8_t change, why;		/* enum sa_change, enum sa_cause */
	char peer[NAME_LEN], protection[NAME_LEN];
};

struct ipsecbpf_genkey_opts {
	size_t sz;
	const char *src, *dst;		/* addresses of the two hosts */
	const char *suite;		/* NULL: aes128gcm16, or sha256 with AH */
	const char *protection;		/* name in the policy; NULL: "default" */
	bool ah;			/* AH instead of ESP: `suite` is one of AH's */
	bool tunnel, no_esn;
	bool one_way;			/* only src -> dst */
	bool allow_legacy;		/* suite may be one of the past */
	uint32_t replay_window;		/* 0: 1024 */
	uint32_t spi;			/* of the first SA; 0: random */
	uint16_t encap_sport, encap_dport;	/* UDP ports src to dst, host byte order; 0: none */
};
/* Writes an SA file with new keys from getrandom() to `out`, and starts their reservation records
 * on this host, so that applying it here needs no SA_APPLY_FRESH. */
int ipsecbpf_sa_genkey(const struct ipsecbpf_genkey_opts *opts, FILE *out,
		       struct ipsecbpf_report *report);

/*
 * Writes the SAs as lines of Wireshark's table esp_sa, with their keys, to `out`. SAs that
 * Wireshark cannot decrypt (of AH, or of AES-GMAC) are named there in comments and warned of;
 * -ENOTSUP, and nothing written, if that is all of them. Lines of a suite that only newer versions
 * know are commented out, with a warning.
 */
int ipsecbpf_sa_export_wireshark(const struct sa_file *file, FILE *out,
				 struct ipsecbpf_report *report);

/* ---- statistics, events, preflight ---------------------------------------------------------- */

struct ipsecbpf_stats {
	uint64_t passes[PASS_SLOTS];	/* by enum pass_counter */
	uint64_t drops[DROP_SLOTS];	/* by enum drop_reason, BPF and worker together */
	struct worker_stats worker;
};
int ipsecbpf_stats(const char *ifname, struct ipsecbpf_stats *ret_stats,
		   struct ipsecbpf_report *report);

struct ipsecbpf_monitor;
struct ipsecbpf_monitor_ops {
	/* `rule` is the one that decided: NULL if none did, or if another policy has come between.
	 * Its line is of `file`; NULL: of what `policy show` prints. `app`: the application whose rule
	 * it is, or NULL */
	void (*drop)(void *context, const struct drop_event *event, const struct rule *rule,
		     const char *file, const char *app);
	/* drops that no event came of: there were too many at once */
	void (*lost)(void *context, uint64_t count);
	/* counters that the worker raised since the last call, and changes of state */
	void (*worker_drop)(void *context, enum drop_reason reason, uint64_t count);
	void (*notice)(void *context, const char *text);
	void (*sa)(void *context, const struct ipsecbpf_sa_event *event);
};
/* NULL + errno, explained; EBUSY: there is one already, of this process or another. */
struct ipsecbpf_monitor *ipsecbpf_monitor_open(const char *ifname,
					       const struct ipsecbpf_monitor_ops *ops, void *context,
					       struct ipsecbpf_report *report);
/*
 * Waits up to timeout_ms and calls ops. The number of events, or -errno (-EINTR: a signal;
 * -ESTALE: the attachment is gone, detached or attached anew).
 */
int ipsecbpf_monitor_poll(struct ipsecbpf_monitor *monitor, int timeout_ms);
void ipsecbpf_monitor_close(struct ipsecbpf_monitor *monitor);

enum preflight_result { PREFLIGHT_OK, PREFLIGHT_WARNING, PREFLIGHT_FAILURE };

struct preflight_finding {
	enum preflight_check check;
	enum preflight_result result;
	char found[640];		/* what was found, one sentence */
	char fix[224];			/* the command that mends it; "": none is known, or needed */
};
typedef void (*preflight_fn)(void *context, const struct preflight_finding *finding);

struct ipsecbpf_preflight_opts {	/* as attach would be told */
	size_t sz;
	enum xdp_mode xdp_mode;
	uint32_t mark_value, mark_mask;	/* mask 0: the defaults */
};
/*
 * Would attach work? Calls fn once per check, in the order of preflight_checks.h; a check that
 * cannot be asked (of an interface that is not there, without the capability) is left out. Changes
 * nothing. opts may be NULL. Returns the number of failures, or -errno.
 */
int ipsecbpf_preflight(const char *ifname, const struct ipsecbpf_preflight_opts *opts,
		       preflight_fn fn, void *context);

const char *drop_reason_name(enum drop_reason reason);	/* "clear_text" */
const char *drop_reason_text(enum drop_reason reason);
const char *drop_reason_where(enum drop_reason reason);	/* "bpf", "worker", "bpf+worker" */
const char *pass_counter_name(enum pass_counter counter);
const char *pass_counter_text(enum pass_counter counter);

#endif /* IPSECBPF_H */
