/* SPDX-License-Identifier: BSD-2-Clause */
/* The rules that were hit most. Included by: stats.c, metrics_gather.c. */
#ifndef CTL_RULE_ORDER_H
#define CTL_RULE_ORDER_H

#include "lib/rule_stats.h"

/*
 * At most `limit` (0: all) of the rules that have been hit, most packets first, of equal ones the
 * first of the policy. malloc'd, NULL without memory; what it points to stays the stats'.
 */
const struct rule_stat **rule_order(const struct rule_stats *stats, size_t limit,
				    size_t *ret_count);

#endif /* CTL_RULE_ORDER_H */
