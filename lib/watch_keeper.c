// SPDX-License-Identifier: BSD-2-Clause
#include "watch_keeper.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <syslog.h>
#include <time.h>
#include <unistd.h>

#include "clock.h"
#include "sandbox.h"

#define NS_PER_MS 1000000u
#define PAUSE_MS  1000	/* before what failed is started again; doubled each time */
#define STEADY_MS 60000	/* it has run for as long: its failure is a new one */

/* What is kept: `ipsecbpf app VERB -- IFNAME`, by enum keeper_job. */
static const struct {
	const char *verb;
	uint32_t pause_max_ms;
	const char *complaint;	/* NULL: it says by itself why it failed */
} jobs[KEEPER_JOBS] = {
	[KEEPER_NAMES] = { "watch", 60000, "the watch over host names ended" },
	/* Traffic may be blocked until it has succeeded. */
	[KEEPER_SOCKETS] = { "mend", 10000, NULL },
};

struct job {
	pid_t pid;		/* 0: not running */
	int pid_fd;
	bool wanted;
	bool ordered;		/* since it was started */
	uint32_t pause_ms;	/* after the last failure; 0: none */
	uint64_t started_ns, start_at_ns;
};

/* The keeper's own state. */
struct keeping {
	const char *ifname;
	int exe_fd, fd;
	pid_t self;
	struct job jobs[KEEPER_JOBS];
};

/* ---- in the keeper ------------------------------------------------------------------------- */

static void copy_word(char *out, size_t out_len, const char *word)
{
	size_t i = 0;

	for (; word[i] && i + 1 < out_len; i++)
		out[i] = word[i];
	out[i] = '\0';
}

static void become(const struct keeping *keeping, unsigned int number)
{
	char name[] = "ipsecbpf", group[] = "app", verb[16], ifname[64], end[] = "--";
	char *const args[] = { name, group, verb, end, ifname, NULL };
	char path[] = "PATH=/usr/sbin:/usr/bin:/sbin:/bin";
	char *const environment[] = { path, NULL };
	sigset_t wake;

	copy_word(verb, sizeof(verb), jobs[number].verb);
	copy_word(ifname, sizeof(ifname), keeping->ifname);
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	if (getppid() != keeping->self)
		_exit(1);
	/* An order that comes before it waits for any is pending then. */
	sigemptyset(&wake);
	sigaddset(&wake, SIGHUP);
	sigprocmask(SIG_SETMASK, &wake, NULL);
	signal(SIGHUP, SIG_DFL);
	fexecve(keeping->exe_fd, args, environment);
	_exit(127);
}

static void start(struct keeping *keeping, unsigned int number)
{
	struct job *job = &keeping->jobs[number];
	pid_t pid = fork();

	if (!pid)
		become(keeping, number);
	job->ordered = false;
	job->started_ns = clock_ns();
	job->pid_fd = pid > 0 ? (int)syscall(SYS_pidfd_open, pid, 0) : -1;
	/* Without one nobody would see its end. */
	if (pid > 0 && job->pid_fd < 0) {
		kill(pid, SIGKILL);
		while (waitpid(pid, NULL, 0) < 0 && errno == EINTR)
			;
	}
	job->pid = job->pid_fd < 0 ? 0 : pid;
	if (!job->pid)
		job->start_at_ns = clock_ns() + (uint64_t)jobs[number].pause_max_ms * NS_PER_MS;
}

/* Done once it says so itself; otherwise it is started again, ever more slowly. */
static void ended(struct keeping *keeping, unsigned int number)
{
	struct job *job = &keeping->jobs[number];
	uint32_t pause_max = jobs[number].pause_max_ms;
	int status = 0;

	while (waitpid(job->pid, &status, 0) < 0 && errno == EINTR)
		;
	close(job->pid_fd);
	job->pid = 0;
	job->pid_fd = -1;
	if (WIFEXITED(status) && !WEXITSTATUS(status)) {
		/* It may have ended for the policy before. */
		job->wanted = job->ordered;
		job->pause_ms = 0;
		return;
	}
	if (!job->pause_ms || clock_ns() - job->started_ns > (uint64_t)STEADY_MS * NS_PER_MS)
		job->pause_ms = PAUSE_MS;
	else if (job->pause_ms < pause_max / 2)
		job->pause_ms *= 2;
	else
		job->pause_ms = pause_max;
	job->start_at_ns = clock_ns() + (uint64_t)job->pause_ms * NS_PER_MS;
	if (jobs[number].complaint)
		syslog(LOG_WARNING, "%s: %s; starting it again in %u s", keeping->ifname,
		       jobs[number].complaint, job->pause_ms / 1000);
}

static bool take_order(struct keeping *keeping)
{
	struct job *job;
	uint8_t order;

	if (recv(keeping->fd, &order, sizeof(order), 0) <= 0)
		return false;
	if (order >= KEEPER_JOBS)
		return true;
	job = &keeping->jobs[order];
	job->wanted = job->ordered = true;
	/* Of sockets it is asked for again each second, and what it failed by may still be. */
	if (order == KEEPER_NAMES)
		job->start_at_ns = 0;
	if (job->pid && order == KEEPER_NAMES)
		kill(job->pid, SIGHUP);
	return true;
}

static int idle_ms(const struct keeping *keeping)
{
	uint64_t now = clock_ns();
	int idle = -1;

	for (unsigned int i = 0; i < KEEPER_JOBS; i++) {
		const struct job *job = &keeping->jobs[i];
		int left;

		if (job->pid || !job->wanted)
			continue;
		left = job->start_at_ns > now ? (int)((job->start_at_ns - now) / NS_PER_MS) + 1 : 0;
		if (idle < 0 || left < idle)
			idle = left;
	}
	return idle;
}

static void run_jobs(struct keeping *keeping)
{
	for (unsigned int i = 0; i < KEEPER_JOBS; i++) {
		const struct job *job = &keeping->jobs[i];

		if (job->wanted && !job->pid && clock_ns() >= job->start_at_ns)
			start(keeping, i);
	}
}

static void keep(struct keeping *keeping)
{
	bool going = true;

	while (going) {
		struct pollfd fds[1 + KEEPER_JOBS] = { { .fd = keeping->fd, .events = POLLIN } };

		for (unsigned int i = 0; i < KEEPER_JOBS; i++)
			fds[1 + i] = (struct pollfd){
				.fd = keeping->jobs[i].pid ? keeping->jobs[i].pid_fd : -1,
				.events = POLLIN,
			};
		if (poll(fds, 1 + KEEPER_JOBS, idle_ms(keeping)) < 0)
			continue;
		for (unsigned int i = 0; i < KEEPER_JOBS; i++)
			if (fds[1 + i].revents)
				ended(keeping, i);
		if (fds[0].revents)
			going = take_order(keeping);
		if (going)
			run_jobs(keeping);
	}
	/* One may hold the interface's lock: whoever waits for our end gets that as well. */
	for (unsigned int i = 0; i < KEEPER_JOBS; i++) {
		if (!keeping->jobs[i].pid)
			continue;
		kill(keeping->jobs[i].pid, SIGKILL);
		while (waitpid(keeping->jobs[i].pid, NULL, 0) < 0 && errno == EINTR)
			;
	}
}

/* Nobody else could fork another keeper: so the first process does nothing but that. */
static void __attribute__((noreturn)) guard(struct keeping *keeping)
{
	const struct timespec pause = { .tv_sec = PAUSE_MS / 1000 };
	pid_t self = getpid(), pid;
	int status;

	for (;;) {
		status = 0;
		pid = fork();
		if (!pid) {
			prctl(PR_SET_PDEATHSIG, SIGKILL);
			if (getppid() != self)
				_exit(1);
			keeping->self = getpid();
			keep(keeping);
			_exit(0);
		}
		while (pid > 0 && waitpid(pid, &status, 0) < 0 && errno == EINTR)
			;
		if (pid > 0 && WIFEXITED(status) && !WEXITSTATUS(status))
			_exit(0);
		syslog(LOG_WARNING, "%s: who looks after host names and socket hooks died; starting "
		       "another", keeping->ifname);
		/* Orders that it took are lost: each looks for itself whether there is anything
		 * to do. */
		for (unsigned int i = 0; i < KEEPER_JOBS; i++)
			keeping->jobs[i].wanted = true;
		nanosleep(&pause, NULL);
	}
}

static void keeper_main(const char *ifname, int fd, int parent)
{
	struct keeping keeping = { .ifname = ifname, .fd = fd };
	int fds[2];

	prctl(PR_SET_PDEATHSIG, SIGKILL);
	prctl(PR_SET_NAME, "ipsecbpf-names");
	if (getppid() != parent)
		_exit(1);
	keeping.exe_fd = open("/proc/self/exe", O_PATH | O_CLOEXEC);
	fds[0] = fd;
	fds[1] = keeping.exe_fd;
	closelog();
	if (keeping.exe_fd < 0 || sandbox_close_others(fds, 2) || sandbox_watch_keeper())
		_exit(1);
	openlog("ipsecbpf", LOG_PID, LOG_DAEMON);
	guard(&keeping);
}

/* ---- in the supervisor --------------------------------------------------------------------- */

int watch_keeper_start(struct watch_keeper *keeper, const char *ifname, void (*forget)(void *),
		       void *context)
{
	int pair[2], parent = (int)getpid();
	pid_t pid;

	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair))
		return -errno;
	pid = fork();
	if (!pid) {
		forget(context);
		keeper_main(ifname, pair[1], parent);
	}
	close(pair[1]);
	if (pid < 0) {
		close(pair[0]);
		return -EAGAIN;
	}
	*keeper = (struct watch_keeper){ .pid = (int)pid, .fd = pair[0] };
	return 0;
}

int watch_keeper_order(const struct watch_keeper *keeper, enum keeper_job job)
{
	const uint8_t order = (uint8_t)job;

	/* As many orders as fit are waiting: one is enough. */
	if (keeper->pid && (send(keeper->fd, &order, sizeof(order), MSG_NOSIGNAL | MSG_DONTWAIT) >= 0 ||
			    errno == EAGAIN))
		return 0;
	return -ECHILD;
}

void watch_keeper_died(struct watch_keeper *keeper, const char *ifname)
{
	kill(keeper->pid, SIGKILL);	/* should it have closed its end alone */
	watch_keeper_stop(keeper);
	syslog(LOG_ERR, "%s: nobody is left to follow host names, whose addresses stay as they are, "
	       "nor to attach socket hooks again: detach and attach", ifname);
}

void watch_keeper_stop(struct watch_keeper *keeper)
{
	if (!keeper->pid)
		return;
	close(keeper->fd);
	while (waitpid(keeper->pid, NULL, 0) < 0 && errno == EINTR)
		;
	*keeper = (struct watch_keeper){ .fd = -1 };
}
