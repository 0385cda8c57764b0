// SPDX-License-Identifier: BSD-2-Clause
/*
 * The worker's life: start, rounds of work in both directions, time, the supervisor's messages.
 */
#include <errno.h>
#include <poll.h>
#include <sched.h>
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

#define ROUNDS_PER_CHECK 64	     /* rounds of work between looks at what is no packet */
#define TICK_NS		 1000000000u /* how often time is looked at */
#define NS_PER_MS	 1000000u
#define NS_PER_US	 1000u

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

/* Looks at all descriptors, for up to timeout_ms (-1: for ever). */
static void look_around(struct worker *worker, int timeout_ms)
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
	poll(fds, worker->running ? 2 + config->port_count : 1, timeout_ms);
	/* A port that has gone away stays readable for ever: let the supervisor see to it. */
	for (uint32_t i = 1; i < 2 + config->port_count; i++)
		if (fds[i].revents & (POLLERR | POLLHUP | POLLNVAL))
			_exit(4);
	worker->host_ready |= fds[1].revents & POLLIN;
	if (fds[0].revents)
		take_message(worker);
}

static void sleep_until_work(struct worker *worker)
{
	worker->stats->polls++;
	look_around(worker, idle_ms(worker));
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

/*
 * A round of work in both directions. Was there any? To look at the wire is to look at memory; the host
 * port costs a system call, and is read when poll() says so, or when there was no poll() for a while.
 */
static bool work(struct worker *worker)
{
	const struct worker_config *config = worker->config;
	bool wire = false, host = false;

	for (uint32_t i = 0; i < config->port_count; i++)
		wire |= worker_in_round(worker, &config->ports[i]);
	if (worker->host_ready || (wire && worker->was_busy))
		host = worker_out_round(worker);
	worker->was_busy = wire || host;
	return worker->was_busy;
}

/* Awake, in case something comes soon. */
static void look_again(struct worker *worker)
{
	uint64_t now;

	worker->host_ready = true;
	sched_yield();
	now = clock_ns();
	busy_poll_back(&worker->busy_poll, now - worker->now_ns, now);
}

static void run(struct worker *worker)
{
	while (!worker->running)
		sleep_until_work(worker);
	for (unsigned int round = 1;; round++) {
		look_at_time(worker);
		if (work(worker))
			busy_poll_met(&worker->busy_poll, worker->now_ns);
		else if (busy_poll_again(&worker->busy_poll, worker->now_ns))
			look_again(worker);
		else
			sleep_until_work(worker);
		if (round % ROUNDS_PER_CHECK == 0)
			look_around(worker, 0);
	}
}

static int worker_init(struct worker *worker, const struct worker_config *config)
{
	struct reassembly_limits limits = {
		.fragments = REASSEMBLY_FRAGMENTS,
		.timeout_ns = FRAGMENTS_WAIT_NS,
	};

	*worker = (struct worker){
		.config = config,
		.stats = config->stats,
		.busy_poll = { .stats = config->stats, .max_ns = config->busy_poll_us * NS_PER_US },
	};
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
