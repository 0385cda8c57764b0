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

/* An object is printed as "peer gateway, protection vpn". Nothing shown is nested deeper. */
static void print_members(FILE *out, json_t *object)
{
	const char *key, *comma = "";
	json_t *member;

	json_object_foreach(object, key, member) {
		fprintf(out, "%s%s %s", comma, key, json_string_value(member));
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
		print_value(out, element);
	}
}

/* What a key that is not shown stands for: references are to nothing, selectors match all. */
static const char *absent_word(const char *key)
{
	if (!strcmp(key, "peer") || !strcmp(key, "protection") || !strcmp(key, "within"))
		return "none";
	return strcmp(key, "allow_legacy") ? "any" : "false";
}

static void print_difference(FILE *out, const char *key, json_t *before, json_t *after, bool *first)
{
	json_t *absent = json_string(absent_word(key));

	fprintf(out, "%s%s%s", *first ? "" : "; ", key, *key ? ": " : "");
	print_value(out, before ? before : absent);
	fputs(" -> ", out);
	print_value(out, after ? after : absent);
	json_decref(absent);
	*first = false;
}

/* "key: old -> new; ..." of two objects, or "old -> new" of other values. NULL without memory. */
static char *make_detail(json_t *before, json_t *after)
{
	const char *key;
	bool first = true;
	char *text = NULL;
	json_t *value;
	size_t len;
	FILE *out;

	out = open_memstream(&text, &len);
	if (!out)
		return NULL;
	if (!json_is_object(before))
		print_difference(out, "", before, after, &first);
	json_object_foreach(before, key, value)
		if (!json_equal(value, json_object_get(after, key)))
			print_difference(out, key, value, json_object_get(after, key), &first);
	json_object_foreach(after, key, value)
		if (!json_object_get(before, key))
			print_difference(out, key, NULL, value, &first);
	if (!fclose(out))
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

static struct section rules_of(const struct policy *policy)
{
	return (struct section){ policy, "rule", policy->rules, sizeof(*policy->rules),
				 policy->rule_count, policy_show_rule };
}

/* The first match wins: the order of the rules that both have is part of the policy. */
static void compare_order(struct diff *diff, const struct section *old_rules,
			  const struct section *new_rules)
{
	size_t o = 0, n = 0;
	char *detail;

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
	add_change(diff, '~', make_object("order of rules", NULL), detail);
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
