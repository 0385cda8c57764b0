/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What the policy's steps share with each other and nobody else needs.
 *
 * Included by: policy_*.c, address.c.
 */
#ifndef IPSECBPF_POLICY_INTERNAL_H
#define IPSECBPF_POLICY_INTERNAL_H

#include "policy.h"
#include "policy_risk.h"

#define POLICY_RULES_MAX	131072	/* as many as a snapshot counts */
#define POLICY_LIST_MAX		1024	/* elements of one selector: more would not compile */

#define POLICY_NAMES_MAX	256	/* hosts of one network */
#define POLICY_APP_NAME_MAX	(NAME_LEN - 1 - 10)	/* "/1024/1024" is added for its rules */
#define POLICY_ID_MAX		0xfffffffe	/* of users and groups; -1 is nobody's */

#define PROTO_ICMP	1
#define PROTO_ICMPV6	58

/* X(number, name in policies, has ports) */
#define POLICY_PROTOCOLS(X)		\
	X(1, "icmp", false)		\
	X(2, "igmp", false)		\
	X(4, "ipip", false)		\
	X(6, "tcp", true)		\
	X(17, "udp", true)		\
	X(33, "dccp", true)		\
	X(41, "ipv6", false)		\
	X(47, "gre", false)		\
	X(50, "esp", false)		\
	X(51, "ah", false)		\
	X(58, "icmpv6", false)		\
	X(89, "ospf", false)		\
	X(103, "pim", false)		\
	X(112, "vrrp", false)		\
	X(115, "l2tp", false)		\
	X(132, "sctp", true)		\
	X(136, "udplite", true)

struct policy_protocol {
	const char *name;
	uint8_t number;
	bool ports;
};

/* The named protocols, ended by a NULL name; and the one of a number, or NULL. */
extern const struct policy_protocol policy_protocols[];
const struct policy_protocol *policy_protocol_find(uint8_t number);

/*
 * Codepoints by name (RFC 2474, 2597, 3246, 5865, 8622). X(number, name); of two names for one
 * number the first is shown.
 */
#define POLICY_DSCPS(X)									\
	X(0, "cs0") X(0, "default") X(1, "le")						\
	X(8, "cs1") X(10, "af11") X(12, "af12") X(14, "af13")				\
	X(16, "cs2") X(18, "af21") X(20, "af22") X(22, "af23")				\
	X(24, "cs3") X(26, "af31") X(28, "af32") X(30, "af33")				\
	X(32, "cs4") X(34, "af41") X(36, "af42") X(38, "af43")				\
	X(40, "cs5") X(44, "va") X(46, "ef") X(48, "cs6") X(56, "cs7")

struct policy_dscp {
	const char *name;
	uint8_t number;
};

/* The named codepoints, ended by a NULL name; and the name of a number, or NULL. */
extern const struct policy_dscp policy_dscps[];
const char *policy_dscp_name(uint8_t number);

/* Words of enum protection_type and so on, as in JSON, each list ended by NULL. */
extern const char *const policy_protocol_words[], *const policy_fragment_words[];
extern const char *const policy_type_words[], *const policy_mode_words[];
extern const char *const policy_level_words[], *const policy_class_words[];
extern const char *const policy_demand_words[];
extern const char *const policy_direction_words[], *const policy_origin_words[];
extern const char *const policy_action_words[], *const policy_essential_words[];

/* Adds an item about the thing at `at` of the policy's file. */
void policy_report_at(const struct policy *policy, struct ipsecbpf_report *report,
		      enum report_level level, struct position at, const char *format, ...)
	__attribute__((format(printf, 5, 6)));

/* Frees what a rule, an application points to. */
void policy_rule_fini(struct rule *rule);
void policy_application_fini(struct application *application);

/* ---- policy_load.c ---- */

/* A whole file ("-": standard input), at most one octet longer than any that is accepted. *ret_text
 * is malloc'd. 0 or -errno, explained in report. */
int policy_read_file(const char *path, char **ret_text, size_t *ret_len,
		     struct ipsecbpf_report *report);
/* ---- policy_risk.c, policy_lint*.c, policy_shadow.c: warnings ---- */

extern const char *const policy_risk_words[];	/* by enum policy_risk, ended by NULL */

/* Which, and where: at a rule or of an application, which may accept it, or at another place. */
struct risk_at {
	enum policy_risk risk;
	const struct rule *rule;	/* NULL: it concerns no rule */
	const struct application *application;	/* likewise */
	struct position at;		/* unless there is a rule */
};

#define WARNINGS_MAX 100	/* of one kind; the rest are counted */

/* Where warnings go, and how many of each kind there were. */
struct risk_log {
	const struct policy *policy;
	struct ipsecbpf_report *report;
	size_t said[POLICY_RISK_COUNT];
};

/* Adds a warning, unless the policy or the rule accepts the risk. */
void policy_warn(struct risk_log *log, struct risk_at risk, const char *format, ...)
	__attribute__((format(printf, 3, 4)));

/* Says how many warnings were not listed, once all were given. */
void policy_warn_of_rest(const struct risk_log *log);

struct selector;
struct rule_space;
struct linting {
	const struct policy *policy;	/* without errors */
	const struct selector *selectors;	/* one per rule */
	struct rule_space *space;	/* of them */
	const bool *at_corner;		/* of each rule: earlier ones might leave it nothing */
	struct risk_log *log;
};
#define lint_warn(linting, id, of_rule, ...)							\
	policy_warn((linting)->log, (struct risk_at){ .risk = RISK_##id, .rule = (of_rule) },	\
		    __VA_ARGS__)
#define lint_warn_at(linting, id, position, ...)						\
	policy_warn((linting)->log, (struct risk_at){ .risk = RISK_##id, .at = (position) },	\
		    __VA_ARGS__)

#define lint_warn_of(linting, id, of_application, position, ...)					\
	policy_warn((linting)->log, (struct risk_at){ .risk = RISK_##id,			\
		    .application = (of_application), .at = (position) }, __VA_ARGS__)

extern const char *const lint_family_words[];	/* by enum ip_family */

/* False: no memory. */
bool policy_lint(const struct linting *linting);
bool policy_lint_pairs(const struct linting *linting);
bool policy_lint_applications(const struct linting *linting);
/* ret_gave_up_at: the first rule that has too many parts to know; RULE_NONE: none. */
bool policy_lint_shadows(const struct linting *linting, size_t *ret_gave_up_at);

/* What hosts of two families do when only one is protected (policy_lint_gaps.c). */
struct lint_gaps;
struct lint_gaps *lint_gaps_init(const struct linting *linting);	/* NULL: no memory */
void lint_gaps_fini(struct lint_gaps *gaps);
void lint_gaps_warn(const struct lint_gaps *gaps, size_t rule);

/* ---- policy_bundle.c: called by policy_check(); each returns how many errors it reported ---- */

/* Whether every protection's bundle has an outermost SA, and not too many. */
size_t policy_check_bundles(const struct policy *policy, struct ipsecbpf_report *report);

/* Whether the SAs that protect this rule's packets can be carried as the policy says. The rule is
 * good in itself, and has action protect. */
size_t policy_check_bundle_of(const struct policy *policy, const struct rule *rule,
			      struct ipsecbpf_report *report);

/* ---- policy_check_app.c ---- */

/* What is wrong with applications; how many errors it reported, SIZE_MAX without memory. */
size_t policy_check_applications(const struct policy *policy, struct ipsecbpf_report *report);

/* Whether one of the peer's addresses is in the network, by its addresses alone. */
bool app_network_has_peer(const struct app_network *network, const struct peer *peer);

/* Whether it is any address: what comes behind it is of no use. */
bool app_network_is_any(const struct app_network *network);

/* ---- address.c ---- */

int addr128_compare(struct addr128 a, struct addr128 b);
struct address_range address_whole_family(enum ip_family family);

/* ---- policy_selector.c: a rule's selectors made comparable ---- */

enum selector_side { SIDE_LOCAL, SIDE_REMOTE, SIDE_COUNT };

/* What packets a rule can match, per family; lists are sorted, without overlaps or duplicates. */
struct selector {
	const struct rule *rule;	/* borrowed: direction, origin, interfaces, ICMP */
	struct address_list address[SIDE_COUNT][FAMILY_COUNT];	/* count 0: none of this family */
	struct port_list port[SIDE_COUNT];			/* count 0: any, or none at all */
	struct port_list vlan, dscp;				/* count 0: any */
	uint64_t protocols[FAMILY_COUNT][4];			/* bitmap by number */
	bool any_protocol;
};

/* 0 or -ENOMEM. To be finished in both cases. */
int selector_init(struct selector *selector, const struct rule *rule);
void selector_fini(struct selector *selector);

/* Does the rule take part on this interface? */
bool rule_applies_to(const struct rule *rule, const char *ifname);

/* Whether a packet of this family can match at all. */
bool selector_matches_family(const struct selector *selector, enum ip_family family);

/* Whether every packet that `inner` matches is matched by `outer` as well. */
bool selector_covers(const struct selector *outer, const struct selector *inner);

/* The same of everything but addresses and protocols; of interfaces alone. */
bool selector_covers_upper(const struct selector *outer, const struct selector *inner);
bool selector_covers_interfaces(const struct selector *outer, const struct selector *inner);

/* Whether some packet may be matched by both. Interface patterns are taken to have something in
 * common only if one covers the other. */
bool selector_overlaps(const struct selector *a, const struct selector *b);

/* Whether each address of `inner` lies in `outer`; both sorted and merged. */
bool address_list_covers(const struct address_list *outer, const struct address_list *inner);

/* The addresses of one family of a list (any, if it is empty), sorted and merged. 0 or -ENOMEM. */
int address_list_of_family(const struct address_list *list, enum ip_family family,
			   struct address_list *ret_list);

/* ---- policy_show.c: parts that policy_diff.c compares; new references, NULL: no memory ---- */

struct json_t;
struct json_t *policy_show_defaults(const struct policy *policy);
struct json_t *policy_show_essential(const struct policy *policy);
struct json_t *policy_show_risks(uint32_t accept_risk);
struct json_t *policy_show_protection(const struct policy *policy, size_t index);
struct json_t *policy_show_peer(const struct policy *policy, size_t index);
struct json_t *policy_show_rule(const struct policy *policy, size_t index);
struct json_t *policy_show_application(const struct policy *policy, size_t index);

#endif /* IPSECBPF_POLICY_INTERNAL_H */
