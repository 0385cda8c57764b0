// SPDX-License-Identifier: BSD-2-Clause
/* A policy in the paper's language as our JSON. */
#include "policy_import.h"

#include <errno.h>
#include <jansson.h>
#include <limits.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "policy_import_internal.h"
#include "policy_internal.h"

/* ---- what the steps share ------------------------------------------------------------------ */

void *import_slot(struct import *import, void *items_pointer, size_t *count, size_t size)
{
	char *items;

	/* Copied, because the pointer's own type is the caller's affair. */
	memcpy(&items, items_pointer, sizeof(items));
	if (!(*count & (*count - 1))) {
		items = reallocarray(items, *count ? *count * 2 : 1, size);
		if (!items) {
			import->no_memory = true;
			return NULL;
		}
		memcpy(items_pointer, &items, sizeof(items));
	}
	return memset(items + (*count)++ * size, 0, size);
}

void import_report(struct import *import, enum report_level level, struct position at,
		   const char *next, const char *format, ...)
{
	char object[PATH_MAX + 32], cause[1024];
	va_list args;

	va_start(args, format);
	vsnprintf(cause, sizeof(cause), format, args);
	va_end(args);
	snprintf(object, sizeof(object), "%s:%u:%u", import->file, at.line, at.column);
	report_add(import->report, level, object, next, "%s", cause);
	import->errors += level == REPORT_ERROR;
}

static void free_application(struct import_application *application)
{
	for (size_t i = 0; i < application->program_count; i++) {
		free(application->programs[i].name);
		free(application->programs[i].path);
	}
	for (size_t i = 0; i < application->network_count; i++) {
		free(application->networks[i].remote);
		free(application->networks[i].protection_name);
	}
	for (size_t i = 0; i < application->protection_count; i++) {
		free(application->protections[i].name);
		free(application->protections[i].items);
	}
	free(application->programs);
	free(application->networks);
	free(application->protections);
}

static void import_fini(struct import *import)
{
	for (size_t i = 0; i < import->application_count; i++)
		free_application(&import->applications[i]);
	for (size_t i = 0; i < import->peer_count; i++)
		free(import->peers[i].addresses);
	free(import->applications);
	free(import->peers);
}

/* ---- names of applications ----------------------------------------------------------------- */

static bool name_is_taken(const struct import *import, const struct import_application *end,
			  const char *name)
{
	for (const struct import_application *other = import->applications; other < end; other++)
		if (!strcmp(other->name, name))
			return true;
	return false;
}

/* That of its first program, and a number where that has gone to another. */
static void name_application(const struct import *import, struct import_application *application)
{
	static const char allowed[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
				      "0123456789._:@+-";
	const char *path = application->programs[0].name, *slash = strrchr(path, '/');
	char name[NAME_LEN - 16];	/* room for the numbers of its rules and itself */

	snprintf(name, sizeof(name), "%s", slash ? slash + 1 : path);
	for (char *c = name; *c; c++)
		if (!strchr(allowed, *c))
			*c = '_';
	snprintf(application->name, sizeof(application->name), "%s", name);
	for (unsigned int i = 2; name_is_taken(import, application, application->name); i++)
		snprintf(application->name, sizeof(application->name), "%s-%u", name, i);
}

/* ---- JSON ---------------------------------------------------------------------------------- */

/* Lack of memory anywhere makes a NULL, which the one above it passes on. */

static json_t *match_json(const struct import_application *application)
{
	json_t *matches;

	if (application->program_count == 1)
		return json_pack("{s:s}", "executable", application->programs[0].path);
	matches = json_array();
	for (size_t i = 0; i < application->program_count; i++)
		if (json_array_append_new(matches, json_pack("{s:s}", "executable",
							     application->programs[i].path))) {
			json_decref(matches);
			return NULL;
		}
	return matches;
}

static int set_port(json_t *item, const char *key, bool any, uint16_t port)
{
	return any ? 0 : json_object_set_new(item, key, json_integer(port));
}

/* Port numbers are of TCP connections and UDP flows there; without any, whatever the program sends. */
static json_t *item_json(const struct import_item *from)
{
	json_t *item = json_object();
	int failed = 0;

	if (!from->local_any || !from->remote_any)
		failed = json_object_set_new(item, "protocol", json_pack("[ss]", "tcp", "udp"));
	if (failed || set_port(item, "local_port", from->local_any, from->local) ||
	    set_port(item, "remote_port", from->remote_any, from->remote) ||
	    json_object_set_new(item, "protection",
				json_string(from->encryption ? "encryption" : "authentication")) ||
	    json_object_set_new(item, "in", json_string(from->optional ? "request" : "require")) ||
	    json_object_set_new(item, "out", json_string(from->optional ? "request" : "require"))) {
		json_decref(item);
		return NULL;
	}
	return item;
}

static json_t *items_json(const struct import_protection *protection)
{
	json_t *items = json_array();

	for (size_t i = 0; i < protection->item_count; i++)
		if (json_array_append_new(items, item_json(&protection->items[i]))) {
			json_decref(items);
			return NULL;
		}
	return items;
}

static json_t *network_json(const struct import_application *application,
			    const struct import_network *from)
{
	static const char *const words[] = { "trusted", "untrusted", "protected" };
	json_t *network = json_pack("{s:s,s:s}", "remote", from->remote, "class",
				    words[from->class]);

	if (from->class == IMPORT_PROTECTED &&
	    json_object_set_new(network, "protect",
				items_json(&application->protections[from->protection]))) {
		json_decref(network);
		return NULL;
	}
	return network;
}

static json_t *application_json(const struct import_application *from)
{
	json_t *networks = json_array(), *application;

	for (size_t i = 0; i < from->network_count; i++)
		if (json_array_append_new(networks, network_json(from, &from->networks[i])))
			goto fail;
	application = json_pack("{s:s,s:o}", "name", from->name, "match", match_json(from));
	if (!application || json_object_set_new(application, "networks", networks)) {
		json_decref(application);
		return NULL;
	}
	return application;
fail:
	json_decref(networks);
	return NULL;
}

static json_t *applications_json(struct import *import)
{
	json_t *applications = json_array();

	for (size_t i = 0; i < import->application_count; i++) {
		name_application(import, &import->applications[i]);
		if (json_array_append_new(applications,
					  application_json(&import->applications[i]))) {
			json_decref(applications);
			return NULL;
		}
	}
	return applications;
}

static json_t *peer_json(const struct import_peer *peer)
{
	json_t *addresses = json_array();
	char text[128];

	for (size_t i = 0; i < peer->address_count; i++) {
		address_format(&peer->addresses[i], text, sizeof(text));
		if (json_array_append_new(addresses, json_string(text))) {
			json_decref(addresses);
			return NULL;
		}
	}
	return json_pack("{s:o}", "addresses", addresses);
}

static json_t *peers_json(const struct import *import)
{
	json_t *peers = json_object();

	for (size_t i = 0; i < import->peer_count; i++)
		if (json_object_set_new(peers, import->peers[i].name,
					peer_json(&import->peers[i]))) {
			json_decref(peers);
			return NULL;
		}
	return peers;
}

/* Two for the whole file: an SA that protects one application's connection serves the others'. */
static json_t *protections_json(const struct import *import)
{
	bool used[2] = { false, false };
	json_t *protections = json_object();

	for (size_t i = 0; i < import->application_count; i++)
		for (size_t j = 0; j < import->applications[i].protection_count; j++) {
			const struct import_protection *from =
				&import->applications[i].protections[j];

			for (size_t k = 0; from->used && k < from->item_count; k++)
				used[from->items[k].encryption] = true;
		}
	for (int encryption = 1; encryption >= 0; encryption--) {
		const char *word = encryption ? "encryption" : "authentication";

		if (used[encryption] &&
		    json_object_set_new(protections, word, json_pack("{s:s}", "type", word))) {
			json_decref(protections);
			return NULL;
		}
	}
	return protections;
}

/* The host itself is as the paper finds it: nothing but what is an application's is IPsec's affair. */
static char *import_text(struct import *import)
{
	json_t *policy;
	char *text = NULL, *line;

	policy = json_pack("{s:i, s:[ssss], s:{s:s,s:s,s:s}, s:o, s:o, s:[], s:o}",
			   "version", POLICY_VERSION,
			   "bypass_essential", "arp", "nd", "dhcp", "ike",
			   "defaults", "in", "bypass", "out", "bypass", "non_ip", "bypass",
			   "protections", protections_json(import), "peers", peers_json(import),
			   "rules", "applications", applications_json(import));
	text = policy ? json_dumps(policy, JSON_INDENT(2)) : NULL;
	json_decref(policy);
	line = text ? realloc(text, strlen(text) + 2) : NULL;
	if (!line) {
		free(text);
		import->no_memory = true;
		return NULL;
	}
	return strcat(line, "\n");
}

/* ---- all ----------------------------------------------------------------------------------- */

char *policy_import(const char *text, size_t len, const char *name,
		    const struct policy_import_opts *opts, struct ipsecbpf_report *report)
{
	struct import import = { .file = name, .report = report };
	char *json = NULL;

	if (len > IMPORT_TEXT_MAX)
		import_error(&import, ((struct position){ 1, 1 }), "import it in parts",
			     "the file is longer than %u octets", IMPORT_TEXT_MAX);
	else
		import_read(&import, text, len);
	if (!import.errors && !import.no_memory)
		import_check(&import, opts);
	if (!import.errors && !import.no_memory)
		json = import_text(&import);
	if (import.no_memory)
		report_error(report, name, NULL, "out of memory");
	import_fini(&import);
	errno = import.no_memory ? ENOMEM : EINVAL;
	return json;
}

char *policy_import_file(const char *path, const struct policy_import_opts *opts,
			 struct ipsecbpf_report *report)
{
	char *text = NULL, *json = NULL;
	size_t len = 0;
	int err = policy_read_file(path, &text, &len, report);

	if (!err) {
		json = policy_import(text, len, path, opts, report);
		err = json ? 0 : -errno;
	}
	free(text);
	errno = -err;
	return json;
}
