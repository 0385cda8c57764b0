// SPDX-License-Identifier: BSD-2-Clause
/* The addresses of names, on disk. */
#include "names_store.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "clock.h"
#include "policy_internal.h"

#define STORE_VERSION 1
#define NS_PER_S      1000000000u
#define FORGET_AFTER  (30 * 86400)	/* seconds since a name that no policy has was last resolved */

static void entry_fini(struct name_addresses *entry)
{
	free(entry->name);
	free(entry->addresses.items);
	free(entry->seen);
}

void name_table_fini(struct name_table *table)
{
	for (size_t i = 0; i < table->count; i++)
		entry_fini(&table->items[i]);
	free(table->items);
	*table = (struct name_table){ 0 };
}

struct name_addresses *name_table_entry(struct name_table *table, const char *name)
{
	for (size_t i = 0; i < table->count; i++)
		if (!strcmp(table->items[i].name, name))
			return &table->items[i];
	return NULL;
}

const struct name_addresses *name_table_find(const struct name_table *table, const char *name)
{
	for (size_t i = 0; i < table->count; i++)
		if (!strcmp(table->items[i].name, name))
			return &table->items[i];
	return NULL;
}

struct name_addresses *name_table_add(struct name_table *table, const char *name)
{
	struct name_addresses *items;

	items = reallocarray(table->items, table->count + 1, sizeof(*items));
	if (!items)
		return NULL;
	table->items = items;
	items[table->count] = (struct name_addresses){ .name = strdup(name) };
	return items[table->count].name ? &items[table->count++] : NULL;
}

int name_table_set(struct name_table *table, const struct name_addresses *from)
{
	struct name_addresses *entry = name_table_entry(table, from->name), copy = *from;
	size_t count = from->addresses.count;

	if (!entry)
		entry = name_table_add(table, from->name);
	if (!entry)
		return -ENOMEM;
	copy.addresses.items = calloc(count + 1, sizeof(*copy.addresses.items));
	copy.seen = calloc(count + 1, sizeof(*copy.seen));
	if (!copy.addresses.items || !copy.seen) {
		free(copy.addresses.items);
		free(copy.seen);
		return -ENOMEM;
	}
	if (count) {
		memcpy(copy.addresses.items, from->addresses.items,
		       count * sizeof(*copy.addresses.items));
		memcpy(copy.seen, from->seen, count * sizeof(*copy.seen));
	}
	copy.name = entry->name;
	entry->name = NULL;
	entry_fini(entry);
	*entry = copy;
	return 0;
}

static bool is_among(const char *name, const char *const *names, size_t count)
{
	for (size_t i = 0; i < count; i++)
		if (!strcmp(names[i], name))
			return true;
	return false;
}

void name_table_keep(struct name_table *table, const char *const *names, size_t count)
{
	size_t kept = 0;

	for (size_t i = 0; i < table->count; i++) {
		if (is_among(table->items[i].name, names, count))
			table->items[kept++] = table->items[i];
		else
			entry_fini(&table->items[i]);
	}
	table->count = kept;
}

bool names_same_addresses(const struct address_list *a, const struct address_list *b)
{
	if (a->count != b->count)
		return false;
	for (size_t i = 0; i < a->count; i++)
		if (a->items[i].family != b->items[i].family ||
		    addr128_compare(a->items[i].lo, b->items[i].lo))
			return false;
	return true;
}

/* ---- reading ------------------------------------------------------------------------------- */

static bool read_addresses(json_t *array, struct name_addresses *entry)
{
	size_t count = json_array_size(array), *done = &entry->addresses.count;
	const char *text, *reason;

	/* Without any there must be a reason. */
	if (count > NAMES_ADDRESSES_MAX || (!count && !entry->failure))
		return false;
	entry->addresses.items = calloc(count + 1, sizeof(*entry->addresses.items));
	for (; entry->addresses.items && *done < count; ++*done) {
		struct address_range *range = &entry->addresses.items[*done];

		text = json_string_value(json_array_get(array, *done));
		if (!text || !address_parse(text, range, &reason) ||
		    addr128_compare(range->lo, range->hi))
			return false;
	}
	return entry->addresses.items != NULL;
}

/* Of files that do not have them: since it was resolved. */
static bool read_seen(json_t *array, struct name_addresses *entry)
{
	size_t count = entry->addresses.count;

	if (array && json_array_size(array) != count)
		return false;
	entry->seen = calloc(count + 1, sizeof(*entry->seen));
	for (size_t i = 0; entry->seen && i < count; i++) {
		json_t *value = array ? json_array_get(array, i) : NULL;

		if (array && !json_is_integer(value))
			return false;
		entry->seen[i] = array ? json_integer_value(value) : entry->resolved_at;
	}
	return entry->seen != NULL;
}

static bool read_times(json_t *json, struct name_addresses *entry)
{
	json_t *ttl = json_object_get(json, "ttl"), *failure = json_object_get(json, "failure");
	json_t *resolved_at = json_object_get(json, "resolved_at");
	json_t *asked_at = json_object_get(json, "asked_at");

	if (!json_is_integer(ttl) || !json_is_integer(resolved_at) ||
	    json_integer_value(ttl) < 0 || json_integer_value(ttl) > UINT32_MAX ||
	    json_integer_value(failure) < 0 || json_integer_value(failure) >= NAMES_FAILURE_COUNT)
		return false;
	entry->secure = json_is_true(json_object_get(json, "secure"));
	entry->ttl = (uint32_t)json_integer_value(ttl);
	entry->resolved_at = json_integer_value(resolved_at);
	entry->asked_at = asked_at ? json_integer_value(asked_at) : entry->resolved_at;
	entry->failure = (uint32_t)json_integer_value(failure);
	return true;
}

static bool read_entry(const char *name, json_t *json, struct name_addresses *ret_entry)
{
	struct name_addresses entry = { 0 };

	if (read_times(json, &entry) &&
	    read_addresses(json_object_get(json, "addresses"), &entry) &&
	    read_seen(json_object_get(json, "seen"), &entry))
		entry.name = strdup(name);
	if (!entry.name) {
		entry_fini(&entry);
		return false;
	}
	*ret_entry = entry;
	return true;
}

static bool read_document(json_t *root, struct name_table *ret_table)
{
	json_t *names = json_object_get(root, "names"), *value;
	struct name_table table = { 0 };
	const char *name;

	if (json_integer_value(json_object_get(root, "version")) != STORE_VERSION ||
	    !json_is_object(names))
		return false;
	table.items = calloc(json_object_size(names) + 1, sizeof(*table.items));
	json_object_foreach(names, name, value) {
		if (!table.items || !read_entry(name, value, &table.items[table.count])) {
			name_table_fini(&table);
			return false;
		}
		table.count++;
	}
	*ret_table = table;
	return table.items != NULL;
}

int names_parse(const char *text, size_t len, struct name_table *ret_table)
{
	json_t *root = json_loadb(text, len, JSON_REJECT_DUPLICATES, NULL);
	bool good = root && read_document(root, ret_table);

	if (!good)
		*ret_table = (struct name_table){ 0 };
	json_decref(root);
	return good ? 0 : -EINVAL;
}

int names_file_read(const char *path, struct name_table *ret_table, struct ipsecbpf_report *report)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	struct name_table table = { 0 };
	json_error_t error;
	json_t *root;

	*ret_table = table;
	if (fd < 0 && errno == ENOENT)
		return 0;
	if (fd < 0) {
		int err = -errno;

		report_error(report, path, NULL, "cannot be read: %s", strerror(-err));
		return err;
	}
	root = json_loadfd(fd, JSON_REJECT_DUPLICATES, &error);
	close(fd);
	if (!root || !read_document(root, &table))
		report_warning(report, path, "it is written anew once they are resolved",
			       "is damaged: what names were resolved to is not known any more");
	json_decref(root);
	*ret_table = table;
	return 0;
}

/* ---- writing ------------------------------------------------------------------------------- */

static json_t *entry_json(const struct name_addresses *entry)
{
	json_t *addresses = json_array(), *seen = json_array();
	char text[128];

	for (size_t i = 0; i < entry->addresses.count; i++) {
		address_format(&entry->addresses.items[i], text, sizeof(text));
		if (json_array_append_new(addresses, json_string(text)) ||
		    json_array_append_new(seen, json_integer((json_int_t)entry->seen[i]))) {
			json_decref(addresses);
			json_decref(seen);
			return NULL;
		}
	}
	return json_pack("{s:o,s:o,s:b,s:I,s:I,s:I,s:I}", "addresses", addresses, "seen", seen,
			 "secure", (int)entry->secure, "ttl", (json_int_t)entry->ttl,
			 "resolved_at", (json_int_t)entry->resolved_at, "asked_at",
			 (json_int_t)entry->asked_at, "failure", (json_int_t)entry->failure);
}

char *names_text(const struct name_table *table)
{
	json_t *names = json_object(), *root;
	char *text;

	for (size_t i = 0; i < table->count; i++)
		if (json_object_set_new(names, table->items[i].name,
					entry_json(&table->items[i]))) {
			json_decref(names);
			return NULL;
		}
	root = json_pack("{s:i,s:o}", "version", STORE_VERSION, "names", names);
	text = root ? json_dumps(root, JSON_INDENT(1)) : NULL;
	json_decref(root);
	return text;
}

static int write_file(const char *path, const struct name_table *table, struct keep_file *ret_file,
		      struct ipsecbpf_report *report)
{
	char *text = names_text(table);
	int err = text ? keep_file_write(ret_file, path, text) : -ENOMEM;

	free(text);
	if (err)
		report_error(report, path, "make room in " STATE_ROOT ", and see that it is writable; "
			     "the live policy is unchanged",
			     "cannot keep what names were resolved to: %s", strerror(-err));
	return err;
}

int names_file_write(const char *path, const struct name_table *table,
		     struct ipsecbpf_report *report)
{
	struct keep_file file;
	int err = write_file(path, table, &file, report);

	return err ? err : keep_file_commit(&file);
}

/* ---- of an interface ----------------------------------------------------------------------- */

/* As the kept policy, it is not to be taken for another namespace's. */
static int store_path(const char *ifname, char out[256])
{
	char name[128];
	int err = policy_keep_name(ifname, name, sizeof(name));

	if (!err)
		snprintf(out, 256, NAMES_DIR "/%s.json", name);
	return err;
}

int names_store_read(const char *ifname, struct name_table *ret_table,
		     struct ipsecbpf_report *report)
{
	char path[256];
	int err = store_path(ifname, path);

	*ret_table = (struct name_table){ 0 };
	return err ? err : names_file_read(path, ret_table, report);
}

/* Names that no policy has had for long. */
static void forget_old(struct name_table *table)
{
	int64_t now = (int64_t)(wall_clock_ns() / NS_PER_S);
	size_t kept = 0;

	for (size_t i = 0; i < table->count; i++) {
		if (now - table->items[i].resolved_at < FORGET_AFTER)
			table->items[kept++] = table->items[i];
		else
			entry_fini(&table->items[i]);
	}
	table->count = kept;
}

int names_keep_prepare(const char *ifname, const struct name_table *table, struct keep_file *ret_file,
		       struct ipsecbpf_report *report)
{
	struct name_table kept = { 0 };
	char path[256] = NAMES_DIR;
	int err = store_path(ifname, path);

	/* A damaged one is replaced; whoever resolved was told. */
	if (!err)
		err = names_file_read(path, &kept, NULL);
	forget_old(&kept);
	for (size_t i = 0; !err && i < table->count; i++)
		if (table->items[i].addresses.count)
			err = name_table_set(&kept, &table->items[i]);
	if (!err)
		err = policy_keep_directory(NAMES_DIR);
	if (err)
		report_error(report, path, "see that " STATE_ROOT " is writable; the live policy is "
			     "unchanged", "cannot keep what names were resolved to: %s",
			     strerror(-err));
	else
		err = write_file(path, &kept, ret_file, report);
	name_table_fini(&kept);
	return err;
}
