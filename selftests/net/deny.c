// SPDX-License-Identifier: BSD-2-Clause
/*
 * Runs a command on a kernel that is without something: deny SYSCALL:FIRST:ERRNO... -- COMMAND.
 * A system call with that first argument fails with that errno, in the command and its children;
 * FIRST of "any" is any. What preflight finds by trying is so seen missing.
 */
#include <errno.h>
#include <seccomp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static int add_rule(scmp_filter_ctx filter, char *spec)
{
	char *first = strchr(spec, ':'), *number = first ? strchr(first + 1, ':') : NULL;
	uint32_t action;
	int call;

	if (!number)
		return -EINVAL;
	*first++ = '\0';
	*number++ = '\0';
	call = seccomp_syscall_resolve_name(spec);
	action = SCMP_ACT_ERRNO((uint32_t)strtoul(number, NULL, 0));
	if (call == __NR_SCMP_ERROR)
		return -ENOENT;
	if (!strcmp(first, "any"))
		return seccomp_rule_add(filter, action, call, 0);
	return seccomp_rule_add(filter, action, call, 1,
				SCMP_A0(SCMP_CMP_EQ, strtoull(first, NULL, 0)));
}

int main(int argc, char **argv)
{
	scmp_filter_ctx filter = seccomp_init(SCMP_ACT_ALLOW);
	int at = 1, err = filter ? 0 : -ENOMEM;

	for (; !err && at < argc && strcmp(argv[at], "--") != 0; at++)
		err = add_rule(filter, argv[at]);
	if (err || at + 1 >= argc) {
		fprintf(stderr, "deny: SYSCALL:FIRST:ERRNO... -- COMMAND: %s\n", strerror(-err));
		return 2;
	}
	err = seccomp_load(filter);
	if (!err)
		execvp(argv[at + 1], argv + at + 1);
	fprintf(stderr, "deny: %s\n", err ? strerror(-err) : strerror(errno));
	return 2;
}
