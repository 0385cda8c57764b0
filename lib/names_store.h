/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What the host names of a policy stand for. The addresses in force lie in the policy's generation,
 * behind its text (policy_store.c); what is kept in /var/lib/ipsecbpf/names/<interface>.json is
 * only what the next attach or apply begins with: a name that cannot be resolved keeps its last
 * addresses.
 *
 * Included by: policy_apply.c, policy_store.c, policy_keep.c, policy_json.c, attach.c, names_*.c,
 * ctl/.
 */
#ifndef IPSECBPF_NAMES_STORE_H
#define IPSECBPF_NAMES_STORE_H

#include "names_resolver.h"
#include "paths.h"
#include "policy.h"
#include "policy_keep.h"

#define NAMES_DIR STATE_ROOT "/names"

/*
 * An address that answers do not have any more stays for some TTLs since one had it: servers give a
 * part of a host's addresses at a time, and connections to the others go on. Those of /etc/hosts do
 * not stay.
 */
#define NAMES_GRACE_TTLS  3
#define NAMES_GRACE_MIN_S 300
#define NAMES_GRACE_MAX_S (3 * 3600)

/* ---- tables -------------------------------------------------------------------------------- */

void name_table_fini(struct name_table *table);
const struct name_addresses *name_table_find(const struct name_table *table, const char *name);
struct name_addresses *name_table_entry(struct name_table *table, const char *name);
/* A new entry without addresses; NULL: no memory. */
struct name_addresses *name_table_add(struct name_table *table, const char *name);
/* Takes what is known of the name from another table; what was known is forgotten. 0 or -ENOMEM. */
int name_table_set(struct name_table *table, const struct name_addresses *from);
/* Keeps the entries of these names alone. */
void name_table_keep(struct name_table *table, const char *const *names, size_t count);
bool names_same_addresses(const struct address_list *a, const struct address_list *b);

/* As JSON, malloc'd; NULL: no memory. */
char *names_text(const struct name_table *table);
/* 0, -EINVAL (it is damaged: the table is empty) or -ENOMEM. */
int names_parse(const char *text, size_t len, struct name_table *ret_table);

/* ---- files --------------------------------------------------------------------------------- */

/* 0 (no file is an empty table) or -errno, explained. What is not whole, or not of this kind, is
 * passed over with a warning: names are resolved anew. name_table_fini() frees it. */
int names_file_read(const char *path, struct name_table *ret_table,
		    struct ipsecbpf_report *report);
int names_file_write(const char *path, const struct name_table *table,
		     struct ipsecbpf_report *report);

int names_store_read(const char *ifname, struct name_table *ret_table,
		     struct ipsecbpf_report *report);
/* The store with these entries in it: written beside it, for keep_file_commit(). 0 or -errno,
 * explained. */
int names_keep_prepare(const char *ifname, const struct name_table *table, struct keep_file *ret_file,
		       struct ipsecbpf_report *report);

/* ---- resolving ----------------------------------------------------------------------------- */

/*
 * Takes in what the resolver says of the names, at time `now` (CLOCK_REALTIME, seconds). One that
 * fails keeps what is known, with a warning; of the others everything is taken in, if of one
 * nothing is known: -EADDRNOTAVAIL then, and an error in the report. 0, that, or -ENOMEM. Pure.
 */
struct names_asked {
	const char *const *names;
	size_t count;
	const struct names_answer *answers;
	int64_t now;
};
int names_merge(const struct names_asked *asked, struct name_table *table,
		struct ipsecbpf_report *report);

/* Asks for them in the sandboxed resolver (names_resolver.h), and merges. */
int names_refresh(const char *const *names, size_t count, struct name_table *table,
		  struct ipsecbpf_report *report);

/*
 * For a policy that is about to be put in force: reads what is kept, resolves, and expands the
 * policy with it, which holds it then. Without names it does nothing. 0 or -errno.
 */
int names_prepare(const char *ifname, struct policy *policy, struct ipsecbpf_report *report);

/* Whether the policy has any host name. */
bool names_are_in(const struct policy *policy);

#endif /* IPSECBPF_NAMES_STORE_H */
