/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What an attachment does with a packet, and with the answer to it, asked of its own programs
 * (oracle.h). Changes nothing that is live.
 *
 * Included by: the CLI's explain. Part of the public interface.
 * Ownership:   an explainer is the caller's; what an explanation points to belongs to the
 *              explainer, and is good until its next call.
 */
#ifndef IPSECBPF_EXPLAIN_H
#define IPSECBPF_EXPLAIN_H

#include "capture_file.h"
#include "ipsecbpf.h"
#include "packet_spec.h"

/* What becomes of a packet. X(enumerator, JSON/CLI word) */
#define EXPLAIN_DECISIONS(X)	\
	X(BYPASS, "bypass")	\
	X(PROTECT, "protect")	\
	X(VERIFY, "verify")	\
	X(DROP, "drop")

enum explain_decision {
#define X(id, word) EXPLAIN_##id,
	EXPLAIN_DECISIONS(X)
#undef X
	EXPLAIN_DECISION_COUNT
};
const char *explain_decision_name(enum explain_decision decision);

/* The rule that decided. */
struct explain_rule {
	uint32_t index;			/* in the policy, from 0; SPD_RULE_DEFAULT: none did */
	uint32_t line;			/* where it begins in: */
	const char *file;		/* absolute, or "-"; NULL: what `policy show` prints */
	const char *name;		/* NULL if none did */
	const char *application;	/* whose rule it is; NULL: everybody's */
	const char *text;		/* the rule as JSON on one line; NULL if none did */
	const char *peer, *protection;	/* NULL unless it protects; no peer: no SA could ever do so */
	enum spd_level level;		/* of a rule that protects */
};

#define EXPLAIN_SAS_MAX (BUNDLE_MAX + INBOUND_SAS_MAX)

/* One hook's word on one packet. */
struct explain_part {
	enum spd_direction direction;
	enum explain_decision decision;
	struct packet_verdict verdict;	/* and what the hook has read in the packet */
	struct explain_rule rule;	/* if the verdict says that policy was asked */
	const char *app;		/* whose packet it is taken for; NULL: no application's */
	bool passed;			/* counted under: */
	enum pass_counter counter;
	/* Protected: the SA in use, then those around it. Verified: the SA it names. Dropped
	 * because it should have been protected: the SAs by which it would be accepted. */
	struct ipsecbpf_sa_info sas[EXPLAIN_SAS_MAX];
	size_t sa_count;
	uint32_t inner_mtu;		/* protected: through all of its SAs; 0: not known */
};

struct explanation {
	struct explain_part packet, answer;
	bool answered;			/* there is an answer */
};

struct explain_packet {
	enum spd_direction direction;
	const struct capture_frame *frame;	/* or, if that is NULL: */
	const struct packet_spec *spec;
	bool forwarded;
	/* Whose packet: an application, from 1, 0: none's, or APP_ASK_MAPS: as noted of its
	 * addresses and ports at this moment. Of an application, so is the answer; otherwise that
	 * is as noted. */
	uint32_t app;
};

struct explainer;

/* NULL + errno, explained in report. */
struct explainer *explainer_open(const char *ifname, struct ipsecbpf_report *report);
void explainer_close(struct explainer *explainer);

/* An application of the policy in force, from 1; 0, with the reason in report: there is none. */
uint32_t explainer_app(struct explainer *explainer, const char *name,
		       struct ipsecbpf_report *report);

/*
 * 0 or -errno; -EINVAL: nothing can be said of this captured packet, others may be asked about.
 * Warnings in report are of what no program can know (no worker runs), once for each explainer.
 */
int explainer_ask(struct explainer *explainer, const struct explain_packet *packet,
		  struct explanation *ret_explanation, struct ipsecbpf_report *report);

#endif /* IPSECBPF_EXPLAIN_H */
