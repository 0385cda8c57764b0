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

#define NS_PER_MS    1000000u
#define PAUSE_MS     1000	/* before a watch that failed is started again; doubled each time */
#define PAUSE_MAX_MS 60000
#define STEADY_MS    60000	/* it has run for as long: its failure is a new one */

/* The keeper's own state. */
struct keeping {
	const char *ifname;
	int exe_fd, fd;
	pid_t pid;		/* of the watch; 0: not running */
	int pid_fd;
	pid_t self;
	bool wanted;
	bool ordered;		/* since the watch was started */
	uint32_t pause_ms;	/* after the last failure; 0: none */
	uint64_t started_ns, start_at_ns;
};

/* ---- in the keeper ------------------------------------------------------------------------- */

static void become_watch(const struct keeping *keeping)
{
	char name[] = "ipsecbpf", group[] = "app", verb[] = "watch", ifname[64], end[] = "--";
	char *const args[] = { name, group, verb, end, ifname, NULL };
	char path[] = "PATH=/usr/sbin:/usr/bin:/sbin:/bin";
	char *const environment[] = { path, NULL };
	sigset_t wake;
	size_t i = 0;

	for (; keeping->ifname[i] && i + 1 < sizeof(ifname); i++)
		ifname[i] = keeping->ifname[i];
	ifname[i] = '\0';
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

static void start_watch(struct keeping *keeping)
{
	pid_t pid = fork();

	if (!pid)
		become_watch(keeping);
	keeping->ordered = false;
	keeping->started_ns = clock_ns();
	keeping->pid = pid > 0 ? pid : 0;
	keeping->pid_fd = pid > 0 ? (int)syscall(SYS_pidfd_open, pid, 0) : -1;
	if (pid < 0)
		keeping->start_at_ns = clock_ns() + (uint64_t)PAUSE_MAX_MS * NS_PER_MS;
}

/* Done once it says so itself; otherwise it is started again, ever more slowly. */
static void watch_ended(struct keeping *keeping)
{
	int status = 0;

	while (waitpid(keeping->pid, &status, 0) < 0 && errno == EINTR)
		;
	close(keeping->pid_fd);
	keeping->pid = 0;
	keeping->pid_fd = -1;
	if (WIFEXITED(status) && !WEXITSTATUS(status)) {
		/* It may have ended for the policy before. */
		keeping->wanted = keeping->ordered;
		return;
	}
	if (!keeping->pause_ms ||
	    clock_ns() - keeping->started_ns > (uint64_t)STEADY_MS * NS_PER_MS)
		keeping->pause_ms = PAUSE_MS;
	else if (keeping->pause_ms < PAUSE_MAX_MS / 2)
		keeping->pause_ms *= 2;
	else
		keeping->pause_ms = PAUSE_MAX_MS;
	keeping->start_at_ns = clock_ns() + (uint64_t)keeping->pause_ms * NS_PER_MS;
	syslog(LOG_WARNING, "%s: the watch over host names ended; starting it again in %u s",
	       keeping->ifname, keeping->pause_ms / 1000);
}

static bool take_order(struct keeping *keeping)
{
	char order;

	if (recv(keeping->fd, &order, sizeof(order), 0) <= 0)
		return false;
	keeping->wanted = keeping->ordered = true;
	keeping->start_at_ns = 0;
	if (keeping->pid)
		kill(keeping->pid, SIGHUP);
	return true;
}

static int idle_ms(const struct keeping *keeping)
{
	uint64_t now = clock_ns();

	if (keeping->pid || !keeping->wanted)
		return -1;
	return keeping->start_at_ns > now ?
		       (int)((keeping->start_at_ns - now) / NS_PER_MS) + 1 : 0;
}

static void keep(struct keeping *keeping)
{
	bool going = true;

	while (going) {
		struct pollfd fds[] = {
			{ .fd = keeping->fd, .events = POLLIN },
			{ .fd = keeping->pid ? keeping->pid_fd : -1, .events = POLLIN },
		};

		if (poll(fds, sizeof(fds) / sizeof(fds[0]), idle_ms(keeping)) < 0)
			continue;
		if (fds[1].revents)
			watch_ended(keeping);
		if (fds[0].revents)
			going = take_order(keeping);
		if (going && keeping->wanted && !keeping->pid &&
		    clock_ns() >= keeping->start_at_ns)
			start_watch(keeping);
	}
	if (!keeping->pid)
		return;
	/* It may hold the interface's lock: whoever waits for our end gets that as well. */
	kill(keeping->pid, SIGKILL);
	while (waitpid(keeping->pid, NULL, 0) < 0 && errno == EINTR)
		;
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
		syslog(LOG_WARNING, "%s: who keeps the watch over host names died; starting another",
		       keeping->ifname);
		/* Orders that it took are lost: the watch looks for itself whether there are
		 * names. */
		keeping->wanted = true;
		nanosleep(&pause, NULL);
	}
}

static void keeper_main(const char *ifname, int fd, int parent)
{
	struct keeping keeping = { .ifname = ifname, .fd = fd, .pid_fd = -1 };
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

int watch_keeper_wake(const struct watch_keeper *keeper)
{
	const char order = 1;

	/* As many orders as fit are waiting: one is enough. */
	if (keeper->pid && (send(keeper->fd, &order, sizeof(order), MSG_NOSIGNAL | MSG_DONTWAIT) >= 0 ||
			    errno == EAGAIN))
		return 0;
	syslog(LOG_ERR, "nobody watches host names: their addresses stay as they are");
	return -ECHILD;
}

void watch_keeper_died(struct watch_keeper *keeper, const char *ifname)
{
	kill(keeper->pid, SIGKILL);	/* should it have closed its end alone */
	watch_keeper_stop(keeper);
	syslog(LOG_ERR, "%s: nobody is left to follow host names: their addresses stay as they are",
	       ifname);
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
