// SPDX-License-Identifier: BSD-2-Clause
/* JSON text -> struct application: who it is. Its networks are in policy_json_network.c. */
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "policy_json.h"

#define MATCHES_MAX	1024	/* of one application */
#define UNIT_MAX	255	/* systemd's own limit */
#define ID_NAME_MAX	256
#define DESCRIPTION_MAX	4096

/* Where most people look for cgroups; a policy's paths begin below the root of cgroup2. */
#define CGROUP_MOUNT "/sys/fs/cgroup"

/* An application being read. */
struct app_reading {
	const struct policy_reading *document;
	struct application *application;
};

char *policy_keep_text(struct json_reader *reader, const char *text)
{
	char *copy = strdup(text);

	if (!copy)
		reader->no_memory = true;
	return copy;
}

static bool has_control(const char *text)
{
	for (; *text; text++)
		if ((unsigned char)*text < 0x20 || *text == 0x7f)
			return true;
	return false;
}

/* ---- matches ---- */

const char *policy_path_fault(const char *path)
{
	size_t len;

	if (path[0] != '/')
		return "the path is relative: it must begin with \"/\"";
	if (strlen(path) >= PATH_MAX)
		return "longer than a path can be";
	if (has_control(path))
		return "control characters are in it";
	for (; *path; path += len) {
		path++;
		len = strcspn(path, "/");
		if (!len)
			return "a \"/\" too many, or nothing behind it";
		if (len > NAME_MAX)
			return "a component is longer than a name can be";
		if ((len == 1 && path[0] == '.') || (len == 2 && path[0] == '.' && path[1] == '.'))
			return "\".\" and \"..\" are not resolved: write where it leads";
	}
	return NULL;
}

static size_t count_components(const char *path)
{
	size_t count = 0;

	for (; *path; path++)
		count += *path == '/';
	return count;
}

/* The path as seen from cgroup2's root, if it was written as seen from the host's; or NULL. */
static const char *below_cgroup_mount(const char *path)
{
	size_t len = strlen(CGROUP_MOUNT);

	if (strncmp(path, CGROUP_MOUNT, len) || (path[len] && path[len] != '/'))
		return NULL;
	path += len;
	return !strncmp(path, "/unified/", 9) ? path + 8 : path;
}

static void read_cgroup(struct json_reader *reader, struct json_value value, void *target)
{
	const char *path = json_read_string(reader, value), *fault, *below;
	struct app_match *match = target;
	char next[160];

	if (!path)
		return;
	fault = policy_path_fault(path);
	below = below_cgroup_mount(path);
	snprintf(next, sizeof(next), "write \"%.100s\"", below && *below ? below : "/...");
	if (!strcmp(path, "/"))
		json_error(reader, value, "leave the application out, and write rules",
			   "\"/\" is every program: that is what the policy's rules are for");
	else if (fault)
		json_error(reader, value, NULL, "\"%.100s\": %s", path, fault);
	else if (below)
		json_error(reader, value, next, "\"%.100s\": cgroups are given as below the root "
			   "of cgroup2", path);
	else if (count_components(path) > APP_CGROUP_LEVELS)
		json_error(reader, value, "name one further up: its children belong to it",
			   "\"%.100s\" is %zu levels deep: more than the limit of %d", path,
			   count_components(path), APP_CGROUP_LEVELS);
	else
		match->cgroup = policy_keep_text(reader, path);
}

/* systemd.unit(5): those that have a cgroup. */
static bool has_unit_type(const char *name)
{
	static const char *const types[] = {
		".service", ".scope", ".slice", ".socket", ".mount", ".swap",
	};
	const char *type = strrchr(name, '.');

	for (size_t i = 0; type && type != name && i < sizeof(types) / sizeof(types[0]); i++)
		if (!strcmp(type, types[i]))
			return true;
	return false;
}

static void read_unit(struct json_reader *reader, struct json_value value, void *target)
{
	static const char allowed[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
				      "0123456789:-_.\\@";
	const char *name = json_read_string(reader, value);
	struct app_match *match = target;
	char next[96];

	if (!name)
		return;
	snprintf(next, sizeof(next), "did you mean \"%.60s.service\"?", name);
	if (!*name || strlen(name) > UNIT_MAX || strspn(name, allowed) != strlen(name))
		json_error(reader, value, NULL, "\"%.60s\" is not the name of a systemd unit", name);
	else if (!has_unit_type(name))
		json_error(reader, value, strchr(name, '.') ? NULL : next,
			   "\"%.60s\" is no unit that programs run in: its name ends in .service, "
			   ".scope, .slice, .socket, .mount or .swap", name);
	else if (strstr(name, "@."))
		json_error(reader, value, NULL, "\"%.60s\" is a template: name an instance, as in "
			   "\"getty@tty1.service\"", name);
	else
		match->unit = policy_keep_text(reader, name);
}

static void read_executable(struct json_reader *reader, struct json_value value, void *target)
{
	const char *path = json_read_string(reader, value), *fault;
	struct app_match *match = target;

	fault = path ? policy_path_fault(path) : NULL;
	if (fault)
		json_error(reader, value, NULL, "\"%.100s\": %s", path, fault);
	else if (path)
		match->exe = policy_keep_text(reader, path);
}

/* A user or a group: as accounts have them, directories included (DOM\user, user@dom). */
static char *read_id(struct json_reader *reader, struct json_value value, const char *what)
{
	const char *name = json_string_value(value.json);
	json_int_t id;
	char text[24];

	if (json_is_integer(value.json)) {
		if (!json_read_integer(reader, value, 0, POLICY_ID_MAX, &id))
			return NULL;
		snprintf(text, sizeof(text), "%" JSON_INTEGER_FORMAT, id);
		return policy_keep_text(reader, text);
	}
	if (!name) {
		json_type_error(reader, value, "a name or a number");
	} else if (!*name || strlen(name) > ID_NAME_MAX || name[0] == '-' || has_control(name) ||
		   strpbrk(name, " :/,")) {
		json_error(reader, value, NULL, "\"%.60s\" is not the name of a %s", name, what);
	} else if (strspn(name, "0123456789") == strlen(name)) {
		json_error(reader, value, "numbers are written without quotes",
			   "\"%.60s\" is not the name of a %s", name, what);
	} else {
		return policy_keep_text(reader, name);
	}
	return NULL;
}

static void read_user(struct json_reader *reader, struct json_value value, void *target)
{
	struct app_match *match = target;

	match->user = read_id(reader, value, "user");
}

static void read_group(struct json_reader *reader, struct json_value value, void *target)
{
	struct app_match *match = target;

	match->group = read_id(reader, value, "group");
}

static void read_one_match(struct json_reader *reader, struct json_value value, void *target)
{
	static const struct json_key keys[] = {
		{ "cgroup", false, read_cgroup },
		{ "unit", false, read_unit },
		{ "executable", false, read_executable },
		{ "user", false, read_user },
		{ "group", false, read_group },
		{ 0 }
	};
	struct app_reading *reading = target;
	struct application *application = reading->application;
	struct app_match *match;

	match = policy_list_slot(reader, &application->matches, &application->match_count,
				 sizeof(*match));
	if (!match)
		return;
	match->at = json_where_value(reader->where, value.node);
	json_read_object(reader, value, keys, match);
	if (json_is_object(value.json) && !json_object_size(value.json))
		json_error(reader, value, NULL, "at least one of cgroup, unit, executable, user "
			   "and group is needed");
	if (json_object_get(value.json, "cgroup") && json_object_get(value.json, "unit"))
		json_error(reader, value, "name the unit alone: wherever systemd puts it, it is "
			   "found", "cgroup and unit exclude each other: a unit is a cgroup");
}

static void read_match(struct json_reader *reader, struct json_value value, void *target)
{
	static const struct json_list list = { MATCHES_MAX, true, read_one_match };

	if (!json_read_list(reader, value, &list, target) && json_is_array(value.json) &&
	    !json_array_size(value.json))
		json_error(reader, value, NULL, "an empty list matches no program");
}

/* ---- applications ---- */

static void read_app_name(struct json_reader *reader, struct json_value value, void *target)
{
	const char *name = json_read_string(reader, value);
	struct app_reading *reading = target;

	if (!name || !policy_read_name(reader, value, name, reading->application->name))
		return;
	if (strlen(name) > POLICY_APP_NAME_MAX)
		json_error(reader, value, NULL, "the name of an application has at most %d "
			   "characters, not %zu", POLICY_APP_NAME_MAX, strlen(name));
	if (strchr(name, '/'))
		json_error(reader, value, NULL, "\"%.60s\": no \"/\" is in the name of an "
			   "application: its rules are named APPLICATION/NUMBER", name);
}

static void read_app_description(struct json_reader *reader, struct json_value value, void *target)
{
	const char *text = json_read_string(reader, value);
	struct app_reading *reading = target;

	if (text && strlen(text) > DESCRIPTION_MAX)
		json_error(reader, value, NULL, "%zu octets: more than the limit of %d",
			   strlen(text), DESCRIPTION_MAX);
	else if (text)
		reading->application->description = policy_keep_text(reader, text);
}

static void read_networks(struct json_reader *reader, struct json_value value, void *target)
{
	static const struct json_list list = { .max = POLICY_LIST_MAX, .read = policy_read_network };
	const struct app_reading *reading = target;
	struct network_reading network = { reading->document, reading->application };

	json_read_list(reader, value, &list, &network);
}

static void read_default(struct json_reader *reader, struct json_value value, void *target)
{
	static const char *const words[] = { "host", "discard", NULL };
	struct app_reading *reading = target;
	size_t word;

	if (json_read_word(reader, value, words, &word))
		reading->application->default_discard = word == 1;
}

static void read_optional_rate(struct json_reader *reader, struct json_value value, void *target)
{
	struct app_reading *reading = target;
	json_int_t rate;

	if (json_read_integer(reader, value, 0, INT32_MAX, &rate))
		reading->application->optional_rate = (uint32_t)rate;
}

static void read_max_flows(struct json_reader *reader, struct json_value value, void *target)
{
	struct app_reading *reading = target;
	json_int_t flows;

	if (json_read_integer(reader, value, 1, APP_FLOWS_MAX, &flows))
		reading->application->flows_max = (uint32_t)flows;
}

static void read_accept_risk(struct json_reader *reader, struct json_value value, void *target)
{
	struct app_reading *reading = target;

	policy_read_risks(reader, value, &reading->application->accept_risk);
}

static const struct json_key application_keys[] = {
	{ "name", true, read_app_name },
	{ "description", false, read_app_description },
	{ "match", true, read_match },
	{ "networks", true, read_networks },
	{ "default", false, read_default },
	{ "optional_rate", false, read_optional_rate },
	{ "max_flows", false, read_max_flows },
	{ "accept_risk", false, read_accept_risk },
	{ 0 }
};

static void read_application(struct json_reader *reader, struct json_value value, void *target)
{
	struct policy_reading *document = target;
	struct policy *policy = document->policy;
	const char *name = json_string_value(json_object_get(value.json, "name"));
	struct app_reading reading = { .document = document };
	size_t errors = reader->errors;
	struct application *application;

	reader->key = NULL;
	if (name)
		snprintf(reader->subject, sizeof(reader->subject), "application \"%.60s\"", name);
	else
		snprintf(reader->subject, sizeof(reader->subject), "applications[%zu]",
			 policy->application_count);
	application = policy_list_slot(reader, &policy->applications, &policy->application_count,
				       sizeof(*application));
	if (!application)
		return;
	application->optional_rate = APP_OPTIONAL_RATE_DEFAULT;
	application->flows_max = APP_FLOWS_DEFAULT;
	application->at = json_where_value(reader->where, value.node);
	reading.application = application;
	json_read_object(reader, value, application_keys, &reading);
	application->invalid = reader->errors != errors;
	reader->subject[0] = '\0';
}

/* The first that is too many, for that is where the file is to be cut. */
static void report_too_many(struct json_reader *reader, struct json_value value)
{
	struct json_value beyond = { .node = json_where_first(reader->where, value.node) };

	for (size_t i = 0; i < APPS_MAX; i++)
		beyond.node = json_where_next(reader->where, value.node, beyond.node);
	json_error(reader, beyond, "one application may have many matches: join those that are "
		   "treated alike", "%zu applications: more than the limit of %d, and this is the "
		   "first of those beyond", json_array_size(value.json), APPS_MAX);
}

void policy_read_applications(struct json_reader *reader, struct policy_reading *reading)
{
	static const struct json_list list = { .max = APPS_MAX, .read = read_application };

	reader->key = "applications";
	if (json_array_size(reading->applications.json) > APPS_MAX)
		report_too_many(reader, reading->applications);
	else
		json_read_list(reader, reading->applications, &list, reading);
	reader->key = NULL;
}
