// SPDX-License-Identifier: BSD-2-Clause
#include "names_watch.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "names_store.h"
#include "policy_apply.h"
#include "policy_store.h"
#include "policy_trial.h"

#define LISTED 8	/* addresses of one name in a message */

/* ---- what has changed ---------------------------------------------------------------------- */

static void list_addresses(const struct address_list *list, char *out, size_t out_len)
{
	size_t used = 0;
	char text[128];

	snprintf(out, out_len, "nothing");
	for (size_t i = 0; i < list->count && i < LISTED; i++) {
		address_format(&list->items[i], text, sizeof(text));
		used += (size_t)snprintf(out + used, out_len - used, "%s%s", i ? ", " : "", text);
	}
	if (list->count > LISTED)
		snprintf(out + used, out_len - used, " and %zu more", list->count - LISTED);
}

static void say_changes(const struct name_table *before, const struct name_table *after,
			struct ipsecbpf_report *report)
{
	static const struct address_list none;
	char object[300], old[512], new[512];

	for (size_t i = 0; i < after->count; i++) {
		const struct name_addresses *now = &after->items[i];
		const struct name_addresses *then = name_table_find(before, now->name);

		list_addresses(then ? &then->addresses : &none, old, sizeof(old));
		list_addresses(&now->addresses, new, sizeof(new));
		snprintf(object, sizeof(object), "host name \"%s\"", now->name);
		/* Of many addresses the text alone does not tell. */
		if (!strcmp(old, new) && (!then || then->addresses.count == now->addresses.count))
			continue;
		report_add(report, REPORT_NOTE, object, NULL, "%s, before: %s%s", new, old,
			   now->secure ? " (DNSSEC)" : "");
	}
}

/* ---- when next ----------------------------------------------------------------------------- */

static uint32_t next_look(const struct policy *policy, const struct name_table *table)
{
	uint32_t wait = NAMES_WAIT_MAX_S, ttl;
	const struct name_addresses *entry;
	const char **names;
	size_t count;

	if (policy_names(policy, &names, &count))
		return NAMES_WAIT_DEFAULT_S;
	for (size_t i = 0; i < count; i++) {
		entry = name_table_find(table, names[i]);
		ttl = entry && entry->ttl ? entry->ttl : NAMES_WAIT_DEFAULT_S;
		if (ttl < NAMES_WAIT_MIN_S)
			ttl = NAMES_WAIT_MIN_S;
		if (ttl < wait)
			wait = ttl;
	}
	free(names);
	return wait;
}

/* ---- one look ------------------------------------------------------------------------------ */

struct look {
	struct names_watch *watch;
	struct policy *policy;
	uint32_t identity;		/* of the policy in force when it was read */
	struct name_table before, after;
	struct ipsecbpf_report *report;
};

static int put_in_force(struct look *look)
{
	const char *ifname = look->watch->ifname;
	struct ipsecbpf_apply_result result;
	struct pins pins;
	int err, lock;

	err = policy_expand(look->policy, &look->after);
	if (err)
		return err;
	lock = pins_open_locked(&pins, ifname, look->report);
	if (lock < 0)
		return lock;
	err = policy_reapply(&pins, look->policy, look->identity, &result, look->report);
	if (!err)
		err = names_store_write(&pins.paths, &look->after, look->report);
	pins_close_locked(&pins, lock);
	if (err == -EAGAIN)
		return 0;	/* it is for whoever has come in between; later */
	if (err)
		return err;
	look->watch->pending = false;
	look->watch->applied = result.changed;
	return 0;
}

static int refresh(struct look *look, const struct paths *paths)
{
	struct names_watch *watch = look->watch;
	size_t said = look->report->count;
	bool changed = false;
	int err = names_store_read(paths, &look->before, look->report);

	if (!err)
		err = names_store_read(paths, &look->after, NULL);
	if (!err)
		err = names_refresh(look->policy, &look->after, &changed, look->report);
	watch->wait_s = next_look(look->policy, &look->after);
	if (look->report->count > said && watch->wait_s > NAMES_WAIT_RETRY_S)
		watch->wait_s = NAMES_WAIT_RETRY_S;
	if (err)
		return err;
	if (changed && !watch->pending)
		say_changes(&look->before, &look->after, look->report);
	watch->pending |= changed;
	if (watch->pending)
		err = put_in_force(look);
	if (watch->pending)
		watch->wait_s = NAMES_WAIT_MIN_S;
	return err;
}

int names_watch_look(struct names_watch *watch, struct ipsecbpf_report *report)
{
	struct look look = { .watch = watch, .report = report };
	struct paths paths;
	struct pins pins;
	int err;

	watch->applied = watch->none = false;
	watch->wait_s = NAMES_WAIT_MIN_S;
	err = pins_open(&pins, watch->ifname, report);
	if (err)
		return err;
	paths = pins.paths;
	look.identity = policy_identity(&pins);
	look.policy = policy_read_live(&pins, report);
	err = look.policy ? 0 : -errno;
	watch->none = err == -ENODATA || (!err && !names_are_in(look.policy));
	if (!err && !watch->none && policy_trial_left(&pins) < 0) {
		pins_close(&pins);
		err = refresh(&look, &paths);
	} else {
		pins_close(&pins);
	}
	policy_free(look.policy);
	name_table_fini(&look.before);
	name_table_fini(&look.after);
	return watch->none ? 0 : err;
}
