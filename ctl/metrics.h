/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Metrics: gathered from the library, written by a table of what there is, served by a listener.
 *
 *   metrics.c            the verb
 *   metrics_gather.c     the library's answers about each attachment
 *   metrics_families.c   the table: name, type, help and samples of each metric
 *   metrics_sa.c         those that each SA has
 *   metrics_apps.c       those that each application has
 *   rule_order.c         the rules hit most
 *   metrics_listen.c     the socket, and the process that reads
 *   metrics_http.c       the process that answers
 *
 * Included by: the files above.
 */
#ifndef CTL_METRICS_H
#define CTL_METRICS_H

#include <sys/types.h>

#include "lib/app_live.h"
#include "lib/exposition.h"
#include "lib/ipsecbpf.h"
#include "lib/observe.h"
#include "lib/rule_stats.h"

struct metrics_limits {
	uint32_t sas;		/* described one by one; 0: all */
	uint32_t rules;		/* of those hit most; 0: none */
	uint32_t apps;		/* of those with most packets; 0: all */
};

/* What is known of one attachment. */
struct metrics_source {
	struct metrics_source *next;
	char ifname[16];
	bool listed;			/* still attached, while gathering */
	bool up;			/* it could be read; otherwise only the name is meant */
	struct ipsecbpf_status status;
	struct ipsecbpf_stats stats;
	struct ipsecbpf_sa_info *sas;
	size_t sa_count;
	struct ipsecbpf_map_use *maps;
	size_t map_count;
	struct ipsecbpf_view view;
	struct rule_stats rules;	/* if limits.rules */
	const struct rule_stat **top;	/* of those, by packets; limits.rules at most */
	size_t top_count;
	struct metrics_app *apps;	/* most packets first */
	size_t app_count;
	struct app_live_policy live_policy;	/* from one reading to the next, as the view is */
};

struct metrics {
	const char *only;		/* one interface; NULL: all that are attached */
	struct metrics_limits limits;
	struct metrics_source *sources;
};

/*
 * Reads everything anew. 0 or -errno, if it cannot even be said what is attached. With `only`,
 * and a report, an interface that cannot be read is an error.
 */
int metrics_gather(struct metrics *metrics, struct ipsecbpf_report *report);
void metrics_fini(struct metrics *metrics);

/* Where samples go: to `text`, or to the CLI's JSON if that is NULL. */
struct metrics_writer {
	struct exposition *text;
	const struct metric *metric;	/* the one being written */
	const struct metrics_source *source;
	struct metrics_limits limits;
};

#define METRIC_LABELS_MAX 8

struct metric {
	const char *name;
	enum metric_type type;
	const char *help;
	const char *labels[METRIC_LABELS_MAX + 1];	/* besides `interface`, which is the first */
	bool global;					/* not of an interface: no such label */
	/* The samples of the writer's source. */
	void (*write)(const struct metrics_writer *writer);
};

void metrics_write(const struct metrics *metrics, struct exposition *text);
/* All metrics, in the order in which they are written; NULL behind the last. */
const struct metric *metrics_at(size_t index);

/* One sample of the metric being written; the values of its labels, in order. */
void metrics_whole(const struct metrics_writer *writer, uint64_t value, ...);
void metrics_real(const struct metrics_writer *writer, double value, ...);

/* The metrics of SAs and of applications; each ended by one without a name. */
extern const struct metric metrics_of_sas[], metrics_of_apps[];

/* What the source's policy has of applications. 0 (none, too) or -errno. */
int metrics_apps_read(struct metrics_source *source, struct ipsecbpf_report *report);
void metrics_apps_free(struct metrics_source *source);

struct metrics_listen_opts {
	const char *where;		/* "[ADDR:]PORT" or "systemd" */
	bool remote;			/* an address that is not loopback is meant */
};
/* Serves until SIGTERM or SIGINT. 0 or -errno. */
int metrics_listen(struct metrics *metrics, const struct metrics_listen_opts *opts,
		   struct ipsecbpf_report *report);

/*
 * The process that answers: has given up everything but `socket` and `reader`, from which it gets
 * the text for each octet it writes to it (uint64_t length in host order, then the text). Returns
 * when the reader closes. 0 or -errno.
 */
int metrics_http(int socket, int reader);

#endif /* CTL_METRICS_H */
