// SPDX-License-Identifier: BSD-2-Clause
#include "names_watch.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "clock.h"
#include "names_store.h"
#include "policy_apply.h"
#include "policy_store.h"
#include "policy_trial.h"

#define NS_PER_S 1000000000u
#define LISTED   8	/* addresses of one name in a message */

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

static void say_change(const struct name_addresses *then, const struct name_addresses *now,
		       struct ipsecbpf_report *report)
{
	static const struct address_list none;
	char object[300], old[512], new[512];

	list_addresses(then ? &then->addresses : &none, old, sizeof(old));
	list_addresses(&now->addresses, new, sizeof(new));
	snprintf(object, sizeof(object), "host name \"%s\"", now->name);
	report_add(report, REPORT_NOTE, object, NULL, "%s, before: %s%s", new, old,
		   now->secure ? " (DNSSEC)" : "");
}

/* ---- when ---------------------------------------------------------------------------------- */

static int64_t wall_clock_s(void)
{
	return (int64_t)(wall_clock_ns() / NS_PER_S);
}

uint32_t names_wait(const struct name_addresses *entry)
{
	uint32_t wait = entry->ttl ? entry->ttl : NAMES_WAIT_DEFAULT_S;

	if (entry->failure) {
		wait = NAMES_WAIT_RETRY_S;
		for (uint32_t i = 1; i < entry->failures && wait < NAMES_WAIT_FAILED_S; i++)
			wait *= 2;
		return wait < NAMES_WAIT_FAILED_S ? wait : NAMES_WAIT_FAILED_S;
	}
	if (wait < NAMES_WAIT_MIN_S)
		return NAMES_WAIT_MIN_S;
	return wait < NAMES_WAIT_MAX_S ? wait : NAMES_WAIT_MAX_S;
}

/* Seconds until it is due; 0: it is. */
static uint32_t left(const struct name_addresses *entry, int64_t now)
{
	uint32_t wait = names_wait(entry);

	/* A clock that was set back makes none wait for long. */
	if (!entry->asked_at || now < entry->asked_at || now - entry->asked_at >= wait)
		return 0;
	return (uint32_t)(entry->asked_at + wait - now);
}

static uint32_t apply_left(const struct names_watch *watch)
{
	uint64_t past = (clock_ns() - watch->applied_ns) / NS_PER_S;

	return !watch->applied_ns || past >= NAMES_APPLY_S ? 0 : (uint32_t)(NAMES_APPLY_S - past);
}

static void set_wait(struct names_watch *watch, bool pending)
{
	int64_t now = wall_clock_s();
	uint32_t wait = NAMES_WAIT_MAX_S, one;

	for (size_t i = 0; i < watch->known.count; i++) {
		one = left(&watch->known.items[i], now);
		wait = one < wait ? one : wait;
	}
	one = apply_left(watch);
	if (pending && one < wait)
		wait = one;
	watch->wait_s = wait < NAMES_WAIT_MIN_S ? NAMES_WAIT_MIN_S : wait;
}

/* ---- what is known ------------------------------------------------------------------------- */

/* What is in force and not known from looks, since another put it there. */
static int learn(struct name_table *known, const struct name_addresses *live)
{
	struct name_addresses *entry = name_table_entry(known, live->name);

	if (!entry || !entry->addresses.count || entry->resolved_at < live->resolved_at)
		return name_table_set(known, live);
	return 0;
}

static int learn_all(struct names_watch *watch, const struct policy *policy, const char *const *names,
		     size_t count)
{
	int err = 0;

	name_table_keep(&watch->known, names, count);
	for (size_t i = 0; !err && i < policy->names.count; i++)
		err = learn(&watch->known, &policy->names.items[i]);
	for (size_t i = 0; !err && i < count; i++)
		if (!name_table_find(&watch->known, names[i]) &&
		    !name_table_add(&watch->known, names[i]))
			err = -ENOMEM;
	return err;
}

static int compare_asked(const void *a, const void *b)
{
	const struct name_addresses *x = a, *y = b;

	return (x->asked_at > y->asked_at) - (x->asked_at < y->asked_at);
}

static int ask(struct names_watch *watch, struct ipsecbpf_report *report)
{
	struct name_table *known = &watch->known;
	const char **due = calloc(known->count + 1, sizeof(*due));
	int64_t now = wall_clock_s();
	size_t count = 0;
	int err = 0;

	if (!due)
		return -ENOMEM;
	qsort(known->items, known->count, sizeof(*known->items), compare_asked);
	for (size_t i = 0; i < known->count; i++)
		if (watch->all || !left(&known->items[i], now))
			due[count++] = known->items[i].name;
	if (count)
		err = names_refresh(due, count, known, report);
	free(due);
	watch->all = false;
	/* Of what nothing is known nothing can be done, and the others do not wait for it. */
	return err == -EADDRNOTAVAIL ? 0 : err;
}

void names_look_path(const struct paths *paths, char out[256])
{
	snprintf(out, 256, RUN_ROOT "/%s.names", paths->dir);
}

/* ---- one look ------------------------------------------------------------------------------ */

struct look {
	struct names_watch *watch;
	struct policy *policy;		/* with the addresses in force */
	struct name_table now;		/* what shall be in force */
	uint32_t identity;		/* of the policy in force when it was read */
	bool pending;
	struct ipsecbpf_report *report;
};

static bool differs(const struct look *look, const struct name_addresses *known)
{
	const struct name_addresses *live = name_table_find(&look->policy->names, known->name);
	static const struct address_list none;

	return known->held_until <= wall_clock_s() &&
	       !names_same_addresses(&known->addresses, live ? &live->addresses : &none);
}

static bool is_pending(const struct look *look)
{
	for (size_t i = 0; i < look->watch->known.count; i++)
		if (differs(look, &look->watch->known.items[i]))
			return true;
	return false;
}

static int copy_table(struct name_table *to, const struct name_table *from)
{
	int err = 0;

	for (size_t i = 0; !err && i < from->count; i++)
		err = name_table_set(to, &from->items[i]);
	return err;
}

/* Would it be a policy? Nothing of it is said. */
static int try(const struct look *look, const struct pins *pins, const struct name_addresses *with)
{
	const struct policy_install_opts dry = { .dry_run = true };
	struct ipsecbpf_apply_result result;
	struct ipsecbpf_report quiet = { 0 };
	struct name_table table = { 0 };
	int err = copy_table(&table, &look->now);

	if (!err)
		err = name_table_set(&table, with);
	if (!err)
		err = policy_expand(look->policy, &table);
	if (!err)
		err = policy_install(pins, pins->ifname, look->policy, &dry, &result, &quiet);
	report_fini(&quiet);
	name_table_fini(&table);
	return err;
}

/* All together cannot be in force: those can that do one by one; the others keep what they have. */
static int choose(struct look *look, const struct pins *pins)
{
	struct name_table *known = &look->watch->known;
	char object[300];
	int err = 0;

	name_table_fini(&look->now);
	err = copy_table(&look->now, &look->policy->names);
	for (size_t i = 0; !err && i < known->count; i++) {
		struct name_addresses *entry = &known->items[i];

		if (!differs(look, entry))
			continue;
		if (!try(look, pins, entry)) {
			err = name_table_set(&look->now, entry);
			continue;
		}
		entry->held_until = wall_clock_s() + NAMES_HOLD_S;
		snprintf(object, sizeof(object), "host name \"%s\"", entry->name);
		report_warning(look->report, object, "see how many addresses it has, and in how many "
			       "networks it is", "what it stands for now cannot be put in force: "
			       "it keeps the addresses that it has");
	}
	return err;
}

/* Puts look->now in force. */
static int reapply(struct look *look, const struct pins *pins, struct ipsecbpf_report *report)
{
	struct ipsecbpf_apply_result result;
	struct name_table live = look->policy->names;
	int err = policy_expand(look->policy, &look->now);

	if (err)
		return err;
	look->policy->names = look->now;
	err = policy_reapply(pins, look->policy, look->identity, &result, report);
	look->policy->names = live;
	return err;
}

static int put_in_force_locked(struct look *look, const struct pins *pins)
{
	struct ipsecbpf_report causes = { 0 };
	int err = pins_check_nic(pins, look->report);

	if (err)
		return err;
	err = copy_table(&look->now, &look->policy->names);
	for (size_t i = 0; !err && i < look->watch->known.count; i++)
		if (differs(look, &look->watch->known.items[i]))
			err = name_table_set(&look->now, &look->watch->known.items[i]);
	if (!err)
		err = reapply(look, pins, &causes);
	if (err && err != -EAGAIN && err != -ENOMEM) {
		err = choose(look, pins);
		if (!err)
			err = reapply(look, pins, look->report);
	}
	report_fini(&causes);
	return err;
}

static int put_in_force(struct look *look)
{
	struct names_watch *watch = look->watch;
	struct pins pins;
	int err, lock = pins_open_locked(&pins, watch->ifname, look->report);

	if (lock < 0)
		return lock;
	err = put_in_force_locked(look, &pins);
	pins_close_locked(&pins, lock);
	if (err == -EAGAIN)
		return 0;	/* it is for whoever has come in between; later */
	watch->applied_ns = clock_ns();
	if (err)
		return err;
	for (size_t i = 0; i < look->now.count; i++) {
		const struct name_addresses *now = &look->now.items[i];
		const struct name_addresses *then = name_table_find(&look->policy->names, now->name);

		if (!then || !names_same_addresses(&then->addresses, &now->addresses))
			say_change(then, now, look->report);
	}
	look->pending = false;
	return 0;
}

static int refresh(struct look *look, const struct paths *paths)
{
	struct names_watch *watch = look->watch;
	const char **names;
	size_t count;
	char path[256];
	int err = policy_names(look->policy, &names, &count);

	if (err)
		return err;
	err = learn_all(watch, look->policy, names, count);
	if (!err)
		err = ask(watch, look->report);
	free(names);
	names_look_path(paths, path);
	names_file_write(path, &watch->known, NULL);	/* for reading only: nothing depends on it */
	look->pending = !err && is_pending(look);
	if (look->pending && !apply_left(watch))
		err = put_in_force(look);
	set_wait(watch, look->pending);
	return err;
}

int names_watch_look(struct names_watch *watch, struct ipsecbpf_report *report)
{
	struct look look = { .watch = watch, .report = report };
	struct paths paths;
	struct pins pins;
	int err;

	watch->none = false;
	watch->wait_s = NAMES_WAIT_MIN_S;
	err = pins_open(&pins, watch->ifname, report);
	watch->detached = err == -ENOENT;
	if (err)
		return err;
	/* Which policy's names they are is not settled before its end; nothing is asked, nor
	 * read. */
	if (policy_trial_left(&pins) >= 0) {
		pins_close(&pins);
		return 0;
	}
	paths = pins.paths;
	look.identity = policy_identity(&pins);
	look.policy = policy_read_live(&pins, report);
	err = look.policy ? 0 : -errno;
	watch->none = err == -ENODATA || (!err && !names_are_in(look.policy));
	pins_close(&pins);
	if (!err && !watch->none)
		err = refresh(&look, &paths);
	policy_free(look.policy);
	name_table_fini(&look.now);
	return watch->none ? 0 : err;
}

void names_watch_fini(struct names_watch *watch)
{
	name_table_fini(&watch->known);
}
