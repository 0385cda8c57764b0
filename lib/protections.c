// SPDX-License-Identifier: BSD-2-Clause
#include "protections.h"

#include <bpf/bpf.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "policy_trial.h"

static void key_of(struct protection_key *key, uint32_t generation, const char *peer,
		   const char *protection)
{
	memset(key, 0, sizeof(*key));
	key->generation = generation;
	snprintf(key->peer, sizeof(key->peer), "%s", peer);
	snprintf(key->protection, sizeof(key->protection), "%s", protection);
}

/* Ids of live SAs are taken even if their definition has gone: they must not serve a new one. */
static void take_ids_of_sas(struct protections *protections)
{
	const struct pins *pins = protections->pins;
	struct sa_slot slot;

	for (uint32_t i = 1; i < pins->attachment.sa_slots; i++)
		if (!bpf_map_lookup_elem(pins->sa_slots_fd, &i, &slot) && slot.used)
			protections->taken[slot.protect_id % PROTECT_MAX] = 1;
}

static void take_live_ids(struct protections *protections)
{
	int fd = protections->pins->protections_fd;
	struct protection_key key, *previous = NULL;
	struct protection_val value;

	while (!bpf_map_get_next_key(fd, previous, &key)) {
		if (!bpf_map_lookup_elem(fd, &key, &value))
			protections->taken[value.id % PROTECT_MAX] = 1;
		previous = &key;
	}
}

void protections_init(struct protections *protections, const struct pins *pins,
		      const struct policy *policy)
{
	*protections = (struct protections){
		.pins = pins,
		.policy = policy,
		.live = policy_generation(pins),
	};
	protections->taken[0] = 1;
	take_live_ids(protections);
	take_ids_of_sas(protections);
}

void protections_fini(struct protections *protections)
{
	free(protections->keys);
	free(protections->values);
	free(protections->pairs);
	protections->keys = NULL;
	protections->values = NULL;
	protections->pairs = NULL;
}

static bool grow(struct protections *protections)
{
	size_t capacity = protections->capacity ? protections->capacity * 2 : 16;
	void *keys, *values, *pairs;

	if (protections->count < protections->capacity)
		return true;
	keys = reallocarray(protections->keys, capacity, sizeof(*protections->keys));
	if (!keys)
		return false;
	protections->keys = keys;
	values = reallocarray(protections->values, capacity, sizeof(*protections->values));
	if (!values)
		return false;
	protections->values = values;
	pairs = reallocarray(protections->pairs, capacity, sizeof(*protections->pairs));
	if (!pairs)
		return false;
	protections->pairs = pairs;
	protections->capacity = capacity;
	return true;
}

static uint32_t free_id(struct protections *protections)
{
	for (uint32_t id = 1; id < PROTECT_MAX; id++)
		if (!protections->taken[id])
			return id;
	return 0;
}

/* Where a pair of the new policy is in `places`, or would be. Pairs are fewer than ids. */
static size_t place_of(const struct protections *protections, struct policy_pair pair)
{
	const size_t mask = 2 * PROTECT_MAX - 1;
	size_t place = (pair.peer * 0x9e3779b97f4a7c15u + pair.protection) * 0xc2b2ae3d27d4eb4fu >> 48;

	for (place &= mask; protections->places[place]; place = (place + 1) & mask) {
		const struct policy_pair *known =
			&protections->pairs[protections->places[place] - 1];

		if (known->peer == pair.peer && known->protection == pair.protection)
			break;
	}
	return place;
}

/* A pair of the new policy; NULL if it was not asked for yet. */
static const struct protection_val *find_new(const struct protections *protections,
					     struct policy_pair pair)
{
	uint16_t known = protections->places[place_of(protections, pair)];

	return known ? &protections->values[known - 1] : NULL;
}

static void note_new(struct protections *protections, struct policy_pair pair,
		     const struct protection_key *key, const struct protection_val *value)
{
	size_t place = place_of(protections, pair);

	protections->taken[value->id] = 1;
	protections->keys[protections->count] = *key;
	protections->values[protections->count] = *value;
	protections->pairs[protections->count++] = pair;
	protections->places[place] = (uint16_t)protections->count;
}

/* Keys are those of the generation in force: what is unchanged is looked up by them. */
static void key_of_pair(struct protection_key *key, const struct protections *protections,
			struct policy_pair pair)
{
	const struct policy *policy = protections->policy;

	key_of(key, protections->live, policy->peers[pair.peer].name,
	       policy->protections[pair.protection].name);
}

/* The id of the pair around this one: SAs know it by that, so it must be the very same for both. */
static uint32_t outer_id(const struct protections *protections, struct policy_pair pair)
{
	const struct protection_val *value = NULL;

	if (policy_outer_pair(protections->policy, pair, &pair))
		value = find_new(protections, pair);
	return value ? value->id : 0;
}

uint32_t protections_id(void *context, size_t peer, size_t protection)
{
	struct protections *protections = context;
	const struct policy *policy = protections->policy;
	struct policy_pair pair = { peer, protection };
	struct protection_val value = { 0 }, wanted = { 0 };
	const struct protection_val *known;
	struct protection_key key;

	known = find_new(protections, pair);
	if (known)
		return known->id;
	key_of_pair(&key, protections, pair);
	wanted.digest = policy_protection_digest(policy, peer, protection);
	wanted.within_id = outer_id(protections, pair);
	if (bpf_map_lookup_elem(protections->pins->protections_fd, &key, &value) ||
	    value.digest != wanted.digest || value.within_id != wanted.within_id) {
		value = wanted;
		value.id = free_id(protections);
	}
	if (!value.id || !grow(protections))
		return 0;
	note_new(protections, pair, &key, &value);
	return value.id;
}

/* ---- pairs that no policy names any more, but that an SA has served ----------------------- */

static uint32_t count_remembered(const struct pins *pins)
{
	struct protection_key key, *previous = NULL;
	uint32_t count = 0;

	while (!bpf_map_get_next_key(pins->protections_fd, previous, &key)) {
		count += key.generation == PROTECTION_HAD_SA;
		previous = &key;
	}
	return count;
}

static bool is_remembered(const struct pins *pins, const struct protection_key *pair)
{
	struct protection_val value;
	struct protection_key key;

	key_of(&key, PROTECTION_HAD_SA, pair->peer, pair->protection);
	if (!bpf_map_lookup_elem(pins->protections_fd, &key, &value))
		return true;
	key_of(&key, PROTECTION_HAD_SA, "", "");
	return !bpf_map_lookup_elem(pins->protections_fd, &key, &value);
}

/* A pair whose generation goes. If the other one names it, by whatever definition, that has had an SA,
 * too: one that served during a trial, say, which is undone. */
static void remember(const struct pins *pins, const struct protection_key *pair, uint32_t *count)
{
	const struct protection_val none = { 0 };
	struct protection_key key = *pair;
	struct protection_val value;
	uint32_t had = 0;

	if (bpf_map_lookup_elem(pins->protections_fd, pair, &value) ||
	    bpf_map_lookup_elem(pins->had_sa_fd, &value.id, &had) || !had)
		return;
	key.generation = !pair->generation;
	if (!bpf_map_lookup_elem(pins->protections_fd, &key, &value)) {
		bpf_map_update_elem(pins->had_sa_fd, &value.id, &had, 0);
		return;
	}
	if (is_remembered(pins, pair))
		return;
	if (*count < PROTECT_MAX)
		key.generation = PROTECTION_HAD_SA;
	else
		key_of(&key, PROTECTION_HAD_SA, "", "");
	bpf_map_update_elem(pins->protections_fd, &key, &none, 0);
	(*count)++;
}

void protections_remove(const struct pins *pins, uint32_t generation)
{
	uint32_t remembered = count_remembered(pins);
	struct protection_key key = { 0 }, next = { 0 };
	bool more = !bpf_map_get_next_key(pins->protections_fd, NULL, &key);

	while (more) {
		if (key.generation == generation && generation != PROTECTION_HAD_SA)
			remember(pins, &key, &remembered);
		/* Before deleting: a key that is gone has no successor. */
		more = !bpf_map_get_next_key(pins->protections_fd, &key, &next);
		if (key.generation == generation)
			bpf_map_delete_elem(pins->protections_fd, &key);
		key = next;
	}
}

bool protections_are_live(const struct protections *protections)
{
	for (size_t i = 0; i < protections->count; i++) {
		struct protection_val live;

		if (bpf_map_lookup_elem(protections->pins->protections_fd, &protections->keys[i],
					&live) ||
		    live.id != protections->values[i].id ||
		    live.within_id != protections->values[i].within_id ||
		    live.digest != protections->values[i].digest)
			return false;
	}
	return true;
}

/*
 * An id that the policy in force does not have for this pair. If it has the pair under another, SAs
 * have served it if they have served that; if not, a policy before may have had it. What was there
 * of an id that was somebody else's says nothing of it.
 */
static int inherit_had_sa(const struct pins *pins, const struct protection_key *live_key,
			  uint32_t id)
{
	struct protection_val live;
	uint32_t had = 0;

	if (!bpf_map_lookup_elem(pins->protections_fd, live_key, &live)) {
		if (live.id == id)
			return 0;
		if (bpf_map_lookup_elem(pins->had_sa_fd, &live.id, &had))
			return -errno;
	} else {
		had = is_remembered(pins, live_key);
	}
	return bpf_map_update_elem(pins->had_sa_fd, &id, &had, 0) ? -errno : 0;
}

int protections_add(const struct protections *protections)
{
	int err, fd = protections->pins->protections_fd;

	for (size_t i = 0; i < protections->count; i++) {
		struct protection_key key = protections->keys[i];

		err = inherit_had_sa(protections->pins, &key, protections->values[i].id);
		if (err)
			return err;
		key.generation = !protections->live;
		if (bpf_map_update_elem(fd, &key, &protections->values[i], 0))
			return -errno;
	}
	return 0;
}

struct protection_val protections_live(const struct pins *pins, const char *peer,
				       const char *protection)
{
	struct protection_val value = { 0 };
	struct protection_key key;

	key_of(&key, policy_generation(pins), peer, protection);
	if (bpf_map_lookup_elem(pins->protections_fd, &key, &value))
		value = (struct protection_val){ 0 };
	return value;
}

uint32_t protections_live_id(const struct pins *pins, const char *peer, const char *protection)
{
	return protections_live(pins, peer, protection).id;
}
