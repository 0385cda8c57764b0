// SPDX-License-Identifier: BSD-2-Clause
#include "supervisor.h"

#include <bpf/bpf.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/timerfd.h>
#include <syslog.h>
#include <unistd.h>

#include "clock.h"
#include "loader.h"
#include "policy_store.h"
#include "policy_trial.h"
#include "sandbox.h"
#include "supervisor_internal.h"

#define CRASH_LOOP_NS	     200000000u /* a worker that lives shorter is restarted slowly */
#define RESTART_PAUSE_MS     100
#define RESTART_PAUSE_MAX_MS 5000
#define REFILL_RETRY_MS	     1000
#define NS_PER_MS	     1000000u

/* ---- worker -------------------------------------------------------------------------------- */

/* A worker that does not answer is as good as dead, but might still send: end it for certain. */
static int settle(struct supervisor *supervisor, int err)
{
	if (err != -EPIPE)
		return err;
	worker_process_stop(&supervisor->worker);
	return 0;
}

static int worker_add(void *context, uint32_t slot, const struct sad_sa *sa)
{
	struct supervisor *supervisor = context;
	struct worker_message message = { WORKER_SA_ADD, slot, sa->gen, sa->config };
	int err = worker_process_tell(&supervisor->worker, &message);

	explicit_bzero(&message, sizeof(message));
	return settle(supervisor, err);
}

static int worker_remove(void *context, uint32_t slot)
{
	struct supervisor *supervisor = context;
	const struct worker_message message = { .type = WORKER_SA_REMOVE, .slot = slot };

	return settle(supervisor, worker_process_tell(&supervisor->worker, &message));
}

static int start_worker(struct supervisor *supervisor)
{
	const struct worker_message run = { .type = WORKER_RUN };
	int err = worker_process_start(&supervisor->worker);

	for (uint32_t slot = 1; !err && slot < supervisor->sad.slots; slot++)
		if (supervisor->sad.sas[slot].used)
			err = worker_add(supervisor, slot, &supervisor->sad.sas[slot]);
	if (!err)
		err = worker_process_tell(&supervisor->worker, &run);
	if (err)
		worker_process_stop(&supervisor->worker);
	return err;
}

/*
 * Between the two workers XDP finds no socket and drops, and tc fills the host port's queue:
 * nothing passes in the clear. Replay windows and sequence numbers are in shared memory and go on.
 */
static void restart_worker(struct supervisor *supervisor)
{
	struct worker_process *worker = &supervisor->worker;
	int err;

	worker_process_close_ports(worker);
	err = worker_process_open_ports(worker);
	if (!err)
		err = start_worker(supervisor);
	worker->restarts++;
	if (err) {
		syslog(LOG_ERR, "%s: cannot restart the worker: %s", worker->ifname,
		       strerror(-err));
		supervisor->restart_at_ns = clock_ns() + (uint64_t)RESTART_PAUSE_MAX_MS * NS_PER_MS;
	}
}

static void worker_died(struct supervisor *supervisor)
{
	struct worker_process *worker = &supervisor->worker;
	bool crash_loop = clock_ns() - worker->started_ns < CRASH_LOOP_NS;

	worker_process_stop(worker);
	syslog(LOG_WARNING, "%s: the worker died; restarting it", worker->ifname);
	if (!crash_loop)
		supervisor->pause_ms = 0;
	else if (!supervisor->pause_ms)
		supervisor->pause_ms = RESTART_PAUSE_MS;
	else if (supervisor->pause_ms > RESTART_PAUSE_MAX_MS / 2)
		supervisor->pause_ms = RESTART_PAUSE_MAX_MS;
	else
		supervisor->pause_ms *= 2;
	supervisor->restart_at_ns = clock_ns() + (uint64_t)supervisor->pause_ms * NS_PER_MS;
}

/* ---- ending --------------------------------------------------------------------------------- */

/* Forgets everything in the order that keeps the promises: no SA, no worker, no socket. */
static void shut_down(struct supervisor *supervisor)
{
	watch_keeper_stop(&supervisor->keeper);
	sad_flush(&supervisor->sad);
	worker_process_stop(&supervisor->worker);
	worker_process_close_ports(&supervisor->worker);
	/* The interface goes with it, before whoever asked is answered. */
	host_port_close(supervisor->config->host);
	unlink(supervisor->config->pins->paths.socket);
	net_watch_close(supervisor->sad.net_watch);
	sad_fini(&supervisor->sad);
}

static void serve(struct supervisor *supervisor)
{
	struct control_header request;
	void *payload = NULL;
	int fd = accept4(supervisor->listen_fd, NULL, NULL, SOCK_CLOEXEC);

	if (fd < 0)
		return;
	if (!control_receive(fd, &request, &payload)) {
		supervisor_answer(supervisor, fd, &request, payload);
		if (payload)
			explicit_bzero(payload, request.len);
		free(payload);
	}
	if (supervisor->stopping) {
		shut_down(supervisor);
		control_reply(fd, CONTROL_STOP, 0, NULL, 0, NULL);
	}
	close(fd);
}

/*
 * Back to how it was before attach, where nobody confirmed a trial or the attaching command died:
 * open, or the guard that was there.
 */
static void give_up(struct supervisor *supervisor, const char *why)
{
	struct pins *pins = supervisor->config->pins;
	uint32_t zero = 0;

	syslog(LOG_WARNING, "%s: %s, detaching", supervisor->config->ifname, why);
	if (supervisor->config->over_guard) {
		pins_guard(pins);
	} else {
		/* Where the filters are was noted after we were forked. */
		if (!bpf_map_lookup_elem(pins->attachment_fd, &zero, &pins->attachment))
			loader_detach_clsact(&pins->attachment);
		pins_remove(&pins->paths);
		unlink(pins->paths.lock);
	}
	shut_down(supervisor);
	supervisor->stopping = true;
}

/* Attaching is done, or whoever did it is gone. */
static void take_commit(struct supervisor *supervisor)
{
	char done;
	ssize_t len = read(supervisor->commit_fd, &done, sizeof(done));

	close(supervisor->commit_fd);
	supervisor->commit_fd = -1;
	if (len != sizeof(done))
		give_up(supervisor, "the attaching command did not finish");
}

/* ---- loop ---------------------------------------------------------------------------------- */

static void refill(struct supervisor *supervisor)
{
	uint64_t ignored;

	if (read(supervisor->need_fd, &ignored, sizeof(ignored)) > 0 || supervisor->refill_failed)
		supervisor->refill_failed = !sad_refill(&supervisor->sad);
}

/* SAs age only where there are some. */
static void keep_watch(struct supervisor *supervisor)
{
	const struct sad *sad = &supervisor->sad;
	struct itimerspec every = { 0 };
	bool wanted = sad->counts[SPD_IN] || sad->counts[SPD_OUT];

	if (wanted == supervisor->watching)
		return;
	every.it_value.tv_sec = every.it_interval.tv_sec = wanted;
	if (!timerfd_settime(supervisor->life_fd, 0, &every, NULL))
		supervisor->watching = wanted;
}

static void look_at_sas(struct supervisor *supervisor)
{
	const struct worker_config *worker = &supervisor->worker.config;
	uint64_t refused = __atomic_load_n(&worker->stats->drops[DROP_LIFETIME], __ATOMIC_RELAXED);
	uint64_t ignored;

	if (read(supervisor->life_fd, &ignored, sizeof(ignored)) < 0)
		return;
	sad_look(&supervisor->sad,
		 refused != supervisor->lifetime_drops ? supervisor->config->mtu : 0);
	supervisor->lifetime_drops = refused;
}

/* The hooks have gone back by themselves: what the trial used is freed. While somebody else changes the
 * attachment this has time. */
static void look_at_policy(struct supervisor *supervisor)
{
	struct pins *pins = supervisor->config->pins;
	const struct itimerspec later = { .it_value.tv_sec = 1 };
	uint64_t ignored;
	int lock;

	if (read(supervisor->policy_fd, &ignored, sizeof(ignored)) < 0)
		return;
	if (policy_trial_left(pins) >= 0) {
		supervisor_prepare_end(supervisor);
		return;
	}
	lock = pins_try_lock(&pins->paths);
	if (lock < 0) {
		timerfd_settime(supervisor->policy_fd, 0, &later, NULL);
		return;
	}
	if (policy_trial_settle(pins)) {
		syslog(LOG_WARNING, "%s: nobody confirmed the new policy, the one before is in force",
		       supervisor->config->ifname);
		policy_free_generation(pins, !policy_generation(pins));
		supervisor_order(supervisor, KEEPER_NAMES);
		/* Of sockets that the one on trial did not take for an application's, those that
		 * were made in its last second. */
		if (supervisor_needs_hooks(supervisor))
			supervisor_order(supervisor, KEEPER_SOCKETS);
	}
	pins_unlock(&pins->paths, lock);
}

/* Until something has to be done without being asked, ms; -1: never. */
static int idle_ms(const struct supervisor *supervisor)
{
	uint64_t now = clock_ns(), at = supervisor->restart_at_ns;
	int idle = supervisor->refill_failed ? REFILL_RETRY_MS : -1, left;

	if (supervisor->worker.pid)
		return idle;
	left = at > now ? (int)((at - now) / NS_PER_MS) + 1 : 0;
	return idle < 0 || left < idle ? left : idle;
}

/* SIGTERM: as detach without --open. The hooks stay and guard. */
static void terminate(struct supervisor *supervisor)
{
	/* First who might put it into force again. */
	watch_keeper_stop(&supervisor->keeper);
	pins_guard(supervisor->config->pins);
	shut_down(supervisor);
	supervisor->stopping = true;
}

/* A confirm that was sent before the trial ended is honoured; others do not put the end off for ever. */
static void serve_late(struct supervisor *supervisor, bool trial_over)
{
	supervisor->last_request = trial_over;
	serve(supervisor);
	if (supervisor->trial_fd < 0)
		supervisor->last_request = false;
}

static void loop(struct supervisor *supervisor)
{
	struct worker_process *worker = &supervisor->worker;

	while (!supervisor->stopping) {
		bool up = worker->pid;
		struct pollfd fds[] = {
			{ .fd = up ? worker->pid_fd : -1, .events = POLLIN },
			{ .fd = supervisor->need_fd, .events = POLLIN },
			{ .fd = supervisor->signal_fd, .events = POLLIN },
			{ .fd = supervisor->commit_fd, .events = POLLIN },
			{ .fd = supervisor->trial_fd, .events = POLLIN },
			{ .fd = supervisor->listen_fd, .events = POLLIN },
			{ .fd = net_watch_fd(supervisor->sad.net_watch), .events = POLLIN },
			{ .fd = supervisor->life_fd, .events = POLLIN },
			{ .fd = supervisor->policy_fd, .events = POLLIN },
			{ .fd = supervisor->keeper.pid ? supervisor->keeper.fd : -1 },
			{ .fd = supervisor->hooks_fd, .events = POLLIN },
		};

		if (poll(fds, sizeof(fds) / sizeof(fds[0]), idle_ms(supervisor)) < 0)
			continue;
		if (fds[0].revents)
			worker_died(supervisor);
		if (!worker->pid && clock_ns() >= supervisor->restart_at_ns)
			restart_worker(supervisor);
		refill(supervisor);
		if (fds[6].revents)
			net_watch_process(supervisor->sad.net_watch);
		if (fds[7].revents)
			look_at_sas(supervisor);
		if (fds[8].revents)
			look_at_policy(supervisor);
		if (fds[9].revents)
			watch_keeper_died(&supervisor->keeper, supervisor->config->ifname);
		if (fds[10].revents)
			supervisor_look_at_hooks(supervisor);
		/* One of these a round: each may end us, or make the others' answers stale. */
		if (fds[2].revents)
			terminate(supervisor);
		else if (fds[3].revents)
			take_commit(supervisor);
		else if (fds[5].revents && !supervisor->last_request)
			serve_late(supervisor, fds[4].revents);
		else if (fds[4].revents)
			give_up(supervisor, "trial period over");
		keep_watch(supervisor);
	}
}

static int make_descriptors(struct supervisor *supervisor)
{
	const struct itimerspec each_second = { .it_value.tv_sec = 1, .it_interval.tv_sec = 1 };
	struct itimerspec trial = { .it_value.tv_sec = supervisor->config->trial_seconds };
	sigset_t signals;

	sigemptyset(&signals);
	sigaddset(&signals, SIGTERM);
	sigaddset(&signals, SIGINT);
	sigprocmask(SIG_BLOCK, &signals, NULL);
	supervisor->signal_fd = signalfd(-1, &signals, SFD_CLOEXEC);
	supervisor->need_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	supervisor->life_fd = timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK);
	supervisor->policy_fd = timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK);
	supervisor->hooks_fd = timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK);
	supervisor->trial_fd = -1;
	if (supervisor->signal_fd < 0 || supervisor->need_fd < 0 || supervisor->life_fd < 0 ||
	    supervisor->policy_fd < 0 || supervisor->hooks_fd < 0 ||
	    timerfd_settime(supervisor->hooks_fd, 0, &each_second, NULL))
		return -errno;
	if (!trial.it_value.tv_sec)
		return 0;
	supervisor->trial_fd = timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC);
	if (supervisor->trial_fd < 0 || timerfd_settime(supervisor->trial_fd, 0, &trial, NULL))
		return -errno;
	return 0;
}

/* Descriptors of the command that forked us: its terminal, its lock, its report. */
static int leave_parent(const struct supervisor *supervisor)
{
	const struct pins *pins = supervisor->config->pins;
	int keep[QUEUES_MAX + 32];
	size_t count = 0;
	int null = open("/dev/null", O_RDWR);

	if (null < 0 || dup2(null, 0) < 0 || dup2(null, 1) < 0 || dup2(null, 2) < 0)
		return -errno;
#define X(map) keep[count++] = pins->map##_fd;
	PINNED_MAPS(X)
#undef X
	keep[count++] = supervisor->listen_fd;
	keep[count++] = supervisor->commit_fd;
	keep[count++] = supervisor->config->host->fd;
	for (uint32_t i = 0; i < supervisor->config->queues; i++)
		keep[count++] = wire_port_fd(&supervisor->worker.ports[i]);
	return sandbox_close_others(keep, count);
}

/* Without it, forged packets with own addresses are not recognised, and tunnels send by the next hop
 * of the inner packet: no reason not to protect. */
static void watch_net(struct supervisor *supervisor)
{
	const struct net_watch_config config = {
		.ifindex = supervisor->config->pins->attachment.ifindex,
		.own_addresses_fd = supervisor->config->pins->own_addresses_fd,
		.slots = supervisor->sad.slots,
		.next_hop = sad_next_hop,
		.context = &supervisor->sad,
	};
	int err = net_watch_open(&supervisor->sad.net_watch, &config);

	if (err)
		syslog(LOG_ERR, "%s: cannot watch addresses and routes: %s",
		       supervisor->config->ifname, strerror(-err));
}

/* In a child that is no worker: what it keeps mapped would not be free for the next one. */
static void forget_ports(void *context)
{
	struct supervisor *supervisor = context;

	for (uint32_t i = 0; i < supervisor->config->queues; i++)
		wire_port_close(&supervisor->worker.ports[i]);
}

static int become_supervisor(struct supervisor *supervisor)
{
	struct worker_process *worker = &supervisor->worker;
	int err;

	setsid();
	prctl(PR_SET_NAME, "ipsecbpf-super");
	if (chdir("/"))
		return -errno;
	err = leave_parent(supervisor);
	if (!err)
		err = make_descriptors(supervisor);
	if (!err)
		err = sad_init(&supervisor->sad, supervisor->config->pins);
	if (err)
		return err;
	openlog("ipsecbpf", LOG_PID, LOG_DAEMON);
	supervisor->sad.worker = (struct sad_worker){ worker_add, worker_remove, supervisor };
	worker->config.states = supervisor->sad.states;
	worker->config.slots = supervisor->sad.slots;
	worker->config.need_fd = supervisor->need_fd;
	worker->config.stats = mmap(NULL, (size_t)sysconf(_SC_PAGESIZE), PROT_READ | PROT_WRITE,
				    MAP_SHARED, supervisor->config->pins->worker_stats_fd, 0);
	if (worker->config.stats == MAP_FAILED)
		return -errno;
	worker->config.out_sas = mmap(NULL, PROTECT_MAX * FAMILY_COUNT * sizeof(struct out_sa),
				      PROT_READ, MAP_SHARED, supervisor->config->pins->out_sa_fd, 0);
	if (worker->config.out_sas == MAP_FAILED)
		return -errno;
	/* One store there changes policy: the worker, forked from here, must not have it. */
	if (madvise(supervisor->config->pins->control, (size_t)sysconf(_SC_PAGESIZE),
		    MADV_DONTFORK))
		return -errno;
	/* While that is possible; no key is here yet. */
	err = watch_keeper_start(&supervisor->keeper, supervisor->config->ifname, forget_ports,
				 supervisor);
	if (!err)
		err = sandbox_supervisor();
	if (err)
		return err;
	watch_net(supervisor);
	return start_worker(supervisor);
}

/* Could not start: tells the attaching command, which is waiting for its first answer. */
static void refuse(struct supervisor *supervisor, int err)
{
	struct pollfd wait = { .fd = supervisor->listen_fd, .events = POLLIN };
	struct ipsecbpf_report report = { 0 };
	struct control_header request;
	void *payload = NULL;
	int fd;

	report_error(&report, supervisor->config->ifname, "ipsecbpf preflight says what is missing",
		     "the supervisor or its worker cannot start: %s", strerror(-err));
	poll(&wait, 1, CONTROL_TIMEOUT_S * 1000);
	fd = accept4(supervisor->listen_fd, NULL, NULL, SOCK_CLOEXEC);
	if (fd >= 0 && !control_receive(fd, &request, &payload))
		control_reply(fd, request.type, err, NULL, 0, &report);
	worker_process_stop(&supervisor->worker);
	watch_keeper_stop(&supervisor->keeper);
	unlink(supervisor->config->pins->paths.socket);
}

static void prepare_worker(struct supervisor *supervisor)
{
	const struct supervisor_config *config = supervisor->config;
	struct worker_process *worker = &supervisor->worker;

	worker->config = (struct worker_config){
		.host = config->host,
		.port_count = config->queues,
		.mtu = config->mtu,
		.engine = config->engine,
		.busy_poll_us = config->busy_poll_us,
	};
	memcpy(worker->config.nic_mac, config->nic_mac, sizeof(config->nic_mac));
	snprintf(worker->ifname, sizeof(worker->ifname), "%s", config->ifname);
	worker->frame_size = config->frame_size;
	worker->xsks_fd = config->pins->xsks_fd;
	worker->pid_fd = worker->message_fd = -1;
}

static int open_all(struct supervisor *supervisor, int commit[2], struct ipsecbpf_report *report)
{
	const struct paths *paths = &supervisor->config->pins->paths;
	int err;

	supervisor->listen_fd = control_listen(paths);
	if (supervisor->listen_fd < 0) {
		err = supervisor->listen_fd;
		report_error(report, paths->socket, "ipsecbpf status shows what is running",
			     "cannot listen: %s", strerror(-err));
		return err;
	}
	err = worker_process_open_ports(&supervisor->worker);
	if (err) {
		report_error(report, supervisor->config->ifname,
			     "ipsecbpf preflight says what is missing",
			     "cannot open AF_XDP sockets on its queues: %s", strerror(-err));
		goto close_socket;
	}
	if (!pipe2(commit, O_CLOEXEC))
		return 0;
	err = -errno;
	worker_process_close_ports(&supervisor->worker);
close_socket:
	close(supervisor->listen_fd);
	unlink(paths->socket);
	return err;
}

int supervisor_start(const struct supervisor_config *config, int *ret_commit_fd,
		     struct ipsecbpf_report *report)
{
	static struct supervisor supervisor;
	int commit[2], err;
	pid_t pid;

	supervisor = (struct supervisor){ .config = config };
	prepare_worker(&supervisor);
	err = open_all(&supervisor, commit, report);
	if (err)
		return err;
	supervisor.commit_fd = commit[0];
	pid = fork();
	if (pid == 0) {
		err = become_supervisor(&supervisor);
		if (!err)
			loop(&supervisor);
		else
			refuse(&supervisor, err);
		_exit(0);
	}
	err = pid < 0 ? -errno : 0;
	/* The child has its own references: these only forget ours. */
	for (uint32_t i = 0; i < config->queues; i++)
		wire_port_close(&supervisor.worker.ports[i]);
	close(supervisor.listen_fd);
	close(commit[0]);
	if (err) {
		report_error(report, config->ifname, NULL, "cannot fork: %s", strerror(-err));
		unlink(config->pins->paths.socket);
		close(commit[1]);
		return err;
	}
	*ret_commit_fd = commit[1];
	return 0;
}

int supervisor_commit(int commit_fd)
{
	const char done = 1;

	return write(commit_fd, &done, sizeof(done)) == sizeof(done) ? 0 : -EPIPE;
}
