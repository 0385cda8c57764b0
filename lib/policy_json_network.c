// SPDX-License-Identifier: BSD-2-Clause
/* JSON text -> struct app_network: with whom an application speaks, and how that is protected. */
#include <ctype.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "policy_json.h"

#define PEERS_MAX	1024	/* of one protection */
#define HOST_NAME_MAX_LEN 253	/* octets: RFC 1035 2.3.4, as text without the final dot */
#define LABEL_MAX	63

/* One being read, and what of it only matters until its end. */
struct one_network {
	const struct policy_reading *document;
	struct app_network *network;
	struct json_value protect;	/* json NULL: not given */
	bool class_given;
};

/* ---- whom ---- */

static bool ends_in_number(const char *text)
{
	const char *label = strrchr(text, '.');

	label = label ? label + 1 : text;
	return *label && strspn(label, "0123456789") == strlen(label);
}

/* No host name has a colon or a slash, nor ends in a number (RFC 1123 2.1): what does, and has no
 * letter that no address has, is an address that may have been mistyped. */
static bool is_meant_as_address(const char *text)
{
	if (ends_in_number(text) || strspn(text, "0123456789.-") == strlen(text))
		return true;
	return strpbrk(text, ":/") && strspn(text, "0123456789abcdefABCDEF.:/-") == strlen(text);
}

static const char *label_fault(const char *label, size_t len)
{
	if (!len)
		return "a part between its dots is empty";
	if (len > LABEL_MAX)
		return "a part between its dots is longer than 63 characters";
	if (label[0] == '-' || label[len - 1] == '-')
		return "a part of it begins or ends with a hyphen";
	for (size_t i = 0; i < len; i++)
		if ((unsigned char)label[i] > 0x7f)
			return "names in other scripts are written in ASCII (\"xn--...\")";
		else if (!isalnum((unsigned char)label[i]) && label[i] != '-')
			return "only letters, digits, hyphens and dots are in names (RFC 1123)";
	return NULL;
}

/* `len` is without a final dot. */
static const char *host_name_fault(const char *name, size_t len)
{
	const char *fault = NULL;

	if (len > HOST_NAME_MAX_LEN)
		return "a name has at most 253 characters";
	for (size_t at = 0; at <= len && !fault;) {
		size_t part = strcspn(name + at, ".");

		if (part > len - at)
			part = len - at;
		fault = label_fault(name + at, part);
		at += part + 1;
	}
	return fault;
}

/* Case does not matter in names, nor does a dot at the end. */
static void add_host_name(struct json_reader *reader, struct json_value value,
			  struct app_network *network, size_t len)
{
	char *copy = policy_keep_text(reader, json_string_value(value.json)), **slot;

	if (!copy)
		return;
	copy[len] = '\0';
	for (char *at = copy; *at; at++)
		*at = (char)tolower((unsigned char)*at);
	for (size_t i = 0; i < network->name_count; i++) {
		if (!strcmp(network->names[i], copy)) {
			json_error(reader, value, NULL, "\"%.100s\" is listed twice", copy);
			goto out;
		}
	}
	if (network->name_count == POLICY_NAMES_MAX) {
		json_error(reader, value, NULL, "more than %d host names in one network",
			   POLICY_NAMES_MAX);
		goto out;
	}
	slot = policy_list_slot(reader, &network->names, &network->name_count, sizeof(*slot));
	if (slot) {
		*slot = copy;
		return;
	}
out:
	free(copy);
}

/* "example.com/24": the slash makes it look like an address, which helps nobody. */
static bool is_name_with_prefix(const char *text)
{
	const char *slash = strchr(text, '/');

	return slash && slash > text && !strchr(text, ':') && isalpha((unsigned char)slash[-1]);
}

static bool means_any(const char *text)
{
	return !strcasecmp(text, "any") || !strcasecmp(text, "all") || !strcmp(text, "*");
}

static void read_host_name(struct json_reader *reader, struct json_value value,
			   struct app_network *network)
{
	const char *text = json_string_value(value.json);
	size_t len = strlen(text);
	const char *fault;

	if (len > 1 && text[len - 1] == '.')
		len--;
	fault = host_name_fault(text, len);
	if (fault)
		json_error(reader, value, NULL, "\"%.100s\" is neither an address nor a host name: "
			   "%s", text, fault);
	else
		add_host_name(reader, value, network, len);
}

static void read_remote(struct json_reader *reader, struct json_value value, void *target)
{
	const char *text = json_read_string(reader, value);
	struct app_network *network = target;

	if (!text)
		return;
	if (!strcmp(text, "any"))
		json_error(reader, value, "write \"remote\": \"any\"",
			   "\"any\" is all there is: nothing stands beside it in a list");
	else if (means_any(text))
		json_error(reader, value, "did you mean \"any\"?",
			   "\"%.40s\" is neither an address nor a host name", text);
	else if (is_name_with_prefix(text))
		json_error(reader, value, "name the network by its addresses",
			   "\"%.100s\": a host name stands for single addresses: it has no prefix "
			   "length", text);
	else if (is_meant_as_address(text))
		policy_read_address(reader, value, &network->remote);
	else
		read_host_name(reader, value, network);
}

static void read_remotes(struct json_reader *reader, struct json_value value, void *target)
{
	struct one_network *reading = target;
	const char *text = json_string_value(value.json);

	if (text && !strcmp(text, "any"))
		return;
	if (json_is_array(value.json) && !json_array_size(value.json)) {
		json_error(reader, value, "\"any\" is every address",
			   "an empty list matches nothing");
		return;
	}
	policy_read_selector(reader, value, read_remote, reading->network);
	policy_require_disjoint_addresses(reader, value, &reading->network->remote);
}

static void read_class(struct json_reader *reader, struct json_value value, void *target)
{
	struct one_network *reading = target;
	size_t word;

	if (!json_read_word(reader, value, policy_class_words, &word))
		return;
	reading->network->class = (enum app_network_class)word;
	reading->class_given = true;
}

/* ---- how it is protected ---- */

struct one_protect {
	const struct policy_reading *document;
	struct app_protect *protect;
	bool given[SPD_DIRECTION_COUNT];	/* what each direction asks for */
};

static void read_protocol(struct json_reader *reader, struct json_value value, void *target)
{
	struct app_protect *protect = target;

	policy_add_protocol(reader, value, &protect->protocols, &protect->protocol_count);
}

static void read_protocols(struct json_reader *reader, struct json_value value, void *target)
{
	struct one_protect *reading = target;

	policy_read_selector(reader, value, read_protocol, reading->protect);
}

static void read_local_port(struct json_reader *reader, struct json_value value, void *target)
{
	struct one_protect *reading = target;

	policy_read_ports(reader, value, &reading->protect->local_port);
}

static void read_remote_port(struct json_reader *reader, struct json_value value, void *target)
{
	struct one_protect *reading = target;

	policy_read_ports(reader, value, &reading->protect->remote_port);
}

static void read_peer(struct json_reader *reader, struct json_value value, void *target)
{
	struct one_protect *reading = target;
	struct app_protect *protect = reading->protect;
	size_t peer, *slot;

	if (!policy_read_peer_name(reader, value, reading->document, &peer))
		return;
	for (size_t i = 0; i < protect->peer_count; i++) {
		if (protect->peers[i] == peer) {
			json_error(reader, value, NULL, "\"%.60s\" is listed twice",
				   json_string_value(value.json));
			return;
		}
	}
	slot = policy_list_slot(reader, &protect->peers, &protect->peer_count, sizeof(*slot));
	if (slot)
		*slot = peer;
}

static void read_peers(struct json_reader *reader, struct json_value value, void *target)
{
	static const struct json_list list = { PEERS_MAX, true, read_peer };

	if (!json_read_list(reader, value, &list, target) && json_is_array(value.json) &&
	    !json_array_size(value.json))
		json_error(reader, value, "leave the key out for every peer that has an address in "
			   "the network", "an empty list names no peer");
}

static void read_protection(struct json_reader *reader, struct json_value value, void *target)
{
	struct one_protect *reading = target;

	policy_read_protection_name(reader, value, reading->document,
				    &reading->protect->protection);
}

static void read_demand(struct json_reader *reader, struct json_value value,
			struct one_protect *reading, enum spd_direction direction)
{
	size_t word;

	if (!json_read_word(reader, value, policy_demand_words, &word))
		return;
	reading->protect->demand[direction] = (enum app_demand)word;
	reading->given[direction] = true;
}

static void read_in(struct json_reader *reader, struct json_value value, void *target)
{
	read_demand(reader, value, target, SPD_IN);
}

static void read_out(struct json_reader *reader, struct json_value value, void *target)
{
	read_demand(reader, value, target, SPD_OUT);
}

static void read_sa(struct json_reader *reader, struct json_value value, void *target)
{
	static const char *const words[] = { "shared", "unique", NULL };
	size_t word;

	(void)target;
	if (json_read_word(reader, value, words, &word) && word == 1)
		json_error(reader, value, "write \"shared\", or leave the key out; to keep an "
			   "application's SAs apart from others', give it a protection of its own",
			   "\"unique\" is an SA for each socket, which the peers would have to agree "
			   "on as sockets come and go: that takes IKE, and SAs are entered by hand "
			   "here");
}

/* What is not said follows the protection's level. */
static void default_demands(const struct policy *policy, struct one_protect *reading)
{
	const struct protection *protection = &policy->protections[reading->protect->protection];

	for (int way = 0; way < SPD_DIRECTION_COUNT; way++)
		if (!reading->given[way])
			reading->protect->demand[way] = protection->level == LEVEL_OPTIONAL ?
							DEMAND_REQUEST : DEMAND_REQUIRE;
}

static void read_one_protect(struct json_reader *reader, struct json_value value, void *target)
{
	static const struct json_key keys[] = {
		{ "protocol", false, read_protocols },
		{ "local_port", false, read_local_port },
		{ "remote_port", false, read_remote_port },
		{ "peer", false, read_peers },
		{ "protection", true, read_protection },
		{ "in", false, read_in },
		{ "out", false, read_out },
		{ "sa", false, read_sa },
		{ "description", false, policy_read_description },
		{ 0 }
	};
	struct one_network *network = target;
	struct one_protect reading = { .document = network->document };
	size_t errors = reader->errors;

	reading.protect = policy_list_slot(reader, &network->network->protect,
					   &network->network->protect_count,
					   sizeof(*reading.protect));
	if (!reading.protect)
		return;
	reading.protect->at = json_where_value(reader->where, value.node);
	json_read_object(reader, value, keys, &reading);
	if (reader->errors == errors)
		default_demands(network->document->policy, &reading);
}

static void keep_protect(struct json_reader *reader, struct json_value value, void *target)
{
	struct one_network *reading = target;

	(void)reader;
	reading->protect = value;
}

/* Only a protected network has protections, and it has at least one. */
static void read_kept_protect(struct json_reader *reader, struct json_value value,
			      struct one_network *reading)
{
	static const struct json_list list = { POLICY_LIST_MAX, true, read_one_protect };
	const struct app_network *network = reading->network;
	struct json_value protect = reading->protect;

	if (!protect.json) {
		if (reading->class_given && network->class == APP_PROTECTED)
			json_error(reader, value, NULL,
				   "class \"protected\" needs key \"protect\"");
		return;
	}
	reader->key = "protect";
	if (reading->class_given && network->class != APP_PROTECTED)
		json_error(reader, protect, "make the class \"protected\", or take \"protect\" out",
			   "\"protect\" goes with class \"protected\" only, not with \"%s\"",
			   policy_class_words[network->class]);
	else if (json_is_array(protect.json) && !json_array_size(protect.json))
		json_error(reader, protect, "class \"untrusted\" discards everything",
			   "an empty list protects nothing, and lets nothing pass");
	else
		json_read_list(reader, protect, &list, reading);
}

void policy_read_network(struct json_reader *reader, struct json_value value, void *target)
{
	static const struct json_key keys[] = {
		{ "remote", true, read_remotes },
		{ "class", true, read_class },
		{ "protect", false, keep_protect },
		{ "description", false, policy_read_description },
		{ 0 }
	};
	const struct network_reading *whose = target;
	struct application *application = whose->application;
	struct one_network reading = { .document = whose->document };
	const char *outer_key = reader->key;

	reading.network = policy_list_slot(reader, &application->networks,
					   &application->network_count, sizeof(*reading.network));
	if (!reading.network)
		return;
	reading.network->at = json_where_value(reader->where, value.node);
	json_read_object(reader, value, keys, &reading);
	if (json_is_object(value.json))
		read_kept_protect(reader, value, &reading);
	reader->key = outer_key;
}
