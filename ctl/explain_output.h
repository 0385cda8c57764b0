/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * How explanations are shown: as JSON with everything, as text on one screen, or on one line.
 * Included by: explain.c.
 */
#ifndef CTL_EXPLAIN_OUTPUT_H
#define CTL_EXPLAIN_OUTPUT_H

#include "lib/explain.h"

/* Members "packet" and "answer"; as text, the whole story. */
void explain_show(const char *ifname, const struct explanation *explanation);

/* The same members; as text, a row of a table of EXPLAIN_COLUMNS. `number`: in a capture, or 0. */
extern const char *const explain_headings[];
#define EXPLAIN_COLUMNS 7
void explain_show_row(const struct explanation *explanation, uint32_t number);

/* One packet's verdict alone: three cells of a row (verdict, rule, SA); in JSON "decision",
 * "reason", "policy" and "sas". NULL: nothing was asked. */
void explain_show_verdict(const struct explain_part *part);

#endif /* CTL_EXPLAIN_OUTPUT_H */
