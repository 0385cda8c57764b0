// SPDX-License-Identifier: BSD-2-Clause
#include "policy_risk.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include "policy_internal.h"

_Static_assert(POLICY_RISK_COUNT <= 32, "accept_risk has a bit for each");

static const struct policy_risk_text texts[] = {
#define X(id, code, name, reason, step)                                                            \
	[RISK_##id] = { .number = code, .word = name, .why = reason, .next = step },
	POLICY_RISKS(X)
#undef X
};

const char *const policy_risk_words[] = {
#define X(id, number, word, why, next) [RISK_##id] = word,
	POLICY_RISKS(X)
#undef X
	NULL
};

const struct policy_risk_text *policy_risk_text(enum policy_risk risk)
{
	return &texts[risk];
}

void policy_warn(const struct policy *policy, struct ipsecbpf_report *report, struct risk_at risk,
		 const char *format, ...)
{
	const struct policy_risk_text *text = &texts[risk.risk];
	uint32_t accepted = policy->accept_risk | (risk.rule ? risk.rule->accept_risk : 0);
	struct position at = risk.rule ? risk.rule->at : risk.at;
	char *object = NULL, *what = NULL, *next = NULL;
	va_list args;

	if (accepted & RISK_BIT(risk.risk))
		return;
	va_start(args, format);
	if (vasprintf(&what, format, args) < 0)
		what = NULL;
	va_end(args);
	if (asprintf(&object, "%s:%u:%u", policy->origin, at.line, at.column) < 0)
		object = NULL;
	if (asprintf(&next, "%s; or, if it is meant so: \"accept_risk\": [\"%s\"]", text->next,
		     text->word) < 0)
		next = NULL;
	report_add(report, REPORT_WARNING, object ? object : "policy", next, "W%u %s: %s: %s",
		   text->number, text->word, what ? what : "out of memory", text->why);
	free(object);
	free(what);
	free(next);
}
