/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Where commands write keys: a new file that only its owner can read, or standard output unless
 * that is a terminal.
 *
 * Included by: the verbs that write keys.
 */
#ifndef CTL_KEY_OUTPUT_H
#define CTL_KEY_OUTPUT_H

#include <stdio.h>

#include "lib/ipsecbpf.h"

struct key_output {
	const char *who;	/* the command's name, for messages */
	const char *path;	/* NULL: standard output */
	FILE *file;		/* without a buffer, which would keep the keys */
};

/* `path` as given, NULL or "-" for standard output. 0, or -errno with the cause in report. */
int key_output_open(struct key_output *output, const char *who, const char *path,
		    struct ipsecbpf_report *report);

/*
 * Closes it. `err` is how writing went: after an error the new file is removed. Returns `err`, or
 * -errno if what was written is not on the disk.
 */
int key_output_close(struct key_output *output, int err, struct ipsecbpf_report *report);

#endif /* CTL_KEY_OUTPUT_H */
