// SPDX-License-Identifier: BSD-2-Clause
/* JSON text -> struct rule. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "policy_json.h"
#include "suggest.h"

#define INTERFACE_PATTERN_MAX 63
#define SUGGESTIONS_MAX 100	/* after so many errors the nearest name is not looked for */

/* A rule being read, and what of it only matters until its end. */
struct rule_reading {
	const struct policy_reading *document;
	struct rule *rule;
	bool icmp_type, icmp_code, peer, protection;
};

void policy_read_address(struct json_reader *reader, struct json_value value, void *target)
{
	const char *text = json_read_string(reader, value), *error;
	struct address_list *list = target;
	struct address_range range, *slot;

	if (!text)
		return;
	if (!address_parse(text, &range, &error)) {
		json_error(reader, value, NULL, "\"%.100s\": %s", text, error);
		return;
	}
	slot = policy_list_slot(reader, &list->items, &list->count, sizeof(*slot));
	if (slot)
		*slot = range;
}

void policy_read_selector(struct json_reader *reader, struct json_value value,
			  void (*read)(struct json_reader *, struct json_value, void *),
			  void *target)
{
	const struct json_list list = { POLICY_LIST_MAX, true, read };

	if (!json_read_list(reader, value, &list, target) && !json_array_size(value.json))
		json_error(reader, value, "leave the key out to match any",
			   "an empty list matches nothing");
}

/* "lo-hi" of decimal numbers, nothing else. */
static bool parse_span(const char *text, unsigned long max, unsigned long *ret_lo,
		       unsigned long *ret_hi)
{
	size_t lo_len = strspn(text, "0123456789");
	size_t hi_len = text[lo_len] == '-' ? strspn(text + lo_len + 1, "0123456789") : 0;

	if (!lo_len || lo_len > 5 || !hi_len || hi_len > 5 || text[lo_len + 1 + hi_len])
		return false;
	*ret_lo = strtoul(text, NULL, 10);
	*ret_hi = strtoul(text + lo_len + 1, NULL, 10);
	return *ret_lo <= *ret_hi && *ret_hi <= max;
}

/* A number up to `max`, or a string "lo-hi". */
static bool read_span(struct json_reader *reader, struct json_value value, unsigned long max,
		      struct port_range *ret_range)
{
	unsigned long lo, hi;
	json_int_t number;

	if (json_is_integer(value.json)) {
		if (!json_read_integer(reader, value, 0, (json_int_t)max, &number))
			return false;
		*ret_range = (struct port_range){ (uint16_t)number, (uint16_t)number };
		return true;
	}
	if (!json_is_string(value.json)) {
		json_type_error(reader, value, "a number or a range like \"0-3\"");
		return false;
	}
	if (!parse_span(json_string_value(value.json), max, &lo, &hi)) {
		json_error(reader, value, "single numbers are written without quotes",
			   "\"%.40s\" is not a range LOW-HIGH within 0-%lu",
			   json_string_value(value.json), max);
		return false;
	}
	*ret_range = (struct port_range){ (uint16_t)lo, (uint16_t)hi };
	return true;
}

static void add_range(struct json_reader *reader, struct port_list *list, struct port_range range)
{
	struct port_range *slot = policy_list_slot(reader, &list->items, &list->count,
						   sizeof(*slot));

	if (slot)
		*slot = range;
}

static void read_port(struct json_reader *reader, struct json_value value, void *target)
{
	struct port_range range;

	if (read_span(reader, value, UINT16_MAX, &range))
		add_range(reader, target, range);
}

void policy_read_ports(struct json_reader *reader, struct json_value value, struct port_list *ports)
{
	policy_read_selector(reader, value, read_port, ports);
	policy_require_disjoint_ranges(reader, value, ports);
}

static void read_vlan_id(struct json_reader *reader, struct json_value value, void *target)
{
	struct port_range range;

	if (read_span(reader, value, VLAN_ID_MAX, &range))
		add_range(reader, target, range);
}

bool policy_read_dscp(struct json_reader *reader, struct json_value value, uint8_t *ret_dscp)
{
	const char *text = json_string_value(value.json);
	struct suggest near = { .word = text };
	json_int_t number;
	char next[96];

	if (json_is_integer(value.json)) {
		if (!json_read_integer(reader, value, 0, DSCP_MAX, &number))
			return false;
		*ret_dscp = (uint8_t)number;
		return true;
	}
	if (!text) {
		json_type_error(reader, value, "a codepoint's name or number");
		return false;
	}
	for (const struct policy_dscp *dscp = policy_dscps; dscp->name; dscp++) {
		if (!strcmp(dscp->name, text)) {
			*ret_dscp = dscp->number;
			return true;
		}
		suggest_offer(&near, dscp->name);
	}
	json_error(reader, value, near.best ? json_did_you_mean(near.best, next) :
		   "codepoints without a name here are given by number (0-63)",
		   "DSCP \"%.60s\" is not known", text);
	return false;
}

/* A string that begins like no range is a name. */
static void read_dscp_value(struct json_reader *reader, struct json_value value, void *target)
{
	const char *text = json_string_value(value.json);
	struct port_range range;
	uint8_t dscp;

	if (!text || !*text || strspn(text, "0123456789-")) {
		if (read_span(reader, value, DSCP_MAX, &range))
			add_range(reader, target, range);
	} else if (policy_read_dscp(reader, value, &dscp)) {
		add_range(reader, target, (struct port_range){ dscp, dscp });
	}
}

bool policy_read_protocol(struct json_reader *reader, struct json_value value, uint8_t *ret_proto)
{
	const char *text = json_string_value(value.json);
	struct suggest near = { .word = text };
	json_int_t number;
	char next[96];

	if (json_is_integer(value.json)) {
		if (!json_read_integer(reader, value, 0, UINT8_MAX, &number))
			return false;
		*ret_proto = (uint8_t)number;
		return true;
	}
	if (!text) {
		json_type_error(reader, value, "a protocol's name or number");
		return false;
	}
	for (const struct policy_protocol *p = policy_protocols; p->name; p++)
		if (!strcmp(p->name, text)) {
			*ret_proto = p->number;
			return true;
		}
	for (const struct policy_protocol *p = policy_protocols; p->name; p++)
		suggest_offer(&near, p->name);
	json_error(reader, value, near.best ? json_did_you_mean(near.best, next) :
		   "protocols without a name here are given by number (0-255)",
		   "protocol \"%.60s\" is not known", text);
	return false;
}

void policy_add_protocol(struct json_reader *reader, struct json_value value, uint8_t **protocols,
			 size_t *count)
{
	uint8_t *slot, proto;

	if (!policy_read_protocol(reader, value, &proto))
		return;
	if (*count && memchr(*protocols, proto, *count)) {
		json_error(reader, value, NULL, "protocol %u is listed twice", proto);
		return;
	}
	slot = policy_list_slot(reader, protocols, count, sizeof(*slot));
	if (slot)
		*slot = proto;
}

static void read_protocol(struct json_reader *reader, struct json_value value, void *target)
{
	struct rule *rule = target;

	policy_add_protocol(reader, value, &rule->protocols, &rule->protocol_count);
}

static void read_interface(struct json_reader *reader, struct json_value value, void *target)
{
	const char *text = json_read_string(reader, value);
	struct rule *rule = target;
	char **slot;

	if (!text)
		return;
	if (!text[0] || strlen(text) > INTERFACE_PATTERN_MAX || strpbrk(text, "/ \t\r\n")) {
		json_error(reader, value, NULL, "\"%.60s\" is neither an interface name nor a "
			   "pattern of one", text);
		return;
	}
	slot = policy_list_slot(reader, &rule->interfaces, &rule->interface_count, sizeof(*slot));
	if (!slot)
		return;
	*slot = strdup(text);
	if (!*slot) {
		rule->interface_count--;
		reader->no_memory = true;
	}
}

static void read_rule_name(struct json_reader *reader, struct json_value value, void *target)
{
	struct rule_reading *reading = target;
	const char *name = json_read_string(reader, value);

	if (name)
		policy_read_name(reader, value, name, reading->rule->name);
}

static void read_direction(struct json_reader *reader, struct json_value value, void *target)
{
	struct rule_reading *reading = target;
	size_t word;

	if (json_read_word(reader, value, policy_direction_words, &word))
		reading->rule->direction = (enum rule_direction)word;
}

static void read_origin(struct json_reader *reader, struct json_value value, void *target)
{
	struct rule_reading *reading = target;
	size_t word;

	if (json_read_word(reader, value, policy_origin_words, &word))
		reading->rule->origin = (enum rule_origin)(word + 1);
}

static void read_action(struct json_reader *reader, struct json_value value, void *target)
{
	struct rule_reading *reading = target;
	size_t word;

	if (json_read_word(reader, value, policy_action_words, &word))
		reading->rule->action = (enum spd_action)word;
}

static void read_interfaces(struct json_reader *reader, struct json_value value, void *target)
{
	struct rule_reading *reading = target;

	policy_read_selector(reader, value, read_interface, reading->rule);
}

static void read_local(struct json_reader *reader, struct json_value value, void *target)
{
	struct rule_reading *reading = target;

	policy_read_selector(reader, value, policy_read_address, &reading->rule->local);
	policy_require_disjoint_addresses(reader, value, &reading->rule->local);
}

static void read_remote(struct json_reader *reader, struct json_value value, void *target)
{
	struct rule_reading *reading = target;

	policy_read_selector(reader, value, policy_read_address, &reading->rule->remote);
	policy_require_disjoint_addresses(reader, value, &reading->rule->remote);
}

static void read_protocols(struct json_reader *reader, struct json_value value, void *target)
{
	struct rule_reading *reading = target;

	policy_read_selector(reader, value, read_protocol, reading->rule);
}

static void read_local_port(struct json_reader *reader, struct json_value value, void *target)
{
	struct rule_reading *reading = target;

	policy_read_ports(reader, value, &reading->rule->local_port);
}

static void read_remote_port(struct json_reader *reader, struct json_value value, void *target)
{
	struct rule_reading *reading = target;

	policy_read_ports(reader, value, &reading->rule->remote_port);
}

static void read_icmp_type(struct json_reader *reader, struct json_value value, void *target)
{
	struct rule_reading *reading = target;
	struct port_range range;

	reading->icmp_type = true;
	if (!read_span(reader, value, UINT8_MAX, &range))
		return;
	reading->rule->icmp_type_lo = (uint8_t)range.lo;
	reading->rule->icmp_type_hi = (uint8_t)range.hi;
}

static void read_icmp_code(struct json_reader *reader, struct json_value value, void *target)
{
	struct rule_reading *reading = target;
	struct port_range range;

	reading->icmp_code = true;
	if (!read_span(reader, value, UINT8_MAX, &range))
		return;
	reading->rule->icmp_code_lo = (uint8_t)range.lo;
	reading->rule->icmp_code_hi = (uint8_t)range.hi;
}

static void read_vlan(struct json_reader *reader, struct json_value value, void *target)
{
	struct rule_reading *reading = target;

	policy_read_selector(reader, value, read_vlan_id, &reading->rule->vlan);
	policy_require_disjoint_ranges(reader, value, &reading->rule->vlan);
}

static void read_dscp(struct json_reader *reader, struct json_value value, void *target)
{
	struct rule_reading *reading = target;

	policy_read_selector(reader, value, read_dscp_value, &reading->rule->dscp);
	policy_require_disjoint_ranges(reader, value, &reading->rule->dscp);
}

static void unknown_reference(struct json_reader *reader, struct json_value value, const char *kind,
			      const char *best)
{
	char next[96];

	json_error(reader, value, json_did_you_mean(best, next),
		   "no %s is named \"%.60s\"", kind, json_string_value(value.json));
}

bool policy_read_peer_name(struct json_reader *reader, struct json_value value,
			   const struct policy_reading *reading, size_t *ret_index)
{
	const char *name = json_read_string(reader, value);
	struct suggest near = { .word = name };
	size_t found;

	if (!name)
		return false;
	found = name_index_find(&reading->peer_names, name);
	if (found != NAME_INDEX_NONE) {
		*ret_index = found;
		return true;
	}
	for (size_t i = 0; i < reading->policy->peer_count && reader->errors < SUGGESTIONS_MAX; i++)
		suggest_offer(&near, reading->policy->peers[i].name);
	unknown_reference(reader, value, "peer", near.best);
	return false;
}

bool policy_read_protection_name(struct json_reader *reader, struct json_value value,
				 const struct policy_reading *reading, size_t *ret_index)
{
	const char *name = json_read_string(reader, value);
	struct suggest near = { .word = name };
	size_t found;

	if (!name)
		return false;
	found = name_index_find(&reading->protection_names, name);
	if (found != NAME_INDEX_NONE) {
		*ret_index = found;
		return true;
	}
	for (size_t i = 0;
	     i < reading->policy->protection_count && reader->errors < SUGGESTIONS_MAX; i++)
		suggest_offer(&near, reading->policy->protections[i].name);
	unknown_reference(reader, value, "protection", near.best);
	return false;
}

static void read_peer(struct json_reader *reader, struct json_value value, void *target)
{
	struct rule_reading *reading = target;

	reading->peer = true;
	policy_read_peer_name(reader, value, reading->document, &reading->rule->peer);
}

static void read_protection(struct json_reader *reader, struct json_value value, void *target)
{
	struct rule_reading *reading = target;

	reading->protection = true;
	policy_read_protection_name(reader, value, reading->document,
				    &reading->rule->protection);
}

static void read_accept_risk(struct json_reader *reader, struct json_value value, void *target)
{
	struct rule_reading *reading = target;

	policy_read_risks(reader, value, &reading->rule->accept_risk);
}

static const struct json_key rule_keys[] = {
	{ "name", true, read_rule_name },
	{ "direction", false, read_direction },
	{ "origin", false, read_origin },
	{ "interface", false, read_interfaces },
	{ "local", false, read_local },
	{ "remote", false, read_remote },
	{ "protocol", false, read_protocols },
	{ "local_port", false, read_local_port },
	{ "remote_port", false, read_remote_port },
	{ "icmp_type", false, read_icmp_type },
	{ "icmp_code", false, read_icmp_code },
	{ "vlan", false, read_vlan },
	{ "dscp", false, read_dscp },
	{ "action", true, read_action },
	{ "peer", false, read_peer },
	{ "protection", false, read_protection },
	{ "accept_risk", false, read_accept_risk },
	{ "description", false, policy_read_description },
	{ 0 }
};

/* Which keys go with which. */
static void require_fitting_keys(struct json_reader *reader, struct json_value value,
				 struct rule_reading *reading)
{
	struct rule *rule = reading->rule;
	const char *action = json_string_value(json_object_get(value.json, "action"));

	if (reading->icmp_code && !reading->icmp_type)
		json_error(reader, value, NULL, "icmp_code needs icmp_type: a code means something "
			   "only together with its type");
	rule->icmp_given = reading->icmp_type;
	if (!action)
		return;
	if (!strcmp(action, "protect")) {
		if (!reading->peer)
			json_error(reader, value, NULL, "action \"protect\" needs key \"peer\"");
		if (!reading->protection)
			json_error(reader, value, NULL,
				   "action \"protect\" needs key \"protection\"");
	} else if (reading->peer || reading->protection) {
		json_error(reader, value, NULL, "peer and protection go with action \"protect\" "
			   "only, not with \"%.20s\"", action);
	}
}

/* In transport mode the other side is the peer itself. */
static void default_remote(struct json_reader *reader, const struct policy *policy,
			   struct rule *rule)
{
	const struct address_list *peer;
	struct address_range *slot;

	if (rule->action != SPD_PROTECT || rule->remote.count ||
	    policy->protections[rule->protection].mode != MODE_TRANSPORT)
		return;
	peer = &policy->peers[rule->peer].addresses;
	for (size_t i = 0; i < peer->count; i++) {
		slot = policy_list_slot(reader, &rule->remote.items, &rule->remote.count,
					sizeof(*slot));
		if (!slot)
			return;
		*slot = peer->items[i];
	}
}

static void read_rule(struct json_reader *reader, struct json_value value, void *target)
{
	struct policy_reading *document = target;
	struct policy *policy = document->policy;
	struct rule_reading reading = { .document = document };
	const char *name = json_string_value(json_object_get(value.json, "name"));
	size_t errors = reader->errors;

	reader->key = NULL;
	if (name)
		snprintf(reader->subject, sizeof(reader->subject), "rule \"%.60s\"", name);
	else
		snprintf(reader->subject, sizeof(reader->subject), "rules[%zu]",
			 policy->rule_count);
	reading.rule = policy_list_slot(reader, &policy->rules, &policy->rule_count,
					sizeof(*reading.rule));
	if (!reading.rule)
		return;
	reading.rule->icmp_type_hi = UINT8_MAX;
	reading.rule->icmp_code_hi = UINT8_MAX;
	reading.rule->at = json_where_value(reader->where, value.node);
	json_read_object(reader, value, rule_keys, &reading);
	if (json_is_object(value.json))
		require_fitting_keys(reader, value, &reading);
	reading.rule->invalid = reader->errors != errors;
	if (!reading.rule->invalid)
		default_remote(reader, policy, reading.rule);
	if (!reading.rule->invalid && reading.rule->action == SPD_PROTECT)
		reading.rule->level = policy->protections[reading.rule->protection].level;
	reader->subject[0] = '\0';
}

void policy_read_rules(struct json_reader *reader, struct policy_reading *reading)
{
	static const struct json_list list = { .max = POLICY_RULES_MAX, .read = read_rule };

	reader->key = "rules";
	json_read_list(reader, reading->rules, &list, reading);
	reader->key = NULL;
}
