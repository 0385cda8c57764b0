/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A text table whose columns line up: cells are kept until the widths are known.
 *
 * Included by: output.c, which is how commands reach it.
 * Ownership:   the table takes over the strings given to it. Not thread safe; lack of memory in
 *              table_cell() and table_span() aborts, as a row must not lose a cell silently.
 */
#ifndef CTL_TABLE_H
#define CTL_TABLE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>

#include "output.h"

struct table;

/* `headings`: `columns` strings that outlive the table, or NULL. NULL + errno on lack of memory. */
struct table *table_new(const char *const *headings, size_t columns);
void table_cell(struct table *table, char *text, enum out_colour colour, bool right);
void table_row_end(struct table *table);
/* A line of its own between the rows. */
void table_span(struct table *table, char *text, enum out_colour colour);
void table_print(const struct table *table, FILE *stream,
		 void (*print)(FILE *stream, enum out_colour colour, const char *text));
void table_free(struct table *table);

#endif /* CTL_TABLE_H */
