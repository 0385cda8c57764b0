/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Programs that are scripts: what the kernel runs is their interpreter, and a socket is known by
 * that.
 *
 * Included by: policy_lint_app.c, policy_import_check.c; the CLI's `run` and `app identify`.
 */
#ifndef IPSECBPF_SCRIPT_H
#define IPSECBPF_SCRIPT_H

#include <stdbool.h>
#include <stddef.h>

/*
 * Is the file a script ("#!")? What is no regular file, or cannot be read, is none. `out`: the
 * interpreter as the first line has it, "" if there is none that one could run; out_len 0: not
 * wanted.
 */
bool script_interpreter(const char *path, char *out, size_t out_len);

/*
 * What runs in the end: `path`, or what interprets it, or what interprets that (an interpreter may
 * be a script). `out` may be `path` itself. 0, or -ELOOP (too many), -ENOEXEC (it names none),
 * -ENAMETOOLONG. *ret_script: it was one.
 */
int script_program(const char *path, char *out, size_t out_len, bool *ret_script);

/* Does it only look for another program, and become that ("#!/usr/bin/env python3")? */
bool script_is_launcher(const char *interpreter);

#endif /* IPSECBPF_SCRIPT_H */
