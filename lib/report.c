// SPDX-License-Identifier: BSD-2-Clause
#include "report.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void item_fini(struct report_item *item)
{
	free(item->object);
	free(item->cause);
	free(item->next);
}

void report_fini(struct ipsecbpf_report *report)
{
	for (size_t i = 0; i < report->count; i++)
		item_fini(&report->items[i]);
	free(report->items);
	*report = (struct ipsecbpf_report){ 0 };
}

void report_drop_warnings(struct ipsecbpf_report *report)
{
	size_t kept = 0;

	for (size_t i = 0; i < report->count; i++) {
		if (report->items[i].level == REPORT_WARNING)
			item_fini(&report->items[i]);
		else
			report->items[kept++] = report->items[i];
	}
	report->count = kept;
}

static int item_init(struct report_item *item, const char *object, const char *next,
		     const char *format, va_list args)
{
	item->object = strdup(object);
	item->next = next ? strdup(next) : NULL;
	if (vasprintf(&item->cause, format, args) < 0)
		item->cause = NULL;
	if (item->object && item->cause && (item->next || !next))
		return 0;
	item_fini(item);
	return -1;
}

void report_add(struct ipsecbpf_report *report, enum report_level level, const char *object,
		const char *next, const char *format, ...)
{
	struct report_item item = { .level = level };
	struct report_item *items;
	va_list args;
	int err;

	if (!report)
		return;
	if (level == REPORT_ERROR)
		report->errors++;
	va_start(args, format);
	err = item_init(&item, object, next, format, args);
	va_end(args);
	if (err) {
		report->incomplete = true;
		return;
	}
	items = reallocarray(report->items, report->count + 1, sizeof(*items));
	if (!items) {
		item_fini(&item);
		report->incomplete = true;
		return;
	}
	report->items = items;
	items[report->count++] = item;
}

const char *report_level_name(enum report_level level)
{
	static const char *const names[] = {
		[REPORT_ERROR] = "error",
		[REPORT_WARNING] = "warning",
		[REPORT_NOTE] = "note",
	};

	return names[level];
}
