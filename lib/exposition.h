/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Prometheus' text exposition format, version 0.0.4: what a scrape reads. Pure.
 *
 * Included by: ctl/metrics*.c, unit tests. Part of the public interface.
 * Ownership:   a struct exposition owns its text until exposition_fini(). Not thread safe.
 */
#ifndef IPSECBPF_EXPOSITION_H
#define IPSECBPF_EXPOSITION_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define EXPOSITION_CONTENT_TYPE "text/plain; version=0.0.4; charset=utf-8"

/* Zeroed: empty. */
struct exposition {
	char *text;		/* ends in NUL; NULL while nothing has been written */
	size_t len, room;
	bool failed;		/* memory ran out: the text is not complete */
};
void exposition_fini(struct exposition *exposition);

/* X(enumerator, word) */
#define METRIC_TYPES(X)		\
	X(COUNTER, "counter")	\
	X(GAUGE, "gauge")

enum metric_type {
#define X(id, word) METRIC_##id,
	METRIC_TYPES(X)
#undef X
};
const char *metric_type_name(enum metric_type type);

struct metric_label {
	const char *name;	/* [a-zA-Z_][a-zA-Z0-9_]* */
	const char *value;	/* any text; what is not UTF-8 is shown as '?' */
};

/* Counters are whole and exact; ratios are not. */
struct metric_value {
	uint64_t whole;
	double real;
	bool is_real;
};

/* The lines in front of all samples of a metric. */
void exposition_metric(struct exposition *exposition, const char *name, enum metric_type type,
		       const char *help);
void exposition_sample(struct exposition *exposition, const char *name,
		       const struct metric_label *labels, size_t count, struct metric_value value);

#endif /* IPSECBPF_EXPOSITION_H */
