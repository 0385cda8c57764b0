// SPDX-License-Identifier: BSD-2-Clause
/* What a (peer, protection) pair means for SAs, and what a rule says, as numbers: the one of
 * SHA-256 over a canonical text, the other quickly. */
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

/* ---- rules --------------------------------------------------------------------------------- */

/*
 * There may be 100,000 of them, and no more depends on it than whose counters go on: FNV-1a, over
 * whole words. Each list is preceded by its length, so that none can be taken for another.
 */
static void put(uint64_t *hash, uint64_t word)
{
	*hash = (*hash ^ word) * 0x100000001b3u;
	*hash ^= *hash >> 32;
}

static void put_text(uint64_t *hash, const char *text)
{
	size_t len = strlen(text);

	put(hash, len);
	for (size_t i = 0; i < len; i += sizeof(uint64_t)) {
		uint64_t word = 0;

		memcpy(&word, text + i, len - i < sizeof(word) ? len - i : sizeof(word));
		put(hash, word);
	}
}

static void put_numbers(uint64_t *hash, const struct port_list *list)
{
	put(hash, list->count);
	for (size_t i = 0; i < list->count; i++)
		put(hash, (uint64_t)list->items[i].lo << 16 | list->items[i].hi);
}

static void put_addresses(uint64_t *hash, const struct address_list *list)
{
	put(hash, list->count);
	for (size_t i = 0; i < list->count; i++) {
		const struct address_range *range = &list->items[i];

		put(hash, range->family);
		put(hash, range->lo.hi);
		put(hash, range->lo.lo);
		put(hash, range->hi.hi);
		put(hash, range->hi.lo);
	}
}

uint64_t policy_rule_digest(const struct policy *policy, size_t index)
{
	const struct rule *rule = &policy->rules[index];
	uint64_t hash = 0xcbf29ce484222325u;

	put_text(&hash, rule->name);
	put_text(&hash, rule->application ?
			policy->applications[rule->application - 1].name : "");
	put(&hash, rule->direction);
	put(&hash, rule->origin);
	put(&hash, rule->interface_count);
	for (size_t i = 0; i < rule->interface_count; i++)
		put_text(&hash, rule->interfaces[i]);
	put_addresses(&hash, &rule->local);
	put_addresses(&hash, &rule->remote);
	put(&hash, rule->protocol_count);
	for (size_t i = 0; i < rule->protocol_count; i++)
		put(&hash, rule->protocols[i]);
	put_numbers(&hash, &rule->local_port);
	put_numbers(&hash, &rule->remote_port);
	put(&hash, rule->icmp_given);
	put(&hash, (uint64_t)rule->icmp_type_lo << 24 | (uint64_t)rule->icmp_type_hi << 16 |
		   (uint64_t)rule->icmp_code_lo << 8 | rule->icmp_code_hi);
	put_numbers(&hash, &rule->vlan);
	put_numbers(&hash, &rule->dscp);
	put(&hash, rule->action);
	if (rule->action == SPD_PROTECT) {
		put_text(&hash, rule->peer == PEER_NONE ? "" : policy->peers[rule->peer].name);
		put_text(&hash, policy->protections[rule->protection].name);
		put(&hash, rule->level);
	}
	return hash;
}
