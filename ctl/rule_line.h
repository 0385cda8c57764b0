/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Where a rule stands: in the file it was written in, or, if that is not known, in what `policy show`
 * prints.
 *
 * Included by: explain_output.c, monitor.c, stats.c.
 */
#ifndef CTL_RULE_LINE_H
#define CTL_RULE_LINE_H

#include <stdint.h>

/* Text only: " (/etc/ipsecbpf/policy.json:17)" or ", line 17 of policy show"; nothing if line is 0. */
void out_rule_line(const char *file, uint32_t line);

/* JSON only: the file, "-" for standard input, null if it is not known. */
void out_rule_file(const char *key, const char *file);

/* The file as people call it. */
const char *rule_file_text(const char *file);

#endif /* CTL_RULE_LINE_H */
