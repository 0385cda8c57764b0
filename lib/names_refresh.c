// SPDX-License-Identifier: BSD-2-Clause
/* What names stood for, and what they stand for now. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "clock.h"
#include "names_store.h"
#include "policy_internal.h"

#define NS_PER_S     1000000000u
#define FORGET_AFTER (30 * 86400)	/* seconds since a name that no policy has was last resolved */

static bool same_addresses(const struct address_list *a, const struct address_list *b)
{
	if (a->count != b->count)
		return false;
	for (size_t i = 0; i < a->count; i++)
		if (a->items[i].family != b->items[i].family ||
		    addr128_compare(a->items[i].lo, b->items[i].lo))
			return false;
	return true;
}

static int copy_addresses(const struct address_list *from, struct address_list *ret_list)
{
	struct address_range *items = calloc(from->count, sizeof(*items));

	if (!items)
		return -ENOMEM;
	memcpy(items, from->items, from->count * sizeof(*items));
	*ret_list = (struct address_list){ items, from->count };
	return 0;
}

/* A new entry without addresses; NULL: no memory. */
static struct name_addresses *add_entry(struct name_table *table, const char *name)
{
	struct name_addresses *items;

	items = reallocarray(table->items, table->count + 1, sizeof(*items));
	if (!items)
		return NULL;
	table->items = items;
	items[table->count] = (struct name_addresses){ .name = strdup(name) };
	return items[table->count].name ? &items[table->count++] : NULL;
}

static struct name_addresses *find_entry(struct name_table *table, const char *name)
{
	for (size_t i = 0; i < table->count; i++)
		if (!strcmp(table->items[i].name, name))
			return &table->items[i];
	return NULL;
}

static int take_answer(struct name_table *table, const char *name,
		       const struct names_answer *answer, bool *changed)
{
	struct name_addresses *entry = find_entry(table, name);
	struct address_list list;
	int err;

	if (!entry)
		entry = add_entry(table, name);
	if (!entry)
		return -ENOMEM;
	if (!same_addresses(&entry->addresses, &answer->addresses)) {
		err = copy_addresses(&answer->addresses, &list);
		if (err)
			return err;
		free(entry->addresses.items);
		entry->addresses = list;
		*changed = true;
	}
	entry->secure = answer->secure;
	entry->ttl = answer->ttl;
	entry->resolved_at = (int64_t)(wall_clock_ns() / NS_PER_S);
	return 0;
}

/* 0 if something is known of it all the same. */
static int do_without(const struct name_table *table, const char *name, enum names_failure failure,
		      struct ipsecbpf_report *report)
{
	const struct name_addresses *known = name_table_find(table, name);
	const char *why = names_failure_text(failure);
	char object[300];

	snprintf(object, sizeof(object), "host name \"%s\"", name);
	if (known && known->addresses.count) {
		report_warning(report, object, "getent ahosts shows what the resolver says",
			       "cannot be resolved (%s): the %zu addresses that it had last are used",
			       why, known->addresses.count);
		return 0;
	}
	report_error(report, object, "getent ahosts shows what the resolver says; or write its "
		     "addresses", "cannot be resolved (%s), and was not before", why);
	return -ENOENT;
}

static bool is_among(const char *name, const char *const *names, size_t count)
{
	for (size_t i = 0; i < count; i++)
		if (!strcmp(names[i], name))
			return true;
	return false;
}

/* Names of policies of long ago. */
static void forget_old(struct name_table *table, const char *const *names, size_t count)
{
	int64_t now = (int64_t)(wall_clock_ns() / NS_PER_S);
	size_t kept = 0;

	for (size_t i = 0; i < table->count; i++) {
		struct name_addresses *entry = &table->items[i];

		if (now - entry->resolved_at < FORGET_AFTER || is_among(entry->name, names, count)) {
			table->items[kept++] = *entry;
			continue;
		}
		free(entry->name);
		free(entry->addresses.items);
	}
	table->count = kept;
}

static int merge(const char *const *names, size_t count, struct name_table *table,
		 const struct names_answer *answers, bool *ret_changed,
		 struct ipsecbpf_report *report)
{
	bool changed = false;
	int err = 0, one;

	for (size_t i = 0; i < count; i++) {
		one = answers[i].failure == NAMES_NONE ?
			      take_answer(table, names[i], &answers[i], &changed) :
			      do_without(table, names[i], answers[i].failure, report);
		err = err ? err : one;
	}
	if (err)
		return err;
	forget_old(table, names, count);
	*ret_changed = changed;
	return 0;
}

int names_merge(const struct policy *policy, struct name_table *table,
		const struct names_answer *answers, bool *ret_changed,
		struct ipsecbpf_report *report)
{
	const char **names;
	size_t count;
	int err = policy_names(policy, &names, &count);

	if (err)
		return err;
	err = merge(names, count, table, answers, ret_changed, report);
	free(names);
	return err;
}

int names_refresh(const struct policy *policy, struct name_table *table, bool *ret_changed,
		  struct ipsecbpf_report *report)
{
	struct names_answer *answers = NULL;
	const char **names;
	size_t count;
	int err = policy_names(policy, &names, &count);

	if (err)
		return err;
	err = names_resolve(names, count, &answers);
	/* Without a process there is what was known. */
	if (err && err != -ENOMEM)
		report_warning(report, "resolver", NULL, "cannot be started: %s", strerror(-err));
	if (answers)
		err = merge(names, count, table, answers, ret_changed, report);
	names_answers_free(answers, count);
	free(names);
	return err;
}

bool names_are_in(const struct policy *policy)
{
	for (size_t i = 0; i < policy->application_count; i++)
		for (size_t j = 0; j < policy->applications[i].network_count; j++)
			if (policy->applications[i].networks[j].name_count)
				return true;
	return false;
}

int names_prepare(const struct paths *paths, struct policy *policy, struct name_table *ret_table,
		  struct ipsecbpf_report *report)
{
	struct name_table table = { 0 };
	bool changed;
	int err;

	*ret_table = table;
	if (!names_are_in(policy))
		return 0;
	err = names_store_read(paths, &table, report);
	if (!err)
		err = names_refresh(policy, &table, &changed, report);
	if (!err)
		err = policy_expand(policy, &table);
	if (err)
		name_table_fini(&table);
	else
		*ret_table = table;
	return err;
}
