/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Sequence number reservations: the promise that no (key, IV) pair is used twice, across SIGKILL,
 * restart and reboot (RFC 4106 section 2, RFC 8221 section 3). One file per cipher key under
 * SEQ_DIR holds the first number that was never promised to anyone; it is raised and synced to disk
 * before numbers are used. A file has two copies of its record, written in turns, each with a
 * check, so that a torn write leaves the older one.
 *
 * Included by: supervisor (owner of open reservations), sa_genkey (starts records).
 * Threading:   one process holds a reservation at a time (flock).
 */
#ifndef IPSECBPF_RESERVATION_H
#define IPSECBPF_RESERVATION_H

#include <stdbool.h>
#include <stdint.h>

#include "report.h"

#define SEQ_BLOCK     (1u << 20)      /* numbers promised at a time */
#define SEQ_LOW_WATER (SEQ_BLOCK / 2) /* fewer left: promise the next block */

struct reservation {
	int fd;		   /* -1: not open */
	uint64_t next;	   /* first number never promised */
	uint64_t start;	   /* what it was when opened: nothing below goes back */
	unsigned int copy; /* which copy is written next, 0 or 1 */
};

/* Where records lie: SEQ_DIR, unless a test has said otherwise. `path` is borrowed. */
void reservation_set_directory(const char *path);

/*
 * Starts a record for a key that was never used (generated here, or declared fresh). An existing
 * record is left as it is: it knows better. 0 or -errno, explained in report.
 */
int reservation_start(const char key_id[33], struct ipsecbpf_report *report);

/*
 * Opens and locks the record of a key. 0, -ENOENT (no record), -EBUSY (another supervisor uses this
 * key for sending), -EBADMSG (both copies damaged), or -errno.
 */
int reservation_open(struct reservation *reservation, const char key_id[33]);

/* Promises numbers below `next`: on disk when it returns 0. Never lowers. 0 or -errno. */
int reservation_extend(struct reservation *reservation, uint64_t next);

/* Gives back what was promised but certainly not used (numbers from `unused` on), and closes. */
void reservation_close(struct reservation *reservation, uint64_t unused);

#endif /* IPSECBPF_RESERVATION_H */
