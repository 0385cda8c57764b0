/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Applications and their sockets as people and programs read them.
 *
 * Included by: app.c, app_list.c, app_sockets.c, explain*.c, monitor.c.
 */
#ifndef CTL_APP_WORDS_H
#define CTL_APP_WORDS_H

#include "lib/app_live.h"

/* JSON only: the members of a match as in the policy file. */
void app_match_json(const struct app_match *match);

/* "10.0.0.1:80", "[fd00::1]:80", "*:80" of any address, "-" of port 0. */
const char *app_end_text(const struct socket_name *name, char *out, size_t out_len);

#endif /* CTL_APP_WORDS_H */
