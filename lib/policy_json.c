// SPDX-License-Identifier: BSD-2-Clause
/*
 * JSON text -> struct policy: the document and peers. Protections are in policy_json_protection.c,
 * rules in policy_json_rule.c.
 * Here is found what is wrong with a single value; how parts fit together is policy_check.c.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "names_store.h"
#include "policy_json.h"

void policy_read_description(struct json_reader *reader, struct json_value value, void *target)
{
	(void)target;
	json_read_string(reader, value);	/* for people: not kept */
}

bool policy_read_name(struct json_reader *reader, struct json_value value, const char *name,
		      char out[NAME_LEN])
{
	static const char allowed[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
				      "0123456789 ._:@/+-";
	struct position at = json_where_value(reader->where, value.node);
	size_t len = strlen(name);

	snprintf(out, NAME_LEN, "%s", name);	/* a bad one too: others may refer to it */
	if (!json_is_string(value.json))	/* a member's name, not a value that is one */
		at = json_where_key(reader->where, value.node);
	if (!len || len >= NAME_LEN) {
		json_error_at(reader, at, NULL, "a name has 1 to %d characters, not %zu",
			      NAME_LEN - 1, len);
		return false;
	}
	if (strspn(name, allowed) != len || name[0] == ' ' || name[len - 1] == ' ') {
		json_error_at(reader, at, NULL, "\"%.60s\" is not a name: letters, digits, spaces "
			      "inside and ._:@/+- are", name);
		return false;
	}
	return true;
}

void *policy_list_slot(struct json_reader *reader, void *items_pointer, size_t *count, size_t size)
{
	char *items;

	/* Copied, because the pointer's own type is the caller's affair. */
	memcpy(&items, items_pointer, sizeof(items));
	/* Doubles at powers of two, so that the count is all there is to remember. */
	if (!(*count & (*count - 1))) {
		items = reallocarray(items, *count ? *count * 2 : 1, size);
		if (!items) {
			reader->no_memory = true;
			return NULL;
		}
		memcpy(items_pointer, &items, sizeof(items));
	}
	return memset(items + (*count)++ * size, 0, size);
}

/* ---- protections ---- */

/* More than can be in use at once would only make the look-ups by name slow. */
static void read_named(struct json_reader *reader, struct json_value value,
		       void (*read)(struct json_reader *, struct json_value, void *), void *target)
{
	if (json_object_size(value.json) > PROTECT_MAX)
		json_error(reader, value, NULL, "%zu members: more than the limit of %d",
			   json_object_size(value.json), PROTECT_MAX);
	else
		json_read_members(reader, value, read, target);
}

static void read_protections(struct json_reader *reader, struct json_value value, void *target)
{
	read_named(reader, value, policy_read_protection, target);
}

/* ---- peers ---- */

/* Why an address cannot be a peer's, or NULL. */
static const char *unfit_for_peer(const struct address_range *range)
{
	uint64_t v4 = range->lo.lo;

	if (addr128_compare(range->lo, range->hi))
		return "a peer has single addresses, not prefixes or ranges";
	if (!range->lo.hi && !range->lo.lo)
		return "the unspecified address is no peer's";
	if (range->family == FAMILY_V4 && (v4 >> 28 == 0xe || v4 == 0xffffffff))
		return "multicast and broadcast addresses are no peer's";
	if (range->family == FAMILY_V6 && range->lo.hi >> 56 == 0xff)
		return "multicast addresses are no peer's";
	if (range->family == FAMILY_V4 ? v4 >> 24 == 127 : !range->lo.hi && range->lo.lo == 1)
		return "loopback addresses are no peer's";
	return NULL;
}

static void read_peer_address(struct json_reader *reader, struct json_value value, void *target)
{
	struct address_list *list = target;
	size_t errors = reader->errors;
	struct address_range *range;
	const char *reason;

	policy_read_address(reader, value, list);
	if (reader->errors != errors || reader->no_memory)
		return;
	range = &list->items[list->count - 1];
	reason = unfit_for_peer(range);
	if (reason)
		json_error(reader, value, NULL, "\"%s\": %s", json_string_value(value.json),
			   reason);
	for (size_t i = 0; i + 1 < list->count && !reason; i++) {
		if (list->items[i].family != range->family ||
		    addr128_compare(list->items[i].lo, range->lo))
			continue;
		json_error(reader, value, NULL, "\"%s\" is listed twice",
			   json_string_value(value.json));
		return;
	}
}

static void read_peer_addresses(struct json_reader *reader, struct json_value value, void *target)
{
	static const struct json_list list = { .max = 64, .read = read_peer_address };
	struct peer *peer = target;

	if (!json_read_list(reader, value, &list, &peer->addresses) &&
	    json_is_array(value.json) && !json_array_size(value.json))
		json_error(reader, value, NULL, "at least one address is needed");
}

static void read_peer(struct json_reader *reader, struct json_value value, void *target)
{
	static const struct json_key keys[] = {
		{ "addresses", true, read_peer_addresses },
		{ "description", false, policy_read_description },
		{ 0 }
	};
	struct policy_reading *reading = target;
	struct policy *policy = reading->policy;
	const char *name = reader->key;
	size_t errors = reader->errors;
	struct peer *peer;

	peer = policy_list_slot(reader, &policy->peers, &policy->peer_count, sizeof(*peer));
	if (!peer)
		return;
	reader->key = NULL;
	peer->at = json_where_key(reader->where, value.node);
	snprintf(reader->subject, sizeof(reader->subject), "peer \"%.60s\"", name);
	policy_read_name(reader, value, name, peer->name);
	json_read_object(reader, value, keys, peer);
	if (reader->errors != errors)
		peer->addresses.count = 0;	/* tells the check to leave it alone */
	reader->subject[0] = '\0';
}

static void read_peers(struct json_reader *reader, struct json_value value, void *target)
{
	read_named(reader, value, read_peer, target);
}

/* ---- the document ---- */

static void read_version(struct json_reader *reader, struct json_value value, void *target)
{
	(void)target;
	if (!json_is_integer(value.json))
		json_type_error(reader, value, "a whole number");
	else if (json_integer_value(value.json) != POLICY_VERSION)
		json_error(reader, value, NULL, "version %" JSON_INTEGER_FORMAT
			   " is not known: this ipsecbpf reads version %d",
			   json_integer_value(value.json), POLICY_VERSION);
}

static void read_essential_word(struct json_reader *reader, struct json_value value, void *target)
{
	struct policy *policy = target;
	size_t bit;

	if (!json_read_word(reader, value, policy_essential_words, &bit))
		return;
	if (policy->essential & 1u << bit)
		json_error(reader, value, NULL, "\"%s\" is listed twice",
			   policy_essential_words[bit]);
	policy->essential |= 1u << bit;
}

static void read_essential(struct json_reader *reader, struct json_value value, void *target)
{
	static const struct json_list list = { .max = 64, .read = read_essential_word };
	struct policy_reading *reading = target;

	json_read_list(reader, value, &list, reading->policy);
}

static void read_risk(struct json_reader *reader, struct json_value value, void *target)
{
	uint32_t *accepted = target;
	size_t risk;

	if (!json_read_word(reader, value, policy_risk_words, &risk))
		return;
	if (*accepted & RISK_BIT(risk))
		json_error(reader, value, NULL, "\"%s\" is listed twice", policy_risk_words[risk]);
	*accepted |= RISK_BIT(risk);
}

void policy_read_risks(struct json_reader *reader, struct json_value value, uint32_t *target)
{
	static const struct json_list list = { .max = 64, .read = read_risk };

	json_read_list(reader, value, &list, target);
}

static void read_accept_risk(struct json_reader *reader, struct json_value value, void *target)
{
	struct policy_reading *reading = target;

	policy_read_risks(reader, value, &reading->policy->accept_risk);
}

static void read_default_action(struct json_reader *reader, struct json_value value, void *target)
{
	static const char *const words[] = {
		[SPD_BYPASS] = "bypass", [SPD_DISCARD] = "discard", NULL,
	};
	enum spd_action *action = target;
	size_t word;

	if (json_is_string(value.json) && !strcmp(json_string_value(value.json), "protect"))
		json_error(reader, value, "make it the last rule",
			   "a default cannot be \"protect\": it names no peer");
	else if (json_read_word(reader, value, words, &word))
		*action = (enum spd_action)word;
}

static void read_default_in(struct json_reader *reader, struct json_value value, void *target)
{
	struct policy *policy = target;

	read_default_action(reader, value, &policy->default_action[SPD_IN]);
}

static void read_default_out(struct json_reader *reader, struct json_value value, void *target)
{
	struct policy *policy = target;

	read_default_action(reader, value, &policy->default_action[SPD_OUT]);
}

static void read_default_non_ip(struct json_reader *reader, struct json_value value, void *target)
{
	struct policy *policy = target;

	read_default_action(reader, value, &policy->non_ip_action);
}

static void read_defaults(struct json_reader *reader, struct json_value value, void *target)
{
	static const struct json_key keys[] = {
		{ "in", true, read_default_in },
		{ "out", true, read_default_out },
		{ "non_ip", true, read_default_non_ip },
		{ 0 }
	};
	struct policy_reading *reading = target;

	snprintf(reader->subject, sizeof(reader->subject), "defaults");
	reader->key = NULL;
	json_read_object(reader, value, keys, reading->policy);
	reader->subject[0] = '\0';
}

/* Rules and applications name peers and protections, wherever in the file those stand: they are
 * read last. So is what protections lie within. */
static void keep_rules(struct json_reader *reader, struct json_value value, void *target)
{
	struct policy_reading *reading = target;

	(void)reader;
	reading->rules = value;
}

static void keep_applications(struct json_reader *reader, struct json_value value, void *target)
{
	struct policy_reading *reading = target;

	(void)reader;
	reading->applications = value;
}

static void index_names(struct json_reader *reader, struct policy_reading *reading)
{
	const struct policy *policy = reading->policy;

	if (name_index_init(&reading->peer_names, policy->peers, sizeof(*policy->peers),
			    policy->peer_count) ||
	    name_index_init(&reading->protection_names, policy->protections,
			    sizeof(*policy->protections), policy->protection_count)) {
		reader->no_memory = true;
		return;
	}
	for (size_t i = 0; i < policy->peer_count; i++)
		name_index_add(&reading->peer_names, i);
	for (size_t i = 0; i < policy->protection_count; i++)
		name_index_add(&reading->protection_names, i);
}

/* Applications have rules of their own. */
static void require_any_rules(struct json_reader *reader, struct json_value root,
			      const struct policy_reading *reading)
{
	if (json_is_object(root.json) && !reading->rules.json && !reading->applications.json)
		json_error(reader, root, "write \"rules\": [] if the defaults are to decide alone",
			   "key \"rules\" is missing, and there are no applications either");
}

static void read_document(struct json_reader *reader, struct policy_reading *reading)
{
	static const struct json_key keys[] = {
		{ "version", true, read_version },
		{ "bypass_essential", true, read_essential },
		{ "defaults", true, read_defaults },
		{ "protections", false, read_protections },
		{ "peers", false, read_peers },
		{ "rules", false, keep_rules },
		{ "applications", false, keep_applications },
		{ "accept_risk", false, read_accept_risk },
		{ "description", false, policy_read_description },
		{ 0 }
	};
	struct json_value root = { reader->root, JSON_WHERE_ROOT };

	json_read_object(reader, root, keys, reading);
	require_any_rules(reader, root, reading);
	index_names(reader, reading);
	if (reader->no_memory)
		return;
	policy_read_within(reader, reading);
	if (reading->rules.json)
		policy_read_rules(reader, reading);
	if (reading->applications.json)
		policy_read_applications(reader, reading);
	reading->policy->all_rule_count = reading->policy->rule_count;
}

/* The rules that the applications come to, once nothing is wrong. */
static int expand(struct policy *policy, struct ipsecbpf_report *report)
{
	int err = policy_expand(policy, NULL);

	if (err != -E2BIG)
		return err;
	report_error(report, policy->origin,
		     "join networks, protections or applications that say the same",
		     "with what its applications come to, the policy has more rules than the limit "
		     "of %d", POLICY_RULES_MAX);
	return -EINVAL;
}

struct policy *policy_parse(const char *text, size_t len, const char *name,
			    struct ipsecbpf_report *report)
{
	static const struct json_capacity capacity = { "/rules", POLICY_RULES_MAX };
	struct json_reader reader = { .name = name, .capacity = &capacity, .report = report };
	struct policy_reading reading = { 0 };
	size_t errors = 0;
	int err;

	reading.policy = calloc(1, sizeof(*reading.policy));
	if (!reading.policy)
		return NULL;
	reading.policy->origin = strdup(name);
	err = reading.policy->origin ? json_reader_open(&reader, text, len) : -ENOMEM;
	if (!err) {
		read_document(&reader, &reading);
		errors = policy_check(reading.policy, report);
		if (reader.errors || errors)
			err = -EINVAL;
		if (reader.no_memory || errors == SIZE_MAX)
			err = -ENOMEM;
		if (!err)
			err = expand(reading.policy, report);
	}
	json_reader_close(&reader);
	name_index_fini(&reading.peer_names);
	name_index_fini(&reading.protection_names);
	free(reading.within);
	if (!err)
		return reading.policy;
	policy_free(reading.policy);
	errno = -err;
	return NULL;
}

void policy_rule_fini(struct rule *rule)
{
	for (size_t i = 0; i < rule->interface_count; i++)
		free(rule->interfaces[i]);
	free(rule->interfaces);
	free(rule->local.items);
	free(rule->remote.items);
	free(rule->protocols);
	free(rule->local_port.items);
	free(rule->remote_port.items);
	free(rule->vlan.items);
	free(rule->dscp.items);
}

static void network_fini(struct app_network *network)
{
	for (size_t i = 0; i < network->name_count; i++)
		free(network->names[i]);
	for (size_t i = 0; i < network->protect_count; i++) {
		free(network->protect[i].protocols);
		free(network->protect[i].local_port.items);
		free(network->protect[i].remote_port.items);
		free(network->protect[i].peers);
	}
	free(network->remote.items);
	free(network->names);
	free(network->protect);
}

void policy_application_fini(struct application *application)
{
	for (size_t i = 0; i < application->match_count; i++) {
		free(application->matches[i].cgroup);
		free(application->matches[i].unit);
		free(application->matches[i].exe);
		free(application->matches[i].user);
		free(application->matches[i].group);
	}
	for (size_t i = 0; i < application->network_count; i++)
		network_fini(&application->networks[i]);
	free(application->matches);
	free(application->networks);
	free(application->description);
}

void policy_free(struct policy *policy)
{
	if (!policy)
		return;
	for (size_t i = 0; i < policy->protection_count; i++)
		free(policy->protections[i].suites);
	for (size_t i = 0; i < policy->peer_count; i++)
		free(policy->peers[i].addresses.items);
	for (size_t i = 0; i < policy->all_rule_count || i < policy->rule_count; i++)
		policy_rule_fini(&policy->rules[i]);
	for (size_t i = 0; i < policy->application_count; i++)
		policy_application_fini(&policy->applications[i]);
	free(policy->applications);
	name_table_fini(&policy->names);
	free(policy->protections);
	free(policy->peers);
	free(policy->rules);
	free(policy->origin);
	free(policy->file);
	free(policy);
}
