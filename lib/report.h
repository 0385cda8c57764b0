/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Diagnostics: what went wrong, with which object, and what to do next. The library never prints;
 * it fills a report, and the caller shows it (ctl/output.c as text or JSON).
 *
 * Included by: every module that can refuse something. Part of the public interface.
 * Ownership:   the caller owns the report; it is not thread safe.
 */
#ifndef IPSECBPF_REPORT_H
#define IPSECBPF_REPORT_H

#include <stdbool.h>
#include <stddef.h>

enum report_level { REPORT_ERROR, REPORT_WARNING, REPORT_NOTE };

struct report_item {
	enum report_level level;
	char *object; /* "policy.json:12:7", "rules[3] \"ftp\"", "eth0"; never NULL */
	char *cause;  /* never NULL */
	char *next;   /* what to do; NULL if the cause says it */
};

struct ipsecbpf_report {
	struct report_item *items;
	size_t count;
	size_t errors;
	bool incomplete; /* memory ran out: items are missing */
};

/* Empties a report and frees its items. A zeroed struct is a valid empty report. */
void report_fini(struct ipsecbpf_report *report);

/* Takes warnings out again: whoever asks something else about a policy is not told of them. */
void report_drop_warnings(struct ipsecbpf_report *report);

/*
 * Adds one item. `object` and `next` (may be NULL) are copied; `format` makes the cause.
 * A NULL report is allowed and swallows the item. Returns nothing: on lack of memory the item is
 * lost, `incomplete` is set and an error still counts.
 */
void report_add(struct ipsecbpf_report *report, enum report_level level, const char *object,
		const char *next, const char *format, ...) __attribute__((format(printf, 5, 6)));

#define report_error(report, object, next, ...) \
	report_add(report, REPORT_ERROR, object, next, __VA_ARGS__)
#define report_warning(report, object, next, ...) \
	report_add(report, REPORT_WARNING, object, next, __VA_ARGS__)

/* "error", "warning", "note". */
const char *report_level_name(enum report_level level);

#endif /* IPSECBPF_REPORT_H */
