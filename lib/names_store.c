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

#include "policy_internal.h"
#include "policy_keep.h"

#define STORE_VERSION 1

void name_table_fini(struct name_table *table)
{
	for (size_t i = 0; i < table->count; i++) {
		free(table->items[i].name);
		free(table->items[i].addresses.items);
	}
	free(table->items);
	*table = (struct name_table){ 0 };
}

const struct name_addresses *name_table_find(const struct name_table *table, const char *name)
{
	for (size_t i = 0; i < table->count; i++)
		if (!strcmp(table->items[i].name, name))
			return &table->items[i];
	return NULL;
}

/* ---- reading ------------------------------------------------------------------------------- */

static bool read_addresses(json_t *array, struct address_list *ret_list)
{
	size_t count = json_array_size(array);
	struct address_list list = { 0 };
	const char *text, *reason;

	if (!count || count > NAMES_ADDRESSES_MAX)
		return false;
	list.items = calloc(count, sizeof(*list.items));
	for (; list.items && list.count < count; list.count++) {
		struct address_range *range = &list.items[list.count];

		text = json_string_value(json_array_get(array, list.count));
		if (!text || !address_parse(text, range, &reason) ||
		    addr128_compare(range->lo, range->hi)) {
			free(list.items);
			return false;
		}
	}
	*ret_list = list;
	return list.items != NULL;
}

static bool read_entry(const char *name, json_t *json, struct name_addresses *ret_entry)
{
	json_t *ttl = json_object_get(json, "ttl");
	json_t *resolved_at = json_object_get(json, "resolved_at");
	struct name_addresses entry = { .secure = json_is_true(json_object_get(json, "secure")) };

	if (!json_is_integer(ttl) || !json_is_integer(resolved_at) ||
	    json_integer_value(ttl) < 0 || json_integer_value(ttl) > UINT32_MAX ||
	    !read_addresses(json_object_get(json, "addresses"), &entry.addresses))
		return false;
	entry.ttl = (uint32_t)json_integer_value(ttl);
	entry.resolved_at = json_integer_value(resolved_at);
	entry.name = strdup(name);
	if (!entry.name) {
		free(entry.addresses.items);
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
	json_t *addresses = json_array();
	char text[128];

	for (size_t i = 0; i < entry->addresses.count; i++) {
		address_format(&entry->addresses.items[i], text, sizeof(text));
		if (json_array_append_new(addresses, json_string(text))) {
			json_decref(addresses);
			return NULL;
		}
	}
	return json_pack("{s:o,s:b,s:I,s:I}", "addresses", addresses, "secure",
			 (int)entry->secure, "ttl", (json_int_t)entry->ttl, "resolved_at",
			 (json_int_t)entry->resolved_at);
}

static char *table_text(const struct name_table *table)
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

/* A file beside it, synced, then renamed: whoever reads sees one or the other. */
static int replace_file(const char *path, const char *text)
{
	char temporary[300];
	size_t len = strlen(text);
	int err = 0, fd;

	snprintf(temporary, sizeof(temporary), "%s.%d", path, (int)getpid());
	unlink(temporary);
	fd = open(temporary, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
	if (fd < 0)
		return -errno;
	if (write(fd, text, len) != (ssize_t)len || fsync(fd))
		err = errno ? -errno : -EIO;
	if (close(fd) && !err)
		err = -errno;
	if (!err && rename(temporary, path))
		err = -errno;
	if (err)
		unlink(temporary);
	return err;
}

int names_file_write(const char *path, const struct name_table *table,
		     struct ipsecbpf_report *report)
{
	char *text = table_text(table);
	int err = text ? replace_file(path, text) : -ENOMEM;

	free(text);
	if (err)
		report_error(report, path, "is there room on the disk?",
			     "cannot keep what names were resolved to: %s", strerror(-err));
	return err;
}

/* ---- of an interface ----------------------------------------------------------------------- */

/* As the kept policy, it is not to be taken for another namespace's. */
static int store_path(const struct paths *paths, char out[256])
{
	char ifname[sizeof(paths->dir)], name[128];
	int err;

	snprintf(ifname, sizeof(ifname), "%.*s", (int)strcspn(paths->dir, "@"), paths->dir);
	for (char *c = ifname; *c; c++)
		if (*c == ':')
			*c = '.';
	err = policy_keep_name(ifname, name, sizeof(name));
	if (!err)
		snprintf(out, 256, NAMES_DIR "/%s.json", name);
	return err;
}

int names_store_read(const struct paths *paths, struct name_table *ret_table,
		     struct ipsecbpf_report *report)
{
	char path[256];
	int err = store_path(paths, path);

	*ret_table = (struct name_table){ 0 };
	return err ? err : names_file_read(path, ret_table, report);
}

int names_store_write(const struct paths *paths, const struct name_table *table,
		      struct ipsecbpf_report *report)
{
	char path[256];
	int err = store_path(paths, path);

	if (!err)
		err = paths_mkdir(NAMES_DIR, 0700);
	return err ? err : names_file_write(path, table, report);
}
