/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * "Did you mean": the known word nearest to a mistyped one.
 *
 * Included by: options.c, help.c.
 */
#ifndef CTL_SUGGEST_H
#define CTL_SUGGEST_H

#include <stddef.h>

struct suggestion {
	const char *word;	/* the best so far; NULL: nothing is near enough */
	size_t distance;
};

/* Offers one candidate for what was `typed`. `word` must outlive the suggestion. */
void suggest_offer(struct suggestion *suggestion, const char *typed, const char *word);

#endif /* CTL_SUGGEST_H */
