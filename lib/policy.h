/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The policy, from JSON text to compiled SPD entries. The steps, one file each, all pure:
 *   policy_json.c     text -> struct policy (every error with line:column)
 *   policy_check.c    what JSON Schema cannot say (all errors, then warnings)
 *   policy_lint*.c, policy_shadow.c, policy_risk.c    what is right and may be a mistake still
 *   policy_bundle.c   the same of SAs within SAs; and what lies within what
 *   policy_json_app.c, policy_json_network.c, policy_check_app.c  "applications" of the text
 *   policy_apps.c     applications -> rules, with the addresses that host names stand for
 *   policy_match*.c   applications -> who is which, in cells
 *   policy_boxes.c    rules -> boxes: what each of a snapshot's trees is made of
 *   policy_compile.c  struct policy -> struct policy_compiled for one interface
 *   policy_show.c     struct policy -> canonical JSON; and the differences of two policies
 *   policy_digest.c   what a protection means, as a number
 *   policy_needs.c    the SAs that it cannot do without
 * policy_apply.c (not pure) writes a compiled policy into the BPF maps.
 *
 * Included by: the files above, sa_apply.c, the CLI, unit tests.
 * Ownership:   policy_free() frees everything a policy points to. Not thread safe.
 */
#ifndef IPSECBPF_POLICY_H
#define IPSECBPF_POLICY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "abi_user.h"
#include "json_where.h"
#include "report.h"
#include "spd_tree.h"
#include "suite.h"

#define POLICY_VERSION 1

/* An inclusive range of addresses of one family. */
struct address_range {
	uint8_t family;		/* enum ip_family */
	struct addr128 lo, hi;
};

struct address_list {
	struct address_range *items;
	size_t count;		/* 0: any address of any family */
};

struct port_range {
	uint16_t lo, hi;
};

/* Of ports; of VLAN ids and of DSCPs as well. */
struct port_list {
	struct port_range *items;
	size_t count;		/* 0: any port */
};

#define VLAN_ID_MAX 4094	/* 4095 is reserved (IEEE 802.1Q 9.6) */
#define DSCP_MAX    63

enum protection_type { PROTECTION_ENCRYPTION, PROTECTION_AUTHENTICATION };
enum protection_mode { MODE_TRANSPORT, MODE_TUNNEL };
enum protection_protocol { PROTECTION_ESP, PROTECTION_AH };
enum fragment_rule { FRAGMENTS_REASSEMBLE, FRAGMENTS_DISCARD };

/* A peer, and how traffic with it is protected: what rules name and SAs serve. Indices. */
struct policy_pair {
	size_t peer, protection;
};

#define PEER_SAME SIZE_MAX	/* of protection.within.peer: whichever the inner SAs are with */

struct protection {
	char name[NAME_LEN];
	enum protection_protocol protocol;
	enum protection_type type;		/* PROTECTION_AUTHENTICATION with AH */
	enum protection_mode mode;
	enum fragment_rule fragments;		/* what becomes of outbound IP fragments */
	enum spd_level level;			/* of rules and applications that say nothing else */
	const struct esp_suite **suites;	/* allowed, in order of preference; at least one */
	size_t suite_count;
	bool allow_legacy;			/* suites of the past may be among them */
	bool nested;				/* its SAs are carried inside others, those of: */
	struct policy_pair within;
	struct position at, within_at;
};

struct peer {
	char name[NAME_LEN];
	struct address_list addresses;		/* single addresses: lo == hi; at least one */
	struct position at;
};

enum rule_direction { RULE_BOTH, RULE_IN, RULE_OUT };
enum rule_origin { ORIGIN_ANY, ORIGIN_LOCAL, ORIGIN_FORWARDED };

struct rule {
	char name[NAME_LEN];
	enum rule_direction direction;
	enum rule_origin origin;		/* only with RULE_OUT */
	char **interfaces;			/* shell patterns (fnmatch); none: every interface */
	size_t interface_count;
	struct address_list local, remote;
	uint8_t *protocols;
	size_t protocol_count;			/* 0: any */
	struct port_list local_port, remote_port;
	bool icmp_given;
	uint8_t icmp_type_lo, icmp_type_hi, icmp_code_lo, icmp_code_hi;
	struct port_list vlan;			/* 0: untagged; every packet shows one */
	struct port_list dscp;			/* the same */
	enum spd_action action;
	size_t peer, protection;		/* indices; only with SPD_PROTECT */
	enum spd_level level;			/* only with SPD_PROTECT */
	size_t application;			/* whose packets alone it is for; 0: everybody's */
	uint32_t accept_risk;			/* RISK_BIT(...): not warned of here */
	bool invalid;				/* while parsing: has errors; its name counts */
	struct position at;
};

/* ---- applications -------------------------------------------------------------------------- */

#define PEER_NONE SIZE_MAX	/* of rule.peer: there is no SA that it could ever have */

/* One way of being the application: all that is given must hold. At least one is. */
struct app_match {
	char *cgroup;		/* absolute, as below the root of cgroup2; its children too. NULL: any */
	char *unit;		/* systemd's, with its type: "vsftpd.service"; not beside cgroup */
	char *exe;		/* absolute */
	char *user, *group;	/* names or numbers, as written; of the real ids */
	struct position at;
};

enum app_network_class { APP_TRUSTED, APP_UNTRUSTED, APP_PROTECTED };

/* What a direction asks for. NONE: clear text; REQUEST: protection, if there is an SA (optional);
 * REQUIRE: protection (mandatory). */
enum app_demand { DEMAND_NONE, DEMAND_REQUEST, DEMAND_REQUIRE };

/* How what goes on in a protected network is protected; the first that matches the ports does. */
struct app_protect {
	uint8_t *protocols;
	size_t protocol_count;			/* 0: any */
	struct port_list local_port, remote_port;
	size_t *peers;				/* none: every peer that has an address in the network */
	size_t peer_count;
	size_t protection;
	enum app_demand demand[SPD_DIRECTION_COUNT];
	struct position at;
};

struct app_network {
	struct address_list remote;		/* as written; without both: any address */
	char **names;				/* hosts; what they stand for is in struct name_table */
	size_t name_count;
	enum app_network_class class;
	struct app_protect *protect;		/* only of APP_PROTECTED; at least one */
	size_t protect_count;
	struct position at;
};

struct application {
	char name[NAME_LEN];
	char *description;
	struct app_match *matches;		/* at least one */
	size_t match_count;
	struct app_network *networks;		/* the first that the remote address is in decides */
	size_t network_count;
	bool default_discard;			/* in no network: dropped; otherwise as the host's rules say */
	uint32_t optional_rate;			/* packets per second */
	uint32_t flows_max;
	uint32_t accept_risk;			/* RISK_BIT(...): not warned of here */
	bool invalid;				/* while parsing: has errors; its name counts */
	struct position at;
};
#define APP_OPTIONAL_RATE_DEFAULT 1000
#define APP_FLOWS_DEFAULT	  65536

/* The addresses of a host's name, as they were last known (lib/names_store.h fills it in). */
struct name_addresses {
	char *name;
	struct address_list addresses;
	int64_t *seen;		/* of each address: when an answer had it last, as resolved_at */
	bool secure;		/* DNSSEC: the resolver said so (AD), and is trusted with it */
	uint32_t ttl;		/* seconds; 0: not from DNS */
	int64_t resolved_at;	/* CLOCK_REALTIME, seconds */
	int64_t asked_at;	/* the same; later than that if it could not be resolved */
	uint32_t failure;	/* why not (enum names_failure); 0: it could */
	uint32_t failures;	/* in a row; not kept */
	int64_t held_until;	/* what it stands for now cannot be in force; not kept */
};

struct name_table {
	struct name_addresses *items;
	size_t count;
};

struct policy {
	char *origin;				/* file name for messages, "-" for stdin */
	/* Of the rules' lines: absolute, or "-"; NULL: they are those of the text it was read from. */
	char *file;
	uint32_t essential;			/* bits ESSENTIAL(...) */
	enum spd_action default_action[SPD_DIRECTION_COUNT];
	enum spd_action non_ip_action;
	uint32_t accept_risk;			/* RISK_BIT(...) of policy_risk.h: not warned of */
	struct protection *protections;
	size_t protection_count;
	struct peer *peers;
	size_t peer_count;
	struct rule *rules;
	size_t rule_count;			/* those of the file, which hold for everybody */
	struct application *applications;	/* in their order; 1 is the first in rule.application */
	size_t application_count;
	/* Behind the file's rules lie those that the applications come to, sorted by application. */
	size_t all_rule_count;
	struct name_table names;		/* what its host names stand for in those rules */
};

/*
 * Parses and checks a policy. `name` is used in messages. Every error found is added to `report`
 * (objects like "policy.json:12:7"); NULL if there was any, with errno EINVAL, or ENOMEM.
 * Warnings do not fail. The text need not end in NUL.
 */
struct policy *policy_parse(const char *text, size_t len, const char *name,
			    struct ipsecbpf_report *report);

/* policy_parse() on a file, or on standard input if path is "-". NULL + errno. At most 64 MiB. */
struct policy *policy_load(const char *path, struct ipsecbpf_report *report);

void policy_free(struct policy *policy);

/*
 * Replaces the rules behind the file's by what the applications come to, with these addresses for host
 * names (NULL: none are known; a name without addresses matches nothing). policy_parse() has done so
 * without names. Each rule's name is "APPLICATION/N[/M]": network N, protection M of it, from 1; or
 * "APPLICATION/default". A protected network is closed: what none of its protections allows is
 * discarded. 0 or -ENOMEM, -E2BIG; then nothing has changed.
 */
int policy_expand(struct policy *policy, const struct name_table *names);

/* Every host name in the policy, each once. *ret_names is malloc'd, the names stay the policy's. */
int policy_names(const struct policy *policy, const char ***ret_names, size_t *ret_count);

/* Called by policy_parse(): adds what it finds; the number of errors, SIZE_MAX without memory. */
size_t policy_check(const struct policy *policy, struct ipsecbpf_report *report);

/* Canonical JSON (stable key order, indented, defaults spelt out, final newline). malloc'd, or NULL
 * with ENOMEM. policy_parse() of it gives an equal policy. */
char *policy_show(const struct policy *policy);

/* One difference between two policies. */
struct policy_change {
	char sign;		/* '+' only in the new one, '-' only in the old one, '~' in both, differing */
	char *object;		/* "rule \"ftp\"", "peer \"b\"", "defaults", "order of rules" */
	char *detail;		/* what differs ("remote_port: 21 -> 20-21"), or NULL */
};

/* Differences from old to new, in file order; *ret_changes is malloc'd. 0 or -ENOMEM. */
int policy_diff(const struct policy *old_policy, const struct policy *new_policy,
		struct policy_change **ret_changes, size_t *ret_count);
void policy_changes_free(struct policy_change *changes, size_t count);

/*
 * The pair whose SAs go around those of `inner` on the wire (RFC 4301 4.5): false if none do. In a
 * policy that has been checked no chain of them is longer than BUNDLE_MAX, `inner` included.
 */
bool policy_outer_pair(const struct policy *policy, struct policy_pair inner,
		       struct policy_pair *ret_outer);

/* What the protection's protocol calls the suite: "null-sha256" in ESP is "sha256" in AH. */
const char *protection_suite_name(const struct protection *protection,
				  const struct esp_suite *suite);

/*
 * 64-bit digest of what (peer, protection) means for SAs: protocol, type, mode, fragments, suites
 * and addresses, but not the level, in which the ends may differ; in canonical order, then the names and the meaning of the pairs around it. Equal
 * meaning, equal digest, whatever order the file had them in. 0 only without memory.
 */
uint64_t policy_protection_digest(const struct policy *policy, size_t peer, size_t protection);

/*
 * A number that stays the same as long as a rule does: its name and its application's, what it
 * matches, its action and level, and the names of its peer and protection; not where it stands, nor which risks it accepts.
 */
uint64_t policy_rule_digest(const struct policy *policy, size_t index);

/* SAs of a pair without which rules that protect by it can only drop. */
struct policy_need {
	struct policy_pair pair;
	bool needed[SPD_DIRECTION_COUNT];
};

/*
 * What the rules for interface `ifname` need, the pairs around theirs included; each pair once, sorted
 * by peer, then protection. *ret_needs is malloc'd. 0 or -ENOMEM.
 */
int policy_needs(const struct policy *policy, const char *ifname, struct policy_need **ret_needs,
		 size_t *ret_count);

/* A snapshot (bpf/spd_cell.h), ready to be stored but for serial and text_len, which are 0. */
struct policy_compiled {
	struct spd_cells cells;
};

static inline struct spd_head *policy_head(const struct policy_compiled *compiled)
{
	return &compiled->cells.items[0].head;
}

/*
 * Gives the id of a (peer, protection) pair; 0 makes the compile fail. See protections.h. Asked for
 * every pair that a rule names, but first for those around it, from outside in.
 */
typedef uint32_t (*protect_id_fn)(void *context, size_t peer, size_t protection);

struct app_patterns;

struct policy_compile_input {
	const struct policy *policy;	/* expanded: policy_expand() */
	const char *ifname;
	protect_id_fn protect_id;
	void *context;			/* its */
	/* Who is which application (policy_match.h); NULL: nobody is one, their rules are there all the
	 * same. */
	const struct app_patterns *patterns;
};

/*
 * Compiles for interface `ifname`. Only rules whose interfaces match take part, but `rule` in the
 * entries stays the index in the file. Each application's rules make trees of its own. Too many
 * entries, or too much memory or time for a search, is an error naming the limit.
 * 0 or -errno (EINVAL, with the cause in report; ENOMEM).
 */
int policy_compile(const struct policy_compile_input *input, struct policy_compiled *ret_compiled,
		   struct ipsecbpf_report *report);
void policy_compiled_fini(struct policy_compiled *compiled);

/* Numeric form of addresses and back; shared with SA files and the CLI. */
bool address_parse(const char *text, struct address_range *ret_range, const char **ret_error);
/* `out` of at least 100 octets: "10.0.0.0/8", "10.0.0.1", "10.0.0.1-10.0.0.9", "fd00::/8" */
void address_format(const struct address_range *range, char *out, size_t out_len);
struct addr128 addr128_from_wire(enum ip_family family, const union wire_addr *wire);
union wire_addr addr128_to_wire(enum ip_family family, struct addr128 addr);

#endif /* IPSECBPF_POLICY_H */
