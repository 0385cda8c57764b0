/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What the host names of policies were last resolved to: /var/lib/ipsecbpf/names/<dir>.json. A name that
 * cannot be resolved keeps its last addresses.
 *
 * Included by: policy_apply.c, attach.c, names_watch.c.
 */
#ifndef IPSECBPF_NAMES_STORE_H
#define IPSECBPF_NAMES_STORE_H

#include "paths.h"
#include "policy.h"

/* 0 (none stored is an empty table) or -errno, explained. name_table_fini() frees it. */
int names_store_read(const struct paths *paths, struct name_table *ret_table,
		     struct ipsecbpf_report *report);
int names_store_write(const struct paths *paths, const struct name_table *table,
		      struct ipsecbpf_report *report);
void name_table_fini(struct name_table *table);
const struct name_addresses *name_table_find(const struct name_table *table, const char *name);

/*
 * Resolves the names of a policy in the sandboxed resolver (names_resolver.h) and merges them into the
 * table; a name that fails keeps what is stored, with a warning; one of which nothing is known is an
 * error. 0 or -errno. `changed`: whether any address did.
 */
int names_refresh(const struct policy *policy, struct name_table *table, bool *ret_changed,
		  struct ipsecbpf_report *report);

#endif /* IPSECBPF_NAMES_STORE_H */
