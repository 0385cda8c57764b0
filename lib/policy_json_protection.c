// SPDX-License-Identifier: BSD-2-Clause
/* JSON text -> struct protection, and the names of suites. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "policy_json.h"
#include "suggest.h"

/* A protection being read, and what of it waits until its other keys are known. */
struct protection_reading {
	struct protection *protection;
	struct json_value type, suites, within;	/* json NULL: not given */
};

/* ---- suites ---- */

/* A slip of the pen is not to lead to a weak suite, nor to a short ICV. */
static bool worth_suggesting(const struct esp_suite *suite)
{
	return !suite->legacy && suite->icv_len > SUITE_ICV_MIN;
}

const struct esp_suite *policy_read_suite(struct json_reader *reader, struct json_value value)
{
	const char *name = json_read_string(reader, value);
	struct suggest near = { .word = name };
	const struct esp_suite *suite;
	char next[96];

	if (!name)
		return NULL;
	suite = suite_find(name);
	if (suite)
		return suite;
	suite = suite_find_ah(name);
	if (suite) {
		snprintf(next, sizeof(next), "in ESP it is \"%s\"", suite->name);
		json_error(reader, value, next, "\"%.60s\" is a suite of AH, and this is ESP", name);
		return NULL;
	}
	for (size_t i = 0; (suite = suite_at(i)); i++)
		if (worth_suggesting(suite))
			suggest_offer(&near, suite->name);
	json_error(reader, value, json_did_you_mean(near.best, next),
		   "suite \"%.60s\" is not known", name);
	return NULL;
}

/* What to write in place of a suite that AH does not have. */
static const char *suggest_ah_suite(const char *name, char out[96])
{
	struct suggest near = { .word = name };
	const struct esp_suite *suite = suite_find(name);

	if (suite && suite->ah_name) {
		snprintf(out, 96, "in AH it is \"%s\"", suite->ah_name);
		return out;
	}
	if (suite)
		return "AH authenticates and does not encrypt: sha256, for example";
	for (size_t i = 0; (suite = suite_at(i)); i++)
		if (suite->ah_name && worth_suggesting(suite))
			suggest_offer(&near, suite->ah_name);
	return json_did_you_mean(near.best, out);
}

const struct esp_suite *policy_read_ah_suite(struct json_reader *reader, struct json_value value)
{
	const char *name = json_read_string(reader, value);
	const struct esp_suite *suite;
	char next[96];

	if (!name)
		return NULL;
	suite = suite_find_ah(name);
	if (!suite)
		json_error(reader, value, suggest_ah_suite(name, next),
			   "\"%.60s\" is no suite of AH", name);
	return suite;
}

static void add_suite(struct json_reader *reader, struct protection *protection,
		      const struct esp_suite *suite)
{
	const struct esp_suite **slot;

	slot = policy_list_slot(reader, &protection->suites, &protection->suite_count,
				sizeof(*slot));
	if (slot)
		*slot = suite;
}

static void read_suite(struct json_reader *reader, struct json_value value, void *target)
{
	struct protection *protection = target;
	const struct esp_suite *suite;

	suite = protection->protocol == PROTECTION_AH ? policy_read_ah_suite(reader, value) :
							 policy_read_suite(reader, value);
	if (!suite)
		return;
	for (size_t i = 0; i < protection->suite_count; i++) {
		if (protection->suites[i] == suite) {
			json_error(reader, value, NULL, "suite \"%s\" is listed twice",
				   protection_suite_name(protection, suite));
			return;
		}
	}
	add_suite(reader, protection, suite);
}

static void read_suites(struct json_reader *reader, struct json_value value,
			struct protection *protection)
{
	static const struct json_list list = { .max = 64, .read = read_suite };

	if (!json_read_list(reader, value, &list, protection) && json_is_array(value.json) &&
	    !json_array_size(value.json))
		json_error(reader, value, "leave the key out for the default suites",
			   "at least one suite is needed");
}

static void default_suites(struct json_reader *reader, struct protection *protection)
{
	static const char *const names[][3] = {
		[PROTECTION_ENCRYPTION] = { "aes128gcm16", "aes256gcm16", "chacha20poly1305" },
		[PROTECTION_AUTHENTICATION] = { "null-sha256" },	/* sha256 in AH */
	};

	for (size_t i = 0; i < 3 && names[protection->type][i]; i++)
		add_suite(reader, protection, suite_find(names[protection->type][i]));
}

/* ---- the keys of a protection ---- */

static void read_protocol(struct json_reader *reader, struct json_value value, void *target)
{
	struct protection_reading *reading = target;
	size_t word;

	if (json_read_word(reader, value, policy_protocol_words, &word))
		reading->protection->protocol = (enum protection_protocol)word;
}

static void read_type(struct json_reader *reader, struct json_value value, void *target)
{
	struct protection_reading *reading = target;
	size_t word;

	reading->type = value;
	if (json_read_word(reader, value, policy_type_words, &word))
		reading->protection->type = (enum protection_type)word;
}

static void read_level(struct json_reader *reader, struct json_value value, void *target)
{
	struct protection_reading *reading = target;
	size_t word;

	if (json_read_word(reader, value, policy_level_words, &word))
		reading->protection->level = (enum spd_level)word;
}

static void read_mode(struct json_reader *reader, struct json_value value, void *target)
{
	struct protection_reading *reading = target;
	size_t word;

	if (json_read_word(reader, value, policy_mode_words, &word))
		reading->protection->mode = (enum protection_mode)word;
}

static void read_fragments(struct json_reader *reader, struct json_value value, void *target)
{
	struct protection_reading *reading = target;
	size_t word;

	if (json_read_word(reader, value, policy_fragment_words, &word))
		reading->protection->fragments = (enum fragment_rule)word;
}

/* Which names there are depends on the protocol, wherever in the object that stands. */
static void keep_suites(struct json_reader *reader, struct json_value value, void *target)
{
	struct protection_reading *reading = target;

	(void)reader;
	reading->suites = value;
}

static void keep_within(struct json_reader *reader, struct json_value value, void *target)
{
	struct protection_reading *reading = target;

	(void)reader;
	reading->within = value;
}

static void read_allow_legacy(struct json_reader *reader, struct json_value value, void *target)
{
	struct protection_reading *reading = target;

	json_read_boolean(reader, value, &reading->protection->allow_legacy);
}

/* AH leaves everything readable: who asks for encryption must not get it. */
static void settle_type(struct json_reader *reader, const struct protection_reading *reading)
{
	struct protection *protection = reading->protection;

	if (protection->protocol != PROTECTION_AH)
		return;
	if (reading->type.json && protection->type == PROTECTION_ENCRYPTION) {
		reader->key = "type";
		json_error(reader, reading->type, "use \"esp\", or type \"authentication\"",
			   "protocol \"ah\" does not encrypt");
		reader->key = NULL;
	}
	protection->type = PROTECTION_AUTHENTICATION;
}

/* Reads what the protocol decides about. */
static void read_kept(struct json_reader *reader, const struct protection_reading *reading)
{
	if (!reading->suites.json)
		return;
	reader->key = "suites";
	read_suites(reader, reading->suites, reading->protection);
	reader->key = NULL;
}

static void put_off_within(struct json_reader *reader, struct policy_reading *document,
			   struct json_value value)
{
	struct within_reading *slot;

	if (!value.json)
		return;
	slot = policy_list_slot(reader, &document->within, &document->within_count, sizeof(*slot));
	if (slot)
		*slot = (struct within_reading){ document->policy->protection_count - 1, value };
}

void policy_read_protection(struct json_reader *reader, struct json_value value, void *target)
{
	static const struct json_key keys[] = {
		{ "protocol", false, read_protocol },
		{ "type", false, read_type },
		{ "level", false, read_level },
		{ "mode", false, read_mode },
		{ "fragments", false, read_fragments },
		{ "suites", false, keep_suites },
		{ "allow_legacy", false, read_allow_legacy },
		{ "within", false, keep_within },
		{ "description", false, policy_read_description },
		{ 0 }
	};
	struct policy_reading *document = target;
	struct policy *policy = document->policy;
	struct protection_reading reading = { 0 };
	const char *name = reader->key;
	size_t errors = reader->errors;
	struct protection *protection;

	protection = policy_list_slot(reader, &policy->protections, &policy->protection_count,
				      sizeof(*protection));
	if (!protection)
		return;
	reader->key = NULL;
	reading.protection = protection;
	protection->at = json_where_key(reader->where, value.node);
	snprintf(reader->subject, sizeof(reader->subject), "protection \"%.60s\"", name);
	policy_read_name(reader, value, name, protection->name);
	json_read_object(reader, value, keys, &reading);
	settle_type(reader, &reading);
	read_kept(reader, &reading);
	put_off_within(reader, document, reading.within);
	if (reader->errors == errors && !protection->suite_count)
		default_suites(reader, protection);
	else if (reader->errors != errors)
		protection->suite_count = 0;	/* tells the check to leave it alone */
	reader->subject[0] = '\0';
}

/* ---- what lies within what ---- */

/* The pair that a "within" names, and what it had. */
struct pair_reading {
	const struct policy_reading *document;
	struct policy_pair pair;
};

static void read_within_peer(struct json_reader *reader, struct json_value value, void *target)
{
	struct pair_reading *reading = target;

	policy_read_peer_name(reader, value, reading->document, &reading->pair.peer);
}

static void read_within_protection(struct json_reader *reader, struct json_value value,
				   void *target)
{
	struct pair_reading *reading = target;

	policy_read_protection_name(reader, value, reading->document, &reading->pair.protection);
}

static void read_pair(struct json_reader *reader, struct json_value value,
		      struct pair_reading *reading)
{
	static const struct json_key keys[] = {
		{ "peer", true, read_within_peer },
		{ "protection", true, read_within_protection },
		{ 0 }
	};

	if (json_is_string(value.json))
		read_within_protection(reader, value, reading);
	else if (json_is_object(value.json))
		json_read_object(reader, value, keys, reading);
	else
		json_type_error(reader, value, "a protection's name, or an object with peer and "
				"protection");
}

void policy_read_within(struct json_reader *reader, struct policy_reading *document)
{
	for (size_t i = 0; i < document->within_count; i++) {
		const struct within_reading *within = &document->within[i];
		struct protection *protection = &document->policy->protections[within->protection];
		struct pair_reading reading = { document, { PEER_SAME, 0 } };
		size_t errors = reader->errors;

		snprintf(reader->subject, sizeof(reader->subject), "protection \"%.60s\": within",
			 protection->name);
		read_pair(reader, within->value, &reading);
		reader->subject[0] = '\0';
		if (reader->errors != errors)
			continue;
		protection->nested = true;
		protection->within = reading.pair;
		protection->within_at = json_where_value(reader->where, within->value.node);
	}
}
