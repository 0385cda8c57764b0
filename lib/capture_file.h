/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Packets of a capture: pcap (microseconds or nanoseconds, either byte order) and pcapng. What is
 * in the file is not trusted: every length is checked before it is used.
 *
 * Included by: the CLI's explain, unit tests.
 */
#ifndef IPSECBPF_CAPTURE_FILE_H
#define IPSECBPF_CAPTURE_FILE_H

#include <stdint.h>
#include <stdio.h>

#include "report.h"

#define CAPTURE_FRAME_MAX 2048	/* octets; more than any header that policy looks at */

/* An Ethernet frame, cut off where it is longer. */
struct capture_frame {
	uint32_t number;	/* of the packet, from 1 as Wireshark counts */
	const char *problem;	/* why no frame could be made of this packet; NULL: one was made */
	uint32_t len;
	uint8_t data[CAPTURE_FRAME_MAX];
};

struct capture;

/*
 * Opens a capture ("-": standard input). Captures without Ethernet headers (raw IP, "any"
 * interfaces of Linux) get one. NULL + errno, explained in report, which is kept until
 * capture_close().
 */
struct capture *capture_open(const char *path, struct ipsecbpf_report *report);

/* capture_open() of an open file, which stays the caller's; `name` is for messages and is kept. */
struct capture *capture_start(FILE *file, const char *name, struct ipsecbpf_report *report);

/*
 * The next packet: 1; 0 at the end; or -EINVAL (broken), -ENOTSUP (link type), explained. One of
 * several link types (pcapng), or a packet too short for its own, is a problem of that packet.
 */
int capture_next(struct capture *capture, struct capture_frame *ret_frame);
void capture_close(struct capture *capture);

#endif /* IPSECBPF_CAPTURE_FILE_H */
