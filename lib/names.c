// SPDX-License-Identifier: BSD-2-Clause
/* Words for the enumerations of bpf/abi.h and ipsecbpf.h, from the same lists. */
#include "ipsecbpf.h"

#define X(id, word, where, text) [DROP_##id] = word,
static const char *const drop_names[] = { DROP_REASONS(X) };
#undef X
#define X(id, word, where, text) [DROP_##id] = text,
static const char *const drop_texts[] = { DROP_REASONS(X) };
#undef X
#define X(id, word, where, text) [DROP_##id] = where,
static const char *const drop_wheres[] = { DROP_REASONS(X) };
#undef X
#define X(id, word, text) [PASS_##id] = word,
static const char *const pass_names[] = { PASS_COUNTERS(X) };
#undef X
#define X(id, word, text) [PASS_##id] = text,
static const char *const pass_texts[] = { PASS_COUNTERS(X) };
#undef X

#define X(id, word) [STAGE_##id] = word,
static const char *const stage_names[] = { SA_STAGES(X) };
#undef X
#define X(id, word) [SA_CHANGE_##id] = word,
static const char *const change_names[] = { SA_CHANGES(X) };
#undef X
#define X(id, word, text) [SA_CAUSE_##id] = word,
static const char *const cause_names[] = { SA_CAUSES(X) };
#undef X
#define X(id, word, text) [SA_CAUSE_##id] = text,
static const char *const cause_texts[] = { SA_CAUSES(X) };
#undef X

const char *drop_reason_name(enum drop_reason reason)
{
	return reason < DROP_REASON_COUNT ? drop_names[reason] : "unknown";
}

const char *drop_reason_text(enum drop_reason reason)
{
	return reason < DROP_REASON_COUNT ? drop_texts[reason]
					  : "a reason this version does not know";
}

const char *drop_reason_where(enum drop_reason reason)
{
	return reason < DROP_REASON_COUNT ? drop_wheres[reason] : "bpf+worker";
}

const char *pass_counter_name(enum pass_counter counter)
{
	return counter < PASS_COUNTER_COUNT ? pass_names[counter] : "unknown";
}

const char *pass_counter_text(enum pass_counter counter)
{
	return counter < PASS_COUNTER_COUNT ? pass_texts[counter] : "";
}

const char *sa_stage_name(unsigned int stage)
{
	return stage < STAGE_COUNT ? stage_names[stage] : "unknown";
}

const char *sa_change_name(unsigned int change)
{
	return change < SA_CHANGE_COUNT ? change_names[change] : "unknown";
}

const char *sa_cause_name(unsigned int cause)
{
	return cause < SA_CAUSE_COUNT ? cause_names[cause] : "unknown";
}

const char *sa_cause_text(unsigned int cause)
{
	return cause < SA_CAUSE_COUNT ? cause_texts[cause] : "";
}
