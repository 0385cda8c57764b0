// SPDX-License-Identifier: BSD-2-Clause
#include "suggest.h"

#include <ctype.h>
#include <string.h>

#define WORD_MAX 64	/* longer words are not compared */

static size_t min3(size_t a, size_t b, size_t c)
{
	size_t least = a < b ? a : b;

	return least < c ? least : c;
}

static int same(char a, char b)
{
	return tolower((unsigned char)a) == tolower((unsigned char)b);
}

/* Optimal string alignment: insertions, deletions, substitutions, swapped neighbours. */
static size_t distance(const char *a, size_t a_len, const char *b, size_t b_len)
{
	size_t rows[3][WORD_MAX + 1];
	size_t *before = rows[0], *above = rows[1], *row = rows[2], *spare;

	for (size_t j = 0; j <= b_len; j++)
		above[j] = j;
	for (size_t i = 1; i <= a_len; i++) {
		row[0] = i;
		for (size_t j = 1; j <= b_len; j++) {
			row[j] = min3(above[j] + 1, row[j - 1] + 1,
				      above[j - 1] + !same(a[i - 1], b[j - 1]));
			if (i > 1 && j > 1 && same(a[i - 1], b[j - 2]) &&
			    same(a[i - 2], b[j - 1]) && before[j - 2] + 1 < row[j])
				row[j] = before[j - 2] + 1;
		}
		spare = before;
		before = above;
		above = row;
		row = spare;
	}
	return above[b_len];
}

void suggest_offer(struct suggest *suggest, const char *candidate)
{
	size_t word_len = strlen(suggest->word), len = strlen(candidate);
	size_t longer = word_len > len ? word_len : len;
	size_t edits;

	if (!word_len || !len || longer > WORD_MAX)
		return;
	edits = distance(suggest->word, word_len, candidate, len);
	if (edits > (longer < 6 ? 1 + (longer > 3) : longer / 3) || edits >= longer)
		return;
	if (suggest->best && suggest->distance <= edits)
		return;
	suggest->best = candidate;
	suggest->distance = edits;
}
