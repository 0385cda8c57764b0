// SPDX-License-Identifier: BSD-2-Clause
#include "wire_port.h"

#include <errno.h>
#include <linux/if_link.h>
#include <linux/if_xdp.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <time.h>

#define XDP_KERNEL_HEADROOM 256 /* XDP_PACKET_HEADROOM: before received data */
#define L2_MAX		    22	/* Ethernet and two VLAN tags */
#define OPEN_TRIES	    100 /* a queue is released asynchronously */
#define OPEN_PAUSE_NS	    10000000
#define KICK_TRIES	    256 /* each kick sends a batch in copy mode */
#define RX_FRAMES	    (WIRE_FRAMES / 2)
#define AREA_SLACK	    4096 /* crypto libraries read whole blocks, past the last packet's end */

uint32_t wire_port_mtu_max(uint32_t frame_size)
{
	return frame_size - XDP_KERNEL_HEADROOM - L2_MAX - PACKET_TAILROOM;
}

static uint64_t frame_address(const struct wire_port *port, uint32_t index)
{
	return (uint64_t)index * port->frame_size;
}

static int bind_socket(struct wire_port *port, const char *ifname, uint16_t mode)
{
	const struct xsk_socket_config config = {
		.rx_size = WIRE_RING,
		.tx_size = WIRE_RING,
		.libxdp_flags = XSK_LIBXDP_FLAGS__INHIBIT_PROG_LOAD,
		.bind_flags = (uint16_t)(mode | XDP_USE_NEED_WAKEUP),
	};
	const struct timespec pause = { .tv_nsec = OPEN_PAUSE_NS };
	int err;

	for (int i = 0; i < OPEN_TRIES; i++) {
		err = xsk_socket__create(&port->socket, ifname, port->queue, port->umem, &port->rx,
					 &port->tx, &config);
		if (err != -EBUSY)
			break;
		nanosleep(&pause, NULL);
	}
	return err;
}

static int open_umem(struct wire_port *port)
{
	const struct xsk_umem_config config = {
		.fill_size = WIRE_RING,
		.comp_size = WIRE_RING,
		.frame_size = port->frame_size,
	};
	size_t size = (size_t)WIRE_FRAMES * port->frame_size;
	void *area;

	/* Shared, so that the forked worker sees the pages the kernel has pinned, not copies. */
	area = mmap(NULL, size + AREA_SLACK, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (area == MAP_FAILED)
		return -errno;
	port->area = area;
	return xsk_umem__create(&port->umem, area, size, &port->fill, &port->completion, &config);
}

static int fill_frames(struct wire_port *port)
{
	uint32_t at;

	port->free_frames = calloc(WIRE_FRAMES - RX_FRAMES, sizeof(*port->free_frames));
	if (!port->free_frames)
		return -ENOMEM;
	for (uint32_t i = RX_FRAMES; i < WIRE_FRAMES; i++)
		port->free_frames[port->free_count++] = frame_address(port, i);
	if (xsk_ring_prod__reserve(&port->fill, RX_FRAMES, &at) != RX_FRAMES)
		return -ENOSPC;
	for (uint32_t i = 0; i < RX_FRAMES; i++)
		*xsk_ring_prod__fill_addr(&port->fill, at + i) = frame_address(port, i);
	xsk_ring_prod__submit(&port->fill, RX_FRAMES);
	return 0;
}

int wire_port_open(struct wire_port *port, const char *ifname, uint32_t queue, uint32_t frame_size)
{
	int err;

	*port = (struct wire_port){ .queue = queue, .frame_size = frame_size };
	err = open_umem(port);
	if (err)
		goto fail;
	err = bind_socket(port, ifname, XDP_ZEROCOPY);
	port->zero_copy = !err;
	if (err)
		err = bind_socket(port, ifname, XDP_COPY);
	if (!err)
		err = fill_frames(port);
	if (!err)
		return 0;
fail:
	wire_port_close(port);
	return err;
}

void wire_port_close(struct wire_port *port)
{
	if (port->socket)
		xsk_socket__delete(port->socket);
	if (port->umem)
		xsk_umem__delete(port->umem);
	if (port->area)
		munmap(port->area, (size_t)WIRE_FRAMES * port->frame_size + AREA_SLACK);
	free(port->free_frames);
	*port = (struct wire_port){ 0 };
}

int wire_port_fd(const struct wire_port *port)
{
	return xsk_socket__fd(port->socket);
}

unsigned int wire_port_receive(struct wire_port *port, struct packet *packets, unsigned int max)
{
	unsigned int count;
	uint32_t at;

	count = xsk_ring_cons__peek(&port->rx, max, &at);
	if (!count) {
		if (xsk_ring_prod__needs_wakeup(&port->fill))
			recvfrom(wire_port_fd(port), NULL, 0, MSG_DONTWAIT, NULL, NULL);
		return 0;
	}
	for (unsigned int i = 0; i < count; i++) {
		const struct xdp_desc *desc = xsk_ring_cons__rx_desc(&port->rx, at + i);
		uint32_t offset = (uint32_t)(desc->addr % port->frame_size);

		packets[i] = (struct packet){
			.data = xsk_umem__get_data(port->area, desc->addr),
			.len = desc->len,
			.headroom = (uint16_t)offset,
			.tailroom = (uint16_t)(port->frame_size - offset - desc->len),
			.state = PACKET_PROTECTED,
			.frame = desc->addr - offset,
		};
	}
	xsk_ring_cons__release(&port->rx, count);
	return count;
}

void wire_port_release(struct wire_port *port, const struct packet *packets, unsigned int count)
{
	uint32_t at;

	/* Never fails: the ring has room for every frame that can be out. */
	if (!count || xsk_ring_prod__reserve(&port->fill, count, &at) != count)
		return;
	for (unsigned int i = 0; i < count; i++)
		*xsk_ring_prod__fill_addr(&port->fill, at + i) = packets[i].frame;
	xsk_ring_prod__submit(&port->fill, count);
}

static void collect(struct wire_port *port)
{
	uint32_t at;
	unsigned int count = xsk_ring_cons__peek(&port->completion, WIRE_RING, &at);

	for (unsigned int i = 0; i < count; i++) {
		uint64_t address = *xsk_ring_cons__comp_addr(&port->completion, at + i);

		port->free_frames[port->free_count++] = address - address % port->frame_size;
	}
	if (count)
		xsk_ring_cons__release(&port->completion, count);
}

bool wire_port_frame(struct wire_port *port, struct packet *packet, uint32_t *ret_room)
{
	if (!port->free_count)
		collect(port);
	if (!port->free_count)
		wire_port_kick(port);
	if (!port->free_count)
		return false;
	*packet = (struct packet){
		.frame = port->free_frames[--port->free_count],
		.headroom = PACKET_HEADROOM,
	};
	packet->data = port->area + packet->frame + PACKET_HEADROOM;
	*ret_room = port->frame_size - PACKET_HEADROOM - PACKET_TAILROOM;
	return true;
}

void wire_port_unframe(struct wire_port *port, const struct packet *packet)
{
	port->free_frames[port->free_count++] = packet->frame;
}

bool wire_port_send(struct wire_port *port, const struct packet *packet)
{
	struct xdp_desc *desc;
	uint32_t at;

	if (xsk_ring_prod__reserve(&port->tx, 1, &at) != 1)
		return false;
	desc = xsk_ring_prod__tx_desc(&port->tx, at);
	desc->addr = (uint64_t)(packet->data - port->area);
	desc->len = packet->len;
	desc->options = 0;
	xsk_ring_prod__submit(&port->tx, 1);
	port->queued++;
	return true;
}

/* Has the kernel taken everything from the TX ring? The consumer index is its word. */
static bool tx_drained(struct wire_port *port)
{
	return __atomic_load_n(port->tx.consumer, __ATOMIC_ACQUIRE) == *port->tx.producer;
}

/* Makes the kernel send. Is another try of use? */
static bool wake(struct wire_port *port)
{
	if (sendto(wire_port_fd(port), NULL, 0, MSG_DONTWAIT, NULL, 0) >= 0)
		return true;
	/* The kernel unbinds the socket when the NIC leaves the namespace, and poll() is silent on it. */
	port->unbound |= errno == ENXIO;
	return errno == EAGAIN || errno == EBUSY || errno == ENOBUFS;
}

void wire_port_kick(struct wire_port *port)
{
	if (port->zero_copy) {
		if (port->queued && xsk_ring_prod__needs_wakeup(&port->tx))
			wake(port);
	} else {
		/* Copy mode sends a limited batch per call, in this thread. */
		for (int i = 0; i < KICK_TRIES && !tx_drained(port); i++) {
			if (!wake(port))
				break;
			collect(port);
		}
	}
	port->queued = 0;
	collect(port);
}
