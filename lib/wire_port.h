/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Wire port: one AF_XDP socket on one queue of the NIC, with its own UMEM.
 *
 * Included by: supervisor (opens and closes), worker (moves packets).
 * Ownership:   the supervisor opens it before it forks the worker; memory and rings are shared
 *              mappings, so the worker uses them after it has dropped every privilege. When a
 * worker dies, the port is closed and opened anew: nobody knows whose frame was whose. Frames: half
 * of the UMEM circulates for receiving, half for sending. A packet holds one frame until it is
 * given back (received) or completed (sent).
 */
#ifndef IPSECBPF_WIRE_PORT_H
#define IPSECBPF_WIRE_PORT_H

#include <stdbool.h>
#include <stdint.h>
#include <xdp/xsk.h>

#include "packet.h"

#define WIRE_FRAMES	 4096  /* per port, both directions */
#define WIRE_RING	 2048  /* descriptors in each of the four rings */
#define WIRE_FRAME_SMALL 2048u /* octets; the one that holds the MTU is taken */
#define WIRE_FRAME_LARGE 4096u
#define WIRE_MTU_MIN	 1280u /* IPv6 asks for it, and ESP must still fit */

struct wire_port {
	struct xsk_socket *socket;
	struct xsk_umem *umem;
	struct xsk_ring_prod fill, tx;
	struct xsk_ring_cons completion, rx;
	uint8_t *area;	       /* shared with forked children */
	uint64_t *free_frames; /* stack of frames for sending */
	uint32_t free_count;
	uint32_t frame_size; /* octets: 2048 or 4096 */
	uint32_t queued;     /* sent since the last kick */
	bool unbound;	     /* the NIC went away under it: only opening it anew helps */
	uint32_t queue;
	bool zero_copy;
};

/* Largest MTU that frames of this size carry (VLAN tags allowed for). */
uint32_t wire_port_mtu_max(uint32_t frame_size);

/*
 * Opens the port on a queue: zero-copy where the driver has it, copy otherwise. Receiving starts
 * when the socket is put into the XSKMAP (wire_port_fd()). 0 or -errno (-EBUSY: the queue has a
 * socket).
 */
int wire_port_open(struct wire_port *port, const char *ifname, uint32_t queue, uint32_t frame_size);
void wire_port_close(struct wire_port *port);
int wire_port_fd(const struct wire_port *port);

/*
 * Receives up to `max` packets (data, len, headroom, tailroom, state PROTECTED). Each must go back
 * with wire_port_release(). Returns how many.
 */
unsigned int wire_port_receive(struct wire_port *port, struct packet *packets, unsigned int max);
void wire_port_release(struct wire_port *port, const struct packet *packets, unsigned int count);

/* Takes a frame for sending: data has PACKET_HEADROOM before it; `*ret_room` octets may be written,
 * PACKET_TAILROOM excluded. False if none is free even after completions were collected. */
bool wire_port_frame(struct wire_port *port, struct packet *packet, uint32_t *ret_room);
/* Gives back a frame that will not be sent. */
void wire_port_unframe(struct wire_port *port, const struct packet *packet);

/* Queues a packet for sending; the frame comes back by itself. False if the ring is full. */
bool wire_port_send(struct wire_port *port, const struct packet *packet);

/* Tells the kernel about queued packets, once per burst; collects completions. */
void wire_port_kick(struct wire_port *port);

#endif /* IPSECBPF_WIRE_PORT_H */
