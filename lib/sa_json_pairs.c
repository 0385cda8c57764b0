// SPDX-License-Identifier: BSD-2-Clause
/* What two SAs of a file may not share: what identifies them, and nonces under one key. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "sa_json.h"

/*
 * By what identifies an SA to its receiver (RFC 4301 section 4.1). Ports of ESP in UDP are not part
 * of it: an SA in UDP and a plain one of the same SPI are refused, although a receiver could tell
 * them apart, because nobody who reads the file could.
 */
static int by_id(const void *a, const void *b)
{
	const struct sa_config *x = *(const struct sa_config *const *)a;
	const struct sa_config *y = *(const struct sa_config *const *)b;
	int order = memcmp(&x->dst, &y->dst, sizeof(x->dst));

	if (!order)
		order = (x->family > y->family) - (x->family < y->family);
	if (!order)
		order = (x->proto > y->proto) - (x->proto < y->proto);
	if (!order)
		order = (x->spi > y->spi) - (x->spi < y->spi);
	return order;
}

/* By what must not be counted twice: the cipher key, in all ciphers that share its nonces. */
static int by_key(const void *a, const void *b)
{
	const struct sa_config *x = *(const struct sa_config *const *)a;
	const struct sa_config *y = *(const struct sa_config *const *)b;
	const struct esp_suite *xs = suite_at(x->suite), *ys = suite_at(y->suite);
	int order = strcmp(suite_key_group(xs), suite_key_group(ys));

	if (!order)
		order = (xs->key_len > ys->key_len) - (xs->key_len < ys->key_len);
	return order ? order : memcmp(x->key, y->key, xs->key_len);
}

static void report_pair(struct json_reader *reader, const struct file_reading *reading,
			const struct sa_config *a, const struct sa_config *b, const char *what)
{
	size_t first = (size_t)(a - reading->file->sas), second = (size_t)(b - reading->file->sas);

	if (first > second) {
		size_t swap = first;

		first = second;
		second = swap;
	}
	json_error_at(reader, reading->at[second], NULL, "sas[%zu]: %s as sas[%zu] (line %u)", second,
		      what, first, reading->at[first].line);
}

/*
 * Two hosts that send under one counter-mode key count from the same numbers: they would repeat
 * each other's nonces at once (RFC 4106 section 2). Several SAs of one sender are kept apart by
 * their shared reservation.
 */
static bool nonces_collide(const struct sa_config *a, const struct sa_config *b)
{
	return suite_at(a->suite)->counter_mode && memcmp(&a->src, &b->src, sizeof(a->src));
}

int sa_json_check_pairs(struct json_reader *reader, const struct file_reading *reading)
{
	size_t count = reading->file->count;
	const struct sa_config **sorted = calloc(count ? count : 1, sizeof(*sorted));

	if (!sorted)
		return -ENOMEM;
	for (size_t i = 0; i < count; i++)
		sorted[i] = &reading->file->sas[i];
	qsort(sorted, count, sizeof(*sorted), by_id);
	for (size_t i = 1; i < count; i++)
		if (!by_id(&sorted[i - 1], &sorted[i]))
			report_pair(reader, reading, sorted[i - 1], sorted[i],
				    "the same dst, proto and spi");
	qsort(sorted, count, sizeof(*sorted), by_key);
	for (size_t i = 1; i < count; i++)
		if (!by_key(&sorted[i - 1], &sorted[i]) && nonces_collide(sorted[i - 1], sorted[i]))
			report_pair(reader, reading, sorted[i - 1], sorted[i],
				    "another sender with the same key (nonces would repeat)");
	free(sorted);
	return 0;
}
