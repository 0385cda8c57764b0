/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Policies for applications in the language of Yin and Wang's paper ("Building an Application-Aware
 * IPsec Policy System", USENIX Security 2005, sections 3.3.1 and 3.3.2), as our JSON:
 *   policy_import_text.c     text -> struct import (every error with line:column)
 *   policy_import_check.c    what its grammar cannot say; programs and peers
 *   policy_import.c          struct import -> JSON text
 *
 * Beyond the paper's grammar: comments from '#' to the end of the line, "quoted names", IPv6.
 *
 * Included by: the CLI, unit tests. Threading: no state.
 */
#ifndef IPSECBPF_POLICY_IMPORT_H
#define IPSECBPF_POLICY_IMPORT_H

#include <stddef.h>

#include "report.h"

/* "NAME=VALUE", as the command line has it. */
struct policy_import_opts {
	const char *const *peers;	/* addresses of peers; one name may have several */
	size_t peer_count;
	const char *const *programs;	/* paths of programs that the text only names */
	size_t program_count;
};

/*
 * Our policy of the same meaning, as JSON text with a final newline. malloc'd; NULL with errno
 * EINVAL (the causes are in `report`, objects like "ftp.app:3:7") or ENOMEM. The text need not end
 * in NUL.
 * Programs without a path are looked for on this host.
 */
char *policy_import(const char *text, size_t len, const char *name,
		    const struct policy_import_opts *opts, struct ipsecbpf_report *report);

/* policy_import() on a file, or on standard input if path is "-". */
char *policy_import_file(const char *path, const struct policy_import_opts *opts,
			 struct ipsecbpf_report *report);

#endif /* IPSECBPF_POLICY_IMPORT_H */
