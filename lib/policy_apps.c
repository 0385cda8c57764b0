// SPDX-License-Identifier: BSD-2-Clause
/* Applications -> rules. Pure. */
#include "policy_internal.h"

int policy_expand(struct policy *policy, const struct name_table *names)
{
	(void)names;
	policy->all_rule_count = policy->rule_count;
	return 0;
}
