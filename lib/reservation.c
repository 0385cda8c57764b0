// SPDX-License-Identifier: BSD-2-Clause
#include "reservation.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <unistd.h>

#include "paths.h"

#define RECORD_MAGIC  0x3171657363657369ull /* "isecseq1" */
#define RECORD_STRIDE 512		    /* a sector each: a torn write hits one copy only */

static const char *directory = SEQ_DIR;

struct record {
	uint64_t magic;
	uint64_t next;
	uint64_t check;
};

void reservation_set_directory(const char *path)
{
	directory = path;
}

static uint64_t record_check(uint64_t next)
{
	/* Not cryptographic: tells a torn or foreign record from ours. */
	return (next ^ RECORD_MAGIC) * 0x9e3779b97f4a7c15ull + 1;
}

static void record_path(const char *key_id, char *out, size_t out_len)
{
	snprintf(out, out_len, "%s/%s", directory, key_id);
}

static int write_copy(int fd, unsigned int copy, uint64_t next)
{
	const struct record record = { RECORD_MAGIC, next, record_check(next) };

	if (pwrite(fd, &record, sizeof(record), (off_t)copy * RECORD_STRIDE) != sizeof(record))
		return errno ? -errno : -EIO;
	return fdatasync(fd) ? -errno : 0;
}

/* The larger of the valid copies; -EBADMSG if there is none. */
static int read_copies(struct reservation *reservation)
{
	bool found = false;

	for (unsigned int copy = 0; copy < 2; copy++) {
		struct record record;

		if (pread(reservation->fd, &record, sizeof(record), (off_t)copy * RECORD_STRIDE) !=
			    sizeof(record) ||
		    record.magic != RECORD_MAGIC || record.check != record_check(record.next))
			continue;
		if (!found || record.next > reservation->next) {
			reservation->next = record.next;
			reservation->copy = !copy;
		}
		found = true;
	}
	return found ? 0 : -EBADMSG;
}

static int sync_directory(void)
{
	int fd = open(directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	int err;

	if (fd < 0)
		return -errno;
	err = fsync(fd) ? -errno : 0;
	close(fd);
	return err;
}

/* Made under another name and linked into place, so that a record is whole or not there. */
static int create_record(const char *path)
{
	char temporary[300];
	int err, fd;

	snprintf(temporary, sizeof(temporary), "%s.new%d", path, (int)getpid());
	fd = open(temporary, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
	if (fd < 0)
		return -errno;
	err = write_copy(fd, 0, 1);
	close(fd);
	if (!err && link(temporary, path) && errno != EEXIST)
		err = -errno;
	unlink(temporary);
	return err ? err : sync_directory();
}

int reservation_start(const char key_id[33], struct ipsecbpf_report *report)
{
	char path[256];
	int err;

	record_path(key_id, path, sizeof(path));
	err = paths_mkdir(directory, 0700);
	if (!err)
		err = create_record(path);
	if (err)
		report_error(report, path, "is " STATE_ROOT " writable?",
			     "cannot start the sequence number record of the key: %s",
			     strerror(-err));
	return err;
}

int reservation_open(struct reservation *reservation, const char key_id[33])
{
	char path[256];
	int err = 0;

	*reservation = (struct reservation){ .fd = -1 };
	record_path(key_id, path, sizeof(path));
	reservation->fd = open(path, O_RDWR | O_CLOEXEC | O_NOFOLLOW);
	if (reservation->fd < 0)
		return -errno;
	if (flock(reservation->fd, LOCK_EX | LOCK_NB))
		err = errno == EWOULDBLOCK ? -EBUSY : -errno;
	if (!err)
		err = read_copies(reservation);
	reservation->start = reservation->next;
	if (err) {
		close(reservation->fd);
		reservation->fd = -1;
	}
	return err;
}

int reservation_extend(struct reservation *reservation, uint64_t next)
{
	int err;

	if (next <= reservation->next)
		return 0;
	err = write_copy(reservation->fd, reservation->copy, next);
	if (err)
		return err;
	reservation->next = next;
	reservation->copy = !reservation->copy;
	return 0;
}

void reservation_close(struct reservation *reservation, uint64_t unused)
{
	unsigned int older = reservation->copy;

	if (reservation->fd < 0)
		return;
	/* What the worker says is not trusted below what was promised before this SA. */
	if (unused < reservation->start)
		unused = reservation->start;
	/* Both copies, since read_copies() believes the larger one; the older first, so that a torn
	 * write leaves at least one that is right. A failure only wastes numbers. */
	if (unused < reservation->next && !write_copy(reservation->fd, older, unused))
		write_copy(reservation->fd, !older, unused);
	close(reservation->fd);
	reservation->fd = -1;
}
