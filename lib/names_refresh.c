// SPDX-License-Identifier: BSD-2-Clause
/* What names stood for, and what they stand for now. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "clock.h"
#include "names_store.h"
#include "policy_internal.h"

#define NS_PER_S 1000000000u

static int64_t grace(uint32_t ttl)
{
	int64_t seconds = (int64_t)ttl * NAMES_GRACE_TTLS;

	if (!ttl)
		return 0;
	return seconds < NAMES_GRACE_MIN_S ? NAMES_GRACE_MIN_S :
	       seconds > NAMES_GRACE_MAX_S ? NAMES_GRACE_MAX_S : seconds;
}

static int compare(const struct address_range *a, const struct address_range *b)
{
	return a->family != b->family ? (a->family > b->family) - (a->family < b->family) :
					addr128_compare(a->lo, b->lo);
}

/* Old and new, both sorted, into a third. */
struct union_of {
	const struct name_addresses *old;
	const struct address_list *answer;
	int64_t now, grace;
	struct address_range *items;	/* of both together */
	int64_t *seen;
	size_t count, kept;		/* kept: of the old ones alone */
};

static void take(struct union_of *both, const struct address_range *range, int64_t seen)
{
	both->items[both->count] = *range;
	both->seen[both->count++] = seen;
}

static void take_old(struct union_of *both, size_t i)
{
	/* A clock that was ahead keeps nothing for ever. */
	int64_t seen = both->old->seen[i] > both->now ? both->now : both->old->seen[i];

	if (both->now - seen >= both->grace ||
	    both->kept + both->answer->count >= NAMES_ADDRESSES_MAX)
		return;
	both->kept++;
	take(both, &both->old->addresses.items[i], seen);
}

static void unite(struct union_of *both)
{
	const struct address_list *old = &both->old->addresses, *new = both->answer;
	size_t i = 0, k = 0;

	while (i < old->count || k < new->count) {
		int order = i == old->count ? 1 : k == new->count ? -1 :
			    compare(&old->items[i], &new->items[k]);

		if (order < 0) {
			take_old(both, i++);
			continue;
		}
		i += !order;
		take(both, &new->items[k++], both->now);
	}
}

static int take_answer(struct name_addresses *entry, const struct names_answer *answer, int64_t now)
{
	struct union_of both = {
		.old = entry, .answer = &answer->addresses, .now = now, .grace = grace(answer->ttl),
	};
	size_t most = entry->addresses.count + answer->addresses.count + 1;

	both.items = calloc(most, sizeof(*both.items));
	both.seen = calloc(most, sizeof(*both.seen));
	if (!both.items || !both.seen) {
		free(both.items);
		free(both.seen);
		return -ENOMEM;
	}
	unite(&both);
	free(entry->addresses.items);
	free(entry->seen);
	entry->addresses = (struct address_list){ both.items, both.count };
	entry->seen = both.seen;
	entry->secure = answer->secure;
	entry->ttl = answer->ttl;
	entry->resolved_at = now;
	entry->failures = 0;
	return 0;
}

/* 0 if something is known of it all the same. */
static int do_without(struct name_addresses *entry, enum names_failure failure,
		      struct ipsecbpf_report *report)
{
	const char *why = names_failure_text(failure);
	char object[300];

	entry->failures++;
	snprintf(object, sizeof(object), "host name \"%s\"", entry->name);
	if (entry->addresses.count) {
		report_warning(report, object, "getent ahosts shows what the resolver says",
			       "cannot be resolved (%s): the %zu addresses that it had last are used",
			       why, entry->addresses.count);
		return 0;
	}
	report_error(report, object, "getent ahosts shows what the resolver says; or write its "
		     "addresses", "cannot be resolved (%s), and was not before", why);
	return -EADDRNOTAVAIL;
}

static int merge_one(struct name_table *table, const char *name, const struct names_answer *answer,
		     int64_t now, struct ipsecbpf_report *report)
{
	struct name_addresses *entry = name_table_entry(table, name);

	if (!entry)
		entry = name_table_add(table, name);
	if (!entry)
		return -ENOMEM;
	/* Otherwise it is the first that is asked for next time. */
	if (answer->asked || answer->failure != NAMES_NO_ANSWER)
		entry->asked_at = now;
	entry->failure = answer->failure;
	return answer->failure == NAMES_NONE ? take_answer(entry, answer, now) :
					       do_without(entry, answer->failure, report);
}

int names_merge(const struct names_asked *asked, struct name_table *table,
		struct ipsecbpf_report *report)
{
	int err = 0, one;

	for (size_t i = 0; i < asked->count; i++) {
		one = merge_one(table, asked->names[i], &asked->answers[i], asked->now, report);
		err = err ? err : one;
	}
	return err;
}

int names_refresh(const char *const *names, size_t count, struct name_table *table,
		  struct ipsecbpf_report *report)
{
	struct names_asked asked = { .names = names, .count = count };
	struct names_answer *answers = NULL;
	int err = names_resolve(names, count, &answers);

	/* Without a process there is what was known. */
	if (err && err != -ENOMEM)
		report_warning(report, "resolver", NULL, "cannot be started: %s", strerror(-err));
	asked.answers = answers;
	asked.now = (int64_t)(wall_clock_ns() / NS_PER_S);
	if (answers)
		err = names_merge(&asked, table, report);
	names_answers_free(answers, count);
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

int names_prepare(const char *ifname, struct policy *policy, struct ipsecbpf_report *report)
{
	struct name_table *table = &policy->names;
	const char **names;
	size_t count;
	int err;

	if (!names_are_in(policy))
		return 0;
	err = policy_names(policy, &names, &count);
	if (err)
		return err;
	name_table_fini(table);
	err = names_store_read(ifname, table, report);
	if (!err) {
		name_table_keep(table, names, count);
		err = names_refresh(names, count, table, report);
	}
	if (!err)
		err = policy_expand(policy, table);
	free(names);
	return err;
}
