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

static void say(const struct risk_log *log, struct position at, const char *next, const char *what)
{
	char *object = NULL;

	if (asprintf(&object, "%s:%u:%u", log->policy->origin, at.line, at.column) < 0)
		object = NULL;
	report_add(log->report, REPORT_WARNING, object ? object : "policy", next, "%s", what);
	free(object);
}

void policy_warn(struct risk_log *log, struct risk_at risk, const char *format, ...)
{
	const struct policy_risk_text *text = &texts[risk.risk];
	uint32_t accepted = log->policy->accept_risk | (risk.rule ? risk.rule->accept_risk : 0) |
			    (risk.application ? risk.application->accept_risk : 0);
	char *said = NULL, *what = NULL, *next = NULL;
	va_list args;

	if (accepted & RISK_BIT(risk.risk) || log->said[risk.risk]++ >= WARNINGS_MAX)
		return;
	va_start(args, format);
	if (vasprintf(&said, format, args) < 0)
		said = NULL;
	va_end(args);
	if (asprintf(&what, "W%u %s: %s: %s", text->number, text->word,
		     said ? said : "out of memory", text->why) < 0)
		what = NULL;
	if (asprintf(&next, "%s; or, if it is meant so: \"accept_risk\": [\"%s\"]", text->next,
		     text->word) < 0)
		next = NULL;
	say(log, risk.rule ? risk.rule->at : risk.at, next, what ? what : "out of memory");
	free(said);
	free(what);
	free(next);
}

void policy_warn_of_rest(const struct risk_log *log)
{
	const struct position top = { .line = 1, .column = 1 };
	char *what;

	for (size_t risk = 0; risk < POLICY_RISK_COUNT; risk++) {
		if (log->said[risk] <= WARNINGS_MAX)
			continue;
		if (asprintf(&what, "W%u %s: %zu more warnings of this kind are not listed",
			     texts[risk].number, texts[risk].word,
			     log->said[risk] - WARNINGS_MAX) < 0)
			return;
		say(log, top, NULL, what);
		free(what);
	}
}
