/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Puts right what socket hooks have missed: those that are off are attached again, sockets that
 * nobody has noted are noted, and the traffic that was blocked meanwhile passes.
 *
 * The supervisor sees that they are off, and blocks, but has not the privileges for more: its
 * keeper (watch_keeper.h) executes `app mend`, which is this.
 *
 * Included by: ctl/app_mend.c.
 */
#ifndef IPSECBPF_APP_MEND_H
#define IPSECBPF_APP_MEND_H

#include <stdbool.h>

#include "report.h"

struct app_mend_result {
	bool needed;		/* the policy in force, or before a trial, has applications */
	bool attached;		/* hooks that were off, again */
	bool unblocked;
	bool cgroup_gone;	/* nobody is there whose sockets could be noted */
};

/* 0, also where nothing was to be done; or -errno, explained, and what is blocked remains so. */
int app_mend(const char *ifname, struct app_mend_result *ret_result,
	     struct ipsecbpf_report *report);

#endif /* IPSECBPF_APP_MEND_H */
