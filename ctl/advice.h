/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What to do about a drop reason: the third column of the table in the manual, and the "next" of
 * `status` and `stats`.
 *
 * Included by: status.c, stats.c, generate.c.
 */
#ifndef CTL_ADVICE_H
#define CTL_ADVICE_H

#include <stdbool.h>

#include "lib/ipsecbpf.h"

struct advice {
	bool problem;		/* worth a line in `status`; others are the policy at work */
	const char *next;	/* never NULL */
};

/* A reason newer than the table gets general advice. */
struct advice drop_advice(enum drop_reason reason);

#endif /* CTL_ADVICE_H */
