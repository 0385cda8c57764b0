// SPDX-License-Identifier: BSD-2-Clause
/* The differences of two policies, found in their canonical JSON, key by key. */
#include <errno.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "name_index.h"
#include "policy_internal.h"

/* A list under construction; `failed` once memory ran out. */
struct diff {
	struct policy_change *changes;
	size_t count, room;
	bool failed;
};

/* The names of one kind of object in one policy, and how to show one. */
struct section {
	const struct policy *policy;
	const char *kind;
	const void *array;	/* its elements begin with their names */
	size_t stride, count;
	json_t *(*show)(const struct policy *policy, size_t index);
	struct name_index names;
};

/* Takes ownership of object and detail. */
static void add_change(struct diff *diff, char sign, char *object, char *detail)
{
	struct policy_change *changes = diff->changes;

	if (object && diff->count == diff->room) {
		changes = reallocarray(changes, diff->room * 2 + 16, sizeof(*changes));
		if (changes) {
			diff->changes = changes;
			diff->room = diff->room * 2 + 16;
		}
	}
	if (!object || !changes) {
		free(object);
		free(detail);
		diff->failed = true;
		return;
	}
	changes[diff->count++] = (struct policy_change){ sign, object, detail };
}

static char *make_object(const char *kind, const char *name)
{
	char *object;
	int len;

	len = name ? asprintf(&object, "%s \"%s\"", kind, name) : asprintf(&object, "%s", kind);
	return len < 0 ? NULL : object;
}

static void print_value(FILE *out, json_t *value);

/* Within another value, what belongs together is put between brackets. */
static void print_nested(FILE *out, json_t *value)
{
	bool object = json_is_object(value), list = json_is_array(value);

	fputs(object ? "(" : list ? "[" : "", out);
	print_value(out, value);
	fputs(object ? ")" : list ? "]" : "", out);
}

/* An object is printed as "peer gateway, protection vpn". */
static void print_members(FILE *out, json_t *object)
{
	const char *key, *comma = "";
	json_t *member;

	json_object_foreach(object, key, member) {
		fprintf(out, "%s%s ", comma, key);
		print_nested(out, member);
		comma = ", ";
	}
}

static void print_value(FILE *out, json_t *value)
{
	json_t *element;
	size_t i;

	if (json_is_string(value))
		fputs(json_string_value(value), out);
	else if (json_is_integer(value))
		fprintf(out, "%" JSON_INTEGER_FORMAT, json_integer_value(value));
	else if (json_is_boolean(value))
		fputs(json_is_true(value) ? "true" : "false", out);
	else if (json_is_object(value))
		print_members(out, value);
	else if (!json_array_size(value))
		fputs("none", out);
	json_array_foreach(value, i, element) {
		fputs(i ? ", " : "", out);
		print_nested(out, element);
	}
}

/* What a key that is not shown stands for: references are to nothing, selectors match all. */
static const char *absent_word(const char *key)
{
	static const char *const selectors[] = {
		"interface", "local", "remote", "protocol", "local_port", "remote_port",
		"icmp_type", "icmp_code", "vlan", "dscp", "origin",
		"cgroup", "unit", "executable", "user", "group",
	};

	for (size_t i = 0; i < sizeof(selectors) / sizeof(selectors[0]); i++)
		if (!strcmp(key, selectors[i]))
			return "any";
	return strcmp(key, "allow_legacy") ? "none" : "false";
}

/* The differences found so far of one object, and where in it one is. */
struct printing {
	FILE *out;
	char path[128];		/* "networks[2].protect[0]"; empty: the object itself */
	bool any;
};

static void print_difference(struct printing *to, const char *absent, json_t *before, json_t *after)
{
	fprintf(to->out, "%s%s%s", to->any ? "; " : "", to->path, to->path[0] ? ": " : "");
	if (before)
		print_value(to->out, before);
	else
		fputs(absent, to->out);
	fputs(" -> ", to->out);
	if (after)
		print_value(to->out, after);
	else
		fputs(absent, to->out);
	to->any = true;
}

static bool has_objects(json_t *array)
{
	return json_is_object(json_array_get(array, 0));
}

static void print_objects(struct printing *to, json_t *before, json_t *after);

/* What comes before the first and behind the last change is passed over, so that one that was put
 * in or taken out does not make all behind it look different. */
static void print_arrays(struct printing *to, json_t *before, json_t *after)
{
	size_t old_end = json_array_size(before), new_end = json_array_size(after), i = 0;
	size_t len = strlen(to->path);

	while (i < old_end && i < new_end &&
	       json_equal(json_array_get(before, i), json_array_get(after, i)))
		i++;
	for (; old_end > i && new_end > i && json_equal(json_array_get(before, old_end - 1),
							json_array_get(after, new_end - 1));
	     old_end--)
		new_end--;
	for (; i < old_end || i < new_end; i++) {
		json_t *old_one = i < old_end ? json_array_get(before, i) : NULL;
		json_t *new_one = i < new_end ? json_array_get(after, i) : NULL;

		snprintf(to->path + len, sizeof(to->path) - len, "[%zu]", i);
		if (old_one && new_one)
			print_objects(to, old_one, new_one);
		else
			print_difference(to, "none", old_one, new_one);
		to->path[len] = '\0';
	}
}

static void print_member(struct printing *to, const char *key, json_t *before, json_t *after)
{
	size_t len = strlen(to->path);

	if (json_equal(before, after))
		return;
	snprintf(to->path + len, sizeof(to->path) - len, "%s%s", len ? "." : "", key);
	if (has_objects(before) || has_objects(after))
		print_arrays(to, before, after);
	else
		print_difference(to, absent_word(key), before, after);
	to->path[len] = '\0';
}

static void print_objects(struct printing *to, json_t *before, json_t *after)
{
	const char *key;
	json_t *value;

	json_object_foreach(before, key, value)
		print_member(to, key, value, json_object_get(after, key));
	json_object_foreach(after, key, value)
		if (!json_object_get(before, key))
			print_member(to, key, NULL, value);
}

/* "key: old -> new; ..." of two objects, or "old -> new" of other values. NULL without memory. */
static char *make_detail(json_t *before, json_t *after)
{
	struct printing to = { .out = NULL };
	char *text = NULL;
	size_t len;

	to.out = open_memstream(&text, &len);
	if (!to.out)
		return NULL;
	if (json_is_object(before))
		print_objects(&to, before, after);
	else
		print_difference(&to, "none", before, after);
	if (!fclose(to.out))
		return text;
	free(text);
	return NULL;
}

/* Compares and releases two values. */
static void compare(struct diff *diff, const char *kind, const char *name, json_t *before,
		    json_t *after)
{
	char *detail;

	if (!before || !after) {
		diff->failed = true;
	} else if (!json_equal(before, after)) {
		detail = make_detail(before, after);
		if (!detail)
			diff->failed = true;
		add_change(diff, '~', make_object(kind, name), detail);
	}
	json_decref(before);
	json_decref(after);
}

static const char *name_of(const struct section *section, size_t index)
{
	return (const char *)section->array + index * section->stride;
}

/* What went, in the old file's order, then what came or changed, in the new file's. */
static void compare_sections(struct diff *diff, const struct section *old_section,
			     const struct section *new_section)
{
	const char *kind = new_section->kind, *name;
	size_t other;

	for (size_t i = 0; i < old_section->count; i++) {
		name = name_of(old_section, i);
		if (name_index_find(&new_section->names, name) == NAME_INDEX_NONE)
			add_change(diff, '-', make_object(kind, name), NULL);
	}
	for (size_t i = 0; i < new_section->count; i++) {
		name = name_of(new_section, i);
		other = name_index_find(&old_section->names, name);
		if (other == NAME_INDEX_NONE)
			add_change(diff, '+', make_object(kind, name), NULL);
		else
			compare(diff, kind, name, old_section->show(old_section->policy, other),
				new_section->show(new_section->policy, i));
	}
}

static struct section protections_of(const struct policy *policy)
{
	return (struct section){ policy, "protection", policy->protections,
				 sizeof(*policy->protections), policy->protection_count,
				 policy_show_protection };
}

static struct section peers_of(const struct policy *policy)
{
	return (struct section){ policy, "peer", policy->peers, sizeof(*policy->peers),
				 policy->peer_count, policy_show_peer };
}

static struct section applications_of(const struct policy *policy)
{
	return (struct section){ policy, "application", policy->applications,
				 sizeof(*policy->applications), policy->application_count,
				 policy_show_application };
}

static struct section rules_of(const struct policy *policy)
{
	return (struct section){ policy, "rule", policy->rules, sizeof(*policy->rules),
				 policy->rule_count, policy_show_rule };
}

/* The first match wins: the order of what both have is part of the policy. */
static void compare_order(struct diff *diff, const struct section *old_rules,
			  const struct section *new_rules)
{
	size_t o = 0, n = 0;
	char *detail, *object;

	for (;; o++, n++) {
		while (o < old_rules->count &&
		       name_index_find(&new_rules->names, name_of(old_rules, o)) == NAME_INDEX_NONE)
			o++;
		while (n < new_rules->count &&
		       name_index_find(&old_rules->names, name_of(new_rules, n)) == NAME_INDEX_NONE)
			n++;
		if (o >= old_rules->count || n >= new_rules->count)
			return;
		if (strcmp(name_of(old_rules, o), name_of(new_rules, n)))
			break;
	}
	if (asprintf(&detail, "\"%s\" now comes before \"%s\"", name_of(new_rules, n),
		     name_of(old_rules, o)) < 0) {
		diff->failed = true;
		return;
	}
	if (asprintf(&object, "order of %ss", new_rules->kind) < 0)
		object = NULL;
	add_change(diff, '~', object, detail);
}

static bool index_names(struct section *section)
{
	if (name_index_init(&section->names, section->array, section->stride, section->count))
		return false;
	for (size_t i = 0; i < section->count; i++)
		name_index_add(&section->names, i);
	return true;
}

static void compare_kind(struct diff *diff, struct section before, struct section after, bool ordered)
{
	if (index_names(&before) && index_names(&after)) {
		compare_sections(diff, &before, &after);
		if (ordered)
			compare_order(diff, &before, &after);
	} else {
		diff->failed = true;
	}
	name_index_fini(&before.names);
	name_index_fini(&after.names);
}

int policy_diff(const struct policy *old_policy, const struct policy *new_policy,
		struct policy_change **ret_changes, size_t *ret_count)
{
	struct diff diff = { 0 };

	compare(&diff, "bypass_essential", NULL, policy_show_essential(old_policy),
		policy_show_essential(new_policy));
	compare(&diff, "accept_risk", NULL, policy_show_risks(old_policy->accept_risk),
		policy_show_risks(new_policy->accept_risk));
	compare(&diff, "defaults", NULL, policy_show_defaults(old_policy),
		policy_show_defaults(new_policy));
	compare_kind(&diff, protections_of(old_policy), protections_of(new_policy), false);
	compare_kind(&diff, peers_of(old_policy), peers_of(new_policy), false);
	compare_kind(&diff, rules_of(old_policy), rules_of(new_policy), true);
	compare_kind(&diff, applications_of(old_policy), applications_of(new_policy), true);
	if (diff.failed) {
		policy_changes_free(diff.changes, diff.count);
		return -ENOMEM;
	}
	*ret_changes = diff.changes;
	*ret_count = diff.count;
	return 0;
}

void policy_changes_free(struct policy_change *changes, size_t count)
{
	for (size_t i = 0; i < count; i++) {
		free(changes[i].object);
		free(changes[i].detail);
	}
	free(changes);
}
