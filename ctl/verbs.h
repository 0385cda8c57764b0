/* SPDX-License-Identifier: BSD-2-Clause */
/* The verbs, one file each. Included by: main.c (the table) and the verbs' files. */
#ifndef CTL_VERBS_H
#define CTL_VERBS_H

#include "options.h"

extern const struct verb verb_attach;
extern const struct verb verb_confirm;
extern const struct verb verb_detach;
extern const struct verb verb_status;
extern const struct verb verb_policy_check;
extern const struct verb verb_policy_apply;
extern const struct verb verb_policy_diff;
extern const struct verb verb_policy_show, verb_policy_confirm;
extern const struct verb verb_policy_test;
extern const struct verb verb_policy_import_app;
extern const struct verb verb_sa_apply;
extern const struct verb verb_sa_rotate;
extern const struct verb verb_sa_list;
extern const struct verb verb_sa_delete;
extern const struct verb verb_sa_flush;
extern const struct verb verb_sa_genkey;
extern const struct verb verb_sa_export;
extern const struct verb verb_app_identify, verb_app_list, verb_app_sockets;
extern const struct verb verb_run;
extern const struct verb verb_app_watch, verb_app_names, verb_app_mend;
extern const struct verb verb_explain;
extern const struct verb verb_stats;
extern const struct verb verb_metrics;
extern const struct verb verb_monitor;
extern const struct verb verb_preflight;
extern const struct verb verb_version;
extern const struct verb verb_help;

/* Of attach --xdp, by enum xdp_mode; NULL past the last. */
const char *xdp_mode_word(size_t index);

/* Help on one verb, on a group (verb NULL), or on everything (both NULL). */
void help_show(const struct verb *verb, const char *group);
void version_show(void);

#endif /* CTL_VERBS_H */
