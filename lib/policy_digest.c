// SPDX-License-Identifier: BSD-2-Clause
/* What a (peer, protection) pair means for SAs, and what a rule says, as numbers: SHA-256. */
#include <errno.h>
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

/* What a rule says, octet by octet; each part is preceded by its length, so that none can be taken for
 * another. Kept from rule to rule. */
struct rule_text {
	uint8_t *data;
	size_t len, room;
	bool failed;		/* no memory */
};

static void put(struct rule_text *text, const void *data, size_t len)
{
	const uint32_t prefix = (uint32_t)len;
	size_t needed = text->len + sizeof(prefix) + len;

	if (needed > text->room) {
		uint8_t *larger = realloc(text->data, 2 * needed);

		if (!larger) {
			text->failed = true;
			return;
		}
		text->data = larger;
		text->room = 2 * needed;
	}
	memcpy(text->data + text->len, &prefix, sizeof(prefix));
	if (len)
		memcpy(text->data + text->len + sizeof(prefix), data, len);
	text->len = needed;
}

static void put_word(struct rule_text *text, const char *word)
{
	put(text, word, strlen(word));
}

static void put_numbers(struct rule_text *text, const struct port_list *list)
{
	put(text, list->items, list->count * sizeof(*list->items));
}

static void put_addresses(struct rule_text *text, const struct address_list *list)
{
	put(text, &list->count, sizeof(list->count));
	for (size_t i = 0; i < list->count; i++) {
		put(text, &list->items[i].family, sizeof(list->items[i].family));
		put(text, &list->items[i].lo, sizeof(list->items[i].lo));
		put(text, &list->items[i].hi, sizeof(list->items[i].hi));
	}
}

static void put_rule(struct rule_text *text, const struct policy *policy, const struct rule *rule)
{
	const uint8_t icmp[] = {
		rule->icmp_given, rule->icmp_type_lo, rule->icmp_type_hi, rule->icmp_code_lo,
		rule->icmp_code_hi,
	};

	put_word(text, rule->name);
	put_word(text, policy_direction_words[rule->direction]);
	put(text, &rule->origin, sizeof(rule->origin));
	put(text, &rule->interface_count, sizeof(rule->interface_count));
	for (size_t i = 0; i < rule->interface_count; i++)
		put_word(text, rule->interfaces[i]);
	put_addresses(text, &rule->local);
	put_addresses(text, &rule->remote);
	put(text, rule->protocols, rule->protocol_count);
	put_numbers(text, &rule->local_port);
	put_numbers(text, &rule->remote_port);
	put(text, icmp, sizeof(icmp));
	put_numbers(text, &rule->vlan);
	put_numbers(text, &rule->dscp);
	put_word(text, policy_action_words[rule->action]);
	if (rule->action != SPD_PROTECT)
		return;
	put_word(text, policy->peers[rule->peer].name);
	put_word(text, policy->protections[rule->protection].name);
}

int policy_rule_digests(const struct policy *policy, uint64_t *ret_digests)
{
	uint8_t hash[SHA256_DIGEST_LENGTH];
	struct rule_text text = { 0 };

	for (size_t i = 0; i < policy->rule_count && !text.failed; i++) {
		text.len = 0;
		put_rule(&text, policy, &policy->rules[i]);
		if (text.failed)
			break;
		SHA256(text.data, text.len, hash);
		memcpy(&ret_digests[i], hash, sizeof(ret_digests[i]));
	}
	free(text.data);
	return text.failed ? -ENOMEM : 0;
}
