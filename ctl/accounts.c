// SPDX-License-Identifier: BSD-2-Clause
#include "accounts.h"

#include <errno.h>
#include <grp.h>
#include <pwd.h>
#include <string.h>

#include "verbs.h"

#define NUMBER_MAX (UINT32_MAX - 1)	/* the one above means "none" to the kernel */

static int no_such(const char *kind, const char *text, const char *object,
		   struct ipsecbpf_report *report)
{
	report_error(report, object, "give its number, or see getent passwd and getent group",
		     "this host has no %s \"%s\"", kind, text);
	return -EINVAL;
}

int account_user(const char *text, const char *object, uint32_t *ret_uid,
		 struct ipsecbpf_report *report)
{
	const struct passwd *user;
	uint64_t number;

	if (parse_uint(text, strlen(text), NUMBER_MAX, &number)) {
		*ret_uid = (uint32_t)number;
		return 0;
	}
	user = getpwnam(text);
	if (!user)
		return no_such("user", text, object, report);
	*ret_uid = user->pw_uid;
	return 0;
}

int account_group(const char *text, const char *object, uint32_t *ret_gid,
		  struct ipsecbpf_report *report)
{
	const struct group *group;
	uint64_t number;

	if (parse_uint(text, strlen(text), NUMBER_MAX, &number)) {
		*ret_gid = (uint32_t)number;
		return 0;
	}
	group = getgrnam(text);
	if (!group)
		return no_such("group", text, object, report);
	*ret_gid = group->gr_gid;
	return 0;
}
