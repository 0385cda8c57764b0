// SPDX-License-Identifier: BSD-2-Clause
/* What a (peer, protection) pair means for SAs, as a number: SHA-256 over a canonical text. */
#include <openssl/sha.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "policy_internal.h"

static int compare_suites(const void *a, const void *b)
{
	size_t x = suite_index(*(const struct esp_suite *const *)a);
	size_t y = suite_index(*(const struct esp_suite *const *)b);

	return x < y ? -1 : x > y;
}

static bool write_suites(FILE *stream, const struct protection *protection)
{
	const struct esp_suite **suites = calloc(protection->suite_count + 1, sizeof(*suites));

	if (!suites)
		return false;
	memcpy(suites, protection->suites, protection->suite_count * sizeof(*suites));
	qsort(suites, protection->suite_count, sizeof(*suites), compare_suites);
	for (size_t i = 0; i < protection->suite_count; i++)
		fprintf(stream, ";%s", protection_suite_name(protection, suites[i]));
	free(suites);
	return true;
}

static bool write_addresses(FILE *stream, const struct peer *peer)
{
	struct address_list sorted;
	char one[100];

	for (int family = 0; family < FAMILY_COUNT; family++) {
		if (address_list_of_family(&peer->addresses, family, &sorted))
			return false;
		for (size_t i = 0; i < sorted.count; i++) {
			address_format(&sorted.items[i], one, sizeof(one));
			fprintf(stream, ";%s", one);
		}
		free(sorted.items);
	}
	return true;
}

static bool write_pair(FILE *stream, const struct policy *policy, struct policy_pair pair)
{
	const struct protection *protection = &policy->protections[pair.protection];

	fprintf(stream, "%s;%s;%s;%s", policy_protocol_words[protection->protocol],
		policy_type_words[protection->type], policy_mode_words[protection->mode],
		policy_fragment_words[protection->fragments]);
	return write_suites(stream, protection) &&
	       write_addresses(stream, &policy->peers[pair.peer]);
}

/*
 * The names of the pairs around it are part of the meaning, for ids are given by name: an SA knows
 * the one around it by its id. No name has a semicolon.
 */
static bool write_bundle(FILE *stream, const struct policy *policy, struct policy_pair pair)
{
	if (!write_pair(stream, policy, pair))
		return false;
	while (policy_outer_pair(policy, pair, &pair)) {
		fprintf(stream, ";within;%s;%s;", policy->peers[pair.peer].name,
			policy->protections[pair.protection].name);
		if (!write_pair(stream, policy, pair))
			return false;
	}
	return true;
}

uint64_t policy_protection_digest(const struct policy *policy, size_t peer, size_t protection)
{
	uint8_t hash[SHA256_DIGEST_LENGTH];
	char *text = NULL;
	uint64_t digest = 0;
	size_t len = 0;
	FILE *stream;
	bool written;

	stream = open_memstream(&text, &len);
	if (!stream)
		return 0;
	written = write_bundle(stream, policy, (struct policy_pair){ peer, protection });
	if (!fclose(stream) && written) {
		SHA256((const unsigned char *)text, len, hash);
		memcpy(&digest, hash, sizeof(digest));
	}
	free(text);
	return digest;
}
