// SPDX-License-Identifier: BSD-2-Clause
#include "suggest.h"

#include <string.h>

#define WORD_MAX_LEN 32

static size_t min3(size_t a, size_t b, size_t c)
{
	size_t least = a < b ? a : b;

	return least < c ? least : c;
}

/* Levenshtein's distance: insertions, deletions and substitutions. */
static size_t edit_distance(const char *a, size_t a_len, const char *b, size_t b_len)
{
	size_t row[WORD_MAX_LEN + 1];

	for (size_t j = 0; j <= b_len; j++)
		row[j] = j;
	for (size_t i = 1; i <= a_len; i++) {
		size_t diagonal = row[0];

		row[0] = i;
		for (size_t j = 1; j <= b_len; j++) {
			size_t above = row[j];

			row[j] = min3(above + 1, row[j - 1] + 1, diagonal + (a[i - 1] != b[j - 1]));
			diagonal = above;
		}
	}
	return row[b_len];
}

void suggest_offer(struct suggestion *suggestion, const char *typed, const char *word)
{
	size_t typed_len = strlen(typed), word_len = strlen(word);
	size_t distance;

	if (!typed_len || typed_len > WORD_MAX_LEN || word_len > WORD_MAX_LEN)
		return;
	distance = edit_distance(typed, typed_len, word, word_len);
	if (typed_len >= 2 && !strncmp(typed, word, typed_len))
		distance = 1;	/* a beginning of the word is a near miss, however short */
	if (distance > 1 + typed_len / 4 || (suggestion->word && distance >= suggestion->distance))
		return;
	suggestion->word = word;
	suggestion->distance = distance;
}
