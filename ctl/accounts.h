/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Users and groups as they are given on the command line: by name, or by number.
 *
 * Included by: run.c, app.c. Not thread safe (getpwnam(3)).
 */
#ifndef IPSECBPF_CTL_ACCOUNTS_H
#define IPSECBPF_CTL_ACCOUNTS_H

#include <stdint.h>

#include "lib/report.h"

/* 0, or -EINVAL: this host has none of that name; explained. `object`: the verb. */
int account_user(const char *text, const char *object, uint32_t *ret_uid,
		 struct ipsecbpf_report *report);
int account_group(const char *text, const char *object, uint32_t *ret_gid,
		  struct ipsecbpf_report *report);

#endif /* IPSECBPF_CTL_ACCOUNTS_H */
