// SPDX-License-Identifier: BSD-2-Clause
/*
 * OUT  host port -> tag -> SA -> segment -> sequence, encapsulate, encrypt -> wire port
 * IN   wire port -> SA, source -> replay, authenticate, decrypt -> coalesce -> tag -> host port
 */
#include "worker.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "clock.h"
#include "coalesce.h"
#include "ip_layout.h"
#include "icmp_error.h"
#include "reservation.h"
#include "sandbox.h"
#include "segment.h"
#include "worker_sas.h"

#define HOST_READS	 8  /* frames taken from the host port before the wire gets its turn */
#define ROUNDS_PER_CHECK 64 /* rounds of work between looks at the supervisor's messages */
#define MAC_SOURCE	 6
#define STOP_LEFT_MS	 1 /* a full TX ring: how long to wait for the NIC, once per burst */

struct worker {
	const struct worker_config *config;
	struct worker_stats *stats;
	struct worker_sas sas;
	struct coalescer coalescer;
	uint8_t *host_buffer;
	uint64_t now_ns;
	bool running;
	/* outbound burst: all of one SA */
	struct worker_sa *tx_sa;
	struct wire_port *tx_port;
	struct packet tx[BURST];
	unsigned int tx_count;
	/* inbound burst */
	struct packet rx[BURST];
};

static void count_drop(struct worker *worker, enum drop_reason reason, unsigned int packets)
{
	worker->stats->drops[reason] += packets;
}

/* ---- outbound ------------------------------------------------------------------------------ */

/*
 * Tells the supervisor, once per reservation, that half of it is used. The reservation is read
 * once: the supervisor may extend it before write() returns, and taking the new one for asked
 * about would mean never to ask again.
 */
static void ask_for_numbers(struct worker *worker, struct worker_sa *sa)
{
	const struct sa_state *state = sa->esp.state;
	const uint64_t reserved = __atomic_load_n(&state->seq_reserved, __ATOMIC_ACQUIRE);
	const uint64_t one = 1;

	if (reserved - state->seq_next > SEQ_LOW_WATER || sa->asked_at == reserved)
		return;
	/* The counter cannot overflow: the supervisor reads it. */
	if (write(worker->config->need_fd, &one, sizeof(one)) == sizeof(one))
		sa->asked_at = reserved;
}

static void transmit(struct worker *worker, struct packet *packet)
{
	struct wire_port *port = worker->tx_port;

	if (packet->state == PACKET_PROTECTED) {
		if (wire_port_send(port, packet)) {
			worker->stats->wire_tx++;
			return;
		}
		wire_port_kick(port);
		if (wire_port_send(port, packet)) {
			worker->stats->wire_tx++;
			return;
		}
		packet->drop = DROP_NO_BUFFER;
	}
	count_drop(worker, packet->drop, 1);
	wire_port_unframe(port, packet);
}

/* Protects and sends what has been gathered for one SA. */
static void tx_flush(struct worker *worker)
{
	struct packet *burst[BURST];

	if (!worker->tx_count)
		return;
	for (unsigned int i = 0; i < worker->tx_count; i++)
		burst[i] = &worker->tx[i];
	sa_protect(&worker->tx_sa->esp, burst, worker->tx_count);
	for (unsigned int i = 0; i < worker->tx_count; i++)
		transmit(worker, burst[i]);
	worker->tx_count = 0;
	worker->tx_sa->esp.state->used_ns = worker->now_ns;
	ask_for_numbers(worker, worker->tx_sa);
}

/* A frame for sending; if all are on their way, waits for the NIC a little. */
static bool take_frame(struct worker *worker, struct packet *packet, uint32_t *ret_room)
{
	struct pollfd wait = { .fd = wire_port_fd(worker->tx_port), .events = POLLOUT };

	if (wire_port_frame(worker->tx_port, packet, ret_room))
		return true;
	tx_flush(worker);
	wire_port_kick(worker->tx_port);
	poll(&wait, 1, STOP_LEFT_MS);
	return wire_port_frame(worker->tx_port, packet, ret_room);
}

static void cut(struct worker *worker, struct segment_iter *iter)
{
	struct packet packet;
	uint32_t room;

	for (;;) {
		if (!take_frame(worker, &packet, &room)) {
			count_drop(worker, DROP_NO_BUFFER, 1);
			return;
		}
		if (!segment_next(iter, &packet, room)) {
			wire_port_unframe(worker->tx_port, &packet);
			return;
		}
		if (packet.state == PACKET_DEAD) {
			count_drop(worker, packet.drop, 1);
			wire_port_unframe(worker->tx_port, &packet);
			return;
		}
		packet.tailroom = (uint16_t)(room + PACKET_TAILROOM - packet.len);
		worker->stats->host_rx_segments++;
		worker->tx[worker->tx_count++] = packet;
		if (worker->tx_count == BURST)
			tx_flush(worker);
	}
}

/* Tells a local sender how large its packets may be (RFC 4301 8.2.1: the MTU less the overhead). */
static void tell_too_big(struct worker *worker, const struct host_frame *frame, uint32_t mtu)
{
	struct virtio_net_hdr vnet = { 0 };
	uint8_t message[ICMP_ERROR_MAX];
	struct iovec iov[] = { { &vnet, sizeof(vnet) }, { message, 0 } };
	struct host_tag tag = { .magic = HOST_TAG_LOCAL_ICMP };

	iov[1].iov_len = icmp_too_big(frame, mtu, message);
	if (!iov[1].iov_len)
		return;
	memcpy(message, &tag, sizeof(tag));
	if (host_port_write(worker->config->host, iov, 2))
		count_drop(worker, DROP_HOST_PORT, 1);
}

static void outbound(struct worker *worker, struct host_frame *frame)
{
	const struct worker_config *config = worker->config;
	struct segment_iter iter;
	struct worker_sa *sa;
	struct host_tag tag;
	enum drop_reason reason;

	memcpy(&tag, frame->data + MAC_SOURCE, sizeof(tag));
	sa = tag.magic == HOST_TAG_SA ? worker_sas_by_tag(&worker->sas, &tag) : NULL;
	if (!sa) {
		count_drop(worker, tag.magic == HOST_TAG_SA ? DROP_STALE_SA : DROP_HOST_TAG, 1);
		return;
	}
	memcpy(frame->data + MAC_SOURCE, config->nic_mac, sizeof(config->nic_mac));
	reason = segment_start(&iter, frame, sa->inner_mtu);
	if (reason != DROP_NONE) {
		count_drop(worker, reason, 1);
		if (reason == DROP_TOO_BIG)
			tell_too_big(worker, frame, sa->inner_mtu);
		return;
	}
	if (sa != worker->tx_sa) {
		tx_flush(worker);
		worker->tx_sa = sa;
		/* An SA stays on one queue: its packets leave in order of their numbers. */
		worker->tx_port = &config->ports[sa->esp.slot % config->port_count];
	}
	cut(worker, &iter);
}

static bool outbound_round(struct worker *worker)
{
	const struct worker_config *config = worker->config;
	struct host_frame frame;
	unsigned int frames = 0;

	while (frames < HOST_READS &&
	       host_port_read(config->host, worker->host_buffer, &frame) == 1) {
		worker->stats->host_rx++;
		outbound(worker, &frame);
		frames++;
	}
	tx_flush(worker);
	for (uint32_t i = 0; i < config->port_count; i++)
		if (config->ports[i].queued)
			wire_port_kick(&config->ports[i]);
	return frames;
}

/* ---- inbound ------------------------------------------------------------------------------- */

/* Hands one finished frame to the host, under the tag of its SA. */
static void emit(void *context, struct coalesced *frame)
{
	struct worker *worker = context;
	struct host_tag tag = { .magic = HOST_TAG_SA, .sa_gen = frame->sa_gen };

	store_be32(tag.slot, frame->slot);
	memcpy(frame->first->data, &tag, sizeof(tag));
	if (host_port_write(worker->config->host, frame->iov, frame->iov_count)) {
		count_drop(worker, DROP_HOST_PORT, frame->packets);
		return;
	}
	worker->stats->host_tx++;
	worker->stats->host_tx_coalesced += frame->packets - 1;
}

/* A run of packets of one SA. */
static void inbound_run(struct worker *worker, struct worker_sa *sa, struct packet **run,
			unsigned int count)
{
	if (!count)
		return;
	sa_verify(&sa->esp, run, count);
	for (unsigned int i = 0; i < count; i++) {
		if (run[i]->state != PACKET_VERIFIED) {
			count_drop(worker, run[i]->drop, 1);
			continue;
		}
		sa->esp.state->used_ns = worker->now_ns;
		coalesce_add(&worker->coalescer, run[i], sa->esp.slot, sa->esp.sa_gen);
	}
}

static bool inbound_round(struct worker *worker, struct wire_port *port)
{
	struct packet *run[BURST];
	struct worker_sa *sa, *run_sa = NULL;
	unsigned int count, run_count = 0;

	count = wire_port_receive(port, worker->rx, BURST);
	worker->stats->wire_rx += count;
	for (unsigned int i = 0; i < count; i++) {
		sa = worker_sas_inbound(&worker->sas, &worker->rx[i]);
		if (!sa) {
			count_drop(worker, worker->rx[i].drop, 1);
			continue;
		}
		if (sa != run_sa) {
			inbound_run(worker, run_sa, run, run_count);
			run_sa = sa;
			run_count = 0;
		}
		run[run_count++] = &worker->rx[i];
	}
	inbound_run(worker, run_sa, run, run_count);
	coalesce_flush(&worker->coalescer);
	wire_port_release(port, worker->rx, count);
	return count;
}

/* ---- the supervisor ------------------------------------------------------------------------ */

/* Takes one message if there is one. Leaves the process when the supervisor is gone. */
static void take_message(struct worker *worker)
{
	struct worker_message message;
	int32_t answer;
	ssize_t len;

	len = recv(worker->config->message_fd, &message, sizeof(message), MSG_DONTWAIT);
	if (len < 0 && (errno == EAGAIN || errno == EINTR))
		return;
	if (len != sizeof(message))
		_exit(len == 0 ? 0 : 1);
	tx_flush(worker);
	worker->tx_sa = NULL;
	answer = 0;
	switch (message.type) {
	case WORKER_SA_ADD:
		answer = worker_sas_add(&worker->sas, &message, worker->config);
		break;
	case WORKER_SA_REMOVE:
		worker_sas_remove(&worker->sas, message.slot);
		break;
	default:
		worker->running = true;
	}
	explicit_bzero(&message, sizeof(message));
	if (send(worker->config->message_fd, &answer, sizeof(answer), MSG_NOSIGNAL) < 0)
		_exit(1);
}

static void wait_for_work(struct worker *worker)
{
	const struct worker_config *config = worker->config;
	struct pollfd fds[2 + QUEUES_MAX] = {
		{ .fd = config->message_fd, .events = POLLIN },
		{ .fd = config->host->fd, .events = POLLIN },
	};

	for (uint32_t i = 0; i < config->port_count; i++) {
		if (config->ports[i].unbound)
			_exit(4);	/* the supervisor opens it anew for the next worker */
		fds[2 + i] = (struct pollfd){ wire_port_fd(&config->ports[i]), POLLIN, 0 };
	}
	worker->stats->polls++;
	poll(fds, worker->running ? 2 + config->port_count : 1, -1);
	/* A port that has gone away stays readable for ever: let the supervisor see to it. */
	for (uint32_t i = 1; i < 2 + config->port_count; i++)
		if (fds[i].revents & (POLLERR | POLLHUP | POLLNVAL))
			_exit(4);
	take_message(worker);
}

static void run(struct worker *worker)
{
	const struct worker_config *config = worker->config;

	while (!worker->running)
		wait_for_work(worker);
	for (unsigned int round = 0;; round++) {
		bool busy = false;

		worker->now_ns = clock_ns();
		for (uint32_t i = 0; i < config->port_count; i++)
			busy |= inbound_round(worker, &config->ports[i]);
		busy |= outbound_round(worker);
		if (!busy)
			wait_for_work(worker);
		else if (round % ROUNDS_PER_CHECK == 0)
			take_message(worker);
	}
}

static int worker_init(struct worker *worker, const struct worker_config *config)
{
	*worker = (struct worker){ .config = config, .stats = config->stats };
	worker->host_buffer = malloc(HOST_FRAME_MAX);
	if (!worker->host_buffer)
		return -ENOMEM;
	coalesce_init(&worker->coalescer, emit, worker);
	return worker_sas_init(&worker->sas, config->slots);
}

static int close_others(const struct worker_config *config)
{
	int keep[3 + QUEUES_MAX];
	size_t count = 0;

	keep[count++] = config->message_fd;
	keep[count++] = config->need_fd;
	keep[count++] = config->host->fd;
	for (uint32_t i = 0; i < config->port_count; i++)
		keep[count++] = wire_port_fd(&config->ports[i]);
	return sandbox_close_others(keep, count);
}

void worker_main(const struct worker_config *config)
{
	static struct worker worker;

	prctl(PR_SET_NAME, "ipsecbpf-worker");
	signal(SIGPIPE, SIG_IGN);
	/* Libraries that read files or probe the CPU must have done so before the filter is in
	 * place. */
	if (worker_init(&worker, config) || crypto_warm_up(config->engine) ||
	    close_others(config) || sandbox_worker())
		_exit(2);
	run(&worker);
	_exit(0);
}
