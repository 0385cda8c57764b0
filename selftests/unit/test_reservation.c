// SPDX-License-Identifier: BSD-2-Clause
/*
 * Sequence number reservations: a number that was promised is never promised again, whatever happens
 * to the process or to one copy of the record.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "lib/reservation.h"

#define KEY    "00112233445566778899aabbccddeeff"
#define STRIDE 512		/* octets from one copy to the other, as on disk */
#define RECORD 24

static char base[64], directory[80], path[128];

static int setup(void **state)
{
	(void)state;
	snprintf(base, sizeof(base), "/tmp/test_reservation.XXXXXX");
	if (!mkdtemp(base))
		return -1;
	snprintf(directory, sizeof(directory), "%s/var/seq", base);
	snprintf(path, sizeof(path), "%s/%s", directory, KEY);
	reservation_set_directory(directory);
	return 0;
}

static int teardown(void **state)
{
	char parent[80];

	(void)state;
	snprintf(parent, sizeof(parent), "%s/var", base);
	unlink(path);
	return rmdir(directory) || rmdir(parent) || rmdir(base);	/* nothing is left over */
}

static void open_expecting(struct reservation *reservation, uint64_t next)
{
	assert_int_equal(reservation_open(reservation, KEY), 0);
	assert_int_equal(reservation->next, next);
}

/* As when the process is killed: nothing is given back. */
static void abandon(struct reservation *reservation)
{
	close(reservation->fd);
	reservation->fd = -1;
}

static void start_with(uint64_t next)
{
	struct reservation reservation;

	assert_int_equal(reservation_start(KEY, NULL), 0);
	assert_int_equal(reservation_open(&reservation, KEY), 0);
	assert_int_equal(reservation_extend(&reservation, next), 0);
	abandon(&reservation);
}

static void read_record(unsigned int copy, uint64_t ret_words[3])
{
	int fd = open(path, O_RDONLY);

	memset(ret_words, 0, RECORD);
	assert_true(fd >= 0);
	assert_true(pread(fd, ret_words, RECORD, (off_t)copy * STRIDE) >= 0);
	close(fd);
}

static void flip_octet(off_t at)
{
	uint8_t octet;
	int fd = open(path, O_RDWR);

	assert_true(fd >= 0);
	assert_int_equal(pread(fd, &octet, 1, at), 1);
	octet ^= 0x10;
	assert_int_equal(pwrite(fd, &octet, 1, at), 1);
	close(fd);
}

static void test_start(void **state)
{
	struct reservation reservation;
	struct stat info;

	(void)state;
	assert_int_equal(reservation_open(&reservation, KEY), -ENOENT);
	assert_int_equal(reservation.fd, -1);
	assert_int_equal(reservation_start(KEY, NULL), 0);
	assert_int_equal(stat(directory, &info), 0);
	assert_int_equal(info.st_mode & 07777, 0700);
	assert_int_equal(stat(path, &info), 0);
	assert_int_equal(info.st_mode & 07777, 0600);
	open_expecting(&reservation, 1);
	reservation_close(&reservation, UINT64_MAX);
	assert_int_equal(reservation.fd, -1);
}

static void test_start_keeps_record(void **state)
{
	struct reservation reservation;

	(void)state;
	start_with(5000);
	assert_int_equal(reservation_start(KEY, NULL), 0);
	open_expecting(&reservation, 5000);
	reservation_close(&reservation, UINT64_MAX);
}

static void test_start_fails(void **state)
{
	struct ipsecbpf_report report = { 0 };

	(void)state;
	reservation_set_directory("/proc/none");
	assert_int_equal(reservation_start(KEY, &report), -ENOENT);
	assert_int_equal(report.errors, 1);
	assert_non_null(strstr(report.items[0].object, "/proc/none/" KEY));
	report_fini(&report);
	/* What setup() promises teardown() */
	reservation_set_directory(directory);
	assert_int_equal(reservation_start(KEY, NULL), 0);
}

static void test_extend(void **state)
{
	struct reservation reservation;
	uint64_t copy[2][3];

	(void)state;
	assert_int_equal(reservation_start(KEY, NULL), 0);
	open_expecting(&reservation, 1);
	assert_int_equal(reservation_extend(&reservation, 1000), 0);
	assert_int_equal(reservation.next, 1000);
	assert_int_equal(reservation_extend(&reservation, 2000), 0);
	abandon(&reservation);
	open_expecting(&reservation, 2000);
	assert_int_equal(reservation_extend(&reservation, 3000), 0);
	/* In turns: the copy before the last is whole while the last is written. */
	read_record(0, copy[0]);
	read_record(1, copy[1]);
	assert_int_equal(copy[0][1], 2000);
	assert_int_equal(copy[1][1], 3000);
	abandon(&reservation);
}

static void test_extend_never_lowers(void **state)
{
	struct reservation reservation;

	(void)state;
	start_with(1000);
	open_expecting(&reservation, 1000);
	assert_int_equal(reservation_extend(&reservation, 500), 0);
	assert_int_equal(reservation.next, 1000);
	assert_int_equal(reservation_extend(&reservation, 1000), 0);
	abandon(&reservation);
	open_expecting(&reservation, 1000);
	abandon(&reservation);
}

static void test_extend_to_the_end(void **state)
{
	struct reservation reservation;

	(void)state;
	start_with(UINT64_MAX);
	open_expecting(&reservation, UINT64_MAX);
	assert_int_equal(reservation_extend(&reservation, 5), 0);
	abandon(&reservation);
	open_expecting(&reservation, UINT64_MAX);
	abandon(&reservation);
}

/* What was not written is not promised. */
static void test_extend_fails(void **state)
{
	const struct rlimit none = { 0, RLIM_INFINITY };
	struct rlimit before;
	struct reservation reservation;

	(void)state;
	start_with(1000);
	open_expecting(&reservation, 1000);
	signal(SIGXFSZ, SIG_IGN);
	assert_int_equal(getrlimit(RLIMIT_FSIZE, &before), 0);
	assert_int_equal(setrlimit(RLIMIT_FSIZE, &none), 0);
	assert_int_equal(reservation_extend(&reservation, 2000), -EFBIG);
	assert_int_equal(setrlimit(RLIMIT_FSIZE, &before), 0);
	assert_int_equal(reservation.next, 1000);
	assert_int_equal(reservation_extend(&reservation, 3000), 0);
	abandon(&reservation);
	open_expecting(&reservation, 3000);
	abandon(&reservation);
}

/* A write torn at any octet of the newest copy leaves the older one, and the next write mends it. */
static void test_torn_write(void **state)
{
	struct reservation reservation;

	(void)state;
	for (off_t octet = 0; octet < RECORD; octet++) {
		unlink(path);
		start_with(1000);		/* in copy 1; copy 0 still says 1 */
		open_expecting(&reservation, 1000);
		assert_int_equal(reservation_extend(&reservation, 2000), 0);	/* in copy 0 */
		abandon(&reservation);
		flip_octet(octet);
		open_expecting(&reservation, 1000);
		assert_int_equal(reservation_extend(&reservation, 1500), 0);
		flip_octet(STRIDE + octet);	/* the older one is not needed any more */
		abandon(&reservation);
		open_expecting(&reservation, 1500);
		abandon(&reservation);
	}
}

static void test_cut_short(void **state)
{
	struct reservation reservation;

	(void)state;
	start_with(1000);
	assert_int_equal(truncate(path, STRIDE + RECORD - 1), 0);
	open_expecting(&reservation, 1);	/* copy 0, written first */
	abandon(&reservation);
	assert_int_equal(truncate(path, RECORD - 1), 0);
	assert_int_equal(reservation_open(&reservation, KEY), -EBADMSG);
	assert_int_equal(truncate(path, 0), 0);
	assert_int_equal(reservation_open(&reservation, KEY), -EBADMSG);
}

static void test_both_damaged(void **state)
{
	struct reservation reservation;

	(void)state;
	start_with(1000);
	flip_octet(9);
	flip_octet(STRIDE + 9);
	assert_int_equal(reservation_open(&reservation, KEY), -EBADMSG);
	assert_int_equal(reservation.fd, -1);
	/* Declaring the key fresh does not help: the record knows that it was used. */
	assert_int_equal(reservation_start(KEY, NULL), 0);
	assert_int_equal(reservation_open(&reservation, KEY), -EBADMSG);
}

static void test_lock(void **state)
{
	struct reservation reservation;
	int err, ready[2], status;
	char octet;
	pid_t child;

	(void)state;
	start_with(1000);
	assert_int_equal(pipe(ready), 0);
	child = fork();
	if (!child) {
		octet = reservation_open(&reservation, KEY) == 0;
		if (write(ready[1], &octet, 1) == 1)
			pause();
		_exit(1);
	}
	assert_int_equal(read(ready[0], &octet, 1), 1);
	err = reservation_open(&reservation, KEY);
	kill(child, SIGKILL);		/* before anything can fail here */
	assert_int_equal(waitpid(child, &status, 0), child);
	assert_int_equal(octet, 1);
	assert_int_equal(err, -EBUSY);
	assert_int_equal(reservation.fd, -1);
	open_expecting(&reservation, 1000);	/* the lock dies with its holder */
	abandon(&reservation);
	close(ready[0]);
	close(ready[1]);
}

static void test_close_gives_back(void **state)
{
	struct reservation reservation;

	(void)state;
	start_with(1000);
	open_expecting(&reservation, 1000);
	assert_int_equal(reservation_extend(&reservation, 9000), 0);
	reservation_close(&reservation, 1234);
	open_expecting(&reservation, 1234);
	reservation_close(&reservation, UINT64_MAX);
	open_expecting(&reservation, 1234);
	reservation_close(&reservation, 99999);	/* nothing to give back */
	open_expecting(&reservation, 1234);
	abandon(&reservation);
	reservation_close(&reservation, 1);	/* closed already: nothing happens */
	open_expecting(&reservation, 1234);
	abandon(&reservation);
}

/* Killed between the two writes of giving back: the larger copy counts. */
static void test_close_half_done(void **state)
{
	const struct rlimit one_copy = { STRIDE, RLIM_INFINITY };
	struct rlimit before;
	struct reservation reservation;
	uint64_t copy[3];

	(void)state;
	start_with(1000);			/* in copy 1 */
	open_expecting(&reservation, 1000);
	assert_int_equal(reservation_extend(&reservation, 5000), 0);	/* in copy 0 */
	assert_int_equal(reservation_extend(&reservation, 9000), 0);	/* in copy 1 */
	signal(SIGXFSZ, SIG_IGN);
	assert_int_equal(getrlimit(RLIMIT_FSIZE, &before), 0);
	assert_int_equal(setrlimit(RLIMIT_FSIZE, &one_copy), 0);
	reservation_close(&reservation, 2000);
	assert_int_equal(setrlimit(RLIMIT_FSIZE, &before), 0);
	read_record(0, copy);
	assert_int_equal(copy[1], 2000);	/* the older copy was written first */
	open_expecting(&reservation, 9000);
	abandon(&reservation);
}

/* What was promised before this SA is never given back, whatever a worker says. */
static void test_close_never_below_start(void **state)
{
	struct reservation reservation;

	(void)state;
	start_with(1000);
	open_expecting(&reservation, 1000);
	assert_int_equal(reservation_extend(&reservation, 9000), 0);
	reservation_close(&reservation, 10);
	open_expecting(&reservation, 1000);
	abandon(&reservation);
}

static void test_symbolic_link(void **state)
{
	struct reservation reservation;
	char elsewhere[160];

	(void)state;
	start_with(1000);
	snprintf(elsewhere, sizeof(elsewhere), "%s.real", path);
	assert_int_equal(rename(path, elsewhere), 0);
	assert_int_equal(symlink(elsewhere, path), 0);
	assert_int_equal(reservation_open(&reservation, KEY), -ELOOP);
	assert_int_equal(unlink(elsewhere), 0);
}

#define reservation_test(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		reservation_test(test_start),
		reservation_test(test_start_keeps_record),
		reservation_test(test_start_fails),
		reservation_test(test_extend),
		reservation_test(test_extend_never_lowers),
		reservation_test(test_extend_to_the_end),
		reservation_test(test_extend_fails),
		reservation_test(test_torn_write),
		reservation_test(test_cut_short),
		reservation_test(test_both_damaged),
		reservation_test(test_lock),
		reservation_test(test_close_gives_back),
		reservation_test(test_close_half_done),
		reservation_test(test_close_never_below_start),
		reservation_test(test_symbolic_link),
	};

	return cmocka_run_group_tests_name("reservation", tests, NULL, NULL);
}
