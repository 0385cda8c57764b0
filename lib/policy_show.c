// SPDX-License-Identifier: BSD-2-Clause
/* struct policy -> canonical JSON, piece by piece: policy_diff.c compares the same pieces. */
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "policy_internal.h"

/*
 * jansson's setters release the value and return an error if any argument is NULL, so that chains
 * of them need one check: `object` becomes NULL as soon as something failed.
 */
static void put(json_t **object, const char *key, json_t *value)
{
	if (!*object) {
		json_decref(value);
	} else if (json_object_set_new(*object, key, value)) {
		json_decref(*object);
		*object = NULL;
	}
}

static void append(json_t **array, json_t *value)
{
	if (!*array) {
		json_decref(value);
	} else if (json_array_append_new(*array, value)) {
		json_decref(*array);
		*array = NULL;
	}
}

/* A list of one is shown as its element; an empty one (any) is not shown. */
static void put_selector(json_t **object, const char *key, json_t *array)
{
	json_t *only;

	if (array && json_array_size(array) == 0) {
		json_decref(array);
	} else if (array && json_array_size(array) == 1) {
		only = json_incref(json_array_get(array, 0));
		json_decref(array);
		put(object, key, only);
	} else {
		put(object, key, array);
	}
}

static json_t *show_addresses(const struct address_list *list)
{
	json_t *array = json_array();
	char text[100];

	for (size_t i = 0; i < list->count; i++) {
		address_format(&list->items[i], text, sizeof(text));
		append(&array, json_string(text));
	}
	return array;
}

static json_t *show_span(unsigned int lo, unsigned int hi)
{
	if (lo == hi)
		return json_integer((json_int_t)lo);
	return json_sprintf("%u-%u", lo, hi);
}

static json_t *show_ports(const struct port_list *list)
{
	json_t *array = json_array();

	for (size_t i = 0; i < list->count; i++)
		append(&array, show_span(list->items[i].lo, list->items[i].hi));
	return array;
}

static json_t *show_dscps(const struct port_list *list)
{
	json_t *array = json_array();

	for (size_t i = 0; i < list->count; i++) {
		const struct port_range *range = &list->items[i];
		const char *name = policy_dscp_name((uint8_t)range->lo);

		append(&array, name && range->lo == range->hi ? json_string(name) :
								 show_span(range->lo, range->hi));
	}
	return array;
}

static json_t *show_protocols(const uint8_t *protocols, size_t count)
{
	json_t *array = json_array();

	for (size_t i = 0; i < count; i++) {
		const struct policy_protocol *protocol = policy_protocol_find(protocols[i]);

		append(&array, protocol ? json_string(protocol->name) :
					  json_integer(protocols[i]));
	}
	return array;
}

static json_t *show_interfaces(const struct rule *rule)
{
	json_t *array = json_array();

	for (size_t i = 0; i < rule->interface_count; i++)
		append(&array, json_string(rule->interfaces[i]));
	return array;
}

json_t *policy_show_rule(const struct policy *policy, size_t index)
{
	const struct rule *rule = &policy->rules[index];
	json_t *object = json_object();

	put(&object, "name", json_string(rule->name));
	if (rule->application)	/* not in a file: of a rule that an application came to */
		put(&object, "application",
		    json_string(policy->applications[rule->application - 1].name));
	put(&object, "direction", json_string(policy_direction_words[rule->direction]));
	if (rule->origin != ORIGIN_ANY)
		put(&object, "origin", json_string(policy_origin_words[rule->origin - 1]));
	put_selector(&object, "interface", show_interfaces(rule));
	put_selector(&object, "local", show_addresses(&rule->local));
	put_selector(&object, "remote", show_addresses(&rule->remote));
	put_selector(&object, "protocol", show_protocols(rule->protocols, rule->protocol_count));
	put_selector(&object, "local_port", show_ports(&rule->local_port));
	put_selector(&object, "remote_port", show_ports(&rule->remote_port));
	if (rule->icmp_given) {
		put(&object, "icmp_type", show_span(rule->icmp_type_lo, rule->icmp_type_hi));
		put(&object, "icmp_code", show_span(rule->icmp_code_lo, rule->icmp_code_hi));
	}
	put_selector(&object, "vlan", show_ports(&rule->vlan));
	put_selector(&object, "dscp", show_dscps(&rule->dscp));
	put(&object, "action", json_string(policy_action_words[rule->action]));
	if (rule->action == SPD_PROTECT) {
		if (rule->peer != PEER_NONE)
			put(&object, "peer", json_string(policy->peers[rule->peer].name));
		put(&object, "protection", json_string(policy->protections[rule->protection].name));
	}
	if (rule->application && rule->action == SPD_PROTECT)
		put(&object, "level", json_string(policy_level_words[rule->level]));
	if (rule->accept_risk)
		put(&object, "accept_risk", policy_show_risks(rule->accept_risk));
	return object;
}

json_t *policy_show_peer(const struct policy *policy, size_t index)
{
	json_t *object = json_object();

	put(&object, "addresses", show_addresses(&policy->peers[index].addresses));
	return object;
}

/* The same peer is not named: it is whichever the rule has. */
static json_t *show_within(const struct policy *policy, const struct policy_pair *within)
{
	json_t *object;

	if (within->peer == PEER_SAME)
		return json_string(policy->protections[within->protection].name);
	object = json_object();
	put(&object, "peer", json_string(policy->peers[within->peer].name));
	put(&object, "protection", json_string(policy->protections[within->protection].name));
	return object;
}

json_t *policy_show_protection(const struct policy *policy, size_t index)
{
	const struct protection *protection = &policy->protections[index];
	json_t *object = json_object(), *suites = json_array();

	for (size_t i = 0; i < protection->suite_count; i++)
		append(&suites, json_string(protection_suite_name(protection,
								  protection->suites[i])));
	put(&object, "protocol", json_string(policy_protocol_words[protection->protocol]));
	put(&object, "type", json_string(policy_type_words[protection->type]));
	put(&object, "level", json_string(policy_level_words[protection->level]));
	put(&object, "mode", json_string(policy_mode_words[protection->mode]));
	put(&object, "fragments", json_string(policy_fragment_words[protection->fragments]));
	put(&object, "suites", suites);
	if (protection->allow_legacy)
		put(&object, "allow_legacy", json_true());
	if (protection->nested)
		put(&object, "within", show_within(policy, &protection->within));
	return object;
}

/* ---- applications ---- */

static void put_id(json_t **object, const char *key, const char *id)
{
	bool number = id && strspn(id, "0123456789") == strlen(id);

	if (id)
		put(object, key, number ? json_integer(strtoll(id, NULL, 10)) : json_string(id));
}

static json_t *show_match(const struct app_match *match)
{
	json_t *object = json_object();

	if (match->cgroup)
		put(&object, "cgroup", json_string(match->cgroup));
	if (match->unit)
		put(&object, "unit", json_string(match->unit));
	if (match->exe)
		put(&object, "executable", json_string(match->exe));
	put_id(&object, "user", match->user);
	put_id(&object, "group", match->group);
	return object;
}

static json_t *show_peers(const struct policy *policy, const struct app_protect *protect)
{
	json_t *array = json_array();

	for (size_t i = 0; i < protect->peer_count; i++)
		append(&array, json_string(policy->peers[protect->peers[i]].name));
	return array;
}

static json_t *show_protect(const struct policy *policy, const struct app_protect *protect)
{
	json_t *object = json_object();

	put_selector(&object, "protocol", show_protocols(protect->protocols,
							 protect->protocol_count));
	put_selector(&object, "local_port", show_ports(&protect->local_port));
	put_selector(&object, "remote_port", show_ports(&protect->remote_port));
	put_selector(&object, "peer", show_peers(policy, protect));
	put(&object, "protection", json_string(policy->protections[protect->protection].name));
	put(&object, "in", json_string(policy_demand_words[protect->demand[SPD_IN]]));
	put(&object, "out", json_string(policy_demand_words[protect->demand[SPD_OUT]]));
	return object;
}

static json_t *show_network(const struct policy *policy, const struct app_network *network)
{
	json_t *object = json_object(), *remote = show_addresses(&network->remote);
	json_t *protect = json_array();

	for (size_t i = 0; i < network->name_count; i++)
		append(&remote, json_string(network->names[i]));
	if (remote && !json_array_size(remote))
		append(&remote, json_string("any"));
	for (size_t i = 0; i < network->protect_count; i++)
		append(&protect, show_protect(policy, &network->protect[i]));
	put_selector(&object, "remote", remote);
	put(&object, "class", json_string(policy_class_words[network->class]));
	if (network->protect_count)
		put(&object, "protect", protect);
	else
		json_decref(protect);
	return object;
}

json_t *policy_show_application(const struct policy *policy, size_t index)
{
	const struct application *application = &policy->applications[index];
	json_t *object = json_object(), *matches = json_array(), *networks = json_array();

	for (size_t i = 0; i < application->match_count; i++)
		append(&matches, show_match(&application->matches[i]));
	for (size_t i = 0; i < application->network_count; i++)
		append(&networks, show_network(policy, &application->networks[i]));
	put(&object, "name", json_string(application->name));
	if (application->description)
		put(&object, "description", json_string(application->description));
	put(&object, "match", matches);
	put(&object, "networks", networks);
	put(&object, "default", json_string(application->default_discard ? "discard" : "host"));
	put(&object, "optional_rate", json_integer(application->optional_rate));
	put(&object, "max_flows", json_integer(application->flows_max));
	if (application->accept_risk)
		put(&object, "accept_risk", policy_show_risks(application->accept_risk));
	return object;
}

json_t *policy_show_defaults(const struct policy *policy)
{
	json_t *object = json_object();

	put(&object, "in", json_string(policy_action_words[policy->default_action[SPD_IN]]));
	put(&object, "out", json_string(policy_action_words[policy->default_action[SPD_OUT]]));
	put(&object, "non_ip", json_string(policy_action_words[policy->non_ip_action]));
	return object;
}

json_t *policy_show_essential(const struct policy *policy)
{
	json_t *array = json_array();

	for (size_t bit = 0; bit < ESSENTIAL_BIT_COUNT; bit++)
		if (policy->essential & 1u << bit)
			append(&array, json_string(policy_essential_words[bit]));
	return array;
}

json_t *policy_show_risks(uint32_t accept_risk)
{
	json_t *array = json_array();

	for (size_t risk = 0; risk < POLICY_RISK_COUNT; risk++)
		if (accept_risk & RISK_BIT(risk))
			append(&array, json_string(policy_risk_words[risk]));
	return array;
}

/* ---- the whole text: rule by rule, for all of them as JSON values would fill the memory ---- */

struct text {
	char *data;
	size_t len, room;
	const char *indent;	/* put behind each line's end */
};

static int add(const char *data, size_t len, void *context)
{
	struct text *text = context;
	char *grown;

	if (text->room - text->len <= len) {
		text->room = (text->len + len) * 2 + 4096;
		grown = realloc(text->data, text->room);
		if (!grown)
			return -1;
		text->data = grown;
	}
	memcpy(text->data + text->len, data, len);
	text->len += len;
	text->data[text->len] = '\0';
	return 0;
}

/* jansson ends lines only between values: in strings it writes them as escapes. */
static int add_indented(const char *data, size_t len, void *context)
{
	const struct text *text = context;
	const char *end = memchr(data, '\n', len);
	size_t line;

	for (; end; end = memchr(data, '\n', len)) {
		line = (size_t)(end - data) + 1;
		if (add(data, line, context) || add(text->indent, strlen(text->indent), context))
			return -1;
		data += line;
		len -= line;
	}
	return len ? add(data, len, context) : 0;
}

static int add_value(struct text *text, const char *before, json_t *value)
{
	int err = !value || add(before, strlen(before), text) ||
		  json_dump_callback(value, add_indented, text, JSON_INDENT(2));

	json_decref(value);
	return err;
}

/* All but the rules and the applications. */
static json_t *show_head(const struct policy *policy)
{
	json_t *root = json_object(), *protections = json_object(), *peers = json_object();

	for (size_t i = 0; i < policy->protection_count; i++)
		put(&protections, policy->protections[i].name, policy_show_protection(policy, i));
	for (size_t i = 0; i < policy->peer_count; i++)
		put(&peers, policy->peers[i].name, policy_show_peer(policy, i));
	put(&root, "version", json_integer(POLICY_VERSION));
	put(&root, "bypass_essential", policy_show_essential(policy));
	put(&root, "defaults", policy_show_defaults(policy));
	if (policy->accept_risk)
		put(&root, "accept_risk", policy_show_risks(policy->accept_risk));
	put(&root, "protections", protections);
	put(&root, "peers", peers);
	return root;
}

static int add_text(struct text *text, const char *words)
{
	return add(words, strlen(words), text);
}

/* A member of the document that is a list. */
static int add_list(struct text *text, const char *key, const struct policy *policy, size_t count,
		    json_t *(*show)(const struct policy *policy, size_t index))
{
	int err = add_text(text, ",\n  \"") || add_text(text, key) || add_text(text, "\": [");

	text->indent = "    ";
	for (size_t i = 0; i < count && !err; i++)
		err = add_value(text, i ? ",\n    " : "\n    ", show(policy, i));
	return err || add_text(text, count ? "\n  ]" : "]");
}

char *policy_show(const struct policy *policy)
{
	static const char tail[] = "\n}";
	struct text text = { .indent = "" };
	int err = add_value(&text, "", show_head(policy));

	if (!err) {
		text.len -= strlen(tail);
		err = add_list(&text, "rules", policy, policy->rule_count, policy_show_rule);
	}
	if (!err && policy->application_count)
		err = add_list(&text, "applications", policy, policy->application_count,
			       policy_show_application);
	if (!err)
		err = add_text(&text, "\n}\n");
	if (!err)
		return text.data;
	free(text.data);
	return NULL;
}
