// SPDX-License-Identifier: BSD-2-Clause
#include "key_output.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "output.h"

static int create_file(struct key_output *output, struct ipsecbpf_report *report)
{
	int fd = open(output->path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600);
	int err;

	if (fd >= 0)
		output->file = fdopen(fd, "w");
	if (output->file)
		return 0;
	err = -errno;
	report_error(report, output->path,
		     err == -EEXIST ? "choose another name or remove it first"
				    : "is the directory there, and writable?",
		     "%s", err == -EEXIST ? "exists and is never overwritten" : strerror(-err));
	if (fd >= 0) {
		close(fd);
		unlink(output->path);
	}
	return err;
}

int key_output_open(struct key_output *output, const char *who, const char *path,
		    struct ipsecbpf_report *report)
{
	int err = 0;

	*output = (struct key_output){ .who = who };
	output->path = path && strcmp(path, "-") ? path : NULL;
	if (output->path) {
		err = create_file(output, report);
	} else if (isatty(STDOUT_FILENO)) {
		report_error(report, who, "add -o FILE, or redirect the output",
			     "keys are not shown on a terminal");
		err = -EPERM;
	} else {
		output->file = stdout;
	}
	if (!err)
		setvbuf(output->file, NULL, _IONBF, 0);
	return err;
}

/* Makes sure that the keys are on the disk: a lost key file is two hosts that cannot talk. */
static int finish(struct key_output *output, struct ipsecbpf_report *report)
{
	bool failed = fflush(output->file) || ferror(output->file);

	if (output->path) {
		failed = failed || fsync(fileno(output->file));
		failed = fclose(output->file) || failed;
	}
	if (!failed)
		return 0;
	report_error(report, output->path ? output->path : "standard output", NULL, "%s",
		     strerror(errno));
	return -EIO;
}

int key_output_close(struct key_output *output, int err, struct ipsecbpf_report *report)
{
	int finished;

	if (!output->path && !err)
		out_raw("");	/* what was written is the output, in both forms */
	finished = finish(output, report);
	err = err ? err : finished;
	if (err && output->path)
		unlink(output->path);
	return err;
}
