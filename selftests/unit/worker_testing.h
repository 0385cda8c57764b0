/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A worker without a NIC and without a TAP: this defines what lib/wire_port.h and lib/host_port.h
 * declare, so that a test program takes its ports from here and not from the library. Every frame
 * is memory of its own, just as large as the ports promise: the sanitizers see each octet too far.
 *
 * Included by: test_worker_*.c, once each.
 */
#ifndef IPSECBPF_TEST_WORKER_TESTING_H
#define IPSECBPF_TEST_WORKER_TESTING_H

#include <errno.h>
#include <netinet/in.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/queue.h>

#include <cmocka.h>

#include "lib/bytes.h"
#include "lib/worker_internal.h"

#define TEST_SLOTS 64
#define TEST_MTU 1500
#define SECOND_NS 1000000000ull
#define FRAME_ROOM (WIRE_FRAME_SMALL - PACKET_HEADROOM - PACKET_TAILROOM)
#define RX_HEADROOM 256		/* XDP_PACKET_HEADROOM */
#define UNLIMITED UINT32_MAX

/* A frame that waits somewhere. */
struct octets {
	STAILQ_ENTRY(octets) next;
	struct virtio_net_hdr vnet;
	uint32_t len;
	uint8_t data[];
};
STAILQ_HEAD(octets_queue, octets);

struct test_host {
	struct wire_port port;
	struct host_port host_port;
	struct worker_config config;
	struct worker worker;
	struct worker_stats stats;
	struct sa_state states[TEST_SLOTS];
	struct out_sa out_sas[PROTECT_MAX * FAMILY_COUNT];
	struct octets_queue wire_in, wire_out, host_in, host_out;
	uint32_t wire_mtu;	/* octets of IP that may leave now */
	uint32_t largest;	/* octets of IP that have left at once */
	uint32_t frames_left;	/* for sending */
	uint32_t ring_left;	/* places in the TX ring */
	int host_error;		/* of host_port_write() */
	bool may_be_clear;	/* authentication only: payload is readable on the wire */
	bool udp;		/* the wire shows UDP */
	uint32_t frames_out;	/* memory the worker holds */
};

static const uint8_t clear_mark[8] = { 0xc1, 0xea, 0x87, 0xe8, 0x70, 0xc1, 0xea, 0x87 };

static inline struct octets *octets_new(const void *data, uint32_t len)
{
	struct octets *octets = malloc(sizeof(*octets) + len);

	assert_non_null(octets);
	memset(&octets->vnet, 0, sizeof(octets->vnet));
	octets->len = len;
	if (len)
		memcpy(octets->data, data, len);
	return octets;
}

static inline void octets_push(struct octets_queue *queue, const void *data, uint32_t len)
{
	struct octets *octets = octets_new(data, len);

	STAILQ_INSERT_TAIL(queue, octets, next);
}

static inline struct octets *octets_pop(struct octets_queue *queue)
{
	struct octets *octets = STAILQ_FIRST(queue);

	if (octets)
		STAILQ_REMOVE_HEAD(queue, next);
	return octets;
}

static inline uint32_t octets_clear(struct octets_queue *queue)
{
	struct octets *octets;
	uint32_t count = 0;

	for (; (octets = octets_pop(queue)); count++)
		free(octets);
	return count;
}

/* ---- the wire port ------------------------------------------------------------------------- */

static inline struct test_host *host_of(struct wire_port *port)
{
	return (struct test_host *)port;	/* its first member */
}

static inline uint8_t *frame_memory(const struct packet *packet)
{
	return (uint8_t *)(uintptr_t)packet->frame;
}

static inline void frame_back(struct test_host *host, const struct packet *packet)
{
	assert_true(host->frames_out > 0);
	host->frames_out--;
	free(frame_memory(packet));
}

int wire_port_fd(const struct wire_port *port)
{
	(void)port;
	return -1;
}

unsigned int wire_port_receive(struct wire_port *port, struct packet *packets, unsigned int max)
{
	struct test_host *host = host_of(port);
	struct octets *octets;
	unsigned int count;

	for (count = 0; count < max && (octets = octets_pop(&host->wire_in)); count++) {
		uint8_t *memory = malloc(RX_HEADROOM + octets->len + CRYPTO_BEHIND);

		assert_non_null(memory);
		memcpy(memory + RX_HEADROOM, octets->data, octets->len);
		packets[count] = (struct packet){
			.data = memory + RX_HEADROOM, .len = octets->len, .headroom = RX_HEADROOM,
			.tailroom = CRYPTO_BEHIND, .state = PACKET_PROTECTED,
			.frame = (uintptr_t)memory,
		};
		host->frames_out++;
		free(octets);
	}
	return count;
}

void wire_port_release(struct wire_port *port, const struct packet *packets, unsigned int count)
{
	for (unsigned int i = 0; i < count; i++)
		frame_back(host_of(port), &packets[i]);
}

bool wire_port_frame(struct wire_port *port, struct packet *packet, uint32_t *ret_room)
{
	struct test_host *host = host_of(port);
	uint8_t *memory;

	if (!host->frames_left)
		return false;
	if (host->frames_left != UNLIMITED)
		host->frames_left--;
	memory = malloc(WIRE_FRAME_SMALL);
	assert_non_null(memory);
	host->frames_out++;
	*packet = (struct packet){ .data = memory + PACKET_HEADROOM, .headroom = PACKET_HEADROOM,
				   .frame = (uintptr_t)memory };
	*ret_room = FRAME_ROOM;
	return true;
}

void wire_port_unframe(struct wire_port *port, const struct packet *packet)
{
	frame_back(host_of(port), packet);
}

/* Nothing leaves that is not protected, or larger than the path carries. */
static inline void check_leaving(const struct test_host *host, const struct packet *packet)
{
	const uint8_t *ip = packet->data + packet->l2_len;
	bool v4 = ip[0] >> 4 == 4;
	uint32_t ip_len = packet->len - packet->l2_len;
	uint8_t proto = v4 ? ip[9] : ip[6];

	assert_int_equal(packet->state, PACKET_PROTECTED);
	assert_true(ip_len <= host->wire_mtu);
	assert_int_equal(ip_len, v4 ? load_be16(ip + 2) : 40u + load_be16(ip + 4));
	assert_int_equal(load_be16(ip - 2), v4 ? 0x0800 : 0x86dd);
	if (!v4 && proto == IPPROTO_FRAGMENT)
		proto = ip[40];
	assert_true(host->udp ? proto == IPPROTO_UDP : proto == IPPROTO_ESP || proto == IPPROTO_AH);
	assert_memory_equal(packet->data + 6, host->config.nic_mac, 6);
	if (!host->may_be_clear)
		assert_null(memmem(packet->data, packet->len, clear_mark, sizeof(clear_mark)));
}

bool wire_port_send(struct wire_port *port, const struct packet *packet)
{
	struct test_host *host = host_of(port);

	if (!host->ring_left)
		return false;
	if (host->ring_left != UNLIMITED)
		host->ring_left--;
	check_leaving(host, packet);
	if (packet->len - packet->l2_len > host->largest)
		host->largest = packet->len - packet->l2_len;
	octets_push(&host->wire_out, packet->data, packet->len);
	frame_back(host, packet);
	port->queued++;
	return true;
}

void wire_port_kick(struct wire_port *port)
{
	port->queued = 0;
}

/* ---- the host port ------------------------------------------------------------------------- */

static inline struct test_host *host_of_host_port(struct host_port *port)
{
	return (struct test_host *)((uint8_t *)port - offsetof(struct test_host, host_port));
}

int host_port_read(struct host_port *port, uint8_t *buffer, struct host_frame *frame)
{
	struct octets *octets = octets_pop(&host_of_host_port(port)->host_in);

	if (!octets)
		return 0;
	memcpy(buffer, octets->data, octets->len);
	*frame = (struct host_frame){ octets->vnet, buffer, octets->len };
	free(octets);
	return 1;
}

int host_port_write(struct host_port *port, const struct iovec *iov, unsigned int count)
{
	struct test_host *host = host_of_host_port(port);
	struct octets *octets;
	uint32_t len = 0;

	if (host->host_error)
		return host->host_error;
	assert_int_equal(iov[0].iov_len, sizeof(struct virtio_net_hdr));
	for (unsigned int i = 1; i < count; i++)
		len += (uint32_t)iov[i].iov_len;
	assert_true(len <= HOST_FRAME_MAX);
	octets = octets_new(NULL, 0);
	octets = realloc(octets, sizeof(*octets) + len);
	assert_non_null(octets);
	memcpy(&octets->vnet, iov[0].iov_base, sizeof(octets->vnet));
	octets->len = 0;
	for (unsigned int i = 1; i < count; i++) {
		memcpy(octets->data + octets->len, iov[i].iov_base, iov[i].iov_len);
		octets->len += (uint32_t)iov[i].iov_len;
	}
	STAILQ_INSERT_TAIL(&host->host_out, octets, next);
	return 0;
}

/* ---- a host -------------------------------------------------------------------------------- */

/* As worker_init() does it, but what is random there is not here. */
static inline void worker_begin(struct worker *worker, const struct worker_config *config)
{
	struct reassembly_limits limits = { .fragments = REASSEMBLY_FRAGMENTS, .seed = 7,
					    .timeout_ns = FRAGMENTS_WAIT_NS };

	*worker = (struct worker){ .config = config, .stats = config->stats };
	worker->host_buffer = malloc(HOST_FRAME_MAX);
	limits.packets = REASSEMBLY_IN_PACKETS;
	worker->in_fragments = reassembly_new(&limits);
	limits.packets = REASSEMBLY_OUT_PACKETS;
	worker->out_fragments = reassembly_new(&limits);
	assert_non_null(worker->host_buffer);
	assert_non_null(worker->in_fragments);
	assert_non_null(worker->out_fragments);
	worker_in_init(worker);
	assert_int_equal(worker_sas_init(&worker->sas, config), 0);
	worker->now_ns = 1000 * SECOND_NS;
}

static inline void host_begin(struct test_host *host, uint8_t last)
{
	memset(host, 0, sizeof(*host));
	STAILQ_INIT(&host->wire_in);
	STAILQ_INIT(&host->wire_out);
	STAILQ_INIT(&host->host_in);
	STAILQ_INIT(&host->host_out);
	host->wire_mtu = TEST_MTU;
	host->frames_left = host->ring_left = UNLIMITED;
	host->config = (struct worker_config){
		.host = &host->host_port, .ports = &host->port, .port_count = 1, .mtu = TEST_MTU,
		.nic_mac = { 2, 0, 0, 0, 0, last }, .slots = TEST_SLOTS, .states = host->states,
		.out_sas = host->out_sas, .stats = &host->stats, .message_fd = -1, .need_fd = -1,
	};
	worker_begin(&host->worker, &host->config);
}

static inline void sas_end(struct worker_sas *sas)
{
	for (uint32_t slot = 0; slot < sas->slots; slot++)
		worker_sas_remove(sas, slot);
	assert_null(sas->nested);
	assert_int_equal(sas->keepalives, 0);
	for (uint32_t i = 0; i <= sas->bucket_mask; i++)
		assert_null(sas->buckets[i]);
	free(sas->by_slot);
	free(sas->buckets);
}

/* All memory of a reassembly is there again: as many packets as ever can be begun. */
static inline void check_returned(struct reassembly *reassembly, uint32_t packets)
{
	struct packet *out[BURST], *whole;
	uint8_t frame[14 + 20 + 8] = { [12] = 8, [14] = 0x45, [17] = 28, [20] = 0x20, [23] = 50 };
	struct packet fragment = { .data = frame, .len = sizeof(frame), .l2_len = 14 };
	uint32_t room, dropped;

	assert_true(reassembly_next_ns(reassembly) == UINT64_MAX);
	for (unsigned int i = 0; i < BURST; i++)
		assert_non_null(out[i] = reassembly_buffer(reassembly, &room));
	assert_null(reassembly_buffer(reassembly, &room));
	for (unsigned int i = 0; i < BURST; i++)
		reassembly_release(reassembly, out[i]);
	for (uint32_t i = 0; i < packets; i++) {
		uint16_t sum = 0x4500 + 28 + 0x2000 + 50;

		store_be16(frame + 14 + 4, (uint16_t)i);
		store_be16(frame + 14 + 10, (uint16_t)~(sum + i));
		assert_int_equal(reassembly_add(reassembly, &fragment, 0, UINT64_MAX / 2, &whole,
						&dropped), DROP_NONE);
		assert_int_equal(dropped, 0);
	}
	assert_int_equal(reassembly_expire(reassembly, UINT64_MAX), packets);
}

/* Time passes until nothing waits for fragments any more. */
static inline void host_wait(struct test_host *host)
{
	host->worker.now_ns += FRAGMENTS_WAIT_NS;
	worker_in_tick(&host->worker);
	worker_out_tick(&host->worker);
}

/* Nobody has lost memory, and no drop is without a reason. */
static inline void host_end(struct test_host *host)
{
	host_wait(host);
	assert_int_equal(host->frames_out, 0);
	assert_int_equal(host->worker.tx_count, 0);
	assert_int_equal(host->worker.whole_count, 0);
	assert_int_equal(host->stats.drops[DROP_NONE], 0);
	check_returned(host->worker.in_fragments, REASSEMBLY_IN_PACKETS);
	check_returned(host->worker.out_fragments, REASSEMBLY_OUT_PACKETS);
	octets_clear(&host->wire_in);
	octets_clear(&host->wire_out);
	octets_clear(&host->host_in);
	octets_clear(&host->host_out);
	sas_end(&host->worker.sas);
	reassembly_free(host->worker.in_fragments);
	reassembly_free(host->worker.out_fragments);
	free(host->worker.host_buffer);
}

static inline uint64_t drops_of(const struct test_host *host)
{
	uint64_t sum = 0;

	for (unsigned int i = 0; i < DROP_SLOTS; i++)
		sum += host->stats.drops[i];
	return sum;
}

static inline void host_work(struct test_host *host)
{
	while (worker_out_round(&host->worker))
		;
	while (worker_in_round(&host->worker, &host->port))
		;
}

/* ---- SAs ----------------------------------------------------------------------------------- */

static inline union wire_addr end_address(unsigned int family, uint8_t last)
{
	union wire_addr addr = { .b = { 10, 9, 0, last } };

	if (family == FAMILY_V6)
		addr = (union wire_addr){ .b = { 0xfd, 9, [15] = last } };
	return addr;
}

/* An SA of ESP, transport, AES-GCM from host 1 to host 2, as its sender has it. */
static inline struct sa_config sa_default(enum ip_family family, uint32_t spi)
{
	struct sa_config sa = {
		.src = end_address(family, 1), .dst = end_address(family, 2), .spi = htobe32(spi),
		.proto = IPPROTO_ESP, .family = (uint8_t)family, .direction = SPD_OUT, .esn = true,
		.replay_window = 1024, .dscp = DSCP_COPY, .reassemble = true, .protect_id = 1,
		.suite = (uint16_t)suite_index(suite_find("aes128gcm16")),
	};

	for (unsigned int i = 0; i < SUITE_KEY_MAX; i++) {
		sa.key[i] = (uint8_t)(i * 3 + spi);
		sa.mac_key[i] = (uint8_t)(i * 5 + spi);
	}
	return sa;
}

static inline int sa_put(struct worker_sas *sas, uint32_t slot, uint8_t gen,
			 const struct sa_config *config)
{
	struct worker_message message = { .type = WORKER_SA_ADD, .slot = slot, .sa_gen = gen,
					  .sa = *config };

	return worker_sas_add(sas, &message);
}

/* With a state as the supervisor makes it. */
static inline void host_sa(struct test_host *host, uint32_t slot, uint8_t gen,
			   const struct sa_config *config)
{
	host->states[slot] = (struct sa_state){ .added_ns = host->worker.now_ns };
	if (config->direction == SPD_OUT) {
		host->states[slot].seq_next = 1;
		host->states[slot].seq_reserved = UINT64_MAX;
	}
	assert_int_equal(sa_put(&host->worker.sas, slot, gen, config), 0);
}

#endif /* IPSECBPF_TEST_WORKER_TESTING_H */
