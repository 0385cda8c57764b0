// SPDX-License-Identifier: BSD-2-Clause
/* Reads a policy file, or its tests. The only step that touches the file system. */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "json_read.h"
#include "policy_internal.h"

/* Reads to the end, or to one octet beyond the limit so that the parser refuses it. */
static int read_all(int fd, char **ret_text, size_t *ret_len)
{
	size_t len = 0, room = 0;
	char *text = NULL, *grown;
	ssize_t got;

	for (;;) {
		if (len == room) {
			room = room ? room * 2 : 65536;
			grown = realloc(text, room);
			if (!grown)
				goto fail;
			text = grown;
		}
		got = read(fd, text + len, room - len);
		if (got < 0 && errno == EINTR)
			continue;
		if (got < 0)
			goto fail;
		len += (size_t)got;
		if (!got || len > JSON_TEXT_MAX)
			break;
	}
	*ret_text = text;
	*ret_len = len;
	return 0;
fail:
	got = -errno;
	free(text);
	return (int)got;
}

int policy_read_file(const char *path, char **ret_text, size_t *ret_len,
		     struct ipsecbpf_report *report)
{
	bool standard_input = !strcmp(path, "-");
	int fd, err;

	fd = standard_input ? STDIN_FILENO : open(path, O_RDONLY | O_CLOEXEC);
	err = fd < 0 ? -errno : read_all(fd, ret_text, ret_len);
	if (fd >= 0 && !standard_input)
		close(fd);
	if (err)
		report_error(report, path, NULL, "cannot be read: %s", strerror(-err));
	return err;
}

/* Its name for those who read it from elsewhere, and later. */
static char *absolute(const char *path)
{
	char *file = strcmp(path, "-") ? realpath(path, NULL) : NULL;

	/* A pipe of /dev/fd has no other name. */
	return file ? file : strdup(path);
}

struct policy *policy_load(const char *path, struct ipsecbpf_report *report)
{
	struct policy *policy = NULL;
	char *text = NULL;
	size_t len = 0;
	int err = policy_read_file(path, &text, &len, report);

	if (!err) {
		policy = policy_parse(text, len, path, report);
		err = policy ? 0 : -errno;
	}
	free(text);
	if (!err) {
		policy->file = absolute(path);
		err = policy->file ? 0 : -ENOMEM;
	}
	if (!err)
		return policy;
	policy_free(policy);
	errno = -err;
	return NULL;
}
