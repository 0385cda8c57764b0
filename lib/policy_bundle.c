// SPDX-License-Identifier: BSD-2-Clause
/*
 * SA bundles (RFC 4301 4.5): which pair's SAs lie within which, and whether that can work. A
 * protection lies within at most one other, so that a bundle is a chain.
 */
#include "policy_internal.h"

bool policy_outer_pair(const struct policy *policy, struct policy_pair inner,
		       struct policy_pair *ret_outer)
{
	const struct protection *protection = &policy->protections[inner.protection];

	if (!protection->nested)
		return false;
	ret_outer->peer = protection->within.peer == PEER_SAME ? inner.peer :
								 protection->within.peer;
	ret_outer->protection = protection->within.protection;
	return true;
}

const char *protection_suite_name(const struct protection *protection,
				  const struct esp_suite *suite)
{
	return protection->protocol == PROTECTION_AH && suite->ah_name ? suite->ah_name :
									  suite->name;
}

/* SAs from this protection's to the outermost; 0 if the chain has no end. */
static size_t bundle_depth(const struct policy *policy, size_t index)
{
	size_t depth = 1;

	for (; policy->protections[index].nested; depth++) {
		if (depth > policy->protection_count)
			return 0;
		index = policy->protections[index].within.protection;
	}
	return depth;
}

/* Whether the chain leads back to this protection, the first of that circle in the file. */
static bool begins_circle(const struct policy *policy, size_t start)
{
	size_t at = start;

	for (size_t i = 0; i < policy->protection_count && policy->protections[at].nested; i++) {
		at = policy->protections[at].within.protection;
		if (at <= start)
			return at == start;
	}
	return false;
}

static void report_circle(const struct policy *policy, const struct protection *protection,
			  struct ipsecbpf_report *report)
{
	const struct protection *outer = &policy->protections[protection->within.protection];

	if (outer == protection)
		policy_report_at(policy, report, REPORT_ERROR, protection->within_at,
				 "protection \"%s\" lies within itself: name another, or leave "
				 "\"within\" out", protection->name);
	else
		policy_report_at(policy, report, REPORT_ERROR, protection->within_at,
				 "protection \"%s\" lies within \"%s\" (line %u), and that in the "
				 "end within \"%s\": leave \"within\" out of the outermost",
				 protection->name, outer->name, outer->at.line, protection->name);
}

size_t policy_check_bundles(const struct policy *policy, struct ipsecbpf_report *report)
{
	size_t errors = 0;

	for (size_t i = 0; i < policy->protection_count; i++) {
		const struct protection *protection = &policy->protections[i];
		size_t depth = bundle_depth(policy, i);

		if (depth > BUNDLE_MAX)
			policy_report_at(policy, report, REPORT_ERROR, protection->within_at,
					 "protection \"%s\": its packets would be inside %zu SAs, "
					 "and the limit is %d: leave \"within\" out of one of them",
					 protection->name, depth, BUNDLE_MAX);
		else if (!depth && begins_circle(policy, i))
			report_circle(policy, protection, report);
		else
			continue;
		errors++;
	}
	return errors;
}

/* Transport mode goes between the same two addresses as what it carries. */
static bool carries(const struct policy *policy, struct policy_pair outer, struct policy_pair inner)
{
	return policy->protections[outer.protection].mode == MODE_TUNNEL ||
	       outer.peer == inner.peer;
}

static void report_not_carried(const struct policy *policy, const struct rule *rule,
			       struct policy_pair inner, struct policy_pair outer,
			       struct ipsecbpf_report *report)
{
	const struct protection *around = &policy->protections[outer.protection];

	policy_report_at(policy, report, REPORT_ERROR, rule->at,
			 "rule \"%s\": protection \"%s\" with peer \"%s\" cannot lie within "
			 "protection \"%s\" (line %u) with peer \"%s\": transport mode carries only "
			 "what goes to the same peer: name that one, or use mode \"tunnel\" around it",
			 rule->name, policy->protections[inner.protection].name,
			 policy->peers[inner.peer].name, around->name, around->at.line,
			 policy->peers[outer.peer].name);
}

size_t policy_check_bundle_of(const struct policy *policy, const struct rule *rule,
			      struct ipsecbpf_report *report)
{
	struct policy_pair inner = { rule->peer, rule->protection }, outer;

	/* Bounded, for this is asked of circles as well. */
	for (int i = 1; i < BUNDLE_MAX && policy_outer_pair(policy, inner, &outer); i++) {
		if (!policy->protections[outer.protection].suite_count)
			return 0;	/* has errors of its own */
		if (!carries(policy, outer, inner)) {
			report_not_carried(policy, rule, inner, outer, report);
			return 1;
		}
		inner = outer;
	}
	return 0;
}
