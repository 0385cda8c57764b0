// SPDX-License-Identifier: BSD-2-Clause
#include "script.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define LINE_LEN 256	/* of the file, as much as the kernel looks at */
#define DEPTH_MAX 5	/* interpreters of interpreters; the kernel follows no more */

/* Octets read. A device is never opened: that may have effects. */
static size_t read_start(const char *path, char *start, size_t len)
{
	int fd, handle = open(path, O_PATH | O_CLOEXEC);
	char link[64];
	ssize_t got = 0;
	struct stat st;

	if (handle < 0)
		return 0;
	snprintf(link, sizeof(link), "/proc/self/fd/%d", handle);
	fd = !fstat(handle, &st) && S_ISREG(st.st_mode) ? open(link, O_RDONLY | O_CLOEXEC) : -1;
	if (fd >= 0) {
		got = read(fd, start, len);
		close(fd);
	}
	close(handle);
	return got > 0 ? (size_t)got : 0;
}

bool script_interpreter(const char *path, char *out, size_t out_len)
{
	char line[LINE_LEN + 1] = "", *name = line + 2;

	line[read_start(path, line, LINE_LEN)] = '\0';
	if (strncmp(line, "#!", 2))
		return false;
	name += strspn(name, " \t");
	name[strcspn(name, " \t\n")] = '\0';
	if (out_len)
		snprintf(out, out_len, "%s", name);
	return true;
}

int script_program(const char *path, char *out, size_t out_len, bool *ret_script)
{
	char now[PATH_MAX], interpreter[LINE_LEN];
	int depth = 0;

	if (snprintf(now, sizeof(now), "%s", path) >= (int)sizeof(now))
		return -ENAMETOOLONG;
	for (; script_interpreter(now, interpreter, sizeof(interpreter)); depth++) {
		if (!*interpreter)
			return -ENOEXEC;
		if (depth == DEPTH_MAX)
			return -ELOOP;
		snprintf(now, sizeof(now), "%s", interpreter);
	}
	if (snprintf(out, out_len, "%s", now) >= (int)out_len)
		return -ENAMETOOLONG;
	*ret_script = depth > 0;
	return 0;
}

bool script_is_launcher(const char *interpreter)
{
	const char *name = strrchr(interpreter, '/');

	return !strcmp(name ? name + 1 : interpreter, "env");
}
