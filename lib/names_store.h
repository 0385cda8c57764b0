/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What the host names of policies were last resolved to: /var/lib/ipsecbpf/names/<dir>.json. A name that
 * cannot be resolved keeps its last addresses.
 *
 * Included by: policy_apply.c, attach.c, names_watch.c.
 */
#ifndef IPSECBPF_NAMES_STORE_H
#define IPSECBPF_NAMES_STORE_H

#include "names_resolver.h"
#include "paths.h"
#include "policy.h"

#define NAMES_DIR STATE_ROOT "/names"

/* 0 (none stored is an empty table) or -errno, explained. name_table_fini() frees it. */
int names_store_read(const struct paths *paths, struct name_table *ret_table,
		     struct ipsecbpf_report *report);
int names_store_write(const struct paths *paths, const struct name_table *table,
		      struct ipsecbpf_report *report);

/* The same of a file. What is not whole, or not of this kind, is passed over with a warning: names are
 * resolved anew. Its directory is made. */
int names_file_read(const char *path, struct name_table *ret_table,
		    struct ipsecbpf_report *report);
int names_file_write(const char *path, const struct name_table *table,
		     struct ipsecbpf_report *report);
void name_table_fini(struct name_table *table);
const struct name_addresses *name_table_find(const struct name_table *table, const char *name);

/* Takes in what the resolver says of a policy's names, as names_refresh() does, which asks it. Pure. */
int names_merge(const struct policy *policy, struct name_table *table,
		const struct names_answer *answers, bool *ret_changed,
		struct ipsecbpf_report *report);

/*
 * For a policy that is about to be put in force: reads the table, resolves, and expands the policy with
 * it. Without names it does nothing, and the table is empty. 0 or -errno.
 */
int names_prepare(const struct paths *paths, struct policy *policy, struct name_table *ret_table,
		  struct ipsecbpf_report *report);

/* Whether the policy has any host name. */
bool names_are_in(const struct policy *policy);

/*
 * Resolves the names of a policy in the sandboxed resolver (names_resolver.h) and merges them into the
 * table; a name that fails keeps what is stored, with a warning; one of which nothing is known is an
 * error. 0 or -errno. `changed`: whether any address did.
 */
int names_refresh(const struct policy *policy, struct name_table *table, bool *ret_changed,
		  struct ipsecbpf_report *report);

#endif /* IPSECBPF_NAMES_STORE_H */
