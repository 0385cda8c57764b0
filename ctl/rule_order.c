// SPDX-License-Identifier: BSD-2-Clause
#include "rule_order.h"

#include <stdlib.h>

static int compare(const void *a, const void *b)
{
	const struct rule_stat *x = *(const struct rule_stat *const *)a;
	const struct rule_stat *y = *(const struct rule_stat *const *)b;

	if (x->packets != y->packets)
		return x->packets > y->packets ? -1 : 1;
	return x < y ? -1 : x > y;	/* of one array: in the policy's order */
}

const struct rule_stat **rule_order(const struct rule_stats *stats, size_t limit,
				    size_t *ret_count)
{
	const struct rule_stat **order = calloc(stats->count + 1, sizeof(*order));
	size_t count = 0;

	if (!order)
		return NULL;
	for (size_t i = 0; i < stats->count; i++)
		if (stats->rules[i].packets)
			order[count++] = &stats->rules[i];
	qsort(order, count, sizeof(*order), compare);
	*ret_count = limit && count > limit ? limit : count;
	return order;
}
