// SPDX-License-Identifier: BSD-2-Clause
/* The words of a policy file: what the parser reads is what show prints. */
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include "policy_internal.h"

const struct policy_protocol policy_protocols[] = {
#define X(value, word, has_ports) { .name = word, .number = value, .ports = has_ports },
	POLICY_PROTOCOLS(X)
#undef X
	{ 0 }
};

const struct policy_protocol *policy_protocol_find(uint8_t number)
{
	for (const struct policy_protocol *protocol = policy_protocols; protocol->name; protocol++)
		if (protocol->number == number)
			return protocol;
	return NULL;
}

const struct policy_dscp policy_dscps[] = {
#define X(value, word) { .name = word, .number = value },
	POLICY_DSCPS(X)
#undef X
	{ 0 }
};

const char *policy_dscp_name(uint8_t number)
{
	for (const struct policy_dscp *dscp = policy_dscps; dscp->name; dscp++)
		if (dscp->number == number)
			return dscp->name;
	return NULL;
}

const char *const policy_type_words[] = {
	[PROTECTION_ENCRYPTION] = "encryption",
	[PROTECTION_AUTHENTICATION] = "authentication",
	NULL,
};

const char *const policy_protocol_words[] = {
	[PROTECTION_ESP] = "esp", [PROTECTION_AH] = "ah", NULL,
};

const char *const policy_fragment_words[] = {
	[FRAGMENTS_REASSEMBLE] = "reassemble", [FRAGMENTS_DISCARD] = "discard", NULL,
};

const char *const policy_mode_words[] = {
	[MODE_TRANSPORT] = "transport", [MODE_TUNNEL] = "tunnel", NULL,
};

const char *const policy_level_words[] = {
	[LEVEL_MANDATORY] = "mandatory", [LEVEL_OPTIONAL] = "optional", NULL,
};

const char *const policy_class_words[] = {
	[APP_TRUSTED] = "trusted",
	[APP_UNTRUSTED] = "untrusted",
	[APP_PROTECTED] = "protected",
	NULL,
};

const char *const policy_demand_words[] = {
	[DEMAND_NONE] = "none", [DEMAND_REQUEST] = "request", [DEMAND_REQUIRE] = "require", NULL,
};

const char *const policy_direction_words[] = {
	[RULE_BOTH] = "both", [RULE_IN] = "in", [RULE_OUT] = "out", NULL,
};

/* ORIGIN_ANY has no word: the key is left out. */
const char *const policy_origin_words[] = {
	[ORIGIN_LOCAL - 1] = "local", [ORIGIN_FORWARDED - 1] = "forwarded", NULL,
};

const char *const policy_action_words[] = {
#define X(id, word) [SPD_##id] = word,
	SPD_ACTIONS(X)
#undef X
	NULL
};

const char *const policy_essential_words[] = {
#define X(id, word, what) [ESSENTIAL_BIT_##id] = word,
	ESSENTIAL_TRAFFIC(X)
#undef X
	NULL
};

void policy_report_at(const struct policy *policy, struct ipsecbpf_report *report,
		      enum report_level level, struct position at, const char *format, ...)
{
	char *object = NULL, *cause = NULL;
	va_list args;

	va_start(args, format);
	if (vasprintf(&cause, format, args) < 0)
		cause = NULL;
	va_end(args);
	if (asprintf(&object, "%s:%u:%u", policy->origin, at.line, at.column) < 0)
		object = NULL;
	report_add(report, level, object ? object : "policy", NULL, "%s",
		   cause ? cause : "out of memory while reporting this");
	free(object);
	free(cause);
}
