// SPDX-License-Identifier: BSD-2-Clause
/*
 * The worker's life: start, rounds of work in both directions, time, the supervisor's messages.
 */
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <unistd.h>

#include "clock.h"
#include "sandbox.h"
#include "worker_internal.h"

#define ROUNDS_PER_CHECK 64	     /* rounds of work between looks at the supervisor's messages */
#define TICK_NS		 1000000000u /* how often time is looked at */
#define NS_PER_MS	 1000000u

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
	worker_out_flush(worker);
	worker->tx_sa = NULL;
	answer = 0;
	switch (message.type) {
	case WORKER_SA_ADD:
		answer = worker_sas_add(&worker->sas, &message);
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

/* How long nothing need be done for lack of packets, in ms; -1: for ever. */
static int idle_ms(const struct worker *worker)
{
	uint64_t next = reassembly_next_ns(worker->in_fragments);
	uint64_t other = reassembly_next_ns(worker->out_fragments);

	if (other < next)
		next = other;
	if (worker->sas.keepalives && worker->tick_ns < next)
		next = worker->tick_ns;
	if (next == UINT64_MAX)
		return -1;
	return next <= worker->now_ns ? 1 : (int)((next - worker->now_ns) / NS_PER_MS) + 1;
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
	poll(fds, worker->running ? 2 + config->port_count : 1, idle_ms(worker));
	/* A port that has gone away stays readable for ever: let the supervisor see to it. */
	for (uint32_t i = 1; i < 2 + config->port_count; i++)
		if (fds[i].revents & (POLLERR | POLLHUP | POLLNVAL))
			_exit(4);
	take_message(worker);
}

static void look_at_time(struct worker *worker)
{
	worker->now_ns = clock_ns();
	if (worker->now_ns < worker->tick_ns)
		return;
	worker->tick_ns = worker->now_ns + TICK_NS;
	worker_in_tick(worker);
	worker_out_tick(worker);
}

static void run(struct worker *worker)
{
	const struct worker_config *config = worker->config;

	while (!worker->running)
		wait_for_work(worker);
	for (unsigned int round = 0;; round++) {
		bool busy = false;

		look_at_time(worker);
		for (uint32_t i = 0; i < config->port_count; i++)
			busy |= worker_in_round(worker, &config->ports[i]);
		busy |= worker_out_round(worker);
		if (!busy)
			wait_for_work(worker);
		else if (round % ROUNDS_PER_CHECK == 0)
			take_message(worker);
	}
}

static int worker_init(struct worker *worker, const struct worker_config *config)
{
	struct reassembly_limits limits = {
		.fragments = REASSEMBLY_FRAGMENTS,
		.timeout_ns = FRAGMENTS_WAIT_NS,
	};

	*worker = (struct worker){ .config = config, .stats = config->stats };
	worker->host_buffer = malloc(HOST_FRAME_MAX);
	if (getrandom(&worker->fragment_id, sizeof(worker->fragment_id), 0) !=
		    sizeof(worker->fragment_id) ||
	    getrandom(&limits.seed, sizeof(limits.seed), 0) != sizeof(limits.seed))
		return -EIO;
	limits.packets = REASSEMBLY_IN_PACKETS;
	worker->in_fragments = reassembly_new(&limits);
	limits.packets = REASSEMBLY_OUT_PACKETS;
	worker->out_fragments = reassembly_new(&limits);
	if (!worker->host_buffer || !worker->in_fragments || !worker->out_fragments)
		return -ENOMEM;
	worker_in_init(worker);
	return worker_sas_init(&worker->sas, config);
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
