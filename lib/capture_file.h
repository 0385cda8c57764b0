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
	uint32_t len;
	uint8_t data[CAPTURE_FRAME_MAX];
};

/*
 * Packet `number` (from 1, as Wireshark counts) of a capture. Captures without Ethernet headers (raw
 * IP, "any" interfaces of Linux) get one. 0, or -EINVAL (not a capture, or broken), -ENOENT (fewer
 * packets), -ENOTSUP (another link type), -errno; explained in report. `name` is for messages.
 */
int capture_read(FILE *file, const char *name, uint32_t number, struct capture_frame *ret_frame,
		 struct ipsecbpf_report *report);

/* capture_read() of a file by name; "-": standard input. */
int capture_load(const char *path, uint32_t number, struct capture_frame *ret_frame,
		 struct ipsecbpf_report *report);

#endif /* IPSECBPF_CAPTURE_FILE_H */
