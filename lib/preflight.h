/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Preflight's inside: probes fill in the facts and judge nothing; judges look at the facts alone
 * (no system call), one for each check of preflight_checks.h. So judges are tested with facts that
 * no machine at hand has.
 *
 * Included by: preflight*.c, attach.c (which refuses what preflight calls a failure).
 */
#ifndef IPSECBPF_PREFLIGHT_H
#define IPSECBPF_PREFLIGHT_H

#include <linux/capability.h>

#include "app_reach.h"
#include "ipsecbpf.h"
#include "net_others.h"
#include "nic.h"
#include "nic_features.h"

/* X(capability) that attach, supervisor and worker start need; see sandbox.c. */
#define PREFLIGHT_CAPABILITIES(X)                                                           \
	X(NET_ADMIN) X(NET_RAW) X(BPF) X(IPC_LOCK) X(KILL) X(SETUID) X(SETGID) X(SETPCAP)

/* X(name, text): parts of a check, named if they are missing */
#define PREFLIGHT_FEATURES(X)                                                               \
	X(XDP, "XDP") X(TC, "tc programs") X(XSKMAP, "xskmap") X(RINGBUF, "ring buffer")    \
	X(LOOP_XDP, "bpf_loop in XDP") X(LOOP_TC, "bpf_loop in tc")                         \
	X(REDIRECT_MAP, "bpf_redirect_map") X(PERCPU_ARRAY, "per-CPU arrays")
#define PREFLIGHT_APP_FEATURES(X)                                                           \
	X(SK_STORAGE, "sk_storage") X(CGROUP_SOCK, "cgroup/sock") X(CGROUP_ADDR, "cgroup/connect") \
	X(CGROUP_SOCKOPT, "cgroup/sockopt") X(CGROUP_SKB, "cgroup_skb")                     \
	X(SKB_CGROUP_ID, "bpf_skb_cgroup_id")

enum preflight_feature {
#define X(name, text) FEATURE_##name,
	PREFLIGHT_FEATURES(X)
#undef X
	FEATURE_COUNT
};

enum preflight_app_feature {
#define X(name, text) APP_FEATURE_##name,
	PREFLIGHT_APP_FEATURES(X)
#undef X
	APP_FEATURE_COUNT
};

/* What attach would find of an earlier one. */
enum preflight_attachment {
	ATTACHMENT_NOT_ASKED,
	ATTACHMENT_NONE,
	ATTACHMENT_STALE,	/* of an interface of this name that is gone */
	ATTACHMENT_LIVE,
	ATTACHMENT_GUARD,
	ATTACHMENT_ORPHAN,	/* no supervisor answers */
	ATTACHMENT_FOREIGN_ABI,
	ATTACHMENT_BROKEN,
};

/* A directory, or its nearest parent that exists. */
struct preflight_directory {
	char path[256];
	bool exists;		/* path is the directory itself */
	int err;		/* 0, or why it cannot be written */
};

struct preflight_process {
	bool root;
	uint64_t capabilities;		/* effective; bit n: capability n */
	uint64_t memlock, memlock_hard;	/* octets; UINT64_MAX: no limit */
	bool bpf_by_cgroup;		/* maps are counted by the cgroup, not against memlock */
};

struct preflight_kernel {
	bool asked;			/* BPF may be asked about */
	uint64_t features, app_features; /* bits: enum preflight_(app_)feature */
	bool inner_maps, btf, jit, tcx;
	bool clsact;			/* asked where there is no tcx */
	int af_xdp;			/* 0 or -errno; 1: not asked */
	bool programs_asked;
	int programs;			/* 0 or -errno */
	char programs_cause[512];
};

struct preflight_system {
	int bpffs;			/* 0, -ENOENT: not mounted, -EROFS, or another -errno */
	char cgroup2[256];		/* where; "": not mounted */
	bool cgroup2_hidden;		/* another mount lies on it */
	int tun;			/* 0 or -errno */
	bool tun_vnet_header;
	struct preflight_directory state, run;
	bool aes;
	char engine[32], engines[128];	/* the one chosen for AES-GCM; all */
};

struct preflight_nic {
	int err;			/* of reading it; nothing else is filled in then */
	struct nic nic;
	char master[16];		/* whose port it is; "": nobody's */
	struct app_reach reach;
	uint32_t cpus;
	int channels_err, rss_err, xdp_features_err, offloads_err, xdp_err, tc_err;
	struct nic_channels channels;
	uint32_t rss_queues;		/* that get packets */
	uint64_t xdp_features;
	struct nic_offloads offloads;
	struct nic_xdp xdp;
	struct nic_tc tc;
	uint32_t own_xdp, own_egress;	/* our programs' ids; 0: none by link */
	bool ours;			/* an attachment of ours is on this interface */
	enum preflight_attachment attachment;
	bool attachment_generic;
	char attachment_cause[256];
	bool session_asked, session;
};

struct preflight_network {
	int rp_filter_all, rp_filter, accept_local_all, accept_local; /* -1: not there */
	struct net_others others;
	int others_err;
};

#define PREFLIGHT_SHELL_NAME 80	/* $'' around four characters for each of the name's 15 */

struct preflight_facts {
	const char *ifname;
	char shell_name[PREFLIGHT_SHELL_NAME];	/* the same as a word for the shell, in fixes */
	struct ipsecbpf_preflight_opts wanted;	/* mark filled in */
	struct preflight_process process;
	struct preflight_kernel kernel;
	struct preflight_system system;
	struct preflight_nic nic;
	struct preflight_network network;
};

/* Probes. `attaching`: leave out what attach asks by itself, under its lock. Nothing is changed. */
void preflight_probe_process(struct preflight_facts *facts);
void preflight_probe_kernel(struct preflight_facts *facts, bool attaching);
void preflight_probe_system(struct preflight_facts *facts);
void preflight_probe_nic(struct preflight_facts *facts, bool attaching);
void preflight_probe_network(struct preflight_facts *facts);

/* One check, from the facts alone. A finding left empty: it could not be asked. */
typedef void (*preflight_judge_fn)(const struct preflight_facts *facts,
				   struct preflight_finding *finding);
#define X(id, group, title, asks)                                                           \
	void preflight_judge_##id(const struct preflight_facts *facts,                      \
				  struct preflight_finding *finding);
PREFLIGHT_CHECKS(X)
#undef X
/* Judges one check and fills in the finding whole. */
void preflight_judge(const struct preflight_facts *facts, enum preflight_check check,
		     struct preflight_finding *ret_finding);

/* Sets both names; `ifname` (at most 15 characters) is kept. */
void preflight_set_name(struct preflight_facts *facts, const char *ifname);

/* For judges. */
void preflight_found(struct preflight_finding *finding, enum preflight_result result,
		     const char *format, ...) __attribute__((format(printf, 3, 4)));
void preflight_fix(struct preflight_finding *finding, const char *format, ...)
	__attribute__((format(printf, 2, 3)));
#define PREFLIGHT_HAS(facts, name) ((facts)->process.capabilities >> CAP_##name & 1)

/* What makes attach fail, into the report. 0, or -EPERM if there is anything. */
int preflight_refuse(const char *ifname, const struct ipsecbpf_preflight_opts *opts,
		     struct ipsecbpf_report *report);

#endif /* IPSECBPF_PREFLIGHT_H */
