/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Connections and endpoints of applications, noted from user space by the very code that the hooks
 * note them with (bpf/ipsecbpf_note.bpf.c).
 *
 * Included by: app_scan.c.
 * Ownership:   app_noter_close() frees what app_noter_open() gave. Not thread safe.
 */
#ifndef IPSECBPF_APP_NOTE_USER_H
#define IPSECBPF_APP_NOTE_USER_H

#include "../bpf/app_note.h"
#include "pin.h"

struct app_noter;

/* Loads the program over the maps pinned there. NULL + errno. */
struct app_noter *app_noter_open(const struct pins *pins);
void app_noter_close(struct app_noter *noter);

/* 0, -ENOSPC (no room, or more connections than the application may have) or -errno. */
int app_noter_note(const struct app_noter *noter, const struct app_note *note);

#endif /* IPSECBPF_APP_NOTE_USER_H */
