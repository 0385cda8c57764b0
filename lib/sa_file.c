// SPDX-License-Identifier: BSD-2-Clause
/* Opens and reads SA files: who may have read or written them is checked on the open file. */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "ipsecbpf.h"
#include "json_read.h"

#define READ_START 65536

static int refuse(struct ipsecbpf_report *report, const char *path, const char *next,
		  const char *cause)
{
	report_error(report, path, next, "%s", cause);
	return -EPERM;
}

/* Looks at the descriptor, not the path: nobody can swap the file in between. */
static int check_file(int fd, const char *path, struct ipsecbpf_report *report)
{
	struct stat st;

	if (fstat(fd, &st))
		return -errno;
	if (!S_ISREG(st.st_mode))
		return refuse(report, path, "to read from a pipe, give \"-\"", "not a regular file");
	if (st.st_uid != 0 && st.st_uid != geteuid())
		return refuse(report, path, "chown it to root",
			      "belongs to neither root nor you: its owner could change the keys");
	if (st.st_mode & 07177) {
		report_error(report, path, "chmod 600, and make new keys if others had access",
			     "holds keys, but has mode %04o: it must be 0600 or stricter",
			     (unsigned int)st.st_mode & 07777);
		return -EPERM;
	}
	return 0;
}

static int open_file(const char *path, int *ret_fd, struct ipsecbpf_report *report)
{
	/* O_NONBLOCK: a FIFO must be refused, not waited for. */
	int fd = open(path, O_RDONLY | O_NOFOLLOW | O_CLOEXEC | O_NONBLOCK | O_NOCTTY), err;

	if (fd < 0 && errno == ELOOP)
		return refuse(report, path, "give the file itself", "is a symbolic link");
	if (fd < 0) {
		err = -errno;
		report_error(report, path, NULL, "cannot be opened: %s", strerror(-err));
		return err;
	}
	err = check_file(fd, path, report);
	if (err) {
		close(fd);
		return err;
	}
	*ret_fd = fd;
	return 0;
}

static void wipe_and_free(char *text, size_t room)
{
	if (text)
		explicit_bzero(text, room);
	free(text);
}

/* Doubles the buffer; the old one is wiped, which realloc() would not do. */
static char *grow(char *text, size_t *room)
{
	size_t new_room = *room ? *room * 2 : READ_START;
	char *new = malloc(new_room);

	if (new && text)
		memcpy(new, text, *room);
	wipe_and_free(text, *room);
	if (new)
		*room = new_room;
	return new;
}

/* Reads to the end, or past the limit so that the parser refuses it; *ret_room octets are
 * malloc'd. */
static int read_all(int fd, char **ret_text, size_t *ret_room, size_t *ret_len)
{
	size_t room = 0, len = 0;
	char *text = NULL;
	ssize_t got;
	int err;

	do {
		if (len == room) {
			text = grow(text, &room);
			if (!text)
				return -ENOMEM;
		}
		got = read(fd, text + len, room - len);
		if (got < 0 && errno != EINTR) {
			err = -errno;
			wipe_and_free(text, room);
			return err;
		}
		if (got > 0)
			len += (size_t)got;
	} while (got && len <= JSON_TEXT_MAX);
	*ret_text = text;
	*ret_room = room;
	*ret_len = len;
	return 0;
}

struct sa_file *sa_file_load(const char *path, struct ipsecbpf_report *report)
{
	bool standard_input = !strcmp(path, "-");
	int fd = STDIN_FILENO, err = 0;
	struct sa_file *file = NULL;
	size_t room = 0, len = 0;
	char *text = NULL;

	if (!standard_input)
		err = open_file(path, &fd, report);
	if (err)
		goto out;
	err = read_all(fd, &text, &room, &len);
	if (!standard_input)
		close(fd);
	if (err) {
		report_error(report, path, NULL, "cannot be read: %s", strerror(-err));
		goto out;
	}
	file = sa_file_parse(text, len, path, report);
	err = file ? 0 : -errno;
	wipe_and_free(text, room);
out:
	if (err)
		errno = -err;
	return file;
}
