/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * GRO for verified packets: consecutive TCP segments of one flow and one SA leave as one frame for
 * the host port, as a list of pieces (no copying). What cannot merge leaves alone and in order.
 * Pure: no system calls; sizes are fixed.
 *
 * TCP checksums of merged segments are not verified here, and NEEDS_CSUM tells the stack not to
 * either: the ICV has covered every octet since the peer protected it. IPv4 header checksums are.
 *
 * Included by: worker.c, unit tests. Threading: one coalescer belongs to one thread.
 */
#ifndef IPSECBPF_COALESCE_H
#define IPSECBPF_COALESCE_H

#include <linux/virtio_net.h>
#include <stdint.h>
#include <sys/uio.h>

#include "packet.h"

#define COALESCE_FLOWS	8	/* frames being built at once */
#define COALESCE_PIECES	BURST	/* packets per frame */

/* A frame being built: the first packet whole (its headers are edited in place), then payloads. */
struct coalesced {
	struct virtio_net_hdr vnet;
	struct iovec iov[1 + COALESCE_PIECES];	/* iov[0] is vnet */
	unsigned int iov_count;
	unsigned int packets;
	uint32_t slot;			/* SA; frames of different SAs never merge */
	uint8_t sa_gen;
	/* flow state for matching the next segment */
	struct packet *first;
	uint32_t l3_off, l4_off, payload_off;
	uint32_t payload_len, mss;
	uint32_t next_seq;
	uint8_t closed;			/* PSH, FIN or a short segment: nothing more fits behind it */
};

/* Takes one finished frame: writes it out; its packets may be released after it returns. */
typedef void (*coalesce_emit)(void *context, struct coalesced *frame);

struct coalescer {
	struct coalesced frames[COALESCE_FLOWS];
	uint8_t order[COALESCE_FLOWS];	/* indices of frames: those in use by age, then free ones */
	unsigned int count;		/* frames in use */
	struct coalesced alone;		/* for what leaves at once */
	coalesce_emit emit;
	void *context;
};

void coalesce_init(struct coalescer *coalescer, coalesce_emit emit, void *context);

/*
 * Adds one VERIFIED packet that came by SA (slot, sa_gen). Packets of one flow are emitted in the
 * order they were added. The packet's memory must stay until its frame is emitted.
 */
void coalesce_add(struct coalescer *coalescer, struct packet *packet, uint32_t slot,
		  uint8_t sa_gen);

/* Emits everything held. Call at the end of each receive burst: nothing waits for more traffic. */
void coalesce_flush(struct coalescer *coalescer);

#endif /* IPSECBPF_COALESCE_H */
