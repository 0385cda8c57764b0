// SPDX-License-Identifier: BSD-2-Clause
#include "table.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

struct cell {
	char *text;		/* NULL: the end of a row */
	enum out_colour colour;
	bool right;
	bool span;
};

struct table {
	size_t columns;
	size_t *widths;
	const char *const *headings;
	struct cell *cells;
	size_t count;
};

struct table *table_new(const char *const *headings, size_t columns)
{
	struct table *table = calloc(1, sizeof(*table));

	if (!table)
		return NULL;
	table->widths = calloc(columns, sizeof(*table->widths));
	if (!table->widths) {
		free(table);
		errno = ENOMEM;
		return NULL;
	}
	table->columns = columns;
	table->headings = headings;
	for (size_t i = 0; headings && i < columns; i++)
		table->widths[i] = strlen(headings[i]);
	return table;
}

static void append(struct table *table, struct cell cell)
{
	struct cell *cells = reallocarray(table->cells, table->count + 1, sizeof(cell));

	if (!cells)
		abort();
	table->cells = cells;
	cells[table->count++] = cell;
}

void table_cell(struct table *table, char *text, enum out_colour colour, bool right)
{
	append(table, (struct cell){ .text = text, .colour = colour, .right = right });
}

void table_row_end(struct table *table)
{
	append(table, (struct cell){ .text = NULL });
}

void table_span(struct table *table, char *text, enum out_colour colour)
{
	append(table, (struct cell){ .text = text, .colour = colour, .span = true });
	table_row_end(table);
}

static void measure(const struct table *table)
{
	size_t column = 0;

	for (size_t i = 0; i < table->count; i++) {
		const struct cell *cell = &table->cells[i];
		size_t width;

		if (!cell->text) {
			column = 0;
			continue;
		}
		width = strlen(cell->text);
		if (!cell->span && column < table->columns && width > table->widths[column])
			table->widths[column] = width;
		column++;
	}
}

static void pad(FILE *stream, size_t width, size_t used)
{
	if (used < width)
		fprintf(stream, "%*s", (int)(width - used), "");
}

static void print_headings(const struct table *table, FILE *stream)
{
	for (size_t i = 0; i < table->columns; i++) {
		fprintf(stream, "%s%s", i ? "  " : "", table->headings[i]);
		if (i + 1 < table->columns)
			pad(stream, table->widths[i], strlen(table->headings[i]));
	}
	fputc('\n', stream);
}

void table_print(const struct table *table, FILE *stream,
		 void (*print)(FILE *stream, enum out_colour colour, const char *text))
{
	size_t column = 0;

	measure(table);
	if (table->headings && table->count)
		print_headings(table, stream);
	for (size_t i = 0; i < table->count; i++) {
		const struct cell *cell = &table->cells[i];
		size_t width = column < table->columns ? table->widths[column] : 0;

		if (!cell->text) {
			fputc('\n', stream);
			column = 0;
			continue;
		}
		if (column++)
			fputs("  ", stream);
		if (cell->right)
			pad(stream, width, strlen(cell->text));
		print(stream, cell->colour, cell->text);
		/* No blanks at the end of a line. */
		if (!cell->right && !cell->span && i + 1 < table->count && table->cells[i + 1].text)
			pad(stream, width, strlen(cell->text));
	}
}

void table_free(struct table *table)
{
	for (size_t i = 0; i < table->count; i++)
		free(table->cells[i].text);
	free(table->cells);
	free(table->widths);
	free(table);
}
